"""Who enters the core from checkpoint to checkpoint, and who leaves it."""

import altair as alt

from core_tokens.pictures import style, ticks

NUMBERS = ("x", "x2", "y", "y2", "tokens", "first_token")
TEXTS = ("kind", "state", "text", "first", "last", "label")

SEAM = 0.2
"""Bands thinner than a pixel would be pale without a border; with a thick one gaps would close."""


def chart(table: alt.Chart, *, overlay: bool) -> style.Drawn:
    """A band for all tokens of the same history, as high as they are many; a panel per revision."""
    groups = ["rev"] if overlay else []
    x = ticks.axis(0, facet=overlay)
    runs = table.transform_filter("datum.kind == 'run'").transform_calculate(
        part="datum.state", token="isValid(datum.first_token) ? datum.first_token : ''"
    )
    bands = runs.mark_rect(
        opacity=1, stroke=alt.ExprRef("scale('color', datum.part)"), strokeWidth=SEAM
    ).encode(
        x=x,
        x2="x2:Q",
        y=alt.Y("y:Q", scale=alt.Scale(reverse=True, nice=False),
                axis=alt.Axis(tickMinStep=1, format=",d"),
                title="tokens, the first to come on top"),
        y2="y2:Q",
        color=style.parts(),
        tooltip=[
            alt.Tooltip("state:N"), alt.Tooltip("tokens:Q"),
            alt.Tooltip("token:N", title="first token"),
            alt.Tooltip("text:N"), alt.Tooltip("first:N", title="from"),
            alt.Tooltip("last:N", title="to"), *style.revision_tooltip(overlay),
        ],
    )  # fmt: skip
    nobody = (
        table.transform_calculate(is_run="datum.kind == 'run' ? 1 : 0")
        .transform_aggregate(runs="sum(is_run)", groupby=[*groups])
        .transform_filter("datum.runs == 0")
        .mark_text(text="no token in any core", dy=-12)
        .encode()
    )
    labels = ticks.of(table, *groups)
    layers = alt.layer(bands, nobody, *ticks.across(labels, x, facet=overlay))
    return ticks.by_revision(layers, style.WIDTH, style.HEIGHT) if overlay else layers
