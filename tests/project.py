"""A small project folder to run stages in, and ways to spoil the files that they read."""

import io
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from core_tokens import cli, console

GOLDEN = Path(__file__).parent / "golden"

PARAMS = """\
models: [tiny]  # measured and extracted
fetch:
  tiny: {source: "replica:qwen3-4b-instruct-2507"}
cluster:
  adjacency_threshold: 0.002
  discover: [tiny]
measure:
  device: cpu
extract:
  distance: ulp  # ulp | steps | l2
  radius: 2.0
draw:
  format: svg
  theme: light
"""

UNIT = 2.0**-15
"""The ulp of ``tiny_matrix`` at its most populated row."""


def tiny_matrix() -> NDArray[Any]:
    """bfloat16[12, 4]: a cluster of 1, 2, 3, 5, 6, 9 with -0, a tie for the origin, and outsiders.

    The origin is the row of 1 and 2, of which one holds -0; 3 and 5 are as many. Its median
    component lies between 2**-8 and 2**-7, so that one ulp is 2**-15.
    """
    origin = np.array([128, 192, -160, 0]) * UNIT
    rows = np.array([
        [0.25, -0.5, 0.125, 1],
        origin,
        origin * [1, 1, 1, -1],
        origin + np.array([1, 0, 0, 0]) * UNIT,
        [0, 0, 0, 0],
        origin + np.array([1, 0, 0, 0]) * UNIT,
        origin - np.array([0, 3, 0, 0]) * UNIT,
        [-0.75, 0.5, 0.25, 2],
        [-0.0, 0, 0, -0.0],
        origin + np.array([0, 0, 2, 0.25]) * UNIT,
        [3, 0, -1, 0.5],
        [-0.75, 0.5, 0.25, 2],
    ])  # fmt: skip
    return rows.astype(ml_dtypes.bfloat16)


CLUSTER_IDS = [1, 2, 3, 5, 6, 9]
"""The cluster of ``tiny_matrix``."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Project:
    """A folder that holds params.yaml and data/MODEL."""

    folder: Path

    @property
    def data(self) -> Path:
        """The folder of the model ``tiny``."""
        return self.folder / "data" / "tiny"

    def write_params(self, text: str = PARAMS, **replaced: str) -> None:
        """Write params.yaml; a keyword replaces what stands behind that key on its line."""
        lines = text.splitlines()
        for key, value in replaced.items():
            at = [nth for nth, line in enumerate(lines) if line.strip().startswith(f"{key}:")]
            assert len(at) == 1, key
            lines[at[0]] = f"{lines[at[0]].partition(':')[0]}: {value}"
        (self.folder / "params.yaml").write_text("\n".join(lines) + "\n")

    def write_tensors(self, name: str, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Write data/tiny/NAME as a safetensors file."""
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / name).write_bytes(save(dict(tensors)))

    def write_cluster(self, ids: NDArray[Any] | list[int]) -> None:
        """Write the ids as a cluster file, as int64 unless they are an array."""
        array = ids if isinstance(ids, np.ndarray) else np.array(ids, np.int64)
        self.write_tensors("cluster_tokens.safetensors", {"cluster_token_ids": array})

    def snapshot(self) -> dict[str, tuple[bytes, int]]:
        """Bytes and time of change of every file and folder below, hidden ones included."""
        return {
            str(path.relative_to(self.folder)): (
                path.read_bytes() if path.is_file() else b"",
                path.stat().st_mtime_ns if path.is_file() else 0,
            )
            for path in sorted(self.folder.rglob("*"))
        }

    def files(self) -> set[str]:
        """The names in data/tiny."""
        return {path.name for path in self.data.iterdir()}

    def stage_process(self, stage: str, *arguments: str) -> Done:
        """Run a stage as DVC does: a process of its own, in this folder."""
        command = [sys.executable, "-W", "error", "-m", f"core_tokens.stages.{stage}", *arguments]
        return run_process(command, self.folder)

    def stage_here(self, stage: str, *arguments: str) -> Done:
        """Run a stage in this process: what ``stage_process`` does, without its start."""
        run = import_module(f"core_tokens.stages.{stage}").run
        with mock.patch.object(sys, "argv", [stage, *arguments]):
            return _run_here(self.folder, lambda: console.run_stage(run))

    def command_here(self, *arguments: str) -> Done:
        """Run ``core-tokens ARGUMENTS`` in this process."""
        return _run_here(self.folder, lambda: console.run(cli.run, arguments))

    def command_process(self, *arguments: str) -> Done:
        """Run ``core-tokens ARGUMENTS`` as a process of its own."""
        command = Path(sys.executable).with_name("core-tokens")
        return run_process([str(command), *arguments], self.folder)


def make_project(folder: Path, matrix: NDArray[Any] | None = None, params: str = PARAMS) -> Project:
    """A project with the model ``tiny``, of which nothing was made yet."""
    project = Project(folder)
    project.write_params(params)
    project.write_tensors("W.safetensors", {"W": tiny_matrix() if matrix is None else matrix})
    return project


