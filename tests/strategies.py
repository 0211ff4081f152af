"""Awkward numbers and matrices: the edges of bfloat16, and rows made of very few of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [BFLOAT16, np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)]
WIDER = DTYPES[1:]
"""The dtypes that have to be rounded."""


class Edge(NamedTuple):
    """A bfloat16 where something changes: its bits, its exact value, its place in the order."""

    name: str
    bits: int
    value: float
    place: int


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
FINITE_EDGES = [
    Edge("zero", 0x0000, 0.0, 0),
    *POSITIVE_EDGES,
    Edge("negative zero", 0x8000, -0.0, 0),
    *(Edge(f"-({e.name})", e.bits | 0x8000, -e.value, -e.place) for e in POSITIVE_EDGES),
]
EDGES = [
    *FINITE_EDGES,
    Edge("infinity", 0x7F80, float("inf"), 32640),
    Edge("-infinity", 0xFF80, float("-inf"), -32640),
]
NANS = [0x7FC0, 0x7F81, 0x7FFF, 0xFFC0, 0xFF81, 0xFFFF]
"""Bits of some: quiet, signalling, with a payload, of both signs."""

OVERFLOW = 2.0**128 - 2.0**119
"""From here on the nearest bfloat16 is an infinity."""


def from_bits(bits: Sequence[Any] | NDArray[Any], dtype: np.dtype[Any] = BFLOAT16) -> NDArray[Any]:
    """Floats of their bits."""
    return np.array(bits, np.dtype(f"u{dtype.itemsize}")).view(dtype)


def finite_bits() -> st.SearchStrategy[int]:
    """The bits of a finite bfloat16, often an edge."""
    edges = st.sampled_from([edge.bits for edge in FINITE_EDGES])
    return edges | st.integers(0, 0x7F7F) | st.integers(0x8000, 0xFF7F)


@st.composite
def finite(draw: st.DrawFn, dtype: np.dtype[Any]) -> Any:
    """A value that is finite as bfloat16, in ``dtype``; often at or beside a rounding boundary."""
    if dtype == np.float16:
        edges = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0x3C04, 0x3C0C, 0x7BFF]
        bits = draw(st.sampled_from(edges) | st.integers(0, 0x7BFF) | st.integers(0x8000, 0xFBFF))
        return from_bits([bits], dtype)[0]
    near = draw(finite_bits())
    if dtype == BFLOAT16:
        return from_bits([near], dtype)[0]
    tails = st.sampled_from([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF]) | st.integers(0, 0xFFFF)
    value = from_bits([near << 16 | draw(tails)], np.dtype(np.float32))[0]
    if dtype == np.float64:
        # One step of float64 beside the float32: rounding to float32 first forgets it.
        value = np.nextafter(
            np.float64(value), draw(st.sampled_from([-1e300, float(value), 1e300]))
        )
    return value if abs(value) < OVERFLOW else dtype.type(1)


def neighbours(bits: int) -> st.SearchStrategy[int]:
    """Bits a few lattice steps from some, across zero too."""
    place = -(bits & 0x7FFF) if bits & 0x8000 else bits
    places = st.integers(-3, 3).map(lambda step: max(-32639, min(32639, place + step)))
    return places.map(lambda at: 0x8000 - at if at < 0 else at)


@st.composite
def palettes(draw: st.DrawFn, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The few values a matrix is made of: far apart, or all within a few lattice steps."""
    if dtype == BFLOAT16 and draw(st.booleans()):
        return from_bits(draw(st.lists(neighbours(draw(finite_bits())), min_size=1, max_size=5)))
    return np.array(draw(st.lists(finite(dtype), min_size=1, max_size=5)), dtype)


@st.composite
def matrices(
    draw: st.DrawFn, dtype: np.dtype[Any], max_distinct: int = 6, max_rows: int = 14
) -> NDArray[Any]:
    """float[vocab, dims], finite as bfloat16, with many ties: few values, few distinct rows."""
    palette = draw(palettes(dtype))
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
    draw: st.DrawFn, dtypes: Sequence[np.dtype[Any]] = tuple(DTYPES)
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """A matrix and some of its token ids, at least one, in any order."""
    matrix = draw(st.sampled_from(list(dtypes)).flatmap(matrices))
    order = draw(st.permutations(range(len(matrix))))
    return matrix, np.array(order[: draw(st.integers(1, len(matrix)))], np.int64)
