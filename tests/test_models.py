import pickle
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from numpy.typing import NDArray
from ruamel.yaml import YAML

import project
from core_tokens import models, params, sources
from core_tokens.checkpoint import Place
from project import Done, Project

PARAMS = """\
# what is measured
models: [tiny, "quoted"]  # measured and extracted
fetch: {}
cluster:
  adjacency_threshold: 0.0020  # L2
  discover: ['tiny']   # found here

measure:
  device: cpu
extract:
  distance: ulp
  radius: 2.70  # as chosen
draw:
  format: svg
  theme: light
"""


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def keep_to(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Git and DVC keep what is theirs in a folder of the test."""
    home.mkdir()
    for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "DVC_SITE_CACHE_DIR"):
        monkeypatch.setenv(variable, str(home))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Git and DVC repository with params.yaml, committed."""
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as monkeypatch:
        keep_to(tmp_path_factory.mktemp("template-home") / "home", monkeypatch)
        git(folder, "init", "-q")
        done = project.run_process([sys.executable, "-m", "dvc", "init", "-q"], folder)
        assert done.code == 0, done
    (folder / "params.yaml").write_text(PARAMS)
    git(folder, "add", ".")
    git(folder, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-qm", "Begin")
    return folder


@pytest.fixture
def repo(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the template; DVC keeps to the temporary folder."""
    keep_to(tmp_path / "home", monkeypatch)
    shutil.copytree(template, tmp_path / "repo", symlinks=True)
    return Project(tmp_path / "repo")


@pytest.fixture
def untracked(repo: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The same, but DVC is not called: for what does not depend on it, a second less."""
    monkeypatch.setattr(models, "_dvc_add", lambda _: None)
    return repo


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    """A matrix outside the project, in a file with a name that a shell would split."""
    folder = tmp_path / "my models; $(x)"
    folder.mkdir()
    path = folder / "Größe é W.safetensors"
    path.write_bytes(safetensors.numpy.save({"lm_head.weight": project.tiny_matrix()}))
    return path


def write(path: Path, **arrays: NDArray[Any]) -> Path:
    path.write_bytes(safetensors.numpy.save(arrays))
    return path


def status(made: Project) -> list[str]:
    """What Git sees, but for what DVC keeps for itself."""
    lines = git(made.folder, "status", "--porcelain", "--ignored", "--untracked-files=all")
    return [line for line in lines.splitlines() if not line.startswith("!! .dvc/")]


def tree(made: Project) -> dict[str, bytes]:
    """Every file and folder, but for what Git and DVC keep for themselves."""
    return {
        str(path.relative_to(made.folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(made.folder.rglob("*"))
        if path.relative_to(made.folder).parts[0] not in (".git", ".dvc")
    }


def check_add_refused(
    made: Project, arguments: list[str], *mentions: str, process: bool = False
) -> None:
    """``add`` refuses with one line, and leaves no trace."""
    before, status_before = tree(made), status(made)
    run = made.command_process if process else made.command_here
    project.check_refusal(run("add", *arguments), *mentions)
    assert tree(made) == before
    assert status(made) == status_before


# ---- add -------------------------------------------------------------------------------------


def test_added_matrix_is_tracked_and_listed(repo: Project, matrix: Path) -> None:
    done = repo.command_process("add", "own-1", "--embedding", str(matrix))
    assert (done.code, done.err) == (0, "")
    folder = repo.folder / "data" / "own-1"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "W.safetensors", "W.safetensors.dvc", "vocab.json", "vocab.json.dvc", ".gitignore",
    }  # fmt: skip
    bits = torch.from_numpy(project.tiny_matrix().view(np.int16)).view(torch.bfloat16)
    expected = safetensors.torch.save({"W": bits}, {"tensor": "lm_head.weight"})
    assert (folder / "W.safetensors").read_bytes() == expected
    assert (folder / "vocab.json").read_bytes() == b"[]\n"
    assert git(repo.folder, "check-ignore", "data/own-1/W.safetensors").strip()
    assert git(repo.folder, "check-ignore", "data/own-1/vocab.json").strip()
    loaded = params.load(repo.folder / "params.yaml")
    assert loaded.models == ["tiny", "quoted", "own-1"]
    assert loaded.cluster.discover == ["tiny", "own-1"]
    assert status(repo) == [
        " M params.yaml",
        "?? data/own-1/.gitignore",
        "?? data/own-1/W.safetensors.dvc",
        "?? data/own-1/vocab.json.dvc",
        "!! data/own-1/W.safetensors",
        "!! data/own-1/vocab.json",
    ]


def test_added_params_keep_their_comments_quotes_and_numbers(
    untracked: Project, matrix: Path
) -> None:
    assert untracked.command_here("add", "own", "--embedding", str(matrix)).code == 0
    lines = (untracked.folder / "params.yaml").read_text().splitlines()
    before = PARAMS.splitlines()
    assert [nth for nth in range(len(before)) if lines[nth] != before[nth]] == [1, 5]
    assert len(lines) == len(before)
    assert lines[1].split("#") == ['models: [tiny, "quoted", own]  ', " measured and extracted"]
    assert lines[5].split("#") == ["  discover: ['tiny', own]   ", " found here"]


def test_next_steps_are_printed(untracked: Project, matrix: Path) -> None:
    done = untracked.command_here("add", "own", "--embedding", str(matrix))
    assert done.err == ""
    assert "dvc repro" in done.out
    assert "git add params.yaml dvc.yaml dvc.lock data/own" in done.out


def test_add_and_remove_restore_the_repository(repo: Project, matrix: Path) -> None:
    before, status_before = tree(repo), status(repo)
    assert repo.command_process("add", "own", "--embedding", str(matrix)).code == 0
    assert tree(repo) != before
    done = repo.command_process("remove", "own")
    assert (done.code, done.err) == (0, "")
    assert {name: content for name, content in tree(repo).items() if name != "data"} == before
    assert status(repo) == status_before


def test_cluster_file_is_tracked_byte_for_byte_and_not_discovered(
    repo: Project, matrix: Path, tmp_path: Path
) -> None:
    ids = write(
        tmp_path / "1.4h cluster.safetensors",
        cluster_token_ids=np.array(project.CLUSTER_IDS),
        cluster_mask=np.zeros(5, np.bool_),
        adjacency_threshold=np.array([0.002], np.float32),
    )
    done = repo.command_process(
        "add", "own", "--embedding", str(matrix), "--cluster-tokens", str(ids)
    )
    assert (done.code, done.err) == (0, "")
    folder = repo.folder / "data" / "own"
    assert (folder / "cluster_tokens.safetensors").read_bytes() == ids.read_bytes()
    assert (folder / "cluster_tokens.safetensors.dvc").is_file()
    assert git(repo.folder, "check-ignore", "data/own/cluster_tokens.safetensors").strip()
    loaded = params.load(repo.folder / "params.yaml")
    assert loaded.models == ["tiny", "quoted", "own"]
    assert loaded.cluster.discover == ["tiny"]
    assert repo.stage_here("measure", "own") == Done(0, "", "")


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.float32, torch.float64, torch.bfloat16], ids=str
)
def test_matrix_keeps_its_dtype(untracked: Project, tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.arange(12).reshape(4, 3).to(dtype) / 3
    safetensors.torch.save_file({"x": values}, tmp_path / "m", metadata={"format": "pt"})
    assert untracked.command_here("add", "own", "--embedding", str(tmp_path / "m")).code == 0
    content = (untracked.folder / "data" / "own" / "W.safetensors").read_bytes()
    assert content == safetensors.torch.save({"W": values}, {"tensor": "x"})


def test_tensor_is_chosen_by_its_key(untracked: Project, tmp_path: Path) -> None:
    embed, head = np.ones((3, 2), np.float32), np.full((3, 2), 2, np.float32)
    path = write(tmp_path / "m", embed=embed, head=head)
    done = untracked.command_here("add", "own", "--embedding", str(path), "--tensor", "head")
    assert done.code == 0
    content = (untracked.folder / "data" / "own" / "W.safetensors").read_bytes()
    assert content == safetensors.numpy.save(
        {"W": np.full((3, 2), 2, np.float32)}, {"tensor": "head"}
    )


def test_only_matrix_is_found_among_other_tensors(untracked: Project, tmp_path: Path) -> None:
    path = write(
        tmp_path / "m",
        bias=np.ones(3, np.float32),
        ids=np.ones((2, 2), np.int64),
        weight=np.ones((3, 2), np.float16),
        conv=np.ones((1, 1, 1), np.float32),
    )
    assert untracked.command_here("add", "own", "--embedding", str(path)).code == 0
    content = (untracked.folder / "data" / "own" / "W.safetensors").read_bytes()
    assert content == safetensors.numpy.save(
        {"W": np.ones((3, 2), np.float16)}, {"tensor": "weight"}
    )


def test_relative_path_and_a_link_are_followed(untracked: Project, matrix: Path) -> None:
    (untracked.folder / "link").symlink_to(matrix)
    assert untracked.command_here("add", "own", "--embedding", "link").code == 0
    folder = untracked.folder / "data" / "own"
    assert not (folder / "W.safetensors").is_symlink()
    assert matrix.is_file()


@pytest.mark.parametrize("name", ["007", "1e3", "true", "null", "off", "2001-02-03", "x" * 100])
def test_name_that_yaml_would_read_as_something_else_stays_a_name(
    untracked: Project, matrix: Path, name: str
) -> None:
    before = tree(untracked)
    assert untracked.command_here("add", name, "--embedding", str(matrix)).code == 0
    assert params.load(untracked.folder / "params.yaml").models[-1] == name
    assert untracked.stage_here("cluster", name) == Done(0, "", "")
    assert untracked.command_here("remove", name).code == 0
    assert {path: content for path, content in tree(untracked).items() if path != "data"} == before


LAYOUTS = {
    "as it is": PARAMS,
    "block lists": """\
models:
  - tiny   # the first
  - other
# between
fetch: {}
cluster:
  discover:
    - tiny
  # behind the list
  adjacency_threshold: 2e-3
measure: {device: cpu}
extract: {distance: ulp, radius: 3}
draw: {format: svg, theme: light}
""",
    "block lists without indentation": """\
models:
- tiny
fetch: {}
cluster:
  discover:
  - tiny
  adjacency_threshold: 0.002
measure: {device: cpu}
extract: {distance: ulp, radius: 3}
draw: {format: svg, theme: light}
""",
    "empty lists": """\
models: []  # none yet
fetch: {}
cluster:
  adjacency_threshold: 0.002
  discover: []   # none yet
measure:
    device: cpu
extract:
    distance: ulp
    radius: 3
draw: {format: svg, theme: light}
""",
    "a list over several lines": """\
models: [
  tiny,  # the first
  other,
]
fetch: {}
cluster:
  adjacency_threshold: 0.002
  discover: [tiny]
measure: {device: cpu}
extract: {distance: ulp, radius: 3}
draw: {format: svg, theme: light}
""",
    "no line break at the end": PARAMS.rstrip("\n"),
    "blank lines at the end": PARAMS + "\n\n# the end\n\n",
    "a document start": "---\n" + PARAMS,
    "carriage returns": PARAMS.replace("\n", "\r\n"),
    "a byte order mark": "\ufeff" + PARAMS,
    "letters beyond ASCII": PARAMS.replace("# L2", "# Größe 模型"),
    "a long comment and a long list": PARAMS.replace(
        '[tiny, "quoted"]', "[tiny, " + ", ".join(f"model-{n}" for n in range(60)) + "]"
    ).replace("# L2", "# L2 " + "very " * 60),
    "numbers in other ways": PARAMS.replace("0.0020", "+2.0E-03").replace("2.70", "3."),
    "wide spaces": PARAMS.replace("models: [tiny, ", "models:   [ tiny,   "),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("given", [False, True], ids=["discovered", "given"])
def test_add_and_remove_restore_params_byte_for_byte(
    untracked: Project, matrix: Path, tmp_path: Path, layout: str, given: bool
) -> None:
    path = untracked.folder / "params.yaml"
    path.write_bytes(LAYOUTS[layout].encode())
    before = params.load(path)
    arguments = ["--embedding", str(matrix)]
    if given:
        ids = write(tmp_path / "ids", cluster_token_ids=np.array([1, 2]))
        arguments += ["--cluster-tokens", str(ids)]
    assert untracked.command_here("add", "own", *arguments).code == 0
    added = params.load(path)
    assert added.models == [*before.models, "own"]
    assert added.cluster.discover == [*before.cluster.discover, *([] if given else ["own"])]
    assert untracked.command_here("remove", "own").code == 0
    assert path.read_bytes() == LAYOUTS[layout].encode()


# ---- what add refuses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", "A", "a.b", "a/b", "../x", "a b", "a_b", "é", "$(x)", "a;b", "a\nb", "."]
)
def test_name_that_is_no_slug_is_refused(untracked: Project, matrix: Path, name: str) -> None:
    check_add_refused(untracked, [name, "--embedding", str(matrix)], repr(name), "letters a-z")


@pytest.mark.parametrize("name", ["tiny", "quoted"])
def test_name_of_a_model_is_refused(untracked: Project, matrix: Path, name: str) -> None:
    check_add_refused(untracked, [name, "--embedding", str(matrix)], name, "not in use")


def test_name_of_a_model_that_is_only_fetched_or_discovered_is_refused(
    untracked: Project, matrix: Path
) -> None:
    text = PARAMS.replace("fetch: {}", 'fetch: {far: {source: "replica:x"}}')
    untracked.write_params(text.replace("['tiny']", "['tiny', seen]"))
    for name in ("far", "seen"):
        check_add_refused(untracked, [name, "--embedding", str(matrix)], name, "not in use")


def test_name_of_a_folder_that_is_there_is_refused_and_the_folder_is_kept(
    untracked: Project, matrix: Path
) -> None:
    (untracked.folder / "data" / "mine").mkdir(parents=True)
    (untracked.folder / "data" / "mine" / "notes.txt").write_text("precious")
    check_add_refused(
        untracked, ["mine", "--embedding", str(matrix)], "data/mine", "core-tokens remove"
    )
    assert untracked.command_here("remove", "mine").err.startswith(
        "error: data/mine/notes.txt: found a file of no model; expected it to be moved away"
    )
    assert (untracked.folder / "data" / "mine" / "notes.txt").read_text() == "precious"


@pytest.mark.parametrize(
    "left",
    [
        [],
        [".W.safetensors.0123abcd.tmp"],
        [".x4WVLfW5rxnzhf3DlKWNYA.tmp"],
        ["W.safetensors", "vocab.json"],
        # What a branch that has the model leaves behind.
        ["W.safetensors", "cluster_tokens.safetensors", "measurements.safetensors", "core.csv"],
    ],
)
def test_what_a_killed_add_has_left_can_be_removed(
    untracked: Project, matrix: Path, left: list[str]
) -> None:
    folder = untracked.folder / "data" / "own"
    folder.mkdir(parents=True)
    for name in left:
        (folder / name).write_bytes(b"half")
    before = (untracked.folder / "params.yaml").read_bytes()
    done = untracked.command_here("add", "own", "--embedding", str(matrix))
    project.check_refusal(done, "core-tokens remove own")
    assert untracked.command_here("remove", "own").code == 0
    assert not folder.exists()
    assert (untracked.folder / "params.yaml").read_bytes() == before
    assert untracked.command_here("add", "own", "--embedding", str(matrix)).code == 0


@pytest.mark.parametrize(
    "lock", [b"stages: [", b"[1, 2]", b"\xff\xfe\x00", b"<<<<<<< HEAD\na: 1\n"]
)
def test_a_broken_lock_file_stops_remove_before_anything_is_changed(
    untracked: Project, matrix: Path, lock: bytes
) -> None:
    untracked.command_here("add", "own", "--embedding", str(matrix))
    (untracked.folder / "dvc.lock").write_bytes(lock)
    before = tree(untracked)
    done = untracked.command_here("remove", "own")
    assert done.code == 1
    assert done.err == (
        "error: dvc.lock: found no valid lock file; "
        "expected what DVC wrote: git checkout dvc.lock\n"
    )
    assert tree(untracked) == before


@pytest.mark.parametrize("process", [False, True])
def test_missing_file_is_refused(untracked: Project, tmp_path: Path, process: bool) -> None:
    path = str(tmp_path / "nowhere.safetensors")
    check_add_refused(
        untracked, ["own", "--embedding", path], path, "no such file", process=process
    )


def test_folder_in_place_of_a_file_is_refused(untracked: Project, tmp_path: Path) -> None:
    check_add_refused(untracked, ["own", "--embedding", str(tmp_path)], str(tmp_path), "folder")


class Payload:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return (Path.touch, (Path("unpickled"),))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "W.safetensors", "a.pt", "a.pth", "a.ckpt"])
@pytest.mark.parametrize("form", ["pickle", "old pickle", "torch"])
def test_a_pickle_is_refused_with_the_reason_and_never_read(
    untracked: Project, tmp_path: Path, form: str, name: str
) -> None:
    path = tmp_path / name
    if form == "torch":
        torch.save({"W": torch.ones(2, 2), "payload": Payload()}, path)
    else:
        path.write_bytes(pickle.dumps([Payload()] * 9, 4 if form == "pickle" else 2))
    check_add_refused(
        untracked,
        ["own", "--embedding", str(path)],
        str(path),
        "runs code when it is read",
        "README",
    )
    assert not (untracked.folder / "unpickled").exists()
    assert not Path("unpickled").exists()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"GGUF\x03\0\0\0" + bytes(60), "GGUF"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "HDF5"),
        (b"\x93NUMPY\x01\0" + bytes(60), "an array of NumPy"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ],
)
def test_a_file_of_another_kind_is_called_by_its_name(
    untracked: Project, tmp_path: Path, content: bytes, kind: str
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    check_add_refused(untracked, ["own", "--embedding", str(path)], str(path), kind)


def test_the_line_of_the_readme_converts_a_pickle(tmp_path: Path, matrix: Path) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    (line,) = re.findall(r"^\$ (python -c .*torch\.load.*)$", readme, re.MULTILINE)
    weights = safetensors.torch.load_file(matrix)
    torch.save(weights, tmp_path / "pytorch_model.bin")
    command = [sys.executable, *shlex.split(line)[1:]]
    subprocess.run(command, check=True, cwd=tmp_path)
    converted = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert converted.keys() == weights.keys()
    assert all(torch.equal(converted[name], weights[name]) for name in weights)
    torch.save({"payload": Payload()}, tmp_path / "pytorch_model.bin")
    assert subprocess.run(command, check=False, cwd=tmp_path, capture_output=True).returncode
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize("spoil", project.SPOILED.values(), ids=project.SPOILED)
@pytest.mark.parametrize("which", ["matrix", "ids"])
def test_spoiled_file_is_refused(
    untracked: Project, matrix: Path, tmp_path: Path, spoil: Callable[[bytes], bytes], which: str
) -> None:
    ids = write(tmp_path / "ids.safetensors", cluster_token_ids=np.array([1, 2]))
    path = {"matrix": matrix, "ids": ids}[which]
    project.spoil_file(path, spoil)
    arguments = ["own", "--embedding", str(matrix), "--cluster-tokens", str(ids)]
    check_add_refused(untracked, arguments, str(path), "safetensors file")


@pytest.mark.parametrize(
    ("arrays", "mentions"),
    [
        ({}, ("no matrix", "no tensors")),
        ({"b": np.ones(3, np.float32)}, ("no matrix", "b F32[3]")),
        ({"b": np.ones((1, 1, 1), np.float32)}, ("no matrix", "b F32[1, 1, 1]")),
        ({"b": np.ones((2, 2), np.int32)}, ("no matrix", "b I32[2, 2]")),
        (
            {"head": np.ones((2, 2), np.float32), "embed": np.ones((3, 2), np.float16)},
            ("2 matrices", "embed F16[3, 2]", "head F32[2, 2]", "--tensor"),
        ),
        ({"W": np.ones((0, 2), np.float32)}, ("F32[0, 2]",)),
    ],
)
def test_file_without_the_one_matrix_is_refused_and_its_tensors_are_listed(
    untracked: Project, tmp_path: Path, arrays: dict[str, NDArray[Any]], mentions: tuple[str, ...]
) -> None:
    path = write(tmp_path / "m", **arrays)
    check_add_refused(untracked, ["own", "--embedding", str(path)], str(path), *mentions)


@pytest.mark.parametrize(
    ("key", "mentions"),
    [
        ("nowhere", ("nowhere", "no such tensor", "b F32[3]", "c I64[2, 2]")),
        ("b", ("b", "F32[3]", "[vocab, dim]")),
        ("c", ("c", "I64[2, 2]", "BF16")),
    ],
)
def test_tensor_that_is_no_matrix_of_floats_is_refused(
    untracked: Project, tmp_path: Path, key: str, mentions: tuple[str, ...]
) -> None:
    path = write(tmp_path / "m", a=np.ones((2, 2), np.float32), b=np.ones(3, np.float32),
                 c=np.ones((2, 2), np.int64))  # fmt: skip
    arguments = ["own", "--embedding", str(path), "--tensor", key]
    check_add_refused(untracked, arguments, f"{path}: {key}", *mentions)


@pytest.mark.parametrize(
    ("name", "ids", "mentions"),
    [
        ("cluster_token_ids", np.array([1, 12]), ("the id 12", "0 to 11")),
        ("cluster_token_ids", np.array([-1, 2]), ("negative id -1",)),
        ("cluster_token_ids", np.array([1, 1]), ("the id 1 more than once",)),
        ("cluster_token_ids", np.array([], np.int64), ("no ids",)),
        ("cluster_token_ids", np.array([1.0]), ("F64[1]", "I64[")),
        ("cluster_token_ids", np.array([[1]]), ("I64[1, 1]", "I64[")),
        ("ids", np.array([1, 2]), ("no such tensor", "ids I64[2]")),
    ],
)
def test_wrong_cluster_file_is_refused(
    untracked: Project, matrix: Path, tmp_path: Path, name: str, ids: NDArray[Any],
    mentions: tuple[str, ...],
) -> None:  # fmt: skip
    path = write(tmp_path / "ids.safetensors", **{name: ids})
    arguments = ["own", "--embedding", str(matrix), "--cluster-tokens", str(path)]
    check_add_refused(untracked, arguments, f"{path}: cluster_token_ids", *mentions)


def test_missing_cluster_file_is_refused(untracked: Project, matrix: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "nowhere")
    arguments = ["own", "--embedding", str(matrix), "--cluster-tokens", path]
    check_add_refused(untracked, arguments, path, "no such file")


def test_nan_in_a_cluster_row_is_refused(untracked: Project, tmp_path: Path) -> None:
    values = project.tiny_matrix()
    values[2, 3] = np.nan
    path = write(tmp_path / "m", W=values)
    ids = write(tmp_path / "ids", cluster_token_ids=np.array([1, 2]))
    arguments = ["own", "--embedding", str(path), "--cluster-tokens", str(ids)]
    check_add_refused(untracked, arguments, f"{path}: ", "nan", "row 2", "dimension 3")


def test_nan_in_a_matrix_under_another_name_is_reported_under_that_name(
    untracked: Project, tmp_path: Path
) -> None:
    path = write(tmp_path / "m", head=np.full((2, 2), np.nan, ml_dtypes.bfloat16))
    ids = write(tmp_path / "ids", cluster_token_ids=np.array([0, 1]))
    arguments = ["own", "--embedding", str(path), "--cluster-tokens", str(ids)]
    check_add_refused(untracked, arguments, f"{path}: head", "row 0")


@pytest.mark.parametrize(("spoil", "mention"), project.BAD_PARAMS.values(), ids=project.BAD_PARAMS)
def test_bad_params_are_refused(
    untracked: Project, matrix: Path, spoil: Callable[[Project], None], mention: str
) -> None:
    spoil(untracked)
    check_add_refused(untracked, ["own", "--embedding", str(matrix)], "params.yaml", mention)


def test_disk_that_is_too_small_is_refused(
    untracked: Project, matrix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    check_add_refused(
        untracked, ["own", "--embedding", str(matrix)], str(matrix), "192 bytes", "10"
    )


def test_project_without_dvc_is_refused(repo: Project, matrix: Path) -> None:
    (repo.folder / ".dvc").rename(repo.folder.parent / "away")
    check_add_refused(repo, ["own", "--embedding", str(matrix)], ".dvc", "dvc init", process=True)


def test_failing_dvc_leaves_nothing(repo: Project, matrix: Path) -> None:
    (repo.folder / ".dvc" / "config").write_text("[core\n")
    check_add_refused(repo, ["own", "--embedding", str(matrix)], "dvc add")


def test_failing_dvc_is_quoted_with_its_reason(repo: Project, matrix: Path) -> None:
    (repo.folder / "dvc.yaml").write_text("stages: 3\n")  # it reads all of them
    arguments = ["own", "--embedding", str(matrix)]
    check_add_refused(repo, arguments, "dvc add", "dvc.yaml")
    assert "troubles" not in repo.command_here("add", *arguments).err


def test_a_pipeline_that_is_no_yaml_is_refused_before_anything_is_copied(
    repo: Project, matrix: Path
) -> None:
    (repo.folder / "dvc.yaml").write_text("stages: [\n")
    check_add_refused(repo, ["own", "--embedding", str(matrix)], "dvc.yaml", "no valid YAML")


def test_the_core_of_a_model_is_an_artifact_as_long_as_it_is_listed(
    repo: Project, matrix: Path
) -> None:
    path = repo.folder / "dvc.yaml"
    path.write_text("# mine\nstages: {}\n")
    assert repo.command_here("add", "own", "--embedding", str(matrix)).code == 0
    text = path.read_text()
    assert text.startswith("# mine\nstages: {}\n")
    assert YAML(typ="safe").load(text)["artifacts"] == {
        "own": {
            "path": "data/own/core_tokens.safetensors",
            "type": "dataset",
            "desc": "Core tokens of own",
        }
    }
    assert repo.command_here("remove", "own").code == 0
    assert path.read_text() == "# mine\nstages: {}\n\nartifacts: {}\n"


def test_list_that_stands_for_two_is_refused(untracked: Project, matrix: Path) -> None:
    text = PARAMS.replace('[tiny, "quoted"]', "&all [tiny]").replace("['tiny']", "*all")
    (untracked.folder / "params.yaml").write_text(text)
    check_add_refused(untracked, ["own", "--embedding", str(matrix)], "params.yaml")


def test_failing_dvc_leaves_the_other_models(repo: Project, matrix: Path) -> None:
    (repo.folder / "data" / "tiny").mkdir(parents=True)
    (repo.folder / "data" / "tiny" / "W.safetensors").write_bytes(b"precious")
    (repo.folder / ".dvc" / "config").write_text("[core\n")
    check_add_refused(repo, ["own", "--embedding", str(matrix)], "dvc add")


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_failure_while_copying_leaves_nothing(
    untracked: Project, matrix: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(_: object, __: Place, target: Path) -> str:
        target.write_bytes(b"half")
        raise failure

    monkeypatch.setattr(sources, "copy_matrix", fail)
    before = tree(untracked)
    done = untracked.command_here("add", "own", "--embedding", str(matrix))
    assert done.code in (1, 130)
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert tree(untracked) == before


# ---- remove ----------------------------------------------------------------------------------


def test_model_that_is_not_there_is_not_removed(untracked: Project) -> None:
    before = tree(untracked)
    project.check_refusal(untracked.command_here("remove", "other"), "other", "tiny", "quoted")
    assert tree(untracked) == before


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/", "data", "Tiny", "*"])
def test_name_that_is_no_model_removes_nothing(untracked: Project, name: str) -> None:
    (untracked.folder / "data" / "tiny").mkdir(parents=True)
    before = tree(untracked)
    project.check_refusal(untracked.command_here("remove", name))
    assert tree(untracked) == before


def test_removal_takes_the_model_out_of_every_list_and_the_lock(untracked: Project) -> None:
    text = PARAMS.replace(
        "fetch: {}", 'fetch:\n  tiny: {source: "replica:x"}\n  other: {source: y}'
    )
    untracked.write_params(text)
    lock = """\
schema: '2.0'
stages:
  cluster@tiny:
    cmd: python -m core_tokens.stages.cluster tiny
  measure@not-tiny:
    cmd: python -m core_tokens.stages.measure not-tiny
  measure@tiny:
    cmd: python -m core_tokens.stages.measure tiny
"""
    (untracked.folder / "dvc.lock").write_text(lock)
    for name in ("tiny", "quoted"):
        (untracked.folder / "data" / name).mkdir(parents=True)
        (untracked.folder / "data" / name / "core.json").write_text("{}\n")
    done = untracked.command_here("remove", "tiny")
    assert (done.code, done.err) == (0, "")
    loaded = params.load(untracked.folder / "params.yaml")
    assert (loaded.models, loaded.cluster.discover, list(loaded.fetch)) == (
        ["quoted"], [], ["other"],
    )  # fmt: skip
    assert (untracked.folder / "dvc.lock").read_text() == (
        "schema: '2.0'\n"
        "stages:\n"
        "  measure@not-tiny:\n"
        "    cmd: python -m core_tokens.stages.measure not-tiny\n"
    )
    assert [path.name for path in (untracked.folder / "data").iterdir()] == ["quoted"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_removal_of_every_model_leaves_params_that_can_be_read(
    untracked: Project, matrix: Path, layout: str
) -> None:
    path = untracked.folder / "params.yaml"
    path.write_bytes(LAYOUTS[layout].encode())
    for name in params.load(path).models[:3]:
        assert untracked.command_here("remove", name).code == 0
        left = params.load(path)
        assert name not in {*left.models, *left.cluster.discover}
    assert untracked.command_here("add", "own", "--embedding", str(matrix)).code == 0
    assert params.load(path).models[-1] == "own"


def test_removal_of_a_linked_folder_keeps_what_it_points_to(
    untracked: Project, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "W.safetensors").write_bytes(b"precious")
    (untracked.folder / "data").mkdir()
    (untracked.folder / "data" / "tiny").symlink_to(tmp_path / "elsewhere")
    assert untracked.command_here("remove", "tiny").code == 0
    assert not (untracked.folder / "data" / "tiny").is_symlink()
    assert (tmp_path / "elsewhere" / "W.safetensors").read_bytes() == b"precious"


def test_model_without_data_is_removed(untracked: Project) -> None:
    assert untracked.command_here("remove", "quoted").code == 0
    assert params.load(untracked.folder / "params.yaml").models == ["tiny"]


def test_lock_of_other_models_is_not_touched(untracked: Project) -> None:
    lock = "schema: '2.0'\nstages:\n    odd@x:   {cmd: y}\n"
    (untracked.folder / "dvc.lock").write_text(lock)
    before = (untracked.folder / "dvc.lock").stat().st_mtime_ns
    assert untracked.command_here("remove", "quoted").code == 0
    assert (untracked.folder / "dvc.lock").read_text() == lock
    assert (untracked.folder / "dvc.lock").stat().st_mtime_ns == before
