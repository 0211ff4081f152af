"""The plane of the two dimensions that vary most."""

import altair as alt

from core_tokens.pictures import style

NUMBERS = ("x", "y", "tokens", "vectors", "dimension_x", "dimension_y")
TEXTS = ("part", "token", "text")


def chart(table: alt.Chart, *, overlay: bool) -> style.Drawn:
    """The distinct points of the plane, by tokens; which dimensions they are stands above."""
    scale = alt.Scale(zero=False, padding=40, nice=False)
    axis = alt.Axis(format="~g", tickCount=5, labelBound=True)
    points = table.mark_point(filled=not overlay, opacity=1, strokeWidth=2).encode(
        x=alt.X("x:Q", scale=scale, axis=axis, title="value in the dimension of largest variance"),
        y=alt.Y("y:Q", scale=scale, axis=axis, title="value in the second"),
        color=style.parts(),
        size=style.sizes("tokens", "tokens"),
        order=alt.Order("tokens:Q", sort="descending"),
        tooltip=[
            alt.Tooltip("x:Q", format=".8g"), alt.Tooltip("y:Q", format=".8g"),
            alt.Tooltip("part:N"), alt.Tooltip("tokens:Q"), alt.Tooltip("vectors:Q"),
            alt.Tooltip("token:N", title="first token of the largest"), alt.Tooltip("text:N"),
            *style.revision_tooltip(overlay),
        ],
        **style.revisions(overlay, alt.Shape),
    )  # fmt: skip
    which = table.transform_aggregate(groupby=["dimension_x", "dimension_y"]).transform_calculate(
        shown="'dimension ' + datum.dimension_x + ' across, ' + datum.dimension_y + ' up'"
    ).mark_text(align="right", baseline="top").encode(
        x=alt.value(alt.ExprRef("width - 8")), y=alt.value(8), text="shown:N"
    )  # fmt: skip
    return alt.layer(points, which)
