"""How many tokens share each vector."""

import altair as alt

from core_tokens.pictures import style

NUMBERS = ("rank", "population")
TEXTS = ("part", "token", "text", "label")
WHOLE = "datum.value % 1 ? '' : format(datum.value, '~s')"
"""No label between whole numbers."""


def chart(table: alt.Chart, *, overlay: bool) -> style.Drawn:
    """Rank against tokens, both logarithmic, the large groups labelled.

    Draws the census of all groups of identical rows too, which says ``in_cluster`` instead of
    core or halo.
    """
    whole = table.transform_calculate(
        part="isValid(datum.part) ? datum.part : datum.in_cluster == 1 ? 'core' : 'halo'",
        label="isValid(datum.label) ? datum.label : ''",
        token="isValid(datum.token) ? datum.token : datum.first_tokens",
        text="isValid(datum.text) ? datum.text : ''",
        distance="isValid(datum.distance_ulp) ? format(datum.distance_ulp, '~r') : ''",
    )
    x = alt.X("rank:Q", scale=alt.Scale(type="log", padding=12, nice=False),
              axis=alt.Axis(format="d"), title="rank")  # fmt: skip
    y = alt.Y("population:Q", scale=alt.Scale(type="log", padding=54, nice=False),
              axis=alt.Axis(labelExpr=WHOLE), title="tokens that share the vector")  # fmt: skip
    points = whole.mark_point(filled=not overlay, size=50, opacity=1).encode(
        x=x,
        y=y,
        color=style.parts(),
        tooltip=[
            alt.Tooltip("rank:Q"), alt.Tooltip("population:Q", title="tokens"),
            alt.Tooltip("part:N"), alt.Tooltip("token:N", title="first token"),
            alt.Tooltip("text:N"),
            alt.Tooltip("distance:N", title="distance in ulp"),
            *style.revision_tooltip(overlay),
        ],
        **style.revisions(overlay, alt.Shape),
    )  # fmt: skip
    labels = whole.mark_text(align="left", angle=300, dx=7, limit=60).encode(
        x=x, y=y, text="label:N"
    )
    return alt.layer(points, labels)
