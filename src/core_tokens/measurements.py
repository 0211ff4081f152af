"""What can be said of a list of tokens without choosing a radius: the three distances."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import (
    LATTICES,
    from_ordered,
    ordered,
    round_to_bfloat16,
    ulp_exponent,
)
from core_tokens.distances import distance_l2, distance_steps, distance_ulp
from core_tokens.errors import TensorError
from core_tokens.groups import changed_rows, identical_rows

NO_ORIGIN = -1


@dataclass(frozen=True)
class Measurements:
    """n tokens as u distinct vectors, each measured from the most populated one.

    Attributes:
        token_ids: int64[n], in the order given.
        vector_of_token: int64[n], the row of ``vectors`` that each token has.
        vectors: float[u, dims], bfloat16 or native; distinct, in lexicographic order of their
            values.
        populations: int64[u], tokens per vector; they sum to n.
        distance_ulp: float32[u], L-infinity distance from the origin in ulp.
        distance_steps: int64[u], L-infinity distance in lattice steps.
        distance_l2: float32[u], Euclidean distance.
        origin: the most populated row of ``vectors``, of equals the first; -1 without tokens.
        ulp_exponent: log2 of the ulp.
        changed_tokens: tokens whose row rounding to bfloat16 changed, 0 where nothing is rounded.
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


def measure(
    matrix: NDArray[Any],
    token_ids: NDArray[np.int64],
    precision: Literal["bfloat16", "native"] = "bfloat16",
) -> Measurements:
    """Measure how far the rows of some tokens lie from the most populated of their vectors.

    Args:
        matrix: float[vocab, dims], possibly mapped; of it only the rows of the tokens are read.
        token_ids: int64[n], distinct.
        precision: whose values the rows have: "bfloat16", to which other dtypes are rounded, or
            "native", those of a matrix of bfloat16, float16 or float32 as it is stored.

    Raises:
        TensorError: the matrix is of another dtype than native can be, an id is negative,
            repeated or beyond the vocabulary, or a row of a token holds NaN or infinity.
    """
    rounded = precision == "bfloat16"
    if not (rounded or matrix.dtype in LATTICES):
        raise TensorError("W", f"{matrix.dtype}", "BF16, F16 or F32 for measure.precision native")
    check_token_ids(token_ids, len(matrix))
    groups = identical_rows(matrix, token_ids, as_bfloat16=rounded)
    vectors = matrix[token_ids[groups.first]]
    if rounded:
        vectors = round_to_bfloat16(vectors)
    _check_finite(vectors, token_ids[groups.first])
    # The bytes of big-endian integers compare as the integers do, and rows as their values.
    lattice, width = ordered(vectors), vectors.dtype.itemsize
    keys = [row.tobytes() for row in (lattice + np.int64(1 << 8 * width - 1)).astype(f">u{width}")]
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    vectors = from_ordered(lattice[order], vectors.dtype)
    populations = groups.sizes[order]
    origin = int(populations.argmax()) if len(populations) else NO_ORIGIN
    centre = vectors[origin] if len(populations) else np.zeros(matrix.shape[1], vectors.dtype)
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
        changed_tokens=changed_rows(matrix, token_ids) if rounded else 0,
    )


@np.errstate(invalid="ignore")  # of a signalling NaN
def _check_finite(vectors: NDArray[Any], token_of_vector: NDArray[np.int64]) -> None:
    """Refuse NaN and infinity, naming the first token that has one."""
    wrong = ~np.isfinite(vectors)
    if wrong.any():
        vector, dimension = (int(index[0]) for index in wrong.nonzero())
        raise TensorError(
            "W",
            f"{vectors[vector, dimension]} as {vectors.dtype} at row {token_of_vector[vector]}, "
            f"dimension {dimension}",
            "finite values in the rows of the cluster",
        )
