import math
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

import oracle
from core_tokens.distances import (
    UNDECIDED,
    distance_l2,
    distance_steps,
    distance_ulp,
    euclidean,
    sum_by_halves,
)
from strategies import (
    BFLOAT16,
    DTYPES,
    FINITE_NATIVE_EDGES,
    FLOAT16,
    FLOAT32,
    NATIVE,
    Edge,
    any_matrices,
    finite_bits,
    from_bits,
    matrices,
    sign_of,
)

each_edge = pytest.mark.parametrize(
    "edge", FINITE_NATIVE_EDGES, ids=lambda edge: f"{edge.name} {edge.dtype}"
)
ZERO = from_bits([0])
NATIVE_MATRICES = st.sampled_from(NATIVE).flatmap(lambda dtype: matrices(dtype, native=True))
MANTISSA = 2.0**-53


def row_of(*values: float, dtype: np.dtype[Any] = BFLOAT16) -> NDArray[Any]:
    """float[1, dims] of values that the dtype holds exactly."""
    row = np.array([values]).astype(dtype)
    assert row.astype(np.float64).tolist() == [list(values)]
    return row


def terms(sizes: st.SearchStrategy[tuple[int, int]]) -> st.SearchStrategy[NDArray[np.float64]]:
    """Rows of summands of very different sizes, not negative, as squares are."""
    values = st.floats(0, 1e30) | st.sampled_from([0.0, 1.0, 1e-30, 2.0**53, 0.1])
    return arrays(np.float64, sizes, elements=values)


# The edge-value table.


@each_edge
def test_steps_from_zero_are_the_place_of_an_edge(edge: Edge) -> None:
    row = from_bits([[edge.bits]], edge.dtype)
    zero = from_bits([0], edge.dtype)
    assert distance_steps(row, zero).tolist() == [abs(edge.place)]
    assert distance_steps(row, -zero).tolist() == [abs(edge.place)]


@each_edge
def test_steps_across_zero_are_counted_through_it_once(edge: Edge) -> None:
    row = from_bits([[edge.bits]], edge.dtype)
    assert distance_steps(row, -row[0]).tolist() == [2 * abs(edge.place)]  # beyond int32


@each_edge
@pytest.mark.parametrize("exponent", [-149, -140, -133, -24, -16, 0, 120])
def test_ulp_distance_of_an_edge_from_zero(edge: Edge, exponent: int) -> None:
    row = from_bits([[edge.bits]], edge.dtype)
    ulps = distance_ulp(row, from_bits([0], edge.dtype), exponent)
    assert ulps.dtype == np.float32
    exact = Fraction(abs(edge.value)) / Fraction(2) ** exponent
    assert ulps.tolist() == [oracle.nearest(exact, 24, -149, 127)]


@each_edge
def test_l2_distance_of_an_edge_from_zero_and_from_its_negative(edge: Edge) -> None:
    row = from_bits([[edge.bits]], edge.dtype)
    zero = from_bits([0], edge.dtype)
    assert euclidean(row, zero).tolist() == [abs(edge.value)]
    assert euclidean(row, -row[0]).tolist() == [2 * abs(edge.value)]
    assert distance_l2(row, zero).tolist() == [abs(edge.value)]
    twice = oracle.nearest(2 * Fraction(abs(edge.value)), 24, -149, 127)
    assert distance_l2(row, -row[0]).tolist() == [twice]


@each_edge
def test_every_distance_of_a_row_from_itself_is_zero(edge: Edge) -> None:
    row = from_bits([[edge.bits, sign_of(edge.dtype)]], edge.dtype)
    same = from_bits([edge.bits, 0], edge.dtype)
    assert distance_ulp(row, same, -133).tolist() == [0]
    assert distance_steps(row, same).tolist() == [0]
    assert euclidean(row, same).tolist() == [0]


# Hand-made rows.


def test_the_largest_dimension_decides_whatever_its_sign() -> None:
    rows = np.concatenate([row_of(1, 5, 2), row_of(1, 2, -4), row_of(1.5, 2, 2)])
    origin = row_of(1, 2, 2)[0]
    assert distance_ulp(rows, origin, -2).tolist() == [12, 24, 2]
    assert distance_steps(rows, origin).tolist() == [2**7 + 2**5, 2 * 0x4000 + 128, 64]
    assert euclidean(rows, origin).tolist() == [3, 6, 0.5]


def test_one_step_at_a_large_component_is_many_ulp() -> None:
    origin, row = row_of(-0.080078125, 2.0**-9), row_of(-0.08056640625, 2.0**-9)
    assert distance_steps(row, origin[0]).tolist() == [1]
    assert distance_ulp(row, origin[0], -16).tolist() == [32]


