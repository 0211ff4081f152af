"""Which vectors are neighbours on the lattice?

Two graphs over the distinct vectors: "face", where two differ by one lattice step in exactly one
dimension, and "L-infinity 1", where they differ by one step at most in every dimension. Both are
symmetric; steps are those of the ordered integers, where -0 and +0 are one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from core_tokens.bits import ordered
from core_tokens.structure.pairs import pairs_within_a_step


@dataclass(frozen=True)
class Graph:
    """An undirected graph over vectors.

    Attributes:
        edges: int64[edges, 2], the smaller position first, in lexicographic order.
        lengths: int64[edges], L1 distance in lattice steps.
        degrees: int64[vectors].
        component: int64[vectors], numbered by their first vector.
        populations: int64[vectors], tokens per vector.
    """

    edges: NDArray[np.int64]
    lengths: NDArray[np.int64]
    degrees: NDArray[np.int64]
    component: NDArray[np.int64]
    populations: NDArray[np.int64]

    @property
    def isolated(self) -> int:
        """Vectors without a neighbour."""
        return int((self.degrees == 0).sum())

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Vectors of each component: int64[components]."""
        return np.bincount(self.component)

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Tokens of each component: int64[components]."""
        counts = np.bincount(self.component, weights=self.populations)
        return np.asarray(counts, np.int64)

    @property
    def largest(self) -> int:
        """The component with the most vectors, of equals the most tokens; -1 if there is none."""
        if len(self.degrees) == 0:
            return -1
        return int(np.lexsort((-self.tokens, -self.sizes))[0])

    @property
    def hub(self) -> int:
        """The vector with the most neighbours, of equals the most tokens; -1 without vectors."""
        if len(self.degrees) == 0:
            return -1
        return int(np.lexsort((-self.populations, -self.degrees))[0])

    def among(self, chosen: NDArray[np.bool_]) -> "Graph":
        """The graph of some of the vectors alone, renumbered in their order.

        Args:
            chosen: bool[vectors].
        """
        kept = chosen[self.edges].all(axis=1)
        number = np.cumsum(chosen) - 1
        return _graph(number[self.edges[kept]], self.lengths[kept], self.populations[chosen])

    def packing(self, dims: int) -> NDArray[np.float64]:
        """Of the 2 * dims face neighbours that a vector could have, the share that is there."""
        return self.degrees / (2 * dims)


@dataclass(frozen=True)
class Adjacency:
    """The two graphs; every edge of ``face`` is one of ``linf``."""

    face: Graph
    linf: Graph

    def among(self, chosen: NDArray[np.bool_]) -> "Adjacency":
        """The graphs of some of the vectors alone: bool[vectors]."""
        return Adjacency(self.face.among(chosen), self.linf.among(chosen))


def adjacency(vectors: NDArray[Any], populations: NDArray[np.int64]) -> Adjacency:
    """Find all neighbours, exactly.

    Args:
        vectors: float[vectors, dims] of a dtype of ``bits.LATTICES``, finite and distinct.
        populations: int64[vectors], tokens per vector.
    """
    edges, lengths = pairs_within_a_step(ordered(vectors))
    face = lengths == 1
    return Adjacency(
        _graph(edges[face], lengths[face], populations), _graph(edges, lengths, populations)
    )


def _graph(
    edges: NDArray[np.int64], lengths: NDArray[np.int64], populations: NDArray[np.int64]
) -> Graph:
    count = len(populations)
    degrees = np.bincount(edges.reshape(-1), minlength=count)
    links = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), (count, count))
    _, labels = connected_components(links, directed=False)
    _, first, component = np.unique(labels, return_index=True, return_inverse=True)
    number = np.argsort(np.argsort(first))
    return Graph(
        edges, lengths, np.asarray(degrees, np.int64),
        np.asarray(number[component.reshape(-1)], np.int64), populations,
    )  # fmt: skip
