import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

import oracle
from core_tokens import distances, measurements, tensors, torch_engine
from core_tokens.errors import TensorError
from core_tokens.measurements import Precision
from measured import AWKWARD, PRECISIONS, Case, agree, all_tokens, any_cases, random_rows, same
from strategies import (
    BFLOAT16,
    DTYPES,
    E4M3,
    E5M2,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    NATIVE,
    OVERFLOW,
    cases,
    from_bits,
)
from torch_devices import THERE, can_hold, each_device, on

each_precision = pytest.mark.parametrize(("dtype", "precision"), PRECISIONS, ids=str)


def check_parity(device: str, case: Case, precision: Precision) -> None:
    """On a device the same bytes as by NumPy."""
    matrix, token_ids = case
    found = torch_engine.measure(on(device, matrix), token_ids, precision)
    same(found, measurements.measure(matrix, token_ids, precision))


def refusal(measure: Any, *arguments: Any) -> str:
    """What is said when something is refused."""
    with pytest.raises(TensorError) as refused:
        measure(*arguments)
    return str(refused.value)


@pytest.mark.parametrize("device", THERE)
def test_a_device_is_one_of_those_that_are_tested(device: str) -> None:
    if not THERE[device]:
        pytest.skip(f"torch finds no {device} here")
    found = torch_engine.measure(on(device, np.ones((2, 2), BFLOAT16)), [0])
    assert found.populations.tolist() == [1]


# Parity with the other engine, and with the oracle.


@each_device
@given(of=any_cases())
def test_measurements_on_a_device_have_the_bytes_of_those_by_numpy(
    device: str, of: tuple[Case, Precision]
) -> None:
    case, precision = of
    assume(can_hold(device, case[0].dtype))
    check_parity(device, case, precision)


@each_device
@given(of=any_cases())
def test_measurements_on_a_device_are_those_of_the_procedure(
    device: str, of: tuple[Case, Precision]
) -> None:
    (matrix, token_ids), precision = of
    assume(can_hold(device, matrix.dtype))
    found = torch_engine.measure(on(device, matrix), token_ids, precision)
    agree(found, oracle.measure(matrix, token_ids, precision))


@each_device
@each_precision
@pytest.mark.parametrize(("dims", "scale"), [(1, 1), (2, 1e-38), (64, 0.005), (301, 1e2)])
def test_a_cluster_of_many_dimensions_has_the_same_bytes(
    device: str, dtype: np.dtype[Any], precision: Precision, dims: int, scale: float
) -> None:
    matrix, token_ids = random_rows(dims, dims, scale)
    check_parity(device, (matrix.astype(dtype), token_ids), precision)


@each_device
@pytest.mark.parametrize(
    ("dtype", "precision"),
    [case for case in PRECISIONS if case[0] in (BFLOAT16, FLOAT32, FLOAT64)],
    ids=str,
)
@pytest.mark.parametrize("rows", AWKWARD.values(), ids=AWKWARD)
def test_an_awkward_matrix_has_the_same_bytes(
    device: str, rows: list[list[float]], dtype: Any, precision: Precision
) -> None:
    check_parity(device, all_tokens(rows, dtype), precision)


@each_device
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_value_of_few_bits_is_rounded_and_ordered_as_by_numpy(
    device: str, dtype: np.dtype[Any]
) -> None:
    if dtype.itemsize <= 2:
        matrix = np.arange(256**dtype.itemsize).astype(f"u{dtype.itemsize}").view(dtype)
    else:  # every bfloat16, and what lies beside it and beside the middle to the next
        tails = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
        bits = (np.arange(1 << 16)[:, None] << 16 | tails).astype(np.uint32)
        with np.errstate(invalid="ignore"):
            matrix = bits.reshape(-1).view(np.float32).astype(dtype)
        if dtype == FLOAT64:
            matrix = np.concatenate([np.nextafter(matrix, side) for side in (-np.inf, np.inf)])
    with np.errstate(invalid="ignore"):
        matrix = matrix[np.abs(matrix.astype(np.float64)) < OVERFLOW].reshape(-1, 1)
    check_parity(device, (matrix, np.arange(len(matrix))), "bfloat16")
    if dtype in NATIVE:
        check_parity(device, (matrix, np.arange(len(matrix))), "native")


