"""Qwen2.5-3B-Instruct: a cluster of 60 vectors, of which only four counts were published.

Its unique vectors (149,784), its groups of identical rows (60), the tokens in them (2,212) and the
largest of them (600). As 149,784 = 151,936 - 2,212 + 60, every row outside a group is alone. The
other populations, the tokens and the vectors are drawn.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import round_to_bfloat16, ulp_exponent
from core_tokens.replica.draws import TABLE, Draws, normal_table
from core_tokens.replica.matrix import add_near_rows, write_matrix

MODEL = "Qwen2.5-3B-Instruct"
VOCAB = 151936
DIMS = 2048
GROUPS = 60
GROUP_TOKENS = 2212
LARGEST = 600

SEED = 2412
BYTES = (124, 125, *range(177, 188))
"""Tokens of single bytes that no valid text holds."""
ORDINARY = range(256, 151643)
"""Neither bytes nor special tokens: the rest of the groups is drawn from these."""
PADDING = range(151665, VOCAB)
"""Rows beyond the tokenizer's last token, which no text can train."""
DEVIATION = 0.0025
"""Of the components of the Big One."""
REACHES = (1, 1, 1, 2, 2, 2, 2, 4)
"""A vector lies as far from the Big One as one of these, in ulp. Powers of two, so that rounding to
the lattice leads no further; so near that all pairs stay below the threshold."""
NEAREST = 0.004
"""Distance of the nearest token outside before its components are rounded: twice the threshold."""


def write(path: Path) -> None:
    """Write the replica: W bfloat16[151,936, 2,048], 622 MB."""
    draws = Draws(SEED)
    vectors = make_vectors(draws)
    vector_of_token = assign_tokens(draws, draw_populations(draws))
    rows, row_of_token = add_near_rows(draws, vectors, vector_of_token, NEAREST)
    write_matrix(path, MODEL, rows, row_of_token, Draws(SEED + 1))


def draw_populations(draws: Draws) -> list[int]:
    """Tokens per group, descending: each takes at most a quarter of what is left, none below 2."""
    left = GROUP_TOKENS - LARGEST - 2 * (GROUPS - 1)
    populations = []
    for _ in range(GROUPS - 2):
        taken = draws.below(left // 4 + 1)
        populations.append(2 + taken)
        left -= taken
    return [LARGEST, *sorted([*populations, 2 + left], reverse=True)]


def make_vectors(draws: Draws) -> NDArray[Any]:
    """The vectors of the groups, the Big One first: bfloat16[60, dims].

    Offsets are smaller than the vector's reach: where the lattice is coarser than that the Big
    One's component stays, elsewhere it moves by some steps, the more the finer the lattice is.
    """
    origin = normal_table(DEVIATION)[draws.table_indices(DIMS)]
    ulp = 2.0 ** ulp_exponent(origin)
    vectors = [origin]
    for _ in range(GROUPS - 1):
        reach = draws.choice(REACHES) * ulp
        offsets = (2 * draws.table_indices(DIMS) + 1 - TABLE) * (reach / TABLE)
        vectors.append(round_to_bfloat16(origin.astype(np.float64) + offsets))
    return np.array(vectors)


def assign_tokens(draws: Draws, populations: list[int]) -> NDArray[np.int64]:
    """The vector of every token: int64[vocab], -1 outside the groups."""
    pinned = [*BYTES, *PADDING]
    others = draws.shuffled(ORDINARY)[: GROUP_TOKENS - len(pinned)]
    vector_of_token = np.full(VOCAB, -1, np.int64)
    numbers = np.repeat(np.arange(len(populations)), populations)
    vector_of_token[draws.shuffled([*pinned, *others])] = numbers
    return vector_of_token
