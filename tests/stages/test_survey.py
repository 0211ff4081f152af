import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pyarrow import parquet
from ruamel.yaml import YAML
from safetensors.numpy import save

import project
from core_tokens.survey.run import survey
from project import Project, check_refusal
from repository import Repository, empty_project, small_matrix

OUTPUTS = {"survey.parquet", "membership.parquet", "survey.json", "plots/sizes.csv",
           "plots/arrivals.csv", "plots/overlap.csv"}  # fmt: skip
SURVEY = {"sources": ["runs/step*"], "radii": [2.0, 1.0], "distances": ["ulp", "l2"],
          "threshold": 0.002}  # fmt: skip


def write_survey(folder: Path, name: str = "tiny", **changes: Any) -> None:
    """Add a survey to params.yaml, or change the one that is there."""
    path = folder / "params.yaml"
    text = path.read_text().partition("survey: ")[0]
    path.write_text(f"{text}survey: {json.dumps({name: SURVEY | changes})}\n")


def write_run(folder: Path, matrices: dict[int, NDArray[Any]]) -> None:
    """Checkpoints: step -> matrix."""
    (folder / "runs").mkdir(exist_ok=True)
    for step, matrix in matrices.items():
        (folder / f"runs/step{step}.safetensors").write_bytes(save({"W": matrix}))


@pytest.fixture
def ready(tmp_path: Path) -> Project:
    """Three checkpoints and params.yaml: a survey needs nothing else."""
    made = Project(tmp_path)
    made.write_params()
    tiny = project.tiny_matrix()
    write_run(tmp_path, {9: tiny[:9], 10: tiny, 100: np.roll(tiny, 1, axis=0)})
    write_survey(tmp_path)
    return made


def written(folder: Path, name: str = "tiny") -> dict[str, bytes]:
    """What a survey has written, by its names, but for how long it took."""
    there = folder / "data/surveys" / name
    return {
        str(path.relative_to(there)): path.read_bytes()
        for path in there.rglob("*")
        if path.is_file() and path.name not in ("costs.csv", ".gitignore")
    }


# ---- what it writes --------------------------------------------------------------------------


def test_process_writes_what_the_function_writes_and_a_summary(
    ready: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = ready.stage_process("survey", "tiny")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == (
        "Survey tiny: 3 checkpoints, 3 succeeded (0 of them from the store), 0 failed"
    )
    assert "core within 2 ulp" in done.out
    assert lines[-1].endswith("see data/surveys/tiny")
    found = written(ready.folder)
    assert found.keys() == OUTPUTS
    monkeypatch.chdir(ready.folder)
    shutil.rmtree("data")
    shutil.rmtree(".core-tokens")
    survey("tiny", workers=0)
    assert written(ready.folder) == found
    assert json.loads(found["survey.json"])["last"]["cluster_tokens"] == 6


def test_does_not_import_torch_or_dvc(ready: Project) -> None:
    modules = project.modules_after("survey", ready.folder)
    assert {"core_tokens", "pyarrow", "distributed"} <= modules
    assert not modules & {"torch", "dvc"}


# ---- what it refuses -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "mention"), project.WRONG_ARGUMENTS.values(), ids=project.WRONG_ARGUMENTS
)
def test_wrong_arguments_are_refused(
    ready: Project, arguments: tuple[str, ...], mention: str
) -> None:
    project.check_stage_refuses(ready, "survey", mention, arguments=arguments)


@pytest.mark.parametrize("name", ["a model that is not listed", "a line break"])
def test_wrong_arguments_are_refused_by_the_process(ready: Project, name: str) -> None:
    arguments, mention = project.WRONG_ARGUMENTS[name]
    project.check_stage_refuses(ready, "survey", mention, arguments=arguments, process=True)


@pytest.mark.parametrize(("spoil", "mention"), project.BAD_PARAMS.values(), ids=project.BAD_PARAMS)
def test_bad_params_are_refused(
    ready: Project, spoil: Callable[[Project], None], mention: str
) -> None:
    spoil(ready)
    if (ready.folder / "params.yaml").exists():
        with (ready.folder / "params.yaml").open("ab") as file:
            file.write(f"survey: {json.dumps({'tiny': SURVEY})}\n".encode())
    project.check_stage_refuses(ready, "survey", "params.yaml", mention)


