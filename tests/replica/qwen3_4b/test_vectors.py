from collections import Counter

import numpy as np
import pytest

import figures
from core_tokens.bits import from_ordered
from core_tokens.distances import distance_ulp
from core_tokens.replica.draws import Draws
from core_tokens.replica.qwen3_4b.origin import make_origin
from core_tokens.replica.qwen3_4b.tokens import assign_tokens
from core_tokens.replica.qwen3_4b.vectors import Vector, make_vectors


@pytest.fixture(scope="module", params=[1, 2507])
def vectors(request: pytest.FixtureRequest) -> list[Vector]:
    draws = Draws(request.param)
    return make_vectors(draws, make_origin(draws))


def test_shells_and_populations_are_the_published_ones(vectors: list[Vector]) -> None:
    values = from_ordered(np.array([vector.lattice for vector in vectors]))
    shells = np.rint(distance_ulp(values, values[0], -16)).astype(int).tolist()
    assert shells == [vector.shell for vector in vectors]
    tokens: Counter[int] = Counter()
    for shell, vector in zip(shells, vectors, strict=True):
        tokens[shell] += vector.population
    assert {shell: (shells.count(shell), tokens[shell]) for shell in tokens} == figures.SHELLS


def test_vectors_are_distinct_and_the_big_one_has_its_index(vectors: list[Vector]) -> None:
    rows = sorted(vector.lattice.tolist() for vector in vectors)
    assert len({tuple(row) for row in rows}) == 125
    assert rows.index(vectors[0].lattice.tolist()) == 60


def test_every_dimension_has_its_published_number_of_values(vectors: list[Vector]) -> None:
    lattice = np.array([vector.lattice for vector in vectors])
    counts = Counter(len(np.unique(column)) for column in lattice.T)
    assert {values: counts[values] for values in range(1, 11)} == figures.DISTINCT_VALUES


def test_every_token_of_the_cluster_has_a_vector(vectors: list[Vector]) -> None:
    vector_of_token = assign_tokens(Draws(9), vectors)
    ids = np.flatnonzero(vector_of_token >= 0)
    assert len(ids) == 2212
    assert ids[:20].tolist() == figures.FIRST_20_IDS
    counts = np.bincount(vector_of_token[ids]).tolist()
    assert counts == [vector.population for vector in vectors]
    found = {
        (vector.population, tuple(np.flatnonzero(vector_of_token == number)[:3].tolist()))
        for number, vector in enumerate(vectors)
        if vector.population > 1
    }
    assert found == figures.SAMPLE_TOKENS
