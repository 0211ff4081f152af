import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray

import project
import tokenizers_made as made_here
from core_tokens import replica, tensors, vocabulary
from core_tokens.tokenizer import tokens_of
from hub_client import Client, check_refused
from hub_server import (
    Break,
    Fault,
    Filler,
    Flip,
    Garbage,
    Header,
    Hub,
    IgnoreRange,
    Long,
    RedirectLoop,
    Short,
    Stall,
    Status,
    WrongRange,
    sharded_checkpoint,
)
from project import Done, Project

NAME = "qwen3-4b-instruct-2507"
OUTPUTS = {"W.safetensors", "vocab.json"}
MIB = 1 << 20


def write_small(path: Path) -> None:
    """What a replica does, in 32 bytes of data."""
    path.write_bytes(tensors.matrix_header("BF16", (4, 4)) + bytes(32))


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setitem(replica.REPLICAS, NAME, write_small)
    made = Project(tmp_path)
    made.write_params()
    return made


@pytest.fixture
def done(ready: Project) -> Project:
    assert ready.stage_here("fetch", "tiny") == Done(0, "", "")
    return ready


def test_writes_the_matrix_and_the_vocabulary_and_no_other_file(done: Project) -> None:
    assert done.files() == OUTPUTS
    matrix = torch.zeros((4, 4), dtype=torch.bfloat16)
    assert (done.data / "W.safetensors").read_bytes() == safetensors.torch.save({"W": matrix})
    assert (done.data / "vocab.json").read_bytes() == b"[]\n"


def test_files_are_readable_by_all_as_the_umask_allows(ready: Project) -> None:
    before = os.umask(0o022)
    try:
        assert ready.stage_here("fetch", "tiny") == Done(0, "", "")
    finally:
        os.umask(before)
    assert {(ready.data / name).stat().st_mode & 0o777 for name in OUTPUTS} == {0o644}


def test_second_run_replaces_what_was_there(done: Project) -> None:
    before = {name: (done.data / name).read_bytes() for name in OUTPUTS}
    (done.data / "W.safetensors").write_bytes(b"something longer than what is to come" * 100)
    assert done.stage_here("fetch", "tiny") == Done(0, "", "")
    assert {name: (done.data / name).read_bytes() for name in OUTPUTS} == before


@pytest.mark.parametrize(
    "source",
    [
        "replica:unknown",
        "replica:",
        "replica",
        "",
        ":",
        NAME,
        f"Replica:{NAME}",
        f"replica: {NAME}",
        f"replica:{NAME}:x",
        f"hub:{NAME}",
        "https://example.org/W.safetensors",
        "../W.safetensors",
    ],
)
def test_source_that_is_not_known_is_refused_with_those_that_are(
    done: Project, source: str
) -> None:
    done.write_params(tiny=f'{{source: "{source}"}}')
    project.check_stage_refuses(
        done, "fetch", "params.yaml: fetch.tiny.source", repr(source), f"replica:{NAME}"
    )


def test_source_that_is_not_known_is_refused_by_the_process_and_makes_no_folder(
    tmp_path: Path,
) -> None:
    made = Project(tmp_path)
    made.write_params(tiny='{source: "replica:gpt-5"}')
    project.check_stage_refuses(
        made, "fetch", "params.yaml: fetch.tiny.source", "'replica:gpt-5'", f"replica:{NAME}",
        process=True,
    )  # fmt: skip


def test_model_without_a_source_is_refused(done: Project) -> None:
    done.write_params(project.PARAMS.replace("  tiny: {", "  other: {"))
    project.check_stage_refuses(done, "fetch", "params.yaml: fetch", "'tiny'", "'other'")


