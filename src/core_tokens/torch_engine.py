"""The measurement of ``measurements`` on the device of a torch tensor: the same bytes.

Of W only the rows of the tokens are read, block by block, and never changed; no graph is kept.
Rows are rounded and compared as integers, which no device flushes to zero or rounds in its own
way. What goes to the host is a hash per token, the distinct vectors, and their distances.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from core_tokens import measurements
from core_tokens.bits import BFLOAT16
from core_tokens.distances import halvings, in_ulp, rounded_once
from core_tokens.errors import TensorError
from core_tokens.groups import Groups
from core_tokens.measurements import (
    FLOATS,
    Distances,
    Measurements,
    Precision,
    as_token_ids,
    assemble,
    check_matrix,
    check_token_ids,
    distances_from,
)

BLOCK_VALUES = 1 << 20
"""Rows are worked on in blocks of about this many values, 8 bytes each at most."""
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Bytes of a float -> the integers that its bits are taken as."""
IEEE_DEVICES = {"cpu", "cuda"}
"""Those with float64 whose arithmetic keeps subnormals. Elsewhere the host takes the distances."""


def measure(
    matrix: Tensor, token_ids: ArrayLike | Tensor, precision: Precision = "bfloat16"
) -> Measurements:
    """Measure how far the rows of some tokens lie from the most populated of their vectors.

    Args:
        matrix: float[vocab, dims] on any device, contiguous or not; it may require a gradient.
        token_ids: integers[n], distinct; on any device.
        precision: see ``measurements.measure``.

    Returns:
        NumPy arrays, byte for byte those of ``measurements.measure`` of the same values.

    Raises:
        TensorError: see ``measurements.measure``; or a tensor without values of its own on one
            device: sparse, quantized, distributed, meta.
    """
    _check_plain(matrix)
    check_matrix(_name(matrix.dtype), matrix.shape, precision)
    ids = as_token_ids(token_ids.tolist() if isinstance(token_ids, Tensor) else token_ids)
    check_token_ids(ids, len(matrix))
    return _measure(matrix.detach().resolve_neg(), ids, ids, precision)


def measure_on(
    device: str, matrix: NDArray[Any], token_ids: NDArray[np.int64], precision: Precision
) -> Measurements:
    """The same of a matrix on the host, possibly mapped: the rows of the tokens go to ``device``.

    Raises:
        TensorError: see ``measurements.measure``.
        MemoryError: the device has none left.
    """
    check_matrix(str(matrix.dtype), matrix.shape, precision)
    check_token_ids(token_ids, len(matrix))
    if device == "mps" and matrix.dtype.itemsize in (1, 8):  # which it has no floats of
        return measurements.measure(matrix, token_ids, precision)
    try:
        rows = to_torch(matrix[token_ids], torch.device(device))
        return _measure(rows, np.arange(len(rows)), token_ids, precision)
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error


def _check_plain(matrix: Tensor) -> None:
    """Refuse a tensor that has its values elsewhere, or in another form (TensorError)."""
    kinds = {
        type(matrix).__name__: type(matrix) not in (Tensor, torch.nn.Parameter),
        "meta": matrix.is_meta,
        "quantized": matrix.is_quantized,
        "nested": matrix.is_nested,
        _name(matrix.layout): matrix.layout != torch.strided,
    }
    for kind, is_one in kinds.items():
        if is_one:
            raise TensorError(
                "W",
                f"a tensor of the kind {kind}",
                "a plain tensor with its values on one device, such as full_tensor() of a DTensor, "
                "to_dense() of a sparse one, dequantize() of a quantized one",
            )


def _name(of: torch.dtype | torch.layout) -> str:
    """A dtype as NumPy calls it, or a layout."""
    return f"{of}".removeprefix("torch.")


def to_torch(array: NDArray[Any], device: torch.device) -> Tensor:
    """Floats on a device, of any dtype that can be measured."""
    integers = torch.from_numpy(array.view(f"i{array.dtype.itemsize}"))
    dtype: torch.dtype = getattr(torch, str(array.dtype))
    return integers.view(dtype).to(device)


def _to_numpy(parts: list[Tensor]) -> NDArray[Any]:
    """The results of all blocks on the host."""
    array: NDArray[Any] = torch.cat(parts).cpu().numpy()
    return array


def _measure(
    matrix: Tensor, rows: NDArray[np.int64], token_ids: NDArray[np.int64], precision: Precision
) -> Measurements:
    """The measurements of some rows of a matrix, which are those of the tokens."""
    rounded = precision == "bfloat16"
    groups = _identical_rows(matrix, rows, rounded)
    unique = torch.cat([_mirrored(b) for b in _places(matrix, rows[groups.first], rounded)])
    dtype = BFLOAT16 if rounded else FLOATS[_name(matrix.dtype)]
    vectors = _to_numpy([unique]).view(dtype)
    if matrix.device.type in IEEE_DEVICES:
        distances = partial(_distances, unique.view(getattr(torch, str(dtype))), vectors)
    else:
        distances = partial(distances_from, vectors)
    changed = _changed_rows(matrix, rows) if rounded else 0
    return assemble(token_ids, groups, vectors, changed, distances)


# Rows as integers.


