"""The files of the project as they are here, or as they were in a Git revision or an experiment."""

import csv
import io
import json
import math
import subprocess
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core_tokens import yaml_text
from core_tokens.errors import FileError, UsageError
from core_tokens.files import read_bytes

WORKSPACE = "workspace"
TOKENS = {"token", "distance_ulp", "distance_steps", "distance_l2", "population", "class", "text"}
"""The columns of core.csv and halo.csv."""


@dataclass(frozen=True)
class Revision:
    """Where files are read.

    Attributes:
        name: as the user calls it.
        commit: all 40 digits, empty of the working tree.
    """

    name: str
    commit: str = ""

    def read(self, path: Path) -> bytes | None:
        """The bytes of a file that Git tracks, None if there is none.

        Raises:
            FileError: it cannot be read.
        """
        if self.commit:
            shown = _git("show", f"{self.commit}:./{path.as_posix()}")
            return shown.stdout if shown.returncode == 0 else None
        try:
            return read_bytes(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FileError(path, str(error.strerror), "a file that can be read") from error

    def where(self, path: Path) -> str:
        """What a file is called in a message."""
        return f"{path} at {self.name}" if self.commit else str(path)

    def content(self, path: Path) -> bytes:
        """The bytes of a file that has to be there (FileError)."""
        content = self.read(path)
        if content is None:
            expected = "a model and a revision that have it" if self.commit else "it: dvc repro"
            raise FileError(self.where(path), "no such file", expected)
        return content

    def metrics(self, path: Path) -> dict[str, Any]:
        """A file of metrics (FileError: none, or no JSON object)."""
        try:
            found = finite_json(self.content(path))
        except (ValueError, RecursionError) as error:
            raise FileError(self.where(path), "no JSON", "metrics: dvc repro") from error
        if not isinstance(found, dict):
            raise FileError(self.where(path), "no object", "metrics: dvc repro")
        return found

    def table(self, path: Path, columns: Set[str]) -> list[list[str]]:
        """A table, its header first (FileError: none, or one without these columns)."""
        try:
            text = io.StringIO(self.content(path).decode(), newline="")
            rows = list(csv.reader(text, strict=True))
            if not rows or not set(rows[0]) >= columns:
                raise ValueError(f"no columns {', '.join(sorted(columns - set(*rows[:1])))}")
            if any(len(row) != len(rows[0]) for row in rows):
                raise ValueError("a row of another length than the header")
            return rows
        except (ValueError, csv.Error) as error:
            raise FileError(self.where(path), f"no table ({error})", "one: dvc repro") from error

    def yaml(self, path: Path, *, largest: int = yaml_text.LARGEST) -> dict[str, Any]:
        """A YAML file, empty where there is none or no mapping (FileError: no YAML)."""
        try:
            found = yaml_text.parse(self.read(path) or b"{}", largest=largest)
        except ValueError as error:
            where, there = self.where(path), f"no valid YAML ({error})"
            raise FileError(where, there, "a YAML mapping") from error
        return found if isinstance(found, dict) else {}

    @property
    def state(self) -> str:
        """What identifies it: a commit, and whether the working tree differs from it."""
        if self.commit:
            return self.commit
        head = _git("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        if head.returncode:
            return "no Git commit"
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".").stdout.strip()
        return head.stdout.decode().strip() + (" and changes since" if changed else "")


def finite_json(content: bytes) -> Any:
    """JSON as plain values (ValueError: it is none, or a number is too large to be a metric)."""

    def finite(text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(f"the number {text}")
        return number

    def small(text: str) -> int:
        number = int(text)
        if abs(number) >= 1 << 63:
            raise ValueError(f"the number {text:.20}…")
        return number

    return json.loads(content, parse_float=finite, parse_constant=finite, parse_int=small)


def resolve(name: str, argument: str = "--compare") -> Revision:
    """The revision of a name that Git knows (a commit, a tag, a branch), or of an experiment.

    Args:
        name: of the revision.
        argument: of the command line, that names it.

    Raises:
        UsageError: there is no such revision, or no Git repository.
    """
    if not name.startswith(("-", "^")):  # an option, or all but what follows
        experiments = _experiments(name)
        for full in (name, *experiments):
            found = _git("rev-parse", "--verify", "--quiet", f"{full}^{{commit}}")
            if found.returncode == 0 and (full == name or len(experiments) == 1):
                return Revision(name, found.stdout.decode().strip())
        if experiments:
            several = f"{len(experiments)} experiments named {name!r}"
            raise UsageError(argument, several, f"one of them in full: {experiments[0]}")
    raise UsageError(
        argument, f"the revision {name!r}", "a commit, tag, branch or experiment of this project"
    )


def _experiments(name: str) -> list[str]:
    """The references that DVC keeps of an experiment, refs/exps/AB/CDEF…/NAME."""
    listed = _git("for-each-ref", "--format=%(refname)", "refs/exps")
    return [ref for ref in listed.stdout.decode().split() if ref.split("/")[4:] == [name]]


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UsageError("git", "no such command", "Git to be installed") from error
