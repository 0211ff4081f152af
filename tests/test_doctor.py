import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from core_tokens.doctor import NOWHERE
from core_tokens.objects import Store, Tracked
from project import Done, Project, check_refusal
from repository import Repository, empty_project, save, small_matrix
from team import copy_of

DATA = Path("data/tiny")
CORE = DATA / "core_tokens.safetensors"
PICTURE = DATA / "pictures/curve_ulp.svg"
FIX = "core-tokens doctor --fix"


@pytest.fixture(scope="module")
def made(team_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a committed project, whose model is made, and the remote it was pushed to."""
    folder = tmp_path_factory.mktemp("made")
    repository = copy_of(team_project, folder / "tiny")
    repository.dvc("push")
    return folder


@pytest.fixture
def tiny(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A copy of it, on a machine of its own."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True, symlinks=True)
    repository = Repository(tmp_path / "tiny")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "tiny-home" / "site-cache"))
    return repository


def doctor(repository: Repository, *arguments: str) -> Done:
    return Project(repository.path).command_here("doctor", *arguments)


def locked(repository: Repository, path: Path) -> str:
    """The md5 that dvc.lock has of an output, or of a file of one that is a folder."""
    document = YAML(typ="safe").load((repository.path / "dvc.lock").read_text())
    outs = {out["path"]: out for stage in document["stages"].values() for out in stage["outs"]}
    tracked = [
        YAML(typ="safe").load(file.read_text())["outs"][0]
        | {"path": str(file.relative_to(repository.path).with_suffix(""))}
        for file in repository.path.glob("data/*/*.dvc")
    ]
    outs |= {out["path"]: out for out in tracked}
    if str(path) in outs:
        return str(outs[str(path)]["md5"])
    folder = outs[str(path.parent)]["md5"]
    entries = json.loads(stored(repository.path / ".dvc/cache", folder).read_text())
    return str(next(entry["md5"] for entry in entries if entry["relpath"] == path.name))


def stored(store: Path, oid: str) -> Path:
    return store / "files/md5" / oid[:2] / oid[2:]


def cached(repository: Repository, path: Path) -> Path:
    return stored(repository.path / ".dvc/cache", locked(repository, path))


def shared(repository: Repository, path: Path) -> Path:
    return stored(repository.path.parent / "core-tokens-remote", locked(repository, path))


def flip(path: Path) -> None:
    """Change one bit, and nothing that DVC looks at: not the size, the mode or the time."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def truncate(path: Path) -> None:
    mode = path.stat().st_mode
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)
    path.chmod(mode)


def everything(*folders: Path) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not {"tmp", ".git"}.intersection(path.relative_to(folder).parts)
    }


def check_problem(done: Done, *mentions: str) -> None:
    """Exit 1, one line that counts, and a problem that is named with what mends it."""
    assert done.code == 1, done
    assert re.fullmatch(
        r"error: core-tokens doctor: found \d+ problems?, see above; expected none\n", done.err
    ), done
    problems = [line for line in done.out.splitlines() if line.startswith("problem: ")]
    assert any(all(mention in line for mention in mentions) for line in problems), done
    assert all("; to mend it: " in line for line in problems), done


# ---- nothing is wrong ----------------------------------------------------------------------------


def test_of_what_is_as_it_should_be_it_says_how_much_was_read(tiny: Repository) -> None:
    before = everything(tiny.path, tiny.path.parent / "core-tokens-remote")
    done = doctor(tiny)
    assert (done.code, done.err) == (0, "")
    places = re.findall(r"^(.+): (\d+) read, and as dvc.lock has them$", done.out, re.MULTILINE)
    assert [place for place, _ in places] == ["workspace", "cache", "remote shared-folder"]
    counts = [int(count) for _, count in places]
    assert done.out.count("\n") == 3
    objects = [
        sum(path.is_file() for path in store.rglob("*"))
        for store in (tiny.path / ".dvc/cache/files", tiny.path.parent / "core-tokens-remote")
    ]
    assert counts[1:] == objects
    assert objects[0] > objects[1]  # metrics and tables are in Git, and in DVC's run cache
    assert everything(tiny.path, tiny.path.parent / "core-tokens-remote") == before


