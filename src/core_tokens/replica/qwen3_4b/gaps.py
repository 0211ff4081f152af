"""How far apart are neighbouring values? The published gaps, dealt to the dimensions.

At first every gap is one quantum, the smallest gap of its dimension. Then as many as were published
are enlarged, the largest first and each where there is room for it: to a power of two, or in few
dimensions to a number beside one.
"""

from collections import Counter, deque
from collections.abc import Sequence

from core_tokens.replica.draws import Draws
from core_tokens.replica.qwen3_4b import figures
from core_tokens.replica.qwen3_4b.walk import Walk

EIGHTHS = (6, 7, 10, 11)
"""So many eighths of 2**n, rounded down, are nearest to 2**n and no power of two (n >= 2)."""
WIDE = 7
"""From this exponent on gaps lead to where the lattice is sparse. None is an exact power there."""
WIDE_EIGHTHS = (7, 10)
"""The same with up to 7 quanta more, to the next value that the sparse lattice has (n >= WIDE)."""


def set_gaps(draws: Draws, walks: Sequence[Walk]) -> None:
    """Give each walk its gaps, so that there are as many of each size as published.

    Args:
        draws: decide what was not published.
        walks: one for each dimension, the finest lattice last. Some may be set, to single quanta.
    """
    walks = [walk for walk in walks if not walk.is_set]
    mixed = walks[-figures.MIXED_DIMENSIONS :]
    exponents = sorted(n for n, gaps in figures.NEAREST_EXPONENTS.items() for _ in range(gaps))
    wide = [n for n in exponents if n >= WIDE]
    _set_wide(draws, mixed, wide)
    for walk in walks:
        _set_ones(draws, walk)
    for walk in mixed:  # one gap at least is no power
        _enlarge(draws, [walk], 3, 1)
    larger = draws.shuffled([n for n in exponents if 2 <= n < WIDE][len(mixed) :])
    others = figures.OTHER_GAPS - len(wide) - len(mixed)
    sizes = Counter(draws.choice(EIGHTHS) << n >> 3 for n in larger[:others])
    sizes.update(1 << n for n in larger[others:])
    sizes[2] = figures.NEAREST_EXPONENTS[1]
    for size in sorted(sizes, reverse=True):
        _enlarge(draws, walks if size.bit_count() == 1 else mixed, size, sizes[size])


def _set_wide(draws: Draws, walks: Sequence[Walk], exponents: Sequence[int]) -> None:
    """Deal the gaps of these exponents, ascending, to where the lattice is sparse."""
    sides = [side for walk in walks for side in walk.sides]
    for exponent in reversed(exponents):
        gap = draws.choice(WIDE_EIGHTHS) << exponent >> 3
        side = draws.choice([side for side in sides if side.beyond >= gap])
        side.wide.append(gap)
        side.beyond -= gap


def _set_ones(draws: Draws, walk: Walk) -> None:
    """Let all other gaps be one quantum, and one of them stay so: it is the smallest gap."""
    for number in range(walk.count - sum(len(side.wide) for side in walk.sides)):
        side = draws.choice([side for side in walk.sides if side.room])
        side.room -= 1
        if number == 0:
            side.gaps.append(1)
        else:
            side.ones += 1


def _enlarge(draws: Draws, walks: Sequence[Walk], size: int, count: int) -> None:
    """Enlarge ``count`` gaps of one quantum to ``size``, in turns where there is room for it."""
    turns = deque(draws.shuffled([side for walk in walks for side in walk.sides]))
    for _ in range(count):
        while turns[0].ones == 0 or turns[0].room < size - 1:
            turns.popleft()
        turns[0].ones -= 1
        turns[0].room -= size - 1
        turns[0].gaps.append(size)
        turns.rotate(-1)
