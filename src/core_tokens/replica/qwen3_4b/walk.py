"""Where may the values of a dimension lie? On a walk over the lattice from the Big One's component.

The gaps between neighbouring values are its steps, counted in *quanta*: spacings of the lattice at
that component. Up to DENSE quanta from zero every whole number of quanta is on the lattice, so any
gaps will do there. Only the widest lead on to where the lattice is sparse.
"""

import math
from dataclasses import dataclass, field

from core_tokens.replica.qwen3_4b import figures
from core_tokens.replica.qwen3_4b.origin import FINEST

REACH = 2 * figures.ULP
"""How far the values of a dimension lie from the Big One's."""
DENSE = 256
"""A bfloat16 has 8 significant bits, so all whole numbers up to this one are some."""
SPARSE = 8
"""From DENSE to DENSE * SPARSE the multiples of this are."""


@dataclass(eq=False)
class Side:
    """The gaps between the values on one side of the Big One's, outwards, all in quanta.

    Attributes:
        room: what is left for gaps where the lattice is dense.
        beyond: what is left for wide gaps where it is sparse.
        ones: gaps of one quantum that may yet be enlarged.
        gaps: the other gaps where the lattice is dense.
        wide: the gaps after those.
    """

    room: int
    beyond: int
    ones: int = 0
    gaps: list[int] = field(default_factory=list)
    wide: list[int] = field(default_factory=list)


class Walk:
    """The values of one dimension: the Big One's, and where the gaps below and above it lead.

    Attributes:
        quantum: the spacing of the lattice at the Big One's component.
        here: that component in quanta.
        count: how many gaps there are to be.
        reach: how many quanta from ``here`` they may lead.
        sides: the gaps downwards and upwards; none at first.
    """

    def __init__(self, component: float, count: int) -> None:
        """A walk from ``component``, a bfloat16 and if below 256 * FINEST a multiple of FINEST."""
        self.quantum = max(math.ldexp(1.0, math.frexp(component)[1] - 8), FINEST)
        self.here = int(component / self.quantum)
        self.count = count
        self.reach = int(REACH / self.quantum)
        beyond = max(0, min(self.reach, DENSE * SPARSE) - DENSE - abs(self.here))
        self.sides = [Side(min(self.reach, DENSE - sign * self.here), beyond) for sign in (-1, 1)]

    @property
    def is_set(self) -> bool:
        """Whether it has its gaps."""
        return any(side.gaps for side in self.sides)

    def end_at(self, offset: float) -> bool:
        """Let all gaps be one quantum, the last on one side up to ``offset``; False if none can."""
        side, sign = (0, -1) if offset < 0 else (1, 1)
        steps = sign * offset / self.quantum
        rest = self.count - steps
        possible = steps.is_integer() and steps <= min(self.reach + 1, DENSE - sign * self.here)
        if self.is_set or not possible or not 0 <= rest <= self.sides[1 - side].room:
            return False
        self.sides[side].gaps = [1] * int(steps)
        self.sides[1 - side].gaps = [1] * int(rest)
        return True

    def values(self) -> list[float]:
        """The values that it leads to; they thin out with their distance from the Big One's."""
        positions = []
        for sign, side in zip((-1, 1), self.sides, strict=True):
            outwards = sign * self.here
            for gap in sorted(side.gaps + [1] * side.ones):
                outwards += gap
                positions.append(sign * outwards)
            outwards += -outwards % SPARSE
            for gap in sorted(side.wide):
                outwards += gap
                positions.append(sign * outwards)
        return [position * self.quantum for position in positions]
