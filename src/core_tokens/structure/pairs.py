"""Which vectors are at most one lattice step apart in every dimension, and how many in all?

The few dimensions whose values spread most are compared for all pairs. Where that leaves few pairs,
as it mostly does, these are compared in the other dimensions too. Where it leaves many, dimensions
that take few values are multiplied first: between two vectors let d be the steps in one dimension.
Then d**2 >= d, with equality where d is 0 or 1 alone: all are at most one step if and only if the
sums of d**2 and of d are equal. Both sums are products of matrices, the second over the unary
digits of a value (3 of 5 is 1 1 1 0 0, and d the digits that differ). All sums are of small
integers and below 2**24, so float32 has them exactly, in whatever order they are added.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from core_tokens.parallel import in_order

FEW = 8
"""Dimensions with up to so many steps from end to end can be multiplied."""
BLOCK_ROWS = 512
BLOCK_OTHERS = 2048
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
    wide, vary = (np.count_nonzero(reach > least) for least in (FEW, 0))
    products = cache(lambda: _Products(columns[wide:vary]))

    def found(first: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Those of which the smaller position is in one block."""
        near = _near(columns[:FIRST], first)
        length, rest = np.zeros((1, 1), np.float32), columns
        if np.count_nonzero(near) > MANY * near.size:
            length, rest = products().lengths(first), columns[:wide]
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
    reach = np.empty(len(columns), np.int64)
    for some in _in_blocks(columns):
        gaps = _gaps(np.sort(columns[some], axis=1))
        reach[some] = np.minimum(gaps, 2).sum(axis=1, dtype=np.int64)
    order = np.argsort(-reach, kind="stable")
    return columns[order], reach[order]


def _in_blocks(columns: NDArray[np.int32]) -> Iterator[slice]:
    """Blocks of so many columns that each has about BLOCK_VALUES values."""
    step = max(1, BLOCK_VALUES // max(1, columns.shape[1]))
    return (slice(start, start + step) for start in range(0, len(columns), step))


def _gaps(ascending: NDArray[np.int32]) -> NDArray[np.uint32]:
    """The steps between neighbours in each row, which may exceed an int32: uint32[rows, n - 1]."""
    return np.diff(ascending, axis=1).view(np.uint32)


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
        values = np.empty(columns.shape[::-1], np.uint8)
        for some in _in_blocks(columns):
            values[:, some] = _compressed(columns[some]).T
        reach = values.max(axis=0, initial=0)
        digits = np.empty((len(values), int(reach.sum())), np.bool_)
        end = 0
        for step in range(1, FEW + 1):
            start, end = end, end + int((reach >= step).sum())
            np.greater_equal(values[:, reach >= step], step, out=digits[:, start:end])
        self._values, self._digits = _Squares(values), _Squares(digits)

    def lengths(self, first: int) -> NDArray[np.float32]:
        """The L1 distances of a block of vectors from itself and all that follow.

        -1 where two are more than a step apart somewhere: float32[rows, vectors - first].
        """
        length = self._digits.from_block(first)
        length[self._values.from_block(first) != length] = -1
        return length


class _Squares:
    """The squared Euclidean distances between vectors of small integers: |a|**2 + |b|**2 - 2ab."""

    def __init__(self, values: NDArray[np.generic]) -> None:
        self._values = values
        self._norms = np.zeros(len(values), np.float32)
        for start in range(0, values.shape[1], BLOCK_DIGITS):
            digits = values[:, start : start + BLOCK_DIGITS]
            self._norms += np.square(digits, dtype=np.uint8).sum(axis=1, dtype=np.float32)

    def from_block(self, first: int) -> NDArray[np.float32]:
        """From a block of vectors to itself and all that follow: float32[rows, vectors - first]."""
        count, dims = self._values.shape
        rows = slice(first, first + BLOCK_ROWS)
        total = self._norms[rows, None] + self._norms[None, first:]
        for start in range(0, dims, BLOCK_DIGITS):
            columns = slice(start, start + BLOCK_DIGITS)
            these = self._values[rows, columns].astype(np.float32)
            for other in range(first, count, BLOCK_OTHERS):
                those = self._values[other : other + BLOCK_OTHERS, columns].astype(np.float32)
                part = total[:, other - first : other - first + len(those)]
                part -= 2 * (these @ those.T)
        return total


def _compressed(columns: NDArray[np.int32]) -> NDArray[np.int64]:
    """Columns moved to 0 and every gap of more than 2 steps made 2: int64[columns, vectors].

    Values are one step apart, or the same, if they were before.
    """
    order = np.argsort(columns, axis=1, kind="stable")
    gaps = _gaps(np.take_along_axis(columns, order, axis=1))
    compressed = np.zeros(columns.shape, np.int64)
    np.put_along_axis(compressed, order[:, 1:], np.cumsum(np.minimum(gaps, 2), axis=1), axis=1)
    return compressed


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
