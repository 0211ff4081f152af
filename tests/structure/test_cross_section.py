import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core_tokens.structure.cross_section import cross_section
from strategies import BFLOAT16

vectors_of_few_values = st.integers(1, 5).flatmap(
    lambda dims: st.lists(
        st.lists(st.sampled_from([-2.0, -0.0, 0.0, 0.5, 1.0, 3.0]), min_size=dims, max_size=dims),
        min_size=1,
        max_size=9,
    )
)


@given(vectors_of_few_values, st.data())
def test_the_plane_is_that_of_the_largest_sample_variances(
    rows: list[list[float]], data: st.DataObject
) -> None:
    vectors = np.array(rows).astype(BFLOAT16)
    populations = np.array([data.draw(st.integers(1, 9)) for _ in rows])
    found = cross_section(vectors, populations)
    columns = list(zip(*rows, strict=True))
    variances = [statistics.variance(c) if len(c) > 1 else 0.0 for c in columns]
    order = sorted(range(len(columns)), key=lambda at: (-np.float32(variances[at]), at))
    assert list(found.dimensions) == [*order, -1][:2]
    for at, variance in zip(found.dimensions, found.variances, strict=True):
        assert variance == pytest.approx(variances[at] if at >= 0 else 0.0, rel=1e-6)
    chosen = [at for at in found.dimensions if at >= 0]
    tokens: dict[tuple[float, ...], int] = {}
    for row, population in zip(rows, populations.tolist(), strict=True):
        point = tuple(row[at] + 0.0 for at in chosen)
        tokens[point] = tokens.get(point, 0) + population
    assert [tuple(point) for point in found.points.tolist()] == sorted(tokens)
    assert found.populations.tolist() == [tokens[point] for point in sorted(tokens)]


def test_of_equal_variances_the_first_dimensions_are_taken() -> None:
    vectors: NDArray[Any] = np.array([[1, 0, 5, 5], [2, 1, 6, 5]]).astype(BFLOAT16)
    found = cross_section(vectors, np.array([3, 4]))
    assert found.dimensions == (0, 1)
    assert found.variances.tolist() == [0.5, 0.5]
    assert found.points.tolist() == [[1, 0], [2, 1]]
    assert found.populations.tolist() == [3, 4]


def test_no_vectors_have_no_plane() -> None:
    found = cross_section(np.empty((0, 4), BFLOAT16), np.empty(0, np.int64))
    assert found.dimensions == (-1, -1)
    assert found.variances.tolist() == [0, 0]
    assert len(found.points) == len(found.populations) == 0


def test_one_vector_does_not_vary() -> None:
    found = cross_section(np.array([[3.0, 4, 5]]).astype(BFLOAT16), np.array([7]))
    assert found.dimensions == (0, 1)
    assert found.variances.tolist() == [0, 0]
    assert found.points.tolist() == [[3, 4]]
    assert found.populations.tolist() == [7]
