"""Surveys in the report: their figures and their pictures."""

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_browser import CLIPPED, REPORT, TOO_WIDE
from test_report import Parsed, report, repository_of

import project
from browser import DESKTOP, PHONE, opened
from core_tokens.pictures import SURVEY_PICTURES
from project import Project, check_refusal
from repository import Repository
from surveyed import NAME, surveyed

if TYPE_CHECKING:
    from playwright.sync_api import Browser

METRICS = Path("data", "surveys", NAME, "survey.json")


@pytest.fixture(scope="module")
def survey_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return surveyed(tmp_path_factory.mktemp("surveyed") / "project")


@pytest.fixture
def made(survey_project: Project, tmp_path: Path) -> Project:
    """A copy, to be changed."""
    shutil.copytree(survey_project.folder, tmp_path / "project")
    return Project(tmp_path / "project")


def sections(page: Parsed) -> list[str]:
    return [found["id"] or "" for tag, found, _ in page.elements if tag == "section"]


def test_a_survey_has_its_figures_and_every_picture(made: Project) -> None:
    page = Parsed(report(made))
    assert sections(page) == [f"survey-{NAME}"]
    figures = page.cells("data-survey")
    assert figures["checkpoints"] == ["5, 1 failed"]
    assert figures["with a cluster"] == ["3"]
    assert figures["core"] == ["within 2 (ulp), the cluster below 0.002"]
    assert figures["tokens that entered the core"] == ["6"]
    assert figures["tokens that left it"] == ["1"]
    assert figures["neighbouring cores"] == ["44.4% in common on average, 0.0% at least"]
    assert figures["cluster tokens"] == ["0 in the first, 5 in the last, 6 at most"]
    assert figures["core within 0 ulp"] == ["0 in the first, 5 in the last, 6 at most"]
    assert page.data["pictures"].keys() == {f"{NAME}-{name}" for name in SURVEY_PICTURES}
    assert page.texts("title") == [f"Core Tokens: {NAME}"]


def test_models_and_surveys_share_a_page_and_can_be_asked_for_by_name(tmp_path: Path) -> None:
    made = surveyed(tmp_path / "project", "[tiny]")
    made.write_tensors("W.safetensors", {"W": project.tiny_matrix()})
    for stage in ("cluster", "measure", "extract", "analyse"):
        assert made.stage_here(stage, "tiny").code == 0
    both = sections(Parsed(report(made)))
    assert both == ["summary", "pictures", "halo", "core", "origin", f"survey-{NAME}"]
    assert sections(Parsed(report(made, NAME))) == [f"survey-{NAME}"]
    assert sections(Parsed(report(made, "tiny"))) == both[:-1]
    # What a survey asks for is no parameter of a model.
    assert "survey." not in " ".join(Parsed(report(made)).texts("code"))


def test_a_survey_beside_how_it_was_marks_what_differs(made: Project) -> None:
    repository_of(made)
    made.write_params((made.folder / "params.yaml").read_text().replace("[2, 0]", "[0]"))
    assert made.command_here("survey", NAME, "--workers", "0").code == 0
    page = Parsed(report(made, "--compare", "HEAD"))
    cells = page.cells("data-survey")
    assert cells["core"] == [
        "within 2 (ulp), the cluster below 0.002", "within 0 (ulp), the cluster below 0.002",
    ]  # fmt: skip
    assert cells["core within 2 ulp"][1] == "\u2013"
    differ = [found["data-survey"] for tag, found, _ in page.elements
              if tag == "td" and found.get("class") == "differs"]  # fmt: skip
    assert differ == ["core", "core within 2 ulp"]
    assert all(len(sides) == 2 for sides in page.data["pictures"].values())


def test_shares_that_were_not_said_are_left_out_or_a_dash_beside_those_that_were(
    made: Project,
) -> None:
    repository_of(made)
    metrics = json.loads((made.folder / METRICS).read_text())
    assert set(metrics["jaccard"]) == {"first_and_last", "neighbours_mean", "neighbours_min"}
    del metrics["jaccard"]
    (made.folder / METRICS).write_text(json.dumps(metrics))
    cells = Parsed(report(made)).cells("data-survey")
    assert not {"first and last core", "neighbouring cores"} & set(cells)
    metrics["jaccard"] = {"first_and_last": 0.25}
    (made.folder / METRICS).write_text(json.dumps(metrics))
    cells = Parsed(report(made, "--compare", "HEAD")).cells("data-survey")
    assert cells["first and last core"] == ["0.0% in common", "25.0% in common"]
    assert cells["neighbouring cores"] == ["44.4% in common on average, 0.0% at least", "\u2013"]


def test_a_survey_that_was_not_there_yet_has_one_column(made: Project) -> None:
    plots = made.folder / "data"
    plots.rename(made.folder / "later")
    repository: Repository = repository_of(made)
    (made.folder / "later").rename(plots)
    assert repository.path == made.folder
    cells = Parsed(report(made, "--compare", "HEAD")).cells("data-survey")
    assert cells["checkpoints"] == ["5, 1 failed"]


def test_a_survey_that_was_not_made_is_left_out_unless_it_is_asked_for(made: Project) -> None:
    (made.folder / METRICS).unlink()
    check_refusal(made.command_here("report", NAME), str(METRICS), "no such file", "dvc repro")
    check_refusal(made.command_here("report"), "no model")
    assert not (made.folder / "report.html").exists()


@pytest.mark.parametrize("content", ["[]", "{}", '{"checkpoints": 3}', "{", "NaN"])
def test_metrics_of_another_version_are_one_line(made: Project, content: str) -> None:
    (made.folder / METRICS).write_text(content)
    check_refusal(made.command_here("report"), str(METRICS))


def test_a_table_that_is_none_is_one_line(made: Project) -> None:
    (made.folder / "data/surveys" / NAME / "plots/sizes.csv").write_text("kind,x\nvalue,a\n")
    check_refusal(made.command_here("report"), "plots/sizes.csv", "no table")


@pytest.mark.parametrize("width", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_pictures_are_drawn_without_a_network(
    chromium: "Browser", made: Project, width: int
) -> None:
    report(made)
    with opened(chromium, made.folder / "report.html", REPORT, width) as page:
        page.check_quiet()
        assert page.evaluate(CLIPPED) == []
        assert page.evaluate(TOO_WIDE) == []
        drawn = page.page.locator(".plot svg").count()
        assert drawn == len(SURVEY_PICTURES)
        for name in SURVEY_PICTURES:
            place = page.page.locator(f"#picture-{NAME}-{name} .plot svg")
            assert place.locator("path").count() > 3, name
        text = page.page.locator(f"#picture-{NAME}-sizes .plot").text_content() or ""
        assert re.search(r"core within 2 ulp", text)
        assert all(str(step) in text for step in (0, 10, 20, 30))


def test_what_a_file_says_cannot_end_the_script(made: Project) -> None:
    path = made.folder / "data/surveys" / NAME / "plots/arrivals.csv"
    path.write_text(path.read_text().replace(",core,", ",core</script><script>,", 1))
    data = Parsed(report(made)).data
    assert "</script>" in json.dumps(data)
