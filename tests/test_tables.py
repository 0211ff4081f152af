import csv
import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given
from numpy.typing import NDArray

from core_tokens.clusters import Clustering, find_cluster
from core_tokens.core import Core, core_within
from core_tokens.groups import Groups
from core_tokens.measurements import Measurements, measure
from core_tokens.scan import Within
from core_tokens.tables import (
    cluster_metrics,
    core_metrics,
    csv_text,
    distances_table,
    json_text,
    measure_metrics,
    number,
    populations_table,
    tokens_table,
)
from core_tokens.vocabulary import Token
from strategies import BFLOAT16, any_matrices, cases

Case = tuple[NDArray[Any], NDArray[np.int64]]
LARGEST = 255 * 2.0**120
SHOWN_INFINITY = 3.4028235e38
EMPTY = measure(np.ones((2, 3), BFLOAT16), np.empty(0, np.int64))


def far() -> Measurements:
    """Two vectors; that of the second is infinitely far off in ulp and in L2."""
    return measure(np.array([[-LARGEST] * 2, [LARGEST] * 2]).astype(BFLOAT16), np.arange(2))


def tiny_ulp() -> Measurements:
    """Two tokens of the smallest vector there is, one of the largest."""
    rows = [[2.0**-133] * 2, [LARGEST] * 2, [2.0**-133] * 2]
    return measure(np.array(rows).astype(BFLOAT16), np.arange(3))


def leaves(metrics: Any) -> list[Any]:
    """The values of nested dicts whose keys are text; anything else is a value."""
    if type(metrics) is not dict:
        return [metrics]
    assert metrics
    assert all(type(key) is str for key in metrics)
    return [leaf for value in metrics.values() for leaf in leaves(value)]


def check_metrics(metrics: dict[str, Any]) -> None:
    """Only finite Python numbers in nested dicts, as DVC keeps them, and JSON that agrees."""
    for leaf in leaves(metrics):
        assert type(leaf) in (int, float)
        assert math.isfinite(leaf)
    assert json.loads(json_text(metrics)) == metrics


def core_of(measured: Measurements, radius: float) -> Core:
    return core_within(
        radius, measured.distance_ulp, measured.vector_of_token, measured.token_ids
    )  # fmt: skip


def tensors_of(measured: Measurements) -> dict[str, NDArray[Any]]:
    """What the file of measurements holds of them for the halo."""
    names = ["token_ids", "vector_of_token", "populations"]
    names += ["distance_ulp", "distance_steps", "distance_l2"]
    return {name: getattr(measured, name) for name in names}


def measurements(**fields: Any) -> Measurements:
    """Five vectors of eight tokens, or others."""
    made: dict[str, Any] = {
        "token_ids": np.array([10, 11, 40, 41, 42, 43, 50, 7]),
        "vector_of_token": np.array([0, 1, 2, 2, 2, 3, 3, 4]),
        "vectors": np.array([[3, 4], [6, 8], [3, -4], [0, 0], [0, 1]]).astype(BFLOAT16),
        "populations": np.array([1, 1, 3, 2, 1]),
        "distance_ulp": np.array([0.5, 1.5, 0.0, 2.5, 32.0], np.float32),
        "distance_steps": np.array([3, 2, 0, 2, 1]),
        "distance_l2": np.array([0.001, 0.1, 0.0, 0.25, 3e-05], np.float32),
        "origin": 2,
        "ulp_exponent": -6,
        "changed_tokens": 3,
    }
    return Measurements(**{**made, **fields})


