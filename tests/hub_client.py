"""What uses a hub, each time in a process of its own that takes no time to start.

    with Client(hub.environment(home)) as client:
        done = client.stage(folder)
        assert (done.code, done.waits) == (0, [0.5])
        assert client.ask("commit_of('org/model', None)") == [hub.commit("org/model")]

The client library reads its settings when it is imported. So one process with these settings
imports all there is, and makes a fork of itself for each question. There nothing waits between
tries: what would have been slept is noted instead.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from core_tokens import checkpoint, cli, console, folder, hub, sources
from core_tokens.stages import fetch
from project import Done, Project, check_refusal

DEADLINE = 10
"""Seconds after which a process is ended (code -14): it hangs."""


@dataclass(frozen=True)
class Ran(Done):
    """How a process ended.

    Attributes:
        waits: the seconds that it would have slept between tries.
        peak: the most memory that it held, in bytes.
    """

    waits: list[float]
    peak: int


class Client:
    """A process with an environment of its own, to run code in that uses a hub."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # A process with several threads is not to be forked.
        self._environment = {**environment, "OPENBLAS_NUM_THREADS": "1"}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._reports = Path(stack.enter_context(TemporaryDirectory()))
            self._process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-W", "error", __file__, str(self._reports)],
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()  # which closes stdin, and so ends the process

    def stage(
        self, folder: Path, model: str = "tiny", *, free: int | None = None, **environment: str
    ) -> Ran:
        """Run the stage ``fetch`` as DVC does, with so many bytes ``free`` on the disk."""
        return self._run("stage", folder, [model], environment, free)

    def traceback(self, folder: Path, model: str = "tiny", **environment: str) -> str:
        """How ``fetch`` fails where nothing makes one line of an error."""
        return self._run("bare stage", folder, [model], environment).err

    def command(self, folder: Path, *arguments: str, **environment: str) -> Ran:
        """Run ``core-tokens ARGUMENTS``."""
        return self._run("command", folder, list(arguments), environment)

    def ask(self, *expressions: str, **environment: str) -> list[Any]:
        """What expressions are, one after the other in one process.

        Bytes are as latin-1, pieces of bytes are joined, an error is its name and message.
        """
        return self.ask_and_wait(*expressions, **environment)[0]

    def ask_and_wait(self, *expressions: str, **environment: str) -> tuple[list[Any], list[float]]:
        """The same, and the seconds that it would have slept."""
        done = self._run("ask", self._reports, list(expressions), environment)
        assert (done.code, done.err) == (0, ""), done
        return json.loads(done.out), done.waits

    def _run(
        self,
        what: str,
        folder: Path,
        arguments: list[str],
        environment: Mapping[str, str],
        free: int | None = None,
    ) -> Ran:
        assert self._process.stdin
        assert self._process.stdout
        job = [what, str(folder), arguments, dict(environment), free]
        print(json.dumps(job), file=self._process.stdin, flush=True)
        code = int(self._process.stdout.readline())
        out, err, left = ((self._reports / name).read_text() for name in ("out", "err", "left"))
        return Ran(code, out, err, **json.loads(left or '{"waits": [], "peak": 0}'))


def check_refused(client: Client, made: Project, *mentions: str, **options: Any) -> Ran:
    """``fetch`` refuses with one line, and no file is new, gone or changed, not even its time."""
    before = made.snapshot()
    done = client.stage(made.folder, **options)
    check_refusal(done, *mentions)
    assert made.snapshot() == before
    return done


# ---- inside the process ----------------------------------------------------------------------

NAMES = {
    "Folder": folder.Folder, "Hub": hub.Hub, "Path": Path, "commit_of": hub.commit_of,
    "locate": checkpoint.locate, "sources": sources,
}  # fmt: skip


def _serve(reports: Path) -> None:
    """Answer each job on stdin with the exit code of the process that did it."""
    for line in sys.stdin:
        for name in ("out", "err", "left"):
            (reports / name).write_bytes(b"")
        if (child := os.fork()) == 0:
            signal.alarm(DEADLINE)
            try:
                code = _work(reports, *json.loads(line))
            except BaseException:
                traceback.print_exc()
                code = 99
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _work(
    reports: Path,
    what: str,
    folder: str,
    arguments: list[str],
    environment: Mapping[str, str],
    free: int | None,
) -> int:
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(reports / name, os.O_WRONLY), descriptor)
    os.chdir(folder)
    os.environ.update(environment)
    waits: list[float] = []
    vars(hub)["time"] = SimpleNamespace(time=time.time, sleep=waits.append)
    if free is not None:
        vars(shutil)["disk_usage"] = lambda _: SimpleNamespace(free=free)
    code = 0
    match what:
        case "stage":
            sys.argv = ["fetch", *arguments]
            code = console.run_stage(fetch.run)
        case "bare stage":
            fetch.run(*arguments)
        case "command":
            code = console.run(cli.run, arguments)
        case "ask":
            print(json.dumps([_found(expression) for expression in arguments]))
    (reports / "left").write_text(json.dumps({"waits": waits, "peak": _peak()}))
    return code


def _found(expression: str) -> Any:
    try:
        value = eval(expression, dict(NAMES))
        if not isinstance(value, bytes | str | list | dict | int | None):
            value = b"".join(value)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _peak() -> int:
    """The most memory that this process held, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
