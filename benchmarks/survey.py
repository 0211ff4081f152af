"""What a survey costs beside the work itself: workers, the engine, the driver's memory, a hub.

``python -m benchmarks.survey`` measures it here and writes docs/scale.md: the constants, and what
they say of ten thousand checkpoints.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import machine, scale, workspace
from benchmarks.processes import ENVIRONMENT
from benchmarks.workspace import ROOT
from core_tokens.files import write_all
from core_tokens.parallel import limited_to
from core_tokens.survey import engine
from core_tokens.survey.checkpoints import Checkpoint, expand
from core_tokens.survey.examine import Outcome, Question, examine
from core_tokens.tensors import matrix_header

sys.path.insert(0, str(ROOT / "tests"))

PAIRS = 3
LARGE, ROWS, DIMS = 24, 60_000, 2_560
"""Matrices of 307 MB: large enough that a worker's start and the scheduler do not count."""
TRIVIAL = 1_000
FEW, MANY = 100, 10_000
PARAMS = """\
models: []
fetch: {}
cluster: {adjacency_threshold: 0.002, discover: []}
measure: {device: cpu}
extract: {distance: ulp, radius: 3.0}
draw: {format: svg, theme: light}
survey:
  trivial:
    sources: [trivial.safetensors]
    radii: [3]
    distances: [ulp]
    threshold: 0.002
"""


@dataclass(frozen=True)
class Timed:
    """Checkpoints, and how long they took."""

    checkpoints: Sequence[Checkpoint]
    store: Path

    def seconds(self, client: object) -> float:
        """Examine all anew."""
        shutil.rmtree(self.store, ignore_errors=True)
        work = partial(examine, question=Question(0.002, str(self.store)))
        start = time.perf_counter()
        for _, result in engine.results(client, work, self.checkpoints):
            _check(result)
        return time.perf_counter() - start

    def seconds_alone(self, cores: int) -> float:
        """The same in this process, one after the other, each on so many cores."""
        shutil.rmtree(self.store, ignore_errors=True)
        work = partial(examine, question=Question(0.002, str(self.store)))
        start = time.perf_counter()
        with limited_to(cores):
            for _, result in engine.serially(work, self.checkpoints):
                _check(result)
        return time.perf_counter() - start


def _check(result: object) -> None:
    if not isinstance(result, Outcome) or result.error:
        raise SystemExit(f"a checkpoint failed: {result}")


def trajectory(path: Path, steps: int, rows: int, dims: int, shared: int) -> list[Checkpoint]:
    """A file of many matrices, noise with a group of identical rows in each; its checkpoints."""
    draws = np.random.default_rng(0)
    noise = (draws.standard_normal((rows, dims), np.float32) * 0.03).astype(np.float32)
    bits = (noise.view(np.uint32) >> 16).astype(np.uint16)
    header = matrix_header("BF16", (steps, rows, dims))
    with path.open("wb") as file:
        file.write(header)
        for step in range(steps):
            bits[0, :2] = divmod(step, 128)  # tiny numbers that tell the matrices apart
            bits[1 : 1 + shared] = bits[1]
            file.write(bits.tobytes())
    return expand([str(path)], "benchmark")


def workers(folder: Path) -> dict[str, float | list[float]]:
    """Seconds for a GB, and how much faster two workers are than one and than their peers.

    One cluster at a time: the processes of an idle one take some hundredths of a core each.
    """
    large = Timed(trajectory(folder / "large.safetensors", LARGE, ROWS, DIMS, 1000), folder / "s")
    gigabytes = LARGE * ROWS * DIMS * 2 / 1e9
    found: dict[str, list[float]] = {name: [] for name in ("work", "ratios", "alone", "both")}
    for _ in range(PAIRS):
        seconds = []
        for count in (1, 2):
            with _one_core_each(count) as there:
                large.seconds(there)  # warms up
                seconds.append(large.seconds(there))
        slow, fast = seconds
        bare, spread = large.seconds_alone(1), large.seconds_alone(2)
        values = (slow / gigabytes, slow / fast, slow / bare, spread / fast)
        for name, value in zip(found, values, strict=True):
            found[name].append(value)
    return {name: each if name == "ratios" else median(each) for name, each in found.items()}


@contextmanager
def _one_core_each(count: int) -> Iterator[object]:
    """So many workers on this machine, each with one core."""
    with limited_to(count), engine.client(None, count, LARGE) as there:
        yield there


