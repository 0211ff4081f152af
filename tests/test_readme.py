"""What the README says can be typed, and what it names is there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from distributed.cli import dask_scheduler, dask_worker
from dvc.cli.parser import get_main_parser

from core_tokens import cli
from core_tokens.core import Core
from repository import ROOT

README = (ROOT / "README.md").read_text()
PLAIN = {"git", "cd", ".", "sed", "wait"}


def blocks(kind: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)


def commands() -> Iterator[str]:
    """Every command of a console block, and every `command` in running text."""
    for block in blocks("console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                yield from re.split(" &&? ", line[2:])
    inline = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    for quoted in re.findall(r"`((?:make|dvc|core-tokens|pip) [^`]+)`", inline):
        if "STAGE" not in quoted:
            yield quoted


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_a_command_is_one_that_exists(command: str) -> None:
    program, *arguments = shlex.split(command)
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert arguments[0] in targets
    elif program == "core-tokens":
        cli.parser().parse_args(arguments)
    elif program == "dvc":
        get_main_parser().parse_args(arguments)
    elif program == "dask":
        known = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}[arguments[0]]
        options = {option for parameter in known.params for option in parameter.opts}
        assert {each for each in arguments if each.startswith("--")} <= options
    elif program == "pip":
        extras = re.findall(r"\[(\w+)\]", arguments[-1])
        project = (ROOT / "pyproject.toml").read_text()
        assert extras
        assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras)
    elif program == "python":
        assert arguments[0] == "-c" or (ROOT / arguments[0]).is_file()
    else:
        assert program in PLAIN


def test_the_commands_were_found() -> None:
    found = list(commands())
    for start in ("make repro", "make test", "dvc repro", "core-tokens add", "dvc push"):
        assert any(command.startswith(start) for command in found), start


def test_sed_lines_change_params_as_they_are() -> None:
    params = (ROOT / "params.yaml").read_text()
    for command in commands():
        if command.startswith("sed"):
            replaced = re.search(r"s/([^/]+)/", command)
            assert replaced is not None
            assert params.count(replaced[1]) == 1


def test_the_annotated_tree_names_what_is_there_and_all_modules() -> None:
    tree = blocks("text")[-1]
    named = {line.split()[0] for line in tree.splitlines() if line.strip()}
    package = ROOT / "src" / "core_tokens"
    for path in package.glob("[!_]*.py"):
        assert path.name in named, path.name
    for name in named - {"data/MODEL/"}:
        assert any((folder / name).exists() for folder in (ROOT, package)), name


def test_links_lead_somewhere() -> None:
    titles = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    headings = {"#" + title.lower().replace(" ", "-") for title in titles}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        known = target.startswith("https://") or target in headings
        assert known or Path(ROOT, target).exists(), target


def test_every_core_tokens_command_is_described() -> None:
    choices = cli.parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr] # argparse has no public list
    assert choices is not None
    for command in choices:
        assert f"core-tokens {command}" in README, command


def test_the_lines_for_a_program_run_as_they_are() -> None:
    lines, _, slurm = blocks("python")  # one is run where there is a project to load from,
    compile(slurm, "README.md", "exec")  # one needs a cluster
    model = SimpleNamespace(lm_head=torch.nn.Linear(4, 8))
    there: dict[str, Any] = {"model": model, "token_ids": [2, 3]}
    exec(lines, there)
    assert there["measured"].token_ids.tolist() == [2, 3]
    assert isinstance(there["core"], Core)


def test_contributing_stays_short() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 50
