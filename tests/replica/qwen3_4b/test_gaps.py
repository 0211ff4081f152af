import math
from collections import Counter
from itertools import pairwise

import pytest

import figures
from core_tokens.replica.draws import Draws
from core_tokens.replica.qwen3_4b.gaps import set_gaps
from core_tokens.replica.qwen3_4b.walk import Walk

ULP = 2.0**-16


@pytest.fixture(scope="module", params=[0, 1, 2507])
def walks(request: pytest.FixtureRequest) -> list[Walk]:
    """As many as vary in the core, over ever finer lattices; the first was set before."""
    walks = [Walk(300 * ULP, 2) for _ in range(600)]
    walks += [Walk(-150 * ULP, 3) for _ in range(1360)]
    walks += [Walk(5 * ULP, 25) for _ in range(210)]
    walks += [Walk(-ULP / 8, 35) for _ in range(9)]
    assert walks[0].end_at(4 * ULP)
    set_gaps(Draws(request.param), walks)
    return walks


def gaps_of(walk: Walk) -> list[int]:
    positions = [int(value / walk.quantum) for value in walk.values()]
    return [high - low for low, high in pairwise(sorted([*positions, walk.here]))]


def test_gaps_larger_than_the_smallest_are_as_many_as_published(walks: list[Walk]) -> None:
    gaps = [gap for walk in walks for gap in gaps_of(walk)]
    nearest = Counter(round(math.log2(gap)) for gap in gaps)
    assert {n: nearest[n] for n in range(1, 10)} == {n: figures.EXPONENTS[n] for n in range(1, 10)}
    assert nearest.total() == sum(walk.count for walk in walks)
    assert sum(nearest[n] for n in nearest if n > 9) == 4


def test_few_dimensions_have_all_the_gaps_that_are_no_power_of_two(walks: list[Walk]) -> None:
    others = [sum(gap.bit_count() > 1 for gap in gaps_of(walk)) for walk in walks]
    assert sum(others) == figures.GAPS - figures.POWER_OF_TWO_GAPS
    assert sum(count > 0 for count in others) == 2197 - figures.POWER_OF_TWO_DIMENSIONS


def test_every_walk_has_its_count_and_a_gap_of_one_quantum(walks: list[Walk]) -> None:
    for walk in walks:
        assert len(gaps_of(walk)) == walk.count
        assert min(gaps_of(walk)) == 1
        assert min(side.room for side in walk.sides) >= 0


def test_a_walk_that_was_set_keeps_its_gaps(walks: list[Walk]) -> None:
    assert walks[0].values() == [302 * ULP, 304 * ULP]
