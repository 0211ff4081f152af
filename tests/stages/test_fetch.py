import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

import project
from core_tokens import replica, tensors
from project import Done, Project

NAME = "qwen3-4b-instruct-2507"
OUTPUTS = {"W.safetensors", "vocab.json"}


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