def test_disk_that_is_full_leaves_what_was_there(
    done: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setitem(replica.REPLICAS, NAME, full)
    before = done.snapshot()
    ended = done.stage_here("fetch", "tiny")
    assert ended == Done(1, "", "error: data/tiny/W.safetensors: No space left on device\n")
    assert done.snapshot() == before


def test_interrupt_leaves_what_was_there(done: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setitem(replica.REPLICAS, NAME, interrupted)
    before = done.snapshot()
    assert done.stage_here("fetch", "tiny") == Done(130, "", "error: interrupted\n")
    assert done.snapshot() == before


@pytest.mark.parametrize(("spoil", "mention"), project.BAD_PARAMS.values(), ids=project.BAD_PARAMS)
def test_bad_params_are_refused(
    done: Project, spoil: Callable[[Project], None], mention: str
) -> None:
    spoil(done)
    project.check_stage_refuses(done, "fetch", "params.yaml", mention)


def test_bad_params_are_refused_by_the_process(done: Project) -> None:
    spoil, mention = project.BAD_PARAMS["an unknown key of fetch"]
    spoil(done)
    project.check_stage_refuses(done, "fetch", "params.yaml", mention, process=True)


@pytest.mark.parametrize(
    ("arguments", "mention"), project.WRONG_ARGUMENTS.values(), ids=project.WRONG_ARGUMENTS
)
def test_wrong_arguments_are_refused(
    done: Project, arguments: tuple[str, ...], mention: str
) -> None:
    project.check_stage_refuses(done, "fetch", mention, arguments=arguments)


@pytest.mark.parametrize("name", ["no model", "an option"])
def test_wrong_arguments_are_refused_by_the_process(done: Project, name: str) -> None:
    arguments, mention = project.WRONG_ARGUMENTS[name]
    project.check_stage_refuses(done, "fetch", mention, arguments=arguments, process=True)


def test_choice_of_tensors_in_a_replica_is_refused(done: Project) -> None:
    for more in ("which: embedding", "tensor: W"):
        done.write_params(tiny=f'{{source: "replica:{NAME}", {more}}}')
        project.check_stage_refuses(done, "fetch", "params.yaml: fetch.tiny", "source alone")


# ---- a path ----------------------------------------------------------------------------------

HEAD = "lm_head.weight"
EMBEDDING = "model.embed_tokens.weight"
DTYPES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


def matrix_of(dtype: torch.dtype) -> torch.Tensor:
    """A matrix [9, 5] in which no two bytes that matter are the same by chance."""
    values = torch.linspace(-3, 3, 45, dtype=torch.float64).reshape(9, 5)
    return values.to(dtype)


def write_file(path: Path, **tensors: torch.Tensor) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(safetensors.torch.save(tensors, {"format": "pt"}))
    return path


def expected_file(tensor: torch.Tensor, key: str = HEAD) -> bytes:
    return safetensors.torch.save({"W": tensor}, {"tensor": key})


def sha256_of(tensor: torch.Tensor) -> str:
    return hashlib.sha256(bytes(tensor.untyped_storage())).hexdigest()


def source_json(made: Project) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(
        (made.data / "source.json").read_bytes()
    )
    return found


@pytest.fixture
def plain(tmp_path: Path) -> Project:
    """A project in which nothing was made yet."""
    made = Project(tmp_path / "project")
    made.folder.mkdir()
    return made


def set_source(made: Project, source: str, **more: str) -> None:
    values = {"source": source, **more}
    made.write_params(tiny=json.dumps(values))


@pytest.mark.parametrize("name", DTYPES)
def test_matrix_of_a_path_keeps_every_byte_and_its_dtype(
    plain: Project, tmp_path: Path, name: str
) -> None:
    tensor = matrix_of(DTYPES[name])
    path = write_file(tmp_path / "model" / "model.safetensors", **{HEAD: tensor})
    for source in (path, path.parent):
        set_source(plain, str(source))
        assert plain.stage_here("fetch", "tiny") == Done(0, "", "")
        assert (plain.data / "W.safetensors").read_bytes() == expected_file(tensor)
        assert (plain.data / "vocab.json").read_bytes() == b"[]\n"
        found = source_json(plain)[str(source)]
        assert found == {
            HEAD: {
                "file": "model.safetensors",
                "dtype": name,
                "shape": [9, 5],
                "sha256": sha256_of(tensor),
            }
        }
    assert plain.files() == {*OUTPUTS, "source.json"}
    assert set(source_json(plain)) == {str(path), str(path.parent)}


def test_tensor_is_the_one_that_params_name(plain: Project, tmp_path: Path) -> None:
    tensors = {key: matrix_of(torch.float32) + n for n, key in enumerate((HEAD, EMBEDDING, "x"))}
    path = write_file(tmp_path / "model.safetensors", **tensors)
    for key, more in [
        (HEAD, {}),
        (HEAD, {"which": "unembedding"}),
        (EMBEDDING, {"which": "embedding"}),
        ("x", {"tensor": "x"}),
        ("x", {"tensor": "x", "which": "embedding"}),
    ]:
        set_source(plain, str(path), **more)
        assert plain.stage_here("fetch", "tiny") == Done(0, "", "")
        assert (plain.data / "W.safetensors").read_bytes() == expected_file(tensors[key], key)
    assert set(source_json(plain)[str(path)]) == set(tensors)


def test_path_from_home_and_from_here_are_found(
    plain: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    tensor = matrix_of(torch.bfloat16)
    for place, source in [
        (tmp_path / "home" / "models" / "m.safetensors", "~/models/m.safetensors"),
        (plain.folder / "here.safetensors", "here.safetensors"),
        (tmp_path / "with space" / "m.safetensors", "../with space/m.safetensors"),
    ]:
        write_file(place, **{HEAD: tensor})
        set_source(plain, source)
        assert plain.stage_here("fetch", "tiny") == Done(0, "", "")
        assert (plain.data / "W.safetensors").read_bytes() == expected_file(tensor)
        assert source in source_json(plain)


@pytest.mark.parametrize("source", ["nowhere/model.safetensors", "/nowhere", "~/nowhere", "./no"])
def test_path_that_is_not_there_is_refused(plain: Project, source: str) -> None:
    set_source(plain, source)
    project.check_stage_refuses(
        plain, "fetch", "params.yaml: fetch.tiny.source", repr(source), "no such file or folder"
    )


def test_tokens_of_a_folder_get_their_text(plain: Project, tmp_path: Path) -> None:
    content = made_here.byte_level("hello")
    folder = write_file(tmp_path / "m" / "model.safetensors", **{HEAD: torch.ones(300, 2)}).parent
    (folder / "tokenizer.json").write_bytes(content)
    set_source(plain, str(folder))
    assert plain.stage_here("fetch", "tiny") == Done(0, "", "")
    tokens = tokens_of(content, 300, "")
    assert tokens[-1] == vocabulary.Token("padding", None)
    assert (plain.data / "vocab.json").read_bytes() == vocabulary.to_json(tokens)


def test_unreadable_tokenizer_is_noted_and_the_matrix_arrives(
    plain: Project, tmp_path: Path
) -> None:
    tensor = matrix_of(torch.bfloat16)
    folder = write_file(tmp_path / "m" / "model.safetensors", **{HEAD: tensor}).parent
    (folder / "tokenizer.json").write_bytes(b"{}")
    set_source(plain, str(folder))
    ended = plain.stage_here("fetch", "tiny")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith(f"note: {folder}/tokenizer.json: found no readable tokenizer")
    assert ended.err.endswith("; the tokens' text stays unknown\n")
    assert ended.err.count("\n") == 1
    assert (plain.data / "W.safetensors").read_bytes() == expected_file(tensor)
    assert (plain.data / "vocab.json").read_bytes() == b"[]\n"


def test_disk_that_is_too_small_is_refused_before_anything_is_written(
    plain: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_file(tmp_path / "model.safetensors", **{HEAD: matrix_of(torch.float32)})
    set_source(plain, str(path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=359))
    project.check_stage_refuses(plain, "fetch", str(path), "360 bytes", "here and in DVC's cache")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=360))
    assert plain.stage_here("fetch", "tiny") == Done(0, "", "")


# ---- what was fetched before -----------------------------------------------------------------

BROKEN_RECORDS = {
    "empty": b"",
    "half": b'{"hf://org/model@',
    "a merge conflict": b"<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> other\n",
    "a list": b"[]",
    "null": b"null",
    "too flat": b'{"hf://org/model@0": {"lm_head.weight": "0123"}}',
    "no UTF-8": b'{"\xff": {}}',
    "too deep": b'{"a":' * 100_000,
}


def test_source_whose_bytes_have_changed_is_refused_with_both_digests(
    plain: Project, tmp_path: Path
) -> None:
    first, second = matrix_of(torch.float32), -matrix_of(torch.float32)
    path = write_file(tmp_path / "model.safetensors", **{HEAD: first})
    set_source(plain, str(path))
    assert plain.stage_here("fetch", "tiny") == Done(0, "", "")
    write_file(path, **{HEAD: second})
    project.check_stage_refuses(
        plain, "fetch", f"{path}: {HEAD}", sha256_of(first), sha256_of(second), "source.json"
    )
    (plain.data / "source.json").unlink()
    assert plain.stage_here("fetch", "tiny") == Done(0, "", "")
    assert (plain.data / "W.safetensors").read_bytes() == expected_file(second)


@pytest.mark.parametrize("content", BROKEN_RECORDS.values(), ids=BROKEN_RECORDS)
def test_broken_record_is_refused(plain: Project, tmp_path: Path, content: bytes) -> None:
    path = write_file(tmp_path / "model.safetensors", **{HEAD: matrix_of(torch.float32)})
    set_source(plain, str(path))
    plain.data.mkdir(parents=True)
    (plain.data / "source.json").write_bytes(content)
    project.check_stage_refuses(plain, "fetch", "data/tiny/source.json", "git checkout")


# ---- a model on the hub ----------------------------------------------------------------------

ROWS = 300
ARRAY = np.random.default_rng(1).standard_normal((ROWS, 64)).astype(np.float32)
W = torch.from_numpy(ARRAY)
CONFIG = {"architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False}
TOKENIZER = made_here.byte_level("hello")
LARGE_ROWS = 160_000
"""Of a matrix of 320,000 KB."""


def shards_of(array: NDArray[Any]) -> list[dict[str, NDArray[Any] | Filler]]:
    """Two shards; that of the unembedding is larger than what is read of it at first."""
    return [{EMBEDDING: -array, "norm": np.ones(3)}, {"pad": Filler("U8", (99,)), HEAD: array}]


@dataclass(frozen=True)
class Running:
    """A hub, and a process that uses it and loses patience after a second."""

    hub: Hub
    client: Client

    def source(self, name: str) -> str:
        return f"hf://org/{name}@{self.hub.commit(f'org/{name}')}"


@pytest.fixture(scope="module")
def module_wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("checkpoints")
    small = np.arange(64, dtype=np.float16).reshape(16, 4)
    repos: dict[str, Mapping[str, bytes | Path]] = {
        "org/model": sharded_checkpoint(folder / "model", shards_of(ARRAY), CONFIG),
        "org/spoken": sharded_checkpoint(folder / "spoken", shards_of(ARRAY), CONFIG, TOKENIZER),
        "org/mute": sharded_checkpoint(folder / "mute", shards_of(ARRAY), {}, b"{}"),
        "org/large": sharded_checkpoint(
            folder / "large",
            [
                {EMBEDDING: Filler("BF16", (LARGE_ROWS, 1_000)), "small.weight": small},
                {"model.norm.weight": Filler("F32", (1_000,)), HEAD: small},
            ],
        ),
        "org/single": sharded_checkpoint(
            folder / "single",
            [{EMBEDDING: Filler("BF16", (LARGE_ROWS, 1_000)), HEAD: small}],
            {},
            b"{}",
        ),
        "org/private": sharded_checkpoint(folder / "private", shards_of(ARRAY)),
        "org/dtypes": {
            f"{name}.safetensors": safetensors.torch.save({HEAD: matrix_of(dtype)})
            for name, dtype in DTYPES.items()
        },
    }
    with Hub(repos, access={"org/private": "private"}) as hub:
        environment = hub.environment(tmp_path_factory.mktemp("home"))
        with Client({**environment, "HF_HUB_DOWNLOAD_TIMEOUT": "1"}) as client:
            yield Running(hub, client)


@pytest.fixture
def running(module_wide: Running) -> Running:
    module_wide.hub.faults.clear()
    module_wide.hub.reset()
    return module_wide


@pytest.fixture
def earlier(plain: Project) -> Project:
    """A project with outputs of an earlier run."""
    plain.data.mkdir(parents=True)
    for name in OUTPUTS:
        (plain.data / name).write_bytes(b"of an earlier run")
    (plain.data / "source.json").write_bytes(b"{}\n")
    return plain


def test_a_model_on_the_hub_is_fetched(running: Running, plain: Project) -> None:
    source = running.source("spoken")
    set_source(plain, source)
    ended = running.client.stage(plain.folder)
    assert (ended.code, ended.out, ended.err, ended.waits) == (0, "", "", [])
    assert plain.files() == {*OUTPUTS, "source.json"}
    assert (plain.data / "W.safetensors").read_bytes() == expected_file(W)
    tokens = tokens_of(TOKENIZER, ROWS, "")
    assert (plain.data / "vocab.json").read_bytes() == vocabulary.to_json(tokens)
    assert (
        (plain.data / "source.json").read_text()
        == f"""\
{{
  "{source}": {{
    "lm_head.weight": {{
      "dtype": "F32",
      "file": "model-00002-of-00002.safetensors",
      "sha256": "{hashlib.sha256(ARRAY.tobytes()).hexdigest()}",
      "shape": [
        300,
        64
      ]
    }}
  }}
}}
"""
    )


def test_the_process_that_dvc_runs_fetches_the_same(
    running: Running, plain: Project, tmp_path: Path
) -> None:
    set_source(plain, running.source("model"))
    assert running.client.stage(plain.folder).code == 0
    before = plain.snapshot()
    for name in OUTPUTS:
        (plain.data / name).unlink()
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "core_tokens.stages.fetch", "tiny"],
        cwd=plain.folder, env=running.hub.environment(tmp_path), capture_output=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    after = plain.snapshot()
    assert {name: content for name, (content, _) in after.items()} == {
        name: content for name, (content, _) in before.items()
    }


def test_a_hub_a_folder_and_a_file_give_the_same_bytes(
    running: Running, plain: Project, tmp_path: Path
) -> None:
    hub = running.hub
    for name, dtype in DTYPES.items():
        content = safetensors.torch.save({HEAD: matrix_of(dtype), "b": torch.ones(1)})
        hub.push("org/dtypes", {"model.safetensors": content}, ref=name)
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(content)
        commit = hub.commit("org/dtypes", name)
        written = set()
        for source in (f"hf://org/dtypes@{commit}", folder, folder / "model.safetensors"):
            set_source(plain, str(source))
            assert running.client.stage(plain.folder).code == 0
            written.add((plain.data / "W.safetensors").read_bytes())
        assert written == {expected_file(matrix_of(dtype))}


@pytest.mark.parametrize("repo", ["large", "single"])
def test_of_a_large_checkpoint_little_travels(running: Running, plain: Project, repo: str) -> None:
    hub = running.hub
    contents = hub.repos[f"org/{repo}"].commits[hub.commit(f"org/{repo}")]
    assert sum(content.size for content in contents.values()) > 300 * MIB
    set_source(plain, running.source(repo))
    ended = running.client.stage(plain.folder)
    assert ended.code == 0
    tensor = torch.arange(64).reshape(16, 4).to(torch.float16)
    assert (plain.data / "W.safetensors").read_bytes() == expected_file(tensor)
    tokenizer = contents["tokenizer.json"].size if "tokenizer.json" in contents else 0
    assert hub.bytes_sent() <= tensor.nbytes + MIB + tokenizer
    read = {request.file for request in hub.log if request.file.endswith(".safetensors")}
    assert len(read) == 1, "a shard was read that does not hold the tensor"


def test_memory_does_not_grow_with_the_matrix(running: Running, plain: Project) -> None:
    peaks = []
    for more in ({"which": "unembedding"}, {"which": "embedding"}):
        set_source(plain, running.source("large"), **more)
        ended = running.client.stage(plain.folder)
        assert ended.code == 0
        peaks.append(ended.peak)
    size = (plain.data / "W.safetensors").stat().st_size
    assert size > 300 * MIB
    assert running.hub.bytes_sent("*.safetensors") < size + MIB
    assert max(peaks) < 200 * MIB
    assert peaks[1] - peaks[0] < 40 * MIB
    zeros = hashlib.sha256(bytes(LARGE_ROWS * 2_000)).hexdigest()
    assert source_json(plain)[running.source("large")][EMBEDDING]["sha256"] == zeros


@pytest.mark.parametrize("config", [None, {}, {"tie_word_embeddings": False}, {"a": 1}])
@pytest.mark.parametrize("tied", [False, True])
def test_tied_or_not_the_right_tensor_of_the_right_shard_is_read(
    running: Running, plain: Project, tmp_path: Path, config: dict[str, Any] | None, tied: bool
) -> None:
    if tied:
        config = {**(config or {}), "tie_word_embeddings": True}
    files = sharded_checkpoint(tmp_path / "m", shards_of(ARRAY), config)
    if config is None:
        del files["config.json"]
    running.hub.push("org/model", files, ref="tie")
    set_source(plain, f"hf://org/model@{running.hub.commit('org/model', 'tie')}")
    assert running.client.stage(plain.folder).code == 0
    key, tensor = (EMBEDDING, -W) if tied else (HEAD, W)
    assert (plain.data / "W.safetensors").read_bytes() == expected_file(tensor, key)
    shard = "model-00001-of-00002.safetensors" if tied else "model-00002-of-00002.safetensors"
    read = {request.file for request in running.hub.log if "model-0" in request.file}
    assert read == {shard}


def test_tensor_at_the_very_end_and_one_at_the_beginning_of_a_file(
    running: Running, plain: Project, tmp_path: Path
) -> None:
    arrays: dict[str, NDArray[Any] | Filler] = {
        EMBEDDING: ARRAY,
        "x": Filler("F32", (3, 3)),
        HEAD: -ARRAY,
    }
    running.hub.push("org/model", sharded_checkpoint(tmp_path / "m", [arrays]), ref="ends")
    source = f"hf://org/model@{running.hub.commit('org/model', 'ends')}"
    for which, key, tensor in [("embedding", EMBEDDING, W), ("unembedding", HEAD, -W)]:
        set_source(plain, source, which=which)
        assert running.client.stage(plain.folder).code == 0
        assert (plain.data / "W.safetensors").read_bytes() == expected_file(tensor, key)


def test_model_without_tensors_that_can_be_read_is_refused(
    running: Running, earlier: Project
) -> None:
    hub = running.hub
    for nth, (files, mention) in enumerate(
        [
            ({}, "neither model.safetensors nor model.safetensors.index.json"),
            ({"pytorch_model.bin": b"x", "a.pt": b""}, "a.pt, pytorch_model.bin"),
            ({"below/model.safetensors": b"x"}, "neither model.safetensors nor"),
            ({"model.safetensors": b""}, "a header of 0 bytes in a file of 0"),
            ({"model.safetensors": b"x" * 100}, "no valid safetensors"),
            ({"model.safetensors.index.json": b"{"}, "no valid JSON"),
            ({"model.safetensors.index.json": b"[]"}, "no JSON object"),
            (
                {"model.safetensors.index.json": b'{"weight_map": {"lm_head.weight": "no"}}'},
                "no such file; expected one of model.safetensors.index.json",
            ),
            (
                {"model.safetensors": safetensors.torch.save({"x": torch.ones(2)})},
                "no matrix of floats: x F32[2]",
            ),
            (
                {"model.safetensors": safetensors.torch.save({HEAD: torch.ones(2, 2).int()})},
                "lm_head.weight: found I32[2, 2]",
            ),
            (
                {
                    "model.safetensors": safetensors.torch.save({HEAD: torch.ones(2, 2)}),
                    "config.json": b"{",
                },
                "config.json: found no valid JSON",
            ),
        ]
    ):
        commit = hub.push("org/model", files, ref="bad", commit=f"{nth:040}")
        set_source(earlier, f"hf://org/model@{commit}")
        check_refused(running.client, earlier, f"hf://org/model@{commit}", mention)


@pytest.mark.parametrize(
    "revision", ["", "@main", "@v1", "@refs/pr/1", "@a14332c", "@" + "A" * 40, "@" + "0" * 41]
)
def test_name_that_may_move_is_refused_without_a_request(
    running: Running, earlier: Project, revision: str
) -> None:
    set_source(earlier, f"hf://org/model{revision}")
    check_refused(
        running.client, earlier, f"params.yaml: fetch.tiny.source: found 'hf://org/model{revision}'",
        "hf://org/model@COMMIT", "40 digits", "core-tokens add",
    )  # fmt: skip
    assert running.hub.log == ()


def test_commit_that_is_not_there_is_refused(running: Running, earlier: Project) -> None:
    set_source(earlier, f"hf://org/model@{'f' * 40}")
    check_refused(running.client, earlier, "no such revision")
    set_source(earlier, f"hf://org/nowhere@{'f' * 40}")
    check_refused(running.client, earlier, "no such model, or a private one")


def test_disk_that_is_too_small_is_refused_before_a_byte_of_the_tensor_travels(
    running: Running, earlier: Project
) -> None:
    set_source(earlier, running.source("large"), which="embedding")
    nbytes = LARGE_ROWS * 2_000
    check_refused(running.client, earlier, f"{2 * nbytes:,} bytes", f"{nbytes:,}", free=nbytes)
    assert running.hub.bytes_sent("*.safetensors") < MIB


def test_a_byte_that_is_wrong_the_second_time_is_noticed(running: Running, plain: Project) -> None:
    set_source(plain, running.source("model"))
    assert running.client.stage(plain.folder).code == 0
    running.hub.faults.add("*.safetensors", Flip(at=12_345), skip=1)
    flipped = bytearray(ARRAY.tobytes())
    flipped[12_345] ^= 0xFF
    check_refused(
        running.client, plain, f"{running.source('model')}: {HEAD}", "data/tiny/source.json",
        hashlib.sha256(flipped).hexdigest(), hashlib.sha256(ARRAY.tobytes()).hexdigest(),
    )  # fmt: skip
    assert running.client.stage(plain.folder).code == 0


def test_another_revision_and_another_tensor_are_kept_beside_the_first(
    running: Running, plain: Project, tmp_path: Path
) -> None:
    first = running.source("model")
    files = sharded_checkpoint(tmp_path / "m", shards_of(ARRAY + 1))
    second = f"hf://org/model@{running.hub.push('org/model', files, ref='next')}"
    for source, which in [(first, "unembedding"), (second, "unembedding"), (first, "embedding")]:
        set_source(plain, source, which=which)
        assert running.client.stage(plain.folder).code == 0
    assert source_json(plain) == {
        first: {HEAD: entry(ARRAY, 2), EMBEDDING: entry(-ARRAY, 1)},
        second: {HEAD: entry(ARRAY + 1, 2)},
    }
    text = (plain.data / "source.json").read_text()
    set_source(plain, first)
    assert running.client.stage(plain.folder).code == 0
    assert (plain.data / "source.json").read_text() == text


def entry(array: NDArray[Any], shard: int) -> dict[str, Any]:
    return {
        "file": f"model-0000{shard}-of-00002.safetensors",
        "dtype": "F32",
        "shape": [ROWS, 64],
        "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
    }


def test_broken_record_is_refused_before_anything_travels(
    running: Running, earlier: Project
) -> None:
    set_source(earlier, running.source("model"))
    for content in BROKEN_RECORDS.values():
        (earlier.data / "source.json").write_bytes(content)
        check_refused(running.client, earlier, "data/tiny/source.json", "git checkout")
    assert running.hub.log == ()


def test_unreadable_tokenizer_on_the_hub_is_noted(running: Running, plain: Project) -> None:
    set_source(plain, running.source("mute"))
    ended = running.client.stage(plain.folder)
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith(f"note: {running.source('mute')}/tokenizer.json: found no readable")
    assert ended.err.count("\n") == 1
    assert (plain.data / "W.safetensors").read_bytes() == expected_file(W)
    assert (plain.data / "vocab.json").read_bytes() == b"[]\n"


# ---- faults ----------------------------------------------------------------------------------

SHARD = "model-*.safetensors"
REQUESTS: dict[str, tuple[str, str, int]] = {
    "model info": ("model", "/api/models/*", 0),
    "index": ("model", "model.safetensors.index.json", 0),
    "config": ("model", "config.json", 0),
    "header": ("model", SHARD, 0),
    "tensor": ("model", SHARD, 1),
    "tokenizer": ("spoken", "tokenizer.json", 0),
}
"""Every kind of request: the repository, what the server calls it, and how many come before."""
FILES = set(REQUESTS) - {"model info"}
RANGES = {"header", "tensor"}

PASSING: dict[str, tuple[Fault, set[str]]] = {
    "500": (Status(500), {"tensor"}),
    "502": (Status(502), {"tensor"}),
    "503": (Status(503), set(REQUESTS)),
    "429": (Status(429), {"model info", "index", "tensor", "tokenizer"}),
    "broken at once": (Break(0), set(REQUESTS)),
    "broken": (Break(2), {"model info", "config", "tensor", "tokenizer"}),
    "reset": (Break(2, reset=True), {"model info", "index", "header", "tensor"}),
    "short": (Short(1), FILES),
    "another thing": (Garbage(b"{}"), FILES),
}
"""Faults that another try may not meet, and the kinds of requests that have them."""
LASTING: dict[str, tuple[Fault, set[str], str]] = {
    "401": (Status(401), set(REQUESTS), "status 401; expected a token"),
    "403": (Status(403), set(REQUESTS), "status 403; expected a token"),
    "gated": (Status(403, code="GatedRepo"), set(REQUESTS), "a gated model"),
    "404": (Status(404), set(REQUESTS), "status 404"),
    "patience": (Status(429, retry_after=3600), set(REQUESTS), "3600 seconds"),
    "redirect loop": (RedirectLoop(), set(REQUESTS), "a connection to the hub that fails"),
    "no hub's answer": (Garbage(), {"model info"}, "that is not the hub's"),
    "long": (Long(), FILES, "asked for"),
    "long, chunked": (Long(chunked=True), FILES, "asked for"),
    "shifted": (WrongRange(shift=1), FILES, "the range 'bytes "),
    "another total": (WrongRange(total=1), FILES, "the range 'bytes "),
    "no range": (Header("Content-Range", None), FILES, "the range None"),
    "range ignored": (IgnoreRange(), RANGES, "status 200 in answer to a range"),
    "another version": (Header("ETag", '"new"'), {"tensor"}, "another version (ETag)"),
    "another commit": (
        Header("X-Repo-Commit", "0" * 40),
        {"index", "config", "tokenizer"},
        f"the commit '{'0' * 40}'",
    ),
}
"""Faults that are refused at once, and what the message says."""


def cases(faults: Mapping[str, tuple[Any, ...]]) -> list[tuple[str, str]]:
    return [(name, kind) for name, (_, kinds, *_) in faults.items() for kind in sorted(kinds)]


@pytest.mark.parametrize(("name", "kind"), cases(PASSING))
def test_fault_that_passes_leaves_no_mark_and_one_that_stays_ends_in_one_line(
    running: Running, earlier: Project, name: str, kind: str
) -> None:
    fault, (repo, pattern, skip) = PASSING[name][0], REQUESTS[kind]
    set_source(earlier, running.source(repo))
    running.hub.faults.add(pattern, fault, skip=skip, times=None)
    ended = check_refused(running.client, earlier, f"error: {running.source(repo)}")
    assert ended.waits == [0.5, 2.0, 8.0]
    running.hub.faults.clear()
    running.hub.faults.add(pattern, fault, skip=skip)
    ended = running.client.stage(earlier.folder)
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert ended.waits == [0.5]
    assert (earlier.data / "W.safetensors").read_bytes() == expected_file(W)
    tokens = tokens_of(TOKENIZER, ROWS, "") if kind == "tokenizer" else []
    assert (earlier.data / "vocab.json").read_bytes() == vocabulary.to_json(tokens)
    assert source_json(earlier) == {running.source(repo): {HEAD: entry(ARRAY, 2)}}


@pytest.mark.parametrize(("name", "kind"), cases(LASTING))
def test_fault_that_lasts_ends_in_one_line_at_once(
    running: Running, earlier: Project, name: str, kind: str
) -> None:
    (fault, _, mention), (repo, pattern, skip) = LASTING[name], REQUESTS[kind]
    set_source(earlier, running.source(repo))
    running.hub.faults.add(pattern, fault, skip=skip)
    ended = check_refused(running.client, earlier, f"error: {running.source(repo)}", mention)
    assert ended.waits == []


@pytest.mark.parametrize(
    ("fault", "mention"),
    [
        (Header("X-Repo-Commit", "0" * 40), f"the commit '{'0' * 40}'"),
        (Header("Location", None), "status 302"),
        (Header("Location", "/nowhere"), "status 404"),
        (Header("Location", "ftp://127.0.0.1/x"), "no connection"),
        (Status(403), "status 403"),
        (RedirectLoop(), "that fails (TooManyRedirects)"),
    ],
    ids=str,
)
@pytest.mark.parametrize("skip", [0, 1], ids=["header", "tensor"])
def test_redirect_that_leads_astray_is_refused(
    running: Running, earlier: Project, fault: Fault, mention: str, skip: int
) -> None:
    set_source(earlier, running.source("model"))
    pattern = f"/org/model/resolve/*/{SHARD}"
    running.hub.faults.add(pattern, fault, skip=skip, times=None)
    check_refused(running.client, earlier, f"error: {running.source('model')}", mention)


def test_matrix_is_whole_though_its_connection_breaks_again_and_again(
    running: Running, plain: Project
) -> None:
    set_source(plain, running.source("large"), which="embedding")
    for nth in range(6):
        fault = Break(40 * MIB + nth, reset=bool(nth % 2))
        running.hub.faults.add(SHARD, fault, skip=1)
    ended = running.client.stage(plain.folder)
    assert (ended.code, ended.waits) == (0, [0.5] * 6)
    sha256 = source_json(plain)[running.source("large")][EMBEDDING]["sha256"]
    with (plain.data / "W.safetensors").open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        assert hashlib.file_digest(file, "sha256").hexdigest() == sha256
    assert sha256 == hashlib.sha256(bytes(LARGE_ROWS * 2_000)).hexdigest()


def test_hub_that_falls_silent_under_way_is_asked_for_the_rest(
    running: Running, plain: Project
) -> None:
    set_source(plain, running.source("model"))
    running.hub.faults.add(SHARD, Stall(60, after=10_000), skip=1)
    ended = running.client.stage(plain.folder)
    assert (ended.code, ended.waits) == (0, [0.5])
    assert (plain.data / "W.safetensors").read_bytes() == expected_file(W)
    assert running.hub.bytes_sent(SHARD) == 65_536 + ARRAY.nbytes


def test_a_fetch_that_is_ended_leaves_what_was_there(
    running: Running, earlier: Project, tmp_path: Path
) -> None:
    set_source(earlier, running.source("model"))
    before = earlier.snapshot()
    running.hub.faults.add(SHARD, Stall(60, after=10_000), skip=1)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "core_tokens.stages.fetch", "tiny"],
        cwd=earlier.folder, env=running.hub.environment(tmp_path), stderr=subprocess.PIPE,
    )  # fmt: skip
    while not list(earlier.data.glob(".W.safetensors.*.tmp")) and process.poll() is None:
        time.sleep(0.02)
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (143, b"")
    assert earlier.snapshot() == before