def test_a_difference_is_rounded_to_bfloat16_before_it_is_divided() -> None:
    origin = row_of(1)[0]
    assert distance_ulp(row_of(-(2.0**-8)), origin, 0).tolist() == [1]  # a tie, to even
    assert distance_ulp(row_of(-3 * 2.0**-8), origin, -7).tolist() == [130]
    assert distance_ulp(row_of(2.0**-9), origin, 0).tolist() == [1]


@pytest.mark.parametrize(("dtype", "mantissa"), [(BFLOAT16, 7), (FLOAT16, 10), (FLOAT32, 23)])
def test_a_difference_is_rounded_as_a_subtraction_in_the_dtype_of_the_rows(
    dtype: np.dtype[Any], mantissa: int
) -> None:
    ulp, origin = 2.0**-mantissa, row_of(1, dtype=dtype)[0]
    # 1 plus a quarter, a half, three quarters, one and a half of the spacing at 1; ties to even.
    for part, rounded in [(0.25, 0), (0.5, 0), (0.75, 1), (1.5, 2), (2.5, 2), (3.5, 4)]:
        row = row_of(-part * ulp, dtype=dtype)
        assert distance_ulp(row, origin, -mantissa).tolist() == [2.0**mantissa + rounded]


@pytest.mark.parametrize(
    ("dtype", "largest", "half"),
    [(FLOAT16, 65504.0, 2.0**4), (FLOAT32, (2**24 - 1) * 2.0**104, 2.0**103)],
)
def test_a_difference_beyond_a_native_dtype_is_an_infinite_ulp_distance(
    dtype: np.dtype[Any], largest: float, half: float
) -> None:
    row = row_of(largest, dtype=dtype)
    assert distance_ulp(row, -row[0], 0).tolist() == [math.inf]
    assert distance_ulp(row, row_of(-half, dtype=dtype)[0], 0).tolist() == [math.inf]  # to even
    below = np.nextafter(row_of(-half, dtype=dtype)[0], dtype.type(0))
    assert distance_ulp(row, below, 0).tolist() == [largest]


def test_the_smallest_difference_of_float32_is_one_ulp_at_zero() -> None:
    row = row_of(2.0**-149, -(2.0**-149), dtype=FLOAT32)
    assert distance_ulp(row, np.zeros(2, FLOAT32), -149).tolist() == [1]
    assert distance_ulp(row_of(1.0, 0, dtype=FLOAT32), row[0], -149).tolist() == [math.inf]


def test_an_overflowing_difference_or_quotient_is_an_infinite_ulp_distance() -> None:
    largest = 255 * 2.0**120
    assert distance_ulp(row_of(largest), row_of(-largest)[0], 0).tolist() == [math.inf]
    assert distance_ulp(row_of(largest), row_of(-(2.0**118))[0], 0).tolist() == [largest]
    assert distance_ulp(row_of(largest), row_of(-(2.0**119))[0], 0).tolist() == [math.inf]
    assert distance_ulp(row_of(2.0**100), ZERO, -28).tolist() == [math.inf]
    assert distance_ulp(row_of(2.0**100), ZERO, -27).tolist() == [2.0**127]


def test_l2_does_not_overflow_where_the_squares_would_in_float32() -> None:
    row = row_of(3 * 2.0**120, -4 * 2.0**120)
    assert euclidean(row, from_bits([0, 0])).tolist() == [5 * 2.0**120]
    tiny = row_of(3 * 2.0**-133, 4 * 2.0**-133)
    assert euclidean(tiny, from_bits([0, 0])).tolist() == [5 * 2.0**-133]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("origin", [math.nan, math.inf, -math.inf, 0.0])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_l2_of_what_is_not_finite_is_below_no_threshold(
    wrong: float, origin: float, dtype: Any
) -> None:
    rows = np.array([[wrong, 1.0], [1.0, 1.0]]).astype(dtype)
    apart = euclidean(rows, np.array([origin, 1.0]).astype(dtype))
    assert not (apart[0] < math.inf)
    assert (apart[1] == 1) == (origin == 0)


# Laws.


@given(NATIVE_MATRICES, st.integers(-149, 120))
def test_ulp_distance_is_that_of_a_subtraction_in_torch(
    matrix: NDArray[Any], exponent: int
) -> None:
    rows = oracle.to_torch(matrix)
    expected = (rows - rows[0]).abs().float().amax(dim=1) / torch.tensor(2.0**exponent)
    assert distance_ulp(matrix, matrix[0], exponent).tolist() == expected.tolist()


