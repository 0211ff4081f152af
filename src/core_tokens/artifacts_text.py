"""The artifacts of dvc.yaml: what a model's core is called for ``dvc artifacts get``.

DVC makes no artifacts from a list of models, as it makes stages; so each is written there, and
every other byte stays as it was.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from core_tokens import yaml_text
from core_tokens.errors import FileError
from core_tokens.params_text import with_entry, without_name

PATH = Path("dvc.yaml")
KEY = "artifacts"


def with_artifact(text: str, model: str) -> str:
    """dvc.yaml with the core of a model as an artifact (FileError: it cannot be edited)."""
    wanted = _load(text)
    values = {
        "path": f"data/{model}/core_tokens.safetensors",
        "type": "dataset",
        "desc": f"Core tokens of {model}",
    }
    if KEY not in wanted:
        text = text.rstrip("\n") + f"\n\n{KEY}: {{}}\n"
    if not isinstance(wanted.setdefault(KEY, {}), dict):
        raise FileError(PATH, f"{KEY} that are no mapping", "names, each with a path")
    wanted[KEY] = wanted[KEY] | {model: values}
    edit = partial(with_entry, text, KEY, model, values)
    return _checked(edit, wanted, f"{KEY}: {model} by hand")


def without_artifact(text: str, model: str) -> str:
    """dvc.yaml without it (FileError: as above)."""
    wanted = _load(text)
    if model not in (wanted.get(KEY) or {}):
        return text
    del wanted[KEY][model]
    edit = partial(without_name, text, (KEY,), model)
    return _checked(edit, wanted, f"no {KEY}: {model}, by hand")


def _load(text: str) -> dict[str, Any]:
    try:
        found = yaml_text.parse(text)
    except ValueError as error:
        there = f"no valid YAML ({error})"
        raise FileError(PATH, there, "the pipeline: git checkout dvc.yaml") from error
    if not isinstance(found, dict):
        raise FileError(PATH, "no mapping", "the pipeline: git checkout dvc.yaml")
    return found


def _checked(edit: Callable[[], str], wanted: dict[str, Any], otherwise: str) -> str:
    """The edited text, if it says what was wanted."""
    try:
        text = edit()
        if _load(text) == wanted:
            return text
    except (YAMLError, FileError):
        pass
    raise FileError(PATH, "a layout that cannot be edited", otherwise)
