"""Vectors and tokens per whole ulp."""

import altair as alt

from core_tokens.pictures import style

NUMBERS = ("ulp", "vectors", "tokens")
TEXTS = ("part",)


def chart(table: alt.Chart, *, overlay: bool) -> style.Drawn:
    """A bar for each shell that holds something, core and halo coloured; vectors over tokens."""
    height = style.HEIGHT / 2 - 10
    x = alt.X("ulp:O", axis=alt.Axis(labelAngle=0, labelOverlap=True),
              title="distance from the Big One, to the nearest whole ulp")  # fmt: skip
    offset = {"xOffset": alt.XOffset("rev:N", sort=None)} if overlay else {}
    bars = table.mark_bar(opacity=1).encode(
        x=x,
        y=alt.Y("count:Q", axis=alt.Axis(tickCount=4, tickMinStep=1), title=None),
        color=style.parts(),
        tooltip=[
            alt.Tooltip("ulp:Q"), alt.Tooltip("part:N"), alt.Tooltip("vectors:Q"),
            alt.Tooltip("tokens:Q"), *style.revision_tooltip(overlay),
        ],
        **offset,
        **style.revisions(overlay, alt.Opacity),
    )  # fmt: skip
    labels = table.transform_aggregate(
        total="sum(count)", groupby=["ulp", "count_of", *(["rev"] if overlay else [])]
    ).mark_text(baseline="bottom", dy=-2).encode(
        x=x, y="total:Q", text=alt.Text("total:Q", format=","), **offset
    )  # fmt: skip
    both = alt.layer(bars, labels).properties(width=style.WIDTH, height=height)
    facets: alt.FacetChart = both.facet(
        row=alt.Row("count_of:N", sort=["vectors", "tokens"], title=None,
                    header=alt.Header(labelAngle=-90, labelOrient="left"))
    )  # fmt: skip
    folded: alt.FacetChart = facets.transform_fold(["vectors", "tokens"], as_=["count_of", "count"])
    resolved: alt.FacetChart = folded.resolve_scale(y="independent")
    return resolved
