import csv
import io
import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given

from core_tokens.survey import tables
from core_tokens.survey.histories import Members
from core_tokens.survey.tables import (
    COLUMNS,
    Point,
    Totals,
    core_size,
    labels,
    picked,
    places,
    said,
)
from core_tokens.tables import json_text

Cluster = dict[int, bool]
"""Token -> whether it is core."""
clusters = st.dictionaries(st.integers(0, 9), st.booleans(), max_size=10)


def members(
    cluster: Cluster, vocabulary: str = "", words: Sequence[str | None] | None = None
) -> Members:
    ids = sorted(cluster)
    return Members(
        np.array(ids, np.int64), np.array([cluster[token] for token in ids], bool), vocabulary, 10,
        None if words is None else [words[token] for token in ids],
    )  # fmt: skip


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def points(count: int) -> list[tuple[str, int | None]]:
    return [(f"step{at}", at) for at in range(count)]


# ---- which checkpoints ------------------------------------------------------------------------


@given(st.integers(0, 3000), st.integers(2, 500))
@example(500, 500)
@example(501, 500)
def test_what_is_picked_is_spread_evenly_the_ends_among_it(count: int, most: int) -> None:
    found = picked(count, most)
    assert len(found) == min(count, most)
    assert found == sorted(set(found))
    if count:
        assert (found[0], found[-1]) == (0, count - 1)
    if count > most:
        gaps = np.diff(found)
        assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(
    ("steps", "at"),
    [
        ([], []), ([5], [0]), ([None], [0]), ([0, 10], [0, 10]), ([0, 10, 50], [0, 10, 50]),
        ([0, 10, 51], [0, 1, 2]), ([0, 10, 20, 20], [0, 1, 2, 3]), ([10, 0], [0, 1]),
        ([0, 10, None], [0, 1, 2]), ([1, 2, 4, 8], [1, 2, 4, 8]), ([1, 2, 4, 9], [0, 1, 2, 3]),
    ],
)  # fmt: skip
def test_checkpoints_are_drawn_at_their_steps_where_these_are_spread_evenly(
    steps: list[int | None], at: list[float]
) -> None:
    assert places(steps) == at
    assert all(type(place) is float for place in places(steps))


@given(st.lists(st.none() | st.integers(0, 10**6), max_size=9))
def test_places_run_from_left_to_right(steps: list[int | None]) -> None:
    found = places(steps)
    assert len(found) == len(steps)
    assert all(one < other for one, other in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([], []),
        (["a/b/c"], ["c"]),
        (["W.safetensors"], ["W.safetensors"]),
        (["run/step1/W", "run/step2/W"], ["step1", "step2"]),
        (["hf://org/a@main", "hf://org/b@main"], ["a", "b"]),
        (["hf://org/a@x", "hf://org/a@y"], ["x", "y"]),
        (["run/1", "run/1/2"], ["1", "1/2"]),
        (["same", "same"], ["same", "same"]),
        (["a", "b/c"], ["a", "b/c"]),
        (["run.h5[0]", "run.h5[1]"], ["[0]", "[1]"]),
        (["a/run.h5[0]", "a/run.h5[10]", "a/run.h5"], ["run.h5[0]", "run.h5[10]", "run.h5"]),
        (["x/run.h5[3]", "y/run.h5[3]"], ["x", "y"]),
    ],
)
def test_names_are_cut_to_what_tells_them_apart(names: list[str], shown: list[str]) -> None:
    assert labels([(name, None) for name in names]) == shown


def test_checkpoints_are_called_by_their_steps_if_all_have_one() -> None:
    assert labels([("a/1", 1), ("a/2", 20)]) == ["1", "20"]
    assert labels([("a/1", 1), ("a/2", None)]) == ["1", "2"]


@pytest.mark.parametrize("steps", [(1, 1), (2, 1), (0, 0)])
def test_steps_that_do_not_grow_tell_no_checkpoints_apart(steps: tuple[int, int]) -> None:
    assert labels([("a/x", steps[0]), ("a/y", steps[1])]) == ["x", "y"]


@given(st.lists(st.text("ab/@", min_size=1, max_size=6), min_size=1, max_size=5, unique=True))
def test_different_names_stay_different_but_for_what_ends_them(names: list[str]) -> None:
    shown = labels([(name, None) for name in names])
    assert len(shown) == len(names)
    ends = {name.rstrip("/@") for name in names}
    if len(ends) == len(names):
        assert len(set(shown)) == len(names)
    assert all(part in name for part, name in zip(shown, names, strict=True))


