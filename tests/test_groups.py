from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from core_tokens import groups, parallel
from core_tokens.bits import round_to_bfloat16
from core_tokens.groups import Groups, blocks, changed_rows, identical_rows
from strategies import BFLOAT16, DTYPES, E4M3, any_matrices, from_bits


def key_of(row: NDArray[Any]) -> bytes:
    """The bytes of a row in which every -0 is written as +0."""
    positive = row.copy()
    positive[positive == 0] = 0
    return positive.tobytes()


def check(found: Groups, rows: NDArray[Any]) -> None:
    """The groups are those of a dict from the bytes of a row to where it was seen first."""
    seen: dict[bytes, list[int]] = {}
    for position, row in enumerate(rows):
        seen.setdefault(key_of(row), []).append(position)
    number = {position: n for n, members in enumerate(seen.values()) for position in members}
    assert found.first.tolist() == [members[0] for members in seen.values()]
    assert found.sizes.tolist() == [len(members) for members in seen.values()]
    assert found.group_of_row.tolist() == [number[position] for position in range(len(rows))]
    assert {found.first.dtype, found.sizes.dtype, found.group_of_row.dtype} == {np.dtype("i8")}


def constant(row: memoryview) -> int:
    """A hash that tells nothing apart."""
    return 7 * bool(len(row))


def two_bits(row: memoryview) -> int:
    """A hash of four values."""
    return xxhash.xxh3_64_intdigest(row) & 3


def upper_bits(row: memoryview) -> int:
    """A hash whose few bits are not in the lower half of the word."""
    return (xxhash.xxh3_64_intdigest(row) & 1) << 63


Hash = Callable[[memoryview], int]
HASHES: list[Hash] = [constant, two_bits, upper_bits, xxhash.xxh3_64_intdigest]


@given(any_matrices(), st.sampled_from(HASHES), st.sampled_from([1, 16, 64, groups.BLOCK_BYTES]))
def test_the_groups_are_those_of_a_dict_of_bytes_under_any_hash_and_block_size(
    matrix: NDArray[Any], row_hash: Hash, block_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "BLOCK_BYTES", block_bytes)
        check(identical_rows(matrix, row_hash=row_hash), matrix)


@given(any_matrices(), st.sampled_from(HASHES), st.sampled_from([1, 32]), st.data())
def test_some_rows_in_any_order_even_more_than_once(
    matrix: NDArray[Any], row_hash: Hash, block_bytes: int, data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(matrix) - 1), max_size=12))
    rows = np.array(chosen, np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "BLOCK_BYTES", block_bytes)
        check(identical_rows(matrix, rows, row_hash=row_hash), matrix[rows])


@given(any_matrices(), st.sampled_from(HASHES))
def test_as_bfloat16_groups_what_rounds_to_the_same(matrix: NDArray[Any], row_hash: Hash) -> None:
    check(identical_rows(matrix, as_bfloat16=True, row_hash=row_hash), round_to_bfloat16(matrix))


def test_rows_that_differ_only_in_stored_bits_that_bfloat16_drops() -> None:
    matrix = np.array([[1.0], [1.0 + 2.0**-20], [1.0 + 2.0**-7], [2.0**-150], [0.0]], np.float64)
    assert identical_rows(matrix).sizes.tolist() == [1, 1, 1, 1, 1]
    assert identical_rows(matrix, as_bfloat16=True).group_of_row.tolist() == [0, 0, 1, 2, 2]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_negative_zero_is_zero_and_a_nan_is_itself_only(dtype: np.dtype[Any]) -> None:
    unsigned = np.dtype(f"u{dtype.itemsize}")
    sign = 1 << (8 * dtype.itemsize - 1)
    nan = int(np.array([np.nan]).astype(dtype).view(unsigned)[0])
    bits = [[0, 1], [sign, 1], [nan, 0], [nan, sign], [nan ^ sign, 0], [sign + 1, 1], [nan + 1, 0]]
    matrix = np.array(bits, unsigned).view(dtype)
    if dtype == E4M3:  # which has one NaN of either sign; what comes after it is -0
        matrix = matrix[:-1]
    for row_hash in HASHES:
        found = identical_rows(matrix, row_hash=row_hash)
        assert found.group_of_row.tolist() == [0, 0, 1, 1, 2, 3, 4][: len(matrix)]
        assert found.sizes.tolist() == [2, 2, 1, 1, 1][: len(matrix) - 2]


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (1, 5)])
def test_few_rows_or_none(shape: tuple[int, int]) -> None:
    check(identical_rows(np.ones(shape, BFLOAT16)), np.ones(shape, BFLOAT16))


def test_no_rows_chosen() -> None:
    check(identical_rows(np.ones((3, 2), BFLOAT16), np.empty(0, np.int64)), np.empty((0, 2)))


