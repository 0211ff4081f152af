from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray

import project
from core_tokens import core_file, tensors
from core_tokens.core import RULERS
from core_tokens.errors import FileError, TensorError
from project import Done, Project

NAME = "core_tokens.safetensors"
RADII = {"ulp": "2.0", "steps": "3", "l2": "5e-05"}
CORES = {"ulp": [1, 2, 3, 5, 9], "steps": [1, 2, 3, 5, 6], "l2": [1, 2, 3, 5]}
"""Those of the golden files."""


@pytest.fixture
def made(tmp_path: Path) -> Project:
    """Measurements and params.yaml, and the core of 2 ulp."""
    there = Project(tmp_path)
    there.write_params()
    there.data.mkdir(parents=True)
    for folder, name in (("measure", "measurements.safetensors"), ("extract-ulp", NAME)):
        (there.data / name).write_bytes(project.golden(folder)[name])
    return there


def tensors_of(path: Path) -> dict[str, NDArray[Any]]:
    return {
        name: tensor.numpy() for name, tensor in safetensors.torch.load(path.read_bytes()).items()
    }


# ---- what extract writes -----------------------------------------------------------------------


@pytest.mark.parametrize("ruler", RULERS)
def test_the_golden_cores_are_read(made: Project, ruler: str) -> None:
    (made.data / NAME).write_bytes(project.golden(f"extract-{ruler}")[NAME])
    found = core_file.read(made.data / NAME)
    assert found.token_ids.tolist() == CORES[ruler]
    assert found.token_ids.dtype == np.int64
    assert found.ruler == ruler
    assert found.radius == np.float32(float(RADII[ruler]))
    assert type(found.radius) is np.float32


@pytest.mark.parametrize("radius", ["0", "0.1", "1", "2.5", "3.4028234663852886e38"])
@pytest.mark.parametrize("ruler", RULERS)
def test_what_extract_writes_is_read(made: Project, ruler: str, radius: str) -> None:
    made.write_params(distance=ruler, radius=radius)
    assert made.stage_here("extract", "tiny") == Done(0, "", "")
    found = core_file.read(made.data / NAME)
    written = safetensors.torch.load((made.data / NAME).read_bytes())
    assert found.ruler == ruler
    assert found.token_ids.tolist() == written["cluster_token_ids"].tolist()
    assert found.radius == np.float32(float(radius))


def test_an_empty_core_is_read(made: Project) -> None:
    arrays = {**tensors_of(made.data / NAME), "cluster_token_ids": np.empty(0, np.int64)}
    made.write_tensors(NAME, arrays)
    found = core_file.read(made.data / NAME)
    assert found.token_ids.tolist() == []
    assert (found.ruler, float(found.radius)) == ("ulp", 2)


def test_only_the_core_and_its_radius_need_be_there(made: Project) -> None:
    safetensors.torch.save_file(
        {
            "cluster_token_ids": torch.tensor([5, 3]),
            "max_core_radius_steps": torch.tensor([7.0]),
            "more": torch.zeros(3, 3),
        },
        made.data / NAME,
    )
    found = core_file.read(made.data / NAME)
    assert found.token_ids.tolist() == [5, 3]
    assert (found.ruler, float(found.radius)) == ("steps", 7)


def test_the_rulers_are_those_that_tokens_are_measured_by() -> None:
    distances = [name for name in tensors.MEASUREMENTS if name.startswith("distance_")]
    assert [f"distance_{ruler}" for ruler in RULERS] == distances


# ---- what it refuses ---------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", project.SPOILED.values(), ids=project.SPOILED)
def test_a_spoiled_file_is_refused(made: Project, spoil: Callable[[bytes], bytes]) -> None:
    project.spoil_file(made.data / NAME, spoil)
    with pytest.raises(
        FileError, match=r"core_tokens\.safetensors: found .*safetensors file(:.*)?$"
    ):
        core_file.read(made.data / NAME)


def test_a_missing_file_and_a_folder_are_refused(made: Project) -> None:
    with pytest.raises(FileError, match="nowhere: found no such file"):
        core_file.read(made.data / "nowhere")
    with pytest.raises(FileError, match="found a folder"):
        core_file.read(made.data)


@pytest.mark.parametrize("name", ["max_core_radius", "max_core_radius_cosine", "radius"])
def test_a_core_without_a_radius_of_some_ruler_is_refused(made: Project, name: str) -> None:
    arrays = tensors_of(made.data / NAME)
    arrays[name] = arrays.pop("max_core_radius_ulp")
    made.write_tensors(NAME, arrays)
    with pytest.raises(
        TensorError, match="max_core_radius_ulp: found no such tensor; expected a c"
    ):
        core_file.read(made.data / NAME)


def test_a_core_without_the_ids_of_its_tokens_is_refused_and_those_there_are_listed(
    made: Project,
) -> None:
    arrays = tensors_of(made.data / NAME)
    arrays["ids"] = arrays.pop("cluster_token_ids")
    made.write_tensors(NAME, arrays)
    with pytest.raises(
        TensorError, match=r"cluster_token_ids: found no such tensor .*ids I64\[5\]"
    ):
        core_file.read(made.data / NAME)


@pytest.mark.parametrize(
    ("name", "array", "found"),
    [
        ("cluster_token_ids", np.array([1, 2], np.int32), r"I32\[2\]; expected I64\["),
        ("cluster_token_ids", np.array([1.0, 2.0], np.float32), r"F32\[2\]; expected I64\["),
        ("cluster_token_ids", np.array([[1, 2]]), r"I64\[1, 2\]; expected I64\["),
        ("max_core_radius_ulp", np.array([2.0]), r"F64\[1\]; expected F32\[1\]"),
        ("max_core_radius_ulp", np.array([2]), r"I64\[1\]; expected F32\[1\]"),
        ("max_core_radius_ulp", np.array([2, 3], np.float32), r"F32\[2\]; expected F32\[1\]"),
        ("max_core_radius_ulp", np.empty(0, np.float32), r"F32\[0\]; expected F32\[1\]"),
        ("max_core_radius_ulp", np.array(2, np.float32), r"F32\[\]; expected F32\[1\]"),
    ],
)
def test_a_tensor_of_another_kind_is_refused(
    made: Project, name: str, array: NDArray[Any], found: str
) -> None:
    made.write_tensors(NAME, {**tensors_of(made.data / NAME), name: array})
    with pytest.raises(TensorError, match=rf"core_tokens\.safetensors: {name}: found {found}"):
        core_file.read(made.data / NAME)


@pytest.mark.parametrize("radius", [np.nan, -1.0, -np.inf, np.inf])
def test_a_radius_that_extract_would_not_take_is_refused(made: Project, radius: float) -> None:
    arrays = {
        **tensors_of(made.data / NAME),
        "max_core_radius_ulp": np.array([radius], np.float32),
    }
    made.write_tensors(NAME, arrays)
    with pytest.raises(TensorError, match=r"core_tokens\.safetensors: max_core_radius_ulp: found"):
        core_file.read(made.data / NAME)
