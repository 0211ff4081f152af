"""A real Dask cluster for the tests, processes and TCP and all, and a survey to run on it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import distributed
import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

import project
import repository
from project import Done

NAME = "many"
SECONDS = 60
"""After which a test has waited in vain."""
ARGUMENTS = ("--nthreads", "1", "--memory-limit", "0", "--no-dashboard")
RESOURCES = ("--resources", "matrix=1")
PATIENCE = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s"}
"""For how long a scheduler tries to reach a worker that is dead; else it would be 30 seconds."""
ROWS, DIMS = 96, 8


def environment(home: Path, **more: str) -> dict[str, str]:
    """All that a process of a survey needs, and nothing of whoever runs the tests."""
    home.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "DASK_CONFIG": str(home / "dask"),
        # Small matrices gain nothing by threads of BLAS, and two workers share two cores.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        **more,
    }


def wait_until(true: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Wait for something to become true (AssertionError: it does not)."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds} s in vain: {what}"
        time.sleep(0.01)


def below(pid: int) -> list[int]:
    """The children of a process."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for each in lists for child in each.read_text().split()]


def command(pid: int) -> str:
    """The command line of a process, empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except FileNotFoundError:
        return ""


# ---- a cluster -------------------------------------------------------------------------------


@dataclass
class Cluster:
    """A scheduler and workers, each a process of its own; ``with`` ends all of them.

    Attributes:
        folder: of their logs and scratch files.
        host: the address at which the scheduler listens.
        within: what runs a command where the scheduler is, in a network namespace say.
        environment: of all processes.
    """

    folder: Path
    host: str = "127.0.0.1"
    within: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> "Cluster":
        self.folder.mkdir(parents=True)
        try:
            self._start(
                "scheduler", self.within, "scheduler", "--host", self.host, "--port", "0",
                "--no-dashboard",
            )  # fmt: skip
            listening = re.compile(r"Scheduler at: +(\S+)")
            wait_until(lambda: listening.search(self.log("scheduler")), "the scheduler")
        except BaseException:
            self.__exit__()
            raise
        found = listening.search(self.log("scheduler"))
        assert found
        self.address = found[1]
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._running):
            self.kill(name)

    def start_workers(
        self,
        count: int = 1,
        resources: Sequence[str] = RESOURCES,
        within: Sequence[str] | None = None,
        more: Sequence[str] = (),
    ) -> list[str]:
        """Start workers, and wait until the scheduler knows them; their names."""
        first = len(self._running) - 1
        names = [f"worker-{first + nth}" for nth in range(count)]
        for name in names:
            scratch = ("--local-directory", str(self.folder / name))
            self._start(
                name, self.within if within is None else within, "worker", self.address,
                "--name", name, *ARGUMENTS, *resources, *scratch, *more,
            )  # fmt: skip
        for name in names:
            wait_until(lambda name=name: self.knows(name), f"{name}\n{self.log(name)}")  # type: ignore[misc]
        return names

    def knows(self, name: str) -> int:
        """How often the scheduler has taken in a worker of this name."""
        return len(re.findall(rf"Register worker .*\bname: {name}\b", self.log("scheduler")))

    def log(self, name: str) -> str:
        """What a process has printed so far."""
        return (self.folder / f"{name}.log").read_text()

    def worker_process(self, name: str) -> int:
        """The process that works, below the nanny that looks after it."""
        return next(pid for pid in below(self._running[name].pid) if "spawn_main" in command(pid))

    def transitions(self) -> list[int]:
        """How often a task has changed its state on each worker, since that was started."""
        with distributed.Client(self.address, set_as_default=False) as client:
            counts = client.run(lambda dask_worker: dask_worker.state.transition_counter)
        return list(counts.values())

    def kill(self, name: str) -> None:
        """Kill the scheduler, or a worker with its nanny, so that neither can do anything more."""
        process = self._running.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _start(self, name: str, within: Sequence[str], program: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                [*within, str(Path(sys.executable).with_name("dask")), program, *arguments],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=environment(self.folder / "home") | PATIENCE | dict(self.environment),
                start_new_session=True,
            )  # fmt: skip


@contextmanager
def cluster(folder: Path, workers: int = 2, **environment: str) -> Iterator[Cluster]:
    """A cluster on loopback with workers that take one matrix at a time."""
    with Cluster(folder, environment=environment) as started:
        started.start_workers(workers)
        yield started


# ---- a survey --------------------------------------------------------------------------------


def matrix(nth: int) -> NDArray[Any]:
    """bfloat16[96, 8]: a cluster that grows and shrinks with ``nth``, and rows far away."""
    draw = np.random.default_rng(nth)
    rows = draw.standard_normal((ROWS, DIMS))
    origin = np.array([1.5, -1.25, 1.0625, -1.75, 1.125, 1.875, 1.0, -1.5]) / 16
    size = cluster_tokens(nth)
    steps = draw.integers(-3, 4, (size, DIMS)) * (draw.random((size, 1)) < 0.5)
    rows[(nth % 5) : (nth % 5) + size] = origin + steps * 2.0**-11
    return rows.astype(ml_dtypes.bfloat16)


def cluster_tokens(nth: int) -> int:
    """How many tokens the cluster of ``matrix(nth)`` has."""
    return 8 + (nth * 7) % 40


def write(path: Path, tensor: NDArray[Any], name: str = "lm_head.weight") -> Path:
    """One checkpoint as a safetensors file."""
    path.write_bytes(save({name: tensor}))
    return path


def write_steps(folder: Path, steps: Sequence[int]) -> None:
    """One file for each step of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    for step in steps:
        write(folder / f"step{step}.safetensors", matrix(step))


