"""Safetensors files in and out: checked and mapped reads, written in one deterministic way.

The library checks a header and its offsets; on top of that a file must hold the tensors that its
schema names, with their dtypes and with dimensions that agree.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import msgspec
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
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
}
"""The dtypes of an embedding matrix that can be measured, by their safetensors names."""

Schema = Mapping[str, tuple[str, tuple[str | int, ...]]]
"""Tensor name -> safetensors dtype and shape; a name in a shape is one size throughout a file.

"F16|F32" is either of these dtypes.
"""

CLUSTER_TOKENS: Schema = {"cluster_token_ids": ("I64", ("tokens",))}
"""What is read of a cluster file; the notebook's has two tensors more, of its own sizes."""

MEASUREMENTS: Schema = {
    "token_ids": ("I64", ("tokens",)),
    "vector_of_token": ("I64", ("tokens",)),
    "vectors": ("BF16|F16|F32", ("vectors", "dims")),
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


@dataclass(frozen=True)
class Header:
    """What a safetensors file says before its data: the tensors by name, sorted, and metadata."""

    entries: dict[str, Entry]
    metadata: dict[str, str]


LISTED = 20
"""How many tensors a message names."""
LENGTH_BYTES = 8
"""A file begins with the length of its header, little-endian."""
LONGEST_HEADER = 100_000_000
"""What the library reads at most."""


def header(path: Path) -> Header:
    """The header of a safetensors file; the library checks it against the whole file.

    Raises:
        FileError: no file, not safetensors, truncated, or a header that lies about the data.
    """
    if not path.exists():
        raise FileError(path, "no such file", "a safetensors file")
    if not path.is_file():
        raise FileError(path, "a folder or a device", "a safetensors file")
    with path.open("rb") as file:  # first: the library calls a file that may not be read missing
        start = file.read(len(LONGEST_MAGIC))
        try:
            with safe_open(path, "np"):
                pass
        except (SafetensorError, ValueError) as error:
            raise _not_safetensors(path, str(error), start) from error
        length = header_length(path, start, path.stat().st_size)
        file.seek(LENGTH_BYTES)
        return parse_header(path, file.read(length), path.stat().st_size)


def header_length(where: str | Path, start: bytes, size: int) -> int:
    """The length of a header from the first bytes of a file of ``size`` bytes (FileError)."""
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if len(start) < LENGTH_BYTES or length > min(LONGEST_HEADER, size - LENGTH_BYTES):
        why = f"a header of {length:,} bytes in a file of {size:,}"
        raise _not_safetensors(where, why, start)
    return length


def parse_header(where: str | Path, text: bytes, size: int) -> Header:
    """Take a header apart, and check what it says against the file's size, as the library does.

    The tensors lie one behind the other and fill the file. Of a dtype that is not in ``FLOATS`` the
    number of bytes is not checked.

    Args:
        where: the file, for messages.
        text: the JSON between the length and the data.
        size: bytes of the whole file.

    Raises:
        FileError: not the header of a safetensors file, or one that lies.
    """
    try:
        parts = msgspec.convert(json.loads(text, object_pairs_hook=_each_once), dict[str, Any])
        metadata = msgspec.convert(parts.pop("__metadata__", {}), dict[str, str])
        stored = msgspec.convert(parts, dict[str, _Stored])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _not_safetensors(where, str(error)) from error
    data = LENGTH_BYTES + len(text)
    end_before = 0
    for name, tensor in sorted(stored.items(), key=lambda item: item[1].data_offsets):
        if not (name + tensor.dtype).isprintable():  # a terminal would obey it
            raise _not_safetensors(where, f"the name {name!a}, dtype {tensor.dtype!a}")
        begin, end = tensor.data_offsets
        nbytes = end - begin
        if tensor.dtype in FLOATS:
            nbytes = math.prod(tensor.shape) * FLOATS[tensor.dtype].itemsize
        if (
            min((end - begin, *tensor.shape)) < 0
            or end - begin != nbytes
            or begin != end_before
            or end > size - data
        ):
            raise _not_safetensors(where, f"{name} at bytes {begin} to {end} of {size - data:,}")
        end_before = end
    if end_before != size - data:
        raise _not_safetensors(where, f"tensors in {end_before:,} of {size - data:,} bytes")
    return Header(
        {
            name: Entry(tensor.dtype, tuple(tensor.shape), data + tensor.data_offsets[0])
            for name, tensor in sorted(stored.items())
        },
        metadata,
    )


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names stand there once (ValueError): of two, readers take either."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name that stands there twice")
    return found


