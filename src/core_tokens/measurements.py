"""What can be said of a list of tokens without choosing a radius: the three distances."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike, NDArray

from core_tokens.bits import (
    BFLOAT16,
    LATTICES,
    ordered,
    positive_zeros,
    round_to_bfloat16,
    ulp_exponent,
)
from core_tokens.distances import distance_l2, distance_steps, distance_ulp
from core_tokens.errors import TensorError
from core_tokens.groups import Groups, blocks, changed_rows, identical_rows
from core_tokens.parallel import over_rows

NO_ORIGIN = -1
BLOCK_VALUES = 1 << 17
"""Vectors of about this many values are measured at once: a MiB of float64."""
FLOATS = {
    str(dtype): dtype
    for dtype in (
        BFLOAT16,
        np.dtype(np.float16),
        np.dtype(np.float32),
        np.dtype(np.float64),
        np.dtype(ml_dtypes.float8_e4m3fn),
        np.dtype(ml_dtypes.float8_e5m2),
    )
}
"""The dtypes of a matrix that can be measured, by the names that NumPy and torch share."""
Precision = Literal["bfloat16", "native"]


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


class Distances(NamedTuple):
    """How far each vector is from the origin, under the three rulers; see ``Measurements``."""

    ulp: NDArray[np.float32]
    steps: NDArray[np.int64]
    l2: NDArray[np.float32]


def check_matrix(dtype: str, shape: Sequence[int], precision: Precision) -> None:
    """Refuse what is no matrix of floats, or none that ``precision`` allows (TensorError)."""
    if dtype not in FLOATS or len(shape) != 2 or 0 in shape:
        raise TensorError(
            "W", f"{dtype}{list(shape)}", f"a matrix [vocab, dim] of {', '.join(FLOATS)}"
        )
    if precision == "native" and FLOATS[dtype] not in LATTICES:
        raise TensorError("W", dtype, "BF16, F16 or F32 for measure.precision native")


def as_token_ids(token_ids: ArrayLike) -> NDArray[np.int64]:
    """Any list of integers as int64[n]; an array of them is returned itself (TensorError)."""
    ids = np.asarray(token_ids)
    integers = np.can_cast(ids.dtype, np.int64) and ids.dtype != np.bool_
    if ids.shape != (0,) and not (integers and ids.ndim == 1):
        raise TensorError(
            "cluster_token_ids", f"{ids.dtype}{list(ids.shape)}", "a list of integers, int64[n]"
        )
    return ids.astype(np.int64, copy=False)


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
    matrix: NDArray[Any], token_ids: ArrayLike, precision: Precision = "bfloat16"
) -> Measurements:
    """Measure how far the rows of some tokens lie from the most populated of their vectors.

    Args:
        matrix: float[vocab, dims], possibly mapped; of it only the rows of the tokens are read.
        token_ids: integers[n], distinct.
        precision: whose values the rows have: "bfloat16", to which other dtypes are rounded, or
            "native", those of a matrix of bfloat16, float16 or float32 as it is stored.

    Raises:
        TensorError: not a matrix, or of another dtype than precision allows; an id is negative,
            repeated, beyond the vocabulary or no integer; a row of a token holds NaN or infinity.
    """
    check_matrix(str(matrix.dtype), matrix.shape, precision)
    ids = as_token_ids(token_ids)
    check_token_ids(ids, len(matrix))
    rounded = precision == "bfloat16"
    groups = identical_rows(matrix, ids, as_bfloat16=rounded)
    vectors = matrix[ids[groups.first]]
    if rounded:
        vectors = round_to_bfloat16(vectors)
    changed = changed_rows(matrix, ids) if rounded else 0
    return assemble(ids, groups, vectors, changed, partial(distances_from, vectors))


def distances_from(vectors: NDArray[Any], origin: NDArray[Any], exponent: int) -> Distances:
    """All three distances of float[u, dims] from float[dims], of which an ulp is 2**exponent."""
    count, dims = vectors.shape
    found = Distances(np.empty(count, np.float32), np.empty(count, np.int64), np.empty(count, "f4"))
    step = max(1, BLOCK_VALUES // dims)

    def part(start: int, stop: int) -> None:
        for at in range(start, stop, step):
            rows = slice(at, min(at + step, stop))
            found.ulp[rows] = distance_ulp(vectors[rows], origin, exponent)
            found.steps[rows] = distance_steps(vectors[rows], origin)
            found.l2[rows] = distance_l2(vectors[rows], origin)

    over_rows(part, count, dims * vectors.dtype.itemsize)
    return found


def assemble(
    token_ids: NDArray[np.int64],
    groups: Groups,
    vectors: NDArray[Any],
    changed_tokens: int,
    distances: Callable[[NDArray[Any], int], Distances],
) -> Measurements:
    """Put the groups of identical rows in order, and measure them from the most populated.

    Args:
        token_ids: int64[n].
        groups: of the rows of these tokens.
        vectors: float[u, dims], the row of each group.
        changed_tokens: see ``Measurements``.
        distances: origin, exponent of its ulp -> the distances of ``vectors``.

    Raises:
        TensorError: a vector holds NaN or infinity.
    """
    _check_finite(vectors, token_ids[groups.first])
    # The bytes of big-endian integers compare as the integers do, and rows as their values.
    width = vectors.dtype.itemsize
    middle = np.int64(1 << 8 * width - 1)
    keys = [
        row.tobytes()
        for block in blocks(vectors)
        for row in (ordered(block) + middle).astype(f">u{width}")
    ]
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    in_order = positive_zeros(vectors)[order]
    populations = groups.sizes[order]
    origin = int(populations.argmax()) if len(populations) else NO_ORIGIN
    centre = in_order[origin] if len(populations) else np.zeros(vectors.shape[1], vectors.dtype)
    exponent = ulp_exponent(centre)
    found = distances(centre, exponent)
    return Measurements(
        token_ids=token_ids,
        vector_of_token=rank[groups.group_of_row],
        vectors=in_order,
        populations=populations,
        distance_ulp=found.ulp[order],
        distance_steps=found.steps[order],
        distance_l2=found.l2[order],
        origin=origin,
        ulp_exponent=exponent,
        changed_tokens=changed_tokens,
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
