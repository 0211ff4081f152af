"""The rows of the table: what is run against what, on which data, and what is to be reached."""

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from benchmarks import functions, workspace
from benchmarks.pairs import (
    Row,
    Side,
    alternate,
    at_least,
    at_most,
    below_mib,
    within_seconds,
)
from benchmarks.processes import Command, Cost, Worker, stage
from benchmarks.workspace import CLUSTER, DATA, MATRIX, REPLICA, ROOT

CORE, MEASUREMENTS = "core_tokens.safetensors", "measurements.safetensors"
NOTEBOOK = ROOT / "benchmarks" / "peers" / "notebook.py"
MANY = 15
"""Pairs where both sides take little time, or the margin is narrow."""
BAND = 20_373
"""Rows with a norm like the cluster's in the real model, whose pairs were looked at."""
SMALL, LARGE = 2000, 4000
"""Rows at which the pairs are really measured."""


def whole_stages(folder: Path) -> Iterator[Row]:
    """Extract and measure against the notebook, as whole processes."""
    notebook = _notebook(folder)
    extract = stage("extract", REPLICA, workspace.project(
        folder / "extract", REPLICA, _linked(MEASUREMENTS, "tokens.csv")
    ))  # fmt: skip
    measure = stage("measure", REPLICA, workspace.project(
        folder / "measure", REPLICA, _linked(MATRIX, CLUSTER, "vocab.json")
    ))  # fmt: skip
    costs = map(Side, alternate(extract, notebook, measure, pairs=MANY))
    ours_extract, theirs, ours_measure = costs
    _same_core(folder / "extract" / "data" / REPLICA / CORE, folder / CORE)
    _same_vectors(folder / "measure" / "data" / REPLICA / MEASUREMENTS)
    peer = "the notebook as a script (torch)"
    yield Row(
        "extract, whole process", peer, ours_extract, theirs,
        [at_least(10, theirs, ours_extract), below_mib(60, ours_extract)],
        "Runs in a folder without W. Both write the same bytes.",
    )  # fmt: skip
    yield Row(
        "measure, whole process", peer, ours_measure, theirs,
        [at_least(7, theirs, ours_measure), below_mib(100, ours_measure)],
    )  # fmt: skip


def pipelines(folder: Path) -> Iterator[Row]:
    """``dvc repro`` after a change of the radius against the same job as one stage."""
    ours, theirs = workspace.clone(folder / "ours"), workspace.peer_pipeline(folder / "theirs")
    radii = (2.5 + nth / 1024 for nth in itertools.count(1))  # none twice: DVC would remember it

    def repro(repository: Path, *targets: str) -> Command:
        return Command(
            ["dvc", "repro", "--quiet", *targets], repository, workspace.site_cache(repository),
            lambda: workspace.set_radius(repository, next(radii)),
        )  # fmt: skip

    core, peer, single = map(Side, alternate(
        repro(ours, f"extract@{REPLICA}"), repro(theirs),
        repro(ours, "--single-item", f"extract@{REPLICA}"), pairs=MANY,
    ))  # fmt: skip
    everything, beside = map(Side, alternate(repro(ours), repro(theirs)))
    for repository in (ours, theirs):
        workspace.set_radius(repository, 3.5)
        workspace.dvc(repository, "repro", "--quiet")
    _same_core(ours / "data" / REPLICA / CORE, theirs / CORE)
    name = "a pipeline of one stage: the notebook, W a dependency"
    yield Row(
        "`dvc repro extract@MODEL`, new radius", name, core, peer, [at_least(2, peer, core)],
        "The same job: a core file. Time and memory are those of DVC and the stage together.",
    )  # fmt: skip
    yield Row(
        "`dvc repro --single-item extract@MODEL`, new radius", name, single, peer, (),
        "Does not look whether the stages before it are up to date.",
    )  # fmt: skip
    yield Row(
        "`dvc repro`, new radius", name, everything, beside, (),
        "Analyses the structure and draws the pictures besides, which the peer does not.",
    )  # fmt: skip


def census(_: Path) -> Iterator[Row]:
    """Identical rows of the whole matrix, against a sort and against memory."""
    path = DATA / MATRIX
    with Worker(partial(functions.census, path)) as ours:
        for name, load in (
            ("torch.unique(dim=0) of the bits as int32", functions.census_by_sorting),
            ("the same, two values as one int32", functions.census_by_sorting_packed),
        ):
            with Worker(partial(load, path)) as sort:
                costs, theirs = map(Side, alternate(ours, sort))
                _same_partition(ours.answer().group_of_row, sort.answer()[0])
            first = load is functions.census_by_sorting
            yield Row(
                "census of identical rows, pure", f"{name}, with inverse and counts", costs, theirs,
                [at_least(100, theirs, costs), below_mib(150, costs)] if first else (),
            )  # fmt: skip
        yield _passes("census of identical rows, pure", 5, ours, path)


