import json
import os
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from ruamel.yaml import YAML

import project
from core_tokens.pictures import PICTURES
from project import Done, Project, check_refusal
from repository import ROOT, Repository

MODEL = "qwen3-4b-replica"
VOID = {"meta", "input", "br", "img", "link"}


class Parsed(HTMLParser):
    """The elements of a page, and what stands in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._within: list[list[str]] = []
        self.feed(page)
        self.close()
        assert self.open == [], "an element that is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        text: list[str] = []
        self.elements.append((tag, dict(attrs), text))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))
            self._within.append(text)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1][0] == tag, (tag, self.open[-1])
        self.open.pop()
        self._within.pop()

    def handle_data(self, data: str) -> None:
        for text in self._within:
            text.append(data)

    def texts(self, tag: str, **attributes: str) -> list[str]:
        """The text of the elements with this tag and these attributes."""
        return [
            "".join(text).strip()
            for name, found, text in self.elements
            if name == tag and attributes.items() <= found.items()
        ]

    def cells(self, attribute: str) -> dict[str, list[str]]:
        """Value of the attribute -> text of the cells that have it, side by side."""
        cells: dict[str, list[str]] = {}
        for tag, found, text in self.elements:
            if tag == "td" and attribute in found:
                cells.setdefault(found[attribute] or "", []).append("".join(text))
        return cells

    @property
    def data(self) -> Any:
        """What the page's script reads."""
        (text,) = self.texts("script", id="data")
        return json.loads(text)


def report(made: Project, *arguments: str) -> str:
    """The page of ``core-tokens report ARGUMENTS``."""
    done = made.command_here("report", *arguments)
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"Wrote report\.html \(\d+(\.\d+)?k?M?B\)\.\n", done.out)
    return (made.folder / "report.html").read_text("utf-8")


def metrics(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text())


def leaves(values: dict[str, Any], before: str = "") -> dict[str, float]:
    """Nested numbers by their dotted paths."""
    flat: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= leaves(value, f"{before}{key}.")
        else:
            flat[before + key] = value
    return flat


@pytest.fixture
def made(texts_project: Project, tmp_path: Path) -> Project:
    """A copy of the project with texts, to be changed."""
    shutil.copytree(texts_project.folder, tmp_path / "project")
    return Project(tmp_path / "project")


