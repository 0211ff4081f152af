"""What a program imports: measure the tokens of a matrix, and take the core within a radius.

NumPy arrays are measured by NumPy, torch tensors on their own device, with the same result; torch
is imported by whoever has a tensor.
"""

import sys
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core_tokens import core, measurements
from core_tokens.core import Core
from core_tokens.errors import TensorError, UsageError
from core_tokens.measurements import Measurements

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_RADIUS = float(np.finfo(np.float32).max)


def measure(
    matrix: "NDArray[Any] | Tensor",
    token_ids: "ArrayLike | Tensor",
    precision: Literal["bfloat16", "native"] = "bfloat16",
) -> Measurements:
    """Measure how far the vectors of some tokens lie from the most populated of them.

    Of W only the rows of the tokens are read, on its own device; W and its gradient stay as they
    are. The result is the same, bit for bit, on every device.

    Args:
        matrix: W, float[vocab, dims] of bfloat16, float16, float32, float64, float8_e4m3fn or
            float8_e5m2: a NumPy array (with ml_dtypes), possibly mapped from a file, or a plain
            torch tensor, such as ``model.lm_head.weight``.
        token_ids: integers[n], distinct: an array, a tensor on any device, or a list.
        precision: "bfloat16", to which the rows of other dtypes are rounded, or "native": those of
            bfloat16, float16 or float32 as they are.

    Returns:
        NumPy arrays; see ``Measurements``.

    Raises:
        TensorError: W is no such matrix or tensor, an id is negative, repeated, beyond the
            vocabulary or no integer, or a row of a token holds NaN or infinity.
        UsageError: no such precision.
    """
    if precision not in ("bfloat16", "native"):
        raise UsageError("precision", repr(precision), "bfloat16 or native")
    if _is_tensor(matrix):
        from core_tokens import torch_engine

        return torch_engine.measure(matrix, token_ids, precision)
    if not isinstance(matrix, np.ndarray):
        raise TensorError("W", type(matrix).__name__, "a NumPy array or a torch tensor")
    ids = token_ids.tolist() if _is_tensor(token_ids) else token_ids
    return measurements.measure(matrix, ids, precision)


def _is_tensor(value: Any) -> "TypeGuard[Tensor]":
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def core_within(
    measured: Measurements, radius: float, distance: Literal["ulp", "steps", "l2"] = "ulp"
) -> Core:
    """Take the tokens whose vector lies within a radius of the most populated one.

    Args:
        measured: from ``measure``.
        radius: in units of the distance, included, not negative; taken as float32.
        distance: "ulp" or "steps", the largest difference of any dimension, or "l2".

    Returns:
        Ids of core and halo, and how many vectors they have; see ``Core``.

    Raises:
        UsageError: no such distance, or a radius that is negative, NaN or beyond float32.
    """
    if distance not in core.RULERS:
        raise UsageError("distance", repr(distance), f"one of {', '.join(core.RULERS)}")
    if not 0 <= radius <= LARGEST_RADIUS:
        raise UsageError("radius", repr(radius), f"a number from 0 to {LARGEST_RADIUS:.4g}")
    distances = getattr(measured, f"distance_{distance}")
    return core.core_within(radius, distances, measured.vector_of_token, measured.token_ids)
