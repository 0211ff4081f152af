"""The core against its radius."""

from typing import Any

import altair as alt

from core_tokens.pictures import style

NUMBERS = ("radius", "vectors", "tokens", "chosen", "zero")
TEXTS: tuple[str, ...] = ()


def chart(table: alt.Chart, *, overlay: bool) -> style.Drawn:
    """Tokens and vectors within every radius, as steps; the radius in use is marked."""
    drawn = style.with_zero(table, "zero", "radius", "chosen")
    folded = drawn.transform_fold(["tokens", "vectors"], as_=["count_of", "count"])
    channels: dict[str, Any] = {
        "x": style.log_axis(alt.X, "radius", "zero", style.X_LABEL),
        "y": alt.Y("count:Q", scale=alt.Scale(type="log"), axis=alt.Axis(format="~s"),
                   title="in the core"),
        "color": style.tokens_and_vectors(),
        "tooltip": [
            alt.Tooltip("radius:Q"), alt.Tooltip("tokens:Q"), alt.Tooltip("vectors:Q"),
            *style.revision_tooltip(overlay),
        ],
    }  # fmt: skip
    # Apart, so that the legend of the revisions shows lines.
    curve = folded.mark_line(interpolate="step-after", strokeWidth=2).encode(
        **channels, **style.revisions(overlay, alt.StrokeDash)
    )
    points = folded.mark_point(filled=True, size=24, opacity=1).encode(**channels)
    chosen = drawn.transform_filter("isValid(datum.chosen)").transform_aggregate(
        groupby=["chosen", "chosen_drawn", *(["rev"] if overlay else [])]
    )
    mark = chosen.mark_rule(strokeWidth=1.5, strokeDash=[5, 3]).encode(
        x="chosen_drawn:Q",
        tooltip=[alt.Tooltip("chosen:Q", title="radius"), *style.revision_tooltip(overlay)],
    )
    name = chosen.transform_calculate(shown="'radius ' + format(datum.chosen, '~g')").mark_text(
        align="right", baseline="bottom", dx=-5, dy=-4
    ).encode(x="chosen_drawn:Q", y=style.below(0), text="shown:N")  # fmt: skip
    labels = [style.zero_label(drawn, alt.X, "zero")]
    if not overlay:  # those of several revisions would lie over each other
        labels.append(name)
    return alt.layer(mark, curve, points, *labels)
