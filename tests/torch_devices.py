"""The devices that torch finds here, and matrices on them."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import oracle

THERE = {
    "cpu": True,
    "cuda": torch.cuda.is_available(),
    "mps": torch.backends.mps.is_available(),
}
each_device = pytest.mark.parametrize("device", [name for name, there in THERE.items() if there])


def can_hold(device: str, dtype: np.dtype[Any]) -> bool:
    """Does a device have floats of this dtype?"""
    return device != "mps" or dtype.itemsize in (2, 4)


def on(device: str, matrix: NDArray[Any]) -> torch.Tensor:
    """A copy of a matrix on a device."""
    if not can_hold(device, matrix.dtype):
        pytest.skip(f"{device} has no {matrix.dtype}")
    return oracle.to_torch(matrix).to(device)
