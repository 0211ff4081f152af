"""The tables of the plots read back, every number in them checked."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core_tokens.errors import FileError
from core_tokens.files import read_bytes

Row = dict[str, Any]


def parse(
    where: str | Path, content: bytes, numbers: Sequence[str], texts: Sequence[str] = ()
) -> list[Row]:
    """The rows of a table, the columns of ``numbers`` as numbers, None where they are empty.

    Args:
        where: the file, for messages.
        content: of it.
        numbers: columns that must be there.
        texts: others that must be there, and stay as they are.

    Raises:
        FileError: not a table, or of other columns.
    """
    try:
        table = csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True)
        names = set(table.fieldnames or ())
        missing = set(numbers) - names or set(texts) - names
        if missing:
            raise ValueError(f"no column {min(missing)}")
        return [_row(row, numbers) for row in table]
    except (ValueError, TypeError, csv.Error) as error:
        raise FileError(where, f"no table of a plot ({error})", "that of `analyse`") from error


def read(path: Path, numbers: Sequence[str], texts: Sequence[str] = ()) -> list[Row]:
    """Read a table, see ``parse`` (FileError: as there, or it cannot be read)."""
    try:
        content = read_bytes(path)
    except FileNotFoundError as error:
        raise FileError(path, "no such file", "that of `analyse`: dvc repro") from error
    except OSError as error:
        raise FileError(path, str(error.strerror), "a file that can be read") from error
    return parse(path, content, numbers, texts)


def _row(row: dict[str, str], numbers: Sequence[str]) -> Row:
    if None in row or None in row.values():
        raise ValueError("a row of another length than the header")
    return {name: _number(text) if name in numbers else text for name, text in row.items()}


def _number(text: str) -> float | int | None:
    if not text:
        return None
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} as a number")
    return int(value) if value == int(value) and abs(value) < 1e15 else value
