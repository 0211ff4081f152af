import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

import core_tokens
from core_tokens import core, measurements, tensors
from core_tokens.errors import TensorError, UsageError
from core_tokens.measurements import FLOATS, Precision
from measured import Case, all_tokens, any_cases, random_rows, same
from strategies import BFLOAT16, FLOAT32
from torch_devices import can_hold, each_device, on


def run(code: str) -> Any:
    """What a fresh interpreter prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# The package.


def test_importing_the_package_loads_neither_numbers_nor_torch() -> None:
    loaded = run("import json, sys, core_tokens; print(json.dumps(sorted(sys.modules)))")
    assert "core_tokens" in loaded
    assert not {"numpy", "torch", "core_tokens.api", "core_tokens.errors"} & set(loaded)


def test_arrays_are_measured_where_there_is_no_torch() -> None:
    found = run(
        "import json, sys; sys.modules['torch'] = None\n"
        "import numpy, core_tokens\n"
        "measured = core_tokens.measure(numpy.ones((3, 2)), [0, 2])\n"
        "print(json.dumps(measured.populations.tolist()))"
    )
    assert found == [2]


def test_arrays_are_measured_without_importing_torch() -> None:
    assert not run(
        "import json, sys, numpy, core_tokens\n"
        "core_tokens.core_within(core_tokens.measure(numpy.ones((3, 2)), [0, 2]), 3)\n"
        "print(json.dumps('torch' in sys.modules))"
    )


def test_the_names_of_the_package_are_there_and_no_others() -> None:
    assert core_tokens.__all__ == ["core_within", "load", "load_vectors", "measure"]
    assert set(core_tokens.__all__) <= set(dir(core_tokens))
    assert core_tokens.measure.__module__ == "core_tokens.api"
    for name in core_tokens.__all__:
        assert "Raises:" in getattr(core_tokens, name).__doc__
    with pytest.raises(AttributeError, match="'core_tokens' has no attribute 'mesure'"):
        core_tokens.mesure  # type: ignore[attr-defined] # noqa: B018 # what is tested


def test_the_dtypes_are_those_of_a_file() -> None:
    assert set(tensors.FLOATS.values()) == set(FLOATS.values())
    for name, dtype in FLOATS.items():
        assert (np.dtype(dtype).name, f"{getattr(torch, name)}") == (name, f"torch.{name}")


# Measuring.


@each_device
@given(of=any_cases())
def test_arrays_and_tensors_are_measured_with_the_same_bytes(
    device: str, of: tuple[Case, Precision]
) -> None:
    (matrix, token_ids), precision = of
    expected = measurements.measure(matrix, token_ids, precision)
    same(core_tokens.measure(matrix, token_ids, precision), expected)
    if can_hold(device, matrix.dtype):
        same(core_tokens.measure(on(device, matrix), token_ids, precision), expected)


@each_device
def test_ids_of_an_array_may_be_of_any_kind(device: str) -> None:
    matrix, token_ids = random_rows(0, 8, 0.1)
    expected = measurements.measure(matrix, token_ids)
    tensor = torch.from_numpy(token_ids)
    for kind in (
        token_ids, token_ids.tolist(), tuple(token_ids.tolist()), token_ids.astype(np.uint32),
        token_ids.astype(">i2"), np.stack([token_ids] * 2, axis=1)[:, 0], tensor, tensor.int(),
        tensor.to(device),
    ):  # fmt: skip
        same(core_tokens.measure(matrix, kind), expected)


def test_a_mapped_file_is_measured(tmp_path: Path) -> None:
    matrix, token_ids = random_rows(1, 8, 0.1)
    np.save(tmp_path / "W.npy", matrix)
    mapped = np.load(tmp_path / "W.npy", mmap_mode="r")
    same(core_tokens.measure(mapped, token_ids), measurements.measure(matrix, token_ids))


@pytest.mark.parametrize(
    ("matrix", "found"),
    [
        (np.ones((4, 2), np.int64), "int64[4, 2]"),
        (np.ones((4, 2), np.bool_), "bool[4, 2]"),
        (np.ones((4, 2), np.complex64), "complex64[4, 2]"),
        (np.ones((4, 2), object), "object[4, 2]"),
        (np.ones((4, 2), ">f4"), ">f4[4, 2]"),
        (np.ones(4, np.float32), "float32[4]"),
        (np.ones((1, 4, 2), np.float32), "float32[1, 4, 2]"),
        (np.ones((0, 2), np.float32), "float32[0, 2]"),
        (np.ones((4, 0), np.float32), "float32[4, 0]"),
        ([[1.0, 2.0]], "list"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_matrix_of_floats_is_refused(matrix: Any, found: str) -> None:
    with pytest.raises(TensorError) as refused:
        core_tokens.measure(matrix, [0])
    assert str(refused.value).startswith(f"W: found {found}; expected a ")


@pytest.mark.parametrize(
    ("token_ids", "found"),
    [
        ([0.0, 1.0], "float64[2]"),
        ([True, False], "bool[2]"),
        (["0"], "<U1[1]"),
        ([2**63], "uint64[1]"),
        ([2**64], "object[1]"),
        (np.array([0, 1], np.uint64), "uint64[2]"),
        ([[0, 1]], "int64[1, 2]"),
        (0, "int64[]"),
        (None, "object[]"),
        (torch.tensor([0.5]).bfloat16(), "float64[1]"),
        (torch.tensor(1), "int64[]"),
    ],
)
def test_what_is_no_list_of_integers_is_refused(token_ids: Any, found: str) -> None:
    matrix = np.ones((4, 2), np.float32)
    for one in (matrix, torch.from_numpy(matrix)):
        with pytest.raises(TensorError) as refused:
            core_tokens.measure(one, token_ids)
        assert str(refused.value) == (
            f"cluster_token_ids: found {found}; expected a list of integers, int64[n]"
        )


@pytest.mark.parametrize("precision", ["float32", "", "Native", None])
def test_a_precision_that_is_not_known_is_refused(precision: Any) -> None:
    for matrix in (np.ones((4, 2), BFLOAT16), torch.ones(4, 2)):
        with pytest.raises(UsageError) as refused:
            core_tokens.measure(matrix, [0], precision)
        assert str(refused.value) == (
            f"precision: found {precision!r}; expected bfloat16 or native"
        )


# The core.


@given(any_cases(), st.sampled_from(["ulp", "steps", "l2"]), st.floats(0, 1e38))
def test_a_core_is_that_of_the_stage(
    of: tuple[Case, Precision], distance: Any, radius: float
) -> None:
    (matrix, token_ids), precision = of
    measured = core_tokens.measure(matrix, token_ids, precision)
    found = core_tokens.core_within(measured, radius, distance)
    distances = getattr(measured, f"distance_{distance}")
    expected = core.core_within(radius, distances, measured.vector_of_token, token_ids)
    assert found.token_ids.tolist() == expected.token_ids.tolist()
    assert found.halo_token_ids.tolist() == expected.halo_token_ids.tolist()
    assert (found.vectors, found.halo_vectors) == (expected.vectors, expected.halo_vectors)
    assert found.radius == np.float32(radius)


def test_the_core_of_a_small_matrix_under_each_ruler() -> None:
    matrix, _ = all_tokens([[1, 2], [1, 2], [1, 2.5], [1.0078125, 2], [-1, 2]], FLOAT32)
    measured = core_tokens.measure(matrix, [4, 3, 2, 1, 0])
    assert core_tokens.core_within(measured, 1).token_ids.tolist() == [3, 1, 0]
    assert core_tokens.core_within(measured, 1).halo_token_ids.tolist() == [4, 2]
    assert core_tokens.core_within(measured, 32, "steps").token_ids.tolist() == [3, 2, 1, 0]
    assert core_tokens.core_within(measured, 0.5, "l2").token_ids.tolist() == [3, 2, 1, 0]
    assert core_tokens.core_within(measured, 0).vectors == 1


@pytest.mark.parametrize("radius", [-1, -1e-9, float("nan"), float("inf"), 1e39])
def test_a_radius_that_is_none_is_refused(radius: float) -> None:
    measured = core_tokens.measure(np.ones((2, 2)), [0, 1])
    with pytest.raises(UsageError) as refused:
        core_tokens.core_within(measured, radius)
    message = f"radius: found {radius!r}; expected a number from 0 to 3.403e+38"
    assert str(refused.value) == message


@pytest.mark.parametrize("distance", ["cosine", "", "distance_ulp", None])
def test_a_distance_that_is_not_known_is_refused(distance: Any) -> None:
    measured = core_tokens.measure(np.ones((2, 2)), [0, 1])
    with pytest.raises(UsageError) as refused:
        core_tokens.core_within(measured, 1, distance)
    assert str(refused.value) == f"distance: found {distance!r}; expected one of ulp, steps, l2"
