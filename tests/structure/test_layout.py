import math
import os
import subprocess
import sys
from itertools import combinations, pairwise, product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core_tokens.bits import from_ordered
from core_tokens.structure.adjacency import Graph, adjacency
from core_tokens.structure.layout import MARGIN, Layout, _on_circle, layout

NEAREST = 0.6
"""So far apart are any two vectors at least, where neighbours in a tree are about 1 apart."""
Edges = dict[tuple[int, int], int]
"""(smaller vector, larger vector) -> length."""


def components_of(count: int, edges: Any) -> list[int]:
    """The smallest vector of each vector's component."""
    component = list(range(count))
    for _ in range(count):
        before = list(component)
        for a, b in edges:
            component[a] = component[b] = min(component[a], component[b])
        if component == before:
            break
    return component


def graph_of(count: int, edges: Edges, populations: list[int] | None = None) -> Graph:
    """A graph of some edges, one token per vector unless said otherwise."""
    pairs = sorted(edges)
    component = components_of(count, pairs)
    first = {vector: number for number, vector in enumerate(sorted(set(component)))}
    return Graph(
        edges=np.array(pairs, np.int64).reshape(-1, 2),
        lengths=np.array([edges[pair] for pair in pairs], np.int64),
        degrees=np.bincount(np.array(pairs, np.int64).reshape(-1), minlength=count),
        component=np.array([first[vector] for vector in component], np.int64),
        populations=np.array([1] * count if populations is None else populations, np.int64),
    )


def star(count: int, length: int = 1) -> Edges:
    """Vector 0 and its neighbours."""
    return {(0, at): length for at in range(1, count)}


def path(count: int) -> Edges:
    return dict.fromkeys(pairwise(range(count)), 1)


def clique(count: int) -> Edges:
    return {(a, b): 1 + (a + b) % 3 for a, b in combinations(range(count), 2)}


def many(sizes: list[int]) -> tuple[int, Edges]:
    """Paths beside each other: how many vectors, and their edges."""
    edges: Edges = {}
    start = 0
    for size in sizes:
        edges |= {(start + a, start + b): length for (a, b), length in path(size).items()}
        start += size
    return start, edges


def lattice(count: int, dims: int) -> Graph:
    """Distinct vectors a few steps apart about 1, always the same ones."""
    draw = Random(dims).random
    steps = [[int(4 * draw()) for _ in range(dims)] for _ in range(count)]
    rows = np.unique(16256 + np.array(steps), axis=0)
    return adjacency(from_ordered(rows), np.arange(len(rows)) % 4 + 1).linf


def long_branch(leaves: int, length: int) -> tuple[int, Edges]:
    """A hub with leaves, and a branch of so many vectors with a leaf each."""
    edges, count, end = star(leaves + 1), leaves + 1, 0
    for _ in range(length):
        edges |= {(end, count): 1, (count, count + 1): 1}
        end, count = count, count + 2
    return count, edges


