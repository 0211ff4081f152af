"""params.yaml as typed values, every one of them checked."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import msgspec

from core_tokens import yaml_text
from core_tokens.errors import FileError, ParamsError
from core_tokens.files import read_bytes

PATH = Path("params.yaml")
SURVEYS = "surveys"
"""The folder of data/ that holds what surveys find, and no model's."""
SLUG = "letters a-z, digits and dashes, and no dash first"
SMALLEST_FLOAT32 = 2.0**-149
LARGEST_FLOAT32 = 3.4028234663852886e38


class Source(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where the matrix of a model comes from, and which of a checkpoint's it is."""

    source: str
    which: Literal["unembedding", "embedding"] = "unembedding"
    tensor: str | None = None


class Cluster(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How clusters are found, and of which models."""

    adjacency_threshold: float
    discover: list[str]
    discover_at: dict[str, float] = {}

    @property
    def discovered(self) -> list[str]:
        """The models whose cluster is found, at whichever threshold."""
        return [*self.discover, *self.discover_at]

    def threshold_of(self, model: str) -> float:
        """The threshold at which the cluster of a model is found."""
        return self.discover_at.get(model, self.adjacency_threshold)


class Measure(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where the measuring is done, and on which lattice."""

    device: Literal["cpu", "cuda", "mps", "auto"]
    precision: Literal["bfloat16", "native"] = "bfloat16"


class Extract(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The ruler, and the radius of the core under it."""

    distance: Literal["ulp", "steps", "l2"]
    radius: float


class Draw(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How the pictures are written."""

    format: Literal["svg", "png"]
    theme: Literal["light", "dark"]


class Sources(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Some checkpoints of a survey: a model, a pattern of paths, or a file of many matrices.

    ``{rev}`` in the source stands for each of ``rev``, a list, or for what a pattern matches.
    """

    source: str
    rev: list[str | int] | str | None = None
    which: Literal["unembedding", "embedding"] = "unembedding"
    tensor: str | None = None


class Survey(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which checkpoints to survey, what joins a cluster, and the radii under each distance."""

    sources: list[str | Sources]
    radii: list[float]
    distances: list[Literal["ulp", "steps", "l2"]]
    threshold: float
    store: str | None = None


class Params(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole of params.yaml."""

    models: list[str]
    fetch: dict[str, Source]
    cluster: Cluster
    measure: Measure
    extract: Extract
    draw: Draw
    survey: dict[str, Survey] = {}

    @property
    def names(self) -> set[str]:
        """The names of all models, whatever is done with them."""
        return {*self.models, *self.fetch, *self.cluster.discovered}


def load(path: Path = PATH) -> Params:
    """Read and check params.yaml.

    Raises:
        FileError: no such file, or not YAML.
        ParamsError: an unknown or missing key, or a value of the wrong type or out of range.
    """
    try:
        document = yaml_text.parse(read_bytes(path).decode())  # as DVC does
    except FileNotFoundError as error:
        raise FileError(path, "no such file here", "the folder that holds params.yaml") from error
    except ValueError as error:
        raise FileError(path, f"no valid YAML ({error})", "a YAML mapping") from error
    try:
        params = msgspec.convert(document, Params)
    except msgspec.ValidationError as error:
        raise _explain(document, str(error)) from error
    _check_names(list(_names(params)))
    _check_number(
        "cluster.adjacency_threshold", params.cluster.adjacency_threshold, SMALLEST_FLOAT32
    )
    discover = set(params.cluster.discover)
    for model, threshold in params.cluster.discover_at.items():
        _check_number(f"cluster.discover_at.{model}", threshold, SMALLEST_FLOAT32)
        if model in discover:
            raise ParamsError(
                "cluster.discover_at",
                f"the model {model!r}, which cluster.discover has too",
                "each model in one of them",
            )
    _check_number("extract.radius", params.extract.radius, 0.0)
    for name, survey in params.survey.items():
        _check_survey(f"survey.{name}", survey)
    return params


def check_listed(name: str, listed: Any, key: str, kind: str = "model") -> None:
    """Refuse a model, or what else, that ``listed``, the value of ``key``, does not name."""
    if name not in listed:
        there = ", ".join(map(repr, listed)) or f"no {kind}"
        raise ParamsError(key, there, f"the {kind} {name!r} among them, or one of them to run")


def is_slug(name: str) -> bool:
    """May a model have this name? It reaches a shell and DVC's parameter paths."""
    return re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) is not None


def _check_survey(key: str, survey: Survey) -> None:
    """Refuse a survey of nothing, and radii, distances and a threshold that cannot be."""
    _check_number(f"{key}.threshold", survey.threshold, SMALLEST_FLOAT32)
    for part in ("sources", "radii", "distances"):
        values: list[Any] = getattr(survey, part)
        if not values:
            raise ParamsError(f"{key}.{part}", "an empty list", "at least one")
        if part != "sources" and len(set(values)) < len(values):
            raise ParamsError(f"{key}.{part}", str(values), "each once")
    for at, radius in enumerate(survey.radii):
        _check_number(f"{key}.radii[{at}]", radius, 0.0)


def _check_names(names: list[tuple[str, str]]) -> None:
    """Refuse names that are no slugs, or stand twice under one key."""
    times = Counter(names)
    for key, name in names:
        if not is_slug(name):
            kind = "survey" if key == "survey" else "model"
            raise ParamsError(key, f"the {kind} name {name!r}", SLUG)
        if name == SURVEYS and key != "survey":
            right = f"another: data/{SURVEYS} is for what surveys find"
            raise ParamsError(key, f"the model name {name!r}", right)
        if times[key, name] > 1:
            raise ParamsError(key, f"the model {name!r} more than once", "each model once")


def _names(params: Params) -> Iterator[tuple[str, str]]:
    """Every model name, with the key it stands under."""
    yield from (("models", name) for name in params.models)
    yield from (("fetch", name) for name in params.fetch)
    yield from (("cluster.discover", name) for name in params.cluster.discover)
    yield from (("cluster.discover_at", name) for name in params.cluster.discover_at)
    yield from (("survey", name) for name in params.survey)


def _check_number(key: str, value: float, least: float) -> None:
    """Refuse NaN and what is below ``least`` or beyond what the files' float32 can hold."""
    if not least <= value <= LARGEST_FLOAT32:
        raise ParamsError(key, str(value), f"a number from {least:g} to {LARGEST_FLOAT32:.4g}")


KINDS = {
    "`float`": "a number",
    "`str`": "text",
    "`str | null`": "text",
    "`array`": "a list",
    "`str | array | null`": "a list of revisions, or a pattern",
    "`object | str`": "a source, or keys with values",
    "`str | object`": "a source, or keys with values",
    "`int | str`": "the name of a revision",
    "`object`": "keys with values",
}
"""What msgspec calls a type -> what a person does."""
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "": Params, "cluster": Cluster, "measure": Measure, "extract": Extract, "fetch": Source,
    "draw": Draw, "survey": Survey,
}  # fmt: skip


def _explain(document: Any, message: str) -> ParamsError:
    """A validation message of msgspec, "what - at `$.path`", with the value that is there."""
    what, _, path = message.partition(" - at `")
    keys: list[str] = []
    found = document
    for name, index in re.findall(r"\.([\w-]+)|\[(\d+|\.\.\.)\]", path):
        if index == "...":  # msgspec does not say which value of a mapping it was
            kind = {"discover_at": float, "survey": Survey}.get(keys[-1], Source)
            name = next(name for name, value in found.items() if not _fits(value, kind))
            index = ""
        keys.append(f"[{index}]" if index else name)
        found = found[int(index)] if index else found.get(name)
    key = ".".join(keys).replace(".[", "[")
    section = SECTIONS.get(keys[0] if keys else "", Params)
    if section is Survey and "sources" in keys[2:]:
        section = Sources
    if path.startswith("key`"):
        wrong = next(name for name in found if not isinstance(name, str))
        return ParamsError(key, f"the key {wrong!r}", "text as a key, in quotes if need be")
    if "unknown field" in what:
        known = ", ".join(section.__struct_fields__)
        unknown = what[what.index("unknown") :].replace("field", "key")
        return ParamsError(key, f"the {unknown}", f"only {known}")
    if "missing required field" in what:
        missing = what[what.index("missing") :].replace("required field", "key")
        return ParamsError(key, missing, "it to be given")
    wanted = what.partition(", got")[0].removeprefix("Expected ")
    named = [name for name in keys if not name.startswith("[")]
    choices = get_args(get_type_hints(section).get(named[-1])) if named else ()
    if choices and keys[-1] not in named:  # of a list: what its values may be
        choices = get_args(choices[0])
    if choices and isinstance(choices[0], str):
        wanted = f"one of {', '.join(choices)}"
    elif "out of range" in what:
        wanted = "a finite number that float32 can hold"
    shown = repr(found) if len(repr(found)) <= 80 else f"{repr(found)[:77]}..."
    return ParamsError(key, shown, KINDS.get(wanted, wanted))


def _fits(value: Any, kind: type) -> bool:
    """Is this what a section of params.yaml may hold?"""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True
