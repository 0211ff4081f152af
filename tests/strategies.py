"""Awkward numbers and matrices: the edges of each dtype, and rows made of very few of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from core_tokens.bits import LATTICES, from_ordered

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT16, FLOAT32, FLOAT64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
E4M3, E5M2 = np.dtype(ml_dtypes.float8_e4m3fn), np.dtype(ml_dtypes.float8_e5m2)
NATIVE = [BFLOAT16, FLOAT16, FLOAT32]
"""The dtypes whose own values can be measured."""
WIDER = [FLOAT16, FLOAT32, FLOAT64]
"""Those of which rounding to bfloat16 loses something."""
EIGHT_BITS = [E4M3, E5M2]
DTYPES = [BFLOAT16, *WIDER, *EIGHT_BITS]


class Edge(NamedTuple):
    """A value where something changes: its bits, its exact value, its place in the order."""

    name: str
    bits: int
    value: float
    place: int
    dtype: np.dtype[Any] = BFLOAT16


POSITIVE_EDGES = [
    Edge("smallest subnormal", 0x0001, 2.0**-133, 1),
    Edge("second subnormal", 0x0002, 2.0**-132, 2),
    Edge("largest subnormal", 0x007F, 127 * 2.0**-133, 127),
    Edge("smallest normal", 0x0080, 2.0**-126, 128),
    Edge("after the smallest normal", 0x0081, 129 * 2.0**-133, 129),
    Edge("below eps", 0x3BFF, 255 * 2.0**-15, 15359),
    Edge("eps", 0x3C00, 2.0**-7, 15360),
    Edge("above eps", 0x3C01, 129 * 2.0**-14, 15361),
    Edge("before one", 0x3F7F, 255 * 2.0**-8, 16255),
    Edge("one", 0x3F80, 1.0, 16256),
    Edge("after one", 0x3F81, 129 * 2.0**-7, 16257),
    Edge("before two", 0x3FFF, 255 * 2.0**-7, 16383),
    Edge("two", 0x4000, 2.0, 16384),
    Edge("after two", 0x4001, 129 * 2.0**-6, 16385),
    Edge("before the largest power of two", 0x7EFF, 255 * 2.0**119, 32511),
    Edge("the largest power of two", 0x7F00, 2.0**127, 32512),
    Edge("before the largest", 0x7F7E, 254 * 2.0**120, 32638),
    Edge("largest", 0x7F7F, 255 * 2.0**120, 32639),
]
POSITIVE_FLOAT16 = [
    Edge("smallest subnormal", 0x0001, 2.0**-24, 1, FLOAT16),
    Edge("largest subnormal", 0x03FF, 1023 * 2.0**-24, 1023, FLOAT16),
    Edge("smallest normal", 0x0400, 2.0**-14, 1024, FLOAT16),
    Edge("after the smallest normal", 0x0401, 1025 * 2.0**-24, 1025, FLOAT16),
    Edge("before one", 0x3BFF, 2047 * 2.0**-11, 15359, FLOAT16),
    Edge("one", 0x3C00, 1.0, 15360, FLOAT16),
    Edge("after one", 0x3C01, 1025 * 2.0**-10, 15361, FLOAT16),
    Edge("the largest power of two", 0x7800, 2.0**15, 30720, FLOAT16),
    Edge("largest", 0x7BFF, 65504.0, 31743, FLOAT16),
]
POSITIVE_FLOAT32 = [
    Edge("smallest subnormal", 1, 2.0**-149, 1, FLOAT32),
    Edge("smallest that is bfloat16", 0x10000, 2.0**-133, 65536, FLOAT32),
    Edge("largest subnormal", 0x7FFFFF, (2**23 - 1) * 2.0**-149, 2**23 - 1, FLOAT32),
    Edge("smallest normal", 0x800000, 2.0**-126, 2**23, FLOAT32),
    Edge("after the smallest normal", 0x800001, (2**23 + 1) * 2.0**-149, 2**23 + 1, FLOAT32),
    Edge("before one", 0x3F7FFFFF, (2**24 - 1) * 2.0**-24, 127 * 2**23 - 1, FLOAT32),
    Edge("one", 0x3F800000, 1.0, 127 * 2**23, FLOAT32),
    Edge("after one", 0x3F800001, (2**23 + 1) * 2.0**-23, 127 * 2**23 + 1, FLOAT32),
    Edge("the largest power of two", 0x7F000000, 2.0**127, 254 * 2**23, FLOAT32),
    Edge("largest", 0x7F7FFFFF, (2**24 - 1) * 2.0**104, 255 * 2**23 - 1, FLOAT32),
]


def both_signs(positive: list[Edge]) -> list[Edge]:
    """Edges of one dtype, their negatives, and both zeros."""
    dtype = positive[0].dtype
    zero = Edge("zero", 0, 0.0, 0, dtype)
    negative = [
        Edge(f"-({name})", bits | sign_of(dtype), -value, -place, dtype)
        for name, bits, value, place, _ in [zero, *positive]
    ]
    return [zero, *positive, *negative]


def sign_of(dtype: np.dtype[Any]) -> int:
    """The bits of -0."""
    return 1 << (8 * dtype.itemsize - 1)


FINITE_EDGES = both_signs(POSITIVE_EDGES)
EDGES = [
    *FINITE_EDGES,
    Edge("infinity", 0x7F80, float("inf"), 32640),
    Edge("-infinity", 0xFF80, float("-inf"), -32640),
]
"""Those of bfloat16."""

FINITE_NATIVE_EDGES = [
    *FINITE_EDGES,
    *both_signs(POSITIVE_FLOAT16),
    *both_signs(POSITIVE_FLOAT32),
]
NATIVE_EDGES = [
    *FINITE_NATIVE_EDGES,
    *EDGES[-2:],
    Edge("infinity", 0x7C00, float("inf"), 31744, FLOAT16),
    Edge("-infinity", 0xFC00, float("-inf"), -31744, FLOAT16),
    Edge("infinity", 0x7F800000, float("inf"), 255 * 2**23, FLOAT32),
    Edge("-infinity", 0xFF800000, float("-inf"), -255 * 2**23, FLOAT32),
]
"""Those of every dtype that can be measured natively."""
NANS = [0x7FC0, 0x7F81, 0x7FFF, 0xFFC0, 0xFF81, 0xFFFF]
"""Bits of some: quiet, signalling, with a payload, of both signs."""

OVERFLOW = 2.0**128 - 2.0**119
"""From here on the nearest bfloat16 is an infinity."""


def from_bits(bits: Sequence[Any] | NDArray[Any], dtype: np.dtype[Any] = BFLOAT16) -> NDArray[Any]:
    """Floats of their bits."""
    return np.array(bits, np.dtype(f"u{dtype.itemsize}")).view(dtype)


def limits(dtype: np.dtype[Any]) -> Any:
    """What ml_dtypes knows of a float dtype, its own or NumPy's."""
    return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call] # untyped there


