"""Which values does each dimension of the cluster take?

As many as published, and as far apart. The finer the lattice at the Big One's component, the more.
"""

from dataclasses import dataclass

import numpy as np

from core_tokens.bits import ordered, round_to_bfloat16
from core_tokens.replica.draws import Draws
from core_tokens.replica.qwen3_4b import figures
from core_tokens.replica.qwen3_4b.gaps import set_gaps
from core_tokens.replica.qwen3_4b.origin import Origin
from core_tokens.replica.qwen3_4b.walk import Walk


@dataclass(frozen=True)
class Values:
    """The values, as ordered integers, of every dimension that varies in the core.

    Attributes:
        ulps: dimension -> each value but the Big One's -> its distance from that one in ulp.
        distant: for each distance asked for, a dimension and a value in it.
        only_in_halo: further values of the widest dimension.
    """

    ulps: dict[int, dict[int, float]]
    distant: list[tuple[int, int]]
    only_in_halo: list[int]


def make_values(draws: Draws, origin: Origin, distances: list[float]) -> Values:
    """Draw the values.

    Args:
        draws: what they are drawn from.
        origin: the Big One.
        distances: in ulp; for each, one dimension has its outermost value on one side there.
    """
    counts = _distinct_values()
    dimensions = origin.dimension_of_slot[-len(counts) :].tolist()
    components = origin.values.astype(np.float64)[dimensions].tolist()
    walks = [Walk(here, count - 1) for here, count in zip(components, counts, strict=True)]
    distant = []
    for distance in distances:
        offset = (1 if draws.below(2) else -1) * distance * figures.ULP
        number = next(n for n in draws.shuffled(range(len(walks))) if walks[n].end_at(offset))
        distant.append((dimensions[number], _ordered([components[number] + offset])[0]))
    set_gaps(draws, walks)
    ulps = {}
    for dimension, here, walk in zip(dimensions, components, walks, strict=True):
        values = walk.values()
        away = [abs(value - here) / figures.ULP for value in values]
        ulps[dimension] = dict(zip(_ordered(values), away, strict=True))
    widest = ulps[figures.WIDEST_DIMENSION]
    outermost = sorted(widest, key=lambda value: (widest[value], value))
    only_in_halo = outermost[figures.MOST_DISTINCT_CORE - 1 :]
    for value in only_in_halo:
        del widest[value]
    return Values(ulps, distant, only_in_halo)


def _ordered(values: list[float]) -> list[int]:
    integers: list[int] = ordered(round_to_bfloat16(np.array(values))).tolist()
    return integers


def _distinct_values() -> list[int]:
    """How many values the dimensions take that vary in the core, by slot."""
    only_in_halo = figures.DIMS - figures.DISTINCT_VALUES[1] - figures.CORE_VARYING
    counts = [2] * (figures.DISTINCT_VALUES[2] - only_in_halo)
    for values, dimensions in figures.DISTINCT_VALUES.items():
        counts += [values] * (dimensions if values > 2 else 0)
    # The rest takes 11 and more: a parabola that ends below the widest, scaled to the total.
    more = figures.CORE_VARYING - len(counts) - 1
    gaps = only_in_halo + sum(values - 1 for values in counts) + figures.MOST_DISTINCT - 1
    rest = figures.GAPS - gaps - 10 * more
    squares = [slot * slot for slot in range(more)]
    shares = [rest * square // sum(squares) for square in squares]
    for slot in range(rest - sum(shares)):
        shares[more - 1 - slot] += 1
    return counts + [11 + share for share in shares] + [figures.MOST_DISTINCT]
