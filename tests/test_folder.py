from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from core_tokens.checkpoint import LARGEST_SMALL_FILE
from core_tokens.errors import FileError
from core_tokens.folder import CHUNK_BYTES, Folder

BYTES = np.random.default_rng(0).bytes(2 * CHUNK_BYTES + 5)
SINGLE = safetensors.numpy.save({"w": np.ones((2, 2), np.float32)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files, one of them hidden, and a folder below."""
    made = tmp_path_factory.mktemp("folder")
    for name in ("model.safetensors", "other.safetensors"):
        (made / name).write_bytes(SINGLE)
    for name in ("tokenizer.json", "config.json", "README.md", ".hidden"):
        (made / name).write_bytes(b"{}")
    (made / "large").write_bytes(BYTES)
    (made / "below").mkdir()
    (made / "below" / "model.safetensors").write_bytes(SINGLE)
    (made / "link").symlink_to("README.md")
    return made


def test_a_folder_has_its_files(folder: Path) -> None:
    files = Folder(folder)
    assert files.names() == [
        ".hidden", "README.md", "config.json", "large", "link", "model.safetensors",
        "other.safetensors", "tokenizer.json",
    ]  # fmt: skip
    assert files.file == ""
    assert files.at("") == str(folder)
    assert files.at("x.json") == str(folder / "x.json")


def test_a_file_has_what_belongs_to_it_beside_it(folder: Path) -> None:
    files = Folder(folder / "other.safetensors")
    assert files.names() == ["other.safetensors", "config.json", "tokenizer.json"]
    assert files.file == "other.safetensors"
    assert files.at("") == str(folder / "other.safetensors")
    assert files.at("config.json") == str(folder / "config.json")
    alone = Folder(folder / "below" / "model.safetensors")
    assert alone.names() == ["model.safetensors"]


def test_a_file_is_read_as_a_whole(folder: Path) -> None:
    assert Folder(folder).read("config.json") == b"{}"
    assert Folder(folder / "other.safetensors").read("tokenizer.json") == b"{}"
    assert Folder(folder).header("model.safetensors").entries["w"].shape == (2, 2)


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(FileError, match=r"no\.safetensors: found no such file"):
        Folder(folder).header("no.safetensors")
    for read in (Folder(folder).read, lambda name: next(Folder(folder).chunks(name, 0, 1))):
        with pytest.raises(OSError, match=r"folder\d*/no"):
            read("no")


@pytest.mark.parametrize("source", [".", "large"])
@pytest.mark.parametrize(
    ("start", "length"),
    [
        (0, 0),
        (0, 1),
        (0, CHUNK_BYTES - 1),
        (0, CHUNK_BYTES),
        (0, CHUNK_BYTES + 1),
        (0, 2 * CHUNK_BYTES),
        (5, 2 * CHUNK_BYTES),
        (0, 2 * CHUNK_BYTES + 5),
        (2 * CHUNK_BYTES + 4, 1),
        (2 * CHUNK_BYTES + 5, 0),
    ],
)
def test_a_range_arrives_in_pieces_of_a_fixed_size(
    folder: Path, source: str, start: int, length: int
) -> None:
    chunks = list(Folder(folder / source).chunks("large", start, length))
    assert b"".join(chunks) == BYTES[start : start + length]
    assert {len(chunk) for chunk in chunks[:-1]} <= {CHUNK_BYTES}
    assert b"" not in chunks


@given(st.integers(0, len(BYTES)), st.integers(0, len(BYTES)))
def test_any_range_is_what_stands_there(folder: Path, one: int, other: int) -> None:
    start, end = sorted((one, other))
    assert b"".join(Folder(folder).chunks("large", start, end - start)) == BYTES[start:end]


@pytest.mark.parametrize("start", [len(BYTES) - 10, len(BYTES), len(BYTES) + 10])
def test_a_range_beyond_the_end_is_refused(folder: Path, start: int) -> None:
    with pytest.raises(FileError, match="large: found an end before the last row"):
        list(Folder(folder).chunks("large", start, 11))


@pytest.mark.parametrize("left", [0, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path, left: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(BYTES)
    chunks = Folder(path).chunks(path.name, 0, len(BYTES))
    received = [next(chunks)]
    with path.open("r+b") as file:
        file.truncate(left)
    with pytest.raises(FileError) as caught:
        received.extend(chunks)
    assert str(caught.value) == (
        f"{path}: found an end before the last row; expected a file that keeps still"
    )
    assert BYTES.startswith(b"".join(received))


def test_a_file_that_grows_while_it_is_read_gives_what_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(BYTES)
    chunks = Folder(path).chunks(path.name, 0, len(BYTES))
    received = next(chunks)
    with path.open("ab") as file:
        file.write(b"more")
    assert received + b"".join(chunks) == BYTES


def test_a_file_too_large_to_be_read_whole_is_not_begun(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(LARGEST_SMALL_FILE + 1)  # a hole, which takes no place on the disk
    with pytest.raises(FileError, match=r"config\.json: found 268,435,457 bytes; expected at most"):
        Folder(tmp_path).read("config.json")
