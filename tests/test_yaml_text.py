import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_tokens import yaml_text

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_json_is_yaml(value: object) -> None:
    assert yaml_text.parse(json.dumps(value, ensure_ascii=False)) == value


def test_numbers_are_those_of_yaml_1_2() -> None:
    assert yaml_text.parse("[1e3, 010, 0o10, no]") == [1000.0, 10, 8, "no"]


@pytest.mark.parametrize("lines", range(1, 40, 6))
@pytest.mark.parametrize(
    "line", ["[*a{0}, *a{0}]", "{{x: *a{0}, y: *a{0}}}", "{{<<: [*a{0}, *a{0}]}}"]
)
def test_a_few_lines_do_not_stand_for_a_billion_values(line: str, lines: int) -> None:
    text = "a0: &a0 {z: 1}\n" + "".join(
        f"a{n}: &a{n} {line.format(n - 1)}\n" for n in range(1, lines + 1)
    )
    if lines < 14:
        assert len(yaml_text.parse(text)) == lines + 1
    else:
        with pytest.raises(ValueError, match="262,144 values"):
            yaml_text.parse(text)


@pytest.mark.parametrize(
    "text", ["&a [*a]", "&a {x: *a}", "&a {<<: *a}", "[&a {x: [&b {y: *a}, *b]}]"]
)
def test_a_value_that_holds_itself_has_no_end(text: str) -> None:
    with pytest.raises(ValueError, match="values"):
        yaml_text.parse(text)


def test_a_document_may_have_so_many_bytes() -> None:
    text = "a: 1 #".ljust(yaml_text.LARGEST, "x")
    assert yaml_text.parse(text) == {"a": 1}
    with pytest.raises(ValueError, match=re.escape("1,048,577 bytes")):
        yaml_text.parse(text + "x")
    assert yaml_text.parse(text + "x", largest=1 << 21) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    ["[", "*x", "a: b: c", "\t- x", "!!bool x", "!!int x", "!!python/object:os.system [x]", "\x00",
     "0x" + "f" * 5000, "9" * 5000, '"\\ud800"', '"\\ud800": 1', "[" * 5000,
     "--- 1\n--- 2", "a: 1\na: 2"],
)  # fmt: skip
def test_what_is_no_document_of_plain_values_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        yaml_text.parse(text)
