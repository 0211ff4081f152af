"""``core-tokens doctor``."""

import argparse

from core_tokens import doctor
from core_tokens.errors import CoreTokensError

HELP = "is everything intact: in the workspace, the cache and the remotes?"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "--remote", dest="remotes", metavar="NAME", action="append",
        help="look at this one alone, or these; by default at all",
    )  # fmt: skip
    parser.add_argument("--fix", action="store_true", help="put right what can be without a loss")


def run(given: argparse.Namespace) -> None:
    """Print what is not as it should be, and how to mend it."""
    report = doctor.examine(given.remotes, fix=given.fix, progress=True)
    for line in report.mended:
        print(f"mended: {line}")
    for finding in report.findings:
        print(f"{'note' if finding.harmless else 'problem'}: {finding}")
    for place, count in report.good.items():
        print(f"{place}: {count:,} read, and as dvc.lock has them")
    if report.problems:
        number = "1 problem" if report.problems == 1 else f"{report.problems} problems"
        raise CoreTokensError("core-tokens doctor", f"{number}, see above", "none")
