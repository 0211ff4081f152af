"""Which tokens lie within a radius of the origin?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.errors import TensorError

RULERS = ("ulp", "steps", "l2")
"""The distances that a core can be cut by."""


@dataclass(frozen=True)
class Core:
    """Tokens within a radius, and the halo of those beyond it; together all that were measured.

    Attributes:
        token_ids: int64[n], the core, in the order of the input.
        halo_token_ids: int64[m], the rest, in the order of the input.
        vectors: distinct vectors in the core.
        halo_vectors: distinct vectors in the halo.
        radius: float32, as compared and as written.
    """

    token_ids: NDArray[np.int64]
    halo_token_ids: NDArray[np.int64]
    vectors: int
    halo_vectors: int
    radius: np.float32


def check_measurements(measured: Mapping[str, NDArray[Any]]) -> None:
    """Refuse measurements that contradict themselves (TensorError, names the tensor).

    Args:
        measured: the tensors of measurements.safetensors but for ``vectors``, of agreeing shapes.
    """
    populations, vector_of_token = measured["populations"], measured["vector_of_token"]
    vectors = len(populations)
    for name in ("distance_ulp", "distance_steps", "distance_l2"):
        if not (measured[name] >= 0).all():
            raise TensorError(name, "NaN or a negative value", "distances >= 0: measure again")
    # Without np.unique, which loads all of numpy.ma: a twelfth of the whole stage.
    named = ((vector_of_token >= 0) & (vector_of_token < vectors)).all()
    counts = np.bincount(vector_of_token, minlength=vectors) if named else np.zeros(1)
    if not counts.all():
        raise TensorError(
            "vector_of_token",
            "other numbers than those of the vectors",
            f"each of the {vectors} vectors, for at least one token: measure again",
        )
    if not np.array_equal(populations, counts):
        raise TensorError(
            "populations", "other counts than vector_of_token has", "tokens per vector"
        )
    token_ids, origin, ulp = measured["token_ids"], measured["origin"][0], measured["ulp"][0]
    ordered = np.sort(token_ids)
    if (ordered[1:] == ordered[:-1]).any() or (ordered[:1] < 0).any():
        raise TensorError("token_ids", "a negative or repeated id", "each id once: measure again")
    if vectors and not 0 <= origin < vectors:
        raise TensorError("origin", str(origin), f"a row of vectors, 0 to {vectors - 1}")
    if not 0 < ulp < np.inf:
        raise TensorError("ulp", str(ulp), "a power of two")


def core_within(
    radius: float,
    distance: NDArray[Any],
    vector_of_token: NDArray[np.int64],
    token_ids: NDArray[np.int64],
) -> Core:
    """Take the tokens whose vector has ``distance <= radius``.

    Args:
        radius: not negative; compared as the float32 that the core file stores, so that a
            radius read back from a file gives the same core.
        distance: float32[u] or int64[u], of each vector from the origin; not NaN.
        vector_of_token: int64[n], the vector of each token.
        token_ids: int64[n].
    """
    limit = np.float32(radius)
    within = distance <= limit
    token_within = within[vector_of_token]
    return Core(
        token_ids=token_ids[token_within],
        halo_token_ids=token_ids[~token_within],
        vectors=int(within.sum()),
        halo_vectors=int((~within).sum()),
        radius=limit,
    )
