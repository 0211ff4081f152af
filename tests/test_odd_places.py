"""What is no file in place of each input, and places where nothing may be read or written."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from safetensors.numpy import save as to_bytes

import tokenizers_made as made_here
from disks import mounted
from killing import Ended, Warm
from project import PARAMS, tiny_matrix
from test_kills import OUTPUTS, tree

NOBODY = 65534
SECONDS = 20.0
"""After which a run is taken to wait for what never comes."""

READ = {
    "fetch": ("params.yaml", "source/model.safetensors", "source/config.json",
              "source/tokenizer.json", "data/tiny/source.json"),
    "cluster": ("params.yaml", "data/tiny/W.safetensors", "data/tiny/vocab.json"),
    "measure": ("data/tiny/W.safetensors", "data/tiny/cluster_tokens.safetensors",
                "data/tiny/vocab.json"),
    "extract": ("data/tiny/measurements.safetensors", "data/tiny/tokens.csv"),
    "analyse": ("data/tiny/measurements.safetensors", "data/tiny/core_tokens.safetensors",
                "data/tiny/tokens.csv"),
    "draw": ("data/tiny/plots/shells.csv",),
    "core-tokens summary": ("params.yaml", "data/tiny/measurements.safetensors",
                            "data/tiny/core_tokens.safetensors", "data/tiny/measure.json",
                            "data/tiny/tokens.csv"),
    "core-tokens report": ("params.yaml", "data/tiny/structure.json", "data/tiny/plots/kinds.csv",
                           "data/tiny/halo.csv"),
    "core-tokens add own source": ("params.yaml", "source/model.safetensors"),
    "core-tokens add own source/model.safetensors --cluster-tokens ids": (
        "source/model.safetensors", "ids"),
}  # fmt: skip
"""The inputs of each command."""
OPTIONAL = {"vocab.json", "tokens.csv", "source.json", "config.json", "tokenizer.json",
            "measure.json"}  # fmt: skip
"""What need not be there: then a link to nowhere stands for nothing."""
BESIDE = {"config.json", "tokenizer.json"}
"""What lies beside a checkpoint, and is looked at only if it is a file."""


def to_folder(path: Path) -> None:
    path.mkdir()
    (path / "x").write_bytes(b"")


def to_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, chdir(path.parent):  # whose names are short
        made.bind(path.name)


KINDS: dict[str, Callable[[Path], None]] = {
    "a folder": to_folder,
    "a FIFO": os.mkfifo,
    "a socket": to_socket,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
}
"""What may stand in place of a file: how it is made."""
CASES = [(command, name) for command, names in READ.items() for name in names]


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with Warm(tmp_path_factory.mktemp("home")) as process:
        yield process


@pytest.fixture(scope="module")
def template(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which all stages have run, a checkpoint and a cluster in it; of no one's."""
    folder = tmp_path_factory.mktemp("odd") / "template"
    (folder / "source").mkdir(parents=True)
    (folder / ".dvc").mkdir()
    source = folder / "source"
    (source / "model.safetensors").write_bytes(to_bytes({"lm_head.weight": tiny_matrix()}))
    (source / "tokenizer.json").write_bytes(made_here.byte_level("hello"))
    (source / "config.json").write_text("{}")
    (folder / "params.yaml").write_text(
        PARAMS.replace('"replica:qwen3-4b-instruct-2507"', "source")
    )
    for stage in OUTPUTS:
        ended = warm.run(folder, stage, "tiny")
        assert (ended.code, ended.printed) == (0, ""), ended
    shutil.copyfile(folder / "data/tiny/cluster_tokens.safetensors", folder / "ids")
    if os.getuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
    return folder


@pytest.fixture
def made(template: Path, tmp_path: Path) -> Path:
    subprocess.run(["cp", "-a", str(template), str(tmp_path / "project")], check=True)
    return tmp_path / "project"


def run(warm: Warm, folder: Path, command: str, *, user: int | None = None) -> Ended:
    """Run a stage or a command for `tiny`, as another user than root if one is given."""
    words = command.split()
    if words[0] != "core-tokens" or words[1] == "summary":
        words.append("tiny")
    return warm.run(folder, *words, after=SECONDS, user=None if os.getuid() else user)


def check_line(ended: Ended, mention: str) -> None:
    """One line, in time."""
    assert (ended.killed, ended.code) == (False, 1), ended
    assert ended.printed.startswith("error: "), ended
    assert ended.printed.count("\n") == 1, ended
    assert mention in ended.printed, ended


@pytest.mark.parametrize(("command", "name"), CASES)
def test_what_is_no_file_is_refused_in_one_line_and_not_waited_for(
    warm: Warm, made: Path, command: str, name: str
) -> None:
    for kind, make in KINDS.items():
        path = made / name
        path.unlink()
        make(path)
        before = tree(made)
        ended = run(warm, made, command)
        nothing = path.name in OPTIONAL and kind in ("a link to nowhere", "a link to itself")
        if ended.code == 0 and (nothing or path.name in BESIDE):
            assert not ended.killed
            assert ended.printed.count("\n") <= 1 + command.count("core-tokens") * 20, ended
        else:
            check_line(ended, name.removesuffix("/model.safetensors"))
            assert tree(made) == before
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        path.write_bytes(b"")


@pytest.mark.parametrize(("command", "name"), CASES)
def test_what_may_not_be_read_is_refused_in_one_line(
    warm: Warm, made: Path, command: str, name: str
) -> None:
    (made / name).chmod(0)
    before = tree(made)
    ended = run(warm, made, command, user=NOBODY)
    check_line(ended, name)
    assert tree(made) == before


@pytest.mark.parametrize("command", [*OUTPUTS, "core-tokens report", "core-tokens remove tiny"])
def test_a_folder_that_may_not_be_written_to_is_left_as_it_is(
    warm: Warm, made: Path, command: str
) -> None:
    (made / "data/tiny/.core.csv.0123abcd.tmp").write_bytes(b"of a killed run")
    for folder in (
        made,
        made / "data",
        made / "data/tiny",
        made / "data/tiny/plots",
        made / "data/tiny/pictures",
    ):
        folder.chmod(0o555)
    before = tree(made)
    check_line(run(warm, made, command, user=NOBODY), "Permission denied")
    assert tree(made) == before


def test_a_disk_that_may_only_be_read_is_left_as_it_is(
    warm: Warm, template: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk") as disk:
        made = disk.folder / "project"
        shutil.copytree(template, made)
        (made / "data/tiny/.core.csv.0123abcd.tmp").write_bytes(b"of a killed run")
        before = tree(made)
        subprocess.run(["mount", "-o", "remount,ro", str(disk.folder)], check=True)
        add = "core-tokens add own source/model.safetensors --cluster-tokens ids"
        for command in [*OUTPUTS, "core-tokens remove tiny", add]:
            check_line(run(warm, made, command), "Read-only file system")
        assert tree(made) == before
        assert run(warm, made, "core-tokens summary").code == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_under_a_final_name_is_replaced_or_refused(
    warm: Warm, made: Path, kind: str
) -> None:
    for stage, name in (
        ("draw", "pictures"), ("extract", "core.csv"), ("cluster", "cluster.json"),
        ("analyse", "plots"),
    ):  # fmt: skip
        path = made / "data/tiny" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        KINDS[kind](path)
        ended = run(warm, made, stage)
        whole = path.is_file() or (path.is_dir() and not path.is_symlink())
        if ended.code or not whole:
            check_line(ended, f"data/tiny/{name}")
    assert Path("/dev/zero").is_char_device()
