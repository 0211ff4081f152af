"""What it costs to fetch one tensor of a sharded checkpoint, beside what else one could do.

Whole processes against a hub on loopback, taken in turns: the stage `fetch`; the same client that
reads the same range without a check; and the usual way, downloading the shard and opening it.
"""

import os
import statistics
import sys
import tempfile
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from hub_server import Filler, Hub, sharded_checkpoint  # noqa: E402 - on the path only now
from stages import Job, run  # noqa: E402 - stays below it

ROUNDS = 5
ROWS, DIMS = 150_000, 1024
KEY, SHARD = "model.embed_tokens.weight", "model-00001-of-00002.safetensors"
PARAMS = """\
models: []
fetch: {big: {source: "hf://org/model@COMMIT"}}
cluster: {adjacency_threshold: 0.002, discover: []}
measure: {device: cpu}
extract: {distance: ulp, radius: 3.0}
"""
RANGED = f"""
from huggingface_hub import get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers
url = hf_hub_url("org/model", "{SHARD}", revision="COMMIT")
headers = build_hf_headers() | {{"Range": "bytes=1000-{999 + 2 * ROWS * DIMS}"}}
with open("plain", "wb") as file:
    with get_session().stream("GET", url, headers=headers, follow_redirects=True) as response:
        for chunk in response.iter_raw():
            file.write(chunk)
"""
DOWNLOAD = f"""
import shutil, ml_dtypes
from huggingface_hub import hf_hub_download
from safetensors import safe_open
path = hf_hub_download("org/model", "{SHARD}", revision="COMMIT")
with safe_open(path, "np") as file:
    file.get_tensor("{KEY}")
shutil.rmtree("home/huggingface/hub")
shutil.rmtree("home/huggingface/xet", ignore_errors=True)
"""


def serve(connection: Connection, model: Path, home: Path) -> None:
    """Serve a model in a process of its own; answer any message with the bytes sent since."""
    with Hub({"org/model": {path.name: path for path in model.iterdir()}}) as hub:
        connection.send((hub.commit("org/model"), hub.environment(home)))
        while connection.recv():
            connection.send(hub.bytes_sent())
            hub.reset()


def main() -> None:
    """Run every job in turns and print the table."""
    weights = {KEY: Filler("BF16", (ROWS, DIMS)), "model.layers.0": Filler("BF16", (ROWS, DIMS))}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sharded_checkpoint(folder / "model", [weights, {"model.norm.weight": Filler("BF16", (8,))}])
        ours, theirs = Pipe()
        Process(target=serve, args=(theirs, folder / "model", folder / "home"), daemon=True).start()
        commit, environment = ours.recv()
        os.environ |= environment
        (folder / ".dvc").mkdir()
        (folder / "params.yaml").write_text(PARAMS.replace("COMMIT", commit))
        python = sys.executable
        jobs = [
            Job("fetch", [python, "-m", "core_tokens.stages.fetch", "big"]),
            Job("the range, unchecked", [python, "-c", RANGED.replace("COMMIT", commit)]),
            Job("download and open the shard", [python, "-c", DOWNLOAD.replace("COMMIT", commit)]),
        ]
        moved = dict.fromkeys((job.name for job in jobs), 0)
        for number in range(ROUNDS + 1):
            for job in jobs:
                run(job, folder)
                ours.send(True)
                moved[job.name] = ours.recv()
                if number == 0:  # the first round warms the page cache
                    job.seconds.clear()
                    job.own_bytes.clear()
    plain = statistics.median(jobs[1].seconds)
    print(f"\n{'whole process':<28}{'median s':>9}{'own MiB':>9}{'moved MB':>10}{'speed':>8}")
    for job in jobs:
        median = statistics.median(job.seconds)
        print(
            f"{job.name:<28}{median:>9.2f}{max(job.own_bytes) / 2**20:>9.0f}"
            f"{moved[job.name] / 1e6:>10.1f}{plain / median:>7.0%}"
        )
    print(f"\nspeed: of the unchecked range; the tensor has {2 * ROWS * DIMS / 1e6:.1f} MB.")


if __name__ == "__main__":
    main()
