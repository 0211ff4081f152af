import csv
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from altair.utils import schemapi
from altair.vegalite.v6.schema.core import load_schema

import project
from core_tokens import plot_files
from core_tokens.pictures import PICTURES, VEGA_LITE, classes, halo, specification, style, template
from core_tokens.pictures.render import rendered
from project import Done, Project

SVG = "{http://www.w3.org/2000/svg}"
KINDS = {
    kind.__name__.rpartition(".")[2]: kind
    for kind in (*(picture.kind for picture in PICTURES.values()), classes, halo)
}
TEXTS = {1: "<b>&amp;", 2: "a\\\\b", 3: "]]>", 5: '"quoted"', 6: "'", 9: "\u4e5d\U0001f600"}
"""Text of the cluster's tokens that is no XML as it stands."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A small project whose tokens have texts, analysed."""
    made = project.made_project(tmp_path_factory.mktemp("pictures"), "cluster", "measure")
    with (made.data / "tokens.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("token", "class", "text"))
        rows.writerows((token, "ordinary", text) for token, text in TEXTS.items())
    for stage in ("extract", "analyse"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")
    return made


def rows_of(made: Project, name: str) -> list[plot_files.Row]:
    path = made.data / "plots" / f"{name}.csv"
    return plot_files.parse(path, path.read_bytes(), PICTURES[name].kind.NUMBERS)


def header_of(path: Path) -> set[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return set(next(csv.reader(file)))


def drawn(made: Project, name: str) -> str:
    spec = specification(name, rows_of(made, name), "light", f"{name} <&>")
    return rendered(spec, "svg").decode()


@pytest.fixture(scope="module")
def svgs(made: Project) -> dict[str, str]:
    """Every picture, drawn once."""
    return {name: drawn(made, name) for name in PICTURES}


def marks(svg: str, mark: str) -> list[ElementTree.Element]:
    """The elements that stand for data: those of legends and axes apart."""
    return [
        element
        for group in ElementTree.fromstring(svg).iter(f"{SVG}g")
        if f"mark-{mark} role-mark" in group.get("class", "")
        for element in group
    ]


def texts(svg: str, role: str) -> list[str]:
    return [
        "".join(element.itertext())
        for group in ElementTree.fromstring(svg).iter(f"{SVG}g")
        if f"mark-text {role}" in group.get("class", "")
        for element in group.iter(f"{SVG}text")
    ]


# ---- the specifications -----------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PICTURES)
def test_specification_is_valid_vega_lite(made: Project, name: str, theme: style.Theme) -> None:
    spec = specification(name, rows_of(made, name), theme, "A title")
    assert spec["$schema"].startswith(f"https://vega.github.io/schema/vega-lite/v{VEGA_LITE}.")
    schemapi.validate_jsonschema(spec, load_schema())


@pytest.mark.parametrize("kind", KINDS)
def test_template_is_valid_vega_lite(kind: str) -> None:
    schemapi.validate_jsonschema(template(KINDS[kind]), load_schema())


@pytest.mark.parametrize("name", PICTURES)
def test_specification_holds_the_rows_and_says_what_it_shows(made: Project, name: str) -> None:
    rows = rows_of(made, name)
    assert rows
    spec = specification(name, rows, "light")
    assert spec["data"]["values"] == rows
    assert "title" not in spec
    assert specification(name, rows, "light", "A title") == {"title": "A title", **spec}
    assert spec == json.loads(json.dumps(spec))


@pytest.mark.parametrize("name", PICTURES)
def test_light_and_dark_differ_in_nothing_but_the_configuration(made: Project, name: str) -> None:
    rows = rows_of(made, name)
    light, dark = specification(name, rows, "light"), specification(name, rows, "dark")
    assert light.pop("config") == style.config("light") != style.config("dark")
    assert dark.pop("config") == style.config("dark")
    assert light == dark


def test_every_picture_says_what_it_shows_and_how_to_read_it() -> None:
    for picture in PICTURES.values():
        assert picture.title
        assert not picture.title.endswith(".")
        assert picture.reading.endswith(".")
    assert len({picture.title for picture in PICTURES.values()}) == len(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_numbers_are_columns_of_the_table(made: Project, name: str) -> None:
    header = header_of(made.data / "plots" / f"{name}.csv")
    numbers = PICTURES[name].kind.NUMBERS
    assert set(numbers) <= header
    assert len(set(numbers)) == len(numbers)
    spec = specification(name, rows_of(made, name), "light")
    assert spec["data"]["format"]["parse"] == dict.fromkeys(numbers, "number")


# ---- what they read ---------------------------------------------------------------------------


def after(transform: dict[str, Any], columns: set[str]) -> set[str]:
    """The columns after a transform, whose own must be there before."""
    if "calculate" in transform:
        check_expression(transform["calculate"], columns)
        return columns | {transform["as"]}
    if "filter" in transform:
        check_expression(transform["filter"], columns)
        return columns
    if "fold" in transform:
        assert set(transform["fold"]) <= columns, transform
        return columns | set(transform["as"])
    assert transform.keys() <= {"aggregate", "groupby"}, transform
    made = set(transform["groupby"])
    assert made <= columns, transform
    for each in transform["aggregate"]:
        assert each["field"] in columns if "field" in each else each["op"] == "count", transform
        made.add(each["as"])
    return made


def check_expression(text: str, columns: set[str]) -> None:
    """Every field is there, but those of which the expression asks before it takes them."""
    if choice := re.fullmatch(r"isValid\(datum\.(\w+)\) \? (.*?) : (.*)", text):
        asked, there, absent = choice.groups()
        text = there if asked in columns else absent
    assert set(re.findall(r"datum\.(\w+)", text)) <= columns, text


def channels(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for channel, found in {**spec.get("encoding", {}), **spec.get("facet", {})}.items():
        yield from ((channel, each) for each in (found if isinstance(found, list) else [found]))


def check_fields(spec: dict[str, Any], table: set[str], columns: set[str]) -> int:
    """All fields of a specification are columns; returns how many channels were looked at."""
    for transform in spec.get("transform", []):
        columns = after(transform, columns)
    looked_at = 0
    for _, channel in channels(spec):
        looked_at += 1
        assert ("field" in channel) + ("value" in channel) + ("datum" in channel) == 1, channel
        assert channel.get("field") in columns | {None}, channel
        if isinstance(channel.get("sort"), dict):
            assert channel["sort"]["field"] in columns, channel
        label = (channel.get("axis") or {}).get("labelExpr", "")
        assert set(re.findall(r"data\('table'\)\[0\]\.(\w+)", label)) <= table, channel
        assert set(re.findall(r"datum\.(\w+)", label)) <= {"value", "label"}, channel
    parts = [*spec.get("layer", []), *([spec["spec"]] if "spec" in spec else [])]
    return looked_at + sum(check_fields(part, table, columns) for part in parts)


@pytest.mark.parametrize("name", PICTURES)
def test_every_field_is_a_column_of_the_table(made: Project, name: str) -> None:
    header = header_of(made.data / "plots" / f"{name}.csv")
    spec = specification(name, rows_of(made, name), "light")
    assert check_fields(spec, header, header) >= 5


@pytest.mark.parametrize("name", PICTURES)
def test_every_field_of_a_template_is_a_column_or_the_revision(made: Project, name: str) -> None:
    header = header_of(made.data / "plots" / f"{name}.csv") | {"rev"}
    spec = template(PICTURES[name].kind)
    assert check_fields(spec, header, header) >= 5
    assert any(channel.get("field") == "rev" for channel in all_channels(spec))


@pytest.mark.parametrize(
    ("kind", "file"),
    [("classes", "tokens"), ("halo", "core"), ("halo", "halo"), ("populations", "populations")],
)
def test_templates_of_other_tables_find_their_fields_there(
    made: Project, kind: str, file: str
) -> None:
    header = header_of(made.data / f"{file}.csv") | {"rev"}
    assert check_fields(template(KINDS[kind]), header, header) >= 5
    if kind != "populations":
        assert set(KINDS[kind].NUMBERS) <= header


def all_channels(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (channel for _, channel in channels(spec))
    for part in [*spec.get("layer", []), *([spec["spec"]] if "spec" in spec else [])]:
        yield from all_channels(part)


# ---- how they look ----------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance of sRGB, WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio, WCAG 2.2."""
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("page", style.PAGE.values(), ids=style.PAGE)
@pytest.mark.parametrize("colour", ["BLUE", "VERMILLION", "GREEN", "PURPLE", "GREY"])
def test_colours_stand_out_from_both_pages(colour: str, page: str) -> None:
    assert contrast(getattr(style, colour), page) >= 3


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_page(theme: style.Theme) -> None:
    assert contrast(style.INK[theme], style.PAGE[theme]) >= 7
    config = style.config(theme)
    assert config["background"] == style.PAGE[theme]
    for part in ("title", "axis", "header", "legend", "text"):
        colours = {value for key, value in config[part].items()
                   if key in ("color", "labelColor", "titleColor", "subtitleColor")}  # fmt: skip
        assert colours == {style.INK[theme]}, part


AXES = {
    "curve_ulp": ["radius in ulp", "in the core"],
    "curve_steps": ["radius in lattice steps", "in the core"],
    "curve_l2": ["radius in L2", "in the core"],
    "shells": ["distance from the Big One, to the nearest whole ulp"],  # and the names of the rows
    "populations": ["rank", "tokens that share the vector"],
    "rulers": ["distance in lattice steps", "distance in ulp"],
    "diversity": ["distinct values of a dimension", "dimensions"],
    "quantization": ["n: the gap is 2^n of the smallest of its dimension", "gaps"],
    "cross_section": ["value in the dimension of largest variance", "value in the second"],
    "adjacency": [],  # its coordinates mean nothing
    "kinds": ["tokens"],  # its other labels say what they are
}


@pytest.mark.parametrize("name", PICTURES)
def test_axes_say_what_they_show_in_which_unit(svgs: dict[str, str], name: str) -> None:
    svg = svgs[name]
    assert texts(svg, "role-axis-title") == AXES[name]
    if name == "shells":
        assert set(texts(svg, "role-title-text")) >= {"vectors", "tokens"}


@pytest.mark.parametrize("name", PICTURES)
def test_axes_without_a_title_are_so_on_purpose(made: Project, name: str) -> None:
    spec = specification(name, rows_of(made, name), "light")
    for channel in all_channels(spec):
        if channel.get("axis"):
            assert "title" in channel, channel


@pytest.mark.parametrize("name", PICTURES)
def test_legends_name_what_is_coloured(svgs: dict[str, str], name: str) -> None:
    expected = ["core", "halo"]
    if name.startswith("curve_"):
        expected = ["tokens", "vectors"]
    elif name in ("diversity", "quantization"):
        expected = ["cluster", "core"]
    found = texts(svgs[name], "role-legend-label")
    assert [text for text in found if not text.isdigit()] == expected


# ---- what they draw ---------------------------------------------------------------------------

MARKS = {
    "curve_ulp": {"line": 2, "symbol": 8, "rule": 1},
    "curve_steps": {"line": 2, "symbol": 8},
    "curve_l2": {"line": 2, "symbol": 8},
    "shells": {"rect": 8},
    "populations": {"symbol": 4},
    "rulers": {"symbol": 4, "rule": 1},
    "diversity": {"rect": 3},
    "quantization": {"rect": 3},  # a bar for each row, and a mark across for the cluster
    "cross_section": {"symbol": 3},
    "adjacency": {"symbol": 4, "rule": 1},
    "kinds": {"rect": 4},
}
"""Of ``tiny_matrix``: six tokens in four vectors, of which one vector with one token is halo."""


@pytest.mark.parametrize("name", PICTURES)
def test_there_is_a_mark_for_each_row(svgs: dict[str, str], name: str) -> None:
    svg = svgs[name]
    found = {mark: len(marks(svg, mark)) for mark in ("line", "symbol", "rule", "rect")}
    assert {mark: n for mark, n in found.items() if n} == MARKS[name]


@pytest.mark.parametrize("name", ["populations", "rulers", "cross_section", "adjacency"])
def test_core_and_halo_have_their_colours(made: Project, svgs: dict[str, str], name: str) -> None:
    fills = Counter(mark.get("fill") for mark in marks(svgs[name], "symbol"))
    parts = Counter(row["part"] for row in rows_of(made, name) if row["part"])
    assert fills == {style.BLUE: parts["core"], style.VERMILLION: parts["halo"]}


def test_shells_are_labelled_by_their_counts(made: Project, svgs: dict[str, str]) -> None:
    assert [(row["vectors"], row["tokens"]) for row in rows_of(made, "shells")] == [
        (1, 2), (1, 2), (1, 1), (1, 1)
    ]  # fmt: skip
    assert sorted(texts(svgs["shells"], "role-mark")) == ["1"] * 6 + ["2"] * 2


def test_bars_of_the_shells_are_as_high_as_their_counts(svgs: dict[str, str]) -> None:
    bars = marks(svgs["shells"], "rect")
    heights = [float(re.findall(r"v(-?[\d.]+)", bar.get("d", ""))[0]) for bar in bars]
    tallest = max(heights)
    assert [round(height / tallest, 3) for height in heights] == [1] * 4 + [1, 1, 0.5, 0.5]


def test_the_radius_in_use_is_marked_where_it_is_one_of_the_ruler(svgs: dict[str, str]) -> None:
    assert texts(svgs["curve_ulp"], "role-mark") == ["0", "radius 2"]
    assert texts(svgs["curve_steps"], "role-mark") == ["0"]
    assert texts(svgs["curve_l2"], "role-mark") == ["0"]


def test_groups_are_labelled_by_the_text_of_their_first_token(svgs: dict[str, str]) -> None:
    assert sorted(filter(None, texts(svgs["populations"], "role-mark"))) == [
        TEXTS[3], "the Big One"
    ]  # fmt: skip


def test_the_plane_names_its_dimensions(svgs: dict[str, str]) -> None:
    assert texts(svgs["cross_section"], "role-mark") == ["dimension 1 across, 2 up"]


def test_kinds_are_classes_and_scripts(made: Project, svgs: dict[str, str]) -> None:
    labels = texts(svgs["kinds"], "role-axis-label")
    rows = {(row["class"], row["script"]) for row in rows_of(made, "kinds")}
    assert len(rows) > 1
    assert set(labels) >= {
        kind if script == "none" else f"{kind}, {script}" for kind, script in rows
    }


def test_a_log_axis_shows_zero_as_zero_and_no_other_label_near_it(svgs: dict[str, str]) -> None:
    for name in ("curve_ulp", "curve_steps", "curve_l2", "rulers"):
        svg = svgs[name]
        assert "0" in texts(svg, "role-mark"), name
        values = [float(text) for text in texts(svg, "role-axis-label") if re.match(r"\d", text)]
        assert values
        assert min(values) > 0, name


# ---- the files --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PICTURES)
def test_svg_is_the_same_twice_and_well_formed(
    made: Project, svgs: dict[str, str], name: str
) -> None:
    svg = svgs[name]
    assert drawn(made, name) == svg
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert f"{name} <&>" in texts(svg, "role-title-text")
    width, height = (float(root.get(side, "0")) for side in ("width", "height"))
    assert 400 < width < 700
    assert 300 < height < 500


@pytest.mark.parametrize("name", PICTURES)
def test_svg_refers_to_nothing_outside(svgs: dict[str, str], name: str) -> None:
    svg = svgs[name]
    for element in ElementTree.fromstring(svg).iter():
        tag = element.tag.removeprefix(SVG)
        assert tag in {"svg", "g", "path", "text", "rect", "line", "tspan", "defs", "clipPath",
                       "title"}, tag  # fmt: skip
        for attribute, value in element.attrib.items():
            assert "href" not in attribute
            assert "url(" not in value or "url(#" in value
            assert "http" not in value or "aria" in attribute


@pytest.mark.parametrize("name", PICTURES)
def test_png_is_twice_as_large(made: Project, name: str) -> None:
    spec = specification(name, rows_of(made, name), "dark")
    png = rendered(spec, "png")
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    svg = ElementTree.fromstring(rendered(spec, "svg").decode())
    size = [int.from_bytes(png[at : at + 4], "big") for at in (16, 20)]
    assert size == [2 * int(svg.get(side, "0")) for side in ("width", "height")]


def test_a_fresh_process_elsewhere_makes_the_same_bytes(
    made: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {}
    for name in PICTURES:
        spec = specification(name, rows_of(made, name), "light", f"{name} <&>")
        expected[name] = [
            hashlib.sha256(json.dumps(spec).encode()).hexdigest(),
            hashlib.sha256(rendered(spec, "svg")).hexdigest(),
        ]
    code = (
        "import hashlib, json, pathlib\n"
        "from core_tokens import plot_files\n"
        "from core_tokens.pictures import PICTURES, specification\n"
        "from core_tokens.pictures.render import rendered\n"
        "found = {}\n"
        "for name in reversed(PICTURES):\n"
        "    path = pathlib.Path('data/tiny/plots', name + '.csv')\n"
        "    rows = plot_files.parse(path, path.read_bytes(), PICTURES[name].kind.NUMBERS)\n"
        "    spec = specification(name, rows, 'light', f'{name} <&>')\n"
        "    found[name] = [hashlib.sha256(part).hexdigest() for part in\n"
        "                   (json.dumps(spec).encode(), rendered(spec, 'svg'))]\n"
        "print(json.dumps(found))\n"
    )
    for name, value in (
        ("LANG", "de_DE.UTF-8"), ("LC_ALL", "C"), ("TZ", "Pacific/Kiritimati"),
        ("PYTHONHASHSEED", "7"), ("HOME", str(made.folder)),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    done = project.run_process([sys.executable, "-W", "error", "-c", code], made.folder)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == expected