@pytest.mark.parametrize(
    ("changes", "mention"),
    [
        ({"sources": []}, "survey.tiny.sources"), ({"radii": []}, "survey.tiny.radii"),
        ({"threshold": 0}, "survey.tiny.threshold"), ({"distances": ["x"]}, "tiny.distances[0]"),
        ({"sources": ["none*"]}, "survey.tiny.sources[0]: found 'none*', which matches nothing"),
        ({"sources": ["s3://x"]}, "survey.tiny.sources[0]"),
        ({"store": "ssh://a:secret@b"}, "survey.tiny.store"),
        ({"store": "no-such-kind://a"}, "no-such-kind://a: found "),
        ({"store": "params.yaml"}, "params.yaml: found a store that cannot be written"),
    ],
)  # fmt: skip
def test_a_survey_that_cannot_be_is_refused_before_anything_is_made(
    ready: Project, changes: dict[str, Any], mention: str
) -> None:
    write_survey(ready.folder, **changes)
    before = ready.snapshot()
    done = ready.stage_here("survey", "tiny")
    check_refusal(done, mention)
    assert "secret" not in done.err
    assert ready.snapshot() == before


def test_if_all_fail_the_first_reason_is_one_line_and_nothing_is_written(ready: Project) -> None:
    write_survey(ready.folder, sources=["runs/none", "runs"])
    done = ready.stage_process("survey", "tiny")
    check_refusal(done, "survey.tiny.sources", "runs/none: found no such file or folder")
    assert not (ready.folder / "data").exists()


# ---- DVC -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project without a model."""
    return empty_project(tmp_path_factory.mktemp("survey") / "project").path


@pytest.fixture
def repository(empty: Path, tmp_path: Path) -> Repository:
    """A copy of its own, with a survey of three checkpoints."""
    path = tmp_path / "project"
    shutil.copytree(empty, path, symlinks=True)
    matrix = small_matrix()
    write_run(path, {1: matrix[:30], 2: matrix, 3: matrix + 2})
    write_survey(path, "run", sources=["runs/step*"], threshold=0.5)
    return Repository(path)


def ignore_runs(repository: Repository) -> None:
    """Have Git ignore the checkpoints."""
    path = repository.path / ".gitignore"
    path.write_text(path.read_text() + "/runs/\n")


def test_a_survey_in_a_repository(repository: Repository) -> None:
    path = repository.path
    # The first time all is found.
    out = repository.dvc("repro")
    assert "Running stage 'survey@run'" in out
    assert "3 checkpoints, 3 succeeded (0 of them from the store), 0 failed" in out
    first = written(path, "run")
    assert first.keys() == OUTPUTS
    ignore_runs(repository)
    repository.commit("A survey")
    listed = repository.run("git", "ls-files", "data").stdout.split()
    assert {f"data/surveys/run/{name}" for name in OUTPUTS if "parquet" not in name} <= set(listed)
    assert not [name for name in listed if name.endswith((".parquet", "costs.csv"))]
    assert (path / "data/surveys/run/costs.csv").is_file()
    assert repository.git_status() == ""

    # Nothing has changed.
    assert repository.ran() == set()
    assert repository.dvc("status") == "Data and pipelines are up to date.\n"

    # The store is no part of what is found.
    write_survey(path, "run", threshold=0.5, store="elsewhere")
    assert repository.ran() == set()
    write_survey(path, "run", threshold=0.5)

    # A radius is: but nothing is found again.
    write_survey(path, "run", threshold=0.5, radii=[4.0])
    out = repository.dvc("repro")
    assert "Running stage 'survey@run'" in out
    assert "3 succeeded (3 of them from the store)" in out
    table = parquet.read_table(path / "data/surveys/run/survey.parquet").to_pylist()
    assert [(row["radius"], row["step"]) for row in table] == [(4.0, 1), (4.0, 2), (4.0, 3)]
    changes = json.loads(repository.run("dvc", "metrics", "diff", "--json").stdout)
    assert changes["data/surveys/run/survey.json"]["core.radius"]["new"] == 4.0

    # Back again: DVC has it, and so it has without its cache and without the store.
    write_survey(path, "run", threshold=0.5)
    repository.dvc("repro")
    assert written(path, "run") == first
    shutil.rmtree(path / ".core-tokens")
    out = repository.dvc("repro", "--force")
    assert "(0 of them from the store)" in out
    assert written(path, "run") == first
    assert repository.git_status() == ""


def steps_of(repository: Repository) -> list[int]:
    table = parquet.read_table(repository.path / "data/surveys/run/survey.parquet")
    return sorted(set(table.column("step").to_pylist()))


