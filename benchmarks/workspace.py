"""Folders to run in, that are gone afterwards, and nothing of this repository is touched.

They lie in ``build/``, on the file system of the data: a matrix is linked, not copied.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import ENVIRONMENT

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
REPLICA = "qwen3-4b-replica"
DATA = ROOT / "data" / REPLICA
PARAMS = """\
models: [{model}]
fetch: {{{fetch}}}
cluster: {{adjacency_threshold: 0.002, discover: [{model}]}}
measure: {{device: cpu}}
extract: {{distance: ulp, radius: 3.0}}
draw: {{format: svg, theme: light}}
"""
PEER_PIPELINE = """\
stages:
  core:
    cmd: python notebook.py . ${extract.radius} core_tokens.safetensors
    params: [extract.radius]
    deps: [notebook.py, W.safetensors, cluster_tokens.safetensors]
    outs: [core_tokens.safetensors]
"""
MATRIX, CLUSTER = "W.safetensors", "cluster_tokens.safetensors"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for as long as the block runs, however it ends: a signal to stop ends it too."""
    BUILD.mkdir(exist_ok=True)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD) as name:
            yield Path(name)
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def check_data() -> None:
    """Say what is missing before anything runs."""
    for name in (MATRIX, CLUSTER, "measurements.safetensors"):
        if not (DATA / name).exists():
            raise SystemExit(f"{DATA / name}: no such file; run `make repro` first")


def project(folder: Path, model: str, files: Mapping[str, Path]) -> Path:
    """A folder in which stages run: params.yaml, and links to the data of one model."""
    data = folder / "data" / model
    data.mkdir(parents=True)
    write_params(folder, model)
    for name, source in files.items():
        os.link(source, data / name)
    return folder


def write_params(folder: Path, model: str = "", source: str = "") -> None:
    """params.yaml with one model, or with the source of one to fetch, named ``fetched``."""
    fetch = f"fetched: {{source: {source}}}" if source else ""
    (folder / "params.yaml").write_text(PARAMS.format(model=model, fetch=fetch))


def clone(folder: Path) -> Path:
    """This repository with its data and a DVC cache of its own, in which all is up to date."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    for source in DATA.rglob("*"):
        target = folder / source.relative_to(ROOT)
        if source.is_file() and not target.exists():
            target.parent.mkdir(exist_ok=True)
            os.link(source, target)
    dvc(folder, "commit", "--quiet", "--force")
    return folder


def peer_pipeline(folder: Path) -> Path:
    """The notebook's script as a DVC pipeline of one stage, run once, so that W is hashed."""
    folder.mkdir()
    (folder / "dvc.yaml").write_text(PEER_PIPELINE)
    (folder / "params.yaml").write_text("extract:\n  radius: 3.0\n")
    script = Path(__file__).parent / "peers" / "notebook.py"
    (folder / script.name).write_text(script.read_text())
    for name in (MATRIX, CLUSTER):
        os.link(DATA / name, folder / name)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    dvc(folder, "init", "--quiet")
    dvc(folder, "config", "core.analytics", "false")
    dvc(folder, "repro", "--quiet")
    return folder


def site_cache(folder: Path) -> dict[str, str]:
    """Where DVC is to keep what it remembers of a repository: in the folder, not in the system."""
    return {"DVC_SITE_CACHE_DIR": str(folder / "build" / "site-cache")}


def dvc(folder: Path, *arguments: str) -> None:
    """Run DVC in a repository."""
    environment = ENVIRONMENT | site_cache(folder)
    done = subprocess.run(
        ["dvc", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"dvc {' '.join(arguments)} in {folder}:\n{done.stderr}")


def set_radius(folder: Path, radius: float) -> None:
    """Change the radius in params.yaml."""
    path = folder / "params.yaml"
    lines = path.read_text().splitlines()
    lines = [f"  radius: {radius}" if line.startswith("  radius:") else line for line in lines]
    path.write_text("\n".join(lines) + "\n")
