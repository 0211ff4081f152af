"""Work over the rows of a matrix on all cores.

NumPy lets go of the interpreter while it computes, so threads are enough. Each part writes its own
rows of the result: what comes out does not depend on who was first.
"""

import os
from collections.abc import Callable

PART_BYTES = 1 << 25
"""Rows are handed out in parts of about this size: many for each core, so that none waits long."""


def over_rows(work: Callable[[int, int], None], rows: int, row_bytes: int) -> None:
    """Call ``work(start, stop)`` for consecutive parts that cover ``rows`` rows.

    Args:
        work: writes what it finds for the rows from ``start`` up to ``stop``.
        rows: how many there are.
        row_bytes: what one row holds.
    """
    size = max(1, PART_BYTES // max(1, row_bytes))
    if rows <= size:
        work(0, rows)
        return
    from concurrent.futures import ThreadPoolExecutor  # 15 ms that small matrices need not pay

    starts = range(0, rows, size)
    with ThreadPoolExecutor(cores()) as threads:
        for _ in threads.map(lambda start: work(start, min(start + size, rows)), starts):
            pass


def cores() -> int:
    """Those that this process may use, where the system tells; else all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
