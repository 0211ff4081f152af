"""Which tokens of the replica belong to which vector: the published ids, the rest drawn."""

import numpy as np
from numpy.typing import NDArray

from core_tokens.replica.draws import Draws
from core_tokens.replica.qwen3_4b import figures
from core_tokens.replica.qwen3_4b.vectors import Vector


def assign_tokens(draws: Draws, vectors: list[Vector]) -> NDArray[np.int64]:
    """The vector of every token: int64[vocab], -1 outside the cluster.

    A published group keeps its first tokens: whatever else it gets is larger than they are.
    """
    vector_of_token = np.full(figures.VOCAB, -1, np.int64)
    for number, vector in enumerate(vectors):
        vector_of_token[list(vector.samples)] = number
    waiting = [token for token in _cluster_ids(draws, vectors) if vector_of_token[token] < 0]
    missing = {n: vector.population - len(vector.samples) for n, vector in enumerate(vectors)}
    # Groups first, of these the ones whose tokens must be largest: the choice is narrowest there.
    order = sorted(
        missing, key=lambda n: (vectors[n].population == 1, -max(vectors[n].samples, default=0))
    )
    for number in order:
        least = max(vectors[number].samples, default=-1)
        allowed = draws.shuffled([token for token in waiting if token > least])
        taken = allowed[: missing[number]]
        vector_of_token[taken] = number
        waiting = [token for token in waiting if token not in set(taken)]
    return vector_of_token


def _cluster_ids(draws: Draws, vectors: list[Vector]) -> list[int]:
    """All ids of the cluster: the published ones, the padding, and drawn ones between."""
    ids = {*figures.FIRST_IDS, *figures.PADDING}
    ids.update(token for vector in vectors for token in vector.samples)
    between = range(figures.FIRST_IDS[-1] + 1, figures.PADDING.start)
    others = draws.shuffled([token for token in between if token not in ids])
    return sorted([*ids, *others[: figures.CLUSTER_TOKENS - len(ids)]])
