"""Several runs at once: of one stage, of the pipeline in one clone, of four models."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from killing import Ended, Warm
from project import make_project
from repository import Repository, empty_project, save, small_matrix
from test_kills import LONG, OUTPUTS, restore, tree

MODELS = ("a", "b", "c", "d")
TURNS = {"cluster": 15, "measure": 15, "extract": 15, "analyse": 15, "draw": 15}
"""How often each stage is run twice at once."""
BUSY = re.compile(r"Unable to acquire lock|is busy, it is being blocked by")


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Warm]]:
    """A process for each of two runs, one user's."""
    home = tmp_path_factory.mktemp("home")
    processes = [Warm(home) for _ in range(2)]
    yield processes
    for process in processes:
        process.__exit__(None, None, None)


def at_once(
    warm: list[Warm], folder: Path, commands: Sequence[Sequence[str]], at: int | None = None
) -> list[Ended]:
    """Run commands in a folder, all at the same time; ``at`` as in ``Warm.run``."""
    with ThreadPoolExecutor(len(commands)) as pool:
        runs = [
            pool.submit(process.run, folder, *command, at=at)
            for process, command in zip(warm, commands, strict=False)
        ]
        return [run.result() for run in runs]


@pytest.mark.parametrize("stage", TURNS)
def test_two_runs_of_a_stage_leave_what_one_leaves(
    warm: list[Warm], tmp_path: Path, stage: str
) -> None:
    rows = np.tile(small_matrix(), (1, 40))
    made = make_project(tmp_path, rows)
    for each in OUTPUTS:
        if each != "fetch":
            assert warm[0].run(tmp_path, each, "tiny", at=LONG).code == 0
    after = tree(tmp_path)
    assert len(after) > 20
    made.write_params(radius="0.0", theme="dark")
    assert warm[0].run(tmp_path, stage, "tiny", at=LONG).code == 0
    before = tree(tmp_path)
    made.write_params()
    before["params.yaml"] = after["params.yaml"]
    for _ in range(TURNS[stage]):
        restore(tmp_path, before)
        for ended in at_once(warm, tmp_path, [(stage, "tiny")] * 2, LONG):
            assert (ended.code, ended.printed) == (0, ""), ended
        assert tree(tmp_path) == after


@pytest.fixture(scope="module")
def four(warm: list[Warm], tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository with four models, none of which was reproduced."""
    folder = tmp_path_factory.mktemp("four")
    repository = empty_project(folder / "project")
    for nth, model in enumerate(MODELS):
        matrix = save(folder / f"{model}.safetensors", "W", np.roll(small_matrix(), nth, axis=0))
        ended = warm[0].run(repository.path, "core-tokens", "add", model, str(matrix))
        assert ended.code == 0, ended
    return repository


def check_complete(warm: list[Warm], repository: Repository) -> None:
    """Nothing is left to do, and all is what the stages make by themselves."""
    analysed = [f"analyse@{model}" for model in MODELS]
    ended = warm[0].run(repository.path, "dvc", "repro", *analysed)
    assert ended.code == 0
    assert "Data and pipelines are up to date." in ended.printed
    lock = YAML(typ="safe").load((repository.path / "dvc.lock").read_bytes())
    assert len(lock["stages"]) == 4 * len(MODELS)
    before = tree(repository.path)
    for model in MODELS:
        for stage in ("cluster", "measure", "extract", "analyse"):
            assert warm[0].run(repository.path, stage, model).code == 0
    assert tree(repository.path) == before


def test_four_models_at_once_are_as_complete_as_one_after_the_other(
    warm: list[Warm], four: Repository
) -> None:
    with ThreadPoolExecutor(len(MODELS)) as pool:
        for printed in pool.map(
            lambda model: four.dvc("--wait-for-lock", "repro", f"analyse@{model}"), MODELS
        ):
            assert printed.count("Running stage ") == 4
    check_complete(warm, four)
    four.commit("Four models")


def test_of_two_repros_one_waits_or_says_what_it_is_blocked_by(
    warm: list[Warm], four: Repository
) -> None:
    # --wait-for-lock is about DVC's bookkeeping: for a file of the same stage it does not wait.
    for radius, options in (("1.0", ()), ("2.0", ("--wait-for-lock",))):
        four.set_param("radius:", f"radius: {radius}")
        command = "dvc", *options, "repro", "extract@a"
        for ended in at_once(warm, four.path, [command] * 2):
            assert ended.code == 0 or BUSY.search(ended.printed), ended
            assert "Traceback" not in ended.printed
            print(f"{' '.join(command)}: exit {ended.code}")
        assert warm[0].run(four.path, *command).code == 0
        before = tree(four.path)
        assert warm[0].run(four.path, "extract", "a").code == 0
        assert tree(four.path) == before
        assert "changed" not in warm[0].run(four.path, "dvc", "status", "extract@a").printed
