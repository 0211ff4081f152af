"""As GitHub's own renderer shows it."""

import html
import re
from pathlib import Path
from typing import Any

from cmarkgfm import github_flavored_markdown_to_html as render
from hypothesis import example, given
from hypothesis import strategies as st

from core_tokens.comparison import Change, Comparison, ModelChanges, Sizes, Token
from core_tokens.comparison_markdown import code, markdown
from core_tokens.revisions import Revision

BEFORE, AFTER = Revision("v1", "1" * 40), Revision("workspace")
SIZES = Sizes(17, 7, 3, 3, 3.0)
WIDER = Sizes(20, 10, 0, 0, 4.0)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).map(
    lambda text: text.replace("\\", "\\\\")  # as the tables of tokens have it
)
HOSTILE = [
    "|", "`", "``", "a|b", "\\\\", "\\\\|", "` `", "<script>", "&lt;", "@someone", "#1", "*a*",
    "![a](b)", "http://host", "\n", " ", "  a  ", "␣", "<!--", "~~a~~", "$a$", ":+1:", "-->",
]  # fmt: skip


def token(id_: int, text: str = "", kind: str = "") -> Token:
    return Token(id_, kind, text, "2", "894", "0.00096", "1")


def model(**changed: Any) -> ModelChanges:
    same: dict[str, Any] = {
        "model": "tiny", "before": SIZES, "after": SIZES, "metrics": (), "entered": (), "left": (),
        "pictures": (),
    }  # fmt: skip
    return ModelChanges(**same | changed)


def text_of(*models: ModelChanges, params: tuple[Change, ...] = (), most: int = 50) -> str:
    return markdown(Comparison(BEFORE, AFTER, params, models), most)


def cells(page: str) -> list[list[str]]:
    """The tables of a page, row by row, headers too."""
    return [
        [
            html.unescape(re.sub(r"<[^>]*>", "", cell.removeprefix("\n")))
            for cell in re.split(r"</t[hd]>", row)[:-1]
        ]
        for row in re.findall(r"<tr>\n(.*?)</tr>", page, re.S)
    ]


def unescape(shown: str) -> str:
    """What ``code`` was given, from what is shown of it; it escapes as Python does."""
    spaced = shown.replace("␣", " ")
    return re.sub(
        r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4})",
        lambda found: found[0] if found[1] == "\\" else chr(int(found[1][1:], 16)),
        spaced,
    )


def each_hostile(test: Any) -> Any:
    for text in HOSTILE:
        test = example(text)(test)
    return test


@each_hostile
@given(TEXTS)
def test_any_text_is_one_cell_of_a_table_and_shown_as_it_is(text: str) -> None:
    page = render(text_of(model(entered=(token(7, text, "ordinary"),))))
    header, row = cells(page)
    assert len(header) == len(row) == 7
    shown = re.findall(r"<td><code>(.*?)</code></td>", page, re.S)
    assert [unescape(html.unescape(cell)) for cell in shown] == [text]
    assert not re.search(r"<(?!/?(h2|h3|p|strong|table|thead|tbody|tr|th|td|code)\b)", page)


@each_hostile
@given(TEXTS)
def test_any_value_of_a_parameter_is_one_cell(text: str) -> None:
    page = render(text_of(params=(Change(text, text, None),)))
    assert [len(row) for row in cells(page)] == [3, 3]
    assert page.count("<code>") == 6


@each_hostile
@given(TEXTS)
def test_any_text_is_one_code_span_in_a_line_too(text: str) -> None:
    page = render(f"before {code(text)} after")
    assert re.fullmatch(r"<p>before <code>[^<]*</code> after</p>\n", page)


def test_no_text_is_an_empty_cell() -> None:
    assert code("") == ""


def test_nothing_changed_is_said() -> None:
    text = text_of(model())
    assert text == (
        "## Core tokens: `v1` → `workspace`\n\n"
        "Nothing changed: parameters, metrics and cores are the same.\n"
    )


def test_a_change_of_parameters_metrics_and_sizes_is_laid_out() -> None:
    metrics = (
        Change("core.core.tokens", 17, 20),
        Change("core.core.percent", 85.0, 100.0),
        Change("measure.new", None, 1),
    )
    params = (Change("extract.radius", 3.0, 4.0), Change("fetch.x.source", "hf://a", None))
    text = text_of(model(after=WIDER, metrics=metrics), model(model="other"), params=params)
    assert text.splitlines() == [
        "## Core tokens: `v1` → `workspace`",
        "",
        "| parameter | `v1` | `workspace` |",
        "| --- | --- | --- |",
        "| `extract.radius` | 3 | 4 |",
        "| `fetch.x.source` | `hf://a` |  |",
        "",
        "### `tiny`",
        "",
        "Core 17 → **20** tokens in 7 → **10** vectors, "
        "halo 3 → **0** tokens in 3 → **0** vectors.",
        "",
        "| metric | `v1` | `workspace` | change |",
        "| --- | --- | --- | --- |",
        "| `core.core.tokens` | 17 | 20 | +3 |",
        "| `core.core.percent` | 85 | 100 | +15 |",
        "| `measure.new` |  | 1 |  |",
        "",
        "Nothing changed of `other`.",
    ]


def test_tokens_have_text_and_class_only_where_some_are_known() -> None:
    bare = render(text_of(model(entered=(token(7),), left=(token(8),))))
    assert cells(bare)[0] == ["token", "ulp", "steps", "L2", "population"]
    known = render(text_of(model(entered=(token(7), token(8, "a", "ordinary")))))
    assert cells(known)[0][:3] == ["token", "text", "class"]
    assert [row[:3] for row in cells(known)[1:]] == [["7", "", ""], ["8", "a", "ordinary"]]


def test_entered_and_left_are_two_tables_with_a_count_and_an_end() -> None:
    entered = tuple(token(number) for number in range(60))
    text = text_of(model(entered=entered, left=(token(99),)), most=2)
    assert "**60 tokens entered the core**" in text
    assert "… and 58 more" in text
    assert "**1 token left the core**" in text
    assert [row[0] for row in cells(render(text))] == ["token", "0", "1", "token", "99"]


def test_a_model_that_came_or_went_is_said_so() -> None:
    assert "New: 17 tokens in 7 vectors within 3, halo 3 tokens." in text_of(model(before=None))
    assert "Gone: 17 tokens in 7 vectors within 3, halo 3 tokens." in text_of(model(after=None))
    assert "No core yet." in text_of(
        model(before=None, after=None, metrics=(Change("measure.tokens", None, 1),))
    )


def test_pictures_are_shown_by_their_path() -> None:
    path = Path("data/tiny/pictures/rulers.svg")
    page = render(text_of(model(after=WIDER, pictures=(path,))))
    assert f'<img src="{path}" alt="rulers" />' in page
