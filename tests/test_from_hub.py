"""From a model on the hub to its core: ``core-tokens add`` and DVC in real repositories."""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

import project
import tokenizers_made as made_here
from core_tokens import params, params_text
from hub_client import Client, Ran
from hub_server import (
    Break,
    Fault,
    Filler,
    Garbage,
    Header,
    Hub,
    RedirectLoop,
    Status,
    sharded_checkpoint,
)
from project import Project
from repository import EMPTY_PARAMS, Repository, clone, empty_project, small_matrix

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
PARAMS = """\
# what is measured
models: [tiny]  # so far
fetch:   # where from
  tiny: {source: 'replica:qwen2-5-3b-instruct'}   # a replica
cluster:
  adjacency_threshold: 0.0020  # L2
  discover: ["tiny"]

measure: {device: cpu}
extract:
  distance: ulp
  radius: 2.70  # as chosen
draw:
  format: svg
  theme: light
"""
LAYOUTS = {
    "as it is": PARAMS,
    "empty": EMPTY_PARAMS,
    "block lists": PARAMS.replace(" [tiny]  # so far", "\n  - tiny  # so far"),
    "block mapping": PARAMS.replace(
        "{source: 'replica:qwen2-5-3b-instruct'}   #", "\n    source: replica:x   #"
    ),
    "nothing fetched": PARAMS.replace(
        "fetch:   # where from\n  tiny: {source: 'replica:qwen2-5-3b-instruct'}   # a replica\n",
        "fetch: {}  # nothing\n",
    ),
    "flow mapping": PARAMS.replace(
        "fetch:   # where from\n  tiny: {source: 'replica:qwen2-5-3b-instruct'}   # a replica\n",
        "fetch: {tiny: {source: x}}  # one\n",
    ),
    "carriage returns": PARAMS.replace("\n", "\r\n"),
    "no line break at the end": PARAMS.rstrip("\n"),
    "a byte order mark": "\ufeff" + PARAMS,
}


ODD_NAMES = ["a: b #c", "007", "null", "[x]", "größe 模", 'it\'s "so"', " x ", "😀"]
"""Of tensors: what YAML reads as something else than text, or not at all, unless it is quoted."""


def two_shards(array: NDArray[Any]) -> list[dict[str, NDArray[Any] | Filler]]:
    """Two shards of a checkpoint with an unembedding and an input embedding."""
    return [{EMBEDDING: -array, "norm": np.ones(3)}, {"pad": Filler("U8", (99,)), HEAD: array}]


@dataclass(frozen=True)
class Running:
    """A hub, and a process that uses it."""

    hub: Hub
    client: Client

    def commit(self, ref: str = "main", name: str = "model") -> str:
        return self.hub.commit(f"org/{name}", ref)


@pytest.fixture(scope="module")
def module_wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("checkpoints")
    model = sharded_checkpoint(folder / "model", two_shards(small_matrix()), {"a": 1})
    two: list[dict[str, NDArray[Any] | Filler]] = [
        {"a.lm_head.weight": small_matrix(), "b.lm_head.weight": small_matrix()}
    ]
    repos: dict[str, Mapping[str, bytes | Path]] = {
        "org/model": model,
        "org/private": model,
        "org/gated": model,
        "org/two": sharded_checkpoint(folder / "two", two),
        "org/odd": {
            "model.safetensors": safetensors.numpy.save(dict.fromkeys(ODD_NAMES, small_matrix()))
        },
        "org/empty": {},
        "org/pickle": {"pytorch_model.bin": b"x"},
    }
    with Hub(repos, access={"org/private": "private", "org/gated": "gated"}) as hub:
        first = hub.commit("org/model")
        hub.repos["org/model"].refs |= {"v1": first, "refs/pr/1": first, "a/b": first}
        hub.push("org/model", {**model, "config.json": b"{}"}, ref="later")
        environment = hub.environment(tmp_path_factory.mktemp("home"))
        with Client({**environment, "HF_HUB_DOWNLOAD_TIMEOUT": "1"}) as client:
            yield Running(hub, client)


