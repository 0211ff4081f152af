import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core_tokens.errors import FileError
from core_tokens.files import read_bytes, replacing, sweep, write_all, write_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_write_all_writes_bytes_and_utf8_text(tmp_path: Path) -> None:
    write_all({tmp_path / "a": b"\x00\xff\r\n", tmp_path / "b": "1,2\nü\n"})
    assert (tmp_path / "a").read_bytes() == b"\x00\xff\r\n"
    assert (tmp_path / "b").read_bytes() == b"1,2\n\xc3\xbc\n"
    assert names(tmp_path) == ["a", "b"]


def test_write_all_makes_the_folders(tmp_path: Path) -> None:
    write_all({tmp_path / "data" / "x" / "a": b"1"})
    assert (tmp_path / "data" / "x" / "a").read_bytes() == b"1"


def test_write_all_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a longer content")
    write_all({tmp_path / "a": b"new"})
    assert (tmp_path / "a").read_bytes() == b"new"


def test_write_all_of_nothing_writes_nothing(tmp_path: Path) -> None:
    write_all({})
    assert names(tmp_path) == []


def test_mode_follows_the_umask(tmp_path: Path, umask: int) -> None:
    write_all({tmp_path / "a": b"1"})
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~umask


def test_mode_of_a_read_only_file_that_is_replaced_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        (tmp_path / "a").write_bytes(b"1")
        (tmp_path / "a").chmod(0o444)  # as DVC leaves what it has linked
        write_all({tmp_path / "a": b"2"})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


@pytest.mark.parametrize("failure", [ValueError("x"), KeyboardInterrupt("x"), SystemExit("x")])
def test_exception_leaves_old_files_and_no_temporary_ones(
    tmp_path: Path, failure: BaseException
) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def fail() -> None:
        with replacing(tmp_path / "a", tmp_path / "b") as temporary:
            for path in temporary:
                path.write_bytes(b"half")
            raise failure

    with pytest.raises(type(failure), match="x"):
        fail()
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_second_file_that_cannot_be_written_leaves_the_first_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "folder").write_bytes(b"a file where a folder should be")
    with pytest.raises(OSError, match=r"(File exists|Not a directory)"):
        write_all({tmp_path / "a": b"new", tmp_path / "folder" / "b": b"new"})
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a", "folder"]


def test_nothing_is_renamed_before_all_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name.startswith(".b."):
            write_bytes(path, data[:1])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_all({tmp_path / "a": b"new", tmp_path / "b": b"new"})
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_what_is_read_back_differently_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(Path, "read_bytes", lambda _: b"rotten")
    with pytest.raises(FileError, match=r"a: found other bytes than were written; expected a disk"):
        write_all({tmp_path / "a": b"new"})
    monkeypatch.undo()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "object").write_bytes(b"old")
    (tmp_path / "a").symlink_to(tmp_path / "cache" / "object")
    write_all({tmp_path / "a": b"new"})
    assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"new"
    assert (tmp_path / "cache" / "object").read_bytes() == b"old"


def test_hard_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(b"old")
    (tmp_path / "a").hardlink_to(tmp_path / "object")
    write_all({tmp_path / "a": b"new"})
    assert (tmp_path / "a").read_bytes() == b"new"
    assert (tmp_path / "object").read_bytes() == b"old"


LEFT = ".a.0123abcd.tmp"
"""What a run that was killed may have left."""


@pytest.mark.parametrize("left", [LEFT, ".of another file.csv.89abcdef.tmp"])
@pytest.mark.parametrize("link", [False, True])
def test_what_a_killed_run_has_left_is_removed(tmp_path: Path, left: str, link: bool) -> None:
    (tmp_path / "object").write_bytes(b"old")
    if link:
        (tmp_path / left).symlink_to(tmp_path / "object")
    else:
        (tmp_path / left).write_bytes(b"a longer rest of another run")
    write_all({tmp_path / "a": b"new"})
    assert (tmp_path / "a").read_bytes() == b"new"
    assert (tmp_path / "object").read_bytes() == b"old"
    assert names(tmp_path) == ["a", "object"]


@pytest.mark.parametrize(
    "name", [".tmp", "a.0123abcd.tmp", ".a.tmp", ".a.0123ABCD.tmp", ".x4WVLfW5rxnzhf3DlKWNYA.tmp"]
)
def test_what_is_not_named_as_by_us_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"of another program, DVC say, that may be running")
    sweep(tmp_path)
    assert names(tmp_path) == [name]


