"""What a report says of one model at one revision, from the files that Git has of it."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from core_tokens import plot_files, provenance
from core_tokens.core import RULERS
from core_tokens.errors import FileError
from core_tokens.pictures import PICTURES
from core_tokens.revisions import Revision

METRICS = ("measure", "core", "structure")
TOKENS = {"token", "distance_ulp", "distance_steps", "distance_l2", "population", "class", "text"}
"""The columns of core.csv and halo.csv."""
MOST_ROWS = 20_000
"""So many tokens of a table are in the page."""


@dataclass(frozen=True)
class Side:
    """One model at one revision.

    Attributes:
        model: its name.
        revision: where the files are from.
        metrics: "measure", "core" and "structure".
        plots: the rows of the tables of the pictures, those that have any.
        tables: "halo" and "core" -> their header and rows, as text.
        parameters: key in params.yaml -> value.
        hashes: path -> what dvc.lock has of it.
    """

    model: str
    revision: Revision
    metrics: dict[str, Any]
    plots: dict[str, list[plot_files.Row]]
    tables: dict[str, list[list[str]]]
    parameters: dict[str, str]
    hashes: dict[str, str]

    @property
    def replica_of(self) -> str:
        """The model that the matrix only imitates, empty where it is the model's own."""
        source = self.parameters.get(f"fetch.{self.model}.source", "")
        return source.removeprefix("replica:") if source.startswith("replica:") else ""

    @property
    def ruler(self) -> str:
        """The distance by which the core was cut, whatever params.yaml says by now."""
        marked = (
            ruler for ruler in RULERS
            if any(row["chosen"] is not None for row in self.plots.get(f"curve_{ruler}", []))
        )  # fmt: skip
        return next(marked, self.parameters.get("extract.distance", ""))

    @property
    def stale(self) -> bool:
        """Does params.yaml ask for another core than this one?"""
        wanted = self.parameters.get("extract.distance"), self.parameters.get("extract.radius")
        made = self.ruler, self.metrics["core"]["radius"]
        return None not in wanted and (wanted[0], np.float32(wanted[1])) != (
            made[0], np.float32(made[1]),
        )  # fmt: skip


def read(model: str, revision: Revision) -> Side:
    """Read a side (FileError: a file is not there, or not what a stage writes)."""
    folder = Path("data", model)
    metrics = {name: _metrics(revision, folder / f"{name}.json") for name in METRICS}
    plots = {}
    for name, picture in PICTURES.items():
        path = folder / "plots" / f"{name}.csv"
        rows = plot_files.parse(
            _where(revision, path), _content(revision, path), picture.kind.NUMBERS,
            picture.kind.TEXTS,
        )  # fmt: skip
        if rows:
            plots[name] = rows
    tables = {name: _table(revision, folder / f"{name}.csv") for name in ("halo", "core")}
    parameters = _flat(_yaml(revision, Path("params.yaml")), model)
    return Side(model, revision, metrics, plots, tables, parameters, _hashes(revision, model))


def _where(revision: Revision, path: Path) -> str:
    return f"{path} at {revision.name}" if revision.commit else str(path)


def _content(revision: Revision, path: Path) -> bytes:
    content = revision.read(path)
    if content is None:
        expected = "a model and a revision that have it" if revision.commit else "it: dvc repro"
        raise FileError(_where(revision, path), "no such file", expected)
    return content


def _metrics(revision: Revision, path: Path) -> Any:
    try:
        found = json.loads(_content(revision, path))
    except (ValueError, RecursionError) as error:
        raise FileError(_where(revision, path), "no JSON", "metrics: dvc repro") from error
    if not isinstance(found, dict):
        raise FileError(_where(revision, path), "no object", "metrics: dvc repro")
    return found


def _table(revision: Revision, path: Path) -> list[list[str]]:
    try:
        text = io.StringIO(_content(revision, path).decode(), newline="")
        rows = list(csv.reader(text, strict=True))
        if not rows or not set(rows[0]) >= TOKENS:
            raise ValueError(f"no columns {', '.join(sorted(TOKENS - set(*rows[:1])))}")
        if any(len(row) != len(rows[0]) for row in rows):
            raise ValueError("a row of another length than the header")
        return rows
    except (ValueError, csv.Error) as error:
        raise FileError(_where(revision, path), f"no table ({error})", "one: dvc repro") from error


def _yaml(revision: Revision, path: Path) -> dict[str, Any]:
    try:
        found = YAML(typ="safe", pure=True).load(revision.read(path) or b"{}")
    except (YAMLError, ValueError, RecursionError) as error:
        raise FileError(_where(revision, path), "no valid YAML", "a YAML mapping") from error
    return found if isinstance(found, dict) else {}


def _flat(values: dict[str, Any], model: str, before: str = "") -> dict[str, str]:
    """Nested values by their dotted keys, without lists and without those of other models."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if before in ("fetch.", "cluster.discover_at.") and key != model:
            continue
        if isinstance(value, dict):
            flat |= _flat(value, model, f"{before}{key}.")
        elif not isinstance(value, list):
            flat[f"{before}{key}"] = str(value)
    return flat


def _hashes(revision: Revision, model: str) -> dict[str, str]:
    """What dvc.lock says of the matrix, the cluster, the measurements and the core."""
    lock, source = Path("dvc.lock"), Path("data", model, "source.json")
    found = {}
    try:
        stages = _yaml(revision, lock).get("stages") or {}
        for stage, keys in (("measure", ("deps", "outs")), ("extract", ("outs",))):
            for key in keys:
                for entry in (stages.get(f"{stage}@{model}") or {}).get(key) or []:
                    if str(entry.get("path", "")).endswith(".safetensors"):
                        size = int(entry.get("size", 0))
                        found[entry["path"]] = f"md5 {entry.get('md5', '?')}, {size:,} bytes"
    except (AttributeError, TypeError, ValueError) as error:
        raise FileError(_where(revision, lock), "no lock file", "that of DVC: dvc repro") from error
    try:
        record = msgspec.json.decode(revision.read(source) or b"{}", type=provenance.Fetched)
    except ValueError as error:
        where = _where(revision, source)
        raise FileError(where, "no record of what was fetched", "it as it was") from error
    return found | {
        f"{place}: {tensor}": f"sha256 {what.sha256}"
        for place, tensors in record.items()
        for tensor, what in tensors.items()
    }
