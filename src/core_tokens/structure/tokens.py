"""Which kinds of tokens are these: by class, and by the script that their text is written in?"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fontTools.unicodedata import script, script_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core_tokens.vocabulary import Kind, Token

WRITTEN: tuple[Kind, ...] = ("ordinary", "unreachable")
"""Classes whose text is a piece of writing; a script of the others would say nothing."""
NO_SCRIPT = "none"
COMMON = "Common"
MIXED = "Mixed"
SHARED = {"Zyyy", "Zinh", "Zzzz"}
"""ISO 15924 codes of characters that belong to no one script: digits, marks, unassigned."""
ESCAPES = re.compile(r"\\(?:[\\nrt]|x[0-9A-F]{2}|u[0-9A-F]{4}|U[0-9A-F]{8})")
"""What ``vocabulary.shown`` writes for bytes and characters that are not shown as themselves."""


@dataclass(frozen=True)
class Kinds:
    """Tokens by class and script.

    Attributes:
        counts: (class, script) -> tokens, sorted.
    """

    counts: dict[tuple[str, str], int]

    @property
    def classes(self) -> dict[str, int]:
        """Class -> tokens, sorted; no class without a token."""
        found: Counter[str] = Counter()
        for (kind, _), tokens in self.counts.items():
            found[kind] += tokens
        return dict(sorted(found.items()))

    @property
    def scripts(self) -> dict[str, int]:
        """Script -> tokens of the classes that are written, sorted."""
        found: Counter[str] = Counter()
        for (_, written), tokens in self.counts.items():
            if written != NO_SCRIPT:
                found[written] += tokens
        return dict(sorted(found.items()))


def kinds(tokens: Iterable[Token]) -> Kinds:
    """Count tokens by class and script."""
    found = Counter((token.kind, script_of(token)) for token in tokens)
    return Kinds(dict(sorted(found.items())))


def script_of(token: Token) -> str:
    """The script of a token's text, by its name in Unicode (Standard Annex 24).

    ``Mixed`` of several, ``Common`` of none (digits, punctuation), ``none`` where the text is no
    writing at all.
    """
    if token.kind not in WRITTEN or token.text is None:
        return NO_SCRIPT
    codes = {script(character) for character in ESCAPES.sub("", token.text)} - SHARED
    if len(codes) > 1:
        return MIXED
    return script_name(codes.pop()).replace(" ", "_") if codes else COMMON
