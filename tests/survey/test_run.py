import csv
import hashlib
import itertools
import json
import math
import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.numpy
import torch
from numpy.typing import NDArray
from pyarrow import parquet as pq

import oracle
import project
import tokenizers_made
from core_tokens.clusters import find_cluster
from core_tokens.core import core_within
from core_tokens.errors import FileError, ParamsError
from core_tokens.measurements import measure
from core_tokens.survey import examine, matrices, parquet, summary, tables
from core_tokens.survey.run import survey
from core_tokens.survey.snapshot import NEEDS_CLUSTER, Figures, snapshot
from core_tokens.survey.store import Store, StoreError
from strategies import BFLOAT16

RADII = [2.0, 0.0, 1.0, 14080.0]
RULERS = ["ulp", "steps", "l2"]
THRESHOLD = 0.002
FILES = {"survey.parquet", "membership.parquet", "survey.json", "costs.csv", "plots/sizes.csv",
         "plots/arrivals.csv", "plots/overlap.csv"}  # fmt: skip
OUT = Path("data/surveys/run")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_params(sources: Sequence[Any], **changes: Any) -> None:
    """params.yaml with the survey ``run``."""
    settings = {"sources": sources, "radii": RADII, "distances": RULERS, "threshold": THRESHOLD}
    block = json.dumps({"run": settings | changes})
    Path("params.yaml").write_text(f"{project.PARAMS}survey: {block}\n")


def run(**how: Any) -> Any:
    return survey("run", workers=0, **how)


def save(name: str, matrix: NDArray[Any], tensor: str = "W") -> NDArray[Any]:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(safetensors.numpy.save({tensor: matrix}))
    return matrix


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(OUT / "survey.parquet").to_pylist()
    return found


def members() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(OUT / "membership.parquet").to_pylist()
    return found


def metrics() -> Any:
    return json.loads((OUT / "survey.json").read_text())


def table(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((OUT / "plots" / f"{name}.csv").read_text().splitlines()))


def written() -> dict[str, bytes]:
    """What a survey has written, but for how long it took."""
    return {name: (OUT / name).read_bytes() for name in FILES - {"costs.csv"}}


def growing(checkpoints: int) -> list[NDArray[Any]]:
    """A cluster that some tokens enter and some leave, beside other rows; the first has none."""
    draws = np.random.default_rng(7)
    ordinary = draws.standard_normal((12, 4))
    found = [ordinary.astype(BFLOAT16)]
    tiny = project.tiny_matrix()
    for at in range(1, checkpoints):
        matrix = tiny.copy()
        matrix[list(range(at - 1))] = ordinary.astype(BFLOAT16)[: at - 1]
        matrix[-at:] = tiny[1]
        found.append(matrix)
    return found


@pytest.fixture
def made() -> list[NDArray[Any]]:
    """A survey of five checkpoints of several kinds, written and run."""
    matrices = growing(5)
    for at, matrix in enumerate(matrices[:3]):
        save(f"runs/step{8 + at}.safetensors", matrix)
    with h5py.File("more.h5", "w") as file:
        file["logs"] = np.stack(matrices[3:]).view(np.uint16)
        file["steps"] = np.array([100, 200])
    write_params(["runs/step*", "more.h5", "runs/none"])
    return matrices


# ---- values -----------------------------------------------------------------------------------


