import itertools
import math
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import example, given

import oracle
from core_tokens import measurements, parallel, tensors
from core_tokens.bits import ordered
from core_tokens.errors import TensorError
from core_tokens.measurements import (
    NO_ORIGIN,
    Precision,
    check_not_empty,
    check_token_ids,
    measure,
)
from measured import (
    ARRAYS,
    AWKWARD,
    PRECISIONS,
    Case,
    agree,
    all_tokens,
    any_cases,
    random_rows,
    same,
)
from strategies import (
    BFLOAT16,
    DTYPES,
    E4M3,
    E5M2,
    EIGHT_BITS,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    NATIVE,
    OVERFLOW,
    WIDER,
    cases,
    from_bits,
    largest_bits,
    limits,
    sign_of,
)

each_native = pytest.mark.parametrize("dtype", NATIVE, ids=str)


# Parity with the oracle.


@each_native
@given(data=st.data())
def test_native_measurements_are_those_of_the_procedure_in_torch(
    dtype: np.dtype[Any], data: st.DataObject
) -> None:
    matrix, token_ids = data.draw(cases([dtype], native=True))
    found = measure(matrix, token_ids, "native")
    agree(found, oracle.measure(matrix, token_ids, "native"))
    assert found.vectors.dtype == dtype
    assert found.changed_tokens == 0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(data=st.data())
def test_measurements_are_those_of_the_procedure_in_torch(
    dtype: np.dtype[Any], data: st.DataObject
) -> None:
    matrix, token_ids = data.draw(cases([dtype]))
    agree(measure(matrix, token_ids), oracle.measure(matrix, token_ids))


@pytest.mark.parametrize(("dtype", "precision"), PRECISIONS, ids=str)
@pytest.mark.parametrize(("dims", "scale"), [(1, 1), (2, 1e-38), (64, 0.005), (301, 1e2)])
@pytest.mark.parametrize("seed", range(3))
def test_a_cluster_of_many_dimensions_is_measured_as_in_torch(
    dtype: np.dtype[Any], precision: Precision, dims: int, scale: float, seed: int
) -> None:
    matrix, token_ids = random_rows(seed, dims, scale)
    stored = matrix.astype(dtype)
    found = measure(stored, token_ids, precision)
    agree(found, oracle.measure(stored, token_ids, precision))


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [case for case in PRECISIONS if case[0] in (BFLOAT16, FLOAT32, FLOAT64)],
    ids=str,
)
@pytest.mark.parametrize("rows", AWKWARD.values(), ids=AWKWARD)
def test_an_awkward_matrix_is_measured_as_in_torch(
    rows: list[list[float]], dtype: Any, precision: Precision
) -> None:
    matrix, token_ids = all_tokens(rows, dtype)
    found = measure(matrix, token_ids, precision)
    agree(found, oracle.measure(matrix, token_ids, precision))


@each_native
@pytest.mark.parametrize(
    "places",
    [
        [[1, -3], [2, 0], [1, -3], [0, 1]],  # subnormals
        [[-1, -1], [-1, -1], [1, -1]],  # the largest of either sign
        [[0, -1], [0, -1], [1, 5]],
        [[5, 2], [5, 3], [4, 2], [5, 2], [5, 3]],
    ],
)
@pytest.mark.parametrize("counted_from", ["zero", "the smallest normal", "one", "the largest"])
def test_awkward_bits_are_measured_natively_as_in_torch(
    dtype: np.dtype[Any], places: list[list[int]], counted_from: str
) -> None:
    info, largest = limits(dtype), largest_bits(dtype)
    start = {
        "zero": 0,
        "the smallest normal": info.smallest_normal,
        "one": 1,
        "the largest": info.max,
    }
    first = int(np.array(start[counted_from], dtype).view(f"u{dtype.itemsize}"))
    bits = [
        [min(first + abs(place), largest) | sign_of(dtype) * (place < 0) for place in row]
        for row in places
    ]
    matrix = from_bits(bits, dtype)
    ids = np.arange(len(matrix))
    agree(measure(matrix, ids, "native"), oracle.measure(matrix, ids, "native"))


# Hand-made.


