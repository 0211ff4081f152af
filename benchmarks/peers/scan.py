"""The distance of every row from the origin: subtract, take the magnitudes, take the largest."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

CHUNK = 4096
"""Rows at once: 20 MB of 2,560 dimensions."""


def largest_differences(matrix: NDArray[Any], origin: NDArray[Any]) -> NDArray[np.float32]:
    """The largest |row - origin| over the dimensions, all in bfloat16: float32[rows].

    Args:
        matrix: bfloat16[rows, dims].
        origin: bfloat16[dims].
    """
    rows, centre = (
        torch.from_numpy(each.view(np.int16)).view(torch.bfloat16) for each in (matrix, origin)
    )
    parts = [(chunk - centre).abs().amax(dim=1) for chunk in torch.split(rows, CHUNK)]
    return torch.cat(parts).float().numpy()
