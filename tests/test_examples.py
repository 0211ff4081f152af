"""The examples run as they are, and what they print is what their docstrings say."""

import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from project import made_project, tiny_matrix
from repository import ROOT

README = (ROOT / "README.md").read_text()
COLUMNS = "  step   loss  vectors  Big One  largest ulp  within 3 ulp"
DEAD = 115


def training(*arguments: str) -> list[str]:
    """The lines that the training prints, quietly."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "examples/training.py", *arguments],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def table(lines: list[str]) -> list[list[float]]:
    """The rows of numbers, of whose columns some things hold at any step of any training."""
    assert lines[1] == COLUMNS
    rows = [[float(value) for value in line.split()] for line in lines[2:]]
    for _, loss, vectors, big_one, largest, within in rows:
        assert loss > 0
        assert 1 <= big_one <= within <= DEAD
        assert DEAD / big_one <= vectors <= DEAD - big_one + 1
        assert largest >= 0
    assert rows[0][2:4] == [DEAD, 1]
    return rows


@pytest.mark.parametrize("weights", ["bfloat16", "float32"])
def test_training_begins_to_gather_the_dead_tokens_and_does_so_again(weights: str) -> None:
    lines = training("--steps", "100", "--weights", weights)
    assert lines[0] == f"{DEAD} dead tokens, weights in torch.{weights}"
    rows = table(lines)
    assert [row[0] for row in rows] == list(range(0, 101, 10))
    assert rows[-1][1] < rows[0][1] / 2  # the model learns
    assert rows[-1][4] < rows[0][4] / 2  # the dead tokens come nearer
    assert training("--steps", "100", "--weights", weights) == lines


def test_with_float32_weights_the_dead_tokens_become_nearly_one() -> None:
    rows = table(training("--steps", "1200", "--weights", "float32"))
    assert rows[-1][4] <= 3
    assert rows[-1][5] == DEAD
    assert rows[-1][2] < DEAD / 5
    assert rows[-1][3] > DEAD / 5


def test_training_of_few_steps_prints_them_all() -> None:
    assert [row[0] for row in table(training("--steps", "3"))] == [0, 1, 2, 3]


def test_the_table_of_the_readme_is_one_that_the_training_prints() -> None:
    shown = README.partition("$ python examples/training.py\n")[2].partition("```")[0].splitlines()
    assert shown[0] == f"{DEAD} dead tokens, weights in torch.bfloat16"
    rows = table(shown)
    assert [row[0] for row in rows] == list(range(0, 1001, 100))
    for line in shown[2:]:
        assert len(line) == len(COLUMNS)


def test_what_was_written_for_the_cluster_file_runs_on_the_core_file(tmp_path: Path) -> None:
    made = made_project(tmp_path, "cluster", "measure", "extract")
    printed = {}
    for name in ("cluster_tokens", "core_tokens"):
        tokens = made.data / f"{name}.safetensors"
        done = subprocess.run(
            [sys.executable, "examples/dead_logits.py", made.data / "W.safetensors", tokens],
            capture_output=True, text=True, check=True, cwd=ROOT,
        )  # fmt: skip
        ids = load_file(tokens)["cluster_token_ids"]
        assert done.stdout.startswith(f"{len(ids):,} of {len(tiny_matrix()):,} tokens had ")
        assert done.stdout.endswith("and have 0.00% with the mask.\n")
        printed[name] = done.stdout
    assert printed["cluster_tokens"] != printed["core_tokens"]
