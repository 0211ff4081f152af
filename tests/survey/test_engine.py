import ctypes
import itertools
import os
import random
import resource
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import dask.config
import distributed
import numpy as np
import pytest

from core_tokens.errors import CoreTokensError, FileError
from core_tokens.parallel import cores
from core_tokens.survey import engine
from core_tokens.survey.engine import EngineError


def double(item: int) -> int:
    """What a worker does; an odd item ends in an error of one of three kinds."""
    if item % 50 == 1:
        raise FileError(f"item {item}", "nothing", "something")
    if item % 50 == 2:
        raise OSError(5, "Input/output error", f"item {item}")
    if item % 50 == 3:
        raise ValueError(item)
    return 2 * item


def check(outcomes: dict[int, Any], items: list[int]) -> None:
    """One outcome for each item: a result, or the error it ended with, as it was raised."""
    assert outcomes.keys() == set(range(len(items)))
    for at, item in enumerate(items):
        found = outcomes[at]
        kind = {1: FileError, 2: OSError, 3: ValueError}.get(item % 50)
        if kind is None:
            assert found == 2 * item
        else:
            assert type(found) is kind
    for at in (at for at, item in enumerate(items) if item % 50 == 1):
        assert str(outcomes[at]) == f"item {items[at]}: found nothing; expected something"
    for at in (at for at, item in enumerate(items) if item % 50 == 2):
        assert (outcomes[at].strerror, outcomes[at].filename) == (
            "Input/output error", f"item {items[at]}",
        )  # fmt: skip


def shuffled(count: int) -> list[int]:
    items = list(range(count))
    random.Random(0).shuffle(items)
    return items


# ---- in this process --------------------------------------------------------------------------


def test_serially_each_item_has_an_outcome_in_its_turn() -> None:
    items = shuffled(300)
    found = list(engine.serially(double, items))
    assert [at for at, _ in found] == list(range(300))
    check(dict(found), items)


def test_serially_each_item_is_tried_once_when_it_is_asked_for() -> None:
    tried: list[int] = []
    outcomes = engine.serially(tried.append, [1, 2, 3])
    assert tried == []
    assert next(outcomes) == (0, None)
    assert tried == [1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_serially_an_interrupt_is_no_outcome(error: type[BaseException]) -> None:
    def work(_: int) -> None:
        raise error

    with pytest.raises(error):
        list(engine.serially(work, [1]))


def test_serially_no_items_have_no_outcomes() -> None:
    assert list(engine.serially(double, [])) == []


# ---- on a cluster of this machine -------------------------------------------------------------


@pytest.fixture(scope="module")
def there() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
        with engine.client(None, 2, 300) as client:
            yield client


def test_on_a_cluster_each_item_has_an_outcome_whatever_the_order(there: Any) -> None:
    items = shuffled(300)
    assert len(items) > engine.AT_ONCE
    check(dict(engine.results(there, double, items)), items)


def test_no_outcome_comes_twice(there: Any) -> None:
    found = [at for at, _ in engine.results(there, double, [7] * 300)]
    assert sorted(found) == list(range(300))


class Counting:
    """A client that counts what it was given to do, and may say that it has more workers."""

    def __init__(self, there: Any, *places: int) -> None:
        self._there, self.places = there, iter(places)
        self.submitted = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._there, name)

    def submit(self, *arguments: Any, **options: Any) -> Any:
        self.submitted += 1
        return self._there.submit(*arguments, **options)

    def scheduler_info(self, **how: Any) -> Any:
        found = self._there.scheduler_info(**how)
        places = next(self.places, None)
        if places is None:
            return found
        return {"workers": {"one": {"resources": {engine.RESOURCE: places}}}}


@pytest.mark.parametrize(("at_once", "window"), [(8, 8), (1, 8), (20, 20)])
def test_never_more_items_are_known_than_may_be_at_once(
    there: Any, monkeypatch: pytest.MonkeyPatch, at_once: int, window: int
) -> None:
    monkeypatch.setattr(engine, "AT_ONCE", at_once)
    counted, items = Counting(there), list(range(120))
    for nth, _ in enumerate(engine.results(counted, double, items)):
        assert counted.submitted == min(len(items), window + nth)
        assert len(there.futures) <= 2 * window  # they are let go of a little later
    assert counted.submitted == len(items)


def test_more_items_are_known_when_workers_have_joined_and_never_fewer(
    there: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "AT_ONCE", 8)
    counted, items = Counting(there, 2, 10, 0, 3, 12), list(range(200))
    for nth, _ in enumerate(engine.results(counted, double, items)):
        window = 8 if nth <= 7 else 40 if nth <= 31 else 48
        assert counted.submitted == min(len(items), window + nth), nth
    assert next(counted.places, None) is None


