"""How many tokens the cores of two checkpoints share."""

import altair as alt

from core_tokens.pictures import style, ticks

NUMBERS = ("x", "x2", "y", "y2", "jaccard", "both", "either")
TEXTS = ("kind", "a", "b", "label")
SIDE = 360
SEAM = 0.5
"""The border of a square in its own colour: without, the page shines through between squares."""


def chart(table: alt.Chart, *, overlay: bool) -> style.Drawn:
    """A square for every two checkpoints; crossed out where there is nothing to compare."""
    x = ticks.axis(0, facet=overlay)
    y = alt.Y("y:Q", scale=alt.Scale(zero=False, nice=False, reverse=True), axis=ticks.AXIS,
              title=None)  # fmt: skip
    square = {"x": x, "x2": "x2:Q", "y": y, "y2": "y2:Q"}
    two = [alt.Tooltip("a:N", title="one"), alt.Tooltip("b:N", title="other")]
    counts = [
        alt.Tooltip("jaccard:Q", title="shared", format=".1%"),
        alt.Tooltip("both:Q", title="tokens in both"), alt.Tooltip("either:Q", title="in either"),
    ]  # fmt: skip
    revision = style.revision_tooltip(overlay)
    cells = table.transform_filter("datum.kind == 'cell'")
    known = cells.transform_filter("isValid(datum.jaccard)").mark_rect(
        opacity=1, stroke=alt.ExprRef("scale('color', datum.jaccard)"), strokeWidth=SEAM
    ).encode(
        **square,
        color=alt.Color(
            "jaccard:Q", scale=alt.Scale(scheme="viridis", domain=[0, 1]),
            legend=alt.Legend(title="shared", format=".0%",
                              values=[0, 0.5, 1], gradientLength=100),
        ),
        tooltip=[*two, *counts, *revision],
    )  # fmt: skip
    unknown = cells.transform_filter("!isValid(datum.jaccard)")
    empty = unknown.mark_rect(opacity=0.2).encode(
        **square, color=alt.value(style.GREY), tooltip=[*two, *revision]
    )
    cross = unknown.mark_rule(opacity=0.6).encode(**square, color=alt.value(style.GREY))
    labels = ticks.of(table, *(["rev"] if overlay else []))
    own = labels.transform_calculate(y="datum.x")
    layers = alt.layer(
        known,
        empty,
        cross,
        *ticks.across(labels, x, facet=overlay),
        *ticks.down(own, y, facet=overlay),
    )
    if overlay:
        return ticks.by_revision(layers, SIDE, SIDE)
    return layers.properties(width=SIDE, height=SIDE)
