"""The pure functions that are measured: each loads its inputs and returns what is to be called.

Imports stand inside, so that a worker loads what it needs and nothing else.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

Function = Callable[[], Any]


def census(path: Path) -> Function:
    """Ours: the groups of identical rows."""
    from core_tokens.groups import identical_rows

    matrix = _matrix(path)
    return lambda: identical_rows(matrix)


def census_by_sorting(path: Path) -> Function:
    """The peer: torch.unique."""
    from benchmarks.peers.census import identical_rows

    matrix = _matrix(path, for_torch=True)
    return lambda: identical_rows(matrix)


def census_by_sorting_packed(path: Path) -> Function:
    """The same, two values at once."""
    from benchmarks.peers.census import identical_rows_packed

    matrix = _matrix(path, for_torch=True)
    return lambda: identical_rows_packed(matrix)


def xor_pass(path: Path) -> Function:
    """The yardstick: read every byte once and keep nothing."""
    import numpy as np

    words = _matrix(path).reshape(-1).view(np.uint64)
    return lambda: np.bitwise_xor.reduce(words)


def scan(path: Path, token: int) -> Function:
    """Ours: the distance of every row from that of a token, in ulp."""
    from core_tokens.scan import scan as distances

    matrix = _matrix(path)
    return lambda: distances(matrix, matrix[token])


def scan_by_chunks(path: Path, token: int) -> Function:
    """The peer: subtract, abs, amax."""
    from benchmarks.peers.scan import largest_differences

    matrix = _matrix(path, for_torch=True)
    return lambda: largest_differences(matrix, matrix[token])


def neighbours(measurements: Path) -> Function:
    """Ours: both graphs of the distinct vectors."""
    from core_tokens.structure.adjacency import adjacency

    vectors, populations = _vectors(measurements)
    return lambda: adjacency(vectors, populations)


def neighbours_by_tuples(measurements: Path) -> Function:
    """The peer: a loop and a set of tuples."""
    from benchmarks.peers.adjacency import of_tuples

    vectors, _ = _vectors(measurements)
    return lambda: of_tuples(vectors)


def neighbours_by_bytes(measurements: Path) -> Function:
    """The same with bytes."""
    from benchmarks.peers.adjacency import of_bytes

    vectors, _ = _vectors(measurements)
    return lambda: of_bytes(vectors)


def _matrix(path: Path, *, for_torch: bool = False) -> NDArray[Any]:
    from core_tokens import tensors

    if for_torch:  # which warns that it could write to what is mapped to be read
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
    return tensors.map_matrix(path)


def _vectors(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    from core_tokens import tensors

    measured = tensors.read(path, tensors.MEASUREMENTS)
    return measured["vectors"], measured["populations"]