def test_what_a_run_is_writing_is_not_swept_until_it_was_killed(tmp_path: Path) -> None:
    code = (
        "import time; from pathlib import Path; from core_tokens import files\n"
        "with files.replacing(Path('a')) as (temporary,):\n"
        "    temporary.write_text('half'); print('started', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        (left,) = names(tmp_path)
        sweep(tmp_path)
        write_all({tmp_path / "a": b"by another"})
        assert names(tmp_path) == [left, "a"]
        process.kill()
    sweep(tmp_path)
    assert names(tmp_path) == ["a"]


def test_sweeping_what_cannot_be_swept_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / LEFT).mkdir()
    sweep(tmp_path / "nowhere", tmp_path / "file", tmp_path)
    assert names(tmp_path) == [LEFT, "file"]


def test_on_a_file_system_without_locks_files_are_written_and_nothing_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int, __: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / LEFT).write_bytes(b"of whom?")
    write_all({tmp_path / "a": b"new"})
    assert names(tmp_path) == [LEFT, "a"]


def test_temporary_path_lies_beside_the_final_one(tmp_path: Path) -> None:
    with replacing(tmp_path / "x" / "a.bin") as (temporary,):
        assert temporary.parent == tmp_path / "x"
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"1")
        assert names(tmp_path / "x") == [temporary.name]
    assert names(tmp_path / "x") == ["a.bin"]


