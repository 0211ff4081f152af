"""The figures of a report: what is said of a side, in the order of the summary."""

from typing import Any

from core_tokens.report.sides import Side
from core_tokens.summary import UNITS, count, matrix_of

Figures = dict[str, str]
"""Label -> text."""


def figures(side: Side) -> Figures:
    """The figures of one side; those that need a cluster are left out where there is none."""
    measure, core = side.metrics["measure"], side.metrics["core"]
    origin, distance = measure["origin"], measure["distance_ulp"]
    halo, changed = core["halo"], measure["cast"]["changed_tokens"]
    ids = [int(row[0]) for name in ("core", "halo") for row in side.tables[name][1:]]
    populations = [row["population"] for row in side.plots.get("populations", [])]
    found = {}
    if source := side.parameters.get(f"fetch.{side.model}.source"):
        found["source"] = source
    found["matrix"] = matrix_of(measure) + (f" ({changed:,} tokens changed)" if changed else "")
    found["cluster"] = count(measure["tokens"], "token")
    found["unique vectors"] = f"{measure['vectors']:,}"
    if measure["tokens"]:
        found["cluster"] += f", ids {min(ids)} to {max(ids)}"
        found["unique vectors"] += f", populations {min(populations):,} to {max(populations):,}"
        found |= {
            "Big One": f"index {origin['index']}, {count(origin['population'], 'token')} "
            f"(the first is {origin['token']}), norm {origin['norm']:.6f}",
            "ulp": f"2^{measure['ulp_exponent']} = {2.0 ** measure['ulp_exponent']:.6e}",
            "distance": f"mean {distance['mean']:.2f}, median {distance['median']:.2f}, "
            f"max {distance['max']:.2f} ulp; max {measure['distance_steps']['max']:,} steps",
        }
    found["radius"] = f"{core['radius']:g} {UNITS.get(side.ruler, '')}".strip()
    found["core"] = (
        f"{count(core['core']['tokens'], 'token')}, {count(core['core']['vectors'], 'vector')} "
        f"({core['core']['percent']:.2f}%)"
    )
    found["halo"] = f"{count(halo['tokens'], 'token')}, {count(halo['vectors'], 'vector')}"
    return found


PARTS = {
    "shells": "Distance from the Big One",
    "diversity": "Distinct values",
    "quantization": "Gaps between values",
    "cross_section": "Largest variances",
    "adjacency.face": "Neighbours: one step in one dimension",
    "adjacency.linf": "Neighbours: at most one step in every dimension",
}
"""Part of structure.json -> its heading."""
GRAPH = {
    "edges": "pairs",
    "isolated": "vectors without a neighbour",
    "components": "components",
    "largest_component": "vectors in the largest",
    "largest_component_tokens": "tokens in the largest",
    "degree_max": "most neighbours of a vector",
}
STRUCTURE = {
    "shells": {
        "gap_at": "first whole ulp without a vector",
        "whole_percent": "% of vectors near a whole ulp",
        "r90_vectors": "ulp that hold 90% of vectors",
        "r90_tokens": "ulp that hold 90% of tokens",
    },
    "diversity": {
        "constant_dimensions": "dimensions in which all agree",
        "varying_dimensions": "dimensions that vary",
        "distinct_mean": "mean of a dimension",
        "distinct_median": "median of a dimension",
        "distinct_max": "most of a dimension",
        "distinct_max_dimension": "which dimension that is",
    },
    "quantization": {
        "gaps": "gaps",
        "power_of_two_gaps": "2^n times the smallest of a dimension",
        "power_of_two_dimensions": "dimensions in which all are",
        "whole_step_gaps": "whole lattice steps",
    },
    "cross_section": {
        "dimension_x": "dimension of the largest",
        "variance_x": "its variance, in ulp squared",
        "dimension_y": "dimension of the second",
        "variance_y": "its variance, in ulp squared",
        "points": "distinct points in the plane",
    },
    "adjacency.face": GRAPH,
    "adjacency.linf": GRAPH,
}
"""Part of structure.json -> key -> what it is called."""


def structure(side: Side) -> dict[str, tuple[str, str, str]]:
    """Path in structure.json -> label, what it is of the cluster, and of the core."""
    found = side.metrics["structure"]
    rows = {}
    for part, keys in STRUCTURE.items():
        for key, label in keys.items():
            path = f"{part}.{key}"
            say = _name if "dimension_" in key or key.endswith("_dimension") else _number
            cluster, core = (say(_at(found[of], path)) for of in ("cluster", "core"))
            rows[path] = (label, cluster, core)
    return rows


def _at(values: Any, path: str) -> Any:
    for key in path.split("."):
        values = values[key]
    return values


def _name(dimension: float) -> str:
    """The number of a dimension, which is a name; none where there is none."""
    return str(int(dimension)) if dimension >= 0 else "none"


def _number(value: float) -> str:
    """Integers with commas, the rest with four significant digits or all before the point."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"
