"""Versions of a core."""

import shutil
from pathlib import Path

import pytest

from project import Done, Project, check_refusal
from repository import Repository
from team import copy_of

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # of DVC's

CORE = "data/tiny/core_tokens.safetensors"


@pytest.fixture
def project(team_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    project = copy_of(team_project, tmp_path / "project")
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "A Tester")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "tester@example.org")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site-cache"))
    return project


def tag(project: Repository, *arguments: str) -> Done:
    return Project(project.path).command_here("tag", *arguments)


def tags(project: Repository) -> list[str]:
    return project.run("git", "tag", "--list").stdout.split()


@pytest.mark.parametrize("version", ["1.0.0", "v1.0.0", "0.1.0-rc.1", "2.0.0+made.2026"])
def test_a_tag_is_annotated_with_the_core_in_numbers(project: Repository, version: str) -> None:
    done = tag(project, version)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Tagged tiny@v")
    name = f"tiny@v{version.removeprefix('v')}"
    assert tags(project) == [name]
    assert project.run("git", "cat-file", "-t", name).stdout == "tag\n"
    message = project.run("git", "tag", "--list", "--format", "%(contents)", name).stdout.strip()
    assert message == "17 core tokens in 7 vectors within 3 (ulp), 3 in the halo"
    assert message in done.out
    assert f"git push origin {name}" in done.out
    assert "dvc push extract@tiny" in done.out
    head = project.run("git", "rev-parse", "HEAD").stdout
    assert project.run("git", "rev-parse", f"{name}^{{commit}}").stdout == head


def test_nothing_else_is_printed(project: Repository) -> None:
    done = project.run("core-tokens", "tag", "1.0.0")
    assert done.stdout.startswith("Tagged tiny@v1.0.0: ")
    assert done.stderr == ""


def test_a_version_must_be_higher_than_all_there_are(project: Repository) -> None:
    for version in ("1.9.0", "1.10.0-rc1", "1.10.0"):
        assert tag(project, version).code == 0
    for version in ("1.10.0", "1.10.0-rc2", "1.9.1", "0.1.0"):
        check_refusal(tag(project, version), "tiny@v1.10.0 already", "a higher version")
    assert tag(project, "1.10.1", "tiny").code == 0
    assert len(tags(project)) == 4


@pytest.mark.parametrize("version", ["1", "1.0", "v", "", "1.0.0.0", "01.0.0", "latest", "1.0.0 "])
def test_what_is_no_version_is_refused(project: Repository, version: str) -> None:
    check_refusal(tag(project, version), f"the version {version!r}", "1.0.0")
    assert tags(project) == []


def test_another_model_or_one_without_an_artifact_is_refused(project: Repository) -> None:
    check_refusal(tag(project, "1.0.0", "other"), "params.yaml: models", "'other'")
    pipeline = project.path / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().partition("artifacts:")[0])
    project.commit("No artifacts")
    check_refusal(tag(project, "1.0.0"), "dvc.yaml: artifacts", "no 'tiny'", CORE)
    assert tags(project) == []


def test_of_several_models_one_must_be_named(project: Repository) -> None:
    project.set_param("models:", "models: [tiny, other-]")
    project.commit("Two")
    check_refusal(tag(project, "1.0.0"), "no model named", "tiny, other-")
    check_refusal(tag(project, "1.0.0", "other-"), "'other-'", "ends with a letter or digit")


def test_changes_that_are_not_committed_are_refused(project: Repository) -> None:
    project.set_param("radius:", "radius: 1.0")
    check_refusal(tag(project, "1.0.0"), "params.yaml: found changes that are not committed")
    project.commit("Radius 1, and nothing run")
    check_refusal(tag(project, "1.0.0"), "dvc.lock", "stale", "dvc repro first")
    project.dvc("repro")
    project.commit("Radius 1")
    assert "11 core tokens" in tag(project, "1.0.0").out


def test_a_stale_core_is_found_where_its_inputs_are_not_here(project: Repository) -> None:
    other = Repository(project.path.parent / "other")
    project.run("git", "clone", "--quiet", str(project.path), str(other.path))
    assert tag(other, "1.0.0").code == 0
    other.set_param("device:", "device: auto")
    other.commit("Another device, and nothing run")
    check_refusal(tag(other, "1.1.0"), "dvc.lock", "stale")


def test_a_core_that_is_not_in_git_is_refused(project: Repository) -> None:
    project.run("git", "rm", "--quiet", "--cached", "dvc.lock")
    project.run("git", "commit", "--quiet", "--message", "No lock")
    check_refusal(tag(project, "1.0.0"), "dvc.lock: found not in Git", "git add dvc.lock")


def test_where_git_makes_no_tag_its_reason_is_told(
    project: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_COMMITTER_NAME", "")
    check_refusal(tag(project, "1.0.0"), "git tag", "ident name")


def test_outside_of_git_it_says_so(project: Repository) -> None:
    shutil.rmtree(project.path / ".git")
    check_refusal(tag(project, "1.0.0"), "git status", "a Git repository here")
