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

from core_tokens.bits import BFLOAT16, positive_zeros, round_to_bfloat16

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
    changed = 0
    for block in blocks(matrix, rows):
        with np.errstate(invalid="ignore"):
            back = round_to_bfloat16(block).astype(block.dtype)
            changed += int(((back != block) & (block == block)).any(axis=1).sum())
    return changed


def identical_rows(
    matrix: NDArray[Any],
    rows: NDArray[np.int64] | None = None,
    *,
    as_bfloat16: bool = False,
    row_hash: Callable[[memoryview], int] = xxhash.xxh3_64_intdigest,
) -> Groups:
    """Group the identical rows of float[n, dims], or of its ``rows``; exact.

    A 64-bit hash proposes the groups; the rows of every group of two or more are then compared,
    and a group in which two rows only share the hash is split by its bytes.

    Args:
        matrix: float[vocab, dims], possibly mapped from a file.
        rows: int64[n], the rows to group; all of them by default.
        as_bfloat16: round to bfloat16 first, so that rows which become equal are one.
        row_hash: bytes of a row -> 64-bit integer.
    """
    count = len(matrix) if rows is None else len(rows)
    hashes = np.empty(count, np.uint64)
    position = 0
    for block in blocks(matrix, rows, as_bfloat16=as_bfloat16):
        for row in _bytes_of_rows(block):
            hashes[position] = row_hash(row)
            position += 1
    groups = _by_label(hashes)
    shared = np.flatnonzero(groups.sizes[groups.group_of_row] > 1)
    absolute = np.arange(count) if rows is None else rows
    members = blocks(matrix, absolute[shared], as_bfloat16=as_bfloat16)
    leaders = blocks(
        matrix, absolute[groups.first[groups.group_of_row[shared]]], as_bfloat16=as_bfloat16
    )
    if all(
        np.array_equal(member.view(np.uint8), leader.view(np.uint8))
        for member, leader in zip(members, leaders, strict=True)
    ):
        return groups
    return _split_collisions(matrix, absolute, shared, groups, as_bfloat16)


def _split_collisions(
    matrix: NDArray[Any],
    absolute: NDArray[np.int64],
    shared: NDArray[np.int64],
    groups: Groups,
    as_bfloat16: bool,
) -> Groups:
    """Regroup the rows that share a hash by their bytes."""
    label = groups.first[groups.group_of_row]
    seen: dict[bytes, int] = {}
    position = iter(shared.tolist())
    for block in blocks(matrix, absolute[shared], as_bfloat16=as_bfloat16):
        for row in _bytes_of_rows(block):
            here = next(position)
            label[here] = seen.setdefault(bytes(row), here)
    return _by_label(label)


def _by_label(labels: NDArray[Any]) -> Groups:
    """Groups of equal labels, renumbered in the order of their first occurrence."""
    _, first, inverse, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(first)
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    return Groups(
        first[order].astype(np.int64), number[inverse.reshape(-1)], sizes[order].astype(np.int64)
    )


def _bytes_of_rows(block: NDArray[Any]) -> Iterator[memoryview]:
    """The bytes of each row of a two-dimensional block, without a copy where it is contiguous."""
    flat = np.ascontiguousarray(block).view(np.uint8).reshape(-1).data
    width = block.shape[1] * block.dtype.itemsize
    for row in range(len(block)):
        yield flat[row * width : (row + 1) * width]
