"""How does a cluster become a whole matrix? Rows near it, noise everywhere else, and a file."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from core_tokens.bits import round_to_bfloat16
from core_tokens.replica.draws import STANDARD_DEVIATION, Draws, normal_quantiles, normal_table
from core_tokens.tensors import matrix_header

BLOCK_ROWS = 1024
DEVIATIONS = [0.016 + 0.001 * step for step in range(8)]
"""Standard deviations of the ordinary rows."""
NEAR_ROWS = 48
"""Tokens that were trained a little: just outside the cluster, each further than the last."""


def add_near_rows(
    draws: Draws, vectors: NDArray[Any], vector_of_token: NDArray[np.int64], nearest: float
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Give a few ordinary tokens rows at growing distances from the Big One.

    Args:
        draws: what the tokens and the directions are drawn from.
        vectors: bfloat16[vectors, dims], those of the cluster, the Big One first.
        vector_of_token: int64[vocab], -1 outside the cluster.
        nearest: L2 distance of the first, before its components are rounded.

    Returns:
        The vectors with those rows behind them, and which of all these each token has.
    """
    origin = vectors[0].astype(np.float64)
    scale = nearest / (STANDARD_DEVIATION * math.sqrt(len(origin)))
    row_of_token = vector_of_token.copy()
    rows: list[NDArray[Any]] = []
    for token in draws.shuffled(np.flatnonzero(vector_of_token < 0).tolist())[:NEAR_ROWS]:
        row_of_token[token] = len(vectors) + len(rows)
        offsets = normal_quantiles()[draws.table_indices(len(origin))] * scale
        rows.append(round_to_bfloat16(origin + offsets))
        scale *= 1.12
    return np.concatenate([vectors, rows]), row_of_token


def write_matrix(
    path: Path, model: str, rows: NDArray[Any], row_of_token: NDArray[np.int64], noise: Draws
) -> None:
    """Write the replica of a model: W bfloat16[vocab, dims].

    Args:
        path: the safetensors file.
        model: the model's name.
        rows: bfloat16[n, dims]; dims is a multiple of 4.
        row_of_token: int64[vocab], -1 where the row is to be noise.
        noise: what the other rows are drawn from.
    """
    vocab, dims = len(row_of_token), rows.shape[1]
    with path.open("wb") as file:
        file.write(matrix_header("BF16", (vocab, dims), replica_of=model))
        with tqdm(total=vocab, unit=" rows", desc=f"replica of {model}", disable=None) as progress:
            for block in _blocks(rows, row_of_token, noise):
                file.write(block.data.cast("B"))
                progress.update(len(block))


def _blocks(
    rows: NDArray[Any], row_of_token: NDArray[np.int64], noise: Draws
) -> Iterator[NDArray[np.uint16]]:
    """The bits of the matrix in blocks of rows: uint16[<= BLOCK_ROWS, dims]."""
    tables = [normal_table(deviation).view(np.uint16) for deviation in DEVIATIONS]
    bits = rows.view(np.uint16)
    for start in range(0, len(row_of_token), BLOCK_ROWS):
        given = row_of_token[start : start + BLOCK_ROWS]
        # Words are read as four little-endian numbers, whatever the machine's own order.
        words = noise.raw(len(given) * bits.shape[1] // 4).astype("<u8", copy=False)
        uniform = words.view("<u2").reshape(len(given), bits.shape[1])
        block = np.empty(uniform.shape, np.dtype("<u2"))
        for row in range(len(block)):
            np.take(tables[(start + row) % len(tables)], uniform[row], out=block[row])
        block[given >= 0] = bits[given[given >= 0]]
        yield block
