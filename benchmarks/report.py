"""From results to BENCHMARKS.md: tables for people, every number from the run."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import machine, picture
from benchmarks.growth import (
    ALL,
    AXES,
    LINEAR,
    RUNS,
    STAGES,
    UPPER,
    Curves,
    Point,
    bytes_per_unit,
    exponent,
)
from benchmarks.pairs import PAIRS, Ratio, Row
from core_tokens.files import write_all

INTRO = f"""\
# Benchmarks

What this project costs beside what a user would do instead. `make bench` runs all of it again and
writes this file; every number below is from one run.

**How it is measured.** Ours and the peer run in alternation, A B A B …, on the same data, at least
{PAIRS} pairs after a turn that warms up. The ratio is the median of the pairs, with the least and
the most in brackets: other work on the machine slows both of a pair, so ratios say more than
seconds, which are medians. A *whole process* counts from its start to its end, imports included. A
*pure* function is called in a process that has loaded or mapped its inputs. Memory is the peak of
what a process and its children allocate for themselves, without the pages of a mapped file; of a
pure function, what the calls add. The data are those of the default model, a matrix of 151,936 x
2,560 bfloat16 (778 MB) in the page cache. Each peer is a plain statement of the published procedure
(`benchmarks/peers/`), and must give the same answer as ours before its time counts.
"""
HOW_COST_GROWS = f"""\
Matrices made for this, seeded: noise as in the default model and one cluster in it. Each point is a
process of its own; seconds are the median of {RUNS} runs after a first, or of the only one if that
took long. {", ".join(STAGES)} are whole processes, the others pure functions. The
*exponent* is the slope of log time to log size over the {UPPER} largest sizes: 0 does not grow, 1
is linear; above {LINEAR:g} it is marked with ▲. *Bytes each* is the own memory that one more row,
dimension, token or vector takes, over the same sizes.

![Time and memory against size](docs/growth.svg)
"""
AGAIN = """\
## Run it again

```console
$ make repro
$ make bench
```

takes about half an hour. The largest matrix needs 20 GB of disk and as much memory to stay in the
page cache; it is deleted afterwards, and what does not fit is left out and said.
`make bench BENCH=--quick` measures growth at small sizes, `make bench BENCH="census rows"` runs
parts (`python -m benchmarks --help` names them); both write to `build/` instead.
"""
MEMORY_SPEED = """\
## Against the speed of memory

One pass is `np.bitwise_xor.reduce` over all bytes of the mapped matrix, on one core.

