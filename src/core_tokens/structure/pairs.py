"""Which vectors are at most one lattice step apart in every dimension, and how many in all?

Between two vectors let d be the steps in one dimension. Then d**2 >= d, with equality where d is 0
or 1 alone: all are at most one step if and only if the sums of d**2 and of d are equal. Both sums
are products of matrices for dimensions that take few values, the second over the unary digits of a
value (3 of 5 is 1 1 1 0 0, and d the digits that differ). All sums are of small integers and below
2**24, so float32 has them exactly, in whatever order they are added.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

FEW = 8
"""Dimensions with up to so many steps from end to end are multiplied, the others compared."""
BLOCK_ROWS = 512
BLOCK_DIGITS = 4096
BLOCK_VALUES = 1 << 22
FIRST = 8
"""So many of the others are compared for all pairs, the rest for those that are left."""


def pairs_within_a_step(
    lattice: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find all such pairs, exactly.

    Args:
        lattice: int32[vectors, dims], ordered integers, no two rows alike.

    Returns:
        The pairs, int64[pairs, 2], the smaller position first, in lexicographic order; and the L1
        distance of each in lattice steps, int64[pairs].
    """
    columns = _compressed(lattice)
    reach = columns.max(axis=1, initial=0)
    narrow = np.ascontiguousarray(columns[(reach > 0) & (reach <= FEW)].T.astype(np.uint8))
    wide = columns[reach > FEW]
    wide = np.ascontiguousarray(wide[np.argsort(-reach[reach > FEW], kind="stable")].T)
    pairs, lengths = [np.empty((0, 2), np.int64)], [np.empty(0, np.int64)]
    for first, length in _blocks(narrow):
        rows = slice(first, first + len(length))
        near = length >= 0
        for column in wide.T[:FIRST]:
            near &= np.abs(column[rows, None] - column[None, first:]) <= 1
        row, other = np.nonzero(near)
        steps = length[row, other].astype(np.int64)
        found = np.stack([row, other], axis=1) + first
        kept, more = _steps(wide, found)
        pairs.append(found[kept])
        lengths.append(steps[kept] + more)
    return np.concatenate(pairs), np.concatenate(lengths)


def _compressed(lattice: NDArray[np.int32]) -> NDArray[np.int32]:
    """The columns, int32[dims, vectors], moved to 0 and every gap of more than 2 steps made 2.

    Values are one step apart, or the same, if they were before.
    """
    columns = np.ascontiguousarray(lattice.T)
    order = np.argsort(columns, axis=1, kind="stable")
    ascending = np.take_along_axis(columns, order, axis=1)
    gaps = np.minimum(np.diff(ascending.astype(np.int64), axis=1), 2).astype(np.int32)
    np.cumsum(gaps, axis=1, out=gaps)
    ascending[:, :1] = 0
    ascending[:, 1:] = gaps
    np.put_along_axis(columns, order, ascending, axis=1)
    return columns


def _blocks(values: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Rows against themselves and all that follow: the first row, and the L1 distances.

    A distance is -1 where two rows are more than a step apart somewhere, and from a row to itself
    or back: float32[rows, vectors - first].
    """
    reach = values.max(axis=0, initial=0)
    digits = np.concatenate(
        [values[:, reach >= step] >= step for step in range(1, FEW + 1)], axis=1
    )  # fmt: skip
    count = len(values)
    for first in range(0, count, BLOCK_ROWS):
        rows, others = slice(first, first + BLOCK_ROWS), slice(first, count)
        length = _squares(digits, rows, others)
        apart = _squares(values, rows, others) != length
        length[apart | np.tri(*length.shape, dtype=np.bool_)] = -1
        yield first, length


def _squares(values: NDArray[np.generic], rows: slice, others: slice) -> NDArray[np.float32]:
    """The squared Euclidean distances of some rows from some others, of small integers."""
    total = np.zeros((len(values[rows]), len(values[others])), np.float32)
    for start in range(0, values.shape[1], BLOCK_DIGITS):
        these, those = (
            values[chosen, start : start + BLOCK_DIGITS].astype(np.float32)
            for chosen in (rows, others)
        )
        total += (these * these).sum(axis=1)[:, None]
        total += (those * those).sum(axis=1)[None, :]
        total -= 2 * (these @ those.T)
    return total


def _steps(
    wide: NDArray[np.int32], pairs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which pairs are at most a step apart in these columns too, and how many steps in all.

    Args:
        wide: int32[vectors, columns].
        pairs: int64[pairs, 2].

    Returns:
        Positions in ``pairs``, ascending: int64[kept]; steps, int64[kept].
    """
    kept = np.arange(len(pairs))
    steps = np.zeros(len(pairs), np.int64)
    for start in range(0, wide.shape[1], FIRST * FIRST):
        some = np.ascontiguousarray(wide[:, start : start + FIRST * FIRST])
        block = max(1, BLOCK_VALUES // some.shape[1])
        parts = [np.empty(0, np.int64)]
        for begin in range(0, len(kept), block):
            here = kept[begin : begin + block]
            apart = np.abs(some[pairs[here, 0]] - some[pairs[here, 1]])
            near = apart.max(axis=1) <= 1
            steps[here[near]] += apart[near].sum(axis=1)
            parts.append(here[near])
        kept = np.concatenate(parts)
    return kept, steps[kept]
