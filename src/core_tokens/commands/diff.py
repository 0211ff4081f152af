"""``core-tokens diff``."""

import argparse

from core_tokens import comparison, revisions
from core_tokens.comparison_markdown import markdown
from core_tokens.errors import UsageError

HELP = "what changed between two revisions, as Markdown for a review"
CHANGED = 2


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("before", metavar="REV", nargs="?", default="HEAD", help="by default HEAD")
    parser.add_argument("after", metavar="REV", nargs="?", help="by default the working tree")
    parser.add_argument(
        "--exit-code", action="store_true", help=f"exit with {CHANGED} if anything changed"
    )
    parser.add_argument(
        "--tokens", type=_number, metavar="N", default=50,
        help="list so many tokens that entered a core, and that left; by default 50",
    )  # fmt: skip


def run(given: argparse.Namespace) -> int:
    """Print what changed; the exit code."""
    before = revisions.resolve(given.before, "core-tokens diff")
    after = revisions.Revision(revisions.WORKSPACE)
    if given.after is not None:
        after = revisions.resolve(given.after, "core-tokens diff")
    found = comparison.compare(before, after)
    print(markdown(found, given.tokens), end="")
    return CHANGED if given.exit_code and found.any else 0


def _number(text: str) -> int:
    if not text.isdecimal():
        raise UsageError("core-tokens diff --tokens", repr(text), "a number, 0 or more")
    return int(text)
