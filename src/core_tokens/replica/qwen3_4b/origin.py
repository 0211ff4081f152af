"""The Big One of the replica: a vector with the published median, norm and special dimensions.

Its components are sorted by magnitude into *slots*, the largest first: how many values a dimension
takes among the unique vectors depends on how fine the lattice is there, so the dimensions that vary
most are the smallest ones. A nearly normal bulk, and a few large components as real models have.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import from_ordered, ordered
from core_tokens.replica.draws import TABLE, Draws, normal_table
from core_tokens.replica.qwen3_4b import figures

BULK_DEVIATION = 0.005167
"""Puts the median of the bulk at the published one."""
LARGE = (0.1848, 0.119, 0.0806, 0.0738, 0.0612, 0.0476, 0.0392, 0.0335, 0.0281, 0.0244, 0.0221)
"""Magnitudes of the largest components; they bring the norm near the published one."""
FINEST = 2.0**-26
SMALL = tuple(quanta * FINEST for quanta in (225, 193, 161, 129, 97, 65, 33, 1))
"""Magnitudes of the smallest components, closer to zero than the bulk would have them: only where
the lattice is so fine, some gaps between values can be hundreds of times the smallest one."""
FIRST_DIMENSION_SLOT = 700
"""Dimension 0 decides most of the lexicographic order; its lattice step is to be 2 ulp."""


@dataclass(frozen=True)
class Origin:
    """The Big One: ``values`` bfloat16[dims], and the dimension in each slot, int64[dims]."""

    values: NDArray[Any]
    dimension_of_slot: NDArray[np.int64]


def make_origin(draws: Draws) -> Origin:
    """Draw the Big One."""
    magnitudes = _magnitudes()
    dimension_of_slot = _dimensions(draws, magnitudes)
    values = np.empty(figures.DIMS, magnitudes.dtype)
    values[dimension_of_slot] = magnitudes
    signs = draws.raw(figures.DIMS) & np.uint64(1)
    values = np.where(signs == 1, -values, values)
    for dimension, (value, _) in figures.FAR_DIMENSIONS.items():
        values[dimension] = value
    return Origin(values, dimension_of_slot)


def _magnitudes() -> NDArray[Any]:
    """bfloat16[dims], descending, with the published median and norm."""
    ranks = np.arange(figures.DIMS)
    upper = TABLE // 2 + (2 * ranks + 1) * (TABLE // 2) // (2 * figures.DIMS)
    magnitudes = np.sort(normal_table(BULK_DEVIATION)[upper])[::-1]
    magnitudes[: len(LARGE)] = LARGE
    middle = figures.DIMS // 2
    magnitudes[middle - 2 : middle + 2] = figures.MEDIAN
    magnitudes[-len(SMALL) :] = SMALL
    lattice = ordered(magnitudes)
    # One lattice step where it moves the norm towards the published one, the large ones first.
    target = figures.ORIGIN_NORM * figures.ORIGIN_NORM
    far = [round(abs(value), 4) for value, _ in figures.FAR_DIMENSIONS.values()]
    for slot in range(figures.DIMS // 4):
        if round(float(magnitudes[slot]), 4) in far:
            continue
        excess = _square_sum(lattice) - target
        lattice[slot] += 1 if excess < 0 else -1
        if abs(_square_sum(lattice) - target) >= abs(excess):
            lattice[slot] -= 1 if excess < 0 else -1
    return from_ordered(lattice)


def _square_sum(lattice: NDArray[np.int32]) -> float:
    values = from_ordered(lattice).astype(np.float64)
    return math.fsum((values * values).tolist())


def _dimensions(draws: Draws, magnitudes: NDArray[Any]) -> NDArray[np.int64]:
    """A dimension for each slot: drawn, but for those of which something was published."""
    pinned = {figures.DIMS - 1: figures.WIDEST_DIMENSION, FIRST_DIMENSION_SLOT: 0}
    for dimension, (value, _) in figures.FAR_DIMENSIONS.items():
        pinned[int(np.abs(magnitudes.astype(np.float64) - abs(value)).argmin())] = dimension
    others = iter(draws.shuffled([d for d in range(figures.DIMS) if d not in pinned.values()]))
    return np.array([pinned[slot] if slot in pinned else next(others)
                     for slot in range(figures.DIMS)])  # fmt: skip
