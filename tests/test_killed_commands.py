"""kill -9 of core-tokens and of dvc, with all that they have started, in real repositories."""

import hashlib
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from killing import Warm, temporary_files
from repository import Repository, empty_project, save, small_matrix
from test_kills import SEED, restore, tree

ADDED, REMOVED, REPORTED, REPRODUCED = 6, 12, 2, 3
"""Kills of each command."""


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with Warm(tmp_path_factory.mktemp("home")) as process:
        yield process


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository without a model, and a matrix beside it."""
    folder = tmp_path_factory.mktemp("killed")
    save(folder / "W.safetensors", "W", small_matrix())
    return empty_project(folder / "project")


@pytest.fixture(scope="module")
def made(warm: Warm, empty: Repository) -> Repository:
    """The same with the model `tiny`, reproduced and committed."""
    folder = empty.path.parent / "made"
    shutil.copytree(empty.path, folder, symlinks=True)
    succeed(warm, folder, *add(empty))
    succeed(warm, folder, "dvc", "repro")
    repository = Repository(folder)
    repository.commit("Add tiny")
    return repository


def add(empty: Repository) -> tuple[str, ...]:
    return "core-tokens", "add", "tiny", str(empty.path.parent / "W.safetensors")


def succeed(warm: Warm, folder: Path, *command: str) -> float:
    """Run a command to its end; in how many seconds?"""
    ended = warm.run(folder, *command)
    assert (ended.killed, ended.code) == (False, 0), ended
    assert "Traceback" not in ended.printed, ended
    return ended.seconds


def check_parsed(folder: Path) -> None:
    """What is YAML is whole."""
    for path in [folder / "params.yaml", folder / "dvc.lock", *folder.glob("data/*/*.dvc")]:
        if path.exists():
            assert YAML(typ="safe").load(path.read_bytes()), path


def check_cache(folder: Path) -> None:
    """What is protected in the cache, and so never looked at again, is what its name says."""
    for path in (folder / ".dvc/cache/files/md5").glob("??/*"):
        if path.stat().st_mode & 0o777 == 0o444:
            found = hashlib.md5(path.read_bytes()).hexdigest()
            assert found == path.parent.name + path.name.removesuffix(".dir"), path


def mended(folder: Path) -> list[str]:
    """The files of DVC's own that it left cut off, mended as README says."""
    lock, table, cut_off = folder / "dvc.lock", folder / ".dvc/tmp/rwlock", []
    try:
        whole = not lock.exists() or "schema" in YAML(typ="safe").load(lock.read_bytes())
    except (YAMLError, TypeError):
        whole = False
    if not whole:
        Repository(folder).run("git", "checkout", "dvc.lock")
        cut_off.append("dvc.lock")
    try:
        json.loads(table.read_bytes() if table.exists() else b"{}")
    except ValueError:
        table.unlink()
        cut_off.append("rwlock")
    return cut_off


def clone_of(repository: Repository, name: str) -> Path:
    """A copy of a repository, its cache included, that may be spoiled."""
    folder = repository.path.parent / name
    shutil.copytree(repository.path, folder, symlinks=True)
    return folder


def changed(folder: Path) -> set[str]:
    """What Git sees as changed or new."""
    return {line[3:] for line in Repository(folder).git_status().splitlines()}


def test_add_that_is_killed_leaves_whole_files_and_can_be_removed_and_repeated(
    warm: Warm, empty: Repository
) -> None:
    folder = clone_of(empty, "adding")
    before = tree(folder)
    seconds = succeed(warm, folder, *add(empty))
    after = tree(folder)
    succeed(warm, folder, "core-tokens", "remove", "tiny")
    draws, killed, left = random.Random(f"{SEED} add"), 0, 0
    for _ in range(ADDED):
        shutil.rmtree(folder / ".dvc/cache", ignore_errors=True)
        ended = warm.run(folder, *add(empty), after=draws.uniform(0, seconds))
        killed += ended.killed
        seconds = seconds if ended.killed else min(seconds, ended.seconds)
        temporary = {str(path.relative_to(folder)) for path in folder.glob("data/*/.*.tmp")}
        left += bool(temporary)
        found = tree(folder)
        for name in found.keys() - temporary:
            if name.endswith((".gitignore", ".dvc")):  # which DVC writes in place
                assert after.get(name, before.get(name, b"")).startswith(found[name]), name
            else:
                assert found[name] in (before.get(name), after.get(name)), name
        check_cache(folder)
        mended(folder)
        assert changed(folder) <= {"params.yaml", "dvc.yaml", "data/"}
        if found["params.yaml"] == before["params.yaml"]:
            if (folder / "data/tiny").exists():
                refused = warm.run(folder, *add(empty))
                assert refused.code == 1
                assert refused.printed.endswith("core-tokens remove tiny clears it\n")
                succeed(warm, folder, "core-tokens", "remove", "tiny")
            assert changed(folder) == set()
            succeed(warm, folder, *add(empty))
        assert tree(folder) == after
        succeed(warm, folder, "core-tokens", "remove", "tiny")
        assert tree(folder) == before
    print(f"seed {SEED}: add killed {killed} times, {left} with temporary files left")
    assert killed > ADDED // 4


