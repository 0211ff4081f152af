"""Are the gaps between values powers of two of the smallest one?"""

import altair as alt

from core_tokens.pictures import style

NUMBERS = ("gaps", "nearest")
TEXTS = ("exponent", "of")
LABEL = "datum.value == 'no power' ? 'other' : slice(datum.value, 2)"
"""Only n: the powers themselves have no room on a phone."""


def chart(table: alt.Chart, *, overlay: bool) -> style.Drawn:
    """Gaps by n, where a gap is 2**n times the smallest of its dimension: core before cluster.

    A mark across a bar counts all gaps nearest to that power of two, exact or not.
    """
    whole = table.transform_calculate(
        order="datum.exponent == 'other' ? 1000 : toNumber(datum.exponent)",
        multiple="datum.exponent == 'other' ? 'no power' : '2^' + datum.exponent",
    )
    channels = {
        "x": alt.X("multiple:N", sort=alt.EncodingSortField("order", op="min"),
                   axis=alt.Axis(labelAngle=0, labelExpr=LABEL),
                   title="n: the gap is 2^n of the smallest of its dimension"),
        "y": alt.Y("gaps:Q", scale=alt.Scale(type="symlog"),
                   axis=alt.Axis(values=[0, 1, 10, 100, 1000, 10000, 100000, 1000000], format=",d"),
                   title="gaps"),
        "color": style.cluster_and_core(),
        "tooltip": [
            alt.Tooltip("of:N", title="of"), alt.Tooltip("multiple:N"),
            alt.Tooltip("gaps:Q"), alt.Tooltip("nearest:Q", title="nearest, exact or not"),
            *style.revision_tooltip(overlay),
        ],
    }  # fmt: skip
    if overlay:  # bars would hide each other
        points = whole.mark_point(strokeWidth=2, size=60, opacity=1).encode(
            **channels, **style.revisions(overlay, alt.Shape)
        )
        return alt.layer(points)
    bars = [
        whole.transform_filter(f"datum.of == '{of}'")
        .mark_bar(opacity=1, width=alt.RelativeBandSize(band=band))
        .encode(**channels)
        for of, band in (("cluster", 0.9), ("core", 0.5))
    ]
    nearest = (
        whole.transform_filter("datum.of == 'cluster' && isValid(datum.nearest)")
        .mark_tick(thickness=2, opacity=1)
        .encode(**{name: value for name, value in channels.items() if name not in ("y", "color")},
                y="nearest:Q")
    )  # fmt: skip
    return alt.layer(*bars, nearest)
