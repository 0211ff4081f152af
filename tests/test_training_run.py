"""The training run of the example, a very short one: what it writes, and that it does so again."""

import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from repository import ROOT

EXAMPLE = ROOT / "examples" / "training_run"
FILES = ("tokenizer.json", "trajectory.safetensors")
OPTIONS = ("--steps", "24", "--every", "3")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """One run of train.py, in which a warning is an error."""
    return subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE / "train.py", *arguments],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=300,
    )  # fmt: skip


def trained(*arguments: str | Path) -> list[str]:
    """The lines of a run that succeeds."""
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder that 24 steps, three apart, were written to, and what was printed."""
    folder = tmp_path_factory.mktemp("run") / "new" / "folder"
    return folder, trained(*OPTIONS, "--output", folder)


def test_the_trajectory_holds_the_unembedding_every_so_many_steps(
    written: tuple[Path, list[str]],
) -> None:
    folder, _ = written
    assert sorted(path.name for path in folder.iterdir()) == list(FILES)
    tensors = load_file(folder / "trajectory.safetensors")
    assert sorted(tensors) == ["lm_head.weight", "steps"]
    weights, steps = tensors["lm_head.weight"], tensors["steps"]
    assert steps.dtype == np.int64
    assert steps.tolist() == [0, 3, 6, 9, 12, 15, 18, 21, 24]
    assert weights.dtype == ml_dtypes.bfloat16
    assert weights.shape == (9, 1024, 64)
    assert np.isfinite(weights.astype(np.float32)).all()
    assert weights[0].astype(np.float32).std() == pytest.approx(0.02, rel=0.05)
    for before, after in pairwise(weights):
        assert (before != after).any(axis=1).all()  # every row has moved


def test_dead_is_what_the_tokenizer_never_makes_of_the_texts_and_what_is_no_target(
    written: tuple[Path, list[str]],
) -> None:
    folder, lines = written
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == 1024
    made = subprocess.run(
        [sys.executable, EXAMPLE / "stories.py"], capture_output=True, text=True, check=True
    ).stdout
    texts = json.loads(made)
    ids = {kind: tokenizer.encode(text).ids for kind, text in texts.items()}
    for kind, text in texts.items():
        assert tokenizer.decode(ids[kind]) == text
    stories = set(ids["stories"][: len(ids["stories"]) * 9 // 10])
    songs = set(ids["songs"])
    in_no_story, dead = 1024 - len(stories), 1024 - len(stories | songs)
    assert 250 <= dead <= 450
    assert in_no_story - dead >= 50
    assert set(ids["code"]) - stories - songs  # the tokenizer has seen more than the model
    assert lines[:3] == [
        f"of 1024 tokens {in_no_story} are in no story, {dead} of them in no song either;",
        "weights in torch.bfloat16",
        "  step    loss  validation  dead so far",
    ]
    steps, _, validation, dead_so_far = zip(
        *([float(word) for word in line.split()] for line in lines[3:]), strict=True
    )
    assert steps == (0, 12, 24)
    assert validation[0] > validation[1] > validation[2]  # the model learns
    # At step 12 of 24 there were no songs yet, at the end most of their tokens were a target.
    assert dead_so_far[0] == 1024
    assert dead_so_far[1] >= in_no_story > dead_so_far[2] >= dead

    # Rows that were no target are all pushed alike, and those that often were one are not.
    weights = load_file(folder / FILES[1])["lm_head.weight"].astype(np.float64)
    often = [token for token, count in Counter(ids["stories"]).items() if count >= 200]
    no_story = sorted(set(range(1024)) - stories)
    nowhere = sorted(set(no_story) - songs)
    for at, never in ((4, no_story), (8, nowhere)):  # steps 12 and 24
        moves = weights[at] - weights[0]
        moves /= np.linalg.norm(moves, axis=1, keepdims=True)
        common = moves[nowhere].mean(axis=0)
        alike = moves @ common / np.linalg.norm(common)
        assert alike[never].min() > 0.96
        assert alike[often].max() < 0.92


def test_the_same_options_give_the_same_bytes_and_other_options_others(
    written: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, lines = written
    (tmp_path / "trajectory.safetensors").write_text("of an earlier run")
    assert trained(*OPTIONS, "--output", tmp_path) == lines
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    few = ("--steps", "1", "--every", "1", "--output", tmp_path)
    assert trained(*few, "--seed", "1", "--weights", "float32")[1] == "weights in torch.float32"
    assert (tmp_path / FILES[0]).read_bytes() == (folder / FILES[0]).read_bytes()
    ours, others = (load_file(each / FILES[1])["lm_head.weight"][0] for each in (tmp_path, folder))
    assert (ours != others).any(axis=1).all()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--steps", "0"], "error: --steps: found 0; expected at least 1\n"),
        (["--steps", "few"], "error: train.py: found argument --steps: invalid int value: 'few'; "),
        (
            ["--steps", "5", "--every", "6"],
            "error: --every: found 6; expected 1 to 5, the number of steps\n",
        ),
        (["--seed", "-1"], "error: --seed: found -1; expected 0 to 2^63 - 1\n"),
        (["--output", "FILE"], "error: FILE: File exists\n"),
    ],
)
def test_an_option_that_cannot_be_is_one_line(
    options: list[str], expected: str, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    done = run(*(option.replace("FILE", str(file)) for option in options))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(expected.replace("FILE", str(file)))
    assert done.stderr.count("\n") == 1
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_checkpoints_stay_out_of_git() -> None:
    kept = EXAMPLE / "checkpoints" / "trajectory.safetensors"
    assert subprocess.run(["git", "check-ignore", "--quiet", kept], cwd=ROOT).returncode == 0
