"""Work over the rows of a matrix on all cores.

NumPy lets go of the interpreter while it computes, so threads are enough. Each part has its own
rows or its own place in the result: what comes out does not depend on who was first.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Result = TypeVar("Result")

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
    for _ in in_order(lambda start: work(start, min(start + size, rows)), range(0, rows, size)):
        pass


def in_order(work: Callable[[int], Result], items: Sequence[int]) -> Iterator[Result]:
    """What ``work`` gives for each of some items, in their order, on all cores."""
    if len(items) < 2:
        yield from map(work, items)
        return
    from concurrent.futures import ThreadPoolExecutor  # 15 ms that small matrices need not pay

    with ThreadPoolExecutor(cores()) as threads:
        yield from threads.map(work, items)


@contextmanager
def limited_to(most: int) -> Iterator[None]:
    """Use at most so many cores in the block: where others do the same work beside it."""
    token = _most.set(most)
    try:
        yield
    finally:
        _most.reset(token)


_most: ContextVar[int | None] = ContextVar("most", default=None)


def cores() -> int:
    """Those that this process may use, where the system tells; else all there are."""
    most = _most.get()
    return _available() if most is None else min(most, _available())


def _available() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
