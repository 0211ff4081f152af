"""Floats as bits: rounding to bfloat16, the order of the values, and the ulp of an origin.

Zeros: -0 and +0 are one value. NaN and infinity pass through rounding and are the caller's to
refuse; ``ordered`` gives them integers beyond the finite ones, ``ulp_exponent`` expects none.
"""

from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


class Lattice(NamedTuple):
    """Where the values of a float dtype lie.

    Attributes:
        mantissa_bits: those stored; 2**mantissa_bits values from one power of two to the next.
        smallest_exponent: log2 of the smallest positive value, a subnormal; every value is a
            whole multiple of it.
    """

    mantissa_bits: int
    smallest_exponent: int


LATTICES = {
    BFLOAT16: Lattice(7, -133),
    np.dtype(np.float16): Lattice(10, -24),
    np.dtype(np.float32): Lattice(23, -149),
}
"""The dtypes on whose values can be measured."""


def bits_of(values: NDArray[Any]) -> NDArray[Any]:
    """The raw bits of floats, as unsigned integers of the same width and shape (a view)."""
    bits: NDArray[Any] = values.view(np.dtype(f"u{values.dtype.itemsize}"))
    return bits


def _sign_bit(dtype: np.dtype[Any]) -> int:
    return 1 << (8 * dtype.itemsize - 1)


def finite(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values are neither NaN nor infinite; of bfloat16 by its exponent, which is faster."""
    infinity = np.uint16(0x7F80)
    found: NDArray[np.bool_] = (
        bits_of(values) & infinity != infinity if values.dtype == BFLOAT16 else np.isfinite(values)
    )
    return found


def round_to_bfloat16(values: NDArray[Any]) -> NDArray[Any]:
    """Round floats of 8, 16, 32 or 64 bits to the nearest bfloat16, ties to even.

    Beyond the largest bfloat16 the result is an infinity, as IEEE 754 rounds. float64 goes
    through float32 rounded to odd, so that no value is rounded twice (Boldo and Melquiond,
    "Emulation of FMA and correctly rounded sums", 2008). The floats of 8 bits are all bfloat16
    too; bfloat16 comes back as it is.
    """
    if values.dtype == BFLOAT16:
        return values
    with np.errstate(over="ignore", invalid="ignore"):  # of a signalling NaN
        single = values.astype(np.float32)
        if values.dtype == np.float64:
            bits = single.view(np.uint32)
            inexact = (single != values) & ~np.isnan(values)
            bits -= (inexact & (np.abs(single) > np.abs(values))).astype(np.uint32)
            bits |= inexact.astype(np.uint32)
        return single.astype(BFLOAT16)


def positive_zeros(values: NDArray[Any]) -> NDArray[Any]:
    """The same floats with every -0 written as +0, so that equal values have equal bits.

    Returns ``values`` itself where there is no -0, else a changed copy.
    """
    bits = bits_of(values)
    negative = bits == _sign_bit(values.dtype)
    if not negative.any():
        return values
    return np.where(negative, bits.dtype.type(0), bits).view(values.dtype)


def ordered(values: NDArray[Any]) -> NDArray[np.int32]:
    """Floats of 16 or 32 bits -> int32 of the same shape, one more per lattice step upwards.

    Both zeros are 0 and the smallest positive value is 1; of bfloat16 the largest is 32,639 and
    infinity 32,640; negative values mirror them. The distance of two of these is the distance in
    steps ("nulp"); of float32 it may need int64.
    """
    bits, sign = bits_of(values), _sign_bit(values.dtype)
    magnitude = (bits & (sign - 1)).astype(np.int32)
    return np.where(bits & sign, -magnitude, magnitude)


def from_ordered(integers: NDArray[Any], dtype: np.dtype[Any] = BFLOAT16) -> NDArray[Any]:
    """The inverse of ``ordered``: integers -> floats of ``dtype``, 0 as +0."""
    magnitude = np.abs(integers).astype(np.dtype(f"u{dtype.itemsize}"))
    bits: NDArray[Any] = np.where(integers < 0, magnitude | _sign_bit(dtype), magnitude)
    return bits.view(dtype)


def median_magnitude(origin: NDArray[Any]) -> np.float32:
    """The median of |component| over the non-zero components of an origin, in float32.

    Of an even number the lower of the two middle ones, as ``torch.median`` takes it; 0 if all
    components are zero. Exact for every dtype of ``LATTICES``.
    """
    magnitudes = np.abs(origin.astype(np.float32))
    magnitudes = np.sort(magnitudes[magnitudes > 0])
    return magnitudes[(len(magnitudes) - 1) // 2] if len(magnitudes) else np.float32(0)


def ulp_exponent(origin: NDArray[Any]) -> int:
    """log2 of the ulp of an origin: floor(log2(median magnitude)) less the mantissa's bits.

    One ulp for all dimensions: the spacing of the origin's dtype at the median component, or at
    zero if all components are zero. Subnormals lie no closer than the smallest of them, so there
    it ends; only bfloat16 keeps to the rule as published, which goes on down to -140.
    """
    lattice, median = LATTICES[origin.dtype], median_magnitude(origin)
    if median == 0:
        return lattice.smallest_exponent
    exponent = int(np.frexp(median)[1]) - 1 - lattice.mantissa_bits
    return exponent if origin.dtype == BFLOAT16 else max(exponent, lattice.smallest_exponent)
