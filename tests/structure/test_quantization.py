from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from core_tokens.structure.quantization import Quantization, quantization
from strategies import BFLOAT16, lattices


def by_definition(vectors: NDArray[Any]) -> Quantization:
    """Gap by gap, in fractions."""
    exponents: dict[int, int] = {}
    gaps = dimensions = 0
    for column in vectors.astype(np.float64).T.tolist():
        values = sorted({Fraction(value) for value in column})
        found = [high - low for low, high in pairwise(values)]
        if not found:
            continue
        powers = []
        for gap in found:
            ratio = gap / min(found)
            if ratio.denominator == 1 and ratio.numerator.bit_count() == 1:
                powers.append(ratio.numerator.bit_length() - 1)
        gaps += len(found)
        dimensions += len(powers) == len(found)
        for power in powers:
            exponents[power] = exponents.get(power, 0) + 1
    return Quantization(gaps, dict(sorted(exponents.items())), dimensions, gaps)


@given(lattices())
def test_gaps_are_compared_exactly(vectors: NDArray[Any]) -> None:
    found = quantization(vectors)
    assert found == by_definition(vectors)
    assert found.power_of_two_gaps == sum(found.exponents.values()) <= found.gaps


@given(lattices())
def test_a_mirror_image_has_the_same_gaps(vectors: NDArray[Any]) -> None:
    assert quantization(-vectors) == quantization(vectors)


def test_the_gaps_of_an_example() -> None:
    columns = [[0, 1, 3, 7], [0, 1, 4, 4], [2, 2, 2, 2], [1, 1.5, 1.5, 2]]
    found = quantization(np.array(columns).T.astype(BFLOAT16))
    # Gaps 1, 2, 4; 1, 3; none; 0.5, 0.5.
    assert found == Quantization(7, {0: 4, 1: 1, 2: 1}, 2, 7)
    assert found.power_of_two_gaps == 6


@pytest.mark.parametrize(("tiny", "huge"), [(2.0**-133, 2.0**127), (3 * 2.0**-130, 2.0**100)])
def test_gaps_of_any_size_are_exact(tiny: float, huge: float) -> None:
    vectors = np.array([[-tiny], [0.0], [huge / 2], [huge]], np.float64).astype(BFLOAT16)
    assert quantization(vectors) == by_definition(vectors)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_without_two_values_there_is_no_gap(rows: int) -> None:
    vectors = np.full((rows, 3), 0.5).astype(BFLOAT16)
    assert quantization(vectors) == Quantization(0, {}, 0, 0)
