"""``core-tokens``: what is not a stage."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from core_tokens import console, params
from core_tokens.commands import (
    add,
    diff,
    doctor,
    remote,
    remove,
    report,
    summary,
    survey,
    tag,
)
from core_tokens.errors import UsageError
from core_tokens.files import sweep

COMMANDS: dict[str, Any] = {
    "add": add,
    "remove": remove,
    "summary": summary,
    "survey": survey,
    "report": report,
    "diff": diff,
    "tag": tag,
    "remote": remote,
    "doctor": doctor,
}


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(
            self.prog,
            f"a command line that does not fit ({message})",
            self.format_usage().removeprefix("usage: "),
        )


class _Version(argparse.Action):
    """Looked up only if it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import version

        print(f"{parser.prog} {version('core-tokens')}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    top = _Parser(prog="core-tokens", description="Run in the folder that holds params.yaml.")
    top.add_argument("--version", action=_Version, nargs=0, help="print it and exit")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.arguments(commands.add_parser(name, help=command.HELP))
    return top


def run(arguments: Sequence[str]) -> int | None:
    """Carry out one command line; the exit code, where a command has one of its own."""
    for argument in arguments:
        if argument.endswith("=--"):  # of which argparse makes an empty list
            raise UsageError("core-tokens", argument, f"{argument[:-2]}VALUE")
    given = parser().parse_args(arguments)
    if params.PATH.is_file():
        sweep(Path(), *Path("data").glob("**/"))
    code: int | None = COMMANDS[given.command].run(given)
    return code


def main() -> int:
    """The entry point of the command ``core-tokens``."""
    return console.run(run)
