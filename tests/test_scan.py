import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import oracle
from core_tokens import parallel, scan
from core_tokens.bits import round_to_bfloat16, ulp_exponent
from core_tokens.errors import TensorError
from core_tokens.groups import identical_rows
from core_tokens.measurements import measure
from core_tokens.scan import FARTHEST, NOWHERE, RADII, Ruler, Within, within
from core_tokens.sketch import sketch
from strategies import (
    BFLOAT16,
    DTYPES,
    EIGHT_BITS,
    FINITE_EDGES,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    NANS,
    NATIVE,
    cases,
    from_bits,
)

RULERS: list[Ruler] = ["ulp", "steps", "l2"]
Case = tuple[NDArray[Any], NDArray[np.int64]]
Sizes = tuple[int, int, int]
SIZES = st.sampled_from([(1, 1, 1), (5, 3, 64), (1 << 20, 1 << 15, 1 << 25)])
"""Of blocks, of tiles and of the parts of threads: such that all is cut, and as they are."""


def resize(patch: pytest.MonkeyPatch, sizes: Sizes) -> None:
    patch.setattr(scan, "BLOCK_VALUES", sizes[0])
    patch.setattr(scan, "WIDE_VALUES", sizes[0])
    patch.setattr(scan, "TILE_VALUES", sizes[1])
    patch.setattr(parallel, "PART_BYTES", sizes[2])


def plain(rows: NDArray[Any], origin: NDArray[Any], ruler: Ruler) -> list[float]:
    """The distances in plain torch: differences in the dtype, places on the lattice, fractions."""
    values, centre = oracle.to_torch(rows) + 0.0, oracle.to_torch(origin) + 0.0
    if ruler == "l2":
        return [oracle.exact_l2(row, centre) for row in values]
    if ruler == "steps":
        steps = (oracle.places(values) - oracle.places(centre)).abs().amax(dim=1)
        return [float(number) for number in steps]
    ulp = torch.tensor(2.0 ** ulp_exponent(origin), dtype=torch.float64)
    apart = (values - centre).abs().amax(dim=1).double() / ulp
    return apart.float().tolist()


# The distance of every row.


@given(cases(), st.sampled_from(RULERS), SIZES, st.data())
def test_the_distances_as_bfloat16_are_those_of_plain_torch(
    case: Case, ruler: Ruler, sizes: Sizes, data: st.DataObject
) -> None:
    matrix, rows = case[0], round_to_bfloat16(case[0])
    origin = rows[data.draw(st.integers(0, len(rows) - 1))]
    with pytest.MonkeyPatch.context() as patch:
        resize(patch, sizes)
        found = scan.scan(matrix, origin, ruler)
    assert found.tolist() == plain(rows, origin, ruler)
    assert found.dtype == (np.int64 if ruler == "steps" else np.float32)


@given(cases(NATIVE, native=True), st.sampled_from(RULERS), SIZES, st.data())
def test_the_distances_on_the_lattice_of_the_matrix_are_those_of_plain_torch(
    case: Case, ruler: Ruler, sizes: Sizes, data: st.DataObject
) -> None:
    matrix = case[0]
    origin = matrix[data.draw(st.integers(0, len(matrix) - 1))]
    with pytest.MonkeyPatch.context() as patch:
        resize(patch, sizes)
        found = scan.scan(matrix, origin, ruler)
    assert found.tolist() == plain(matrix, origin, ruler)


@pytest.mark.parametrize("ruler", RULERS)
def test_between_all_edges_of_bfloat16(ruler: Ruler) -> None:
    matrix = from_bits([[edge.bits] for edge in FINITE_EDGES])
    for row in matrix:
        assert scan.scan(matrix, row, ruler).tolist() == plain(matrix, row, ruler)


@given(cases([BFLOAT16, FLOAT32]), SIZES)
def test_the_tokens_of_a_cluster_lie_where_they_were_measured(case: Case, sizes: Sizes) -> None:
    matrix, token_ids = case
    measured = measure(matrix, token_ids)
    origin = measured.vectors[measured.origin]
    with pytest.MonkeyPatch.context() as patch:
        resize(patch, sizes)
        for ruler in RULERS:
            of_vectors = getattr(measured, f"distance_{ruler}")
            expected = of_vectors[measured.vector_of_token]
            assert scan.scan(matrix, origin, ruler)[token_ids].tobytes() == expected.tobytes()


@pytest.mark.parametrize("dims", [1, 7, 64, 301, 2560])
@pytest.mark.parametrize("ruler", ["ulp", "steps"])
def test_many_rows_of_many_dimensions(dims: int, ruler: Ruler) -> None:
    draws = np.random.default_rng(dims)
    matrix = (draws.standard_normal((700, dims)) * 0.03).astype(BFLOAT16)
    assert scan.scan(matrix, matrix[5], ruler).tolist() == plain(matrix, matrix[5], ruler)


