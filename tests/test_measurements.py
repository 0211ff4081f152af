import itertools
import math
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import example, given
from numpy.typing import NDArray

import oracle
from core_tokens.bits import ordered
from core_tokens.errors import TensorError
from core_tokens.measurements import (
    NO_ORIGIN,
    Measurements,
    check_not_empty,
    check_token_ids,
    measure,
)
from strategies import BFLOAT16, DTYPES, OVERFLOW, WIDER, cases, from_bits

Case = tuple[NDArray[Any], NDArray[np.int64]]
ARRAYS = [
    "token_ids", "vector_of_token", "vectors", "populations",
    "distance_ulp", "distance_steps", "distance_l2",
]  # fmt: skip


def all_tokens(rows: list[list[float]], dtype: Any = BFLOAT16) -> Case:
    """A matrix of a few rows and all its tokens."""
    return np.array(rows).astype(dtype), np.arange(len(rows))


def agree(found: Measurements, expected: oracle.Measured) -> None:
    """Equal bit for bit."""
    bits = expected.vectors.view(torch.int16).numpy().view(np.uint16)
    assert found.vectors.view(np.uint16).tolist() == bits.tolist()
    assert found.vector_of_token.tolist() == expected.vector_of_token.tolist()
    assert found.populations.tolist() == expected.populations.tolist()
    assert (found.origin, found.ulp_exponent) == (expected.origin, expected.ulp_exponent)
    assert found.distance_ulp.tolist() == expected.distance_ulp.tolist()
    assert found.distance_steps.tolist() == expected.distance_steps.tolist()
    assert found.distance_l2.tolist() == expected.distance_l2


# Parity with the oracle.


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(data=st.data())
def test_measurements_are_those_of_the_procedure_in_torch(
    dtype: np.dtype[Any], data: st.DataObject
) -> None:
    matrix, token_ids = data.draw(cases([dtype]))
    agree(measure(matrix, token_ids), oracle.measure(matrix, token_ids))


def random_rows(seed: int, dims: int, scale: float) -> Case:
    """Copies of a few vectors a few steps around one, and their ids in any order."""
    draws = np.random.default_rng(seed)
    centre = draws.normal(0, scale, dims)
    vectors = centre * (1 + draws.integers(-3, 4, (12, dims)) * 2.0**-8)
    matrix = vectors[draws.integers(0, 12, 70)]
    return matrix, draws.permutation(70)[:50]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("dims", "scale"), [(1, 1), (2, 1e-38), (64, 0.005), (301, 1e3)])
@pytest.mark.parametrize("seed", range(3))
def test_a_cluster_of_many_dimensions_is_measured_as_in_torch(
    dtype: np.dtype[Any], dims: int, scale: float, seed: int
) -> None:
    matrix, token_ids = random_rows(seed, dims, scale)
    stored = matrix.astype(dtype)
    agree(measure(stored, token_ids), oracle.measure(stored, token_ids))


AWKWARD = {
    "one dimension": [[1.0], [-1.0], [1.0], [0.0]],
    "zeros of both signs": [[0.0, -0.0], [-0.0, 0.0], [-0.0, -0.0]],
    "a zero origin": [[0.0, 0.0], [-0.0, 0.0], [1.0, -2.0]],
    "subnormals": [[2.0**-133, -(2.0**-130)], [2.0**-132, 0.0], [2.0**-133, -(2.0**-130)]],
    "the largest of both signs": [[255 * 2.0**120] * 2, [-255 * 2.0**120] * 2],
    "all identical": [[0.5, 0.25]] * 4,
    "all distinct": [[float(n), 1.0] for n in range(5)],
    "a tie for the origin": [[3.0], [1.0], [2.0], [3.0], [2.0]],
    "a tie that only -0 makes": [[0.0, 1.0], [2.0, 1.0], [-0.0, 1.0], [2.0, 1.0]],
}


@pytest.mark.parametrize("dtype", [BFLOAT16, np.float32, np.float64], ids=str)
@pytest.mark.parametrize("rows", AWKWARD.values(), ids=AWKWARD)
def test_an_awkward_matrix_is_measured_as_in_torch(rows: list[list[float]], dtype: Any) -> None:
    matrix, token_ids = all_tokens(rows, dtype)
    agree(measure(matrix, token_ids), oracle.measure(matrix, token_ids))


# Hand-made.