def test_a_checkpoint_that_is_added_to_a_folder_is_seen_when_asked_to_look_again(
    repository: Repository,
) -> None:
    ignore_runs(repository)
    repository.dvc("repro")
    repository.commit("A survey")
    write_run(repository.path, {4: small_matrix()})
    assert repository.ran() == set()  # DVC does not know what a pattern matches
    assert steps_of(repository) == [1, 2, 3]
    out = repository.dvc("repro", "--force", "survey@run")
    assert "4 succeeded (4 of them from the store), 0 failed" in out  # the bytes of step 2
    assert steps_of(repository) == [1, 2, 3, 4]
    assert repository.dvc("status") == "Data and pipelines are up to date.\n"
    assert repository.ran() == set()
    assert steps_of(repository) == [1, 2, 3, 4]
    changes = json.loads(repository.run("dvc", "metrics", "diff", "--json").stdout)
    total = changes["data/surveys/run/survey.json"]["checkpoints.total"]
    assert (total["old"], total["new"]) == (3, 4)


@pytest.mark.parametrize("before", [True, False])
def test_a_survey_that_was_made_by_the_command_is_recorded_by_a_commit(
    repository: Repository, before: bool
) -> None:
    path = repository.path
    ignore_runs(repository)
    if before:
        repository.dvc("repro")
        repository.commit("A survey")
        write_run(path, {4: small_matrix() * 3})
    done = repository.run("core-tokens", "survey", "run", "--workers", "0")
    assert f"{3 + before} checkpoints, {3 + before} succeeded ({3 * before} of them" in done.stdout
    found = written(path, "run")
    assert not re.search(r"parquet|costs", repository.run(
        "git", "status", "--porcelain", "--untracked-files=all", "data/surveys"
    ).stdout)  # fmt: skip
    repository.dvc("commit", "--force", "survey@run")
    assert repository.dvc("status") == "Data and pipelines are up to date.\n"
    assert repository.ran() == set()
    assert written(path, "run") == found
    assert steps_of(repository) == [1, 2, 3, 4][: 3 + before]
    repository.commit("What was found")
    assert repository.git_status() == ""
    # It is DVC's like any other: what is lost comes from the cache.
    (path / "data/surveys/run/survey.parquet").unlink()
    repository.dvc("checkout")
    assert written(path, "run") == found
    assert repository.git_status() == ""


@pytest.mark.parametrize("name", ["survey.parquet", "membership.parquet", "costs.csv"])
def test_git_ignores_the_tables_of_a_survey_before_dvc_knows_of_them(
    repository: Repository, name: str
) -> None:
    done = repository.run("git", "check-ignore", "--verbose", f"data/surveys/any/{name}")
    assert done.stdout.startswith(".gitignore:")
    others = ("survey.json", "plots/sizes.csv")
    listed = [f"data/surveys/any/{other}" for other in others]
    assert repository.run("git", "check-ignore", *listed, check=False).stdout == ""


def test_a_survey_of_nothing_is_one_line_of_the_stage(repository: Repository) -> None:
    write_survey(repository.path, "run", sources=["none/*", "runs/step*"])
    done = repository.run("dvc", "repro", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert lines == [
        "error: params.yaml: survey.run.sources[0]: found 'none/*', which matches nothing here; "
        "expected a path"
    ]


def test_without_surveys_there_is_no_stage(empty: Path, tmp_path: Path) -> None:
    shutil.copytree(empty, tmp_path / "project", symlinks=True)
    repository = Repository(tmp_path / "project")
    assert "survey" not in repository.dvc("stage", "list")
    write_survey(repository.path, "one")
    assert "survey@one" in repository.dvc("stage", "list")


USERS = b"a file of the user's"


def outputs_of(repository: Repository, name: str) -> list[Path]:
    """Where dvc.yaml says that a survey of this name would write."""
    stage = YAML(typ="safe").load((repository.path / "dvc.yaml").read_text())["stages"]["survey"]
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in stage["do"][kind]]
    paths = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    assert len(paths) == len(OUTPUTS)
    assert all(re.match(r"data/surveys/\$\{key\}/", path) for path in paths)
    return [
        Path(os.path.normpath(repository.path / path.replace("${key}", name))) for path in paths
    ]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../tiny", "../../victim", "../../.git", "../../../victim",
     "../../../../victim", "a/../../tiny", "a/../../../../victim", "../surveys", "../../src"],
)  # fmt: skip
def test_dvc_repro_removes_nothing_where_a_name_leads_out_of_the_folder_of_surveys(
    repository: Repository, name: str
) -> None:
    write_survey(repository.path, name, threshold=0.5)
    paths = outputs_of(repository, name)
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(USERS)
    done = repository.run("dvc", "repro", "--force", "--keep-going", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for path in paths:
        assert path.read_bytes() == USERS, path
