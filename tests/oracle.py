"""The published procedure once more, in plain torch, Python integers and all pairs.

Slow and short, from the definitions alone, sharing no line with the package.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray

MANTISSA = {torch.bfloat16: 7, torch.float16: 10, torch.float32: 23}
SMALLEST = {torch.bfloat16: -133, torch.float16: -24, torch.float32: -149}
"""log2 of the smallest subnormal."""
UNKNOWN_TO_NUMPY = {
    np.dtype(ml_dtypes.bfloat16): (np.int16, torch.bfloat16),
    np.dtype(ml_dtypes.float8_e4m3fn): (np.uint8, torch.float8_e4m3fn),
    np.dtype(ml_dtypes.float8_e5m2): (np.uint8, torch.float8_e5m2),
}
"""dtype -> integers of its width, and what it is in torch."""


def every_value(dtype: torch.dtype) -> torch.Tensor:
    """Every finite value of 16 bits in order, zero once; a value's index is its place."""
    values = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype).double()
    ordered: torch.Tensor = torch.unique(values[torch.isfinite(values)] + 0.0)
    return ordered


LATTICE = {dtype: every_value(dtype) for dtype in (torch.bfloat16, torch.float16)}


@dataclass(frozen=True)
class Measured:
    """What the procedure says of some tokens."""

    vectors: torch.Tensor
    vector_of_token: torch.Tensor
    populations: torch.Tensor
    origin: int
    ulp_exponent: int
    distance_ulp: torch.Tensor
    distance_steps: torch.Tensor
    distance_l2: list[float]


def nearest(exact: Fraction, digits: int, smallest: int, largest: int) -> float:
    """The nearest binary float, ties to even: ``digits`` of significand, exponents in between.

    ``smallest`` is log2 of the smallest subnormal, ``largest`` of the largest power of two.
    """
    if exact == 0:
        return 0.0
    exponent = math.floor(math.log2(abs(exact.numerator)) - math.log2(exact.denominator)) - 2
    while Fraction(2) ** (exponent + 1) <= abs(exact):  # exact, whatever log2 made of it
        exponent += 1
    unit = Fraction(2) ** max(exponent - digits + 1, smallest)
    rounded = round(exact / unit) * unit  # of a Fraction: to even
    if abs(rounded) >= Fraction(2) ** (largest + 1):
        return math.copysign(math.inf, exact)
    return float(rounded)


def nearest_bfloat16(value: float) -> float:
    """A float64 rounded once; infinities, NaN and the sign of zero stay."""
    if not math.isfinite(value) or value == 0:
        return value
    return math.copysign(nearest(Fraction(value), 8, -133, 127), value)


def to_torch(matrix: NDArray[Any]) -> torch.Tensor:
    """The matrix in its own dtype."""
    if matrix.dtype in UNKNOWN_TO_NUMPY:
        integers, dtype = UNKNOWN_TO_NUMPY[matrix.dtype]
        return torch.from_numpy(matrix.view(integers).copy()).view(dtype)
    return torch.from_numpy(matrix.copy())


def as_bfloat16(matrix: NDArray[Any]) -> torch.Tensor:
    """The matrix rounded to bfloat16."""
    if matrix.dtype == np.float64:  # torch would round twice
        rounded = [[nearest_bfloat16(value) for value in row] for row in matrix.tolist()]
        matrix = np.array(rounded).reshape(matrix.shape)
    return to_torch(matrix).to(torch.bfloat16)


def places(values: torch.Tensor) -> torch.Tensor:
    """Where values lie among all of their dtype, from their bits as integers; both zeros at 0."""
    integers = {2: torch.int16, 4: torch.int32}[values.element_size()]
    bits = values.contiguous().view(integers).long()
    return torch.where(bits < 0, torch.iinfo(integers).min - bits, bits)