# Numbers and text.


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(2.0**-149)
@example(0.002)
@example(3.4028234663852886e38)
def test_a_float32_has_the_fewest_digits_that_give_it_back(value: float) -> None:
    single = np.float32(value)
    shown = number(single)
    assert type(shown) is float
    assert np.float32(shown) == single
    digits = len(Decimal(repr(shown)).normalize().as_tuple().digits)
    if digits > 1:
        with np.errstate(over="ignore"):
            assert np.float64(f"{value:.{digits - 2}e}").astype(np.float32) != single


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.float32(0.002), 0.002),
        (np.float32(16777216), 16777216.0),
        (np.float32(-0.1), -0.1),
        (np.float64(0.1), 0.1),
        (0.30000000000000004, 0.30000000000000004),
        (3, 3.0),
        (np.float32(math.inf), SHOWN_INFINITY),
        (-math.inf, -SHOWN_INFINITY),
        (np.float64(math.inf), 3.4028234663852886e38),
    ],
)
def test_a_number_is_shown_as_a_finite_float(value: Any, shown: float) -> None:
    assert number(value) == shown
    assert type(number(value)) is float


def test_json_is_sorted_indented_and_ends_in_a_line_end() -> None:
    assert json_text({"b": {"z": 1, "a": 0.5}, "a": 2}) == (
        '{\n  "a": 2,\n  "b": {\n    "a": 0.5,\n    "z": 1\n  }\n}\n'
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_refuses_what_is_not_finite(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"a": {"b": value}})


def test_csv_has_a_header_and_unix_line_ends() -> None:
    assert csv_text(("a", "b"), [(1, "x,y"), (2.5, "")]) == 'a,b\n1,"x,y"\n2.5,\n'
    assert csv_text(("a",), []) == "a\n"


# Metrics: nested dicts of finite numbers, whatever they are of.


@given(cases(), st.sampled_from([16, 32, 64]))
@example((np.array([[LARGEST], [-LARGEST]]).astype(BFLOAT16), np.arange(2)), 16)
def test_metrics_of_any_measurements_are_finite_numbers(case: Case, bits: int) -> None:
    measured = measure(*case)
    check_metrics(measure_metrics(measured, "F16", bits, "lm_head.weight"))
    for radius in (0.0, 3.0, 3.4028234663852886e38):
        check_metrics(core_metrics(core_of(measured, radius)))


@pytest.mark.parametrize("make", [far, tiny_ulp, lambda: EMPTY], ids=["far", "tiny ulp", "empty"])
def test_metrics_of_extreme_measurements_are_finite_numbers(
    make: Callable[[], Measurements],
) -> None:
    measured = make()
    check_metrics(measure_metrics(measured, "BF16", 16, "W"))
    check_metrics(core_metrics(core_of(measured, 1.0)))


@given(any_matrices(), st.sampled_from([1e-30, 0.002, 1.5, 3e38]))
def test_metrics_of_any_clustering_are_finite_numbers(
    matrix: NDArray[Any], threshold: float
) -> None:
    metrics = cluster_metrics(find_cluster(matrix, threshold), matrix, threshold)
    check_metrics(metrics)
    assert metrics["adjacency_threshold"] == threshold


@pytest.mark.parametrize("outside", [math.nan, math.inf])
def test_metrics_of_a_cluster_with_no_measurable_outsider_are_finite_numbers(
    outside: float,
) -> None:
    matrix = np.array([[1.0], [1.0], [outside]], np.float32)
    check_metrics(cluster_metrics(find_cluster(matrix, 0.002), matrix, 0.002))


def test_metrics_of_an_outsider_a_great_many_thresholds_away_are_finite_numbers() -> None:
    matrix = np.array([[1.0], [1.0], [3.0]])
    check_metrics(cluster_metrics(find_cluster(matrix, 5e-324), matrix, 5e-324))


