"""What was found, as a person reads it: the lines that the notebook printed, or one per model."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_tokens import core_file, params, tensors, vocabulary
from core_tokens.bits import median_magnitude
from core_tokens.core import check_measurements
from core_tokens.errors import CoreTokensError, FileError, in_files
from core_tokens.files import read_bytes

HALO_LINES = 20
UNITS = {"ulp": "ulp", "steps": "steps", "l2": "in L2"}


@dataclass(frozen=True)
class _Found:
    """What the stages wrote for one model.

    Attributes:
        measured: the tensors of the measurements.
        within: bool[n], which of their tokens are core.
        core_vectors: distinct vectors in the core.
        ruler: by which the core was cut.
        radius: at which.
        core_path: the core file.
        matrix: which tensor was taken and its dtype; empty if measure.json does not say.
        changed: tokens that rounding to bfloat16 changed.
    """

    measured: Mapping[str, NDArray[Any]]
    within: NDArray[np.bool_]
    core_vectors: int
    ruler: str
    radius: float
    core_path: Path
    matrix: str
    changed: int


def _read(model: str) -> _Found:
    """Read and check the files of a model (CoreTokensError: not there, or not of a stage)."""
    folder = Path("data", model)
    measurements = folder / "measurements.safetensors"
    measured = tensors.read(measurements, tensors.MEASUREMENTS)
    with in_files(**dict.fromkeys(measured, measurements)):
        check_measurements(measured)
    path = folder / "core_tokens.safetensors"
    core = core_file.read(path)
    within = np.isin(measured["token_ids"], core.token_ids)
    matrix, changed = _matrix(folder / "measure.json")
    return _Found(
        measured, within, len(np.unique(measured["vector_of_token"][within])), core.ruler,
        float(str(core.radius)), path, matrix, changed,
    )  # fmt: skip


def _matrix(path: Path) -> tuple[str, int]:
    """Which tensor was measured, and how many of its tokens rounding changed."""
    if not path.exists():
        return "", 0
    try:
        metrics = json.loads(read_bytes(path))
        return matrix_of(metrics), int(metrics["cast"]["changed_tokens"])
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(path, "other metrics", "those of `measure`: dvc repro") from error


def matrix_of(metrics: Any) -> str:
    """Which tensor measure.json says was measured, and as what (KeyError, ValueError, …)."""
    (tensor,), (stored,) = metrics["matrix"]["tensor"], metrics["matrix"]["dtype"]
    (measured,) = metrics["matrix"]["measured"]
    return f"{tensor}, {stored if measured == stored else f'{stored} taken as {measured}'}"


def summary(model: str, settings: params.Params) -> str:
    """The summary of one model, from its measurements and its core file.

    Raises:
        CoreTokensError: a file is not there or not what a stage writes.
    """
    found = _read(model)
    lines = [f"Core of {model}"]
    source = settings.fetch[model].source if model in settings.fetch else ""
    if source.startswith("replica:"):
        lines.append(
            f"  a replica, made to show the published figures of {source.partition(':')[2]}: "
            "not the model's weights"
        )
    elif source:
        lines.append(f"  source          {source}")
    if found.matrix:
        lost = f", which changed {found.changed:,} of the tokens below"
        lines.append(f"  matrix          {found.matrix}{lost if found.changed else ''}")
    if len(found.within) == 0:
        lines.append("  no cluster: no two tokens with non-zero rows are adjacent")
        lines.append(f"  file            {found.core_path}")
        return "\n".join(lines)
    lines += _numbers(found)
    lines += _halo(found, Path("data", model))
    lines.append(
        f"  file            {found.core_path} ({found.core_path.stat().st_size / 1024:.1f} KB)"
    )
    return "\n".join(lines)


def _numbers(found: _Found) -> list[str]:
    """The lines from the cluster to the sizes of core and halo."""
    measured, within = found.measured, found.within
    token_ids, populations = measured["token_ids"], measured["populations"]
    vectors, origin = measured["vectors"], int(measured["origin"][0])
    big_one = vectors[origin]
    ulp, norm = float(measured["ulp"][0]), np.linalg.norm(big_one.astype(np.float64))
    distance, steps = measured["distance_ulp"], measured["distance_steps"]
    first = token_ids[np.flatnonzero(measured["vector_of_token"] == origin)[0]]
    return [
        f"  cluster         {len(token_ids):,} tokens, ids {token_ids.min()} to {token_ids.max()}",
        f"  unique vectors  {len(vectors):,} of {count(vectors.shape[1], 'dimension')}, "
        f"populations {populations.min():,} to {populations.max():,}",
        f"  Big One         index {origin}, {count(populations[origin], 'token')} "
        f"(the first is {first}), norm {norm:.6f}",
        f"  ulp             2^{int(np.log2(ulp))} = {ulp:.6e}, at the median |component| "
        f"{float(median_magnitude(big_one)):.6e}",
        f"  distance        min {distance.min():.2f}, max {distance.max():.2f}, "
        f"mean {distance.mean():.2f}, median {np.median(distance):.2f} ulp; "
        f"max {steps.max():,} steps",
        f"  core            {_sizes(within.sum(), found.core_vectors)} within "
        f"{found.radius:g} {UNITS[found.ruler]} ({100 * within.mean():.2f}%)",
        f"  halo            {_sizes((~within).sum(), len(vectors) - found.core_vectors)}",
    ]


def _halo(found: _Found, folder: Path) -> list[str]:
    """A line for each token of the halo, with its text if that is known."""
    halo, measured = np.flatnonzero(~found.within), found.measured
    if not len(halo):
        return []
    texts = vocabulary.read_texts(folder / "tokens.csv") or {}
    wide = max(8, len(str(measured["distance_steps"].max())))  # of float32 it may be ten digits
    title = f"    {'token':>8} {'ulp':>10} {'steps':>{wide}} {'L2':>12} {'population':>11}"
    lines = [title + ("  class        text" if texts else "")]
    for at in halo[:HALO_LINES]:
        token, vector = int(measured["token_ids"][at]), measured["vector_of_token"][at]
        line = (
            f"    {token:>8} {measured['distance_ulp'][vector]:>10.2f} "
            f"{measured['distance_steps'][vector]:>{wide}} "
            f"{measured['distance_l2'][vector]:>12.6g} {measured['populations'][vector]:>11}"
        )
        if token in texts:
            line += f"  {texts[token].kind:<11}  {texts[token].text or ''}".rstrip()
        lines.append(line)
    if len(halo) > HALO_LINES:
        lines.append(f"    and {len(halo) - HALO_LINES:,} more in {folder / 'halo.csv'}")
    return lines


COLUMNS = ("model", "cluster", "vectors", "Big One", "ulp", "core", "halo", "radius", "matrix")


def table(models: list[str]) -> str:
    """One line per model; of one that is not reproduced yet, what is missing."""
    rows: list[tuple[str, ...]] = [COLUMNS]
    for model in models:
        try:
            rows.append((model, *_row(_read(model))))
        except CoreTokensError as error:
            rows.append((model, *["-"] * (len(COLUMNS) - 2), f"{error.where}: {error.found}"))
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines)


def _row(found: _Found) -> tuple[str, ...]:
    measured, within = found.measured, found.within
    populations = measured["populations"]
    some = len(populations) > 0
    return (
        f"{len(within):,}",
        f"{len(populations):,}",
        f"{populations[measured['origin'][0]]:,}" if some else "-",
        f"2^{int(np.log2(measured['ulp'][0]))}" if some else "-",
        f"{within.sum():,}",
        f"{(~within).sum():,}",
        f"{found.radius:g} {UNITS[found.ruler].removeprefix('in ')}",
        found.matrix,
    )


def _sizes(tokens: int, vectors: int) -> str:
    return f"{count(tokens, 'token')}, {count(vectors, 'vector')}"


def count(number: int, thing: str) -> str:
    """A number of things, in the singular or the plural."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
