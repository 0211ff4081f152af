import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from altair.utils import schemapi
from altair.vegalite.v6.schema.core import load_schema
from test_pictures import channels, contrast, marks, texts

from core_tokens import plot_files
from core_tokens.pictures import (
    PICTURES,
    SURVEY_PICTURES,
    dvc_plots,
    growth,
    specification,
    style,
    template,
)
from core_tokens.pictures.render import rendered

HEADERS = {
    "sizes": "kind,x,panel,series,value,checkpoint,step,label",
    "arrivals": "kind,x,x2,y,y2,state,tokens,first_token,text,first,last,label",
    "overlap": "kind,x,x2,y,y2,jaccard,a,b,both,either,label",
}
STEPS = {0: "1000", 1: "2000", 2: "3000"}
"""Position of a checkpoint -> its label."""
NAMES = {0: "Qwen2.5-0.5B-Instruct", 1: "Qwen2.5-Coder-32B-Instruct", 2: "Qwen3-4B-Base"}
SERIES = ["cluster", "core within 3 ulp", "core within 1 ulp"]
THEMES: tuple[style.Theme, ...] = ("light", "dark")


def table(name: str, labels: dict[int, str], *, last: int = 0) -> str:
    """A table as CSV: three checkpoints, or fewer; ``last`` is added to the last value."""
    lines = [HEADERS[name]]
    if name == "sizes":
        lines += [
            f"value,{x},{panel},{series},{10 * (3 - at) + x + last * (x == 2)},m@{label},{x},"
            for x, label in labels.items()
            for panel in (f'"{panel}"' for panel in growth.PANELS)
            for at, series in enumerate(SERIES)
        ]
        lines += [f"tick,{x},,,,,,{label}" for x, label in labels.items()]
    elif name == "arrivals":
        end = len(labels) - 0.5
        lines += [
            f'run,-0.5,{end},0,40,core,40,7,"<a>, \'",m@first,m@last,',
            f"run,-0.5,0.5,40,{41 + last},halo,{1 + last},9,,m@first,m@first,",
        ]
        lines += [f"tick,{x},,,,,,,,,,{label}" for x, label in labels.items()]
    else:
        lines += [
            f"cell,{x - 0.5},{x + 0.5},{y - 0.5},{y + 0.5},{shared},{a},{b},{40 if shared else ''},"
            f"{80 if shared else ''},"
            for x, a in labels.items()
            for y, b in labels.items()
            for shared in ("" if 1 in (x, y) else "1" if x == y else "0.5",)
        ]
        lines += [f"tick,{x},,,,,,,,,{label}" for x, label in labels.items()]
    return "\n".join(lines) + "\n"


def rows(name: str, content: str) -> list[plot_files.Row]:
    kind = SURVEY_PICTURES[name].kind
    return plot_files.parse(name, content.encode(), kind.NUMBERS, kind.TEXTS)


def drawn(name: str, content: str, theme: style.Theme = "light") -> str:
    return rendered(specification(name, rows(name, content), theme, "A <title>"), "svg").decode()


def as_dvc(name: str, *contents: str) -> dict[str, Any]:
    """The template of a picture as DVC fills it, a revision for each table, all cells text."""
    values = [
        {**row, "rev": f"revision {at}"}
        for at, content in enumerate(contents)
        for row in csv.DictReader(io.StringIO(content))
    ]
    text = json.dumps(template(SURVEY_PICTURES[name].kind))
    filled: dict[str, Any] = json.loads(
        text.replace('"<DVC_METRIC_DATA>"', json.dumps(values)).replace("<DVC_METRIC_TITLE>", "T")
    )
    return filled


def shown(svg: str) -> list[str]:
    return [text for text in texts(svg, "role-mark") if text]


def colours(svg: str, mark: str, name: str = "fill") -> Counter[str | None]:
    return Counter(each.get(name) for each in marks(svg, mark))


def size(svg: str) -> tuple[float, float]:
    width, height = re.findall(r'(?:width|height)="([^"]+)"', svg)[:2]
    return float(width), float(height)


# ---- the specifications -----------------------------------------------------------------------


def test_no_picture_of_a_survey_has_the_name_of_another() -> None:
    assert not SURVEY_PICTURES.keys() & PICTURES.keys()
    every = [*PICTURES.values(), *SURVEY_PICTURES.values()]
    assert len({picture.title for picture in every}) == len(every)


@pytest.mark.parametrize("name", SURVEY_PICTURES)
def test_it_says_what_it_shows_and_how_to_read_it(name: str) -> None:
    picture = SURVEY_PICTURES[name]
    assert picture.title
    assert not picture.title.endswith(".")
    assert picture.reading.endswith(".")


