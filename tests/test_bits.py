import itertools
import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

import oracle
from core_tokens.bits import (
    LATTICES,
    bits_of,
    finite,
    from_ordered,
    median_magnitude,
    ordered,
    positive_zeros,
    round_to_bfloat16,
    ulp_exponent,
)
from strategies import (
    BFLOAT16,
    DTYPES,
    EDGES,
    EIGHT_BITS,
    FINITE_NATIVE_EDGES,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    NANS,
    NATIVE,
    NATIVE_EDGES,
    OVERFLOW,
    WIDER,
    Edge,
    finite_bits,
    from_bits,
    largest_bits,
    limits,
    sign_of,
)


def name_of(edge: Edge) -> str:
    """What the tests of an edge are called."""
    return edge.name if edge.dtype == BFLOAT16 else f"{edge.name} {edge.dtype}"


each_edge = pytest.mark.parametrize("edge", EDGES, ids=name_of)
each_native_edge = pytest.mark.parametrize("edge", NATIVE_EDGES, ids=name_of)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
each_native = pytest.mark.parametrize("dtype", NATIVE, ids=str)
each_of_16_bits = pytest.mark.parametrize("dtype", [BFLOAT16, FLOAT16], ids=str)
ALL_BITS = np.arange(1 << 16, dtype=np.uint16)


def all_finite(dtype: np.dtype[Any]) -> NDArray[Any]:
    """Every finite value of 16 bits."""
    magnitudes = ALL_BITS & 0x7FFF
    return from_bits(ALL_BITS[magnitudes <= largest_bits(dtype)], dtype)


def all_places(dtype: np.dtype[Any]) -> NDArray[np.int32]:
    """The places of all values of 16 bits, the infinities among them."""
    infinity = largest_bits(dtype) + 1
    return np.arange(-infinity, infinity + 1, dtype=np.int32)


def same_bits(some: NDArray[Any], others: NDArray[Any]) -> bool:
    """Equal dtypes and bits: -0 is not +0."""
    return some.dtype == others.dtype and some.tobytes() == others.tobytes()


# The edge-value table, walked by everything it applies to.


@each_native_edge
def test_an_edge_has_the_value_that_the_table_says(edge: Edge) -> None:
    value = float(from_bits([edge.bits], edge.dtype)[0])
    assert (value, math.copysign(1, value)) == (edge.value, math.copysign(1, edge.value))


@each_native_edge
def test_bits_of_an_edge(edge: Edge) -> None:
    assert bits_of(from_bits([edge.bits], edge.dtype)).tolist() == [edge.bits]


@each_native_edge
def test_the_place_of_an_edge_in_the_order(edge: Edge) -> None:
    places = ordered(from_bits([edge.bits], edge.dtype))
    assert places.dtype == np.int32
    assert places.tolist() == [edge.place]


@each_native_edge
@pytest.mark.parametrize("integers", [np.int32, np.int64])
def test_an_edge_comes_back_from_its_place_with_zero_positive(edge: Edge, integers: Any) -> None:
    back = from_ordered(np.array([edge.place], integers), edge.dtype)
    assert back.dtype == edge.dtype
    assert bits_of(back).tolist() == [0 if edge.value == 0 else edge.bits]


def test_without_a_dtype_places_are_those_of_bfloat16() -> None:
    assert from_ordered(np.array([16256])).dtype == BFLOAT16


@each_edge
@pytest.mark.parametrize("dtype", [BFLOAT16, FLOAT32, FLOAT64], ids=str)
def test_an_edge_is_rounded_to_itself(edge: Edge, dtype: np.dtype[Any]) -> None:
    stored = from_bits([edge.bits]).astype(dtype)
    assert bits_of(round_to_bfloat16(stored)).tolist() == [edge.bits]


@pytest.mark.parametrize(
    ("lower", "upper"),
    list(itertools.pairwise(sorted(
        (edge for edge in EDGES if math.copysign(1, edge.value) > 0), key=lambda edge: edge.value
    ))),
    ids=lambda edge: edge.name,
)  # fmt: skip
@pytest.mark.parametrize("sign", [1, -1])
def test_either_side_of_the_middle_after_an_edge(lower: Edge, upper: Edge, sign: int) -> None:
    after = float(from_bits([lower.bits + 1])[0]) if lower.value < edge_of("largest") else 2.0**128
    assert after <= upper.value
    middle = (lower.value + after) / 2  # exact in float64
    towards_even = lower.bits + (lower.bits & 1)
    values = [np.nextafter(middle, 0), middle, np.nextafter(middle, math.inf)]
    rounded = round_to_bfloat16(sign * np.array(values))
    expected = [lower.bits, towards_even, lower.bits + 1]
    assert bits_of(rounded).tolist() == [(sign < 0) << 15 | bits for bits in expected]


