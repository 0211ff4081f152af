"""Runs that are killed: a warm process forks them, so that the moment falls into the work itself.

As a program: a line of JSON per run on stdin, a line of JSON with how it ended on stdout.
"""

import ctypes
import io
import json
import mmap  # noqa: F401  (which another user may not find)
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import core_tokens.pictures.render
import core_tokens.report.page
import core_tokens.stages  # noqa: F401  (which keeps OpenBLAS from starting threads)
from core_tokens import cli, console
from core_tokens.files import TEMPORARY
from core_tokens.stages import analyse, cluster, draw, extract, fetch, measure

STAGES: dict[str, Callable[[str], None]] = {
    "fetch": fetch.run, "cluster": cluster.run, "measure": measure.run, "extract": extract.run,
    "analyse": analyse.run, "draw": draw.run,
}  # fmt: skip
PR_SET_CHILD_SUBREAPER = 36
OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        killed: or it was done before.
        code: of exit, if it was not killed.
        seconds: from the start of the work to the end.
        printed: on stdout and stderr.
    """

    killed: bool
    code: int
    seconds: float
    printed: str


class Warm:
    """A process that has imported everything and forks the runs."""

    def __init__(self, home: Path, umask: int = -1) -> None:
        """Git and DVC keep what is theirs in ``home``."""
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home), "XDG_CACHE_HOME": str(home), "XDG_CONFIG_HOME": str(home),
            "DVC_SITE_CACHE_DIR": str(home / "site-cache"), "DVC_NO_ANALYTICS": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            env=environment, umask=umask,
        )  # fmt: skip

    def __enter__(self) -> "Warm":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=60)

    def run(
        self, folder: Path, *arguments: str, after: float | None = None, at: int | None = None,
        user: int | None = None,
    ) -> Ended:  # fmt: skip
        """Run a command in a folder, and kill it and all that it started.

        Args:
            folder: of the project.
            arguments: STAGE MODEL, ``core-tokens`` or ``dvc`` with what follows.
            after: seconds until it is killed; None lets it end.
            at: the file operation in the folder before which it is killed, counted from 0. The
                pictures are then drawn by nobody: that takes a second, and touches no file.
            user: as whom, if not as the one who runs the tests.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        wanted = {
            "folder": str(folder), "arguments": arguments, "after": after, "at": at, "user": user,
        }  # fmt: skip
        print(json.dumps(wanted), file=self._process.stdin)
        return Ended(**json.loads(self._process.stdout.readline()))


def temporary_files(folder: Path) -> list[Path]:
    """What is named as temporary files are."""
    paths = [*folder.iterdir(), *folder.glob("data/**/*")]
    return [path for path in paths if TEMPORARY.fullmatch(path.name)]


def _work(arguments: list[str], begun: Callable[[], None]) -> int:
    sys.argv = arguments
    if arguments[0] == "dvc":
        from dvc.cli import main

        begun()
        return int(main(arguments[1:]))
    begun()
    if arguments[0] == "core-tokens":
        return console.run(cli.run, arguments[1:])
    return console.run_stage(STAGES[arguments[0]])


def _not_drawn(specification: object, _: str) -> bytes:
    return json.dumps(specification).encode()


def _kill_before(nth: int, folder: str) -> None:
    """End this process, and what it started, before an operation on a file of the folder."""
    seen = 0

    def count() -> None:
        nonlocal seen
        if seen == nth:
            os.killpg(0, signal.SIGKILL)
        seen += 1

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event in OPERATIONS and isinstance(given[0], (str, os.PathLike)):
            path = os.path.abspath(given[0])  # noqa: PTH100
            if path.startswith(folder):
                count()

    def profile(_: object, event: str, called: Any) -> None:
        writes = event == "c_call" and called.__name__ == "write"
        if writes and isinstance(called.__self__, io.BufferedWriter):
            count()

    vars(draw).update(specification=lambda *given: given, rendered=_not_drawn)
    sys.addaudithook(hook)
    sys.setprofile(profile)


def _forked(wanted: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    log = Path(os.environ["HOME"], "printed")
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setpgid(0, 0)
            os.chdir(wanted["folder"])
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            if wanted["user"] is not None:
                os.setuid(wanted["user"])

            def begun() -> None:
                os.write(writing, b"!")
                if wanted["at"] is not None:
                    _kill_before(wanted["at"], wanted["folder"] + os.sep)

            code = _work(wanted["arguments"], begun)
            sys.stdout.flush()
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    os.read(reading, 1)
    start = time.perf_counter()
    if wanted["after"] is not None:  # or when the child closes its end
        select.select([reading], [], [], wanted["after"])
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    seconds = time.perf_counter() - start
    with suppress(ChildProcessError):  # what it had started: DVC takes a zombie for a living one
        while True:
            os.waitpid(-child, 0)
    os.close(reading)
    killed = os.WIFSIGNALED(status)
    code = 0 if killed else os.WEXITSTATUS(status)
    printed = log.read_text(errors="replace")
    return {"killed": killed, "code": code, "seconds": seconds, "printed": printed}


if __name__ == "__main__":
    if sys.platform == "linux":  # orphans become this process's children
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for line in sys.stdin:
        print(json.dumps(_forked(json.loads(line))), flush=True)