CASES: dict[str, Graph] = {
    "nothing": graph_of(0, {}),
    "one": graph_of(1, {}),
    "two": graph_of(2, {}),
    "a pair": graph_of(2, {(0, 1): 3}),
    "a star": graph_of(40, star(40)),
    "a path": graph_of(30, path(30)),
    "a clique": graph_of(12, clique(12)),
    "all isolated": graph_of(200, {}, list(range(200))),
    "many paths": graph_of(*many([2, 9, 1, 4, 4, 2, 1, 30, 2, 2, 2, 1, 1, 7])),
    "many pairs": graph_of(*many([2] * 60)),
    "a branch": graph_of(*long_branch(12, 10)),
    "a long branch": graph_of(*long_branch(12, 300)),
    "a lattice": lattice(60, 3),
    "a wide lattice": lattice(90, 6),
    "a large lattice": lattice(1000, 6),
}
cases = pytest.mark.parametrize("graph", CASES.values(), ids=CASES)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to 14 vectors, few or many edges of lengths 1 to 4."""
    count = draw(st.integers(0, 14))
    pairs = list(combinations(range(count), 2))
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=30)) if pairs else []
    edges = {pair: draw(st.integers(1, 4)) for pair in chosen}
    populations = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    return graph_of(count, edges, populations)


# ---- places ----------------------------------------------------------------------------------


def nearest(places: NDArray[np.float64]) -> float:
    """The smallest distance of two places."""
    between = np.linalg.norm(places[:, None] - places[None], axis=2)
    between[np.diag_indices(len(places))] = np.inf
    return float(between.min(initial=np.inf))


def boxes(graph: Graph, places: NDArray[np.float64]) -> list[tuple[Any, Any]]:
    """The lower left and upper right corner of each component."""
    parts = [places[graph.component == number] for number in range(len(graph.sizes))]
    return [(part.min(axis=0), part.max(axis=0)) for part in parts]


def check_places(graph: Graph, found: Layout) -> None:
    """Each vector has a place, and each component a box that no other one touches."""
    count = len(graph.degrees)
    places = found.places
    assert places.shape == (count, 2)
    assert places.dtype == np.float64
    assert np.isfinite(places).all()
    assert (places >= 0).all()
    if count:
        assert places[:, 1].min() <= MARGIN
    for (low, high), (other_low, other_high) in combinations(boxes(graph, places), 2):
        apart = np.maximum(other_low - high, low - other_high).max()
        assert apart >= MARGIN - 1e-9


@cases
def test_every_vector_has_a_place_and_every_component_a_box(graph: Graph) -> None:
    check_places(graph, layout(graph))


@given(graphs())
def test_every_vector_of_any_graph_has_a_place_and_every_component_a_box(graph: Graph) -> None:
    check_places(graph, layout(graph))


@cases
def test_no_two_vectors_are_near_each_other(graph: Graph) -> None:
    assert nearest(layout(graph).places) > NEAREST


@given(graphs())
def test_no_two_vectors_of_any_graph_are_near_each_other(graph: Graph) -> None:
    assert nearest(layout(graph).places) > NEAREST


def test_a_star_of_thousands_is_a_circle() -> None:
    count = 2001
    found = layout(graph_of(count, star(count)))
    assert found.tree.all()
    outwards = np.linalg.norm(found.places[1:] - found.places[0], axis=1)
    assert outwards == pytest.approx((count - 1) / 6.25)
    along = np.linalg.norm(np.diff(found.places[1:], axis=0), axis=1)
    assert along.min() > NEAREST
    assert along.max() < 1.4


def test_a_path_is_a_line() -> None:
    places = layout(graph_of(9, path(9))).places
    assert np.linalg.norm(np.diff(places, axis=0), axis=1) == pytest.approx(1)
    assert places[:, 0] == pytest.approx(MARGIN)  # from top to bottom


@given(graphs())
def test_neighbours_in_a_tree_are_at_least_one_apart(graph: Graph) -> None:
    found = layout(graph)
    for a, b in graph.edges[found.tree].tolist():
        assert math.dist(found.places[a], found.places[b]) >= 1 - 1e-9


def depths(graph: Graph, tree: NDArray[np.bool_], root: int) -> dict[int, int]:
    """How many edges of the tree lie between the root and each vector of its component."""
    links = [(a, b) for pair in graph.edges[tree].tolist() for a, b in (pair, pair[::-1])]
    depth, ring = {root: 0}, [root]
    while ring:
        ring = [b for at in ring for a, b in links if a == at and b not in depth]
        depth |= {vector: max(depth.values()) + 1 for vector in ring}
    return depth


def check_rings(graph: Graph) -> None:
    """Each vector lies as far from the hub of its tree as there are edges between, times a ring."""
    found = layout(graph)
    links = np.bincount(graph.edges[found.tree].reshape(-1), minlength=len(graph.degrees))
    for number in np.flatnonzero(graph.sizes > 1):
        members = np.flatnonzero(graph.component == number).tolist()
        populations = graph.populations
        # The most neighbours in the tree, of equals the most tokens, of equals the first.
        hub = min(members, key=lambda at: (-links[at], -populations[at], at))
        depth = depths(graph, found.tree, hub)
        assert sorted(depth) == members
        outwards = {at: math.dist(found.places[at], found.places[hub]) for at in members}
        ring = min(outwards[at] for at in members if at != hub)
        for at in members:
            assert outwards[at] == pytest.approx(depth[at] * ring, abs=1e-9)


@given(graphs())
def test_a_tree_lies_in_rings_around_its_hub(graph: Graph) -> None:
    check_rings(graph)


@pytest.mark.parametrize("populations", [[1] * 8, [1, 2] * 4, [2, 1] * 4])
def test_of_two_hubs_the_one_with_more_tokens_is_the_centre(populations: list[int]) -> None:
    edges = {(0, 1): 1, (0, 2): 1, (0, 3): 1, (0, 4): 1, (1, 5): 1, (1, 6): 1, (1, 7): 1}
    graph = graph_of(8, edges, populations)
    check_rings(graph)
    places = layout(graph).places
    centre = int(populations[1] > populations[0])
    leaves = [at for a, at in edges if a == centre and at > 1]
    around = [math.dist(places[at], places[centre]) for at in leaves]
    assert around == pytest.approx([1] * 3)


# ---- components ------------------------------------------------------------------------------


def test_vectors_without_a_neighbour_lie_below_all_others_the_most_populated_first() -> None:
    count, edges = many([3, 1, 1, 1, 5, 1])
    graph = graph_of(count, edges, [9, 9, 9, 2, 7, 2, 9, 9, 9, 9, 9, 8])
    places = layout(graph).places
    alone = [11, 4, 3, 5]  # of equals the first
    assert np.flatnonzero(graph.degrees == 0).tolist() == sorted(alone)
    others = np.setdiff1d(np.arange(count), alone)
    assert places[alone, 1].max() < places[others, 1].min()
    order = sorted(alone, key=lambda at: (-places[at, 1], places[at, 0]))
    assert order == alone


def test_the_largest_component_comes_first() -> None:
    places = layout(graph_of(*many([2, 3, 9, 4]))).places
    parts = [places[:2], places[2:5], places[5:14], places[14:]]
    order = sorted(parts, key=lambda part: (-part[:, 1].max(), part[:, 0].min()))
    assert [len(part) for part in order] == [9, 4, 3, 2]
    assert order[0][:, 0].min() == MARGIN


@pytest.mark.parametrize("graph", [CASES["all isolated"], CASES["many pairs"]])
def test_many_small_components_make_a_picture_wider_than_high(graph: Graph) -> None:
    width, height = np.ptp(layout(graph).places, axis=0)
    assert 1 < width / height < 4


def test_isolated_vectors_are_a_grid() -> None:
    places = layout(graph_of(9, {})).places
    assert places.tolist() == [[x + 0.5, y] for y, x in product((2, 1, 0), range(4))][:9]


# ---- the trees -------------------------------------------------------------------------------


def kruskal(graph: Graph) -> list[bool]:
    """Which edges a minimum spanning forest takes: the shortest first, of equals the first."""
    component = list(range(len(graph.degrees)))
    taken = [False] * len(graph.edges)
    lengths = graph.lengths.tolist()
    for at in sorted(range(len(lengths)), key=lambda at: (lengths[at], at)):
        a, b = (component[vector] for vector in graph.edges[at].tolist())
        if a != b:
            taken[at] = True
            component = [a if each == b else each for each in component]
    return taken


def check_tree(graph: Graph) -> None:
    """A spanning forest of the least total length, and of those the first."""
    count, tree = len(graph.degrees), layout(graph).tree
    assert tree.shape == (len(graph.edges),)
    assert tree.dtype == np.bool_
    joined = components_of(count, graph.edges[tree].tolist())
    assert joined == components_of(count, graph.edges.tolist())
    assert tree.sum() == count - len(set(joined))
    expected = kruskal(graph)
    assert graph.lengths[tree].sum() == graph.lengths[expected].sum()
    assert tree.tolist() == expected


@cases
def test_the_trees_are_a_shortest_spanning_forest(graph: Graph) -> None:
    check_tree(graph)


@given(graphs())
def test_the_trees_of_any_graph_are_a_shortest_spanning_forest(graph: Graph) -> None:
    check_tree(graph)


def test_the_longest_edge_of_a_circle_is_left_out() -> None:
    graph = graph_of(4, {(0, 1): 2, (0, 3): 3, (1, 2): 4, (2, 3): 1})
    assert layout(graph).tree.tolist() == [True, True, False, True]


# ---- the same everywhere ---------------------------------------------------------------------

AGAIN = """
import sys
import numpy as np
from core_tokens.structure.adjacency import Graph
from core_tokens.structure.layout import layout

