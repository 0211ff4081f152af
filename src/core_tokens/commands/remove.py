"""``core-tokens remove``."""

import argparse

from core_tokens import models

HELP = "take a model out again, its data included"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("name", metavar="NAME", help="of the model")


def run(given: argparse.Namespace) -> None:
    """Take a model out, and say what is left of it."""
    models.remove(given.name)
    print(
        f"Removed {given.name} from params.yaml, dvc.yaml, dvc.lock and data/; "
        "`dvc gc --workspace` frees the cache."
    )
