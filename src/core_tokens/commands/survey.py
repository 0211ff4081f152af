"""``core-tokens survey``."""

import argparse

from core_tokens.errors import UsageError

HELP = "a core over many checkpoints, on this machine or on a Dask cluster"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("name", metavar="NAME", help="of a survey in params.yaml")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="of a Dask cluster; by default DASK_SCHEDULER_ADDRESS, or one on this machine",
    )  # fmt: skip
    where.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="on this machine, by default one per core; 0: in this process, without Dask",
    )
    parser.add_argument("--store", metavar="PLACE", help="a folder or a URL that keeps the results")


def run(given: argparse.Namespace) -> None:
    """Run a survey, and say what came of it."""
    if given.workers is not None and given.workers < 0:
        raise UsageError("core-tokens survey --workers", str(given.workers), "0 or more")
    from core_tokens.survey import run, summary  # pyarrow takes a while, or is not there

    print(
        summary.text(
            given.name, run.survey(given.name, given.scheduler, given.workers, given.store)
        )
    )