@each_device
@pytest.mark.parametrize("rows", [[[2.0], [2.0], [2.0**-24]], [[1.0, 0], [-(2.0**-24), 2.0**-60]]])
def test_what_float64_leaves_undecided_is_settled_in_integers(
    device: str, rows: list[list[float]]
) -> None:
    with mock.patch.object(
        distances, "_root_of_exact_square", wraps=distances._root_of_exact_square
    ) as settle:
        found = torch_engine.measure(on(device, all_tokens(rows)[0]), range(len(rows)))
    assert settle.call_count == 1
    agree(found, oracle.measure(*all_tokens(rows)))


@each_device
@given(of=any_cases(), values=st.sampled_from([1, 2, 5, 11]))
def test_the_size_of_the_blocks_changes_nothing(
    device: str, of: tuple[Case, Precision], values: int
) -> None:
    case, precision = of
    assume(can_hold(device, case[0].dtype))
    with mock.patch.object(torch_engine, "BLOCK_VALUES", values):
        check_parity(device, case, precision)


@each_device
@each_precision
def test_no_tokens_are_measured_as_nothing(
    device: str, dtype: np.dtype[Any], precision: Precision
) -> None:
    case = np.ones((4, 3)).astype(dtype), np.empty(0, np.int64)
    check_parity(device, case, precision)
    nothing = torch.empty(0, dtype=torch.int64)
    kinds: list[Any] = [[], nothing, nothing.to(device)]
    for none in kinds:
        found = torch_engine.measure(on(device, case[0]), none, precision)
        same(found, measurements.measure(*case, precision))


# Identical rows, whatever the hash.


HASHES = {
    "all alike": lambda first: first * 0,
    "one bit": lambda first: first & 1,
    "the first dimension": lambda first: first,
    "the extremes": lambda first: torch.where(first > 0, 2**63 - 1, -(2**63)),
}


@each_device
@pytest.mark.parametrize("hashes", HASHES.values(), ids=HASHES)
@given(of=any_cases())
def test_rows_that_only_share_a_hash_are_told_apart(
    device: str, hashes: Any, of: tuple[Case, Precision]
) -> None:
    case, precision = of
    assume(can_hold(device, case[0].dtype))
    with mock.patch.object(torch_engine, "_hashes", lambda places, _: hashes(places[:, 0].long())):
        check_parity(device, case, precision)


def test_a_hash_has_the_bits_of_a_sum_modulo_2_to_the_64() -> None:
    weights = torch_engine._weights(5)
    assert (weights & 1 == 1).all()
    assert len(np.unique(weights)) == 5
    places = torch.tensor([[-32640, -1, 0, 1, 32640], [1, 0, 0, 0, 0]], dtype=torch.int16)
    exact = [
        sum(place * weight for place, weight in zip(row, weights.tolist(), strict=True))
        for row in places.tolist()
    ]
    found = torch_engine._hashes(places, torch.from_numpy(weights)).tolist()
    assert [value % 2**64 for value in found] == [value % 2**64 for value in exact]


# What tensors there are.


@each_device
@given(of=any_cases())
def test_a_matrix_that_is_not_contiguous_is_measured_as_one_that_is(
    device: str, of: tuple[Case, Precision]
) -> None:
    (matrix, token_ids), precision = of
    assume(can_hold(device, matrix.dtype))
    expected = measurements.measure(matrix, token_ids, precision)
    plain = on(device, matrix)
    rows, dims = plain.shape
    wide = torch.zeros(2 * rows, 3 * dims, dtype=plain.dtype, device=device)
    strided = wide[::2, dims : 2 * dims]
    strided.copy_(plain)
    for one in (plain.t().contiguous().t(), strided):
        assert one.shape == plain.shape
        same(torch_engine.measure(one, token_ids, precision), expected)


@each_device
def test_a_row_that_is_expanded_or_negated_lazily_is_measured(device: str) -> None:
    matrix = np.array([[1.0, -2.0]], FLOAT32)
    expected = measurements.measure(matrix.repeat(3, axis=0), range(3))
    same(torch_engine.measure(on(device, matrix).expand(3, 2), range(3)), expected)
    if device != "mps":
        lazily = torch.complex(torch.zeros(3, 2), -on("cpu", matrix).expand(3, 2)).to(device)
        assert lazily.conj().imag.is_neg()
        same(torch_engine.measure(lazily.conj().imag, range(3)), expected)


