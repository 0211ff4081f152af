"""docs/growth.svg: time and memory against size, all on log axes."""

import math
from typing import Any

import altair as alt

from benchmarks.growth import ALL, AXES, STAGES, Curves
from core_tokens.pictures import style
from core_tokens.pictures.render import rendered

COLOURS = [
    style.GREEN, "#b8860b", style.BLUE, style.VERMILLION, style.PURPLE, style.GREY, "#c2569b",
]  # fmt: skip
SIDE = 190
LEAST_SECONDS, LEAST_MIB = 1e-3, 0.1
"""Where the axes begin; what is smaller is drawn there."""


def specification(curves: Curves) -> dict[str, Any]:
    """The Vega-Lite specification: a column per axis, seconds above memory."""
    axes = [name for name in AXES if any(p.axis == name for p in curves.points)]
    most_seconds = max(p.cost.seconds for p in curves.points)
    most_mib = max(p.cost.own_bytes for p in curves.points) / 2**20
    panels = [
        _panel(curves, axis, field, title if axis == axes[0] else "", bounds)
        for field, title, bounds in (
            ("seconds", "seconds", (LEAST_SECONDS, 2 * max(most_seconds, LEAST_SECONDS))),
            ("mib", "own memory, MiB", (LEAST_MIB, 2 * max(most_mib, LEAST_MIB))),
        )
        for axis in axes
    ]
    chart = alt.concat(
        *panels, columns=len(axes), spacing=16,
        title=alt.Title("Time and memory against size", subtitle="as steep as the band: linear"),
    )  # fmt: skip
    drawn: dict[str, Any] = chart.configure(**style.config("light")).to_dict()
    return drawn


def growth(curves: Curves) -> bytes:
    """The picture as SVG."""
    return rendered(specification(curves), "svg")


def _panel(
    curves: Curves, axis: str, field: str, title: str, bounds: tuple[float, float]
) -> style.Drawn:
    chosen = [p for p in curves.points if p.axis == axis]
    points = [
        {
            "size": p.size, "of": p.series, "kind": "stage" if p.series in STAGES else "function",
            "seconds": max(p.cost.seconds, LEAST_SECONDS),
            "mib": max(p.cost.own_bytes / 2**20, LEAST_MIB),
        }
        for p in chosen
    ]  # fmt: skip
    least, most = min(p.size for p in chosen), max(p.size for p in chosen)
    x = alt.X(
        "size:Q", title=AXES[axis].title if field == "mib" else None,
        scale=alt.Scale(type="log", nice=False, padding=8),
        axis=alt.Axis(values=_powers(least, most), format="~s"),
    )  # fmt: skip
    y = alt.Y(
        f"{field}:Q", title=title or None, scale=alt.Scale(type="log", domain=bounds, nice=False),
        axis=alt.Axis(values=_powers(*bounds), format="~r"),
    )  # fmt: skip
    colour = alt.Color(
        "of:N", title=None, scale=alt.Scale(domain=list(ALL), range=COLOURS),
        legend=alt.Legend(symbolType="stroke", symbolSize=300, symbolStrokeWidth=3),
    )  # fmt: skip
    dash = alt.StrokeDash(
        "kind:N", title=None,
        scale=alt.Scale(domain=["stage", "function"], range=[[1, 0], [5, 3]]),
        legend=alt.Legend(symbolType="stroke", symbolSize=300, symbolStrokeColor=style.GREY),
    )  # fmt: skip
    base = _of(points).encode(x=x, y=y, color=colour)
    # A line of slope 1 through the lower left, for the eye: as steep is linear.
    most = min(most, int(least * bounds[1] / bounds[0]))
    guide = [{"size": size, field: bounds[0] * size / least} for size in (least, most)]
    linear = _of(guide).mark_line(strokeWidth=6, opacity=0.25, color=style.GREY)
    layers = alt.layer(
        linear.encode(x=x, y=y),
        base.mark_line().encode(strokeDash=dash),
        base.mark_point(size=22, filled=True),
    )
    return layers.properties(width=SIDE, height=SIDE)


def _powers(least: float, most: float) -> list[float]:
    """The powers of ten from one number to another."""
    inside = range(math.ceil(math.log10(least) - 1e-9), math.floor(math.log10(most)) + 1)
    return [10.0**power for power in inside]


def _of(values: list[dict[str, Any]]) -> alt.Chart:
    """A chart of some values, which stand in the specification."""
    return alt.Chart(alt.InlineData(values=values))
