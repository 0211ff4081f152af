"""The matrix of one checkpoint, wherever it lies: mapped there, or streamed here and dropped.

What is streamed goes to a file without a name, in the folder for temporary files: it is gone with
the array, or with the process.
"""

import hashlib
import mmap
import tempfile
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from core_tokens import replica, sources, tensors, vocabulary
from core_tokens.checkpoint import TOKENIZER, Files, Place, locate
from core_tokens.errors import FileError, TensorError
from core_tokens.folder import Folder
from core_tokens.survey import hdf5
from core_tokens.survey.checkpoints import Checkpoint, shown
from core_tokens.survey.store import StoreError
from core_tokens.tokenizer import tokens_of

Matrix = NDArray[Any]


class Vocabulary(NamedTuple):
    """The text and class of every token, and a hash of them; empty if unknown."""

    name: str
    tokens: list[vocabulary.Token]


UNKNOWN = Vocabulary("", [])


class Found(NamedTuple):
    """A matrix that was found, and is not read yet.

    Attributes:
        commit: of the hub's model; empty elsewhere.
        file: in which it lies.
        tensor: its name there.
        identity: what tells its bytes from all others; empty if only they can.
        stamp: what changes with the files, so that they need not be read to be known again: path,
            size and time; empty if there are none.
        load: reads it: the matrix, float[vocab, dims], the safetensors name of its dtype, and the
            sha256 of its bytes.
        vocabulary: of so many rows.
    """

    commit: str
    file: str
    tensor: str
    identity: tuple[str, ...]
    stamp: tuple[str, ...]
    load: Callable[[], tuple[Matrix, str, str]]
    vocabulary: Callable[[int], Vocabulary]


def find(checkpoint: Checkpoint) -> Found:
    """Find the matrix of a checkpoint.

    Raises:
        FileError: nothing there, or nothing that is understood; see ``checkpoint.locate``.
        TensorError: no matrix of floats.
    """
    source = checkpoint.source
    if isinstance(source, sources.Replica):
        return Found("", "", "W", (), (), partial(_made, source.name), lambda _: UNKNOWN)
    if isinstance(source, sources.Model):
        at = sources.pinned(source)
        files = sources.files_of(at)
        place = locate(files, checkpoint.tensor, checkpoint.which)
        identity = (at.repo, str(at.revision), place.file, place.key)
        load = partial(_streamed, files, place)
        return Found(str(at.revision), place.file, place.key, identity, (), load, _of(files))
    if not source.exists():
        raise FileError(source, "no such file or folder", "a checkpoint, or a file of many")
    folder = Folder(source)
    if hdf5.is_hdf5(source):
        name = checkpoint.tensor or ""
        load = partial(_from_hdf5, source, name, checkpoint.index)
        stamp = _stamp(folder, source, name, str(checkpoint.index))
        return Found("", shown(source.name), shown(name), (), stamp, load, _of(folder))
    if checkpoint.index is None:
        place = locate(folder, checkpoint.tensor, checkpoint.which)
    else:
        place = _one_of_many(source, str(checkpoint.tensor), checkpoint.index)
    path = folder.folder / place.file
    load = partial(_mapped, path, place)
    stamp = _stamp(folder, path, place.key, str(place.entry), str(place.entry.offset))
    return Found("", shown(place.file), place.key, (), stamp, load, _of(folder))


def _stamp(folder: Folder, path: Path, *which: str) -> tuple[str, ...]:
    """A file, and the tokenizer beside it, as the system knows them."""
    found = list(which)
    for each in (path, folder.folder / TOKENIZER):
        if each.exists():
            status = each.stat()
            found += [str(each), str(status.st_size), str(status.st_mtime_ns)]
    return tuple(found)


def _one_of_many(path: Path, name: str, index: int) -> Place:
    """A matrix in a tensor of rank 3, as if it were a tensor of its own."""
    entry = tensors.entries_of(path, [name])[name]
    if entry.dtype not in tensors.FLOATS or len(entry.shape) != 3 or not index < entry.shape[0]:
        right = f"[steps, vocab, dim] of {', '.join(tensors.FLOATS)}, number {index} among them"
        raise TensorError(f"{path}: {name}", str(entry), right)
    one = tensors.Entry(entry.dtype, entry.shape[1:], 0)
    tensors.check_matrix(path, name, one)
    at = entry.offset + index * one.nbytes
    return Place(path.name, name, tensors.Entry(entry.dtype, entry.shape[1:], at))


def _mapped(path: Path, place: Place) -> tuple[Matrix, str, str]:
    entry = place.entry
    flat = np.memmap(path, np.uint8, "r", offset=entry.offset, shape=(entry.nbytes,))
    return _shaped(flat, entry), entry.dtype, hashlib.sha256(flat.data).hexdigest()


def _streamed(files: Files, place: Place) -> tuple[Matrix, str, str]:
    entry = place.entry
    with tempfile.TemporaryFile() as file:
        try:
            sha256 = sources.copy_tensor(files, place, file, lambda _: None)
            file.flush()
        except OSError as error:  # of the disk: what the hub refuses is a FileError
            raise StoreError(
                tempfile.gettempdir(),
                f"no room for a matrix ({error.strerror})",
                f"{entry.nbytes:,} bytes for each that is in work, or TMPDIR where there are",
            ) from error
        mapped = mmap.mmap(file.fileno(), entry.nbytes, access=mmap.ACCESS_READ)
    return _shaped(np.frombuffer(mapped, np.uint8), entry), entry.dtype, sha256


def _shaped(flat: NDArray[np.uint8], entry: tensors.Entry) -> Matrix:
    shaped: Matrix = flat.view(tensors.FLOATS[entry.dtype]).reshape(entry.shape).view(np.ndarray)
    return shaped


def _from_hdf5(path: Path, dataset: str, index: int | None) -> tuple[Matrix, str, str]:
    dtype, matrix = hdf5.read(path, dataset, index)
    return matrix, dtype, hashlib.sha256(matrix.view(np.uint8).data).hexdigest()


def _made(name: str) -> tuple[Matrix, str, str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "W.safetensors")
        replica.REPLICAS[name](path)
        entry = tensors.entries(path)["W"]
        return _mapped(path, Place(path.name, "W", entry))


def _of(files: Files) -> Callable[[int], Vocabulary]:
    """The vocabulary that a checkpoint's tokenizer knows; a broken one leaves it unknown."""

    def vocabulary_of(rows: int) -> Vocabulary:
        if TOKENIZER not in files.names():
            return UNKNOWN
        content = files.read(TOKENIZER)  # what cannot be read now is no broken tokenizer
        try:
            return _vocabulary(content, rows)
        except FileError:
            return UNKNOWN

    return vocabulary_of


@lru_cache(maxsize=2)  # the checkpoints of a run share theirs
def _vocabulary(tokenizer_json: bytes, rows: int) -> Vocabulary:
    tokens = tokens_of(tokenizer_json, rows, TOKENIZER)
    return Vocabulary(xxhash.xxh3_128_hexdigest(vocabulary.to_json(tokens)), tokens)
