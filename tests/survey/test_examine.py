import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

import project
import tokenizers_made
from core_tokens.clusters import find_cluster
from core_tokens.errors import CoreTokensError, FileError, TensorError
from core_tokens.measurements import measure
from core_tokens.params import Sources
from core_tokens.survey import examine as module
from core_tokens.survey import matrices, record
from core_tokens.survey.checkpoints import Checkpoint, expand
from core_tokens.survey.examine import (
    OtherVersionError,
    Outcome,
    Question,
    examine,
    explained,
)
from core_tokens.survey.snapshot import VERSION, snapshot
from core_tokens.survey.store import Store, StoreError
from core_tokens.tokenizer import tokens_of
from hub_client import Client
from hub_server import Hub, Status, sharded_checkpoint
from repository import small_matrix

TINY = project.tiny_matrix()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in a folder of its own, with a store in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def asked(here: Path) -> Question:
    return Question(0.002, str(here / "store"))


CLOCK = itertools.count(10**18)


def tick(name: str) -> None:
    """Have a file be written later than any other, though clocks of file systems are coarse."""
    now = next(CLOCK)
    os.utime(name, ns=(now, now))


def save(name: str, matrix: Any = TINY, tensor: str = "lm_head.weight") -> Checkpoint:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(safetensors.numpy.save({tensor: matrix}))
    tick(name)
    return Checkpoint(name, None, Path(name).absolute())


def save_h5(name: str, matrix: Any = TINY) -> Checkpoint:
    with h5py.File(name, "w") as file:
        file["W"] = matrix.view(np.uint16)
    tick(name)
    return Checkpoint(name, None, Path(name).absolute(), "W")


