"""Is what was fetched what was fetched before?

``data/MODEL/source.json``, in Git, keeps for each source and tensor what was found there. DVC does
not know of it: it clears a stage's outputs before the stage runs, and this one must be read first.
"""

import json
from pathlib import Path

import msgspec

from core_tokens.checkpoint import Place
from core_tokens.errors import FileError
from core_tokens.files import read_bytes

NAME = "source.json"


class Tensor(msgspec.Struct, frozen=True):
    """One tensor as it was fetched."""

    file: str
    dtype: str
    shape: list[int]
    sha256: str


Fetched = dict[str, dict[str, Tensor]]
"""Source -> name of the tensor -> what was found there."""


def read(path: Path) -> Fetched:
    """What was fetched so far; nothing if there is no such file (FileError if it is another)."""
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(read_bytes(path), type=Fetched)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise FileError(
            path, f"no record of what was fetched ({error})", f"it as it was: git checkout {path}"
        ) from error


def with_fetched(path: Path, before: Fetched, source: str, place: Place, sha256: str) -> str:
    """The text of source.json with what was fetched now.

    Raises:
        FileError: the same source had other bytes before.
    """
    known = before.get(source, {}).get(place.key)
    if known and known.sha256 != sha256:
        raise FileError(
            f"{source}: {place.key}",
            f"bytes with the sha256 {sha256}",
            f"{known.sha256}, as {path} has it; delete that file if the source is meant to change",
        )
    entry = place.entry
    found = Tensor(place.file, entry.dtype, list(entry.shape), sha256)
    after = before | {source: before.get(source, {}) | {place.key: found}}
    return json.dumps(msgspec.to_builtins(after), indent=2, sort_keys=True) + "\n"
