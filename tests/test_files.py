import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from core_tokens.errors import FileError
from core_tokens.files import replacing, write_all


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
        if path.name == ".b.tmp":
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


def test_temporary_link_of_a_killed_run_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(b"old")
    (tmp_path / ".a.tmp").symlink_to(tmp_path / "object")
    write_all({tmp_path / "a": b"new"})
    assert (tmp_path / "object").read_bytes() == b"old"
    assert names(tmp_path) == ["a", "object"]


def test_temporary_file_of_a_killed_run_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".a.tmp").write_bytes(b"a longer rest of another run")
    write_all({tmp_path / "a": b"new"})
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


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
