"""params.yaml as typed values, every one of them checked.

YAML 1.2, by the parser that DVC itself uses, so that both read the same number.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from core_tokens.errors import FileError, ParamsError

PATH = Path("params.yaml")
LARGEST_FLOAT32 = 3.4028234663852886e38


class Source(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where the matrix of a model comes from."""

    source: str


class Cluster(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How clusters are found, and of which models."""

    adjacency_threshold: float
    discover: list[str]


class Measure(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where the measuring is done."""

    device: Literal["cpu", "cuda", "mps", "auto"]


class Extract(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The ruler, and the radius of the core under it."""

    distance: Literal["ulp", "steps", "l2"]
    radius: float


class Params(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole of params.yaml."""

    models: list[str]
    fetch: dict[str, Source]
    cluster: Cluster
    measure: Measure
    extract: Extract


def load(path: Path = PATH) -> Params:
    """Read and check params.yaml.

    Raises:
        FileError: no such file, or not YAML.
        ParamsError: an unknown or missing key, or a value of the wrong type or out of range.
    """
    try:
        document = YAML(typ="safe", pure=True).load(path.read_bytes())
    except FileNotFoundError as error:
        raise FileError(path, "no such file here", "the folder that holds params.yaml") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise FileError(path, f"no valid YAML ({error})", "a YAML mapping") from error
    try:
        params = msgspec.convert(document, Params)
    except msgspec.ValidationError as error:
        raise _explain(document, str(error)) from error
    for key, name in _names(params):
        check_name(key, name)
    _check_number("cluster.adjacency_threshold", params.cluster.adjacency_threshold, 0.0)
    _check_number("extract.radius", params.extract.radius, None)
    return params


def check_listed(model: str, listed: Any, key: str) -> None:
    """Refuse a model that ``listed``, the value of ``key``, does not name (ParamsError)."""
    if model not in listed:
        there = ", ".join(map(repr, listed)) or "no model"
        raise ParamsError(key, there, f"the model {model!r} among them, or one of them to run")


def check_name(key: str, name: str) -> None:
    """Refuse a model name that is not a slug: it reaches a shell and DVC's parameter paths."""
    if not re.fullmatch(r"[a-z0-9-]+", name) or name.startswith("-"):
        raise ParamsError(
            key, f"the model name {name!r}", "letters a-z, digits and inner dashes only"
        )


def _names(params: Params) -> Iterator[tuple[str, str]]:
    """Every model name, with the key it stands under."""
    yield from (("models", name) for name in params.models)
    yield from (("fetch", name) for name in params.fetch)
    yield from (("cluster.discover", name) for name in params.cluster.discover)


def _check_number(key: str, value: float, above: float | None) -> None:
    """Refuse NaN, infinity, what float32 cannot hold, negatives, and ``above`` itself or less."""
    wrong = not math.isfinite(value) or value < 0 or value > LARGEST_FLOAT32
    if wrong or (above is not None and value <= above):
        wanted = "a finite number" + (" >= 0" if above is None else f" > {above:g}")
        raise ParamsError(key, str(value), wanted)


def _explain(document: Any, message: str) -> ParamsError:
    """A validation message of msgspec, "what - at `$.path`", with the value that is there."""
    what, _, path = message.partition(" - at `$")
    keys = re.findall(r"\.([\w-]+)|\[(\d+|\.\.\.)\]", path.rstrip("`"))
    key, found = "", document
    for name, index in keys:
        key += f".{name}" if name else f"[{index}]"
        try:
            found = found[name] if name else found[int(index)]
        except (KeyError, TypeError, ValueError, IndexError):
            found = None
            break
    if "unknown field" in what:
        return ParamsError(
            key.strip("."),
            f"the {what[what.index('unknown') :].replace('field', 'key')}",
            "only known keys",
        )
    if "missing required field" in what:
        return ParamsError(
            key.strip("."),
            what[what.index("missing") :].replace("required field", "key"),
            "it to be given",
        )
    shown = repr(found) if len(repr(found)) <= 80 else f"{repr(found)[:77]}..."
    return ParamsError(key.strip("."), shown, what.partition(", got")[0].removeprefix("Expected "))
