"""What the neighbours of distinct vectors cost: a process of its own for each case.

125 vectors as the default has them, and 5,000 of 2,560 dimensions: far apart, near each other in
most dimensions, and all of them neighbours. Memory is the peak of the whole process.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from core_tokens.bits import from_ordered
from core_tokens.structure.adjacency import adjacency

DIMS = 2560
ROUNDS = 5
Draw = Callable[[np.random.Generator, int], NDArray[np.int64]]
CASES: dict[str, tuple[int, Draw]] = {
    "125, few neighbours": (125, lambda draws, n: draws.integers(-1, 2, (n, DIMS))),
    "5,000, far apart": (5000, lambda draws, n: draws.integers(-40, 41, (n, DIMS))),
    "5,000, three values": (5000, lambda draws, n: draws.integers(-1, 2, (n, DIMS))),
    "5,000, all neighbours": (5000, lambda draws, n: draws.integers(0, 2, (n, DIMS))),
}


def measured(case: str) -> None:
    """Print the seconds of the fastest of some rounds, the edges and the peak in MiB."""
    count, draw = CASES[case]
    draws = np.random.default_rng(0)
    vectors = from_ordered(draws.integers(15000, 16500, DIMS) + draw(draws, count))
    populations = np.ones(count, np.int64)
    seconds = []
    for _ in range(ROUNDS if count < 1000 else 1):
        start = time.perf_counter()
        found = adjacency(vectors, populations)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{case:<24}{min(seconds):>9.3f}{len(found.linf.edges):>14,}{peak:>9.0f}")


def main() -> None:
    """Run every case."""
    print(f"\n{'adjacency, pure':<24}{'s':>9}{'edges':>14}{'MiB':>9}", flush=True)
    for case in CASES:
        subprocess.run([sys.executable, __file__, case], check=True)


if __name__ == "__main__":
    measured(sys.argv[1]) if len(sys.argv) > 1 else main()
