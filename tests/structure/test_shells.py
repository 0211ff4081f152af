import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import figures
from core_tokens.structure.shells import Shells, shells

LARGEST = float(np.finfo(np.float32).max)
TENTH, NINE_TENTHS = float(np.float32(0.1)), float(np.float32(0.9))
BESIDE = [
    float(np.nextafter(np.float32(value), np.float32(side)))
    for value in (0.1, 0.5, 0.9, 1.1, 1.5, 2.5)
    for side in (0, 9)
]
"""Just below and just above where something changes."""
distances = st.one_of(
    st.sampled_from([0.0, 2.0**-149, TENTH, NINE_TENTHS, *BESIDE, 2.0**23 + 1, 2.0**24]),
    st.sampled_from([2.0**24 + 2, LARGEST, math.inf]),
    st.integers(0, 9).map(lambda halves: halves / 2),
    st.floats(0, 6, width=32),
    st.floats(0, width=32),
)
measured = st.lists(st.tuples(distances, st.integers(1, 40)), max_size=14)
Measured = list[tuple[float, int]]


def found_of(case: Measured) -> Shells:
    return shells(
        np.array([distance for distance, _ in case], np.float32),
        np.array([population for _, population in case], np.int64),
    )


def plain(found: Shells) -> dict[str, Any]:
    """The same in Python's own numbers."""
    return {
        "whole": found.whole.tolist(),
        "vectors": found.vectors.tolist(),
        "tokens": found.tokens.tolist(),
        "gap_at": found.gap_at,
        "whole_percent": found.whole_percent,
        "r90_vectors": float(found.r90_vectors),
        "r90_tokens": float(found.r90_tokens),
    }


def radius_of(weighted: Measured) -> float:
    """The smallest distance within which 90% lie, each tried in turn."""
    total = sum(weight for _, weight in weighted)
    for radius in sorted(distance for distance, _ in weighted):
        within = sum(weight for distance, weight in weighted if distance <= radius)
        if Fraction(within, total) >= Fraction(9, 10):
            return radius
    return 0.0


def by_definition(case: Measured) -> dict[str, Any]:
    """Vector by vector, in fractions, which Python rounds half to even."""
    vectors: dict[float, int] = {}
    tokens: dict[float, int] = {}
    near = 0
    for distance, population in case:
        shell = distance
        if distance < math.inf:
            whole = round(Fraction(distance))
            near += abs(Fraction(distance) - whole) <= Fraction(1, 10)
            shell = float(whole)
        vectors[shell] = vectors.get(shell, 0) + 1
        tokens[shell] = tokens.get(shell, 0) + population
    gap = 0
    while gap in vectors:
        gap += 1
    return {
        "whole": sorted(vectors),
        "vectors": [vectors[shell] for shell in sorted(vectors)],
        "tokens": [tokens[shell] for shell in sorted(vectors)],
        "gap_at": gap,
        "whole_percent": float(Fraction(100 * near, len(case))) if case else 0.0,
        "r90_vectors": radius_of([(distance, 1) for distance, _ in case]),
        "r90_tokens": radius_of(case),
    }


@given(measured)
@example([(0.0, 9), (1.0, 1)])  # exactly 90% of the tokens at 0
@example([(0.0, 8), (1.0, 1)])
@example([(0.0, 1)] * 9 + [(math.inf, 1)])
@example([(0.0, 1)] * 8 + [(7.0, 1), (math.inf, 1)])
def test_shells_are_those_of_the_definition(case: Measured) -> None:
    assert plain(found_of(case)) == by_definition(case)


