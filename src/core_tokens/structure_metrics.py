"""structure.json: the structure of cluster and core in numbers that DVC compares."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import numpy as np

from core_tokens.tables import Metrics, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core_tokens.structure.adjacency import Graph
    from core_tokens.structure.analysis import Analysis, Structure
    from core_tokens.structure.tokens import Kinds


def structure_metrics(
    found: Analysis, ulp_exponent: int, kinds: Mapping[str, Kinds] | None
) -> Metrics:
    """structure.json: cluster and core side by side.

    Args:
        found: what was found.
        ulp_exponent: log2 of the ulp, in whose square the variances are written.
        kinds: of the tokens of "cluster" and "core", None where their text is unknown.
    """
    metrics = {}
    for part, structure in (("cluster", found.cluster), ("core", found.core)):
        metrics[part] = _structure(structure, ulp_exponent)
        if kinds:
            known = kinds[part]
            metrics[part]["tokens"] = {"classes": known.classes, "scripts": known.scripts}
    return metrics


def _structure(found: Structure, ulp_exponent: int) -> Metrics:
    distinct = found.diversity.distinct.tolist()
    x, y = found.cross_section.dimensions
    with np.errstate(over="ignore"):
        variances = np.ldexp(found.cross_section.variances, -2 * ulp_exponent)
    return {
        "shells": {
            "gap_at": found.shells.gap_at,
            "whole_percent": found.shells.whole_percent,
            "r90_vectors": number(found.shells.r90_vectors),
            "r90_tokens": number(found.shells.r90_tokens),
        },
        "diversity": {
            "constant_dimensions": found.diversity.constant_dimensions,
            "varying_dimensions": found.diversity.varying_dimensions,
            "distinct_mean": statistics.fmean(distinct) if distinct else 0.0,
            "distinct_median": float(statistics.median(distinct)) if distinct else 0.0,
            "distinct_max": max(distinct, default=0),
            "distinct_max_dimension": found.diversity.distinct_max_dimension,
        },
        "quantization": {
            "gaps": found.quantization.gaps,
            "power_of_two_gaps": found.quantization.power_of_two_gaps,
            "power_of_two_dimensions": found.quantization.power_of_two_dimensions,
            "whole_step_gaps": found.quantization.whole_step_gaps,
        },
        "cross_section": {
            "dimension_x": x,
            "dimension_y": y,
            "variance_x": number(variances[0]),
            "variance_y": number(variances[1]),
            "points": len(found.cross_section.points),
        },
        "adjacency": {
            "face": _graph(found.adjacency.face),
            "linf": _graph(found.adjacency.linf),
        },
    }


def _graph(graph: Graph) -> Metrics:
    largest = graph.largest
    return {
        "edges": len(graph.edges),
        "isolated": graph.isolated,
        "components": len(graph.sizes),
        "largest_component": int(graph.sizes[largest]) if largest >= 0 else 0,
        "largest_component_tokens": int(graph.tokens[largest]) if largest >= 0 else 0,
        "degree_max": int(graph.degrees.max(initial=0)),
    }
