import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

import tokenizers_made as made
from core_tokens import replica, sources, tensors
from core_tokens.checkpoint import Place, locate
from core_tokens.errors import CoreTokensError, FileError
from core_tokens.folder import Folder
from core_tokens.hub import Hub
from core_tokens.sources import Model, Replica
from core_tokens.tokenizer import tokens_of

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, beside one that is home."""
    for name in ("here", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


# ---- what a source says ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "repo", "revision", "pinned"),
    [
        ("hf://org/model", "org/model", None, False),
        ("hf://Org-1/My.Model_2-it", "Org-1/My.Model_2-it", None, False),
        ("hf://org/model@main", "org/model", "main", False),
        ("hf://org/model@v1.0", "org/model", "v1.0", False),
        ("hf://org/model@refs/pr/1", "org/model", "refs/pr/1", False),
        ("hf://org/model@a/b", "org/model", "a/b", False),
        (f"hf://org/model@{COMMIT}", "org/model", COMMIT, True),
        (f"hf://org/model@{COMMIT[:-1]}", "org/model", COMMIT[:-1], False),
        (f"hf://org/model@{COMMIT}0", "org/model", f"{COMMIT}0", False),
        (f"hf://org/model@{COMMIT.upper()}", "org/model", COMMIT.upper(), False),
        (f"hf://org/model@{COMMIT[:7]}", "org/model", COMMIT[:7], False),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_model_on_the_hub_is_its_name_and_its_revision(
    text: str, repo: str, revision: str | None, pinned: bool
) -> None:
    found = sources.parse(text, "here")
    assert found == Model(repo, revision)
    assert isinstance(found, Model)
    assert found.pinned is pinned
    assert str(found) == text


words = st.text("abcXYZ019_.-", min_size=1, max_size=12)


@given(words, words, st.none() | st.text("abc019/_.-", min_size=1, max_size=20))
def test_a_model_reads_back_as_it_is_written(org: str, name: str, revision: str | None) -> None:
    model = Model(f"{org}/{name}", revision)
    assert sources.parse(str(model), "") == model


@pytest.mark.parametrize("name", replica.REPLICAS)
@pytest.mark.usefixtures("here")
def test_a_replica_is_known_by_its_name(name: str) -> None:
    found = sources.parse(f"replica:{name}", "")
    assert found == Replica(name)
    assert str(found) == f"replica:{name}"


@pytest.mark.parametrize(
    "name",
    [
        "W.safetensors", "model", "a b", "größe", "$(x); #", "-x", "a:b", "a@b", "org/model",
        "hf", "hf-models", "hf.safetensors", "hf/model", "replica", "replica-1", "replica/model",
        "replica.safetensors", "https", "models.v1",
    ],
)  # fmt: skip
def test_a_path_is_whatever_is_there(here: Path, name: str) -> None:
    (here / name).mkdir(parents=True)
    assert sources.parse(name, "") == Path(name)
    assert sources.parse(f"./{name}", "") == Path(name)
    assert sources.parse(f"../here/{name}", "") == Path("../here", name)
    assert sources.parse(str(here / name), "") == here / name


def test_a_path_may_begin_at_home(here: Path) -> None:
    home = here.parent / "home"
    (home / "models").mkdir()
    assert sources.parse("~/models", "") == home / "models"
    assert sources.parse("~", "") == home


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "hf:", "hf:/", "hf://", "hf://model", "hf://org/", "hf:///model", "hf:org/model",
        "hf:/org/model", "hf://org/model/file.safetensors", "hf://org/model@", "hf://org/model@a@b",
        "hf://org/model@a b", "hf://org/model ", "hf://org/model\n", "hf://org/mödel",
        "hf://org/model?x", "HF://org/model", "replica:", "replica:unknown", "replica: x",
        "Replica:qwen2-5-3b-instruct", "https://example.org/org/model", "s3://bucket/key",
        "file:///tmp", "nowhere", "./nowhere", "/nowhere/W.safetensors", "~/nowhere",
        "~no-such-user/x", "org/model", "a\x00b", "~\x00", "~a\x00/b",
    ],
)  # fmt: skip
@pytest.mark.usefixtures("here")
def test_what_is_no_source_is_refused_with_the_forms_of_one(text: str) -> None:
    with pytest.raises(CoreTokensError) as caught:
        sources.parse(text, "params.yaml: fetch.x.source")
    message = str(caught.value)
    assert message.startswith("params.yaml: fetch.x.source: found ")
    assert "; expected hf://org/model, replica:qwen" in message
    assert message.endswith(", or the path of a safetensors file or a model's folder")
    assert repr(text) in message or len(text.split()) != 1


def test_a_link_that_leads_nowhere_is_refused(here: Path) -> None:
    (here / "link").symlink_to("nowhere")
    with pytest.raises(CoreTokensError, match="'link', no such file or folder"):
        sources.parse("link", "")


# ---- what is behind it -----------------------------------------------------------------------


def test_a_commit_is_pinned_already_and_nobody_is_asked() -> None:
    model = Model("org/model", COMMIT)
    assert sources.pinned(model) is model


def test_the_files_behind_a_source(here: Path) -> None:
    assert isinstance(sources.files_of(here), Folder)
    found = sources.files_of(Model("org/model", COMMIT))
    assert found == Hub("org/model", COMMIT)
    assert found.at("x.json") == f"hf://org/model@{COMMIT}/x.json"
    assert found.file == ""


# ---- the matrix ------------------------------------------------------------------------------

DTYPES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


def test_all_dtypes_are_tested() -> None:
    assert list(DTYPES) == list(tensors.FLOATS)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("key", ["lm_head.weight", "größe 模 \"'\\", "x" * 300])
def test_a_matrix_is_copied_into_the_file_that_the_library_would_write(
    tmp_path: Path, name: str, key: str
) -> None:
    size = torch.empty(0, dtype=DTYPES[name]).element_size()
    content = np.random.default_rng(0).integers(0, 256, (70, 30 * size), np.uint8)
    matrix = torch.from_numpy(content).view(DTYPES[name])  # every bit pattern, NaN included
    assert matrix.shape == (70, 30)
    arrays = {"before": torch.ones(3), key: matrix, "zz": torch.ones(2)}
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors.torch.save(arrays))
    files, target = Folder(path), tmp_path / "W.safetensors"
    digest = sources.copy_matrix(files, locate(files, key), target)
    assert target.read_bytes() == safetensors.torch.save({"W": matrix}, {"tensor": key})
    assert digest == hashlib.sha256(content.tobytes()).hexdigest()


class Pieces:
    """Files that come in given pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces, self.file = pieces, ""

    def chunks(self, name: str, start: int, length: int) -> Any:
        assert (name, start, length) == ("f", 7, 24)
        yield from self.pieces