@dataclass(frozen=True)
class Project:
    """A folder that holds params.yaml, in which surveys are run as processes."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    within: Sequence[str] = ()

    def write_params(self, *sources: str) -> None:
        """Survey these sources."""
        lines = [f"      - {source}" for source in sources]
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "params.yaml").write_text(
            repository.EMPTY_PARAMS
            + f"survey:\n  {NAME}:\n    sources:\n"
            + "\n".join(lines)
            + "\n    radii: [1, 3]\n    distances: [ulp, steps, l2]\n    threshold: 0.02\n"
        )

    def command(self, *arguments: str) -> list[str]:
        """What runs the survey."""
        return [str(Path(sys.executable).with_name("core-tokens")), "survey", NAME, *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A survey that is under way, a group of processes of its own."""
        return subprocess.Popen(
            [*self.within, *self.command(*arguments)], cwd=self.folder, text=True,
            start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(self.folder.parent / "home", **self.environment),
        )  # fmt: skip

    def survey(self, *arguments: str, seconds: float = SECONDS) -> Done:
        """Run the survey to its end."""
        return ended(self.start(*arguments), seconds)

    @property
    def data(self) -> Path:
        """The folder of its files."""
        return self.folder / "data/surveys" / NAME

    def outputs(self) -> dict[str, bytes]:
        """All files but costs.csv, which holds times."""
        paths = [path for path in self.data.rglob("*") if path.is_file()]
        return {
            str(path.relative_to(self.data)): path.read_bytes()
            for path in sorted(paths) if path.name != "costs.csv"
        }  # fmt: skip


def ended(running: subprocess.Popen[str], seconds: float = SECONDS) -> Done:
    """How a survey ended; it is killed if it does not."""
    try:
        out, err = running.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        out, err = running.communicate()
        raise AssertionError(f"the survey did not end:\n{out}{err}") from None
    return Done(running.returncode, out, err)


def kept(store: Path) -> dict[Path, tuple[int, bytes]]:
    """The results in a store: when each was written, and its bytes."""
    return {
        path.relative_to(store): (path.stat().st_mtime_ns, path.read_bytes())
        for path in store.rglob("*.safetensors") if not path.name.startswith(".")
    }  # fmt: skip


# ---- a survey done in one process, and the same again ----------------------------------------


OUTPUTS = {
    "membership.parquet", "plots/arrivals.csv", "plots/overlap.csv", "plots/sizes.csv",
    "survey.json", "survey.parquet",
}  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """A survey that was done in one process."""

    project: Project
    store: Path
    done: Done
    outputs: dict[str, bytes]

    def again(self, beside: str, **environment: str) -> Project:
        """The same survey in a project of its own, of which nothing was made yet."""
        other = Project(self.project.folder.with_name(beside), environment)
        other.folder.mkdir()
        text = (self.project.folder / "params.yaml").read_text()
        (other.folder / "params.yaml").write_text(text)
        return other


def serially(made: Project, store: Path) -> Truth:
    """Do a survey in one process."""
    done = made.survey("--workers", "0", "--store", str(store))
    assert (done.code, done.err) == (0, ""), done
    outputs = made.outputs()
    assert outputs.keys() == OUTPUTS
    return Truth(made, store, done, outputs)


def check(done: Done, made: Project, truth: Truth, reused: int | None = 0) -> None:
    """The survey ended as the one in one process did; of ``reused`` None anything will do."""
    assert (done.code, done.err) == (0, ""), done
    first, *lines, _ = done.out.splitlines()
    expected, *same, _ = truth.done.out.splitlines()
    assert lines == same
    if reused is None:
        first = re.sub(r"\([\d,]+ of", "(0 of", first)
    assert first == expected.replace("(0 of", f"({reused or 0:,} of"), done
    assert made.outputs() == truth.outputs
    assert not list(made.data.rglob(".*"))


def check_refused(done: Done, made: Project, *mentions: str) -> None:
    """One line says why there is nothing, and there is nothing."""
    project.check_refusal(done, *mentions)
    assert made.outputs() == {}


def some_are_kept(
    store: Path, running: subprocess.Popen[str], total: int, some: int = 40
) -> dict[Path, tuple[int, bytes]]:
    """Wait until some results are kept, while the survey goes on; which."""
    wait_until(lambda: len(kept(store)) >= some or running.poll() is not None, "some results")
    assert running.poll() is None, ended(running)
    found = kept(store)
    assert len(found) < total
    return found
