"""Work on many items in the processes of a Dask cluster, local or given, as they get done.

Dask brings the scheduler, the queue, the retries, and what happens when a worker dies. A worker
takes as many items at a time as it has of the resource ``matrix``: what an item needs of memory and
of the network is known to whoever starts the workers.
"""

import asyncio
import ctypes
import logging
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from core_tokens.errors import CoreTokensError
from core_tokens.parallel import cores, limited_to

RESOURCE = "matrix"
RETRIES = 2
"""How often Dask tries an item again that failed."""
AT_ONCE = 256
"""Items that are known to the scheduler at a time, and no fewer than ``PER_PLACE`` for each
matrix that may be in work: so the memory of both ends does not grow with the survey."""
PER_PLACE = 4
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""
PATIENCE = 15.0
"""Seconds without a worker after which a line says what is waited for."""
MEMORY = 2 << 30
"""Bytes that a worker of a local cluster should have for itself."""

QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.log-length": 100,
    "distributed.admin.low-level-log-length": 100,
}
"""What Dask does for whoever looks on. Where nobody does, a tenth of a core is for the work, and
the memory of the driver does not grow by the logs of the scheduler in it."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class EngineError(CoreTokensError):
    """The cluster cannot be reached, or cannot do the work."""


@contextmanager
def client(scheduler: str | None, workers: int | None, items: int) -> Iterator[Any]:
    """A client of a Dask cluster, in the block.

    Args:
        scheduler: its address; None for the one in DASK_SCHEDULER_ADDRESS, or else for a cluster
            on this machine, one worker per core.
        workers: of a cluster on this machine; None for as many as it has cores and memory for.
        items: how many there are to do; no more workers than that are started.

    Raises:
        EngineError: Dask is not installed, or no scheduler answers.
    """
    try:
        import dask.config
        import distributed
        from distributed.system import MEMORY_LIMIT
    except ImportError as error:
        raise EngineError(
            "a survey", "no Dask", "pip install -c constraints.txt -e '.[survey]'"
        ) from error
    _silence()
    address = scheduler or (None if workers else dask.config.get("scheduler-address", None))
    if address:
        with _connected(address) as there:
            yield there
        return
    most = workers or max(1, min(cores(), MEMORY_LIMIT // MEMORY))
    count = max(1, min(most, items))
    # Pages of mapped files, which Dask would count, are the system's to keep or drop.
    # A page of the cluster's is served even if none is asked for; then at a port that may be taken.
    with dask.config.set(QUIET), distributed.LocalCluster(
        n_workers=count, threads_per_worker=max(1, cores() // count), resources={RESOURCE: 1},
        memory_limit=0, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL,
        preload=[__name__],
    ) as cluster, distributed.Client(cluster, set_as_default=False) as there:  # fmt: skip
        yield there


def results(
    there: Any, work: Callable[[Item], Result], items: Sequence[Item]
) -> Iterator[tuple[int, Result | BaseException]]:
    """What ``work`` gives for each item, or the error that it ends with: position -> outcome.

    In the order in which they get done.

    Args:
        there: a client.
        work: a function, or a partial of one, of a module that the workers have.
        items: each sent to one worker at a time.

    Raises:
        EngineError: no worker takes matrices, or the scheduler is gone.
    """
    from distributed import as_completed
    from distributed.client import ClosedClientError

    address = there.scheduler.address
    gone = EngineError(
        address, "a scheduler that is gone", "it again: what is done is kept, and taken up"
    )
    waiting = iter(range(len(items)))
    group = f"survey-{uuid.uuid4().hex}"  # one for all items, so that Dask's page shows one bar

    def submit() -> Any:
        at = next(waiting, None)
        if at is None:
            return None
        asked = {"key": (group, at), "retries": RETRIES, "resources": {RESOURCE: 1}}
        return there.submit(_on_worker, work, items[at], **asked)

    try:
        window = max(AT_ONCE, PER_PLACE * _wait_for_places(there))
        first = [future for _ in range(min(window, len(items))) if (future := submit())]
        for nth, future in enumerate(done := as_completed(first, loop=there.loop)):
            if future.status == "lost":  # with its worker, before it got here: it is done again
                done.add(future)
                continue
            yield future.key[1], _outcome(future)
            future.release()
            if nth % AT_ONCE == AT_ONCE - 1:  # workers may have joined
                window = max(window, PER_PLACE * _places(there)[1])
            while done.count() < window and (another := submit()):
                done.add(another)
    except (CancelledError, ClosedClientError, TimeoutError, OSError) as error:
        raise gone from error


def serially(
    work: Callable[[Item], Result], items: Sequence[Item]
) -> Iterator[tuple[int, Result | BaseException]]:
    """The same in this process, one after the other, each tried once."""
    for at, item in enumerate(items):
        try:
            result: Result | BaseException = work(item)
        except Exception as error:
            result = error
        yield at, result


def dask_setup(_: Any) -> None:
    """Have a worker of a cluster on this machine leave it to the client what an interrupt means.

    Dask calls it by this name in each worker that is told to load this module.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _silence() -> None:
    """Let Dask print nothing: an error is one line of ours. Some of its loggers have own levels."""
    for name in ("distributed", *logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _connected(address: str) -> Any:
    """A client of a scheduler.

    Raises:
        EngineError: none answers in the time of Dask's own ``distributed.comm.timeouts.connect``.
    """
    import dask.config
    import dask.utils
    import distributed

    right = "the address of a running `dask scheduler`"
    # Dask waits for ever for one that is silent, and at the end for a client that never connected.
    seconds = dask.config.get("distributed.comm.timeouts.connect")
    patience = dask.utils.parse_timedelta(seconds)
    try:
        kind = asyncio.run(asyncio.wait_for(_kind(address), patience))
        if kind == "Scheduler":
            return distributed.Client(address, set_as_default=False)
    except (OSError, ValueError, ImportError, TypeError) as error:
        reason = str(error) or f"nothing comes within {seconds}"
        raise EngineError(address, f"no scheduler that answers ({reason})", right) from error
    raise EngineError(address, f"a {kind}", right)


async def _kind(address: str) -> str:
    """What kind of server of Dask's is there."""
    from distributed import Security, rpc

    arguments = Security().get_connection_args("client")
    async with rpc(address, connection_args=arguments) as there:
        return str((await there.identity())["type"])


def _outcome(future: Any) -> Any:
    """What a future has come to: a result, or the error of its item."""
    try:
        return future.result()
    except CancelledError:
        raise
    except Exception as error:
        if future.status != "error":  # it is the way here that failed
            raise
        return error


def _places(there: Any) -> tuple[int, int]:
    """How many workers there are, and how many matrices may be in work on them."""
    # Of a scheduler that has just gone nothing is known.
    workers = there.scheduler_info(n_workers=-1).get("workers", {}).values()
    return len(workers), sum(int(each["resources"].get(RESOURCE, 0)) for each in workers)


def _wait_for_places(there: Any) -> int:
    """How many matrices may be in work, once there are workers (EngineError: none takes any)."""
    told_at = time.monotonic() + PATIENCE
    right = f"`dask worker {there.scheduler.address} --resources {RESOURCE}=1`"
    while True:
        workers, places = _places(there)
        if places:
            return places
        if workers:
            found = f"{workers} workers without the resource {RESOURCE!r}"
            raise EngineError(there.scheduler.address, found, right)
        if there.status != "running":
            raise TimeoutError
        if time.monotonic() >= told_at:
            print(f"waiting for workers: {right}", file=sys.stderr)
            told_at = float("inf")
        time.sleep(0.1)


def _on_worker(work: Callable[[Item], Result], item: Item) -> Result:
    """Do the work with this item's share of the worker's threads."""
    from distributed import get_worker

    _keep_memory()
    state = get_worker().state
    places = int(state.total_resources.get(RESOURCE, 1))
    with limited_to(max(1, state.nthreads // max(1, places))):
        return work(item)


@cache
def _keep_memory() -> None:
    """Let this process keep what it frees for the next array, as any process does by itself.

    Dask starts workers with MALLOC_TRIM_THRESHOLD_ so low that every block of a matrix is given
    back and asked for anew: the same work takes four times as long.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # of glibc
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 25)  # the most there is
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 28)