def test_measurements_of_a_small_matrix() -> None:
    matrix, _ = all_tokens([[9, 9], [1, 2], [1, -2], [0, 0], [1, 2], [1, 2.5]])
    found = measure(matrix, np.array([5, 4, 2, 1]))
    assert found.token_ids.tolist() == [5, 4, 2, 1]
    assert found.vectors.astype(float).tolist() == [[1, -2], [1, 2], [1, 2.5]]
    assert found.vector_of_token.tolist() == [2, 1, 0, 1]
    assert found.populations.tolist() == [1, 2, 1]
    assert (found.origin, found.ulp_exponent) == (1, -7)  # the lower median of 1 and 2
    assert found.distance_ulp.tolist() == [512, 0, 64]
    assert found.distance_steps.tolist() == [2 * 0x4000, 0, 32]
    assert found.distance_l2.tolist() == [4, 0, 0.5]
    assert found.changed_tokens == 0


def test_native_measurements_of_a_small_matrix() -> None:
    above, far = 1 + 2.0**-20, 1 + 2.0**-7  # the first is 1 for bfloat16
    matrix, ids = all_tokens(
        [[1, -2], [above, -2], [far, -2], [1, -2], [1, -2 - 2.0**-20]], FLOAT32
    )
    found = measure(matrix, ids, "native")
    assert found.vectors.tolist() == [[1, -2 - 2.0**-20], [1, -2], [above, -2], [far, -2]]
    assert found.vector_of_token.tolist() == [1, 2, 3, 1, 0]
    assert found.populations.tolist() == [1, 2, 1, 1]
    assert (found.origin, found.ulp_exponent) == (1, -23)  # the lower median of 1 and 2
    assert found.distance_ulp.tolist() == [8, 0, 8, 2**16]
    assert found.distance_steps.tolist() == [4, 0, 8, 2**16]
    assert found.distance_l2.tolist() == [2.0**-20, 0, 2.0**-20, 2.0**-7]
    assert found.changed_tokens == 0
    assert measure(matrix, ids).populations.tolist() == [4, 1]


def test_native_float16_keeps_what_bfloat16_would_round() -> None:
    matrix, ids = all_tokens([[65504.0, 0.0], [65504.0, -0.0], [65472.0, 2.0**-24]], FLOAT16)
    found = measure(matrix, ids, "native")
    assert found.vectors.tolist() == [[65472, 2.0**-24], [65504, 0]]
    assert not np.signbit(found.vectors).any()
    assert (found.origin, found.ulp_exponent) == (1, 5)
    assert found.distance_ulp.tolist() == [1, 0]
    assert found.distance_steps.tolist() == [1, 0]
    assert found.distance_l2.tolist() == [32, 0]


def test_native_float32_may_lie_beyond_bfloat16() -> None:
    largest = float(np.finfo(np.float32).max)
    matrix, ids = all_tokens([[largest], [largest], [-largest]], FLOAT32)
    found = measure(matrix, ids, "native")
    assert (found.origin, found.ulp_exponent) == (1, 104)
    assert found.distance_ulp.tolist() == [math.inf, 0]
    assert found.distance_l2.tolist() == [math.inf, 0]
    assert found.distance_steps.tolist() == [2 * (255 * 2**23 - 1), 0]  # beyond int32
    with pytest.raises(TensorError, match="found inf as bfloat16"):
        measure(matrix, ids)


@pytest.mark.parametrize(("dtype", "precision"), PRECISIONS, ids=str)
def test_the_types_are_those_of_the_file(dtype: np.dtype[Any], precision: Precision) -> None:
    found = measure(*all_tokens([[1.0, 2.0], [3.0, 4.0]], dtype), precision)
    assert {name: getattr(found, name).dtype.name for name in ARRAYS} == {
        "token_ids": "int64",
        "vector_of_token": "int64",
        "vectors": dtype.name if precision == "native" else "bfloat16",
        "populations": "int64",
        "distance_ulp": "float32",
        "distance_steps": "int64",
        "distance_l2": "float32",
    }


def test_of_equally_populated_vectors_the_first_in_order_is_the_origin() -> None:
    found = measure(*all_tokens([[2, 5], [-1, 7], [2, 5], [-1, 7], [-3, 0]]))
    assert found.populations.tolist() == [1, 2, 2]
    assert found.origin == 1


