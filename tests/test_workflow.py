"""The workflow for GitHub, step by step, without data; ``gh`` only keeps what it gets."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from repository import ROOT, Repository
from team import copy_of

WORKFLOW: dict[str, Any] = YAML(typ="safe").load((ROOT / ".github/workflows/core.yml").read_text())
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["review"]["steps"]
GH = """\
#!/bin/sh
printf '%s\\n' "$@" > "$FAKE/arguments"
while [ "$1" != --body-file ]; do shift; done
cp "$2" "$FAKE/comment.md"
printf %s "$GH_TOKEN" > "$FAKE/token"
"""


@pytest.fixture(scope="module")
def merged(team_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A pull request that changes the radius, merged into its base as GitHub does."""
    folder = tmp_path_factory.mktemp("made")
    repository = copy_of(team_project, folder / "project")
    repository.run("git", "checkout", "--quiet", "-b", "smaller")
    repository.set_param("radius:", "radius: 1.0")
    repository.dvc("repro")
    repository.commit("Radius 1")
    repository.run("git", "checkout", "--quiet", "main")
    repository.run("git", "merge", "--quiet", "--no-ff", "--no-edit", "smaller")
    return repository


@pytest.fixture
def checkout(merged: Repository, tmp_path: Path) -> Repository:
    """As the action leaves it: two commits deep, no data, no remote that is there."""
    merged.run(
        "git", "clone", "--quiet", "--depth", "2", merged.path.as_uri(), str(tmp_path / "checkout")
    )
    return Repository(tmp_path / "checkout")


def run_steps(checkout: Repository, **more: str) -> tuple[int, Path]:
    """Run the steps until one fails; the exit code, and where what ``gh`` and GitHub got lies."""
    fake = checkout.path.parent / "fake"
    fake.mkdir(exist_ok=True)
    (fake / "gh").write_text(GH)
    (fake / "gh").chmod(0o755)
    values = {"github.token": "a-token", "github.event.pull_request.number": "7"}
    home = checkout.path.parent / "home"
    environment = {
        "PATH": f"{fake}:{Path(shutil.which('dvc') or '').parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "DVC_SITE_CACHE_DIR": str(home / "site-cache"),
        "DVC_NO_ANALYTICS": "1",
        "FAKE": str(fake),
        "GITHUB_STEP_SUMMARY": str(fake / "summary.md"),
        **more,
    }
    for step in STEPS:
        if "run" not in step or step["name"] == "Install":
            continue
        given = {key: filled(value, values) for key, value in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=checkout.path,
            env=environment | given,
            check=False,
        )
        if done.returncode:
            return done.returncode, fake
    return 0, fake


def filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"${{{{ {name} }}}}", value)
    assert "${{" not in text
    return text


def test_what_a_pull_request_changes_becomes_a_comment(checkout: Repository) -> None:
    code, fake = run_steps(checkout)
    assert code == 0
    comment = (fake / "comment.md").read_text()
    assert comment.startswith("## Core tokens: `HEAD^1` → `HEAD`\n")
    assert "| `extract.radius` | 3 | 1 |" in comment
    assert "**6 tokens left the core**" in comment
    assert "Stale" not in comment
    assert (fake / "summary.md").read_text() == comment
    arguments = (fake / "arguments").read_text().split()
    assert arguments[:3] == ["pr", "comment", "7"]
    assert {"--edit-last", "--create-if-none"} < set(arguments)
    assert (fake / "token").read_text() == "a-token"


def test_it_brings_no_data(checkout: Repository) -> None:
    run_steps(checkout)
    assert not (checkout.path / ".dvc/cache").exists()
    assert not list((checkout.path / "data").rglob("*.safetensors"))


def test_parameters_without_their_outputs_are_called_stale_and_fail(checkout: Repository) -> None:
    checkout.set_param("radius:", "radius: 2.0")
    checkout.commit("Radius 2, and nothing run")
    code, fake = run_steps(checkout)
    assert code == 1
    comment = (fake / "comment.md").read_text()
    stale = "**Stale: run `dvc repro` and commit dvc.lock.** From here on:\n\n- `extract@tiny`\n\n"
    assert comment.startswith(stale)
    assert "## Core tokens" in comment


def test_where_the_inputs_are_here_it_is_the_same(merged: Repository) -> None:
    before = (merged.path / "params.yaml").read_text()
    try:
        merged.set_param("radius:", "radius: 2.0")
        code, fake = run_steps(merged)
    finally:
        (merged.path / "params.yaml").write_text(before)
    assert code == 1
    assert "From here on:\n\n- `extract@tiny`\n\n##" in (fake / "comment.md").read_text()


def test_a_pipeline_that_dvc_cannot_read_fails_and_is_no_comment(checkout: Repository) -> None:
    with (checkout.path / "dvc.yaml").open("a") as file:
        file.write("<<<<<<< HEAD\n")
    code, fake = run_steps(checkout)
    assert code not in (0, 1)
    assert not (fake / "comment.md").exists()


def test_it_never_runs_for_more_than_it_may() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert (
        WORKFLOW["on"] == "pull_request"
    )  # and not pull_request_target, which has secrets for forks


def test_no_step_has_a_value_of_the_event_in_its_script() -> None:
    for step in STEPS:
        assert "${{" not in step.get("run", "")  # a title could hold a command