class _Stored(msgspec.Struct):
    """One tensor as a header has it."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


FOREIGN = {
    b"PK\x03\x04": "a zip, as torch.save writes it",
    b"\x80": "a pickle",
    b"GGUF": "GGUF",
    b"\x89HDF": "HDF5",
    b"\x93NUMPY": "an array of NumPy",
    b"version https://git-lfs": "a pointer of Git LFS",
}
"""How files of other kinds begin."""
LONGEST_MAGIC = max(FOREIGN, key=len)
PICKLES = (
    "a whole safetensors file: a pickle runs code when it is read; README, Pickles, has the way"
)
EXPECTED = {
    "a zip, as torch.save writes it": PICKLES,
    "a pickle": PICKLES,
    "a pointer of Git LFS": "a whole safetensors file: git lfs pull brings it",
}


def _not_safetensors(where: str | Path, why: str, start: bytes = b"") -> FileError:
    """The error; ``start`` is how the file begins, where that is known."""
    for magic, kind in FOREIGN.items():
        # The first bytes may also be the length of a header, and then zeros follow mostly.
        if start.startswith(magic) and start[2:4] != bytes(2):
            return FileError(where, kind, EXPECTED.get(kind, "a whole safetensors file"))
    return FileError(where, f"no valid safetensors ({why})", "a whole safetensors file")


def entries(path: Path) -> dict[str, Entry]:
    """The tensors of a safetensors file by name, sorted (FileError: see ``header``)."""
    return header(path).entries


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


def check_matrix(path: str | Path, name: str, entry: Entry) -> None:
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
    """Tensors with their dtypes and shapes, as a message shows them, those of no layer first."""
    shown = [f"{name} {there[name]}" for name in most_telling(there)]
    more = len(there) - len(shown)
    return ", ".join([*shown, f"and {more:,} more"] if more else shown) or "no tensors"


def most_telling(names: Iterable[str]) -> list[str]:
    """The names that a message has room for: those of no layer first, in their order."""
    numbered = {name: any(part.isdecimal() for part in name.split(".")) for name in names}
    return sorted(numbered, key=lambda name: (numbered[name], name))[:LISTED]


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
        fits = entry.dtype in dtype.split("|") and len(entry.shape) == len(shape)
        if not fits or any(
            size != (sizes.setdefault(axis, size) if isinstance(axis, str) else axis)
            for size, axis in zip(entry.shape, shape, strict=True)
        ):
            axes = ", ".join(
                f"{axis}={sizes[axis]}" if axis in sizes else str(axis) for axis in map(str, shape)
            )
            either = " or ".join(dtype.rsplit("|", 1)).replace("|", ", ")
            raise TensorError(f"{path}: {name}", str(entry), f"{either}[{axes}]")
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in schema if name != skip}


def to_bytes(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The safetensors file of some arrays, byte for byte what ``save_file`` writes; no metadata."""
    return save({name: np.ascontiguousarray(array) for name, array in tensors.items()})


def matrix_header(
    dtype: str, shape: tuple[int, ...], replica_of: str = "", tensor: str = ""
) -> bytes:
    """The header of a file with one tensor ``W``, whose bytes are to follow.

    One of two notes stands in the file's metadata (more than one key the library would write in
    random order).

    Args:
        dtype: a key of ``FLOATS``.
        shape: [vocab, dims].
        replica_of: set where the matrix only imitates a model.
        tensor: what the matrix is called in the checkpoint that it comes from.
    """
    nbytes = math.prod(shape) * FLOATS[dtype].itemsize
    note = {}
    if replica_of:
        note["replica"] = f"made to show the published figures of {replica_of}; not its weights"
    elif tensor:
        note["tensor"] = tensor
    content: dict[str, Any] = {"__metadata__": note} if note else {}
    content["W"] = {"dtype": dtype, "shape": list(shape), "data_offsets": [0, nbytes]}
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
