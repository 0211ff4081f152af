"""Where does a matrix come from, and how does it get here?

A source is a model on the Hugging Face hub (``hf://org/model@commit``), a replica
(``replica:NAME``), or the path of a safetensors file or of a folder in the Hugging Face layout.
"""

import hashlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from core_tokens import replica, tensors, vocabulary
from core_tokens.checkpoint import TOKENIZER, Files, Place
from core_tokens.errors import CoreTokensError, FileError
from core_tokens.folder import Folder
from core_tokens.tokenizer import tokens_of

HUB = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([^@\s]+))?", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
REPLICA = "replica:"
OTHER_TOKENIZERS = {"tokenizer.model", "spiece.model", "vocab.txt", "vocab.json", "tekken.json"}
"""Files of tokenizers in forms that are not read."""
FORMS = ", ".join(
    ["hf://org/model", *(f"{REPLICA}{name}" for name in replica.REPLICAS),
     "or the path of a safetensors file or a model's folder"]
)  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A model on the hub, and which of its revisions; None stands for its main branch."""

    repo: str
    revision: str | None

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which never moves."""
        return self.revision is not None and COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        return f"hf://{self.repo}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True)
class Replica:
    """A matrix that is made on the spot."""

    name: str

    def __str__(self) -> str:
        return f"{REPLICA}{self.name}"


Source = Model | Replica | Path


def parse(text: str, where: str) -> Source:
    """Read a source (CoreTokensError at ``where`` if it is none)."""
    if text.startswith(REPLICA) and text.removeprefix(REPLICA) in replica.REPLICAS:
        return Replica(text.removeprefix(REPLICA))
    if match := HUB.fullmatch(text):
        return Model(match[1], match[2])
    if text and not re.match(r"(hf|replica):|[\w+.-]+:/", text):
        path = path_of(text)
        if path.exists():
            return path
        raise CoreTokensError(where, f"{text!r}, no such file or folder", FORMS)
    raise CoreTokensError(where, repr(text), FORMS)


def path_of(text: str) -> Path:
    """A path as a person writes it, ~ for the home."""
    try:
        return Path(text).expanduser()
    except (RuntimeError, ValueError):  # ~ of nobody, or of no name at all
        return Path(text)


def pinned(model: Model) -> Model:
    """The model at the commit that its revision stands at now (FileError: see hub.commit_of)."""
    if model.pinned:
        return model
    with _imported():  # which takes half a second that no other source should wait for
        from core_tokens import hub
    return Model(model.repo, hub.commit_of(model.repo, model.revision))


def revisions(model: Model) -> list[str]:
    """The branches and tags of a model, sorted (FileError: see hub.commit_of)."""
    with _imported():
        from core_tokens import hub
    return hub.revisions(model.repo)


def files_of(source: Model | Path) -> Files:
    """The files behind a source; of a model, whose revision is a commit, over HTTP."""
    if isinstance(source, Path):
        return Folder(source)
    with _imported():
        from core_tokens import hub
    return hub.Hub(source.repo, str(source.revision))


@contextmanager
def _imported() -> Iterator[None]:
    """Around the import of the hub, whose library reads its variables then (FileError)."""
    try:
        yield
    except ValueError as error:
        raise FileError(
            "HF_*", f"an environment variable of no use ({error})", "an address, seconds, …"
        ) from error


def copy_matrix(files: Files, place: Place, target: Path) -> str:
    """Copy one tensor into a file of its own, under the name W, in its own dtype.

    Returns:
        The sha256 of the tensor's bytes, in hexadecimal digits.
    """
    entry = place.entry
    with (
        target.open("wb") as file,
        tqdm(total=entry.nbytes, unit="B", unit_scale=True, desc=place.key, disable=None) as bar,
    ):
        file.write(tensors.matrix_header(entry.dtype, entry.shape, tensor=place.key))
        return copy_tensor(files, place, file, bar.update)


def copy_tensor(
    files: Files, place: Place, file: BinaryIO, progress: Callable[[int], object]
) -> str:
    """Write the bytes of one tensor to a file; each piece's length is told to ``progress``.

    Returns:
        Their sha256, in hexadecimal digits.
    """
    digest = hashlib.sha256()
    for chunk in files.chunks(place.file, place.entry.offset, place.entry.nbytes):
        digest.update(chunk)
        file.write(chunk)
        progress(len(chunk))
    return digest.hexdigest()


def vocabulary_of(files: Files, rows: int) -> list[vocabulary.Token]:
    """The text and class of each row's token; none where the tokenizer is not there.

    A tokenizer that cannot be read is no reason to do without the matrix: a line says so.
    """
    names = files.names()
    if TOKENIZER not in names:
        others = ", ".join(name for name in names if name in OTHER_TOKENIZERS)
        if others:
            _note(f"{files.at('')}: {others}, but no {TOKENIZER}")
        return []
    content = files.read(TOKENIZER)
    try:
        return tokens_of(content, rows, files.at(TOKENIZER))
    except FileError as error:
        _note(str(error))
        return []


def _note(what: str) -> None:
    print(f"note: {what}; the tokens' text stays unknown", file=sys.stderr)