def edge_of(name: str) -> float:
    """The value of an edge by its name."""
    return next(edge.value for edge in EDGES if edge.name == name)


@each_edge
@each_dtype
def test_positive_zeros_changes_of_the_edges_only_negative_zero(
    edge: Edge, dtype: np.dtype[Any]
) -> None:
    with np.errstate(over="ignore", under="ignore"):
        values = from_bits([edge.bits]).astype(FLOAT64).astype(dtype)
    result = positive_zeros(values)
    if values[0] == 0 and np.signbit(values.astype(FLOAT64))[0]:
        assert same_bits(result, np.zeros(1, dtype))
    else:
        assert result is values


@pytest.mark.parametrize("edge", FINITE_NATIVE_EDGES, ids=name_of)
def test_the_ulp_of_an_edge_alone(edge: Edge) -> None:
    origin = from_bits([edge.bits], edge.dtype)
    assert median_magnitude(origin) == np.float32(abs(edge.value))
    exponent = ulp_exponent(origin)
    if edge.value == 0:
        assert exponent == {BFLOAT16: -133, FLOAT16: -24, FLOAT32: -149}[edge.dtype]
    elif edge.dtype == BFLOAT16:
        assert 2.0 ** (exponent + 7) <= abs(edge.value) < 2.0 ** (exponent + 8)
    elif edge.name.strip("-()") == "largest":  # its spacing would lead to infinity
        assert exponent == {FLOAT16: 5, FLOAT32: 104}[edge.dtype]
    else:
        assert 2.0**exponent == np.spacing(np.abs(origin))[0]


@pytest.mark.parametrize("bits", NANS, ids=hex)
def test_a_nan_stays_one_and_lies_beyond_infinity(bits: int) -> None:
    value = from_bits([bits])
    assert positive_zeros(value) is value
    assert abs(int(ordered(value)[0])) > 32640
    assert np.isnan(round_to_bfloat16(value.astype(np.float32))[0])
    with np.errstate(invalid="ignore"):
        double = value.astype(np.float64)
    assert np.isnan(round_to_bfloat16(double)[0])


@pytest.mark.parametrize(
    ("bits", "dtype"), [(0x7C01, np.float16), (0xFF800001, FLOAT32), (0x7FF << 52 | 1, FLOAT64)]
)
def test_a_signalling_nan_is_rounded_to_a_nan_without_a_warning(bits: int, dtype: Any) -> None:
    assert np.isnan(round_to_bfloat16(from_bits([bits], np.dtype(dtype)))[0])


@each_native
def test_a_nan_of_any_native_dtype_lies_beyond_infinity(dtype: np.dtype[Any]) -> None:
    infinity = largest_bits(dtype) + 1
    bits = [infinity + 1, sign_of(dtype) - 1, sign_of(dtype) + infinity + 1, 2 * sign_of(dtype) - 1]
    places = ordered(from_bits(bits, dtype)).tolist()
    assert places == [bits[0], bits[1], -bits[0], -bits[1]]


# The order.


@each_native
def test_a_lattice_is_that_of_the_dtype(dtype: np.dtype[Any]) -> None:
    info = limits(dtype)
    smallest = math.log2(float(info.smallest_subnormal))
    assert LATTICES[dtype] == (info.nmant, smallest)


def test_there_are_lattices_of_no_other_dtypes() -> None:
    assert list(LATTICES) == NATIVE


@each_of_16_bits
def test_every_place_and_every_value_come_back(dtype: np.dtype[Any]) -> None:
    places = all_places(dtype)
    assert np.array_equal(ordered(from_ordered(places, dtype)), places)
    values = all_finite(dtype)
    assert same_bits(from_ordered(ordered(values), dtype), positive_zeros(values))


@given(arrays(FLOAT32, st.integers(0, 9), elements=st.floats(width=32)))
def test_float32_come_back_from_their_places(values: NDArray[Any]) -> None:
    assert same_bits(from_ordered(ordered(values), FLOAT32), positive_zeros(values))


