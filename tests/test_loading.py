import gc
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.numpy import load_file

import core_tokens
from core_tokens.errors import CoreTokensError, FileError, TensorError, UsageError
from repository import Repository, clone
from team import copy_of

pytestmark = [
    # What DVC and its Git leave open they close when it is collected; that is said by no test here.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

CORE = "data/tiny/core_tokens.safetensors"
MEASUREMENTS = "data/tiny/measurements.safetensors"


@dataclass(frozen=True)
class Team:
    """A project with two revisions, pushed, and a place that never saw it."""

    project: Repository
    remote: Path
    wide: str
    narrow: str

    @property
    def url(self) -> str:
        return self.project.path.as_uri()

    def stored(self, path: str, rev: str = "HEAD") -> Path:
        """Where the remote has a file."""
        text = self.project.run("git", "show", f"{rev}:dvc.lock").stdout
        stages = YAML(typ="safe").load(text)["stages"].values()
        md5 = next(o["md5"] for stage in stages for o in stage["outs"] if o["path"] == path)
        return Path(self.remote, "files/md5", md5[:2], md5[2:])


@pytest.fixture(scope="module")
def made(team_project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    folder = tmp_path_factory.mktemp("made")
    project = copy_of(team_project, folder / "project")
    project.run("core-tokens", "remote", "add", "team", str(folder / "remote"), "--default")
    revisions = []
    for radius in ("3.0", "1.0"):
        project.set_param("radius:", f"radius: {radius}")
        project.dvc("repro")
        project.commit(f"Radius {radius}")
        project.dvc("push")
        revisions.append(project.run("git", "rev-parse", "HEAD").stdout.strip())
    project.run("git", "tag", "wide", "HEAD~1")
    (folder / "remote").rename(folder / "as-pushed")
    return folder, revisions[0], revisions[1]


@pytest.fixture
def team(made: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    folder, wide, narrow = made
    shutil.copytree(folder / "project", tmp_path / "project")
    shutil.rmtree(folder / "remote", ignore_errors=True)
    shutil.copytree(folder / "as-pushed", folder / "remote")
    project, remote = Repository(tmp_path / "project"), folder / "remote"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site-cache"))
    monkeypatch.chdir(tmp_path)
    return Team(project, remote, wide, narrow)


@pytest.fixture(autouse=True)
def _forget_clones() -> Iterator[None]:
    """A test has a team of its own, at another path; no clone needs to outlive it."""
    yield
    from dvc.repo.open_repo import clean_repos

    clean_repos()
    gc.collect()


def check(error: CoreTokensError, *mentions: str) -> None:
    assert "\n" not in str(error)
    for mention in mentions:
        assert mention in str(error), str(error)


# ---- the core ------------------------------------------------------------------------------------


def test_of_a_folder_it_is_what_lies_there(team: Team) -> None:
    there = load_file(team.project.path / CORE)
    loaded = core_tokens.load(team.project.path)
    assert loaded.model == "tiny"
    assert isinstance(loaded.token_ids, np.ndarray)
    assert loaded.token_ids.dtype == np.int64
    assert np.array_equal(loaded.token_ids, there["cluster_token_ids"])
    assert (loaded.distance, loaded.radius) == ("ulp", 1.0)
    metrics = json.loads((team.project.path / "data/tiny/core.json").read_text())
    assert loaded.metrics == metrics
    assert [loaded.core_tokens, loaded.core_vectors] == [11, metrics["core"]["vectors"]]
    assert [loaded.halo_tokens, loaded.halo_vectors] == [9, metrics["halo"]["vectors"]]
    assert loaded.params["extract"] == {"distance": "ulp", "radius": 1.0}
    assert loaded.rev == team.narrow


@pytest.mark.parametrize("place", ["folder", "url"])
@pytest.mark.parametrize("name", ["commit", "tag", "parent"])
def test_of_a_revision_it_is_what_was_there(team: Team, place: str, name: str) -> None:
    rev = {"commit": team.wide, "tag": "wide", "parent": f"{team.narrow}~1"}[name]
    shutil.rmtree(team.project.path / ".dvc/cache")
    repo = team.project.path if place == "folder" else team.url
    loaded = core_tokens.load(repo, "tiny", rev)
    assert (loaded.radius, loaded.core_tokens, loaded.rev) == (3.0, 17, team.wide)
    assert len(loaded.token_ids) == 17


def test_of_a_url_it_is_the_default_branch(team: Team) -> None:
    team.project.run("git", "checkout", "--quiet", "-b", "other")
    team.project.run("git", "checkout", "--quiet", "main")
    loaded = core_tokens.load(team.url)
    assert (loaded.radius, loaded.rev) == (1.0, team.narrow)


def test_a_second_call_sees_what_was_pushed_meanwhile(team: Team) -> None:
    assert core_tokens.load(team.url, rev="main").radius == 1.0
    team.project.set_param("radius:", "radius: 2.0")
    team.project.dvc("repro")
    team.project.commit("Radius 2")
    team.project.dvc("push")
    assert core_tokens.load(team.url, rev="main").radius == 2.0


def test_an_experiment_is_a_revision(team: Team) -> None:
    team.project.dvc("exp", "run", "--name", "wider", "--set-param", "extract.radius=4")
    team.project.run("git", "checkout", "--quiet", "--", ".")
    team.project.dvc("checkout")
    assert core_tokens.load(team.project.path, rev="wider").radius == 4.0
    assert core_tokens.load(team.project.path).radius == 1.0


def test_a_working_tree_with_changes_is_no_revision(team: Team) -> None:
    team.project.set_param("radius:", "radius: 2.0")
    team.project.dvc("repro")
    loaded = core_tokens.load(team.project.path)
    assert (loaded.radius, loaded.rev) == (2.0, "")


def test_only_the_core_is_brought(team: Team) -> None:
    core, before = team.stored(CORE), list(team.remote.rglob("*"))
    for path in [path for path in before if path.is_file() and path != core]:
        path.unlink()
    shutil.rmtree(team.project.path / ".dvc/cache")
    assert core_tokens.load(team.url).core_tokens == 11
    bare = clone(team.project, team.project.path.parent / "bare")
    assert core_tokens.load(bare.path).core_tokens == 11
    assert not (bare.path / ".dvc/cache").exists()
    assert bare.git_status() == ""


def test_a_remote_may_be_named(team: Team, tmp_path: Path) -> None:
    team.project.run("core-tokens", "remote", "add", "second", str(tmp_path / "second"))
    team.project.commit("A second remote")
    team.project.dvc("push", "--remote", "second", "extract@tiny")
    shutil.rmtree(team.remote)
    with pytest.raises(FileError) as caught:
        core_tokens.load(team.url)
    check(caught.value, team.url, CORE, "no such file", "pushed to a remote")
    assert core_tokens.load(team.url, remote="second").core_tokens == 11


def test_torch_tensors_if_asked_for(team: Team) -> None:
    arrays = core_tokens.load(team.project.path)
    tensors = core_tokens.load(team.project.path, framework="pt")
    assert isinstance(tensors.token_ids, torch.Tensor)
    assert tensors.token_ids.dtype == torch.int64
    assert tensors.token_ids.tolist() == arrays.token_ids.tolist()


def test_what_is_loaded_is_frozen(team: Team) -> None:
    loaded = core_tokens.load(team.project.path)
    with pytest.raises(FrozenInstanceError):
        loaded.radius = 2.0  # type: ignore[misc]
    assert loaded == loaded
    assert loaded in {loaded}


# ---- the vectors ---------------------------------------------------------------------------------


def test_the_vectors_are_those_that_were_measured(team: Team) -> None:
    there = load_file(team.project.path / MEASUREMENTS)
    shutil.rmtree(team.project.path / ".dvc/cache")
    loaded = core_tokens.load_vectors(team.url, rev="wide")
    for name in ("vectors", "populations", "token_ids", "vector_of_token"):
        assert np.array_equal(getattr(loaded, name), there[name]), name
        assert getattr(loaded, name).dtype == there[name].dtype
    assert loaded.origin == there["origin"][0]
    assert 2.0**loaded.measured.ulp_exponent == there["ulp"][0]
    metrics = json.loads((team.project.path / "data/tiny/measure.json").read_text())
    assert loaded.metrics == metrics
    assert loaded.measured.changed_tokens == metrics["cast"]["changed_tokens"]
    assert loaded.rev == team.wide


def test_a_core_can_be_cut_from_them(team: Team) -> None:
    loaded = core_tokens.load_vectors(team.project.path)
    core = core_tokens.core_within(loaded.measured, 3)
    assert np.array_equal(core.token_ids, core_tokens.load(team.project.path, rev="wide").token_ids)


def test_the_vectors_as_tensors_keep_their_dtype(team: Team) -> None:
    arrays = core_tokens.load_vectors(team.project.path)
    tensors = core_tokens.load_vectors(team.project.path, framework="pt")
    assert isinstance(tensors.vectors, torch.Tensor)
    assert tensors.vectors.dtype == torch.bfloat16
    assert np.array_equal(tensors.vectors.float().numpy(), np.asarray(arrays.vectors, np.float32))


# ---- what is refused -----------------------------------------------------------------------------


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)


@pytest.mark.parametrize("spoil", [flip, lambda path: path.write_bytes(path.read_bytes()[:-9])])
def test_a_corrupt_object_of_a_remote_is_refused(team: Team, spoil: Callable[[Path], Any]) -> None:
    shutil.rmtree(team.project.path / ".dvc/cache")
    team.stored(CORE).chmod(0o644)
    spoil(team.stored(CORE))
    for repo, rev in ((team.url, None), (team.project.path, "HEAD")):
        with pytest.raises(FileError) as caught:
            core_tokens.load(repo, rev=rev)
        check(caught.value, CORE, "the md5", "core-tokens doctor --fix")


def test_a_corrupt_object_of_the_cache_is_refused(team: Team) -> None:
    flip(
        team.project.path
        / ".dvc/cache/files"
        / team.stored(CORE).relative_to(team.remote / "files")
    )
    with pytest.raises(FileError) as caught:
        core_tokens.load(team.project.path, rev=team.narrow)
    check(caught.value, CORE, "the md5")


def test_a_core_and_metrics_of_two_runs_are_refused(team: Team) -> None:
    path = team.project.path / "data/tiny/core.json"
    path.write_text(path.read_text().replace("11", "12"))
    with pytest.raises(FileError) as caught:
        core_tokens.load(team.project.path)
    check(caught.value, "core.json", "12 tokens", "11", "dvc repro")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"core": {"tokens": "11"}}', "[" * 10**5])
def test_metrics_that_are_none_are_refused(team: Team, content: str) -> None:
    (team.project.path / "data/tiny/core.json").write_text(content)
    with pytest.raises(FileError) as caught:
        core_tokens.load(team.project.path)
    check(caught.value, "data/tiny/core.json")


def test_a_file_that_is_no_core_is_refused_by_its_name(team: Team) -> None:
    shutil.copy(team.project.path / MEASUREMENTS, team.project.path / CORE)
    with pytest.raises(TensorError) as caught:
        core_tokens.load(team.project.path)
    check(caught.value, f"{team.project.path}: {CORE}: max_core_radius_ulp")


@pytest.mark.parametrize("name", ["other", "../tiny", "", 3])
def test_another_model_is_refused_with_those_that_are_there(team: Team, name: Any) -> None:
    with pytest.raises(UsageError) as caught:
        core_tokens.load(team.project.path, name)
    check(caught.value, f"the model {name!r}", "one of: tiny")


@pytest.mark.parametrize("models", ["5", "{a: b}", "null", "[5]", "tiny"])
def test_models_that_are_no_list_are_none(team: Team, models: str) -> None:
    team.project.set_param("models:", f"models: {models}")
    with pytest.raises(UsageError, match=r"one, but params\.yaml lists none"):
        core_tokens.load(team.project.path, model="tiny")


def test_of_several_models_one_must_be_named(team: Team) -> None:
    team.project.set_param("models:", "models: [tiny, other]")
    with pytest.raises(UsageError) as caught:
        core_tokens.load(team.project.path)
    check(caught.value, "no model named", "one of: tiny, other")
    assert core_tokens.load(team.project.path, "tiny").core_tokens == 11


@pytest.mark.parametrize("rev", ["nothing", "--all"])
def test_a_revision_that_is_none_is_refused(team: Team, rev: str) -> None:
    for repo in (team.project.path, team.url):
        with pytest.raises(UsageError) as caught:
            core_tokens.load(repo, rev=rev)
        check(caught.value, rev, "no such revision")


@pytest.mark.usefixtures("team")
def test_a_place_without_a_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for repo in (tmp_path / "empty", (tmp_path / "nowhere").as_uri(), tmp_path / "nowhere", "."):
        with pytest.raises(UsageError) as caught:
            core_tokens.load(repo)
        check(caught.value, str(repo))
    with pytest.raises(UsageError, match="found no such folder; expected that of a project"):
        core_tokens.load(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="found no such folder"):
        core_tokens.load(tmp_path / "file")
    with pytest.raises(UsageError, match=r"found no clone \(No git repository"):
        core_tokens.load((tmp_path / "nowhere").as_uri())


def test_from_a_folder_of_a_project_it_is_that_project(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(team.project.path / "data")
    for repo in (".", "..", team.project.path, team.project.path / "data"):
        assert core_tokens.load(repo).core_tokens == 11


def test_a_radius_of_another_run_is_refused(team: Team) -> None:
    path = team.project.path / "data/tiny/core.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"radius": 99}))
    with pytest.raises(FileError, match=r"the radius 99, where the core file has 1\.0"):
        core_tokens.load(team.project.path)


@pytest.mark.parametrize("radius", ["0.1", "2.7", "3", "1e-3"])
def test_the_radius_is_that_of_the_parameters(team: Team, radius: str) -> None:
    team.project.set_param("radius:", f"radius: {radius}")
    team.project.dvc("repro", "extract@tiny")
    loaded = core_tokens.load(team.project.path)
    assert loaded.radius == loaded.metrics["radius"] == float(radius)


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml"])
def test_a_few_lines_that_stand_for_a_billion_values_are_refused(team: Team, name: str) -> None:
    lines = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    with (team.project.path / name).open("a") as file:
        file.write("\n".join(lines) + "\n")
    team.project.commit("A bomb")
    for repo, rev in ((team.url, None), (team.project.path, "HEAD"), (team.project.path, None)):
        with pytest.raises(FileError, match=rf"{name}: found no such thing \(more than"):
            core_tokens.load(repo, rev=rev)


@pytest.mark.parametrize("status", [401, 500])
def test_what_a_web_server_says_is_told(team: Team, status: int) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        do_HEAD = do_GET  # noqa: N815 (the names that the library looks for)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/x"
        team.project.run("core-tokens", "remote", "add", "web", url)
        team.project.commit("A remote")
        with pytest.raises(FileError, match=rf"found no such file \({status}, "):
            core_tokens.load(team.url, remote="web")
        server.shutdown()


@pytest.mark.parametrize("path", [CORE, "data/tiny/core.json", "params.yaml"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(team: Team, path: str) -> None:
    (team.project.path / path).unlink()
    os.mkfifo(team.project.path / path)
    with pytest.raises(FileError, match="found a device or a pipe; expected a file"):
        core_tokens.load(team.project.path)


def test_a_remote_that_is_not_configured_is_refused(team: Team) -> None:
    shutil.rmtree(team.project.path / ".dvc/cache")
    with pytest.raises(CoreTokensError) as caught:
        core_tokens.load(team.url, remote="nowhere")
    check(caught.value, "nowhere")


def test_another_framework_is_refused(team: Team) -> None:
    with pytest.raises(UsageError, match="'np' or 'pt'"):
        core_tokens.load(team.project.path, framework="tf")  # type: ignore[arg-type]


def test_the_lines_of_the_readme_run_as_they_are(team: Team, capsys: Any) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    (lines,) = [
        block for block in re.findall(r"```python\n(.*?)```", readme, re.S) if "load(" in block
    ]
    lines = lines.replace("https://host/team/cores.git", team.url).replace("qwen3-4b", "tiny")
    there: dict[str, Any] = {"core_tokens": core_tokens}
    exec(lines, there)
    assert there["core"].core_tokens == 11
    assert team.narrow in capsys.readouterr().out


# ---- what it costs -------------------------------------------------------------------------------


def test_importing_the_package_brings_neither_torch_nor_dvc_nor_numpy() -> None:
    code = "import core_tokens, sys; print(*{'torch', 'dvc', 'numpy', 'scipy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_loading_brings_no_torch_and_leaves_no_clone(team: Team, tmp_path: Path) -> None:
    code = (
        "import core_tokens, sys; "
        f"print(core_tokens.load({team.url!r}).core_tokens, 'torch' in sys.modules)"
    )
    (tmp_path / "temporary").mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path / "temporary"),
            "DVC_SITE_CACHE_DIR": str(tmp_path / "site-cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("11 False\n", "")
    assert list((tmp_path / "temporary").iterdir()) == []