def test_no_items_have_no_outcomes(there: Any) -> None:
    assert list(engine.results(there, double, [])) == []


def test_each_worker_does_one_item_at_a_time_in_a_process_of_its_own(there: Any) -> None:
    found = dict(engine.results(there, busy, list(range(12))))
    spans: dict[int, list[tuple[float, float]]] = {}
    for outcome in found.values():
        assert isinstance(outcome, tuple), outcome
        process, start, end = outcome
        spans.setdefault(process, []).append((start, end))
    assert os.getpid() not in spans
    assert len(spans) <= 2
    for some in spans.values():
        ordered = sorted(some)
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(ordered))


def busy(_: int) -> tuple[int, float, float]:
    start = time.monotonic()
    time.sleep(0.01)
    return os.getpid(), start, time.monotonic()


def test_a_worker_of_one_thread_uses_one_core(there: Any) -> None:
    found = dict(engine.results(there, cores_of, [0, 0, 0]))
    assert set(found.values()) == {1}


def cores_of(_: int) -> int:
    return cores()


def test_an_item_that_failed_is_tried_again(there: Any, tmp_path: Any) -> None:
    paths = [str(tmp_path / str(at)) for at in range(3)]
    found = dict(engine.results(there, third_time, paths))
    assert engine.RETRIES == 2
    assert found == dict.fromkeys(range(3), 3)


def third_time(path: str) -> int:
    """How often it was tried; the first two times end in an error."""
    with open(path, "a") as file:  # noqa: PTH123
        file.write("x")
    tries = os.path.getsize(path)  # noqa: PTH202
    if tries < 3:
        raise FileError(path, "something passing", "patience")
    return tries


@pytest.mark.parametrize(("threads", "resources", "share"), [(4, 2, 2), (3, 2, 1), (2, 4, 1)])
def test_a_worker_of_many_matrices_shares_its_threads(
    monkeypatch: pytest.MonkeyPatch, threads: int, resources: int, share: int
) -> None:
    class State:
        total_resources = {engine.RESOURCE: resources}  # noqa: RUF012
        nthreads = threads

    class Worker:
        state = State()

    monkeypatch.setattr(distributed, "get_worker", Worker)
    monkeypatch.setattr("core_tokens.parallel._available", lambda: 8)
    assert engine._on_worker(cores_of, 0) == share
    assert cores() == 8


# ---- which cluster ----------------------------------------------------------------------------


@dataclass
class Opened:
    """What was opened instead of a cluster."""

    local: dict[str, Any] = field(default_factory=dict)
    address: str = ""

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    found = Opened()

    def local(**options: Any) -> Opened:
        found.local = options
        return found

    def connected(address: str) -> Opened:
        found.address = address
        return found

    monkeypatch.setattr(distributed, "LocalCluster", local)
    monkeypatch.setattr(distributed, "Client", lambda *_, **__: found)
    monkeypatch.setattr(engine, "_connected", connected)
    monkeypatch.setattr(engine, "cores", lambda: 8)
    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", 5 * engine.MEMORY)
    return found


@pytest.mark.parametrize(
    ("workers", "items", "count", "threads"),
    [
        (2, 300, 2, 4), (3, 300, 3, 2), (8, 300, 8, 1), (20, 300, 20, 1), (4, 1, 1, 8),
        (None, 300, 5, 1), (None, 2, 2, 4), (1, 0, 1, 8),
    ],
)  # fmt: skip
def test_the_workers_of_this_machine_share_all_of_its_cores(
    opened: Opened, workers: int | None, items: int, count: int, threads: int
) -> None:
    with dask.config.set({"scheduler-address": None}), engine.client(None, workers, items):
        assert opened.address == ""
    found = opened.local
    assert (found["n_workers"], found["threads_per_worker"]) == (count, threads)
    assert found["resources"] == {engine.RESOURCE: 1}


@pytest.mark.parametrize(
    ("scheduler", "workers", "address"),
    [(None, None, "tcp://in-the-environment:1"), (None, 2, ""), ("tcp://said:1", None, "tcp://said:1")],
)  # fmt: skip
def test_what_is_said_goes_before_the_environment(
    opened: Opened, scheduler: str | None, workers: int | None, address: str
) -> None:
    with (
        dask.config.set({"scheduler-address": "tcp://in-the-environment:1"}),
        engine.client(scheduler, workers, 3),
    ):
        assert opened.address == address
        assert bool(opened.local) == (not address)