# ---- secrets ---------------------------------------------------------------------------------


def test_no_secret_is_printed_or_written(running: Running, plain: Project) -> None:
    hub, client = running.hub, running.client
    set_source(plain, running.source("private"))
    signed = f"?Signature={hub.signature}"
    shard = f"/org/private/resolve/*/{SHARD}"
    scenes: list[tuple[str, Fault] | None] = [
        None,
        ("/api/models/*", Status(401)),
        ("/api/models/*", Garbage(hub.token.encode())),
        ("config.json", Status(500)),
        ("config.json", Garbage(json.dumps(hub.token).encode())),
        (SHARD, Status(403)),
        (SHARD, Status(503)),
        (SHARD, Break(0)),
        (SHARD, Break(10, reset=True)),
        (SHARD, Header("Content-Range", None)),
        (SHARD, RedirectLoop()),
        (shard, Header("Location", f"http://127.0.0.1:9/{signed}")),
        (shard, Header("Location", f"nowhere://127.0.0.1/{signed}")),
        (shard, Header("Location", f"http://[::1/{signed}")),
        (shard, Header("Location", f"/nowhere{signed}")),
    ]
    codes, printed = [], []
    for scene in scenes:
        hub.faults.clear()
        if scene:
            hub.faults.add(*scene, times=None)
        ended = client.stage(plain.folder, HF_TOKEN=hub.token)
        codes.append(ended.code)
        printed += [ended.out, ended.err, client.traceback(plain.folder, HF_TOKEN=hub.token)]
    hub.faults.clear()
    for token in ("hf_wrong_but_secret", "hf_wrong_but_secret_é"):
        printed.append(client.traceback(plain.folder, HF_TOKEN=token))
    assert codes == [0] + [1] * (len(scenes) - 1)
    written = [content.decode("latin-1") for content, _ in plain.snapshot().values()]
    for secret in (hub.token, hub.signature, "hf_wrong_but_secret", "Bearer"):
        assert not [text for text in printed + written if secret in text]
    assert "Traceback" in printed[5], "the test looks at no chain of exceptions"
    assert {request.authorized for request in hub.log if request.server == "cdn"} == {False}
