"""The default of the project at its full size: a clean clone, one command, the published core."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ml_dtypes import bfloat16
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file

import figures
from core_tokens.structure.quantization import quantization
from repository import MODEL, ROOT, Repository, clone, copy_of_this_project

STAGES = ("fetch", "cluster", "measure", "extract", "draw")
"""Those that have to run in a clone; what `analyse` makes is all in Git."""


@pytest.fixture(scope="session")
def default(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """A clean clone in which `dvc repro` made everything, the matrix included."""
    repository = copy_of_this_project(tmp_path_factory.mktemp("default") / "clone")
    ran = repository.ran()
    assert ran == {f"{stage}@{MODEL}" for stage in STAGES}
    yield repository
    (repository.path / "data" / MODEL / "W.safetensors").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def data(default: Repository) -> Path:
    return default.path / "data" / MODEL


def metrics(data: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((data / f"{name}.json").read_text())
    return content


def table(data: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((data / f"{name}.csv").read_text().splitlines()))


@pytest.fixture(scope="session")
def measured(data: Path) -> dict[str, NDArray[np.generic]]:
    return load_file(data / "measurements.safetensors")


def test_git_is_clean_after_the_run_so_every_byte_is_as_committed(default: Repository) -> None:
    assert default.git_status() == ""
    assert default.ran() == set()
    analyse = f"analyse@{MODEL}"
    assert default.ran("--force", "--no-run-cache", "--single-item", analyse) == {analyse}
    assert default.git_status() == ""


def test_the_file_says_that_it_is_no_model(data: Path) -> None:
    with safe_open(data / "W.safetensors", "np") as file:
        assert "not its weights" in file.metadata()["replica"]
        assert file.get_slice("W").get_shape() == [151936, 2560]
        assert file.get_slice("W").get_dtype() == "BF16"


def test_cluster_figures(data: Path) -> None:
    found = load_file(data / "cluster_tokens.safetensors")
    ids = found["cluster_token_ids"]
    assert len(ids) == 2212
    assert ids[:20].tolist() == figures.FIRST_20_IDS
    assert (ids.min(), ids.max()) == (124, 151935)
    assert (np.diff(ids) > 0).all()
    assert found["cluster_mask"].shape == (151936,)
    assert np.flatnonzero(found["cluster_mask"]).tolist() == ids.tolist()
    assert found["adjacency_threshold"].tolist() == [np.float32(0.002)]
    assert f"{metrics(data, 'cluster')['nearest_outsider']['l2']:.4f}" == "0.0036"


def test_every_pair_of_the_cluster_is_adjacent(measured: dict[str, NDArray[np.generic]]) -> None:
    rows = measured["vectors"].astype(np.float64)
    distances = np.sqrt(((rows[:, None] - rows[None]) ** 2).sum(axis=2))
    assert f"{distances.max():.4f}" == "0.0016"
    populations = measured["populations"].astype(int)
    assert (populations * (populations - 1) // 2).sum() == 651034
    pairs = distances < 0.002
    assert pairs.all()
    assert len(measured["token_ids"]) * (len(measured["token_ids"]) - 1) // 2 == 2445366


def test_census_figures(data: Path) -> None:
    census = metrics(data, "cluster")
    assert census["matrix"] == {
        "rows": 151936, "dims": 2560, "unique_rows": 149849, "zero_rows": 0,
    }  # fmt: skip
    assert census["groups"] == {"count": 13, "tokens": 2100, "largest": 814}
    rows = table(data, "populations")
    assert [int(row["population"]) for row in rows] == figures.POPULATIONS
    sampled = {
        (int(row["population"]), tuple(map(int, row["first_tokens"].split()))) for row in rows
    }
    assert sampled == figures.SAMPLE_TOKENS


def test_core_figures(data: Path, measured: dict[str, NDArray[np.generic]]) -> None:
    assert measured["vectors"].shape == (125, 2560)
    assert measured["populations"].min() == 1
    found = metrics(data, "measure")
    assert found["origin"]["index"] == 60
    assert found["origin"]["population"] == 814
    assert f"{found['origin']['norm']:.6f}" == "0.370917"
    assert found["ulp_exponent"] == -16
    assert measured["ulp"].tolist() == [2.0**-16]
    median = np.median(np.abs(measured["vectors"][60].astype(np.float32)))
    assert f"{median:.6e}" == "3.585815e-03"
    distance = measured["distance_ulp"].astype(np.float64)
    assert f"{distance.min():.2f} {distance.max():.2f}" == "0.00 32.00"
    assert f"{distance.mean():.2f} {np.median(distance):.2f}" == "1.61 2.00"
    core = metrics(data, "core")
    assert core["radius"] == 3.0
    assert core["core"] == {"tokens": 2206, "vectors": 122, "percent": pytest.approx(99.7288, 1e-6)}
    assert core["halo"] == {"tokens": 6, "vectors": 3}
    assert [int(row["token"]) for row in table(data, "halo")] == figures.HALO_TOKEN_IDS
    assert distance[distance > 3].tolist() == [32.0, 4.0, 4.0]
    assert f"{(data / 'core_tokens.safetensors').stat().st_size / 1024:.1f}" == "17.6"


def test_shell_figures(data: Path, measured: dict[str, NDArray[np.generic]]) -> None:
    shells = {
        int(row["ulp"]): (int(row["vectors"]), int(row["tokens"]))
        for row in table(data, "plots/shells")
    }
    assert shells == figures.SHELLS
    distance = measured["distance_ulp"].astype(np.float64)
    assert (np.abs(distance - np.rint(distance)) <= 0.1).sum() == 110


def test_unique_vectors_differ_in_many_dimensions(
    measured: dict[str, NDArray[np.generic]],
) -> None:
    vectors = measured["vectors"]
    differing = (vectors != vectors[60]).sum(axis=1)
    assert sorted(differing.tolist())[1] > 50
    assert np.median(differing) > 500


def test_structure_figures(measured: dict[str, NDArray[np.generic]]) -> None:
    vectors = measured["vectors"].view(bfloat16)
    distinct = np.array([len(np.unique(column)) for column in vectors.T.astype(np.float32)])
    counts = Counter(distinct.tolist())
    assert {values: counts[values] for values in range(1, 11)} == figures.DISTINCT_VALUES
    assert distinct.sum() - 2560 == figures.GAPS
    assert [int(distinct.max()), int(distinct.argmax())] == [84, 1382]
    core = vectors[measured["distance_ulp"].astype(float) <= 3]
    in_core = np.array([len(np.unique(column)) for column in core.T.astype(np.float32)])
    assert [int((in_core > 1).sum()), int(in_core.max()), int(in_core.argmax())] == [2179, 82, 1382]
    variances = vectors.astype(np.float64).var(axis=0, ddof=1)
    assert np.argsort(-variances)[:2].tolist() == [163, 13]
    bits = core.view(np.int16).astype(np.int64)
    lattice = np.where(bits < 0, -(bits & 0x7FFF), bits)
    face = np.array([[np.abs(a - b).sum() == 1 for b in lattice] for a in lattice])
    assert Counter(face.sum(axis=1).tolist()) == figures.DEGREES


def test_quantization_figures(measured: dict[str, NDArray[np.generic]]) -> None:
    found = quantization(measured["vectors"].view(bfloat16))
    assert found.gaps == figures.GAPS
    assert found.power_of_two_gaps == figures.POWER_OF_TWO_GAPS
    assert found.power_of_two_dimensions == figures.POWER_OF_TWO_DIMENSIONS
    most_common = Counter(found.nearest_exponents).most_common(10)
    assert most_common == list(figures.EXPONENTS.items())


def test_structure_metrics_are_the_published_ones(data: Path) -> None:
    found = metrics(data, "structure")
    cluster, core = found["cluster"], found["core"]
    assert cluster["diversity"] == {
        "constant_dimensions": 363, "varying_dimensions": 2197, "distinct_max": 84,
        "distinct_max_dimension": 1382, "distinct_mean": pytest.approx(5.02, abs=0.005),
        "distinct_median": 3,
    }  # fmt: skip
    assert core["diversity"]["varying_dimensions"] == 2179
    assert core["diversity"]["distinct_max"] == 82
    assert core["diversity"]["distinct_max_dimension"] == 1382
    assert cluster["quantization"] == {
        "gaps": 10291, "power_of_two_gaps": 9467, "power_of_two_dimensions": 1987,
        "whole_step_gaps": 10291,
    }  # fmt: skip
    plane = cluster["cross_section"]
    assert (plane["dimension_x"], plane["dimension_y"]) == (163, 13)
    assert f"{plane['variance_x'] * 2.0**-32:.6e}" == "1.907349e-09"
    assert f"{plane['variance_y'] * 2.0**-32:.6e}" == "4.768372e-10"
    assert core["adjacency"]["face"] == {
        "edges": 24, "isolated": 97, "components": 100, "largest_component": 12,
        "largest_component_tokens": 715, "degree_max": 5,
    }  # fmt: skip
    assert cluster["shells"]["whole_percent"] == 100 * 110 / 125
    assert (cluster["shells"]["gap_at"], core["shells"]["gap_at"]) == (5, 4)


def test_the_hub_of_the_core_has_704_tokens_and_three_components_are_larger_than_one(
    data: Path,
) -> None:
    vectors = [row for row in table(data, "plots/adjacency") if row["kind"] == "vector"]
    assert sum(row["face_neighbours"] != "0" for row in vectors) == 12 + 7 + 6
    hub = max(vectors, key=lambda row: int(row["face_neighbours"]))
    assert (hub["population"], hub["part"]) == ("704", "core")


def test_the_cross_section_has_the_published_ranges(data: Path) -> None:
    rows = table(data, "plots/cross_section")
    for axis, low, high in (
        ("x", -8.056641e-02, -8.007812e-02),
        ("y", -4.760742e-02, -4.736328e-02),
    ):
        values = sorted({float(row[axis]) for row in rows})
        assert values == pytest.approx([low, high], rel=1e-6)


@pytest.mark.parametrize("name", ["curve_ulp", "rulers", "adjacency"])
def test_the_pictures_of_the_readme_are_those_of_the_pipeline(data: Path, name: str) -> None:
    drawn = (data / "pictures" / f"{name}.svg").read_bytes()
    assert drawn == (ROOT / "docs" / f"{name}.svg").read_bytes(), "make templates"


def test_a_report_of_the_default_is_small(default: Repository, tmp_path: Path) -> None:
    default.run("core-tokens", "report", "-o", str(tmp_path / "report.html"))
    assert (tmp_path / "report.html").stat().st_size < 3e6


def test_the_summary_reads_as_the_notebook_did(default: Repository) -> None:
    printed = default.run("core-tokens", "summary").stdout
    assert printed in (ROOT / "README.md").read_text()
    for line in (
        "a replica, made to show the published figures of qwen3-4b-instruct-2507: not the model's",
        "cluster         2,212 tokens, ids 124 to 151935",
        "unique vectors  125 of 2,560 dimensions, populations 1 to 814",
        "Big One         index 60, 814 tokens (the first is 80091), norm 0.370917",
        "ulp             2^-16 = 1.525879e-05, at the median |component| 3.585815e-03",
        "core            2,206 tokens, 122 vectors within 3 ulp (99.73%)",
        "halo            6 tokens, 3 vectors",
        "data/qwen3-4b-replica/core_tokens.safetensors (17.6 KB)",
    ):
        assert line in printed
    for token, distance in zip(figures.HALO_TOKEN_IDS, (32, 4, 4, 4, 4, 4), strict=True):
        assert f"{token:>8} {distance:>10.2f}" in printed


def test_a_second_clone_finds_the_core_of_radius_4_without_the_matrix(
    default: Repository, tmp_path: Path
) -> None:
    default.dvc("push", f"measure@{MODEL}", f"extract@{MODEL}")
    other = clone(default, tmp_path / "other")
    other.dvc("config", "--local", "remote.shared-folder.url",
              str(default.path.parent / "core-tokens-remote"))  # fmt: skip
    other.dvc("pull", f"measure@{MODEL}")
    brought = sum(file.stat().st_size for file in (other.path / ".dvc/cache").rglob("*"))
    assert brought < 1.1e6
    other.dvc("exp", "run", "--pull", "--allow-missing", "-S", "extract.radius=4")
    core = metrics(other.path / "data" / MODEL, "core")
    assert (core["core"]["vectors"], core["core"]["tokens"]) == (124, 2211)
    assert not (other.path / "data" / MODEL / "W.safetensors").exists()
    other.commit("Radius 4")
    assert other.git_status() == ""
    assert other.ran("--pull", "--allow-missing") == set()
