"""The unique vectors of the replica's cluster, and how many tokens share each.

Every vector but the Big One takes in each dimension one of a few values near the Big One's: no
further than its shell allows, and in each dimension exactly as many distinct values as published.
So vectors differ from the Big One in hundreds of dimensions, as real ones do. Three small families
are then derived from one vector each by single lattice steps: the published adjacency.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import from_ordered, ordered, round_to_bfloat16
from core_tokens.replica.draws import Draws
from core_tokens.replica.qwen3_4b import figures
from core_tokens.replica.qwen3_4b.origin import Origin

ULP = 2.0**figures.ULP_EXPONENT
GRID = 48
"""Values are offered at 2 * GRID offsets across the widest distance of the generic vectors."""
NEAR = 1 / 16
"""How far, in ulp, the vectors of shell 0 may be; less than the 0.1 that still counts as whole."""
KEEP = 4
"""One value in KEEP is that of the Big One; the furthest vector keeps none (the diameter)."""
HALO_SLOTS = range(320, 336)
"""Slots where a lattice step is 4 ulp and only the halo varies."""


@dataclass(eq=False)
class Vector:
    """One unique vector while it is made.

    Attributes:
        population: tokens that share it.
        samples: its first tokens, as far as they are published.
        shell: distance from the Big One in whole ulp.
        reach: what its generic components may differ by, in ulp.
        far: one component that differs by exactly this many ulp, if not 0.
        lattice: int32[dims], ordered integers; filled at the end.
        forced: dimension -> ordered integer, set before the rest is drawn.
    """

    population: int
    samples: tuple[int, ...]
    shell: int
    reach: float
    far: float = 0.0
    lattice: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    forced: dict[int, int] = field(default_factory=dict)

    @property
    def in_core(self) -> bool:
        """Within the published radius."""
        return self.shell <= 3


def make_vectors(draws: Draws, origin: Origin) -> list[Vector]:
    """The 125 vectors, the Big One first, with their ordered integers filled in."""
    vectors = _plan()
    families = _families(vectors)
    derived = {member for family in families for member in family[1:]}
    drawn = [vector for vector in vectors[1:] if vector not in derived]
    lattice = ordered(origin.values)
    _force(draws, origin, lattice, drawn)
    counts = _distinct_values()
    for vector in drawn:
        vector.lattice = lattice.copy()
    for slot, dimension in enumerate(origin.dimension_of_slot.tolist()):
        _draw_dimension(draws, lattice, dimension, counts[slot], drawn)
    vectors[0].lattice = lattice
    for family, steps in zip(families, figures.FACE_TREES, strict=True):
        _derive(draws, origin, lattice, family, steps, drawn)
    first = {family[0] for family in families}
    _set_index(lattice, vectors, [vector for vector in drawn if vector not in first])
    return vectors


def _plan() -> list[Vector]:
    """Populations and shells, without components."""
    reach = {0: NEAR, 1: 1.0, 2: 2.0, 3: 2.0, 4: 2.0, 32: 2.0}
    exact = {3: 3.0}
    vectors = [Vector(population, samples, shell, reach[shell])
               for population, samples, shell in figures.GROUPS]  # fmt: skip
    for shell, count in figures.SHELLS.items():
        groups = sum(vector.shell == shell for vector in vectors)
        singles = [Vector(1, (), shell, reach[shell], exact.get(shell, 0.0))
                   for _ in range(count - groups)]  # fmt: skip
        fractional, distance = figures.FRACTIONAL.get(shell, (0, 0.0))
        for vector in singles[:fractional]:
            vector.far = distance
        if shell in (4, 32):
            singles[0].samples = (figures.HALO_SINGLE if shell == 4 else figures.FAR_TOKEN,)
        vectors += singles
    return vectors


def _families(vectors: list[Vector]) -> list[list[Vector]]:
    """The adjacent families: the hub of the first is the 704 tokens, all others are single."""
    singles = [v for v in vectors if v.shell == 2 and v.population == 1 and not v.far]
    families = []
    for number, steps in enumerate(figures.FACE_TREES):
        first = [vectors[1]] if number == 0 else []
        wanted = len(steps) - len(first)
        families.append(first + singles[:wanted])
        singles = singles[wanted:]
    return families


def _distinct_values() -> list[int]:
    """Distinct values in the core for each slot."""
    constant, two = figures.DISTINCT_VALUES[1], figures.DISTINCT_VALUES[2]
    halo_only = figures.DIMS - constant - figures.CORE_VARYING
    counts = [1] * (constant + halo_only) + [2] * (two - halo_only)
    for values, dimensions in figures.DISTINCT_VALUES.items():
        counts += [values] * (dimensions if values > 2 else 0)
    # The rest takes 11 and more: a parabola that ends below the widest, scaled to the total.
    more = figures.DIMS - len(counts) - 1
    rest = figures.DISTINCT_TOTAL - sum(counts) - halo_only - figures.MOST_DISTINCT - 11 * more
    squares = [slot * slot for slot in range(more)]
    shares = [rest * square // sum(squares) for square in squares]
    for slot in range(rest - sum(shares)):
        shares[more - 1 - slot] += 1
    return counts + [11 + share for share in shares] + [figures.MOST_DISTINCT_CORE]


def _ulps(lattice: NDArray[np.int32], dimension: int, values: NDArray[np.int32]) -> NDArray[Any]:
    """Distance in ulp between values of a dimension and the Big One's."""
    here = from_ordered(lattice[[dimension]]).astype(np.float64)
    return np.abs(from_ordered(values).astype(np.float64) - here) / ULP


def _offset(lattice: NDArray[np.int32], dimension: int, ulps: NDArray[Any]) -> NDArray[np.int32]:
    """The lattice values nearest to the Big One's component plus some ulp."""
    here = from_ordered(lattice[[dimension]]).astype(np.float64)
    return ordered(round_to_bfloat16(here + ulps * ULP))


