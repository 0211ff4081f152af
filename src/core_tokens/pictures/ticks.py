"""The labels of an axis of checkpoints: a survey's table brings them along, as rows.

One specification serves training steps and names of models, and DVC's templates are static; so an
axis of its own has no labels, and the rows of ``kind`` "tick" are drawn in their stead.
"""

from typing import Any

import altair as alt

from core_tokens.pictures import style

AXIS = alt.Axis(labels=False, ticks=False, grid=False, domain=False)
"""Of an axis that is labelled by rows."""
TITLE = "checkpoint"
HEADER = alt.Header(labelOrient="top", labelAnchor="start", labelPadding=2)
"""Of plots below each other."""
LIMIT = 170
"""The longest label, in pixels; what is longer is cut."""
ANGLED = "(datum.longest * 6.5 + 6) * datum.ticks > abs(range('x')[1] - range('x')[0])"
"""Labels side by side would lie over each other."""
NEAR = "isValid(datum.before) && abs(scale('{0}', datum.x) - scale('{0}', datum.before)) < 12"
"""There would be no room for this one after the one before, however they are turned."""


def of(table: alt.Chart, *groups: str) -> alt.Chart:
    """One row for each place with a label, in each group: several revisions may name the same.

    Adds what decides how they are drawn: the longest label, how many there are, and the place
    before.
    """
    ticks: alt.Chart = (
        table.transform_filter("datum.kind == 'tick'")
        .transform_calculate(letters="length(datum.label)")
        .transform_aggregate(label="min(label)", letters="max(letters)", groupby=["x", *groups])
        .transform_joinaggregate(longest="max(letters)", ticks="count()", groupby=[*groups])
        .transform_window(before="lag(x)", sort=[alt.SortField("x")], groupby=[*groups])
    )
    return ticks


def axis(padding: int, *, facet: bool) -> alt.X:
    """The axis of the checkpoints, some pixels wider than they are.

    Its own title would lie in the labels; only several plots have it below all that they draw.
    """
    scale = alt.Scale(zero=False, nice=False, padding=padding)
    return alt.X("x:Q", scale=scale, axis=AXIS, title=TITLE if facet else None)


def across(ticks: alt.Chart, x: alt.X, *, facet: bool) -> list[alt.Chart]:
    """Labels below the plot, turned where they are long, and a line up to the plot for each.

    Args:
        ticks: as ``of`` makes them.
        x: the axis, as ``axis`` makes it.
        facet: whether the plot is one of several below each other.
    """
    height = "child_height" if facet else "height"
    lines = ticks.mark_rule(opacity=0.5).encode(x=x, y=_at(height), y2=_at(f"{height} + 5"))
    labels = ticks.mark_text(
        angle=alt.ExprRef(f"{ANGLED} ? 300 : 0"),
        align=alt.ExprRef(f"{ANGLED} ? 'right' : 'center'"),
        baseline=alt.ExprRef(f"{ANGLED} ? 'middle' : 'top'"),
        limit=LIMIT,
    ).encode(x=x, y=_at(f"{height} + 8"), text=_shown("x"))
    if facet:
        return [lines, labels]
    deep = f"{ANGLED} ? 14 + 0.87 * min({LIMIT}, 5.8 * datum.longest) : 25"
    title = (
        ticks.transform_aggregate(groupby=["longest", "ticks"])
        .mark_text(baseline="top", text=TITLE, fontSize=12)
        .encode(x=_at("width / 2"), y=_at(f"height + ({deep})"))
    )
    return [lines, labels, title]


def down(ticks: alt.Chart, y: alt.Y, *, facet: bool) -> list[alt.Chart]:
    """The same labels left of the plot: both axes of a square are checkpoints.

    A page leaves 90 pixels beside several plots.
    """
    lines = ticks.mark_rule(opacity=0.5).encode(y=y, x=alt.value(-5), x2=alt.value(0))
    labels = ticks.mark_text(align="right", limit=68 if facet else LIMIT).encode(
        y=y, x=alt.value(-8), text=_shown("y")
    )
    return [lines, labels]


def by_revision(plot: style.Drawn, width: int, height: int) -> alt.FacetChart:
    """A plot for each revision, below each other: areas would hide each other."""
    row = alt.Row("rev:N", sort=None, title=None, header=HEADER)
    facets: alt.FacetChart = plot.properties(width=width, height=height).facet(row=row)
    apart: alt.FacetChart = facets.resolve_axis(y="independent")  # else beyond the first label
    return apart


def _shown(scale: str) -> Any:
    return alt.value(alt.ExprRef(f"{NEAR.format(scale)} ? '' : datum.label"))


def _at(pixels: str) -> Any:
    return alt.value(alt.ExprRef(pixels))