def largest_bits(dtype: np.dtype[Any]) -> int:
    """The bits of the largest finite value."""
    return int(np.array(limits(dtype).max, dtype).view(f"u{dtype.itemsize}"))


def finite_bits(dtype: np.dtype[Any] = BFLOAT16) -> st.SearchStrategy[int]:
    """The bits of a finite value, often an edge, or a power of two and what lies beside it."""
    largest, mantissa = largest_bits(dtype), limits(dtype).nmant
    beside = st.builds(
        lambda exponent, step: min(max(0, (exponent << mantissa) + step), largest),
        st.integers(0, largest >> mantissa),
        st.sampled_from([-1, 0, 1]),
    )
    edges = [edge.bits for edge in FINITE_NATIVE_EDGES if edge.dtype == dtype and edge.place >= 0]
    magnitudes = st.sampled_from([0, 1, largest, *edges]) | beside | st.integers(0, largest)
    return st.builds(int.__or__, magnitudes, st.sampled_from([0, sign_of(dtype)]))


@st.composite
def finite(draw: st.DrawFn, dtype: np.dtype[Any]) -> Any:
    """A value that is finite as bfloat16, in ``dtype``; often at or beside a rounding boundary."""
    if dtype == FLOAT16:
        ties = st.sampled_from([0x3C04, 0x3C0C])
        return from_bits([draw(ties | finite_bits(dtype))], dtype)[0]
    if dtype not in WIDER:
        return from_bits([draw(finite_bits(dtype))], dtype)[0]
    near = draw(finite_bits())
    tails = st.sampled_from([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF]) | st.integers(0, 0xFFFF)
    value = from_bits([near << 16 | draw(tails)], FLOAT32)[0]
    if dtype == FLOAT64:
        # One step of float64 beside the float32: rounding to float32 first forgets it.
        value = np.nextafter(
            np.float64(value), draw(st.sampled_from([-1e300, float(value), 1e300]))
        )
    return value if abs(value) < OVERFLOW else dtype.type(1)


