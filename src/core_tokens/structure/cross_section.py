"""How do the vectors lie in the plane of the two dimensions that vary most?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.distances import sum_by_halves


@dataclass(frozen=True)
class CrossSection:
    """The plane, and the points in it.

    Attributes:
        dimensions: of the largest and the second largest variance, of equals the first; -1 where
            there is none.
        variances: float32[2], sample variances over the vectors.
        points: float[points, 2], the distinct points in lexicographic order.
        populations: int64[points], tokens of the vectors that share a point.
    """

    dimensions: tuple[int, int]
    variances: NDArray[np.float32]
    points: NDArray[Any]
    populations: NDArray[np.int64]


def cross_section(vectors: NDArray[Any], populations: NDArray[np.int64]) -> CrossSection:
    """Cut through the two dimensions of largest variance.

    The sample variance, the sum of squared distances from the mean over vectors - 1, is taken in
    float64 in a fixed order and rounded to float32; of a single vector it is 0.

    Args:
        vectors: float[vectors, dims], finite.
        populations: int64[vectors], tokens per vector.
    """
    count = len(vectors)
    if count == 0:
        nothing = np.zeros(2, np.float32)
        return CrossSection((-1, -1), nothing, vectors[:, :2].astype(np.float64), populations)
    columns = vectors.T.astype(np.float64)
    mean = sum_by_halves(columns.copy()) / count
    deviations = columns - mean[:, None]
    variance = sum_by_halves(deviations * deviations) / max(1, count - 1)
    with np.errstate(over="ignore"):
        rounded = variance.astype(np.float32)
    chosen = np.argsort(-rounded, kind="stable")[:2].tolist()
    plane = columns[chosen].T + 0.0  # -0 is 0
    points, point_of = np.unique(plane, axis=0, return_inverse=True)
    tokens = np.bincount(point_of.reshape(-1), weights=populations, minlength=len(points))
    x, y = (*chosen, -1)[:2]
    variances = np.append(rounded[chosen], np.zeros(2 - len(chosen), np.float32))
    return CrossSection((x, y), variances, points, tokens.astype(np.int64))
