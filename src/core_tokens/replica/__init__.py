"""A matrix made to show the published figures of a model whose weights cannot be shipped.

It is not the model's matrix: its ordinary rows are noise and the tokens of its groups are drawn,
as far as they were not published. What was published it shows number for number.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from core_tokens.bits import from_ordered, round_to_bfloat16
from core_tokens.replica import figures
from core_tokens.replica.draws import STANDARD_DEVIATION, Draws, normal_quantiles, normal_table
from core_tokens.replica.origin import make_origin
from core_tokens.replica.tokens import assign_tokens
from core_tokens.replica.vectors import make_vectors
from core_tokens.tensors import matrix_header

SEED = 2507
BLOCK_ROWS = 1024
DEVIATIONS = [0.016 + 0.001 * step for step in range(8)]
"""Standard deviations of the ordinary rows."""
NEAR_ROWS = 48
"""Tokens that were trained a little: just outside the cluster, each further than the last."""
NEAREST = 0.986 * figures.VOID_L2
"""Distance of the first before its components are rounded, which adds the rest."""


def write_qwen3_4b(path: Path) -> None:
    """Write the replica of Qwen3-4B-Instruct-2507: W bfloat16[151,936, 2,560], 778 MB."""
    with path.open("wb") as file:
        file.write(matrix_header("BF16", (figures.VOCAB, figures.DIMS), figures.MODEL))
        with tqdm(
            total=figures.VOCAB, unit=" rows", desc=f"replica of {figures.MODEL}", disable=None
        ) as progress:
            for block in _blocks():
                file.write(block.data.cast("B"))
                progress.update(len(block))


REPLICAS: dict[str, Callable[[Path], None]] = {"qwen3-4b-instruct-2507": write_qwen3_4b}
"""Name of a replica, as in ``replica:NAME`` -> what writes its matrix to a path."""


def _blocks() -> Iterator[NDArray[np.uint16]]:
    """The bits of the matrix in blocks of rows: uint16[<= BLOCK_ROWS, dims]."""
    draws = Draws(SEED)
    origin = make_origin(draws)
    vectors = make_vectors(draws, origin)
    vector_of_token = assign_tokens(draws, vectors)
    dead = from_ordered(np.array([vector.lattice for vector in vectors])).view(np.uint16)
    near = _near_rows(draws, origin.values, np.flatnonzero(vector_of_token < 0))
    noise = np.random.PCG64(SEED + 1)
    tables = [normal_table(deviation).view(np.uint16) for deviation in DEVIATIONS]
    words = figures.DIMS // 4
    for start in range(0, figures.VOCAB, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, figures.VOCAB - start)
        # Words are read as four little-endian numbers, whatever the machine's own order.
        raw = noise.random_raw(rows * words).astype("<u8", copy=False).view("<u2")
        uniform = raw.reshape(rows, figures.DIMS)
        block = np.empty((rows, figures.DIMS), np.dtype("<u2"))
        for row in range(rows):
            np.take(tables[(start + row) % len(tables)], uniform[row], out=block[row])
        for token in range(start, start + rows):
            if vector_of_token[token] >= 0:
                block[token - start] = dead[vector_of_token[token]]
            elif token in near:
                block[token - start] = near[token]
        yield block


def _near_rows(
    draws: Draws, origin: NDArray[Any], ordinary: NDArray[np.int64]
) -> dict[int, NDArray[np.uint16]]:
    """Rows at growing distances from the Big One, from the published void on: token -> bits."""
    scale = NEAREST / (STANDARD_DEVIATION * math.sqrt(figures.DIMS))
    rows = {}
    for token in draws.shuffled(ordinary.tolist())[:NEAR_ROWS]:
        uniform = (draws.raw(figures.DIMS) >> np.uint64(48)).astype(np.int64)
        offsets = normal_quantiles()[uniform] * scale
        scale *= 1.12
        rows[token] = round_to_bfloat16(origin.astype(np.float64) + offsets).view(np.uint16)
    return rows