@pytest.mark.parametrize("name", SURVEY_PICTURES)
def test_its_template_is_written_for_dvc(name: str) -> None:
    kind = SURVEY_PICTURES[name].kind
    made = dvc_plots.templates()[f"{kind.__name__.rpartition('.')[2]}.json"]
    assert json.loads(made) == template(kind)
    schemapi.validate_jsonschema(template(kind), load_schema())


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", SURVEY_PICTURES)
def test_specification_is_valid_vega_lite_with_the_rows(name: str, theme: style.Theme) -> None:
    read = rows(name, table(name, STEPS))
    spec = specification(name, read, theme, "A title")
    schemapi.validate_jsonschema(spec, load_schema())
    assert spec["data"]["values"] == read
    assert spec["config"] == style.config(theme)
    assert {**spec, "config": 0} == {**specification(name, read, "light", "A title"), "config": 0}
    assert rendered(spec, "png").startswith(b"\x89PNG")


@pytest.mark.parametrize("name", SURVEY_PICTURES)
def test_columns_are_those_of_the_table(name: str) -> None:
    kind = SURVEY_PICTURES[name].kind
    columns = HEADERS[name].split(",")
    assert sorted((*kind.NUMBERS, *kind.TEXTS)) == sorted(columns)


def parts(spec: dict[str, Any], columns: set[str]) -> Iterator[tuple[dict[str, Any], set[str]]]:
    """Every part of a specification with its columns; those its transforms read must be there."""
    for step in spec.get("transform", []):
        read = set(re.findall(r"datum\.(\w+)", str(step.get("calculate", step.get("filter", "")))))
        folded = [*step.get("aggregate", []), *step.get("joinaggregate", [])]
        windowed = step.get("window", [])
        read |= {each["field"] for each in (*folded, *windowed) if "field" in each}
        read |= {*step.get("groupby", []), *step.get("flatten", [])}
        assert read <= columns, step
        made = {each["as"] for each in (*folded, *windowed)}
        if "aggregate" in step:
            columns = set(step["groupby"])
        names = step.get("as", [])
        columns = columns | made | set([names] if isinstance(names, str) else names)
    yield spec, columns
    for part in [*spec.get("layer", []), *([spec["spec"]] if "spec" in spec else [])]:
        yield from parts(part, columns)


@pytest.mark.parametrize("overlay", [False, True])
@pytest.mark.parametrize("name", SURVEY_PICTURES)
def test_every_field_is_a_column_of_the_table(name: str, overlay: bool) -> None:
    columns = set(HEADERS[name].split(",")) | ({"rev"} if overlay else set())
    kind = SURVEY_PICTURES[name].kind
    spec = template(kind) if overlay else specification(name, [], "light")
    tooltips = 0
    for part, there in parts(spec, columns):
        for channel, found in channels(part):
            assert found.get("field") in there | {None}, (channel, found)
            tooltips += channel == "tooltip"
        assert set(re.findall(r"datum\.(\w+)", json.dumps(part.get("mark")))) <= there
    assert tooltips >= 6
    assert ('"rev"' in json.dumps(spec)) == overlay


@pytest.mark.parametrize("page", style.PAGE.values(), ids=style.PAGE)
def test_colours_stand_out_from_both_pages(page: str) -> None:
    assert len(set(growth.COLOURS)) == len(growth.COLOURS) == 6
    assert min(contrast(colour, page) for colour in growth.COLOURS) >= 3


def test_more_series_than_colours_are_told_apart_by_their_points() -> None:
    many = range(len(growth.COLOURS) * len(growth.SHAPES))
    points = {(growth.COLOURS[nth % 6], growth.SHAPES[nth % 7]) for nth in many}
    assert len(points) == len(many)


# ---- what they draw ---------------------------------------------------------------------------


@pytest.mark.parametrize("theme", THEMES)
def test_sizes_are_three_panels_of_lines_and_points(theme: style.Theme) -> None:
    svg = drawn("sizes", table("sizes", STEPS), theme)
    assert [text for text in texts(svg, "role-title-text") if text in growth.PANELS] == (
        growth.PANELS
    )
    assert texts(svg, "role-legend-label") == SERIES
    assert colours(svg, "symbol") == dict.fromkeys(growth.COLOURS[:3], 9)
    assert colours(svg, "line", "stroke") == dict.fromkeys(growth.COLOURS[:3], 3)


def test_panels_begin_at_zero_and_end_each_at_its_own() -> None:
    largest = 'value,2,"tokens",cluster,'
    content = table("sizes", STEPS).replace(f"{largest}32", f"{largest}4000")
    labels = texts(drawn("sizes", content), "role-axis-label")
    assert labels.count("0") == 3
    assert "4,000" in labels
    assert labels.count("30") == 2


def test_a_value_that_is_missing_is_no_point() -> None:
    missing = 'value,1,"tokens",cluster,'
    content = table("sizes", STEPS).replace(f"{missing}31", missing)
    assert colours(drawn("sizes", content), "symbol") == {
        growth.COLOURS[0]: 8, growth.COLOURS[1]: 9, growth.COLOURS[2]: 9
    }  # fmt: skip


def test_arrivals_are_a_band_for_each_run() -> None:
    svg = drawn("arrivals", table("arrivals", STEPS))
    assert colours(svg, "rect") == {style.BLUE: 1, style.VERMILLION: 1}
    assert texts(svg, "role-legend-label") == ["core", "halo"]
    assert texts(svg, "role-axis-title") == ["tokens, the first to come on top"]
    (core,) = (each for each in marks(svg, "rect") if each.get("fill") == style.BLUE)
    top, width, height = re.findall(r"M[\d.]+,([\d.]+)h([\d.]+)v([\d.]+)", core.get("d", ""))[0]
    assert (float(top), float(width)) == (0, style.WIDTH)
    assert float(height) == pytest.approx(style.HEIGHT * 40 / 41)


