"""The unique vectors of the replica's cluster, and how many tokens share each.

Every vector but the Big One takes in each dimension one of its few values near the Big One's, no
further than its shell allows, and every value is taken. So vectors differ from the Big One in
hundreds of dimensions, as real ones do. Three small families are then derived from one vector each
by single lattice steps: the published adjacency.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import ordered
from core_tokens.replica.draws import Draws
from core_tokens.replica.qwen3_4b import figures
from core_tokens.replica.qwen3_4b.origin import Origin
from core_tokens.replica.qwen3_4b.values import Values, make_values

NEAR = 1 / 16
"""How far, in ulp, the vectors of shell 0 may be; less than the 0.1 that still counts as whole."""
KEEP = 3
"""One value in KEEP is that of the Big One. The furthest vector keeps none (the diameter)."""
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
    values = make_values(draws, origin, [vector.far for vector in drawn if vector.far])
    _force(draws, origin, lattice, drawn, values)
    for vector in drawn:
        vector.lattice = lattice.copy()
        vector.lattice[list(vector.forced)] = list(vector.forced.values())
    for dimension, ulps in values.ulps.items():
        _take_values(draws, dimension, ulps, drawn)
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


def _force(
    draws: Draws, origin: Origin, lattice: NDArray[np.int32], drawn: list[Vector], values: Values
) -> None:
    """Fix the components that decide a distance or an order."""
    far = [vector for vector in drawn if vector.far]
    for vector, (dimension, value) in zip(far, values.distant, strict=True):
        vector.forced[dimension] = value
    halo = [vector for vector in drawn if not vector.in_core]
    for vector in halo:
        vector.forced[0] = int(lattice[0]) + (-1 if vector.shell == 32 else 1)
        if vector.shell == 32:
            for dimension in figures.FAR_DIMENSIONS:
                step = ordered(np.array(figures.FAR_DIMENSIONS[dimension], origin.values.dtype))
                vector.forced[dimension] = int(step[1])
    for nth, slot in enumerate(HALO_SLOTS):
        two = [vector for vector in halo if vector.shell == 4]
        dimension = int(origin.dimension_of_slot[slot])
        two[nth % len(two)].forced[dimension] = int(lattice[dimension]) + (
            1 if draws.below(2) else -1
        )
    for vector, value in zip(halo, values.only_in_halo, strict=False):
        vector.forced[figures.WIDEST_DIMENSION] = value


def _take_values(
    draws: Draws, dimension: int, ulps: dict[int, float], vectors: list[Vector]
) -> None:
    """Give every vector its value in one dimension, so that each value is taken in the core."""
    free = [vector for vector in vectors if dimension not in vector.forced]
    forced = {v.forced[dimension] for v in vectors if v.in_core and dimension in v.forced}
    # The furthest values first, for which the fewest vectors reach.
    waiting = draws.shuffled([vector for vector in free if vector.in_core])
    for value in sorted(ulps.keys() - forced, key=lambda value: (-ulps[value], value)):
        taker = min((v for v in waiting if v.reach >= ulps[value]), key=lambda v: v.reach)
        taker.lattice[dimension] = value
        waiting.remove(taker)
    for vector in waiting + [vector for vector in free if not vector.in_core]:
        reachable = [value for value, distance in ulps.items() if distance <= vector.reach]
        if vector.shell == 32:  # as far away as it can be: the diameter
            furthest = max(ulps[value] for value in reachable)
            reachable = [value for value in reachable if ulps[value] == furthest]
        if reachable and (draws.below(KEEP) or vector.shell == 32):
            vector.lattice[dimension] = draws.choice(reachable)


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
    magnitude = np.abs(origin.values.astype(np.float64)) / figures.ULP
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
