r"""What is known of each token: its text and its class, as vocab.json holds them.

The file is a JSON list with one entry per row of W, ``[]`` if nothing is known. Text is for people:
every byte of it can be told from the display, ``\xE4`` where it is no UTF-8.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from core_tokens.errors import FileError
from core_tokens.files import read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

Kind = Literal["ordinary", "special", "byte", "unreachable", "padding"]
CLASSES: tuple[Kind, ...] = get_args(Kind)
"""``special``: marked so by the tokenizer; ``byte``: no whole characters; ``unreachable``: no text
was found that is encoded to it; ``padding``: a row without a token; ``ordinary``: all others."""


class Token(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One row: its class and its display text, None where the row has no token."""

    kind: Kind = msgspec.field(name="class")
    text: str | None


def to_json(tokens: Sequence[Token]) -> bytes:
    """vocab.json in UTF-8: a list with one token per line, ``[]`` alone if there are none."""
    if not tokens:
        return b"[]\n"
    lines = (
        json.dumps({"class": token.kind, "text": token.text}, ensure_ascii=False)
        for token in tokens
    )
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode()


def read(path: Path, rows: int | None = None) -> list[Token]:
    """Read vocab.json; [] where nothing is known, which a missing file says as well.

    Args:
        path: of the file.
        rows: of W, if they are known; see ``check_covers``.

    Raises:
        FileError: something else than a list of tokens, text that would not show as itself, or
            not a token for each row.
    """
    try:
        tokens = msgspec.json.decode(read_bytes(path), type=list[Token])
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FileError(path, str(error.strerror), "a file that can be read") from error
    except ValueError as error:
        raise FileError(
            path, f"no list of tokens ({error})", '[{"class": …, "text": …}, …]'
        ) from error
    _check_shown(path, enumerate(tokens))
    if rows is not None:
        check_covers(tokens, rows, path)
    return tokens


def read_texts(path: Path, token_ids: Iterable[int] = ()) -> dict[int, Token] | None:
    """Read tokens.csv, what is known of each token that was measured; None where nothing is.

    Args:
        path: of the file; one that is missing knows nothing.
        token_ids: those that must be there, unless nothing is known.

    Raises:
        FileError: other columns or classes, text that would not show as itself, or a token is
            missing.
    """
    try:
        rows = csv.DictReader(io.StringIO(read_bytes(path).decode(), newline=""), strict=True)
        if not set(rows.fieldnames or ()) - {"token"}:
            return None
        found = {
            int(row["token"]): msgspec.convert(
                {"class": row["class"], "text": row["text"] or None}, Token
            )
            for row in rows
        }
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, csv.Error, msgspec.ValidationError) as error:
        raise FileError(path, f"no table of tokens ({error})", "that of `measure`") from error
    _check_shown(path, found.items())
    missing = [token for token in token_ids if token not in found]
    if missing:
        raise FileError(path, f"no token {missing[0]}", "every token that was measured")
    return found


def _check_shown(path: Path, tokens: Iterable[tuple[int, Token]]) -> None:
    """Refuse what ``shown`` escapes: a stranger's file goes to a terminal and into pages."""
    for token_id, token in tokens:
        if token.text is not None and _hidden().search(token.text):
            raise FileError(
                f"{path}: token {token_id}",
                f"{token.text!a}",
                r"such characters escaped, as \u200B",
            )


def check_covers(tokens: Sequence[Token], rows: int, where: str | Path = "vocab.json") -> None:
    """Refuse tokens that are neither unknown nor one for each of ``rows`` (FileError)."""
    if tokens and len(tokens) != rows:
        raise FileError(where, f"{len(tokens)} tokens", f"{rows}, one for each row of W, or []")


def counts(
    tokens: Sequence[Token] | Mapping[int, Token] | None, token_ids: Iterable[int]
) -> dict[str, int]:
    """Tokens per class among some ids, all of CLASSES in their order; {} if unknown.

    Unknown is no list of tokens, or an empty one; a table that has no rows is known.
    """
    if tokens is None or tokens == []:
        return {}
    found = Counter(tokens[token_id].kind for token_id in token_ids)
    return {kind: found[kind] for kind in CLASSES}


HIDDEN = (
    # Controls, and every space but U+0020.
    (0x00, 0x1F), (0x7F, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029),
    (0x202F, 0x202F), (0x205F, 0x205F), (0x2800, 0x2800), (0x3000, 0x3000),
    # What Unicode calls default ignorable: joiners, direction marks, fillers, selectors, tags.
    (0xAD, 0xAD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164),
    (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
    # Annotation marks, surrogates and noncharacters.
    (0xFFF9, 0xFFFB), (0xD800, 0xDFFF), (0xFDD0, 0xFDEF),
    *((plane << 16 | 0xFFFE, plane << 16 | 0xFFFF) for plane in range(17)),
)  # fmt: skip
"""Ranges of code points that are not shown as themselves: invisible, or breaking a line or table.

A table of our own, because that of Python grows with its version.
"""


def _class(ranges: Iterable[tuple[int, int]]) -> str:
    """A set of characters, as a regular expression has it between brackets."""
    return "".join(f"\\U{first:08X}-\\U{last:08X}" for first, last in ranges)


MARKUP = "<(?=(?i:/script|!--))"
"""What would end a script element: pages such as DVC's put text into one as it is."""


@cache
def _hidden(besides: str = "") -> re.Pattern[str]:
    """What is not shown as itself, and some characters ``besides``; only some stages need it."""
    return re.compile(f"[{besides}{_class(HIDDEN)}]|{MARKUP}")


_SHORT = {"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


def shown(data: bytes) -> str:
    r"""Bytes as text that shows each of them; different bytes are shown differently.

    UTF-8 is decoded. Hidden characters and the backslash are escaped as in Python source, with
    upper-case digits: ``\\``, ``\n``, ``\x1B``, ``\u00AD``, ``\U000E0041``; ``\xE4`` is a byte that
    is not part of UTF-8.
    """
    return _hidden(r"\\").sub(_escape, data.decode("utf-8", "surrogateescape"))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how surrogateescape carries a byte
        return f"\\x{code - 0xDC00:02X}"
    if code < 0x80:
        return _SHORT.get(character, f"\\x{code:02X}")
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
