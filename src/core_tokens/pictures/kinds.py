"""Which kinds of tokens they are."""

import altair as alt

from core_tokens.pictures import style

NUMBERS = ("tokens",)
TEXTS = ("class", "script", "part")


def chart(table: alt.Chart, *, overlay: bool) -> style.Drawn:
    """Tokens by class, those with a text of their own by script too; core and halo coloured."""
    whole = table.transform_calculate(
        kind="datum.script == 'none' ? datum.class : datum.class + ', ' + datum.script"
    )
    y = alt.Y("kind:N", sort="-x", axis=alt.Axis(labelLimit=220), title=None)
    offset = {"yOffset": alt.YOffset("rev:N", sort=None)} if overlay else {}
    bars = whole.mark_bar(opacity=1).encode(
        y=y,
        x=alt.X("tokens:Q", axis=alt.Axis(tickMinStep=1, format="~s"), title="tokens"),
        color=style.parts(),
        tooltip=[
            alt.Tooltip("class:N"), alt.Tooltip("script:N"), alt.Tooltip("part:N"),
            alt.Tooltip("tokens:Q"), *style.revision_tooltip(overlay),
        ],
        **offset,
        **style.revisions(overlay, alt.Opacity),
    )  # fmt: skip
    return alt.layer(bars)
