import json
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
from project import Done, Project

OUTPUTS = {"cluster_tokens.safetensors", "cluster.json", "populations.csv"}


@pytest.fixture
def ready(tmp_path: Path) -> Project:
    return project.make_project(tmp_path)


@pytest.fixture
def done(tmp_path: Path) -> Project:
    return project.made_project(tmp_path, "cluster")


def cluster_ids(made: Project) -> list[int]:
    content = (made.data / "cluster_tokens.safetensors").read_bytes()
    ids: list[int] = safetensors.torch.load(content)["cluster_token_ids"].tolist()
    return ids


def metrics(made: Project) -> Any:
    return json.loads((made.data / "cluster.json").read_text())


# ---- what it writes --------------------------------------------------------------------------


def test_process_writes_the_golden_files_and_no_others(ready: Project) -> None:
    assert ready.stage_process("cluster", "tiny") == Done(0, "", "")
    assert ready.files() == {"W.safetensors", *OUTPUTS}
    expected = project.golden("cluster")
    assert expected.keys() == OUTPUTS
    assert {name: (ready.data / name).read_bytes() for name in OUTPUTS} == expected


def test_golden_cluster_is_what_plain_torch_finds() -> None:
    bits = project.tiny_matrix().view(np.int16)
    rows = torch.from_numpy(bits).view(torch.bfloat16).double()
    near = (rows[:, None] - rows[None]).square().sum(dim=2).sqrt() < 0.002
    alive = rows.any(dim=1)
    near &= alive[:, None] & alive[None]
    for _ in range(len(rows)):
        near |= (near.float() @ near.float()) > 0
    ids = near[near.sum(dim=1).argmax()].nonzero().flatten()
    mask = torch.zeros(len(rows), dtype=torch.bool)
    mask[ids] = True
    assert ids.tolist() == project.CLUSTER_IDS
    assert project.golden("cluster")["cluster_tokens.safetensors"] == safetensors.torch.save({
        "cluster_token_ids": ids,
        "cluster_mask": mask,
        "adjacency_threshold": torch.tensor([0.002]),
    })  # fmt: skip


def test_golden_neighbourhood_is_what_plain_torch_counts() -> None:
    rows = torch.from_numpy(project.tiny_matrix().view(np.int16)).view(torch.bfloat16)
    distance = (rows - rows[1]).abs().amax(dim=1).double() / project.UNIT
    found = json.loads(project.golden("cluster")["cluster.json"])["within"]["ulp"]
    assert {int(radius): tokens for radius, tokens in found.items()} == {
        2**power: int((distance <= 2**power).sum()) for power in range(11)
    }


def test_second_run_writes_the_same_bytes(done: Project) -> None:
    before = {name: (done.data / name).read_bytes() for name in OUTPUTS}
    assert done.stage_here("cluster", "tiny") == Done(0, "", "")
    assert {name: (done.data / name).read_bytes() for name in OUTPUTS} == before


def test_does_not_import_torch(ready: Project) -> None:
    modules = project.modules_after("cluster", ready.folder)
    assert "core_tokens" in modules
    assert "torch" not in modules


def test_only_models_that_are_to_be_discovered_are_run(ready: Project) -> None:
    ready.write_params(discover="[other]")
    project.check_stage_refuses(ready, "cluster", "cluster.discover", "'tiny'", "'other'")


def test_matrix_among_other_tensors_is_found(ready: Project) -> None:
    ready.write_tensors(
        "W.safetensors", {"W": project.tiny_matrix(), "bias": np.zeros(3, np.float32)}
    )
    assert ready.stage_here("cluster", "tiny") == Done(0, "", "")
    assert cluster_ids(ready) == project.CLUSTER_IDS


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_matrix_of_another_dtype_is_taken_as_stored(
    ready: Project, dtype: type[np.floating[Any]]
) -> None:
    matrix = project.tiny_matrix().astype(dtype)
    assert (matrix == project.tiny_matrix()).all()
    ready.write_tensors("W.safetensors", {"W": matrix})
    assert ready.stage_here("cluster", "tiny") == Done(0, "", "")
    assert cluster_ids(ready) == project.CLUSTER_IDS


