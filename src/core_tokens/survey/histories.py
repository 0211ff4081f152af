"""Which tokens come, stay and leave, and how much do two checkpoints share?"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ABSENT, HALO, CORE = 0, 1, 2


@dataclass(frozen=True)
class Members:
    """The cluster of one checkpoint, cut by a radius.

    Attributes:
        token_ids: int64[n], the cluster, ascending.
        core: bool[n], which of them are core; the others are halo.
        vocabulary: a hash of the text of all tokens; empty if unknown.
        rows: of the matrix.
        texts: of the tokens of the cluster; None if unknown.
    """

    token_ids: NDArray[np.int64]
    core: NDArray[np.bool_]
    vocabulary: str
    rows: int
    texts: Sequence[str | None] | None

    @property
    def core_ids(self) -> NDArray[np.int64]:
        """int64[core], ascending."""
        return self.token_ids[self.core]


@dataclass(frozen=True)
class Overlap:
    """What two cores share.

    Attributes:
        both: tokens in both.
        one: tokens in the one.
        other: tokens in the other.
    """

    both: int
    one: int
    other: int

    @property
    def either(self) -> int:
        """Tokens in one of them at least."""
        return self.one + self.other - self.both

    @property
    def jaccard(self) -> float | None:
        """The share of the one in the other; None where there is nothing in either.

        P. Jaccard, "The distribution of the flora in the alpine zone", 1912.
        """
        return self.both / self.either if self.either else None


@dataclass(frozen=True)
class Run:
    """Tokens of the same history, from one checkpoint to another in the same state.

    Attributes:
        first: the position of the first checkpoint.
        last: that of the last, included.
        core: whether they are core in all of them; else halo.
    """

    first: int
    last: int
    core: bool


@dataclass(frozen=True)
class Band:
    """Tokens that come and leave together: names, as ``names_of`` has them, and runs in order."""

    tokens: tuple[Hashable, ...]
    runs: tuple[Run, ...]


def same_vocabulary(one: Members, other: Members) -> bool:
    """Whether an id means the same token: as the text says, or, unknown, of equally many rows."""
    return one.vocabulary == other.vocabulary and one.rows == other.rows


def names_of(one: Members) -> list[Hashable]:
    """The tokens of a cluster by what they are called in every vocabulary: their text.

    A token without text is none of any other.
    """
    if one.texts is None:
        return []
    return [(one.vocabulary, int(token)) if text is None else text
            for token, text in zip(one.token_ids, one.texts, strict=True)]  # fmt: skip


def overlap(one: Members, other: Members) -> Overlap | None:
    """The tokens that two cores share: by id, or by text where the vocabularies differ.

    None where they differ and the text of either is unknown.
    """
    if same_vocabulary(one, other):
        both = len(np.intersect1d(one.core_ids, other.core_ids, assume_unique=True))
        return Overlap(both, int(one.core.sum()), int(other.core.sum()))
    if one.texts is None or other.texts is None:
        return None
    here, there = ({name for name, core in zip(names_of(each), each.core, strict=True) if core}
                   for each in (one, other))  # fmt: skip
    return Overlap(len(here & there), len(here), len(there))


def comparable(members: Sequence[Members]) -> list[int]:
    """The positions of the most that can be compared: with known text, or of one vocabulary.

    Of equally many those with known text, then the first.
    """
    alike: dict[tuple[str, int], list[int]] = {}
    for at, each in enumerate(members):
        alike.setdefault((each.vocabulary, each.rows), []).append(at)
    known = [at for at, each in enumerate(members) if each.texts is not None]
    return max([known, *alike.values()], key=len)


def bands(members: Sequence[Members]) -> list[Band]:
    """Tokens by their history over some checkpoints, in the order in which they first come.

    Of those that come together the ones that stay longest are first, then the more numerous.

    Args:
        members: that can be compared, see ``comparable``.
    """
    if all(same_vocabulary(members[0], each) for each in members[1:]):
        named: list[list[Hashable]] = [each.token_ids.tolist() for each in members]
    else:
        named = [names_of(each) for each in members]
    states: dict[Hashable, bytearray] = {}
    for at, (names, each) in enumerate(zip(named, members, strict=True)):
        for name, core in zip(names, each.core.tolist(), strict=True):
            history = states.setdefault(name, bytearray(len(members)))
            history[at] = max(history[at], CORE if core else HALO)
    alike: dict[bytes, list[Hashable]] = {}
    for name, history in states.items():
        alike.setdefault(bytes(history), []).append(name)
    found = [Band(tuple(tokens), _runs(history)) for history, tokens in alike.items()]
    return sorted(
        found,
        key=lambda band: (band.runs[0].first, -_stay(band), -len(band.tokens), band.runs[0].core),
    )


def _stay(band: Band) -> int:
    return sum(run.last - run.first + 1 for run in band.runs)


def _runs(history: bytes) -> tuple[Run, ...]:
    found, first = [], 0
    for at in range(1, len(history) + 1):
        if at == len(history) or history[at] != history[first]:
            if history[first] != ABSENT:
                found.append(Run(first, at - 1, history[first] == CORE))
            first = at
    return tuple(found)
