"""Twenty checkpoints of real size, streamed from a hub to two workers."""

from pathlib import Path

import pyarrow.parquet

from core_tokens.replica import REPLICAS
from hub_server import Hub
from survey_cluster import Project, cluster

REVISIONS = 20
ROWS, DIMS = 151_936, 2_560
MATRIX_BYTES = 2 * ROWS * DIMS
MOST = 2 << 30
"""Bytes that a worker may have, mapped pages and all."""


def peak_bytes(pid: int) -> int:
    """The most that a process had in memory, pages of mapped files among it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def test_twenty_matrices_of_778_mb_pass_through_two_workers_of_2_gb(tmp_path: Path) -> None:
    matrix = tmp_path / "model.safetensors"
    REPLICAS["qwen3-4b-instruct-2507"](matrix)
    with Hub({"org/run": {"model.safetensors": matrix}}) as hub:
        for nth in range(REVISIONS):
            hub.push("org/run", {"model.safetensors": matrix}, f"step{nth}", f"{nth:040x}")
        access = hub.environment(tmp_path / "home")
        made = Project(tmp_path / "project", {"HF_ENDPOINT": access["HF_ENDPOINT"]})
        made.write_params(f"{{source: 'hf://org/run@step{{rev}}', rev: {[*range(REVISIONS)]}}}")
        params = made.folder / "params.yaml"
        params.write_text(params.read_text().replace("threshold: 0.02", "threshold: 0.002"))
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        home = access | {"TMPDIR": str(scratch)}
        with cluster(tmp_path / "cluster", 2, **home) as there:
            done = made.survey("--scheduler", there.address, seconds=500)
            peaks = [peak_bytes(there.worker_process(f"worker-{nth}")) for nth in range(2)]
        sent = hub.bytes_sent("model.safetensors")
    assert (done.code, done.err) == (0, ""), done
    table = pyarrow.parquet.read_table(made.data / "survey.parquet").to_pydict()
    assert table["step"] == [nth for nth in range(REVISIONS) for _ in range(2)]
    assert table["commit"] == [f"{nth:040x}" for nth in range(REVISIONS) for _ in range(2)]
    assert set(table["cluster_tokens"]) == {2_212}
    assert set(table["cluster_vectors"]) == {125}
    assert table["core_tokens_ulp"][1::2] == [2_206] * REVISIONS
    # Each matrix came once, with a little of its header, and nothing of any is left.
    assert 0 <= sent - REVISIONS * MATRIX_BYTES < REVISIONS << 17
    assert not [path for path in scratch.rglob("*") if path.stat().st_size > MATRIX_BYTES // 100]
    # Not so little that it was not there at all, and not two at once.
    assert all(MATRIX_BYTES // 2 < peak < MOST for peak in peaks), peaks
