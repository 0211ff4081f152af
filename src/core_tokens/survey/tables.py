"""A survey as metrics for DVC and as tables of its pictures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from core_tokens.survey.histories import Members, bands, comparable, overlap
from core_tokens.tables import Metrics, csv_text, number, plain

COLUMNS = {
    "sizes": ("kind", "x", "panel", "series", "value", "checkpoint", "step", "label"),
    "arrivals": ("kind", "x", "x2", "y", "y2", "state", "tokens", "first_token", "text", "first",
                 "last", "label"),
    "overlap": ("kind", "x", "x2", "y", "y2", "jaccard", "a", "b", "both", "either", "label"),
}  # fmt: skip
"""Picture -> the columns of its table."""
MOST_POINTS, MOST_ARRIVALS, MOST_OVERLAPS = 500, 200, 48
"""Checkpoints in the pictures at most, picked evenly, the first and the last among them."""
MOST_BANDS = 2000
"""Histories in the picture of arrivals at most, those of the most tokens."""
TICKS = 10
UNEVEN = 4.0
"""Steps whose gaps differ more are drawn side by side, not at their distance."""
TEXTS = 5
"""Texts of tokens that a band shows."""
UNITS = {"ulp": "ulp", "steps": "steps", "l2": "(L2)"}


def core_size(ruler: str, radius: float) -> str:
    """What survey.json calls the tokens of a core."""
    return f"core_{ruler}_{plain(radius)}"


def said(size: str) -> str:
    """A size of survey.json in words: ``core_ulp_3`` is "core within 3 ulp"."""
    if not size.startswith("core_"):
        return size.replace("_", " ")
    _, ruler, radius = size.split("_")
    return f"core within {radius} {UNITS[ruler]}"


@dataclass(frozen=True)
class Point:
    """One checkpoint in the pictures.

    Attributes:
        name: of the checkpoint.
        step: of training, None if unknown.
        sizes: (panel, series) -> what is drawn there.
    """

    name: str
    step: int | None
    sizes: Mapping[tuple[str, str], float]


@dataclass
class Totals:
    """What survey.json says, added up checkpoint by checkpoint, in their order.

    Attributes:
        failed: checkpoints without a result.
        succeeded: those with one.
        with_cluster: of these, those whose cluster has tokens.
        first: the sizes of the first that succeeded.
        last: those of the last.
        largest: of each size the largest.
    """

    failed: int = 0
    succeeded: int = 0
    with_cluster: int = 0
    first: Mapping[str, float] = field(default_factory=dict)
    last: Mapping[str, float] = field(default_factory=dict)
    largest: Mapping[str, float] = field(default_factory=dict)
    shared: list[float] = field(default_factory=list)
    entered: int = 0
    left: int = 0
    _before: Members | None = None
    _first: Members | None = None

    def add(self, sizes: Mapping[str, float], members: Members) -> None:
        """Count one that succeeded."""
        self.succeeded += 1
        self.with_cluster += bool(len(members.token_ids))
        self.first = self.first or sizes
        self.last = sizes
        self.largest = {
            name: max(value, self.largest.get(name, value)) for name, value in sizes.items()
        }
        self._first = self._first or members
        if self._before is not None:
            common = overlap(self._before, members)
            if common is not None:
                self.entered += common.other - common.both
                self.left += common.one - common.both
                if common.jaccard is not None:
                    self.shared.append(common.jaccard)
        self._before = members

    def metrics(self, threshold: float, ruler: str, radius: float) -> Metrics:
        """survey.json: whole numbers, shares and radii, for ``dvc metrics diff``."""
        ends = None
        if self._first is not None and self._before is not None:
            ends = overlap(self._first, self._before) if self.succeeded > 1 else None
        jaccard = {}
        if ends is not None and ends.jaccard is not None:
            jaccard["first_and_last"] = ends.jaccard
        if self.shared:
            jaccard["neighbours_mean"] = float(np.mean(self.shared))
            jaccard["neighbours_min"] = min(self.shared)
        return {
            "checkpoints": {
                "failed": self.failed,
                "succeeded": self.succeeded,
                "total": self.failed + self.succeeded,
                "with_cluster": self.with_cluster,
            },
            "core": {
                "distance": {ruler: 1},
                "radius": number(radius),
                "entered": self.entered,
                "left": self.left,
            },
            "threshold": threshold,
            "first": dict(self.first),
            "last": dict(self.last),
            "largest": dict(self.largest),
            **({"jaccard": jaccard} if jaccard else {}),
        }


def picked(count: int, most: int) -> list[int]:
    """At most so many of ``count`` positions, evenly, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(at * (count - 1) / (most - 1)) for at in range(most)]


