"""Where does each vector of a graph go on paper? The same place on every machine.

Each component is drawn as its minimum spanning tree by length, radially from its hub; the
components are set out in rows, the largest first, and vectors without a neighbour as a grid below.
Only single IEEE 754 operations and square roots are used, no angles, so that all bits agree.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import minimum_spanning_tree

from core_tokens.structure.adjacency import Graph

MARGIN = 1.0
"""Empty space around a component, in units of the distance between neighbours."""
ASPECT = 2.0
"""Width over height of the whole picture, about."""


@dataclass(frozen=True)
class Layout:
    """A place for every vector.

    Attributes:
        places: float64[vectors, 2], x to the right and y upwards, from 0; neighbours in a tree
            are about 1 apart.
        tree: bool[edges], which edges of the graph are those of the spanning trees.
    """

    places: NDArray[np.float64]
    tree: NDArray[np.bool_]


def layout(graph: Graph) -> Layout:
    """Lay a graph out."""
    count = len(graph.degrees)
    tree = _spanning(graph)
    neighbours: list[list[int]] = [[] for _ in range(count)]
    for a, b in graph.edges[tree].tolist():
        neighbours[a].append(b)
        neighbours[b].append(a)
    members: dict[int, list[int]] = {}
    for vector, component in enumerate(graph.component.tolist()):
        members.setdefault(component, []).append(vector)
    populations = graph.populations.tolist()
    trees = [
        _radial(max(each, key=lambda v: (len(neighbours[v]), populations[v], -v)), neighbours)
        for each in members.values()
        if len(each) > 1
    ]
    single = [each[0] for each in members.values() if len(each) == 1]
    places = np.zeros((count, 2))
    width = _set_out(trees, places, len(single))
    _grid(sorted(single, key=lambda v: (-populations[v], v)), places, width)
    if count:
        places[:, 1] = places[:, 1].max() - places[:, 1]
    return Layout(places, tree)


def _spanning(graph: Graph) -> NDArray[np.bool_]:
    """Which edges a minimum spanning forest has, of equal lengths the first: bool[edges]."""
    kept = np.zeros(len(graph.edges), np.bool_)
    if not len(kept):
        return kept
    order = np.argsort(graph.lengths, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(1, len(order) + 1)  # no two alike: there is one such forest
    count = len(graph.degrees)
    weights = csr_array((rank, (graph.edges[:, 0], graph.edges[:, 1])), (count, count))
    kept[order[minimum_spanning_tree(weights).data.astype(np.int64) - 1]] = True
    return kept


def _radial(root: int, neighbours: list[list[int]]) -> dict[int, tuple[float, float]]:
    """A tree around its root: vector -> place.

    At depth d a place 1 wide needs a sector of 1 / d; a vector gets that, or what its branch needs.
    """
    order, parent, depth = [root], {root: root}, {root: 0}
    for vector in order:
        for child in neighbours[vector]:
            if child != parent[vector]:
                parent[child], depth[child] = vector, depth[vector] + 1
                order.append(child)
    branch = dict.fromkeys(order, 0.0)  # what all that hangs on a vector needs
    sector = dict(branch)
    for vector in reversed(order[1:]):
        sector[vector] = max(branch[vector], 1 / depth[vector])
        branch[parent[vector]] += sector[vector]
    apart = max(1.0, branch[root] / 6.25)
    start, places = {root: 0.0}, {root: (0.0, 0.0)}
    for vector in order[1:]:
        before = parent[vector]
        x, y = _on_circle((start[before] + sector[vector] / 2) / branch[root])
        start[vector] = start[before] + (sector[vector] - branch[vector]) / 2
        start[before] += sector[vector]
        radius = depth[vector] * apart
        places[vector] = (x * radius, y * radius)
    return places


def _on_circle(turn: float) -> tuple[float, float]:
    """The point of the unit circle at a part of a turn, 0 <= turn < 1, nearly evenly spread.

    By the rational form of the circle, ((1 - u**2) / (1 + u**2), 2u / (1 + u**2)), a quarter at a
    time; no sine, which differs between C libraries.
    """
    quarter = int(4 * turn)
    u = 4 * turn - quarter
    x, y = (1 - u * u) / (1 + u * u), 2 * u / (1 + u * u)
    for _ in range(quarter):
        x, y = -y, x
    return x, y


def _set_out(
    trees: list[dict[int, tuple[float, float]]], places: NDArray[np.float64], single: int
) -> float:
    """Put trees in rows from the top, y downwards, the largest first; the width that they take."""
    boxes = []
    for tree in trees:
        xs, ys = zip(*tree.values(), strict=True)
        size = (max(xs) - min(xs) + 2 * MARGIN, max(ys) - min(ys) + 2 * MARGIN)
        boxes.append((size, (min(xs) - MARGIN, min(ys) - MARGIN), tree))
    boxes.sort(key=lambda box: -len(box[2]))
    area = sum(width * height for (width, height), _, _ in boxes) + single
    most: float = max([math.sqrt(ASPECT * area), *(width for (width, _), _, _ in boxes)])
    x = y = tall = 0.0
    for (width, height), (left, low), tree in boxes:
        if x and x + width > most:
            x, y, tall = 0.0, y + tall, 0.0
        for vector, place in tree.items():
            places[vector] = (place[0] - left + x, place[1] - low + y)
        x, tall = x + width, max(tall, height)
    return most


def _grid(single: list[int], places: NDArray[np.float64], width: float) -> None:
    """Put vectors without a neighbour in rows below everything else."""
    top = places[:, 1].max(initial=0.0) + MARGIN
    columns = max(1, int(width))
    for nth, vector in enumerate(single):
        places[vector] = (nth % columns + 0.5, top + nth // columns)
