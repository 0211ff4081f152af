"""Safetensors files in and out: checked and mapped reads, written in one deterministic way.

The library checks a header and its offsets; on top of that a file must hold the tensors that its
schema names, with their dtypes and with dimensions that agree.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from core_tokens.errors import FileError, TensorError

FLOATS = {
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F16": np.dtype(np.float16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
}
"""The dtypes of an embedding matrix that can be measured, by their safetensors names."""

Schema = Mapping[str, tuple[str, tuple[str | int, ...]]]
"""Tensor name -> safetensors dtype and shape; a name in a shape is one size throughout a file."""

CLUSTER_TOKENS: Schema = {"cluster_token_ids": ("I64", ("tokens",))}
"""What is read of a cluster file; the notebook's has two tensors more, of its own sizes."""

MEASUREMENTS: Schema = {
    "token_ids": ("I64", ("tokens",)),
    "vector_of_token": ("I64", ("tokens",)),
    "vectors": ("BF16", ("vectors", "dims")),
    "populations": ("I64", ("vectors",)),
    "distance_ulp": ("F32", ("vectors",)),
    "distance_steps": ("I64", ("vectors",)),
    "distance_l2": ("F32", ("vectors",)),
    "origin": ("I64", (1,)),
    "ulp": ("F32", (1,)),
}


@dataclass(frozen=True)
class Entry:
    """One tensor of a file's header: its safetensors dtype, shape, and place in the file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of a floating-point tensor."""
        return int(math.prod(self.shape) * FLOATS[self.dtype].itemsize)

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


def entries(path: Path) -> dict[str, Entry]:
    """The tensors of a safetensors file by name, sorted; only the header is read.

    Raises:
        FileError: no file, not safetensors, truncated, or a header that lies about the data.
    """
    if not path.exists():
        raise FileError(path, "no such file", "a safetensors file")
    if not path.is_file():
        raise FileError(path, "a folder or a device", "a safetensors file")
    try:
        with safe_open(path, "np"):
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except (SafetensorError, ValueError) as error:
        raise FileError(
            path, f"no valid safetensors ({error})", "a whole safetensors file"
        ) from error
    header.pop("__metadata__", None)
    return {
        name: Entry(
            value["dtype"], tuple(value["shape"]), 8 + length + int(value["data_offsets"][0])
        )
        for name, value in sorted(header.items())
    }


def metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, {} if it has none (FileError: see ``entries``)."""
    entries(path)
    with safe_open(path, "np") as file:
        return dict(file.metadata() or {})


def map_matrix(path: Path, name: str = "W") -> NDArray[Any]:
    """Map a float matrix [rows, dims] read-only; its bytes are read where they are looked at.

    Raises:
        FileError: see ``entries``.
        TensorError: no such tensor, or not a matrix of a supported float dtype.
    """
    entry = entries_of(path, [name])[name]
    check_matrix(path, name, entry)
    flat = np.memmap(path, np.uint8, "r", offset=entry.offset, shape=(entry.nbytes,))
    matrix: NDArray[Any] = flat.view(FLOATS[entry.dtype]).reshape(entry.shape).view(np.ndarray)
    return matrix


def check_matrix(path: Path, name: str, entry: Entry) -> None:
    """Refuse a tensor that is no matrix of floats (TensorError)."""
    if entry.dtype not in FLOATS or len(entry.shape) != 2 or 0 in entry.shape:
        raise TensorError(
            f"{path}: {name}", str(entry), f"a matrix [vocab, dim] of {', '.join(FLOATS)}"
        )


def entries_of(path: Path, names: list[str]) -> dict[str, Entry]:
    """The ``entries`` of a file that must hold ``names`` (TensorError, saying which it has)."""
    there = entries(path)
    for name in names:
        if name not in there:
            raise TensorError(
                f"{path}: {name}", f"no such tensor among {listed(there)}", f"a tensor {name}"
            )
    return there


def listed(there: Mapping[str, Entry]) -> str:
    """Tensors with their dtypes and shapes, as a message shows them."""
    return ", ".join(f"{name} {entry}" for name, entry in sorted(there.items())) or "no tensors"


def read(path: Path, schema: Schema, *, skip: str = "") -> dict[str, NDArray[Any]]:
    """Read the tensors of ``schema`` into memory; ``skip`` names one that is only checked.

    Raises:
        FileError: see ``entries``.
        TensorError: a tensor is absent or has another dtype or shape than the schema says.
    """
    there = entries_of(path, list(schema))
    sizes: dict[str, int] = {}
    for name, (dtype, shape) in schema.items():
        entry = there[name]
        fits = entry.dtype == dtype and len(entry.shape) == len(shape)
        if not fits or any(
            size != (sizes.setdefault(axis, size) if isinstance(axis, str) else axis)
            for size, axis in zip(entry.shape, shape, strict=True)
        ):
            axes = ", ".join(
                f"{axis}={sizes[axis]}" if axis in sizes else str(axis) for axis in map(str, shape)
            )
            raise TensorError(f"{path}: {name}", str(entry), f"{dtype}[{axes}]")
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in schema if name != skip}


def to_bytes(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The safetensors file of some arrays, byte for byte what ``save_file`` writes; no metadata."""
    return save({name: np.ascontiguousarray(array) for name, array in tensors.items()})


def matrix_header(dtype: str, shape: tuple[int, int], replica_of: str = "") -> bytes:
    """The header of a file with one tensor ``W``, whose bytes are to follow.

    Args:
        dtype: a key of ``FLOATS``.
        shape: [vocab, dims].
        replica_of: set where the matrix only imitates a model; stands in the file's metadata.
    """
    nbytes = math.prod(shape) * FLOATS[dtype].itemsize
    header: dict[str, Any] = {}
    if replica_of:
        # More than one key of metadata would be written in random order by the library.
        note = f"made to show the published figures of {replica_of}; not its weights"
        header["__metadata__"] = {"replica": note}
    header["W"] = {"dtype": dtype, "shape": list(shape), "data_offsets": [0, nbytes]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
