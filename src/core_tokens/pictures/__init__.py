"""The pictures of a model: one Vega-Lite specification each, for DVC, for files and for the report.

A picture is drawn from the table of its name in ``data/MODEL/plots``, and from nothing else.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import altair as alt

from core_tokens.pictures import (
    adjacency,
    arrivals,
    cross_section,
    curve,
    diversity,
    growth,
    kinds,
    overlap,
    populations,
    quantization,
    rulers,
    shells,
    style,
)

VEGA_LITE = "6.4"
"""The version of Vega-Lite that all of this is drawn by; Altair writes specifications for it."""
TABLE = "table"
"""The name of the data in every specification."""


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        title: what it shows.
        reading: what a person can read in it.
        kind: the module that draws it.
        x_label: the title of its x axis, where the kind leaves it open.
    """

    title: str
    reading: str
    kind: ModuleType
    x_label: str = ""


PICTURES: Mapping[str, Picture] = {
    "curve_ulp": Picture(
        "The core at every radius, in ulp",
        "Tokens and vectors that a radius keeps; the dashed line is the radius in use. Where "
        "the lines run flat, the radius does not matter.",
        curve,
        "radius in ulp",
    ),
    "curve_steps": Picture(
        "The core at every radius, in steps",
        "The same under the ruler of lattice steps, each dimension by its own spacing.",
        curve,
        "radius in lattice steps",
    ),
    "curve_l2": Picture(
        "The core at every radius, in L2",
        "The same for the Euclidean distance.",
        curve,
        "radius in L2",
    ),
    "shells": Picture(
        "Vectors and tokens per whole ulp",
        "By the distance from the Big One, to the nearest whole ulp. After the first gap come "
        "the outliers.",
        shells,
    ),
    "populations": Picture(
        "Tokens that share a vector",
        "The distinct vectors, the most populated first. A label is the first token of a "
        "group, its text where that is known.",
        populations,
    ),
    "rulers": Picture(
        "Two rulers",
        "One point per distinct vector; beyond the dashed line, the radius in use, is halo. "
        "Far to the right but low: some component crosses zero. High but far to the left: one "
        "coarse step.",
        rulers,
    ),
    "diversity": Picture(
        "Distinct values of a dimension",
        "How many dimensions take how many values. One value: all vectors agree. The most are "
        "taken near zero, where the lattice is finest.",
        diversity,
    ),
    "quantization": Picture(
        "Gaps as multiples of the smallest",
        "Gaps between neighbouring values of a dimension, in multiples of its smallest: a bar "
        "counts exact powers of two, a mark all gaps of the cluster nearest to that power.",
        quantization,
    ),
    "cross_section": Picture(
        "The two dimensions that vary most",
        "Vectors that agree in both dimensions are one point, as large as its tokens.",
        cross_section,
    ),
    "adjacency": Picture(
        "Neighbours on the lattice",
        "Two vectors are joined where no component differs by more than one step; a heavy "
        "line is a single step in a single dimension. Below, the vectors without a neighbour.",
        adjacency,
    ),
    "kinds": Picture(
        "Classes and scripts of the tokens",
        "What the tokens are, where their text is known.",
        kinds,
    ),
}

SURVEY_PICTURES: Mapping[str, Picture] = {
    "sizes": Picture(
        "Cluster and core, checkpoint by checkpoint",
        "How many tokens, in how many distinct vectors, and the radius that 90% of them are "
        "within. Vectors that become fewer while the tokens stay: what lay close has become "
        "one.",
        growth,
    ),
    "arrivals": Picture(
        "Who enters the core, and who leaves",
        "A line across for every token, the first to come on top; tokens with the same history "
        "are one band. Where a band ends, its tokens left; where it goes on after a gap, they "
        "came back.",
        arrivals,
    ),
    "overlap": Picture(
        "Tokens that two cores share",
        "A square for every two checkpoints: the tokens in both cores, of those in either. "
        "Crossed out: the two cannot be compared.",
        overlap,
    ),
}
"""The pictures of many checkpoints side by side, the tables of which are those of a survey."""


def specification(
    name: str, rows: Iterable[Mapping[str, Any]], theme: style.Theme, title: str = ""
) -> dict[str, Any]:
    """The Vega-Lite specification of one picture of one model, or of one survey.

    Args:
        name: one of ``PICTURES`` or of ``SURVEY_PICTURES``.
        rows: of its table, as text or as numbers.
        theme: of the page.
        title: above it, if any.
    """
    picture = {**PICTURES, **SURVEY_PICTURES}[name]
    spec = _specification(picture.kind, list(rows), theme, title, overlay=False)
    for layer in spec.get("layer", []):
        x = layer.get("encoding", {}).get("x", {})
        if x.get("title") == style.X_LABEL:
            x["title"] = picture.x_label
    return spec


def template(kind: ModuleType) -> dict[str, Any]:
    """The same picture as a template of DVC: one over all revisions, the column ``rev``."""
    return _specification(kind, "<DVC_METRIC_DATA>", "light", "<DVC_METRIC_TITLE>", overlay=True)


def _specification(
    kind: ModuleType, values: Any, theme: style.Theme, title: str, *, overlay: bool
) -> dict[str, Any]:
    draw: Callable[..., alt.TopLevelMixin] = kind.chart
    spec: dict[str, Any] = draw(alt.Chart(alt.NamedData(TABLE)), overlay=overlay).to_dict()
    if "facet" not in spec:
        spec = {"width": style.WIDTH, "height": style.HEIGHT} | spec
    parse = dict.fromkeys(kind.NUMBERS, "number")
    spec["data"] = {"name": TABLE, "values": values, "format": {"type": "json", "parse": parse}}
    spec["config"] = style.config(theme)
    return {"title": title, **spec} if title else spec
