"""What all pictures have in common: colours, sizes, a log axis that shows zero, light and dark."""

from typing import Any, Literal

import altair as alt

Theme = Literal["light", "dark"]
Drawn = alt.LayerChart | alt.FacetChart
"""A picture, before it has data."""

WIDTH, HEIGHT = 520, 300
X_LABEL = "<DVC_METRIC_X_LABEL>"
"""DVC's anchor for the title of an axis that one specification draws in several units."""

# Okabe and Ito's palette, which colour-blind people can tell apart; where it is too pale for a thin
# mark, a darker neighbour. All have a contrast of 3:1 or more with the page, light or dark.
BLUE, VERMILLION, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#9467bd", "#8c8c8c"

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""vl-convert brings the first along, so that text is as wide on every machine."""

INK = {"light": "#24292f", "dark": "#e6e6e6"}
FAINT = {"light": "#d0d7de", "dark": "#3d444d"}
PAGE = {"light": "#ffffff", "dark": "#15191f"}


def config(theme: Theme) -> dict[str, Any]:
    """The Vega-Lite configuration of a page, light or dark."""
    ink, faint = INK[theme], FAINT[theme]
    return {
        "font": FONT,
        "background": PAGE[theme],
        "title": {"color": ink, "anchor": "start", "fontSize": 14, "subtitleColor": ink},
        "axis": {
            "labelColor": ink, "titleColor": ink, "gridColor": faint, "domainColor": faint,
            "tickColor": faint, "gridOpacity": 0.5, "labelSeparation": 6,
            "labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal",
        },
        "header": {"labelColor": ink, "titleColor": ink, "labelFontSize": 12},
        "legend": {
            "labelColor": ink, "titleColor": ink, "orient": "top", "titleFontWeight": "normal",
            "labelFontSize": 11, "titleFontSize": 11, "columns": 8,
            "titleOrient": "left",
        },
        "text": {"color": ink, "fontSize": 11},
        "rule": {"color": ink},
        "tick": {"color": ink},
        "view": {"stroke": faint},
    }  # fmt: skip


def below(pixels: float) -> Any:
    """A place this far below the plot, however high that is."""
    return alt.value(alt.ExprRef(f"height + {pixels}"))


def parts() -> alt.Color:
    """Core and halo, each its colour."""
    scale = alt.Scale(domain=["core", "halo"], range=[BLUE, VERMILLION])
    return alt.Color("part:N", scale=scale, title=None)


def cluster_and_core() -> alt.Color:
    """Cluster and core, each its colour."""
    scale = alt.Scale(domain=["cluster", "core"], range=[GREY, BLUE])
    return alt.Color("of:N", scale=scale, title=None)


def tokens_and_vectors() -> alt.Color:
    """Tokens and vectors, each its colour."""
    scale = alt.Scale(domain=["tokens", "vectors"], range=[GREEN, PURPLE])
    return alt.Color("count_of:N", scale=scale, title=None)


def sizes(field: str, title: str, most: int = 900) -> alt.Size:
    """The area of a point by a count, the same in every picture; a single one is still seen."""
    return alt.Size(
        f"{field}:Q",
        scale=alt.Scale(type="sqrt", domain=[1, 1000], range=[24, most], clamp=True),
        legend=alt.Legend(
            title=title, values=[1, 10, 100, 1000], format="d", symbolFillColor="transparent"
        ),
    )


def revisions(overlay: bool, channel: type[Any]) -> dict[str, Any]:
    """The channel that tells revisions apart, where there are several in one picture."""
    if not overlay:
        return {}
    name = {alt.StrokeDash: "strokeDash", alt.Shape: "shape", alt.Opacity: "opacity"}
    extra: dict[str, Any] = {}
    if channel is alt.Opacity:
        extra["scale"] = alt.Scale(range=[1.0, 0.5, 0.3])
        extra["legend"] = alt.Legend(symbolFillColor=GREY)
    elif channel is alt.StrokeDash:
        extra["legend"] = alt.Legend(symbolType="stroke", symbolSize=300, symbolStrokeColor=GREY)
    return {name[channel]: channel("rev:N", sort=None, title="revision", **extra)}


def with_zero(chart: alt.Chart, zero: str, *fields: str) -> alt.Chart:
    """Add ``FIELD_drawn`` for a log axis: where ``FIELD`` is zero, the value of ``zero``."""
    drawn = {
        f"{field}_drawn": f"datum.{field} > 0 ? +datum.{field} : +datum.{zero}" for field in fields
    }
    added: alt.Chart = chart.transform_calculate(**drawn)
    return added


def log_axis(channel: type[Any], field: str, zero: str, title: str) -> Any:
    """A log axis over ``FIELD_drawn``; ``zero_label`` labels it at its zero."""
    shown = "format(datum.value, datum.value < 1e-3 || datum.value >= 1e5 ? '~e' : '~g')"
    # Of the ticks within a decade 1, 2 and 5: more would push the powers of ten away.
    few = "indexof('125', slice(format(datum.value, '.0e'), 0, 1)) < 0"
    label = f"datum.value < 2 * data('table')[0].{zero} || {few} ? '' : {shown}"
    return channel(
        f"{field}_drawn:Q",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=alt.Axis(labelExpr=label),
        title=title,
    )


def zero_label(chart: alt.Chart, channel: type[Any], zero: str) -> Any:
    """The label 0 where a log axis shows zero."""
    at = channel(f"{zero}:Q")
    one = chart.transform_aggregate(groupby=[zero])
    if channel is alt.X:
        return one.mark_text(baseline="top", text="0").encode(x=at, y=below(7))
    return one.mark_text(align="right", text="0").encode(y=at, x=alt.value(-7))


def revision_tooltip(overlay: bool) -> list[alt.Tooltip]:
    """Which revision a mark is of, where there are several in one picture."""
    return [alt.Tooltip("rev:N", title="revision")] if overlay else []
