"""Small clusters whose structure is known, for the tests of its metrics and its tables."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core_tokens.measurements import Measurements, measure
from core_tokens.structure.analysis import Analysis, analyse
from core_tokens.structure_tables import (
    Vectors,
    vectors_of,
)
from core_tokens.vocabulary import Token
from strategies import BFLOAT16

Measured = dict[str, NDArray[Any]]
Cluster = tuple[NDArray[Any], NDArray[np.int64]]
LARGEST = 255 * 2.0**120
RULERS = ("ulp", "steps", "l2")
STEP = 2.0**-7
"""One step of bfloat16 from 1 to 2, and the ulp of the example."""


class Example(NamedTuple):
    """What a cluster is made of, and what was found in it."""

    measured: Measured
    vectors: Vectors
    found: Analysis


def example_of(
    measured: Measured,
    ruler: str = "steps",
    radius: float = 3.0,
    texts: dict[int, Token] | None = None,
) -> Example:
    """Analyse some measurements, cut at a radius."""
    limit = np.float32(radius)
    within = measured[f"distance_{ruler}"] <= limit
    found = analyse(measured["vectors"], measured["populations"], measured["distance_ulp"], within)
    return Example(measured, vectors_of(measured, within, ruler, limit, texts), found)


def five() -> Measured:
    """Five vectors of ten tokens; by steps and by ulp other ones are far.

    In steps from (1, 1, 2) they lie at (0, 0), (0, 1), (0, 3), (1, 1) and (4, 1); the second and
    the fourth have most tokens.
    """
    rows = 1 + STEP * np.array([[0, 0], [0, 1], [0, 3], [1, 1], [4, 1]])
    return {
        "token_ids": np.array([20, 21, 7, 8, 9, 30, 31, 32, 40, 5]),
        "vector_of_token": np.array([1, 0, 3, 3, 3, 1, 1, 0, 2, 4]),
        "vectors": np.column_stack([rows, np.full(5, 2)]).astype(BFLOAT16),
        "populations": np.array([2, 3, 1, 3, 1]),
        "distance_ulp": np.array([1, 0, 2.5, 1.25, 4], np.float32),
        "distance_steps": np.array([1, 0, 2, 4, 5]),
        "distance_l2": np.array([0.0078125, 0, 0.015625, 0.01, 0.04], np.float32),
        "origin": np.array([1]),
        "ulp": np.array([STEP], np.float32),
    }


TEXTS = {
    20: Token("ordinary", "the"),
    21: Token("ordinary", ' a,"b"'),
    40: Token("padding", None),
    7: Token("byte", r"\xE4"),
    5: Token("ordinary", "中"),
    **{token: Token("ordinary", "never the first") for token in (8, 9, 30, 31, 32)},
}


def tensors_of(measured: Measurements) -> Measured:
    """What the file of measurements holds of them."""
    names = ["token_ids", "vector_of_token", "vectors", "populations"]
    names += [f"distance_{ruler}" for ruler in RULERS]
    return {
        **{name: getattr(measured, name) for name in names},
        "origin": np.array([measured.origin]),
        "ulp": np.ldexp(np.ones(1, np.float32), measured.ulp_exponent),
    }


EMPTY = measure(np.ones((2, 3), BFLOAT16), np.empty(0, np.int64))


def far() -> Measurements:
    """Two vectors; that of the second is infinitely far off in ulp and in L2."""
    return measure(np.array([[-LARGEST] * 2, [LARGEST] * 2]).astype(BFLOAT16), np.arange(2))


def tiny_ulp() -> Measurements:
    """Two tokens of the smallest vector there is, one of the largest."""
    rows = [[2.0**-133] * 2, [LARGEST] * 2, [2.0**-133] * 2]
    return measure(np.array(rows).astype(BFLOAT16), np.arange(3))


def one_dimension() -> Measurements:
    return measure(np.array([[1.0], [1.0], [1 + STEP]]).astype(BFLOAT16), np.arange(3))


EXTREME: dict[str, Callable[[], Measurements]] = {
    "far": far, "tiny ulp": tiny_ulp, "one dimension": one_dimension, "empty": lambda: EMPTY,
}  # fmt: skip
