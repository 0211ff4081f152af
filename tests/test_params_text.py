import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from core_tokens.params_text import with_name, without_name

MODELS = ("models",)
LAYOUTS = [
    "models: [{names}]\n",
    "models: [{names}]   # a comment\nafter: 1\n",
    "before: {{a: 1}}\nmodels: [ {names} ] # spaced\r\nafter: 'é'\r\n",
    "models:   [{names}]",
    "models:\n{lines}",
    "# above\nmodels:   # behind\n{lines}\n# below\nafter: 1\n",
]
slugs = st.from_regex(r"[a-z0-9][a-z0-9-]{0,6}", fullmatch=True).filter(lambda s: s != "new")


def document(layout: str, names: list[str]) -> str:
    lines = "\n".join(f'  - "{name}"  # {name}' for name in names)
    return layout.format(names=", ".join(f'"{name}"' for name in names), lines=lines)


def models(text: str) -> list[str]:
    listed: list[str] = YAML(typ="safe", pure=True).load(text)["models"]
    return listed


@pytest.mark.parametrize("layout", LAYOUTS)
@given(names=st.lists(slugs, unique=True, min_size=1, max_size=4))
def test_adding_then_removing_gives_every_byte_back(layout: str, names: list[str]) -> None:
    text = document(layout, names)
    added = with_name(text, MODELS, "new")
    assert models(added) == [*names, "new"]
    assert without_name(added, MODELS, "new") == text


@pytest.mark.parametrize("layout", LAYOUTS)
@given(names=st.lists(slugs, unique=True, min_size=1, max_size=4), data=st.data())
def test_removing_takes_one_name_and_keeps_the_order(
    layout: str, names: list[str], data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(names))
    text = without_name(document(layout, names), MODELS, gone)
    assert models(text) == [name for name in names if name != gone]


@pytest.mark.parametrize("text", ["models: []\n", "models: []  # c\nafter: 1\n", "models: [ ]"])
def test_an_empty_list_is_filled_and_emptied(text: str) -> None:
    added = with_name(text, MODELS, "new")
    assert models(added) == ["new"]
    assert without_name(added, MODELS, "new") == text


@pytest.mark.parametrize("name", ["007", "true", "null", "1e3", "2026-11-22", "0x1f"])
def test_a_name_that_yaml_would_not_take_for_text_is_quoted(name: str) -> None:
    assert models(with_name("models: [a]\n", MODELS, name)) == ["a", name]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("fetch:\n  a: {source: x}  # c\n  b:\n    source: y\nafter: 1\n",
         "fetch:\n  b:\n    source: y\nafter: 1\n"),
        ("fetch:\n  b: {source: y}\n  a:\n    source: x  # c\nafter: 1\n",
         "fetch:\n  b: {source: y}\nafter: 1\n"),
        ("fetch:\n  a:\n    source: x\nafter: 1\n", "fetch: {}\nafter: 1\n"),
        ("fetch: {a: {source: x}, b: {source: y}}\n", "fetch: {b: {source: y}}\n"),
        ("fetch: {b: {source: y}, a: {source: x}}\n", "fetch: {b: {source: y}}\n"),
    ],
)  # fmt: skip
def test_a_key_is_taken_out_of_a_mapping_with_its_value(text: str, left: str) -> None:
    assert without_name(text, ("fetch",), "a") == left
    assert "a" not in YAML(typ="safe", pure=True).load(left)["fetch"]


def test_a_name_that_is_not_there_changes_nothing() -> None:
    assert without_name("models: [a]\n", MODELS, "b") == "models: [a]\n"