@pytest.fixture
def running(module_wide: Running) -> Running:
    module_wide.hub.faults.clear()
    module_wide.hub.reset()
    return module_wide


@pytest.fixture
def here(tmp_path: Path) -> Project:
    """A folder with params.yaml that DVC would take for its own; a hub's model needs no more."""
    (tmp_path / "here" / ".dvc").mkdir(parents=True)
    made = Project(tmp_path / "here")
    made.write_params(PARAMS)
    return made


def add(running: Running, made: Project, name: str, source: str, *more: str) -> Ran:
    return running.client.command(made.folder, "add", name, source, *more)


def check_add_refused(running: Running, made: Project, *arguments: str, mention: str) -> Ran:
    """``add`` refuses with one line, and leaves no trace."""
    before = made.snapshot()
    done = running.client.command(made.folder, "add", *arguments)
    project.check_refusal(done, mention)
    assert made.snapshot() == before
    return done


# ---- add -------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", ["", "main", "v1", "refs/pr/1", "a/b", "later", "COMMIT"])
def test_a_model_is_listed_at_the_commit_that_its_revision_stands_at(
    running: Running, here: Project, revision: str
) -> None:
    commit = running.commit("later" if revision == "later" else "main")
    source = "hf://org/model" + (f"@{revision}" if revision else "")
    done = add(running, here, "own", source.replace("COMMIT", commit))
    assert (done.code, done.err) == (0, "")
    assert (here.folder / "params.yaml").read_text() == PARAMS.replace(
        "[tiny]", "[tiny, own]"
    ).replace('["tiny"]', '["tiny", own]').replace(
        "# a replica\n", f"# a replica\n  own:\n    source: hf://org/model@{commit}\n"
    )
    assert done.out == (
        f"Listed {HEAD} F32[40, 6] of hf://org/model@{commit}, 960B to fetch, as own. To go on:"
        "\n\n    dvc repro\n    git add params.yaml dvc.yaml dvc.lock data/own\n"
    )
    assert not (here.folder / "data").exists()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_add_and_remove_restore_params_byte_for_byte(
    running: Running, here: Project, layout: str
) -> None:
    path = here.folder / "params.yaml"
    path.write_bytes(LAYOUTS[layout].encode())
    before = params.load(path)
    for name in ("own", "007"):
        assert add(running, here, name, "hf://org/model", "--which", "embedding").code == 0
    after = params.load(path)
    source = f"hf://org/model@{running.commit()}"
    wanted = params.Source(source, "embedding", None)
    assert after.models == [*before.models, "own", "007"]
    assert after.cluster.discover == [*before.cluster.discover, "own", "007"]
    assert after.fetch == {**before.fetch, "own": wanted, "007": wanted}
    for name in ("own", "007"):
        done = running.client.command(here.folder, "remove", name)
        assert (done.code, done.err) == (0, "")
    assert path.read_bytes() == LAYOUTS[layout].encode()


@pytest.mark.parametrize(
    ("arguments", "written", "key"),
    [
        ([], "", HEAD),
        (["--which", "unembedding"], "", HEAD),
        (["--which", "embedding"], "    which: embedding\n", EMBEDDING),
        (["--tensor", EMBEDDING], f"    tensor: {EMBEDDING}\n", EMBEDDING),
        (["--tensor", HEAD], f"    tensor: {HEAD}\n", HEAD),
        (
            ["--tensor", HEAD, "--which", "embedding"],
            f"    which: embedding\n    tensor: {HEAD}\n",
            HEAD,
        ),
    ],
)
def test_which_tensor_is_written_only_where_it_was_said(
    running: Running, here: Project, arguments: list[str], written: str, key: str
) -> None:
    done = add(running, here, "own", "hf://org/model", *arguments)
    assert done.out.startswith(f"Listed {key} F32[40, 6] of ")
    source = f"    source: hf://org/model@{running.commit()}\n"
    assert f"  own:\n{source}{written}cluster:\n" in (here.folder / "params.yaml").read_text()


