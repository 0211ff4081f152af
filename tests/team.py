"""A team for the tests: a project, a remote of each kind, and clones that meet there."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import servers
from repository import Repository, clone, empty_project, save, small_matrix
from servers import Remote

CORE = "data/tiny/core_tokens.safetensors"
MEASUREMENTS = "data/tiny/measurements.safetensors"
MATRIX = "data/tiny/W.safetensors"


@pytest.fixture(scope="session")
def team_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project whose model is made, of which nothing was pushed."""
    folder = tmp_path_factory.mktemp("made")
    repository = empty_project(folder / "a")
    matrix = save(folder / "W.safetensors", "W", small_matrix())
    repository.run("core-tokens", "add", "tiny", "--embedding", str(matrix))
    repository.dvc("repro")
    repository.commit("Add tiny")
    return folder


@pytest.fixture
def first(team_project: Path, tmp_path: Path) -> Repository:
    """A clone of its own, with all data."""
    return copy_of(team_project, tmp_path / "a")


def copy_of(team_project: Path, path: Path) -> Repository:
    """The same project, its cache included, in another place."""
    shutil.copytree(team_project / "a", path, symlinks=True)
    return Repository(path)


@pytest.fixture(scope="module", params=servers.KINDS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Remote]:
    """A remote of each kind."""
    with servers.KINDS[request.param](tmp_path_factory.mktemp(request.param)) as remote:
        yield remote


@pytest.fixture
def remote(server: Remote) -> Remote:
    """It, without what the test before has left."""
    for oid in server.oids():
        server.remove(oid)
    if server.relay is not None:
        server.relay.restore()
    return server


def join(first: Repository, remote: Remote, name: str) -> Repository:
    """Another clone, of someone who has secrets of their own for the remote."""
    other = clone(first, first.path.parent / name)
    if remote.secrets:
        remote.configure(other)
    return other


def share(first: Repository, remote: Remote) -> None:
    """Configure the remote for everyone, and push everything."""
    remote.configure(first)
    first.commit("Share it")
    push(first, remote)


def push(repository: Repository, remote: Remote, *targets: str) -> None:
    """``dvc push``, by way of the folder that a server shows if it only shows it."""
    if remote.filled_by is not None:
        repository.dvc("push", "--remote", filling(repository, remote), *targets)
    else:
        repository.dvc("push", *targets)


def filling(repository: Repository, remote: Remote) -> str:
    """The name of the remote that fills one that is only read."""
    assert remote.filled_by is not None
    if "filling" not in repository.dvc("config", "--local", "--list"):
        url = remote.filled_by.url
        repository.run("dvc", "remote", "add", "--local", "filling", url)
        repository.run("dvc", "config", "--local", "remote.filling.verify", "true")
    return "filling"


def oid(repository: Repository, path: str) -> str:
    """What dvc.lock or a .dvc file has of a file."""
    yaml = YAML(typ="safe")
    tracked = repository.path / f"{path}.dvc"
    if tracked.exists():
        return str(yaml.load(tracked.read_text())["outs"][0]["md5"])
    stages = yaml.load((repository.path / "dvc.lock").read_text())["stages"].values()
    return str(next(o["md5"] for stage in stages for o in stage["outs"] if o["path"] == path))


def content(repository: Repository, path: str) -> bytes:
    return (repository.path / path).read_bytes()