@pytest.mark.parametrize("dtype", [BFLOAT16, FLOAT16], ids=str)
@given(data=st.data())
def test_steps_are_the_distance_of_indices_among_all_values(
    dtype: np.dtype[Any], data: st.DataObject
) -> None:
    matrix = data.draw(matrices(dtype, native=True))
    rows = oracle.to_torch(matrix)
    places = torch.searchsorted(oracle.LATTICE[rows.dtype], rows.double() + 0.0)
    expected = (places - places[0]).abs().amax(dim=1)
    assert distance_steps(matrix, matrix[0]).tolist() == expected.tolist()


@given(NATIVE_MATRICES)
def test_steps_are_the_distance_of_the_bits_as_integers(matrix: NDArray[Any]) -> None:
    places = oracle.places(oracle.to_torch(matrix))
    expected = (places - places[0]).abs().amax(dim=1)
    assert distance_steps(matrix, matrix[0]).tolist() == expected.tolist()
    assert distance_steps(matrix, matrix[0]).dtype == np.int64


@given(NATIVE_MATRICES)
def test_l2_as_float32_is_that_of_the_exact_distance(matrix: NDArray[Any]) -> None:
    rows = oracle.to_torch(matrix)
    found = distance_l2(matrix, matrix[0])
    assert found.dtype == np.float32
    assert found.tolist() == [oracle.exact_l2(row, rows[0]) for row in rows]


@given(
    arrays(
        FLOAT32,
        st.tuples(st.integers(2, 5), st.integers(1, 70)),
        elements=finite_bits(FLOAT32).map(lambda bits: from_bits([bits], FLOAT32)[0]),
    )
)
def test_l2_of_float32_is_as_near_as_it_says(matrix: NDArray[Any]) -> None:
    roundings = Fraction(math.log2(matrix.shape[1]) / 2 + 3) * Fraction(MANTISSA)
    exact = [[Fraction(value) for value in row] for row in matrix.astype(np.float64).tolist()]
    for near, row in zip(euclidean(matrix, matrix[0]).tolist(), exact, strict=True):
        square = sum(((a - b) ** 2 for a, b in zip(row, exact[0], strict=True)), Fraction(0))
        assert square * (1 - roundings) ** 2 <= Fraction(near) ** 2 <= square * (1 + roundings) ** 2


@pytest.mark.parametrize("dtype", [BFLOAT16, FLOAT32], ids=str)
@pytest.mark.parametrize(
    ("row", "distance"),
    [
        ([-(2.0**-24), 2.0**-60], 1 + 2.0**-23),  # just above the middle of two float32
        ([-(2.0**-24), 0], 1.0),  # on it: to even
        ([2.0**-24, 2.0**-60], 1 - 2.0**-24),
        ([-(2.0**-24) - 2.0**-23, 0], 1 + 2.0**-22),
    ],
)
def test_l2_is_rounded_once_where_float64_cannot_tell(
    row: list[float], distance: float, dtype: np.dtype[Any]
) -> None:
    values = np.array([row, [1, 0]]).astype(dtype)
    assert distance_l2(values, values[1]).tolist() == [distance, 0]


@pytest.mark.parametrize(
    ("row", "origin", "distance"),
    [
        # 1 + 3 * 2**-24 is the middle of 1 + 2**-23 and 1 + 2**-22.
        ([1 + 2.0**-23, 0], [-(2.0**-24), 0], 1 + 2.0**-22),  # to even
        ([1 + 2.0**-23, 2.0**-149], [-(2.0**-24), 0], 1 + 2.0**-22),
        ([1 + 2.0**-23, 0], [-(2.0**-24) + 2.0**-48, 0], 1 + 2.0**-23),
        # Above the middle by what float64 forgets; the first in a difference that it cannot hold.
        ([1, 2.0**-40], [-(2.0**-24), 2.0**-100], 1 + 2.0**-23),
        ([1, 2.0**-100], [-(2.0**-24), -(2.0**-149)], 1 + 2.0**-23),
        ([1, 0], [-(2.0**-24), 0], 1.0),
        ([3 * 2.0**-149, 0], [0, 4 * 2.0**-149], 5 * 2.0**-149),
        ([2.0**-149, 2.0**-149], [0, 0], 2.0**-149),  # 1.41 of the smallest
        ([2.0**-149, 2.0**-149], [0, -(2.0**-149)], 2 * 2.0**-149),  # 2.24 of it
        ([(2**24 - 1) * 2.0**104, 0], [-(2.0**103), 0], math.inf),  # to even
        ([(2**24 - 1) * 2.0**104, 0], [-(2.0**103) + 2.0**79, 0], (2**24 - 1) * 2.0**104),
    ],
)
def test_l2_of_float32_is_rounded_once(
    row: list[float], origin: list[float], distance: float
) -> None:
    values = np.concatenate([row_of(*row, dtype=FLOAT32), row_of(*origin, dtype=FLOAT32)])
    assert distance_l2(values, values[1]).tolist() == [distance, 0]


