"""Random draws with the same bytes on every machine and with every NumPy version.

Only the raw 64-bit output of a bit generator is used, whose stream NumPy guarantees, with integer
arithmetic and single IEEE 754 operations on top; never a distribution function, whose algorithm
may change, and no logarithm or exponential, which differ between C libraries.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import round_to_bfloat16

Item = TypeVar("Item")

DICE = 4
SIDES = 4096
TABLE = 1 << 16
STANDARD_DEVIATION = math.sqrt(DICE * (SIDES**2 - 1) / 12)  # of the sum of the dice


@cache
def normal_quantiles() -> NDArray[np.int32]:
    """Quantiles of a nearly normal distribution in integers: int32[65,536], ascending.

    The sum of four dice of 4,096 sides about its mean (Irwin-Hall), at the probabilities
    (i + 1/2) / 65,536, from the exact counts of its 4,096**4 = 2**48 outcomes.
    """
    pair = np.convolve(np.ones(SIDES, np.int64), np.ones(SIDES, np.int64))
    counts = np.convolve(pair, pair)
    at = (2 * np.arange(TABLE, dtype=np.int64) + 1) << 31
    return (np.searchsorted(np.cumsum(counts), at) - DICE * (SIDES - 1) // 2).astype(np.int32)


def normal_table(deviation: float) -> NDArray[Any]:
    """The quantiles scaled to a standard deviation and rounded: bfloat16[65,536].

    Indexed with uniform 16-bit numbers it draws from the distribution.
    """
    factor = np.float32(deviation / STANDARD_DEVIATION)
    return round_to_bfloat16(normal_quantiles().astype(np.float32) * factor)


class Draws:
    """Small draws from the raw output of PCG64, for the parts that are made one by one."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.PCG64(seed)

    def raw(self, count: int) -> NDArray[np.uint64]:
        """The next ``count`` words: uint64[count]."""
        return self._generator.random_raw(count)

    def table_indices(self, count: int) -> NDArray[np.int64]:
        """The upper 16 bits of the next words, an index into a table each: int64[count]."""
        return (self.raw(count) >> np.uint64(48)).astype(np.int64)

    def below(self, bound: int) -> int:
        """An integer from 0 to ``bound`` - 1 (the bias of 2**-64 does not matter here)."""
        return int(self._generator.random_raw()) % bound

    def choice(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """The items in a new order (Fisher and Yates)."""
        result = list(items)
        for last in range(len(result) - 1, 0, -1):
            other = self.below(last + 1)
            result[last], result[other] = result[other], result[last]
        return result
