import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray

import oracle
from core_tokens.core import Core, check_measurements, core_within
from core_tokens.errors import TensorError
from core_tokens.measurements import Measurements, measure
from strategies import cases

Case = tuple[NDArray[Any], NDArray[np.int64]]
RULERS = ["distance_ulp", "distance_steps", "distance_l2"]
LARGEST = float(np.finfo(np.float32).max)
each_ruler = pytest.mark.parametrize("ruler", RULERS)


def core_of(measured: Measurements, ruler: str, radius: float) -> Core:
    """The core of some measurements under one ruler."""
    return core_within(
        radius, getattr(measured, ruler), measured.vector_of_token, measured.token_ids
    )


def radii(distance: NDArray[Any]) -> st.SearchStrategy[float]:
    """Radii around which the core changes: the distances, and float32 just beside them."""
    finite = np.append(distance[np.isfinite(distance)], 0).astype(np.float32)
    below = np.maximum(np.nextafter(finite, np.float32(-1)), 0)
    above = np.minimum(np.nextafter(finite, np.float32(np.inf)), np.float32(LARGEST))
    edges = sorted({*finite.tolist(), *below.tolist(), *above.tolist(), 3.0, LARGEST})
    return st.sampled_from(edges) | st.floats(0, LARGEST)


@each_ruler
@settings(max_examples=50)
@given(case=cases(), data=st.data())
def test_the_core_is_that_of_the_procedure_in_torch(
    ruler: str, case: Case, data: st.DataObject
) -> None:
    matrix, token_ids = case
    measured, expected = measure(matrix, token_ids), oracle.measure(matrix, token_ids)
    if ruler == "distance_l2":
        distance = torch.from_numpy(measured.distance_l2)  # held to the exact one elsewhere
    else:
        distance = getattr(expected, ruler)
    radius = data.draw(radii(distance.numpy()))
    core = core_of(measured, ruler, radius)
    ids, halo_ids = oracle.core(distance, radius, expected, token_ids)
    assert core.token_ids.tolist() == ids
    assert core.halo_token_ids.tolist() == halo_ids
    assert core.radius == np.float32(radius)


@each_ruler
@settings(max_examples=50)
@given(case=cases(), data=st.data())
def test_core_and_halo_are_all_in_tokens_and_in_vectors(
    ruler: str, case: Case, data: st.DataObject
) -> None:
    measured = measure(*case)
    core = core_of(measured, ruler, data.draw(radii(getattr(measured, ruler))))
    assert sorted([*core.token_ids, *core.halo_token_ids]) == sorted(case[1])
    assert core.vectors + core.halo_vectors == len(measured.vectors)
    for part, vectors in ((core.token_ids, core.vectors), (core.halo_token_ids, core.halo_vectors)):
        where = [case[1].tolist().index(token) for token in part]
        assert where == sorted(where)
        assert len({*measured.vector_of_token[where].tolist()}) == vectors
    origin_tokens = case[1][measured.vector_of_token == measured.origin]
    assert set(origin_tokens) <= set(core.token_ids)


@each_ruler
@settings(max_examples=50)
@given(case=cases(), data=st.data())
def test_a_larger_radius_never_shrinks_the_core(
    ruler: str, case: Case, data: st.DataObject
) -> None:
    measured = measure(*case)
    some = radii(getattr(measured, ruler))
    small, large = sorted((data.draw(some), data.draw(some)))
    inner, outer = core_of(measured, ruler, small), core_of(measured, ruler, large)
    assert set(inner.token_ids) <= set(outer.token_ids)
    assert inner.vectors <= outer.vectors


@each_ruler
@settings(max_examples=50)
@given(case=cases(), data=st.data())
def test_a_permutation_of_the_tokens_permutes_the_core(
    ruler: str, case: Case, data: st.DataObject
) -> None:
    matrix, token_ids = case
    order = data.draw(st.permutations(token_ids.tolist()))
    radius = data.draw(radii(getattr(measure(matrix, token_ids), ruler)))
    found = core_of(measure(matrix, token_ids), ruler, radius)
    permuted = core_of(measure(matrix, np.array(order)), ruler, radius)
    within = set(found.token_ids)
    assert permuted.token_ids.tolist() == [token for token in order if token in within]
    assert permuted.halo_token_ids.tolist() == [token for token in order if token not in within]
    assert (permuted.vectors, permuted.halo_vectors) == (found.vectors, found.halo_vectors)


@given(cases(), st.data())
def test_a_radius_read_back_from_float32_gives_the_same_core(
    case: Case, data: st.DataObject
) -> None:
    measured = measure(*case)
    core = core_of(measured, "distance_l2", data.draw(radii(measured.distance_l2)))
    again = core_of(measured, "distance_l2", float(core.radius))
    assert again.token_ids.tolist() == core.token_ids.tolist()
    assert again.radius == core.radius


# Hand-made.


def test_the_radius_is_included_and_the_order_of_the_input_kept() -> None:
    distance = np.array([0.0, 3.0, 3.0000002, np.inf], np.float32)
    vector_of_token = np.array([3, 1, 0, 2, 1, 0])
    core = core_within(3.0, distance, vector_of_token, np.array([60, 20, 40, 10, 5, 30]))
    assert core.token_ids.tolist() == [20, 40, 5, 30]
    assert core.halo_token_ids.tolist() == [60, 10]
    assert (core.vectors, core.halo_vectors) == (2, 2)
    assert core.radius.dtype == np.float32


