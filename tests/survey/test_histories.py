import itertools
from collections.abc import Sequence
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

from core_tokens.survey import histories
from core_tokens.survey.histories import (
    Band,
    Members,
    Overlap,
    Run,
    bands,
    comparable,
    names_of,
    overlap,
)

State = str
ABSENT, HALO, CORE = "absent", "halo", "core"
Cluster = dict[int, State]
"""Token -> halo or core; what is absent is not in it."""
WORDS = [f"word{token}" for token in range(12)]


def members(
    cluster: Cluster,
    vocabulary: str = "",
    rows: int = 12,
    words: Sequence[str | None] | None = None,
) -> Members:
    """The cluster of a checkpoint; ``words`` are the texts of all rows."""
    ids = sorted(cluster)
    return Members(
        np.array(ids, np.int64), np.array([cluster[token] == CORE for token in ids], bool),
        vocabulary, rows, None if words is None else [words[token] for token in ids],
    )  # fmt: skip


clusters = st.dictionaries(st.integers(0, 11), st.sampled_from([HALO, CORE]), max_size=12)
runs = st.lists(clusters, min_size=1, max_size=7)


def core_of(cluster: Cluster) -> set[int]:
    return {token for token, state in cluster.items() if state == CORE}


# ---- overlaps ---------------------------------------------------------------------------------


@given(clusters, clusters)
def test_an_overlap_is_that_of_two_sets(one: Cluster, other: Cluster) -> None:
    a, b = core_of(one), core_of(other)
    found = overlap(members(one), members(other))
    assert found == Overlap(len(a & b), len(a), len(b))
    assert found.either == len(a | b)
    assert found.jaccard == (len(a & b) / len(a | b) if a | b else None)


@given(clusters, clusters)
def test_an_overlap_is_symmetric(one: Cluster, other: Cluster) -> None:
    found, turned = overlap(members(one), members(other)), overlap(members(other), members(one))
    assert found is not None
    assert turned == Overlap(found.both, found.other, found.one)
    assert (found.either, found.jaccard) == (turned.either, turned.jaccard)


@given(clusters)
def test_a_core_has_all_of_itself_and_nothing_has_no_share(cluster: Cluster) -> None:
    found = overlap(members(cluster), members(cluster))
    assert found is not None
    assert found.jaccard == (1.0 if core_of(cluster) else None)


@given(clusters, clusters)
def test_a_share_lies_between_nothing_and_all(one: Cluster, other: Cluster) -> None:
    found = overlap(members(one), members(other))
    assert found is not None
    assert 0 <= found.both <= found.either
    assert found.jaccard is None or (found.jaccard == 1.0) == (core_of(one) == core_of(other))


@given(clusters, clusters, st.permutations(range(12)))
def test_by_text_it_is_the_same_wherever_the_tokens_moved(
    one: Cluster, other: Cluster, order: list[int]
) -> None:
    moved = {order[token]: state for token, state in other.items()}
    texts = [WORDS[order.index(row)] for row in range(12)]
    found = overlap(members(one, "v", 12, WORDS), members(moved, "w", 12, texts))
    assert found == overlap(members(one), members(other))


@given(clusters, clusters)
def test_of_the_same_vocabulary_ids_count_and_not_texts(one: Cluster, other: Cluster) -> None:
    a, b = members(one, "v", 12, ["same"] * 12), members(other, "v", 12, ["same"] * 12)
    assert overlap(a, b) == overlap(members(one), members(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (members({1: CORE}, "", 12), members({1: CORE}, "", 13)),
        (members({1: CORE}, "v", 12, WORDS), members({1: CORE}, "", 12)),
        (members({}, "v", 12, WORDS), members({}, "", 12)),
    ],
    ids=["other rows, no text", "text of one alone", "nothing in either"],
)
def test_where_nothing_tells_what_an_id_means_there_is_no_overlap(
    one: Members, other: Members
) -> None:
    assert overlap(one, other) is None
    assert overlap(other, one) is None


def test_a_token_without_text_is_none_of_another_vocabulary() -> None:
    words: list[str | None] = [None, None, "c"]
    one = members({0: CORE, 1: CORE, 2: CORE}, "v", 3, words)
    other = members({0: CORE, 1: CORE, 2: CORE}, "w", 3, words)
    assert names_of(one) == [("v", 0), ("v", 1), "c"]
    assert overlap(one, other) == Overlap(1, 3, 3)


def test_by_text_tokens_of_one_text_are_one() -> None:
    twice: list[str | None] = ["same", "same", "other"]
    one = members({0: CORE, 1: CORE, 2: CORE}, "v", 3, twice)
    other = members({0: CORE}, "w", 3, ["same", "x", "y"])
    found = overlap(one, other)
    assert found == Overlap(1, 2, 1)
    assert (found.either, found.jaccard) == (2, 0.5)


def test_without_texts_there_are_no_names() -> None:
    assert names_of(members({1: CORE})) == []


def test_of_a_vocabulary_the_hash_and_the_rows_count() -> None:
    one = members({1: CORE}, "v", 12, WORDS)
    assert histories.same_vocabulary(one, members({2: HALO}, "v", 12, WORDS))
    assert not histories.same_vocabulary(one, replace(one, vocabulary="w"))
    assert not histories.same_vocabulary(one, replace(one, rows=13))


# ---- bands ------------------------------------------------------------------------------------


