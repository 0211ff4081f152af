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
from core_tokens.structure.diversity import diversity
from core_tokens.structure.quantization import quantization


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


def test_a_tenth_of_an_ulp_separates_the_whole_distances_from_the_others(
    vectors: list[Vector],
) -> None:
    values = from_ordered(np.array([vector.lattice for vector in vectors]))
    distances = distance_ulp(values, values[0], -16).astype(np.float64)
    assert (np.abs(distances - np.rint(distances)) <= 0.1).sum() == 110
    assert f"{distances.mean():.2f} {np.median(distances):.2f}" == "1.61 2.00"


def test_the_core_varies_in_its_published_dimensions(vectors: list[Vector]) -> None:
    everything = diversity(from_ordered(np.array([vector.lattice for vector in vectors])))
    core = diversity(from_ordered(np.array([v.lattice for v in vectors if v.in_core])))
    assert (everything.varying_dimensions, core.varying_dimensions) == (2197, 2179)
    assert (everything.distinct_max_dimension, everything.distinct.max()) == (1382, 84)
    assert (core.distinct_max_dimension, core.distinct.max()) == (1382, 82)


def test_gaps_are_quantized_as_published(vectors: list[Vector]) -> None:
    found = quantization(from_ordered(np.array([vector.lattice for vector in vectors])))
    assert found.gaps == found.whole_step_gaps == figures.GAPS
    assert found.power_of_two_gaps == figures.POWER_OF_TWO_GAPS
    assert found.power_of_two_dimensions == figures.POWER_OF_TWO_DIMENSIONS
    nearest = Counter(found.nearest_exponents)
    assert nearest.most_common(10) == list(figures.EXPONENTS.items())
    assert nearest.total() - sum(figures.EXPONENTS.values()) == 4


def test_the_cluster_is_as_wide_as_published_and_no_dimension_varies_more_than_two(
    vectors: list[Vector],
) -> None:
    values = from_ordered(np.array([vector.lattice for vector in vectors])).astype(np.float64)
    distances = np.sqrt(((values[:, None] - values) ** 2).sum(axis=2))
    assert f"{distances.max():.4f}" == "0.0016"
    assert np.argsort(-values.var(axis=0))[:2].tolist() == [163, 13]


def test_vectors_differ_from_the_big_one_in_many_dimensions(vectors: list[Vector]) -> None:
    lattice = np.array([vector.lattice for vector in vectors])
    differing = np.sort((lattice != lattice[0]).sum(axis=1))
    assert differing[1] > 50
    assert np.median(differing) > 500


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