def made_project(folder: Path, *stages: str) -> Project:
    """A project in which some stages have run."""
    project = make_project(folder)
    for stage in stages:
        assert project.stage_here(stage, "tiny") == Done(0, "", "")
    return project


def run_process(command: list[str], folder: Path) -> Done:
    """Run a command in a folder."""
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def _run_here(folder: Path, main: Callable[[], int]) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(err):
        code = main()
    return Done(code, out.getvalue(), err.getvalue())


def check_refusal(done: Done, *mentions: str) -> None:
    """One line on stderr, with what was found and what would be right; exit 1; no output."""
    assert done.code == 1, done
    assert done.out == "", done
    assert done.err.startswith("error: "), done
    assert done.err.count("\n") == 1, done
    assert done.err.endswith("\n"), done
    assert "Traceback" not in done.err, done
    assert ": found " in done.err, done
    assert "; expected " in done.err, done
    for mention in mentions:
        assert mention in done.err, (mention, done)


def check_stage_refuses(
    project: Project,
    stage: str,
    *mentions: str,
    arguments: tuple[str, ...] = ("tiny",),
    process: bool = False,
) -> None:
    """A stage refuses, and no file is new, gone or changed, not even its time."""
    before = project.snapshot()
    run = project.stage_process if process else project.stage_here
    check_refusal(run(stage, *arguments), *mentions)
    after = project.snapshot()
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] != before[name]] == []


