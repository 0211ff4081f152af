"""kill -9 at any moment: whole files under all final names, and a next run that mends the rest.

Some runs end at a random moment, spread over how long the work takes; others before each operation
on a file, one after the other.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import tokenizers_made as made_here
from killing import Warm, temporary_files
from project import PARAMS, Project
from repository import save

SEED = int(os.environ.get("CORE_TOKENS_SEED", "6"))
KILLS = {"fetch": 50, "cluster": 40, "cluster-at": 20, "measure": 40, "extract": 45, "analyse": 40,
         "draw": 4}  # fmt: skip
"""At random moments, of each stage."""
OUTPUTS = {
    "fetch": ("W.safetensors", "vocab.json", "source.json"),
    "cluster": ("cluster_tokens.safetensors", "cluster.json", "populations.csv"),
    "measure": ("measurements.safetensors", "measure.json", "tokens.csv"),
    "extract": ("core_tokens.safetensors", "core.json", "core.csv", "halo.csv"),
    "analyse": ("structure.json", "plots"),
    "draw": ("pictures",),
}
LONG = 10**6
"""So many file operations no run needs: it is not killed."""

Tree = dict[str, bytes]


def tree(folder: Path) -> Tree:
    """Every file that stages and commands may write, by its path."""
    paths = [*folder.iterdir(), *folder.glob("data/**/*")]
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths) if path.is_file()
    }


def restore(folder: Path, wanted: Tree) -> None:
    """Make a folder hold just these files."""
    there = tree(folder)
    for name in there.keys() - wanted.keys():
        (folder / name).unlink()
    for name, content in wanted.items():
        if there.get(name) != content:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def of_stage(name: str, stage: str) -> bool:
    """Is this file an output of the stage?"""
    return name.removeprefix("data/tiny/").split("/")[0] in OUTPUTS[stage]


@dataclass(frozen=True)
class Case:
    """A run that has something to do.

    Attributes:
        project: where.
        command: what is run.
        stage: whose outputs change.
        before: all files before.
        after: and when it has run to its end.
        seconds: that takes.
    """

    project: Project
    command: tuple[str, ...]
    stage: str
    before: Tree
    after: Tree
    seconds: float

    def check_killed(self, warm: Warm, before: Tree, *, at: int | None = None) -> bool:
        """All is whole after a kill, and the next run mends it; was there a temporary file?"""
        folder = self.project.folder
        left = {str(path.relative_to(folder)) for path in temporary_files(folder)}
        found = {name: content for name, content in tree(folder).items() if name not in left}
        for name in before.keys() | self.after.keys() | found.keys():
            assert found.get(name) in (before.get(name), self.after.get(name)), name
            assert of_stage(name, self.stage) or found.get(name) == before.get(name), name
        if found != before or left:
            ended = warm.run(folder, *self.command, at=None if at is None else LONG)
            assert (ended.killed, ended.code, ended.printed) == (False, 0, "")
            assert tree(folder) == self.after
        return bool(left)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with Warm(tmp_path_factory.mktemp("home")) as process:
        yield process


def checkpoint(folder: Path, seed: int) -> Path:
    """A folder in the Hugging Face layout: 64 tokens that are close together among 1,000."""
    draws = np.random.default_rng(seed)
    rows = draws.normal(0, 0.02, (1000, 64))
    rows[:64] = rows[0] * (
        1 + draws.integers(-1, 2, (64, 1)) * draws.choice([0, 2.0**-8], (64, 64))
    )
    folder.mkdir()
    save(folder / "model.safetensors", "lm_head.weight", rows.astype(ml_dtypes.bfloat16))
    (folder / "tokenizer.json").write_bytes(made_here.byte_level("hello"))
    return folder


def params(source: Path, at: str = "", **replaced: str) -> str:
    text = PARAMS.replace('"replica:qwen3-4b-instruct-2507"', f'"{source}"')
    for key, value in replaced.items():
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{key}:"))
        text = text.replace(line, f"{line.partition(':')[0]}: {value}")
    return text.replace("discover: [tiny]", at) if at else text


@pytest.fixture(scope="module")
def cases(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], Case]:
    """A case for each stage, with the real pictures and without."""
    folder = tmp_path_factory.mktemp("killed") / "project"
    folder.mkdir()
    project = Project(folder)
    sources = [checkpoint(folder.parent / f"source-{seed}", seed) for seed in (1, 2)]
    texts = [params(sources[0]), params(sources[1], radius="1.0", theme="dark")]
    own = params(sources[1], "discover: []\n  discover_at: {tiny: 0.003}", radius="1.0")

    def run(stage: str, *, drawn: bool = True) -> float:
        ended = warm.run(folder, stage, "tiny", at=None if drawn else LONG)
        assert (ended.killed, ended.code, ended.printed) == (False, 0, ""), ended
        return ended.seconds

    for text in reversed(texts):  # so that source.json has both
        (folder / "params.yaml").write_text(text)
        run("fetch")
    trees: dict[tuple[int, bool], Tree] = {}
    for nth, text in enumerate(texts):
        (folder / "params.yaml").write_text(text)
        for stage in OUTPUTS:
            run(stage)
        trees[nth, True] = tree(folder)
        run("draw", drawn=False)
        trees[nth, False] = tree(folder)
    made = {}
    for stage in [*OUTPUTS, "cluster-at"]:
        module = stage.removesuffix("-at")
        for drawn in (True, False):
            old, new = trees[0, drawn], trees[1, drawn]
            before = {
                name: old[name] if of_stage(name, module) else content
                for name, content in new.items()
            }
            if stage == "cluster-at":
                before["params.yaml"] = own.encode()
            restore(folder, before)
            seconds = run(module, drawn=drawn)
            after = tree(folder)
            assert after != before
            assert stage == "cluster-at" or after == new
            command = (module, "tiny")
            made[stage, drawn] = Case(project, command, module, before, after, seconds)
    return made


@pytest.mark.parametrize("stage", KILLS)
def test_a_stage_that_is_killed_at_any_moment_leaves_whole_files_and_is_mended(
    warm: Warm, cases: dict[tuple[str, bool], Case], stage: str
) -> None:
    case = cases[stage, True]
    draws = random.Random(f"{SEED} {stage}")
    absent = {name: text for name, text in case.before.items() if not of_stage(name, case.stage)}
    absent |= {name: text for name, text in case.before.items() if name.endswith("source.json")}
    killed, with_left, seconds = 0, 0, case.seconds
    for nth in range(KILLS[stage]):
        before = absent if nth % 3 == 2 else case.before  # DVC removes a stage's outputs first
        restore(case.project.folder, before)
        ended = warm.run(case.project.folder, *case.command, after=draws.uniform(0, seconds))
        if not ended.killed:
            seconds = min(seconds, ended.seconds)  # the first may have been slow
        assert "Traceback" not in ended.printed
        killed += ended.killed
        with_left += case.check_killed(warm, before)
    print(f"seed {SEED}: {stage} killed {killed} times, {with_left} with temporary files left")
    assert killed > KILLS[stage] // 5


@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_stage_that_is_killed_before_any_file_operation_leaves_whole_files_and_is_mended(
    warm: Warm, cases: dict[tuple[str, bool], Case], stage: str
) -> None:
    case = cases[stage, False]
    at = with_left = 0
    while True:
        restore(case.project.folder, case.before)
        if not warm.run(case.project.folder, *case.command, at=at).killed:
            break
        with_left += case.check_killed(warm, case.before, at=at)
        at += 1
    print(f"{stage} killed before each of {at} operations, {with_left} with temporary files left")
    outputs = [name for name in case.after if of_stage(name, stage)]
    assert at > 3 * len(outputs)  # to open, to write and to rename
    assert with_left > len(outputs)
