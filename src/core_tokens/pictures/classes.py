"""The classes of the tokens of a table in Git: tokens.csv."""

import altair as alt

from core_tokens.pictures import style

NUMBERS = ()
ORDER = ["ordinary", "special", "byte", "unreachable", "padding"]


def chart(table: alt.Chart, *, overlay: bool) -> style.Drawn:
    """Tokens by class, counted from a row for each."""
    bars = table.mark_bar(opacity=1).encode(
        y=alt.Y("class:N", sort=ORDER, title=None),
        x=alt.X("distinct(token):Q", axis=alt.Axis(tickMinStep=1, format="~s"), title="tokens"),
        color=alt.value(style.BLUE),
        tooltip=[
            alt.Tooltip("class:N"), alt.Tooltip("distinct(token):Q", title="tokens"),
            *style.revision_tooltip(overlay),
        ],
        **({"yOffset": alt.YOffset("rev:N", sort=None)} if overlay else {}),
        **style.revisions(overlay, alt.Opacity),
    )  # fmt: skip
    return alt.layer(bars)
