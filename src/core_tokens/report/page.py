"""From what is known of models to one HTML page, which asks nothing of the network."""

import json
from collections.abc import Callable, Sequence
from importlib import resources
from operator import attrgetter
from typing import Any, TypeVar

import jinja2

from core_tokens.errors import FileError
from core_tokens.pictures import PICTURES, offline, specification
from core_tokens.report.figures import PARTS, figures, structure
from core_tokens.report.sides import MOST_ROWS, Side

Said = TypeVar("Said")


def page(sides: Sequence[Side]) -> str:
    """The report on some sides, beside each other where there are several.

    Raises:
        FileError: metrics of another version than this.
    """
    files = resources.files("core_tokens.report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(files.joinpath("page.html").read_text("utf-8"))
    labels = _labels(sides)
    shown = [name for name in PICTURES if any(name in side.plots for side in sides)]
    data = {
        "labels": labels,
        "pictures": {name: [_specification(name, side) for side in sides] for name in shown},
        "tables": {
            name: [side.tables[name][: MOST_ROWS + 1] for side in sides]
            for name in ("halo", "core")
        },
    }
    return template.render(
        labels=labels,
        sides=sides,
        reference=[[other.model for other in sides].index(side.model) for side in sides]
        if len({side.revision.name for side in sides}) > 1
        else [0] * len(sides),
        parts=PARTS,
        replicas={side.model: side.replica_of for side in sides if side.replica_of},
        stale=[
            label
            for label, side in zip(labels, sides, strict=True)
            if _checked(side, attrgetter("stale"))
        ],
        figures=_rows([_checked(side, figures) for side in sides]),
        structure=_rows([_checked(side, structure) for side in sides]),
        parameters=_rows([side.parameters for side in sides]),
        pictures=[(name, PICTURES[name]) for name in shown],
        counts={
            name: [max(0, len(side.tables[name]) - 1) for side in sides]
            for name in ("halo", "core")
        },
        most_rows=MOST_ROWS,
        style=files.joinpath("page.css").read_text("utf-8"),
        vega=offline.script(),
        script=files.joinpath("page.js").read_text("utf-8"),
        data=_embedded(data),
    )


def _labels(sides: Sequence[Side]) -> list[str]:
    """What tells the sides apart: the model, the revision, or both."""
    models = {side.model for side in sides}
    revisions = {side.revision.name for side in sides}
    if len(revisions) == 1:
        return [side.model for side in sides]
    if len(models) == 1:
        return [side.revision.name for side in sides]
    return [f"{side.model}, {side.revision.name}" for side in sides]


def _specification(name: str, side: Side) -> dict[str, Any] | None:
    """The picture of a side; the page brings the colours."""
    if name not in side.plots:
        return None
    spec = specification(name, side.plots[name], "light")
    del spec["config"]
    return spec


def _checked(side: Side, say: Callable[[Side], Said]) -> Said:
    try:
        return say(side)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        where = f"data/{side.model}/*.json at {side.revision.name}"
        raise FileError(where, f"other metrics ({error!r})", "those of this version") from error


def _rows(columns: Sequence[dict[str, Any]]) -> list[tuple[str, list[Any]]]:
    """Columns as rows: label, and a value for each side, None where it has none."""
    labels = dict.fromkeys(label for column in columns for label in column)
    return [(label, [column.get(label) for column in columns]) for label in labels]


def _embedded(data: Any) -> str:
    """JSON that may stand in a script element: no end tag, no comment, can be in it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