@pytest.mark.parametrize(
    ("distance", "shell", "gap", "near"),
    [
        (0.0, 0, 1, True),
        (2.0**-149, 0, 1, True),
        (0.5, 0, 1, False),  # half to even
        (BESIDE[3], 1, 0, False),
        (1.0, 1, 0, True),
        (1.5, 2, 0, False),
        (2.5, 2, 0, False),
        (3.5, 4, 0, False),
        (TENTH, 0, 1, False),  # as a float32 just above a tenth
        (BESIDE[0], 0, 1, True),
        (NINE_TENTHS, 1, 0, False),  # as a float32 just below nine tenths
        (BESIDE[5], 1, 0, True),
        (8388607.5, 8388608, 0, False),
        (2.0**23 + 1, 2**23 + 1, 0, True),
        (2.0**24, 2**24, 0, True),  # from here on not every whole number is a float32
        (2.0**24 + 2, 2**24 + 2, 0, True),
        (LARGEST, LARGEST, 0, True),
        (math.inf, math.inf, 0, False),
    ],
)
def test_one_vector_at_an_edge(distance: float, shell: float, gap: int, near: bool) -> None:
    assert plain(found_of([(distance, 7)])) == {
        "whole": [shell],
        "vectors": [1],
        "tokens": [7],
        "gap_at": gap,
        "whole_percent": 100.0 if near else 0.0,
        "r90_vectors": distance,
        "r90_tokens": distance,
    }


def test_no_vectors_lie_in_no_shell() -> None:
    assert plain(found_of([])) == {
        "whole": [], "vectors": [], "tokens": [], "gap_at": 0, "whole_percent": 0.0,
        "r90_vectors": 0.0, "r90_tokens": 0.0,
    }  # fmt: skip


def test_the_published_shells() -> None:
    case = [
        (float(shell), tokens - vectors + 1 if nth == 0 else 1)
        for shell, (vectors, tokens) in figures.SHELLS.items()
        for nth in range(vectors)
    ]
    found = found_of(case)
    counts = zip(found.vectors.tolist(), found.tokens.tolist(), strict=True)
    assert dict(zip(found.whole.tolist(), counts, strict=True)) == figures.SHELLS
    assert found.gap_at == 5
    assert float(found.r90_vectors) == float(found.r90_tokens) == 2


def test_the_dtypes() -> None:
    found = found_of([(1.5, 2), (0.0, 3)])
    assert found.whole.dtype == np.float32
    assert found.vectors.dtype == np.int64
    assert found.tokens.dtype == np.int64
    assert type(found.gap_at) is int
    assert type(found.whole_percent) is float
    assert type(found.r90_vectors) is type(found.r90_tokens) is np.float32


# ---- laws ------------------------------------------------------------------------------------


@given(measured, st.randoms(use_true_random=False))
def test_the_order_of_the_vectors_does_not_matter(case: Measured, random: Any) -> None:
    shuffled = random.sample(case, len(case))
    assert plain(found_of(shuffled)) == plain(found_of(case))


@given(measured)
def test_every_vector_and_token_lies_in_one_shell(case: Measured) -> None:
    found = found_of(case)
    assert found.vectors.sum() == len(case)
    assert found.tokens.sum() == sum(population for _, population in case)
    assert (found.vectors >= 1).all()
    assert (found.tokens >= found.vectors).all()
    assert found.whole.tolist() == sorted(set(found.whole.tolist()))


@given(measured)
def test_shells_below_the_gap_are_all_there_and_the_gap_is_not(case: Measured) -> None:
    found = found_of(case)
    assert found.whole[: found.gap_at].tolist() == list(range(found.gap_at))
    assert found.gap_at not in found.whole.tolist()


@given(st.lists(distances, max_size=14))
def test_of_vectors_with_one_token_each_both_counts_agree(alone: list[float]) -> None:
    found = found_of([(distance, 1) for distance in alone])
    assert found.tokens.tolist() == found.vectors.tolist()
    assert found.r90_tokens == found.r90_vectors


@given(measured, st.integers(2, 9))
def test_so_many_times_the_tokens_at_the_same_radius(case: Measured, times: int) -> None:
    one = found_of(case)
    more = found_of([(distance, times * population) for distance, population in case])
    assert more.tokens.tolist() == [times * tokens for tokens in one.tokens.tolist()]
    assert plain(more) == {**plain(one), "tokens": more.tokens.tolist()}


@given(measured)
def test_nine_tenths_lie_within_the_radius_and_fewer_below_it(case: Measured) -> None:
    found = found_of(case)
    for radius, weighted in (
        (float(found.r90_vectors), [(distance, 1) for distance, _ in case]),
        (float(found.r90_tokens), case),
    ):
        total = sum(weight for _, weight in weighted)
        assert 10 * sum(weight for at, weight in weighted if at <= radius) >= 9 * total
        assert not case or 10 * sum(weight for at, weight in weighted if at < radius) < 9 * total