@pytest.fixture(scope="module")
def page(texts_project: Project, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert texts_project.command_here("report", "-o", str(path)).code == 0
    return path.read_text("utf-8")


def repository_of(made: Project) -> Repository:
    """The project as the first commit of a repository."""
    repository = Repository(made.folder)
    repository.run("git", "init", "--quiet", "--initial-branch", "main")
    (made.folder / ".gitignore").write_text("*.safetensors\n/report.html\n")
    repository.commit("The project")
    return repository


def at_radius(made: Project, radius: str) -> None:
    made.write_params(radius=radius)
    for stage in ("extract", "analyse"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")


def with_other(made: Project) -> None:
    """Add a second model, ``other``: the same without its outlier."""
    params = project.PARAMS.replace("models: [tiny]", "models: [tiny, other]")
    matrix = project.tiny_matrix()
    matrix[6] = matrix[7]
    shutil.copytree(made.data, made.folder / "first")
    (made.data / "tokens.csv").unlink()
    made.write_params(params)
    made.write_tensors("W.safetensors", {"W": matrix})
    for stage in ("cluster", "measure", "extract", "analyse"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")
    made.data.rename(made.folder / "data" / "other")
    (made.folder / "first").rename(made.data)


# ---- what it says -----------------------------------------------------------------------------


def test_figures_of_the_data_in_git_are_those_published(default_report: Path) -> None:
    figures = Parsed(default_report.read_text("utf-8")).cells("data-figure")
    assert figures == {
        "source": ["replica:qwen3-4b-instruct-2507"],
        "matrix": ["W, BF16"],
        "cluster": ["2,212 tokens, ids 124 to 151935"],
        "unique vectors": ["125, populations 1 to 814"],
        "Big One": ["index 60, 814 tokens (the first is 80091), norm 0.370917"],
        "ulp": ["2^-16 = 1.525879e-05"],
        "distance": [figures["distance"][0]],
        "radius": ["3 ulp"],
        "core": ["2,206 tokens, 122 vectors (99.73%)"],
        "halo": ["6 tokens, 3 vectors"],
    }
    measure = metrics(ROOT / "data" / MODEL, "measure")
    ulp = measure["distance_ulp"]
    assert figures["distance"] == [
        f"mean {ulp['mean']:.2f}, median {ulp['median']:.2f}, max 32.00 ulp; "
        f"max {measure['distance_steps']['max']:,} steps"
    ]


def test_figures_of_a_small_model(page: str) -> None:
    norm = np.linalg.norm(np.array([128, 192, 160]) * project.UNIT)
    assert Parsed(page).cells("data-figure") == {
        "source": ["replica:qwen3-4b-instruct-2507"],
        "matrix": ["W, BF16"],
        "cluster": ["6 tokens, ids 1 to 9"],
        "unique vectors": ["4, populations 1 to 2"],
        "Big One": [f"index 1, 2 tokens (the first is 1), norm {norm:.6f}"],
        "ulp": ["2^-15 = 3.051758e-05"],
        "distance": ["mean 1.50, median 1.50, max 3.00 ulp; max 14,080 steps"],
        "radius": ["2 ulp"],
        "core": ["5 tokens, 3 vectors (83.33%)"],
        "halo": ["1 token, 1 vector"],
    }


@pytest.mark.parametrize("which", ["small", "default"])
def test_structure_is_structure_json_cell_by_cell(
    which: str, page: str, texts_project: Project, default_report: Path
) -> None:
    folder = texts_project.data if which == "small" else ROOT / "data" / MODEL
    text = page if which == "small" else default_report.read_text("utf-8")
    structure = metrics(folder, "structure")
    for part in structure.values():
        part.pop("tokens", None)  # they have a picture
    expected = leaves(structure)
    cells = Parsed(text).cells("data-structure")
    assert cells.keys() == expected.keys()
    for path, (shown,) in cells.items():
        if expected[path] == int(expected[path]):
            whole = f"{int(expected[path]):,}"
            is_name = re.search(r"dimension_[xy]$|max_dimension$", path)
            assert shown == (whole.replace(",", "") if is_name else whole), path
        else:
            assert float(shown.replace(",", "")) == pytest.approx(expected[path], rel=5e-4), path
            assert len(shown) <= 9, path


def test_parameters_and_the_revision_are_said(page: str, texts_project: Project) -> None:
    parsed = Parsed(page)
    rows = dict(zip(parsed.texts("th", scope="row"), parsed.texts("td"), strict=False))
    labels = parsed.texts("code")
    for key in ("extract.distance", "extract.radius", "cluster.adjacency_threshold",
                "measure.device", "draw.format", "fetch.tiny.source"):  # fmt: skip
        assert key in labels
    assert rows["matrix"] == "W, BF16"
    assert "no Git commit" in parsed.texts("td")
    assert texts_project.folder.name not in page
    assert "a replica, made to show the published figures of qwen3-4b-instruct-2507" in " ".join(
        parsed.texts("p", **{"class": "note"})
    )


def test_inputs_are_those_of_dvc_lock(default_report: Path) -> None:
    lock = YAML(typ="safe", pure=True).load(ROOT / "dvc.lock")["stages"]
    entries = {
        entry["path"]: f"md5 {entry['md5']}, {entry['size']:,} bytes"
        for stage in ("measure", "extract")
        for key in ("deps", "outs")
        for entry in lock[f"{stage}@{MODEL}"][key]
        if entry["path"].endswith(".safetensors")
    }
    assert {Path(path).name for path in entries} == {
        "W.safetensors", "cluster_tokens.safetensors", "measurements.safetensors",
        "core_tokens.safetensors",
    }  # fmt: skip
    (said,) = Parsed(default_report.read_text("utf-8")).texts("ul", **{"class": "hashes"})
    lines = [line for line in said.splitlines() if line]
    assert lines == [f"{path} {what}" for path, what in entries.items()]


def test_every_picture_with_rows_is_there_with_its_title_and_reading(page: str) -> None:
    parsed = Parsed(page)
    assert list(parsed.data["pictures"]) == list(PICTURES)
    for name, picture in PICTURES.items():
        (shown,) = parsed.texts("figure", id=f"picture-{name}")
        assert picture.title in shown
        assert picture.reading in shown
        ((spec),) = parsed.data["pictures"][name]
        assert "config" not in spec  # the page has its own, light and dark
        assert spec["data"]["values"]


def test_tables_hold_every_token(
    page: str, texts_project: Project, texts: dict[int, tuple[str, str]]
) -> None:
    tables = Parsed(page).data["tables"]
    for name in ("halo", "core"):
        ((header, *rows),) = tables[name]
        written = (texts_project.data / f"{name}.csv").read_text("utf-8").splitlines()
        assert ",".join(header) == written[0]
        assert len(rows) == len(written) - 1
        for row in rows:
            found = dict(zip(header, row, strict=True))
            assert (found["class"], found["text"]) == texts[int(found["token"])]


def test_a_single_token_is_not_said_in_the_plural(page: str) -> None:
    labels = Parsed(page).texts("p", **{"class": "label"})
    assert "5 tokens" in labels
    assert "1 token" in labels


def test_model_without_a_cluster_says_that_there_is_nothing(tmp_path: Path) -> None:
    made = project.make_project(tmp_path, np.eye(4).astype(ml_dtypes.bfloat16))
    for stage in ("cluster", "measure", "extract", "analyse"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")
    parsed = Parsed(report(made))
    assert "No cluster, so there is nothing to draw." in parsed.texts("p")
    assert parsed.data["pictures"] == {}
    assert parsed.cells("data-figure") == {
        "source": ["replica:qwen3-4b-instruct-2507"],
        "matrix": ["W, BF16"],
        "cluster": ["0 tokens"],
        "unique vectors": ["0"],
        "radius": ["2 ulp"],
        "core": ["0 tokens, 0 vectors (0.00%)"],
        "halo": ["0 tokens, 0 vectors"],
    }


# ---- sides ------------------------------------------------------------------------------------


def heads(parsed: Parsed) -> list[str]:
    return parsed.texts("th", scope="col") + parsed.texts("th", scope="colgroup")


def test_one_side_is_named_by_its_model(page: str) -> None:
    parsed = Parsed(page)
    assert parsed.data["labels"] == ["tiny"]
    assert parsed.texts("title") == ["Core Tokens: tiny"]
    assert parsed.texts("p", **{"class": "lead"}) == ["tiny"]
    assert heads(parsed) == ["tiny", "cluster", "core", "tiny"]
    assert parsed.texts("td", **{"class": "differs"}) == []


def test_two_models_are_named_by_their_models(made: Project) -> None:
    with_other(made)
    parsed = Parsed(report(made))
    assert parsed.data["labels"] == ["tiny", "other"]
    assert heads(parsed)[:2] == ["tiny", "other"]
    assert parsed.cells("data-figure")["cluster"] == [
        "6 tokens, ids 1 to 9",
        "5 tokens, ids 1 to 9",
    ]
    assert parsed.cells("data-structure")["cluster.shells.gap_at"] == ["4", "3"]
    assert "5 tokens, ids 1 to 9" in parsed.texts("td", **{"class": "differs"})
    # One has texts and the other not, so one has a picture of them.
    assert [spec is None for spec in parsed.data["pictures"]["kinds"]] == [False, True]


def test_models_are_those_that_are_named_in_their_order_and_once(made: Project) -> None:
    with_other(made)
    assert Parsed(report(made, "other", "tiny", "other")).data["labels"] == ["other", "tiny"]
    assert Parsed(report(made, "other")).data["labels"] == ["other"]


def test_two_revisions_are_named_by_their_revisions(made: Project) -> None:
    repository = repository_of(made)
    head = repository.run("git", "rev-parse", "HEAD").stdout.strip()
    at_radius(made, "0")
    parsed = Parsed(report(made, "--compare", "HEAD"))
    assert parsed.data["labels"] == ["HEAD", "workspace"]
    assert " ".join(parsed.texts("span")) == "tiny at HEAD tiny at workspace"
    figures = parsed.cells("data-figure")
    assert figures["radius"] == ["2 ulp", "0 ulp"]
    assert figures["core"] == ["5 tokens, 3 vectors (83.33%)", "2 tokens, 1 vector (33.33%)"]
    assert figures["cluster"] == ["6 tokens, ids 1 to 9"] * 2
    assert {head, f"{head} and changes since"} <= set(parsed.texts("td"))


def test_cells_that_differ_are_marked_and_no_others(made: Project) -> None:
    repository_of(made)
    at_radius(made, "0")
    parsed = Parsed(report(made, "--compare", "HEAD"))
    for attribute, among in (("data-figure", 1), ("data-structure", 2)):
        cells = parsed.cells(attribute)
        marked = {
            found[attribute]
            for tag, found, _ in parsed.elements
            if tag == "td" and attribute in found and found.get("class") == "differs"
        }
        assert marked == {name for name, (one, other) in cells.items() if one != other}
        assert len(marked) > among


def test_a_revision_beside_itself_differs_in_nothing(made: Project) -> None:
    repository_of(made).run("git", "tag", "v1")
    parsed = Parsed(report(made, "--compare", "v1"))
    assert parsed.texts("td", **{"class": "differs"}) == []
    assert parsed.data["labels"] == ["v1", "workspace"]
    assert all(one == other for one, other in parsed.data["pictures"].values())


def test_two_models_at_two_revisions_are_named_by_both_and_compared_with_themselves(
    made: Project,
) -> None:
    with_other(made)
    repository_of(made)
    parsed = Parsed(report(made, "--compare", "HEAD"))
    assert parsed.data["labels"] == [
        "tiny, HEAD", "tiny, workspace", "other, HEAD", "other, workspace",
    ]  # fmt: skip
    assert (
        parsed.cells("data-figure")["cluster"]
        == ["6 tokens, ids 1 to 9"] * 2 + ["5 tokens, ids 1 to 9"] * 2
    )
    marked = parsed.texts("td", **{"class": "differs"})
    assert all("and changes since" in text for text in marked)


def test_a_revision_is_read_whatever_lies_here_now(made: Project) -> None:
    repository = repository_of(made)
    before = report(made, "--compare", "HEAD")
    for name in ("core.csv", "structure.json"):
        path = made.data / name
        content = path.read_bytes()
        path.write_bytes(b"{}")
        repository.run("git", "commit", "--quiet", "--all", "--message", "Spoiled")
        path.write_bytes(content)
    assert (
        Parsed(report(made, "--compare", "HEAD~2")).data["tables"] == Parsed(before).data["tables"]
    )


def test_a_folder_of_another_model_is_not_read(made: Project) -> None:
    shutil.copytree(made.data, made.folder / "data" / "other")
    (made.folder / "data" / "other" / "core.json").write_bytes(b"no JSON")
    assert Parsed(report(made)).data["labels"] == ["tiny"]


def test_an_experiment_stands_beside_the_working_tree(repository: Repository) -> None:
    parsed = Parsed((repository.path.parent / "compared.html").read_text("utf-8"))
    assert parsed.data["labels"] == ["smaller", "workspace"]
    figures = parsed.cells("data-figure")
    assert figures["radius"] == ["1 ulp", "3 ulp"]
    assert figures["core"] == ["11 tokens, 3 vectors (55.00%)", "17 tokens, 7 vectors (85.00%)"]
    assert repository.git_status() == ""


# ---- text that is no HTML ---------------------------------------------------------------------


def check_nothing_runs(page: str, scripts: int = 3) -> Parsed:
    """No element is there but those of the page."""
    parsed = Parsed(page)
    tags = [tag for tag, _, _ in parsed.elements]
    assert tags.count("script") == page.count("<script") == page.count("</script") == scripts
    assert not {"img", "b", "i", "svg", "iframe", "link", "base"} & set(tags)
    assert not any(name.startswith("on") for _, found, _ in parsed.elements for name in found)
    return parsed


def test_text_of_tokens_cannot_end_the_data_or_start_an_element(
    page: str, texts: dict[int, tuple[str, str]]
) -> None:
    parsed = check_nothing_runs(page)
    (data,) = parsed.texts("script", id="data")
    assert "<" not in data
    assert "alert(1)" in data  # as data it is there
    assert page.count("alert(1)") == data.count("alert(1)")
    found = {row[0]: row[-1] for table in ("core", "halo")
             for row in parsed.data["tables"][table][0][1:]}  # fmt: skip
    assert found == {str(token): text for token, (_, text) in texts.items()}
    labels = [row["label"] for row in parsed.data["pictures"]["populations"][0]["data"]["values"]]
    assert texts[3][1] in labels


EVIL = "<script>alert(2)</script><img src=x onerror=alert(3)>\"'&lt;"


def test_parameters_are_text(made: Project) -> None:
    source = "replica:" + EVIL.replace("'", "''")
    made.write_params(project.PARAMS.replace('"replica:qwen3-4b-instruct-2507"', f"'{source}'"))
    page = report(made)
    parsed = check_nothing_runs(page)
    assert f"replica:{EVIL}" in parsed.texts("td")
    assert any(EVIL in text for text in parsed.texts("p", **{"class": "note"}))


def test_names_of_revisions_are_text(made: Project) -> None:
    name = "<img/src=x/onerror=alert(1)>\"'&lt;</script>"
    repository_of(made).run("git", "tag", name)
    parsed = check_nothing_runs(report(made, "--compare", name))
    assert parsed.data["labels"] == [name, "workspace"]
    assert name in heads(parsed)


def test_names_of_tensors_and_hashes_are_text(made: Project) -> None:
    path = made.data / "measure.json"
    measure = json.loads(path.read_text())
    measure["matrix"]["tensor"] = {EVIL: 1}
    path.write_text(json.dumps(measure))
    (made.folder / "dvc.lock").write_text(json.dumps({
        "stages": {"measure@tiny": {"deps": [
            {"path": f"{EVIL}.safetensors", "md5": EVIL, "size": 1},
        ]}}
    }))  # fmt: skip
    parsed = check_nothing_runs(report(made))
    assert parsed.cells("data-figure")["matrix"] == [f"{EVIL}, BF16"]
    assert f"{EVIL}.safetensors" in parsed.texts("code")


# ---- the page as a file -----------------------------------------------------------------------


def test_page_asks_for_nothing_and_forbids_it(page: str, default_report: Path) -> None:
    for text in (page, default_report.read_text("utf-8")):
        parsed = check_nothing_runs(text)
        for _, found, _ in parsed.elements:
            assert not {"src", "srcset", "data", "action", "poster", "style"} & found.keys()
            assert (found.get("href") or "#").startswith("#")
        (policy,) = (found["content"] for _, found, _ in parsed.elements
                     if found.get("http-equiv") == "Content-Security-Policy")  # fmt: skip
        assert (policy or "").startswith("default-src 'none'; ")
        assert "http" not in (policy or "")
        assert "url(" not in "".join(parsed.texts("style"))


def test_links_lead_to_places_of_the_page(page: str) -> None:
    parsed = Parsed(page)
    ids = [found["id"] for _, found, _ in parsed.elements if "id" in found]
    assert len(ids) == len(set(ids))
    links = {(found["href"] or "")[1:] for tag, found, _ in parsed.elements if tag == "a"}
    assert links <= set(ids)
    assert len(links) == 5


def test_page_is_the_same_twice_and_in_a_process_of_its_own(made: Project, page: str) -> None:
    assert report(made) == page
    (made.folder / "report.html").unlink()
    done = made.command_process("report")
    assert (done.code, done.err) == (0, "")
    assert (made.folder / "report.html").read_text("utf-8") == page


def test_page_is_small_enough_to_be_sent(default_report: Path) -> None:
    assert default_report.stat().st_size < 2_000_000


def test_report_goes_where_it_is_asked_to(made: Project, page: str) -> None:
    for output in ("new/folder/page.html", "report.html", "no-ending"):
        done = made.command_here("report", "tiny", "--output", output)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(f"Wrote {output} (")
        assert (made.folder / output).read_text("utf-8") == page


def test_link_in_place_of_the_report_is_replaced(made: Project) -> None:
    (made.folder / "elsewhere").write_bytes(b"not ours")
    (made.folder / "report.html").symlink_to("elsewhere")
    report(made)
    assert (made.folder / "elsewhere").read_bytes() == b"not ours"
    assert not (made.folder / "report.html").is_symlink()


# ---- what it refuses --------------------------------------------------------------------------


def check_report_refuses(made: Project, *mentions: str, arguments: tuple[str, ...] = ()) -> None:
    """It refuses in one line, and nothing is new, gone or changed."""
    (made.folder / "report.html").write_bytes(b"an earlier one")
    before = made.snapshot()
    check_refusal(made.command_here("report", *arguments), *mentions)
    assert made.snapshot() == before


@pytest.mark.parametrize("output", ["data", ".", "..", "", "/"])
def test_folder_in_place_of_the_report_is_refused(made: Project, output: str) -> None:
    check_report_refuses(made, arguments=("-o", output))


def test_file_in_place_of_the_folder_of_the_report_is_an_error(made: Project) -> None:
    before = made.snapshot()
    done = made.command_here("report", "-o", "params.yaml/report.html")
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"error: params\.yaml[^\n]*: [^\n]*\n", done.err)
    assert made.snapshot() == before


def test_no_model_is_refused(made: Project) -> None:
    made.write_params(models="[]")
    check_report_refuses(made, "core-tokens report: found no model; expected one: core-tokens add")


def test_model_that_is_not_listed_is_refused(made: Project) -> None:
    check_report_refuses(made, "models", "'tiny'", "'other'", arguments=("tiny", "other"))


def test_folder_without_params_is_refused(tmp_path: Path) -> None:
    done = Project(tmp_path).command_here("report")
    check_refusal(done, "params.yaml", "the folder that holds params.yaml")
    assert list(tmp_path.iterdir()) == []


def test_revision_that_does_not_exist_is_refused(made: Project) -> None:
    check_report_refuses(made, "--compare: ", "'v9'", arguments=("--compare", "v9"))
    repository_of(made)
    check_report_refuses(made, "--compare: ", "'v9'", arguments=("--compare", "v9"))


def test_revision_without_the_model_is_refused(made: Project) -> None:
    repository = repository_of(made)
    with_other(made)
    repository.commit("Add other")
    check_report_refuses(
        made, "data/other/measure.json at HEAD~1", "no such file", "a model and a revision",
        arguments=("other", "--compare", "HEAD~1"),
    )  # fmt: skip


FILES = ["measure.json", "core.json", "structure.json", "core.csv", "halo.csv",
         *(f"plots/{name}.csv" for name in PICTURES)]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_file_that_is_not_there_is_refused(made: Project, name: str) -> None:
    (made.data / name).unlink()
    check_report_refuses(made, f"data/tiny/{name}: found no such file", "dvc repro")


@pytest.mark.parametrize("name", FILES)
def test_folder_in_place_of_a_file_is_refused(made: Project, name: str) -> None:
    project.replace_by_folder(made.data / name)
    check_report_refuses(made, f"data/tiny/{name}")


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "no UTF-8": lambda content: content.replace(b"}", b"\xff}"),
    "a list": lambda _: b"[]\n",
    "a number": lambda _: b"1\n",
    "of no version": lambda _: b"{}\n",
    "a merge that is not resolved": lambda content: b"<<<<<<< HEAD\n" + content,
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
@pytest.mark.parametrize("name", ["measure.json", "core.json", "structure.json"])
def test_other_metrics_are_refused(
    made: Project, name: str, spoil: Callable[[bytes], bytes]
) -> None:
    project.spoil_file(made.data / name, spoil)
    check_report_refuses(made, "data/tiny/")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("measure", "tokens"), ("measure", "origin"), ("measure", "origin.norm"),
        ("measure", "matrix.tensor"), ("measure", "distance_steps.max"),
        ("core", "radius"), ("core", "halo"), ("core", "halo.vectors"),
        ("structure", "core"), ("structure", "cluster.shells.gap_at"),
        ("structure", "core.adjacency.linf.degree_max"),
    ],
)  # fmt: skip
def test_metrics_that_lack_a_number_are_refused(made: Project, name: str, path: str) -> None:
    """As those of an older version may."""
    values = metrics(made.data, name)
    *above, last = path.split(".")
    within = values
    for key in above:
        within = within[key]
    del within[last]
    (made.data / f"{name}.json").write_text(json.dumps(values))
    check_report_refuses(made, "data/tiny/*.json", "those of this version")


def test_metrics_of_another_version_in_a_revision_are_refused(made: Project) -> None:
    path = made.data / "structure.json"
    content = path.read_bytes()
    path.write_text('{"cluster": {"degrees": {"0": 1}}, "core": {}}')
    repository_of(made)
    path.write_bytes(content)
    check_report_refuses(
        made, "data/tiny/*.json at HEAD", "those of this version", arguments=("--compare", "HEAD")
    )


TABLES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "no UTF-8": lambda content: content + b"\xff\n",
    "an open quote": lambda content: content + b'"\n',
    "other columns": lambda _: b"id\n1\n",
    "a row that is cut off": lambda content: content + b"7,1\n",
    "a pointer of Git LFS": lambda _: b"version https://git-lfs.github.com/spec/v1\nsize 1\n",
}


