"""From what is known of models to one HTML page, which asks nothing of the network."""

import json
from collections.abc import Callable, Sequence
from importlib import resources
from operator import attrgetter
from typing import Any, TypeVar

import jinja2

from core_tokens.errors import FileError
from core_tokens.pictures import PICTURES, SURVEY_PICTURES, offline, specification
from core_tokens.plot_files import Row
from core_tokens.report.figures import PARTS, figures, structure
from core_tokens.report.sides import MOST_ROWS, Side
from core_tokens.report.surveys import Survey
from core_tokens.report.surveys import figures as figures_of_survey

Said = TypeVar("Said")


def page(sides: Sequence[Side], surveys: Sequence[Sequence[Survey]] = ()) -> str:
    """The report on some sides, beside each other where there are several, and on surveys.

    Args:
        sides: models, or one at several revisions.
        surveys: each at one revision or more.

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
    data: dict[str, Any] = {
        "labels": labels,
        "pictures": {name: [_specification(name, side) for side in sides] for name in shown},
        "tables": {
            name: [side.tables[name][: MOST_ROWS + 1] for side in sides]
            for name in ("halo", "core")
        },
    }
    for at in surveys:
        for name in SURVEY_PICTURES:
            data["pictures"][_place(at[0], name)] = [
                _drawn(name, survey.plots.get(name)) for survey in at
            ]
    return template.render(
        labels=labels,
        surveys=[_survey(at) for at in surveys],
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
    return _drawn(name, side.plots.get(name))


def _drawn(name: str, rows: Sequence[Row] | None) -> dict[str, Any] | None:
    if not rows:
        return None
    spec = specification(name, rows, "light")
    del spec["config"]
    return spec


def _survey(at: Sequence[Survey]) -> dict[str, Any]:
    """What the page says of one survey, a column for each revision."""
    name = at[0].name
    alone = len(at) == 1
    return {
        "name": name,
        "labels": [name if alone else survey.revision.name for survey in at],
        "figures": _rows([figures_of_survey(survey) for survey in at]),
        "pictures": [
            (_place(at[0], picture), about)
            for picture, about in SURVEY_PICTURES.items()
            if any(picture in survey.plots for survey in at)
        ],
    }


def _place(survey: Survey, picture: str) -> str:
    """What a picture of a survey is called in the page."""
    return f"{survey.name}-{picture}"


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