# ---- sizes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ruler", "radius", "name", "words"),
    [
        ("ulp", 3.0, "core_ulp_3", "core within 3 ulp"),
        ("steps", 0.5, "core_steps_0.5", "core within 0.5 steps"),
        ("l2", 1e-5, "core_l2_1e-05", "core within 1e-05 (L2)"),
    ],
)
def test_what_a_core_is_called(ruler: str, radius: float, name: str, words: str) -> None:
    assert core_size(ruler, radius) == name
    assert said(name) == words


def test_what_the_other_sizes_are_called() -> None:
    assert [said(size) for size in ("cluster_tokens", "r90_tokens")] == [
        "cluster tokens", "r90 tokens",
    ]  # fmt: skip


def test_each_size_of_each_checkpoint_is_a_row_at_its_place() -> None:
    some = [
        Point("run/0", 0, {("tokens", "cluster"): 12, ("radius", "cluster"): 1.5}),
        Point("run/10", 10, {("tokens", "cluster"): 7, ("radius", "cluster"): 2.0}),
    ]
    text = tables.sizes_table(some)
    assert text.splitlines()[0] == ",".join(COLUMNS["sizes"])
    values = [row for row in rows_of(text) if row["kind"] == "value"]
    assert [list(row.values())[1:7] for row in values] == [
        ["0", "tokens", "cluster", "12", "run/0", "0"],
        ["0", "radius", "cluster", "1.5", "run/0", "0"],
        ["10", "tokens", "cluster", "7", "run/10", "10"],
        ["10", "radius", "cluster", "2", "run/10", "10"],
    ]
    ticks = [row for row in rows_of(text) if row["kind"] == "tick"]
    assert [(row["x"], row["label"]) for row in ticks] == [("0", "0"), ("10", "10")]


def test_a_step_that_is_not_known_is_empty() -> None:
    (row, _) = rows_of(tables.sizes_table([Point("a/b", None, {("tokens", "cluster"): 1})]))
    assert (row["step"], row["x"]) == ("", "0")


@given(st.integers(1, 300))
def test_ticks_are_few_begin_with_the_first_and_are_named_as_the_checkpoints(count: int) -> None:
    for text, columns in (
        (tables.sizes_table([Point(name, step, {}) for name, step in points(count)]), "sizes"),
        (tables.arrivals_table(points(count), [members({})] * count), "arrivals"),
    ):
        assert text.splitlines()[0] == ",".join(COLUMNS[columns])
        ticks = [row for row in rows_of(text) if row["kind"] == "tick"]
        assert min(count, 4) <= len(ticks) <= tables.TICKS
        assert ticks[0]["x"] == "0"
        assert all(row["x"] == row["label"] for row in ticks)
        gaps = np.diff([int(row["x"]) for row in ticks])
        assert len(set(gaps.tolist())) <= 1


@pytest.mark.parametrize("table", [tables.arrivals_table, tables.overlap_table])
def test_of_no_checkpoints_there_are_only_columns(table: Any) -> None:
    assert table([], []).count("\n") == 1
    assert tables.sizes_table([]).count("\n") == 1


# ---- arrivals ---------------------------------------------------------------------------------


@given(st.lists(clusters, min_size=1, max_size=5))
def test_the_rectangles_cover_each_token_at_each_checkpoint_once(some: list[Cluster]) -> None:
    text = tables.arrivals_table(points(len(some)), [members(cluster) for cluster in some])
    cells: dict[tuple[int, int], str] = {}
    first_of_row = {}
    for row in rows_of(text):
        if row["kind"] != "run":
            continue
        assert int(row["tokens"]) == int(row["y2"]) - int(row["y"])
        first_of_row[int(row["y"])] = int(row["first_token"])
        assert row["first"] == f"step{math.ceil(float(row['x']))}"
        assert row["last"] == f"step{math.floor(float(row['x2']))}"
        for x in range(math.ceil(float(row["x"])), math.floor(float(row["x2"])) + 1):
            for y in range(int(row["y"]), int(row["y2"])):
                assert (x, y) not in cells
                cells[x, y] = row["state"]
    height = len({token for cluster in some for token in cluster})
    assert {y for _, y in cells} == set(range(height))
    for at, cluster in enumerate(some):
        column = [state for (x, _), state in cells.items() if x == at]
        assert column.count("core") == sum(cluster.values())
        assert column.count("halo") == len(cluster) - sum(cluster.values())
    for y, token in first_of_row.items():
        for at, cluster in enumerate(some):
            state = {True: "core", False: "halo", None: None}[cluster.get(token)]
            assert cells.get((at, y)) == state


