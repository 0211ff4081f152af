"""Which vectors are at most one lattice step apart in every dimension, and how many in all?

The few dimensions whose values spread most are compared for all pairs. Where that leaves few pairs,
as it mostly does, these are compared in the other dimensions too. Where it leaves many, dimensions
that take few values are multiplied first: between two vectors let d be the steps in one dimension.
Then d**2 >= d, with equality where d is 0 or 1 alone: all are at most one step if and only if the
sums of d**2 and of d are equal. Both sums are products of matrices, the second over the unary
digits of a value (3 of 5 is 1 1 1 0 0, and d the digits that differ). All sums are of small
integers and below 2**24, so float32 has them exactly, in whatever order they are added.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from core_tokens.parallel import in_order

FEW = 8
"""Dimensions with up to so many steps from end to end can be multiplied."""
BLOCK_ROWS = 512
BLOCK_DIGITS = 4096
BLOCK_VALUES = 1 << 22
FIRST = 8
"""So many dimensions are compared for all pairs."""
MANY = 1 / 32
"""If a larger share of the pairs is left, the products cost less."""


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
    columns, reach = _widest_first(lattice)
    products = cache(lambda: _Products(columns[(reach > 0) & (reach <= FEW)]))

    def found(first: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Those of which the smaller position is in one block."""
        near = _near(columns[:FIRST], first)
        length, rest = np.zeros((1, 1), np.float32), columns
        if np.count_nonzero(near) > MANY * near.size:
            length, rest = products().lengths(first), columns[reach > FEW]
            near &= length >= 0
        pairs = np.stack(np.nonzero(near), axis=1)
        steps = np.broadcast_to(length, near.shape)[near].astype(np.int64)
        kept, more = _steps(rest, pairs + first)
        return pairs[kept] + first, steps[kept] + more

    blocks = list(in_order(found, range(0, len(lattice), BLOCK_ROWS)))
    pairs, lengths = zip((np.empty((0, 2), np.int64), np.empty(0, np.int64)), *blocks, strict=True)
    return np.concatenate(pairs), np.concatenate(lengths)


def _widest_first(lattice: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The columns by falling reach, int32[dims, vectors], and the reach of each, int64[dims].

    That is the steps from the smallest value to the largest, every gap counted as two at most.
    """
    columns = np.ascontiguousarray(lattice.T)
    gaps = np.diff(np.sort(columns, axis=1), axis=1).view(np.uint32)  # which may exceed an int32
    reach = np.minimum(gaps, 2).sum(axis=1, dtype=np.int64)
    order = np.argsort(-reach, kind="stable")
    return columns[order], reach[order]


def _near(columns: NDArray[np.int32], first: int) -> NDArray[np.bool_]:
    """Which of a block of vectors are near which of those that follow: bool[rows, vectors - first].

    True if they are at most a step apart in each of these columns.
    """
    count = columns.shape[1] - first
    rows = min(BLOCK_ROWS, count)
    near = ~np.tri(rows, count, dtype=np.bool_)
    for column in columns[:, first:]:
        near &= _within_a_step(column[:rows, None] - column[None])
    return near


def _within_a_step(difference: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which differences of two int32 are -1, 0 or 1; no other is congruent to these in 32 bits."""
    return (difference + np.int32(1)).view(np.uint32) <= 2


class _Products:
    """The vectors in their dimensions of few values, ready to be multiplied."""

    def __init__(self, columns: NDArray[np.int32]) -> None:
        self._values = np.ascontiguousarray(_compressed(columns).T.astype(np.uint8))
        reach = self._values.max(axis=0, initial=0)
        self._digits = np.concatenate(
            [self._values[:, reach >= step] >= step for step in range(1, FEW + 1)], axis=1
        )  # fmt: skip

    def lengths(self, first: int) -> NDArray[np.float32]:
        """The L1 distances of a block of vectors from itself and all that follow.

        -1 where two are more than a step apart somewhere: float32[rows, vectors - first].
        """
        rows, others = slice(first, first + BLOCK_ROWS), slice(first, None)
        length = _squares(self._digits, rows, others)
        length[_squares(self._values, rows, others) != length] = -1
        return length


def _compressed(columns: NDArray[np.int32]) -> NDArray[np.int32]:
    """The columns moved to 0 and every gap of more than 2 steps made 2: int32[dims, vectors].

    Values are one step apart, or the same, if they were before.
    """
    order = np.argsort(columns, axis=1, kind="stable")
    gaps = np.diff(np.take_along_axis(columns, order, axis=1), axis=1).view(np.uint32)
    ascending = np.zeros_like(columns)
    np.cumsum(np.minimum(gaps, 2), axis=1, out=ascending[:, 1:])
    compressed = np.empty_like(columns)
    np.put_along_axis(compressed, order, ascending, axis=1)
    return compressed


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
    columns: NDArray[np.int32], pairs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which pairs are at most a step apart in these columns, and how many steps in all.

    Args:
        columns: int32[columns, vectors].
        pairs: int64[pairs, 2].

    Returns:
        Positions in ``pairs``, ascending: int64[kept]; steps, int64[kept].
    """
    kept = np.arange(len(pairs))
    steps = np.zeros(len(pairs), np.int64)
    for start in range(0, len(columns), FIRST * FIRST):
        if len(kept) == 0:
            break
        some = np.ascontiguousarray(columns[start : start + FIRST * FIRST].T)
        block = max(1, BLOCK_VALUES // some.shape[1])
        parts = []
        for begin in range(0, len(kept), block):
            here = kept[begin : begin + block]
            apart = some[pairs[here, 0]] - some[pairs[here, 1]]
            near = _within_a_step(apart).all(axis=1)
            steps[here[near]] += np.abs(apart[near]).sum(axis=1)
            parts.append(here[near])
        kept = np.concatenate(parts)
    return kept, steps[kept]
