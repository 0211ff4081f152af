"""Which tokens lie within a radius of the origin?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.errors import TensorError


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


def check_vector_of_token(vector_of_token: NDArray[np.int64], vectors: int) -> None:
    """Refuse numbers that are not those of the vectors, each for a token or more (TensorError)."""
    if not np.array_equal(np.unique(vector_of_token), np.arange(vectors)):
        raise TensorError(
            "vector_of_token",
            "other numbers than those of the vectors",
            f"each of the {vectors} vectors, for at least one token: measure again",
        )


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
        distance: float32[u] or int64[u], of each vector from the origin.
        vector_of_token: int64[n], the vector of each token.
        token_ids: int64[n].

    Raises:
        TensorError: the measurements contradict each other: a distance is NaN or negative, or a
            token has no vector, or a vector no token.
    """
    if not (distance >= 0).all():
        raise TensorError("distance", "NaN or a negative value", "distances >= 0: measure again")
    check_vector_of_token(vector_of_token, len(distance))
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
