"""The stages under DVC, in real repositories with a small model."""

import json
import re
from pathlib import Path

import pytest

from core_tokens.pictures import PICTURES
from repository import Repository, clone, empty_project, save, small_matrix
from team import copy_of

AFTER_RADIUS = {"extract@tiny", "analyse@tiny", "draw@tiny"}
CLUSTER_AND_AFTER = {"cluster@tiny", "measure@tiny", *AFTER_RADIUS}


@pytest.fixture
def tiny(team_project: Path, tmp_path: Path) -> Repository:
    """A committed repository in which the model `tiny` was added and reproduced."""
    return copy_of(team_project, tmp_path / "tiny")


def core(repository: Repository, model: str = "tiny") -> dict[str, dict[str, int]]:
    metrics: dict[str, dict[str, int]] = json.loads(
        (repository.path / "data" / model / "core.json").read_text()
    )
    return metrics


def test_a_project_without_models_has_nothing_to_do(tmp_path: Path) -> None:
    assert empty_project(tmp_path / "empty").ran() == set()


def test_a_model_that_was_added_runs_from_its_matrix_on(tmp_path: Path) -> None:
    repository = empty_project(tmp_path / "tiny")
    matrix = save(tmp_path / "W.safetensors", "W", small_matrix())
    repository.run("core-tokens", "add", "tiny", "--embedding", str(matrix))
    assert repository.ran() == CLUSTER_AND_AFTER


def test_a_second_repro_runs_nothing_and_leaves_git_clean(tiny: Repository) -> None:
    assert tiny.ran() == set()
    assert tiny.git_status() == ""
    assert "up to date" in tiny.dvc("status")


def test_a_forced_repro_writes_the_same_bytes(tiny: Repository) -> None:
    assert tiny.ran("--force", "--no-run-cache") == CLUSTER_AND_AFTER
    assert tiny.git_status() == ""


def test_a_new_radius_runs_extract_and_what_draws_it_and_a_radius_seen_before_runs_nothing(
    tiny: Repository,
) -> None:
    before = core(tiny)
    tiny.set_param("radius:", "radius: 1.0")
    assert tiny.ran() == AFTER_RADIUS
    assert core(tiny)["core"]["tokens"] == 11
    assert re.search(r"core\.json +core\.tokens +17 +11 +-6", tiny.dvc("metrics", "diff"))
    tiny.set_param("radius:", "radius: 3.0")
    printed = tiny.dvc("repro")
    for stage in AFTER_RADIUS:
        assert f"'{stage}' is cached - skipping run" in printed
    assert "Running stage" not in printed
    assert core(tiny) == before


def test_another_ruler_runs_the_same_stages_and_names_its_radius(tiny: Repository) -> None:
    tiny.set_param("distance:", "distance: steps")
    assert tiny.ran() == AFTER_RADIUS
    core_file = (tiny.path / "data/tiny/core_tokens.safetensors").read_bytes()
    assert b"max_core_radius_steps" in core_file


def test_another_threshold_runs_cluster_and_what_follows(tiny: Repository) -> None:
    tiny.set_param("adjacency_threshold:", "adjacency_threshold: 0.015")
    assert tiny.ran() == CLUSTER_AND_AFTER


def test_a_second_model_leaves_the_first_alone(tiny: Repository, tmp_path: Path) -> None:
    matrix = save(tmp_path / "V.safetensors", "V", small_matrix()[::-1])
    tiny.run("core-tokens", "add", "other", "--embedding", str(matrix))
    assert tiny.ran() == {stage.replace("tiny", "other") for stage in CLUSTER_AND_AFTER}


def test_a_removed_model_leaves_no_trace(tiny: Repository, tmp_path: Path) -> None:
    matrix = save(tmp_path / "V.safetensors", "V", small_matrix()[::-1])
    tiny.run("core-tokens", "add", "other", "--embedding", str(matrix))
    tiny.ran()
    tiny.run("core-tokens", "remove", "other")
    assert tiny.git_status() == ""
    assert tiny.ran() == set()


def test_metrics_and_plots_are_shown(tiny: Repository) -> None:
    shown = json.loads(tiny.dvc("metrics", "show", "--json"))
    files = shown[""]["data"]
    assert set(files) == {
        f"data/tiny/{name}.json" for name in ("cluster", "measure", "core", "structure")
    }
    tiny.set_param("radius:", "radius: 1.0")
    tiny.ran()
    for command in (("show",), ("diff",)):
        tiny.dvc("plots", *command, "--out", "plots")
        page = (tiny.path / "plots/index.html").read_text()
        for name in ("populations", "halo", *(f"plots_{name}" for name in PICTURES)):
            assert f"data_tiny_{name}_csv" in page, name


def test_a_failing_stage_stops_the_pipeline_with_one_line(tiny: Repository) -> None:
    tiny.set_param("radius:", "radius: .nan")
    done = tiny.run("dvc", "repro", check=False)
    assert done.returncode != 0
    assert "error: params.yaml: extract.radius: found nan; expected" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_colleague_changes_the_radius_without_the_matrix(
    tiny: Repository, tmp_path: Path
) -> None:
    tiny.dvc("push")
    other = clone(tiny, tmp_path / "other")
    other.dvc("pull", "measure@tiny")
    folder = other.path / "data/tiny"
    assert (folder / "measurements.safetensors").is_file()
    other.set_param("radius:", "radius: 2.0")
    assert other.ran("--pull", "--allow-missing") == AFTER_RADIUS
    assert core(other)["core"]["tokens"] == 15
    assert not (folder / "W.safetensors").exists()
    other.commit("Radius 2")
    other.dvc("push", "extract@tiny", "draw@tiny")
    assert other.git_status() == ""
    assert other.ran("--pull", "--allow-missing") == set()
    assert "up to date" in other.dvc("status", "extract@tiny")
    other.dvc("exp", "run", "--pull", "--allow-missing", "-S", "extract.radius=1")
    assert core(other)["core"]["tokens"] == 11
    assert not (folder / "W.safetensors").exists()
    # And the first gets the core that was made without the matrix.
    tiny.run("git", "pull", "--quiet", str(other.path), "main")
    tiny.dvc("pull", "extract@tiny", "draw@tiny")
    assert core(tiny)["core"]["tokens"] == 15
    assert tiny.ran() == set()
    changed = tiny.dvc("metrics", "diff", "HEAD~1", "HEAD")
    assert re.search(r"core\.json +core\.tokens +17 +15 +-2", changed)


def test_a_corrupt_object_in_the_remote_is_refused(tiny: Repository, tmp_path: Path) -> None:
    tiny.dvc("push")
    for stored in (tmp_path / "core-tokens-remote/files").rglob("*"):
        if stored.is_file():
            stored.chmod(0o644)
            content = stored.read_bytes()
            stored.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    other = clone(tiny, tmp_path / "other")
    done = other.run("dvc", "pull", "measure@tiny", check=False)
    assert done.returncode != 0
    assert not (other.path / "data/tiny/measurements.safetensors").exists()


def test_a_stage_never_writes_through_a_link_into_the_cache(tiny: Repository) -> None:
    tiny.dvc("config", "cache.type", "symlink")
    tiny.dvc("checkout", "--relink")
    output = tiny.path / "data/tiny/core_tokens.safetensors"
    assert output.is_symlink()
    cached = output.resolve()
    before = cached.read_bytes()
    tiny.set_param("radius:", "radius: 0")
    tiny.run("python", "-m", "core_tokens.stages.extract", "tiny")
    assert cached.read_bytes() == before
    assert not output.is_symlink()
    assert output.read_bytes() != before
