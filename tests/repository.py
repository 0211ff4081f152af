"""Real Git and DVC repositories of this project in temporary folders."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from warm import PROGRAMS, warm

ROOT = Path(__file__).parents[1]
MODEL = "qwen3-4b-replica"
EMPTY_PARAMS = """\
models: []                             # measured and extracted
fetch: {}
cluster:
  adjacency_threshold: 0.5             # L2
  discover: []                         # clusters this project finds
measure:
  device: cpu
extract:
  distance: ulp                        # ulp | steps | l2
  radius: 3.0
draw:
  format: svg
  theme: light
"""


@dataclass(frozen=True)
class Repository:
    """A clone on a machine of its own: nothing is shared with other repositories but remotes."""

    path: Path

    def run(
        self, *command: str, check: bool = True, typed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command here with this Python's programs first on the path."""
        home = self.path.parent / f"{self.path.name}-home"
        home.mkdir(exist_ok=True)
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "DVC_SITE_CACHE_DIR": str(home / "site-cache"),
            "DVC_NO_ANALYTICS": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "A Tester",
            "GIT_AUTHOR_EMAIL": "tester@example.org",
            "GIT_COMMITTER_NAME": "A Tester",
            "GIT_COMMITTER_EMAIL": "tester@example.org",
        }
        if command[0] in PROGRAMS:
            done = warm().run(command, self.path, environment, typed)
        else:
            done = subprocess.run(
                command, cwd=self.path, env=environment, capture_output=True, text=True,
                check=False, input=typed,
            )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{command} exited {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def dvc(self, *arguments: str) -> str:
        """What ``dvc ARGUMENTS`` prints."""
        done = self.run("dvc", *arguments)
        return done.stdout + done.stderr

    def ran(self, *arguments: str) -> set[str]:
        """The stages that ``dvc repro ARGUMENTS`` really ran, as STAGE@MODEL."""
        lines = self.dvc("repro", *arguments).splitlines()
        return {line.split("'")[1] for line in lines if line.startswith("Running stage ")}

    def git_status(self) -> str:
        """Changed and untracked files; empty for a clean tree."""
        return self.run("git", "status", "--porcelain").stdout

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def set_param(self, line: str, new: str) -> None:
        """Replace the one line of params.yaml that starts with ``line`` (indentation apart)."""
        path = self.path / "params.yaml"
        lines = path.read_text().splitlines()
        at = [n for n, text in enumerate(lines) if text.strip().startswith(line)]
        assert len(at) == 1, f"{line!r} in {lines}"
        indent = len(lines[at[0]]) - len(lines[at[0]].lstrip())
        lines[at[0]] = " " * indent + new
        path.write_text("\n".join(lines) + "\n")


def copy_of_this_project(path: Path) -> Repository:
    """The project as it stands, uncommitted changes included, as one commit in a new repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, path / name)
    repository = Repository(path)
    repository.run("git", "init", "--quiet", "--initial-branch", "main")
    repository.commit("The project as it stands")
    return repository


def empty_project(path: Path) -> Repository:
    """The project without its model: ready for ``core-tokens add``."""
    repository = copy_of_this_project(path)
    shutil.rmtree(path / "data")
    (path / "dvc.lock").unlink()
    (path / "params.yaml").write_text(EMPTY_PARAMS)
    pipeline = path / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().partition("artifacts:")[0] + "artifacts: {}\n")
    repository.commit("No model yet")
    return repository


def clone(of: Repository, path: Path) -> Repository:
    """A Git clone on another machine; the default remote is a folder beside both."""
    of.run("git", "clone", "--quiet", str(of.path), str(path))
    return Repository(path)


def small_matrix() -> NDArray[np.float32]:
    """float32[40, 6]: a cluster of 20 rows within 4 ulp, in 10 vectors, and 20 rows far away."""
    origin = np.array([1.5, -1.25, 1.0625, -1.75, 1.125, 1.875], np.float32)
    ulp = np.float32(2.0**-7)
    rows = np.array([origin * (3 + n) for n in range(40)], np.float32)
    for n, steps in enumerate([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, -4, -4]):
        rows[2 * n] = origin
        rows[2 * n, n % 2] += steps * ulp
    return rows


def save(path: Path, name: str, tensor: NDArray[Any], others: Iterable[str] = ()) -> Path:
    """A safetensors file with a tensor, and small matrices under other names."""
    tensors = {name: tensor} | {other: np.zeros((2, 2), np.float32) for other in others}
    save_file(tensors, path)
    return path
