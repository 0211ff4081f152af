"""Which rows of a matrix are identical?

Rows are compared by value: -0 equals +0. A NaN equals a NaN of the same bits, so that a row is
always identical to itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from core_tokens.bits import BFLOAT16, bits_of, positive_zeros, round_to_bfloat16
from core_tokens.parallel import over_rows
from core_tokens.sketch import DIMENSIONS, Sketch

BLOCK_BYTES = 1 << 20
"""Rows are read in blocks of about this size: what a core's cache holds, and no more."""


@dataclass(frozen=True)
class Groups:
    """The distinct rows among n, in the order of their first occurrence.

    Attributes:
        first: int64[u], the position of the first row of each group, ascending.
        group_of_row: int64[n], the group of each row.
        sizes: int64[u], the number of rows in each group.
    """

    first: NDArray[np.int64]
    group_of_row: NDArray[np.int64]
    sizes: NDArray[np.int64]


def blocks(
    matrix: NDArray[Any], rows: NDArray[np.int64] | None = None, *, as_bfloat16: bool = False
) -> Iterator[NDArray[Any]]:
    """Yield ``matrix`` (or its ``rows``, in their order) block by block, with zeros positive.

    A mapped matrix is read once, never copied whole. ``as_bfloat16`` rounds each block.
    """
    count = len(matrix) if rows is None else len(rows)
    step = max(1, BLOCK_BYTES // max(1, matrix.shape[1] * matrix.dtype.itemsize))
    for start in range(0, count, step):
        block = matrix[start : start + step] if rows is None else matrix[rows[start : start + step]]
        yield positive_zeros(round_to_bfloat16(block) if as_bfloat16 else block)


def changed_rows(matrix: NDArray[Any], rows: NDArray[np.int64] | None = None) -> int:
    """How many of the rows rounding to bfloat16 changes; a NaN is not changed.

    Args:
        matrix: float[vocab, dims], possibly mapped from a file.
        rows: int64[n]; all of them by default.
    """
    if matrix.dtype.itemsize == 1 or matrix.dtype == BFLOAT16:  # which bfloat16 holds exactly
        return 0
    count = len(matrix) if rows is None else len(rows)
    changed = np.zeros(count, bool)

    def part(start: int, stop: int) -> None:
        some = matrix[start:stop] if rows is None else matrix
        at = start
        for block in blocks(some, None if rows is None else rows[start:stop]):
            with np.errstate(invalid="ignore"):
                back = round_to_bfloat16(block).astype(block.dtype)
                other = (back != block) & (block == block)
            changed[at : at + len(block)] = other.any(axis=1)
            at += len(block)

    over_rows(part, count, matrix.shape[1] * matrix.dtype.itemsize)
    return int(changed.sum())


def identical_rows(
    matrix: NDArray[Any],
    rows: NDArray[np.int64] | None = None,
    *,
    as_bfloat16: bool = False,
    few: Sketch | None = None,
    row_hash: Callable[[memoryview], int] = xxhash.xxh3_64_intdigest,
) -> Groups:
    """Group the identical rows of float[n, dims], or of its ``rows``; exact.

    Of a whole matrix only those rows are read whole that share a few dimensions with another. A
    64-bit hash proposes the groups; the rows of every group of two or more are then compared, and
    a group in which two rows only share the hash is split by its bytes.

    Args:
        matrix: float[vocab, dims], possibly mapped from a file.
        rows: int64[n], the rows to group; all of them by default.
        as_bfloat16: round to bfloat16 first, so that rows which become equal are one.
        few: the sketch of the matrix, whose dimensions are then those few; else they are the first.
        row_hash: bytes of a row -> 64-bit integer.
    """
    if rows is None:
        rows = np.arange(len(matrix))
        values = matrix[:, :DIMENSIONS] if few is None else few.values
        unsure = _repeated(_keys(round_to_bfloat16(values) if as_bfloat16 else values))
    else:
        unsure = np.arange(len(rows))
    leader = np.arange(len(rows))
    leader[unsure] = unsure[_leaders(matrix, rows[unsure], as_bfloat16, row_hash)]
    leads = leader == np.arange(len(rows))
    group_of_row = (np.cumsum(leads) - 1)[leader]
    return Groups(np.flatnonzero(leads), group_of_row, np.bincount(group_of_row))


def _keys(values: NDArray[Any]) -> NDArray[np.uint32]:
    """uint32[n] of float[n, k]: equal for rows that are, and seldom for others."""
    data = bits_of(np.ascontiguousarray(positive_zeros(values))).view(np.uint8)
    words = np.pad(data, ((0, 0), (0, -data.shape[1] % 8))).view(np.uint64)
    keys = np.zeros(len(values), np.uint64)
    for column in words.T:
        keys += column
        keys *= np.uint64(0x9E3779B97F4A7C15)  # odd, its bits spread: Fibonacci hashing
    return (keys >> np.uint64(32)).astype(np.uint32)  # the upper half depends on all bits


def _repeated(keys: NDArray[np.uint32]) -> NDArray[np.int64]:
    """The positions of the keys that occur more than once, ascending."""
    ordered = np.sort(keys)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    upper = np.zeros(1 << 16, bool)  # of whose upper half there is one, few keys are to be sought
    upper[twice >> 16] = True
    likely = np.flatnonzero(upper[keys >> 16])
    nearest = np.searchsorted(twice, keys[likely], "right") - 1
    return likely[twice[np.maximum(nearest, 0)] == keys[likely]] if len(twice) else likely


def _leaders(
    matrix: NDArray[Any],
    rows: NDArray[np.int64],
    as_bfloat16: bool,
    row_hash: Callable[[memoryview], int],
) -> NDArray[np.int64]:
    """The first position among ``rows`` of a row identical to each: int64[n]."""
    hashes = np.empty(len(rows), np.uint64)
    position = 0
    for block in blocks(matrix, rows, as_bfloat16=as_bfloat16):
        for row in _bytes_of_rows(block):
            hashes[position] = row_hash(row)
            position += 1
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    leader: NDArray[np.int64] = first[inverse.reshape(-1)]
    follows = np.flatnonzero(leader != np.arange(len(rows)))
    members = blocks(matrix, rows[follows], as_bfloat16=as_bfloat16)
    leaders = blocks(matrix, rows[leader[follows]], as_bfloat16=as_bfloat16)
    if all(
        np.array_equal(member.view(np.uint8), leading.view(np.uint8))
        for member, leading in zip(members, leaders, strict=True)
    ):
        return leader
    seen: dict[bytes, int] = {}
    position = 0
    for block in blocks(matrix, rows, as_bfloat16=as_bfloat16):
        for row in _bytes_of_rows(block):
            leader[position] = seen.setdefault(bytes(row), position)
            position += 1
    return leader


def _bytes_of_rows(block: NDArray[Any]) -> Iterator[memoryview]:
    """The bytes of each row of a two-dimensional block, without a copy where it is contiguous."""
    flat = np.ascontiguousarray(block).view(np.uint8).reshape(-1).data
    width = block.shape[1] * block.dtype.itemsize
    for row in range(len(block)):
        yield flat[row * width : (row + 1) * width]
