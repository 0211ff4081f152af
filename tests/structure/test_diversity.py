from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from core_tokens.structure.diversity import diversity
from strategies import BFLOAT16, lattices


@given(lattices())
def test_the_distinct_values_of_each_dimension_are_counted(vectors: NDArray[Any]) -> None:
    columns = vectors.astype(np.float64).T.tolist()
    assert diversity(vectors).distinct.tolist() == [len({x + 0.0 for x in c}) for c in columns]


@given(lattices())
def test_all_dimensions_are_constant_or_vary(vectors: NDArray[Any]) -> None:
    found = diversity(vectors)
    assert found.constant_dimensions + found.varying_dimensions == vectors.shape[1]
    assert sum(found.histogram().values()) == vectors.shape[1]
    assert found.distinct[found.distinct_max_dimension] == found.distinct.max()
    assert list(found.histogram()) == sorted(set(found.distinct.tolist()))


@given(lattices())
def test_the_order_and_number_of_the_vectors_do_not_matter(vectors: NDArray[Any]) -> None:
    again = np.concatenate([vectors[::-1], vectors])
    assert diversity(again).distinct.tolist() == diversity(vectors).distinct.tolist()


@pytest.mark.parametrize("dtype", [BFLOAT16, np.float16, np.float32])
def test_both_zeros_are_one_value_and_of_equals_the_first_dimension_counts(dtype: Any) -> None:
    found = diversity(np.array([[0.0, 1, 5, 2], [-0.0, 2, 5, 1], [0.0, 2, 5, 1]]).astype(dtype))
    assert found.distinct.tolist() == [1, 2, 1, 2]
    assert found.distinct_max_dimension == 1
    assert found.histogram() == {1: 2, 2: 2}
    assert (found.constant_dimensions, found.varying_dimensions) == (2, 2)


def test_no_vectors_take_no_values() -> None:
    found = diversity(np.empty((0, 3), BFLOAT16))
    assert found.distinct.tolist() == [0, 0, 0]
    assert (found.constant_dimensions, found.varying_dimensions) == (0, 0)
    assert found.distinct_max_dimension == -1
