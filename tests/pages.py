"""What the tests of the report look at: conftest.py makes these fixtures known to them."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import browser
import project
from core_tokens.vocabulary import MARKUP
from project import Done, Project
from repository import Repository, empty_project, save, small_matrix

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TEXTS = {
    1: ("ordinary", "<script>alert(1)</script>"),
    2: ("ordinary", "</script><b>bold</b><!--"),
    3: ("ordinary", "\"quoted\" 'single' &amp; & `"),
    5: ("unreachable", "back\\\\slash \\u003c"),
    6: ("special", "<img src=x onerror=alert(1)>"),
    9: ("byte", "Stra\u00dfe \u4e5d"),
}
"""Token of ``tiny`` -> its class and text."""


@pytest.fixture(scope="session")
def texts() -> dict[int, tuple[str, str]]:
    return TEXTS


@pytest.fixture(scope="session")
def texts_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """``tiny``, analysed, with these texts. Only to be looked at, or copied."""
    made = project.made_project(tmp_path_factory.mktemp("texts"), "cluster", "measure")
    with (made.data / "tokens.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("token", "class", "text"))
        rows.writerows(
            (token, kind, re.sub(MARKUP, r"\\x3C", text)) for token, (kind, text) in TEXTS.items()
        )
    for stage in ("extract", "analyse"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")
    # No stage would write such text; a stranger's repository may hold it all the same.
    for path in {*made.data.rglob("*.csv")} - {made.data / "tokens.csv"}:
        path.write_text(path.read_text("utf-8").replace(r"\x3C", "<"), "utf-8")
    return made


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """``tiny`` at radius 3 and an experiment ``smaller`` at radius 1, by DVC.

    Beside it stand the pages of ``dvc plots show`` at the one radius and of ``dvc plots diff``
    between both, and the report that compares them.
    """
    folder = tmp_path_factory.mktemp("dvc")
    made = empty_project(folder / "repository")
    matrix = save(folder / "W.safetensors", "W", small_matrix())
    made.run("core-tokens", "add", "tiny", str(matrix))
    made.dvc("repro", "analyse@tiny")
    made.commit("Add tiny")
    made.dvc("plots", "show", "--out", "../shown")
    made.dvc("exp", "run", "--name", "smaller", "--set-param", "extract.radius=1", "analyse@tiny")
    core = json.loads((made.path / "data/tiny/core.json").read_text())
    assert core["core"] == {"percent": 55, "tokens": 11, "vectors": 3}
    made.dvc("plots", "diff", "--out", "../diffed")
    made.run("git", "checkout", "--quiet", ".")
    made.run("core-tokens", "report", "--compare", "smaller", "--output", "../compared.html")
    return made


# Of a module and not of the session: while Playwright runs, so does its event loop.
@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """A headless Chromium; without one the tests are skipped, or fail where it is required."""
    with browser.launched() as found:
        yield found


@pytest.fixture(scope="session")
def default_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on the data that this repository holds."""
    path = tmp_path_factory.mktemp("default") / "report.html"
    done = Project(project.GOLDEN.parents[1]).command_here("report", "-o", str(path))
    assert (done.code, done.err) == (0, "")
    return path
