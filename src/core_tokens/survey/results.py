"""What was kept of each checkpoint -> the files of a survey, in the order of the checkpoints."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
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
    ruler, radius = rulers[0], radii[0]
    good = [at for at, outcome in enumerate(outcomes) if not outcome.error]
    of_points, of_arrivals, of_overlaps = (
        {good[nth] for nth in tables.picked(len(good), most)}
        for most in (tables.MOST_POINTS, tables.MOST_ARRIVALS, tables.MOST_OVERLAPS)
    )
    points: list[tables.Point] = []
    arrivals: list[Members] = []
    overlaps: list[Members] = []
    totals, seconds = tables.Totals(), 0.0
    costs = []
    rows_path, members_path = folder / "survey.parquet", folder / "membership.parquet"
    metrics_path, costs_path = folder / "survey.json", folder / "costs.csv"
    plots = {name: folder / "plots" / f"{name}.csv" for name in tables.COLUMNS}
    final = (rows_path, members_path, metrics_path, costs_path, *plots.values())
    with replacing(*final) as (to_rows, to_members, to_metrics, to_costs, *to_plots):
        with (
            parquet.Writer(to_rows, parquet.survey_schema(rulers)) as rows,
            parquet.Writer(to_members, parquet.membership_schema(rulers)) as membership,
        ):
            for at, found in _records(kept, outcomes):
                checkpoint = checkpoints[at]
                if found is None:
                    rows.add([parquet.failed_row(at, checkpoint, outcomes[at].error)])
                    totals.failed += 1
                    continue
                cores = {each: [_core(found, each, within) for within in radii] for each in rulers}
                rows.add(
                    parquet.survey_rows(at, checkpoint, outcomes[at].file, found, radii, cores)
                )
                membership.add_columns(parquet.membership_columns(at, found, rulers))
                members = _members(found, ruler, radius)
                totals.add(_sizes(found, radii, cores), members)
                seconds += found.about.seconds
                costs.append((at, checkpoint.name, found.about.bytes, f"{found.about.seconds:.3f}"))
                if at in of_points:
                    sizes = _drawn(found, ruler, radii, cores[ruler])
                    points.append(tables.Point(checkpoint.name, checkpoint.step, sizes))
                if at in of_arrivals:
                    arrivals.append(members)
                if at in of_overlaps:
                    overlaps.append(members)
        metrics = totals.metrics(settings.threshold, ruler, radius)
        to_metrics.write_text(json_text(metrics), encoding="utf-8")
        to_costs.write_text(csv_text(("checkpoint", "source", "bytes", "seconds"), costs), "utf-8")
        named = partial(_named, checkpoints)
        drawn = {
            "sizes": tables.sizes_table(points),
            "arrivals": tables.arrivals_table(named(of_arrivals), arrivals),
            "overlap": tables.overlap_table(named(of_overlaps), overlaps),
        }
        for to, name in zip(to_plots, plots, strict=True):
            to.write_text(drawn[name], encoding="utf-8")
    failures = [
        (checkpoint.name, outcome.error)
        for checkpoint, outcome in zip(checkpoints, outcomes, strict=True)
        if outcome.error
    ]
    reused = sum(outcome.reused for outcome in outcomes)
    return Summary(totals, reused, failures[:FAILURES], seconds)


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


def _members(found: Record, ruler: str, radius: float) -> Members:
    arrays, about = found.arrays, found.about
    within = arrays[f"distance_{ruler}"] <= np.float32(radius)  # as ``core_within`` has it
    texts = [token.text for token in about.tokens] if about.tokens else None
    return Members(
        arrays["token_ids"],
        within[arrays["vector_of_token"]],
        about.vocabulary,
        about.figures.vocabulary,
        texts if about.vocabulary else None,
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


def _named(checkpoints: Sequence[Checkpoint], some: set[int]) -> list[tuple[str, int | None]]:
    return [(checkpoints[at].name, checkpoints[at].step) for at in sorted(some)]
