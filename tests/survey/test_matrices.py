import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

import tokenizers_made
from core_tokens import replica, sources
from core_tokens.errors import CoreTokensError, FileError, TensorError
from core_tokens.survey import matrices
from core_tokens.survey.checkpoints import Checkpoint, expand
from core_tokens.survey.matrices import UNKNOWN, Found
from core_tokens.tokenizer import tokens_of
from hub_client import Client
from hub_server import Break, Filler, Hub, sharded_checkpoint
from strategies import BFLOAT16

HEAD = np.random.default_rng(0).standard_normal((5000, 8)).astype(np.float32)
TOKENIZER = tokenizers_made.byte_level("the", " quick")
DTYPES = {"BF16": BFLOAT16, "F16": np.dtype(np.float16), "F32": np.dtype(np.float32),
          "F64": np.dtype(np.float64)}  # fmt: skip


def at(path: Path, **more: Any) -> Checkpoint:
    return Checkpoint(str(path), None, path.absolute(), **more)


def check(found: Found, expected: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The very bytes, their sha256, and the dtype by both its names."""
    matrix, name, sha256 = found.load()
    assert name == dtype
    assert (matrix.dtype, matrix.shape) == (expected.dtype, expected.shape)
    assert matrix.tobytes() == expected.tobytes()
    assert sha256 == hashlib.sha256(expected.tobytes()).hexdigest()
    return matrix


# ---- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_file_is_mapped_and_gives_exactly_its_bytes(tmp_path: Path, dtype: str) -> None:
    matrix = HEAD.astype(DTYPES[dtype])
    content = safetensors.numpy.save({"lm_head.weight": matrix, "norm": np.ones(3, np.int8)})
    (tmp_path / "W.safetensors").write_bytes(content)
    found = matrices.find(at(tmp_path / "W.safetensors"))
    assert found[:4] == ("", "W.safetensors", "lm_head.weight", ())
    mapped = check(found, matrix, dtype)
    assert not mapped.flags["OWNDATA"]
    assert not mapped.flags["WRITEABLE"]
    assert type(mapped) is np.ndarray


def test_a_matrix_is_mapped_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "W.safetensors"
    path.write_bytes(safetensors.numpy.save({"W": HEAD}))
    matrix, _, _ = matrices.find(at(path)).load()
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(np.float32(7).tobytes())
    assert matrix[-1, -1] == 7


def test_a_folder_of_shards_is_its_unembedding_or_what_was_asked_for(tmp_path: Path) -> None:
    shards: list[dict[str, NDArray[Any] | Filler]] = [
        {"model.embed_tokens.weight": -HEAD, "norm": np.ones(3)},
        {"gap": Filler("U8", (33,)), "lm_head.weight": HEAD},
    ]
    sharded_checkpoint(tmp_path / "model", shards)
    found = matrices.find(at(tmp_path / "model"))
    assert found[1:3] == ("model-00002-of-00002.safetensors", "lm_head.weight")
    check(found, HEAD, "F32")
    check(matrices.find(at(tmp_path / "model", which="embedding")), -HEAD, "F32")
    named = at(tmp_path / "model", tensor="model.embed_tokens.weight")
    check(matrices.find(named), -HEAD, "F32")


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_of_many_in_a_file_is_its_own_bytes(tmp_path: Path, dtype: str) -> None:
    many = np.stack([HEAD, 2 * HEAD, -HEAD]).astype(DTYPES[dtype])
    path = tmp_path / "run.safetensors"
    path.write_bytes(safetensors.numpy.save({"logs": many, "steps": np.arange(3)}))
    checkpoints = expand([str(path)], "sources")
    assert len(checkpoints) == 3
    for nth, checkpoint in enumerate(checkpoints):
        found = matrices.find(checkpoint)
        assert found[:4] == ("", "run.safetensors", "logs", ())
        mapped = check(found, many[nth], dtype)
        assert not mapped.flags["OWNDATA"]


@pytest.mark.parametrize("index", [3, 10**6])
def test_a_number_that_is_not_there_is_refused(tmp_path: Path, index: int) -> None:
    path = tmp_path / "run.safetensors"
    path.write_bytes(safetensors.numpy.save({"logs": np.zeros((3, 4, 2), np.float32)}))
    with pytest.raises(TensorError, match=rf"logs: found F32\[3, 4, 2\]; .*number {index} among"):
        matrices.find(at(path, tensor="logs", index=index))


@pytest.mark.parametrize(
    "tensor", [np.zeros((3, 4, 2), np.int32), np.zeros((4, 2), "f4"), np.zeros((3, 0, 2), "f4")]
)
def test_what_is_no_list_of_matrices_of_floats_is_refused(
    tmp_path: Path, tensor: NDArray[Any]
) -> None:
    path = tmp_path / "run.safetensors"
    path.write_bytes(safetensors.numpy.save({"logs": tensor}))
    with pytest.raises(TensorError, match=r"run\.safetensors: logs: found "):
        matrices.find(at(path, tensor="logs", index=0))


def test_hdf5_gives_exactly_its_bytes(tmp_path: Path) -> None:
    bits = HEAD.astype(BFLOAT16).view(np.uint16)
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["a/logs"] = np.stack([bits, bits ^ 1])
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file.create_dataset("W", data=HEAD, chunks=(7, 3), compression="gzip")
    for nth, checkpoint in enumerate(expand([str(tmp_path / "run.h5")], "sources")):
        found = matrices.find(checkpoint)
        assert found[:4] == ("", "run.h5", "a/logs", ())
        check(found, (bits ^ nth).view(BFLOAT16), "BF16")
    (checkpoint,) = expand([str(tmp_path / "one.h5")], "sources")
    check(matrices.find(checkpoint), HEAD, "F32")


@pytest.mark.parametrize("source", ["nothing", "nothing/W.safetensors"])
def test_what_is_not_there_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(FileError, match=r"found no such file or folder; expected a checkpoint"):
        matrices.find(at(tmp_path / source))


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x02}q\x00.", b"\x89HDF\r\n\x1a\n"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "W"
    path.write_bytes(content)
    with pytest.raises(CoreTokensError) as caught:
        matrices.find(at(path)).load()
    assert str(caught.value).startswith(str(path))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"found neither model\.safetensors nor "):
        matrices.find(at(tmp_path))


# ---- what changes with a file -----------------------------------------------------------------


def older(path: Path, nanoseconds: int) -> None:
    """Have a file be last written at another time."""
    before = path.stat().st_mtime_ns - nanoseconds
    os.utime(path, ns=(before, before))


CHANGES: dict[str, Any] = {
    "time": lambda folder: older(folder / "W", 1),
    "size": lambda folder: (folder / "W").write_bytes((folder / "W").read_bytes() + bytes(8)),
    "a tokenizer that was not there": lambda folder: (folder / "tokenizer.json").write_bytes(b"1"),
}
OF_TOKENIZER: dict[str, Any] = {
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "time of the tokenizer": lambda folder: older(folder / "tokenizer.json", 1),
    "size of the tokenizer": lambda folder: (folder / "tokenizer.json").write_bytes(b"longer"),
}


def write_one(path: Path, kind: str) -> None:
    if kind == "hdf5":
        with h5py.File(path, "w") as file:
            file["lm_head.weight"] = HEAD
    else:
        path.write_bytes(safetensors.numpy.save({"lm_head.weight": HEAD}))


@pytest.mark.parametrize("kind", ["safetensors", "hdf5"])
@pytest.mark.parametrize("change", [*CHANGES, *OF_TOKENIZER])
def test_a_stamp_stays_as_long_as_the_files_do(tmp_path: Path, kind: str, change: str) -> None:
    if change == "size" and kind == "safetensors":  # which may not have anything behind it
        change = "time"
    write_one(tmp_path / "W", kind)
    if change in OF_TOKENIZER:
        (tmp_path / "tokenizer.json").write_bytes(TOKENIZER)
    one = at(tmp_path / "W", tensor="lm_head.weight")
    stamp = matrices.find(one).stamp
    assert stamp
    assert all(isinstance(part, str) for part in stamp)
    (tmp_path / "another").write_text("file")
    assert matrices.find(one).stamp == stamp
    (CHANGES | OF_TOKENIZER)[change](tmp_path)
    assert matrices.find(one).stamp != stamp


def test_every_matrix_has_a_stamp_of_its_own(tmp_path: Path) -> None:
    stamps = []
    for name in ("a", "b"):
        many = {name: np.stack([HEAD, HEAD]) for name in ("one", "two")}
        (tmp_path / f"{name}.safetensors").write_bytes(safetensors.numpy.save(many))
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            for each, matrix in many.items():
                file[each] = matrix
        for kind in ("safetensors", "h5"):
            path = tmp_path / f"{name}.{kind}"
            for tensor in ("one", "two"):
                stamps += [
                    matrices.find(at(path, tensor=tensor, index=index)).stamp for index in (0, 1)
                ]
    assert len(set(stamps)) == len(stamps) == 16


def test_names_that_are_no_utf_8_are_stamped_as_they_are(tmp_path: Path) -> None:
    names = [b"W\xff", b"W\xfe", rb"W\udcff"]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in names:
            file[name] = HEAD
    stamps = {
        matrices.find(at(tmp_path / "a.h5", tensor=os.fsdecode(name))).stamp for name in names
    }
    assert len(stamps) == 3


def test_of_a_folder_of_shards_the_one_that_is_read_is_stamped(tmp_path: Path) -> None:
    shards: list[dict[str, NDArray[Any] | Filler]] = [
        {"model.embed_tokens.weight": -HEAD}, {"lm_head.weight": HEAD},
    ]  # fmt: skip
    sharded_checkpoint(tmp_path / "model", shards)
    stamp = matrices.find(at(tmp_path / "model")).stamp
    older(tmp_path / "model/model-00001-of-00002.safetensors", 1)
    assert matrices.find(at(tmp_path / "model")).stamp == stamp
    older(tmp_path / "model/model-00002-of-00002.safetensors", 1)
    assert matrices.find(at(tmp_path / "model")).stamp != stamp


# ---- a replica --------------------------------------------------------------------------------


def test_a_replica_is_made_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path) -> None:
        path.write_bytes(safetensors.numpy.save({"W": HEAD}))

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setitem(replica.REPLICAS, "qwen2-5-3b-instruct", write)
    source = sources.Replica("qwen2-5-3b-instruct")
    found = matrices.find(Checkpoint(str(source), None, source))
    assert found[:5] == ("", "", "W", (), ())
    assert found.vocabulary(300) == UNKNOWN
    matrix = check(found, HEAD, "F32")
    assert list(tmp_path.iterdir()) == []
    assert float(matrix.sum()) == float(HEAD.sum())  # though its file has no name any more


# ---- vocabularies -----------------------------------------------------------------------------


def test_a_tokenizer_beside_the_matrix_tells_the_text_of_each_row(tmp_path: Path) -> None:
    (tmp_path / "W.safetensors").write_bytes(safetensors.numpy.save({"W": HEAD}))
    (tmp_path / "tokenizer.json").write_bytes(TOKENIZER)
    known = matrices.find(at(tmp_path / "W.safetensors")).vocabulary(300)
    assert known.tokens == tokens_of(TOKENIZER, 300, "here")
    assert len(known.name) == 32
    (tmp_path / "tokenizer.json").write_bytes(TOKENIZER + b"\n")  # says the same
    again = matrices.find(at(tmp_path / "W.safetensors")).vocabulary(300)
    assert again.name == known.name


def test_other_texts_or_other_rows_are_another_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "W.safetensors").write_bytes(safetensors.numpy.save({"W": HEAD}))
    names = set()
    for tokenizer in (TOKENIZER, tokenizers_made.byte_level("the", " quack")):
        (tmp_path / "tokenizer.json").write_bytes(tokenizer)
        for rows in (299, 300):
            names.add(matrices.find(at(tmp_path / "W.safetensors")).vocabulary(rows).name)
    assert len(names) == 4
    assert "" not in names


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"model": {"type": "none"}}'])
def test_a_tokenizer_that_is_missing_or_broken_leaves_the_vocabulary_unknown(
    tmp_path: Path, content: bytes | None
) -> None:
    (tmp_path / "W.safetensors").write_bytes(safetensors.numpy.save({"W": HEAD}))
    if content is not None:
        (tmp_path / "tokenizer.json").write_bytes(content)
    assert matrices.find(at(tmp_path / "W.safetensors")).vocabulary(300) == UNKNOWN == ("", [])


# ---- the hub ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    shards: list[dict[str, NDArray[Any] | Filler]] = [
        {"model.embed_tokens.weight": -HEAD}, {"gap": Filler("U8", (9,)), "lm_head.weight": HEAD},
    ]  # fmt: skip
    folder = tmp_path_factory.mktemp("files") / "model"
    with Hub({"org/model": dict(sharded_checkpoint(folder, shards, {}, TOKENIZER))}) as running:
        yield running


@pytest.fixture(scope="module")
def client(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with Client(hub.environment(tmp_path_factory.mktemp("home"))) as asking:
        yield asking


LOOK = """
[
    module := lambda name: __import__('core_tokens.' + name, fromlist=['x']),
    source := sources.Model('org/model', {revision!r}),
    one := module('survey.checkpoints').Checkpoint(str(source), None, source),
    found := module('survey.matrices').find(one),
    before := sorted(map(str, Path({temporary!r}).iterdir())),
    loaded := found.load(),
    {{
        "identity": [found.commit, found.file, found.tensor, list(found.identity)],
        "stamp": list(found.stamp),
        "bytes": loaded[0].tobytes().hex(),
        "matrix": [str(loaded[0].dtype), list(loaded[0].shape), loaded[1], loaded[2]],
        "files": [before, sorted(map(str, Path({temporary!r}).iterdir()))],
        "writeable": bool(loaded[0].flags['WRITEABLE']),
        "texts": [token.text for token in found.vocabulary(300).tokens][-1:],
    }},
][-1]
"""


def look(client: Client, temporary: Path, revision: str | None) -> Any:
    code = LOOK.format(revision=revision, temporary=str(temporary)).strip().replace("\n", " ")
    (found,) = client.ask(code, TMPDIR=str(temporary))
    return found


@pytest.mark.parametrize("broken", [False, True])
def test_a_model_is_streamed_into_a_file_that_nobody_sees(
    hub: Hub, client: Client, tmp_path: Path, broken: bool
) -> None:
    hub.faults.clear()
    hub.reset()
    commit = hub.commit("org/model")
    shard = "model-00002-of-00002.safetensors"
    if broken:  # of which the header is the first
        hub.faults.add(shard, Break(HEAD.nbytes // 2), skip=1)
    found = look(client, tmp_path, None)
    assert found["identity"] == [
        commit, shard, "lm_head.weight", ["org/model", commit, shard, "lm_head.weight"],
    ]  # fmt: skip
    assert bytes.fromhex(found["bytes"]) == HEAD.tobytes()
    sha256 = hashlib.sha256(HEAD.tobytes()).hexdigest()
    assert found["matrix"] == ["float32", [5000, 8], "F32", sha256]
    assert found["stamp"] == []
    assert found["files"] == [[], []]
    assert found["writeable"] is False
    assert found["texts"] == [tokens_of(TOKENIZER, 300, "")[-1].text]
    assert list(tmp_path.iterdir()) == []


def test_the_bytes_of_a_commit_are_known_before_they_are_read(hub: Hub, client: Client) -> None:
    hub.faults.clear()
    hub.reset()
    commit = hub.commit("org/model")
    (found,) = client.ask(
        "[module := lambda name: __import__('core_tokens.' + name, fromlist=['x']),"
        f" source := sources.Model('org/model', {commit!r}),"
        " one := module('survey.checkpoints').Checkpoint(str(source), None, source),"
        " list(module('survey.matrices').find(one).identity)][-1]"
    )
    assert found == ["org/model", commit, "model-00002-of-00002.safetensors", "lm_head.weight"]
    assert hub.bytes_sent("*-00002-*") < HEAD.nbytes


def test_without_room_for_the_matrix_it_is_the_disk_that_is_named(
    hub: Hub, client: Client, tmp_path: Path
) -> None:
    hub.faults.clear()
    code = (
        "[module := lambda name: __import__(name, fromlist=['x']),"
        " source := sources.Model('org/model', None),"
        " one := module('core_tokens.survey.checkpoints').Checkpoint(str(source), None, source),"
        " found := module('core_tokens.survey.matrices').find(one),"
        " setattr(module('tempfile'), 'TemporaryFile', lambda **_: open('/dev/full', 'r+b')),"
        " found.load()]"
    )
    (found,) = client.ask(code, TMPDIR=str(tmp_path))
    assert found.startswith(f"StoreError: {tmp_path}: found no room for a matrix (No space left")
    assert f"expected {HEAD.nbytes:,} bytes" in found
