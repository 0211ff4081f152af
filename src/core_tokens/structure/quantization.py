"""Do the values of a dimension lie a power of two times its smallest gap apart?

The quantum of a dimension is the smallest gap between neighbouring distinct values. The published
test asks of each gap whether it is 2**n quanta. In whole steps of the lattice every gap is whole by
construction: that is what quantization by the dtype alone looks like.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import LATTICES, from_ordered, ordered


@dataclass(frozen=True)
class Quantization:
    """The gaps between neighbouring distinct values, over all varying dimensions.

    Attributes:
        gaps: how many.
        exponents: n -> gaps that are exactly 2**n quanta of their dimension, ascending.
        power_of_two_dimensions: varying dimensions in which every gap is such.
        whole_step_gaps: gaps that are whole lattice steps.
    """

    gaps: int
    exponents: dict[int, int]
    power_of_two_dimensions: int
    whole_step_gaps: int

    @property
    def power_of_two_gaps(self) -> int:
        """Gaps that are a power of two of the quantum of their dimension."""
        return sum(self.exponents.values())


def quantization(vectors: NDArray[Any]) -> Quantization:
    """Compare the gaps of each dimension with the smallest one, exactly.

    A gap is 2**n quanta if both are the same odd integer times a power of two. The difference of
    two lattice values is exact in float64 unless they are some 2**45 apart in size; where it is
    not (Knuth's TwoSum leaves an error), the dimension is taken in integers.

    Args:
        vectors: float[vectors, dims] of a dtype of ``bits.LATTICES``, finite.
    """
    lattice = np.sort(ordered(vectors), axis=0)
    exponents: dict[int, int] = {}
    gaps = whole = dimensions = 0
    for dimension in range(lattice.shape[1]):
        column = lattice[:, dimension]
        distinct = column[np.flatnonzero(np.diff(column, prepend=column[:1] - 1))]
        if len(distinct) < 2:
            continue
        found = _exponents(from_ordered(distinct, vectors.dtype))
        steps = np.diff(distinct.astype(np.int64))
        gaps += len(steps)
        whole += int((steps >= 1).sum())
        dimensions += len(found) == len(steps)
        for exponent in found:
            exponents[exponent] = exponents.get(exponent, 0) + 1
    return Quantization(gaps, dict(sorted(exponents.items())), dimensions, whole)


def _exponents(values: NDArray[Any]) -> list[int]:
    """The n of every gap between ascending values that is exactly 2**n times the smallest gap."""
    low, high = values[:-1].astype(np.float64), values[1:].astype(np.float64)
    gap = high - low
    back = gap + low
    if ((high - back) + (low - (back - gap))).any():
        return _exponents_in_integers(values)
    odd, exponent = np.frexp(gap)
    smallest = int(gap.argmin())
    alike = odd == odd[smallest]
    found: list[int] = (exponent[alike] - exponent[smallest]).tolist()
    return found


def _exponents_in_integers(values: NDArray[Any]) -> list[int]:
    """The same for values of any size, as whole multiples of the smallest of the dtype."""
    unit = -LATTICES[values.dtype].smallest_exponent
    whole = [int(math.ldexp(value, unit)) for value in values.astype(np.float64).tolist()]
    gaps = [high - low for low, high in pairwise(whole)]
    shift = [(gap & -gap).bit_length() - 1 for gap in gaps]
    smallest = gaps.index(min(gaps))
    return [
        shift[at] - shift[smallest]
        for at, gap in enumerate(gaps)
        if gap >> shift[at] == gaps[smallest] >> shift[smallest]
    ]