@pytest.mark.parametrize("dtype", WIDER, ids=str)
def test_rows_that_round_to_the_same_vector_are_one_and_counted_as_changed(dtype: Any) -> None:
    above = 1 + 2.0**-10
    found = measure(*all_tokens([[1.0, 1.0], [above, 1.0], [1.0, above], [3.0, -0.0]], dtype))
    assert found.populations.tolist() == [3, 1]
    assert found.changed_tokens == 2


@pytest.mark.parametrize("count", [1, 255, 256, 257, 700])
def test_all_changed_tokens_are_counted(count: int) -> None:
    matrix = np.ones((count, 2), np.float32)
    matrix[::3, 1] += np.float32(2.0**-20)
    assert measure(matrix, np.arange(count)[::-1]).changed_tokens == (count + 2) // 3


def test_the_largest_float16_is_changed_to_a_bfloat16_beyond_float16() -> None:
    found = measure(*all_tokens([[65504.0], [65504.0], [1.0]], np.float16))
    assert found.vectors.astype(float).tolist() == [[1], [65536]]
    assert found.changed_tokens == 2


def test_a_distance_beyond_float32_is_infinite_without_a_warning() -> None:
    largest = 255 * 2.0**120
    found = measure(*all_tokens([[largest], [-largest]]))
    assert found.distance_ulp.tolist() == [0, math.inf]
    assert found.distance_l2.tolist() == [0, math.inf]
    assert found.distance_steps.tolist() == [0, 2 * 32639]


def test_a_matrix_mapped_from_a_file_is_measured_as_one_in_memory(tmp_path: Path) -> None:
    matrix, token_ids = random_rows(5, 7, 1.0)
    stored = matrix.astype(BFLOAT16)
    (tmp_path / "W").write_bytes(b"x" + stored.tobytes())
    flat = np.memmap(tmp_path / "W", np.uint8, "r", offset=1)
    mapped = flat.view(BFLOAT16).reshape(stored.shape)
    agree(measure(mapped, token_ids), oracle.measure(stored, token_ids))


@pytest.mark.parametrize(("dtype", "precision"), PRECISIONS, ids=str)
def test_no_tokens_are_measured_as_nothing(dtype: np.dtype[Any], precision: Precision) -> None:
    found = measure(np.ones((4, 3)).astype(dtype), np.empty(0, np.int64), precision)
    measured = dtype if precision == "native" else BFLOAT16
    exponent = {BFLOAT16: -133, FLOAT16: -24, FLOAT32: -149}[measured]
    assert (found.origin, found.ulp_exponent, found.changed_tokens) == (-1, exponent, 0)
    assert NO_ORIGIN == -1
    assert found.vectors.shape == (0, 3)
    assert found.vectors.dtype == measured
    assert [len(getattr(found, name)) for name in ARRAYS] == [0] * 7


@pytest.mark.parametrize("dtype", EIGHT_BITS, ids=str)
def test_a_matrix_of_8_bits_that_torch_saved_is_measured_without_a_loss(
    dtype: np.dtype[Any], tmp_path: Path
) -> None:
    bits = torch.arange(256, dtype=torch.uint8).reshape(128, 2).repeat(2, 1)
    stored = bits.view({E4M3: torch.float8_e4m3fn, E5M2: torch.float8_e5m2}[dtype])
    safetensors.torch.save_file({"W": stored}, tmp_path / "W.safetensors")
    matrix = tensors.map_matrix(tmp_path / "W.safetensors")
    token_ids = np.flatnonzero(torch.isfinite(stored.float()).all(dim=1).numpy())
    found = measure(matrix, token_ids)
    assert found.changed_tokens == 0
    expected = stored.to(torch.bfloat16)[torch.from_numpy(token_ids)].double()
    assert found.vectors[found.vector_of_token].astype(float).tolist() == expected.tolist()
    agree(found, oracle.measure(matrix, token_ids))


# Laws.


@given(cases([BFLOAT16]))
def test_native_measurements_of_a_bfloat16_matrix_are_those_as_bfloat16(case: Case) -> None:
    same(measure(*case, "native"), measure(*case, "bfloat16"))
    same(measure(*case), measure(*case, "bfloat16"))