# ---- spoiling safetensors files -------------------------------------------------------------


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the data of a safetensors file."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join(header: object, data: bytes, *, padding: int = 8) -> bytes:
    """A safetensors file of a header, be it valid or not, and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % padding)
    return len(text).to_bytes(8, "little") + text + data


def _edited(content: bytes, edit: Callable[[dict[str, Any]], object]) -> bytes:
    header, data = split(content)
    for entry in header.values():
        edit(entry)
    return join(header, data)


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "shorter than a header length": lambda content: content[:5],
    "only a header length": lambda content: content[:8],
    "truncated header": lambda content: content[:20],
    "truncated data": lambda content: content[:-1],
    "no data": lambda content: content[: -len(split(content)[1])],
    "data behind the last tensor": lambda content: content + bytes(8),
    "header length beyond the file": lambda content: (1 << 20).to_bytes(8, "little") + content[8:],
    "header length beyond any file": lambda content: b"\xff" * 8 + content[8:],
    "header length 0": lambda content: bytes(8) + content[8:],
    "header is no JSON": lambda content: join(b"{'W': 1}", split(content)[1]),
    "header is no UTF-8": lambda content: join(b'{"\xff\xfe": 1}', split(content)[1]),
    "header is a list": lambda content: join([split(content)[0]], split(content)[1]),
    "header nests too deep": lambda content: join(b'{"W":' + b"[" * 100_000, split(content)[1]),
    "entries are numbers": lambda content: join(dict.fromkeys(split(content)[0], 1), b""),
    "offsets past the end": lambda content: _edited(
        content, lambda entry: entry.update(data_offsets=[0, 1 << 40])
    ),
    "offsets backwards": lambda content: _edited(
        content, lambda entry: entry.update(data_offsets=entry["data_offsets"][::-1])
    ),
    "offsets negative": lambda content: _edited(
        content, lambda entry: entry.update(data_offsets=[-8, entry["data_offsets"][1]])
    ),
    "offsets overlap": lambda content: join(
        {**split(content)[0], "again": next(iter(split(content)[0].values()))}, split(content)[1]
    ),
    "offsets leave a gap": lambda content: join(
        {
            name: {**entry, "data_offsets": [at + 8 for at in entry["data_offsets"]]}
            for name, entry in split(content)[0].items()
        },
        bytes(8) + split(content)[1],
    ),
    "shape larger than the data": lambda content: _edited(
        content, lambda entry: entry.update(shape=[*entry["shape"], 2])
    ),
    "shape overflows": lambda content: _edited(
        content, lambda entry: entry.update(shape=[1 << 62, 1 << 62])
    ),
    "shape negative": lambda content: _edited(content, lambda entry: entry.update(shape=[-1, -4])),
    "no such dtype": lambda content: _edited(content, lambda entry: entry.update(dtype="BF17")),
    "a pickle": lambda _: pickle.dumps({"W": [1.0, 2.0]}),
    "text": lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
}
"""What may be wrong with a safetensors file as a whole: name -> how a good one is spoiled."""


# ---- spoiling params.yaml --------------------------------------------------------------------


def _with(**replaced: str) -> Callable[[Project], None]:
    return lambda project: project.write_params(**replaced)


def _edit(old: str, new: str) -> Callable[[Project], None]:
    assert PARAMS.count(old) == 1, old
    return lambda project: project.write_params(PARAMS.replace(old, new))


def _content(content: bytes | None) -> Callable[[Project], None]:
    def spoil(project: Project) -> None:
        path = project.folder / "params.yaml"
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    return spoil


BAD_PARAMS: dict[str, tuple[Callable[[Project], None], str]] = {
    "missing": (_content(None), "params.yaml"),
    "empty": (_content(b""), "params.yaml"),
    "a list": (_content(b"- models\n"), "params.yaml"),
    "text": (_content(b"models\n"), "params.yaml"),
    "not YAML": (_content(b"models: [tiny\nfetch"), "params.yaml"),
    "not UTF-8": (_content(b"models: [\xff\xfe]\n"), "params.yaml"),
    "a key twice": (_edit("  radius: 2.0\n", "  radius: 2.0\n  radius: 3.0\n"), "radius"),
    "an unknown section": (_edit("measure:\n", "extra: 1\nmeasure:\n"), "extra"),
    "a misspelt section": (_edit("extract:\n", "extrakt:\n"), "extrakt"),
    "a missing section": (_edit("measure:\n  device: cpu\n", ""), "measure"),
    "an unknown key of cluster": (_edit("  discover", "  min: 1\n  discover"), "cluster"),
    "an unknown key of measure": (_edit("  device", "  threads: 1\n  device"), "measure"),
    "an unknown key of extract": (_edit("  radius", "  radios: 1\n  radius"), "extract"),
    "an unknown key of draw": (_edit("  theme", "  size: 1\n  theme"), "draw"),
    "an unknown format": (_with(format="pdf"), "draw.format"),
    "an unknown theme": (_with(theme="sepia"), "draw.theme"),
    "an unknown key of fetch": (_edit("{source", "{revision: 1, source"), "fetch"),
    "radius negative": (_with(radius="-1"), "extract.radius"),
    "radius NaN": (_with(radius=".nan"), "extract.radius"),
    "radius infinite": (_with(radius=".inf"), "extract.radius"),
    "radius text": (_with(radius="three"), "extract.radius"),
    "radius a list": (_with(radius="[1, 2]"), "extract.radius"),
    "radius nothing": (_with(radius=""), "extract.radius"),
    "radius missing": (_edit("  radius: 2.0\n", ""), "radius"),
    "distance unknown": (_with(distance="cosine"), "extract.distance"),
    "threshold 0": (_with(adjacency_threshold="0"), "cluster.adjacency_threshold"),
    "threshold negative": (_with(adjacency_threshold="-0.1"), "cluster.adjacency_threshold"),
    "threshold NaN": (_with(adjacency_threshold=".nan"), "cluster.adjacency_threshold"),
    "threshold text": (_with(adjacency_threshold="small"), "cluster.adjacency_threshold"),
    "device unknown": (_with(device="tpu"), "measure.device"),
    "models no list": (_with(models="tiny"), "models"),
    "a name with a dot": (_with(models="[tiny, a.b]"), "models"),
    "a name with a slash": (_with(models="[tiny, a/b]"), "models"),
    "a name in upper case": (_with(discover="[tiny, A]"), "cluster.discover"),
    "a name for a shell": (_with(models="[tiny, '$(touch x)']"), "models"),
}
"""What may be wrong with params.yaml: name -> how it is spoiled, and what the message names."""

WRONG_ARGUMENTS: dict[str, tuple[tuple[str, ...], str]] = {
    "no model": ((), "0 arguments"),
    "two models": (("tiny", "tiny"), "2 arguments"),
    "a model that is not listed": (("other",), "'other'"),
    "nothing as a model": (("",), "''"),
    "the folder above": (("../tiny",), "'../tiny'"),
    "upper case": (("TINY",), "'TINY'"),
    "a space behind": (("tiny ",), "'tiny '"),
    "a line break": (("tiny\n",), r"'tiny\n'"),
    "a shell command": (("tiny; touch x",), "'tiny; touch x'"),
    "an option": (("--help",), "'--help'"),
}
"""Command lines that no stage takes: name -> arguments, and what the message names."""


def spoil_file(path: Path, spoil: Callable[[bytes], bytes]) -> None:
    """Replace a good file by a spoiled one."""
    path.write_bytes(spoil(path.read_bytes()))


def replace_by_folder(path: Path) -> None:
    """Replace a file by a folder of its name."""
    path.unlink()
    path.mkdir()


def golden(folder: str) -> dict[str, bytes]:
    """The files that are expected: name -> bytes."""
    return {path.name: path.read_bytes() for path in sorted((GOLDEN / folder).iterdir())}


def modules_after(stage: str, folder: Path) -> set[str]:
    """The top-level modules that a stage has imported when it has run for ``tiny``."""
    code = (
        "import runpy, sys\n"
        "sys.argv = ['stage', 'tiny']\n"
        "try:\n"
        f"    runpy.run_module('core_tokens.stages.{stage}', run_name='__main__')\n"
        "except SystemExit as done:\n"
        "    assert done.code == 0, done.code\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = run_process([sys.executable, "-W", "error", "-c", code], folder)
    assert (done.code, done.err) == (0, ""), done
    return set(done.out.split())
