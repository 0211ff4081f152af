"""How far out do the vectors lie, ulp by ulp?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WHOLE = 0.1
"""A distance this near a whole number of ulp counts as whole."""


@dataclass(frozen=True)
class Shells:
    """Vectors and tokens by their distance from the origin in ulp.

    Attributes:
        whole: float32[shells], the whole numbers of ulp that some distance rounds to (half to
            even), ascending.
        vectors: int64[shells].
        tokens: int64[shells].
        gap_at: the smallest whole number of ulp that no distance rounds to: the first gap.
        whole_percent: of the vectors, those within ``WHOLE`` of a whole number of ulp.
        r90_vectors: the smallest radius in ulp that holds 90% of the vectors; 0 without any.
        r90_tokens: the same of the tokens.
    """

    whole: NDArray[np.float32]
    vectors: NDArray[np.int64]
    tokens: NDArray[np.int64]
    gap_at: int
    whole_percent: float
    r90_vectors: np.float32
    r90_tokens: np.float32


def shells(distance_ulp: NDArray[np.float32], populations: NDArray[np.int64]) -> Shells:
    """Count what lies how many whole ulp from the origin.

    Args:
        distance_ulp: float32[vectors], not negative, not NaN; infinite ones are a shell too.
        populations: int64[vectors], tokens per vector.
    """
    nearest = np.rint(distance_ulp)
    whole, shell_of = np.unique(nearest, return_inverse=True)
    shell_of = shell_of.reshape(-1)
    tokens = np.zeros(len(whole), np.int64)
    np.add.at(tokens, shell_of, populations)
    gap_at = next(gap for gap in range(len(whole) + 1) if gap >= len(whole) or whole[gap] != gap)
    finite = np.isfinite(distance_ulp)
    beyond = np.abs(distance_ulp[finite].astype(np.float64) - nearest[finite])
    count = len(distance_ulp)
    return Shells(
        whole=whole,
        vectors=np.bincount(shell_of, minlength=len(whole)),
        tokens=tokens,
        gap_at=gap_at,
        whole_percent=100 * int((beyond <= WHOLE).sum()) / count if count else 0.0,
        r90_vectors=_radius_of(distance_ulp, np.ones(count, np.int64)),
        r90_tokens=_radius_of(distance_ulp, populations),
    )


def _radius_of(distance: NDArray[np.float32], counts: NDArray[np.int64]) -> np.float32:
    """The smallest distance within which at least nine tenths of all counts lie."""
    if len(distance) == 0:
        return np.float32(0)
    order = np.argsort(distance, kind="stable")
    within = np.cumsum(counts[order])
    return np.float32(distance[order[np.searchsorted(10 * within, 9 * within[-1])]])
