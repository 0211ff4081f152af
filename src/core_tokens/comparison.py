"""What changed between two revisions, from the files that Git has: no weights are needed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core_tokens.errors import FileError
from core_tokens.params import SURVEYS, is_slug
from core_tokens.revisions import TOKENS, Revision
from core_tokens.vocabulary import CLASSES

METRICS = ("core", "measure", "cluster", "structure")
PARAMS = Path("params.yaml")
PICTURES = ("curve_ulp", "rulers", "adjacency")
"""The pictures that say most: a review is no report."""


@dataclass(frozen=True)
class Change:
    """A value that is another, or on one side only: None is no value."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Token:
    """A row of core.csv or halo.csv: id, class and text, and where it lies, as text."""

    id: int
    kind: str
    text: str
    distance_ulp: str
    distance_steps: str
    distance_l2: str
    population: str


@dataclass(frozen=True)
class Sizes:
    """A core in short: tokens and vectors of core and halo, and the radius."""

    core_tokens: int
    core_vectors: int
    halo_tokens: int
    halo_vectors: int
    radius: float


@dataclass(frozen=True)
class ModelChanges:
    """What changed of one model.

    Attributes:
        model: its name.
        before: sizes of its core, None where there was none yet; likewise ``after``.
        metrics: the metrics that changed, under FILE.KEY; none of a model that is new or gone.
        entered: tokens that are in the core now and were not, by id.
        left: tokens that were and no longer are.
        pictures: those of the working tree, if that is the other side, and they were made.
    """

    model: str
    before: Sizes | None
    after: Sizes | None
    metrics: tuple[Change, ...]
    entered: tuple[Token, ...]
    left: tuple[Token, ...]
    pictures: tuple[Path, ...]

    @property
    def any(self) -> bool:
        """Is anything another?"""
        return bool(self.metrics or self.entered or self.left) or self.before != self.after


@dataclass(frozen=True)
class Comparison:
    """What changed between two revisions.

    Attributes:
        before: the one; ``after``: the other.
        params: the parameters that changed.
        models: all of them, those of either side.
        surveys: the metrics that changed of each, where any did.
    """

    before: Revision
    after: Revision
    params: tuple[Change, ...]
    models: tuple[ModelChanges, ...]
    surveys: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """Is anything another?"""
        return bool(self.params or self.surveys) or any(model.any for model in self.models)


def compare(before: Revision, after: Revision) -> Comparison:
    """Compare parameters, metrics and cores.

    Raises:
        FileError: neither side has params.yaml, or a file is not what a stage writes.
    """
    params = before.yaml(PARAMS), after.yaml(PARAMS)
    if not any(params):
        raise FileError(PARAMS, "no such file here", "the folder that holds params.yaml")
    models = dict.fromkeys(name for side in params for name in _models(side))
    return Comparison(
        before,
        after,
        tuple(_changes(*params)),
        tuple(_model(name, before, after) for name in models),
        dict(_surveys(params, before, after)),
    )


def _surveys(
    params: Sequence[Mapping[str, Any]], before: Revision, after: Revision
) -> Iterator[tuple[str, tuple[Change, ...]]]:
    listed = [side.get("survey") for side in params]
    names = (name for side in listed if isinstance(side, dict) for name in side)
    for name in dict.fromkeys(name for name in names if isinstance(name, str) and is_slug(name)):
        path = Path("data", SURVEYS, name, "survey.json")
        changes = tuple(_changes(_metrics(before, path), _metrics(after, path)))
        if changes:
            yield name, changes


def _models(params: Mapping[str, Any]) -> list[str]:
    listed = params.get("models")
    names = listed if isinstance(listed, list) else []
    return [name for name in names if isinstance(name, str) and is_slug(name)]


def _model(name: str, before: Revision, after: Revision) -> ModelChanges:
    folder = Path("data", name)
    metrics = [
        {file: _metrics(revision, folder / f"{file}.json") for file in METRICS}
        for revision in (before, after)
    ]
    core, halo = zip(*(_tokens(revision, folder) for revision in (before, after)), strict=True)
    entered = [token for id_, token in core[1].items() if id_ not in core[0]]
    left = [halo[1].get(id_, token) for id_, token in core[0].items() if id_ not in core[1]]
    pictures = [path for name in PICTURES for path in folder.glob(f"pictures/{name}.*")]
    return ModelChanges(
        name,
        _sizes(metrics[0]["core"], before.where(folder / "core.json")),
        _sizes(metrics[1]["core"], after.where(folder / "core.json")),
        tuple(_changes(*metrics)) if all(side["core"] for side in metrics) else (),
        tuple(entered),
        tuple(left),
        () if after.commit else tuple(pictures),
    )


def _metrics(revision: Revision, path: Path) -> dict[str, Any]:
    """A file of metrics, empty where there is none."""
    return {} if revision.read(path) is None else revision.metrics(path)


def _sizes(core: Mapping[str, Any], where: str) -> Sizes | None:
    if not core:
        return None
    try:
        inside, halo = core["core"], core["halo"]
        return Sizes(
            int(inside["tokens"]), int(inside["vectors"]), int(halo["tokens"]),
            int(halo["vectors"]), float(core["radius"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(where, f"no sizes of a core ({error})", "them: dvc repro") from error


def _tokens(revision: Revision, folder: Path) -> tuple[dict[int, Token], dict[int, Token]]:
    """The tokens of core and halo, by id."""
    found: list[dict[int, Token]] = []
    for name in ("core", "halo"):
        path = folder / f"{name}.csv"
        if revision.read(path) is None:
            found.append({})
            continue
        header, *rows = revision.table(path, TOKENS)
        try:
            tokens = [_token(dict(zip(header, row, strict=True))) for row in rows]
        except ValueError as error:
            where = revision.where(path)
            raise FileError(where, f"no table ({error})", "one: dvc repro") from error
        found.append({token.id: token for token in tokens})
    return found[0], found[1]


def _token(row: Mapping[str, str]) -> Token:
    if row["class"] not in ("", *CLASSES):
        raise ValueError(f"the class {row['class']!r}")
    for column in ("distance_ulp", "distance_steps", "distance_l2", "population"):
        float(row[column])
    return Token(
        int(row["token"]), row["class"], row["text"], row["distance_ulp"], row["distance_steps"],
        row["distance_l2"], row["population"],
    )  # fmt: skip


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """The values that differ, by their dotted keys, in the order of the later side."""
    flat = dict(_flat(before)), dict(_flat(after))
    for key in [*flat[1], *(key for key in flat[0] if key not in flat[1])]:
        sides = flat[0].get(key), flat[1].get(key)
        if sides[0] != sides[1] or type(sides[0]) is not type(sides[1]):
            yield Change(key, *sides)


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
