"""Which rows hang together below an L2 threshold, and how far is the nearest one outside?

Exact, without looking at all pairs: a few coordinates of a row are a contraction of the row, so
rows whose few coordinates are too far apart are too far apart. A k-d tree over those coordinates
proposes pairs and the exact distance decides. A row with NaN or infinity has no neighbours.
"""

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
    matrix: NDArray[Any], rows: NDArray[np.int64], threshold: float
) -> NDArray[np.int64]:
    """Label the connected components of the graph "L2 distance < threshold": int64[n].

    Rows are taken in groups around leaders: a leader is a row no earlier leader lies within the
    threshold of, its group the rows it does. A group is connected by definition, so a cluster in
    which every pair is adjacent costs one pass over it instead of all its pairs. Two groups can
    only touch where their leaders lie within three thresholds; of these the groups not yet
    connected are compared row by row.

    Args:
        matrix: float[vocab, dims], possibly mapped.
        rows: int64[n], distinct rows of ``matrix``, the nodes.
        threshold: in the units of the matrix.

    Returns:
        For each of ``rows`` the smallest position in ``rows`` of its component.
    """
    points = _coordinates(matrix, rows)
    labels = np.arange(len(rows))
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    if len(finite) < 2:
        return labels
    tree = KDTree(points[finite], balanced_tree=False)
    reach = threshold * SLACK
    nearest, _ = tree.query(points[finite], k=[2], distance_upper_bound=reach, workers=-1)
    candidates = finite[np.isfinite(np.reshape(nearest, -1))]
    if len(candidates) == 0:
        return labels
    groups = _groups_of_leaders(matrix, rows, points, candidates, threshold)
    roots = _roots_of_leaders(matrix, rows, points, groups, threshold)
    for leader, members in groups.items():
        labels[members] = roots[leader]
    return labels


def _groups_of_leaders(
    matrix: NDArray[Any],
    rows: NDArray[np.int64],
    points: NDArray[np.float64],
    candidates: NDArray[np.int64],
    threshold: float,
) -> dict[int, NDArray[np.int64]]:
    """Cover ``candidates`` with leaders: leader -> the nodes first found within the threshold.

    Leaders rise, and none is larger than a member of its group.
    """
    groups: dict[int, NDArray[np.int64]] = {}
    tree = KDTree(points[candidates])
    free = np.zeros(len(rows), bool)
    free[candidates] = True
    for leader in candidates.tolist():
        if not free[leader]:
            continue
        near = candidates[np.sort(tree.query_ball_point(points[leader], threshold * SLACK))]
        near = near[free[near]]
        close = near[_distances(matrix, rows[near], matrix[rows[leader]]) < threshold]
        members = np.union1d(close, leader)  # a non-finite leader is not within its own distance
        free[members] = False
        groups[leader] = members
    return groups


def _roots_of_leaders(
    matrix: NDArray[Any],
    rows: NDArray[np.int64],
    points: NDArray[np.float64],
    groups: dict[int, NDArray[np.int64]],
    threshold: float,
) -> dict[int, int]:
    """The smallest leader of each leader's component, joining the groups that touch."""
    leaders = np.array(list(groups), np.int64)
    roots = {leader: leader for leader in groups}

    def find(leader: int) -> int:
        while roots[leader] != leader:
            roots[leader] = leader = roots[roots[leader]]
        return leader

    tree = KDTree(points[leaders])
    reach = 3 * threshold * SLACK
    for position, leader in enumerate(groups):
        near = np.array(tree.query_ball_point(points[leader], reach), np.int64)
        near = leaders[np.sort(near[near < position])]
        apart = _distances(matrix, rows[near], matrix[rows[leader]])
        order = np.argsort(apart, kind="stable")
        for other in near[order[apart[order] < reach]].tolist():
            low, high = sorted((find(other), find(leader)))
            if low != high and _touch(matrix, rows, groups[leader], groups[other], threshold):
                roots[high] = low
    return {leader: find(leader) for leader in groups}


def _touch(
    matrix: NDArray[Any],
    rows: NDArray[np.int64],
    some: NDArray[np.int64],
    others: NDArray[np.int64],
    threshold: float,
) -> bool:
    """Does any pair of rows, one from each group, lie below the threshold?"""
    few, many = sorted((some, others), key=len)
    return any(
        (_distances(matrix, rows[many], matrix[rows[node]]) < threshold).any() for node in few
    )


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
    radius = float(_distances(matrix, inside, anchor).max())
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