def test_remove_that_is_killed_can_be_repeated(warm: Warm, made: Repository) -> None:
    folder = clone_of(made, "removing")
    full = tree(folder)
    seconds = succeed(warm, folder, "core-tokens", "remove", "tiny")
    empty = tree(folder)
    draws, killed, under_way = random.Random(f"{SEED} remove"), 0, 0
    for nth in range(2 * REMOVED):
        restore(folder, full)
        if nth < REMOVED:
            ended = warm.run(
                folder, "core-tokens", "remove", "tiny", after=draws.uniform(0, seconds)
            )
        else:  # from the middle of it on
            ended = warm.run(folder, "core-tokens", "remove", "tiny", at=5 * (nth - REMOVED))
        killed += ended.killed
        found = tree(folder)
        temporary = {str(path.relative_to(folder)) for path in temporary_files(folder)}
        for name in found.keys() - temporary:
            assert found[name] in (full[name], empty.get(name)), name
        check_parsed(folder)
        under_way += found not in (full, empty)
        if (folder / "data/tiny").exists():
            succeed(warm, folder, "core-tokens", "remove", "tiny")
        succeed(warm, folder, "core-tokens", "summary")
        assert tree(folder) == empty
    print(f"seed {SEED}: remove killed {killed} times, {under_way} of them under way")
    assert killed > REMOVED // 2
    assert under_way > 3


def test_report_that_is_killed_leaves_the_old_page_or_the_new_one(
    warm: Warm, made: Repository
) -> None:
    folder = made.path
    command = "core-tokens", "report", "--output", "report.html"
    seconds = succeed(warm, folder, *command)
    after = tree(folder)
    before = after | {"report.html": b"an old page"}
    draws, killed = random.Random(f"{SEED} report"), 0
    for nth in range(10 * REPORTED):
        if killed == REPORTED:
            break
        (folder / "report.html").write_bytes(b"an old page")
        late = nth % 2 == 0  # the page is written at the end
        after_seconds = draws.uniform(0.9 * seconds if late else 0, seconds)
        ended = warm.run(folder, *command, after=after_seconds)
        killed += ended.killed
        seconds = seconds if ended.killed else min(seconds, ended.seconds)
        left = {str(path.relative_to(folder)) for path in temporary_files(folder)}
        found = {name: text for name, text in tree(folder).items() if name not in left}
        assert found in (before, after)
        assert Repository(folder).git_status() == ""
    (folder / ".report.html.0123abcd.tmp").write_bytes(b"what such a kill may leave")
    assert Repository(folder).git_status() == ""
    succeed(warm, folder, *command)
    assert tree(folder) == after
    (folder / "report.html").unlink()
    print(f"seed {SEED}: report killed {killed} times")
    assert killed == REPORTED


def test_repro_that_is_killed_is_completed_by_the_next_one(warm: Warm, made: Repository) -> None:
    folder = clone_of(made, "reproducing")
    draws, killed = random.Random(f"{SEED} repro"), 0
    repository = Repository(folder)
    repro, seconds = ("dvc", "repro", "analyse@tiny"), 1.5
    for nth in range(REPRODUCED):
        before = tree(folder)
        repository.set_param("radius:", f"radius: {0.5 + nth}")
        ended = warm.run(folder, *repro, after=draws.uniform(0.3, seconds))
        killed += ended.killed
        left = {str(path.relative_to(folder)) for path in folder.glob("data/**/.*.tmp")}
        halfway = {name: text for name, text in tree(folder).items() if name not in left}
        check_cache(folder)
        if cut_off := mended(folder):
            print(f"after {ended.seconds:.3f} s DVC left cut off: {', '.join(cut_off)}")
        check_parsed(folder)
        assert changed(folder) <= {name for name in before if name.startswith("data/")} | {
            "params.yaml", "dvc.lock",
        }  # fmt: skip
        seconds = succeed(warm, folder, *repro)
        whole = tree(folder)
        for name, content in halfway.items():
            if name != "dvc.lock":
                assert content in (before.get(name), whole.get(name)), name
        assert "up to date" in warm.run(folder, "dvc", "status", "analyse@tiny").printed
    print(f"seed {SEED}: repro killed {killed} times")
    assert killed


def test_what_dvc_itself_leaves_cut_off_is_mended_as_the_readme_says(
    warm: Warm, made: Repository
) -> None:
    lock, table = made.path / "dvc.lock", made.path / ".dvc/tmp/rwlock"
    whole = lock.read_bytes()
    for path, cut, says in ((lock, 20, "dvc.lock"), (table, 0, "RWLock-file")):
        path.write_bytes(whole[:cut])
        ended = warm.run(made.path, "dvc", "repro")
        assert ended.code != 0
        assert says in ended.printed
        assert mended(made.path) == [path.name]
        succeed(warm, made.path, "dvc", "repro")
        assert lock.read_bytes() == whole
        assert made.git_status() == ""


def test_what_a_killed_run_has_left_goes_though_its_stage_does_not_run_again(
    warm: Warm, made: Repository
) -> None:
    folder = clone_of(made, "cached")
    repository = Repository(folder)
    repository.set_param("radius:", "radius: 1.0")
    succeed(warm, folder, "dvc", "repro", "extract@tiny", "analyse@tiny")
    left = {
        folder / f"data/tiny/{name}.0123abcd.tmp" for name in (".core.csv", "plots/.shells.csv")
    }
    for path in left:
        path.write_bytes(b"half")
    repository.set_param("radius:", "radius: 3.0")
    ended = warm.run(folder, "dvc", "repro")
    assert "Running stage" not in ended.printed  # for which data/tiny/plots must be as it was
    assert repository.git_status() == ""
    assert set(temporary_files(folder)) == left
    succeed(warm, folder, "core-tokens", "summary")
    assert temporary_files(folder) == []
