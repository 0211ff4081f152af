"""How cost grows: with rows, with dimensions, with the cluster's tokens, with its distinct vectors.

Each point runs in a process of its own on a matrix that was made for it and is deleted afterwards.
"""

import math
import os
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from safetensors.numpy import load_file

from benchmarks import functions
from benchmarks.matrices import MODEL, Model, Shape, make
from benchmarks.processes import Contender, Cost, Worker, bytes_from_disk, stage
from benchmarks.workspace import BUILD, CLUSTER, MATRIX, temporary_folder

RUNS = 3
LONG = 20.0
"""Seconds after which a first run is not repeated."""
ROOM = 4 << 30
"""Bytes of disk, and of memory beside the page cache of the file, that are left alone."""
UPPER = 3
"""Points at the upper end that an exponent is fitted to."""
LINEAR = 1.15
"""An exponent up to this one counts as linear."""

PURE, STAGES = ("census", "scan"), ("cluster", "measure", "extract", "analyse")
ALL = "census", "scan", "cluster", "measure", "extract", "analyse", "adjacency"
"""What is measured; the first two and the last are pure functions, the others whole processes."""


@dataclass(frozen=True)
class Axis:
    """One quantity that grows.

    Attributes:
        title: what it is.
        field: which of a shape's.
        shape: what does not grow.
        series: what is measured.
        sizes: all of them.
        quick: those of a quick run.
    """

    title: str
    field: str
    shape: Shape
    series: Sequence[str]
    sizes: Sequence[int]
    quick: Sequence[int]

    def at(self, size: int) -> Shape:
        """The shape at a size."""
        sizes = {self.field: size}
        if self.field == "tokens":  # no more vectors than tokens
            sizes["vectors"] = min(self.shape.vectors, size // 2)
        return replace(self.shape, **sizes)


AXES = {
    "rows": Axis(
        "rows", "rows", Shape(), [*PURE, "cluster", "measure"],
        [10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000], [10_000, 30_000, 100_000],
    ),
    "dims": Axis(
        "dimensions", "dims", Shape(rows=30_000), [*PURE, "cluster", "measure"],
        [64, 256, 1024, 4096, 16_384], [64, 256, 1024],
    ),
    "tokens": Axis(
        "tokens of the cluster", "tokens", Shape(rows=120_000), STAGES,
        [100, 1000, 10_000, 30_000, 100_000], [100, 1000, 10_000],
    ),
    "vectors": Axis(
        "distinct vectors of the cluster", "vectors", Shape(rows=60_000, tokens=30_000),
        [*STAGES, "adjacency"], [10, 100, 1000, 5000, 20_000], [10, 100, 1000],
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """What one thing cost at one size."""

    axis: str
    series: str
    size: int
    cost: Cost


@dataclass(frozen=True)
class Curves:
    """All points, what was read from disk by a cold run, and what there was no room for."""

    points: Sequence[Point]
    cold: "Cold | None"
    skipped: Sequence[str]

    def series(self, axis: str, name: str) -> list[Point]:
        """The points of one curve, by rising size."""
        return [p for p in self.points if (p.axis, p.series) == (axis, name)]


@dataclass(frozen=True)
class Cold:
    """The cluster stage on a file of which the page cache held nothing.

    Attributes:
        file_bytes: its size.
        read_bytes: what the process read from the disk, its program included.
        again_bytes: what it read when it ran again.
        seconds: how long it took the first time.
    """

    file_bytes: int
    read_bytes: int
    again_bytes: int
    seconds: float


def exponent(points: Sequence[Point]) -> float:
    """The slope of log time to log size over the upper sizes: 1 is linear. NaN of one point."""
    upper = points[-UPPER:]
    if len(upper) < 2:
        return math.nan
    sizes, seconds = ([math.log(v) for v in vs] for vs in zip(
        *[(p.size, p.cost.seconds) for p in upper], strict=True
    ))  # fmt: skip
    return statistics.linear_regression(sizes, seconds).slope


def bytes_per_unit(points: Sequence[Point]) -> float:
    """How much more memory of its own one more row (or token …) takes, over the upper sizes."""
    upper = points[-UPPER:]
    if len(upper) < 2:
        return math.nan
    return (upper[-1].cost.own_bytes - upper[0].cost.own_bytes) / (upper[-1].size - upper[0].size)


def measure(axes: Sequence[str], quick: bool, show: Callable[[Point], None]) -> Curves:
    """Measure some of the ``AXES``, one matrix at a time."""
    points: list[Point] = []
    skipped: list[str] = []
    cold = None
    for name in axes:
        axis = AXES[name]
        sizes = axis.quick if quick else axis.sizes
        for size in sizes:
            shape = axis.at(size)
            if why := no_room(shape):
                skipped.append(f"{size:,} {axis.title}: {why}")
                continue
            with temporary_folder() as folder:
                model = make(folder, shape)
                for series, cost in costs(model, axis.series):
                    points.append(Point(name, series, size, cost))
                    show(points[-1])
                if name == "rows" and size == sizes[min(3, len(sizes) - 1)]:
                    cold = run_cold(model)
    return Curves(points, cold, skipped)


def no_room(shape: Shape) -> str:
    """Why a matrix cannot be made here; empty if it can."""
    BUILD.mkdir(exist_ok=True)
    disk = shutil.disk_usage(BUILD).free
    lines = Path("/proc/meminfo").read_text().splitlines()
    memory = next(int(li.split()[1]) * 1024 for li in lines if li.startswith("MemAvailable:"))
    for free, where in ((disk, "on disk"), (memory, "in memory")):
        if shape.nbytes + ROOM > free:
            return f"{shape.nbytes / 1e9:.1f} GB, and {free / 1e9:.1f} are free {where}"
    return ""


def costs(model: Model, series: Sequence[str]) -> Iterator[tuple[str, Cost]]:
    """Measure on one matrix; a stage finds what the one before it wrote."""
    path, measurements = model.data / MATRIX, model.data / "measurements.safetensors"
    for name in series:
        if name in STAGES:
            yield name, settled(stage(name, MODEL, model.folder))
        else:
            load = {
                "census": partial(functions.census, path),
                "scan": partial(functions.scan, path, model.origin),
                "adjacency": partial(functions.neighbours, measurements),
            }[name]
            with Worker(load) as worker:
                yield name, settled(worker)
        if name == "cluster":
            found = load_file(model.data / CLUSTER)["cluster_token_ids"]
            if len(found) != model.shape.tokens:
                raise SystemExit(f"{model.shape}: a cluster of {len(found)} tokens was found")


def settled(contender: Contender) -> Cost:
    """The median seconds of some runs after a first, and the peak of all; a long one is enough."""
    runs = [contender.run()]
    if runs[0].seconds < LONG:
        runs += [contender.run() for _ in range(RUNS)]
    later = runs[1:] or runs
    return Cost(
        statistics.median(run.seconds for run in later), max(run.own_bytes for run in runs)
    )  # fmt: skip


def run_cold(model: Model) -> Cold:
    """Drop the matrix from the page cache and find its cluster, twice."""
    path = model.data / MATRIX
    with path.open("rb") as file:
        os.fsync(file.fileno())  # a page that is not on the disk yet would stay
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before = bytes_from_disk()
    cost = stage("cluster", MODEL, model.folder).run()
    first = bytes_from_disk()
    stage("cluster", MODEL, model.folder).run()
    return Cold(path.stat().st_size, first - before, bytes_from_disk() - first, cost.seconds)
