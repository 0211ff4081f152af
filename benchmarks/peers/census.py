"""Identical rows by sorting them: the bits as integers, and torch's unique over the rows.

Two forms: every value widened to an integer of 32 bits, the plain one; and two values seen as one
such integer, without a copy, for whoever thinks of it.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Partition = tuple[NDArray[np.int64], NDArray[np.int64]]
"""The group of each row, and the rows of each group."""


def identical_rows(matrix: NDArray[Any]) -> Partition:
    """Of bfloat16[rows, dims], one integer per value."""
    return _unique(torch.from_numpy(matrix.view(np.int16)).to(torch.int32))


def identical_rows_packed(matrix: NDArray[Any]) -> Partition:
    """Of bfloat16[rows, dims], one integer per two values; dims is even."""
    return _unique(torch.from_numpy(matrix.view(np.int32)))


def _unique(bits: torch.Tensor) -> Partition:
    _, group_of_row, sizes = torch.unique(bits, dim=0, return_inverse=True, return_counts=True)
    return group_of_row.numpy(), sizes.numpy()
