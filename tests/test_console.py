import errno
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from core_tokens import console
from core_tokens.errors import FileError


def failing(error: BaseException) -> Callable[[Sequence[str]], None]:
    def main(_: Sequence[str]) -> None:
        raise error

    return main


def test_success_is_0_and_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.run(lambda _: None, []) == 0
    assert capsys.readouterr() == ("", "")


def test_a_terminal_without_all_letters_gets_the_others() -> None:
    code = "from core_tokens import console; console.run(lambda _: print('a \u2192 b'))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == b"a \\u2192 b\n"


def test_arguments_are_passed_on() -> None:
    seen: list[str] = []
    console.run(seen.extend, ["a", "b"])
    assert seen == ["a", "b"]


def test_arguments_come_from_the_command_line_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(sys, "argv", ["program", "x", "y"])
    console.run(seen.extend)
    assert seen == ["x", "y"]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (FileError("a\nb", "c", "d"), 1, "error: a b: found c; expected d\n"),
        (
            PermissionError(errno.EACCES, "Permission denied", "data/x"), 1,
            "error: data/x: Permission denied\n",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "error: No space left on device\n"),
        (OSError("something"), 1, "error: something\n"),
        (MemoryError(), 1, "error: not enough memory\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
    ],
)  # fmt: skip
def test_what_a_user_can_cause_is_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    assert console.run(failing(error), []) == code
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("error", [ValueError("a bug"), IndexError("a bug"), RuntimeError("a bug")])
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error), match="a bug"):
        console.run(failing(error), [])


def test_exit_of_the_argument_parser_passes() -> None:
    with pytest.raises(SystemExit, match="2"):
        console.run(failing(SystemExit(2)), [])


def test_stage_gets_its_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(sys, "argv", ["stage", "model"])
    assert console.run_stage(seen.append) == 0
    assert seen == ["model"]


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "b", "c"]])
def test_stage_refuses_another_number_of_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    seen: list[str] = []

    def stage(model: str) -> None:
        seen.append(model)

    monkeypatch.setattr(sys, "argv", ["stage", *arguments])
    assert console.run_stage(stage) == 1
    assert seen == []
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"error: python -m {__name__}: found {len(arguments)} arguments; expected one: the model\n"
    )


def test_a_run_that_is_ended_takes_its_temporary_files_along(tmp_path: Path) -> None:
    code = (
        "import time; from pathlib import Path; from core_tokens import console, files\n"
        "def main(_):\n"
        "    with files.replacing(Path('out')) as (temporary,):\n"
        "        temporary.write_text('half'); print('started', flush=True); time.sleep(60)\n"
        "raise SystemExit(console.run(main, []))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.terminate()
        assert process.wait() == 143
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["extract@tiny", "dvc.yaml:cluster-at@tiny", "a@b@tiny"])
def test_a_stage_that_dvc_runs_finds_its_model_in_the_name_of_the_stage(
    monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    found: list[str] = []
    monkeypatch.setenv("DVC_STAGE", stage)
    monkeypatch.setattr("sys.argv", ["extract"])
    assert console.run_stage(found.append) == 0
    monkeypatch.setattr("sys.argv", ["extract", "other"])  # what is said counts for more
    assert console.run_stage(found.append) == 0
    assert found == ["tiny", "other"]


@pytest.mark.parametrize("stage", ["", "extract"])
def test_a_stage_without_a_model_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    monkeypatch.setenv("DVC_STAGE", stage)
    monkeypatch.setattr("sys.argv", ["extract"])
    assert console.run_stage(lambda _: None) == 1
    assert "found 0 arguments; expected one: the model" in capsys.readouterr().err
