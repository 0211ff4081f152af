import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from core_tokens.bits import from_ordered, ordered, ulp_exponent
from core_tokens.replica.draws import Draws
from core_tokens.replica.qwen2_5_3b import assign_tokens, draw_populations, make_vectors


@given(st.integers(0, 2**32))
def test_populations_add_up_to_what_was_published(seed: int) -> None:
    populations = draw_populations(Draws(seed))
    assert len(populations) == 60
    assert sum(populations) == 2212
    assert populations == sorted(populations, reverse=True)
    assert populations[0] == 600 > populations[1]
    assert populations[-1] >= 2


@pytest.mark.parametrize("seed", [0, 1, 2412])
def test_vectors_are_distinct_and_all_adjacent(seed: int) -> None:
    vectors = make_vectors(Draws(seed))
    assert vectors.shape == (60, 2048)
    values = vectors.astype(np.float64)
    distances = np.sqrt(((values[:, None] - values) ** 2).sum(axis=2))
    assert (distances < 0.002).all()
    assert ((distances > 0) == ~np.eye(60, dtype=bool)).all()


@pytest.mark.parametrize("seed", [0, 1, 2412])
def test_vectors_lie_whole_ulps_from_the_big_one_in_many_dimensions(seed: int) -> None:
    vectors = make_vectors(Draws(seed))
    origin, others = vectors[0].astype(np.float64), vectors[1:].astype(np.float64)
    ulps = np.abs(others - origin).max(axis=1) / 2.0 ** ulp_exponent(vectors[0])
    assert set(ulps.tolist()) == {1, 2, 4}
    assert ((others != origin).sum(axis=1) > 500).all()
    steps = np.abs(ordered(vectors[1:]) - ordered(vectors[0]))
    assert np.median(steps[steps > 0]) <= 2
    assert np.array_equal(from_ordered(ordered(vectors)), vectors)


def test_tokens_are_those_that_no_text_trains_and_drawn_ones() -> None:
    populations = draw_populations(Draws(3))
    vector_of_token = assign_tokens(Draws(4), populations)
    assert vector_of_token.shape == (151936,)
    ids = np.flatnonzero(vector_of_token >= 0)
    assert np.bincount(vector_of_token[ids]).tolist() == populations
    assert ids[:13].tolist() == [124, 125, *range(177, 188)]
    assert ids[-271:].tolist() == list(range(151665, 151936))
    assert ids[13] >= 256
    assert ids[-272] < 151643
