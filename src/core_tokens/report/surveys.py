"""What a report says of one survey at one revision, from the files that Git has of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core_tokens import plot_files
from core_tokens.errors import FileError
from core_tokens.params import SURVEYS
from core_tokens.pictures import SURVEY_PICTURES
from core_tokens.revisions import Revision
from core_tokens.survey.tables import said


@dataclass(frozen=True)
class Survey:
    """One survey at one revision.

    Attributes:
        name: of the survey.
        revision: where the files are from.
        metrics: survey.json.
        plots: the rows of the tables of the pictures, those that have any.
    """

    name: str
    revision: Revision
    metrics: dict[str, Any]
    plots: dict[str, list[plot_files.Row]]


def is_there(name: str, revision: Revision) -> bool:
    """Whether a survey was made."""
    return revision.read(_folder(name) / "survey.json") is not None


def read(name: str, revision: Revision) -> Survey:
    """Read a survey (FileError: a file is not there, or not what the stage writes)."""
    folder = _folder(name)
    plots = {}
    for picture, about in SURVEY_PICTURES.items():
        path = folder / "plots" / f"{picture}.csv"
        rows = plot_files.parse(
            revision.where(path), revision.content(path), about.kind.NUMBERS, about.kind.TEXTS
        )
        if rows:
            plots[picture] = rows
    return Survey(name, revision, revision.metrics(folder / "survey.json"), plots)


def figures(survey: Survey) -> dict[str, str]:
    """Label -> text: what survey.json says, in the words of people.

    Raises:
        FileError: metrics of another version than this.
    """
    try:
        return dict(_figures(survey.metrics))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        where = survey.revision.where(_folder(survey.name) / "survey.json")
        raise FileError(where, f"other metrics ({error!r})", "those of this version") from error


def _figures(metrics: dict[str, Any]) -> Iterator[tuple[str, str]]:
    checkpoints, core = (metrics[part] for part in ("checkpoints", "core"))
    jaccard = metrics.get("jaccard", {})
    failed = f", {checkpoints['failed']:,} failed" if checkpoints["failed"] else ""
    yield "checkpoints", f"{checkpoints['total']:,}{failed}"
    yield "with a cluster", f"{checkpoints['with_cluster']:,}"
    (ruler,) = core["distance"]
    yield "core", f"within {core['radius']:g} ({ruler}), the cluster below {metrics['threshold']:g}"
    yield "tokens that entered the core", f"{core['entered']:,}"
    yield "tokens that left it", f"{core['left']:,}"
    if "first_and_last" in jaccard:
        yield "first and last core", f"{100 * jaccard['first_and_last']:.1f}% in common"
    if "neighbours_mean" in jaccard:
        yield (
            "neighbouring cores",
            f"{100 * jaccard['neighbours_mean']:.1f}% in common on average, "
            f"{100 * jaccard['neighbours_min']:.1f}% at least",
        )
    for size, largest in metrics["largest"].items():
        first, last = (metrics[end][size] for end in ("first", "last"))
        yield (
            said(size),
            f"{first:,g} in the first, {last:,g} in the last, {largest:,g} at most",
        )


def _folder(name: str) -> Path:
    return Path("data", SURVEYS, name)
