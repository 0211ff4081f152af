import math
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given

from core_tokens.measurements import Measurements, measure
from core_tokens.structure.tokens import kinds
from core_tokens.structure_metrics import structure_metrics
from core_tokens.tables import json_text
from strategies import BFLOAT16, cases
from structures import EMPTY, EXTREME, LARGEST, TEXTS, Cluster, example_of, five, tensors_of


def test_the_metrics_of_the_example() -> None:
    assert structure_metrics(example_of(five()).found, -7, None) == {
        "cluster": {
            "shells": {
                "gap_at": 3,
                "whole_percent": 60.0,  # 1, 0 and 4 of 1, 0, 2.5, 1.25, 4
                "r90_vectors": 4.0,
                "r90_tokens": 2.5,  # 9 of 10
            },
            "diversity": {
                "constant_dimensions": 1,
                "varying_dimensions": 2,
                "distinct_mean": 7 / 3,  # of 3, 3, 1
                "distinct_median": 3.0,
                "distinct_max": 3,
                "distinct_max_dimension": 0,
            },
            "quantization": {
                "gaps": 4,
                "power_of_two_gaps": 3,
                "power_of_two_dimensions": 1,
                "whole_step_gaps": 4,
            },
            "cross_section": {
                "dimension_x": 0,
                "dimension_y": 1,
                "variance_x": 3.0,  # of 0, 0, 0, 1, 4
                "variance_y": 1.2,  # of 0, 1, 3, 1, 1
                "points": 5,
            },
            "adjacency": {
                "face": {
                    "edges": 2,
                    "isolated": 2,
                    "components": 3,
                    "largest_component": 3,
                    "largest_component_tokens": 8,
                    "degree_max": 2,
                },
                "linf": {
                    "edges": 3,
                    "isolated": 2,
                    "components": 3,
                    "largest_component": 3,
                    "largest_component_tokens": 8,
                    "degree_max": 2,
                },
            },
        },
        "core": {
            "shells": {
                "gap_at": 3,
                "whole_percent": pytest.approx(200 / 3),
                "r90_vectors": 2.5,
                "r90_tokens": 2.5,
            },
            "diversity": {
                "constant_dimensions": 2,
                "varying_dimensions": 1,
                "distinct_mean": 5 / 3,
                "distinct_median": 1.0,
                "distinct_max": 3,
                "distinct_max_dimension": 1,
            },
            "quantization": {
                "gaps": 2,
                "power_of_two_gaps": 2,
                "power_of_two_dimensions": 1,
                "whole_step_gaps": 2,
            },
            "cross_section": {
                "dimension_x": 1,
                "dimension_y": 0,
                "variance_x": 2.3333333,  # of 0, 1, 3, as a float32
                "variance_y": 0.0,
                "points": 3,
            },
            "adjacency": {
                graph: {
                    "edges": 1,
                    "isolated": 1,
                    "components": 2,
                    "largest_component": 2,
                    "largest_component_tokens": 5,
                    "degree_max": 1,
                }
                for graph in ("face", "linf")
            },
        },
    }


def test_the_metrics_count_tokens_by_class_and_script_where_they_are_known() -> None:
    parts = {
        "cluster": kinds([TEXTS[20], TEXTS[7], TEXTS[5], TEXTS[40]]),
        "core": kinds([TEXTS[20], TEXTS[7]]),
        "halo": kinds([TEXTS[5], TEXTS[40]]),
    }
    found = example_of(five()).found
    metrics = structure_metrics(found, -7, parts)
    assert metrics["cluster"].pop("tokens") == {
        "classes": {"byte": 1, "ordinary": 2, "padding": 1},
        "scripts": {"Han": 1, "Latin": 1},
    }
    assert metrics["core"].pop("tokens") == {
        "classes": {"byte": 1, "ordinary": 1}, "scripts": {"Latin": 1},
    }  # fmt: skip
    assert metrics == structure_metrics(found, -7, None)


KEYS = {
    "shells": {"gap_at", "whole_percent", "r90_vectors", "r90_tokens"},
    "diversity": {
        "constant_dimensions", "varying_dimensions", "distinct_mean", "distinct_median",
        "distinct_max", "distinct_max_dimension",
    },
    "quantization": {
        "gaps", "power_of_two_gaps", "power_of_two_dimensions", "whole_step_gaps",
    },
    "cross_section": {"dimension_x", "dimension_y", "variance_x", "variance_y", "points"},
    "adjacency": {"face", "linf"},
}  # fmt: skip
GRAPH = {
    "edges", "isolated", "components", "largest_component", "largest_component_tokens",
    "degree_max",
}  # fmt: skip


def leaves(metrics: Any) -> Iterator[Any]:
    """The values of nested dicts whose keys are text; anything else is a value."""
    if type(metrics) is not dict:
        yield metrics
        return
    assert metrics
    assert all(type(key) is str for key in metrics)
    for value in metrics.values():
        yield from leaves(value)


def check_metrics(metrics: dict[str, Any]) -> None:
    """The keys there are and no others, each with a finite number, as DVC keeps them."""
    assert metrics.keys() == {"cluster", "core"}
    for part in metrics.values():
        assert {name: set(values) for name, values in part.items()} == KEYS
        assert all(set(graph) == GRAPH for graph in part["adjacency"].values())
    for leaf in leaves(metrics):
        assert type(leaf) in (int, float)
        assert math.isfinite(leaf)
    assert json_text(metrics).startswith("{\n")


@given(cases(), st.sampled_from([0.0, 3.0, 3.4028234663852886e38]))
@example((np.array([[LARGEST], [-LARGEST]]).astype(BFLOAT16), np.arange(2)), 0.0)
def test_the_metrics_of_any_measurements_are_finite_numbers(
    cluster: Cluster, radius: float
) -> None:
    measured = measure(*cluster)
    found = example_of(tensors_of(measured), "ulp", radius).found
    check_metrics(structure_metrics(found, measured.ulp_exponent, None))


@pytest.mark.parametrize("make", EXTREME.values(), ids=EXTREME)
def test_the_metrics_of_extreme_measurements_are_finite_numbers(
    make: Callable[[], Measurements],
) -> None:
    measured = make()
    found = example_of(tensors_of(measured)).found
    check_metrics(structure_metrics(found, measured.ulp_exponent, None))


def test_the_metrics_of_an_empty_cluster_are_zeros_and_no_dimensions() -> None:
    metrics = structure_metrics(example_of(tensors_of(EMPTY)).found, -133, None)
    check_metrics(metrics)
    assert metrics["cluster"] == metrics["core"]
    for name, values in metrics["core"].items():
        for key, value in values.items():
            if name == "adjacency":
                assert set(value.values()) == {0}
            else:
                assert value == (-1 if "dimension" in key.split("_") else 0), key
