import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray

import project
from core_tokens import tensors
from project import Done, Project

OUTPUTS = {"core_tokens.safetensors", "core.json", "core.csv", "halo.csv"}
RADII = {"ulp": "2.0", "steps": "3", "l2": "5e-05"}
"""The radii of the golden cores."""
MEASURED = "measurements.safetensors"


@pytest.fixture
def ready(tmp_path: Path) -> Project:
    """Measurements and params.yaml: extract needs nothing else."""
    made = Project(tmp_path)
    made.write_params()
    made.data.mkdir(parents=True)
    (made.data / MEASURED).write_bytes(project.golden("measure")[MEASURED])
    return made


@pytest.fixture
def done(ready: Project) -> Project:
    assert ready.stage_here("extract", "tiny") == Done(0, "", "")
    return ready


def read_all(made: Project) -> dict[str, NDArray[Any]]:
    return tensors.read(made.data / MEASURED, tensors.MEASUREMENTS)


def core_file(made: Project) -> dict[str, torch.Tensor]:
    return safetensors.torch.load((made.data / "core_tokens.safetensors").read_bytes())


# ---- what it writes --------------------------------------------------------------------------


@pytest.mark.parametrize("ruler", RADII)
def test_process_writes_the_golden_files_and_no_others(ready: Project, ruler: str) -> None:
    ready.write_params(distance=ruler, radius=RADII[ruler])
    assert ready.stage_process("extract", "tiny") == Done(0, "", "")
    assert ready.files() == {MEASURED, *OUTPUTS}
    expected = project.golden(f"extract-{ruler}")
    assert expected.keys() == OUTPUTS
    assert {name: (ready.data / name).read_bytes() for name in OUTPUTS} == expected


@pytest.mark.parametrize("ruler", RADII)
def test_golden_core_is_what_torch_saves(tmp_path: Path, ruler: str) -> None:
    bits = project.tiny_matrix().view(np.int16)
    ids = torch.tensor(project.CLUSTER_IDS)
    rows = torch.from_numpy(bits).view(torch.bfloat16)[ids].float()
    origin = rows[0]
    if ruler == "ulp":
        distance = (rows - origin).bfloat16().float().abs().amax(dim=1) / project.UNIT
    elif ruler == "steps":  # one step is one ulp, but in the last dimension from 0
        distance = (rows - origin)[:, :3].abs().amax(dim=1) / project.UNIT
        distance[rows[:, 3] != 0] = 14080
    else:
        distance = (rows.double() - origin.double()).norm(dim=1)
    core = ids[distance <= float(RADII[ruler])]
    assert 0 < len(core) < len(ids)
    safetensors.torch.save_file({
        "cluster_token_ids": core,
        f"max_core_radius_{ruler}": torch.tensor([float(RADII[ruler])], dtype=torch.float32),
        "n_core_tokens": torch.tensor([len(core)], dtype=torch.int64),
        "n_halo_tokens": torch.tensor([len(ids) - len(core)], dtype=torch.int64),
    }, tmp_path / "core.safetensors")  # fmt: skip
    expected = project.golden(f"extract-{ruler}")["core_tokens.safetensors"]
    assert (tmp_path / "core.safetensors").read_bytes() == expected


def test_second_run_writes_the_same_bytes(done: Project) -> None:
    before = {name: (done.data / name).read_bytes() for name in OUTPUTS}
    assert done.stage_here("extract", "tiny") == Done(0, "", "")
    assert {name: (done.data / name).read_bytes() for name in OUTPUTS} == before


def test_files_are_readable_by_all_as_the_umask_allows(ready: Project) -> None:
    before = os.umask(0o022)
    try:
        assert ready.stage_here("extract", "tiny") == Done(0, "", "")
    finally:
        os.umask(before)
    assert {(ready.data / name).stat().st_mode & 0o777 for name in OUTPUTS} == {0o644}


def test_does_not_import_torch(ready: Project) -> None:
    modules = project.modules_after("extract", ready.folder)
    assert "core_tokens" in modules
    assert "torch" not in modules


@pytest.mark.parametrize("ruler", RADII)
def test_radius_as_an_integer_is_the_same_radius(ready: Project, ruler: str) -> None:
    written = []
    for radius in ("4", "4.0", "4.", "0.4e1"):
        ready.write_params(distance=ruler, radius=radius)
        assert ready.stage_here("extract", "tiny") == Done(0, "", "")
        written.append({name: (ready.data / name).read_bytes() for name in OUTPUTS})
    assert all(files == written[0] for files in written)