@given(cases([BFLOAT16]))
def test_native_float32_that_are_all_bfloat16_have_the_same_groups_and_l2(case: Case) -> None:
    matrix, token_ids = case
    expected = measure(matrix, token_ids)
    found = measure(matrix.astype(FLOAT32), token_ids, "native")
    assert found.vectors.tolist() == expected.vectors.astype(FLOAT32).tolist()
    assert found.vector_of_token.tolist() == expected.vector_of_token.tolist()
    assert found.populations.tolist() == expected.populations.tolist()
    assert found.origin == expected.origin
    assert found.distance_l2.tobytes() == expected.distance_l2.tobytes()
    # Between two neighbours of bfloat16 lie 65,536 steps of float32.
    assert found.distance_steps.tolist() == (65536 * expected.distance_steps).tolist()
    assert found.ulp_exponent == max(expected.ulp_exponent - 16, -149)


@pytest.mark.parametrize("dtype", EIGHT_BITS, ids=str)
@given(data=st.data())
def test_a_matrix_of_8_bits_is_measured_as_its_values_in_any_wider_dtype(
    dtype: np.dtype[Any], data: st.DataObject
) -> None:
    matrix, token_ids = data.draw(cases([dtype]))
    found = measure(matrix, token_ids)
    for wider in (BFLOAT16, FLOAT16, FLOAT32, FLOAT64):
        same(found, measure(matrix.astype(wider), token_ids))


@given(any_cases())
@example(((from_bits([[0x8000, 0x3F80], [0x0000, 0x3F80]]), np.array([0, 1])), "bfloat16"))
def test_what_holds_of_any_measurements(of: tuple[Case, Precision]) -> None:
    (matrix, token_ids), precision = of
    found = measure(matrix, token_ids, precision)
    places = [tuple(row) for row in ordered(found.vectors).tolist()]
    assert all(one < other for one, other in itertools.pairwise(places))
    assert not (np.signbit(found.vectors) & (found.vectors == 0)).any()
    assert found.populations.sum() == len(token_ids)
    assert found.populations.tolist() == np.bincount(found.vector_of_token).tolist()
    assert found.populations[found.origin] == found.populations.max()
    for distance in (found.distance_ulp, found.distance_steps, found.distance_l2):
        assert distance[found.origin] == 0
    assert found.token_ids is token_ids
    assert 0 <= found.changed_tokens <= len(token_ids)


@given(any_cases(), st.data())
def test_a_permutation_of_the_tokens_permutes_the_result(
    of: tuple[Case, Precision], data: st.DataObject
) -> None:
    (matrix, token_ids), precision = of
    order = np.array(data.draw(st.permutations(range(len(token_ids)))))
    found = measure(matrix, token_ids, precision)
    permuted = measure(matrix, token_ids[order], precision)
    assert permuted.vector_of_token.tolist() == found.vector_of_token[order].tolist()
    for name in ARRAYS[2:]:
        assert getattr(permuted, name).tobytes() == getattr(found, name).tobytes()
    assert permuted.origin == found.origin
    assert permuted.ulp_exponent == found.ulp_exponent
    assert permuted.changed_tokens == found.changed_tokens


@given(any_cases())
def test_rows_of_other_tokens_change_nothing(of: tuple[Case, Precision]) -> None:
    (matrix, token_ids), precision = of
    alone = np.full_like(matrix, np.nan)
    alone[token_ids] = matrix[token_ids]
    same(measure(alone, token_ids, precision), measure(matrix, token_ids, precision))


@given(any_cases())
def test_measuring_the_measured_rows_themselves_gives_the_same(of: tuple[Case, Precision]) -> None:
    (matrix, token_ids), precision = of
    found = measure(matrix, token_ids, precision)
    again = measure(found.vectors[found.vector_of_token], np.arange(len(token_ids)), precision)
    for name in ARRAYS[1:]:
        assert getattr(again, name).tobytes() == getattr(found, name).tobytes()
    assert again.changed_tokens == 0


# What is refused.