@each_of_16_bits
def test_the_order_is_that_of_the_values_strictly(dtype: np.dtype[Any]) -> None:
    values = from_ordered(all_places(dtype), dtype).astype(np.float64)
    assert (np.diff(values[1:-1]) > 0).all()
    assert values[0] == -math.inf
    assert values[-1] == math.inf


def float32_samples() -> NDArray[Any]:
    """Many finite float32 all over the range."""
    magnitudes = np.arange(0, largest_bits(FLOAT32) + 1, 65521, dtype=np.uint32)
    return from_bits(np.concatenate([magnitudes, magnitudes | sign_of(FLOAT32)]), FLOAT32)


@each_native
def test_one_place_is_one_step_of_torch_nextafter(dtype: np.dtype[Any]) -> None:
    values = float32_samples() if dtype == FLOAT32 else all_finite(dtype)
    start = oracle.to_torch(values)
    up = torch.nextafter(start, torch.tensor(math.inf, dtype=start.dtype))
    stepped = up.view(torch.uint8).numpy().view(dtype)
    assert (ordered(stepped) - ordered(values) == 1).all()


@each_native
@given(data=st.data())
def test_places_compare_as_values_do(dtype: np.dtype[Any], data: st.DataObject) -> None:
    bits = finite_bits(dtype)
    low, high = from_bits([data.draw(bits)], dtype), from_bits([data.draw(bits)], dtype)
    places = int(ordered(low)[0]), int(ordered(high)[0])
    assert (places[0] < places[1]) == (float(low[0]) < float(high[0]))
    assert (places[0] == places[1]) == (float(low[0]) == float(high[0]))


def test_places_keep_the_shape() -> None:
    values = from_bits([[0x3F80, 0x8000], [0xBF80, 0x0001], [0x0000, 0x7F7F]])
    assert ordered(values).tolist() == [[16256, 0], [-16256, 1], [0, 32639]]
    assert from_ordered(ordered(values)).shape == (3, 2)
    single = from_bits([[0x3F800000, 0x80000000], [0xFF7FFFFF, 1]], FLOAT32)
    assert ordered(single).tolist() == [[0x3F800000, 0], [-0x7F7FFFFF, 1]]


# Rounding.


def bits_for(dtype: np.dtype[Any]) -> st.SearchStrategy[NDArray[Any]]:
    """A few floats of any bits, often just beside a bfloat16 or the middle of two."""
    width = 8 * dtype.itemsize
    spare = 52 - 7 if dtype == FLOAT64 else max(0, width - 16)
    whole = st.integers(0, (1 << width - spare) - 1)
    half = 1 << spare - 1 if spare else 0
    # Of float64 also what hides behind the half of a float32: the tails below 2**29.
    tails = sorted(
        {0, 1, half - 1, half, half + 1, half - (1 << 29), half + (1 << 28), half + (1 << 28) - 1}
        if spare > 29
        else {0, 1, half, half + 1, max(0, half - 1)} if spare else {0}
    )  # fmt: skip
    near = st.builds(lambda high, low: high << spare | low, whole, st.sampled_from(tails))
    any_bits = st.integers(0, (1 << width) - 1)
    return st.lists(near | any_bits, min_size=1, max_size=8).map(lambda b: from_bits(b, dtype))


@pytest.mark.parametrize("dtype", [*WIDER, *EIGHT_BITS], ids=str)
@given(data=st.data())
def test_rounding_is_that_of_exact_arithmetic(dtype: np.dtype[Any], data: st.DataObject) -> None:
    values = data.draw(bits_for(dtype))
    rounded = round_to_bfloat16(values)
    assert rounded.dtype == BFLOAT16
    for value, result in zip(values.tolist(), rounded.astype(np.float64).tolist(), strict=True):
        expected = oracle.nearest_bfloat16(value)
        assert (result, math.copysign(1, result)) == (
            pytest.approx(expected, rel=0, abs=0, nan_ok=True),
            math.copysign(1, result if math.isnan(value) else expected),
        )


@given(st.lists(finite_bits(), min_size=1, max_size=6), st.sampled_from([-1, 0, 1]))
@example([0x3F80], 1)
def test_float64_just_beside_a_middle_is_not_rounded_twice(bits: list[int], side: int) -> None:
    magnitudes = [bit & 0x7FFF for bit in bits]
    low = from_bits(magnitudes).astype(np.float64)
    high = np.array([2.0**128 if b == 0x7F7F else float(from_bits([b + 1])[0]) for b in magnitudes])
    middle = (low + high) / 2
    values = np.nextafter(middle, middle + side * middle)  # what float32 cannot tell from a middle
    even = [bit + (bit & 1) for bit in magnitudes]
    expected = {-1: magnitudes, 0: even, 1: [bit + 1 for bit in magnitudes]}[side]
    assert bits_of(round_to_bfloat16(values)).tolist() == expected
    assert bits_of(round_to_bfloat16(-values)).tolist() == [bit | 0x8000 for bit in expected]


