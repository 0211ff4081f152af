"""Where is the cluster of a matrix, and what does the whole vocabulary look like around it?"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.errors import TensorError
from core_tokens.groups import Groups, changed_rows, identical_rows
from core_tokens.measurements import measure
from core_tokens.neighbours import components, nearest_outsider
from core_tokens.scan import NOWHERE, Within, within
from core_tokens.sketch import Sketch, sketch


@dataclass(frozen=True)
class Clustering:
    """The cluster of float[vocab, dims] and the census of its identical rows.

    Attributes:
        groups: the distinct rows of the whole vocabulary.
        token_ids: int64[n], the cluster, ascending; empty if no two tokens are adjacent.
        vocab: the number of rows of the matrix.
        zero_rows: rows that are all zero, which belong to no cluster.
        vectors: the distinct rows in the cluster.
        changed_rows: rows of the whole matrix that rounding to bfloat16 changes.
        nearest_outsider: L2 distance from the cluster to the nearest token outside, an all-zero
            one included; 0 if there is no cluster or nothing outside.
        within: tokens of the whole vocabulary by their distance from the origin of the cluster,
            as they are measured in bfloat16; none if there is no such origin.
    """

    groups: Groups
    token_ids: NDArray[np.int64]
    vocab: int
    zero_rows: int
    vectors: int
    changed_rows: int
    nearest_outsider: float
    within: Within

    @property
    def mask(self) -> NDArray[np.bool_]:
        """bool[vocab], true for the tokens of the cluster."""
        mask = np.zeros(self.vocab, bool)
        mask[self.token_ids] = True
        return mask


@np.errstate(invalid="ignore")  # comparing and casting a signalling NaN
def find_cluster(
    matrix: NDArray[Any],
    threshold: float,
    progress: Callable[[list[int]], Iterable[int]] = iter,
    *,
    around: bool = True,
) -> Clustering:
    """Find the connected component of "L2 distance < threshold" that holds the most tokens.

    Distances are taken between the stored values, whatever their dtype. All-zero rows are left
    out; of two components with equally many tokens the one with the smallest id is taken; a
    component of one token is no cluster.

    Args:
        matrix: float[vocab, dims], possibly mapped from a file; never copied whole.
        threshold: L2 distance in the units of the matrix, not included.
        progress: wraps the list of rows that are visited, to show how far it is.
        around: whether to count the tokens around the origin, ``within``; else there are none.
    """
    few = sketch(matrix)
    groups = identical_rows(matrix, few=few)
    zero = _zero_group(matrix, few, groups)
    nodes = np.flatnonzero(_may_have_neighbours(matrix, groups, zero))
    token_ids = np.empty(0, np.int64)
    vectors, outsider = 0, 0.0
    if len(nodes):
        label = components(matrix, few, groups.first[nodes], threshold, progress)
        tokens = np.bincount(label, weights=groups.sizes[nodes])
        # Groups are numbered by first occurrence and components by their first group: of equal
        # maxima argmax takes the component with the smallest id.
        largest = label == tokens.argmax()
        if tokens.max() > 1:
            inside = np.zeros(len(groups.first), bool)
            inside[nodes[largest]] = True
            token_ids = np.flatnonzero(inside[groups.group_of_row])
            vectors = int(inside.sum())
            if not inside.all():
                outsider = nearest_outsider(
                    matrix, few, groups.first[inside], groups.first[~inside]
                )
    return Clustering(
        groups=groups,
        token_ids=token_ids,
        vocab=len(matrix),
        zero_rows=0 if zero is None else int(groups.sizes[zero]),
        vectors=vectors,
        changed_rows=changed_rows(matrix),
        nearest_outsider=outsider,
        within=_around(matrix, few, groups, token_ids) if around else NOWHERE,
    )


def _around(
    matrix: NDArray[Any], few: Sketch, groups: Groups, token_ids: NDArray[np.int64]
) -> Within:
    """The tokens around the origin of a cluster, if it has one whose values bfloat16 can hold."""
    if not len(token_ids):
        return NOWHERE
    try:
        measured = measure(matrix, token_ids)
    except TensorError:
        return NOWHERE
    return within(matrix, few, groups, measured.vectors[measured.origin])


def _zero_group(matrix: NDArray[Any], few: Sketch, groups: Groups) -> int | None:
    """The group whose rows are all zero, if there is one."""
    for group in np.flatnonzero(~few.values[groups.first].any(axis=1)).tolist():
        if not matrix[groups.first[group]].any():
            return int(group)
    return None


def _may_have_neighbours(
    matrix: NDArray[Any], groups: Groups, zero: int | None
) -> NDArray[np.bool_]:
    """bool[groups]: not the zero rows, and no identical rows that hold NaN or infinity.

    A single row that is not finite has no neighbour either, but its distances say so; identical
    ones would count as a component of their size without any distance being taken.
    """
    keep = np.ones(len(groups.first), bool)
    for group in np.flatnonzero(groups.sizes > 1).tolist():
        keep[group] = np.isfinite(matrix[groups.first[group]]).all()
    if zero is not None:
        keep[zero] = False
    return keep
