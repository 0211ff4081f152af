"""Face neighbours by looking up every place where one could be: a set of vectors, a loop.

Two forms: vectors as tuples of integers, the plain one; and as bytes, which are cheaper to make
and to look up.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import ordered

Edges = set[tuple[int, int]]


def of_tuples(vectors: NDArray[Any]) -> Edges:
    """The pairs one lattice step apart in exactly one dimension, the smaller position first.

    Args:
        vectors: bfloat16[vectors, dims], distinct.
    """
    place = {tuple(row): at for at, row in enumerate(ordered(vectors).tolist())}
    edges = set()
    for row, at in place.items():
        for dim, value in enumerate(row):
            for step in (-1, 1):
                other = place.get((*row[:dim], value + step, *row[dim + 1 :]))
                if other is not None:
                    edges.add((min(at, other), max(at, other)))
    return edges


def of_bytes(vectors: NDArray[Any]) -> Edges:
    """The same, the vectors as bytes of 16-bit integers."""
    rows = ordered(vectors).astype(np.int16)
    place = {row.tobytes(): at for at, row in enumerate(rows)}
    edges = set()
    for at, row in enumerate(rows.copy()):
        for dim in range(len(row)):
            for step in (-1, 1):
                row[dim] += step
                other = place.get(row.tobytes())
                row[dim] -= step
                if other is not None:
                    edges.add((min(at, other), max(at, other)))
    return edges
