"""Matrices in HDF5: datasets [vocab, dims] or [steps, vocab, dims].

HDF5 has no bfloat16: 16-bit unsigned integers are taken for its bits, as training logs keep them.
"""

import os
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from core_tokens.errors import CoreTokensError, FileError, TensorError

MAGIC = b"\x89HDF\r\n\x1a\n"
DTYPES = {
    np.dtype(np.uint16): ("BF16", np.dtype(ml_dtypes.bfloat16)),
    np.dtype(np.float16): ("F16", np.dtype(np.float16)),
    np.dtype(np.float32): ("F32", np.dtype(np.float32)),
    np.dtype(np.float64): ("F64", np.dtype(np.float64)),
}
"""Stored -> what it is taken for, by the names of safetensors."""


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as one of HDF5 does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def matrices(
    path: Path, dataset: str | None, steps: str
) -> tuple[int | None, list[int] | None, str]:
    """How many matrices a dataset holds, at which steps of training, and its name.

    Args:
        path: of the file.
        dataset: by its name; by default the only one, that of the steps apart.
        steps: the name of a dataset that says the steps, if it is there.

    Returns:
        None instead of a number for a dataset that is one matrix; None for unknown steps.

    Raises:
        FileError: no whole file of HDF5.
        TensorError: no such dataset, or several that may be meant.
    """
    with _opened(path) as file:
        name, found = _dataset(path, file, dataset, steps)
        if found.ndim != 3:
            return None, None, name
        return len(found), _steps(file.get(steps), len(found)), name


def read(path: Path, dataset: str, index: int | None) -> tuple[str, NDArray[Any]]:
    """One matrix, read into memory, with the safetensors name of its dtype.

    Raises:
        FileError: no whole file of HDF5.
        TensorError: no such dataset, none of floats or bits of bfloat16, or no such step.
    """
    where = f"{path}: {dataset}"
    with _opened(path) as file:
        _, found = _dataset(path, file, dataset, "")
        rank = 2 if index is None else 3
        # Little-endian or not: h5py reads either as this machine has it.
        kind = DTYPES.get(found.dtype.newbyteorder("="))
        if kind is None or found.ndim != rank or 0 in found.shape:
            right = "[vocab, dims] or [steps, vocab, dims] of uint16 (bits of bfloat16) or floats"
            raise TensorError(where, f"{found.dtype}{list(found.shape)}", right)
        if index is not None and index >= len(found):
            raise TensorError(where, f"{len(found)} matrices", f"number {index} among them")
        try:
            stored = found[()] if index is None else found[index]
        except OSError as error:  # cut short, or of a filter that is not there
            raise FileError(where, f"data that cannot be read ({error})", "a whole file") from error
    name, dtype = kind
    matrix = np.ascontiguousarray(stored, stored.dtype.newbyteorder("="))
    return name, matrix.view(dtype) if matrix.dtype == np.uint16 else matrix


def _steps(kept: Any, many: int) -> list[int] | None:
    """The numbers of a dataset of so many, None if it is something else."""
    if getattr(kept, "shape", None) != (many,) or kept.dtype.kind not in "iuf":
        return None
    numbers = kept[()]
    if numbers.dtype.kind == "f":
        numbers = numbers.astype(np.float64)
        if not ((abs(numbers) < 2.0**63) & (numbers == np.trunc(numbers))).all():
            return None
    steps = [int(step) for step in numbers]
    return steps if max(steps, default=0) < 1 << 63 else None


def _opened(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise CoreTokensError(
            path,
            "HDF5, for which h5py is not here",
            "pip install -c constraints.txt -e '.[survey]'",
        ) from error
    try:
        return h5py.File(path, "r")
    except FileNotFoundError as error:
        raise FileError(path, "no such file", "a file of HDF5") from error
    except OSError as error:
        raise FileError(path, f"no valid HDF5 ({error})", "a whole file of HDF5") from error


def _dataset(path: Path, file: Any, dataset: str | None, steps: str) -> tuple[str, Any]:
    """A dataset by its name, or the only one."""
    there: dict[str, Any] = {}

    def note(name: str | bytes, item: Any) -> None:  # bytes where they are no UTF-8
        if getattr(item, "shape", None) is not None:  # a dataset, and not an empty one
            there[os.fsdecode(name)] = item

    file.visititems(note)
    wanted = [dataset] if dataset is not None else [name for name in there if name != steps]
    if len(wanted) != 1 or wanted[0] not in there:
        listed = ", ".join(f"{name} {item.dtype}{list(item.shape)}" for name, item in there.items())
        raise TensorError(
            f"{path}: {dataset or ''}".rstrip(": "),
            listed or "no datasets",
            "one, or its name: tensor",
        )
    return wanted[0], there[wanted[0]]
