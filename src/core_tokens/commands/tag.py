"""``core-tokens tag``."""

import argparse

from core_tokens.releases import release

HELP = "make a version of a core, for `dvc artifacts get`"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("version", metavar="VERSION", help="semantic, such as 1.0.0")
    parser.add_argument("name", metavar="MODEL", nargs="?", help="where there are several")


def run(given: argparse.Namespace) -> None:
    """Tag the present commit, and say how others get it."""
    made = release(given.version, given.name)
    print(f"Tagged {made.tag}: {made.message}. To share it:\n")
    print(f"    dvc push extract@{made.model}")
    print(f"    git push origin {made.tag}")
