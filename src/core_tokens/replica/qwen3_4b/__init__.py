"""Qwen3-4B-Instruct-2507: a cluster of 125 vectors that was published in detail."""

from pathlib import Path

import numpy as np

from core_tokens.bits import from_ordered
from core_tokens.replica.draws import Draws
from core_tokens.replica.matrix import add_near_rows, write_matrix
from core_tokens.replica.qwen3_4b import figures
from core_tokens.replica.qwen3_4b.origin import make_origin
from core_tokens.replica.qwen3_4b.tokens import assign_tokens
from core_tokens.replica.qwen3_4b.vectors import make_vectors

SEED = 2507
NEAREST = 0.986 * figures.VOID_L2
"""Distance of the nearest token outside before its components are rounded, which adds the rest."""


def write(path: Path) -> None:
    """Write the replica: W bfloat16[151,936, 2,560], 778 MB."""
    draws = Draws(SEED)
    origin = make_origin(draws)
    vectors = make_vectors(draws, origin)
    vector_of_token = assign_tokens(draws, vectors)
    dead = from_ordered(np.array([vector.lattice for vector in vectors]))
    rows, row_of_token = add_near_rows(draws, dead, vector_of_token, NEAREST)
    write_matrix(path, figures.MODEL, rows, row_of_token, Draws(SEED + 1))