# ---- matrices without a cluster, and awkward ones --------------------------------------------


@pytest.mark.parametrize(
    ("matrix", "zero_rows"),
    [
        (np.eye(5), 0),
        (np.zeros((4, 3)), 4),
        (np.ones((1, 1)), 0),
        (np.vstack([np.eye(3), np.zeros((2, 3))]), 2),
    ],
    ids=["far apart", "all zero", "a single row", "zeros beside far ones"],
)
def test_matrix_without_a_cluster_gives_an_empty_one(
    tmp_path: Path, matrix: NDArray[Any], zero_rows: int
) -> None:
    made = project.make_project(tmp_path, matrix.astype(ml_dtypes.bfloat16))
    assert made.stage_here("cluster", "tiny") == Done(0, "", "")
    found = metrics(made)
    assert cluster_ids(made) == []
    assert found["cluster"] == {"tokens": 0, "vectors": 0, "percent": 0}
    assert found["nearest_outsider"] == {"l2": 0, "thresholds": 0}
    assert found["matrix"]["zero_rows"] == zero_rows
    expected = {
        "cluster_token_ids": torch.empty(0, dtype=torch.int64),
        "cluster_mask": torch.zeros(len(matrix), dtype=torch.bool),
        "adjacency_threshold": torch.tensor([0.002]),
    }
    content = (made.data / "cluster_tokens.safetensors").read_bytes()
    assert content == safetensors.torch.save(expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("others", ["finite", "none"])
def test_row_that_is_not_finite_stays_outside_the_cluster(
    tmp_path: Path, bad: float, others: str
) -> None:
    rows = [[1.0, 1.0], [1.0, 1.0], [bad, 1.0]] + ([[2.0, 2.0]] if others == "finite" else [])
    made = project.make_project(tmp_path, np.array(rows, np.float32))
    assert made.stage_here("cluster", "tiny") == Done(0, "", "")
    assert cluster_ids(made) == [0, 1]
    assert metrics(made)["matrix"]["rows"] == len(rows)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_identical_rows_that_are_not_finite_are_no_cluster(tmp_path: Path, bad: float) -> None:
    made = project.make_project(tmp_path, np.array([[bad, 1], [bad, 1], [5, 5]], np.float32))
    assert made.stage_here("cluster", "tiny") == Done(0, "", "")
    assert cluster_ids(made) == []


def test_outsider_too_far_for_float64_is_no_obstacle(tmp_path: Path) -> None:
    made = project.make_project(tmp_path, np.array([[1, 1], [1, 1], [1e200, 1e200]]))
    assert made.stage_here("cluster", "tiny") == Done(0, "", "")
    assert cluster_ids(made) == [0, 1]


@pytest.mark.parametrize("threshold", ["1e-30", "1e-38", "3e38"])
def test_threshold_at_the_ends_of_float32_is_taken(ready: Project, threshold: str) -> None:
    ready.write_params(adjacency_threshold=threshold)
    assert ready.stage_here("cluster", "tiny") == Done(0, "", "")
    assert metrics(ready)["adjacency_threshold"] == float(threshold)
    assert cluster_ids(ready) == ([1, 2] if threshold.startswith("1") else ALIVE)


ALIVE = [0, 1, 2, 3, 5, 6, 7, 9, 10, 11]


def test_metrics_are_nested_numbers_and_nothing_else(done: Project) -> None:
    def check(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                assert isinstance(key, str)
                check(inner)
        else:
            assert type(value) in (int, float)
            assert np.isfinite(value)

    check(metrics(done))


# ---- what it refuses -------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", project.SPOILED.values(), ids=project.SPOILED)
def test_spoiled_matrix_file_is_refused(done: Project, spoil: Callable[[bytes], bytes]) -> None:
    project.spoil_file(done.data / "W.safetensors", spoil)
    project.check_stage_refuses(done, "cluster", "data/tiny/W.safetensors", "safetensors file")


@pytest.mark.parametrize(
    "name", ["empty", "truncated data", "header length beyond the file", "offsets overlap"]
)
def test_spoiled_matrix_file_is_refused_by_the_process(done: Project, name: str) -> None:
    project.spoil_file(done.data / "W.safetensors", project.SPOILED[name])
    project.check_stage_refuses(done, "cluster", "data/tiny/W.safetensors", process=True)


@pytest.mark.parametrize("process", [False, True])
def test_missing_matrix_is_refused(done: Project, process: bool) -> None:
    (done.data / "W.safetensors").unlink()
    project.check_stage_refuses(
        done, "cluster", "data/tiny/W.safetensors", "no such file", process=process
    )


def test_missing_folder_of_the_model_is_refused_and_not_made(tmp_path: Path) -> None:
    made = Project(tmp_path)
    made.write_params()
    project.check_stage_refuses(made, "cluster", "data/tiny/W.safetensors", "no such file")


def test_folder_in_place_of_the_matrix_is_refused(done: Project) -> None:
    project.replace_by_folder(done.data / "W.safetensors")
    project.check_stage_refuses(done, "cluster", "data/tiny/W.safetensors", "folder")


@pytest.mark.parametrize(
    ("tensors", "mentions"),
    [
        ({}, ("W.safetensors: W", "no tensors")),
        ({"w": np.ones((2, 2), np.float32)}, ("W.safetensors: W", "w F32[2, 2]")),
        ({"W": np.ones(4, np.float32)}, ("W.safetensors: W", "F32[4]", "[vocab, dim]")),
        ({"W": np.ones((2, 2, 2), np.float32)}, ("F32[2, 2, 2]", "[vocab, dim]")),
        ({"W": np.ones((), np.float32)}, ("F32[]", "[vocab, dim]")),
        ({"W": np.ones((2, 2), np.int32)}, ("I32[2, 2]", "BF16")),
        ({"W": np.ones((2, 2), np.int8)}, ("I8[2, 2]", "BF16")),
        ({"W": np.ones((2, 2), np.bool_)}, ("BOOL[2, 2]", "BF16")),
        ({"W": np.ones((0, 4), np.float32)}, ("F32[0, 4]", "[vocab, dim]")),
        ({"W": np.ones((4, 0), np.float32)}, ("F32[4, 0]", "[vocab, dim]")),
    ],
)
def test_tensor_that_is_no_matrix_of_floats_is_refused(
    done: Project, tensors: dict[str, NDArray[Any]], mentions: tuple[str, ...]
) -> None:
    done.write_tensors("W.safetensors", tensors)
    project.check_stage_refuses(done, "cluster", "data/tiny/W.safetensors", *mentions)


@pytest.mark.parametrize(
    ("tensors", "mention"),
    [
        ({"lm_head.weight": np.ones((2, 2), np.float32)}, "lm_head.weight F32[2, 2]"),
        ({"W": np.ones((2, 2, 2), np.float32)}, "F32[2, 2, 2]"),
    ],
)
def test_wrong_tensor_is_refused_by_the_process(
    done: Project, tensors: dict[str, NDArray[Any]], mention: str
) -> None:
    done.write_tensors("W.safetensors", tensors)
    project.check_stage_refuses(done, "cluster", "W.safetensors: W", mention, process=True)


@pytest.mark.parametrize(("spoil", "mention"), project.BAD_PARAMS.values(), ids=project.BAD_PARAMS)
def test_bad_params_are_refused(
    done: Project, spoil: Callable[[Project], None], mention: str
) -> None:
    spoil(done)
    project.check_stage_refuses(done, "cluster", "params.yaml", mention)


@pytest.mark.parametrize("name", ["missing", "not YAML", "a misspelt section", "threshold 0"])
def test_bad_params_are_refused_by_the_process(done: Project, name: str) -> None:
    spoil, mention = project.BAD_PARAMS[name]
    spoil(done)
    project.check_stage_refuses(done, "cluster", "params.yaml", mention, process=True)


@pytest.mark.parametrize(
    ("arguments", "mention"), project.WRONG_ARGUMENTS.values(), ids=project.WRONG_ARGUMENTS
)
def test_wrong_arguments_are_refused(
    done: Project, arguments: tuple[str, ...], mention: str
) -> None:
    project.check_stage_refuses(done, "cluster", mention, arguments=arguments)


@pytest.mark.parametrize("name", ["no model", "the folder above"])
def test_wrong_arguments_are_refused_by_the_process(done: Project, name: str) -> None:
    arguments, mention = project.WRONG_ARGUMENTS[name]
    project.check_stage_refuses(done, "cluster", mention, arguments=arguments, process=True)


# ---- a threshold of its own, the tokens' classes, what bfloat16 would lose ---------------------


def test_threshold_of_its_own_takes_the_place_of_the_common_one(ready: Project) -> None:
    alone = project.PARAMS.replace("discover: [tiny]", "discover: []\n  discover_at: {tiny: 1e-9}")
    ready.write_params(alone)
    assert ready.stage_here("cluster", "tiny") == Done(0, "", "")
    assert metrics(ready)["adjacency_threshold"] == 1e-9
    assert metrics(ready)["cluster"]["tokens"] == 2


@pytest.mark.parametrize(
    ("own", "mention"),
    [
        ("{tiny: 0.1}", "cluster.discover has too"),
        ("{other: 0}", "cluster.discover_at.other"),
        ("{other: .nan}", "cluster.discover_at.other"),
        ("{other: x}", "cluster.discover_at.other: found 'x'; expected a number"),
        ("{other: null}", "cluster.discover_at.other"),
        ("{Other: 1}", "'Other'"),
        ("[tiny]", "cluster.discover_at"),
    ],
)
def test_threshold_of_its_own_that_is_none_is_refused(
    done: Project, own: str, mention: str
) -> None:
    both = project.PARAMS.replace("discover: [tiny]", f"discover: [tiny]\n  discover_at: {own}")
    done.write_params(both)
    project.check_stage_refuses(done, "cluster", "params.yaml: cluster.discover_at", mention)


def test_classes_of_vocabulary_and_cluster_are_counted(ready: Project) -> None:
    kinds = ["special", *["ordinary"] * 8, *["byte"] * 2, "padding"]
    text = json.dumps([{"class": kind, "text": None} for kind in kinds])
    (ready.data / "vocab.json").write_text(text)
    assert ready.stage_here("cluster", "tiny") == Done(0, "", "")
    assert metrics(ready)["matrix"]["classes"] == {
        "ordinary": 8, "special": 1, "byte": 2, "unreachable": 0, "padding": 1,
    }  # fmt: skip
    assert metrics(ready)["cluster"]["classes"] == {
        "ordinary": 5, "special": 0, "byte": 1, "unreachable": 0, "padding": 0,
    }  # fmt: skip


def test_rows_that_bfloat16_would_change_are_counted(ready: Project) -> None:
    rows = project.tiny_matrix().astype(np.float32)
    rows[[0, 7, 10], 3] *= 1 + 2.0**-20
    ready.write_tensors("W.safetensors", {"W": rows})
    assert ready.stage_here("cluster", "tiny") == Done(0, "", "")
    assert metrics(ready)["cast"] == {"stored_bits": 32, "changed_rows": 3}


def test_vocabulary_that_does_not_fit_is_refused(done: Project) -> None:
    (done.data / "vocab.json").write_text('[{"class": "ordinary", "text": "a"}]')
    project.check_stage_refuses(done, "cluster", "data/tiny/vocab.json", "1 tokens", "12")