@pytest.mark.parametrize(
    ("token_ids", "message"),
    [
        ([0, -1, -7], r"^cluster_token_ids: found the negative id -7; expected ids from 0 to 3$"),
        ([0, 9, 4], r"^cluster_token_ids: found the id 9; expected ids from 0 to 3, .* 4 rows$"),
        ([4], r"found the id 4; expected ids from 0 to 3"),
        ([2, 1, 3, 1, 2], r"^cluster_token_ids: found the id 1 more than once; expected .* once$"),
    ],
)
def test_wrong_ids_are_refused(token_ids: list[int], message: str) -> None:
    with pytest.raises(TensorError, match=message):
        measure(np.ones((4, 2), BFLOAT16), np.array(token_ids))
    with pytest.raises(TensorError, match=message):
        check_token_ids(np.array(token_ids), 4)


def test_right_ids_are_accepted_in_any_order() -> None:
    check_token_ids(np.array([3, 0, 2]), 4)
    check_token_ids(np.empty(0, np.int64), 4)


def test_an_empty_list_is_refused_where_one_is_needed() -> None:
    with pytest.raises(TensorError, match=r"^cluster_token_ids: found no ids; expected .* one$"):
        check_not_empty(np.empty(0, np.int64))
    check_not_empty(np.array([0]))


@pytest.mark.parametrize("dtype", [FLOAT64, *EIGHT_BITS], ids=str)
@pytest.mark.parametrize("token_ids", [[0, 1], [], [-1]])
def test_what_cannot_be_measured_natively_is_refused_before_anything_else(
    dtype: np.dtype[Any], token_ids: list[int]
) -> None:
    message = (
        rf"^W: found {np.dtype(dtype)}; expected BF16, F16 or F32 for measure\.precision native$"
    )
    with pytest.raises(TensorError, match=message):
        measure(np.full((2, 3), math.nan).astype(dtype), np.array(token_ids, np.int64), "native")


@pytest.mark.parametrize(("dtype", "precision"), PRECISIONS, ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_is_refused_by_its_token_and_dimension(
    dtype: np.dtype[Any], precision: Precision, value: float
) -> None:
    rows = np.ones((6, 3))
    rows[4, 1] = value
    matrix = rows.astype(dtype)
    shown = math.nan if dtype == E4M3 else value  # which has no infinity
    measured = dtype if precision == "native" else BFLOAT16
    message = rf"^W: found {shown} as {measured} at row 4, dimension 1; expected finite values"
    with pytest.raises(TensorError, match=message):
        measure(matrix, np.array([5, 4, 0]), precision)
    assert measure(matrix, np.array([5, 3, 0]), precision).populations.tolist() == [3]


@pytest.mark.parametrize(
    ("bits", "dtype"),
    [
        (0x7F81, BFLOAT16), (0x7C01, FLOAT16), (0x7F800001, FLOAT32), (0x7FF << 52 | 1, FLOAT64),
        (0x7F, E4M3), (0x7D, E5M2),
    ],
)  # fmt: skip
def test_a_signalling_nan_is_refused_without_a_warning(bits: int, dtype: np.dtype[Any]) -> None:
    matrix = from_bits([[bits]], dtype)
    with pytest.raises(TensorError, match=r"^W: found nan as bfloat16 at row 0, dimension 0;"):
        measure(matrix, np.array([0]))
    if dtype in NATIVE:
        with pytest.raises(TensorError, match=rf"^W: found nan as {dtype} at row 0, dimension 0;"):
            measure(matrix, np.array([0]), "native")


@pytest.mark.parametrize(("dtype", "value"), [("f4", OVERFLOW), ("f8", -OVERFLOW), ("f8", 1e300)])
def test_a_value_that_only_bfloat16_cannot_hold_is_refused(dtype: str, value: float) -> None:
    matrix = np.array([[1.0, value]], dtype)
    inf = "-inf" if value < 0 else "inf"
    with pytest.raises(TensorError, match=f"^W: found {inf} as bfloat16 at row 0, dimension 1;"):
        measure(matrix, np.array([0]))
    below = np.nextafter(matrix, 0) if abs(value) == OVERFLOW else matrix / 1e299
    assert measure(below, np.array([0])).populations.tolist() == [1]


@given(any_cases(), st.sampled_from([1, 5]))
def test_the_size_of_the_blocks_changes_nothing(of: tuple[Case, Precision], size: int) -> None:
    (matrix, token_ids), precision = of
    expected = measure(matrix, token_ids, precision)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurements, "BLOCK_VALUES", size)
        patch.setattr(parallel, "PART_BYTES", 8)
        same(measure(matrix, token_ids, precision), expected)