def test_measurements_of_a_small_matrix() -> None:
    matrix, _ = all_tokens([[9, 9], [1, 2], [1, -2], [0, 0], [1, 2], [1, 2.5]])
    found = measure(matrix, np.array([5, 4, 2, 1]))
    assert found.token_ids.tolist() == [5, 4, 2, 1]
    assert found.vectors.astype(float).tolist() == [[1, -2], [1, 2], [1, 2.5]]
    assert found.vector_of_token.tolist() == [2, 1, 0, 1]
    assert found.populations.tolist() == [1, 2, 1]
    assert (found.origin, found.ulp_exponent) == (1, -7)  # the lower median of 1 and 2
    assert found.distance_ulp.tolist() == [512, 0, 64]
    assert found.distance_steps.tolist() == [2 * 0x4000, 0, 32]
    assert found.distance_l2.tolist() == [4, 0, 0.5]
    assert found.changed_tokens == 0


def test_the_types_are_those_of_the_file() -> None:
    found = measure(*all_tokens([[1.0, 2.0], [3.0, 4.0]], np.float32))
    assert {name: getattr(found, name).dtype.name for name in ARRAYS} == {
        "token_ids": "int64",
        "vector_of_token": "int64",
        "vectors": "bfloat16",
        "populations": "int64",
        "distance_ulp": "float32",
        "distance_steps": "int64",
        "distance_l2": "float32",
    }


def test_of_equally_populated_vectors_the_first_in_order_is_the_origin() -> None:
    found = measure(*all_tokens([[2, 5], [-1, 7], [2, 5], [-1, 7], [-3, 0]]))
    assert found.populations.tolist() == [1, 2, 2]
    assert found.origin == 1


@pytest.mark.parametrize("dtype", WIDER, ids=str)
def test_rows_that_round_to_the_same_vector_are_one_and_counted_as_changed(dtype: Any) -> None:
    above = 1 + 2.0**-10
    found = measure(*all_tokens([[1.0, 1.0], [above, 1.0], [1.0, above], [3.0, -0.0]], dtype))
    assert found.populations.tolist() == [3, 1]
    assert found.changed_tokens == 2


@pytest.mark.parametrize("count", [1, 255, 256, 257, 700])
def test_all_changed_tokens_are_counted(count: int) -> None:
    matrix = np.ones((count, 2), np.float32)
    matrix[::3, 1] += np.float32(2.0**-20)
    assert measure(matrix, np.arange(count)[::-1]).changed_tokens == (count + 2) // 3


def test_the_largest_float16_is_changed_to_a_bfloat16_beyond_float16() -> None:
    found = measure(*all_tokens([[65504.0], [65504.0], [1.0]], np.float16))
    assert found.vectors.astype(float).tolist() == [[1], [65536]]
    assert found.changed_tokens == 2


def test_a_distance_beyond_float32_is_infinite_without_a_warning() -> None:
    largest = 255 * 2.0**120
    found = measure(*all_tokens([[largest], [-largest]]))
    assert found.distance_ulp.tolist() == [0, math.inf]
    assert found.distance_l2.tolist() == [0, math.inf]
    assert found.distance_steps.tolist() == [0, 2 * 32639]


def test_a_matrix_mapped_from_a_file_is_measured_as_one_in_memory(tmp_path: Path) -> None:
    matrix, token_ids = random_rows(5, 7, 1.0)
    stored = matrix.astype(BFLOAT16)
    (tmp_path / "W").write_bytes(b"x" + stored.tobytes())
    flat = np.memmap(tmp_path / "W", np.uint8, "r", offset=1)
    mapped = flat.view(BFLOAT16).reshape(stored.shape)
    agree(measure(mapped, token_ids), oracle.measure(stored, token_ids))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_no_tokens_are_measured_as_nothing(dtype: Any) -> None:
    found = measure(np.ones((4, 3)).astype(dtype), np.empty(0, np.int64))
    assert (found.origin, found.ulp_exponent, found.changed_tokens) == (-1, -133, 0)
    assert NO_ORIGIN == -1
    assert found.vectors.shape == (0, 3)
    assert found.vectors.dtype == BFLOAT16
    assert [len(getattr(found, name)) for name in ARRAYS] == [0] * 7


# Laws.


@given(cases())
@example((from_bits([[0x8000, 0x3F80], [0x0000, 0x3F80]]), np.array([0, 1])))
def test_what_holds_of_any_measurements(case: Case) -> None:
    matrix, token_ids = case
    found = measure(matrix, token_ids)
    places = [tuple(row) for row in ordered(found.vectors).tolist()]
    assert all(one < other for one, other in itertools.pairwise(places))
    assert 0x8000 not in found.vectors.view(np.uint16)
    assert found.populations.sum() == len(token_ids)
    assert found.populations.tolist() == np.bincount(found.vector_of_token).tolist()
    assert found.populations[found.origin] == found.populations.max()
    for distance in (found.distance_ulp, found.distance_steps, found.distance_l2):
        assert distance[found.origin] == 0
    assert found.token_ids is token_ids
    assert 0 <= found.changed_tokens <= len(token_ids)