def test_the_metrics_of_a_clustering() -> None:
    groups = Groups(
        np.array([0, 1, 2, 4, 6]), np.array([0, 1, 2, 2, 3, 3, 4, 2]), np.array([1, 1, 3, 2, 1])
    )
    counts = (np.array(numbers) for numbers in ([3, 4], [0, 3], [1, 2]))
    around = Within((1, 16), *counts)
    found = Clustering(groups, np.array([1, 2, 3, 7]), 8, 2, 2, 6, 0.5, around)
    assert cluster_metrics(found, np.zeros((8, 40), np.float16), 0.25) == {
        "adjacency_threshold": 0.25,
        "cast": {"stored_bits": 16, "changed_rows": 6},
        "cluster": {"percent": 50.0, "tokens": 4, "vectors": 2},
        "groups": {"count": 2, "largest": 3, "tokens": 5},
        "matrix": {"dims": 40, "rows": 8, "unique_rows": 5, "zero_rows": 2},
        "nearest_outsider": {"l2": 0.5, "thresholds": 2.0},
        "within": {
            "ulp": {"0001": 3, "0016": 4},
            "steps": {"0001": 0, "0016": 3},
            "l2_in_ulp": {"0001": 1, "0016": 2},
        },
    }


def test_the_metrics_of_measurements() -> None:
    assert measure_metrics(measurements(), "F32", 32, "lm_head.weight") == {
        "tokens": 8,
        "vectors": 5,
        "ulp_exponent": -6,
        "origin": {"index": 2, "population": 3, "token": 40, "norm": 5.0},
        "cast": {"stored_bits": 32, "measured_bits": 16, "changed_tokens": 3},
        "matrix": {
            "dtype": {"F32": 32},
            "measured": {"BF16": 16},
            "tensor": {"lm_head.weight": 1},
        },
        "distance_ulp": {"max": 32.0, "mean": 7.3, "median": 1.5},
        "distance_steps": {"max": 3, "mean": 1.6, "median": 2},
        "distance_l2_in_ulp": {
            "max": 16.0,
            "mean": pytest.approx((0.064 + 6.4 + 16 + 0.00192) / 5, rel=1e-7),
            "median": 0.064,
        },
    }


def test_the_metrics_of_no_measurements_are_zeros() -> None:
    nothing = {"max": 0, "mean": 0.0, "median": 0.0}
    assert measure_metrics(EMPTY, "BF16", 16, "W") == {
        "tokens": 0,
        "vectors": 0,
        "ulp_exponent": -133,
        "origin": {"index": -1, "population": 0, "token": -1, "norm": 0.0},
        "cast": {"stored_bits": 16, "measured_bits": 16, "changed_tokens": 0},
        "matrix": {"dtype": {"BF16": 16}, "measured": {"BF16": 16}, "tensor": {"W": 1}},
        "distance_ulp": nothing,
        "distance_steps": nothing,
        "distance_l2_in_ulp": nothing,
    }


def test_the_metrics_of_a_core() -> None:
    core = Core(np.array([3, 1, 4]), np.array([5]), 2, 1, np.float32(0.1))
    assert core_metrics(core) == {
        "radius": 0.1,
        "core": {"tokens": 3, "vectors": 2, "percent": 75.0},
        "halo": {"tokens": 1, "vectors": 1},
    }


def test_the_metrics_of_an_empty_core_are_zeros() -> None:
    assert core_metrics(core_of(EMPTY, 3.0)) == {
        "radius": 3.0,
        "core": {"tokens": 0, "vectors": 0, "percent": 0.0},
        "halo": {"tokens": 0, "vectors": 0},
    }


# The tables of core and halo, and of the tokens that were measured.

COLUMNS = "token,distance_ulp,distance_steps,distance_l2,population,class,text\n"
HALO = np.array([11, 43, 50, 7])
TEXTS = {
    11: Token("ordinary", ' "the", or'),
    43: Token("byte", r"\xE4"),
    7: Token("padding", None),
}


def test_a_table_of_distances_lists_tokens_under_every_ruler() -> None:
    assert distances_table(HALO, tensors_of(measurements()), {}) == (
        f"{COLUMNS}11,1.5,2,0.1,1,,\n43,2.5,2,0.25,2,,\n50,2.5,2,0.25,2,,\n7,32,1,3e-05,1,,\n"
    )