@given(st.binary(min_size=24, max_size=24), st.lists(st.integers(0, 24), max_size=6))
def test_the_pieces_in_which_it_comes_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, cuts: list[int]
) -> None:
    ends = [0, *sorted(cuts), 24]
    pieces = [content[a:b] for a, b in pairwise(ends)]
    target = tmp_path_factory.getbasetemp() / "pieces.safetensors"
    place = Place("f", "w", tensors.Entry("F32", (3, 2), 7))
    files: Any = Pieces(pieces)
    assert sources.copy_matrix(files, place, target) == hashlib.sha256(content).hexdigest()
    assert target.read_bytes().endswith(content)
    assert tensors.entries(target)["W"].shape == (3, 2)


# ---- the tokens ------------------------------------------------------------------------------


def test_without_a_tokenizer_nothing_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sources.vocabulary_of(Folder(tmp_path), 10) == []
    assert capsys.readouterr() == ("", "")


def test_each_row_gets_its_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = made.byte_level("hello")
    (tmp_path / "tokenizer.json").write_bytes(content)
    (tmp_path / "model.safetensors").write_bytes(b"")
    for source in (tmp_path, tmp_path / "model.safetensors"):
        for rows in (1, 258, 400):
            found = sources.vocabulary_of(Folder(source), rows)
            assert found == tokens_of(content, rows, "")
            assert len(found) == rows
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"{}", b"null", b"\xff", b"version https://git-lfs.github.com/spec/v1\n",
        b'{"model": {"type": "BPE", "vocab": {"\\n": 0}, "merges": []}', made.byte_level()[:-1],
    ],
    ids=lambda content: repr(content[:15]),
)  # fmt: skip
def test_a_tokenizer_that_cannot_be_read_is_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    assert sources.vocabulary_of(Folder(tmp_path), 10) == []
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"note: {path}: found no readable tokenizer (")
    assert err.endswith("; the tokens' text stays unknown\n")
    assert err.count("\n") == 1


class Broken:
    """Files of which the tokenizer does not arrive."""

    file = ""

    def names(self) -> list[str]:
        return ["tokenizer.json"]

    def at(self, name: str) -> str:
        return f"there/{name}"

    def read(self, name: str) -> bytes:
        raise FileError(self.at(name), "status 503", "a hub in order: later")


def test_a_tokenizer_that_does_not_arrive_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Another try would bring it: what the network does is no property of a model."""
    files: Any = Broken()
    with pytest.raises(FileError, match="status 503"):
        sources.vocabulary_of(files, 10)
    assert capsys.readouterr() == ("", "")
