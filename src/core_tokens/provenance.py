"""Is what was fetched what was fetched before?

``data/MODEL/source.json``, in Git, keeps for each source and tensor what was found there. DVC does
not know of it: it clears a stage's outputs before the stage runs, and this one must be read first.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from core_tokens.checkpoint import Place
from core_tokens.errors import FileError

NAME = "source.json"

Found = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Source -> tensor -> what was found."""


def read(path: Path) -> Found:
    """What was fetched so far; nothing if there is no such file (FileError if it is another)."""
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, dict[str, Any]]])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise FileError(
            path, f"no record of what was fetched ({error})", f"it as it was: git checkout {path}"
        ) from error


def with_fetched(path: Path, before: Found, source: str, place: Place, sha256: str) -> str:
    """The text of source.json with what was fetched now.

    Raises:
        FileError: the same source had other bytes before.
    """
    known = before.get(source, {}).get(place.key, {}).get("sha256", sha256)
    if known != sha256:
        raise FileError(
            f"{source}: {place.key}",
            f"bytes with the sha256 {sha256}",
            f"{known}, as {path} has it; if the source was meant to change, delete that file",
        )
    entry = place.entry
    found = {"file": place.file, "dtype": entry.dtype, "shape": entry.shape, "sha256": sha256}
    after = dict(before) | {source: dict(before.get(source, {})) | {place.key: found}}
    return json.dumps(after, indent=2, sort_keys=True) + "\n"