def test_a_band_shows_the_texts_of_its_first_tokens() -> None:
    words: list[str | None] = [f"w{token}" for token in range(9)] + [None]
    some = [members(dict.fromkeys(range(8), True) | {8: False, 9: False}, "v", words)]
    core, halo = (row for row in rows_of(tables.arrivals_table(points(1), some))
                  if row["kind"] == "run")  # fmt: skip
    assert (core["text"], core["first_token"]) == ("w0 w1 w2 w3 w4 …", "0")
    assert (halo["text"], halo["first_token"]) == ("w8", "8")


def test_without_texts_none_are_shown_and_by_text_there_is_no_first_token() -> None:
    some = [members(dict.fromkeys(range(8), True))]
    assert rows_of(tables.arrivals_table(points(1), some))[0]["text"] == ""
    words = [f"w{token}" for token in range(10)]
    both = [members({1: True}, "v", words), members({1: True}, "w", words)]
    row = rows_of(tables.arrivals_table(points(2), both))[0]
    assert (row["text"], row["first_token"]) == ("w1", "")


def test_of_vocabularies_that_cannot_be_compared_the_most_alike_are_drawn() -> None:
    some = [members({1: True}, ""), members({2: True}, "v", ["x"] * 10), members({3: True}, "")]
    found = rows_of(tables.arrivals_table(points(3), some))
    runs = [row for row in found if row["kind"] == "run"]
    assert [(row["first"], row["last"], row["first_token"]) for row in runs] == [
        ("step0", "step0", "1"), ("step2", "step2", "3"),
    ]  # fmt: skip
    assert [(row["x"], row["x2"]) for row in runs] == [("-0.5", "0.5"), ("0.5", "1.5")]
    ticks = [(row["x"], row["label"]) for row in found if row["kind"] == "tick"]
    assert ticks == [("0", "0"), ("1", "2")]


@pytest.mark.parametrize(
    ("most", "kept"), [(4, [1, 3, 2, 2]), (3, [3, 2, 2]), (2, [3, 2]), (1, [3])]
)
def test_of_too_many_histories_those_of_the_most_tokens_are_shown(
    monkeypatch: pytest.MonkeyPatch, most: int, kept: list[int]
) -> None:
    # 1 token in all checkpoints, 3 from the second on, 2 from the third, 2 in the last.
    some: list[Cluster] = [
        {0: True}, dict.fromkeys(range(4), True), dict.fromkeys(range(6), True),
        dict.fromkeys(range(8), True),
    ]  # fmt: skip
    monkeypatch.setattr(tables, "MOST_BANDS", most)
    text = tables.arrivals_table(points(4), [members(cluster) for cluster in some])
    runs = [row for row in rows_of(text) if row["kind"] == "run"]
    assert [int(row["tokens"]) for row in runs] == kept
    assert int(runs[-1]["y2"]) == sum(kept)


# ---- overlaps ---------------------------------------------------------------------------------


@given(st.lists(clusters, min_size=1, max_size=4))
def test_each_two_checkpoints_have_a_square(some: list[Cluster]) -> None:
    text = tables.overlap_table(points(len(some)), [members(cluster) for cluster in some])
    squares = {}
    for row in rows_of(text):
        if row["kind"] == "cell":
            x, y = (round(float(row[axis]) + 0.5) for axis in "xy")
            assert (float(row["x2"]), float(row["y2"])) == (x + 0.5, y + 0.5)
            assert (row["a"], row["b"]) == (f"step{x}", f"step{y}")
            squares[x, y] = row
    assert len(squares) == len(some) ** 2
    for (x, y), row in squares.items():
        a, b = ({token for token, core in some[at].items() if core} for at in (x, y))
        assert (int(row["both"]), int(row["either"])) == (len(a & b), len(a | b))
        assert row["jaccard"] == squares[y, x]["jaccard"]
        if a | b:
            assert float(row["jaccard"]) == len(a & b) / len(a | b)
        else:
            assert row["jaccard"] == ""


def test_what_cannot_be_compared_has_an_empty_square() -> None:
    both = [members({1: True}, "v", ["x"] * 10), members({1: True}, "")]
    cells = [row for row in rows_of(tables.overlap_table(points(2), both)) if row["kind"] == "cell"]
    assert [(row["jaccard"], row["both"], row["either"]) for row in cells] == [
        ("1", "1", "1"), ("", "", ""), ("", "", ""), ("1", "1", "1"),
    ]  # fmt: skip


# ---- metrics ----------------------------------------------------------------------------------


def added(some: Sequence[Cluster | None]) -> Totals:
    """Totals of checkpoints, None one that failed."""
    totals = Totals()
    for cluster in some:
        if cluster is None:
            totals.failed += 1
        else:
            sizes = {"cluster_tokens": len(cluster), "core_ulp_3": sum(cluster.values())}
            totals.add(sizes, members(cluster))
    return totals