def test_what_is_not_pulled_or_pushed_is_a_note(tiny: Repository) -> None:
    shutil.rmtree(tiny.path / ".dvc/cache")
    (tiny.path / CORE).unlink()
    (tiny.path / DATA / "W.safetensors").unlink()
    done = doctor(tiny)
    assert (done.code, done.err) == (0, "")
    assert re.search(r"^note: cache: .*W\.safetensors.*: not here; .*dvc pull$", done.out, re.M)
    tiny.dvc("pull")
    shutil.rmtree(tiny.path.parent / "core-tokens-remote")
    done = doctor(tiny)
    assert (done.code, done.err) == (0, "")
    assert re.search(r"^note: remote shared-folder: .*: not there; .*dvc push --remote", done.out)
    tiny.dvc("push", "--remote", "shared-folder")
    assert "note: " not in doctor(tiny).out


def test_of_a_clone_that_pulled_the_core_alone_nothing_is_wrong(
    tiny: Repository, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    tiny.run("git", "clone", "--quiet", str(tiny.path), str(tmp_path / "clone"))
    clone = Repository(tmp_path / "clone")
    clone.dvc("pull", "extract@tiny")
    done = doctor(clone)
    assert (done.code, done.err) == (0, "")
    assert "cache: 1 read" in done.out


def test_a_project_without_models_has_nothing_to_look_at(tmp_path: Path) -> None:
    repository = empty_project(tmp_path / "empty")
    done = repository.run("core-tokens", "doctor")
    assert "workspace: 0 read" in done.stdout


# ---- the cache -----------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", [flip, truncate])
@pytest.mark.parametrize("path", [CORE, PICTURE, DATA / "W.safetensors"], ids=str)
def test_a_corrupt_object_of_the_cache_is_found_and_mended(
    tiny: Repository, path: Path, harm: object
) -> None:
    before = everything(tiny.path)
    assert callable(harm)
    tiny.dvc("status")
    harm(cached(tiny, path))
    assert "up to date" in tiny.dvc("status")  # DVC does not look
    check_problem(doctor(tiny), "cache", str(path), "expected", FIX)
    done = doctor(tiny, "--fix")
    assert (done.code, done.err) == (0, "")
    assert f"mended: cache: {path}: brought again from workspace" in done.out
    assert everything(tiny.path) == before
    assert cached(tiny, path).stat().st_mode & 0o777 == 0o444


def test_what_is_not_in_the_workspace_comes_again_from_a_remote(tiny: Repository) -> None:
    before = everything(tiny.path)
    flip(cached(tiny, CORE))
    (tiny.path / CORE).unlink()
    done = doctor(tiny, "--fix")
    assert done.code == 0, done
    assert f"mended: cache: {CORE}: brought again from remote shared-folder" in done.out
    tiny.dvc("checkout")
    assert everything(tiny.path) == before


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_a_file_linked_to_a_corrupt_object_keeps_its_bytes_which_may_be_meant(
    tiny: Repository, link: str
) -> None:
    before = everything(tiny.path / "data")
    tiny.dvc("config", "cache.type", link)
    tiny.dvc("checkout", "--relink")
    assert (tiny.path / CORE).samefile(cached(tiny, CORE))
    flip(cached(tiny, CORE))  # as who edits the one edits the other
    edited = everything(tiny.path / "data")
    assert edited != before
    check_problem(doctor(tiny), "cache", str(CORE), FIX)
    done = doctor(tiny, "--fix")
    check_problem(done, "workspace", str(CORE), f"rm {CORE} && dvc checkout extract@tiny")
    assert f"mended: cache: {CORE}: brought again from remote shared-folder" in done.out
    assert everything(tiny.path / "data") == edited
    assert cached(tiny, CORE).read_bytes() == before[tiny.path / CORE]
    (tiny.path / CORE).unlink()
    tiny.dvc("checkout", "extract@tiny")
    assert everything(tiny.path / "data") == before
    assert doctor(tiny).code == 0


def test_a_link_to_an_object_that_was_lost_leads_to_it_again(tiny: Repository) -> None:
    before = everything(tiny.path / "data")
    tiny.dvc("config", "cache.type", "symlink")
    tiny.dvc("checkout", "--relink")
    cached(tiny, CORE).unlink()
    done = doctor(tiny, "--fix")
    assert "not here; to mend it: dvc pull" in done.out  # nothing is corrupt
    tiny.dvc("pull")
    assert everything(tiny.path / "data") == before


def test_the_list_of_a_folder_is_mended_too(tiny: Repository) -> None:
    before = everything(tiny.path)
    object_ = cached(tiny, PICTURE.parent)
    truncate(object_)
    check_problem(doctor(tiny), "cache", str(PICTURE.parent), FIX)
    assert doctor(tiny, "--fix").code == 0
    assert everything(tiny.path) == before


def test_an_object_that_is_good_nowhere_is_named_with_the_stage_that_makes_it(
    tiny: Repository,
) -> None:
    flip(cached(tiny, CORE))
    flip(shared(tiny, CORE))
    (tiny.path / CORE).unlink()
    for arguments in ([], ["--fix"]):
        check_problem(doctor(tiny, *arguments), "cache", str(CORE), "dvc repro extract@tiny")
    assert cached(tiny, CORE).is_file()  # the last there is of it is not thrown away


def test_an_object_that_is_in_no_place_is_a_problem(tiny: Repository) -> None:
    path = DATA / "W.safetensors"
    for file in (cached(tiny, path), shared(tiny, path), tiny.path / path):
        file.unlink()
    check_problem(doctor(tiny), "cache", str(path), "in none of the places", "dvc push where it is")


def test_what_the_workspace_alone_has_is_taken_into_the_cache(tiny: Repository) -> None:
    before = everything(tiny.path)
    cached(tiny, CORE).unlink()
    done = doctor(tiny)
    assert done.code == 0
    assert f"note: cache: {CORE}: in the workspace alone; to mend it: {FIX}" in done.out
    assert doctor(tiny, "--fix").code == 0
    assert everything(tiny.path) == before


def test_a_folder_in_place_of_an_object_is_a_problem(tiny: Repository) -> None:
    object_ = cached(tiny, CORE)
    object_.unlink()
    object_.mkdir()
    check_problem(doctor(tiny), "cache", str(CORE), "expected", FIX)


def test_a_cache_that_cannot_be_read_ends_in_one_line(tiny: Repository) -> None:
    object_ = cached(tiny, CORE)
    object_.unlink()
    object_.symlink_to(object_)
    done = doctor(tiny)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.startswith(f"error: {object_}: ")


# ---- the workspace -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CORE, PICTURE, DATA / "core.json"], ids=str)
def test_a_file_that_differs_is_named_and_never_touched(tiny: Repository, path: Path) -> None:
    before = everything(tiny.path)
    tiny.dvc("status")
    flip(tiny.path / path)
    harmed = everything(tiny.path)
    for arguments in ([], ["--fix"]):
        check_problem(doctor(tiny, *arguments), "workspace", str(path), "dvc repro")
        assert everything(tiny.path) == harmed
    mend = doctor(tiny).out.partition("to have it as locked: ")[2].splitlines()[0]
    assert not subprocess.run(["sh", "-c", mend], cwd=tiny.path, check=False).returncode
    assert everything(tiny.path) == before


def test_a_file_that_is_not_here_is_a_note_if_dvc_has_it_and_a_problem_if_git_has(
    tiny: Repository,
) -> None:
    (tiny.path / CORE).unlink()
    done = doctor(tiny)
    assert done.code == 0
    assert f"note: workspace: {CORE}: not here; to mend it: dvc checkout" in done.out
    before = everything(tiny.path / "data")
    (tiny.path / DATA / "core.json").unlink()
    for table in (tiny.path / DATA / "plots").iterdir():
        table.unlink()
    done = doctor(tiny)
    check_problem(done, "workspace", "core.json", "and 9 more: not here")
    mend = done.out.partition("not here; to mend it: git")[2].splitlines()[0]
    subprocess.run(["sh", "-c", f"git{mend}"], cwd=tiny.path, check=True)
    assert everything(tiny.path / "data") == before


def test_a_file_that_differs_is_not_to_be_removed_where_there_is_no_other(tiny: Repository) -> None:
    before = everything(tiny.path / "data")
    flip(tiny.path / CORE)
    shutil.rmtree(tiny.path / ".dvc/cache")
    done = doctor(tiny)
    check_problem(done, "workspace", str(CORE), f"rm {CORE} && dvc pull extract@tiny")
    mend = done.out.partition("to have it as locked: ")[2].splitlines()[0]
    shared(tiny, CORE).rename(tiny.path.parent / "kept")
    done = doctor(tiny)
    check_problem(done, "workspace", str(CORE), "to mend it: dvc repro")
    assert f"rm {CORE}" not in done.out
    (tiny.path.parent / "kept").rename(shared(tiny, CORE))
    tiny.run("sh", "-c", mend)
    assert everything(tiny.path / "data") == before


def test_something_else_than_a_file_is_named_and_not_waited_for(tiny: Repository) -> None:
    (tiny.path / CORE).unlink()
    os.mkfifo(tiny.path / CORE)
    check_problem(doctor(tiny), "workspace", str(CORE), "no file, expected one")
    (tiny.path / CORE).unlink()
    (tiny.path / CORE).mkdir()
    check_problem(doctor(tiny), "workspace", str(CORE), "no file, expected one", f"rm -r {CORE} &&")


def test_what_a_killed_dvc_has_left_is_swept(tiny: Repository) -> None:
    before = everything(tiny.path)
    (tiny.path / DATA / ".gb4Vv.tmp").write_bytes(b"half")
    (tiny.path / DATA / "pictures/.gb4Vv.tmp").write_bytes(b"half")
    done = doctor(tiny)
    assert done.code == 0
    assert "left by a DVC that was broken off" in done.out
    done = doctor(tiny, "--fix")
    assert done.code == 0
    assert done.out.count("mended: workspace: ") == 2
    assert everything(tiny.path) == before


def test_a_lock_file_without_its_end_is_found(tiny: Repository) -> None:
    path = tiny.path / "dvc.lock"
    whole = path.read_text()
    for lost in (4, 6):  # lines: the last output is a folder, of md5, size, nfiles and path
        path.write_text("".join(whole.splitlines(keepends=True)[:-lost]))
        check_problem(doctor(tiny), "workspace", "not in dvc.lock", "git checkout dvc.lock")
    path.write_text(whole.partition("  draw@tiny:")[0])  # between two stages
    check_problem(doctor(tiny), "workspace", "not in dvc.lock", "git checkout dvc.lock")
    path.unlink()
    check_problem(doctor(tiny), "workspace", "not in dvc.lock", "git checkout dvc.lock")
    path.write_text(whole)
    assert doctor(tiny).code == 0


def test_a_model_that_was_never_run_is_a_note(tiny: Repository) -> None:
    matrix = save(tiny.path.parent / "V.safetensors", "V", small_matrix())
    tiny.run("core-tokens", "add", "other", str(matrix))
    done = doctor(tiny)
    assert done.code == 0, done
    assert "note: workspace: data/other/" in done.out
    assert "not in dvc.lock yet; to mend it: dvc repro" in done.out


def test_a_lock_of_dvc_that_is_cut_off_is_removed(tiny: Repository) -> None:
    lock = tiny.path / ".dvc/tmp/rwlock"
    lock.write_text('{"/a/path": {"write": ')
    assert tiny.run("dvc", "repro", check=False).returncode != 0
    check_problem(doctor(tiny), "workspace", ".dvc/tmp/rwlock", "cut off", FIX)
    assert doctor(tiny, "--fix").code == 0
    tiny.dvc("repro")


# ---- remotes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", [flip, truncate])
@pytest.mark.parametrize("path", [CORE, PICTURE], ids=str)
def test_a_corrupt_object_of_a_remote_is_found_and_pushed_again(
    tiny: Repository, path: Path, harm: object
) -> None:
    assert callable(harm)
    remote = tiny.path.parent / "core-tokens-remote"
    before = everything(tiny.path, remote)
    harm(shared(tiny, path))
    assert "Everything is up to date" in tiny.dvc("push")  # DVC goes by the name
    check_problem(doctor(tiny), "remote shared-folder", str(path), FIX)
    done = doctor(tiny, "--fix")
    assert (done.code, done.err) == (0, "")
    assert f"mended: remote shared-folder: {path}: pushed again" in done.out
    assert everything(tiny.path, remote) == before


def test_a_file_of_a_folder_that_a_remote_lost_is_pushed_again(tiny: Repository) -> None:
    remote = tiny.path.parent / "core-tokens-remote"
    before = everything(remote)
    shared(tiny, PICTURE).unlink()
    assert "Everything is up to date" in tiny.dvc("push")  # it has the list, says DVC
    check_problem(doctor(tiny), "remote shared-folder", str(PICTURE), "DVC takes it to be", FIX)
    assert doctor(tiny, "--fix").code == 0
    assert everything(remote) == before


def test_without_a_good_object_here_a_remote_is_left_as_it_is(tiny: Repository) -> None:
    shutil.rmtree(tiny.path / ".dvc/cache")
    (tiny.path / CORE).unlink()
    flip(shared(tiny, CORE))
    harmed = everything(tiny.path.parent / "core-tokens-remote")
    done = doctor(tiny, "--fix")
    check_problem(done, "remote shared-folder", str(CORE), "--remote shared-folder, where a good")
    assert everything(tiny.path.parent / "core-tokens-remote") == harmed


def test_only_the_remotes_that_are_named_are_looked_at(tiny: Repository) -> None:
    tiny.run("core-tokens", "remote", "add", "second", str(tiny.path.parent / "second"))
    flip(shared(tiny, CORE))
    done = doctor(tiny, "--remote", "second")
    assert done.code == 0
    assert "shared-folder" not in done.out
    check_problem(doctor(tiny, "--remote", "shared-folder"), "remote shared-folder")


def test_a_remote_that_does_not_answer_is_a_problem_and_the_rest_is_looked_at(
    tiny: Repository, unused_port: int
) -> None:
    url = f"http://127.0.0.1:{unused_port}/core-tokens"
    tiny.run("core-tokens", "remote", "add", "mirror", url)
    done = doctor(tiny)
    check_problem(done, "remote mirror", "no answer", "dvc config --list")
    assert "remote shared-folder: " in done.out
    assert "remote mirror: 0 read" not in done.out


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ---- what it is asked ----------------------------------------------------------------------------


def test_a_remote_that_is_not_configured_is_refused_with_those_that_are(tiny: Repository) -> None:
    check_refusal(doctor(tiny, "--remote", "nowhere"), "'nowhere'", "shared-folder")


def test_what_one_remote_has_another_gets_by_way_of_here(tiny: Repository) -> None:
    other = tiny.path.parent / "other"
    tiny.run("core-tokens", "remote", "add", "other", str(other))
    tiny.dvc("push", "--remote", "other")
    shutil.rmtree(tiny.path / ".dvc/cache")
    (tiny.path / CORE).unlink()
    shared(tiny, CORE).unlink()
    done = doctor(tiny)
    assert done.code == 0
    bring = "dvc pull --remote other"
    assert f"note: cache: {CORE}: not here; to mend it: {bring}\n" in done.out
    push = f"{bring}, dvc push --remote shared-folder"
    assert f"note: remote shared-folder: {CORE}: not there; to mend it: {push}\n" in done.out
    tiny.dvc("pull", "--remote", "other")
    tiny.dvc("push", "--remote", "shared-folder")
    assert doctor(tiny).code == 0
    assert shared(tiny, CORE).exists()


def test_a_list_that_names_other_files_is_pulled_and_then_found(tiny: Repository) -> None:
    before = everything(tiny.path / "data")
    listed = shared(tiny, PICTURE.parent)
    listed.chmod(0o644)
    listed.write_bytes(listed.read_bytes().replace(b'"adjacency', b'"bdjacency'))
    shutil.rmtree(tiny.path / ".dvc/cache")
    shutil.rmtree(tiny.path / PICTURE.parent)
    tiny.dvc("pull")  # DVC does not verify it
    done = doctor(tiny, "--fix")
    check_problem(done, "cache", "pictures: in none of the places", "dvc repro draw@tiny")
    check_problem(done, "remote shared-folder", "pictures: md5")
    tiny.dvc("repro", "--force", "draw@tiny")
    assert everything(tiny.path / "data") == before
    assert doctor(tiny, "--fix").code == 0


def test_a_file_that_is_not_in_the_list_of_its_folder_is_found(tiny: Repository) -> None:
    (tiny.path / PICTURE.parent / "more of it.svg").write_text("not of any stage")
    done = doctor(tiny, "--fix")
    check_problem(done, "pictures/more of it.svg: not in the list")
    mend = done.out.partition("to have the folder as locked: ")[2].splitlines()[0]
    subprocess.run(["sh", "-c", mend], cwd=tiny.path, check=True)
    assert doctor(tiny).code == 0


def test_a_remote_that_is_not_verified_is_a_problem(tiny: Repository) -> None:
    tiny.dvc("remote", "modify", "shared-folder", "verify", "false")
    mend = "dvc remote modify shared-folder verify true"
    check_problem(doctor(tiny), "remote shared-folder: not verified", mend)
    tiny.run(*mend.split())
    assert doctor(tiny).code == 0
    tiny.dvc("remote", "modify", "--local", "shared-folder", "verify", "false")
    mend = "dvc remote modify --local shared-folder verify true"
    check_problem(doctor(tiny), "remote shared-folder: not verified", mend)
    tiny.run(*mend.split())
    assert doctor(tiny).code == 0


def test_a_remote_that_dies_in_between_loses_nothing_of_the_report(
    tiny: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise RuntimeError("the line is dead")

    flip(cached(tiny, CORE))
    (tiny.path / CORE).unlink()
    monkeypatch.setattr(Store, "take", die)
    done = doctor(tiny, "--fix")
    check_problem(done, f"cache: {CORE}: md5", "(the line is dead)", FIX)
    assert "remote shared-folder: 16 read" in done.out
    monkeypatch.undo()
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tiny.path.parent / "tiny-home" / "site-cache"))
    assert doctor(tiny, "--fix").code == 0


