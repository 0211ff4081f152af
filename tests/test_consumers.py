"""The ways of DVC to a core from elsewhere, over a Git URL, on a machine that has nothing of it."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

import pytest

from repository import Repository
from team import copy_of

CORE = "data/tiny/core_tokens.safetensors"


@dataclass(frozen=True)
class Published:
    """A project with two versions of a core, and who wants them.

    Attributes:
        project: pushed, tagged tiny@v1.0.0 at radius 3 and tiny@v1.1.0 at radius 1.
        cores: the core file of each version.
        consumer: a folder on another machine.
    """

    project: Repository
    cores: tuple[bytes, bytes]
    consumer: Repository

    @property
    def url(self) -> str:
        return self.project.path.as_uri()

    @property
    def remote(self) -> Path:
        return self.project.path.parent / "remote"


@pytest.fixture(scope="module")
def made(
    team_project: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, tuple[bytes, bytes]]:
    folder = tmp_path_factory.mktemp("made")
    project = copy_of(team_project, folder / "project")
    project.run("core-tokens", "remote", "add", "team", str(folder / "remote"), "--default")
    cores = []
    for radius, version in (("3.0", "1.0.0"), ("1.0", "1.1.0")):
        project.set_param("radius:", f"radius: {radius}")
        project.dvc("repro")
        project.commit(f"Radius {radius}")
        project.run("core-tokens", "tag", version)
        project.dvc("push")
        cores.append((project.path / CORE).read_bytes())
    assert cores[0] != cores[1]
    (folder / "remote").rename(folder / "as-pushed")
    shutil.rmtree(project.path / ".dvc/cache")
    return folder, (cores[0], cores[1])


@pytest.fixture
def published(made: tuple[Path, tuple[bytes, bytes]], tmp_path: Path) -> Iterator[Published]:
    folder, cores = made
    shutil.copytree(folder / "as-pushed", folder / "remote")
    (tmp_path / "elsewhere").mkdir()
    yield Published(Repository(folder / "project"), cores, Repository(tmp_path / "elsewhere"))
    shutil.rmtree(folder / "remote")


def in_project(consumer: Repository) -> Repository:
    """The same place as a project of its own, which verifies what it gets."""
    consumer.run("git", "init", "--quiet", "--initial-branch", "main")
    consumer.run("dvc", "init", "--quiet")
    consumer.commit("Mine")
    return consumer


def spoil(published: Published) -> None:
    """Change one bit of the newer core in the remote, and nothing else."""
    for path in (published.remote / "files").rglob("*"):
        if path.is_file() and path.read_bytes() == published.cores[1]:
            path.chmod(0o644)
            path.write_bytes(published.cores[1][:-1] + bytes([published.cores[1][-1] ^ 1]))


def test_get_brings_a_core_of_any_revision(published: Published) -> None:
    here = published.consumer
    here.dvc("get", published.url, CORE)
    assert (here.path / "core_tokens.safetensors").read_bytes() == published.cores[1]
    here.dvc("get", published.url, CORE, "--rev", "tiny@v1.0.0", "--out", "wide.safetensors")
    assert (here.path / "wide.safetensors").read_bytes() == published.cores[0]
    assert len(list(here.path.iterdir())) == 2


def test_artifacts_get_brings_a_version_or_the_latest(published: Published) -> None:
    here = published.consumer
    printed = here.dvc("artifacts", "get", published.url, "tiny", "--rev", "v1.0.0")
    assert (here.path / "core_tokens.safetensors").read_bytes() == published.cores[0], printed
    here.dvc("artifacts", "get", published.url, "tiny", "--out", "latest.safetensors")
    assert (here.path / "latest.safetensors").read_bytes() == published.cores[1]
    done = here.run(
        "dvc", "artifacts", "get", published.url, "tiny", "--rev", "v3.0.0", check=False
    )
    assert done.returncode != 0
    assert "v3.0.0" in done.stderr


def test_import_follows_the_project_by_update(published: Published) -> None:
    here = in_project(published.consumer)
    here.dvc("import", published.url, CORE, "--rev", "tiny@v1.0.0")
    core = here.path / "core_tokens.safetensors"
    assert core.read_bytes() == published.cores[0]
    here.commit("The wide one")
    here.dvc("update", "core_tokens.safetensors.dvc", "--rev", "tiny@v1.1.0")
    assert core.read_bytes() == published.cores[1]
    assert "core_tokens.safetensors.dvc" in here.git_status()
    here.dvc("update", "core_tokens.safetensors.dvc", "--rev", "main")
    assert core.read_bytes() == published.cores[1]


@pytest.mark.parametrize("command", [("get",), ("artifacts", "get"), ("import",)], ids=" ".join)
def test_a_corrupt_object_that_dvc_takes_is_found_by_its_hash(
    published: Published, command: tuple[str, ...]
) -> None:
    spoil(published)
    here = in_project(published.consumer)
    what = "tiny" if command[0] == "artifacts" else CORE
    here.dvc(*command, published.url, what)  # it ends well: `verify` is for pull, and not for these
    core = here.path / "core_tokens.safetensors"
    found = md5(core.read_bytes(), usedforsecurity=False).hexdigest()
    listed = here.dvc("list", "--show-hash", published.url, CORE)
    assert re.search(r"\b[0-9a-f]{32}\b", listed)
    assert found not in listed
    assert core.read_bytes() != published.cores[1]


def test_what_is_right_has_the_hash_that_is_listed(published: Published) -> None:
    here = published.consumer
    here.dvc("get", published.url, CORE)
    core = (here.path / "core_tokens.safetensors").read_bytes()
    listed = here.dvc("list", "--show-hash", published.url, CORE)
    assert md5(core, usedforsecurity=False).hexdigest() in listed


def test_a_remote_beside_the_clone_is_not_found_over_a_url(published: Published) -> None:
    done = published.consumer.run(
        "dvc", "get", "--remote", "shared-folder", published.url, CORE, check=False
    )
    assert done.returncode != 0
    assert "core_tokens.safetensors" in done.stderr
    assert list(published.consumer.path.iterdir()) == []