@pytest.mark.parametrize("ruler", RULERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_that_is_not_finite_is_beyond_every_radius(dtype: Any, ruler: Ruler) -> None:
    rows = np.array([[1, 2], [np.nan, 2], [1, -np.inf], [np.inf, np.nan], [2, 2]])
    matrix = rows.astype(dtype)
    found = scan.scan(matrix, np.array([1, 2], BFLOAT16), ruler)
    beyond = FARTHEST if ruler == "steps" else math.inf
    assert found[1:4].tolist() == [beyond] * 3
    assert found[0] == 0
    assert 0 < found[4] < 1000
    if dtype in NATIVE:
        assert scan.scan(matrix, matrix[0], ruler)[1:4].tolist() == [beyond] * 3


@pytest.mark.parametrize("ruler", RULERS)
@pytest.mark.parametrize("bits", NANS)
def test_every_nan_is_beyond_the_largest_values_too(bits: int, ruler: Ruler) -> None:
    matrix = from_bits([[bits], [0x7F7F], [0xFF7F]])  # the largest value, and its negative
    found = scan.scan(matrix, matrix[1], ruler)
    assert found[0] == (FARTHEST if ruler == "steps" else math.inf)
    assert found[1] == 0
    if ruler == "steps":
        assert found[2] == 2 * 32639


def test_what_bfloat16_cannot_hold_is_beyond() -> None:
    matrix = np.array([[1.0], [3.4e38], [1e300]])
    assert scan.scan(matrix, np.array([1], BFLOAT16)).tolist() == [0, math.inf, math.inf]


@pytest.mark.parametrize(
    ("origin", "found"),
    [
        (np.ones(3, BFLOAT16), r"bfloat16\[3\]"),
        (np.ones((1, 2), BFLOAT16), r"bfloat16\[1, 2\]"),
        (np.ones(2, np.float64), r"float64\[2\]"),
        (np.ones(2, np.float16), r"float16\[2\]"),
    ],
)
def test_an_origin_that_does_not_belong_to_the_matrix_is_refused(
    origin: NDArray[Any], found: str
) -> None:
    message = rf"^origin: found {found}; expected bfloat16 or float32\[2\]$"
    with pytest.raises(TensorError, match=message):
        scan.scan(np.ones((4, 2), np.float32), origin)


@pytest.mark.parametrize("dtype", [FLOAT64, *EIGHT_BITS], ids=str)
def test_a_matrix_that_has_no_lattice_needs_an_origin_of_bfloat16(dtype: Any) -> None:
    with pytest.raises(TensorError, match=r"expected bfloat16\[2\]$"):
        scan.scan(np.ones((4, 2), dtype), np.ones(2, dtype))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_origin_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(TensorError, match=r"^origin: found NaN or infinity; expected finite"):
        scan.scan(np.ones((4, 2), BFLOAT16), np.array([1, value], BFLOAT16))


# Counts within radii.


def counted(matrix: NDArray[Any], origin: NDArray[Any]) -> Within:
    """Every row measured, every token counted."""
    rows = round_to_bfloat16(matrix)
    finite = rows[np.isfinite(rows).all(axis=1)]
    ulp, steps, l2 = (np.array(plain(finite, origin, ruler)) for ruler in RULERS)
    l2_in_ulp = np.float32(l2).astype(np.float64) / 2.0 ** ulp_exponent(origin)
    return Within(
        RADII, *(np.array([(d <= r).sum() for r in RADII]) for d in (ulp, steps, l2_in_ulp))
    )


def same(found: Within, expected: Within) -> None:
    assert found.radii == expected.radii
    for ruler in ("ulp", "steps", "l2_in_ulp"):
        assert getattr(found, ruler).tolist() == getattr(expected, ruler).tolist()


@given(cases(), SIZES, st.data())
def test_the_tokens_within_are_those_of_every_row(
    case: Case, sizes: Sizes, data: st.DataObject
) -> None:
    matrix = case[0]
    origin = round_to_bfloat16(matrix)[data.draw(st.integers(0, len(matrix) - 1))]
    with pytest.MonkeyPatch.context() as patch:
        resize(patch, sizes)
        found = within(matrix, sketch(matrix), identical_rows(matrix), origin)
    same(found, counted(matrix, origin))


@pytest.mark.parametrize("dtype", [BFLOAT16, FLOAT16, FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_rows_at_every_distance_are_counted_and_most_others_left_unread(
    dtype: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = np.random.default_rng(seed)
    origin = draws.standard_normal(40) * 0.02
    offsets = draws.standard_normal((300, 40)) * 2.0 ** draws.integers(-16, -5, (300, 1))
    far = draws.standard_normal((3000, 40))
    far[::7] = 0
    far[5, 3], far[6, 3] = np.nan, np.inf
    matrix = np.concatenate([origin + offsets, far, far[:50]]).astype(dtype)
    centre = origin.astype(BFLOAT16)
    read = []
    whole = scan.scan

    def watched(rows: NDArray[Any], *rest: Any) -> Any:
        read.append(len(rows))
        return whole(rows, *rest)

    monkeypatch.setattr(scan, "scan", watched)
    found = within(matrix, sketch(matrix), identical_rows(matrix), centre)
    same(found, counted(matrix, centre))
    assert len({*found.ulp.tolist()}) > 5
    assert sum(read) / 3 < 800  # a few of the 3,350, each under the three rulers


def test_identical_tokens_count_each() -> None:
    matrix = np.array([[1.0, 1], [1, 1], [1, 1], [9, 9], [9, 9]]).astype(BFLOAT16)
    found = within(matrix, sketch(matrix), identical_rows(matrix), matrix[0])
    assert found.ulp.tolist() == [3] * 10 + [5]  # 8 is 1,024 times 2**-7
    assert found.steps.tolist() == [3] * 9 + [5] * 2  # three octaves and a bit, of 128 steps


def test_around_no_origin_is_nothing() -> None:
    assert NOWHERE.radii == RADII == (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
    assert not (NOWHERE.ulp | NOWHERE.steps | NOWHERE.l2_in_ulp).any()
