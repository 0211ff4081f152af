from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core_tokens.bits import from_ordered, ordered
from core_tokens.structure.adjacency import Graph, adjacency
from strategies import BFLOAT16, NATIVE


@st.composite
def clouds(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Distinct vectors a few steps apart, about zero or about 1, and their populations."""
    dtype = draw(st.sampled_from(NATIVE))
    centre = draw(st.sampled_from([0, int(ordered(np.ones(1, dtype))[0]), -1]))
    dims = draw(st.integers(1, 11))
    step = st.integers(-2, 2)
    rows = draw(st.lists(st.tuples(*[step] * dims), min_size=1, max_size=14, unique=True))
    populations = draw(st.lists(st.integers(1, 5), min_size=len(rows), max_size=len(rows)))
    return from_ordered(np.array(rows) + centre, dtype), np.array(populations)


def check(graph: Graph, count: int, edges: dict[tuple[int, int], int]) -> None:
    """The graph is that of these edges, pair -> length, by plain search."""
    assert [tuple(edge) for edge in graph.edges.tolist()] == sorted(edges)
    assert graph.lengths.tolist() == [edges[edge] for edge in sorted(edges)]
    component = list(range(count))
    for _ in range(count):
        for a, b in edges:
            component[a] = component[b] = min(component[a], component[b])
    first = sorted(set(component))
    assert graph.component.tolist() == [first.index(each) for each in component]
    assert graph.degrees.tolist() == [sum(at in edge for edge in edges) for at in range(count)]
    assert graph.isolated == graph.degrees.tolist().count(0)
    sizes = [component.count(each) for each in first]
    tokens = [
        sum(p for p, c in zip(graph.populations.tolist(), component, strict=True) if c == each)
        for each in first
    ]
    assert graph.sizes.tolist() == sizes
    assert graph.tokens.tolist() == tokens
    if count:
        most = max(zip(sizes, tokens, strict=True))
        assert (sizes[graph.largest], tokens[graph.largest]) == most
        ranks = zip(graph.degrees.tolist(), graph.populations.tolist(), strict=True)
        order = sorted((-degree, -tokens, at) for at, (degree, tokens) in enumerate(ranks))
        assert graph.hub == order[0][2]


@given(clouds())
def test_neighbours_are_those_of_the_definition(
    cloud: tuple[NDArray[Any], NDArray[np.int64]],
) -> None:
    vectors, populations = cloud
    rows = ordered(vectors).tolist()
    face, linf = {}, {}
    for a, b in combinations(range(len(rows)), 2):
        steps = [abs(x - y) for x, y in zip(rows[a], rows[b], strict=True)]
        if max(steps) <= 1:
            linf[a, b] = sum(steps)
        if sum(steps) == 1:
            face[a, b] = 1
    found = adjacency(vectors, populations)
    check(found.face, len(rows), face)
    check(found.linf, len(rows), linf)
    assert {*map(tuple, found.face.edges.tolist())} <= {*map(tuple, found.linf.edges.tolist())}
    assert found.face.packing(vectors.shape[1]).max() <= 1


def test_a_step_through_zero_is_one_step() -> None:
    smallest = 2.0**-133
    vectors = np.array([[-smallest, 1], [0, 1], [smallest, 1]]).astype(BFLOAT16)
    found = adjacency(vectors, np.array([1, 2, 4]))
    assert found.face.edges.tolist() == [[0, 1], [1, 2]]
    assert found.face.degrees.tolist() == [1, 2, 1]
    assert found.face.tokens.tolist() == [7]
    assert found.face.packing(2).tolist() == [0.25, 0.5, 0.25]


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_vectors_have_no_edge(count: int) -> None:
    found = adjacency(np.ones((count, 3), BFLOAT16), np.ones(count, np.int64))
    for graph in (found.face, found.linf):
        check(graph, count, {})
        assert graph.largest == graph.hub == count - 1


@pytest.mark.parametrize(
    ("populations", "hub"), [([1, 1, 1, 1, 9], 1), ([1, 2, 3, 1, 9], 2), ([9, 3, 3, 1, 9], 1)]
)
def test_the_hub_has_the_most_neighbours_of_equals_the_most_tokens_of_equals_it_is_the_first(
    populations: list[int], hub: int
) -> None:
    vectors = from_ordered(np.array([[0], [1], [2], [3], [9]]) + 16256)
    found = adjacency(vectors, np.array(populations))
    assert found.face.degrees.tolist() == [1, 2, 2, 1, 0]
    assert found.face.hub == found.linf.hub == hub


# ---- some of the vectors alone -----------------------------------------------------------------


def check_same(found: Graph, expected: Graph) -> None:
    """All fields agree, in shape and dtype too."""
    for name, array in vars(expected).items():
        assert vars(found)[name].dtype == array.dtype, name
        assert vars(found)[name].shape == array.shape, name
        assert np.array_equal(vars(found)[name], array), name


@given(clouds(), st.data())
def test_the_graphs_among_some_vectors_are_those_of_these_vectors_alone(
    cloud: tuple[NDArray[Any], NDArray[np.int64]], data: st.DataObject
) -> None:
    vectors, populations = cloud
    count = len(vectors)
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    found = adjacency(vectors, populations).among(chosen)
    alone = adjacency(vectors[chosen], populations[chosen])
    check_same(found.face, alone.face)
    check_same(found.linf, alone.linf)
    assert (found.face.hub, found.face.largest) == (alone.face.hub, alone.face.largest)


@given(clouds(), st.data())
def test_vectors_taken_away_one_after_the_other_or_at_once_leave_the_same_graph(
    cloud: tuple[NDArray[Any], NDArray[np.int64]], data: st.DataObject
) -> None:
    graph = adjacency(*cloud).linf
    count = len(graph.degrees)
    masks = st.lists(st.booleans(), min_size=count, max_size=count).map(np.array)
    first, second = data.draw(masks), data.draw(masks)
    check_same(graph.among(first).among(second[first]), graph.among(first & second))
    check_same(graph.among(np.ones(count, np.bool_)), graph)
    nothing = adjacency(np.empty((0, 2), BFLOAT16), np.empty(0, np.int64))
    check_same(graph.among(np.zeros(count, np.bool_)), nothing.linf)


def test_a_vector_between_two_that_is_left_out_parts_them() -> None:
    vectors = from_ordered(np.array([[0], [1], [2], [3]]) + 16256)
    found = adjacency(vectors, np.array([5, 6, 7, 8])).face.among(
        np.array([True, False, True, True])
    )
    assert found.edges.tolist() == [[1, 2]]
    assert found.component.tolist() == [0, 1, 1]
    assert found.populations.tolist() == [5, 7, 8]
    assert found.hub == 2
    assert found.isolated == 1


def test_vectors_on_a_diagonal_touch_at_their_corners_alone() -> None:
    vectors = from_ordered(np.arange(20)[:, None] + np.array([16256, 16000]))
    found = adjacency(vectors, np.ones(20, np.int64))
    assert found.linf.edges.tolist() == [[at, at + 1] for at in range(19)]
    assert found.linf.lengths.tolist() == [2] * 19
    assert len(found.face.edges) == 0
    assert found.face.isolated == 20