def test_a_radius_is_compared_as_the_float32_that_is_stored() -> None:
    distance = np.array([0, 0.1], np.float32)  # the float32 is larger than the float64 0.1
    assert core_within(0.1, distance, np.array([0, 1]), np.array([7, 8])).vectors == 2
    below = float(np.nextafter(np.float32(0.1), np.float32(0)))
    assert core_within(below, distance, np.array([0, 1]), np.array([7, 8])).vectors == 1


def test_whole_steps_are_compared_exactly() -> None:
    distance = np.array([0, 65278, 65277], np.int64)
    ids = np.arange(3)
    assert core_within(65277, distance, ids, ids).token_ids.tolist() == [0, 2]
    assert core_within(65277.5, distance, ids, ids).token_ids.tolist() == [0, 2]
    assert core_within(65278, distance, ids, ids).token_ids.tolist() == [0, 1, 2]
    # This float64 is the float32 65,278, which is what the file would say.
    assert core_within(65277.9999, distance, ids, ids).token_ids.tolist() == [0, 1, 2]


def test_the_radius_zero_keeps_the_origin_only() -> None:
    distance = np.array([2.0**-149, 0.0], np.float32)
    core = core_within(0.0, distance, np.array([0, 1, 1]), np.array([3, 4, 5]))
    assert core.token_ids.tolist() == [4, 5]


def test_an_infinite_distance_is_halo_at_the_largest_radius() -> None:
    distance = np.array([0, np.inf, LARGEST], np.float32)
    core = core_within(LARGEST, distance, np.arange(3), np.arange(3))
    assert core.halo_token_ids.tolist() == [1]


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_no_tokens_have_an_empty_core(dtype: Any) -> None:
    none = np.empty(0, np.int64)
    core = core_within(3.0, np.empty(0, dtype), none, none)
    assert (len(core.token_ids), len(core.halo_token_ids)) == (0, 0)
    assert (core.vectors, core.halo_vectors) == (0, 0)
    assert core.token_ids.dtype == core.halo_token_ids.dtype == np.int64


def measurements(vector_of_token: list[int], vectors: int) -> dict[str, NDArray[Any]]:
    """Tensors of a measurements file, consistent where ``vector_of_token`` is."""
    inside = [vector for vector in vector_of_token if 0 <= vector < vectors]
    return {
        "token_ids": np.arange(len(vector_of_token)),
        "vector_of_token": np.array(vector_of_token, np.int64),
        "populations": np.bincount(np.array(inside, np.int64), minlength=vectors),
        "distance_ulp": np.zeros(vectors, np.float32),
        "distance_steps": np.zeros(vectors, np.int64),
        "distance_l2": np.zeros(vectors, np.float32),
        "origin": np.zeros(1, np.int64),
        "ulp": np.ones(1, np.float32),
    }


@pytest.mark.parametrize("wrong", [math.nan, -1.0, -math.inf, -(2.0**-149)])
def test_a_distance_that_is_none_is_refused(wrong: float) -> None:
    distance = np.array([0, wrong], np.float32)
    message = "found NaN or a negative value; expected distances >= 0: measure again$"
    for name in RULERS:
        with pytest.raises(TensorError, match=f"^{name}: {message}"):
            check_measurements(measurements([0, 1], 2) | {name: distance})


@pytest.mark.parametrize(
    ("vector_of_token", "vectors"),
    [([0, 2], 2), ([0, -1], 2), ([0, 0], 2), ([1, 2], 3), ([], 1), ([0], 0)],
    ids=["beyond", "negative", "no token", "no token first", "no tokens at all", "no vectors"],
)
def test_measurements_that_contradict_each_other_are_refused(
    vector_of_token: list[int], vectors: int
) -> None:
    message = rf"^vector_of_token: found other numbers .* each of the {vectors} vectors, .* again$"
    with pytest.raises(TensorError, match=message):
        check_measurements(measurements(vector_of_token, vectors))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "populations",
            [2, 2],
            "other counts than vector_of_token has; expected tokens per vector",
        ),
        ("token_ids", [3, 3, 4], "a negative or repeated id; expected each id once"),
        ("token_ids", [-1, 3, 4], "a negative or repeated id; expected each id once"),
        ("origin", [2], "2; expected a row of vectors, 0 to 1"),
        ("origin", [-1], "-1; expected a row of vectors, 0 to 1"),
        ("ulp", [0.0], "0.0; expected a power of two"),
        ("ulp", [math.nan], "nan; expected a power of two"),
        ("ulp", [math.inf], "inf; expected a power of two"),
    ],
)
def test_a_tensor_that_contradicts_the_others_is_named(
    name: str, value: list[float], message: str
) -> None:
    measured = measurements([0, 1, 1], 2)
    check_measurements(measured)
    wrong = np.array(value, measured[name].dtype)
    with pytest.raises(TensorError, match=f"^{name}: found {message}"):
        check_measurements(measured | {name: wrong})


@given(cases())
def test_what_measure_returns_is_consistent(case: Case) -> None:
    measured = measure(*case)
    check_measurements(
        vars(measured)
        | {
            "origin": np.array([measured.origin]),
            "ulp": np.ldexp(np.ones(1, np.float32), measured.ulp_exponent),
        }
    )
