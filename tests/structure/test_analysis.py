"""Cluster and core side by side: laws, and two trained models by slow loops.

The models are those of tests/test_real_checkpoints.py, and the tests are skipped as there.
"""

import statistics
from collections.abc import Mapping
from fractions import Fraction
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file

import oracle
from checkpoints import real_checkpoints
from core_tokens.bits import from_ordered, ordered
from core_tokens.clusters import find_cluster
from core_tokens.measurements import measure
from core_tokens.structure.adjacency import Graph, adjacency
from core_tokens.structure.analysis import Analysis, Structure, analyse
from core_tokens.structure.cross_section import cross_section
from core_tokens.structure.diversity import diversity
from core_tokens.structure.quantization import quantization
from core_tokens.structure.shells import shells
from strategies import BFLOAT16, lattices


class Case(NamedTuple):
    """What is analysed."""

    vectors: NDArray[Any]
    populations: NDArray[np.int64]
    distance_ulp: NDArray[np.float32]
    within: NDArray[np.bool_]

    def only(self, chosen: NDArray[np.bool_]) -> "Case":
        """Some of the vectors."""
        return Case(
            self.vectors[chosen],
            self.populations[chosen],
            self.distance_ulp[chosen],
            self.within[chosen],
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Distinct vectors, far apart or near, and any distances: the law asks no more of them."""
    drawn = draw(lattices())
    vectors = from_ordered(np.unique(ordered(drawn), axis=0), drawn.dtype)
    count = len(vectors)
    distance = st.sampled_from([0.0, 0.5, 1.0, 3.0, 2.0**24, np.inf]) | st.floats(0, 9, width=32)
    return Case(
        vectors,
        np.array(draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))),
        np.array(draw(st.lists(distance, min_size=count, max_size=count)), np.float32),
        np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count))),
    )


def check_same(found: Any, expected: Any, where: str = "") -> None:
    """Two results of one class agree in every field, arrays in their dtype and bits."""
    assert type(found) is type(expected), where
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype, where
        assert found.shape == expected.shape, where
        assert found.tobytes() == expected.tobytes(), where
    elif hasattr(expected, "__dataclass_fields__"):
        for name in expected.__dataclass_fields__:
            check_same(getattr(found, name), getattr(expected, name), f"{where}.{name}")
    else:
        assert found == expected, where


# ---- laws ------------------------------------------------------------------------------------


@given(cases())
def test_the_core_is_analysed_as_if_there_were_nothing_else(case: Case) -> None:
    alone = analyse(*case.only(case.within))
    check_same(analyse(*case).core, alone.cluster)
    check_same(alone.core, alone.cluster)


@given(cases())
def test_the_core_does_not_matter_to_the_cluster(case: Case) -> None:
    check_same(analyse(*case).cluster, analyse(*case[:3], ~case.within).cluster)


@given(cases())
def test_a_core_of_all_vectors_is_the_cluster(case: Case) -> None:
    found = analyse(*case[:3], np.ones(len(case.vectors), np.bool_))
    check_same(found.core, found.cluster)


@given(cases())
def test_each_question_is_answered_of_the_vectors_that_it_is_about(case: Case) -> None:
    found = analyse(*case)
    for structure, chosen in ((found.cluster, case.within | True), (found.core, case.within)):
        vectors, populations, distance_ulp, _ = case.only(chosen)
        check_same(structure.shells, shells(distance_ulp, populations))
        check_same(structure.diversity, diversity(vectors))
        check_same(structure.quantization, quantization(vectors))
        check_same(structure.cross_section, cross_section(vectors, populations))
        check_same(structure.adjacency, adjacency(vectors, populations))


def check_nothing(structure: Structure, dims: int) -> None:
    """No vector: every count is 0, and what names one or a dimension is -1."""
    assert structure.shells.whole.tolist() == []
    assert structure.shells.gap_at == structure.shells.whole_percent == 0
    assert structure.shells.r90_vectors == structure.shells.r90_tokens == 0
    assert structure.diversity.distinct.tolist() == [0] * dims
    assert structure.diversity.constant_dimensions == structure.diversity.varying_dimensions == 0
    assert structure.diversity.distinct_max_dimension == -1
    assert structure.quantization.gaps == structure.quantization.power_of_two_gaps == 0
    assert structure.quantization.exponents == {}
    assert structure.quantization.power_of_two_dimensions == 0
    assert structure.quantization.whole_step_gaps == 0
    assert structure.cross_section.dimensions == (-1, -1)
    assert structure.cross_section.variances.tolist() == [0, 0]
    assert len(structure.cross_section.points) == len(structure.cross_section.populations) == 0
    for graph in (structure.adjacency.face, structure.adjacency.linf):
        assert len(graph.edges) == len(graph.degrees) == len(graph.sizes) == graph.isolated == 0
        assert graph.largest == graph.hub == -1


@given(cases())
def test_a_core_of_no_vectors_is_nothing(case: Case) -> None:
    found = analyse(*case[:3], np.zeros(len(case.vectors), np.bool_))
    check_nothing(found.core, case.vectors.shape[1])
    assert len(found.cluster.adjacency.face.degrees) == len(case.vectors)


@pytest.mark.parametrize("dtype", [BFLOAT16, np.float16, np.float32])
def test_of_no_vectors_cluster_and_core_are_nothing(dtype: Any) -> None:
    nothing = np.empty(0, np.int64)
    found = analyse(
        np.empty((0, 3), dtype), nothing, nothing.astype(np.float32), nothing.astype(np.bool_)
    )
    check_nothing(found.cluster, 3)
    check_nothing(found.core, 3)


# ---- real models -----------------------------------------------------------------------------


def real(model: str, tensor: str) -> NDArray[Any]:
    """The embedding of a model, or no test."""
    return load_file(real_checkpoints() / model / "model.safetensors")[tensor]


@pytest.fixture(scope="module")
def stories() -> NDArray[Any]:
    """float32[512, 64], with a cluster of 169 tokens."""
    return real("stories260k", "model.embed_tokens.weight")


@pytest.fixture(scope="module")
def tinystories() -> NDArray[Any]:
    """float32[2048, 128], every value a bfloat16, without a cluster."""
    return real("tinystories-656k", "lm_head.weight")


class Expected(NamedTuple):
    """A cluster or a core, from the definitions: each vector as a list of floats."""

    rows: list[list[float]]
    places: list[list[int]]
    populations: list[int]
    distances: list[float]


def check_structure(structure: Structure, expected: Expected) -> None:
    """Everything that is said of it is what plain loops find."""
    check_shells(structure, expected)
    check_values(structure, expected)
    check_plane(structure, expected)
    check_graphs(structure, expected)


def check_shells(structure: Structure, expected: Expected) -> None:
    nearest = [round(Fraction(distance)) for distance in expected.distances]
    found = structure.shells
    assert found.whole.tolist() == sorted(set(nearest))
    for whole, vectors, tokens in zip(found.whole, found.vectors, found.tokens, strict=True):
        inside = [at for at, shell in enumerate(nearest) if shell == whole]
        assert vectors == len(inside)
        assert tokens == sum(expected.populations[at] for at in inside)
    assert found.gap_at == min(set(range(len(nearest) + 1)) - set(nearest))
    near = sum(
        abs(Fraction(distance) - shell) <= Fraction(1, 10)
        for distance, shell in zip(expected.distances, nearest, strict=True)
    )
    assert found.whole_percent == float(Fraction(100 * near, len(nearest)))
    for radius, weights in (
        (found.r90_vectors, [1] * len(nearest)),
        (found.r90_tokens, expected.populations),
    ):
        enough = [
            limit
            for limit in expected.distances
            if 10 * weight_within(limit, expected.distances, weights) >= 9 * sum(weights)
        ]
        assert float(radius) == min(enough)


def weight_within(limit: float, distances: list[float], weights: list[int]) -> int:
    return sum(w for distance, w in zip(distances, weights, strict=True) if distance <= limit)


def check_values(structure: Structure, expected: Expected) -> None:
    distinct, exponents, nearest = list[int](), list[int](), list[int]()
    gaps = dimensions = 0
    for column in zip(*expected.rows, strict=True):
        values = sorted({Fraction(value) for value in column})
        distinct.append(len(values))
        between = [high - low for low, high in pairwise(values)]
        powers = []
        for gap in between:
            quanta = gap / min(between)
            if quanta.denominator == 1 and quanta.numerator.bit_count() == 1:
                powers.append(quanta.numerator.bit_length() - 1)
            n = 0
            while 4 ** (n + 1) <= 2 * quanta**2:  # is it nearer to 2 ** (n + 1), as ratios go?
                n += 1
            nearest.append(n)
        gaps += len(between)
        dimensions += len(between) == len(powers) > 0
        exponents += powers
    assert structure.diversity.distinct.tolist() == distinct
    assert structure.diversity.constant_dimensions == distinct.count(1)
    assert structure.diversity.varying_dimensions == len(distinct) - distinct.count(1)
    assert structure.diversity.distinct_max_dimension == distinct.index(max(distinct))
    found = structure.quantization
    assert found.gaps == found.whole_step_gaps == gaps
    assert found.exponents == {n: exponents.count(n) for n in sorted(set(exponents))}
    assert found.nearest_exponents == {n: nearest.count(n) for n in sorted(set(nearest))}
    assert found.power_of_two_gaps == len(exponents)
    assert found.power_of_two_dimensions == dimensions


def check_plane(structure: Structure, expected: Expected) -> None:
    columns = [[Fraction(value) for value in column] for column in zip(*expected.rows, strict=True)]
    variances = [np.float32(float(statistics.variance(column))) for column in columns]
    order = sorted(range(len(columns)), key=lambda at: (-variances[at], at))
    found = structure.cross_section
    assert list(found.dimensions) == order[:2]
    assert found.variances.tolist() == pytest.approx([variances[at] for at in order[:2]], rel=1e-6)
    tokens: dict[tuple[float, float], int] = {}
    for row, population in zip(expected.rows, expected.populations, strict=True):
        point = row[order[0]], row[order[1]]
        tokens[point] = tokens.get(point, 0) + population
    assert [tuple(point) for point in found.points.tolist()] == sorted(tokens)
    assert found.populations.tolist() == [tokens[point] for point in sorted(tokens)]


def check_graphs(structure: Structure, expected: Expected) -> None:
    face, linf = dict[tuple[int, int], int](), dict[tuple[int, int], int]()
    for (a, first), (b, second) in combinations(enumerate(expected.places), 2):
        steps = [abs(x - y) for x, y in zip(first, second, strict=True)]
        if max(steps) <= 1:
            linf[a, b] = sum(steps)
        if sum(steps) == 1:
            face[a, b] = 1
    check_graph(structure.adjacency.face, face, expected.populations)
    check_graph(structure.adjacency.linf, linf, expected.populations)


def check_graph(graph: Graph, edges: Mapping[tuple[int, int], int], populations: list[int]) -> None:
    assert [tuple(edge) for edge in graph.edges.tolist()] == sorted(edges)
    assert graph.lengths.tolist() == [edges[edge] for edge in sorted(edges)]
    degrees = [sum(at in edge for edge in edges) for at in range(len(populations))]
    assert graph.degrees.tolist() == degrees
    assert graph.isolated == degrees.count(0)
    component = list(range(len(populations)))
    for a, b in edges:
        old, new = component[a], component[b]
        component = [new if each == old else each for each in component]
    members: dict[int, list[int]] = {}
    for at, each in enumerate(component):
        members.setdefault(each, []).append(at)
    sizes = [(len(each), sum(populations[at] for at in each)) for each in members.values()]
    assert list(zip(graph.sizes.tolist(), graph.tokens.tolist(), strict=True)) == sizes
    assert sizes[graph.largest] == max(sizes)
    assert graph.hub == max(range(len(degrees)), key=lambda at: (degrees[at], populations[at], -at))


def measured_by_oracle(matrix: NDArray[Any], ids: NDArray[np.int64]) -> Expected:
    found = oracle.measure(matrix, ids)
    return Expected(
        found.vectors.double().tolist(),
        oracle.places(found.vectors).tolist(),
        found.populations.tolist(),
        found.distance_ulp.tolist(),
    )


def within_radius(expected: Expected, radius: float) -> Expected:
    """The vectors of the core alone."""
    inside = [at for at, distance in enumerate(expected.distances) if distance <= radius]
    return Expected(
        [expected.rows[at] for at in inside],
        [expected.places[at] for at in inside],
        [expected.populations[at] for at in inside],
        [expected.distances[at] for at in inside],
    )


def analysed(matrix: NDArray[Any], ids: NDArray[np.int64], radius: float) -> Analysis:
    measured = measure(matrix, ids)
    within = measured.distance_ulp <= np.float32(radius)
    return analyse(measured.vectors, measured.populations, measured.distance_ulp, within)


@pytest.mark.parametrize(("radius", "vectors"), [(0, 1), (1, 132), (2, 166), (4, 167)])
def test_a_real_cluster_and_its_core_are_what_slow_loops_find(
    stories: NDArray[Any], radius: float, vectors: int
) -> None:
    ids = find_cluster(stories, 0.002).token_ids
    assert len(ids) == 169
    expected = measured_by_oracle(stories, ids)
    assert len(expected.rows) == 167
    found = analysed(stories, ids, radius)
    check_structure(found.cluster, expected)
    core = within_radius(expected, radius)
    assert len(core.rows) == vectors
    if vectors > 1:
        check_structure(found.core, core)


def test_the_numbers_of_a_real_cluster(stories: NDArray[Any]) -> None:
    found = analysed(stories, find_cluster(stories, 0.002).token_ids, 4).cluster
    assert found.shells.whole.tolist() == [0, 1, 2, 4]
    assert found.shells.vectors.tolist() == [77, 55, 34, 1]
    assert found.diversity.varying_dimensions == 19
    assert found.quantization.exponents == {0: 61, 1: 2, 2: 1}
    assert found.cross_section.dimensions == (42, 55)
    face, linf = found.adjacency.face, found.adjacency.linf
    assert (len(face.edges), face.isolated, face.sizes.max(), face.degrees.max()) == (7, 153, 2, 1)
    assert (len(linf.edges), linf.isolated, linf.sizes.max()) == (467, 18, 132)
    assert (linf.hub, linf.degrees[linf.hub]) == (13, 18)


def test_rows_of_a_model_without_a_cluster_are_what_slow_loops_find(
    tinystories: NDArray[Any],
) -> None:
    ids = np.arange(0, 2048, 17)
    assert len(find_cluster(tinystories, 0.002).token_ids) == 0
    assert torch.equal(oracle.as_bfloat16(tinystories).float(), torch.from_numpy(tinystories))
    expected = measured_by_oracle(tinystories, ids)
    assert len(expected.rows) == len(ids)
    radius = float(np.median(expected.distances))
    found = analysed(tinystories, ids, radius)
    check_structure(found.cluster, expected)
    check_structure(found.core, within_radius(expected, radius))


def test_a_model_without_a_cluster_has_no_structure(tinystories: NDArray[Any]) -> None:
    found = analysed(tinystories, find_cluster(tinystories, 0.002).token_ids, 3)
    check_nothing(found.cluster, 128)
    check_nothing(found.core, 128)