def kept(asked: Question, outcome: Outcome) -> record.Record:
    content = Store(asked.store).read(outcome.key)
    assert content is not None
    return record.from_bytes("kept", content)


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is to be found anew."""

    def snapshot(*_: Any) -> None:
        raise AssertionError("found again")

    monkeypatch.setattr(module, "snapshot", snapshot)


# ---- what is kept -----------------------------------------------------------------------------


def test_what_is_found_is_kept_under_the_key(asked: Question) -> None:
    outcome = examine(save("a/W.safetensors"), asked)
    assert (outcome.reused, outcome.error) == (False, "")
    assert len(outcome.key) == 64
    found = kept(asked, outcome)
    alone = measure(TINY, find_cluster(TINY, 0.002).token_ids)
    for name in record.ARRAYS:
        assert found.arrays[name].tobytes() == getattr(alone, name).tobytes()
    about = found.about
    assert about.figures == snapshot(TINY, 0.002).figures
    assert outcome.file == "W.safetensors"
    assert (about.commit, about.tensor) == ("", "lm_head.weight")
    assert (about.dtype, about.bytes) == ("BF16", TINY.nbytes)
    assert about.sha256 == hashlib.sha256(TINY.tobytes()).hexdigest()
    assert (about.vocabulary, about.tokens) == ("", [])
    assert about.seconds >= 0


def wide() -> NDArray[Any]:
    """float32[258, 4]: a cluster of 32, 33 and 257."""
    matrix = np.random.default_rng(0).standard_normal((258, 4)).astype(np.float32)
    matrix[[32, 33, 257]] = 0.5
    return matrix


def test_the_texts_of_the_tokens_of_the_cluster_are_kept(here: Path, asked: Question) -> None:
    checkpoint = save("W.safetensors", wide())
    tokenizer = tokenizers_made.byte_level("the")
    (here / "tokenizer.json").write_bytes(tokenizer)
    about = kept(asked, examine(checkpoint, asked)).about
    assert len(about.vocabulary) == 32
    assert [token.text for token in about.tokens] == ["A", "B", "the"]
    texts = tokens_of(tokenizer, 258, "here")
    assert about.tokens == [texts[token] for token in (32, 33, 257)]


def test_a_checkpoint_without_a_cluster_is_a_result(asked: Question) -> None:
    outcome = examine(save("W.safetensors", np.eye(3, dtype=np.float32)), asked)
    assert outcome.error == ""
    assert kept(asked, outcome).about.figures.cluster_tokens == 0


# ---- what is not done again -------------------------------------------------------------------


def test_what_is_in_the_store_is_not_found_again(
    asked: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = save("W.safetensors")
    first = examine(checkpoint, asked)
    forbid(monkeypatch)
    assert examine(checkpoint, asked) == first._replace(reused=True)


def test_the_same_bytes_elsewhere_are_the_same_result(
    asked: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = examine(save("a/W.safetensors"), asked)
    forbid(monkeypatch)
    second = examine(save("b/other.safetensors"), asked)
    assert (first.file, second.file) == ("W.safetensors", "other.safetensors")
    assert second == Outcome(first.key, "other.safetensors", reused=True)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda asked: (save("W.safetensors", TINY + TINY), asked), "other bytes"),
        (lambda asked: (save("W.safetensors", TINY, "embed_out.weight"), asked), "another name"),
        (lambda asked: (save("W.safetensors", TINY.view(np.float16)), asked), "another dtype"),
        (lambda asked: (save("W.safetensors", TINY.reshape(8, 6)), asked), "another shape"),
        (lambda asked: (save("W.safetensors"), Question(0.003, asked.store)), "threshold"),
    ],
)
def test_whatever_it_depends_on_makes_it_another_result(
    asked: Question, change: Any, why: str
) -> None:
    first = examine(save("W.safetensors"), asked)
    checkpoint, question = change(asked)
    second = examine(checkpoint, question)
    assert (second.reused, second.error) == (False, ""), why
    assert second.key != first.key


def test_another_tokenizer_makes_it_another_result(here: Path, asked: Question) -> None:
    checkpoint = save("W.safetensors", wide())
    keys = {examine(checkpoint, asked).key}
    for word in ("the", "two"):
        (here / "tokenizer.json").write_bytes(tokenizers_made.byte_level(word))
        keys.add(examine(checkpoint, asked).key)
    assert len(keys) == 3


def test_a_threshold_that_is_written_otherwise_is_the_same(asked: Question) -> None:
    checkpoint = save("W.safetensors")
    first = examine(checkpoint, Question(1, asked.store))
    assert examine(checkpoint, Question(1.0, asked.store)) == first._replace(reused=True)


def forbid_to_read(patch: pytest.MonkeyPatch) -> None:
    def read(*_: Any) -> None:
        raise AssertionError("read again")

    patch.setattr(matrices, "_mapped", read)
    patch.setattr(matrices, "_from_hdf5", read)


@pytest.mark.parametrize("made", [save, save_h5])
def test_a_file_that_was_seen_before_is_not_read_again(
    asked: Question, monkeypatch: pytest.MonkeyPatch, made: Any
) -> None:
    checkpoint = made("W")
    first = examine(checkpoint, asked)
    forbid_to_read(monkeypatch)
    assert examine(checkpoint, asked) == first._replace(reused=True)
    with pytest.raises(AssertionError, match="read again"):  # of which nothing is known
        examine(checkpoint, Question(0.003, asked.store))


@pytest.mark.parametrize("made", [save, save_h5])
def test_a_file_that_was_written_again_is_read_once_more_and_is_known_then(
    asked: Question, monkeypatch: pytest.MonkeyPatch, made: Any
) -> None:
    first = examine(made("W"), asked)
    checkpoint = made("W")
    with monkeypatch.context() as patch:
        forbid_to_read(patch)
        with pytest.raises(AssertionError, match="read again"):
            examine(checkpoint, asked)
    forbid(monkeypatch)
    assert examine(checkpoint, asked) == first._replace(reused=True)
    forbid_to_read(monkeypatch)
    assert examine(checkpoint, asked) == first._replace(reused=True)


def test_an_alias_of_a_result_that_is_gone_or_of_none_is_no_alias(asked: Question) -> None:
    checkpoint = save("W.safetensors")
    first = examine(checkpoint, asked)
    (alias,) = Path("store").rglob("*.key")
    (result,) = Path("store").rglob("*.safetensors")
    assert (alias.read_text(), result.stem) == (first.key, first.key)
    result.unlink()
    assert examine(checkpoint, asked) == first
    for wrong in ("0" * 64, "", "no key", first.key[:-1]):
        alias.write_text(wrong)
        assert examine(checkpoint, asked) == first._replace(reused=True)
        assert alias.read_text() == first.key


REWRITTEN: dict[str, Any] = {
    "longer": lambda name, made: made(name, np.concatenate([TINY, TINY])),
    "of the same length": lambda name, made: made(name, TINY + TINY),
    "the same again": lambda name, made: made(name),
    "gone": lambda name, _: Path(name).unlink(),
    "with a tokenizer": lambda *_: Path("tokenizer.json").write_bytes(b"{}"),
}


def check_changed(
    caught: pytest.ExceptionInfo[FileError], how: str, checkpoint: Checkpoint
) -> None:
    assert not isinstance(caught.value, StoreError | TensorError)
    assert explained(checkpoint, caught.value) == (
        "W: found no such file or folder; expected a checkpoint, or a file of many"
        if how == "gone"
        else "W: found a file that changed; expected one that keeps still"
    )


@pytest.mark.parametrize("made", [save, save_h5])
@pytest.mark.parametrize("how", REWRITTEN)
def test_of_a_file_that_changes_while_it_is_read_nothing_is_kept(
    asked: Question, monkeypatch: pytest.MonkeyPatch, made: Any, how: str
) -> None:
    checkpoint = made("W")

    def rewritten(matrix: Any, threshold: float) -> Any:
        REWRITTEN[how]("W", made)
        return snapshot(matrix, threshold)

    with monkeypatch.context() as patch:
        patch.setattr(module, "snapshot", rewritten)
        with pytest.raises(FileError) as caught:
            examine(checkpoint, asked)
    check_changed(caught, how, checkpoint)
    assert [path for path in Path("store").rglob("*") if path.is_file()] == []
    if how != "gone":
        assert examine(checkpoint, asked).error == ""


@pytest.mark.parametrize("how", REWRITTEN)
def test_a_file_that_changes_while_it_is_read_is_not_known_by_what_it_was(
    asked: Question, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    examine(save("before"), asked)
    before = sorted(Path("store").rglob("*"))
    checkpoint = save("W")
    mapped = matrices._mapped

    def rewritten(path: Path, place: Any) -> Any:
        found = mapped(path, place)
        REWRITTEN[how]("W", save)
        return found

    monkeypatch.setattr(matrices, "_mapped", rewritten)
    with pytest.raises(FileError) as caught:
        examine(checkpoint, asked)
    if how != "with a tokenizer":  # which is another vocabulary, and so no result that is there
        check_changed(caught, how, checkpoint)
    assert sorted(Path("store").rglob("*")) == before


def test_what_is_wrong_is_not_known_by_its_file(asked: Question) -> None:
    checkpoint = save("W", np.ones((3, 3), np.int32))
    assert examine(checkpoint, asked).error
    assert list(Path("store").rglob("*.key")) == []


@pytest.mark.parametrize(
    "spoil",
    [lambda _: b"", lambda content: content[:-1], lambda content: content[:-1] + b"\xff"],
)
def test_a_result_that_is_not_whole_is_found_again(asked: Question, spoil: Any) -> None:
    checkpoint = save("W.safetensors")
    first = examine(checkpoint, asked)
    good = Store(asked.store).read(first.key)
    assert good is not None
    Store(asked.store).write(first.key, spoil(good))
    assert examine(checkpoint, asked) == first
    assert kept(asked, first).about.figures == snapshot(TINY, 0.002).figures


# ---- what is an outcome, and what is raised ---------------------------------------------------

WRONG: dict[str, Any] = {
    "no matrix": np.ones((2, 2, 2, 2), np.float32),
    "whole numbers": np.ones((3, 3), np.int32),
    "a row that bfloat16 cannot hold": np.full((3, 2), 3.4e38, np.float32),
}


@pytest.mark.parametrize("matrix", WRONG.values(), ids=WRONG)
def test_a_tensor_that_is_wrong_is_an_outcome_and_nothing_is_kept(
    here: Path, asked: Question, matrix: Any
) -> None:
    outcome = examine(save("runs/W.safetensors", matrix), asked)
    assert (outcome.key, outcome.reused) == ("", False)
    assert ": found " in outcome.error
    assert "; expected " in outcome.error
    assert outcome.error.isprintable()
    assert str(here) not in outcome.error
    assert list(Path("store").rglob("*.safetensors")) == []


def test_a_message_names_the_path_as_it_was_given(here: Path, asked: Question) -> None:
    checkpoint = save("runs/step5/W.safetensors", WRONG["whole numbers"])
    assert examine(checkpoint, asked).error.startswith("runs/step5/W.safetensors: ")
    absolute = Checkpoint(str(here / "runs/step5/W.safetensors"), None, checkpoint.source)
    assert examine(absolute, asked).error.startswith(f"{here}/runs/step5/W.safetensors: ")
    folder = Checkpoint("runs/step5", None, (here / "runs/step5"))
    assert examine(folder, asked).error.startswith("runs/step5")


def test_of_one_of_many_the_file_is_named_without_its_number(asked: Question) -> None:
    with h5py.File("run.h5", "w") as file:
        file["logs"] = np.zeros((2, 3, 4), np.int8)
    for checkpoint in expand(["run.h5"], "sources"):
        assert checkpoint.index is not None
        assert examine(checkpoint, asked).error.startswith("run.h5: logs: found int8[2, 3, 4]; ")


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_a_file_of_no_matrices_is_an_outcome(asked: Question, dtype: Any) -> None:
    none = np.zeros((0, 3, 4), dtype)
    with h5py.File("run.h5", "w") as file:
        file["logs"] = none
    save("run.safetensors", none.astype(np.float32), "logs")
    for name in ("run.h5", "run.safetensors"):
        (checkpoint,) = expand([name], "sources")
        outcome = examine(checkpoint, asked)
        assert outcome.error.startswith(f"{name}: logs: found "), outcome
        assert "[0, 3, 4]" in outcome.error


def test_of_several_of_one_path_the_path_is_named(asked: Question) -> None:
    save("W", np.ones((3, 3), np.int32), "a")
    for checkpoint in expand([Sources("W", tensor="a"), Sources("W", tensor="b")], "sources"):
        assert checkpoint.name in ("W#a", "W#b")
        assert examine(checkpoint, asked).error.startswith("W: ")


def test_what_is_not_there_may_come_and_is_raised(asked: Question) -> None:
    checkpoint = Checkpoint("runs/step5", None, Path("runs/step5").absolute())
    with pytest.raises(FileError) as caught:
        examine(checkpoint, asked)
    assert explained(checkpoint, caught.value) == (
        "runs/step5: found no such file or folder; expected a checkpoint, or a file of many"
    )


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n"])
def test_a_file_that_is_not_whole_may_become_so_and_is_raised(
    asked: Question, content: bytes
) -> None:
    Path("W").write_bytes(content)
    with pytest.raises(CoreTokensError) as caught:
        examine(Checkpoint("W", None, Path("W").absolute()), asked)
    assert not isinstance(caught.value, TensorError | StoreError)


def test_a_store_that_cannot_be_written_is_raised(here: Path) -> None:
    (here / "store").write_text("a file")
    with pytest.raises(StoreError):
        examine(save("W.safetensors"), Question(0.002, str(here / "store")))


def test_what_the_system_refuses_is_raised(
    asked: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = save("W.safetensors")

    def refuse(_: Checkpoint) -> None:
        raise PermissionError(13, "Permission denied", str(checkpoint.source))

    monkeypatch.setattr(matrices, "find", refuse)
    with pytest.raises(PermissionError) as caught:
        examine(checkpoint, asked)
    assert explained(checkpoint, caught.value) == "W.safetensors: Permission denied"


@pytest.mark.parametrize("version", [VERSION + 1, VERSION - 1])
def test_a_worker_of_another_version_finds_nothing(asked: Question, version: int) -> None:
    with pytest.raises(OtherVersionError, match=rf"^a worker: found version {VERSION} of surveys"):
        examine(save("W.safetensors"), Question(0.002, asked.store, version))
    assert not Path("store").exists()


# ---- errors as one line -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileError("/abs/a/W", "nothing", "something"), "a/W: found nothing; expected something"),
        (OSError(5, "Input/output error", "/abs/a/W"), "a/W: Input/output error"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("odd"), "OSError: odd"),
        (MemoryError(), "MemoryError"),
        (ValueError("two\nlines\x1b"), r"ValueError: two lines\x1b"),
        (KeyError("/abs/a/W/x"), "KeyError: 'a/W/x'"),
    ],
)
def test_every_error_is_one_line_that_names_the_path_as_given(
    error: BaseException, text: str
) -> None:
    assert explained(Checkpoint("a/W", None, Path("/abs/a/W")), error) == text
    assert explained(Checkpoint("a/W[3]", None, Path("/abs/a/W"), "x", index=3), error) == text


# ---- the hub ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("files") / "model"
    files = sharded_checkpoint(folder, [{"lm_head.weight": small_matrix()}])
    with Hub({"org/model": dict(files)}) as running:
        yield running


@pytest.fixture(scope="module")
def client(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with Client(hub.environment(tmp_path_factory.mktemp("home"))) as asking:
        yield asking


def outcome_of(client: Client, store: Path) -> Any:
    (found,) = client.ask(
        "[module := lambda name: __import__('core_tokens.survey.' + name, fromlist=['x']),"
        " source := sources.Model('org/model', None),"
        " one := module('checkpoints').Checkpoint('hf://org/model', None, source),"
        " ask := module('examine'),"
        f" list(ask.examine(one, ask.Question(0.5, {str(store)!r})))][-1]"
    )
    return found


def test_a_commit_that_was_examined_is_not_streamed_again(
    hub: Hub, client: Client, tmp_path: Path
) -> None:
    hub.faults.clear()
    key, *rest = outcome_of(client, tmp_path / "store")
    assert rest == ["model-00001-of-00001.safetensors", False, ""]
    content = Store(str(tmp_path / "store")).read(key)
    assert content is not None
    about = record.from_bytes("kept", content).about
    assert about.commit == hub.commit("org/model")
    assert about.sha256 == hashlib.sha256(small_matrix().tobytes()).hexdigest()
    assert about.figures.cluster_tokens == 20
    hub.reset()
    assert outcome_of(client, tmp_path / "store") == [key, rest[0], True, ""]
    assert len([each for each in hub.log if each.file.endswith(".safetensors")]) <= 2


def test_a_hub_that_fails_is_raised(hub: Hub, client: Client, tmp_path: Path) -> None:
    hub.faults.clear()
    hub.faults.add("/api/models/*", Status(503), times=None)
    found = outcome_of(client, tmp_path / "store")
    hub.faults.clear()
    assert found.startswith("FileError: hf://org/model: found status 503")
