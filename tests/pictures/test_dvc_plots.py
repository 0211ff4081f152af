import csv
import json
import re
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import project
from core_tokens.pictures import PICTURES, SURVEY_PICTURES, dvc_plots
from core_tokens.survey.tables import COLUMNS
from project import Done
from repository import ROOT

FOLDER = ROOT / ".dvc" / "plots"
HINT = "the templates are not those of the pictures: make templates"


def plots_of_dvc_yaml() -> dict[str, dict[str, Any]]:
    """File below data/MODEL -> what dvc.yaml says of its plot."""
    stages = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
    return {
        path.partition("}/")[2]: settings
        for stage in stages.values()
        for plot in stage["do"].get("plots", [])
        for path, settings in plot.items()
    }


@pytest.fixture(scope="module")
def templates() -> dict[str, str]:
    return dvc_plots.templates()


def test_committed_files_are_what_the_pictures_make(templates: dict[str, str]) -> None:
    committed = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    assert committed.keys() == templates.keys(), HINT
    assert [name for name, text in templates.items() if text.encode() != committed[name]] == [], (
        HINT
    )


def test_there_is_a_template_for_each_kind_of_picture(templates: dict[str, str]) -> None:
    pictures = (*PICTURES.values(), *SURVEY_PICTURES.values())
    kinds = {picture.kind.__name__.rpartition(".")[2] for picture in pictures}
    assert templates.keys() == {f"{kind}.json" for kind in kinds | {"classes", "halo"}} | {
        "page.html"
    }


def test_every_template_has_the_anchors_that_dvc_fills(templates: dict[str, str]) -> None:
    for name, text in templates.items():
        if name != "page.html":
            spec = json.loads(text)
            assert spec["data"]["values"] == "<DVC_METRIC_DATA>", name
            assert spec["title"] == "<DVC_METRIC_TITLE>", name
            assert text.count("<DVC_METRIC_DATA>") == text.count("<DVC_METRIC_TITLE>") == 1
            assert json.dumps(spec, indent=2, sort_keys=True) + "\n" == text


def test_every_plot_of_dvc_yaml_names_a_template_that_exists(templates: dict[str, str]) -> None:
    plots = plots_of_dvc_yaml()
    assert len(plots) >= len(PICTURES) + 4
    for path, settings in plots.items():
        assert f"{settings['template']}.json" in templates, path
        labels = {"x_label"} if "/curve_" in path else set()
        assert settings.keys() == {"cache", "template", "x", "y", "title"} | labels, path
        assert settings["cache"] is False, path
        assert re.fullmatch(r".* \(\$\{(item|key)\}\)", settings["title"]), path


def test_every_picture_is_a_plot_of_dvc_yaml_drawn_by_its_own_template() -> None:
    plots = {path: settings["template"] for path, settings in plots_of_dvc_yaml().items()}
    for name, picture in PICTURES.items():
        kind = picture.kind.__name__.rpartition(".")[2]
        assert plots[f"plots/{name}.csv"] == kind


def test_axes_of_dvc_yaml_are_columns_of_the_tables(tmp_path: Path) -> None:
    made = project.made_project(tmp_path, "cluster", "measure")
    with (made.data / "tokens.csv").open("w", encoding="utf-8") as file:
        file.write("token,class,text\n")
        file.writelines(f"{token},ordinary,x\n" for token in project.CLUSTER_IDS)
    for stage in ("extract", "analyse"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")
    for path, settings in plots_of_dvc_yaml().items():
        header: Sequence[str] | None = COLUMNS.get(Path(path).stem)  # of a survey
        if header is None:
            with (made.data / path).open(newline="") as table:
                header = next(csv.reader(table))
        assert {settings["x"], settings["y"]} <= set(header), path


# ---- the page --------------------------------------------------------------------------------


class Elements(HTMLParser):
    """All start tags with their attributes, and what stands in style elements."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.styles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "style":
            self.styles.append(data)


@pytest.fixture(scope="module")
def page(templates: dict[str, str]) -> Elements:
    elements = Elements()
    elements.feed(templates["page.html"])
    return elements


def test_page_has_the_places_that_dvc_fills_once_each(templates: dict[str, str]) -> None:
    for place in ("{plot_divs}", "{refresh_tag}"):
        assert templates["page.html"].count(place) == 1


def test_page_is_html_that_a_phone_reads(page: Elements) -> None:
    tags = [tag for tag, _ in page.found]
    assert tags == [
        "html",
        "head",
        "meta",
        "meta",
        "meta",
        "title",
        "style",
        "script",
        "body",
        "main",
    ]
    assert page.found[0] == ("html", {"lang": "en"})
    assert ("meta", {"charset": "utf-8"}) in page.found
    assert any(attributes.get("name") == "viewport" for _, attributes in page.found)


def test_page_loads_nothing(templates: dict[str, str], page: Elements) -> None:
    loading = {"src", "href", "srcset", "data", "action", "poster", "background", "http-equiv"}
    (policy,) = (found for _, found in page.found if "http-equiv" in found)
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert (policy["content"] or "").startswith("default-src 'none';")
    assert "http" not in (policy["content"] or "")
    for tag, attributes in page.found:
        assert attributes is policy or not loading & attributes.keys(), tag
    assert page.styles
    for style in page.styles:
        assert "url(" not in style
        assert "@import" not in style
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", templates["page.html"])


def test_no_other_file_refers_to_a_url_but_to_the_schema(templates: dict[str, str]) -> None:
    for name, text in templates.items():
        if name != "page.html":
            assert set(re.findall(r"https?://[^\"' ]+", text)) == {json.loads(text)["$schema"]}


def test_dvc_is_told_to_use_the_page() -> None:
    config = (ROOT / ".dvc" / "config").read_text()
    assert "html_template = plots/page.html" in config


def test_written_again_they_are_the_same(tmp_path: Path, templates: dict[str, str]) -> None:
    done = project.run_process(
        [sys.executable, "-W", "error", "-m", "core_tokens.pictures.dvc_plots"], tmp_path
    )
    assert done == Done(0, "", "")
    written = {path.name: path.read_text("utf-8") for path in (tmp_path / ".dvc/plots").iterdir()}
    assert written == templates
