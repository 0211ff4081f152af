"""How many distinct values does each dimension take?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import ordered


@dataclass(frozen=True)
class Diversity:
    """Distinct values per dimension.

    Attributes:
        distinct: int64[dims]; 1 in a dimension that is constant, 0 if there are no vectors.
    """

    distinct: NDArray[np.int64]

    @property
    def constant_dimensions(self) -> int:
        """Dimensions in which all vectors agree."""
        return int((self.distinct == 1).sum())

    @property
    def varying_dimensions(self) -> int:
        """Dimensions with two values or more."""
        return int((self.distinct > 1).sum())

    @property
    def distinct_max_dimension(self) -> int:
        """The dimension with the most values, of equals the first; -1 without vectors."""
        return int(self.distinct.argmax()) if self.distinct.any() else -1

    def histogram(self) -> dict[int, int]:
        """Distinct values -> dimensions that have so many, ascending."""
        values, dimensions = np.unique(self.distinct, return_counts=True)
        return dict(zip(values.tolist(), dimensions.tolist(), strict=True))


def diversity(vectors: NDArray[Any]) -> Diversity:
    """Count the distinct values of each dimension; -0 equals +0.

    Args:
        vectors: float[vectors, dims] of a dtype of ``bits.LATTICES``, finite.
    """
    columns = np.sort(ordered(vectors), axis=0)
    changes = (columns[1:] != columns[:-1]).sum(axis=0)
    return Diversity(np.asarray(changes + (1 if len(vectors) else 0), np.int64))