@given(cases(), st.data())
def test_a_permutation_of_the_tokens_permutes_the_result(case: Case, data: st.DataObject) -> None:
    matrix, token_ids = case
    order = np.array(data.draw(st.permutations(range(len(token_ids)))))
    found, permuted = measure(matrix, token_ids), measure(matrix, token_ids[order])
    assert permuted.vector_of_token.tolist() == found.vector_of_token[order].tolist()
    for name in ARRAYS[2:]:
        assert getattr(permuted, name).tobytes() == getattr(found, name).tobytes()
    assert permuted.origin == found.origin
    assert permuted.ulp_exponent == found.ulp_exponent
    assert permuted.changed_tokens == found.changed_tokens


@given(cases())
def test_rows_of_other_tokens_change_nothing(case: Case) -> None:
    matrix, token_ids = case
    alone = np.full_like(matrix, np.nan)
    alone[token_ids] = matrix[token_ids]
    found, expected = measure(alone, token_ids), measure(matrix, token_ids)
    for name in ARRAYS:
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()


@given(cases())
def test_measuring_the_bfloat16_rows_themselves_gives_the_same(case: Case) -> None:
    matrix, token_ids = case
    found = measure(matrix, token_ids)
    again = measure(found.vectors[found.vector_of_token], np.arange(len(token_ids)))
    for name in ARRAYS[1:]:
        assert getattr(again, name).tobytes() == getattr(found, name).tobytes()
    assert again.changed_tokens == 0


# What is refused.


@pytest.mark.parametrize(
    ("token_ids", "message"),
    [
        ([0, -1, -7], r"^cluster_token_ids: found the negative id -7; expected ids from 0 to 3$"),
        ([0, 9, 4], r"^cluster_token_ids: found the id 9; expected ids from 0 to 3, .* 4 rows$"),
        ([4], r"found the id 4; expected ids from 0 to 3"),
        ([2, 1, 3, 1, 2], r"^cluster_token_ids: found the id 1 more than once; expected .* once$"),
    ],
)
def test_wrong_ids_are_refused(token_ids: list[int], message: str) -> None:
    with pytest.raises(TensorError, match=message):
        measure(np.ones((4, 2), BFLOAT16), np.array(token_ids))
    with pytest.raises(TensorError, match=message):
        check_token_ids(np.array(token_ids), 4)


def test_right_ids_are_accepted_in_any_order() -> None:
    check_token_ids(np.array([3, 0, 2]), 4)
    check_token_ids(np.empty(0, np.int64), 4)


def test_an_empty_list_is_refused_where_one_is_needed() -> None:
    with pytest.raises(TensorError, match=r"^cluster_token_ids: found no ids; expected .* one$"):
        check_not_empty(np.empty(0, np.int64))
    check_not_empty(np.array([0]))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_is_refused_by_its_token_and_dimension(
    dtype: Any, value: float
) -> None:
    rows = np.ones((6, 3))
    rows[4, 1] = value
    matrix = rows.astype(dtype)
    message = rf"^W: found {value} as bfloat16 at row 4, dimension 1; expected finite values"
    with pytest.raises(TensorError, match=message):
        measure(matrix, np.array([5, 4, 0]))
    assert measure(matrix, np.array([5, 3, 0])).populations.tolist() == [3]


@pytest.mark.parametrize(
    ("bits", "dtype"),
    [(0x7F81, BFLOAT16), (0x7C01, np.float16), (0x7F800001, np.float32), (0x7FF << 52 | 1, "f8")],
)
def test_a_signalling_nan_is_refused_without_a_warning(bits: int, dtype: Any) -> None:
    matrix = from_bits([[bits]], np.dtype(dtype))
    with pytest.raises(TensorError, match=r"^W: found nan as bfloat16 at row 0, dimension 0;"):
        measure(matrix, np.array([0]))


@pytest.mark.parametrize(("dtype", "value"), [("f4", OVERFLOW), ("f8", -OVERFLOW), ("f8", 1e300)])
def test_a_value_that_only_bfloat16_cannot_hold_is_refused(dtype: str, value: float) -> None:
    matrix = np.array([[1.0, value]], dtype)
    inf = "-inf" if value < 0 else "inf"
    with pytest.raises(TensorError, match=f"^W: found {inf} as bfloat16 at row 0, dimension 1;"):
        measure(matrix, np.array([0]))
    below = np.nextafter(matrix, 0) if abs(value) == OVERFLOW else matrix / 1e299
    assert measure(below, np.array([0])).populations.tolist() == [1]
