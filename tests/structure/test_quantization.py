from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from core_tokens.structure.quantization import Quantization, quantization
from strategies import BFLOAT16, lattices


def nearest_exponent(ratio: Fraction) -> int:
    """The n that is nearest to log2(ratio): |2 log2(ratio) - 2n| < 1, in powers of two."""
    exponents = range(300)
    (n,) = [n for n in exponents if Fraction(1, 2) < ratio**2 / Fraction(4) ** n < 2]
    return n


def by_definition(vectors: NDArray[Any]) -> Quantization:
    """Gap by gap, in fractions."""
    exponents: dict[int, int] = {}
    nearest: dict[int, int] = {}
    gaps = dimensions = 0
    for column in vectors.astype(np.float64).T.tolist():
        values = sorted({Fraction(value) for value in column})
        found = [high - low for low, high in pairwise(values)]
        if not found:
            continue
        powers = []
        for gap in found:
            ratio = gap / min(found)
            rounded = nearest_exponent(ratio)
            nearest[rounded] = nearest.get(rounded, 0) + 1
            if ratio.denominator == 1 and ratio.numerator.bit_count() == 1:
                powers.append(ratio.numerator.bit_length() - 1)
        gaps += len(found)
        dimensions += len(powers) == len(found)
        for power in powers:
            exponents[power] = exponents.get(power, 0) + 1
    return Quantization(
        gaps, dict(sorted(exponents.items())), dimensions, gaps, dict(sorted(nearest.items()))
    )


@given(lattices())
def test_gaps_are_compared_exactly(vectors: NDArray[Any]) -> None:
    found = quantization(vectors)
    assert found == by_definition(vectors)
    assert found.power_of_two_gaps == sum(found.exponents.values()) <= found.gaps
    assert sum(found.nearest_exponents.values()) == found.gaps
    assert all(gaps <= found.nearest_exponents[n] for n, gaps in found.exponents.items())


@given(lattices())
def test_a_mirror_image_has_the_same_gaps(vectors: NDArray[Any]) -> None:
    assert quantization(-vectors) == quantization(vectors)


def test_the_gaps_of_an_example() -> None:
    columns = [[0, 1, 3, 7], [0, 1, 4, 4], [2, 2, 2, 2], [1, 1.5, 1.5, 2]]
    found = quantization(np.array(columns).T.astype(BFLOAT16))
    # Gaps 1, 2, 4; 1, 3; none; 0.5, 0.5.
    assert found == Quantization(7, {0: 4, 1: 1, 2: 1}, 2, 7, {0: 4, 1: 1, 2: 2})
    assert found.power_of_two_gaps == 6


@pytest.mark.parametrize(
    ("quantum", "gap", "nearest"),
    [
        (1, 3, 2), (1, 5, 2), (1, 6, 3), (2, 3, 1), (4, 5, 0), (5, 7, 0), (5, 8, 1), (16, 183, 4),
        # The best fractions for the square root of 2: their squares differ from 2 by 1 in 10**13.
        (6625109, 9369319, 0), (2744210, 3880899, 1), (1136689, 4 * 1607521, 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("unit", [1, 2.0**-20])
def test_the_nearest_exponent_changes_at_the_square_root_of_two(
    quantum: int, gap: int, nearest: int, unit: float
) -> None:
    vectors = np.array([[-gap], [0], [quantum]]) * unit
    found = quantization(vectors.astype(np.float32))
    assert found.nearest_exponents == ({0: 1, nearest: 1} if nearest else {0: 2})
    assert found.exponents == {0: 1}


@pytest.mark.parametrize(("tiny", "huge"), [(2.0**-133, 2.0**127), (3 * 2.0**-130, 2.0**100)])
def test_gaps_of_any_size_are_exact(tiny: float, huge: float) -> None:
    vectors = np.array([[-tiny], [0.0], [huge / 2], [huge]], np.float64).astype(BFLOAT16)
    assert quantization(vectors) == by_definition(vectors)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_without_two_values_there_is_no_gap(rows: int) -> None:
    vectors = np.full((rows, 3), 0.5).astype(BFLOAT16)
    assert quantization(vectors) == Quantization(0, {}, 0, 0, {})
