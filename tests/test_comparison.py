import json
from pathlib import Path

import pytest

from core_tokens.comparison import Change, Comparison, Sizes, compare
from core_tokens.errors import FileError
from core_tokens.revisions import Revision, resolve
from project import Done, Project, check_refusal
from repository import Repository
from surveyed import NAME, surveyed
from team import copy_of

WORKSPACE = Revision("workspace")


COLUMNS = "token,distance_ulp,distance_steps,distance_l2,population,class,text"


@pytest.fixture(scope="module")
def made(team_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Three commits, without a model, at radius 3 and at radius 1, and an experiment at 4."""
    repository = copy_of(team_project, tmp_path_factory.mktemp("made") / "project")
    repository.run("git", "tag", "empty", "HEAD~1")
    repository.run("git", "tag", "wide")
    repository.set_param("radius:", "radius: 1.0")
    repository.dvc("repro")
    repository.commit("Radius 1")
    repository.run("git", "tag", "narrow")
    repository.dvc("exp", "run", "--name", "widest", "--set-param", "extract.radius=4")
    repository.run("git", "checkout", "--quiet", "--", ".")
    repository.dvc("checkout")
    return repository


@pytest.fixture(autouse=True)
def here(made: Repository, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(made.path)
    return made


def between(before: str, after: str = "") -> Comparison:
    return compare(resolve(before), resolve(after) if after else WORKSPACE)


def ids(rev: str, name: str) -> set[int]:
    text = (resolve(rev).read(Path(f"data/tiny/{name}.csv")) or b"").decode()
    return {int(line.partition(",")[0]) for line in text.splitlines()[1:]}


def test_a_smaller_radius_lets_tokens_go_and_the_way_back_brings_them() -> None:
    found = between("wide", "narrow")
    assert found.any
    assert found.params == (Change("extract.radius", 3.0, 1.0),)
    (tiny,) = found.models
    assert tiny.before == Sizes(17, 7, 3, 3, 3.0)
    assert tiny.after is not None
    assert (tiny.after.core_tokens, tiny.after.halo_tokens, tiny.after.radius) == (11, 9, 1.0)
    assert tiny.entered == ()
    assert {token.id for token in tiny.left} == ids("wide", "core") - ids("narrow", "core")
    assert all(1 < float(token.distance_ulp) <= 3 for token in tiny.left)
    back = between("narrow", "wide").models[0]
    assert [token.id for token in back.entered] == [token.id for token in tiny.left]
    assert back.left == ()
    mirrored = [Change(change.key, change.after, change.before) for change in tiny.metrics]
    assert sorted(map(str, back.metrics)) == sorted(map(str, mirrored))


def test_the_metrics_that_changed_are_those_that_differ_in_the_files() -> None:
    (tiny,) = between("wide", "narrow").models
    changed = {change.key: (change.before, change.after) for change in tiny.metrics}
    for file in ("core", "measure", "cluster", "structure"):
        sides = [
            json.loads(resolve(rev).read(Path(f"data/tiny/{file}.json")) or b"{}")
            for rev in ("wide", "narrow")
        ]
        flat = [flatten(side, f"{file}.") for side in sides]
        for key in flat[0].keys() | flat[1].keys():
            pair = (flat[0].get(key), flat[1].get(key))
            assert changed.pop(key, (pair[0], pair[0])) == pair, key
    assert changed == {}


def flatten(values: object, before: str) -> dict[str, object]:
    if not isinstance(values, dict):
        return {before.removesuffix("."): values}
    return {
        k: v for key, value in values.items() for k, v in flatten(value, f"{before}{key}.").items()
    }


def test_the_same_revision_twice_is_no_change() -> None:
    for rev in ("wide", "empty"):
        assert not between(rev, rev).any
    assert not between("HEAD").any


def test_an_experiment_and_the_working_tree_are_sides() -> None:
    found = between("widest")
    assert found.params == (Change("extract.radius", 4.0, 1.0),)
    assert [path.name for path in found.models[0].pictures] == [
        "curve_ulp.svg", "rulers.svg", "adjacency.svg",
    ]  # fmt: skip
    assert between("narrow", "widest").models[0].pictures == ()  # of which there are none here


def test_a_model_that_was_added_has_all_its_tokens_entered() -> None:
    found = between("empty", "wide")
    assert Change("models", [], ["tiny"]) in found.params
    (tiny,) = found.models
    assert tiny.before is None
    assert len(tiny.entered) == 17
    assert tiny.metrics == ()
    assert "fetch" not in {change.key for change in found.params}
    (gone,) = between("wide", "empty").models
    assert gone.after is None
    assert len(gone.left) == 17
    assert gone.metrics == ()


def test_elsewhere_than_in_a_project_nothing_is_compared(
    made: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made.path / "data")
    done = Project(made.path / "data").command_here("diff", "wide", "narrow")
    check_refusal(done, "params.yaml", "the folder that holds params.yaml")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("core.json", "{"),
        ("core.json", '{"core": 3}'),
        ("core.json", '{"core": {"tokens": Infinity}}'),
        ("measure.json", '{"tokens": 1e999}'),
        ("measure.json", f'{{"tokens": {"1" * 400}}}'),
        ("core.csv", f"{COLUMNS}\n1,0,0,0,1,ordinary | <img src=x>,a\n"),
        ("core.csv", f"{COLUMNS}\n1,0,0,0,**1**,ordinary,a\n"),
        ("structure.json", "[]"),
        ("core.csv", "token\n1\n"),
        (
            "halo.csv",
            "token,distance_ulp,distance_steps,distance_l2,population,class,text\nx,,,,,,\n",
        ),
    ],
)
def test_a_file_that_no_stage_wrote_is_refused_by_its_name(name: str, content: str) -> None:
    path = Path("data/tiny", name)
    before = path.read_text()
    try:
        path.write_text(content)
        with pytest.raises(FileError, match=name):
            between("wide")
    finally:
        path.write_text(before)


def test_a_name_in_the_parameters_leads_nowhere_else(here: Repository) -> None:
    before = Path("params.yaml").read_text()
    try:
        here.set_param("models:", 'models: [tiny, "../tiny", "-x", 3, {a: b}]')
        found = between("wide")
        assert [model.model for model in found.models] == ["tiny"]
    finally:
        Path("params.yaml").write_text(before)


# ---- core-tokens diff ----------------------------------------------------------------------------


def diff(repository: Repository, *arguments: str) -> Done:
    return Project(repository.path).command_here("diff", *arguments)


def test_by_default_it_is_the_working_tree_against_the_last_commit(made: Repository) -> None:
    done = diff(made)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("## Core tokens: `HEAD` → `workspace`\n\nNothing changed")
    assert diff(made, "wide").out.startswith("## Core tokens: `wide` → `workspace`\n")
    assert diff(made, "wide", "widest").out.startswith("## Core tokens: `wide` → `widest`\n")


def test_the_exit_code_tells_a_script_if_it_is_asked_to(made: Repository) -> None:
    assert diff(made, "wide").code == 0
    assert diff(made, "wide", "--exit-code").code == 2
    assert diff(made, "--exit-code").code == 0
    done = made.run("core-tokens", "diff", "wide", "narrow", "--exit-code", check=False)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout == diff(made, "wide", "narrow").out


def test_as_many_tokens_are_listed_as_were_asked_for(made: Repository) -> None:
    assert "6 tokens left the core" in diff(made, "wide").out
    assert "more" not in diff(made, "wide").out
    assert "… and 4 more" in diff(made, "wide", "--tokens", "2").out


@pytest.mark.parametrize(
    ("arguments", "mention"),
    [
        (["nothing"], "'nothing'"),
        (["HEAD", "nothing"], "'nothing'"),
        (["--tokens", "-1"], "core-tokens diff"),
        (["--tokens", "many"], "'many'"),
        (["a", "b", "c"], "unrecognized"),
    ],
)
def test_what_does_not_fit_is_refused(made: Repository, arguments: list[str], mention: str) -> None:
    check_refusal(diff(made, *arguments), "core-tokens", mention)


def test_the_metrics_of_a_survey_that_changed_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey = surveyed(tmp_path / "project")
    repository = Repository(survey.folder)
    repository.run("git", "init", "--quiet")
    repository.commit("Radius 2")
    monkeypatch.chdir(survey.folder)
    assert not between("HEAD").any
    params = survey.folder / "params.yaml"
    params.write_text(params.read_text().replace("radii: [2, 0]", "radii: [1]"))
    assert survey.command_here("survey", NAME, "--workers", "0").code == 0
    found = between("HEAD")
    assert found.models == ()
    assert found.params == (Change(f"survey.{NAME}.radii", [2, 0], [1]),)
    changes = {change.key: (change.before, change.after) for change in found.surveys[NAME]}
    assert changes["core.radius"] == (2.0, 1.0)
    assert changes["last.core_ulp_2"] == (5, None)
    assert changes["last.core_ulp_1"] == (None, 5)
    assert "checkpoints.total" not in changes
    done = survey.command_here("diff", "--exit-code")
    assert (done.code, done.err) == (2, "")
    assert f"### Survey `{NAME}`" in done.out
    assert "| `core.radius` | 2 | 1 | -1 |" in done.out