def test_arrivals_of_nobody_say_so() -> None:
    content = "".join(
        line
        for line in table("arrivals", STEPS).splitlines(keepends=True)
        if not line.startswith("run")
    )
    assert shown(drawn("arrivals", content)) == ["no token in any core", *STEPS.values(),
                                                 "checkpoint"]  # fmt: skip
    assert "no token" not in drawn("arrivals", table("arrivals", STEPS))


def test_overlap_is_a_square_of_squares_some_crossed_out() -> None:
    svg = drawn("overlap", table("overlap", STEPS))
    found = colours(svg, "rect")
    assert found.pop(style.GREY) == 5
    assert sorted(found.values()) == [2, 2]  # twice 1, twice 0.5
    assert texts(svg, "role-legend-label") == ["0%", "50%", "100%"]
    assert colours(svg, "rule", "stroke")[style.GREY] == 5
    for each in marks(svg, "rect"):
        (width, height), = re.findall(r"h([\d.]+)v([\d.]+)", each.get("d", ""))  # fmt: skip
        assert float(width) == pytest.approx(float(height)) == pytest.approx(120)


@pytest.mark.parametrize("labels", [STEPS, NAMES], ids=["steps", "names"])
@pytest.mark.parametrize("name", SURVEY_PICTURES)
def test_checkpoints_are_labelled_by_the_table(name: str, labels: dict[int, str]) -> None:
    svg = drawn(name, table(name, labels))
    sides = 2 if name == "overlap" else 1
    found = Counter(shown(svg))
    assert {label: found[label] for label in labels.values()} == dict.fromkeys(
        labels.values(), sides
    )
    assert "checkpoint" in [*found, *texts(svg, "role-axis-title"), *texts(svg, "role-title-text")]


def test_long_labels_are_turned_and_short_ones_are_not() -> None:
    def turned(labels: dict[int, str]) -> int:
        svg = drawn("arrivals", table("arrivals", labels))
        return sum("rotate(300)" in each.get("transform", "") for each in marks(svg, "text"))

    assert turned(STEPS) == 0
    assert turned({x: 3 * name for x, name in NAMES.items()}) == 3
    assert turned({x: str(1000 * x) for x in range(30)}) == 30


def test_labels_that_would_lie_over_each_other_are_left_out() -> None:
    content = table("sizes", STEPS) + "tick,0.001,,,,,,1001\ntick,1000,,,,,,9000\n"
    assert set(shown(drawn("sizes", content))) == {"1000", "9000"}


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", SURVEY_PICTURES)
def test_a_single_checkpoint_is_drawn(name: str, theme: style.Theme) -> None:
    svg = drawn(name, table(name, {0: "1000"}), theme)
    mark, number = {"sizes": ("symbol", 9), "arrivals": ("rect", 2), "overlap": ("rect", 1)}[name]
    assert len(marks(svg, mark)) == number
    assert "1000" in shown(svg)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", SURVEY_PICTURES)
def test_an_empty_table_is_drawn(name: str, theme: style.Theme) -> None:
    svg = drawn(name, HEADERS[name] + "\n", theme)
    assert texts(svg, "role-title-text")[0] == "A <title>"
    assert 300 < size(svg)[0] < 700
    assert 50 < size(svg)[1] < 500
    assert "Infinity" not in svg


# ---- several revisions ------------------------------------------------------------------------


def test_revisions_of_the_sizes_are_dashes() -> None:
    one, two = table("sizes", STEPS), table("sizes", STEPS, last=5)
    svg = rendered(as_dvc("sizes", one, two), "svg").decode()
    assert texts(svg, "role-legend-label") == ["revision 0", "revision 1", *SERIES]
    assert len(marks(svg, "line")) == 18
    assert len({each.get("stroke-dasharray") for each in marks(svg, "line")}) == 2
    assert shown(svg) == list(STEPS.values())


@pytest.mark.parametrize("name", ["arrivals", "overlap"])
def test_revisions_of_areas_are_below_each_other_each_with_its_labels(name: str) -> None:
    svg = rendered(as_dvc(name, table(name, STEPS), table(name, NAMES, last=3)), "svg").decode()
    titles = texts(svg, "role-title-text")
    assert [text for text in titles if text.startswith("revision")] == ["revision 0", "revision 1"]
    assert len(marks(svg, "rect")) == (4 if name == "arrivals" else 18)
    assert {*STEPS.values(), *NAMES.values()} <= set(shown(svg))
    assert size(svg)[1] > 600


@pytest.mark.parametrize("name", SURVEY_PICTURES)
def test_one_revision_is_drawn_by_the_template_too(name: str) -> None:
    svg = rendered(as_dvc(name, table(name, STEPS)), "svg").decode()
    assert set(STEPS.values()) <= set(shown(svg))
