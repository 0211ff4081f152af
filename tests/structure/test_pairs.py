from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core_tokens.structure import pairs as module
from core_tokens.structure.pairs import pairs_within_a_step

FAR = 2**31 - 1


@st.composite
def lattices(draw: st.DrawFn) -> NDArray[np.int32]:
    """Distinct rows whose columns take few values near each other, many, or some very far apart."""
    column = st.sampled_from([
        st.integers(0, 1), st.integers(-1, 2), st.integers(-9, 9), st.integers(0, 60),
        st.sampled_from([-FAR, -1, 0, 1, FAR]), st.just(7),
    ])  # fmt: skip
    columns = draw(st.lists(column, min_size=1, max_size=12))
    rows = draw(st.lists(st.tuples(*columns), min_size=1, max_size=20, unique=True))
    return np.array(rows, np.int32)


def by_definition(lattice: NDArray[np.int32]) -> dict[tuple[int, int], int]:
    """Every pair against the definition, in Python's integers."""
    rows = lattice.tolist()
    found = {}
    for a, b in combinations(range(len(rows)), 2):
        steps = [abs(x - y) for x, y in zip(rows[a], rows[b], strict=True)]
        if max(steps, default=0) <= 1:
            found[a, b] = sum(steps)
    return found


def found(lattice: NDArray[np.int32]) -> dict[tuple[int, int], int]:
    edges, lengths = pairs_within_a_step(lattice)
    assert edges.dtype == lengths.dtype == np.int64
    listed = [(a, b) for a, b in edges.tolist()]
    assert listed == sorted(listed)
    return dict(zip(listed, lengths.tolist(), strict=True))


@given(lattices())
def test_pairs_and_lengths_are_those_of_the_definition(lattice: NDArray[np.int32]) -> None:
    assert found(lattice) == by_definition(lattice)


@pytest.mark.parametrize(
    ("few", "rows", "digits", "values", "first"),
    [(8, 3, 2, 1, 1), (1, 1, 1, 64, 2), (2, 512, 4096, 100, 8), (1, 2, 7, 5, 3)],
)
def test_nothing_depends_on_how_the_work_is_cut(
    monkeypatch: pytest.MonkeyPatch, few: int, rows: int, digits: int, values: int, first: int
) -> None:
    for name, value in (
        ("FEW", few), ("BLOCK_ROWS", rows), ("BLOCK_DIGITS", digits), ("BLOCK_VALUES", values),
        ("FIRST", first),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    draws = np.random.default_rng(7)
    near = draws.integers(0, 2, (30, 9)) + draws.integers(0, 20, (1, 9))
    mixed = np.concatenate([near, near[:5] + 1, draws.integers(0, 40, (5, 9))])
    lattice = np.unique(mixed.astype(np.int32), axis=0)
    assert found(lattice) == by_definition(lattice)
    assert len(found(lattice)) > 20


def test_steps_that_overflow_an_int32_are_far() -> None:
    lattice = np.array([[-FAR, 0], [FAR, 0], [FAR, 1], [FAR - 1, 1]], np.int32)
    assert found(lattice) == {(1, 2): 1, (1, 3): 2, (2, 3): 1}


def test_long_differences_of_many_single_steps_are_counted_exactly() -> None:
    dims = 20_000
    lattice = np.zeros((4, dims), np.int32)
    lattice[1] = 1
    lattice[2, ::2] = 1
    lattice[3] = 2
    assert found(lattice) == {(0, 1): dims, (0, 2): dims // 2, (1, 2): dims // 2, (1, 3): dims}


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (1, 0)])
def test_fewer_than_two_rows_have_no_pairs(shape: tuple[int, int]) -> None:
    assert found(np.zeros(shape, np.int32)) == {}


def test_few_steps_in_every_dimension_stay_exact_in_float32() -> None:
    """The bound of the docstring: sums of squares in as many dimensions as models have."""
    assert 16_384 * module.FEW**2 < 2**24