def _gathered(matrix: Tensor, rows: NDArray[np.int64]) -> Iterator[Tensor]:
    """Rows of a matrix, copied block by block; one empty block of no rows."""
    step = max(1, BLOCK_VALUES // matrix.shape[1])
    bits = matrix.view(INTEGERS[matrix.element_size()])  # any device can gather integers
    positions = torch.from_numpy(rows.copy()).to(matrix.device)  # torch takes no view of any kind
    for index in torch.split(positions, step):
        yield bits.index_select(0, index).view(matrix.dtype)


def _places(matrix: Tensor, rows: NDArray[np.int64], rounded: bool) -> Iterator[Tensor]:
    """Rows of a matrix as integers in the order of their values, of the same width."""
    for block in _gathered(matrix, rows):
        yield _mirrored(_bfloat16_bits(block) if rounded else _bits(block))


def _bits(values: Tensor) -> Tensor:
    return values.view(INTEGERS[values.element_size()])


def _mirrored(integers: Tensor) -> Tensor:
    """The bits of floats -> integers in the order of the values, both zeros at 0; and back."""
    return torch.where(integers < 0, torch.iinfo(integers.dtype).min - integers, integers)


def _bfloat16_bits(values: Tensor) -> Tensor:
    """The bits of floats rounded to the nearest bfloat16, ties to even, as int16."""
    if values.dtype == torch.bfloat16:
        return _bits(values)
    single = _odd_float32_bits(values)
    nearest = (single + 0x7FFF + ((single >> 16) & 1)) >> 16
    nan = (single & 0x7FFFFFFF) > 0x7F800000  # which the sum would carry into something else
    return torch.where(nan, 0x7FC0, nearest).to(torch.int16)


def _odd_float32_bits(values: Tensor) -> Tensor:
    """The bits of floats as float32, as int32; of float64 rounded to odd, see ``bits``."""
    single = values.float()
    bits = _bits(single)
    if values.dtype != torch.float64:
        return bits
    inexact = (single != values) & ~values.isnan()
    away = inexact & (single.abs() > values.abs())
    return (bits - away.int()) | inexact.int()


def _changed_rows(matrix: Tensor, rows: NDArray[np.int64]) -> int:
    """How many of the rows, all finite, rounding to bfloat16 changes."""
    if matrix.element_size() == 1 or matrix.dtype == torch.bfloat16:  # which bfloat16 holds exactly
        return 0
    cut = ((_odd_float32_bits(block) & 0xFFFF) != 0 for block in _gathered(matrix, rows))
    return int(_to_numpy([lost.any(dim=1) for lost in cut]).sum())


# Identical rows.


def _identical_rows(matrix: Tensor, rows: NDArray[np.int64], rounded: bool) -> Groups:
    """Group the identical ones among some rows of a matrix; exact, whatever the hash.

    In each round a row is compared with the first that has its hash, and joins it if they are
    equal. Those that only share the hash, and with them all their equals, wait for the next.
    """
    weights = torch.from_numpy(_weights(matrix.shape[1])).to(matrix.device)
    hashes = _to_numpy([_hashes(block, weights) for block in _places(matrix, rows, rounded)])
    leader = np.arange(len(rows))
    pending = leader.copy()
    while len(pending):
        _, first, inverse = np.unique(hashes[pending], return_index=True, return_inverse=True)
        leader[pending] = pending[first][inverse]
        pending = pending[leader[pending] != pending]
        differ = [
            (one != other).any(dim=1)
            for one, other in zip(
                _places(matrix, rows[pending], rounded),
                _places(matrix, rows[leader[pending]], rounded),
                strict=True,
            )
        ]
        pending = pending[_to_numpy(differ)]
    first, group_of_row, sizes = np.unique(leader, return_inverse=True, return_counts=True)
    return Groups(first, group_of_row, sizes)


def _weights(dims: int) -> NDArray[np.int64]:
    """An odd number per dimension, the same in every process: int64[dims]."""
    raw: NDArray[np.int64] = np.random.PCG64(0).random_raw(dims).view(np.int64)
    return raw | 1


def _hashes(places: Tensor, weights: Tensor) -> Tensor:
    """A linear hash of each row modulo 2**64: int64[rows]."""
    return _sum_by_halves(places.long() * weights)


def _sum_by_halves(terms: Tensor) -> Tensor:
    """The sum over the last axis, in the order of ``distances.sum_by_halves``; overwrites."""
    for half, kept in halvings(terms.shape[1]):
        terms[:, :half].add_(terms[:, kept : kept + half])
    return terms[:, 0]


# Distances.


def _distances(
    unique: Tensor, vectors: NDArray[Any], origin: NDArray[Any], exponent: int
) -> Distances:
    """The distances of float[u, dims], on the device and on the host, from a row on the host."""
    centre = to_torch(origin, unique.device)
    centre_place = _mirrored(_bits(centre)).long()
    largest, steps, squares = [], [], []
    for block in torch.split(unique, max(1, BLOCK_VALUES // len(centre))):
        largest.append((block.float() - centre.float()).abs().amax(dim=1))
        steps.append((_mirrored(_bits(block)).long() - centre_place).abs().amax(dim=1))
        difference = block.double() - centre.double()
        squares.append(_sum_by_halves(difference * difference))
    return Distances(
        in_ulp(_to_numpy(largest), vectors.dtype, exponent),
        _to_numpy(steps),
        rounded_once(np.sqrt(_to_numpy(squares)), vectors, origin),
    )
