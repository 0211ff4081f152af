"""``core-tokens summary``."""

import argparse

from core_tokens import params
from core_tokens.summary import summary, table

HELP = "what was found, for people"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("name", metavar="MODEL", nargs="?", help="by default all, one line each")


def run(given: argparse.Namespace) -> None:
    """Print what was found in a model, or a line of each."""
    settings = params.load()
    if given.name is not None:
        params.check_listed(given.name, settings.models, "models")
    names = settings.models if given.name is None else [given.name]
    print(table(names) if len(names) > 1 else "".join(summary(n, settings) for n in names))