found = layout(Graph(**np.load(sys.argv[1])))
sys.stdout.write(found.places.tobytes().hex() + found.tree.tobytes().hex())
"""


@pytest.mark.parametrize("seed", ["1", "20"])
def test_a_fresh_process_with_other_hashes_gives_the_same_bits(tmp_path: Path, seed: str) -> None:
    graph = lattice(90, 6)
    assert graph.isolated > 0
    assert (graph.sizes > 1).sum() > 1
    np.savez(tmp_path / "graph.npz", **vars(graph))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", AGAIN, str(tmp_path / "graph.npz")],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    found = layout(graph)
    assert done.stdout == found.places.tobytes().hex() + found.tree.tobytes().hex()


@given(graphs())
def test_a_graph_is_laid_out_the_same_way_twice_and_not_changed(graph: Graph) -> None:
    before = {name: array.copy() for name, array in vars(graph).items()}
    first, second = layout(graph), layout(graph)
    assert first.places.tobytes() == second.places.tobytes()
    assert all(np.array_equal(before[name], array) for name, array in vars(graph).items())


# ---- the circle ------------------------------------------------------------------------------


@given(st.floats(0, 1, exclude_max=True))
def test_points_lie_on_the_unit_circle_about_where_they_should(turn: float) -> None:
    x, y = _on_circle(turn)
    assert math.hypot(x, y) == pytest.approx(1, abs=1e-15)
    off = math.remainder(math.atan2(y, x) - math.tau * turn, math.tau)
    assert abs(off) < 0.15


@pytest.mark.parametrize(
    ("turn", "point"),
    [(0, (1, 0)), (0.25, (0, 1)), (0.5, (-1, 0)), (0.75, (0, -1)), (0.0625, (15 / 17, 8 / 17))],
)
def test_quarter_turns_are_exact(turn: float, point: tuple[float, float]) -> None:
    assert _on_circle(turn) == point


def test_points_follow_each_other_around_nearly_evenly() -> None:
    steps = 1000
    points = [_on_circle(nth / steps) for nth in range(steps)]
    assert len(set(points)) == steps
    chords = [math.dist(a, b) for a, b in pairwise([*points, points[0]])]
    assert min(chords) > 3.99 / steps
    assert max(chords) < 8.01 / steps
    angles = [math.atan2(y, x) % math.tau for x, y in points]
    assert angles == sorted(angles)


@given(st.integers(0, 2**20 - 1).map(lambda nth: nth / 2**22), st.integers(1, 3))
def test_a_quarter_turn_more_is_the_same_point_turned(turn: float, quarters: int) -> None:
    x, y = _on_circle(turn)
    turned = [(-y, x), (-x, -y), (y, -x)][quarters - 1]
    assert _on_circle(turn + quarters / 4) == turned
