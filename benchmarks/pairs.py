"""Ours and the peer in alternation, and what their ratio is."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.processes import Contender, Cost

PAIRS = 5


def alternate(*contenders: Contender, pairs: int = PAIRS) -> list[list[Cost]]:
    """Run the contenders in turns, A B A B …; the first turn warms up and does not count."""
    costs: list[list[Cost]] = [[] for _ in contenders]
    for _ in range(pairs + 1):
        for contender, cost in zip(contenders, costs, strict=True):
            cost.append(contender.run())
    return [cost[1:] for cost in costs]


@dataclass(frozen=True)
class Side:
    """The runs of one contender."""

    costs: Sequence[Cost]

    @property
    def seconds(self) -> float:
        """The median."""
        return statistics.median(cost.seconds for cost in self.costs)

    @property
    def own_bytes(self) -> int:
        """The largest peak of any run."""
        return max(cost.own_bytes for cost in self.costs)


@dataclass(frozen=True)
class Ratio:
    """How many times one was slower than the other: median, least and most of the pairs."""

    median: float
    least: float
    most: float


def ratio(slow: Side, fast: Side) -> Ratio:
    """Of the seconds of each pair of runs."""
    each = [a.seconds / b.seconds for a, b in zip(slow.costs, fast.costs, strict=True)]
    return Ratio(statistics.median(each), min(each), max(each))


@dataclass(frozen=True)
class Goal:
    """What is to be reached, and whether it was."""

    text: str
    held: bool


@dataclass(frozen=True)
class Row:
    """One line of the table: the same work, ours and the peer's.

    Attributes:
        work: what is done.
        peer: how the peer does it.
        ours: our runs.
        theirs: those of the peer.
        goals: none if the line is for information.
        note: what a reader has to know, a sentence or two.
        passes: whether the peer is no peer but a yardstick: then ours is counted in peers.
    """

    work: str
    peer: str
    ours: Side
    theirs: Side
    goals: Sequence[Goal] = ()
    note: str = ""
    passes: bool = False

    @property
    def ratio(self) -> Ratio:
        """How many times faster ours was; how many passes it took, where passes are counted."""
        return ratio(self.ours, self.theirs) if self.passes else ratio(self.theirs, self.ours)


def at_least(times: float, slow: Side, fast: Side) -> Goal:
    """So many times faster."""
    return Goal(f"at least {times:g}x faster", ratio(slow, fast).median >= times)


def at_most(passes: float, ours: Side, one: Side) -> Goal:
    """No more than so many passes."""
    return Goal(f"at most {passes:g} passes", ratio(ours, one).median <= passes)


def below_mib(limit: float, side: Side) -> Goal:
    """Own memory below so many MiB."""
    return Goal(f"below {limit:g} MiB of its own", side.own_bytes < limit * 2**20)


def within_seconds(limit: float, side: Side) -> Goal:
    """A median of so many seconds at most."""
    return Goal(f"at most {limit:g} s", side.seconds <= limit)
