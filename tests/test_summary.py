import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import project
from core_tokens import tensors
from project import Done, Project

SUMMARY = """\
Core of tiny
  cluster         6 tokens, ids 1 to 9
  unique vectors  4 of 4 dimensions, populations 1 to 2
  Big One         index 1, 2 tokens (the first is 1), norm 0.008569
  ulp             2^-15 = 3.051758e-05, at the median |component| 4.882812e-03
  distance        min 0.00, max 3.00, mean 1.50, median 1.50 ulp; max 14,080 steps
  core            5 tokens, 3 vectors within 2 ulp (83.33%)
  halo            1 token, 1 vector
       token        ulp    steps           L2  population
           6       3.00        3  9.15527e-05           1
  file            data/tiny/core_tokens.safetensors (0.3 KB)
"""
TABLE = """\
model   cluster  vectors  Big One    ulp  core  halo  radius  matrix
second        6        4        2  2^-15     5     1   2 ulp
third         -        -        -      -     -     -       -  data/third/measurements.safetensors: no such file
tiny          6        4        2  2^-15     5     1   2 ulp  lm_head.weight, BF16
"""  # noqa: E501
WITHOUT_SOURCE = project.PARAMS.replace(
    'fetch:\n  tiny: {source: "replica:qwen3-4b-instruct-2507"}\n', "fetch: {}\n"
)
READ = ("measurements.safetensors", "core_tokens.safetensors")


@pytest.fixture
def done(tmp_path: Path) -> Project:
    """What extract leaves, without W."""
    made = Project(tmp_path)
    made.write_params(WITHOUT_SOURCE)
    made.data.mkdir(parents=True)
    for folder, name in zip(("measure", "extract-ulp"), READ, strict=True):
        (made.data / name).write_bytes(project.golden(folder)[name])
    return made


def change(made: Project, **changed: Any) -> None:
    path = made.data / "measurements.safetensors"
    arrays = tensors.read(path, tensors.MEASUREMENTS)
    for name, values in changed.items():
        arrays[name] = np.array(values, arrays[name].dtype)
    path.write_bytes(tensors.to_bytes(arrays))


def check_refused(made: Project, *mentions: str) -> None:
    before = made.snapshot()
    project.check_refusal(made.command_here("summary"), *mentions)
    assert made.snapshot() == before


def test_process_prints_what_was_found(done: Project) -> None:
    before = done.snapshot()
    assert done.command_process("summary") == Done(0, SUMMARY, "")
    assert done.snapshot() == before


def test_model_may_be_named(done: Project) -> None:
    assert done.command_here("summary", "tiny") == Done(0, SUMMARY, "")


def test_several_models_are_a_table_in_the_order_of_the_params(done: Project) -> None:
    done.write_params(WITHOUT_SOURCE, models="[second, third, tiny]")
    (done.folder / "data" / "second").mkdir()
    for name in READ:
        (done.folder / "data" / "second" / name).write_bytes((done.data / name).read_bytes())
    matrix = {"dtype": {"BF16": 16}, "measured": {"BF16": 16}, "tensor": {"lm_head.weight": 1}}
    metrics = {"matrix": matrix, "cast": {"changed_tokens": 0}}
    (done.data / "measure.json").write_text(json.dumps(metrics))
    assert done.command_here("summary") == Done(0, TABLE, "")
    assert done.command_here("summary", "second").out == SUMMARY.replace("tiny", "second")


def test_a_model_without_a_cluster_is_a_line_too(tmp_path: Path) -> None:
    made = project.make_project(tmp_path, np.eye(4).astype(ml_dtypes.bfloat16), WITHOUT_SOURCE)
    for stage in ("cluster", "measure", "extract"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")
    made.write_params(WITHOUT_SOURCE, models="[tiny, other]")
    line = made.command_here("summary").out.splitlines()[1]
    assert line.split() == ["tiny", "0", "0", "-", "-", "0", "0", "2", "ulp", "W,", "BF16"]


def test_matrix_is_named_with_what_rounding_lost(done: Project) -> None:
    tensor = {"model.embed_tokens.weight": 1}
    matrix = {"dtype": {"F32": 32}, "measured": {"BF16": 16}, "tensor": tensor}
    metrics = {"matrix": matrix, "cast": {"changed_tokens": 1234}}
    (done.data / "measure.json").write_text(json.dumps(metrics))
    assert done.command_here("summary").out.splitlines()[1] == (
        "  matrix          model.embed_tokens.weight, F32 taken as BF16, "
        "which changed 1,234 of the tokens below"
    )


def test_halo_is_shown_with_its_text_where_that_is_known(done: Project) -> None:
    rows = [f"{token},ordinary,{chr(0x4E00 + token)}" for token in project.CLUSTER_IDS]
    (done.data / "tokens.csv").write_text("token,class,text\n" + "\n".join(rows) + "\n")
    lines = done.command_here("summary").out.splitlines()
    assert lines[-3].endswith("population  class        text")
    assert lines[-2].endswith("          1  ordinary     \u4e06")


def test_hub_source_is_named(done: Project) -> None:
    source = f"hf://org/model@{'0' * 40}"
    done.write_params(project.PARAMS.replace("replica:qwen3-4b-instruct-2507", source))
    assert done.command_here("summary").out.splitlines()[1] == f"  source          {source}"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"matrix": 1}', '{"matrix": {}}'])
def test_metrics_of_another_kind_are_refused(done: Project, content: str) -> None:
    (done.data / "measure.json").write_text(content)
    check_refused(done, "data/tiny/measure.json", "dvc repro")