def _force(draws: Draws, origin: Origin, lattice: NDArray[np.int32], drawn: list[Vector]) -> None:
    """Fix the components that decide a distance or an order."""
    slots = origin.dimension_of_slot
    magnitude = np.abs(origin.values.astype(np.float64)) / ULP
    whole = [d for d in slots.tolist() if 140 < magnitude[d] < 250]  # one step is one ulp here
    fine = draws.shuffled(slots[-200:-1].tolist())
    whole = draws.shuffled(whole[len(whole) // 2 :])  # the smaller half takes 4 values or more
    halo = [vector for vector in drawn if not vector.in_core]
    for vector in drawn:
        if vector.far:
            dimension = (whole if vector.shell == 3 else fine).pop()
            sign = 1 if draws.below(2) else -1
            value = _offset(lattice, dimension, np.array([sign * vector.far]))
            vector.forced[dimension] = int(value[0])
    for vector in halo:
        vector.forced[0] = int(lattice[0]) + (-1 if vector.shell == 32 else 1)
        if vector.shell == 32:
            for dimension in figures.FAR_DIMENSIONS:
                step = ordered(np.array(figures.FAR_DIMENSIONS[dimension], origin.values.dtype))
                vector.forced[dimension] = int(step[1])
    for nth, slot in enumerate(HALO_SLOTS):
        two = [vector for vector in halo if vector.shell == 4]
        dimension = int(slots[slot])
        two[nth % len(two)].forced[dimension] = int(lattice[dimension]) + (
            1 if draws.below(2) else -1
        )


def _draw_dimension(
    draws: Draws, lattice: NDArray[np.int32], dimension: int, count: int, drawn: list[Vector]
) -> None:
    """Give every drawn vector its value in one dimension, ``count`` distinct ones in the core."""
    here = int(lattice[dimension])
    free = [vector for vector in drawn if dimension not in vector.forced]
    forced = {v.forced[dimension] for v in drawn if dimension in v.forced and v.in_core}
    for vector in drawn:
        vector.lattice[dimension] = vector.forced.get(dimension, here)
    if count == 1:
        return
    wide, near = _offered(lattice, dimension)
    chosen = sorted(forced)
    for number in range(count - 1 - len(forced)):
        offers = near if near and number % 2 else wide or near
        value = draws.choice([value for value in offers if value not in chosen])
        offers.remove(value)
        chosen.append(value)
    distance = dict(zip(chosen, _ulps(lattice, dimension, np.array(chosen, np.int32)), strict=True))
    # Each value must be taken: the furthest first, for which the fewest vectors reach.
    waiting = draws.shuffled([vector for vector in free if vector.in_core])
    for value in sorted((v for v in chosen if v not in forced), key=lambda v: (-distance[v], v)):
        taker = min((v for v in waiting if v.reach >= distance[value]), key=lambda v: v.reach)
        taker.lattice[dimension] = value
        waiting.remove(taker)
    extra = []
    if dimension == figures.WIDEST_DIMENSION:
        extra = [v for v in wide if v not in chosen][: figures.MOST_DISTINCT - count]
    for vector in waiting + [vector for vector in free if not vector.in_core]:
        if extra and not vector.in_core:
            vector.lattice[dimension] = extra.pop()
            continue
        reachable = [v for v in chosen if v not in forced and distance[v] <= vector.reach]
        if reachable and (draws.below(KEEP) or vector.shell == 32):
            vector.lattice[dimension] = draws.choice(reachable)


def _offered(lattice: NDArray[np.int32], dimension: int) -> tuple[list[int], list[int]]:
    """Values of a dimension to choose from: within 2 ulp, and within what shell 0 may take."""
    lists = []
    for widest in (2.0, NEAR):
        offsets = np.arange(-GRID, GRID + 1) * (widest / GRID)
        values = np.unique(_offset(lattice, dimension, offsets))
        values = values[(values != lattice[dimension]) & (values != 0)]
        lists.append(values[_ulps(lattice, dimension, values) <= widest].tolist())
    wide, near = lists
    return [value for value in wide if value not in near], near


def _derive(
    draws: Draws,
    origin: Origin,
    lattice: NDArray[np.int32],
    family: list[Vector],
    steps: tuple[tuple[int, ...], ...],
    drawn: list[Vector],
) -> None:
    """Copy a family's first vector to the rest, each a few single lattice steps away."""
    first = family[0]
    magnitude = np.abs(origin.values.astype(np.float64)) / ULP
    coarse = (magnitude > 266) & (magnitude < 500)  # one step is two ulp here: all distances stay
    taken_up = np.array([vector.lattice for vector in drawn if vector.in_core]) == lattice + 1
    usable = np.flatnonzero(coarse & (first.lattice == lattice) & taken_up.any(axis=0))
    dimensions = draws.shuffled(usable[usable > 0].tolist())
    for vector, taken in zip(family, steps, strict=True):
        if vector is not first:
            vector.lattice = first.lattice.copy()
        for step in taken:
            vector.lattice[dimensions[step]] += 1


def _set_index(lattice: NDArray[np.int32], vectors: list[Vector], free: list[Vector]) -> None:
    """Move vectors across the Big One in dimension 0 until it has its published index."""
    origin = lattice.tolist()
    excess = sum(vector.lattice.tolist() < origin for vector in vectors) - figures.ORIGIN_INDEX
    for vector in free:
        side = -1 if vector.lattice.tolist() < origin else 1
        if excess * side < 0 and vector.in_core and vector.reach == 2:
            vector.lattice[0] = lattice[0] - side  # one step of 2 ulp
            excess += side
