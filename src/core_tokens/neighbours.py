"""Which rows hang together below an L2 threshold, and how far is the nearest one outside?

Exact, without looking at all pairs: rows whose sketches are too far apart are too far apart. A k-d
tree over the sketches proposes pairs and the exact distance decides. A row with NaN or infinity has
no neighbours.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from core_tokens.distances import estimates, euclidean
from core_tokens.parallel import cores
from core_tokens.sketch import Sketch

SLAB_ROWS = 1 << 17
"""Of so many rows at once it is asked whether they have a neighbour."""
BLOCK_VALUES = 1 << 15
"""Distances are computed in blocks of about this many values: a quarter MiB of float64."""
SLACK = 1 + 1e-9
"""What rounding may hide in the tree's distances and in estimates; exact distances decide."""


def components(
    matrix: NDArray[Any],
    few: Sketch,
    rows: NDArray[np.int64],
    threshold: float,
    progress: Callable[[list[int]], Iterable[int]] = iter,
) -> NDArray[np.int64]:
    """Label the connected components of the graph "L2 distance < threshold": int64[n].

    A breadth-first search in which a row that was reached is never looked at again: a cluster in
    which every pair is adjacent costs one pass over it instead of all its pairs. Where the
    sketch cannot tell rows apart, the threshold being as large as the distances between
    ordinary rows, the cost grows with the square of the rows.

    Args:
        matrix: float[vocab, dims], possibly mapped.
        few: its sketch.
        rows: int64[n], distinct rows of ``matrix``, the nodes.
        threshold: in the units of the matrix.
        progress: wraps the list of rows that are visited, to show how far it is.

    Returns:
        For each of ``rows`` the smallest position in ``rows`` of its component.
    """
    labels = np.arange(len(rows))
    free = _close_to_another(few.values, rows, threshold)
    candidates, points = free, few.values[rows[free]].astype(np.float64)
    waiting = np.ones(len(free), bool)
    tree = KDTree(points) if len(free) else None
    for first in progress(free.tolist()):
        if labels[first] != first or tree is None:
            continue
        waiting[np.searchsorted(free, first)] = False
        reached = [first]
        while reached and tree is not None:
            row = reached.pop()
            point = points[np.searchsorted(candidates, row)]
            near = np.array(tree.query_ball_point(point, threshold * SLACK), np.int64)
            near = np.sort(near[waiting[near]])
            close = near[_distances(matrix, rows[free[near]], matrix[rows[row]]) < threshold]
            waiting[close] = False
            labels[free[close]] = first
            reached += free[close].tolist()
            if 2 * np.count_nonzero(waiting) < len(free):  # so that queries meet few old rows
                free = free[waiting]
                waiting = np.ones(len(free), bool)
                tree = KDTree(points[np.searchsorted(candidates, free)]) if len(free) else None
    return labels


def _close_to_another(
    values: NDArray[Any], rows: NDArray[np.int64], threshold: float
) -> NDArray[np.int64]:
    """Positions of the rows that have another within the threshold; no others have an edge.

    Judged by their sketch, in slabs along its first dimension, each with what lies within the
    threshold on either side of it: no tree ever holds all rows.
    """
    reach = threshold * SLACK
    order = np.flatnonzero(np.isfinite(values).all(axis=1)[rows])
    order = order[np.argsort(values[rows[order], 0].astype(np.float64), kind="stable")]
    along = values[rows[order], 0].astype(np.float64)
    close = np.zeros(len(rows), bool)
    for start in range(0, len(order), SLAB_ROWS):
        stop = min(start + SLAB_ROWS, len(order))
        low = int(np.searchsorted(along, along[start] - reach))
        high = int(np.searchsorted(along, along[stop - 1] + reach, "right"))
        if high - low < 2:
            continue
        points = values[rows[order[low:high]]].astype(np.float64)
        tree = KDTree(points, balanced_tree=False)
        nearest, _ = tree.query(
            points[start - low : stop - low], k=[2], distance_upper_bound=reach, workers=cores()
        )
        close[order[start:stop]] = np.isfinite(np.reshape(nearest, -1))
    return np.flatnonzero(close)


def nearest_outsider(
    matrix: NDArray[Any],
    few: Sketch,
    inside: NDArray[np.int64],
    outside: NDArray[np.int64],
) -> float:
    """The smallest L2 distance from a row inside to a row outside; inf if there is none.

    Rows outside are visited by rising lower bound: the distance of their sketch to that of an
    anchor inside, less the radius of the inside about the anchor. The visit ends where the bound
    passes the best distance found.

    Args:
        matrix: float[vocab, dims], possibly mapped.
        few: its sketch.
        inside: int64[n], n > 0, rows of ``matrix``, all finite.
        outside: int64[m], rows of ``matrix``.
    """
    radius = float(_distances(matrix, inside, matrix[inside[0]]).max()) * SLACK
    bounds = estimates(few.values, outside, few.values[inside[0]]) - radius
    order = np.argsort(bounds, kind="stable")
    best, start, size = np.inf, 0, 256
    while start < len(order) and bounds[order[start]] <= best * SLACK:
        chosen = outside[order[start : start + size]]
        closer = estimates(matrix, chosen, matrix[inside[0]]) - radius
        for nth in np.argsort(closer, kind="stable"):
            if not closer[nth] <= best * SLACK:  # a NaN comes last and ends the visit
                break
            best = min(best, float(_distances(matrix, inside, matrix[chosen[nth]]).min()))
        start, size = start + size, size * 2
    return best


def _distances(
    matrix: NDArray[Any], rows: NDArray[np.int64], origin: NDArray[Any]
) -> NDArray[np.float64]:
    """L2 distance of some rows to one, block by block: float64[n]."""
    step = max(1, BLOCK_VALUES // matrix.shape[1])
    parts = [
        euclidean(matrix[rows[start : start + step]], origin) for start in range(0, len(rows), step)
    ]
    return np.concatenate(parts) if parts else np.empty(0)
