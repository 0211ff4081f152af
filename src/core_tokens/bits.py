"""bfloat16 as bits: rounding to it, the order of its values, and the ulp of an origin.

Zeros: -0 and +0 are one value. NaN and infinity pass through rounding and are the caller's to
refuse; ``ordered`` gives them integers beyond the finite ones, ``ulp_of`` expects none.
"""

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
MANTISSA_BITS = 7
SMALLEST_EXPONENT = -133
"""log2 of the smallest positive bfloat16, a subnormal."""

_BITS_OF_WIDTH = {2: "uint16", 4: "uint32", 8: "uint64"}


def bits_of(values: NDArray[Any]) -> NDArray[Any]:
    """The raw bits of floats, as unsigned integers of the same width and shape (a view)."""
    bits: NDArray[Any] = values.view(np.dtype(_BITS_OF_WIDTH[values.dtype.itemsize]))
    return bits


def round_to_bfloat16(values: NDArray[Any]) -> NDArray[Any]:
    """Round float16, float32 or float64 to the nearest bfloat16, ties to even.

    Beyond the largest bfloat16 the result is an infinity, as IEEE 754 rounds. float64 goes
    through float32 rounded to odd, so that no value is rounded twice (Boldo and Melquiond,
    "Emulation of FMA and correctly rounded sums", 2008). bfloat16 comes back as it is.
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
    negative = bits == bits.dtype.type(1 << (8 * bits.dtype.itemsize - 1))
    if not negative.any():
        return values
    return np.where(negative, bits.dtype.type(0), bits).view(values.dtype)


def ordered(values: NDArray[Any]) -> NDArray[np.int32]:
    """bfloat16 -> int32 of the same shape, increasing with the value by one per lattice step.

    Both zeros are 0, the smallest positive value is 1, the largest 32,639, infinity 32,640;
    negative values mirror them. The distance of two of these is the distance in steps ("nulp").
    """
    bits = bits_of(values).astype(np.int32)
    magnitude = bits & 0x7FFF
    return np.where(bits & 0x8000, -magnitude, magnitude)


def from_ordered(integers: NDArray[np.int32]) -> NDArray[Any]:
    """The inverse of ``ordered``: int32 -> bfloat16, 0 as +0."""
    bits = np.where(integers < 0, 0x8000 - integers, integers)
    return bits.astype(np.uint16).view(BFLOAT16)


def median_magnitude(origin: NDArray[Any]) -> np.float32:
    """The median of |component| over the non-zero components of bfloat16[dims], in float32.

    Of an even number the lower of the two middle ones, as ``torch.median`` takes it; 0 if all
    components are zero.
    """
    magnitudes = np.abs(origin.astype(np.float32))
    magnitudes = np.sort(magnitudes[magnitudes > 0])
    return magnitudes[(len(magnitudes) - 1) // 2] if len(magnitudes) else np.float32(0)


def ulp_exponent(origin: NDArray[Any]) -> int:
    """log2 of the ulp of bfloat16[dims]: floor(log2(median magnitude)) - 7, or -133 if all zero.

    One ulp for all dimensions: the spacing of bfloat16 at the median component.
    """
    median = median_magnitude(origin)
    if median == 0:
        return SMALLEST_EXPONENT
    return int(np.frexp(median)[1]) - 1 - MANTISSA_BITS
