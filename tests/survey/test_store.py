import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import fsspec
import hypothesis.strategies as st
import pytest
from hypothesis import given

from core_tokens.errors import FileError
from core_tokens.survey import store
from core_tokens.survey.store import Store, StoreError, address, key_of

KEY = "ab" + "0" * 62
OTHER = "cd" + "1" * 62


@pytest.fixture(params=["folder", "file URL", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store of each kind."""
    return {
        "folder": str(tmp_path / "a store"),
        "file URL": f"file://{tmp_path}/store",
        "memory": f"memory://{tmp_path.name}/store",
    }[request.param]


def left_at(url: str) -> list[str]:
    """Every file of a store, without the folders above."""
    files, root = fsspec.core.url_to_fs(url)
    return sorted(path.removeprefix(root) for path in files.find(root))


# ---- keys -------------------------------------------------------------------------------------


def test_a_key_is_a_sha256_of_all_that_it_depends_on() -> None:
    assert key_of("a", 1.5, 2) == sha256(b"a\x001.5\x002").hexdigest()


def test_names_that_are_no_utf_8_have_keys_of_their_own() -> None:
    names = ["W\udcff", r"W\udcff", "W\udcfe", "W", "W\xff"]
    assert len({key_of(name) for name in names}) == len(names)


@given(
    *[
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=4
        )
    ]
    * 2
)
def test_keys_are_equal_where_all_parts_are(one: list[str], other: list[str]) -> None:
    assert (key_of(*one) == key_of(*other)) == (one == other)


# ---- addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [None, ""])
def test_the_default_lies_below_the_project(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert address(text, "here") == str(tmp_path / ".core-tokens/results")


@pytest.mark.parametrize(
    ("text", "path"),
    [("kept", "kept"), ("./kept", "kept"), ("a/b c", "a/b c"), ("größe", "größe"), (".", "")],
)
def test_a_relative_path_is_one_of_the_folder_in_which_it_is_said(
    text: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Path(address(text, "here")) == tmp_path / path
    assert Path(address(text, "here")).is_absolute()


def test_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert address("~/kept", "here") == str(tmp_path / "kept")


def test_a_tilde_of_nobody_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert address("~nobody-here/kept", "here") == str(tmp_path / "~nobody-here/kept")


@pytest.mark.parametrize(
    "text", ["/absolute/path", "s3://bucket/a", "memory://a", "ssh://user@host/a", "file:///a"]
)
def test_what_every_process_understands_stays_as_it_is(text: str) -> None:
    assert address(text, "here") == text


@pytest.mark.parametrize(
    "text",
    ["ssh://me:secret@host/a", "https://:secret@host", "sftp://me:secret@host:22/a",
     "ftp://a%40b:secret@host/x", "s3://key:secret@bucket/a", "ssh://me:sec@secret@host/a"],
)  # fmt: skip
def test_a_password_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(FileError, match=r"^the key: found .*with a password; expected ") as caught:
        address(text, "the key")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["http://[::1/a", "ssh://[/"])
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(FileError, match=r"^the key: found .*no URL .*; expected a folder"):
        address(text, "the key")


# ---- what is kept -----------------------------------------------------------------------------


def test_what_is_kept_is_read_and_what_is_not_is_none(url: str) -> None:
    Store(url).check()
    assert Store(url).read(KEY) is None
    Store(url).write(KEY, b"one")
    Store(url).write(OTHER, b"")
    assert (Store(url).read(KEY), Store(url).read(OTHER)) == (b"one", b"")
    Store(url).write(KEY, b"another, longer")
    assert Store(url).read(KEY) == b"another, longer"
    assert left_at(url) == [f"/ab/{KEY}.safetensors", f"/cd/{OTHER}.safetensors"]


def test_a_store_that_was_never_checked_takes_a_result_too(url: str) -> None:
    assert Store(url).read(KEY) is None
    Store(url).write(KEY, b"one")
    assert Store(url).read(KEY) == b"one"


def test_what_others_write_is_seen_by_a_store_that_looked_before(url: str) -> None:
    mine, theirs = Store(url), Store(url)
    assert mine.read(KEY) is None
    theirs.write(KEY, b"theirs")
    assert mine.read(KEY) == b"theirs"


def test_a_check_leaves_nothing(url: str) -> None:
    Store(url).check()
    assert left_at(url) == []


def test_two_writers_of_one_key_never_leave_half_of_either(url: str) -> None:
    contents = [bytes([letter]) * 100_000 for letter in b"ab"]
    wrong: list[bytes | None] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            found = Store(url).read(KEY)
            if found not in (None, *contents):
                wrong.append(found)

    def write(content: bytes) -> None:
        for _ in range(15):
            Store(url).write(KEY, content)

    with ThreadPoolExecutor(3) as threads:
        reading = threads.submit(read)
        try:
            list(threads.map(write, contents))
        finally:
            done.set()
        reading.result()
    assert wrong == []
    assert Store(url).read(KEY) in contents
    assert left_at(url) == [f"/ab/{KEY}.safetensors"]


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Store(url)
    kept.write(KEY, b"before")
    monkeypatch.setattr(kept._files, "mv", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(StoreError, match=r"found a store that cannot be written \(full\)"):
        kept.write(KEY, b"after")
    monkeypatch.undo()
    assert kept.read(KEY) == b"before"
    assert left_at(url) == [f"/ab/{KEY}.safetensors"]


def test_an_interrupted_write_leaves_nothing_and_stays_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Store(str(tmp_path))

    def interrupted(path: str, _: bytes) -> None:
        Path(path).write_bytes(b"ha")
        raise KeyboardInterrupt

    monkeypatch.setattr(kept._files, "pipe_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kept.write(KEY, b"half")
    assert left_at(str(tmp_path)) == []


# ---- aliases ----------------------------------------------------------------------------------


def test_a_key_is_found_by_its_alias_and_what_has_none_is_none(url: str) -> None:
    assert Store(url).alias(KEY) is None
    Store(url).set_alias(KEY, OTHER)
    assert Store(url).alias(KEY) == OTHER
    assert Store(url).alias(OTHER) is None
    assert Store(url).read(KEY) is None
    assert left_at(url) == [f"/ab/{KEY}.key"]
    Store(url).write(KEY, b"one")
    Store(url).set_alias(KEY, KEY)
    assert (Store(url).read(KEY), Store(url).alias(KEY)) == (b"one", KEY)


def test_an_empty_name_is_no_alias(url: str) -> None:
    Store(url).check()
    Store(url).set_alias("", KEY)
    assert Store(url).alias("") is None
    assert left_at(url) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 64, KEY[:-1].encode(), KEY.encode() + b"\n", KEY.upper().encode(), b"../x",
     KEY.encode() * 2, b"g" * 64],
    ids=str,
)  # fmt: skip
def test_what_is_no_key_is_no_alias(tmp_path: Path, content: bytes) -> None:
    Store(str(tmp_path)).set_alias(KEY, OTHER)
    (tmp_path / "ab" / f"{KEY}.key").write_bytes(content)
    assert Store(str(tmp_path)).alias(KEY) is None


def test_an_alias_that_cannot_be_read_or_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ab" / f"{KEY}.key").mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be read"):
        Store(str(tmp_path)).alias(KEY)
    kept = Store(str(tmp_path))
    monkeypatch.setattr(kept._files, "mv", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(StoreError, match=r"cannot be written \(full\)"):
        kept.set_alias(OTHER, KEY)
    assert left_at(str(tmp_path)) == []


# ---- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["nosuchkind://a/b", "no-such://", "xy://a"])
def test_a_url_of_an_unknown_kind_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match=r"; expected a folder, or a URL of a kind that fsspec"):
        Store(url)


def test_a_kind_whose_library_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("smbprotocol", "smbclient", "fsspec.implementations.smb"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(StoreError, match=r"^smb://host/share: found .*; expected a folder, or"):
        Store("smb://host/share")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file of the user's")
    url = str(tmp_path / "store")
    with pytest.raises(StoreError, match=r"found a store that cannot be written \(.+\); expected"):
        Store(url).check()
    with pytest.raises(StoreError, match="cannot be written"):
        Store(url).write(KEY, b"one")
    assert (tmp_path / "store").read_text() == "a file of the user's"


def test_a_folder_in_place_of_a_result_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ab" / f"{KEY}.safetensors").mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be read"):
        Store(str(tmp_path)).read(KEY)


def test_a_folder_that_may_not_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Store(str(tmp_path / "store"))

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied", "somewhere")

    monkeypatch.setattr(kept._files, "pipe_file", refuse)
    for attempt in (kept.check, lambda: kept.write(KEY, b"one")):
        with pytest.raises(StoreError, match=r"cannot be written \(Permission denied\)"):
            attempt()


def test_a_store_that_keeps_other_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Store("memory://forgetful")
    monkeypatch.setattr(kept._files, "cat_file", lambda _: b"something else")
    with pytest.raises(StoreError, match=r"^memory://forgetful: found other bytes"):
        kept.check()


@pytest.mark.parametrize(
    "error", [RuntimeError("a library's\nown"), KeyError("x"), TimeoutError(), ValueError("")]
)
def test_an_error_of_whatever_library_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Store("memory://failing")

    def fail(*_: Any) -> bytes:
        raise error

    monkeypatch.setattr(kept._files, "cat_file", fail)
    with pytest.raises(StoreError, match=r"^memory://failing: found .*\(.+\)") as caught:
        kept.read(KEY)
    assert str(caught.value).isprintable()


def test_an_error_of_a_store_is_one_of_a_file() -> None:
    assert issubclass(StoreError, FileError)
    assert Path(".core-tokens/results") == store.DEFAULT