def cluster(folder: Path) -> Iterator[Row]:
    """The whole stage against all pairs, measured on few rows and extrapolated."""
    origin = _first_token_of_origin()
    found = folder / "cluster.npy"

    def pairs(rows: int, method: str) -> Command:
        module = [sys.executable, "-m", "benchmarks.peers.clusters"]
        arguments = [str(DATA / MATRIX), str(origin), str(rows), method, str(found)]
        return Command([*module, *arguments], ROOT)

    here = workspace.project(folder / "cluster", REPLICA, _linked(MATRIX, "vocab.json"))
    small, large = _Split(pairs(SMALL, "differences")), _Split(pairs(LARGE, "differences"))
    ours, _, last = map(Side, alternate(stage("cluster", REPLICA, here), small, large))
    token_ids = load_file(here / "data" / REPLICA / CLUSTER)["cluster_token_ids"]
    _same("the cluster", token_ids, np.load(found))
    growth = large.median / small.median
    at_band = (BAND / LARGE) ** 2 - 1
    theirs = Side([
        Cost(cost.seconds + inner * at_band, cost.own_bytes)
        for cost, inner in zip(last.costs, large.inner[1:], strict=True)
    ])  # fmt: skip
    yield Row(
        "cluster, whole process", f"all pairs of {BAND:,} rows in a band of norms (torch.cdist)",
        ours, theirs, [at_least(500, theirs, ours), within_seconds(1.5, ours)],
        f"**Extrapolated.** The pairs took {small.median:.2f} s at {SMALL:,} rows and "
        f"{large.median:.2f} s at {LARGE:,}, {growth:.1f} times as long for 4 times the pairs; "
        f"those of {LARGE:,} rows are taken {at_band + 1:.1f} times, the rest of the process once. "
        "Differences in float32, in chunks of 512 rows; memory is that of the measured run. "
        f"The peer is told where to look, at the {BAND:,} norms nearest to the Big One's; ours "
        "looks at all rows.",
    )  # fmt: skip
    products = pairs(BAND, "products")
    ours, theirs = map(Side, alternate(stage("cluster", REPLICA, here), products))
    _same("the cluster by products", token_ids, np.load(found))
    yield Row(
        "cluster, whole process", f"the same by products of matrices, all {BAND:,} rows measured",
        ours, theirs, (),
        "Distances as |a|² + |b|² - 2ab in float32, which cancels for near rows: it finds the same "
        "here, where no distance lies near the threshold.",
    )  # fmt: skip


def scan(_: Path) -> Iterator[Row]:
    """Distances of every row from the origin, against torch and against memory."""
    path, origin = DATA / MATRIX, _first_token_of_origin()
    ulp = load_file(DATA / MEASUREMENTS)["ulp"]
    with Worker(partial(functions.scan, path, origin)) as ours:
        with Worker(partial(functions.scan_by_chunks, path, origin)) as chunks:
            costs, theirs = map(Side, alternate(ours, chunks, pairs=MANY))
            _same("the distances", ours.answer(), chunks.answer() / ulp)
        yield Row(
            "distances of every row from the Big One, pure",
            "torch, in chunks: subtract, abs, amax in bfloat16",
            costs, theirs, [at_least(3, theirs, costs)],
        )  # fmt: skip
        yield _passes("distances of every row from the Big One, pure", 3, ours, path)


def adjacency(_: Path) -> Iterator[Row]:
    """Neighbours among the distinct vectors of the default model, against a loop."""
    path = DATA / MEASUREMENTS
    peers: list[tuple[str, Callable[[Path], functions.Function]]] = [
        ("a loop over vectors and dimensions, a set of tuples", functions.neighbours_by_tuples),
        ("the same with a set of bytes", functions.neighbours_by_bytes),
    ]
    with Worker(partial(functions.neighbours, path)) as ours:
        for name, load in peers:
            with Worker(partial(load, path)) as loop:
                costs, theirs = map(Side, alternate(ours, loop))
                edges = {(a, b) for a, b in ours.answer().face.edges.tolist()}
                _same("the neighbours", sorted(edges), sorted(loop.answer()))
            first = load is functions.neighbours_by_tuples
            yield Row(
                "adjacency, pure", name, costs, theirs,
                [at_least(500, theirs, costs)] if first else (),
                "The peer finds the pairs one step apart in one dimension; ours those, the pairs "
                "at most one step apart in all, and the components of both." if first else "",
            )  # fmt: skip


def _passes(work: str, limit: float, ours: Worker, path: Path) -> Row:
    with Worker(partial(functions.xor_pass, path)) as one:
        costs, theirs = map(Side, alternate(ours, one, pairs=MANY))
    return Row(
        work, "one XOR over all bytes of W", costs, theirs, [at_most(limit, costs, theirs)],
        passes=True,
    )  # fmt: skip


class _Split:
    """A peer that prints how long the part took that grows with the square of the rows."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self.inner: list[float] = []

    def run(self) -> Cost:
        cost = self._command.run()
        self.inner.append(float(self._command.output))
        return cost

    @property
    def median(self) -> float:
        return float(np.median(self.inner[1:]))


def _notebook(folder: Path) -> Command:
    return Command([sys.executable, str(NOTEBOOK), str(DATA), "3.0", str(folder / CORE)], folder)


def _linked(*names: str) -> dict[str, Path]:
    return {name: DATA / name for name in names}


def _first_token_of_origin() -> int:
    token: int = json.loads((DATA / "measure.json").read_text())["origin"]["token"]
    return token


def _same(what: str, ours: Any, theirs: Any) -> None:
    """A peer that computes something else is no peer."""
    if not np.array_equal(ours, theirs):
        raise SystemExit(f"{what}: the peer has another answer than ours")


def _same_core(ours: Path, theirs: Path) -> None:
    _same("the core", np.fromfile(ours, np.uint8), np.fromfile(theirs, np.uint8))


def _same_vectors(measurements: Path) -> None:
    _same("measurements", measurements.read_bytes(), (DATA / MEASUREMENTS).read_bytes())


def _same_partition(ours: Any, theirs: Any) -> None:
    """Two numberings of groups, whose numbers may differ."""
    pairs = len(np.unique(ours.astype(np.int64) * (theirs.max() + 1) + theirs))
    _same("the groups", [len(np.unique(ours)), pairs], [len(np.unique(theirs))] * 2)
