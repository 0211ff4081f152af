"""Commands of DVC and of this project without their start: a warm process forks one for each.

The fork has a folder, an environment and streams of its own, as a new process would; what it is
spared is half a second of imports, of which the tests would otherwise spend most of their time.

As a program: a line of JSON per command on stdin, its exit code as a line on stdout.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

PROGRAMS = ("dvc", "core-tokens")


class Warm:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        atexit.register(self._process.communicate)

    def run(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], typed: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory() as name:
            streams = [Path(name, stream) for stream in ("in", "out", "err")]
            streams[0].write_text(typed)
            wanted = {
                "command": command, "folder": str(folder), "environment": dict(environment),
                "streams": list(map(str, streams)),
            }  # fmt: skip
            print(json.dumps(wanted), file=self._process.stdin, flush=True)
            code = int(self._process.stdout.readline())
            out, err = (path.read_text() for path in streams[1:])
        return subprocess.CompletedProcess(tuple(command), code, out, err)


@cache
def _of(_process: int, _thread: int) -> Warm:
    return Warm()


def warm() -> Warm:
    """That of a process of the tests; a thread has its own, to run commands at the same time."""
    return _of(os.getpid(), threading.get_ident())


def _forked(wanted: dict[str, object]) -> int:
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = _ended(wanted)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _ended(wanted: dict[str, object]) -> int:
    """In the fork: become the command."""
    command, streams = wanted["command"], wanted["streams"]
    assert isinstance(command, list)
    assert isinstance(streams, list)
    assert isinstance(wanted["environment"], dict)
    for number, name in enumerate(streams):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(name, flags), number)
    os.environ.clear()
    os.environ.update(wanted["environment"])
    os.chdir(str(wanted["folder"]))
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - what was read ahead is not ours
    sys.argv = command
    if command[0] == "dvc":
        from dvc.cli import main

        code = int(main(command[1:]))
    else:
        from core_tokens import cli

        code = cli.main()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _imported() -> None:
    """All that most commands import."""
    import dvc.api
    import dvc.cli
    import dvc.commands.repro
    import dvc.data_cloud
    import dvc.repo.experiments
    import dvc.stage.run  # noqa: F401
    from dvc.cli.parser import get_main_parser

    from core_tokens import cli

    get_main_parser()
    cli.parser()


if __name__ == "__main__":
    _imported()
    for line in sys.stdin:
        print(_forked(json.loads(line)), flush=True)