def test_block_that_writes_no_file_is_an_error_and_keeps_the_old(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(FileNotFoundError, match="No such file"), replacing(tmp_path / "a"):
        pass
    assert (tmp_path / "a").read_bytes() == b"old"


def test_second_file_that_the_block_forgot_leaves_the_first_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with (
        pytest.raises(FileNotFoundError, match="No such file"),
        replacing(tmp_path / "a", tmp_path / "b") as (first, _),
    ):
        first.write_bytes(b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_folder_under_a_final_name_leaves_the_other_files_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").mkdir()
    with pytest.raises((OSError, FileError), match=r"folder|directory"):
        write_all({tmp_path / "a": b"new", tmp_path / "b": b"new"})
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a", "b"]


def test_permission_that_is_refused_surfaces_as_an_os_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def refuse(path: Path, _: Path) -> Path:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        write_all({tmp_path / "a": b"new"})
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_error_names_the_final_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File name too long") as caught:
        write_all({tmp_path / "a": b"1", tmp_path / ("b" * 250): b"2"})
    assert caught.value.filename == str(tmp_path / ("b" * 250))
    with pytest.raises(OSError, match="No space") as caught, replacing(tmp_path / "a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(tmp_path / "a")
    with pytest.raises(OSError, match="of a library's own"), replacing(tmp_path / "a"):
        raise OSError("of a library's own")
    assert names(tmp_path) == []


# ---- folders ---------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def all_names(folder: Path) -> list[str]:
    """Hidden ones included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with two files and a folder in it."""
    folder = tmp_path / "pictures"
    (folder / "inner").mkdir(parents=True)
    for name in ("a.svg", "b.svg", "inner/c.svg"):
        (folder / name).write_bytes(b"old")
    return folder


def check_is_as_it_was(folder: Path) -> None:
    assert all_names(folder.parent) == [
        "pictures", "pictures/a.svg", "pictures/b.svg", "pictures/inner", "pictures/inner/c.svg",
    ]  # fmt: skip
    assert {(folder / name).read_bytes() for name in ("a.svg", "b.svg", "inner/c.svg")} == {b"old"}


def test_write_folder_makes_a_folder_and_those_above(tmp_path: Path) -> None:
    write_folder(tmp_path / "data" / "pictures", {"a": b"\x00\r\n", "b": b""})
    assert contents(tmp_path / "data" / "pictures") == {"a": b"\x00\r\n", "b": b""}
    assert all_names(tmp_path) == ["data", "data/pictures", "data/pictures/a", "data/pictures/b"]


def test_write_folder_leaves_nothing_of_what_was_there(old: Path) -> None:
    write_folder(old, {"a.svg": b"new", "a.png": b"new"})
    assert contents(old) == {"a.svg": b"new", "a.png": b"new"}
    assert all_names(old.parent) == ["pictures", "pictures/a.png", "pictures/a.svg"]


def test_write_folder_of_nothing_is_an_empty_folder(old: Path) -> None:
    write_folder(old, {})
    assert all_names(old.parent) == ["pictures"]


def test_modes_of_a_folder_follow_the_umask(tmp_path: Path, umask: int) -> None:
    write_folder(tmp_path / "x", {"a": b"1"})
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o777 & ~umask
    assert stat.S_IMODE((tmp_path / "x" / "a").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("dangling", [False, True])
def test_link_to_a_folder_is_replaced_and_not_written_into(old: Path, dangling: bool) -> None:
    link = old.parent / "link"
    link.symlink_to(old.parent / "nowhere" if dangling else old)
    write_folder(link, {"a.svg": b"new"})
    assert not link.is_symlink()
    assert contents(link) == {"a.svg": b"new"}
    (link / "a.svg").unlink()
    link.rmdir()
    check_is_as_it_was(old)


def test_links_in_a_folder_are_replaced_and_not_written_through(old: Path) -> None:
    cache = old.parent / "object"
    cache.write_bytes(b"cached")
    for name in ("a.svg", "b.svg"):
        (old / name).unlink()
    (old / "a.svg").symlink_to(cache)
    (old / "b.svg").hardlink_to(cache)
    write_folder(old, {"a.svg": b"new", "b.svg": b"new"})
    assert contents(old) == {"a.svg": b"new", "b.svg": b"new"}
    assert cache.read_bytes() == b"cached"


def test_file_in_place_of_a_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a file")
    write_folder(tmp_path / "x", {"a": b"1"})
    assert contents(tmp_path / "x") == {"a": b"1"}


def test_file_that_cannot_be_written_leaves_the_old_folder(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if "b.svg" in path.name:
            write_bytes(path, data[:1])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_folder(old, {"a.svg": b"new", "b.svg": b"new"})
    monkeypatch.undo()
    check_is_as_it_was(old)


def test_file_of_a_folder_that_is_read_back_differently_is_refused(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda _: b"rotten")
    with pytest.raises(FileError, match="other bytes than were written"):
        write_folder(old, {"a.svg": b"new"})
    monkeypatch.undo()
    check_is_as_it_was(old)


@pytest.mark.parametrize("failure", [OSError(errno.EACCES, "Permission denied"), KeyboardInterrupt])
@pytest.mark.parametrize("nth", [1, 2])
def test_file_of_a_folder_that_cannot_be_renamed_leaves_all_that_was_there(
    old: Path, monkeypatch: pytest.MonkeyPatch, nth: int, failure: BaseException
) -> None:
    replace, renamed = Path.replace, []

    def refuse(path: Path, target: Path) -> Path:
        renamed.append(path)
        if len(renamed) == nth:
            raise failure
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises((OSError, KeyboardInterrupt)):
        write_folder(old, {"a.svg": b"new", "b.svg": b"new"})
    monkeypatch.undo()
    assert (old / "a.svg").read_bytes() == (b"old" if nth == 1 else b"new")
    (old / "a.svg").write_bytes(b"old")
    check_is_as_it_was(old)


def test_what_a_killed_run_left_in_a_folder_is_removed(old: Path) -> None:
    (old / LEFT).write_bytes(b"half")
    write_folder(old, {"a.svg": b"new"})
    assert all_names(old.parent) == ["pictures", "pictures/a.svg"]


def test_what_another_run_is_writing_into_a_folder_stays(old: Path) -> None:
    with replacing(old / "b.svg") as (temporary,):
        temporary.write_bytes(b"half")
        write_folder(old, {"a.svg": b"new"})
        assert contents(old) == {"a.svg": b"new", temporary.name: b"half"}
    assert contents(old) == {"a.svg": b"new", "b.svg": b"half"}


# ---- reading ---------------------------------------------------------------------------------


def test_bytes_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\x00\r\n")
    (tmp_path / "link").symlink_to("a")
    assert read_bytes(tmp_path / "a") == read_bytes(tmp_path / "link") == b"\x00\r\n"


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(FileError, match=r"found a folder or a device; expected a file"):
            read_bytes(path)


def test_what_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("nowhere", "link"):
        with pytest.raises(FileNotFoundError):
            read_bytes(tmp_path / name)