@pytest.mark.parametrize("spoil", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("name", ["core.csv", "halo.csv", "plots/shells.csv"])
def test_other_tables_are_refused(
    made: Project, name: str, spoil: Callable[[bytes], bytes]
) -> None:
    project.spoil_file(made.data / name, spoil)
    check_report_refuses(made, f"data/tiny/{name}")


@pytest.mark.parametrize(
    "content",
    ["stages: 1\n", "stages: {measure@tiny: 1}\n", "[]\n", "stages: [\n",
     "stages: {measure@tiny: {deps: [1]}}\n",
     "stages: {measure@tiny: {deps: [{path: W.safetensors, size: many}]}}\n"],
)  # fmt: skip
def test_other_lock_files_do_not_end_in_a_traceback(made: Project, content: str) -> None:
    (made.folder / "dvc.lock").write_text(content)
    done = made.command_here("report")
    if done.code:
        check_refusal(done, "dvc.lock")


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 1}', '{"a": {"b": {}}}', '{"a": {"b": 1}}'])
def test_other_records_of_what_was_fetched_do_not_end_in_a_traceback(
    made: Project, content: str
) -> None:
    (made.data / "source.json").write_text(content)
    done = made.command_here("report")
    if done.code:
        check_refusal(done, "source.json")


@pytest.mark.parametrize(("spoil", "mention"), project.BAD_PARAMS.values(), ids=project.BAD_PARAMS)
def test_bad_params_are_refused(
    made: Project, spoil: Callable[[Project], None], mention: str
) -> None:
    spoil(made)
    check_report_refuses(made, "params.yaml", mention)


