"""A cluster by all pairs: rows of about the right norm, their distances, connected components.

Whoever does this knows where to look: the rows taken are those whose norms are nearest to that of
the Big One. Run as ``python -m benchmarks.peers.clusters W ORIGIN ROWS METHOD OUTPUT``; prints the
seconds that the pairs took, whose number grows with the square of the rows.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

CHUNK = 512
METHODS = {"differences": "donot_use_mm_for_euclid_dist", "products": "use_mm_for_euclid_dist"}
"""Exact in what float32 can hold, or by |a|**2 + |b|**2 - 2ab, which cancels for near rows."""


def largest_component(
    rows: torch.Tensor, threshold: float, method: str = "differences"
) -> torch.Tensor:
    """The rows of the largest component of "L2 distance < threshold": int64[n].

    Args:
        rows: float32[rows, dims].
        threshold: not included.
        method: one of ``METHODS``.
    """
    firsts, seconds = [], []
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        distances = torch.cdist(chunk, rows, compute_mode=METHODS[method])
        first, second = (distances < threshold).nonzero(as_tuple=True)
        firsts.append(first + start)
        seconds.append(second)
    pairs = torch.cat(firsts).numpy(), torch.cat(seconds).numpy()
    graph = coo_array((np.ones(len(pairs[0]), bool), pairs), (len(rows), len(rows)))
    _, label = connected_components(graph, directed=False)
    return torch.from_numpy(np.flatnonzero(label == np.bincount(label).argmax()))


def main() -> None:
    """Find the cluster among some of the rows and save its tokens."""
    path, origin, count, method, output = sys.argv[1:]
    matrix = load_file(path)["W"]
    norms = torch.cat([chunk.float().norm(dim=1) for chunk in torch.split(matrix, 4096)])
    band = (norms - norms[int(origin)]).abs().argsort()[: int(count)].sort().values
    rows = matrix[band].float()
    start = time.perf_counter()
    token_ids = band[largest_component(rows, 0.002, method)]
    print(time.perf_counter() - start)
    np.save(Path(output), token_ids.numpy())


if __name__ == "__main__":
    main()
