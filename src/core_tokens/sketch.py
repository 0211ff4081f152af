"""What do a few dimensions of each row say? Enough to leave most rows unread.

The few are a contraction of the row: rows that differ in them differ, and rows that are far apart
in them are at least as far apart under every one of the rulers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import bits_of
from core_tokens.parallel import over_rows

DIMENSIONS = 8
SAMPLE_ROWS = 256


@dataclass(frozen=True)
class Sketch:
    """The dimensions of float[vocab, dims] that vary most, of every row.

    Attributes:
        dimensions: int64[k], k <= DIMENSIONS, the one that varies most first.
        values: float[vocab, k], in the dtype of the matrix.
    """

    dimensions: NDArray[np.int64]
    values: NDArray[Any]


def sketch(matrix: NDArray[Any]) -> Sketch:
    """Sketch float[vocab, dims], possibly mapped: of each row a few values are read.

    Which dimensions vary is judged by a sample of the rows. Not finite ones do no harm.
    """
    dimensions = _most_varying(matrix[:: max(1, len(matrix) // SAMPLE_ROWS)])
    values = np.empty((len(matrix), len(dimensions)), matrix.dtype)
    source, target = bits_of(matrix), bits_of(values)

    def gather(start: int, stop: int) -> None:
        target[start:stop] = np.take(source[start:stop], dimensions, axis=1)

    over_rows(gather, len(matrix), matrix.shape[1] * matrix.dtype.itemsize)
    return Sketch(dimensions, values)


def _most_varying(sample: NDArray[Any]) -> NDArray[np.int64]:
    """The dimensions of float[rows, dims] with the largest standard deviation, that first."""
    spread = np.zeros(sample.shape[1])
    if len(sample):
        with np.errstate(invalid="ignore", over="ignore"):
            spread = np.nan_to_num(np.std(sample.astype(np.float64), axis=0), nan=0, posinf=0)
    return np.argsort(-spread, kind="stable")[:DIMENSIONS]
