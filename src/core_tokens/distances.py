"""How far is each row from the origin? Three rulers, and the Euclidean distance of any floats.

Rows and origin must be finite, and for the rulers of one dtype of ``bits.LATTICES``, whose steps
and whose rounding are meant. Every sum is taken in one fixed order of IEEE 754 operations, so that
the results have the same bits on every machine.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import LATTICES, ordered
from core_tokens.parallel import over_rows

Rows = NDArray[Any]

BLOCK_VALUES = 1 << 17
"""Rows of about this many values are estimated at once: a MiB of float64."""
UNDECIDED = 2.0**-45
"""Relative error beyond any of ``euclidean``: 256 roundings, enough for 2**500 dimensions."""


def distance_ulp(rows: Rows, origin: Rows, exponent: int) -> NDArray[np.float32]:
    """L-infinity distance in ulp of the origin: float32[rows].

    The largest |row - origin| over the dimensions, the difference taken in float32 and rounded
    to the dtype of the rows (what a subtraction in that dtype gives), divided by 2**exponent.
    Infinite where the difference or the quotient overflows.

    Args:
        rows: float[rows, dims].
        origin: float[dims], of the same dtype.
        exponent: log2 of the ulp.
    """
    with np.errstate(over="ignore"):
        differences = np.abs(rows.astype(np.float32) - origin.astype(np.float32))
    return in_ulp(differences.max(axis=1), rows.dtype, exponent)


def in_ulp(
    largest: NDArray[np.float32], dtype: np.dtype[Any], exponent: int
) -> NDArray[np.float32]:
    """The largest differences of some rows, not negative, rounded to ``dtype``, in ulp.

    Rounding keeps the order, so the largest rounded difference is the largest one rounded.
    """
    with np.errstate(over="ignore"):
        ulps: NDArray[np.float32] = np.ldexp(largest.astype(dtype).astype(np.float32), -exponent)
        return ulps


def distance_steps(rows: Rows, origin: Rows) -> NDArray[np.int64]:
    """L-infinity distance in steps of the lattice of the rows' dtype: int64[rows].

    The largest number of lattice steps between the two values of a dimension (NumPy's "nulp"):
    each dimension is measured by its own spacing, so one step at 0.08 counts as one at 0.001.
    """
    steps = np.abs(np.subtract(ordered(rows), ordered(origin), dtype=np.int64))
    return np.asarray(steps.max(axis=1))


def distance_l2(rows: Rows, origin: Rows) -> NDArray[np.float32]:
    """Euclidean distance, exact and rounded once: float[rows, dims], [dims] -> float32[rows].

    Infinite beyond float32.
    """
    return rounded_once(euclidean(rows, origin), rows, origin)


def rounded_once(near: NDArray[np.float64], rows: Rows, origin: Rows) -> NDArray[np.float32]:
    """What ``euclidean`` says of rows and origin -> the exact distances, rounded: float32[rows].

    Where float64 cannot tell to which side the exact distance rounds (about one row in a
    million), it is taken in integers. Overwrites ``near``.
    """
    with np.errstate(over="ignore"):
        low, high = ((near * (1 + sign * UNDECIDED)).astype(np.float32) for sign in (-1, 1))
        for row in np.flatnonzero(low != high):
            near[row] = _root_of_exact_square(rows[row], origin)
        return near.astype(np.float32)


def _root_of_exact_square(row: Rows, origin: Rows) -> float:
    """The exact distance rounded to odd in float64, from which any rounding to float32 is right.

    All values are whole multiples of the smallest, so in its unit the square is an integer.
    """
    unit = -LATTICES[row.dtype].smallest_exponent
    pairs = zip(row.astype(np.float64).tolist(), origin.astype(np.float64).tolist(), strict=True)
    square = sum((int(math.ldexp(a, unit)) - int(math.ldexp(b, unit))) ** 2 for a, b in pairs)
    root = math.isqrt(square << 128)
    excess = max(0, root.bit_length() - 53)
    kept = root >> excess
    inexact = root != kept << excess or root * root != square << 128
    return math.ldexp(kept | inexact, excess - 64 - unit)


def euclidean(rows: Rows, origin: Rows) -> NDArray[np.float64]:
    """Euclidean distance of float[rows, dims] and float[dims] of any width: float64[rows].

    Differences and squares in float64, summed by halves. A difference costs one rounding, so its
    square three, and a sum by halves log2(dims), rounded up; the root halves them all and costs
    one more: the relative error stays below log2(dims) / 2 + 3 roundings of 2**-53, unless a
    square of float64 under- or overflows. NaN or infinite where a row is not finite or a square
    overflows.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        differences = rows.astype(np.float64) - origin.astype(np.float64)
        return np.sqrt(sum_by_halves(differences * differences))


def estimates(matrix: Rows, rows: NDArray[np.int64], origin: Rows) -> NDArray[np.float64]:
    """``euclidean`` of some rows on all cores, added up in whatever order is fastest: float64[n].

    For finding what is near, never for a result: off by up to dims * 2**-52 of the distance, and
    the last bits differ between machines.
    """
    found = np.empty(len(rows))
    centre = origin.astype(np.float64)
    step = max(1, BLOCK_VALUES // matrix.shape[1])

    def part(start: int, stop: int) -> None:
        taken = np.empty((step, matrix.shape[1]), matrix.dtype)
        differences = np.empty(taken.shape)
        with np.errstate(invalid="ignore", over="ignore"):
            for at in range(start, stop, step):
                size = min(step, stop - at)
                np.take(matrix, rows[at : at + size], axis=0, out=taken[:size], mode="clip")
                np.subtract(taken[:size], centre, out=differences[:size])
                found[at : at + size] = np.sqrt(np.vecdot(differences[:size], differences[:size]))

    over_rows(part, len(rows), matrix.shape[1] * matrix.dtype.itemsize)
    return found


def sum_by_halves(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum over the last axis: the second half added onto the first until one is left.

    NumPy's own sum may add in another order on another processor; this one is fixed. Overwrites
    ``terms``.
    """
    if terms.shape[-1] == 0:
        return np.zeros(terms.shape[:-1])
    for half, kept in halvings(terms.shape[-1]):
        terms[..., :half] += terms[..., kept : kept + half]
    return terms[..., 0]


def halvings(width: int) -> Iterator[tuple[int, int]]:
    """The steps of a sum by halves: how many terms are added onto the first, and from where on.

    That is also how many terms are kept: the middle one of an odd number waits.
    """
    while width > 1:
        half = width // 2
        width -= half
        yield half, width
