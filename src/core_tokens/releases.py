"""A version of a core: an annotated Git tag by which others get it, ``MODEL@v1.0.0``.

The form is GTO's, which ``dvc artifacts get`` reads.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core_tokens import artifacts_text, params
from core_tokens.errors import CoreTokensError, FileError, UsageError
from core_tokens.objects import repository
from core_tokens.revisions import Revision


@dataclass(frozen=True)
class Release:
    """What was tagged.

    Attributes:
        model: whose core.
        tag: its name.
        message: the core in numbers.
    """

    model: str
    tag: str
    message: str


def release(version: str, model: str | None = None) -> Release:
    """Tag the present commit as a version of a core.

    Args:
        version: semantic, such as 1.0.0 or v1.1.0-rc1; higher than all there are.
        model: may be left out where there is one alone.

    Raises:
        UsageError: no such version or model, a version that is there or not the highest, or a
            model that ``dvc artifacts get`` would not find.
        CoreTokensError: what is committed is not what would be tagged: changes that are not in
            Git, or a core that is not that of the parameters.
    """
    command = f"core-tokens tag {version}"
    name = _model(command, model)
    tag = f"{name}@{_higher(command, version, name)}"
    _check_committed(name)
    _check_current(name)
    message = _numbers(name)
    done = _git("tag", "--annotate", "--message", message, tag)
    if done.returncode:
        reason = " ".join(done.stderr.split())
        raise CoreTokensError("git tag", reason or "no message", "a tag that Git can make")
    return Release(name, tag, message)


def _model(command: str, wanted: str | None) -> str:
    """The model that is meant."""
    listed = params.load().models
    if wanted is None and len(listed) != 1:
        there = ", ".join(listed) or "one: core-tokens add NAME SOURCE"
        raise UsageError(command, "no model named", there)
    name = listed[0] if wanted is None else wanted
    params.check_listed(name, listed, "models")
    if name.endswith("-"):  # for GTO that is no name
        expected = "one that ends with a letter or digit"
        raise UsageError(command, f"the model name {name!r}", expected)
    return name


def _higher(command: str, version: str, model: str) -> str:
    """The version with its v, if it is higher than those that are tagged."""
    from semver import Version  # which GTO, and so DVC, brings along

    wanted = version.removeprefix("v")
    if not Version.is_valid(wanted):
        raise UsageError(command, f"the version {version!r}", "one such as 1.0.0 or 1.1.0-rc1")
    tags = _git("tag", "--list", f"{model}@v*").stdout.split()
    versions = [tag.partition("@v")[2] for tag in tags]
    there = [Version.parse(found) for found in versions if Version.is_valid(found)]
    if there and Version.parse(wanted) <= max(there):
        raise UsageError(command, f"{model}@v{max(there)} already", "a higher version")
    return f"v{wanted}"


def _check_committed(model: str) -> None:
    """Refuse to tag what is not in Git as it is here."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".")
    if changed.returncode:
        raise CoreTokensError("git status", changed.stderr.strip(), "a Git repository here")
    if names := [line[3:] for line in changed.stdout.splitlines()]:
        raise CoreTokensError(names[0], "changes that are not committed", "git commit first")
    head = Revision("HEAD", "HEAD")
    for path in (Path("data", model, "core.json"), Path("dvc.lock")):
        if head.read(path) is None:
            raise FileError(path, "not in Git", f"git add {path}, and a commit")
    pipeline = head.yaml(artifacts_text.PATH)
    if model not in (pipeline.get(artifacts_text.KEY) or {}):
        where = f"{artifacts_text.PATH}: {artifacts_text.KEY}"
        raise FileError(where, f"no {model!r}", f"path: data/{model}/core_tokens.safetensors")


def _check_current(model: str) -> None:
    """Refuse a core that ``dvc repro`` would make anew."""
    from dvc.exceptions import ReproductionError

    target = f"extract@{model}"
    with repository() as repo:
        try:
            stale = repo.reproduce(targets=[target], dry=True, allow_missing=True)
        except ReproductionError:  # stale, and its inputs are not here
            stale = [target]
    if stale:
        raise CoreTokensError("dvc.lock", f"a core of {model} that is stale", "dvc repro first")


def _numbers(model: str) -> str:
    """The core in one line, from core.json."""
    path = Path("data", model, "core.json")
    settings = params.load().extract
    try:
        core: dict[str, Any] = json.loads(path.read_bytes())
        tokens, vectors, radius = core["core"]["tokens"], core["core"]["vectors"], core["radius"]
        halo = core["halo"]["tokens"]
        return (
            f"{tokens:,} core tokens in {vectors:,} vectors within {radius:g} "
            f"({settings.distance}), {halo:,} in the halo"
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(path, "other metrics", "those of `extract`: dvc repro") from error


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise UsageError("git", "no such command", "Git to be installed") from error
