"""What was found, as a person reads it: the lines that the notebook printed, from the files."""

from pathlib import Path

import numpy as np

from core_tokens import params, tensors
from core_tokens.bits import median_magnitude
from core_tokens.core import check_measurements
from core_tokens.errors import TensorError, in_files

HALO_LINES = 20
UNITS = {"ulp": "ulp", "steps": "steps", "l2": "in L2"}


def summary(model: str, settings: params.Params) -> str:
    """The summary of one model, from its measurements and its core file.

    Raises:
        CoreTokensError: a file is not there or not what a stage writes.
    """
    folder = Path("data", model)
    measurements = folder / "measurements.safetensors"
    measured = tensors.read(measurements, tensors.MEASUREMENTS)
    with in_files(**dict.fromkeys(measured, measurements)):
        check_measurements(measured)
    path = folder / "core_tokens.safetensors"
    ruler = _ruler(path)
    core = tensors.read(path, {
        "cluster_token_ids": ("I64", ("tokens",)), f"max_core_radius_{ruler}": ("F32", (1,)),
    })  # fmt: skip
    lines = [f"Core of {model}"]
    source = settings.fetch[model].source if model in settings.fetch else ""
    if source.startswith("replica:"):
        lines.append(
            f"  a replica, made to show the published figures of {source.partition(':')[2]}: "
            "not the model's weights"
        )
    token_ids, populations = measured["token_ids"], measured["populations"]
    if len(token_ids) == 0:
        return "\n".join(
            [
                *lines,
                "  no cluster: no two tokens with non-zero rows are adjacent",
                f"  file            {path}",
            ]
        )
    vectors, origin = measured["vectors"], int(measured["origin"][0])
    big_one = vectors[origin]
    ulp, norm = float(measured["ulp"][0]), np.linalg.norm(big_one.astype(np.float64))
    distance, steps = measured["distance_ulp"], measured["distance_steps"]
    within = np.isin(token_ids, core["cluster_token_ids"])
    core_vectors = len(np.unique(measured["vector_of_token"][within]))
    radius = float(str(core[f"max_core_radius_{ruler}"][0]))
    first = token_ids[np.flatnonzero(measured["vector_of_token"] == origin)[0]]
    lines += [
        f"  cluster         {len(token_ids):,} tokens, ids {token_ids.min()} to {token_ids.max()}",
        f"  unique vectors  {len(vectors):,} of {_count(vectors.shape[1], 'dimension')}, "
        f"populations {populations.min()} to {populations.max():,}",
        f"  Big One         index {origin}, {populations[origin]:,} tokens (the first is {first}), "
        f"norm {norm:.6f}",
        f"  ulp             2^{int(np.log2(ulp))} = {ulp:.6e}, at the median |component| "
        f"{float(median_magnitude(big_one)):.6e}",
        f"  distance        min {distance.min():.2f}, max {distance.max():.2f}, "
        f"mean {distance.mean():.2f}, median {np.median(distance):.2f} ulp; "
        f"max {steps.max():,} steps",
        f"  core            {_sizes(within.sum(), core_vectors)} within "
        f"{radius:g} {UNITS[ruler]} ({100 * within.mean():.2f}%)",
        f"  halo            {_sizes((~within).sum(), len(vectors) - core_vectors)}",
    ]
    halo = np.flatnonzero(~within)
    if len(halo):
        lines.append(f"    {'token':>8} {'ulp':>10} {'steps':>8} {'L2':>12} {'population':>11}")
    for at in halo[:HALO_LINES]:
        vector = measured["vector_of_token"][at]
        lines.append(
            f"    {token_ids[at]:>8} {distance[vector]:>10.2f} {steps[vector]:>8} "
            f"{measured['distance_l2'][vector]:>12.6g} {populations[vector]:>11}"
        )
    if len(halo) > HALO_LINES:
        lines.append(f"    and {len(halo) - HALO_LINES:,} more in {folder / 'halo.csv'}")
    lines.append(f"  file            {path} ({path.stat().st_size / 1024:.1f} KB)")
    return "\n".join(lines)


def _sizes(tokens: int, vectors: int) -> str:
    return f"{_count(tokens, 'token')}, {_count(vectors, 'vector')}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _ruler(path: Path) -> str:
    """Which distance the core in a file was cut by."""
    there = tensors.entries(path)
    for ruler in UNITS:
        if f"max_core_radius_{ruler}" in there:
            return ruler
    raise TensorError(
        f"{path}: max_core_radius_ulp", "no such tensor", "a core that `extract` wrote"
    )
