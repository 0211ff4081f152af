"""The command line: all of it writes BENCHMARKS.md and docs/growth.svg, parts go to build/."""

import argparse
import sys
import time

from benchmarks import growth, report, rows, workspace
from benchmarks.fetch import fetch

COMPARISONS = {
    "stages": rows.whole_stages,
    "pipelines": rows.pipelines,
    "census": rows.census,
    "cluster": rows.cluster,
    "scan": rows.scan,
    "adjacency": rows.adjacency,
    "fetch": fetch,
}


def main() -> None:
    """Run what was asked for, showing every result as it comes, and write the report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="This project side by side with what a user would do instead.",
    )
    names = [*COMPARISONS, *growth.AXES]
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"only some of: {', '.join(names)}"
    )
    parser.add_argument("--quick", action="store_true", help="growth at small sizes only")
    arguments = parser.parse_args()
    if wrong := set(arguments.parts) - set(names):
        parser.error(f"{', '.join(sorted(wrong))}: not among {', '.join(names)}")
    chosen = arguments.parts or names
    whole = not arguments.parts and not arguments.quick
    workspace.check_data()
    start = time.monotonic()
    found = []
    for name in (name for name in COMPARISONS if name in chosen):
        with workspace.temporary_folder() as folder:
            for row in COMPARISONS[name](folder):
                print(report.row_text(row), flush=True)
                found.append(row)
    curves = growth.measure([a for a in growth.AXES if a in chosen], arguments.quick, _show)
    where = report.write(found, curves, workspace.ROOT if whole else workspace.BUILD)
    print(f"{where} after {(time.monotonic() - start) / 60:.0f} minutes", file=sys.stderr)


def _show(point: growth.Point) -> None:
    print(report.point_text(point), flush=True)


if __name__ == "__main__":
    main()