def test_an_object_that_is_refused_is_one_problem_of_its_remote(
    tiny: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = Store.state

    def refused(self: Store, one: Tracked, *_: Any) -> str | None:
        if self.name != "cache":
            assert one.cached  # what Git keeps no remote is asked for
            if one.path == CORE:
                raise RuntimeError("403, message='Forbidden'")
        return state(self, one)

    monkeypatch.setattr(Store, "state", refused)
    done = doctor(tiny)
    mend = "core-tokens doctor --remote shared-folder, when it answers"
    check_problem(done, f"remote shared-folder: {CORE}: no answer (403, message='Forbidden')", mend)
    assert done.out.count("problem: ") == 1
    assert "remote shared-folder: 15 read" in done.out
    before = everything(tiny.path.parent / "core-tokens-remote")
    kept = shared(tiny, CORE).stat().st_ino
    assert doctor(tiny, "--fix").code == 1  # and what may be good is not replaced
    assert shared(tiny, CORE).stat().st_ino == kept
    assert everything(tiny.path.parent / "core-tokens-remote") == before
    shutil.rmtree(tiny.path / ".dvc/cache")
    (tiny.path / CORE).unlink()
    done = doctor(tiny)
    assert f"note: cache: {CORE}: in none of the places that answer" in done.out


def test_a_remote_that_falls_silent_is_not_waited_for(
    tiny: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, over = Store.state, threading.Event()

    def silent(self: Store, one: Tracked, *_: Any) -> str | None:
        if self.name != "cache" and one is not NOWHERE:
            over.wait(60)
        return state(self, one)

    monkeypatch.setattr(Store, "state", silent)
    monkeypatch.setattr("core_tokens.doctor.PATIENCE", 0.5)
    done = doctor(tiny)
    over.set()
    check_problem(done, "remote shared-folder", "and 13 more: no answer in time")


def test_a_remote_that_is_slow_but_not_silent_is_waited_for(
    tiny: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(self: Store, one: Tracked, hear: Any = lambda: None) -> str | None:
        for _ in range(3 if one.path == CORE else 0):
            time.sleep(0.6)
            hear()
        return state(self, one)

    state = Store.state
    monkeypatch.setattr(Store, "state", slow)
    monkeypatch.setattr("core_tokens.doctor.PATIENCE", 1.0)
    assert doctor(tiny).code == 0


def test_without_an_answer_nothing_is_called_lost(tiny: Repository, unused_port: int) -> None:
    tiny.dvc("remote", "modify", "shared-folder", "url", f"http://127.0.0.1:{unused_port}/x")
    shutil.rmtree(tiny.path / ".dvc/cache")
    (tiny.path / CORE).unlink()
    done = doctor(tiny)
    assert re.search("note: cache: .*: in none of the places that answer; .*: dvc pull", done.out)
    assert done.out.count("problem: ") == 1


def test_what_a_full_disk_has_left_in_the_cache_is_swept(tiny: Repository) -> None:
    left = cached(tiny, CORE).with_name(".abc.tmp")
    left.write_bytes(b"half")
    done = doctor(tiny, "--fix")
    assert done.code == 0
    assert f"mended: workspace: {left.relative_to(tiny.path)}: removed" in done.out
    assert not left.exists()


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml"])
def test_what_dvc_would_never_end_to_read_is_refused(tiny: Repository, name: str) -> None:
    with (tiny.path / name).open("a") as file:
        file.write("a: &a [*a]\n")
    check_refusal(doctor(tiny), name, "values")


def test_another_dvc_at_work_is_one_line(tiny: Repository) -> None:
    path = tiny.path / ".dvc/tmp/lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        check_refusal(doctor(tiny, "--fix"), "another DVC at work", "when it has ended")
    assert doctor(tiny, "--fix").code == 0


def test_a_remote_that_says_nothing_is_not_waited_for(
    tiny: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core_tokens.doctor.PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/core-tokens"
        tiny.run("core-tokens", "remote", "add", "silent", url)
        done = doctor(tiny, "--remote", "silent")
    check_problem(done, "remote silent", "no answer (nothing for 0.5 seconds)")


def test_outside_a_project_it_says_so(tmp_path: Path) -> None:
    check_refusal(Project(tmp_path).command_here("doctor"), ".dvc", "dvc init")


def test_in_a_folder_of_a_project_it_says_where_to_run(tiny: Repository) -> None:
    check_refusal(Project(tiny.path / DATA).command_here("doctor"), ".dvc", "the folder of a DVC")


def test_a_lock_file_with_conflicts_is_one_line(tiny: Repository) -> None:
    with (tiny.path / "dvc.lock").open("a") as file:
        file.write("<<<<<<< HEAD\n")
    check_refusal(doctor(tiny), "dvc", "git checkout dvc.lock")


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_whatever_is_harmed_in_one_store_is_mended_from_the_others(
    tiny: Repository, draw: st.DataObject
) -> None:
    remote = tiny.path.parent / "core-tokens-remote"
    before = everything(tiny.path / ".dvc/cache/files", remote, tiny.path / "data")
    store = draw.draw(st.sampled_from([tiny.path / ".dvc/cache", remote]))
    objects = sorted(path for path in (store / "files").rglob("*") if path.is_file())
    # All is drawn before anything is harmed: hypothesis may give up an example between two draws.
    harms = st.tuples(st.sampled_from(objects), st.sampled_from([flip, truncate]))
    for path, harm in draw.draw(
        st.lists(harms, min_size=1, max_size=4, unique_by=lambda each: each[0])
    ):
        harm(path)
        assert md5(path.read_bytes()).hexdigest() != path.parent.name + path.name.partition(".")[0]
    assert doctor(tiny).code == 1
    assert doctor(tiny, "--fix").code == 0
    assert everything(tiny.path / ".dvc/cache/files", remote, tiny.path / "data") == before