# ---- what the page says of itself ---------------------------------------------------------------


def notes(parsed: Parsed) -> list[str]:
    return parsed.texts("p", **{"class": "note"})


def test_the_radius_is_that_of_the_core_and_not_of_params(made: Project) -> None:
    made.write_params(distance="steps", radius="1.0")
    parsed = Parsed(report(made))
    assert parsed.cells("data-figure")["radius"] == ["2 ulp"]
    assert any("params.yaml asks for another core" in note for note in notes(parsed))


@pytest.mark.parametrize("radius", ["2", "2.0", "0.2e1"])
def test_a_core_that_params_asks_for_is_not_called_stale(made: Project, radius: str) -> None:
    made.write_params(radius=radius)
    assert not any("another core" in note for note in notes(Parsed(report(made))))


def test_every_replica_is_called_one(made: Project) -> None:
    with_other(made)
    params = (made.folder / "params.yaml").read_text()
    source = 'tiny: {source: "replica:qwen3-4b-instruct-2507"}'
    assert params.count(source) == 1
    both = f"{source}\n  other: {{source: replica:qwen2-5-3b-instruct}}"
    (made.folder / "params.yaml").write_text(params.replace(source, both))
    said = notes(Parsed(report(made)))
    assert [note.split(",")[0] for note in said] == ["tiny is a replica", "other is a replica"]


@pytest.mark.parametrize(
    ("name", "spoiled"),
    [
        ("structure", '{"cluster": {"shells": {"gap_at": 1e999}}}'),
        ("measure", "[" * 100_000),
        ("core", "[" * 100_000),
    ],
)
def test_metrics_beyond_reason_end_in_one_line(made: Project, name: str, spoiled: str) -> None:
    (made.data / f"{name}.json").write_text(spoiled)
    check_refusal(made.command_here("report"))


def test_numbers_beyond_reason_end_in_one_line(made: Project) -> None:
    for name, key, value in (
        ("structure", '"gap_at": 4', '"gap_at": Infinity'),
        ("measure", '"ulp_exponent": -15', '"ulp_exponent": 99999'),
    ):
        path = made.data / f"{name}.json"
        text = path.read_text()
        assert key in text
        path.write_text(text.replace(key, value))
        check_refusal(made.command_here("report"))
        path.write_text(text)


def test_a_pipe_is_not_replaced_by_a_report(made: Project) -> None:
    pipe = made.folder / "pipe"
    os.mkfifo(pipe)
    check_refusal(made.command_here("report", "-o", str(pipe)), "pipe")
    assert pipe.is_fifo()
