"""DVC's experiments over the radius: run, queued, shown, applied, and in a folder of their own."""

import csv
import io
import shutil
from hashlib import md5
from pathlib import Path

import pytest

from repository import Repository, clone
from team import copy_of

MATRIX = "data/tiny/W.safetensors"


@pytest.fixture(scope="module")
def made(team_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    project = copy_of(team_project, folder / "project")
    project.dvc("push")
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Repository:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True, symlinks=True)
    return Repository(tmp_path / "project")


def shown(project: Repository) -> dict[str, dict[str, str]]:
    """What ``dvc exp show`` has of each experiment, by its name."""
    text = project.run("dvc", "exp", "show", "--csv").stdout
    return {row["Experiment"] or row["rev"]: row for row in csv.DictReader(io.StringIO(text))}


def names(project: Repository) -> list[str]:
    return project.run("dvc", "exp", "list", "--name-only").stdout.split()


def test_an_experiment_changes_the_radius_and_is_shown_beside_the_commit(
    project: Repository,
) -> None:
    before = (project.path / "params.yaml").read_text()
    project.dvc("exp", "run", "--name", "wider", "--set-param", "extract.radius=4")
    after = (project.path / "params.yaml").read_text()
    for line in before.replace("radius: 3.0", "radius: 4").splitlines():
        assert "[tiny]" in line or line in after  # lists DVC lays out anew, and nothing else
    rows = shown(project)
    assert rows["wider"]["core.tokens"] == "20"
    assert rows["wider"]["extract.radius"] == "4"
    assert rows["main"]["core.tokens"] == "17"
    report = project.run("core-tokens", "diff", "HEAD", "wider").stdout
    assert "Core 17 → **20** tokens" in report


def test_a_queue_over_ranges_and_choices_runs_each_and_one_is_applied(project: Repository) -> None:
    sets = ("extract.radius=range(1,3,1)", "extract.distance=choice(ulp)")
    refused = project.run("dvc", "exp", "run", "--set-param", sets[0], check=False)
    assert refused.returncode != 0
    assert "queue" in refused.stderr
    project.dvc("exp", "run", "--queue", "--set-param", sets[0], "--set-param", sets[1])
    assert project.dvc("queue", "status").count("Queued") == 2
    project.dvc("exp", "run", "--run-all", "--jobs", "2")
    rows = shown(project)
    found = {
        (rows[name]["extract.distance"], rows[name]["extract.radius"]): rows[name]["core.tokens"]
        for name in names(project)
    }
    assert found == {("ulp", "1"): "11", ("ulp", "2"): "15"}
    assert project.git_status() == ""

    chosen = next(name for name in names(project) if rows[name]["core.tokens"] == "15")
    project.dvc("exp", "apply", chosen)
    assert '"tokens": 15' in (project.path / "data/tiny/core.json").read_text()
    assert "up to date" in project.dvc("status")
    project.commit("Radius 2")


def test_in_a_folder_of_its_own_with_hard_links_the_matrix_is_neither_copied_nor_changed(
    project: Repository,
) -> None:
    project.dvc("config", "cache.type", "hardlink")
    project.dvc("checkout", "--relink")
    project.commit("Hard links")
    matrix = project.path / MATRIX
    digest = md5(matrix.read_bytes(), usedforsecurity=False).hexdigest()
    cached = project.path / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    assert cached.samefile(matrix)
    before = (project.path / "data/tiny/core.json").read_bytes()
    project.dvc("exp", "run", "--temp", "--name", "apart", "--set-param", "extract.radius=4")
    assert shown(project)["apart"]["core.tokens"] == "20"
    assert (project.path / "data/tiny/core.json").read_bytes() == before
    assert project.git_status() == ""
    assert cached.samefile(matrix)
    assert md5(cached.read_bytes(), usedforsecurity=False).hexdigest() == digest


def test_without_the_matrix_the_measurements_are_enough(
    project: Repository, tmp_path: Path
) -> None:
    other = clone(project, tmp_path / "other")
    arguments = ("--pull", "--allow-missing", "--name", "wider", "--set-param", "extract.radius=4")
    other.dvc("exp", "run", *arguments)
    assert shown(other)["wider"]["core.tokens"] == "20"
    assert not (other.path / MATRIX).exists()