| | work | passes | s | s of one pass | MiB | goal |
|---|---|---|---|---|---|---|"""


def write(rows: Sequence[Row], curves: Curves, folder: Path) -> Path:
    """Write BENCHMARKS.md and docs/growth.svg into a folder."""
    path, drawing = folder / "BENCHMARKS.md", folder / "docs" / "growth.svg"
    drawing.parent.mkdir(parents=True, exist_ok=True)
    files: dict[Path, str | bytes] = {path: "\n".join(_sections(rows, curves))}
    if curves.points:
        files[drawing] = picture.growth(curves)
    write_all(files)
    return path


def _sections(rows: Sequence[Row], curves: Curves) -> Iterator[str]:
    yield INTRO
    yield from (f"- {line}" for line in machine.description())
    peers, passes = ([r for r in rows if r.passes is kind] for kind in (False, True))
    goals = [goal for row in rows for goal in row.goals]
    missed = [f"{row.work}: {goal.text}" for row in rows for goal in row.goals if not goal.held]
    if goals:
        yield f"\n{len(goals) - len(missed)} of {len(goals)} goals were held in this run."
        yield from (f"Missed: {each}." for each in missed)
    if peers:
        yield "\n## Side by side\n"
        yield "| | work | instead | times faster | s | s instead | MiB | MiB instead | goal |"
        yield "|---|---|---|---|---|---|---|---|---|"
        yield from _lines(peers, 1)
        yield ""
        yield from _notes(peers)
    if passes:
        yield f"\n{MEMORY_SPEED}"
        for number, row in enumerate(passes, len(peers) + 1):
            yield _line(
                number, row.work, _ratio(row.ratio, ""), _seconds(row.ours.seconds),
                _seconds(row.theirs.seconds), _mib(row.ours.own_bytes), _goals(row),
            )  # fmt: skip
    if curves.points:
        yield from _growth(curves)
    yield f"\n{AGAIN}"


def _lines(rows: Sequence[Row], first: int) -> Iterator[str]:
    for number, row in enumerate(rows, first):
        yield _line(
            number, row.work, row.peer, _ratio(row.ratio, "x"), _seconds(row.ours.seconds),
            _seconds(row.theirs.seconds), _mib(row.ours.own_bytes), _mib(row.theirs.own_bytes),
            _goals(row),
        )  # fmt: skip


def _notes(rows: Sequence[Row]) -> Iterator[str]:
    for number, row in enumerate(rows, 1):
        if row.note:
            yield f"- Row {number}: {row.note}"


def _growth(curves: Curves) -> Iterator[str]:
    yield "\n## How cost grows\n"
    yield HOW_COST_GROWS
    for axis, shape in AXES.items():
        there = [(name, curves.series(axis, name)) for name in ALL]
        there = [(name, points) for name, points in there if points]
        if not there:
            continue
        sizes = sorted({point.size for _, points in there for point in points})
        yield f"**{shape.title.capitalize()}** ({_fixed(axis)}); seconds / own MiB:\n"
        yield _line("", *[f"{size:,}" for size in sizes], "exponent", "bytes each")
        yield _line(*["---"] * (len(sizes) + 3))
        for name, points in there:
            cells = {point.size: _cell(point) for point in points}
            yield _line(
                name, *[cells.get(size, "") for size in sizes], _exponent(exponent(points)),
                _number(bytes_per_unit(points)),
            )  # fmt: skip
        yield ""
    yield from (f"No room for {each}." for each in curves.skipped)
    if cold := curves.cold:
        yield (
            "**Each page once.** With nothing of a matrix of "
            f"{cold.file_bytes / 1e9:.2f} GB in the page cache, the whole cluster stage read "
            f"{cold.read_bytes / 1e9:.2f} GB from the disk, "
            f"{cold.read_bytes / cold.file_bytes:.2f} times the file, with all that its program "
            f"loads, in {cold.seconds:.1f} s; run again it read {cold.again_bytes / 1e6:.1f} MB."
        )


def _fixed(axis: str) -> str:
    shape, field = AXES[axis].shape, AXES[axis].field
    parts = {
        "rows": f"{shape.rows:,} rows",
        "dims": f"{shape.dims:,} dimensions",
        "tokens": f"{shape.tokens:,} tokens in the cluster",
        "vectors": f"{shape.vectors:,} distinct vectors",
    }
    return ", ".join(text for name, text in parts.items() if name != field)


def row_text(row: Row) -> str:
    """A row as the terminal shows it while the run goes on."""
    unit = " passes" if row.passes else "x faster"
    return (
        f"{row.work} | {row.peer}: {_ratio(row.ratio, unit)}, "
        f"{_seconds(row.ours.seconds)} s and {_seconds(row.theirs.seconds)} s, "
        f"{_mib(row.ours.own_bytes)} and {_mib(row.theirs.own_bytes)} MiB; {_goals(row)}"
    )


def point_text(point: Point) -> str:
    """A point as the terminal shows it."""
    return f"{point.size:,} {AXES[point.axis].title}: {point.series} {_cell(point)} MiB"


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _goals(row: Row) -> str:
    held = {True: "held", False: "**missed**"}
    return "; ".join(f"{goal.text}: {held[goal.held]}" for goal in row.goals) or "for information"


def _ratio(value: Ratio, unit: str) -> str:
    return f"{_number(value.median)}{unit} ({_number(value.least)} to {_number(value.most)})"


def _cell(point: Point) -> str:
    return f"{_seconds(point.cost.seconds)} / {_mib(point.cost.own_bytes)}"


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _mib(value: int) -> str:
    return f"{value / 2**20:,.0f}"


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def _exponent(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}{' ▲' if value > LINEAR else ''}"
