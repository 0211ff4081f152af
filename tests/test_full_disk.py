"""A disk that is full at any point: a line that says so, and all that was there before."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import project
import tokenizers_made as made_here
from disks import PAGE, Disk, mounted
from killing import Warm
from project import Project, made_project
from repository import Repository, clone, empty_project, save, small_matrix
from test_killed_commands import check_cache, mended, succeed
from test_kills import tree

STAGES = ("cluster", "measure", "extract", "analyse", "draw")
FULL = "No space left on device"


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with Warm(tmp_path_factory.mktemp("home")) as process:
        yield process


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path / "disk") as found:
        yield found


def check_full(made: Project, stage: str) -> None:
    """The stage says that the disk is full, and leaves all as it was."""
    before = made.snapshot()
    done = made.stage_here(stage, "tiny")
    assert done.code == 1, done
    assert done.out == ""
    assert done.err.startswith("error: data/tiny/"), done
    assert done.err.endswith(f": {FULL}\n"), done
    assert done.err.count("\n") == 1, done
    assert made.snapshot() == before


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_without_room_for_all_of_its_files_leaves_those_that_were_there(
    disk: Disk, stage: str
) -> None:
    (disk.folder / "project").mkdir()
    made = made_project(disk.folder / "project", *STAGES[: STAGES.index(stage) + 1])
    made.write_params(radius="1.0", theme="dark")
    if stage == "analyse":  # which looks at the core, not at the radius
        assert made.stage_here("extract", "tiny").code == 0
        (made.folder / "params.yaml").touch()
    before = tree(made.folder)
    assert made.stage_here(stage, "tiny").code == 0
    after = tree(made.folder)
    changed = (made.folder / "params.yaml").stat().st_mtime_ns
    paths = [made.folder / name for name in after]
    needed = sum(
        -(-path.stat().st_size // PAGE) for path in paths if path.stat().st_mtime_ns > changed
    )
    assert stage in ("cluster", "measure") or after != before
    some = {0, needed // 2, needed - 1}  # of pictures, which take long
    for pages in sorted(some if stage == "draw" else range(needed)):
        disk.leave(pages)
        check_full(made, stage)
        disk.clear()
    disk.leave(needed + 8)  # some for the folder's own entries
    assert made.stage_here(stage, "tiny").code == 0
    assert tree(made.folder) == after


@pytest.fixture
def fetched(disk: Disk, tmp_path: Path) -> Project:
    """A project whose cache shares the one copy of W, ready for another source."""
    folder = disk.folder / "project"
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text("[cache]\ntype = hardlink\n")
    made = Project(folder)
    for name, seed in (("old", 1), ("new", 2)):
        rows = np.random.default_rng(seed).standard_normal((1000, 32), np.float32)
        (tmp_path / name).mkdir()
        save(tmp_path / name / "model.safetensors", "lm_head.weight", rows)
        (tmp_path / name / "tokenizer.json").write_bytes(made_here.byte_level("hello"))
        made.write_params(tiny=f'{{source: "{tmp_path / name}"}}')
        if name == "old":
            assert made.stage_here("fetch", "tiny").code == 0
    return made


def test_a_matrix_that_does_not_fit_is_refused_before_or_ends_in_a_line(
    fetched: Project, disk: Disk
) -> None:
    for pages in (0, 1, 30, 31):  # of 125 KB
        disk.leave(pages)
        project.check_stage_refuses(fetched, "fetch", "128,000 bytes to write")
    for pages in (32, 34, 40):  # room for the matrix, but not for the text of the tokens too
        disk.leave(pages)
        check_full(fetched, "fetch")
    disk.clear()
    assert fetched.stage_here("fetch", "tiny").code == 0


def test_add_without_room_leaves_nothing(warm: Warm, disk: Disk, tmp_path: Path) -> None:
    repository = empty_project(disk.folder / "project")
    matrix = str(save(tmp_path / "W.safetensors", "W", small_matrix()))
    before = tree(repository.path)
    refused = 0
    while True:
        disk.leave(refused)
        ended = warm.run(repository.path, "core-tokens", "add", "tiny", matrix)
        if ended.code == 0:
            break
        assert ended.code == 1, ended
        assert ended.printed.startswith("error: "), ended
        assert ended.printed.count("\n") == 1, ended
        assert "No space left" in ended.printed or "bytes to write" in ended.printed, ended
        assert tree(repository.path) == before
        check_cache(repository.path)
        refused += 1
    assert refused > 3
    print(f"add refused {refused} times")


@pytest.fixture
def made(warm: Warm, disk: Disk, tmp_path: Path) -> Repository:
    """A repository on the disk with the model `tiny`, reproduced, committed and pushed."""
    repository = empty_project(disk.folder / "project")
    matrix = save(tmp_path / "W.safetensors", "W", np.repeat(small_matrix(), 300, axis=1))
    succeed(warm, repository.path, "core-tokens", "add", "tiny", str(matrix))
    succeed(warm, repository.path, "dvc", "repro")
    repository.commit("Add tiny")
    return repository


def without_dvcs(files: dict[str, bytes]) -> dict[str, bytes]:
    """All but the files by which DVC tries what links there are, and leaves if it fails."""
    return {
        name: content for name, content in files.items()
        if content or not re.fullmatch(r"data/tiny/\.[\w-]{22}\.tmp", name)
    }  # fmt: skip


def test_what_needs_more_room_than_there_is_can_be_repeated(
    warm: Warm, disk: Disk, made: Repository, tmp_path: Path
) -> None:
    # A report.
    report = "core-tokens", "report"
    (made.path / "report.html").write_bytes(b"an old page")
    before = tree(made.path)
    disk.leave(100)
    ended = warm.run(made.path, *report)
    assert (ended.code, ended.printed) == (1, f"error: report.html: {FULL}\n")
    assert tree(made.path) == before
    disk.clear()
    # A run of the pipeline: of some pictures that it could not keep DVC says so, and exits 0.
    made.set_param("theme:", "theme: dark")
    for pages in (0, 40):
        disk.leave(pages)
        ended = warm.run(made.path, "dvc", "repro")
        # DVC may also read a lock of its own that it could not write to its end.
        assert FULL in ended.printed or "rwlock" in ended.printed, ended
        assert "Traceback" not in ended.printed, ended
        check_cache(made.path)
        disk.clear()
        print(f"repro with {pages} pages: exit {ended.code}; mended {mended(made.path)}")
    succeed(warm, made.path, "dvc", "repro")
    assert "up to date" in warm.run(made.path, "dvc", "status").printed
    made.set_param("theme:", "theme: light")
    succeed(warm, made.path, "dvc", "repro")
    assert tree(made.path) == before
    # A pull.
    made.dvc("push")
    remote = disk.folder / "core-tokens-remote"
    shutil.move(remote, tmp_path / "remote")
    other = clone(made, disk.folder / "other")
    other.dvc("remote", "modify", "--local", "shared-folder", "url", str(tmp_path / "remote"))
    expected = {name: text for name, text in before.items() if name != "report.html"}
    for pages in (0, 40, 90):
        disk.leave(pages)
        ended = warm.run(other.path, "dvc", "pull")
        assert ended.code != 0
        assert "Traceback" not in ended.printed
        for name, content in without_dvcs(tree(other.path)).items():
            assert content == expected[name], name
        check_cache(other.path)
        disk.clear()
        last = ended.printed.splitlines()[-1]
        print(f"pull with {pages} pages: {last}; mended {mended(other.path)}")
    succeed(warm, other.path, "dvc", "pull")
    assert without_dvcs(tree(other.path)) == expected
    assert other.git_status() == ""