@given(bits_for(FLOAT32))
def test_rounding_of_float32_is_that_of_torch(values: NDArray[Any]) -> None:
    expected = torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy()
    number = ~np.isnan(values)
    assert np.array_equal(bits_of(round_to_bfloat16(values))[number], expected.view("u2")[number])


@pytest.mark.parametrize("dtype", [FLOAT16, *EIGHT_BITS], ids=str)
def test_rounding_of_every_value_is_that_of_torch(dtype: np.dtype[Any]) -> None:
    values = from_bits(ALL_BITS[: 2 * sign_of(dtype)], dtype)
    expected = oracle.to_torch(values).to(torch.bfloat16)
    number = ~torch.isnan(expected).numpy()
    bits = expected.view(torch.int16).numpy().view("u2")
    assert np.array_equal(~np.isnan(values), number)
    assert np.array_equal(bits_of(round_to_bfloat16(values))[number], bits[number])


@pytest.mark.parametrize("dtype", EIGHT_BITS, ids=str)
def test_nothing_of_8_bits_is_lost(dtype: np.dtype[Any]) -> None:
    values = from_bits(ALL_BITS[:256], dtype)
    rounded = round_to_bfloat16(values)
    assert np.array_equal(rounded.astype(FLOAT64), values.astype(FLOAT64), equal_nan=True)
    number = ~np.isnan(values)
    assert same_bits(rounded.astype(dtype)[number], values[number])


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
def test_what_overflows_is_an_infinity_and_the_value_before_it_is_not(dtype: np.dtype[Any]) -> None:
    first = np.array([OVERFLOW, -OVERFLOW], dtype)
    assert round_to_bfloat16(first).tolist() == [math.inf, -math.inf]
    last = np.nextafter(first, dtype.type(0))
    assert bits_of(round_to_bfloat16(last)).tolist() == [0x7F7F, 0xFF7F]


def test_a_float64_beyond_float32_is_an_infinity() -> None:
    assert round_to_bfloat16(np.array([1e300, -1e300])).tolist() == [math.inf, -math.inf]


def test_rounding_leaves_its_argument_as_it_was() -> None:
    for dtype in (*WIDER, *EIGHT_BITS):
        values = np.array([1 / 3, -0.0, 5.5]).astype(dtype)
        before = values.copy()
        round_to_bfloat16(values)
        assert same_bits(values, before)


def test_bfloat16_comes_back_as_it_is() -> None:
    values = from_bits(NANS + [edge.bits for edge in EDGES])
    assert round_to_bfloat16(values) is values


# Zeros.


@each_dtype
@given(data=st.data())
def test_positive_zeros_changes_no_other_bit(dtype: np.dtype[Any], data: st.DataObject) -> None:
    unsigned = np.dtype(f"u{dtype.itemsize}")
    sign = 1 << (8 * dtype.itemsize - 1)
    elements = st.sampled_from([0, sign, 1, sign + 1, sign - 1]) | st.integers(0, 2 * sign - 1)
    shape = st.tuples(st.integers(1, 4), st.integers(1, 4))
    bits = data.draw(arrays(unsigned, shape, elements=elements))
    values = bits.copy().view(dtype)
    result = positive_zeros(values)
    expected = [[0 if bit == sign else bit for bit in row] for row in bits.tolist()]
    assert result.view(unsigned).tolist() == expected
    assert result.dtype == dtype
    assert (result is values) == (sign not in bits)
    assert values.tobytes() == bits.tobytes()


# Median and ulp.


@each_native
@given(data=st.data())
def test_the_median_is_that_of_torch_over_the_components_that_are_not_zero(
    dtype: np.dtype[Any], data: st.DataObject
) -> None:
    origin = from_bits(data.draw(st.lists(finite_bits(dtype), min_size=1, max_size=9)), dtype)
    magnitudes = torch.from_numpy(origin.astype(np.float32)).abs()
    present = magnitudes[magnitudes > 0]
    median = median_magnitude(origin)
    assert isinstance(median, np.float32)
    assert median == (present.median().item() if len(present) else 0)