def engine_cost(folder: Path) -> tuple[float, float]:
    """Milliseconds of a trivial checkpoint on a cluster of one worker, and in this process."""
    small = Timed(trajectory(folder / "small.safetensors", TRIVIAL, 32, 8, 8), folder / "s")
    with engine.client(None, 1, TRIVIAL) as single:
        small.seconds(single)
        there = median(small.seconds(single) for _ in range(PAIRS))
    here = median(small.seconds_alone(1) for _ in range(PAIRS))
    return 1e3 * there / TRIVIAL, 1e3 * here / TRIVIAL


def driver_bytes(folder: Path, count: int) -> int:
    """The largest memory of the process that runs a whole survey of trivial checkpoints."""
    made = folder / f"of-{count}"
    made.mkdir()
    trajectory(made / "trivial.safetensors", count, 16, 4, 4)
    (made / "params.yaml").write_text(PARAMS)
    code = (
        "import sys; from core_tokens import cli; sys.argv[1:] = ['survey', 'trivial'];"
        "cli.main(); print(open('/proc/self/status').read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"if __name__ == '__main__':\n    {code}"],
        cwd=made, env=ENVIRONMENT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (peak,) = (line for line in done.stdout.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024


def stream_seconds(folder: Path) -> float:
    """Seconds for a GB that comes from a hub on loopback, the server in a process of its own."""
    from benchmarks.fetch import hub_of

    model = folder / "model"
    model.mkdir()
    trajectory(model / "model.safetensors", 1, 200_000, DIMS, 1000)
    path = model / "model.safetensors"
    whole = path.read_bytes()
    header = matrix_header("BF16", (200_000, DIMS))
    path.write_bytes(header + whole[-200_000 * DIMS * 2 :])
    with hub_of(model, folder / "home") as (_, commit, environment):
        code = (
            "import sys, time; from benchmarks.survey import timed_stream; "
            "print(timed_stream(sys.argv[1], sys.argv[2]))"
        )
        done = [
            float(
                subprocess.run(
                    [sys.executable, "-c", code, commit, str(folder / "scratch")],
                    cwd=ROOT, env=ENVIRONMENT | environment | {"PYTHONPATH": str(ROOT)},
                    capture_output=True, text=True, check=True,
                ).stdout
            )
            for _ in range(PAIRS)
        ]  # fmt: skip
    return median(done)


def timed_stream(commit: str, scratch: str) -> float:
    """Seconds for a GB of a tensor of the hub, written and hashed."""
    from core_tokens.checkpoint import locate
    from core_tokens.sources import Model, copy_tensor, files_of

    files = files_of(Model("org/model", commit))
    place = locate(files)
    with Path(scratch).open("wb") as file:
        start = time.perf_counter()
        copy_tensor(files, place, file, lambda _: None)
        return (time.perf_counter() - start) / (place.entry.nbytes / 1e9)


def together_seconds(folder: Path) -> tuple[float, int]:
    """Seconds of the driver for a checkpoint like the real one, and the bytes kept of it."""
    from core_tokens import params
    from core_tokens.survey import results
    from core_tokens.survey.store import Store

    count = 200
    made = folder / "together"
    made.mkdir()
    links = made / "links"
    links.mkdir()
    (links / "model.safetensors").symlink_to(workspace.DATA / "W.safetensors")
    (checkpoint,) = expand([str(links / "model.safetensors")], "benchmark")
    store = Store(str(made / "store"))
    outcome = examine(checkpoint, Question(0.002, store.url))
    kept = store.read(outcome.key)
    if kept is None:
        raise SystemExit("nothing was kept")
    settings = params.Survey([], [3.0, 1.0], ["ulp", "steps"], 0.002)
    start = time.perf_counter()
    results.put_together(made / "out", [checkpoint] * count, [outcome] * count, store, settings)
    return (time.perf_counter() - start) / count, len(kept)


def measure(folder: Path) -> scale.Constants:
    """All constants."""
    throughput: dict[str, Any] = workers(folder)
    there, here = engine_cost(folder)
    together, result = together_seconds(folder)
    return scale.Constants(
        **throughput,
        stream=stream_seconds(folder),
        engine=max(0.0, there - here) / 1e3,
        together=together,
        few=driver_bytes(folder, FEW),
        many=driver_bytes(folder, MANY),
        counts=(FEW, MANY),
        result=result,
    )


def main() -> None:
    """Measure, and write docs/scale.md."""
    workspace.check_data()
    with workspace.temporary_folder() as folder:
        found = measure(folder)
    print(found)
    path = ROOT / "docs" / "scale.md"
    write_all({path: scale.document(found, machine.description())})
    print(f"Wrote {path.relative_to(ROOT)}.")


if __name__ == "__main__":
    main()
