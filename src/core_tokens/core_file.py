"""core_tokens.safetensors read back: which tokens, under which ruler, within which radius."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core_tokens import tensors
from core_tokens.core import RULERS
from core_tokens.errors import TensorError


@dataclass(frozen=True)
class CoreFile:
    """What `extract` wrote.

    Attributes:
        token_ids: int64[n], the core.
        ruler: one of ``RULERS``.
        radius: float32, in the units of the ruler.
    """

    token_ids: NDArray[np.int64]
    ruler: str
    radius: np.float32


def read(path: Path) -> CoreFile:
    """Read a core file.

    Raises:
        FileError: no file, or not safetensors.
        TensorError: the core or its radius is missing or of another kind.
    """
    there = tensors.entries(path)
    ruler = next((name for name in RULERS if f"max_core_radius_{name}" in there), None)
    if ruler is None:
        raise TensorError(
            f"{path}: max_core_radius_ulp", "no such tensor", "a core that `extract` wrote"
        )
    radius = f"max_core_radius_{ruler}"
    schema: tensors.Schema = {"cluster_token_ids": ("I64", ("tokens",)), radius: ("F32", (1,))}
    core = tensors.read(path, schema)
    if not 0 <= core[radius][0] < np.inf:
        raise TensorError(f"{path}: {radius}", str(core[radius][0]), "a finite number >= 0")
    return CoreFile(core["cluster_token_ids"], ruler, core[radius][0])