def test_a_worker_alone_on_this_machine_uses_all_cores() -> None:
    with engine.client(None, 1, 3) as there:
        found = dict(engine.results(there, cores_of, [0, 0, 0]))
    assert set(found.values()) == {cores()}


# ---- workers that are waited for --------------------------------------------------------------


class Scheduler:
    address = "tcp://there:1"


class Lonely:
    """A client of a scheduler whose workers come with time."""

    scheduler = Scheduler()
    status = "running"

    def __init__(self, *resources: list[dict[str, float]]) -> None:
        self._resources = list(resources)
        self.asked = 0

    def scheduler_info(self, **how: Any) -> Any:
        assert how == {"n_workers": -1}  # else it tells of the first ones alone
        if self.status == "closed":
            return {}
        self.asked += 1
        assert self.asked < 20, "it waits for ever"
        now = self._resources.pop(0) if len(self._resources) > 1 else self._resources[0]
        return {"workers": {at: {"resources": each} for at, each in enumerate(now)}}


@pytest.mark.parametrize(("patience", "told"), [(0.15, True), (15.0, False)])
def test_workers_are_waited_for_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], patience: float, told: bool
) -> None:
    monkeypatch.setattr(engine, "PATIENCE", patience)
    there = Lonely(*[[]] * 6, [{"matrix": 1}, {"matrix": 2}, {}])
    assert engine._wait_for_places(there) == 3
    assert there.asked == 7
    line = "waiting for workers: `dask worker tcp://there:1 --resources matrix=1`\n"
    assert capsys.readouterr() == ("", line if told else "")


def test_of_workers_that_come_late_those_that_take_no_matrices_are_refused() -> None:
    with pytest.raises(EngineError, match="found 1 workers without the resource 'matrix'"):
        next(engine.results(Lonely([], [], [{"GPU": 1}]), double, [1]))


def test_a_scheduler_that_goes_while_workers_are_waited_for_is_gone() -> None:
    there = Lonely([])
    there.status = "closed"
    with pytest.raises(EngineError, match=r"^tcp://there:1: found a scheduler that is gone; "):
        next(engine.results(there, double, [1]))


def test_a_scheduler_that_goes_before_an_item_is_sent_is_gone() -> None:
    class Closed(Lonely):
        def submit(self, *_: Any, **__: Any) -> Any:
            raise distributed.client.ClosedClientError

    with pytest.raises(EngineError, match=r"^tcp://there:1: found a scheduler that is gone; "):
        next(engine.results(Closed([{"matrix": 1}]), double, [1]))


# ---- on one that is not there -----------------------------------------------------------------


@pytest.fixture
def impatient() -> Iterator[None]:
    """A second is enough for a scheduler to answer."""
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        yield


@pytest.mark.usefixtures("impatient")
def test_no_scheduler_that_answers_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"  # nobody listens
        with (
            pytest.raises(EngineError, match=rf"^{address}: found no scheduler that answers"),
            engine.client(address, None, 1),
        ):
            raise AssertionError("there is one")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("address", ["nowhere", "nosuch://127.0.0.1:1", "tcp://127.0.0.1:x"])
def test_what_is_no_address_is_an_error_that_names_it(address: str) -> None:
    with (
        pytest.raises(EngineError, match=rf"^{address}: found no scheduler that answers"),
        engine.client(address, None, 1),
    ):
        raise AssertionError("there is one")


def test_without_dask_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with (
        pytest.raises(EngineError, match=r"^a survey: found no Dask; expected pip install "),
        engine.client(None, 1, 1),
    ):
        raise AssertionError("there is one")


def test_workers_that_take_no_matrices_are_an_error_with_what_would_be_right() -> None:
    with pytest.raises(EngineError) as caught:
        next(engine.results(Lonely([{}, {"GPU": 1}]), double, [1]))
    assert str(caught.value) == (
        "tcp://there:1: found 2 workers without the resource 'matrix'; expected "
        "`dask worker tcp://there:1 --resources matrix=1`"
    )
    assert isinstance(caught.value, CoreTokensError)


def new_pages(_: int) -> int:
    """Pages that the system has to find while blocks of a MiB are made and dropped."""
    np.ones(1 << 17)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(200):
        np.ones(1 << 17)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library")
def test_a_worker_keeps_the_memory_of_one_block_for_the_next() -> None:
    with engine.client(None, 1, 4) as there:
        found = [int(str(pages)) for _, pages in engine.results(there, new_pages, [0, 1, 2, 3])]
    # Of 256 pages each; not all in the first, since the thread may just have got its heap.
    assert min(found) < 200
