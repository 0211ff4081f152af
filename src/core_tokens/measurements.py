"""What can be said of a list of tokens without choosing a radius: the three distances."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import BFLOAT16, from_ordered, ordered, round_to_bfloat16, ulp_exponent
from core_tokens.distances import distance_l2, distance_steps, distance_ulp
from core_tokens.errors import TensorError
from core_tokens.groups import identical_rows

NO_ORIGIN = -1


@dataclass(frozen=True)
class Measurements:
    """n tokens as u distinct vectors, each measured from the most populated one.

    Attributes:
        token_ids: int64[n], in the order given.
        vector_of_token: int64[n], the row of ``vectors`` that each token has.
        vectors: bfloat16[u, dims], distinct, in lexicographic order of their values.
        populations: int64[u], tokens per vector; they sum to n.
        distance_ulp: float32[u], L-infinity distance from the origin in ulp.
        distance_steps: int64[u], L-infinity distance in bfloat16 steps.
        distance_l2: float32[u], Euclidean distance.
        origin: the most populated row of ``vectors``, of equals the first; -1 without tokens.
        ulp_exponent: log2 of the ulp.
        changed_tokens: tokens whose row rounding to bfloat16 changed.
    """

    token_ids: NDArray[np.int64]
    vector_of_token: NDArray[np.int64]
    vectors: NDArray[Any]
    populations: NDArray[np.int64]
    distance_ulp: NDArray[np.float32]
    distance_steps: NDArray[np.int64]
    distance_l2: NDArray[np.float32]
    origin: int
    ulp_exponent: int
    changed_tokens: int


def check_not_empty(token_ids: NDArray[Any]) -> None:
    """Refuse a list of tokens without any (TensorError)."""
    if len(token_ids) == 0:
        raise TensorError("cluster_token_ids", "no ids", "the ids of a cluster, at least one")


def check_token_ids(token_ids: NDArray[Any], vocab: int) -> None:
    """Refuse ids that are negative, beyond the vocabulary or repeated (TensorError)."""
    name = "cluster_token_ids"
    if len(token_ids) == 0:
        return
    low, high = int(token_ids.min()), int(token_ids.max())
    if low < 0:
        raise TensorError(name, f"the negative id {low}", f"ids from 0 to {vocab - 1}")
    if high >= vocab:
        raise TensorError(
            name, f"the id {high}", f"ids from 0 to {vocab - 1}, since W has {vocab} rows"
        )
    ids, counts = np.unique(token_ids, return_counts=True)
    if len(ids) < len(token_ids):
        raise TensorError(name, f"the id {ids[counts > 1][0]} more than once", "each id once")


def measure(matrix: NDArray[Any], token_ids: NDArray[np.int64]) -> Measurements:
    """Measure how far the rows of some tokens lie from the most populated of their vectors.

    Args:
        matrix: float[vocab, dims], possibly mapped; of it only the rows of the tokens are read.
            Another dtype than bfloat16 is rounded to it.
        token_ids: int64[n], distinct.

    Raises:
        TensorError: an id is negative, repeated or beyond the vocabulary, or a row of a token
            holds NaN or infinity as bfloat16.
    """
    check_token_ids(token_ids, len(matrix))
    groups = identical_rows(matrix, token_ids, as_bfloat16=True)
    vectors = round_to_bfloat16(matrix[token_ids[groups.first]])
    _check_finite(vectors, token_ids[groups.first])
    # The bytes of big-endian integers compare as the integers do, and rows as their values.
    lattice = ordered(vectors)
    keys = [row.tobytes() for row in (lattice + 0x8000).astype(">u2")]
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    vectors = from_ordered(lattice[order])
    populations = groups.sizes[order]
    if len(populations) == 0:
        origin, exponent = NO_ORIGIN, ulp_exponent(np.empty(0, BFLOAT16))
        centre = np.zeros(matrix.shape[1], BFLOAT16)
    else:
        origin = int(populations.argmax())
        centre = vectors[origin]
        exponent = ulp_exponent(centre)
    return Measurements(
        token_ids=token_ids,
        vector_of_token=rank[groups.group_of_row],
        vectors=vectors,
        populations=populations,
        distance_ulp=distance_ulp(vectors, centre, exponent),
        distance_steps=distance_steps(vectors, centre),
        distance_l2=distance_l2(vectors, centre),
        origin=origin,
        ulp_exponent=exponent,
        changed_tokens=_changed(matrix, token_ids),
    )


def _check_finite(vectors: NDArray[Any], token_of_vector: NDArray[np.int64]) -> None:
    """Refuse NaN and infinity, naming the first token that has one."""
    wrong = ~np.isfinite(vectors.astype(np.float32))
    if wrong.any():
        vector, dimension = (int(index[0]) for index in wrong.nonzero())
        raise TensorError(
            "W",
            f"{vectors[vector, dimension]} as bfloat16 at row {token_of_vector[vector]}, "
            f"dimension {dimension}",
            "finite values in the rows of the cluster",
        )


def _changed(matrix: NDArray[Any], token_ids: NDArray[np.int64]) -> int:
    """The number of tokens whose row is not exactly representable in bfloat16."""
    if matrix.dtype == BFLOAT16:
        return 0
    changed = 0
    for start in range(0, len(token_ids), 256):
        rows = matrix[token_ids[start : start + 256]]
        changed += int((round_to_bfloat16(rows).astype(rows.dtype) != rows).any(axis=1).sum())
    return changed