@pytest.mark.parametrize("key", ODD_NAMES)
def test_any_name_of_a_tensor_is_written_so_that_it_is_read(
    running: Running, here: Project, key: str
) -> None:
    path = here.folder / "params.yaml"
    assert add(running, here, "own", "hf://org/odd", "--tensor", key).code == 0
    assert params.load(path).fetch["own"].tensor == key
    assert running.client.command(here.folder, "remove", "own").code == 0
    assert path.read_text() == PARAMS


def test_add_reads_an_index_and_a_header_and_no_row(running: Running, here: Project) -> None:
    assert add(running, here, "own", "hf://org/model").code == 0
    files = [request.file for request in running.hub.log if request.status in (200, 206)]
    assert files == [
        "", "", "model.safetensors.index.json", "config.json", "model-00002-of-00002.safetensors",
    ]  # fmt: skip


REFUSED: dict[str, tuple[list[str], str]] = {
    "no such model": (["own", "hf://org/no"], "no such model, or a private one"),
    "no such revision": (["own", "hf://org/model@no"], "no such revision"),
    "no such commit": (["own", f"hf://org/model@{'f' * 40}"], "no such revision"),
    "a short commit": (["own", "hf://org/model@abcdef0"], "no such revision"),
    "private": (["own", "hf://org/private"], "a token that may read it (HF_TOKEN"),
    "gated": (["own", "hf://org/gated"], "access granted on its page"),
    "empty": (["own", "hf://org/empty"], "neither model.safetensors nor"),
    "pickles": (["own", "hf://org/pickle"], "but pytorch_model.bin"),
    "several that fit": (["own", "hf://org/two"], "a.lm_head.weight F32[40, 6], b.lm_head"),
    "no such tensor": (["own", "hf://org/model", "--tensor", "x"], f"among {HEAD} F32[40, 6], "),
    "no matrix": (["own", "hf://org/model", "--tensor", "norm"], "F64[3]"),
    "integers": (["own", "hf://org/model", "--tensor", "pad"], "U8[99]"),
    "no name of a model": (["own", "hf://org/.."], "no name of a model"),
    "a choice in a replica": (
        ["own", "replica:qwen2-5-3b-instruct", "--which", "embedding"],
        "a choice of tensors in a replica",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_fetched_is_not_added(running: Running, here: Project, name: str) -> None:
    arguments, mention = REFUSED[name]
    check_add_refused(running, here, *arguments, mention=mention)


@pytest.mark.parametrize(
    ("arguments", "mention"),
    [
        (["Own", "hf://org/model"], "the model name 'Own'"),
        (["tiny", "hf://org/model"], "a model of that name"),
        (["there", "hf://org/model"], "something there already"),
        (["own", "hf://model"], "'hf://model'"),
        (["own", "hf://org/model@"], "'hf://org/model@'"),
        (["own", "hf://org/model", "--which", "both"], "invalid choice"),
        (["own", "hf://org/model", "--embedding", "x"], "not allowed with"),
    ],
)
def test_what_is_wrong_on_this_machine_is_said_before_the_hub_is_asked(
    running: Running, here: Project, arguments: list[str], mention: str
) -> None:
    (here.folder / "data" / "there").mkdir(parents=True)
    check_add_refused(running, here, *arguments, mention=mention)
    assert running.hub.log == ()


@pytest.mark.parametrize(
    ("pattern", "fault", "mention"),
    [
        ("/api/models/org/model", Status(503), "status 503"),
        ("/api/models/org/model", Garbage(), "not the hub's"),
        ("/api/models/org/model", RedirectLoop(), "a connection to the hub that fails"),
        ("/api/models/org/model/revision/*", Status(503), "status 503"),
        ("/api/models/*", Status(429, retry_after=3600), "3600 seconds"),
        ("*.index.json", Break(5), "a connection to the hub that fails"),
        ("config.json", Status(401), "status 401"),
        ("config.json", Header("X-Repo-Commit", "0" * 40), "the commit '0000"),
        ("*.safetensors", Status(404), "status 404"),
        ("*.safetensors", Break(5, reset=True), "a connection to the hub that fails"),
    ],
    ids=str,
)
def test_hub_that_fails_leaves_params_as_they_were(
    running: Running, here: Project, pattern: str, fault: Fault, mention: str
) -> None:
    running.hub.faults.add(pattern, fault, times=None)
    check_add_refused(running, here, "own", "hf://org/model", mention=mention)


def test_add_tries_again(running: Running, here: Project) -> None:
    for pattern in ("/api/models/org/model", "/api/models/*/revision/*", "*.json", "*.safetensors"):
        running.hub.faults.add(pattern, Status(503))
    done = add(running, here, "own", "hf://org/model")
    assert (done.code, done.err, done.waits) == (0, "", [0.5] * 4)


@pytest.mark.parametrize(
    ("name", "value"), [("HF_ENDPOINT", "http://[::1"), ("HF_HUB_DOWNLOAD_TIMEOUT", "10s")]
)
def test_setting_that_the_client_library_cannot_read_is_no_traceback(
    running: Running, here: Project, tmp_path: Path, name: str, value: str
) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("core-tokens"), "add", "own", "hf://org/model"],
        cwd=here.folder, env={**running.hub.environment(tmp_path), name: value},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert (here.folder / "params.yaml").read_text() == PARAMS


def test_layout_that_cannot_be_edited_is_refused(running: Running, here: Project) -> None:
    here.write_params(PARAMS.replace("[tiny]", "&all [tiny]").replace('["tiny"]', "*all"))
    check_add_refused(running, here, "own", "hf://org/model", mention="params.yaml")


@pytest.mark.parametrize(
    ("ids", "mention"),
    [
        (np.array([1, 40]), "the id 40"),
        (np.array([-1, 2]), "negative id -1"),
        (np.array([], np.int64), "no ids"),
        (np.array([1.0]), "F64[1]"),
    ],
    ids=str,
)
def test_cluster_that_does_not_fit_the_rows_at_the_hub_is_refused(
    running: Running, here: Project, tmp_path: Path, ids: NDArray[Any], mention: str
) -> None:
    path = tmp_path / "ids.safetensors"
    path.write_bytes(safetensors.numpy.save({"cluster_token_ids": ids}))
    arguments = ["own", "hf://org/model", "--cluster-tokens", str(path)]
    check_add_refused(running, here, *arguments, mention=f"{path}: cluster_token_ids: found ")
    check_add_refused(running, here, *arguments, mention=mention)


def test_no_secret_is_printed_or_written_by_add(running: Running, here: Project) -> None:
    hub = running.hub
    for nth, fault in enumerate([None, Status(403), Break(3), Header("Location", "ftp://x/y")]):
        hub.faults.clear()
        if fault:
            pattern = "/*/resolve/*.safetensors" if nth == 3 else "*.safetensors"
            hub.faults.add(pattern, fault, times=None)
        arguments = ("add", f"own-{nth}", "hf://org/private")
        done = running.client.command(here.folder, *arguments, HF_TOKEN=hub.token)
        assert done.code == (1 if fault else 0)
        texts = [done.out, done.err, *(text.decode() for text, _ in here.snapshot().values())]
        assert not [text for text in texts if hub.token in text or hub.signature in text]


# ---- with DVC --------------------------------------------------------------------------------


@dataclass(frozen=True)
class OnHub(Repository):
    """A repository on a machine that can reach a hub."""

    settings: dict[str, str] = field(default_factory=dict)

    def run(
        self, *command: str, check: bool = True, typed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        settings = [f"{name}={value}" for name, value in self.settings.items()]
        return super().run("env", *settings, *command, check=check, typed=typed)

    def edit(self, old: str, new: str) -> None:
        """Replace what stands once in params.yaml."""
        path = self.path / "params.yaml"
        assert path.read_text().count(old) == 1, path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def json(self, name: str) -> Any:
        return json.loads((self.path / "data" / name).read_bytes())

    def clone(self, path: Path) -> "OnHub":
        """The same on another machine."""
        return OnHub(clone(self, path).path, self.settings)


AFTER_RADIUS = ("extract", "analyse", "draw")


def stages(name: str, *of: str) -> set[str]:
    """Some stages of a model, by default all."""
    return {f"{stage}@{name}" for stage in of or ("fetch", "cluster", "measure", *AFTER_RADIUS)}


FACTORS = {"a": 1.0, "b": 2.0, "c": 4.0, "d": 0.5}


def matrix_of(name: str) -> NDArray[np.float32]:
    """``small_matrix``, scaled without rounding: the same cluster, but other bytes."""
    return small_matrix() * np.float32(FACTORS[name])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with a model for each factor, and one with a tokenizer that is to move."""
    folder = tmp_path_factory.mktemp("served")
    repos: dict[str, Mapping[str, bytes | Path]] = {
        f"org/{name}": sharded_checkpoint(folder / name, two_shards(matrix_of(name)))
        for name in FACTORS
    }
    moves = {**repos["org/a"], "tokenizer.json": made_here.byte_level("hello")}
    with Hub({**repos, "org/moves": moves}) as hub:
        yield hub


@pytest.fixture(scope="module")
def empty(served: Hub, tmp_path_factory: pytest.TempPathFactory) -> OnHub:
    """A project without a model."""
    path = empty_project(tmp_path_factory.mktemp("empty") / "empty").path
    settings = served.environment(path.parent)
    return OnHub(path, {name: settings[name] for name in settings if name.startswith("HF_")})


def test_a_model_goes_all_the_way_from_the_hub(served: Hub, empty: OnHub, tmp_path: Path) -> None:
    one = empty.clone(tmp_path / "one")
    served.reset()
    assert one.run("core-tokens", "add", "first", "hf://org/moves").stderr == ""
    assert served.bytes_sent("*.safetensors") < 4_000
    first = served.commit("org/moves")
    assert one.ran() == stages("first")
    assert "tokens, ids 0 to 38\n" in one.run("core-tokens", "summary", "first").stdout
    shown = json.loads(one.dvc("metrics", "show", "--json"))[""]["data"]
    assert shown["data/first/core.json"]["data"]["core"]["tokens"] == 17
    record = one.json("first/source.json")
    sha256 = hashlib.sha256(small_matrix().tobytes()).hexdigest()
    assert record[f"hf://org/moves@{first}"][HEAD]["sha256"] == sha256
    vocabulary = one.json("first/vocab.json")
    assert len(vocabulary) == 40
    assert vocabulary[0] == {"class": "ordinary", "text": "!"}
    one.commit("Add a model")
    committed = one.run("git", "ls-files", "data").stdout.split()
    assert "data/first/source.json" in committed
    assert "data/first/W.safetensors" not in committed

    # Where its branch stands elsewhere now, a second model is pinned there, and the first stays.
    files = served.repos["org/b"].commits[served.commit("org/b")]
    second = served.push("org/moves", {name: content.source for name, content in files.items()})
    assert second != first
    one.run("core-tokens", "add", "second", "hf://org/moves@main")
    settings = params.load(one.path / "params.yaml")
    sources = {name: source.source for name, source in settings.fetch.items()}
    assert sources == {"first": f"hf://org/moves@{first}", "second": f"hf://org/moves@{second}"}
    assert one.ran() == stages("second")
    lines = one.run("core-tokens", "summary").stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(("first", "second"))] == [
        "first", "second",
    ]  # fmt: skip
    one.commit("Add a second model")

    # A threshold of its own runs what depends on it, of that model alone.
    one.edit("discover: [first, second]", "discover: [first]\n  discover_at: {second: 0.000001}")
    assert one.ran() == {"cluster-at@second", *stages("second", "measure", *AFTER_RADIUS)}
    one.commit("A threshold for the second")
    one.dvc("push")

    # A colleague needs neither the hub nor the matrices for another radius.
    served.reset()
    two = one.clone(tmp_path / "two")
    two.dvc("pull", "measure@first", "measure@second")
    two.edit("radius: 3.0", "radius: 2.0")
    ran = two.ran("--pull", "--allow-missing")
    assert ran == stages("first", *AFTER_RADIUS) | stages("second", *AFTER_RADIUS)
    assert two.json("first/core.json")["core"]["tokens"] == 15
    assert not (two.path / "data/first/W.safetensors").exists()
    assert served.log == ()

    # Whoever wants the matrix has it from the hub again, and it is what it was.
    assert two.ran("--force", "--no-run-cache", "--single-item", "fetch@first") == {"fetch@first"}
    content = (two.path / "data/first/W.safetensors").read_bytes()
    assert content == safetensors.numpy.save({"W": small_matrix()}, {"tensor": HEAD})
    assert "data/first/source.json" not in two.git_status()


def test_models_run_side_by_side(served: Hub, empty: OnHub, tmp_path: Path) -> None:
    one = empty.clone(tmp_path / "one")
    path = one.path / "params.yaml"
    for name in FACTORS:
        source = f"hf://org/{name}@{served.commit(f'org/{name}')}"
        text = params_text.listed(path.read_text(), name, {"source": source}, discover=True)
        path.write_text(text)
    printed: dict[str, subprocess.CompletedProcess[str]] = {}

    def reproduce(name: str) -> None:
        command = ("dvc", "--wait-for-lock", "repro", f"extract@{name}")
        printed[name] = one.run(*command, check=False)

    threads = [threading.Thread(target=reproduce, args=(name,)) for name in FACTORS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: done.returncode for name, done in printed.items()} == dict.fromkeys(FACTORS, 0)
    assert one.ran(*(f"extract@{name}" for name in FACTORS)) == set()
    for name in FACTORS:
        content = (one.path / f"data/{name}/W.safetensors").read_bytes()
        assert content == safetensors.numpy.save({"W": matrix_of(name)}, {"tensor": HEAD})
        assert one.json(f"{name}/core.json")["core"]["tokens"] == 17


def test_a_given_cluster_is_tracked_and_not_discovered(
    served: Hub, empty: OnHub, tmp_path: Path
) -> None:
    one = empty.clone(tmp_path / "one")
    ids = tmp_path / "ids.safetensors"
    ids.write_bytes(safetensors.numpy.save({"cluster_token_ids": np.arange(0, 40, 2)}))
    one.run("core-tokens", "add", "b", "hf://org/b", "--cluster-tokens", str(ids))
    assert (one.path / "data/b/cluster_tokens.safetensors").read_bytes() == ids.read_bytes()
    assert (one.path / "data/b/cluster_tokens.safetensors.dvc").is_file()
    settings = params.load(one.path / "params.yaml")
    assert settings.models == ["b"]
    assert settings.cluster.discover == []
    assert settings.fetch["b"].source == f"hf://org/b@{served.commit('org/b')}"
    assert one.git_status() == " M dvc.yaml\n M params.yaml\n?? data/\n"
    one.run("core-tokens", "remove", "b")
    assert one.git_status() == ""


def test_a_hub_that_refuses_is_one_line_under_dvc(
    served: Hub, empty: OnHub, tmp_path: Path
) -> None:
    one = empty.clone(tmp_path / "one")
    one.run("core-tokens", "add", "c", "hf://org/c")
    served.faults.add("*.safetensors", Status(403), times=None)
    try:
        done = one.run("dvc", "repro", check=False)
    finally:
        served.faults.clear()
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "status 403" in errors[0]
    assert "Traceback" not in done.stderr
