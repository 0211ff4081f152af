"""What is there to say about one checkpoint of many? Matrix -> a cluster in numbers.

No radius is needed yet: what is kept of a checkpoint serves for every radius.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import finite
from core_tokens.clusters import find_cluster
from core_tokens.measurements import Measurements, check_matrix, measure
from core_tokens.parallel import over_rows
from core_tokens.structure.adjacency import Graph, adjacency
from core_tokens.structure.diversity import diversity
from core_tokens.structure.shells import shells
from core_tokens.tables import norm, number

VERSION = 1
"""Of what ``snapshot`` finds: one more whenever the same matrix would give something else."""

BLOCK_VALUES = 1 << 16
"""Rows of about this many values are looked at at once: what comes of them stays in the cache."""


@dataclass(frozen=True)
class Figures:
    """The numbers of one checkpoint; what needs a cluster is None where there is none.

    Attributes:
        vocabulary: rows of the matrix.
        dims: its columns.
        stored_bits: of one value, as stored.
        unique_rows: distinct rows of the whole matrix.
        zero_rows: rows that are all zero, which belong to no cluster.
        nonfinite_rows: rows that hold NaN or infinity, which have no neighbour.
        groups: sets of two or more identical rows.
        grouped_tokens: tokens in them.
        largest_group: tokens in the largest.
        cluster_tokens: tokens of the cluster.
        cluster_vectors: its distinct vectors in bfloat16.
        stored_vectors: its distinct vectors as stored.
        changed_tokens: those of its tokens whose row rounding to bfloat16 changed.
        nearest_outsider_l2: L2 distance to the nearest token outside; None if all are inside.
        origin_token: the first token of the most populated vector, the Big One.
        origin_population: its tokens.
        origin_norm: its Euclidean norm.
        ulp: see ``bits.ulp_exponent``.
        distance_ulp_max: the largest distance from the Big One.
        distance_steps_max: the same in lattice steps.
        distance_l2_max: the same as Euclidean distance.
        r90_tokens: the radius in ulp that holds 90% of the tokens.
        r90_vectors: the radius in ulp that holds 90% of the vectors.
        gap_at: the first whole ulp without a vector.
        constant_dimensions: dimensions in which all vectors agree.
        varying_dimensions: the others.
        face_edges: pairs of vectors one lattice step apart in one dimension.
        face_isolated: vectors without such a neighbour.
        face_components: components of that graph.
        face_largest: vectors in the largest.
        linf_edges: pairs at most one step apart in every dimension.
        linf_isolated: vectors without such a neighbour.
        linf_components: components of that graph.
        linf_largest: vectors in the largest.
    """

    vocabulary: int
    dims: int
    stored_bits: int
    unique_rows: int
    zero_rows: int
    nonfinite_rows: int
    groups: int
    grouped_tokens: int
    largest_group: int
    cluster_tokens: int
    cluster_vectors: int
    stored_vectors: int
    changed_tokens: int
    nearest_outsider_l2: float | None
    origin_token: int | None
    origin_population: int
    origin_norm: float | None
    ulp: float | None
    distance_ulp_max: float | None
    distance_steps_max: int | None
    distance_l2_max: float | None
    r90_tokens: float | None
    r90_vectors: float | None
    gap_at: int | None
    constant_dimensions: int | None
    varying_dimensions: int | None
    face_edges: int
    face_isolated: int
    face_components: int
    face_largest: int
    linf_edges: int
    linf_isolated: int
    linf_components: int
    linf_largest: int


NEEDS_CLUSTER = (
    "nearest_outsider_l2", "origin_token", "origin_norm", "ulp", "distance_ulp_max",
    "distance_steps_max", "distance_l2_max", "r90_tokens", "r90_vectors", "gap_at",
    "constant_dimensions", "varying_dimensions",
)  # fmt: skip
"""Figures that are no number where there is no cluster; counts are 0."""


@dataclass(frozen=True)
class Snapshot:
    """One checkpoint: its cluster, measured (without tokens where there is none), in numbers."""

    measured: Measurements
    figures: Figures


def snapshot(matrix: NDArray[Any], threshold: float) -> Snapshot:
    """Find the cluster of a matrix, and measure it in bfloat16.

    Args:
        matrix: float[vocab, dims], possibly mapped.
        threshold: L2 distance below which two rows are adjacent, in the units of the matrix.

    Raises:
        TensorError: not a matrix of floats, or a row of the cluster that bfloat16 cannot hold.
    """
    check_matrix(str(matrix.dtype), matrix.shape, "bfloat16")
    found = find_cluster(matrix, threshold, around=False)
    measured = measure(matrix, found.token_ids)
    sizes = found.groups.sizes
    shared = sizes[sizes > 1]
    origin = measured.origin
    of_origin = measured.token_ids[measured.vector_of_token == origin]
    outside = len(matrix) - len(found.token_ids)
    near = shells(measured.distance_ulp, measured.populations)
    values = diversity(measured.vectors)
    lattice = adjacency(measured.vectors, measured.populations)
    figures = Figures(
        vocabulary=len(matrix),
        dims=matrix.shape[1],
        stored_bits=8 * matrix.dtype.itemsize,
        unique_rows=len(sizes),
        zero_rows=found.zero_rows,
        nonfinite_rows=_nonfinite_rows(matrix),
        groups=len(shared),
        grouped_tokens=int(shared.sum()),
        largest_group=int(shared.max(initial=0)),
        cluster_tokens=len(found.token_ids),
        cluster_vectors=len(measured.vectors),
        stored_vectors=found.vectors,
        changed_tokens=measured.changed_tokens,
        nearest_outsider_l2=number(found.nearest_outsider) if outside else None,
        origin_token=int(of_origin[0]) if len(of_origin) else None,
        origin_population=len(of_origin),
        origin_norm=number(norm(measured.vectors[origin])) if len(of_origin) else None,
        ulp=2.0**measured.ulp_exponent,
        distance_ulp_max=number(measured.distance_ulp.max(initial=0)),
        distance_steps_max=int(measured.distance_steps.max(initial=0)),
        distance_l2_max=number(measured.distance_l2.max(initial=0)),
        r90_tokens=number(near.r90_tokens),
        r90_vectors=number(near.r90_vectors),
        gap_at=near.gap_at,
        constant_dimensions=values.constant_dimensions,
        varying_dimensions=values.varying_dimensions,
        **_graph("face", lattice.face),
        **_graph("linf", lattice.linf),
    )
    if not len(of_origin):
        blank: dict[str, Any] = dict.fromkeys(NEEDS_CLUSTER)
        figures = replace(figures, **blank)
    return Snapshot(measured, figures)


def _graph(name: str, graph: Graph) -> dict[str, int]:
    largest = graph.largest
    return {
        f"{name}_edges": len(graph.edges),
        f"{name}_isolated": graph.isolated,
        f"{name}_components": len(graph.sizes),
        f"{name}_largest": int(graph.sizes[largest]) if largest >= 0 else 0,
    }


def _nonfinite_rows(matrix: NDArray[Any]) -> int:
    """Rows that hold NaN or infinity."""
    found = np.zeros(len(matrix), bool)
    step = max(1, BLOCK_VALUES // matrix.shape[1])

    def part(start: int, stop: int) -> None:
        for at in range(start, stop, step):
            rows = slice(at, min(at + step, stop))
            found[rows] = ~finite(matrix[rows]).all(axis=1)

    over_rows(part, len(matrix), matrix.shape[1] * matrix.dtype.itemsize)
    return int(found.sum())
