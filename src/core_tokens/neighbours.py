"""Which rows hang together below an L2 threshold, and how far is the nearest one outside?

Exact, without looking at all pairs: a few coordinates of a row are a contraction of the row, so
rows whose few coordinates are too far apart are too far apart. A k-d tree over those coordinates
proposes pairs and the exact distance decides. A row with NaN or infinity has no neighbours.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from core_tokens.distances import euclidean

COORDINATES = 8
SAMPLE_ROWS = 512
BLOCK_VALUES = 1 << 20
"""Distances are computed in blocks of about this many values: 8 MiB of float64."""
SLACK = 1 + 1e-9
"""What rounding in the tree's distances may hide; the exact distance decides afterwards."""


def components(
    matrix: NDArray[Any],
    rows: NDArray[np.int64],
    threshold: float,
    progress: Callable[[list[int]], Iterable[int]] = iter,
) -> NDArray[np.int64]:
    """Label the connected components of the graph "L2 distance < threshold": int64[n].

    A breadth-first search in which a row that was reached is never looked at again: a cluster in
    which every pair is adjacent costs one pass over it instead of all its pairs. Where the
    coordinates cannot tell rows apart, the threshold being as large as the distances between
    ordinary rows, the cost grows with the square of the rows.

    Args:
        matrix: float[vocab, dims], possibly mapped.
        rows: int64[n], distinct rows of ``matrix``, the nodes.
        threshold: in the units of the matrix.
        progress: wraps the list of rows that are visited, to show how far it is.

    Returns:
        For each of ``rows`` the smallest position in ``rows`` of its component.
    """
    points = _coordinates(matrix, rows)
    labels = np.arange(len(rows))
    free = _close_to_another(points, threshold)
    waiting = np.ones(len(free), bool)
    tree = KDTree(points[free]) if len(free) else None
    for first in progress(free.tolist()):
        if labels[first] != first or tree is None:
            continue
        waiting[np.searchsorted(free, first)] = False
        reached = [first]
        while reached and tree is not None:
            row = reached.pop()
            near = np.array(tree.query_ball_point(points[row], threshold * SLACK), np.int64)
            near = np.sort(near[waiting[near]])
            close = near[_distances(matrix, rows[free[near]], matrix[rows[row]]) < threshold]
            waiting[close] = False
            labels[free[close]] = first
            reached += free[close].tolist()
            if 2 * np.count_nonzero(waiting) < len(free):  # so that queries meet few old rows
                free = free[waiting]
                waiting = np.ones(len(free), bool)
                tree = KDTree(points[free]) if len(free) else None
    return labels


def _close_to_another(points: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """Positions of the points that have another within the threshold; no others have an edge."""
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    if len(finite) < 2:
        return finite[:0]
    tree = KDTree(points[finite], balanced_tree=False)
    reach = threshold * SLACK
    nearest, _ = tree.query(points[finite], k=[2], distance_upper_bound=reach, workers=-1)
    close: NDArray[np.int64] = finite[np.isfinite(np.reshape(nearest, -1))]
    return close


def nearest_outsider(
    matrix: NDArray[Any], inside: NDArray[np.int64], outside: NDArray[np.int64]
) -> float:
    """The smallest L2 distance from a row inside to a row outside; inf if there is none.

    Rows outside are visited by rising lower bound: the distance of a few coordinates to an
    anchor inside, less the radius of the inside about the anchor. The visit ends where the bound
    passes the best distance found.

    Args:
        matrix: float[vocab, dims], possibly mapped.
        inside: int64[n], n > 0, rows of ``matrix``, all finite.
        outside: int64[m], rows of ``matrix``.
    """
    anchor = matrix[inside[0]]
    radius = float(_distances(matrix, inside, anchor).max()) * SLACK
    points = _coordinates(matrix, np.concatenate([inside[:1], outside]))
    with np.errstate(invalid="ignore"):
        bounds = euclidean(points[1:], points[0]) - radius
    order = np.argsort(bounds, kind="stable")
    best, start, size = np.inf, 0, 256
    while start < len(order) and bounds[order[start]] <= best * SLACK:
        chosen = outside[order[start : start + size]]
        closer = _distances(matrix, chosen, anchor) - radius
        for nth in np.argsort(closer, kind="stable"):
            if not closer[nth] <= best * SLACK:  # a NaN comes last and ends the visit
                break
            best = min(best, float(_distances(matrix, inside, matrix[chosen[nth]]).min()))
        start, size = start + size, size * 2
    return best


def _coordinates(matrix: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """The few dimensions that vary most over a sample of the rows: float64[n, <= COORDINATES]."""
    sample = matrix[rows[:: max(1, len(rows) // SAMPLE_ROWS)]].astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        spread = np.nan_to_num(np.std(sample, axis=0), nan=0, posinf=0)
    chosen = np.sort(np.argsort(-spread, kind="stable")[:COORDINATES])
    return matrix[rows[:, None], chosen].astype(np.float64)


def _distances(
    matrix: NDArray[Any], rows: NDArray[np.int64], origin: NDArray[Any]
) -> NDArray[np.float64]:
    """L2 distance of some rows to one, block by block: float64[n]."""
    step = max(1, BLOCK_VALUES // matrix.shape[1])
    parts = [
        euclidean(matrix[rows[start : start + step]], origin) for start in range(0, len(rows), step)
    ]
    return np.concatenate(parts) if parts else np.empty(0)