@pytest.mark.parametrize("ruler", RADII)
def test_every_radius_of_the_curve_gives_the_core_that_the_curve_says(
    ready: Project, ruler: str
) -> None:
    for stage in ("extract", "analyse"):
        assert ready.stage_here(stage, "tiny") == Done(0, "", "")
    curve = (ready.data / "plots" / f"curve_{ruler}.csv").read_text()
    rows = list(csv.DictReader(curve.splitlines()))
    assert len(rows) == 4
    for row in rows:
        ready.write_params(distance=ruler, radius=row["radius"])
        assert ready.stage_here("extract", "tiny") == Done(0, "", "")
        core = json.loads((ready.data / "core.json").read_text())
        assert core["core"]["vectors"] == int(row["vectors"])
        assert core["core"]["tokens"] == int(row["tokens"])
        assert core["halo"]["tokens"] == len(project.CLUSTER_IDS) - int(row["tokens"])
        assert core["radius"] == float(row["radius"])


@pytest.mark.parametrize(("radius", "tokens"), [("0", 2), ("1.9999999", 4), ("3.4e38", 6)])
def test_radius_at_its_ends(ready: Project, radius: str, tokens: int) -> None:
    ready.write_params(radius=radius)
    assert ready.stage_here("extract", "tiny") == Done(0, "", "")
    found = core_file(ready)
    assert found["n_core_tokens"].tolist() == [tokens]
    assert found["n_halo_tokens"].tolist() == [6 - tokens]
    assert found["max_core_radius_ulp"].tolist() == [np.float32(float(radius))]


def test_core_keeps_the_order_of_the_measured_tokens(ready: Project) -> None:
    arrays = read_all(ready)
    for name in ("token_ids", "vector_of_token"):
        arrays[name] = arrays[name][::-1]
    (ready.data / MEASURED).write_bytes(tensors.to_bytes(arrays))
    assert ready.stage_here("extract", "tiny") == Done(0, "", "")
    assert core_file(ready)["cluster_token_ids"].tolist() == [9, 5, 3, 2, 1]


def test_tensors_that_extract_does_not_know_are_no_obstacle(ready: Project) -> None:
    arrays = {**read_all(ready), "more": np.zeros(3, np.int8)}
    (ready.data / MEASURED).write_bytes(tensors.to_bytes(arrays))
    assert ready.stage_here("extract", "tiny") == Done(0, "", "")
    assert {name: (ready.data / name).read_bytes() for name in OUTPUTS} == project.golden(
        "extract-ulp"
    )


def test_infinite_distance_is_halo_at_every_radius(ready: Project) -> None:
    arrays = read_all(ready)
    arrays["distance_ulp"] = np.array([np.inf, 0, 2, 1], np.float32)
    (ready.data / MEASURED).write_bytes(tensors.to_bytes(arrays))
    ready.write_params(radius="3.4028234663852886e38")
    assert ready.stage_here("extract", "tiny") == Done(0, "", "")
    assert core_file(ready)["n_halo_tokens"].tolist() == [1]


# ---- no cluster ------------------------------------------------------------------------------


