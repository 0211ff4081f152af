"""Cases to measure, and what it means that two measurements are the same."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import torch
from numpy.typing import NDArray

import oracle
from core_tokens.measurements import Measurements, Precision
from strategies import BFLOAT16, DTYPES, NATIVE, cases

Case = tuple[NDArray[Any], NDArray[np.int64]]
ARRAYS = [
    "token_ids", "vector_of_token", "vectors", "populations",
    "distance_ulp", "distance_steps", "distance_l2",
]  # fmt: skip
PRECISIONS: list[tuple[np.dtype[Any], Precision]] = [
    *((dtype, "bfloat16") for dtype in DTYPES),
    *((dtype, "native") for dtype in NATIVE),
]
AWKWARD = {
    "one dimension": [[1.0], [-1.0], [1.0], [0.0]],
    "zeros of both signs": [[0.0, -0.0], [-0.0, 0.0], [-0.0, -0.0]],
    "a zero origin": [[0.0, 0.0], [-0.0, 0.0], [1.0, -2.0]],
    "subnormals": [[2.0**-133, -(2.0**-130)], [2.0**-132, 0.0], [2.0**-133, -(2.0**-130)]],
    "the largest of both signs": [[255 * 2.0**120] * 2, [-255 * 2.0**120] * 2],
    "all identical": [[0.5, 0.25]] * 4,
    "all distinct": [[float(n), 1.0] for n in range(5)],
    "a tie for the origin": [[3.0], [1.0], [2.0], [3.0], [2.0]],
    "a tie that only -0 makes": [[0.0, 1.0], [2.0, 1.0], [-0.0, 1.0], [2.0, 1.0]],
}


def all_tokens(rows: list[list[float]], dtype: Any = BFLOAT16) -> Case:
    """A matrix of a few rows and all its tokens."""
    return np.array(rows).astype(dtype), np.arange(len(rows))


def agree(found: Measurements, expected: oracle.Measured) -> None:
    """Equal bit for bit."""
    assert found.vectors.shape == expected.vectors.shape
    bits = expected.vectors.contiguous().view(torch.uint8).numpy()
    assert found.vectors.view(np.uint8).tolist() == bits.tolist()
    assert found.vector_of_token.tolist() == expected.vector_of_token.tolist()
    assert found.populations.tolist() == expected.populations.tolist()
    assert (found.origin, found.ulp_exponent) == (expected.origin, expected.ulp_exponent)
    assert found.distance_ulp.tolist() == expected.distance_ulp.tolist()
    assert found.distance_steps.tolist() == expected.distance_steps.tolist()
    assert found.distance_l2.tolist() == expected.distance_l2


def same(one: Measurements, other: Measurements) -> None:
    """Equal byte for byte, dtypes included."""
    for name, value in vars(one).items():
        there = getattr(other, name)
        if name in ARRAYS:
            assert (value.dtype, value.shape) == (there.dtype, there.shape)
            assert value.tobytes() == there.tobytes()
        else:
            assert value == there


def random_rows(seed: int, dims: int, scale: float) -> Case:
    """Copies of a few vectors a few steps around one, and their ids in any order."""
    draws = np.random.default_rng(seed)
    centre = draws.normal(0, scale, dims)
    vectors = centre * (1 + draws.integers(-3, 4, (12, dims)) * 2.0**-8)
    matrix = vectors[draws.integers(0, 12, 70)]
    return matrix, draws.permutation(70)[:50]


def any_cases() -> st.SearchStrategy[tuple[Case, Precision]]:
    """A case of any dtype, and a precision in which it can be measured."""
    return st.tuples(cases(), st.just("bfloat16")) | st.tuples(
        cases(NATIVE, native=True), st.just("native")
    )
