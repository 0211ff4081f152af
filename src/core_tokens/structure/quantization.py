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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import LATTICES, from_ordered, ordered

BLOCK_VALUES = 1 << 22
"""Dimensions are taken together up to about so many values."""


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
    exact: Counter[int] = Counter()
    nearest: Counter[int] = Counter()
    whole = dimensions = 0
    columns = ordered(vectors).T
    step = max(1, BLOCK_VALUES // max(1, len(vectors)))
    for first in range(0, len(columns), step):
        lattice = np.sort(columns[first : first + step], axis=1)
        dimension, place = np.nonzero(lattice[:, 1:] != lattice[:, :-1])
        low, high = lattice[dimension, place], lattice[dimension, place + 1]
        whole += int((np.subtract(high, low, dtype=np.int64) >= 1).sum())
        if not len(dimension):
            continue
        start = np.flatnonzero(np.diff(dimension, prepend=-1))
        low, high = from_ordered(low, vectors.dtype), from_ordered(high, vectors.dtype)
        n, is_power = _exponents(low, high, start)
        exact.update(n[is_power].tolist())
        nearest.update(n.tolist())
        dimensions += int(np.logical_and.reduceat(is_power, start).sum())
    return Quantization(
        nearest.total(), dict(sorted(exact.items())), dimensions, whole,
        dict(sorted(nearest.items())),
    )  # fmt: skip


def _exponents(
    low: NDArray[Any], high: NDArray[Any], start: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The n that every gap is nearest to, and whether it is exactly 2**n quanta.

    Args:
        low: float[gaps], where the gaps begin, dimension by dimension.
        high: float[gaps], where they end.
        start: int64[dimensions], the first gap of each.
    """
    wide_low, wide_high = low.astype(np.float64), high.astype(np.float64)
    gap = wide_high - wide_low
    back = gap + wide_low
    inexact = ((wide_high - back) + (wide_low - (back - gap))) != 0
    # The significant bits against those of the quantum, times and by the square root of 2.
    size = np.diff(start, append=len(gap))
    quanta, quantum_exponent = np.frexp(np.minimum.reduceat(gap, start))
    quantum = [int(bits) for bits in np.ldexp(quanta, 53)]
    limits = [(q, math.isqrt(2 * q * q), math.isqrt(q * q // 2)) for q in quantum]
    alike, above, below = np.repeat(np.array(limits, np.int64), size, axis=0).T
    fraction, exponent = np.frexp(gap)
    bits = np.ldexp(fraction, 53).astype(np.int64)
    is_power = bits == alike
    n = exponent - np.repeat(quantum_exponent, size).astype(np.int64)
    n += (bits > above).astype(np.int64) - (bits <= below)
    for at in np.flatnonzero(np.logical_or.reduceat(inexact, start)):
        here = slice(start[at], start[at] + size[at])
        n[here], is_power[here] = _exponents_in_integers(low[here], high[here])
    return n, is_power


def _exponents_in_integers(low: NDArray[Any], high: NDArray[Any]) -> tuple[list[int], list[bool]]:
    """The same of one dimension with values of any size, as multiples of the dtype's smallest."""
    unit = -LATTICES[low.dtype].smallest_exponent
    begin, end = (
        [int(math.ldexp(value, unit)) for value in values.astype(np.float64).tolist()]
        for values in (low, high)
    )
    gaps = [after - before for before, after in zip(begin, end, strict=True)]
    quantum = min(gaps)
    # n is the largest with 4**n <= 2 * (gap / quantum)**2.
    return (
        [((2 * gap**2 // quantum**2).bit_length() - 1) // 2 for gap in gaps],
        [gap % quantum == 0 and (gap // quantum).bit_count() == 1 for gap in gaps],
    )
