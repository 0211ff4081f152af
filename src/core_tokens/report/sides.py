"""What a report says of one model at one revision, from the files that Git has of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from core_tokens import plot_files, provenance
from core_tokens.core import RULERS
from core_tokens.errors import FileError
from core_tokens.pictures import PICTURES
from core_tokens.revisions import TOKENS, Revision

METRICS = ("measure", "core", "structure")
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
    metrics = {name: revision.metrics(folder / f"{name}.json") for name in METRICS}
    plots = {}
    for name, picture in PICTURES.items():
        path = folder / "plots" / f"{name}.csv"
        rows = plot_files.parse(
            revision.where(path), revision.content(path), picture.kind.NUMBERS,
            picture.kind.TEXTS,
        )  # fmt: skip
        if rows:
            plots[name] = rows
    tables = {name: revision.table(folder / f"{name}.csv", TOKENS) for name in ("halo", "core")}
    parameters = _flat(revision.yaml(Path("params.yaml")), model)
    return Side(model, revision, metrics, plots, tables, parameters, _hashes(revision, model))


def _flat(values: dict[str, Any], model: str, before: str = "") -> dict[str, str]:
    """Nested values by their dotted keys, without lists and without those of other models."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if before in ("fetch.", "cluster.discover_at.") and key != model:
            continue
        if before + key == "survey":  # has a section of its own
            continue
        if isinstance(value, dict):
            flat |= _flat(value, model, f"{before}{key}.")
        elif not isinstance(value, list):
            flat[f"{before}{key}"] = str(value)
    return flat


LARGEST_LOCK = 1 << 28
"""Bytes of dvc.lock, which DVC wrote: some 18,000 for each model."""


def _hashes(revision: Revision, model: str) -> dict[str, str]:
    """What dvc.lock says of the matrix, the cluster, the measurements and the core."""
    lock, source = Path("dvc.lock"), Path("data", model, "source.json")
    found = {}
    try:
        stages = revision.yaml(lock, largest=LARGEST_LOCK).get("stages") or {}
        for stage, keys in (("measure", ("deps", "outs")), ("extract", ("outs",))):
            for key in keys:
                for entry in (stages.get(f"{stage}@{model}") or {}).get(key) or []:
                    if str(entry.get("path", "")).endswith(".safetensors"):
                        size = int(entry.get("size", 0))
                        found[entry["path"]] = f"md5 {entry.get('md5', '?')}, {size:,} bytes"
    except (AttributeError, TypeError, ValueError) as error:
        raise FileError(revision.where(lock), "no lock file", "that of DVC: dvc repro") from error
    try:
        record = msgspec.json.decode(revision.read(source) or b"{}", type=provenance.Fetched)
    except ValueError as error:
        where = revision.where(source)
        raise FileError(where, "no record of what was fetched", "it as it was") from error
    return found | {
        f"{place}: {tensor}": f"sha256 {what.sha256}"
        for place, tensors in record.items()
        for tensor, what in tensors.items()
    }
