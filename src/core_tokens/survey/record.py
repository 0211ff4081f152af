"""What is kept of one checkpoint: a small file that says by itself whether it is whole."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import safetensors.numpy
import xxhash
from numpy.typing import NDArray

from core_tokens import tensors
from core_tokens.errors import FileError
from core_tokens.survey.snapshot import Figures, Snapshot
from core_tokens.vocabulary import Token

ARRAYS = ("token_ids", "vector_of_token", "distance_ulp", "distance_steps", "distance_l2")
"""Of ``Measurements``, by the names of measurements.safetensors: all that a radius needs."""
KEY = "survey"
DTYPES: dict[str, np.dtype[Any]] = {"I64": np.dtype(np.int64), "F32": np.dtype(np.float32)}
NOT_WHOLE = (
    msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError, RecursionError,
)  # fmt: skip
"""What reading something else ends with."""


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a matrix was found, and what was found in it.

    Attributes:
        commit: of the hub's model; empty elsewhere.
        tensor: its name there.
        dtype: its safetensors name, as stored.
        sha256: of its bytes.
        vocabulary: tells one vocabulary from another: a hash of the text of all tokens, empty if
            unknown.
        figures: see there.
        tokens: of each token of the cluster its class and text; empty if unknown.
        bytes: of the matrix.
        seconds: that reading and measuring it took.
    """

    commit: str
    tensor: str
    dtype: str
    sha256: str
    vocabulary: str
    figures: Figures
    tokens: list[Token]
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Record:
    """What is known of one checkpoint.

    Attributes:
        about: all but the arrays.
        arrays: ``ARRAYS`` of its cluster, see ``Measurements``.
    """

    about: About
    arrays: Mapping[str, NDArray[Any]]


def record(found: Snapshot, about: About) -> Record:
    """Put together what was found and where."""
    return Record(about, {name: getattr(found.measured, name) for name in ARRAYS})


def to_bytes(kept: Record) -> bytes:
    """A safetensors file whose metadata hold the rest, and a hash over everything."""
    arrays = {name: np.ascontiguousarray(kept.arrays[name]) for name in ARRAYS}
    text = json.dumps(msgspec.to_builtins(kept.about), sort_keys=True, ensure_ascii=False)
    parts = json.dumps({"about": text, "xxh3": _hash(text, arrays)}, sort_keys=True)
    return safetensors.numpy.save(arrays, metadata={KEY: parts})


def from_bytes(where: str, content: bytes) -> Record:
    """Read what ``to_bytes`` wrote.

    Raises:
        FileError: it is not whole, or something else.
    """
    try:
        length = tensors.header_length(where, content, len(content))
        start = content[tensors.LENGTH_BYTES : tensors.LENGTH_BYTES + length]
        header = tensors.parse_header(where, start, len(content))
        parts = json.loads(header.metadata[KEY])
        arrays = {name: _array(content, header.entries[name]) for name in ARRAYS}
        if parts["xxh3"] != _hash(parts["about"], arrays):
            raise ValueError("other bytes than were written")
        about = msgspec.json.decode(parts["about"], type=About)
        _check(arrays, about)
        return Record(about, arrays)
    except NOT_WHOLE as error:
        raise FileError(where, f"no whole result of a survey ({error})", "one") from error


def _check(arrays: Mapping[str, NDArray[Any]], about: About) -> None:
    """Refuse arrays that do not fit each other (ValueError)."""
    tokens, vectors = len(arrays["token_ids"]), about.figures.cluster_vectors
    shapes = dict.fromkeys(ARRAYS, (vectors,)) | {
        "token_ids": (tokens,),
        "vector_of_token": (tokens,),
    }
    if any(arrays[name].shape != shape for name, shape in shapes.items()):
        raise ValueError("arrays that do not fit each other")
    of_token = arrays["vector_of_token"]
    if not ((of_token >= 0) & (of_token < vectors)).all() or len(about.tokens) not in (0, tokens):
        raise ValueError("tokens without a vector, or without their text")


def _array(content: bytes, entry: tensors.Entry) -> NDArray[Any]:
    dtype = DTYPES[entry.dtype]
    flat = np.frombuffer(content, dtype, math.prod(entry.shape), entry.offset)
    return flat.reshape(entry.shape)


def _hash(text: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    made = xxhash.xxh3_128(text.encode())
    for name in ARRAYS:
        made.update(f"{name}{arrays[name].dtype}{arrays[name].shape}".encode())
        made.update(arrays[name].tobytes())
    return made.hexdigest()