@pytest.mark.parametrize("ruler", RADII)
def test_matrix_without_a_cluster_passes_all_stages_with_zeros(tmp_path: Path, ruler: str) -> None:
    made = project.make_project(tmp_path, np.eye(4).astype(ml_dtypes.bfloat16))
    made.write_params(distance=ruler, radius=RADII[ruler])
    for stage in ("cluster", "measure", "extract"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")
    assert json.loads((made.data / "core.json").read_text()) == {
        "core": {"tokens": 0, "vectors": 0, "percent": 0},
        "halo": {"tokens": 0, "vectors": 0},
        "radius": float(RADII[ruler]),
    }
    expected = {
        "cluster_token_ids": torch.empty(0, dtype=torch.int64),
        f"max_core_radius_{ruler}": torch.tensor([float(RADII[ruler])]),
        "n_core_tokens": torch.tensor([0]),
        "n_halo_tokens": torch.tensor([0]),
    }
    content = (made.data / "core_tokens.safetensors").read_bytes()
    assert content == safetensors.torch.save(expected)
    assert (made.data / "halo.csv").read_text().count("\n") == 1


# ---- what it refuses -------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", project.SPOILED.values(), ids=project.SPOILED)
def test_spoiled_measurements_are_refused(done: Project, spoil: Callable[[bytes], bytes]) -> None:
    project.spoil_file(done.data / MEASURED, spoil)
    project.check_stage_refuses(done, "extract", f"data/tiny/{MEASURED}", "safetensors file")


@pytest.mark.parametrize("name", ["truncated data", "header length beyond the file"])
def test_spoiled_measurements_are_refused_by_the_process(done: Project, name: str) -> None:
    project.spoil_file(done.data / MEASURED, project.SPOILED[name])
    project.check_stage_refuses(done, "extract", f"data/tiny/{MEASURED}", process=True)


@pytest.mark.parametrize("process", [False, True])
def test_missing_measurements_are_refused(done: Project, process: bool) -> None:
    (done.data / MEASURED).unlink()
    project.check_stage_refuses(
        done, "extract", f"data/tiny/{MEASURED}", "no such file", process=process
    )


def test_folder_in_place_of_the_measurements_is_refused(done: Project) -> None:
    project.replace_by_folder(done.data / MEASURED)
    project.check_stage_refuses(done, "extract", f"data/tiny/{MEASURED}", "folder")


@pytest.mark.parametrize("name", tensors.MEASUREMENTS)
def test_absent_tensor_is_refused_and_those_there_are_listed(done: Project, name: str) -> None:
    arrays = read_all(done)
    arrays[f"{name}_"] = arrays.pop(name)
    (done.data / MEASURED).write_bytes(tensors.to_bytes(arrays))
    project.check_stage_refuses(done, "extract", f"{MEASURED}: {name}:", f"{name}_ ")


@pytest.mark.parametrize("name", tensors.MEASUREMENTS)
def test_tensor_of_another_dtype_is_refused(done: Project, name: str) -> None:
    arrays = read_all(done)
    arrays[name] = arrays[name].astype(np.float64)
    (done.data / MEASURED).write_bytes(tensors.to_bytes(arrays))
    dtype, _ = tensors.MEASUREMENTS[name]
    expected = f"{dtype.rpartition('|')[2]}["
    project.check_stage_refuses(done, "extract", f"{MEASURED}: {name}:", "F64[", expected)


@pytest.mark.parametrize("name", tensors.MEASUREMENTS)
def test_tensor_of_another_rank_is_refused(done: Project, name: str) -> None:
    arrays = read_all(done)
    arrays[name] = arrays[name][None]
    (done.data / MEASURED).write_bytes(tensors.to_bytes(arrays))
    project.check_stage_refuses(done, "extract", f"{MEASURED}: {name}:", "[1, ")


@pytest.mark.parametrize("name", tensors.MEASUREMENTS)
def test_sizes_that_contradict_each_other_are_refused(done: Project, name: str) -> None:
    arrays = read_all(done)
    arrays[name] = np.concatenate([arrays[name], arrays[name][:1]])
    (done.data / MEASURED).write_bytes(tensors.to_bytes(arrays))
    project.check_stage_refuses(
        done, "extract", MEASURED, "[", "=" if len(arrays[name]) > 2 else ""
    )


CONTRADICTIONS: dict[str, tuple[str, list[float], str]] = {
    "NaN distance": ("distance_ulp", [np.nan, 0, 2, 1], "NaN or a negative"),
    "negative distance": ("distance_ulp", [3, 0, -2, 1], "NaN or a negative"),
    "vector too large": ("vector_of_token", [1, 1, 3, 3, 0, 4], "vector_of_token"),
    "vector negative": ("vector_of_token", [1, 1, 3, 3, 0, -2], "vector_of_token"),
    "vector of no token": ("vector_of_token", [1, 1, 3, 3, 0, 0], "vector_of_token"),
}


@pytest.mark.parametrize(("name", "values", "mention"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_measurements_that_contradict_each_other_are_refused(
    done: Project, name: str, values: list[float], mention: str
) -> None:
    arrays = read_all(done)
    arrays[name] = np.array(values, arrays[name].dtype)
    (done.data / MEASURED).write_bytes(tensors.to_bytes(arrays))
    project.check_stage_refuses(done, "extract", f"data/tiny/{MEASURED}: {name}:", mention)


def test_nan_distance_is_refused_by_the_process(done: Project) -> None:
    arrays = read_all(done)
    arrays["distance_ulp"][2] = np.nan
    (done.data / MEASURED).write_bytes(tensors.to_bytes(arrays))
    project.check_stage_refuses(done, "extract", f"data/tiny/{MEASURED}", "NaN", process=True)


@pytest.mark.parametrize("ruler", ["steps", "l2"])
def test_negative_distance_of_another_ruler_is_refused_by_its_name(
    done: Project, ruler: str
) -> None:
    done.write_params(distance=ruler)
    arrays = read_all(done)
    arrays[f"distance_{ruler}"][2] = -1
    (done.data / MEASURED).write_bytes(tensors.to_bytes(arrays))
    project.check_stage_refuses(done, "extract", f"data/tiny/{MEASURED}: distance_{ruler}:")


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_output_that_cannot_be_replaced_leaves_the_others_as_they_were(
    done: Project, name: str
) -> None:
    (done.data / name).unlink()
    (done.data / name).mkdir()
    done.write_params(radius="0")
    before = done.snapshot()
    ended = done.stage_here("extract", "tiny")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert done.snapshot() == before


@pytest.mark.parametrize(("spoil", "mention"), project.BAD_PARAMS.values(), ids=project.BAD_PARAMS)
def test_bad_params_are_refused(
    done: Project, spoil: Callable[[Project], None], mention: str
) -> None:
    spoil(done)
    project.check_stage_refuses(done, "extract", "params.yaml", mention)


@pytest.mark.parametrize("name", ["radius negative", "radius text", "distance unknown"])
def test_bad_params_are_refused_by_the_process(done: Project, name: str) -> None:
    spoil, mention = project.BAD_PARAMS[name]
    spoil(done)
    project.check_stage_refuses(done, "extract", "params.yaml", mention, process=True)


def test_folder_in_place_of_the_params_is_refused(done: Project) -> None:
    project.replace_by_folder(done.folder / "params.yaml")
    project.check_stage_refuses(done, "extract", "params.yaml")


@pytest.mark.parametrize(
    ("arguments", "mention"), project.WRONG_ARGUMENTS.values(), ids=project.WRONG_ARGUMENTS
)
def test_wrong_arguments_are_refused(
    done: Project, arguments: tuple[str, ...], mention: str
) -> None:
    project.check_stage_refuses(done, "extract", mention, arguments=arguments)


@pytest.mark.parametrize("name", ["a model that is not listed", "a line break"])
def test_wrong_arguments_are_refused_by_the_process(done: Project, name: str) -> None:
    arguments, mention = project.WRONG_ARGUMENTS[name]
    project.check_stage_refuses(done, "extract", mention, arguments=arguments, process=True)


# ---- the tokens' text -------------------------------------------------------------------------


def write_texts(made: Project, tokens: list[int]) -> None:
    rows = [
        f"{token},{'byte' if token == 9 else 'ordinary'},{chr(0x4E00 + token)}" for token in tokens
    ]
    (made.data / "tokens.csv").write_text(
        "\n".join(["token,class,text", *rows, ""]), encoding="utf-8"
    )


def test_core_and_halo_carry_class_and_text(ready: Project) -> None:
    write_texts(ready, project.CLUSTER_IDS)
    assert ready.stage_here("extract", "tiny") == Done(0, "", "")
    core = list(csv.DictReader((ready.data / "core.csv").read_text(encoding="utf-8").splitlines()))
    halo = list(csv.DictReader((ready.data / "halo.csv").read_text(encoding="utf-8").splitlines()))
    assert sorted(int(row["token"]) for row in core + halo) == project.CLUSTER_IDS
    assert all(row["text"] == chr(0x4E00 + int(row["token"])) for row in core + halo)
    metrics = json.loads((ready.data / "core.json").read_text())
    for part, rows in (("core", core), ("halo", halo)):
        assert metrics[part]["classes"] == {
            kind: sum(row["class"] == kind for row in rows)
            for kind in ("ordinary", "special", "byte", "unreachable", "padding")
        }


def test_texts_that_lack_a_token_are_refused(done: Project) -> None:
    write_texts(done, project.CLUSTER_IDS[:-1])
    project.check_stage_refuses(done, "extract", "data/tiny/tokens.csv", "no token 9")
