"""What was kept of each checkpoint -> the files of a survey, in the order of the checkpoints."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core_tokens import params
from core_tokens.core import Core, core_within
from core_tokens.files import replacing
from core_tokens.survey import parquet, record, tables
from core_tokens.survey.checkpoints import Checkpoint
from core_tokens.survey.examine import Outcome
from core_tokens.survey.histories import Members
from core_tokens.survey.record import Record
from core_tokens.survey.store import Store, StoreError
from core_tokens.tables import csv_text, json_text

READ_AT_ONCE = 16
"""Results that are read from the store at a time."""


@dataclass(frozen=True)
class Summary:
    """How a survey ended.

    Attributes:
        totals: see there.
        reused: checkpoints whose result was in the store before.
        failures: (name of the checkpoint, error), the first ones.
        seconds: that the work on all took together, whenever it was done.
    """

    totals: tables.Totals
    reused: int
    failures: Sequence[tuple[str, str]]
    seconds: float


FAILURES = 5
"""How many failures a summary names."""


def put_together(
    folder: Path,
    checkpoints: Sequence[Checkpoint],
    outcomes: Sequence[Outcome],
    kept: Store,
    settings: params.Survey,
) -> Summary:
    """Put together what was kept of each checkpoint, one at a time, in their order."""
    radii, rulers = settings.radii, list[str](settings.distances)
    totals, seconds, costs = tables.Totals(), 0.0, []
    pictures = _Pictures(checkpoints, [at for at, each in enumerate(outcomes) if not each.error])
    names = ("survey.parquet", "membership.parquet", "survey.json", "costs.csv")
    plots = [f"plots/{name}.csv" for name in tables.COLUMNS]
    with replacing(*(folder / name for name in (*names, *plots))) as temporary:
        to_rows, to_members, to_metrics, to_costs, *to_plots = temporary
        with (
            parquet.Writer(to_rows, parquet.survey_schema(rulers)) as rows,
            parquet.Writer(to_members, parquet.membership_schema(rulers)) as membership,
        ):
            for at, found in _records(kept, outcomes):
                checkpoint, outcome = checkpoints[at], outcomes[at]
                if found is None:
                    rows.add([parquet.failed_row(at, checkpoint, outcome.error)])
                    totals.failed += 1
                    continue
                cores = {each: [_core(found, each, within) for within in radii] for each in rulers}
                rows.add(parquet.survey_rows(at, checkpoint, outcome.file, found, radii, cores))
                membership.add_columns(parquet.membership_columns(at, found, rulers))
                members = _members(found, cores[rulers[0]][0])
                totals.add(_sizes(found, radii, cores), members)
                pictures.add(at, _drawn(found, rulers[0], radii, cores[rulers[0]]), members)
                seconds += found.about.seconds
                costs.append((at, checkpoint.name, found.about.bytes, f"{found.about.seconds:.3f}"))
        metrics = totals.metrics(settings.threshold, rulers[0], radii[0])
        to_metrics.write_text(json_text(metrics), encoding="utf-8")
        to_costs.write_text(csv_text(("checkpoint", "source", "bytes", "seconds"), costs), "utf-8")
        for to, text in zip(to_plots, pictures.tables(), strict=True):
            to.write_text(text, encoding="utf-8")
    failures = [
        (checkpoint.name, outcome.error)
        for checkpoint, outcome in zip(checkpoints, outcomes, strict=True)
        if outcome.error
    ]
    reused = sum(outcome.reused for outcome in outcomes)
    return Summary(totals, reused, failures[:FAILURES], seconds)


class _Pictures:
    """What the pictures show, of the checkpoints that are picked for each of them."""

    def __init__(self, checkpoints: Sequence[Checkpoint], good: Sequence[int]) -> None:
        self._checkpoints = checkpoints
        most = (tables.MOST_POINTS, tables.MOST_ARRIVALS, tables.MOST_OVERLAPS)
        self._picked = [{good[nth] for nth in tables.picked(len(good), each)} for each in most]
        self._points: list[tables.Point] = []
        self._arrivals: dict[int, Members] = {}
        self._overlaps: dict[int, Members] = {}

    def add(self, at: int, sizes: Mapping[tuple[str, str], float], members: Members) -> None:
        """One checkpoint, in their order."""
        of_sizes, of_arrivals, of_overlaps = self._picked
        if at in of_sizes:
            self._points.append(tables.Point(*self._named(at), sizes))
        if at in of_arrivals:
            self._arrivals[at] = members
        if at in of_overlaps:
            self._overlaps[at] = members

    def tables(self) -> Iterator[str]:
        """The tables, in the order of ``tables.COLUMNS``."""
        yield tables.sizes_table(self._points)
        yield tables.arrivals_table(
            [self._named(at) for at in self._arrivals], list(self._arrivals.values())
        )
        yield tables.overlap_table(
            [self._named(at) for at in self._overlaps], list(self._overlaps.values())
        )

    def _named(self, at: int) -> tuple[str, int | None]:
        return self._checkpoints[at].name, self._checkpoints[at].step


def _records(kept: Store, outcomes: Sequence[Outcome]) -> Iterator[tuple[int, Record | None]]:
    """What was kept of each checkpoint, in their order; None of those that failed."""

    def read(at: int) -> tuple[int, Record | None]:
        outcome = outcomes[at]
        if outcome.error:
            return at, None
        content = kept.read(outcome.key)
        where = f"{kept.url}: {outcome.key}"
        if content is None:
            raise StoreError(where, "no such result, though it was kept", "it: run again")
        return at, record.from_bytes(where, content)

    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        for start in range(0, len(outcomes), READ_AT_ONCE):
            yield from pool.map(read, range(start, min(start + READ_AT_ONCE, len(outcomes))))


def _core(found: Record, ruler: str, radius: float) -> Core:
    arrays = found.arrays
    return core_within(
        radius, arrays[f"distance_{ruler}"], arrays["vector_of_token"], arrays["token_ids"]
    )


def _members(found: Record, core: Core) -> Members:
    token_ids, about = found.arrays["token_ids"], found.about
    return Members(
        token_ids,
        np.isin(token_ids, core.token_ids, assume_unique=True),
        about.vocabulary,
        about.figures.vocabulary,
        # Where there is no cluster there is no text, and yet the vocabulary is known.
        [token.text for token in about.tokens] if about.vocabulary else None,
    )


def _sizes(
    found: Record, radii: Sequence[float], cores: Mapping[str, Sequence[Core]]
) -> dict[str, float]:
    """What survey.json says of one checkpoint."""
    figures = found.about.figures
    return {
        "cluster_tokens": figures.cluster_tokens,
        "cluster_vectors": figures.cluster_vectors,
        "r90_tokens": figures.r90_tokens or 0.0,
        **{
            tables.core_size(ruler, radius): len(core.token_ids)
            for ruler, some in cores.items()
            for radius, core in zip(radii, some, strict=True)
        },
    }


def _drawn(
    found: Record, ruler: str, radii: Sequence[float], cores: Sequence[Core]
) -> dict[tuple[str, str], float]:
    """What the picture of sizes shows of one checkpoint."""
    figures = found.about.figures
    sizes: dict[tuple[str, str], float] = {
        ("tokens", "cluster"): figures.cluster_tokens,
        **{
            ("tokens", tables.said(tables.core_size(ruler, radius))): len(core.token_ids)
            for radius, core in zip(radii, cores, strict=True)
        },
        ("distinct vectors", "cluster"): figures.cluster_vectors,
    }
    if figures.r90_tokens is not None:
        sizes["radius of 90%, in ulp", "cluster"] = figures.r90_tokens
    return sizes
