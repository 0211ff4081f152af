"""Do the values of a dimension lie a power of two times its smallest gap apart?

The quantum of a dimension is the smallest gap between neighbouring distinct values. The published
test asks of each gap whether it is 2**n quanta. In whole steps of the lattice every gap is whole by
construction: that is what quantization by the dtype alone looks like.

The exponents were published in another form: log2 of gap / quantum, rounded, of all gaps. Both are
here, since they answer different questions: the exact ones which gaps are powers of two, the
nearest ones how wide the gaps are. A gap of 3 quanta is nearest to n = 2, and no exact power.
"""

import math
from collections import Counter
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
        nearest_exponents: n -> gaps, of all, whose ratio to the quantum of their dimension is
            nearest to 2**n on a logarithmic scale, ascending. None is halfway between two powers:
            that would be 2**n times the square root of 2, and ratios of gaps are rational.
    """

    gaps: int
    exponents: dict[int, int]
    power_of_two_dimensions: int
    whole_step_gaps: int
    nearest_exponents: dict[int, int]

    @property
    def power_of_two_gaps(self) -> int:
        """Gaps that are a power of two of the quantum of their dimension."""
        return sum(self.exponents.values())


def quantization(vectors: NDArray[Any]) -> Quantization:
    """Compare the gaps of each dimension with the smallest one, exactly.

    A gap is 2**n quanta if both are the same odd integer times a power of two, and nearest to 2**n
    if its square lies between 2**(2n - 1) and 2**(2n + 1) squares of the quantum. The difference of
    two lattice values is exact in float64 unless they are some 2**45 apart in size; where it is
    not (Knuth's TwoSum leaves an error), the dimension is taken in integers.

    Args:
        vectors: float[vectors, dims] of a dtype of ``bits.LATTICES``, finite.
    """
    lattice = np.sort(ordered(vectors), axis=0)
    exact: Counter[int] = Counter()
    nearest: Counter[int] = Counter()
    whole = dimensions = 0
    for dimension in range(lattice.shape[1]):
        column = lattice[:, dimension]
        distinct = column[np.flatnonzero(np.diff(column, prepend=column[:1] - 1))]
        if len(distinct) < 2:
            continue
        powers, rounded = _exponents(from_ordered(distinct, vectors.dtype))
        whole += int((np.diff(distinct.astype(np.int64)) >= 1).sum())
        dimensions += len(powers) == len(rounded)
        exact.update(powers)
        nearest.update(rounded)
    return Quantization(
        nearest.total(), dict(sorted(exact.items())), dimensions, whole,
        dict(sorted(nearest.items())),
    )  # fmt: skip


def _exponents(values: NDArray[Any]) -> tuple[list[int], list[int]]:
    """The n of every gap between ascending values that is exactly 2**n quanta; all nearest n."""
    low, high = values[:-1].astype(np.float64), values[1:].astype(np.float64)
    gap = high - low
    back = gap + low
    if ((high - back) + (low - (back - gap))).any():
        return _exponents_in_integers(values)
    fraction, exponent = np.frexp(gap)
    smallest = int(gap.argmin())
    exponent -= exponent[smallest]
    # The significant bits against those of the quantum, times and by the square root of 2.
    bits = np.ldexp(fraction, 53).astype(np.int64)
    square = int(bits[smallest]) ** 2
    above, below = bits > math.isqrt(2 * square), bits <= math.isqrt(square // 2)
    powers: list[int] = exponent[bits == bits[smallest]].tolist()
    nearest: list[int] = (exponent + above - below).tolist()
    return powers, nearest


def _exponents_in_integers(values: NDArray[Any]) -> tuple[list[int], list[int]]:
    """The same for values of any size, as whole multiples of the smallest of the dtype."""
    unit = -LATTICES[values.dtype].smallest_exponent
    whole = [int(math.ldexp(value, unit)) for value in values.astype(np.float64).tolist()]
    gaps = [high - low for low, high in pairwise(whole)]
    quantum = min(gaps)
    powers = [gap for gap in gaps if gap % quantum == 0 and (gap // quantum).bit_count() == 1]
    # n is the largest with 4**n <= 2 * (gap / quantum)**2.
    return (
        [(gap // quantum).bit_length() - 1 for gap in powers],
        [((2 * gap**2 // quantum**2).bit_length() - 1) // 2 for gap in gaps],
    )