def test_a_table_of_distances_says_which_tokens_they_are_as_far_as_it_is_known() -> None:
    table = distances_table(HALO, tensors_of(measurements()), TEXTS)
    assert table == (
        f"{COLUMNS}"
        '11,1.5,2,0.1,1,ordinary," ""the"", or"\n'
        "43,2.5,2,0.25,2,byte,\\xE4\n"
        "50,2.5,2,0.25,2,,\n"
        "7,32,1,3e-05,1,padding,\n"
    )
    assert [row["text"] for row in csv.DictReader(table.splitlines())] == [
        ' "the", or', r"\xE4", "", "",
    ]  # fmt: skip


def test_a_table_of_no_tokens_is_its_columns() -> None:
    for measured in (measurements(), EMPTY):
        assert distances_table(np.empty(0, np.int64), tensors_of(measured), TEXTS) == COLUMNS


def test_an_infinite_distance_in_a_table_is_the_largest_float32() -> None:
    table = distances_table(np.array([1]), tensors_of(far()), {})
    assert table.splitlines()[1:] == ["1,3.4028235e+38,65278,3.4028235e+38,1,,"]


def test_the_table_of_tokens_holds_those_that_were_measured() -> None:
    known = [Token("special", "<s>"), Token("ordinary", " a,b"), Token("padding", None)]
    ids = np.array([2, 0, 1])
    assert (
        tokens_table(ids, known)
        == 'token,class,text\n2,padding,\n0,special,<s>\n1,ordinary," a,b"\n'
    )
    assert tokens_table(ids[:0], known) == "token,class,text\n"
    assert tokens_table(ids, []) == "token\n"


def test_counts_by_class_stand_beside_the_sizes_where_they_are_known() -> None:
    matrix = np.array([[1.0], [1.0], [3.0]])
    found = find_cluster(matrix, 0.5)
    vocab, cluster = {"ordinary": 3, "byte": 0}, {"ordinary": 2, "byte": 0}
    metrics = cluster_metrics(found, matrix, 0.5, vocab, cluster)
    assert metrics["matrix"]["classes"] == vocab
    assert metrics["cluster"]["classes"] == cluster
    core = core_metrics(Core(np.array([3]), np.array([5]), 1, 1, np.float32(1)), {"byte": 1}, {})
    assert core["core"]["classes"] == {"byte": 1}
    assert "classes" not in core["halo"]


# Populations.


def test_populations_are_the_groups_of_two_or_more_the_largest_first() -> None:
    rows = [5, 7, 1, 1, 7, 1, 9, 1, 8, 8, 1.25, 5]
    matrix = np.array(rows, np.float32)[:, None]
    found = find_cluster(matrix, 0.5)
    assert found.token_ids.tolist() == [2, 3, 5, 7, 10]
    assert populations_table(found) == (
        "rank,population,in_cluster,first_tokens\n"
        "1,4,1,2 3 5\n"
        "2,2,0,0 11\n"  # of equals the one seen first
        "3,2,0,1 4\n"
        "4,2,0,8 9\n"
    )


def test_without_identical_rows_there_are_no_populations() -> None:
    matrix = np.array([[1.0], [2.0], [4.0]])
    assert populations_table(find_cluster(matrix, 1.5)) == (
        "rank,population,in_cluster,first_tokens\n"
    )


@given(any_matrices())
def test_populations_are_the_groups_of_identical_rows(matrix: NDArray[Any]) -> None:
    found = find_cluster(matrix, 0.5)
    members: dict[tuple[float, ...], list[int]] = {}
    for token, row in enumerate(matrix.astype(np.float64).tolist()):
        members.setdefault(tuple(value + 0.0 for value in row), []).append(token)
    shared = sorted((m for m in members.values() if len(m) > 1), key=lambda m: (-len(m), m[0]))
    expected = [
        f"{rank},{len(m)},{int(m[0] in found.token_ids)},{' '.join(map(str, m[:3]))}"
        for rank, m in enumerate(shared, start=1)
    ]
    assert populations_table(found).splitlines()[1:] == expected
