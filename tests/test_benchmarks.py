import itertools
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks import growth, picture, report
from benchmarks.matrices import Shape, cluster_vectors, make
from benchmarks.pairs import (
    Row,
    Side,
    alternate,
    at_least,
    at_most,
    below_mib,
    ratio,
    within_seconds,
)
from benchmarks.peers import adjacency as adjacency_peer
from benchmarks.peers import census as census_peer
from benchmarks.peers import clusters as clusters_peer
from benchmarks.peers import scan as scan_peer
from benchmarks.processes import Command, Cost, Worker, bytes_from_disk
from numpy.typing import NDArray

from core_tokens.bits import ulp_exponent
from core_tokens.clusters import find_cluster
from core_tokens.groups import identical_rows
from core_tokens.scan import scan
from core_tokens.structure.adjacency import adjacency
from core_tokens.tensors import map_matrix

MIB = 1 << 20
SHAPE = Shape(rows=600, dims=64, tokens=60, vectors=12)
HOLD = "import time; held = b'x' * (50 << 20); time.sleep(0.1)"


def side(*seconds: float) -> Side:
    return Side([Cost(each, int(each) * MIB) for each in seconds])


class Named:
    """A contender that writes down when it was run."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def run(self) -> Cost:
        self.log.append(self.name)
        return Cost(len(self.log), 0)


# ---- pairs -----------------------------------------------------------------------------------


def test_contenders_alternate_and_the_first_turn_does_not_count() -> None:
    log: list[str] = []
    ours, theirs = alternate(Named("A", log), Named("B", log), pairs=3)
    assert log == ["A", "B"] * 4
    assert [cost.seconds for cost in ours] == [3, 5, 7]
    assert [cost.seconds for cost in theirs] == [4, 6, 8]


def test_the_ratio_is_of_each_pair_and_then_the_median() -> None:
    found = ratio(side(10, 40, 90), side(1, 2, 3))
    assert (found.median, found.least, found.most) == (20, 10, 30)


def test_a_goal_is_held_at_its_limit_and_missed_beyond() -> None:
    slow, fast = side(10, 20, 30), side(1, 2, 3)
    assert at_least(10, slow, fast).held
    assert not at_least(10.1, slow, fast).held
    assert at_most(10, slow, fast).held
    assert not at_most(9.9, slow, fast).held
    assert within_seconds(2, fast).held
    assert not within_seconds(1.9, fast).held
    assert below_mib(31, slow).held
    assert not below_mib(30, slow).held


# ---- processes -------------------------------------------------------------------------------


def fifty_mib() -> Any:
    return lambda: np.ones(50 * MIB, np.uint8).sum()


def fifty_mib_before() -> Any:
    loaded = np.ones(50 * MIB, np.uint8)
    return lambda: loaded[:5]


def test_memory_of_a_function_is_what_its_calls_add() -> None:
    with Worker(fifty_mib) as worker:
        assert 45 * MIB < max(worker.run().own_bytes for _ in range(3)) < 70 * MIB
        assert worker.answer() == 50 * MIB
    with Worker(fifty_mib_before) as worker:
        assert worker.run().own_bytes < 5 * MIB
        assert worker.answer().tolist() == [1] * 5


@pytest.mark.parametrize("shell", [False, True])
def test_memory_of_a_process_is_its_own_and_that_of_its_children(
    tmp_path: Path, shell: bool
) -> None:
    command = [sys.executable, "-c", HOLD]
    if shell:
        command = [
            sys.executable,
            "-c",
            f"import subprocess; subprocess.run({command}, check=True)",
        ]
    cost = Command(command, tmp_path).run()
    assert 50 * MIB < cost.own_bytes < 90 * MIB
    assert cost.seconds > 0.1


def test_pages_of_a_mapped_file_are_not_counted(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(50 * MIB))
    touch = (
        "import mmap, time; f = open('file'); m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)"
    )
    command = [sys.executable, "-c", f"{touch}; m.find(b'x'); time.sleep(0.1)"]
    assert Command(command, tmp_path).run().own_bytes < 30 * MIB


def test_a_command_prepares_before_each_run_and_keeps_what_was_printed(tmp_path: Path) -> None:
    number = itertools.count()
    path = tmp_path / "number"
    command = Command(
        [sys.executable, "-c", "import os; print(open('number').read(), os.environ['MORE'])"],
        tmp_path, {"MORE": "too"}, lambda: path.write_text(str(next(number))),
    )  # fmt: skip
    command.run()
    command.run()
    assert command.output == "1 too\n"


def test_a_command_that_fails_ends_the_run_with_its_message(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"(?s)exited 3.*broken"):
        Command([sys.executable, "-c", "import sys; print('broken', file=sys.stderr); sys.exit(3)"],
                tmp_path).run()  # fmt: skip


def test_bytes_from_disk_never_fall() -> None:
    before = bytes_from_disk()
    assert bytes_from_disk() >= before >= 0


# ---- peers give the answers that ours give ------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[NDArray[Any], int]:
    made = make(tmp_path_factory.mktemp("made"), SHAPE)
    return np.array(map_matrix(made.data / "W.safetensors")), made.origin


def test_a_made_matrix_has_the_cluster_that_was_asked_for(model: tuple[NDArray[Any], int]) -> None:
    found = find_cluster(model[0], 0.002)
    assert (len(found.token_ids), found.vectors) == (SHAPE.tokens, SHAPE.vectors)
    assert model[1] in found.token_ids
    assert len(found.groups.first) == SHAPE.rows - SHAPE.tokens + SHAPE.vectors


@pytest.mark.parametrize("peer", [census_peer.identical_rows, census_peer.identical_rows_packed])
def test_the_peer_of_the_census(model: tuple[NDArray[Any], int], peer: Any) -> None:
    ours = identical_rows(model[0])
    group_of_row, sizes = peer(model[0])
    assert sorted(sizes) == sorted(ours.sizes)
    assert len(np.unique(np.stack([ours.group_of_row, group_of_row]), axis=1).T) == len(sizes)


def test_the_peer_of_the_scan(model: tuple[NDArray[Any], int]) -> None:
    matrix, token = model
    theirs = scan_peer.largest_differences(matrix, matrix[token])
    ulp = np.float32(2.0 ** ulp_exponent(matrix[token]))
    assert np.array_equal(scan(matrix, matrix[token]), theirs / ulp)


@pytest.mark.parametrize("method", clusters_peer.METHODS)
def test_the_peer_of_the_cluster(model: tuple[NDArray[Any], int], method: str) -> None:
    rows = torch.from_numpy(model[0].astype(np.float32))
    ours = find_cluster(model[0], 0.002).token_ids
    assert clusters_peer.largest_component(rows, 0.002, method).tolist() == ours.tolist()


@pytest.mark.parametrize("peer", [adjacency_peer.of_tuples, adjacency_peer.of_bytes])
def test_the_peer_of_adjacency(peer: Any) -> None:
    steps = np.unique(np.random.default_rng(3).integers(0, 2, (20, 6)), axis=0)
    vectors = cluster_vectors(1, 6, np.random.default_rng(0)).repeat(len(steps), axis=0)
    vectors = (vectors.view(np.int16) + steps).astype(np.int16).view(vectors.dtype)
    found = adjacency(vectors, np.ones(len(vectors), np.int64)).face.edges
    assert len(found) > 5
    assert peer(vectors) == {(min(a, b), max(a, b)) for a, b in found.tolist()}


# ---- growth and report -------------------------------------------------------------------------


def points(series: str, power: float) -> list[growth.Point]:
    return [
        growth.Point("rows", series, size, Cost(1e-6 * size**power, size * 80))
        for size in (1000, 10_000, 100_000, 1_000_000)
    ]


@pytest.mark.parametrize("power", [0, 1, 2])
def test_the_exponent_is_the_slope_on_log_axes(power: float) -> None:
    assert growth.exponent(points("census", power)) == pytest.approx(power)
    assert growth.bytes_per_unit(points("census", power)) == 80
    assert math.isnan(growth.exponent(points("census", power)[:1]))


def test_costs_are_measured_on_a_made_matrix(tmp_path: Path) -> None:
    model = make(tmp_path / "made", SHAPE)
    names = list(growth.AXES["vectors"].series)
    found = dict(growth.costs(model, names))
    assert list(found) == names
    assert all(cost.seconds > 0 for cost in found.values())
    cold = growth.run_cold(model)
    assert cold.file_bytes > SHAPE.nbytes
    assert cold.again_bytes <= cold.read_bytes + cold.file_bytes


def test_a_matrix_without_room_is_left_out() -> None:
    assert growth.no_room(Shape(rows=10)) == ""
    assert "are free on disk" in growth.no_room(Shape(rows=10**9, dims=10**6))


def test_the_report_says_what_was_held_and_what_was_missed(tmp_path: Path) -> None:
    ours, theirs = side(1, 2, 3), side(10, 20, 30)
    goals = [at_least(5, theirs, ours), at_least(50, theirs, ours)]
    rows = [
        Row("work", "peer", ours, theirs, goals, "A note."),
        Row("pass", "xor", theirs, ours, [at_most(10, theirs, ours)], passes=True),
    ]
    curves = growth.Curves(
        points("census", 1) + points("cluster", 2), growth.Cold(1000, 1010, 0, 0.5), ["1 row: none"]
    )
    path = report.write(rows, curves, tmp_path)
    text = path.read_text()
    assert "2 of 3 goals were held in this run.\nMissed: work: at least 50x faster." in text
    assert "| 1 | work | peer | 10.0x (10.0 to 10.0) | 2 | 20 | 3 | 30 | at least 5x" in text
    assert "| 2 | pass | 10.0 (10.0 to 10.0) |" in text
    assert "- Row 1: A note." in text
    assert "| 2.00 ▲ |" in text
    assert "| 1.00 | 80.0 |" in text
    assert "1.01 times the file" in text
    assert "No room for 1 row: none." in text
    assert (tmp_path / "docs" / "growth.svg").read_bytes().startswith(b"<svg")


def test_what_is_too_small_for_an_axis_is_drawn_at_its_end() -> None:
    nothing = [growth.Point("rows", "census", size, Cost(0, 0)) for size in (10, 100)]
    drawn = picture.specification(growth.Curves(nothing, None, []))
    values = [value for values in drawn["datasets"].values() for value in values if "of" in value]
    assert {value["seconds"] for value in values} == {picture.LEAST_SECONDS}
    assert {value["mib"] for value in values} == {picture.LEAST_MIB}
