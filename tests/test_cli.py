import argparse
from importlib.metadata import version
from pathlib import Path

import pytest

from core_tokens import cli
from core_tokens.errors import UsageError
from project import Project, check_refusal

COMMANDS = {"add", "diff", "doctor", "remote", "remove", "report", "summary", "survey", "tag"}


def commands() -> dict[str, argparse.ArgumentParser]:
    actions = cli.parser()._subparsers
    assert actions is not None
    (choice,) = actions._group_actions
    assert isinstance(choice.choices, dict)
    return choice.choices


def test_commands_are_those_that_are_documented() -> None:
    assert commands().keys() == COMMANDS


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["add"], ["add", "x"], ["remove"]])
def test_incomplete_command_line_is_refused_with_the_usage(arguments: list[str]) -> None:
    message = r"^core-tokens.*: found a command line that does not fit \(.*\); expected core-tokens"
    with pytest.raises(UsageError, match=message):
        cli.run(arguments)


def test_process_without_a_command_says_so_in_one_line(tmp_path: Path) -> None:
    done = Project(tmp_path).command_process()
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: core-tokens: found a command line that does not fit")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("command", ["", *sorted(COMMANDS)])
def test_help_exits_0(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.run([*command.split(), "--help"])
    out, err = capsys.readouterr()
    assert out.startswith(f"usage: core-tokens {command}".rstrip())
    assert err == ""


def test_help_says_something_of_every_argument() -> None:
    for name, command in commands().items():
        for action in command._actions:
            assert action.help, (name, action.dest)


@pytest.mark.parametrize(
    "arguments", [["add", "x", "--embedding", "W"], ["remove", "x"], ["summary"], ["report"]]
)
def test_command_outside_a_project_says_where_to_run(tmp_path: Path, arguments: list[str]) -> None:
    check_refusal(
        Project(tmp_path).command_here(*arguments), "params.yaml", "the folder that holds"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argument", ["--tensor=--", "--embedding=--"])
def test_an_option_whose_value_is_two_dashes_is_refused(argument: str) -> None:
    with pytest.raises(UsageError, match=rf"found {argument}; expected .*=VALUE"):
        cli.run(["add", "x", "--embedding", "y", argument])


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.run(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"core-tokens {version('core-tokens')}\n"
