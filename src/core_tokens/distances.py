"""How far is each row from the origin? Three rulers, and the exact Euclidean distance they share.

Rows and origin must be finite. Every sum is taken in one fixed order of IEEE 754 operations, so
that the results have the same bits on every machine.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import ordered, round_to_bfloat16

Rows = NDArray[Any]


def distance_ulp(rows: Rows, origin: Rows, exponent: int) -> NDArray[np.float32]:
    """L-infinity distance in ulp of the origin: float32[rows].

    The largest |row - origin| over the dimensions, the difference taken in float32 and rounded
    to bfloat16 (what a bfloat16 subtraction gives), divided by 2**exponent. Infinite where the
    difference or the quotient overflows.

    Args:
        rows: bfloat16[rows, dims].
        origin: bfloat16[dims].
        exponent: log2 of the ulp.
    """
    with np.errstate(over="ignore"):
        exact = rows.astype(np.float32) - origin.astype(np.float32)
        largest = np.abs(round_to_bfloat16(exact).astype(np.float32)).max(axis=1)
        ulps: NDArray[np.float32] = np.ldexp(largest, -exponent)
        return ulps


def distance_steps(rows: Rows, origin: Rows) -> NDArray[np.int64]:
    """L-infinity distance in bfloat16 steps: int64[rows].

    The largest number of lattice steps between the two values of a dimension (NumPy's "nulp"):
    each dimension is measured by its own spacing, so one step at 0.08 counts as one at 0.001.
    """
    steps = np.abs(ordered(rows) - ordered(origin))
    return np.asarray(steps.max(axis=1), np.int64)


def distance_l2(rows: Rows, origin: Rows) -> NDArray[np.float64]:
    """Euclidean distance: float64[rows] of float[rows, dims] and float[dims].

    Differences and squares in float64, summed by halves, so that the error stays below
    log2(dims) roundings of 2**-53; NaN where a row holds NaN or infinity.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        differences = rows.astype(np.float64) - origin.astype(np.float64)
        return np.sqrt(sum_by_halves(differences * differences))


def sum_by_halves(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum over the last axis: the second half added onto the first until one is left.

    NumPy's own sum may add in another order on another processor; this one is fixed. Overwrites
    ``terms``.
    """
    if terms.shape[-1] == 0:
        return np.zeros(terms.shape[:-1])
    while (width := terms.shape[-1]) > 1:
        half = width // 2
        terms[..., :half] += terms[..., width - half :]
        terms = terms[..., : width - half]
    return terms[..., 0]
