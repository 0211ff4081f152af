"""Nothing is ever written through a link into DVC's cache, whatever the umask."""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from killing import Warm
from repository import Repository, empty_project, save, small_matrix
from test_killed_commands import succeed
from test_kills import OUTPUTS

UNCACHED = ("core.json", "core.csv", "halo.csv", "cluster.json", "measure.json", "structure.json",
            "populations.csv", "tokens.csv", "plots/shells.csv")  # fmt: skip
CACHED = ("W.safetensors", "vocab.json", "cluster_tokens.safetensors", "measurements.safetensors",
          "core_tokens.safetensors", "pictures/shells.svg")  # fmt: skip


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with Warm(tmp_path_factory.mktemp("home"), 0o022) as process:
        yield process


@pytest.fixture(scope="module")
def template(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository with the model `tiny`, reproduced."""
    folder = tmp_path_factory.mktemp("links")
    repository = empty_project(folder / "template")
    matrix = save(folder / "W.safetensors", "W", small_matrix())
    succeed(warm, repository.path, "core-tokens", "add", "tiny", str(matrix))
    succeed(warm, repository.path, "dvc", "repro")
    return repository


def objects(folder: Path) -> dict[str, str]:
    """The md5 of every object in the cache, by its path; each is that of its name."""
    found = {
        str(path): hashlib.md5(path.read_bytes()).hexdigest()
        for path in (folder / ".dvc/cache/files/md5").glob("??/*")
    }
    for path, md5 in found.items():
        assert path.removesuffix(".dir").replace("/", "").endswith(md5), path
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def is_linked(path: Path, kind: str) -> bool:
    return path.is_symlink() if kind == "symlink" else path.stat().st_nlink > 1


def test_hard_links_under_umask_022(warm: Warm, template: Repository, tmp_path: Path) -> None:
    check_cache_stays(warm, template, tmp_path, "hardlink", 0o022)


def test_symbolic_links_under_umask_077(template: Repository, tmp_path: Path) -> None:
    with Warm(tmp_path, 0o077) as warm:
        check_cache_stays(warm, template, tmp_path, "symlink", 0o077)


def check_cache_stays(
    warm: Warm, template: Repository, tmp_path: Path, kind: str, umask: int
) -> None:
    """Nothing that is done to a project with links changes an object that was there."""
    folder, data = tmp_path / "project", tmp_path / "project/data/tiny"
    shutil.copytree(template.path, folder, symlinks=True)
    repository = Repository(folder)
    succeed(warm, folder, "dvc", "config", "cache.type", kind)
    succeed(warm, folder, "dvc", "checkout", "--relink")
    for name in CACHED:
        assert is_linked(data / name, kind), name
    before = objects(folder)
    assert len(before) > len(CACHED)
    for path in before:
        assert mode(Path(path)) == 0o444

    # By hand, with other results than are there.
    repository.set_param("radius:", "radius: 1.0")
    repository.set_param("theme:", "theme: dark")
    repository.set_param(
        "precision:" if False else "adjacency_threshold:", "adjacency_threshold: 0.4"
    )
    for stage in OUTPUTS:
        if stage != "fetch":
            succeed(warm, folder, stage, "tiny")
    assert before.items() <= objects(folder).items()
    for name in UNCACHED:
        assert mode(data / name) == 0o666 & ~umask, name
    for name in CACHED[2:]:
        assert not (data / name).is_symlink()
        assert mode(data / name) == 0o666 & ~umask, name

    # By DVC, to a new result and back to one from the cache.
    for radius in ("2.0", "3.0"):
        repository.set_param("radius:", f"radius: {radius}")
        succeed(warm, folder, "dvc", "repro", "extract@tiny")
        assert before.items() <= objects(folder).items()
    for name in UNCACHED:
        assert mode(data / name) == 0o666 & ~umask, name

    # The commands, from what is linked.
    source = "data/tiny/W.safetensors", "--cluster-tokens", "data/tiny/cluster_tokens.safetensors"
    (folder / "report.html").symlink_to((data / "core_tokens.safetensors").resolve())
    succeed(warm, folder, "core-tokens", "add", "other", *source)
    succeed(warm, folder, "core-tokens", "report", "tiny")
    succeed(warm, folder, "core-tokens", "remove", "other")
    assert not (folder / "report.html").is_symlink()
    assert mode(folder / "report.html") == mode(folder / "params.yaml") == 0o666 & ~umask
    assert before.items() <= objects(folder).items()
    succeed(warm, folder, "core-tokens", "remove", "tiny")
    assert before.items() <= objects(folder).items()
    assert not os.path.lexists(data)
