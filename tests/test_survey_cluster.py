"""A survey on a real Dask cluster: the same bytes as in one process, whatever dies on the way."""

import os
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pyarrow import parquet
from safetensors.numpy import save_file

import project
from core_tokens.survey import engine
from core_tokens.survey import run as survey_run
from core_tokens.survey.examine import Question
from core_tokens.survey.snapshot import VERSION
from project import Done
from survey_cluster import (
    NAME,
    PATIENCE,
    Cluster,
    Project,
    Truth,
    below,
    check,
    check_refused,
    cluster,
    cluster_tokens,
    command,
    ended,
    kept,
    matrix,
    serially,
    some_are_kept,
    wait_until,
    write,
    write_steps,
)
from test_machines import CLIENT, SERVER, Line, line

__all__ = ["line"]

FEW = 200
"""Checkpoints of a survey that is to be disturbed in the middle."""
THOUSAND = 1000
BAD = 7
"""Of the thousand."""


def spoiled(folder: Path) -> dict[str, str]:
    """Checkpoints that no survey can examine: file -> what the error mentions."""
    folder.mkdir()
    whole = write(folder / "whole", matrix(3)).read_bytes()
    (folder / "truncated.safetensors").write_bytes(whole[:-100])
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "shards").mkdir()
    (folder / "shards/model.safetensors.index.json").write_text(
        '{"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}'
    )
    save_file({"a.bias": np.zeros(3), "b.bias": np.zeros(3)}, folder / "biases.safetensors")
    write(folder / "integers.safetensors", matrix(3).astype(np.int8))
    large = np.full((20, 4), np.finfo(np.float32).max)
    write(folder / "overflow.safetensors", large)
    (folder / "whole").unlink()
    return {
        "missing.safetensors": "../bad/missing.safetensors: found no such file or folder",
        "truncated.safetensors": "../bad/truncated.safetensors: found",
        "empty.safetensors": "../bad/empty.safetensors: found",
        "shards": "../bad/shards/model-00001-of-00002.safetensors: found no such file",
        "biases.safetensors": "../bad/biases.safetensors: found",
        "integers.safetensors": "I8",
        "overflow.safetensors": "found inf as bfloat16",
    }


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """1,000 checkpoints: files, trajectories of both kinds, and some that are spoiled."""
    folder = tmp_path_factory.mktemp("thousand")
    bad = spoiled(folder / "bad")
    write_steps(folder / "run", range(500))
    many = 150
    steps = np.arange(many, dtype=np.int64) * 10
    cubes = [np.stack([matrix(first + nth) for nth in range(many)]) for first in (500, 650)]
    save_file({"heads": cubes[0], "steps": steps}, folder / "run.safetensors")
    with h5py.File(folder / "run.h5", "w") as file:
        file["heads"] = cubes[1].astype(np.float32)
        file["steps"] = steps
    nan = matrix(5)
    nan[50:60] = np.nan
    write(folder / "bad/nan.safetensors", nan)
    write(folder / "bad/nothing.safetensors", np.zeros((10, 4), np.float32))
    rest = THOUSAND - 500 - 2 * many - len(bad) - 2
    write_steps(folder / "later", range(800, 800 + rest))
    made = Project(folder / "project")
    made.write_params(
        "../run/*.safetensors",
        *(f"../bad/{name}" for name in [*bad, "nan.safetensors", "nothing.safetensors"]),
        "../run.safetensors",
        "../run.h5",
        "../later/*.safetensors",
    )
    assert len(bad) == BAD
    truth = serially(made, folder / "store")
    rows = parquet.read_table(made.data / "survey.parquet").to_pylist()
    assert len({row["checkpoint"] for row in rows}) == THOUSAND
    errors = {row["source"]: row["error"] for row in rows if row["error"]}
    assert errors.keys() == {f"../bad/{name}" for name in bad}
    for name, mention in bad.items():
        assert mention in errors[f"../bad/{name}"], errors
    found = [row["cluster_tokens"] for row in rows[::2] if row["source"].startswith("../run/")]
    assert found == [cluster_tokens(nth) for nth in range(500)]
    return truth


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """Fewer checkpoints, for what is disturbed in the middle."""
    folder = tmp_path_factory.mktemp("few")
    write_steps(folder / "run", range(FEW))
    made = Project(folder / "project")
    made.write_params("../run/*.safetensors", "../run/missing")
    return serially(made, folder / "store")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and two workers that nobody kills."""
    with cluster(tmp_path_factory.mktemp("pair") / "cluster") as started:
        yield started


def test_a_thousand_checkpoints_on_two_workers_give_the_bytes_of_one_process(
    thousand: Truth, pair: Cluster, tmp_path: Path
) -> None:
    made, store = thousand.again(tmp_path.name), tmp_path / "store"
    done = made.survey("--scheduler", pair.address, "--store", str(store))
    check(done, made, thousand)
    assert kept(store).keys() == kept(thousand.store).keys()
    assert all(count > 100 for count in pair.transitions()), pair.transitions()  # both have worked


def test_a_cluster_on_this_machine_gives_the_bytes_of_one_process(
    few: Truth, tmp_path: Path
) -> None:
    made, store = few.again(tmp_path.name), tmp_path / "store"
    with socket.socket() as taken:
        with suppress(OSError):  # it is taken already
            taken.bind(("127.0.0.1", 8787))  # that of Dask's own pages
            taken.listen()
        check(made.survey("--workers", "2", "--store", str(store)), made, few)
    assert kept(store).keys() == kept(few.store).keys()


def test_the_order_in_which_they_get_done_changes_nothing(
    thousand: Truth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = engine.serially

    def disturbed(work: Any, items: Any) -> Any:
        outcomes = list(one_by_one(work, items))
        random.Random(1).shuffle(outcomes)
        return iter(outcomes)

    monkeypatch.setattr(engine, "serially", disturbed)
    made = thousand.again(tmp_path.name)
    here = project.Project(made.folder)
    done = here.command_here("survey", NAME, "--workers", "0", "--store", str(thousand.store))
    check(done, made, thousand, reused=THOUSAND - BAD)


# ---- what dies on the way --------------------------------------------------------------------


def test_a_worker_that_is_killed_is_started_again_and_nothing_is_lost(
    few: Truth, tmp_path: Path
) -> None:
    made, store = few.again(tmp_path.name), tmp_path / "store"
    with cluster(tmp_path / "cluster", workers=1) as one:
        running = made.start("--scheduler", one.address, "--store", str(store))
        for times in (1, 2):
            some_are_kept(store, running, FEW, 40 * times)
            os.kill(one.worker_process("worker-0"), signal.SIGKILL)
            wait_until(lambda times=times: one.knows("worker-0") > times, "another worker")  # type: ignore[misc]
        check(ended(running), made, few, reused=None)
    assert kept(store).keys() == kept(few.store).keys()


def test_a_worker_that_does_not_come_back_is_done_without(few: Truth, tmp_path: Path) -> None:
    made, store = few.again(tmp_path.name), tmp_path / "store"
    with cluster(tmp_path / "cluster") as two:
        running = made.start("--scheduler", two.address, "--store", str(store))
        some_are_kept(store, running, FEW)
        two.kill("worker-1")
        check(ended(running), made, few, reused=None)
        assert two.knows("worker-1") == 1
    assert kept(store).keys() == kept(few.store).keys()


def test_without_any_worker_a_survey_waits_for_one(few: Truth, tmp_path: Path) -> None:
    made, store = few.again(tmp_path.name), tmp_path / "store"
    with cluster(tmp_path / "cluster", workers=1) as one:
        running = made.start("--scheduler", one.address, "--store", str(store))
        some_are_kept(store, running, FEW)
        one.kill("worker-0")
        assert running.poll() is None
        one.start_workers()
        check(ended(running), made, few, reused=None)


def test_results_that_die_with_a_worker_before_they_are_taken_are_found_in_the_store(
    few: Truth, tmp_path: Path
) -> None:
    made, store = few.again(tmp_path.name), tmp_path / "store"
    with cluster(tmp_path / "cluster") as two:
        running = made.start("--scheduler", two.address, "--store", str(store))
        some_are_kept(store, running, FEW, 20)
        os.killpg(running.pid, signal.SIGSTOP)  # it takes nothing while the workers go on
        before, now = -1, len(kept(store))
        while before != now:
            time.sleep(0.5)
            before, now = now, len(kept(store))
        two.kill("worker-1")
        wait_until(lambda: "Remove worker addr" in two.log("scheduler"), "its end to be known")
        os.killpg(running.pid, signal.SIGCONT)
        check(ended(running), made, few, reused=None)


def test_a_scheduler_that_is_killed_ends_the_survey_and_the_next_takes_up_what_is_done(
    few: Truth, tmp_path: Path
) -> None:
    made, store = few.again(tmp_path.name), tmp_path / "store"
    with cluster(tmp_path / "cluster") as two:
        running = made.start("--scheduler", two.address, "--store", str(store))
        some_are_kept(store, running, FEW)
        two.kill("scheduler")
        done = ended(running)
        check_refused(done, made, two.address, "a scheduler that is gone")
    before = kept(store)
    assert len(before) < FEW
    with cluster(tmp_path / "another") as two:
        done = made.survey("--scheduler", two.address, "--store", str(store))
        check(done, made, few, reused=len(before))
    after = kept(store)
    assert after.keys() == kept(few.store).keys()
    assert {path: after[path] for path in before} == before


def test_a_worker_whose_line_is_cut_is_done_without(few: Truth, line: Line, tmp_path: Path) -> None:
    # What notices that a line is dead; by default Dask waits for minutes.
    patience = {
        "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "2s",
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s",
    }
    made, store = few.again(tmp_path.name), tmp_path / "store"
    near, far = Line.within(line.there), Line.within(line.here)
    here = Project(made.folder, within=near)
    with Cluster(tmp_path / "cluster", SERVER, near, patience) as two:
        two.start_workers(1, within=near, more=("--host", SERVER))
        two.start_workers(1, within=far, more=("--host", CLIENT))
        running = here.start("--scheduler", two.address, "--store", str(store))
        some_are_kept(store, running, FEW)
        try:
            line.set("down")
            check(ended(running), made, few, reused=None)
        finally:
            line.set("up")
        assert f"Remove worker addr: tcp://{CLIENT}" in two.log("scheduler")
    assert kept(store).keys() == kept(few.store).keys()


# ---- what a person is told -------------------------------------------------------------------


def test_a_scheduler_in_the_environment_is_taken_and_what_is_done_is_not_done_again(
    few: Truth, pair: Cluster, tmp_path: Path
) -> None:
    made = few.again(tmp_path.name, DASK_SCHEDULER_ADDRESS=pair.address)
    store = kept(few.store)
    before = pair.log("scheduler").count("Receive client connection")
    check(made.survey("--store", str(few.store)), made, few, reused=FEW)
    assert kept(few.store) == store
    assert pair.log("scheduler").count("Receive client connection") == before + 1


def test_workers_of_this_machine_go_before_a_scheduler_in_the_environment(
    few: Truth, tmp_path: Path
) -> None:
    made = few.again(tmp_path.name, DASK_SCHEDULER_ADDRESS="tcp://127.0.0.1:1")
    check(made.survey("--workers", "1", "--store", str(few.store)), made, few, reused=FEW)


def test_a_cluster_without_workers_is_waited_for_and_that_is_said(
    few: Truth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PATIENCE", 0.2)
    made = few.again(tmp_path.name)
    arguments = ("--store", str(few.store))
    with Cluster(tmp_path / "cluster") as none, ThreadPoolExecutor(1) as beside:

        def come() -> list[str]:
            connected = "Receive client connection"
            wait_until(lambda: connected in none.log("scheduler"), "the survey")
            time.sleep(0.5)
            return none.start_workers(1)

        coming = beside.submit(come)
        here = project.Project(made.folder)
        done = here.command_here("survey", NAME, "--scheduler", none.address, *arguments)
        assert coming.result() == ["worker-0"]
        line = f"waiting for workers: `dask worker {none.address} --resources matrix=1`\n"
        assert done.err == line
        check(Done(done.code, done.out, ""), made, few, reused=FEW)


def test_a_scheduler_that_goes_before_there_was_a_worker_ends_the_survey(
    few: Truth, tmp_path: Path
) -> None:
    made = few.again(tmp_path.name, **PATIENCE)
    with Cluster(tmp_path / "cluster") as none:
        running = made.start("--scheduler", none.address, "--store", str(tmp_path / "store"))
        connected = "Receive client connection"
        wait_until(lambda: connected in none.log("scheduler"), "the survey")
        time.sleep(0.5)
        assert running.poll() is None
        none.kill("scheduler")
        check_refused(ended(running), made, none.address, "a scheduler that is gone")


@pytest.fixture
def impatient(few: Truth, tmp_path: Path) -> Project:
    """A project that waits two seconds for a scheduler."""
    return few.again(tmp_path.name, DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="2s")


NONE = "no scheduler that answers"


def test_where_no_scheduler_is_one_line_says_so(impatient: Project, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
        done = impatient.survey("--scheduler", address, "--store", str(tmp_path / "store"))
        check_refused(done, impatient, address, NONE)
        assert re.search(r"after 2 s|within 2s", done.err)  # whoever's patience ends first


def test_a_server_that_is_silent_is_not_waited_for(impatient: Project, tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        done = impatient.survey("--scheduler", address, "--store", str(tmp_path / "store"))
        check_refused(done, impatient, address, NONE, "within 2s")


@pytest.mark.parametrize(
    "address", ["tcp://", "127.0.0.1", "http://127.0.0.1:1", "no scheduler", "tls://127.0.0.1:1"]
)
def test_an_address_that_is_none_is_refused(
    impatient: Project, tmp_path: Path, address: str
) -> None:
    done = impatient.survey("--scheduler", address, "--store", str(tmp_path / "store"))
    check_refused(done, impatient, f"error: {address}: found {NONE}")


def test_the_address_of_a_worker_is_no_schedulers(
    pair: Cluster, impatient: Project, tmp_path: Path
) -> None:
    found = re.search(r"Start worker at: +(\S+)", pair.log("worker-0"))
    assert found
    done = impatient.survey("--scheduler", found[1], "--store", str(tmp_path / "store"))
    check_refused(done, impatient, found[1], "a Worker")


def test_workers_that_take_no_matrices_are_refused(few: Truth, tmp_path: Path) -> None:
    made, store = few.again(tmp_path.name), tmp_path / "store"
    with Cluster(tmp_path / "cluster") as one:
        one.start_workers(1, resources=())
        done = made.survey("--scheduler", one.address, "--store", str(store))
        check_refused(done, made, one.address, "without the resource 'matrix'", "--resources")
        one.start_workers(1)
        done = made.survey("--scheduler", one.address, "--store", str(store))
        check(done, made, few)
        assert "Compute Failed" not in one.log("worker-0")


def test_a_scheduler_and_workers_of_this_machine_cannot_both_be_meant(few: Truth) -> None:
    here = project.Project(few.project.folder)
    done = here.command_here("survey", NAME, "--scheduler", "tcp://127.0.0.1:1", "--workers", "2")
    project.check_refusal(done, "--workers", "--scheduler")
    assert few.project.outputs() == few.outputs


def test_a_worker_of_another_version_ends_the_survey(
    few: Truth, pair: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another_version(threshold: float, store: str) -> Question:
        return Question(threshold, store, VERSION + 1)

    monkeypatch.setattr(survey_run, "Question", of_another_version)
    made = few.again(tmp_path.name)
    here = project.Project(made.folder)
    arguments = ("--scheduler", pair.address, "--store", str(tmp_path / "store"))
    done = here.command_here("survey", NAME, *arguments)
    check_refused(done, made, f"version {VERSION}", str(VERSION + 1), "the same Core Tokens")


def test_without_dask_a_survey_runs_in_one_process(few: Truth, tmp_path: Path) -> None:
    (tmp_path / "stub").mkdir()
    for name in ("dask", "distributed"):
        text = f"raise ModuleNotFoundError('No module named {name}', name={name!r})\n"
        (tmp_path / "stub" / f"{name}.py").write_text(text)
    made = few.again(tmp_path.name, PYTHONPATH=str(tmp_path / "stub"))
    done = made.survey("--store", str(few.store))
    check_refused(done, made, "no Dask", "pip install", "survey")
    done = made.survey("--workers", "0", "--store", str(few.store))
    check(done, made, few, reused=FEW)


# ---- a survey that is ended ------------------------------------------------------------------


def processes_of(running: subprocess.Popen[str]) -> set[int]:
    """The processes of a survey, itself included: of its group, and all below them."""
    found: set[int] = set()
    waiting = [running.pid]
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        with suppress(OSError):
            waiting += below(pid)
    return found


@pytest.mark.parametrize(
    ("number", "whole", "code"),
    [
        (signal.SIGINT, False, 130),
        (signal.SIGINT, True, 130),  # as a terminal does it
        (signal.SIGTERM, False, 143),
        (signal.SIGKILL, False, -9),
    ],
)
def test_a_survey_that_is_ended_leaves_results_and_no_process(
    few: Truth, tmp_path: Path, number: signal.Signals, whole: bool, code: int
) -> None:
    made, store = few.again(tmp_path.name), tmp_path / "store"
    running = made.start("--workers", "1", "--store", str(store))
    some_are_kept(store, running, FEW, 20)
    pids = processes_of(running)
    assert len(pids) > 1
    (os.killpg if whole else os.kill)(running.pid, number)
    done = ended(running)
    assert done.code == code, done
    assert done.out == ""
    if number != signal.SIGKILL:  # of which Python's own tracker of semaphores has to say something
        assert done.err == ("error: interrupted\n" if number == signal.SIGINT else ""), done
    wait_until(lambda: not any(command(pid) for pid in pids), "the end of its processes", 20)
    assert made.outputs() == {}
    before = kept(store)
    assert 20 <= len(before) < FEW
    again = made.survey("--workers", "0", "--store", str(store))
    check(again, made, few, reused=len(before))
    after = kept(store)
    assert {path: after[path] for path in before} == before


def test_a_survey_that_is_ended_leaves_the_cluster_of_others_in_order(
    few: Truth, pair: Cluster, tmp_path: Path
) -> None:
    made, store = few.again(tmp_path.name), tmp_path / "store"
    running = made.start("--scheduler", pair.address, "--store", str(store))
    some_are_kept(store, running, FEW)
    running.send_signal(signal.SIGTERM)
    assert ended(running) == Done(143, "", "")
    assert made.outputs() == {}
    check(made.survey("--scheduler", pair.address, "--store", str(store)), made, few, reused=None)
