"""How much gathers at each checkpoint."""

import altair as alt

from core_tokens.pictures import style, ticks

NUMBERS = ("x", "value", "step")
TEXTS = ("kind", "panel", "series", "checkpoint", "label")
PANELS = ["tokens", "distinct vectors", "radius of 90%, in ulp"]
OCHRE = "#b07d12"
COLOURS = [style.GREY, style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE, OCHRE]
"""In the order in which the table names the series: the cluster, then its cores."""
SIZE = "length(data('table')) > 1500 ? 8 : 30"
"""Many points would hide the lines."""
LABEL = "format(datum.value, ',~r')"
NAMES = "length(domain('color')) ? domain('color') : ['']"
"""A legend of nothing has no size, and with it the picture."""
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right"]
"""One more than colours: when these are used up, the same colour has another shape."""


def chart(table: alt.Chart, *, overlay: bool) -> style.Drawn:
    """A panel for each quantity, below each other: they share the checkpoints."""
    x = ticks.axis(12, facet=True)
    series = alt.Scale(range=COLOURS)
    legend = alt.Legend(columns=alt.ExprRef("child_width < 320 ? 2 : 3"), values=alt.ExprRef(NAMES))
    values = table.transform_filter("datum.kind == 'value'").transform_calculate(
        at="isValid(datum.step) ? format(datum.step, ',') : ''"
    ).encode(
        x=x,
        y=alt.Y("value:Q", scale=alt.Scale(zero=True),
                axis=alt.Axis(tickCount=4, labelExpr=LABEL), title=None),
        tooltip=[
            alt.Tooltip("checkpoint:N"), alt.Tooltip("at:N", title="step"), alt.Tooltip("series:N"),
            alt.Tooltip("value:Q"), *style.revision_tooltip(overlay),
        ],
    )  # fmt: skip
    # By another channel than the points, whose colour and shape can so be one legend.
    lines = values.mark_line(strokeWidth=2).encode(
        stroke=alt.Stroke("series:N", sort=None, scale=series, legend=None),
        **style.revisions(overlay, alt.StrokeDash),
    )
    points = values.mark_point(filled=True, size=alt.ExprRef(SIZE), opacity=1).encode(
        color=alt.Color("series:N", sort=None, scale=series, title=None, legend=legend),
        shape=alt.Shape("series:N", sort=None, scale=alt.Scale(range=SHAPES), title=None,
                        legend=legend),
    )  # fmt: skip
    guides = ticks.of(table, "shown").mark_rule(opacity=0.12).encode(x=x)
    last = ticks.of(table.transform_filter(f"datum.shown == '{PANELS[-1]}'"), "shown")
    layers = [guides, lines, points, *ticks.across(last, x, facet=True)]
    facets: alt.FacetChart = (
        alt.layer(*layers)
        .properties(width=style.WIDTH, height=style.HEIGHT / 3)
        .facet(
            row=alt.Row("shown:N", sort=PANELS, title=None, header=ticks.HEADER),
            spacing=8,
        )
        .transform_calculate(panels=f"datum.kind == 'tick' ? {PANELS} : [datum.panel]")
        .transform_flatten(["panels"], ["shown"])
        .resolve_scale(y="independent")
    )  # fmt: skip
    return facets
