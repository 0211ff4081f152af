"""The pages in a browser: what they ask for, what they draw, and what they do when clicked."""

import csv
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import project
from browser import DESKTOP, PHONE, Opened, opened
from core_tokens.pictures import PICTURES, style
from project import Done, Project
from repository import ROOT, Repository

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

DATA = ROOT / "data" / "qwen3-4b-replica"
REPORT = """[...document.querySelectorAll('.plot')].every(
    plot => plot.dataset.drawn === 'yes' || plot.textContent === 'Nothing to draw.')"""
DVC = """[...document.querySelectorAll('main > div')].every(
    plot => plot.querySelector('svg.marks') || plot.textContent.includes('var spec = {};'))"""
"""What is true once all pictures of a page are drawn; DVC leaves the place of no rows empty."""


def cells(name: str, folder: Path = DATA) -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


@pytest.fixture(scope="module")
def default(chromium: "Browser", default_report: Path) -> Iterator[Opened]:
    """The report on the data in Git. Only to be looked at."""
    with opened(chromium, default_report, REPORT) as page:
        yield page


@pytest.fixture(scope="module")
def texts_report(texts_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts-report") / "report.html"
    assert texts_project.command_here("report", "-o", str(path)).code == 0
    return path


@pytest.fixture(scope="module")
def two_models(texts_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on a model with texts and one without texts and halo."""
    folder = tmp_path_factory.mktemp("two") / "project"
    shutil.copytree(texts_project.folder, folder)
    made = Project(folder)
    made.data.rename(folder / "data" / "first")
    made.write_params(models="[tiny, first]", radius="3")
    made.write_tensors("W.safetensors", {"W": project.tiny_matrix()})
    for stage in ("cluster", "measure", "extract", "analyse"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")
    assert made.command_here("report", "first", "tiny").code == 0
    return folder / "report.html"


@pytest.fixture(scope="module")
def compared(repository: Repository) -> Path:
    """The report that compares an experiment with the working tree."""
    return repository.path.parent / "compared.html"


# ---- every page -------------------------------------------------------------------------------

CLIPPED = """() => [...document.querySelectorAll('svg.marks')].flatMap(svg => {
    const frame = svg.closest('.plot, main > div').getBoundingClientRect();
    return [...svg.querySelectorAll('text')].filter(text => {
        const box = text.getBoundingClientRect();
        const hidden = text.getAttribute('opacity') === '0';  // a label that had no room
        const inside = box.right <= frame.right + 1 && box.left >= frame.left - 1;
        return text.textContent && !hidden && !inside;
    }).map(text => `${svg.closest('[id]').id}: ${text.textContent}`);
})"""
"""The texts that do not lie within the place of their picture."""
OVERLAPPING = """() => [...document.querySelectorAll('.role-axis-label')].flatMap(axis => {
    const labels = [...axis.querySelectorAll('text')].filter(
        label => label.textContent && label.getAttribute('opacity') !== '0');
    const boxes = labels.map(label => label.getBoundingClientRect());
    return labels.flatMap((label, at) => boxes.slice(0, at).filter(other =>
        Math.min(other.right, boxes[at].right) - Math.max(other.left, boxes[at].left) > 1
        && Math.min(other.bottom, boxes[at].bottom) - Math.max(other.top, boxes[at].top) > 1
    ).map(() => `${axis.closest('[id]').id}: ${label.textContent}`));
})"""
"""The labels of axes that lie on another of their axis."""
TOO_WIDE = """() => [...document.querySelectorAll('svg.marks')].filter(svg =>
    svg.getBoundingClientRect().right
        > svg.closest('.plot, main > div').getBoundingClientRect().right + 1
).map(svg => svg.closest('[id]').id)"""


@dataclass(frozen=True)
class Seen:
    """A page as it was once it was drawn.

    Attributes:
        opened: what it asked for and complained of.
        pictures: how many were drawn.
        width: of the page, in pixels: more than that of the window scrolls sideways.
        too_wide: the pictures that do not fit their places.
        clipped: the texts that do not lie within the places of their pictures.
        overlapping: the labels of axes that lie on others.
    """

    opened: Opened
    pictures: int
    width: int
    too_wide: list[str]
    clipped: list[str]
    overlapping: list[str]


Look = Callable[[str, int], Seen]


@pytest.fixture(scope="module")
def look(
    chromium: "Browser",
    default_report: Path,
    texts_report: Path,
    two_models: Path,
    repository: Repository,
) -> Look:
    """Open one of the pages in a window of some width, each once."""
    beside = repository.path.parent
    paths = {
        "default": (default_report, REPORT),
        "texts": (texts_report, REPORT),
        "two models": (two_models, REPORT),
        "compared": (beside / "compared.html", REPORT),
        "shown": (beside / "shown" / "index.html", DVC),
        "diffed": (beside / "diffed" / "index.html", DVC),
    }

    @cache
    def seen(name: str, width: int) -> Seen:
        path, drawn = paths[name]
        with opened(chromium, path, drawn, width) as page:
            return Seen(
                page,
                page.page.locator("svg.marks").count(),
                page.evaluate("document.documentElement.scrollWidth"),
                page.evaluate(TOO_WIDE),
                page.evaluate(CLIPPED),
                page.evaluate(OVERLAPPING),
            )

    return seen


PAGES = ["default", "texts", "two models", "compared", "shown", "diffed"]


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("name", PAGES)
def test_page_draws_all_and_asks_for_nothing(look: Look, name: str, width: int) -> None:
    seen = look(name, width)
    seen.opened.check_quiet()
    assert seen.pictures >= 10


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("name", PAGES)
def test_page_does_not_scroll_sideways(look: Look, name: str, width: int) -> None:
    assert look(name, width).width <= width


@pytest.mark.parametrize("width", [DESKTOP, 1100, PHONE])
@pytest.mark.parametrize("name", ["default", "diffed"])
def test_pictures_fit_their_places(look: Look, name: str, width: int) -> None:
    assert look(name, width).too_wide == []


@pytest.mark.parametrize("width", [DESKTOP, 1100, PHONE])
@pytest.mark.parametrize("name", ["default", "diffed"])
def test_no_text_of_a_picture_is_cut_off(look: Look, name: str, width: int) -> None:
    assert look(name, width).clipped == []


@pytest.mark.parametrize("width", [DESKTOP, 1100, PHONE])
@pytest.mark.parametrize("name", ["default", "diffed"])
def test_no_label_of_an_axis_lies_on_another(look: Look, name: str, width: int) -> None:
    assert look(name, width).overlapping == []


@pytest.mark.parametrize("which", ["report", "dvc"])
def test_page_is_light_or_dark_as_the_system_is(
    chromium: "Browser", texts_report: Path, repository: Repository, which: str
) -> None:
    path, drawn = texts_report, REPORT
    if which == "dvc":
        path, drawn = repository.path.parent / "diffed" / "index.html", DVC
    with opened(chromium, path, drawn, scheme="dark") as page:
        check_colours(page, "dark")
        page.page.emulate_media(color_scheme="light")
        check_colours(page, "light")
        page.check_quiet()


def check_colours(page: Opened, theme: style.Theme) -> None:
    """The page and every picture on it have the colours of the theme, or get them soon."""
    red, green, blue = (int(style.PAGE[theme][at : at + 2], 16) for at in (1, 3, 5))
    expected = f"rgb({red}, {green}, {blue})"
    page.page.wait_for_function(
        """colour => [...document.querySelectorAll('svg.marks')].every(
            svg => svg.querySelector('text') === null
                || getComputedStyle(svg).backgroundColor === colour)""",
        arg=expected,
    )
    seen = page.evaluate("""() => {
        const [html, body] = [document.documentElement, document.body].map(
            element => getComputedStyle(element).backgroundColor);
        return body === 'rgba(0, 0, 0, 0)' ? html : body;
    }""")
    assert seen == expected
    inks = page.evaluate("""() => [...new Set([...document.querySelectorAll(
        'svg.marks .role-axis-label text')].map(text => text.getAttribute('fill')))]""")
    assert inks == [style.INK[theme]]


def test_window_that_grows_and_shrinks_is_filled(chromium: "Browser", texts_report: Path) -> None:
    with opened(chromium, texts_report, REPORT, PHONE) as page:
        for width in (1000, PHONE):
            page.page.set_viewport_size({"width": width, "height": 900})
            page.page.wait_for_function(
                """() => [...document.querySelectorAll('.plot svg.marks')].every(svg => {
                    const room = svg.closest('.plot').clientWidth;
                    return Math.abs(svg.getBoundingClientRect().width - Math.min(640, room)) < 40;
                })"""
            )
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.page.locator(".plot svg.marks").count() == len(PICTURES)
        page.check_quiet()


# ---- the report: what it shows ----------------------------------------------------------------

MARKS = """() => Object.fromEntries([...document.querySelectorAll('.plot')].map(plot => {
    const found = {};
    for (const group of plot.querySelectorAll('g.role-mark')) {
        const kind = group.classList[0].replace('mark-', '');
        for (const mark of group.children) {
            (found[kind] ||= []).push(
                mark.getAttribute('fill') || mark.getAttribute('stroke') || mark.textContent);
        }
    }
    return [plot.dataset.picture, found];
}))"""
"""Picture -> kind of mark -> the colours of the marks of data, without axes and legends."""


def test_a_mark_is_drawn_for_every_row_in_its_colour(default: Opened) -> None:
    drawn = default.evaluate(MARKS)
    assert drawn.keys() == PICTURES.keys() - {"kinds"}  # its text is unknown
    counts = {
        name: {kind: len(found) for kind, found in marks.items() if kind != "text"}
        for name, marks in drawn.items()
    }
    rows = {name: cells(f"plots/{name}.csv") for name in drawn}
    rulers = ("ulp", "steps")
    chosen = {ruler: bool(rows[f"curve_{ruler}"][0]["chosen"]) for ruler in (*rulers, "l2")}
    assert chosen == {"ulp": True, "steps": False, "l2": False}
    edges = sum(row["kind"] == "edge" for row in rows["adjacency"])
    nearest = sum(row["of"] == "cluster" and row["nearest"] != "" for row in rows["quantization"])
    assert counts == {
        **{
            f"curve_{ruler}": {"line": 2, "symbol": 2 * len(rows[f"curve_{ruler}"])}
            | ({"rule": 1} if marked else {})
            for ruler, marked in chosen.items()
        },
        "shells": {"rect": 2 * len(rows["shells"])},
        "populations": {"symbol": 125},
        "rulers": {"symbol": 125, "rule": 1},
        "diversity": {"rect": len(rows["diversity"])},
        "quantization": {"rect": len(rows["quantization"]) + nearest},
        "cross_section": {"symbol": len(rows["cross_section"])},
        "adjacency": {"symbol": 125, "rule": edges},
    }
    for name in ("populations", "rulers", "adjacency"):
        assert Counter(drawn[name]["symbol"]) == {style.BLUE: 122, style.VERMILLION: 3}, name
    for name in ("diversity", "quantization"):
        of = Counter(row["of"] for row in rows[name])
        found = Counter(drawn[name]["rect"])
        assert found[style.GREY] == of["cluster"], name
        assert found[style.BLUE] == of["core"], name


def test_shells_are_labelled_with_their_counts(default: Opened) -> None:
    marks = default.page.locator("#picture-shells .plot .mark-text.role-mark text")
    counts: Counter[tuple[str, str]] = Counter()
    for row in cells("plots/shells.csv"):
        for of in ("vectors", "tokens"):
            counts[of, row["ulp"]] += int(row[of])
    assert sorted(marks.all_text_contents()) == sorted(f"{count:,}" for count in counts.values())


def test_core_bars_stand_in_the_middle_of_those_of_the_cluster(default: Opened) -> None:
    bars = """where => [0, 1].map(layer => [...document.querySelectorAll(
        `${where} .layer_${layer}_marks.mark-rect path`)].map(bar => {
            const box = bar.getBoundingClientRect();
            return [box.left, box.right];
        }))"""
    found = [default.evaluate(bars, f"#picture-{name}") for name in ("diversity", "quantization")]
    for cluster, core in found:
        before = [
            (one, other)
            for one in core
            for other in cluster
            if one[0] < other[1] - 1 and other[0] < one[1] - 1
        ]
        assert before
        for one, other in before:
            assert sum(one) == pytest.approx(sum(other), abs=2)


def test_figures_and_structure_are_those_of_the_metrics(default: Opened) -> None:
    measure, core, structure = (
        json.loads((DATA / f"{name}.json").read_text()) for name in ("measure", "core", "structure")
    )

    def cell(label: str) -> str:
        return default.page.locator(f'[data-figure="{label}"]').inner_text()

    origin = measure["origin"]
    assert cell("cluster") == f"{measure['tokens']:,} tokens, ids 124 to 151935"
    assert cell("unique vectors") == f"{measure['vectors']}, populations 1 to 814"
    assert cell("Big One") == (
        f"index {origin['index']}, {origin['population']} tokens "
        f"(the first is {origin['token']}), norm {origin['norm']:.6f}"
    )
    assert cell("ulp").startswith(f"2^{measure['ulp_exponent']} = ")
    assert cell("radius") == f"{core['radius']:g} ulp"
    for part in ("core", "halo"):
        sizes = f"{core[part]['tokens']:,} tokens, {core[part]['vectors']} vectors"
        assert cell(part).startswith(sizes)
    shown = default.evaluate("""() => Object.fromEntries([...document.querySelectorAll(
        '[data-structure]')].map(cell => [cell.dataset.structure, cell.innerText]))""")
    assert len(shown) >= 60
    for path, text in shown.items():
        value: Any = structure
        for key in path.split("."):
            value = value[key]
        assert float(text.replace(",", "")) == pytest.approx(value, rel=5e-4), path
    assert shown["cluster.adjacency.face.edges"] == str(
        structure["cluster"]["adjacency"]["face"]["edges"]
    )


def test_tables_begin_with_the_first_tokens(default: Opened) -> None:
    for name in ("halo", "core"):
        rows = [list(row.values())[:5] for row in cells(f"{name}.csv")]
        assert table_rows(default, name) == rows[:200], name
    assert heads(default, "core") == ["token", "ulp", "steps", "L2", "tokens alike"]
    assert "2,206 tokens" in default.page.locator("#core .label").inner_text()


def test_model_without_a_cluster_has_a_quiet_page(chromium: "Browser", tmp_path: Path) -> None:
    made = project.make_project(tmp_path, np.eye(4).astype(ml_dtypes.bfloat16))
    for stage in ("cluster", "measure", "extract", "analyse"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")
    assert made.command_here("report").code == 0
    with opened(chromium, tmp_path / "report.html", REPORT) as page:
        page.check_quiet()
        assert page.page.get_by_text("No cluster, so there is nothing to draw.").is_visible()
        assert table_rows(page, "core") == table_rows(page, "halo") == []


# ---- the report: what it does -----------------------------------------------------------------


def heads(page: Opened, name: str) -> list[str]:
    return page.page.locator(f"#{name} table.tokens th").all_inner_texts()


def table_rows(page: Opened, name: str, side: int = 0) -> list[list[str]]:
    found: list[list[str]] = page.evaluate(
        """([name, side]) => [...document.querySelector(
            `table.tokens[data-table="${name}"][data-side="${side}"]`).tBodies[0].rows]
            .filter(row => !row.querySelector('.more'))
            .map(row => [...row.cells].map(cell => cell.textContent))""",
        [name, side],
    )
    return found


def tokens_of(page: Opened, name: str) -> list[int]:
    return [int(row[0]) for row in table_rows(page, name)]


def search(page: Opened, name: str) -> "Locator":
    return page.page.locator(f"#{name} input[type=search]")


@pytest.mark.parametrize(
    ("wanted", "core", "halo"),
    [
        ("9", [9], []), ("5", [5], []), ("6", [], [6]), (" 2 ", [2], []),
        ("stra\u00dfe", [9], []), ("STRA\u00dfE", [9], []), ("\u4e5d", [9], []),
        ("<script", [1], []), ("</SCRIPT>", [1, 2], []), ("onerror", [], [6]),
        ("&amp;", [3], []), ('"', [3], []), ("\\u003c", [5], []), ("<", [1, 2], [6]),
        ("byte", [9], []), ("special", [], [6]), ("ordinary", [1, 2, 3], []),
        ("nowhere", [], []), ("", [1, 2, 3, 5, 9], [6]), ("14080", [], []),
    ],
)  # fmt: skip
def test_search_narrows_the_tables_by_token_text_and_class(
    texts_page: Opened, wanted: str, core: list[int], halo: list[int]
) -> None:
    for name, expected in (("core", core), ("halo", halo)):
        search(texts_page, name).fill(wanted)
        assert tokens_of(texts_page, name) == expected
        said = texts_page.page.locator(f"#{name} output").inner_text()
        assert said == (f"{len(expected)} found" if wanted.strip() else "")
    texts_page.check_quiet()


@pytest.fixture(scope="module")
def texts_page(chromium: "Browser", texts_report: Path) -> Iterator[Opened]:
    """The report with texts. To be searched."""
    with opened(chromium, texts_report, REPORT) as page:
        yield page


def test_text_of_tokens_is_shown_as_it_is(
    texts_page: Opened, texts: dict[int, tuple[str, str]]
) -> None:
    for name in ("core", "halo"):
        search(texts_page, name).fill("")
        assert heads(texts_page, name)[-2:] == ["class", "text"]
        for row in table_rows(texts_page, name):
            assert (row[-2], row[-1]) == texts[int(row[0])]
    labels = texts_page.page.locator("#picture-populations .plot .role-mark text")
    label = labels.all_text_contents()[1]
    assert label.endswith("\u2026")  # it is long
    assert texts[3][1].startswith(label[:-1])
    assert texts_page.page.locator("main img, main b, main script").count() == 0
    texts_page.check_quiet()


def test_tooltip_names_what_is_under_the_pointer(default: Opened) -> None:
    expected = {"rank": "1", "tokens": "814", "part": "core", "first token": "80091", "text": ""}
    assert expected.items() <= tooltip(default, "populations", 0).items()
    halo = [row["part"] for row in cells("plots/rulers.csv")].index("halo")
    row = cells("plots/rulers.csv")[halo]
    drawn = sorted(cells("plots/rulers.csv"), key=lambda row: -int(row["population"]))
    found = tooltip(default, "rulers", drawn.index(row))
    assert found["part"] == "halo"
    assert found["first token"] == row["token"]
    assert found["tokens"] == row["population"]
    assert float(found["ulp"]) == float(row["distance_ulp"])
    assert int(found["steps"]) == int(row["distance_steps"])
    default.check_quiet()


def test_tooltip_shows_text_that_is_no_html(
    texts_page: Opened, texts: dict[int, tuple[str, str]]
) -> None:
    for at, token in enumerate((1, 3, 6, 9)):
        found = tooltip(texts_page, "populations", at)
        assert found["first token"] == str(token)
        assert found["text"] == texts[token][1]
    assert texts_page.page.locator("#vg-tooltip-element img, #vg-tooltip-element b").count() == 0
    texts_page.check_quiet()


def tooltip(page: Opened, name: str, at: int, where: str = "#picture-{}") -> dict[str, str]:
    """What is shown while the pointer is on a point."""
    mark = page.page.locator(f"{where.format(name)} .mark-symbol.role-mark path").nth(at)
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    assert box is not None
    page.page.mouse.move(0, 0)
    page.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    shown = page.page.locator("#vg-tooltip-element.visible")
    shown.wait_for()
    lines = shown.locator("tr").all()
    return {
        line.locator(".key").inner_text(): (line.locator(".value").text_content() or "").strip()
        for line in lines
    }


def test_click_on_a_head_sorts_by_number_and_another_turns_it_round(
    chromium: "Browser", default_report: Path
) -> None:
    rows = [list(row.values())[:5] for row in cells("core.csv")]
    with opened(chromium, default_report, REPORT) as page:
        for column, head in ((2, "steps"), (3, "L2"), (4, "tokens alike"), (0, "token")):
            cell = page.page.locator("#core th", has_text=re.compile(f"^{head}$"))
            assert cell.get_attribute("aria-sort") is None
            for direction, sign in (("ascending", 1), ("descending", -1), ("ascending", 1)):
                cell.get_by_role("button").click()
                assert cell.get_attribute("aria-sort") == direction
                expected = sorted(rows, key=lambda row: sign * float(row[column]))
                assert table_rows(page, "core") == expected[:200]
            assert page.page.locator("#core th[aria-sort]").count() == 1
        page.check_quiet()


def test_click_on_a_head_sorts_by_text(
    chromium: "Browser", texts_report: Path, texts: dict[int, tuple[str, str]]
) -> None:
    with opened(chromium, texts_report, REPORT) as page:
        for at, head in enumerate(("class", "text")):
            page.page.locator("#core th", has_text=head).get_by_role("button").click()
            before = tokens_of(page, "core")
            assert [texts[token][at] for token in before] == sorted(
                texts[token][at] for token in before
            )
            assert sorted(before) == [1, 2, 3, 5, 9]


def test_show_all_shows_all_and_a_search_begins_again(
    chromium: "Browser", default_report: Path
) -> None:
    core = [row["token"] for row in cells("core.csv")]
    with opened(chromium, default_report, REPORT) as page:
        more = page.page.locator("#core .more button")
        assert more.inner_text() == f"Show all {len(core):,}"
        assert page.page.locator("#halo .more").count() == 0
        more.click()
        assert more.count() == 0
        assert [row[0] for row in table_rows(page, "core")] == core
        search(page, "core").fill("1")
        found = [token for token in core if "1" in token]
        assert len(found) > 200
        assert [row[0] for row in table_rows(page, "core")] == found[:200]
        assert page.page.locator("#core output").inner_text() == f"{len(found):,} found"
        search(page, "core").fill("80091")
        assert [row[0] for row in table_rows(page, "core")] == ["80091"]
        search(page, "core").fill("")
        assert [row[0] for row in table_rows(page, "core")] == core[:200]
        for link in page.page.locator("nav a").all():
            link.click()
        page.check_quiet()


def test_button_switches_between_light_and_dark(chromium: "Browser", texts_report: Path) -> None:
    with opened(chromium, texts_report, REPORT) as page:
        check_colours(page, "light")
        for theme in ("dark", "light", "dark"):
            page.page.locator("#theme").click()
            check_colours(page, theme)
        page.page.emulate_media(color_scheme="light")
        check_colours(page, "dark")  # what was chosen stays
        assert page.page.locator(".plot svg.marks").count() == len(PICTURES)
        assert tooltip(page, "populations", 0)["tokens"] == "2"
        page.check_quiet()


def test_thousands_of_points_are_drawn_as_well(
    chromium: "Browser", texts_project: Project, tmp_path: Path
) -> None:
    made = Project(tmp_path / "many")
    shutil.copytree(texts_project.folder, made.folder)
    path = made.data / "plots" / "rulers.csv"
    header, *rows = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text(header + "".join(2000 * rows), "utf-8")
    assert made.command_here("report").code == 0
    with opened(chromium, made.folder / "report.html", REPORT, PHONE) as page:
        canvas = page.page.locator("#picture-rulers canvas")
        assert canvas.count() == 1
        assert page.page.locator(".plot svg.marks").count() == len(PICTURES) - 1
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
        for theme in ("light", "dark"):
            red, green, blue = (int(style.PAGE[theme][at : at + 2], 16) for at in (1, 3, 5))
            page.page.wait_for_function(
                """colour => String([...document.querySelector('#picture-rulers canvas')
                    .getContext('2d').getImageData(1, 1, 1, 1).data]) === colour""",
                arg=f"{red},{green},{blue},255",
            )
            page.page.locator("#theme").click()
        page.check_quiet()


# ---- the report: beside each other ------------------------------------------------------------


def places(page: Opened, name: str) -> list[dict[str, float]]:
    found: list[dict[str, float]] = page.evaluate(
        """name => [...document.querySelectorAll(`#picture-${name} .plot`)].map(plot => {
            const box = plot.getBoundingClientRect();
            return {left: box.left, top: box.top};
        })""",
        name,
    )
    return found


def test_two_revisions_stand_in_two_columns_and_below_each_other_on_a_phone(
    chromium: "Browser", compared: Path
) -> None:
    for width in (DESKTOP, PHONE):
        with opened(chromium, compared, REPORT, width) as page:
            for name in PICTURES.keys() - {"kinds"}:
                one, other = places(page, name)
                if width == DESKTOP:
                    assert one["top"] == other["top"], name
                    assert one["left"] + 400 < other["left"], name
                else:
                    assert one["left"] == other["left"], name
                    assert one["top"] < other["top"], name
            assert page.page.locator("#picture-shells .label").all_inner_texts() == [
                "smaller", "workspace",
            ]  # fmt: skip


def test_cells_that_differ_have_another_colour(chromium: "Browser", compared: Path) -> None:
    with opened(chromium, compared, REPORT) as page:
        found = page.evaluate("""() => Object.fromEntries([...document.querySelectorAll(
            '#summary tbody tr')].filter(row => row.cells.length > 1).map(row => [
                row.cells[1].dataset.figure || row.cells[1].dataset.structure,
                [...row.cells].slice(1).map(
                    cell => [cell.innerText, getComputedStyle(cell).backgroundColor])]))""")
        plain = "rgba(0, 0, 0, 0)"
        assert [text for text, _ in found["radius"]] == ["1 ulp", "3 ulp"]
        assert [text for text, _ in found["core"]] == [
            "11 tokens, 3 vectors (55.00%)", "17 tokens, 7 vectors (85.00%)",
        ]  # fmt: skip
        for name, values in found.items():
            half = len(values) // 2
            first, second = values[:half], values[half:]
            assert [colour for _, colour in first] == [plain] * half, name
            for (one, _), (other, colour) in zip(first, second, strict=True):
                assert (colour != plain) == (one != other), name
        assert found["matrix"][1][1] == plain
        assert found["core"][1][1] != plain


def test_tables_of_two_sides_are_searched_each_for_itself(
    chromium: "Browser", compared: Path
) -> None:
    with opened(chromium, compared, REPORT) as page:
        sides = [len(table_rows(page, "core", side)) for side in (0, 1)]
        assert sides == [11, 17]
        search(page, "core").nth(1).fill("0")
        assert len(table_rows(page, "core", 0)) == 11
        assert 0 < len(table_rows(page, "core", 1)) < 17
        page.check_quiet()


def test_two_models_stand_beside_each_other(chromium: "Browser", two_models: Path) -> None:
    with opened(chromium, two_models, REPORT) as page:
        assert page.page.locator("h1 + p span").all_inner_texts() == ["first", "tiny"]
        assert page.page.locator('[data-figure="core"]').all_inner_texts() == [
            "5 tokens, 3 vectors (83.33%)", "6 tokens, 4 vectors (100.00%)",
        ]  # fmt: skip
        assert page.page.locator('[data-figure="halo"]').all_inner_texts() == [
            "1 token, 1 vector", "0 tokens, 0 vectors",
        ]  # fmt: skip
        assert page.page.locator("#picture-kinds .plot").nth(1).inner_text() == "Nothing to draw."
        assert page.page.locator("#picture-kinds .plot svg").count() == 1
        assert table_rows(page, "halo", 1) == []
        page.check_quiet()


# ---- the pages of DVC -------------------------------------------------------------------------

LEGENDS = """() => Object.fromEntries([...document.querySelectorAll('main > div')]
    .filter(plot => plot.querySelector('svg.marks text')).map(plot => [plot.id,
        [...plot.querySelectorAll('.role-legend')].filter(legend =>
            [...legend.querySelectorAll('.role-legend-title text')].some(
                title => title.textContent === 'revision'))
        .flatMap(legend => {
            const all = what => [...legend.querySelectorAll(what)];
            const looks = all('.role-legend-symbol path').map(symbol => {
                const look = Object.fromEntries(
                    [...symbol.attributes].map(each => [each.name, each.value]));
                delete look.transform;
                if (!look.stroke || look.stroke === 'transparent') delete look['stroke-dasharray'];
                return JSON.stringify(look);
            });
            return all('.role-legend-label text').map(
                (label, at) => [label.textContent, looks[at]]);
        })]))"""
"""Plot -> what its legend says of revisions, and how their symbols look."""


def test_dvc_draws_every_table_with_rows(chromium: "Browser", repository: Repository) -> None:
    data = repository.path / "data" / "tiny"
    expected = {
        "data_" + str(path.relative_to(repository.path / "data")).translate(
            str.maketrans("/.", "__")
        )
        for path in data.rglob("*.csv")
        if path.read_text("utf-8").count("\n") > 1 and path.name != "tokens.csv"
    }  # fmt: skip
    for name in ("shown", "diffed"):
        with opened(chromium, repository.path.parent / name / "index.html", DVC) as page:
            drawn = page.evaluate("""() => [...document.querySelectorAll('main > div')].filter(
                plot => plot.querySelector('svg.marks .role-mark > *')).map(plot => plot.id)""")
            assert set(drawn) == expected
            titles = page.page.locator("svg.marks .role-title-text text").all_text_contents()
            assert {title for title in titles if title.endswith(" (tiny)")} >= {
                "Vectors and tokens per whole ulp (tiny)", "Two rulers (tiny)",
            }  # fmt: skip
            page.check_quiet()


def test_dvc_tells_two_revisions_apart_in_every_plot(
    chromium: "Browser", repository: Repository
) -> None:
    with opened(chromium, repository.path.parent / "diffed" / "index.html", DVC) as page:
        legends = page.evaluate(LEGENDS)
    assert len(legends) >= 12
    unnamed = [
        plot
        for plot, legend in legends.items()
        if sorted(label for label, _ in legend) != ["HEAD", "workspace"]
    ]
    alike = [
        plot
        for plot, legend in legends.items()
        if plot not in unnamed and len({look for _, look in legend}) < 2
    ]
    assert (unnamed, alike) == ([], [])


def test_dvc_shows_no_undefined_value(chromium: "Browser", repository: Repository) -> None:
    with opened(chromium, repository.path.parent / "shown" / "index.html", DVC) as page:
        for name in ("populations", "plots_populations", "plots_rulers", "core", "halo"):
            shown = tooltip(page, f"data_tiny_{name}_csv", 0, "#{}")
            assert "undefined" not in shown.values(), (name, shown)
            assert "NaN" not in shown.values(), (name, shown)
        page.check_quiet()


def test_dvc_marks_both_radii(chromium: "Browser", repository: Repository) -> None:
    with opened(chromium, repository.path.parent / "diffed" / "index.html", DVC) as page:
        rules = page.page.locator("#data_tiny_plots_curve_ulp_csv .role-mark.mark-rule line")
        labels = [rule.get_attribute("aria-label") or "" for rule in rules.all()]
        assert sorted(re.findall(r"radius: (\d)", " ".join(labels))) == ["1", "3"]