def recovered(found: Sequence[Band], checkpoints: int) -> dict[object, list[State]]:
    """Every token's state at every checkpoint, from the bands alone."""
    states: dict[object, list[State]] = {}
    for band in found:
        history = [ABSENT] * checkpoints
        for run in band.runs:
            for at in range(run.first, run.last + 1):
                assert history[at] == ABSENT, "runs overlap"
                history[at] = CORE if run.core else HALO
        for token in band.tokens:
            assert token not in states, "a token in two bands"
            states[token] = history
    return states


def plainly(some: Sequence[Cluster]) -> dict[object, list[State]]:
    """The same from the clusters."""
    seen = {token for cluster in some for token in cluster}
    return {token: [cluster.get(token, ABSENT) for cluster in some] for token in seen}


@given(runs)
def test_every_state_of_every_token_is_in_the_bands(some: list[Cluster]) -> None:
    found = bands([members(cluster) for cluster in some])
    assert recovered(found, len(some)) == plainly(some)


@given(runs)
def test_bands_differ_and_their_runs_are_as_long_as_can_be(some: list[Cluster]) -> None:
    found = bands([members(cluster) for cluster in some])
    assert len({band.runs for band in found}) == len(found)
    for band in found:
        assert band.tokens
        assert band.runs
        for one, other in itertools.pairwise(band.runs):
            assert one.last < other.first
            assert one.last + 1 < other.first or one.core != other.core


@given(runs)
def test_bands_come_as_they_arrive_and_the_ones_that_stay_first(some: list[Cluster]) -> None:
    states = plainly(some)
    found = bands([members(cluster) for cluster in some])
    order = []
    for band in found:
        history = states[band.tokens[0]]
        first = next(at for at, state in enumerate(history) if state != ABSENT)
        stay = sum(state != ABSENT for state in history)
        order.append((first, -stay, -len(band.tokens), history[first] == CORE))
    assert order == sorted(order)


@given(runs, st.permutations(range(12)))
def test_bands_by_text_have_the_histories_of_those_by_id(
    some: list[Cluster], order: list[int]
) -> None:
    assume(len(some) > 1)
    texts = [WORDS[order.index(row)] for row in range(12)]
    named = [
        members({order[token]: state for token, state in cluster.items()}, "w", 12, texts)
        if at % 2
        else members(cluster, "v", 12, WORDS)
        for at, cluster in enumerate(some)
    ]
    expected = {WORDS[int(str(token))]: history for token, history in plainly(some).items()}
    assert recovered(bands(named), len(some)) == expected


def test_of_two_tokens_with_one_text_the_core_is_what_counts() -> None:
    twice: list[str | None] = ["same", "same", "other"]
    one = members({0: CORE, 1: HALO}, "v", 3, twice)
    other = members({2: HALO}, "w", 3, ["x", "y", "same"])
    assert recovered(bands([one, other]), 2) == {"same": [CORE, HALO]}
    assert recovered(bands([other, one]), 2) == {"same": [HALO, CORE]}


def test_an_example() -> None:
    some = [{1: HALO}, {1: CORE, 2: HALO, 3: CORE}, {2: HALO, 3: CORE}, {1: CORE}]
    assert bands([members(cluster) for cluster in some]) == [
        Band((1,), (Run(0, 0, False), Run(1, 1, True), Run(3, 3, True))),
        Band((2,), (Run(1, 2, False),)),
        Band((3,), (Run(1, 2, True),)),
    ]


def test_clusters_without_tokens_have_no_bands() -> None:
    assert bands([members({}), members({})]) == []


# ---- what can be compared ---------------------------------------------------------------------

V, W = members({1: CORE}, "v", 12, WORDS), members({1: CORE}, "w", 12, WORDS)
TWELVE, THIRTEEN = members({1: CORE}, "", 12), members({1: CORE}, "", 13)


@pytest.mark.parametrize(
    ("some", "kept"),
    [
        ([], []), ([V], [0]), ([TWELVE], [0]), ([V, V], [0, 1]), ([V, W, V], [0, 1, 2]),
        ([TWELVE, TWELVE], [0, 1]), ([V, TWELVE], [0]), ([TWELVE, V], [1]),
        ([TWELVE, V, TWELVE], [0, 2]), ([TWELVE, V, W], [1, 2]), ([TWELVE, V, TWELVE, W], [1, 3]),
        ([TWELVE, THIRTEEN], [0]), ([THIRTEEN, TWELVE], [0]),
        ([TWELVE, THIRTEEN, THIRTEEN], [1, 2]),
    ],
)  # fmt: skip
def test_the_most_that_can_be_compared_are_kept(some: list[Members], kept: list[int]) -> None:
    assert comparable(some) == kept


@given(st.lists(st.sampled_from([V, W, TWELVE, THIRTEEN]), max_size=6))
def test_of_what_can_be_compared_every_two_overlap_and_no_more_could(some: list[Members]) -> None:
    kept = comparable(some)
    assert kept == sorted(set(kept))

    def fit(chosen: Sequence[int]) -> bool:
        return all(overlap(some[a], some[b]) for a, b in itertools.combinations(chosen, 2))

    assert fit(kept)
    assert not any(fit(more) for more in itertools.combinations(range(len(some)), len(kept) + 1))
    assert len(bands([some[at] for at in kept])) == bool(kept)


def test_tokens_are_whole_numbers_or_text() -> None:
    by_id = bands([members({5: CORE})])
    assert [type(token) for band in by_id for token in band.tokens] == [int]
    by_text = bands([members({5: CORE}, "v", 12, WORDS), members({5: CORE}, "w", 12, WORDS)])
    assert by_text == [Band(("word5",), (Run(0, 1, True),))]
