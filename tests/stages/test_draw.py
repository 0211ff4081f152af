import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import ml_dtypes
import numpy as np
import pytest

import project
from core_tokens.pictures import PICTURES, style
from project import Done, Project

TABLES = sorted(PICTURES)
WITH_ROWS = sorted(PICTURES.keys() - {"kinds"})
"""The text of the tokens of ``tiny`` is unknown."""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tables of the plots of ``tiny``."""
    made = project.made_project(
        tmp_path_factory.mktemp("tables"), "cluster", "measure", "extract", "analyse"
    )
    return {path.stem: path.read_bytes() for path in (made.data / "plots").iterdir()}


@pytest.fixture
def ready(tmp_path: Path, tables: dict[str, bytes]) -> Project:
    """The tables and params.yaml: draw needs nothing else."""
    made = Project(tmp_path)
    made.write_params()
    (made.data / "plots").mkdir(parents=True)
    for name, content in tables.items():
        (made.data / "plots" / f"{name}.csv").write_bytes(content)
    return made


@pytest.fixture
def done(ready: Project) -> Project:
    """Pictures of an earlier run, which a run that fails must leave as they are."""
    (ready.data / "pictures").mkdir()
    for name in WITH_ROWS:
        (ready.data / "pictures" / f"{name}.svg").write_bytes(b"<svg/>")
    return ready


def pictures(made: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((made.data / "pictures").iterdir())}


# ---- what it writes --------------------------------------------------------------------------


def test_writes_a_picture_for_each_table_with_rows_and_nothing_else(ready: Project) -> None:
    before = ready.snapshot()
    assert ready.stage_process("draw", "tiny") == Done(0, "", "")
    assert sorted(pictures(ready)) == [f"{name}.svg" for name in WITH_ROWS]
    assert ready.files() == {"plots", "pictures"}
    after = ready.snapshot()
    assert {name: after[name] for name in before} == before


def test_svg_shows_its_title_the_model_and_the_page(ready: Project) -> None:
    assert ready.stage_here("draw", "tiny") == Done(0, "", "")
    for name, content in pictures(ready).items():
        root = ElementTree.fromstring(content)
        text = "".join(root.itertext())
        assert f"{PICTURES[name.removesuffix('.svg')].title} (tiny)" in text
        assert root[0].get("fill") == style.PAGE["light"]


def test_theme_is_that_of_the_params(ready: Project) -> None:
    ready.write_params(theme="dark")
    assert ready.stage_here("draw", "tiny") == Done(0, "", "")
    for content in pictures(ready).values():
        assert ElementTree.fromstring(content)[0].get("fill") == style.PAGE["dark"]


def test_format_is_that_of_the_params_and_files_of_the_other_are_gone(ready: Project) -> None:
    ready.write_params(format="png")
    assert ready.stage_here("draw", "tiny") == Done(0, "", "")
    drawn = pictures(ready)
    assert sorted(drawn) == [f"{name}.png" for name in WITH_ROWS]
    assert all(content.startswith(b"\x89PNG\r\n\x1a\n") for content in drawn.values())
    (ready.data / "pictures" / "old.svg").write_bytes(b"")
    (ready.data / "pictures" / "folder").mkdir()
    ready.write_params(format="svg")
    assert ready.stage_here("draw", "tiny") == Done(0, "", "")
    assert sorted(pictures(ready)) == [f"{name}.svg" for name in WITH_ROWS]


def test_picture_of_a_table_that_has_no_rows_any_more_is_gone(ready: Project) -> None:
    assert ready.stage_here("draw", "tiny") == Done(0, "", "")
    path = ready.data / "plots" / "shells.csv"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert ready.stage_here("draw", "tiny") == Done(0, "", "")
    assert sorted(pictures(ready)) == [f"{name}.svg" for name in WITH_ROWS if name != "shells"]


def test_classes_are_drawn_where_the_text_is_known(ready: Project) -> None:
    (ready.data / "plots" / "kinds.csv").write_text(
        "class,script,part,tokens\nordinary,Han,core,4\nbyte,none,halo,2\n"
    )
    assert ready.stage_here("draw", "tiny") == Done(0, "", "")
    text = "".join(ElementTree.fromstring(pictures(ready)["kinds.svg"]).itertext())
    assert "ordinary, Han" in text
    assert "byte" in text


def test_model_without_a_cluster_has_an_empty_folder(tmp_path: Path) -> None:
    made = project.make_project(tmp_path, np.eye(4).astype(ml_dtypes.bfloat16))
    for stage in ("cluster", "measure", "extract", "analyse", "draw"):
        assert made.stage_here(stage, "tiny") == Done(0, "", "")
    assert pictures(made) == {}


def test_folder_that_is_a_link_into_a_cache_is_replaced(ready: Project) -> None:
    cache = ready.folder / "cache"
    cache.mkdir()
    (cache / "shells.svg").write_bytes(b"cached")
    (ready.data / "pictures").symlink_to(cache)
    assert ready.stage_here("draw", "tiny") == Done(0, "", "")
    assert not (ready.data / "pictures").is_symlink()
    assert [path.read_bytes() for path in cache.iterdir()] == [b"cached"]


def test_files_are_readable_by_all_as_the_umask_allows(ready: Project) -> None:
    before = os.umask(0o022)
    try:
        assert ready.stage_here("draw", "tiny") == Done(0, "", "")
    finally:
        os.umask(before)
    assert (ready.data / "pictures").stat().st_mode & 0o777 == 0o755
    modes = {path.stat().st_mode & 0o777 for path in (ready.data / "pictures").iterdir()}
    assert modes == {0o644}


# ---- the same bytes everywhere ---------------------------------------------------------------


def test_another_process_in_another_language_writes_the_same_bytes(
    ready: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ready.stage_here("draw", "tiny") == Done(0, "", "")
    before = pictures(ready)
    shutil.rmtree(ready.data / "pictures")
    for name, value in (("LC_ALL", "C"), ("TZ", "Asia/Kathmandu"), ("PYTHONHASHSEED", "1")):
        monkeypatch.setenv(name, value)
    assert ready.stage_process("draw", "tiny") == Done(0, "", "")
    assert pictures(ready) == before


def test_machine_without_fonts_writes_the_same_bytes(ready: Project) -> None:
    hidden = [
        path for path in ("/usr/share/fonts", "/usr/local/share/fonts") if Path(path).is_dir()
    ]
    if not hidden or shutil.which("unshare") is None:
        pytest.skip("no folder of fonts to hide, or no unshare")
    hide = " && ".join(f"mount -t tmpfs none {path}" for path in hidden)
    if project.run_process(["unshare", "-m", "sh", "-c", hide], ready.folder).code:
        pytest.skip("hiding the fonts needs a user who may mount")
    assert ready.stage_here("draw", "tiny") == Done(0, "", "")
    before = pictures(ready)
    shutil.rmtree(ready.data / "pictures")
    command = f'{hide} && HOME="$PWD" exec "$0" -m core_tokens.stages.draw tiny'
    assert project.run_process(
        ["unshare", "-m", "sh", "-c", command, sys.executable], ready.folder
    ) == Done(0, "", "")
    assert pictures(ready) == before


def test_does_not_import_torch_or_scipy(ready: Project) -> None:
    modules = project.modules_after("draw", ready.folder)
    assert "altair" in modules
    assert not modules & {"torch", "scipy", "pandas"}


# ---- what it refuses -------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_missing_table_is_refused(done: Project, name: str) -> None:
    path = done.data / "plots" / f"{name}.csv"
    path.unlink()
    project.check_stage_refuses(done, "draw", f"data/tiny/plots/{name}.csv", "no such file")


def test_missing_table_is_refused_by_the_process(done: Project) -> None:
    shutil.rmtree(done.data / "plots")
    project.check_stage_refuses(done, "draw", "data/tiny/plots/", "no such file", process=True)


def test_folder_in_place_of_a_table_is_refused(done: Project) -> None:
    project.replace_by_folder(done.data / "plots" / "shells.csv")
    project.check_stage_refuses(done, "draw", "data/tiny/plots/shells.csv", "a folder")


@pytest.mark.parametrize("name", TABLES)
def test_missing_column_is_refused(done: Project, name: str) -> None:
    path = done.data / "plots" / f"{name}.csv"
    column = min(PICTURES[name].kind.NUMBERS)
    header, *rows = path.read_text("utf-8").splitlines()
    names = [f"{each}_" if each == column else each for each in header.split(",")]
    path.write_text("\n".join([",".join(names), *rows, ""]), "utf-8")
    project.check_stage_refuses(
        done, "draw", f"data/tiny/plots/{name}.csv", f"no column {column}", "`analyse`"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [*((name, "three") for name in WITH_ROWS), *(("curve_ulp", n) for n in ("nan", "inf", "0x10"))],
)
def test_what_is_no_finite_number_is_refused(done: Project, name: str, value: str) -> None:
    path = done.data / "plots" / f"{name}.csv"
    header, *rows = path.read_text("utf-8").splitlines()
    at = header.split(",").index(PICTURES[name].kind.NUMBERS[-1])
    cells = rows[-1].split(",")
    cells[at] = value
    path.write_text("\n".join([header, *rows[:-1], ",".join(cells), ""]), "utf-8")
    project.check_stage_refuses(done, "draw", f"data/tiny/plots/{name}.csv", value)


NO_TABLES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "no UTF-8": lambda content: content + b"\xff,,,\n",
    "an open quote": lambda content: content + b'"0,core,1,2\n',
    "a last line that is cut off": lambda content: content[: content.rindex(b",")] + b"\n",
    "a line that is too long": lambda content: content + b"9,halo,1,1,1\n",
    "a pointer of Git LFS": lambda _: b"version https://git-lfs.github.com/spec/v1\nsize 1\n",
    "a merge that is not resolved": lambda content: b"<<<<<<< HEAD\n" + content,
}


@pytest.mark.parametrize("spoil", NO_TABLES.values(), ids=NO_TABLES)
def test_what_is_no_table_is_refused(done: Project, spoil: Callable[[bytes], bytes]) -> None:
    project.spoil_file(done.data / "plots" / "shells.csv", spoil)
    project.check_stage_refuses(done, "draw", "data/tiny/plots/shells.csv")


def test_last_table_that_is_refused_leaves_the_pictures_by_the_process(done: Project) -> None:
    (done.data / "plots" / f"{list(PICTURES)[-1]}.csv").write_bytes(b"class\n")
    project.check_stage_refuses(done, "draw", "kinds.csv", "no column tokens", process=True)


@pytest.mark.parametrize(("spoil", "mention"), project.BAD_PARAMS.values(), ids=project.BAD_PARAMS)
def test_bad_params_are_refused(
    done: Project, spoil: Callable[[Project], None], mention: str
) -> None:
    spoil(done)
    project.check_stage_refuses(done, "draw", "params.yaml", mention)


@pytest.mark.parametrize("name", ["an unknown format", "an unknown theme"])
def test_bad_params_are_refused_by_the_process(done: Project, name: str) -> None:
    spoil, mention = project.BAD_PARAMS[name]
    spoil(done)
    project.check_stage_refuses(done, "draw", "params.yaml", mention, process=True)


@pytest.mark.parametrize(
    ("arguments", "mention"), project.WRONG_ARGUMENTS.values(), ids=project.WRONG_ARGUMENTS
)
def test_wrong_arguments_are_refused(
    done: Project, arguments: tuple[str, ...], mention: str
) -> None:
    project.check_stage_refuses(done, "draw", mention, arguments=arguments)


@pytest.mark.parametrize("name", ["a model that is not listed", "a line break"])
def test_wrong_arguments_are_refused_by_the_process(done: Project, name: str) -> None:
    arguments, mention = project.WRONG_ARGUMENTS[name]
    project.check_stage_refuses(done, "draw", mention, arguments=arguments, process=True)


@pytest.mark.parametrize("name", PICTURES)
def test_a_table_without_a_column_of_text_is_refused(ready: Project, name: str) -> None:
    texts = PICTURES[name].kind.TEXTS
    path = ready.data / "plots" / f"{name}.csv"
    header, _, rows = path.read_text("utf-8").partition("\n")
    assert set(texts) <= set(header.split(","))
    for column in texts:
        names = [f"{each}x" if each == column else each for each in header.split(",")]
        path.write_text(",".join(names) + "\n" + rows, "utf-8")
        project.check_stage_refuses(ready, "draw", f"{name}.csv", f"no column {column}")
