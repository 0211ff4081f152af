"""How many values the dimensions take."""

import altair as alt

from core_tokens.pictures import style

NUMBERS = ("distinct", "dimensions")
TEXTS = ("of",)


def chart(table: alt.Chart, *, overlay: bool) -> style.Drawn:
    """Dimensions by their number of distinct values: the core in front of the cluster."""
    scale = alt.Scale(nice=False, padding=8, zero=False)
    axis = alt.Axis(tickMinStep=1, format="d")
    y = alt.Y("dimensions:Q", scale=alt.Scale(type="symlog"),
              axis=alt.Axis(values=[0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000], format=",d"),
              title="dimensions")  # fmt: skip
    channels = {
        "y": y,
        "color": style.cluster_and_core(),
        "tooltip": [
            alt.Tooltip("of:N", title="of"), alt.Tooltip("distinct:Q", title="distinct values"),
            alt.Tooltip("dimensions:Q"), *style.revision_tooltip(overlay),
        ],
    }  # fmt: skip
    title = "distinct values of a dimension"
    if overlay:  # bars would hide each other
        points = table.mark_point(strokeWidth=2, size=40, opacity=1).encode(
            x=alt.X("distinct:Q", scale=scale, axis=axis, title=title),
            **channels, **style.revisions(overlay, alt.Shape),
        )  # fmt: skip
        return alt.layer(points)
    bars = [
        table.transform_filter(f"datum.of == '{of}'")
        .transform_calculate(left=f"datum.distinct - {half}", right=f"datum.distinct + {half}")
        .mark_bar(opacity=1, binSpacing=0)
        .encode(
            x=alt.X("left:Q", scale=scale, axis=axis, title=title),
            x2="right:Q",
            y2=alt.datum(0),
            **channels,
        )
        for of, half in (("cluster", 0.45), ("core", 0.25))
    ]
    return alt.layer(*bars)
