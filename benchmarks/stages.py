"""What each stage costs on this machine, beside the notebook's procedure as one torch script.

Whole processes on the full-size replica, page cache warm, taken in turns. Memory is what a process
allocates for itself (the peak of its anonymous pages), without the pages of the mapped matrix.
Run ``make repro`` first; then ``make bench``.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODEL = "qwen3-4b-replica"
ROUNDS = 7


@dataclass
class Job:
    """A command, and what its runs cost in seconds and bytes."""

    name: str
    command: Sequence[str]
    seconds: list[float] = field(default_factory=list)
    own_bytes: list[int] = field(default_factory=list)


def anonymous_bytes(pid: int) -> int:
    """Memory that a process holds for itself right now; 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def run(job: Job, folder: Path) -> None:
    """Run once, looking at the memory every few milliseconds."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }
    start = time.perf_counter()
    process = subprocess.Popen(job.command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous_bytes(process.pid))
        time.sleep(0.002)
    job.seconds.append(time.perf_counter() - start)
    job.own_bytes.append(peak)
    if process.returncode:
        raise SystemExit(f"{job.name} exited {process.returncode}")


def workspace(folder: Path) -> Path:
    """A clone that shares the cache of this one, so that nothing here is touched."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    for arguments in (
        ["cache", "dir", "--local", str(ROOT / ".dvc/cache")],
        ["checkout", "--quiet"],
    ):
        subprocess.run(["dvc", *arguments], cwd=clone, check=True, capture_output=True)
    return clone


def set_radius(clone: Path, radius: float) -> None:
    """Write a radius that was not tried before, so that no run cache answers."""
    path = clone / "params.yaml"
    lines = path.read_text().splitlines()
    lines = [f"  radius: {radius}" if line.startswith("  radius:") else line for line in lines]
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Run every job in turns and print the table."""
    python = sys.executable
    with tempfile.TemporaryDirectory() as temporary:
        clone = workspace(Path(temporary))
        data = f"data/{MODEL}"
        notebook = Job(
            "notebook script (torch)",
            [python, "benchmarks/notebook.py", data, "3.0", f"{temporary}/core.safetensors"],
        )
        stages = [
            Job(stage, [python, "-m", f"core_tokens.stages.{stage}", MODEL])
            for stage in ("cluster", "measure", "extract", "analyse", "draw")
        ]
        repro = Job("dvc repro, new radius", ["dvc", "repro", "--quiet"])
        jobs = [notebook, *stages, repro]
        for number in range(ROUNDS + 1):
            for job in jobs:
                if job is repro:
                    set_radius(clone, 2.5 + time.time_ns() % 10**6 / 10**7)
                run(job, clone)
            if number == 0:  # the first round warms the page cache
                for job in jobs:
                    job.seconds.clear()
                    job.own_bytes.clear()
    base = statistics.median(notebook.seconds)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {ROUNDS} rounds\n")
    print(f"{'whole process':<26}{'median s':>9}{'min':>7}{'max':>7}{'own MiB':>9}{'ratio':>8}")
    for job in jobs:
        median = statistics.median(job.seconds)
        print(
            f"{job.name:<26}{median:>9.2f}{min(job.seconds):>7.2f}{max(job.seconds):>7.2f}"
            f"{max(job.own_bytes) / 2**20:>9.0f}{base / median:>7.1f}x"
        )
    print("\nratio: how many times faster than the script, which does the work of measure and")
    print("extract; own MiB of `dvc repro` is that of the dvc process alone.")


if __name__ == "__main__":
    main()