def exact_l2(row: torch.Tensor, origin: torch.Tensor) -> float:
    """The exact Euclidean distance, rounded once, to float32."""
    pairs = zip(row.double().tolist(), origin.double().tolist(), strict=True)
    square = sum(((Fraction(a) - Fraction(b)) ** 2 for a, b in pairs), Fraction(0))
    scale = 2**400  # far below the smallest difference there is
    whole = math.isqrt(math.floor(square * scale**2))
    # Half a unit more where something was cut off: no boundary is so near that it would matter.
    cut = Fraction(whole * whole) != square * scale**2
    return nearest(Fraction(2 * whole + cut, 2 * scale), 24, -149, 127)


def measure(
    matrix: NDArray[Any], token_ids: NDArray[np.int64], precision: str = "bfloat16"
) -> Measured:
    """The measurements of at least one token."""
    stored = {"bfloat16": as_bfloat16, "native": to_torch}[precision](matrix)
    rows = stored[torch.from_numpy(token_ids)] + 0.0  # -0 + 0 is +0
    vectors, vector_of_token, populations = torch.unique(
        rows, dim=0, return_inverse=True, return_counts=True
    )
    origin = populations.tolist().index(max(populations.tolist()))
    centre = vectors[origin]
    magnitudes = centre.abs().float()
    mantissa, smallest = MANTISSA[rows.dtype], SMALLEST[rows.dtype]
    if magnitudes.any():
        exponent = math.floor(math.log2(magnitudes[magnitudes > 0].median().item())) - mantissa
        if rows.dtype != torch.bfloat16:  # whose published rule knows no subnormals
            exponent = max(exponent, smallest)
    else:
        exponent = smallest
    return Measured(
        vectors=vectors,
        vector_of_token=vector_of_token,
        populations=populations,
        origin=origin,
        ulp_exponent=exponent,
        distance_ulp=(vectors - centre).abs().float().amax(dim=1) / torch.tensor(2.0**exponent),
        distance_steps=(places(vectors) - places(centre)).abs().amax(dim=1),
        distance_l2=[exact_l2(vector, centre) for vector in vectors],
    )


def core(
    distance: torch.Tensor, radius: float, measured: Measured, token_ids: NDArray[np.int64]
) -> tuple[list[int], list[int]]:
    """The tokens of core and halo, in the order given."""
    within = distance <= torch.tensor(radius, dtype=torch.float32)
    token_within = within[measured.vector_of_token]
    ids = torch.from_numpy(token_ids)
    return ids[token_within].tolist(), ids[~token_within].tolist()


def all_distances(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """L2 between every two rows of the stored values; NaN where either is not finite."""
    values = matrix.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = (values[:, None, :] - values[None, :, :]) ** 2
        distances: NDArray[np.float64] = np.sqrt(squares.sum(axis=2))
    finite = np.isfinite(values).all(axis=1)
    distances[~finite] = np.nan
    distances[:, ~finite] = np.nan
    return distances


def component_labels(matrix: NDArray[Any], threshold: float) -> list[int]:
    """The smallest row of each row's component of the graph "L2 distance < threshold"."""
    adjacent = all_distances(matrix) < threshold
    labels = [-1] * len(matrix)
    for start in range(len(matrix)):
        waiting = [start] if labels[start] < 0 else []
        while waiting:
            row = waiting.pop()
            if labels[row] < 0:
                labels[row] = start
                waiting += np.flatnonzero(adjacent[row]).tolist()
    return labels


def cluster(matrix: NDArray[Any], threshold: float) -> list[int]:
    """The tokens of the largest component, of equals the one with the smallest id."""
    nodes = [row for row, values in enumerate(matrix.astype(np.float64)) if values.any()]
    labels = component_labels(matrix[nodes], threshold)
    sizes = [labels.count(label) for label in range(len(labels))]
    if max(sizes, default=0) < 2:
        return []
    largest = sizes.index(max(sizes))
    return [token for token, label in zip(nodes, labels, strict=True) if label == largest]


def nearest_outsider(matrix: NDArray[Any], inside: list[int]) -> float:
    """The smallest distance from a row inside to one outside; inf without any that has one."""
    outside = np.setdiff1d(np.arange(len(matrix)), inside)
    distances = all_distances(matrix)[np.ix_(np.array(inside), outside)]
    return float(np.min(distances[~np.isnan(distances)], initial=np.inf))
