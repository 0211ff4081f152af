"""The tokens of a table in Git under two rulers: core.csv and halo.csv."""

import altair as alt

from core_tokens.pictures import style

NUMBERS = ("distance_ulp", "distance_steps", "distance_l2", "population")
WHOLE = alt.Axis(tickMinStep=1)


def chart(table: alt.Chart, *, overlay: bool) -> style.Drawn:
    """Distance in ulp against distance in steps, a point per token, linear."""
    points = table.mark_point(filled=False, opacity=1, strokeWidth=1.5).encode(
        x=alt.X("distance_steps:Q", axis=WHOLE, title="distance in lattice steps"),
        y=alt.Y("distance_ulp:Q", title="distance in ulp"),
        size=style.sizes("population", "tokens alike", most=300),
        tooltip=[
            alt.Tooltip("token:N"), alt.Tooltip("class:N"), alt.Tooltip("text:N"),
            alt.Tooltip("population:Q"), alt.Tooltip("distance_ulp:Q", title="ulp"),
            alt.Tooltip("distance_steps:Q", title="steps"),
            alt.Tooltip("distance_l2:Q", title="L2"), *style.revision_tooltip(overlay),
        ],
        **style.revisions(overlay, alt.Shape),
    )  # fmt: skip
    return alt.layer(points)
