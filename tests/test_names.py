"""Names with characters of a shell or of a path reach no shell, and nothing outside of data/."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from safetensors.numpy import save_file

from core_tokens import params
from core_tokens.checkpoint import locate
from core_tokens.errors import CoreTokensError
from core_tokens.folder import Folder
from project import Project, check_refusal, make_project
from repository import Repository, empty_project, save, small_matrix
from team import copy_of

HOSTILE = (
    "../x", "..", ".", "/etc/passwd", "a/b", "a;touch pwned", "$(touch pwned)", "`touch pwned`",
    "a\ntouch pwned", "a && touch pwned", "a|touch pwned", "-x", "--no", "a b", "a'b", 'a"b',
    "\u2024\u2024/x", "a\x00b", "a\\b", "%2e%2e", "~", "*", "", " ", "é", "A", "a.b", "a_b", "a@b",
    "\x1b[2J", "A" * 5000,
)  # fmt: skip
NAMES = st.text(max_size=20).filter(lambda name: not params.is_slug(name))
COMMANDS = (
    ("add", "NAME", "replica:qwen3-4b-instruct-2507"), ("remove", "NAME"), ("summary", "NAME"),
    ("report", "NAME"), ("tag", "1.0.0", "NAME"),
)  # fmt: skip


def each_hostile(test: Any) -> Any:
    for name in HOSTILE:
        test = example(name=name)(test)
    return test


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("names") / "project"
    folder.mkdir()
    return make_project(folder)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@each_hostile
@settings(max_examples=30)
@given(name=NAMES)
def test_a_command_refuses_a_name_that_is_none(
    made: Project, command: tuple[str, ...], name: str
) -> None:
    before = made.snapshot(), sorted(made.folder.parent.iterdir())
    check_refusal(made.command_here(*(name if word == "NAME" else word for word in command)))
    assert (made.snapshot(), sorted(made.folder.parent.iterdir())) == before


@pytest.mark.parametrize("stage", ["fetch", "cluster", "measure", "extract", "analyse", "draw"])
@each_hostile
@settings(max_examples=10)
@given(name=NAMES)
def test_a_stage_refuses_a_name_that_is_none(made: Project, stage: str, name: str) -> None:
    before = made.snapshot()
    check_refusal(made.stage_here(stage, name), "params.yaml")
    assert made.snapshot() == before


@pytest.mark.parametrize("key", ["models", "fetch", "discover", "discover_at"])
@each_hostile
@settings(max_examples=20)
@given(name=NAMES)
def test_params_refuse_a_name_that_is_none_wherever_it_stands(
    made: Project, key: str, name: str
) -> None:
    path = made.folder / "other.yaml"
    document = YAML(typ="safe").load((made.folder / "params.yaml").read_text())
    where = document if key in ("models", "fetch") else document["cluster"]
    if key in ("models", "discover"):
        where[key] = [name]
    else:
        where[key] = {name: {"source": "x"} if key == "fetch" else 0.5}
    path.write_text(json.dumps(document))
    with pytest.raises(CoreTokensError) as caught:
        params.load(path)
    assert str(caught.value).isprintable()
    path.unlink()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@each_hostile
@given(name=st.text(max_size=20))
def test_a_shard_is_read_beside_its_index_or_not_at_all(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir(exist_ok=True)
    save_file({"lm_head.weight": np.zeros((3, 2), np.float32)}, tmp_path / "x")
    index = {"weight_map": {"lm_head.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises((CoreTokensError, OSError)) as caught:  # one too long for the system
        locate(Folder(folder), None, "unembedding")
    assert str(caught.value).isprintable()


PWNED = "x; touch pwned"


@pytest.mark.parametrize(
    "edit",
    [
        ("fetch: {}", f'fetch: {{"{PWNED}": {{source: "replica:qwen3-4b-instruct-2507"}}}}'),
        ("models: [tiny]", f'models: [tiny, "{PWNED}"]'),
        ("discover: [tiny]", f'discover: ["{PWNED}"]'),
    ],
    ids=["fetch", "models", "discover"],
)
def test_dvc_repro_runs_no_command_that_a_name_holds(tmp_path: Path, edit: tuple[str, str]) -> None:
    repository = empty_project(tmp_path / "project")
    matrix = save(tmp_path / "W.safetensors", "W", small_matrix())
    repository.run("core-tokens", "add", "tiny", "--embedding", str(matrix))
    path = repository.path / "params.yaml"
    assert path.read_text().count(edit[0]) == 1
    path.write_text(path.read_text().replace(*edit))
    for name in (PWNED, "tiny"):  # with all inputs that it may want
        for file in ("W.safetensors", "vocab.json"):
            copy = repository.path / "data" / name / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((repository.path / "data/tiny" / file).read_bytes())
    done = repository.run("dvc", "repro", check=False)
    assert done.returncode != 0
    assert not list(tmp_path.rglob("pwned"))


def test_what_params_say_is_no_command_in_any_stage() -> None:
    pipeline = YAML(typ="safe").load((Path(__file__).parents[1] / "dvc.yaml").read_text())
    for stage in pipeline["stages"].values():
        assert "$" not in stage["do"]["cmd"]


def test_a_source_with_characters_of_a_shell_is_only_a_path(tmp_path: Path) -> None:
    repository = Repository(empty_project(tmp_path / "project").path)
    for source in ("$(touch pwned)", "hf://a/b;touch pwned", "`touch pwned`", "-x", "hf://../.."):
        done = repository.run("core-tokens", "add", "own", "--embedding=" + source, check=False)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*pwned*"))
    assert repository.git_status() == ""


@pytest.mark.parametrize("key", ["models", "fetch", "cluster.discover", "cluster.discover_at"])
@pytest.mark.parametrize(
    "name",
    ["../.git", "a/../../victim", "../../victim", "..", ""],
)
def test_dvc_repro_removes_nothing_where_a_name_leads_out_of_data(
    team_project: Path, tmp_path: Path, key: str, name: str
) -> None:
    repository = copy_of(team_project, tmp_path / "b/project")
    folder = Path(os.path.normpath(repository.path / "data" / name))
    for path in made_by(repository, key, folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a file of the user's")
    document = YAML(typ="safe").load((repository.path / "params.yaml").read_text())
    block, _, part = key.rpartition(".")
    where = document[block] if block else document
    values = {
        "fetch": {name: {"source": "replica:qwen3-4b-instruct-2507"}},
        "discover_at": {name: 1},
    }
    where[part] = values.get(part, [name])
    (repository.path / "params.yaml").write_text(json.dumps(document))
    done = repository.run("dvc", "repro", "--force", "--keep-going", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for path in made_by(repository, key, folder):
        assert path.read_bytes() == b"a file of the user's", path


def made_by(repository: Repository, key: str, folder: Path) -> list[Path]:
    """Where the stages over a list of models would write, for a model in ``folder``."""
    pipeline = YAML(typ="safe").load((repository.path / "dvc.yaml").read_text())
    stages = [
        each["do"] for each in pipeline["stages"].values() if each["foreach"] == f"${{{key}}}"
    ]
    kinds = ("outs", "metrics", "plots")
    entries = [entry for stage in stages for kind in kinds for entry in stage.get(kind, [])]
    paths = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    names = [re.sub(r"^data/\$\{\w+\}/", "", path) for path in paths]
    assert names
    return [folder / name for name in names]
