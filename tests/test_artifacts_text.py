import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from core_tokens.artifacts_text import with_artifact, without_artifact
from core_tokens.errors import FileError
from repository import ROOT

PIPELINE = (ROOT / "dvc.yaml").read_text()
NAMES = st.lists(
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True), min_size=1, max_size=5, unique=True
)
LAYOUTS = {
    "no artifacts": "stages: {}\n",
    "an empty mapping": "artifacts: {}\nstages: {}\n",
    "others": "artifacts:\n  mine:  # a note\n    path: elsewhere\n\nstages: {}\n",
    "no line break at the end": "stages: {}\nartifacts:\n  mine:\n    path: elsewhere",
    "in braces": "artifacts: {mine: {path: elsewhere}}\n",
    "this project's": PIPELINE,
}


def artifacts(text: str) -> dict[str, dict[str, str]]:
    return YAML(typ="safe").load(text)["artifacts"] or {}


def test_the_artifacts_of_this_project_are_its_models() -> None:
    models = YAML(typ="safe").load((ROOT / "params.yaml").read_text())["models"]
    assert {name: entry["path"] for name, entry in artifacts(PIPELINE).items()} == {
        name: f"data/{name}/core_tokens.safetensors" for name in models
    }


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS)
@settings(max_examples=10)  # reading all of dvc.yaml takes a while
@given(NAMES)
def test_models_come_and_go_and_nothing_else_changes(text: str, names: list[str]) -> None:
    before = YAML(typ="safe").load(text)
    edited = text
    for name in names:
        edited = with_artifact(edited, name)
        assert artifacts(edited)[name]["path"] == f"data/{name}/core_tokens.safetensors"
    for line in filter(None, text.splitlines()):
        assert line in edited or "artifacts" in line or line.endswith("}}")
    for name in names:
        edited = without_artifact(edited, name)
    after = YAML(typ="safe").load(edited)
    assert (after.pop("artifacts") or {}) == (before.pop("artifacts", None) or {})
    assert after == before


def test_one_that_is_not_there_leaves_the_text_as_it_is() -> None:
    for text in LAYOUTS.values():
        assert without_artifact(text, "other") == text


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "[]",
        "3",
        "",
        "x: &a {}\nartifacts: *a\n",
        "artifacts: 3\n",
        "artifacts:\n",
        "  a:z`:",
    ],
)
def test_what_cannot_be_edited_is_refused(text: str) -> None:
    with pytest.raises(FileError, match=r"^dvc\.yaml: "):
        with_artifact(text, "own")
