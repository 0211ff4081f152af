"""What it costs to fetch one tensor of a sharded checkpoint from a hub on loopback."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks import workspace
from benchmarks.pairs import Row, Side, alternate
from benchmarks.processes import Command, Cost, stage
from benchmarks.workspace import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from hub_server import Filler, Hub, sharded_checkpoint

ROWS, DIMS = 150_000, 1024
KEY, SHARD = "model.embed_tokens.weight", "model-00001-of-00002.safetensors"
RANGED = f"""
import sys
from huggingface_hub import get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers
url = hf_hub_url("org/model", "{SHARD}", revision=sys.argv[1])
headers = build_hf_headers() | {{"Range": "bytes=1000-{999 + 2 * ROWS * DIMS}"}}
with open("plain", "wb") as file:
    with get_session().stream("GET", url, headers=headers, follow_redirects=True) as response:
        for chunk in response.iter_raw():
            file.write(chunk)
"""


class Counted:
    """A command, and the bytes that the hub sent in its last run."""

    def __init__(self, command: Command, hub: Connection) -> None:
        self._command, self._hub = command, hub
        self.moved = 0

    def run(self) -> Cost:
        """Run once and ask the hub."""
        cost = self._command.run()
        self._hub.send(True)
        self.moved = self._hub.recv()
        return cost


def fetch(folder: Path) -> Iterator[Row]:
    """The stage against downloading the shard, and against the bare range without a check."""
    weights = {KEY: Filler("BF16", (ROWS, DIMS)), "model.layers.0": Filler("BF16", (ROWS, DIMS))}
    sharded_checkpoint(folder / "model", [weights, {"model.norm.weight": Filler("BF16", (8,))}])
    with hub_of(folder / "model", folder / "home") as (hub, commit, environment):
        (folder / ".dvc").mkdir()
        workspace.write_params(folder, source=f"hf://org/model@{commit}")

        def clear() -> None:
            for name in ("hub", "xet"):
                shutil.rmtree(folder / "home" / "huggingface" / name, ignore_errors=True)

        script = ROOT / "benchmarks" / "peers" / "download.py"
        stages = stage("fetch", "fetched", folder)
        stages.environment = environment
        ours = Counted(stages, hub)
        shard = Counted(
            Command([sys.executable, str(script), SHARD, KEY, commit], folder, environment, clear),
            hub,
        )
        plain = Counted(
            Command([sys.executable, "-c", RANGED, commit], folder, environment), hub
        )  # fmt: skip
        costs, theirs, bare = map(Side, alternate(ours, shard, plain))
    moved = f"{ours.moved / 1e6:.1f} MB moved against {{:.1f}}; the tensor has "
    moved += f"{2 * ROWS * DIMS / 1e6:.1f} MB."
    work = "fetch one tensor of a sharded checkpoint, whole process"
    yield Row(
        work, "hf_hub_download of the shard, then safe_open", costs, theirs, (),
        moved.format(shard.moved / 1e6),
    )  # fmt: skip
    yield Row(
        work, "the bare range over HTTP, neither checked nor kept as a model", costs, bare, (),
        moved.format(plain.moved / 1e6),
    )  # fmt: skip


@contextmanager
def hub_of(model: Path, home: Path) -> Iterator[tuple[Connection, str, dict[str, str]]]:
    """A hub in a process of its own: how to ask for the bytes sent, the commit, an environment."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, model, home), daemon=True)
    process.start()
    try:
        commit, environment = ours.recv()
        yield ours, commit, environment
    finally:
        process.kill()
        process.join()


def _serve(connection: Connection, model: Path, home: Path) -> None:
    with Hub({"org/model": {path.name: path for path in model.iterdir()}}) as hub:
        connection.send((hub.commit("org/model"), hub.environment(home)))
        while connection.recv():
            connection.send(hub.bytes_sent())
            hub.reset()
