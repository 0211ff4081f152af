"""Which vectors are neighbours on the lattice."""

import altair as alt

from core_tokens.pictures import style

NUMBERS = ("x", "y", "x2", "y2", "length", "tree", "edges", "population", "distance_ulp", "packing")
TEXTS = ("kind", "part", "vector", "token", "text", "label")
FADED = "datum.tree < 1 && datum.edges > 600"
"""Many edges would hide each other and the trees."""


def chart(table: alt.Chart, *, overlay: bool) -> style.Drawn:
    """Vectors by population; an edge where two are at most one step apart in every dimension.

    The shorter an edge (steps in all dimensions together), the heavier: 1 is a face.
    """
    nothing = alt.Axis(labels=False, ticks=False, grid=False, domain=False)
    # In pixels: room for half of the largest circle.
    x = alt.X("x:Q", scale=alt.Scale(zero=False, nice=False, padding=22), axis=nothing, title=None)
    y = alt.Y("y:Q", scale=alt.Scale(zero=False, nice=False, padding=22), axis=nothing, title=None)
    edges = table.transform_filter("datum.kind == 'edge'").mark_rule().encode(
        x=x, y=y, x2="x2:Q", y2="y2:Q",
        color=alt.value(style.GREY),
        strokeWidth=alt.StrokeWidth(
            "length:Q", scale=alt.Scale(type="log", domain=[1, 8], range=[2.6, 0.3], clamp=True),
            legend=alt.Legend(title="edge, in steps", values=[1, 2, 4], symbolType="stroke",
                              symbolStrokeColor=style.GREY),
        ),
        opacity=alt.condition(FADED, alt.value(0.25), alt.value(1)),
        tooltip=[alt.Tooltip("length:Q", title="steps in all dimensions")],
    )  # fmt: skip
    vectors = table.transform_filter("datum.kind == 'vector'").mark_point(
        filled=not overlay, opacity=1, strokeWidth=2
    ).encode(
        x=x, y=y,
        color=style.parts(),
        size=style.sizes("population", "tokens", most=700),
        order=alt.Order("population:Q", sort="descending"),
        tooltip=[
            alt.Tooltip("vector:N"), alt.Tooltip("token:N", title="first token"),
            alt.Tooltip("text:N"), alt.Tooltip("population:Q", title="tokens"),
            alt.Tooltip("part:N"), alt.Tooltip("distance_ulp:Q", title="distance in ulp"),
            alt.Tooltip("face_neighbours:N", title="one step away"),
            alt.Tooltip("linf_neighbours:N", title="within a step everywhere"),
            alt.Tooltip("packing:Q", title="of all that could be one step away", format=".2%"),
            *style.revision_tooltip(overlay),
        ],
        **style.revisions(overlay, alt.Shape),
    )  # fmt: skip
    hub = table.transform_filter("datum.label == 'hub'").mark_text(
        align="left", dx=14, dy=-12, fontWeight="bold"
    ).encode(x=x, y=y, text="label:N")  # fmt: skip
    left_out = (
        table.transform_filter("datum.kind == 'edge'")
        .transform_aggregate(drawn="count()", all="max(edges)", groupby=["rev"] if overlay else [])
        .transform_filter("datum.drawn < datum.all")
        .transform_calculate(
            shown="format(datum.drawn, ',') + ' of ' + format(datum.all, ',') + ' edges drawn'"
        )
        .mark_text(align="right", baseline="bottom")
        .encode(x=alt.value(alt.ExprRef("width - 6")), y=style.below(-4), text="shown:N")
    )
    return alt.layer(edges, vectors, hub, left_out)