def places(steps: Sequence[int | None]) -> list[float]:
    """Where checkpoints are drawn: at their steps, where these are spread evenly; else in order."""
    known = [step for step in steps if step is not None]
    gaps = np.diff(known)
    if len(known) == len(steps) > 1 and gaps.min() > 0 and gaps.max() <= UNEVEN * gaps.min():
        return [float(step) for step in known]
    return [float(at) for at in range(len(steps))]


def labels(points: Sequence[tuple[str, int | None]]) -> list[str]:
    """What checkpoints are called below a picture: their step, or what tells their names apart."""
    steps = [step for _, step in points if step is not None]
    if len(steps) == len(points) and all(one < other for one, other in pairwise(steps)):
        return [str(step) for step in steps]
    parts = [re.split(r"(?<=[/@])|(?=\[)", name) for name, _ in points]
    start = _shared(parts)
    end = _shared([each[start:][::-1] for each in parts])
    return ["".join(each[start : len(each) - end]).rstrip("/@") for each in parts]


def _shared(parts: Sequence[Sequence[str]]) -> int:
    """How many parts all names begin with; of each at least one is left."""
    most = min(map(len, parts)) - 1
    same = (len({each[at] for each in parts}) == 1 for at in range(most))
    return next((at for at, alike in enumerate(same) if not alike), most)


def sizes_table(points: Sequence[Point]) -> str:
    """The table of the picture of sizes: what grows and shrinks from checkpoint to checkpoint."""
    where = places([point.step for point in points])
    rows: list[tuple[object, ...]] = []
    for x, point in zip(where, points, strict=True):
        for (panel, series), value in point.sizes.items():
            step = "" if point.step is None else point.step
            shown = (plain(x), panel, series, plain(value), point.name, step, "")
            rows.append(("value", *shown))
    for place, label in _ticks(where, [(point.name, point.step) for point in points]):
        rows.append(("tick", place, "", "", "", "", "", label))
    return csv_text(COLUMNS["sizes"], rows)


def arrivals_table(points: Sequence[tuple[str, int | None]], members: Sequence[Members]) -> str:
    """The table of the picture of arrivals: which tokens come, stay and leave.

    Of checkpoints that cannot all be compared, those that ``comparable`` leaves.
    """
    kept = comparable(members)
    points, members = [points[at] for at in kept], [members[at] for at in kept]
    found = bands(members)
    if len(found) > MOST_BANDS:
        most = sorted(range(len(found)), key=lambda at: -len(found[at].tokens))[:MOST_BANDS]
        found = [found[at] for at in sorted(most)]
    texts = _texts(members)
    rows: list[tuple[object, ...]] = []
    top = 0
    for band in found:
        shown = [str(texts.get(token, "")) for token in band.tokens[:TEXTS]]
        more = " …" if len(band.tokens) > TEXTS and any(shown) else ""
        first = band.tokens[0]
        rows += [
            (
                "run", run.first - 0.5, run.last + 0.5, top, top + len(band.tokens),
                "core" if run.core else "halo", len(band.tokens),
                first if isinstance(first, int) else "", " ".join(shown).strip() + more,
                points[run.first][0], points[run.last][0], "",
            )
            for run in band.runs
        ]  # fmt: skip
        top += len(band.tokens)
    for place, label in _ticks(range(len(points)), points):
        rows.append(("tick", place, *[""] * 9, label))
    return csv_text(COLUMNS["arrivals"], rows)


def overlap_table(points: Sequence[tuple[str, int | None]], members: Sequence[Members]) -> str:
    """The table of the picture of overlaps: what the cores of every two checkpoints share."""
    rows: list[tuple[object, ...]] = []
    for x, one in enumerate(members):
        for y, other in enumerate(members):
            common = overlap(one, other)
            share = "" if common is None or common.jaccard is None else plain(common.jaccard)
            both = ("", "") if common is None else (common.both, common.either)
            square = (x - 0.5, x + 0.5, y - 0.5, y + 0.5)
            rows.append(("cell", *square, share, points[x][0], points[y][0], *both, ""))
    for place, label in _ticks(range(len(points)), points):
        rows.append(("tick", place, *[""] * 8, label))
    return csv_text(COLUMNS["overlap"], rows)


def _ticks(
    where: Sequence[float], points: Sequence[tuple[str, int | None]]
) -> list[tuple[str, str]]:
    """Some places with what they are called."""
    if not points:
        return []
    named = labels(points)
    apart = -(-len(points) // TICKS)
    return [(plain(where[at]), named[at]) for at in range(0, len(points), apart)]


def _texts(members: Sequence[Members]) -> dict[object, str]:
    """Name of a token, as bands have it -> its text."""
    found: dict[object, str] = {}
    for each in members:
        if each.texts is not None:
            for token, text in zip(each.token_ids.tolist(), each.texts, strict=True):
                if text is not None:
                    found.setdefault(token, text)
                    found.setdefault(text, text)
    return found