@each_device
@pytest.mark.parametrize("dtype", [BFLOAT16, FLOAT32], ids=str)
def test_a_parameter_and_its_graph_are_left_as_they_were(device: str, dtype: np.dtype[Any]) -> None:
    matrix, token_ids = random_rows(1, 8, 0.1)
    matrix = matrix.astype(dtype)
    weight = torch.nn.Parameter(on(device, matrix))
    before, version = weight.detach().clone(), weight._version
    loss = (weight.float() ** 2).sum()
    found = torch_engine.measure(weight, token_ids)
    same(found, measurements.measure(matrix, token_ids))
    loss.backward()  # type: ignore[no-untyped-call] # untyped there
    assert (weight.requires_grad, weight._version) == (True, version)
    assert weight.grad is not None
    assert torch.equal(weight.grad, 2 * before)
    assert torch.equal(weight.detach(), before)
    same(torch_engine.measure(weight * 1, token_ids), found)
    with torch.inference_mode():
        same(torch_engine.measure(weight, token_ids), found)


@each_device
def test_a_result_stays_when_the_matrix_is_trained_on(device: str) -> None:
    matrix, token_ids = random_rows(2, 8, 0.1)
    weight = on(device, matrix.astype(BFLOAT16))
    found = torch_engine.measure(weight, token_ids)
    weight.zero_()
    same(found, measurements.measure(matrix.astype(BFLOAT16), token_ids))


@contextmanager
def unusual_defaults() -> Iterator[None]:
    """What a training program may have set."""
    dtype, strict = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.device("meta"), torch.autocast("cpu"):
            yield
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.set_default_dtype(dtype)


@each_device
@each_precision
def test_defaults_of_the_program_do_not_matter(
    device: str, dtype: np.dtype[Any], precision: Precision
) -> None:
    matrix, token_ids = random_rows(3, 8, 0.1)
    matrix = matrix.astype(dtype)
    tensor = on(device, matrix)
    with unusual_defaults():
        found = torch_engine.measure(tensor, token_ids, precision)
    same(found, measurements.measure(matrix, token_ids, precision))


def as_read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


@each_device
def test_ids_may_be_of_any_kind(device: str) -> None:
    matrix, token_ids = random_rows(4, 8, 0.1)
    matrix = matrix.astype(FLOAT32)
    tensor, expected = on(device, matrix), measurements.measure(matrix, token_ids)
    ids = torch.from_numpy(token_ids)
    for kind in (
        token_ids, token_ids.tolist(), tuple(token_ids.tolist()), token_ids.astype(np.uint8),
        np.flip(token_ids[::-1].copy()), as_read_only(token_ids), np.repeat(token_ids, 2)[::2],
        ids, ids.int(), ids.to(torch.uint8), ids.to(device), torch.stack([ids, ids], dim=1)[:, 0],
    ):  # fmt: skip
        same(torch_engine.measure(tensor, kind), expected)
    same(torch_engine.measure(tensor, range(70)), measurements.measure(matrix, range(70)))


# A matrix on the host, of which the rows are sent.


@each_device
@given(of=any_cases())
def test_rows_sent_to_a_device_are_measured_there_with_the_same_bytes(
    device: str, of: tuple[Case, Precision]
) -> None:
    (matrix, token_ids), precision = of
    alone = np.full_like(matrix, np.nan)
    alone[token_ids] = matrix[token_ids]
    found = torch_engine.measure_on(device, alone, token_ids, precision)
    same(found, measurements.measure(matrix, token_ids, precision))


@pytest.mark.parametrize("dtype", [FLOAT64, E4M3, E5M2], ids=str)
def test_what_mps_has_no_floats_of_is_measured_by_numpy(dtype: np.dtype[Any]) -> None:
    matrix, token_ids = random_rows(5, 8, 0.1)
    matrix = matrix.astype(dtype)
    found = torch_engine.measure_on("mps", matrix, token_ids, "bfloat16")
    same(found, measurements.measure(matrix, token_ids))


def test_a_device_without_memory_is_an_error_that_is_no_bug() -> None:
    matrix, token_ids = all_tokens([[1.0]])
    full = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    with (
        mock.patch.object(torch_engine, "_measure", side_effect=full),
        pytest.raises(MemoryError, match=r"Tried to allocate 2\.00 GiB"),
    ):
        torch_engine.measure_on("cpu", matrix, token_ids, "bfloat16")


class Watch(TorchFunctionMode):
    """Notes what reaches the host, as an array or a number, and the largest tensor worked on."""

    def __init__(self) -> None:
        super().__init__()
        self.host_bytes = 0
        self.largest = 0
        self.dtypes = set[torch.dtype]()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = [value for value in args if isinstance(value, torch.Tensor)]
        self.dtypes.update(value.dtype for value in given)
        self.largest = max([self.largest, *(value.numel() for value in given)])
        if getattr(function, "__name__", "") in {"numpy", "tolist", "item", "__array__", "__int__",
                                                 "__float__", "__bool__", "__index__"}:  # fmt: skip
            self.host_bytes += given[0].nbytes
        return function(*args, **(kwargs or {}))


