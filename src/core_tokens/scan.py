"""How far is every row of a matrix from an origin, those outside the cluster included?

A row with NaN or infinity is beyond every radius.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import BFLOAT16, LATTICES, bits_of, ordered, round_to_bfloat16, ulp_exponent
from core_tokens.distances import distance_l2, distance_steps, distance_ulp, euclidean
from core_tokens.errors import TensorError
from core_tokens.groups import Groups
from core_tokens.parallel import over_rows
from core_tokens.sketch import Sketch

Ruler = Literal["ulp", "steps", "l2"]
Rows = NDArray[Any]
Distances = NDArray[np.float32] | NDArray[np.int64]

BLOCK_VALUES = 1 << 20
"""Rows are taken in blocks of about this many values: what is made of one stays in a cache."""
WIDE_VALUES = 1 << 16
"""The same where a distance makes several arrays of 64 bits."""
TILE_VALUES = 1 << 15
"""At least so many values are combined with the origin at once."""
RADII = tuple(1 << power for power in range(11))
"""Those that tokens are counted at: 1, 2, 4, … 1024."""
FARTHEST = np.iinfo(np.int64).max
"""The distance in steps of a row that is not finite."""
SLACK = 1 + 1e-6
"""What rounding a distance to float32 may hide."""


@dataclass(frozen=True)
class Within:
    """Tokens of the whole vocabulary within each of some radii of an origin.

    Attributes:
        radii: in the unit of the ruler.
        ulp: int64[radii], by the distance in ulp.
        steps: int64[radii], by the distance in lattice steps.
        l2_in_ulp: int64[radii], by the Euclidean distance in ulp.
    """

    radii: tuple[int, ...]
    ulp: NDArray[np.int64]
    steps: NDArray[np.int64]
    l2_in_ulp: NDArray[np.int64]


NOWHERE = Within(RADII, *(np.zeros(len(RADII), np.int64) for _ in range(3)))
"""What there is around no origin."""


@np.errstate(over="ignore", invalid="ignore")
def scan(matrix: Rows, origin: Rows, ruler: Ruler = "ulp") -> Distances:
    """The distance of every row from an origin, as ``distances`` defines it, in one reading.

    Args:
        matrix: float[vocab, dims], possibly mapped from a file; never copied whole.
        origin: float[dims], finite; bfloat16, to which the rows are then rounded, or the dtype of
            the matrix, where that is one of ``LATTICES``.
        ruler: in "ulp" of the origin, in lattice "steps", or "l2".

    Returns:
        float32[vocab], or int64[vocab] in steps; infinity or ``FARTHEST`` for rows not finite.

    Raises:
        TensorError: an origin of another dtype or length, or one that is not finite.
    """
    _check_origin(matrix, origin)
    if ruler == "l2":
        return _by_blocks(matrix, origin, distance_l2, np.float32(np.inf))
    if origin.dtype == BFLOAT16:
        return _in_ulp(matrix, origin) if ruler == "ulp" else _in_steps(matrix, origin)
    if ruler == "steps":
        return _by_blocks(matrix, origin, distance_steps, np.int64(FARTHEST))
    in_ulp = partial(distance_ulp, exponent=ulp_exponent(origin))
    return _by_blocks(matrix, origin, in_ulp, np.float32(np.inf))


def _check_origin(matrix: Rows, origin: Rows) -> None:
    wanted = {BFLOAT16, matrix.dtype} & set(LATTICES)
    if origin.dtype not in wanted or origin.shape != matrix.shape[1:]:
        names = " or ".join(sorted(map(str, wanted)))
        raise TensorError(
            "origin", f"{origin.dtype}{list(origin.shape)}", f"{names}[{matrix.shape[1]}]"
        )
    if not np.isfinite(origin).all():
        raise TensorError("origin", "NaN or infinity", "finite values")


def _in_ulp(matrix: Rows, origin: Rows) -> NDArray[np.float32]:
    """``distance_ulp`` from an origin of bfloat16, in four passes over each block.

    Rounding keeps the order, so only the largest difference of a row is rounded; and magnitudes
    are ordered as their bits are, those of a NaN behind infinity.
    """
    largest = np.empty(len(matrix), np.float32)

    def part(start: int, stop: int) -> None:
        blocks = _Blocks(origin.astype(np.float32), stop - start)
        bits = blocks.scratch.view(np.uint32)
        for span in blocks.spans(start, stop):
            rows = slice(span.stop - span.start)
            np.copyto(blocks.scratch[rows], round_to_bfloat16(matrix[span]))
            blocks.apply(np.subtract, rows)
            np.bitwise_and(bits[rows], 0x7FFFFFFF, out=bits[rows])
            np.maximum.reduce(bits[rows], axis=1, out=largest.view(np.uint32)[span])

    _over(part, matrix)
    rounded = round_to_bfloat16(largest).astype(np.float32)
    rounded[np.isnan(rounded)] = np.inf
    ulps: NDArray[np.float32] = np.ldexp(rounded, -ulp_exponent(origin))
    return ulps


def _in_steps(matrix: Rows, origin: Rows) -> NDArray[np.int64]:
    """``distance_steps`` from an origin of bfloat16, in arithmetic of 16 bits.

    Two places on the lattice lie up to 65,278 apart: as unsigned integers that wrap around, the
    difference of the larger and the smaller one is right.
    """
    most = np.empty(len(matrix), np.uint16)
    largest = np.empty(len(matrix), np.int16)

    def part(start: int, stop: int) -> None:
        blocks = _Blocks(ordered(origin).astype(np.int16), stop - start)
        places, (signs, above) = blocks.scratch, np.empty((2, *blocks.scratch.shape), np.int16)
        for span in blocks.spans(start, stop):
            rows = slice(span.stop - span.start)
            bits = bits_of(round_to_bfloat16(matrix[span])).view(np.int16)
            np.bitwise_and(bits, 0x7FFF, out=places[rows])
            np.maximum.reduce(places[rows], axis=1, out=largest[span])
            np.right_shift(bits, 15, out=signs[rows])  # -1 for a negative value, else 0
            np.bitwise_xor(places[rows], signs[rows], out=places[rows])
            np.subtract(places[rows], signs[rows], out=places[rows])
            blocks.apply(np.maximum, rows, above)
            blocks.apply(np.minimum, rows)
            np.subtract(above[rows], places[rows], out=above[rows])
            np.maximum.reduce(above[rows].view(np.uint16), axis=1, out=most[span])

    _over(part, matrix)
    steps = most.astype(np.int64)
    steps[largest >= 0x7F80] = FARTHEST  # the bits of infinity
    return steps


def _by_blocks(
    matrix: Rows, origin: Rows, distance: Callable[[Rows, Rows], Distances], beyond: Any
) -> Distances:
    """Any distance of the rows, rounded to the dtype of the origin; ``beyond`` if not finite."""
    distances = np.full(len(matrix), beyond)
    size = max(1, WIDE_VALUES // matrix.shape[1])

    def part(start: int, stop: int) -> None:
        for at in range(start, stop, size):
            block = matrix[at : min(at + size, stop)]
            block = round_to_bfloat16(block) if origin.dtype == BFLOAT16 else block
            finite = np.isfinite(block).all(axis=1)
            distances[at : at + len(block)][finite] = distance(block[finite], origin)

    _over(part, matrix)
    return distances


def _over(part: Callable[[int, int], None], matrix: Rows) -> None:
    """``over_rows`` of a matrix, without the warnings of values that are not finite."""

    def quiet(start: int, stop: int) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # which holds for one thread
            part(start, stop)

    over_rows(quiet, len(matrix), matrix.shape[1] * matrix.dtype.itemsize)


class _Blocks:
    """Blocks of at most so many rows, each to be combined with an origin.

    Attributes:
        scratch: of the dtype of the origin, [rows of a block, dims].
    """

    def __init__(self, origin: NDArray[Any], most: int) -> None:
        dims = len(origin)
        # An operand of one row, repeated for each, takes twice the time of one of many rows.
        many = max(1, min(TILE_VALUES // dims, most))
        self.tile = np.tile(origin, many)
        self.rows = many * max(1, min(BLOCK_VALUES // (many * dims), -(-most // many)))
        self.scratch = np.empty((self.rows, dims), origin.dtype)

    def spans(self, start: int, stop: int) -> Iterator[slice]:
        """The rows from ``start`` up to ``stop``, block by block."""
        for at in range(start, stop, self.rows):
            yield slice(at, min(at + self.rows, stop))

    def apply(self, operation: np.ufunc, rows: slice, out: NDArray[Any] | None = None) -> None:
        """Set ``out``, or ``scratch`` itself, to operation(scratch, origin), in these rows."""
        tiles = slice(-(-rows.stop * self.scratch.shape[1] // len(self.tile)))
        of, to = (
            array.reshape(-1, len(self.tile))[tiles]
            for array in (self.scratch, self.scratch if out is None else out)
        )
        operation(of, self.tile, out=to)


@np.errstate(over="ignore", invalid="ignore")
def within(matrix: Rows, few: Sketch, groups: Groups, origin: Rows) -> Within:
    """Count the tokens within each of ``RADII`` of an origin, reading few of their rows.

    A row farther than the largest radius in the sketch is farther as a whole; only the others are
    measured.

    Args:
        matrix: float[vocab, dims], taken as bfloat16.
        few: its sketch.
        groups: its identical rows.
        origin: bfloat16[dims], finite.
    """
    exponent = ulp_exponent(origin)
    near = _may_be_within(few, groups.first, origin, exponent)
    size = max(1, BLOCK_VALUES // matrix.shape[1])
    counts = np.zeros((3, len(RADII)), np.int64)
    for start in range(0, len(near), size):
        group = near[start : start + size]
        rows, tokens = matrix[groups.first[group]], groups.sizes[group]
        ulp, steps, l2 = (scan(rows, origin, ruler) for ruler in ("ulp", "steps", "l2"))
        for count, distance in zip(counts, (ulp, steps, np.ldexp(l2, -exponent)), strict=True):
            count += [tokens[distance <= radius].sum() for radius in RADII]
    return Within(RADII, *counts)


def _may_be_within(
    few: Sketch, rows: NDArray[np.int64], origin: Rows, exponent: int
) -> NDArray[np.int64]:
    """Positions of the rows whose sketch is within the largest radius under any ruler."""
    centre = origin[few.dimensions]
    may = np.zeros(len(rows), bool)
    size = max(1, BLOCK_VALUES // len(centre))
    for start in range(0, len(rows), size):
        values = round_to_bfloat16(few.values[rows[start : start + size]])
        l2 = euclidean(values, centre)
        may[start : start + size] = (
            (distance_ulp(values, centre, exponent) <= RADII[-1])
            | (distance_steps(values, centre) <= RADII[-1])
            | (l2 <= np.ldexp(RADII[-1] * SLACK, exponent))
        )
    return np.flatnonzero(may)