@given(arrays(np.uint16, st.tuples(st.integers(1, 30), st.integers(1, 3)),
              elements=st.integers(0, 1)))  # fmt: skip
def test_collisions_between_groups_of_many_rows_are_told_apart(bits: NDArray[np.uint16]) -> None:
    matrix = bits.view(BFLOAT16)
    check(identical_rows(matrix, row_hash=constant), matrix)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("offset", [0, 1, 3, 7])
@pytest.mark.parametrize("as_bfloat16", [False, True])
def test_a_mapped_matrix_at_an_odd_offset_is_grouped_as_one_in_memory(
    tmp_path: Path, dtype: np.dtype[Any], offset: int, as_bfloat16: bool
) -> None:
    values = np.random.default_rng(offset).integers(-1, 2, (60, 3))
    matrix = (values * 0.7).astype(dtype)
    matrix[::4] = -matrix[::4]  # zeros of both signs
    path = tmp_path / "W"
    path.write_bytes(bytes(offset) + matrix.tobytes())
    flat = np.memmap(path, np.uint8, "r", offset=offset)
    mapped = flat.view(dtype).reshape(matrix.shape).view(np.ndarray)
    rows = np.arange(59, -1, -2)
    check(identical_rows(mapped, as_bfloat16=as_bfloat16), matrix)
    check(identical_rows(mapped, rows, as_bfloat16=as_bfloat16), matrix[rows])
    assert path.read_bytes() == bytes(offset) + matrix.tobytes()


@pytest.mark.parametrize("order", ["columns first", "every second column", "rows backwards"])
def test_a_matrix_of_another_layout_is_grouped_by_its_values(order: str) -> None:
    matrix = np.random.default_rng(1).integers(0, 2, (40, 4)).astype(np.float32)
    laid_out = {
        "columns first": np.asfortranarray(matrix),
        "every second column": np.repeat(matrix, 2, axis=1)[:, ::2],
        "rows backwards": matrix[::-1].copy()[::-1],
    }[order]
    assert np.array_equal(laid_out, matrix)
    for row_hash in HASHES:
        check(identical_rows(laid_out, row_hash=row_hash), matrix)


@given(any_matrices(), st.integers(1, 80), st.booleans())
def test_blocks_are_the_rows_in_their_order_with_zeros_positive(
    matrix: NDArray[Any], block_bytes: int, as_bfloat16: bool
) -> None:
    rows = np.arange(len(matrix))[::-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "BLOCK_BYTES", block_bytes)
        found = list(blocks(matrix, rows, as_bfloat16=as_bfloat16))
    limit = max(1, block_bytes // matrix[:1].nbytes)
    assert all(len(block) <= limit for block in found)
    expected = matrix[::-1].copy()
    expected[expected == 0] = 0
    if as_bfloat16:
        expected = round_to_bfloat16(expected)
        expected[expected == 0] = 0
    assert np.concatenate(found).tobytes() == expected.tobytes()


def test_the_block_size_of_one_row_may_exceed_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "BLOCK_BYTES", 1)
    matrix = from_bits([[1, 2, 3], [1, 2, 3], [4, 5, 6]])
    assert [len(block) for block in blocks(matrix)] == [1, 1, 1]
    check(identical_rows(matrix), matrix)


# Rows that bfloat16 cannot hold.


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_that_rounding_changes_are_counted(dtype: type[np.floating[Any]]) -> None:
    fine = 1 + 2.0**-8  # between two bfloat16
    matrix = np.array([[1, 2], [fine, 2], [0, -0.0], [3, fine], [fine, fine]], dtype)
    assert changed_rows(matrix) == 3
    assert changed_rows(matrix, np.array([0, 1, 2, 1])) == 2
    assert changed_rows(matrix, np.empty(0, np.int64)) == 0


def test_not_a_number_is_not_changed_and_what_overflows_is() -> None:
    matrix = np.array([[np.nan], [np.inf], [-np.inf], [3.4028235e38], [2.0**-149]], np.float32)
    assert changed_rows(matrix) == 2


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_what_bfloat16_holds_exactly_is_not_changed(dtype: Any) -> None:
    every = np.arange(256).astype(np.uint8).view(ml_dtypes.float8_e4m3fn).astype(dtype)
    assert changed_rows(every[:, None]) == 0


def test_rows_are_counted_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "BLOCK_BYTES", 16)
    matrix = np.full((11, 2), 1 + 2.0**-8, np.float32)
    matrix[7] = 1
    for part_bytes in (1 << 25, 24, 1):
        monkeypatch.setattr(parallel, "PART_BYTES", part_bytes)
        assert changed_rows(matrix) == 10
        assert changed_rows(matrix, np.array([7, 0, 7, 1, 2, 7, 8])) == 4