def few_vectors_in_a_large_matrix(dtype: np.dtype[Any]) -> Case:
    """2,000 rows of 512 dimensions; 1,000 tokens that have 3 vectors."""
    matrix = np.random.default_rng(0).normal(0, 1, (2000, 512))
    token_ids = np.arange(0, 2000, 2)
    matrix[token_ids] = matrix[token_ids[np.arange(1000) % 3]]
    return matrix.astype(dtype), token_ids


@each_device
@each_precision
def test_what_reaches_the_host_is_bounded_by_the_unique_vectors(
    device: str, dtype: np.dtype[Any], precision: Precision
) -> None:
    matrix, token_ids = few_vectors_in_a_large_matrix(dtype)
    tensor, ids = on(device, matrix), torch.from_numpy(token_ids).to(device)
    with Watch() as all_of_it:
        tensor.view({1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
                    [dtype.itemsize]).cpu().numpy()  # fmt: skip
    assert all_of_it.host_bytes == matrix.nbytes
    with Watch() as watched:
        found = torch_engine.measure(tensor, ids, precision)
    assert len(found.vectors) == 3
    per_token = 8 + 8 + 1 + 1  # its id, a hash, whether it equals another, whether it was changed
    per_vector = 4 + 8 + 8  # its distances
    assert watched.host_bytes <= found.vectors.nbytes + 3 * per_vector + 1000 * per_token
    assert watched.host_bytes < matrix.nbytes / 20


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_only_the_rows_of_the_tokens_are_sent_from_a_mapped_file(
    dtype: np.dtype[Any], tmp_path: Path
) -> None:
    matrix, token_ids = few_vectors_in_a_large_matrix(dtype)
    (tmp_path / "W.safetensors").write_bytes(tensors.to_bytes({"W": matrix}))
    mapped = tensors.map_matrix(tmp_path / "W.safetensors")
    with Watch() as watched:
        found = torch_engine.measure_on("cpu", mapped, token_ids[:300], "bfloat16")
    assert watched.largest == 300 * 512
    same(found, measurements.measure(matrix, token_ids[:300]))


@pytest.mark.parametrize(
    ("dtype", "precision"), [case for case in PRECISIONS if case[0] in NATIVE], ids=str
)
@given(data=st.data())
def test_a_device_without_float64_gives_the_same_bytes_without_any(
    dtype: np.dtype[Any], precision: Precision, data: st.DataObject
) -> None:
    matrix, token_ids = data.draw(cases([dtype], native=precision == "native"))
    with mock.patch.object(torch_engine, "IEEE_DEVICES", set()), Watch() as watched:
        found = torch_engine.measure(oracle.to_torch(matrix), token_ids, precision)
    assert watched.dtypes & {torch.int16, torch.int32}
    assert torch.float64 not in watched.dtypes
    same(found, measurements.measure(matrix, token_ids, precision))


# What is refused, in the words of the other engine.


@each_device
@pytest.mark.parametrize(
    "token_ids", [[0, -1, -7], [0, 9, 4], [4], [2, 1, 3, 1, 2], [1.0], [True], [[0, 1]], 1, ["0"]]
)
def test_wrong_ids_are_refused_alike(device: str, token_ids: Any) -> None:
    matrix = np.ones((4, 2), BFLOAT16)
    expected = refusal(measurements.measure, matrix, token_ids)
    assert expected.startswith("cluster_token_ids: found ")
    assert refusal(torch_engine.measure, on(device, matrix), token_ids) == expected
    if token_ids != ["0"]:
        ids = torch.tensor(token_ids).to(device)
        assert refusal(torch_engine.measure, on(device, matrix), ids) == expected.replace(
            "float64", f"{np.array(ids.tolist()).dtype}"
        )


@each_device
@pytest.mark.parametrize("dtype", [FLOAT64, E4M3, E5M2], ids=str)
def test_what_cannot_be_measured_natively_is_refused_alike(
    device: str, dtype: np.dtype[Any]
) -> None:
    matrix = np.full((2, 3), math.nan).astype(dtype)
    expected = refusal(measurements.measure, matrix, [-1], "native")
    assert expected == f"W: found {dtype}; expected BF16, F16 or F32 for measure.precision native"
    assert refusal(torch_engine.measure, on(device, matrix), [-1], "native") == expected
    ids = np.array([-1])
    assert refusal(torch_engine.measure_on, device, matrix, ids, "native") == expected


@each_device
@each_precision
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_is_refused_alike(
    device: str, dtype: np.dtype[Any], precision: Precision, value: float
) -> None:
    rows = np.ones((7, 3))
    rows[4, 1:] = rows[6, 0] = value
    matrix, ids = rows.astype(dtype), np.array([5, 4, 6, 0])
    expected = refusal(measurements.measure, matrix, ids, precision)
    assert "at row 4, dimension 1;" in expected
    assert refusal(torch_engine.measure, on(device, matrix), ids, precision) == expected
    assert refusal(torch_engine.measure_on, device, matrix, ids, precision) == expected
    found = torch_engine.measure(on(device, matrix), [5, 3, 0], precision)
    assert found.populations.tolist() == [3]


@each_device
@pytest.mark.parametrize(
    ("bits", "dtype"),
    [
        (0x7F81, BFLOAT16), (0xFFFF, BFLOAT16), (0x7C01, FLOAT16), (0xFFFF, FLOAT16),
        (0x7F800001, FLOAT32), (0x7FFFFFFF, FLOAT32), (0xFFFFFFFF, FLOAT32),
        (0x7FF << 52 | 1, FLOAT64), (0xFFF << 52 | 1, FLOAT64), (2**64 - 1, FLOAT64),
        (0x7F, E4M3), (0xFF, E4M3), (0x7D, E5M2), (0xFF, E5M2),
    ],
)  # fmt: skip
def test_every_kind_of_nan_is_refused(device: str, bits: int, dtype: np.dtype[Any]) -> None:
    matrix = from_bits([[bits]], dtype)
    message = "W: found nan as bfloat16 at row 0, dimension 0; expected finite values in the rows"
    assert refusal(torch_engine.measure, on(device, matrix), [0]).startswith(message)


@each_device
@pytest.mark.parametrize(("dtype", "value"), [("f4", OVERFLOW), ("f8", -OVERFLOW), ("f8", 1e300)])
def test_a_value_that_only_bfloat16_cannot_hold_is_refused_alike(
    device: str, dtype: str, value: float
) -> None:
    matrix = np.array([[1.0, value]], dtype)
    expected = refusal(measurements.measure, matrix, [0])
    assert "inf as bfloat16" in expected
    assert refusal(torch_engine.measure, on(device, matrix), [0]) == expected


@pytest.mark.parametrize(
    ("matrix", "found"),
    [
        (torch.ones(4, 2, dtype=torch.int64), "int64[4, 2]"),
        (torch.ones(4, 2, dtype=torch.uint8), "uint8[4, 2]"),
        (torch.ones(4, 2, dtype=torch.bool), "bool[4, 2]"),
        (torch.ones(4, 2, dtype=torch.complex64), "complex64[4, 2]"),
        (torch.ones(4, 2).to(torch.float8_e4m3fnuz), "float8_e4m3fnuz[4, 2]"),
        (torch.ones(4), "float32[4]"),
        (torch.ones(1, 4, 2), "float32[1, 4, 2]"),
        (torch.ones(()), "float32[]"),
        (torch.ones(0, 2), "float32[0, 2]"),
        (torch.ones(4, 0), "float32[4, 0]"),
    ],
)
def test_a_tensor_that_is_no_matrix_of_floats_is_refused(matrix: torch.Tensor, found: str) -> None:
    message = (
        f"W: found {found}; expected a matrix [vocab, dim] of bfloat16, float16, float32, float64, "
        "float8_e4m3fn, float8_e5m2"
    )
    assert refusal(torch_engine.measure, matrix, [0]) == message


class Subclass(torch.Tensor):
    """Stands for a DTensor, a FakeTensor and the like."""


def quantized() -> torch.Tensor:
    with pytest.warns(UserWarning, match="deprecated"):
        return torch.quantize_per_tensor(torch.ones(4, 2), 0.1, 0, torch.qint8)


SPECIAL = {
    "meta": lambda: torch.ones(4, 2, device="meta"),
    "sparse_coo": lambda: torch.ones(4, 2).to_sparse(),
    "quantized": quantized,
    "Subclass": lambda: torch.ones(4, 2).as_subclass(Subclass),
    "UninitializedParameter": torch.nn.UninitializedParameter,
}


@pytest.mark.parametrize(("kind", "make"), SPECIAL.items(), ids=SPECIAL)
def test_a_tensor_without_plain_values_is_refused_by_its_kind(kind: str, make: Any) -> None:
    message = refusal(torch_engine.measure, make(), [0])
    assert message.startswith(f"W: found a tensor of the kind {kind}; expected a plain tensor")
    assert "full_tensor() of a DTensor" in message
