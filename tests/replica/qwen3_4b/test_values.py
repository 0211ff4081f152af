from collections import Counter

import numpy as np
import pytest

import figures
from core_tokens.bits import from_ordered, ordered
from core_tokens.replica.draws import Draws
from core_tokens.replica.qwen3_4b.origin import Origin, make_origin
from core_tokens.replica.qwen3_4b.values import Values, make_values

ULP = 2.0**-16
DISTANCES = [0.375, 3.0, 2.25, 1.25, 2.25]


@pytest.fixture(scope="module", params=[0, 1, 2507])
def made(request: pytest.FixtureRequest) -> tuple[Origin, Values]:
    draws = Draws(request.param)
    origin = make_origin(draws)
    return origin, make_values(draws, origin, DISTANCES)


def test_each_number_of_values_is_as_frequent_as_published(made: tuple[Origin, Values]) -> None:
    _, values = made
    counts = Counter(1 + len(ulps) for ulps in values.ulps.values())
    only_in_halo = 2197 - 2179  # two values each
    assert counts.total() == 2179
    assert counts[2] + only_in_halo == figures.DISTINCT_VALUES[2]
    assert {n: counts[n] for n in range(3, 11)} == {
        n: figures.DISTINCT_VALUES[n] for n in range(3, 11)
    }
    assert max(counts) == 1 + len(values.ulps[1382]) == 82
    assert counts[82] == 1
    total = sum(len(ulps) for ulps in values.ulps.values())
    assert total + len(values.only_in_halo) + only_in_halo == figures.GAPS


def test_distances_are_those_from_the_big_one_and_at_most_2_unless_asked_for(
    made: tuple[Origin, Values],
) -> None:
    origin, values = made
    distant = dict(values.distant)
    assert len(distant) == len(DISTANCES)
    for dimension, ulps in values.ulps.items():
        here = origin.values[[dimension]]
        offsets = from_ordered(np.array(list(ulps))).astype(float) - here.astype(float)
        assert (np.abs(offsets) / ULP).tolist() == list(ulps.values())
        assert ordered(here)[0] not in ulps
        assert all(away <= 2 or value == distant[dimension] for value, away in ulps.items())
    assert [values.ulps[dimension][value] for dimension, value in values.distant] == DISTANCES


def test_the_halo_has_the_outermost_values_of_the_widest_dimension(
    made: tuple[Origin, Values],
) -> None:
    origin, values = made
    here = float(origin.values[1382])
    away = [abs(float(value) - here) / ULP for value in from_ordered(np.array(values.only_in_halo))]
    assert len(away) == 2
    assert max(values.ulps[1382].values()) <= min(away) <= max(away) <= 2