def test_each_row_is_what_the_single_model_gives(made: list[NDArray[Any]]) -> None:
    run()
    found = [row for row in rows() if row["error"] is None]
    assert len(found) == len(made) * len(RADII)
    for at, row in enumerate(found):
        matrix, radius = made[at // len(RADII)], RADII[at % len(RADII)]
        measured = measure(matrix, find_cluster(matrix, THRESHOLD).token_ids)
        assert (row["checkpoint"], row["radius"]) == (at // len(RADII), radius)
        assert row["sha256"] == hashlib.sha256(matrix.tobytes()).hexdigest()
        assert row["cluster_tokens"] == len(measured.token_ids)
        for ruler in RULERS:
            distance = getattr(measured, f"distance_{ruler}")
            core = core_within(radius, distance, measured.vector_of_token, measured.token_ids)
            assert [row[f"{name}_{ruler}"] for name in parquet.COUNTS] == [
                len(core.token_ids), core.vectors, len(core.halo_token_ids), core.halo_vectors,
            ]  # fmt: skip


def test_each_row_is_what_plain_torch_gives(made: list[NDArray[Any]]) -> None:
    run()
    found = iter(row for row in rows() if row["error"] is None)
    member_rows = iter(members())
    for matrix in made:
        ids = np.array(oracle.cluster(matrix, THRESHOLD), np.int64)
        measured = oracle.measure(matrix, ids) if len(ids) else None
        for radius in RADII:
            row = next(found)
            assert row["cluster_tokens"] == len(ids)
            for ruler in RULERS:
                core: list[int] = []
                vectors = 0
                if measured is not None:
                    distance = torch.as_tensor(getattr(measured, f"distance_{ruler}"))
                    core, halo = oracle.core(distance.float(), radius, measured, ids)
                    vectors = len(
                        {(matrix[token] + np.zeros(4, BFLOAT16)).tobytes() for token in core}
                    )
                    assert row[f"halo_tokens_{ruler}"] == len(halo)
                assert row[f"core_tokens_{ruler}"] == len(core)
                assert row[f"core_vectors_{ruler}"] == vectors
        for nth, token in enumerate(ids.tolist()):
            assert measured is not None
            vector = int(measured.vector_of_token[nth])
            row = next(member_rows)
            assert row["token"] == token
            assert row["distance_ulp"] == measured.distance_ulp[vector]
            assert row["distance_steps"] == measured.distance_steps[vector]
            assert row["distance_l2"] == np.float32(measured.distance_l2[vector])
    assert next(found, None) is next(member_rows, None) is None


def test_the_metrics_and_pictures_are_of_the_first_radius_and_distance(
    made: list[NDArray[Any]],
) -> None:
    write_params(["runs/step*", "more.h5"], radii=[1.0, 3.0], distances=["ulp", "l2"])
    run()
    cores = []
    for matrix in made:
        ids = np.array(oracle.cluster(matrix, THRESHOLD), np.int64)
        measured = oracle.measure(matrix, ids) if len(ids) else None
        cores.append(
            set(oracle.core(measured.distance_ulp, 1.0, measured, ids)[0]) if measured else set()
        )
    assert cores[0] == set()
    assert len({frozenset(core) for core in cores}) >= 4
    pairs = list(itertools.pairwise(cores))
    found = metrics()
    assert found["core"] == {
        "distance": {"ulp": 1}, "radius": 1.0, "entered": sum(len(b - a) for a, b in pairs),
        "left": sum(len(a - b) for a, b in pairs),
    }  # fmt: skip
    assert found["checkpoints"] == {"failed": 0, "succeeded": 5, "total": 5, "with_cluster": 4}
    assert found["last"]["core_ulp_1"] == len(cores[-1])
    assert set(found["last"]) == {
        "cluster_tokens", "cluster_vectors", "r90_tokens", "core_ulp_1", "core_ulp_3", "core_l2_1",
        "core_l2_3",
    }  # fmt: skip
    assert found["threshold"] == THRESHOLD
    squares = [row for row in table("overlap") if row["kind"] == "cell"]
    shares = [float(row["jaccard"]) if row["jaccard"] else math.nan for row in squares]
    expected = [len(a & b) / len(a | b) if a | b else math.nan for a in cores for b in cores]
    assert shares == pytest.approx(expected, nan_ok=True)
    core_cells = sum(
        (float(row["x2"]) - float(row["x"])) * int(row["tokens"])
        for row in table("arrivals")
        if row["state"] == "core"
    )
    assert core_cells == sum(map(len, cores))
    drawn = [float(row["value"]) for row in table("sizes") if row["series"] == "core within 1 ulp"]
    assert drawn == [len(core) for core in cores]


def test_a_radius_is_compared_as_float32_in_rows_metrics_and_pictures_alike() -> None:
    matrix = save("W.safetensors", project.tiny_matrix())
    measured = measure(matrix, find_cluster(matrix, THRESHOLD).token_ids)
    distances = measured.distance_l2[measured.vector_of_token]
    exact = float(np.sort(distances)[3])
    radius = float(str(np.float32(exact)))  # the decimals in which it is written, a bit less
    assert radius < exact
    within = int((distances <= np.float32(radius)).sum())
    for beside in (radius, math.nextafter(radius, 0), math.nextafter(radius, 1)):
        write_params(["W.safetensors"], radii=[beside], distances=["l2"])
        run()
        assert rows()[0]["core_tokens_l2"] == within
        (said,) = (value for name, value in metrics()["last"].items() if "core_l2" in name)
        assert said == within
        cells = [row for row in table("arrivals") if row["state"] == "core"]
        assert sum(int(row["tokens"]) for row in cells) == within


def test_checkpoints_have_their_names_steps_and_places(made: list[NDArray[Any]]) -> None:
    assert len(made) == 5
    run()
    seen = {row["checkpoint"]: (row["source"], row["step"], row["file"]) for row in rows()}
    assert seen == {
        0: ("runs/step8.safetensors", 8, "step8.safetensors"),
        1: ("runs/step9.safetensors", 9, "step9.safetensors"),
        2: ("runs/step10.safetensors", 10, "step10.safetensors"),
        3: ("more.h5[0]", 100, "more.h5"), 4: ("more.h5[1]", 200, "more.h5"),
        5: ("runs/none", None, None),
    }  # fmt: skip
    costs = list(csv.DictReader((OUT / "costs.csv").read_text().splitlines()))
    assert [(row["checkpoint"], row["source"], row["bytes"]) for row in costs] == [
        (str(at), seen[at][0], str(made[at].nbytes)) for at in range(5)
    ]
    assert all(float(row["seconds"]) >= 0 for row in costs)


def test_tokens_of_a_known_vocabulary_have_their_text(here: Path) -> None:
    tokenizer = tokenizers_made.byte_level("the", "two")
    matrix = np.random.default_rng(0).standard_normal((258, 4)).astype(np.float32)
    matrix[[32, 33, 257]] = 0.5
    for name in ("a", "b"):
        save(f"{name}/model.safetensors", matrix)
        (here / name / "tokenizer.json").write_bytes(tokenizer)
    moved = np.roll(matrix, 1, axis=0)  # of tokens without text
    save("c/model.safetensors", moved)
    write_params(["a", "b", "c"])
    run()
    assert [row["text"] for row in members()][:6] == ["A", "B", "the"] * 2
    assert [row["text"] for row in members()][6:] == [None] * 3
    assert metrics()["core"]["entered"] == 0
    assert metrics()["jaccard"] == {"neighbours_mean": 1.0, "neighbours_min": 1.0}
    ticks = [row["label"] for row in table("arrivals") if row["kind"] == "tick"]
    assert ticks == ["a", "b"]
    drawn = [(row["first"], row["last"]) for row in table("arrivals") if row["kind"] == "run"]
    assert drawn == [("a", "b")]


def test_a_model_without_a_cluster_is_compared_with_one_of_another_vocabulary(here: Path) -> None:
    matrix = np.random.default_rng(0).standard_normal((258, 4)).astype(np.float32)
    for name, words in (("a", ["the"]), ("b", ["the", "two"])):
        save(f"{name}/model.safetensors", matrix[: 256 + len(words)])
        (here / name / "tokenizer.json").write_bytes(tokenizers_made.byte_level(*words))
        matrix[[32, 33, 256]] = 0.5  # of the second
    write_params(["a", "b"])
    run()
    assert [row["cluster_tokens"] for row in rows()[:: len(RADII)]] == [0, 3]
    assert (metrics()["core"]["entered"], metrics()["core"]["left"]) == (3, 0)
    assert metrics()["jaccard"]["first_and_last"] == 0
    ticks = [row["label"] for row in table("arrivals") if row["kind"] == "tick"]
    assert ticks == ["a", "b"]
    cells = {(row["a"], row["b"]): row["either"] for row in table("overlap") if row["a"]}
    assert cells["a", "b"] == cells["b", "a"] == "3"


def test_where_there_is_no_cluster_there_are_nulls_and_no_radius_is_drawn(
    made: list[NDArray[Any]],
) -> None:
    run()
    figures = {field.name for field in fields(Figures)}
    missing = [
        {name for name in figures if row[name] is None} for row in rows() if not row["error"]
    ]
    assert missing[:4] == [set(NEEDS_CLUSTER)] * 4
    assert not any(missing[4:])
    drawn = [row["checkpoint"] for row in table("sizes") if row["panel"].startswith("radius")]
    assert len(drawn) == len(made) - 1
    assert "runs/step8.safetensors" not in drawn
    assert metrics()["first"]["r90_tokens"] == 0


def test_without_any_core_no_share_is_said() -> None:
    for step in (1, 2):
        save(f"runs/step{step}.safetensors", np.eye(3, dtype=np.float32) * step)
    write_params(["runs/*"])
    run()
    assert "jaccard" not in metrics()
    save("runs/step1.safetensors", project.tiny_matrix())
    write_params(["runs/step1.safetensors"])
    run()
    assert "jaccard" not in metrics()


def test_several_matrices_of_a_path_are_told_apart() -> None:
    with h5py.File("run.h5", "w") as file:
        file["one"] = project.tiny_matrix().view(np.uint16)
        file["two"] = np.stack(growing(3)).view(np.uint16)
    given = [{"source": "run.h5", "tensor": name} for name in ("one", "two")]
    write_params(["run.h5", *given], radii=[0.1])
    run()
    assert [(row["source"], row["tensor"], row["step"], row["radius"]) for row in rows()] == [
        ("run.h5#unembedding", None, None, None), ("run.h5#one", "one", None, 0.1),
        ("run.h5[0]", "two", None, 0.1), ("run.h5[1]", "two", None, 0.1),
        ("run.h5[2]", "two", None, 0.1),
    ]  # fmt: skip


def test_names_that_are_no_utf_8_are_written_escaped() -> None:
    odd = os.fsdecode(b"step2\xff")
    save("runs/step1.safetensors", project.tiny_matrix())
    save(f"runs/{odd}.safetensors", project.tiny_matrix() + project.tiny_matrix())
    save(f"runs/{odd}.x.safetensors", np.ones((2, 2), np.int32))
    with h5py.File("more.h5", "w") as file:
        file[b"W\xff"] = project.tiny_matrix().view(np.uint16)
    write_params(["runs/*", "more.h5"], radii=[1.0])
    run()
    assert [(row["source"], row["file"], row["tensor"]) for row in rows()] == [
        ("runs/step1.safetensors", "step1.safetensors", "W"),
        (r"runs/step2\udcff.safetensors", r"step2\udcff.safetensors", "W"),
        (r"runs/step2\udcff.x.safetensors", None, None),
        ("more.h5", "more.h5", r"W\udcff"),
    ]
    assert rows()[2]["error"].startswith(r"runs/step2\udcff.x.safetensors: found no matrix")


# ---- what failed ------------------------------------------------------------------------------


def test_what_failed_has_a_row_that_says_why_by_the_path_as_given(
    here: Path, made: list[NDArray[Any]]
) -> None:
    save("runs/step7.safetensors", np.ones((2, 2), np.int32))
    ended = run()
    failed = {row["source"]: row["error"] for row in rows() if row["error"]}
    assert list(failed) == ["runs/step7.safetensors", "runs/none"]
    assert failed["runs/none"] == (
        "runs/none: found no such file or folder; expected a checkpoint, or a file of many"
    )
    assert failed["runs/step7.safetensors"].startswith("runs/step7.safetensors: found ")
    assert str(here) not in "".join(failed.values())
    assert list(ended.failures) == list(failed.items())
    assert (ended.totals.failed, ended.totals.succeeded) == (2, len(made))
    assert metrics()["checkpoints"]["failed"] == 2


def test_a_summary_names_a_few_failures_and_counts_the_rest() -> None:
    save("good.safetensors", project.tiny_matrix())
    write_params(["good.safetensors", *(f"missing{at}" for at in range(8))])
    text = summary.text("run", run())
    assert "9 checkpoints, 1 succeeded (0 of them from the store), 8 failed" in text
    assert text.count("  failed: missing") == 5
    assert "failed: missing0: found no such file" in text
    assert "  and 3 more, in survey.parquet" in text
    assert str(OUT) in text


def test_if_all_fail_nothing_is_written(here: Path) -> None:
    write_params(["missing", "missing-too"])
    with pytest.raises(FileError) as caught:
        run()
    assert str(caught.value).startswith(
        "params.yaml: survey.run.sources: found no checkpoint that could be examined, the first "
        "because of 'missing: found no such file or folder"
    )
    assert not (here / "data").exists()


def test_if_all_fail_what_was_written_before_stays(made: list[NDArray[Any]]) -> None:
    assert made
    run()
    before = written()
    write_params(["missing"])
    with pytest.raises(FileError):
        run()
    assert written() == before


def test_a_survey_that_is_not_there_is_refused() -> None:
    write_params(["a"])
    with pytest.raises(ParamsError, match=r"^params\.yaml: survey: found 'run'; expected .*'no'"):
        survey("no", workers=0)


def test_a_store_that_cannot_be_used_ends_all_before_anything_is_read(here: Path) -> None:
    (here / "file").write_text("x")
    write_params(["missing"])
    with pytest.raises(StoreError):
        run(store="file")
    write_params(["missing"], store="memory://a:b@c")
    with pytest.raises(FileError, match=r"^params\.yaml: survey\.run\.store: found .*password"):
        run()
    with pytest.raises(FileError, match=r"^--store: found .*password"):
        run(store="memory://a:b@c")


def test_a_result_that_vanishes_is_said(
    made: list[NDArray[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made
    run()
    before = written()
    monkeypatch.setattr(Store, "read", lambda *_: None)
    with pytest.raises(StoreError, match="found no such result, though it was kept"):
        run()
    assert written() == before


# ---- again ------------------------------------------------------------------------------------


def test_again_all_is_reused_and_the_bytes_are_the_same(made: list[NDArray[Any]]) -> None:
    first = run()
    before = written()
    again = run()
    assert (first.reused, again.reused) == (0, len(made))
    assert written() == before
    assert {str(path.relative_to(OUT)) for path in OUT.rglob("*") if path.is_file()} == FILES


def test_other_radii_and_distances_reuse_everything(made: list[NDArray[Any]]) -> None:
    run()
    write_params(["runs/step*", "more.h5"], radii=[5.0], distances=["l2"])
    assert run().reused == len(made)
    assert {row["radius"] for row in rows()} == {5.0}
    assert "core_tokens_ulp" not in rows()[0]
    assert set(members()[0]) == {"checkpoint", "token", "distance_l2", "text"}


def test_another_threshold_is_another_survey(made: list[NDArray[Any]]) -> None:
    assert made
    run()
    write_params(["runs/step*"], threshold=0.004)
    assert run().reused == 0


def test_wherever_the_store_is_the_bytes_are_the_same(here: Path, made: list[NDArray[Any]]) -> None:
    run()
    before = written()
    assert (here / ".core-tokens/results").is_dir()
    assert run(store=f"memory://{here.name}").reused == 0
    assert written() == before
    write_params(["runs/step*", "more.h5", "runs/none"], store="kept here")
    assert run().reused == 0
    assert written() == before
    assert run(store="kept here").reused == len(made)
    assert len(list((here / "kept here").rglob("*.safetensors"))) == len(made)


def test_again_no_file_is_read(made: list[NDArray[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    run()

    def read(*_: Any) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(matrices, "_mapped", read)
    monkeypatch.setattr(matrices, "_from_hdf5", read)
    assert run().reused == len(made)


def test_a_file_that_changes_while_it_is_read_is_a_failure_and_is_read_the_next_time(
    made: list[NDArray[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    once = iter([1])

    def rewritten(matrix: NDArray[Any], threshold: float) -> Any:
        if next(once, None):
            save("runs/step8.safetensors", np.concatenate([made[0], made[0]]))
        return snapshot(matrix, threshold)

    monkeypatch.setattr(examine, "snapshot", rewritten)
    assert run().totals.failed == 2
    assert rows()[0]["error"] == (
        "runs/step8.safetensors: found a file that changed; expected one that keeps still"
    )
    assert run().totals.failed == 1
    assert (rows()[0]["error"], rows()[0]["vocabulary"]) == (None, 24)


def test_two_checkpoints_of_the_same_bytes_are_examined_once(here: Path) -> None:
    for name in ("a", "b"):
        save(f"{name}.safetensors", project.tiny_matrix())
    write_params(["a.safetensors", "b.safetensors"])
    assert run().reused == 1
    assert len(list((here / ".core-tokens").rglob("*.safetensors"))) == 1
    assert metrics()["jaccard"]["first_and_last"] == 1.0


def test_only_some_checkpoints_are_drawn_and_all_are_in_the_tables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with h5py.File("run.h5", "w") as file:
        file["logs"] = np.stack([project.tiny_matrix()] * 7).view(np.uint16)
        file["steps"] = np.arange(7) * 10
    for name in ("MOST_POINTS", "MOST_ARRIVALS", "MOST_OVERLAPS"):
        monkeypatch.setattr(tables, name, 3)
    write_params(["run.h5"])
    run()
    assert len(rows()) == 7 * len(RADII)
    assert {row["step"] for row in table("sizes") if row["kind"] == "value"} == {"0", "30", "60"}
    cells = [row for row in table("overlap") if row["kind"] == "cell"]
    assert [row["b"] for row in cells[:3]] == ["run.h5[0]", "run.h5[3]", "run.h5[6]"]
    assert len(cells) == 9
