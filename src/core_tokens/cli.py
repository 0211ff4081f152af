"""``core-tokens``: what is not a stage."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, get_args

from core_tokens import console, models, params
from core_tokens.checkpoint import Which
from core_tokens.errors import UsageError
from core_tokens.summary import summary


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(
            self.prog,
            f"a command line that does not fit ({message})",
            self.format_usage().removeprefix("usage: "),
        )


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    top = _Parser(prog="core-tokens", description="Run in the folder that holds params.yaml.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add = commands.add_parser("add", help="bring in a model's own files, tracked with DVC")
    add.add_argument("name", metavar="NAME", help="letters a-z, digits and dashes")
    add.add_argument(
        "--embedding",
        type=Path,
        required=True,
        metavar="PATH",
        help="safetensors file, or folder in the Hugging Face layout",
    )
    add.add_argument(
        "--tensor", metavar="KEY", help="the tensor, where it is not found by its name"
    )
    add.add_argument(
        "--which",
        choices=get_args(Which),
        default="unembedding",
        help="the unembedding (where there is one and it is not tied), or the input embedding",
    )
    add.add_argument(
        "--cluster-tokens",
        type=Path,
        metavar="FILE",
        help="safetensors file with cluster_token_ids; without it the cluster is discovered",
    )
    remove = commands.add_parser("remove", help="take a model out again, its data included")
    remove.add_argument("name", metavar="NAME")
    show = commands.add_parser("summary", help="what was found, for people")
    show.add_argument("name", metavar="MODEL", nargs="?", help="all models by default")
    return top


def run(arguments: Sequence[str]) -> None:
    """Carry out one command line."""
    given = parser().parse_args(arguments)
    if given.command == "add":
        place = models.add(
            given.name, given.embedding, given.tensor, given.cluster_tokens, given.which
        )
        print(f"Added {place.key} of {place.path} as {given.name}. To go on:\n")
        print("    dvc repro")
        print(f"    git add params.yaml dvc.lock data/{given.name}")
    elif given.command == "remove":
        models.remove(given.name)
        print(f"Removed {given.name} from params.yaml, dvc.lock and data/; "
              "`dvc gc --workspace` frees the cache.")  # fmt: skip
    else:
        settings = params.load()
        if given.name is not None:
            params.check_listed(given.name, settings.models, "models")
        names = [given.name] if given.name is not None else settings.models
        print("\n\n".join(summary(name, settings) for name in names))


def main() -> int:
    """The entry point of the command ``core-tokens``."""
    return console.run(run)
