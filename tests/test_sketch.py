from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core_tokens import parallel
from core_tokens.sketch import DIMENSIONS, sketch
from strategies import BFLOAT16, DTYPES, any_matrices

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@given(any_matrices(), st.sampled_from([1, 1 << 25]))
def test_a_sketch_holds_a_few_dimensions_of_every_row_as_they_are(
    matrix: NDArray[Any], part_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "PART_BYTES", part_bytes)
        few = sketch(matrix)
    assert len(few.dimensions) == len({*few.dimensions.tolist()}) == min(DIMENSIONS, len(matrix.T))
    assert few.values.dtype == matrix.dtype
    assert few.values.tobytes() == np.ascontiguousarray(matrix[:, few.dimensions]).tobytes()


@each_dtype
def test_the_dimensions_that_vary_most_are_taken_that_first(dtype: Any) -> None:
    draws = np.random.default_rng(0)
    matrix = draws.choice([-0.125, 0.125], (300, 40))
    matrix[:, [31, 4]] *= [4, 8]
    assert sketch(matrix.astype(dtype)).dimensions[:2].tolist() == [4, 31]
    assert sketch(np.ones((9, 40), dtype)).dimensions.tolist() == [*range(DIMENSIONS)]


def test_values_that_are_not_finite_do_not_decide_what_varies() -> None:
    matrix = np.zeros((50, 12), BFLOAT16)
    matrix[3, 2], matrix[4, 5] = np.nan, np.inf
    matrix[::2, 7] = 1
    assert sketch(matrix).dimensions[0] == 7


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (1, 20)])
def test_few_rows_or_none(shape: tuple[int, int]) -> None:
    assert sketch(np.ones(shape, BFLOAT16)).values.shape == (shape[0], min(shape[1], DIMENSIONS))


def test_a_mapped_matrix_at_an_odd_offset(tmp_path: Path) -> None:
    matrix = np.random.default_rng(1).standard_normal((30, 11)).astype(BFLOAT16)
    (tmp_path / "W").write_bytes(bytes(3) + matrix.tobytes())
    flat = np.memmap(tmp_path / "W", np.uint8, "r", offset=3)
    mapped = flat.view(BFLOAT16).reshape(matrix.shape).view(np.ndarray)
    assert sketch(mapped).values.tobytes() == sketch(matrix).values.tobytes()