def test_replica_is_called_a_replica(done: Project) -> None:
    done.write_params(project.PARAMS)
    lines = done.command_here("summary").out.splitlines()
    assert lines[1].strip().startswith("a replica")
    assert "qwen3-4b-instruct-2507: not the model's weights" in lines[1]
    assert lines[:1] + lines[2:] == SUMMARY.splitlines()


@pytest.mark.parametrize(
    ("ruler", "line"),
    [
        ("steps", "core            5 tokens, 3 vectors within 3 steps (83.33%)"),
        ("l2", "core            4 tokens, 2 vectors within 5e-05 in L2 (66.67%)"),
    ],
)
def test_core_under_another_ruler_is_printed_with_its_unit(
    done: Project, ruler: str, line: str
) -> None:
    content = project.golden(f"extract-{ruler}")["core_tokens.safetensors"]
    (done.data / "core_tokens.safetensors").write_bytes(content)
    assert line in done.command_here("summary").out


def test_model_without_a_cluster_says_so(tmp_path: Path) -> None:
    made = project.make_project(tmp_path, np.eye(4).astype(ml_dtypes.bfloat16), WITHOUT_SOURCE)
    for stage in ("cluster", "measure", "extract"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")
    assert made.command_here("summary") == Done(
        0,
        "Core of tiny\n  matrix          W, BF16\n"
        "  no cluster: no two tokens with non-zero rows are adjacent\n"
        "  file            data/tiny/core_tokens.safetensors\n",
        "",
    )


def test_origin_of_zeros_is_printed(tmp_path: Path) -> None:
    made = project.make_project(tmp_path, np.zeros((3, 2), np.float32), WITHOUT_SOURCE)
    made.write_cluster([0, 1, 2])
    for stage in ("measure", "extract"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")
    done = made.command_here("summary")
    assert (done.code, done.err) == (0, "")
    assert "2^-133" in done.out


def test_long_halo_is_cut_and_points_to_the_table(tmp_path: Path) -> None:
    rows = np.array([[2.0], [2.0], *([2.0 + 2 * n] for n in range(1, 31))], np.float32)
    made = project.make_project(tmp_path, rows, WITHOUT_SOURCE)
    made.write_cluster(list(range(32)))
    for stage in ("measure", "extract"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")
    lines = made.command_here("summary").out.splitlines()
    at = next(nth for nth, line in enumerate(lines) if line.split()[:1] == ["token"])
    assert len(lines) - at == 20 + 3
    assert lines[-2].strip() == "and 10 more in data/tiny/halo.csv"


# ---- what it refuses -------------------------------------------------------------------------


def test_model_that_is_not_listed_is_refused(done: Project) -> None:
    project.check_refusal(done.command_here("summary", "other"), "models", "'other'", "'tiny'")


@pytest.mark.parametrize("name", READ)
def test_missing_file_is_refused(done: Project, name: str) -> None:
    (done.data / name).unlink()
    check_refused(done, f"data/tiny/{name}", "no such file")


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("spoil", project.SPOILED.values(), ids=project.SPOILED)
def test_spoiled_file_is_refused(done: Project, name: str, spoil: Callable[[bytes], bytes]) -> None:
    project.spoil_file(done.data / name, spoil)
    check_refused(done, f"data/tiny/{name}", "safetensors file")


@pytest.mark.parametrize("name", READ)
def test_folder_in_place_of_a_file_is_refused(done: Project, name: str) -> None:
    project.replace_by_folder(done.data / name)
    check_refused(done, f"data/tiny/{name}", "folder")


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"cluster_token_ids": np.arange(3)},
        {"max_core_radius_ulp": np.ones(1, np.float32)},
        {"cluster_token_ids": np.ones(3), "max_core_radius_ulp": np.ones(1, np.float32)},
        {"cluster_token_ids": np.arange(3), "max_core_radius_ulp": np.ones(2, np.float32)},
        {"cluster_token_ids": np.arange(3), "max_core_radius_ulp": np.ones(1)},
    ],
)
def test_core_file_without_its_tensors_is_refused(
    done: Project, arrays: dict[str, NDArray[Any]]
) -> None:
    done.write_tensors("core_tokens.safetensors", arrays)
    check_refused(done, "data/tiny/core_tokens.safetensors")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("origin", [4]),
        ("origin", [-1]),
        ("ulp", [0]),
        ("ulp", [np.nan]),
        ("vector_of_token", [1, 1, 3, 3, 0, 9]),
        ("vector_of_token", [0, 0, 3, 3, 0, 2]),
    ],
)
def test_measurements_that_contradict_each_other_are_refused(
    done: Project, name: str, values: list[float]
) -> None:
    change(done, **{name: values})
    check_refused(done, "data/tiny/measurements.safetensors", name)


@pytest.mark.parametrize(("spoil", "mention"), project.BAD_PARAMS.values(), ids=project.BAD_PARAMS)
def test_bad_params_are_refused(
    done: Project, spoil: Callable[[Project], None], mention: str
) -> None:
    spoil(done)
    check_refused(done, "params.yaml", mention)


def test_missing_params_are_refused_by_the_process(tmp_path: Path) -> None:
    done = Project(tmp_path).command_process("summary")
    project.check_refusal(done, "params.yaml", "no such file")


def test_model_that_was_never_extracted_is_refused_by_the_process(done: Project) -> None:
    (done.data / "core_tokens.safetensors").unlink()
    project.check_refusal(done.command_process("summary"), "data/tiny/core_tokens.safetensors")