def check_for_dvc(value: Any) -> None:
    """Nothing but nested objects of finite numbers: DVC loses the rest."""
    if isinstance(value, dict):
        assert value
        for name, inner in value.items():
            assert isinstance(name, str)
            check_for_dvc(inner)
    else:
        assert type(value) in (int, float)
        assert math.isfinite(value)


@given(st.lists(st.none() | clusters, max_size=7))
def test_the_metrics_are_those_of_the_definition(some: list[Cluster | None]) -> None:
    good = [cluster for cluster in some if cluster is not None]
    found = added(some).metrics(0.002, "ulp", 3.0)
    cores = [{token for token, core in cluster.items() if core} for cluster in good]
    pairs = list(itertools.pairwise(cores))
    shares = [len(a & b) / len(a | b) for a, b in pairs if a | b]
    assert found["checkpoints"] == {
        "total": len(some), "failed": len(some) - len(good), "succeeded": len(good),
        "with_cluster": sum(map(bool, good)),
    }  # fmt: skip
    assert found["core"] == {
        "distance": {"ulp": 1}, "radius": 3.0, "entered": sum(len(b - a) for a, b in pairs),
        "left": sum(len(a - b) for a, b in pairs),
    }  # fmt: skip
    jaccard: dict[str, Any] = {}
    if len(cores) > 1 and cores[0] | cores[-1]:
        jaccard["first_and_last"] = len(cores[0] & cores[-1]) / len(cores[0] | cores[-1])
    if shares:
        jaccard["neighbours_mean"] = pytest.approx(sum(shares) / len(shares))
        jaccard["neighbours_min"] = min(shares)
    assert found.get("jaccard", {}) == jaccard
    assert "jaccard" not in found or jaccard
    for name, values in (
        ("cluster_tokens", list(map(len, good))), ("core_ulp_3", list(map(len, cores))),
    ):  # fmt: skip
        if values:
            assert found["first"][name] == values[0]
            assert found["last"][name] == values[-1]
            assert found["largest"][name] == max(values)
    if good:
        check_for_dvc(found)
    assert json.loads(json_text(found)) == found


def test_the_shape_of_the_metrics_depends_on_nothing_but_what_could_be_compared() -> None:
    def shape(value: Any) -> Any:
        return {k: shape(v) for k, v in value.items()} if isinstance(value, dict) else None

    full = shape(added([None, {1: True}, {1: True, 2: False}]).metrics(1, "ulp", 3))
    assert set(full.pop("jaccard")) == {"first_and_last", "neighbours_mean", "neighbours_min"}
    alone: list[list[Cluster | None]] = [
        [{}], [{1: True}], [None, {}], [{}, {}], [{1: False}, {2: False}],
    ]  # fmt: skip
    for some in alone:
        assert shape(added(some).metrics(1, "ulp", 3)) == full


@pytest.mark.parametrize(
    ("some", "keys"),
    [
        ([{}, {1: True}], {"first_and_last", "neighbours_mean", "neighbours_min"}),
        ([{}, {1: True}, {}], {"neighbours_mean", "neighbours_min"}),
        ([{1: True}, {2: True}], {"first_and_last", "neighbours_mean", "neighbours_min"}),
    ],
)
def test_a_share_of_nothing_is_not_said(some: list[Cluster | None], keys: set[str]) -> None:
    assert set(added(some).metrics(1, "ulp", 3)["jaccard"]) == keys


def test_tokens_of_one_text_enter_and_leave_as_one_name() -> None:
    totals = Totals()
    for core, vocabulary, words in (
        ((0, 1, 2), "v", ["same", "same", "other"]),
        ((0,), "w", ["new", "y", "z"]),
        ((0, 1), "v", ["new", "new", "other"]),
    ):
        totals.add({}, members(dict.fromkeys(core, True), vocabulary, words))
    found = totals.metrics(1.0, "ulp", 1.0)
    assert (found["core"]["entered"], found["core"]["left"]) == (1, 2)
    assert found["jaccard"]["neighbours_min"] == 0.0


def test_checkpoints_that_cannot_be_compared_count_as_no_neighbours() -> None:
    totals = Totals()
    totals.add({}, members({1: True}, "v", ["x"] * 10))
    totals.add({}, members({2: True}, ""))
    totals.add({}, members({2: True, 3: True}, ""))
    found = totals.metrics(1.0, "ulp", 1.0)
    assert (found["core"]["entered"], found["core"]["left"]) == (1, 0)
    assert found["jaccard"] == {"neighbours_mean": 0.5, "neighbours_min": 0.5}


def test_radius_and_threshold_are_those_that_were_asked_for() -> None:
    found = added([{}]).metrics(0.1, "l2", 0.3)
    assert (found["core"]["radius"], found["threshold"]) == (0.3, 0.1)
