import hashlib
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from core_tokens.bits import BFLOAT16, ordered
from core_tokens.replica.draws import (
    STANDARD_DEVIATION,
    Draws,
    normal_quantiles,
    normal_table,
)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def outcomes_up_to(total: int) -> int:
    """How many of the 4,096**4 throws of four dice, from 0 to 4,095, have at most this sum.

    Inclusion and exclusion over the dice that are too large, in whole numbers.
    """
    return sum(
        (-1) ** large * math.comb(4, large) * math.comb(total - 4096 * large + 4, 4)
        for large in range(5)
        if total >= 4096 * large
    )


def test_the_outcomes_are_counted_right() -> None:
    assert [outcomes_up_to(total) for total in (0, 1, 2)] == [1, 5, 15]
    assert outcomes_up_to(4 * 4095) == 4096**4
    assert outcomes_up_to(4 * 4095 - 1) == 4096**4 - 1


def test_quantiles_ascend_and_are_symmetric() -> None:
    quantiles = normal_quantiles()
    assert quantiles.shape == (65536,)
    assert quantiles.dtype == np.int32
    assert (np.diff(quantiles) >= 0).all()
    assert np.array_equal(quantiles, -quantiles[::-1])


def test_quantiles_are_those_of_the_exact_counts() -> None:
    quantiles = normal_quantiles().tolist()
    for index in [*range(0, 65536, 37), 1, 2, 3, 32767, 32768, 65533, 65534, 65535]:
        total = quantiles[index] + 8190
        wanted = (2 * index + 1) << 31  # (index + 1/2) / 65,536 of 2**48
        assert outcomes_up_to(total - 1) < wanted <= outcomes_up_to(total)


def test_the_standard_deviation_is_that_of_the_dice() -> None:
    one_die = sum((2 * side - 4095) ** 2 for side in range(4096)) / 4 / 4096
    assert pytest.approx(math.sqrt(4 * one_die), rel=1e-15) == STANDARD_DEVIATION
    assert normal_quantiles().astype(np.float64).std() == pytest.approx(
        STANDARD_DEVIATION, rel=1e-4
    )


def test_quantiles_have_their_golden_bytes() -> None:
    assert (
        sha256(normal_quantiles().astype("<i4").tobytes())
        == "4552b6b1c71e770a1d15f2f1efe750dbf664f64a39be879eea7ede5b10d1e37a"
    )


@pytest.mark.parametrize(
    ("deviation", "golden"),
    [
        (1.0, "4ad724fb111c7ce914fe4ef3cd06dc1d7069d0a6348653acbb416a3251664a51"),
        (0.016, "a25e6c7942644d342a32aab347660eeb9bbf54364f96df8c9701f619e4ad3b78"),
        (0.005167, "b87ee137ebafdb011416e6cd125a30d8a8c91db71441247082839eac9bd9225f"),
    ],
)
def test_tables_ascend_and_have_their_golden_bytes(deviation: float, golden: str) -> None:
    table = normal_table(deviation)
    assert table.dtype == BFLOAT16
    assert (np.diff(ordered(table)) >= 0).all()
    assert table.astype(np.float64).std() == pytest.approx(deviation, rel=1e-3)
    assert sha256(table.view(np.uint16).astype("<u2").tobytes()) == golden


def test_raw_draws_of_a_seed_have_their_golden_bytes() -> None:
    draws = Draws(2507)
    words = np.concatenate([draws.raw(1000), draws.raw(24)])
    assert words.dtype == np.uint64
    assert (
        sha256(words.astype("<u8").tobytes())
        == "ebf81c50313d40c67a839bbf52fadf20ae45bcafbaafe22deae472944937b1e2"
    )
    assert np.array_equal(words, Draws(2507).raw(1024))


def test_small_draws_of_a_seed_have_their_golden_values() -> None:
    draws = Draws(7)
    assert [draws.below(1000) for _ in range(8)] == [43, 325, 786, 314, 901, 372, 528, 805]
    assert draws.shuffled(range(12)) == [8, 9, 1, 3, 4, 7, 2, 10, 5, 11, 0, 6]
    assert [draws.choice("abcdef") for _ in range(8)] == list("cbffddbe")


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**40))
def test_a_draw_is_below_its_bound_and_the_next_word_modulo_it(seed: int, bound: int) -> None:
    draws, words = Draws(seed), Draws(seed).raw(3).tolist()
    found = [draws.below(bound) for _ in range(3)]
    assert all(0 <= value < bound for value in found)
    assert found == [word % bound for word in words]


@given(st.integers(0, 2**64 - 1))
def test_a_table_index_is_the_upper_quarter_of_the_next_word(seed: int) -> None:
    draws, words = Draws(seed), Draws(seed).raw(5).tolist()
    found = [*draws.table_indices(2).tolist(), *draws.table_indices(3).tolist()]
    assert found == [word // 2**48 for word in words]


@given(st.integers(0, 2**32), st.lists(st.integers(0, 9), max_size=30))
def test_shuffled_is_a_permutation_and_leaves_its_argument(seed: int, items: list[int]) -> None:
    before = items.copy()
    result = Draws(seed).shuffled(items)
    assert sorted(result) == sorted(items)
    assert items == before
    assert result is not items


@given(st.integers(0, 2**32), st.lists(st.integers(), min_size=1, max_size=9))
def test_a_choice_is_one_of_the_items(seed: int, items: list[int]) -> None:
    assert Draws(seed).choice(items) in items


def test_shuffling_reaches_every_order_about_equally() -> None:
    draws = Draws(1)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(6000):
        order = tuple(draws.shuffled([0, 1, 2]))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert all(abs(count - 1000) < 150 for count in counts.values())
