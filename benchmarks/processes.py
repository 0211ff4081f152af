"""What does it cost to run something once? A whole process, or one function in a loaded process.

Memory is what a process allocates for itself (anonymous pages), looked at every few milliseconds
from outside: the pages of a mapped file belong to the page cache and are not counted.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Protocol, Self

GLANCE = 0.01
"""Seconds between two looks at the memory, each of which holds the process up a little."""
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
}
"""In which ``python`` and ``dvc`` are those of this environment."""


@dataclass(frozen=True)
class Cost:
    """What one run cost: wall-clock seconds, and the peak of its own memory."""

    seconds: float
    own_bytes: int


class Contender(Protocol):
    """Something that can be run again and again, each time at a cost."""

    def run(self) -> Cost:
        """Run once."""


def anonymous_bytes(pid: int) -> int:
    """Memory that a process holds for itself right now; 0 once it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


def family_bytes(pid: int) -> int:
    """The same of a process and all that descend from it."""
    total = anonymous_bytes(pid)
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            total += family_bytes(int(child))
    return total


def bytes_from_disk() -> int:
    """What this process, and those that it started and that ended, have read from the disk."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes:"))


@dataclass
class Command:
    """A whole process, from its start to its end.

    Attributes:
        command: the program and its arguments.
        folder: where it runs.
        environment: what is added to the environment.
        before: called before each run, outside the time; may be what makes the run worth doing.
        output: what the last run printed.
    """

    command: Sequence[str]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    before: Callable[[], object] = lambda: None
    output: str = field(default="", init=False)

    def run(self) -> Cost:
        """Run once; what it writes to stderr is shown if it fails."""
        self.before()
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            start = time.perf_counter()
            process = subprocess.Popen(
                self.command, cwd=self.folder, env=ENVIRONMENT | self.environment,
                stdout=output, stderr=errors,
            )  # fmt: skip
            peak, ends = 0, list[float]()

            def wait() -> None:
                process.wait()
                ends.append(time.perf_counter())

            waiting = Thread(target=wait)
            waiting.start()
            try:
                while waiting.is_alive():
                    peak = max(peak, family_bytes(process.pid))
                    waiting.join(GLANCE)
            finally:
                process.kill()
                waiting.join()
            seconds = ends[0] - start
            output.seek(0)
            errors.seek(0)
            self.output = output.read()
            if process.returncode:
                what = f"{' '.join(self.command)} exited {process.returncode}"
                raise SystemExit(f"{what}:\n{errors.read()}")
        return Cost(seconds, peak)


def stage(name: str, model: str, folder: Path) -> Command:
    """A stage of the pipeline, without DVC."""
    return Command([sys.executable, "-m", f"core_tokens.stages.{name}", model], folder)


class Worker:
    """A process that loads its inputs once and then calls one function, once per message.

    Its memory is what the calls add on top of the loaded process.
    """

    def __init__(self, load: Callable[[], Callable[[], Any]]) -> None:
        """Start the process and wait until it has loaded.

        Args:
            load: of the top level of a module, or a partial of one; returns the function.
        """
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, load), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._connection.recv()
        except EOFError:
            raise SystemExit(f"{load} failed: see above") from None
        self._loaded = anonymous_bytes(self._pid)

    @property
    def _pid(self) -> int:
        return self._process.pid or 0

    def run(self) -> Cost:
        """Call the function once."""
        self._connection.send("run")
        peak = 0
        while not self._connection.poll(GLANCE):
            peak = max(peak, anonymous_bytes(self._pid))
        seconds = self._connection.recv()
        peak = max(peak, anonymous_bytes(self._pid))
        return Cost(seconds, max(0, peak - self._loaded))

    def answer(self) -> Any:
        """What the last call returned."""
        self._connection.send("answer")
        return self._connection.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()


def _serve(connection: Connection, load: Callable[[], Callable[[], Any]]) -> None:
    """Load, then answer messages until the other side is gone."""
    function = load()
    connection.send("loaded")
    answer: Any = None
    with suppress(EOFError):
        while True:
            if connection.recv() == "answer":
                connection.send(answer)
                continue
            answer = None  # so that two answers are never held at once
            start = time.perf_counter()
            answer = function()
            connection.send(time.perf_counter() - start)
