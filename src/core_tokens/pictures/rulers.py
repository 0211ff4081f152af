"""Who is halo under which ruler."""

import altair as alt

from core_tokens.pictures import style

NUMBERS = (
    "population", "distance_ulp", "distance_steps", "distance_l2",
    "chosen_ulp", "chosen_steps", "zero_ulp", "zero_steps",
)  # fmt: skip
TEXTS = ("part", "token", "text")


def chart(table: alt.Chart, *, overlay: bool) -> style.Drawn:
    """Distance in ulp against distance in steps, a point per distinct vector.

    The radius in use is a line; what lies beyond it is halo.
    """
    drawn = style.with_zero(table, "zero_steps", "distance_steps", "chosen_steps")
    drawn = style.with_zero(drawn, "zero_ulp", "distance_ulp", "chosen_ulp")
    points = drawn.mark_point(filled=not overlay, opacity=1, strokeWidth=1.5).encode(
        x=style.log_axis(alt.X, "distance_steps", "zero_steps", "distance in lattice steps"),
        y=style.log_axis(alt.Y, "distance_ulp", "zero_ulp", "distance in ulp"),
        color=style.parts(),
        size=style.sizes("population", "tokens", most=600),
        order=alt.Order("population:Q", sort="descending"),
        tooltip=[
            alt.Tooltip("token:N", title="first token"), alt.Tooltip("text:N"),
            alt.Tooltip("population:Q", title="tokens"), alt.Tooltip("part:N"),
            alt.Tooltip("distance_ulp:Q", title="ulp"),
            alt.Tooltip("distance_steps:Q", title="steps"),
            alt.Tooltip("distance_l2:Q", title="L2", format=".6g"),
            *style.revision_tooltip(overlay),
        ],
        **style.revisions(overlay, alt.Shape),
    )  # fmt: skip
    lines = [
        drawn.transform_filter(f"isValid(datum.chosen_{ruler})")
        .transform_aggregate(groupby=[f"chosen_{ruler}_drawn"])
        .mark_rule(strokeWidth=1.5, strokeDash=[5, 3])
        .encode(**{channel: f"chosen_{ruler}_drawn:Q"})
        for ruler, channel in (("steps", "x"), ("ulp", "y"))
    ]
    zeros = [
        style.zero_label(drawn, alt.X, "zero_steps"),
        style.zero_label(drawn, alt.Y, "zero_ulp"),
    ]
    return alt.layer(*lines, points, *zeros)
