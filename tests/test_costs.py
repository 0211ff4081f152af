"""What a stage costs where no clock is needed: files opened, packages, calls, memory of its own."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

STAGES = ["fetch", "cluster", "measure", "extract", "analyse", "draw"]
PARAMS = """\
models: [big]
fetch: {big: {source: checkpoint.safetensors}}
cluster: {adjacency_threshold: 0.002, discover: [big]}
measure: {device: cpu}
extract: {distance: ulp, radius: 3.0}
draw: {format: svg, theme: light}
"""
ROWS, DIMS, CLUSTER = 20_000, 512, 600
MATRIX = 2 * ROWS * DIMS
"""Bytes of the smaller of two matrices; the larger has twice the rows and the same cluster."""
MIB = 2**20
PEAK = {"fetch": 10, "cluster": 5.5, "measure": 3.2, "extract": 0.4, "analyse": 0.3, "draw": 1.0}
"""MiB that a stage may hold at once, about a third above what it held when this was written."""
CALLS = {"cluster": 25_000, "measure": 21_000, "extract": 22_000, "analyse": 28_000}
"""Calls of functions that a stage may make, likewise."""
ARRAYS = {"ml_dtypes", "msgspec", "numpy", "ruamel", "safetensors"}
INCIDENTAL = {"charset_normalizer", "cython_runtime", "sitecustomize", "typing_extensions"}
"""What libraries bring along if it is there."""
PACKAGES = {
    "cluster": ARRAYS | {"scipy", "tqdm", "xxhash"},
    "measure": ARRAYS | {"xxhash"},
    "extract": ARRAYS,
}
"""What is imported besides the standard library."""

WATCHED = """
import json, sys, tracemalloc
from importlib import import_module

run = import_module(f"core_tokens.stages.{sys.argv[1]}").run
before = set(sys.modules)
names = {name.partition(".")[0] for name in before} - sys.stdlib_module_names
opened, calls = set(), 0
sys.addaudithook(lambda event, args: opened.add(str(args[0])) if event == "open" else None)

def count(frame, event, argument):
    global calls
    calls += event in ("call", "c_call")

run("big")  # what happens once in a process is not counted
late = [name for name in sys.modules if name not in before and name.partition(".")[0] in names]
sys.setprofile(count)
run("big")
sys.setprofile(None)
tracemalloc.start()
run("big")
peak = tracemalloc.get_traced_memory()[1]
found = {"packages": sorted(names), "late": late, "opened": sorted(opened), "calls": calls,
         "peak": peak}
print(json.dumps(found))
"""


def write_checkpoint(path: Path, rows: int) -> None:
    """A cluster of few vectors among ordinary rows, which differ in all dimensions."""
    draws = np.random.default_rng(0)
    matrix = (draws.standard_normal((rows, DIMS)) * 0.03).astype(ml_dtypes.bfloat16)
    matrix[:CLUSTER] = (matrix[0].astype(np.float32) / 8).astype(matrix.dtype)
    bits = matrix[:CLUSTER].view(np.uint16)
    bits[np.arange(CLUSTER) % 60 > 20, 5] += 1
    bits[np.arange(CLUSTER) % 60 > 50, 9] += 2
    save_file({"lm_head.weight": matrix}, path)


@cache
def costs(twice: bool) -> dict[str, Any]:
    """What each stage costs on one of the two matrices: stage -> what was counted."""
    found = {}
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / ".dvc").mkdir()
        (folder / "params.yaml").write_text(PARAMS)
        write_checkpoint(folder / "checkpoint.safetensors", ROWS * (2 if twice else 1))
        for stage in STAGES:
            done = subprocess.run(
                [sys.executable, "-c", WATCHED, stage],
                cwd=folder, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            found[stage] = json.loads(done.stdout)
    return found


def opened_matrix(stage: str) -> bool:
    return any(name.endswith("W.safetensors") for name in costs(False)[stage]["opened"])


@pytest.mark.parametrize("stage", ["extract", "analyse", "draw"])
def test_behind_the_cut_no_byte_of_the_matrix_is_read(stage: str) -> None:
    assert not opened_matrix(stage)
    assert costs(False)[stage]["opened"]


@pytest.mark.parametrize("stage", ["cluster", "measure"])
def test_before_the_cut_the_matrix_is_opened_which_is_noticed(stage: str) -> None:
    assert opened_matrix(stage)


@pytest.mark.parametrize("stage", PACKAGES)
def test_a_stage_imports_these_packages_and_no_others(stage: str) -> None:
    found = {name for name in costs(False)[stage]["packages"] if not name.startswith("_")}
    assert found - INCIDENTAL == PACKAGES[stage] | {"core_tokens"}


@pytest.mark.parametrize("stage", ["measure", "extract"])
def test_a_stage_loads_nothing_more_once_it_runs(stage: str) -> None:
    assert costs(False)[stage]["late"] == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_holds_no_more_memory_than_it_did(stage: str) -> None:
    assert PEAK[stage] * MIB / 3 < costs(False)[stage]["peak"] < PEAK[stage] * MIB


@pytest.mark.parametrize("stage", CALLS)
def test_a_stage_makes_no_more_calls_than_it_did(stage: str) -> None:
    assert CALLS[stage] / 3 < costs(False)[stage]["calls"] < CALLS[stage]


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "cluster"])
def test_twice_the_matrix_costs_no_more_where_the_cluster_is_the_same(stage: str) -> None:
    once, twice = (costs(size)[stage] for size in (False, True))
    assert twice["peak"] < 1.1 * once["peak"] + 4096
    if stage != "fetch":  # which copies it piece by piece
        assert twice["calls"] < 1.02 * once["calls"]


def test_the_search_for_a_cluster_grows_no_faster_than_the_matrix() -> None:
    once, twice = (costs(size)["cluster"] for size in (False, True))
    assert twice["peak"] < 2.1 * once["peak"]
    assert twice["peak"] - once["peak"] < 0.3 * MATRIX  # of rows this short
    assert twice["calls"] < 2.1 * once["calls"]