def test_what_float64_leaves_undecided_is_far_more_than_it_may_be_wrong_by() -> None:
    assert (math.log2(2.0**64) / 2 + 3) * MANTISSA < UNDECIDED / 4


@given(any_matrices())
def test_l2_of_every_dtype_is_taken_between_the_stored_values(matrix: NDArray[Any]) -> None:
    values = matrix.astype(np.float64)
    for distance, row in zip(euclidean(matrix, matrix[0]).tolist(), values, strict=True):
        assert distance == pytest.approx(math.dist(row, values[0]), rel=1e-14, abs=1e-160)


@given(NATIVE_MATRICES)
def test_every_distance_is_symmetric_and_zero_only_between_equal_rows(matrix: NDArray[Any]) -> None:
    first, last = matrix[:1], matrix[-1:]
    equal = bool((first == last).all())
    for there, back in (
        (distance_ulp(first, last[0], -100), distance_ulp(last, first[0], -100)),
        (distance_steps(first, last[0]), distance_steps(last, first[0])),
        (euclidean(first, last[0]), euclidean(last, first[0])),
    ):
        assert there == back
        assert there >= 0
    assert (distance_steps(first, last[0])[0] == 0) == equal
    assert (euclidean(first, last[0])[0] == 0) == equal
    assert (distance_ulp(first, last[0], -149)[0] == 0) == equal


@given(NATIVE_MATRICES)
def test_steps_obey_the_triangle_inequality(matrix: NDArray[Any]) -> None:
    one, other = matrix[0], matrix[-1]
    direct = distance_steps(one[None], other)[0]
    assert (distance_steps(matrix, one) + distance_steps(matrix, other) >= direct).all()


@given(any_matrices(), st.integers(1, 5))
def test_distances_have_the_same_bits_however_the_rows_are_cut(
    matrix: NDArray[Any], step: int
) -> None:
    origin = matrix[-1]
    parts = [euclidean(matrix[at : at + step], origin) for at in range(0, len(matrix), step)]
    assert np.concatenate(parts).tobytes() == euclidean(matrix, origin).tobytes()


@pytest.mark.parametrize("dtype", NATIVE, ids=str)
def test_no_rows_have_no_distances(dtype: np.dtype[Any]) -> None:
    none = np.empty((0, 3), dtype)
    origin = np.zeros(3, dtype)
    assert distance_ulp(none, origin, 0).shape == (0,)
    assert distance_steps(none, origin).shape == (0,)
    assert euclidean(none, origin).shape == (0,)
    assert distance_l2(none, origin).shape == (0,)


# Sums.


@given(terms(st.tuples(st.integers(1, 4), st.integers(1, 40))))
def test_a_sum_by_halves_is_nearly_exact(values: NDArray[np.float64]) -> None:
    roundings = math.ceil(math.log2(max(2, values.shape[1])))
    for found, row in zip(sum_by_halves(values.copy()).tolist(), values.tolist(), strict=True):
        exact = sum(map(Fraction, row), Fraction(0))
        assert abs(Fraction(found) - exact) <= exact * Fraction(1.01 * roundings * MANTISSA)


@given(terms(st.tuples(st.integers(2, 9), st.integers(1, 40))), st.integers(1, 9))
def test_a_sum_by_halves_has_the_same_bits_however_the_rows_are_cut(
    values: NDArray[np.float64], step: int
) -> None:
    whole = sum_by_halves(values.copy())
    parts = [sum_by_halves(values[at : at + step].copy()) for at in range(0, len(values), step)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    strided = np.asfortranarray(values)
    assert sum_by_halves(strided).tobytes() == whole.tobytes()


def test_a_sum_by_halves_adds_in_the_order_that_it_says() -> None:
    one, small = 1.0, 2.0**-53
    assert sum_by_halves(np.array([[one, small, small, small]])).tolist() == [1 + 2.0**-52]
    assert sum_by_halves(np.array([[small, one, small]])).tolist() == [1 + 2.0**-52]
    assert sum_by_halves(np.array([[one, small, small]])).tolist() == [one]
    assert sum_by_halves(np.array([[one, small, 0, small]])).tolist() == [1 + 2.0**-52]
    assert sum_by_halves(np.array([[one, 0, small, small]])).tolist() == [one]
    assert sum_by_halves(np.array([[one, small]])).tolist() == [one]  # a tie, to even


@pytest.mark.parametrize(("width", "expected"), [(0, 0.0), (1, 1.0), (2, 2.0), (2560, 2560.0)])
def test_a_sum_by_halves_of_any_width(width: int, expected: float) -> None:
    assert sum_by_halves(np.ones((2, width))).tolist() == [expected, expected]