def neighbours(bits: int, dtype: np.dtype[Any]) -> st.SearchStrategy[int]:
    """Bits a few lattice steps from some, across zero too."""
    sign, largest = sign_of(dtype), largest_bits(dtype)
    place = sign - bits if bits & sign else bits
    places = st.integers(-3, 3).map(lambda step: max(-largest, min(largest, place + step)))
    return places.map(lambda at: sign - at if at < 0 else at)


@st.composite
def palettes(draw: st.DrawFn, dtype: np.dtype[Any], native: bool) -> NDArray[Any]:
    """The few values a matrix is made of: far apart, or all within a few lattice steps."""
    if not native and dtype in WIDER:
        return np.array(draw(st.lists(finite(dtype), min_size=1, max_size=5)), dtype)
    bits = finite_bits(dtype)
    if draw(st.booleans()):
        bits = neighbours(draw(bits), dtype)
    return from_bits(draw(st.lists(bits, min_size=1, max_size=5)), dtype)


@st.composite
def matrices(
    draw: st.DrawFn,
    dtype: np.dtype[Any],
    max_distinct: int = 6,
    max_rows: int = 14,
    native: bool = False,
) -> NDArray[Any]:
    """float[vocab, dims], finite, with many ties: few values, few distinct rows.

    Finite as bfloat16; if ``native`` in the dtype itself, of which any value may be there.
    """
    palette = draw(palettes(dtype, native))
    shape = draw(st.tuples(st.integers(1, max_distinct), st.integers(1, 5)))
    index = st.integers(0, len(palette) - 1)
    distinct = palette[draw(arrays(np.intp, shape, elements=index, fill=st.nothing()))]
    rows = draw(st.lists(st.integers(0, shape[0] - 1), min_size=1, max_size=max_rows))
    matrix: NDArray[Any] = distinct[rows]
    return matrix


def any_matrices() -> st.SearchStrategy[NDArray[Any]]:
    """``matrices`` of every dtype."""
    return st.sampled_from(DTYPES).flatmap(matrices)


@st.composite
def cases(
    draw: st.DrawFn, dtypes: Sequence[np.dtype[Any]] = tuple(DTYPES), native: bool = False
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """A matrix and some of its token ids, at least one, in any order."""
    matrix = draw(matrices(draw(st.sampled_from(list(dtypes))), native=native))
    order = draw(st.permutations(range(len(matrix))))
    return matrix, np.array(order[: draw(st.integers(1, len(matrix)))], np.int64)


NEAR = [0, 1, 2, 3, 4, 5, 8, 9, 16, 127, 128, 129, 255, 256]
"""Ordered integers: zero, subnormals, the steps about powers of two."""


@st.composite
def lattices(draw: st.DrawFn) -> NDArray[Any]:
    """Finite vectors of few values each, float[1 to 8, 1 to 4] of a dtype that is measured."""
    dtype = draw(st.sampled_from(NATIVE))
    bits, width = LATTICES[dtype].mantissa_bits, 8 * dtype.itemsize
    values = st.one_of(
        st.sampled_from(NEAR),
        st.sampled_from([(1 << width - 3) + near for near in NEAR]),
        st.integers(0, (((1 << width - 1 - bits) - 1) << bits) - 1),
    )
    signed = st.tuples(values, st.sampled_from([1, -1])).map(lambda pair: pair[0] * pair[1])
    rows, dims = draw(st.integers(1, 8)), draw(st.integers(1, 4))
    drawn = draw(st.lists(signed, min_size=rows * dims, max_size=rows * dims))
    return from_ordered(np.array(drawn, np.int64).reshape(rows, dims), dtype)
