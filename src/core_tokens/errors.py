"""What can be wrong with an input, each as one line that a person can act on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CoreTokensError(Exception):
    """Base of every error that a user can cause; ``str(error)`` is the line they read.

    Args:
        where: the file, key or argument at fault.
        found: what is there.
        expected: what would be right, or what to do about it.
    """

    def __init__(self, where: str | Path, found: str, expected: str) -> None:
        self.where, self.found, self.expected = str(where), found, expected
        super().__init__(where, found, expected)

    def __str__(self) -> str:
        parts = (_clipped(part) for part in (self.where, self.found, self.expected))
        return one_line("{}: found {}; expected {}".format(*parts))


def one_line(text: str) -> str:
    """Text as one line that a terminal does not obey: a name from outside may hold anything."""
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join(each if each.isprintable() else _escaped(each) for each in line)


LONGEST = 1000
"""Characters of one part of a message."""


def _clipped(part: str) -> str:
    return part if len(part) <= LONGEST else f"{part[: LONGEST - 4]} ..."


def _escaped(character: str) -> str:
    """As in Python source."""
    return repr(character)[1:-1]


class UsageError(CoreTokensError):
    """A command line or an argument that names something that does not exist or cannot be done."""


class ParamsError(CoreTokensError):
    """A value in params.yaml; ``key`` is its dotted path, empty for the file as a whole."""

    def __init__(self, key: str, found: str, expected: str) -> None:
        super().__init__(f"params.yaml: {key}" if key else "params.yaml", found, expected)


class FileError(CoreTokensError):
    """A file as a whole: absent, unreadable, truncated, or of another kind."""


class TensorError(CoreTokensError):
    """A tensor by its name: its dtype, shape or values. ``in_files`` adds the file's path."""


@contextmanager
def in_files(**paths: Path | tuple[str | Path, str]) -> Iterator[None]:
    """Add the file to every TensorError of pure code in the block.

    Args:
        paths: tensor name -> its file, or its file and what it is called there.
    """
    try:
        yield
    except TensorError as error:
        if error.where not in paths:
            raise
        there = paths[error.where]
        path, name = there if isinstance(there, tuple) else (there, error.where)
        where = f"{path}: {name}"
        raise TensorError(where, error.found, error.expected) from error