def test_of_two_middle_components_the_lower_is_the_median() -> None:
    origin = np.array([4.0, 0.0, -1.0, 2.0, -0.0, -3.0]).astype(BFLOAT16)
    assert median_magnitude(origin) == 2  # the mean of 2 and 3 for NumPy


@pytest.mark.parametrize("power", [-133, -127, -126, -125, -9, -1, 0, 1, 126, 127])
def test_the_ulp_at_a_power_of_two_and_beside_it(power: int) -> None:
    at = int(ordered(np.array([2.0**power]).astype(BFLOAT16))[0])
    before, here, after = from_ordered(np.arange(at - 1, at + 2, dtype=np.int32))
    assert ulp_exponent(np.array([here])) == power - 7
    if power > -133:  # beside the smallest subnormal lies zero, and its double
        assert ulp_exponent(np.array([before])) == power - 8
        assert ulp_exponent(np.array([after])) == power - 7
    else:
        assert ulp_exponent(np.array([before])) == -133
        assert ulp_exponent(np.array([after])) == power - 6


@pytest.mark.parametrize(
    ("dtype", "power", "exponent"),
    [
        (FLOAT16, 15, 5), (FLOAT16, 0, -10), (FLOAT16, -13, -23), (FLOAT16, -14, -24),
        (FLOAT16, -15, -24), (FLOAT16, -24, -24),
        (FLOAT32, 127, 104), (FLOAT32, 0, -23), (FLOAT32, -125, -148), (FLOAT32, -126, -149),
        (FLOAT32, -127, -149), (FLOAT32, -149, -149),
    ],
)  # fmt: skip
def test_the_ulp_at_a_power_of_two_of_a_native_dtype(
    dtype: np.dtype[Any], power: int, exponent: int
) -> None:
    at = np.array([2.0**power], dtype)
    after = np.nextafter(at, dtype.type(math.inf))
    assert [ulp_exponent(at), ulp_exponent(-at), ulp_exponent(after)] == [exponent] * 3
    if power > -24:
        before = np.nextafter(at, dtype.type(0))
        assert ulp_exponent(before) == max(exponent - 1, {FLOAT16: -24, FLOAT32: -149}[dtype])


@pytest.mark.parametrize("dims", [0, 1, 5])
@pytest.mark.parametrize(
    ("dtype", "exponent"), [(BFLOAT16, -133), (FLOAT16, -24), (FLOAT32, -149)], ids=str
)
def test_the_ulp_of_zeros_is_the_smallest_subnormal(
    dims: int, dtype: np.dtype[Any], exponent: int
) -> None:
    assert ulp_exponent(np.zeros(dims, dtype)) == exponent
    assert ulp_exponent(-np.zeros(dims, dtype)) == exponent


# Finite.


@each_of_16_bits
def test_a_value_of_16_bits_is_finite_where_python_says_so(dtype: np.dtype[Any]) -> None:
    found = finite(from_bits(ALL_BITS, dtype))
    assert found.dtype == np.bool_
    with np.errstate(invalid="ignore"):
        values = from_bits(ALL_BITS, dtype).astype(np.float64).tolist()
    assert found.tolist() == [math.isfinite(value) for value in values]


@pytest.mark.parametrize("dtype", EIGHT_BITS, ids=str)
def test_a_value_of_8_bits_is_finite_where_python_says_so(dtype: np.dtype[Any]) -> None:
    values = from_bits(ALL_BITS[:256], dtype)
    assert finite(values).tolist() == [math.isfinite(value) for value in values.tolist()]


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@given(data=st.data())
def test_a_wider_value_is_finite_where_python_says_so(
    dtype: np.dtype[Any], data: st.DataObject
) -> None:
    values = data.draw(bits_for(dtype))
    with np.errstate(invalid="ignore"):
        doubles = values.astype(np.float64).tolist()
    assert finite(values).tolist() == [math.isfinite(value) for value in doubles]


@each_dtype
def test_what_is_finite_has_the_shape_of_the_values_also_where_they_are_a_view(
    dtype: np.dtype[Any],
) -> None:
    values = np.ones((4, 6)).astype(dtype)
    values[1, 2] = np.array(math.nan).astype(dtype)
    expected = np.ones((4, 6), bool)
    expected[1, 2] = False
    assert np.array_equal(finite(values), expected)
    assert np.array_equal(finite(values[1:3]), expected[1:3])
    assert finite(values[:0]).shape == (0, 6)
