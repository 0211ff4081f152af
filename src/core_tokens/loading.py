"""A core, or the vectors it was cut from, out of any project, at any revision, in one call."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from core_tokens import core_file, tensors
from core_tokens.core import check_measurements
from core_tokens.errors import FileError, UsageError, in_files
from core_tokens.measurements import Measurements
from core_tokens.projects import opened

if TYPE_CHECKING:
    from torch import Tensor

Framework = Literal["np", "pt"]
"""Arrays of NumPy or tensors of torch, by the names that safetensors has for them."""


@dataclass(frozen=True, eq=False)
class LoadedCore:
    """A core as it was at one revision.

    Attributes:
        model: its name.
        token_ids: int64[n], in the order of the cluster.
        distance: the ruler, "ulp", "steps" or "l2".
        radius: in units of the distance.
        core_tokens: how many; likewise ``core_vectors``, ``halo_tokens`` and ``halo_vectors``.
        metrics: core.json.
        params: params.yaml.
        rev: the Git commit in full; empty for a working tree that differs from it.
    """

    model: str
    token_ids: "NDArray[np.int64] | Tensor"
    distance: str
    radius: float
    core_tokens: int
    core_vectors: int
    halo_tokens: int
    halo_vectors: int
    metrics: dict[str, Any]
    params: dict[str, Any]
    rev: str


@dataclass(frozen=True, eq=False)
class LoadedVectors:
    """The distinct vectors of a cluster as they were at one revision.

    Attributes:
        model: its name.
        vectors: float[u, dims] in lexicographic order, bfloat16 unless measured natively.
        populations: int64[u], tokens per vector.
        token_ids: int64[n], the cluster.
        vector_of_token: int64[n], the row of ``vectors`` that each token has.
        origin: the row of the Big One, -1 where there are no tokens.
        measured: the same as ``core_tokens.core_within`` takes it.
        metrics: measure.json.
        params: params.yaml.
        rev: the Git commit in full; empty for a working tree that differs from it.
    """

    model: str
    vectors: "NDArray[Any] | Tensor"
    populations: "NDArray[np.int64] | Tensor"
    token_ids: "NDArray[np.int64] | Tensor"
    vector_of_token: "NDArray[np.int64] | Tensor"
    origin: int
    measured: Measurements
    metrics: dict[str, Any]
    params: dict[str, Any]
    rev: str


def load(
    repo: str | os.PathLike[str] = ".",
    model: str | None = None,
    rev: str | None = None,
    remote: str | None = None,
    framework: Framework = "np",
) -> LoadedCore:
    """Load the core of a model.

    Args:
        repo: the folder of a project, or the URL of its Git repository.
        model: its name; may be left out where there is one alone.
        rev: a commit, tag, branch or experiment; by default the working tree of a folder, the
            default branch of a URL.
        remote: the DVC remote to bring it from, by default the project's default.
        framework: "np" for NumPy arrays, "pt" for torch tensors.

    Raises:
        UsageError: no such project, revision, model or framework.
        FileError: a file is not there, or not what was locked.
        TensorError: it is no core file.
    """
    convert = _converter(framework)
    with opened(repo, rev, remote) as project:
        name = project.model(model)
        metrics = project.metrics(name, "core.json")
        with project.file(name, "core_tokens.safetensors") as path:
            core = core_file.read(path)
        counted = project.count(metrics, name, "core.json", "core.tokens")
        if counted != len(core.token_ids):
            there = f"{counted:,} tokens, where the core file has {len(core.token_ids):,}"
            raise FileError(project.named(name, "core.json"), there, "both of one run: dvc repro")
        radius = metrics.get("radius")
        if not isinstance(radius, int | float) or np.float32(radius) != core.radius:
            there = f"the radius {radius!r}, where the core file has {core.radius}"
            raise FileError(project.named(name, "core.json"), there, "both of one run: dvc repro")
        return LoadedCore(
            model=name,
            token_ids=convert(core.token_ids),
            distance=core.ruler,
            radius=float(radius),
            core_tokens=counted,
            core_vectors=project.count(metrics, name, "core.json", "core.vectors"),
            halo_tokens=project.count(metrics, name, "core.json", "halo.tokens"),
            halo_vectors=project.count(metrics, name, "core.json", "halo.vectors"),
            metrics=metrics,
            params=project.params,
            rev=project.commit,
        )


def load_vectors(
    repo: str | os.PathLike[str] = ".",
    model: str | None = None,
    rev: str | None = None,
    remote: str | None = None,
    framework: Framework = "np",
) -> LoadedVectors:
    """Load the distinct vectors of a model's cluster, with their populations and distances.

    Args:
        repo: as for ``load``, and so are all others.
        model: its name.
        rev: a revision.
        remote: a DVC remote.
        framework: "np" or "pt".

    Raises:
        UsageError: as ``load`` does.
        FileError: likewise.
        TensorError: the file holds no measurements.
    """
    convert = _converter(framework)
    with opened(repo, rev, remote) as project:
        name = project.model(model)
        metrics = project.metrics(name, "measure.json")
        with project.file(name, "measurements.safetensors") as path:
            changed = project.count(metrics, name, "measure.json", "cast.changed_tokens")
            measured = _measurements(path, changed)
        return LoadedVectors(
            model=name,
            vectors=convert(measured.vectors),
            populations=convert(measured.populations),
            token_ids=convert(measured.token_ids),
            vector_of_token=convert(measured.vector_of_token),
            origin=measured.origin,
            measured=measured,
            metrics=metrics,
            params=project.params,
            rev=project.commit,
        )


def _measurements(path: Path, changed_tokens: int) -> Measurements:
    """measurements.safetensors as it was before it was written."""
    read = tensors.read(path, tensors.MEASUREMENTS)
    with in_files(**dict.fromkeys(read, path)):
        check_measurements(read)
    origin, ulp = int(read.pop("origin")[0]), read.pop("ulp")[0]
    exponent = int(np.frexp(ulp)[1]) - 1
    return Measurements(**read, origin=origin, ulp_exponent=exponent, changed_tokens=changed_tokens)


def _converter(framework: Framework) -> Callable[[NDArray[Any]], Any]:
    """What makes an array what was asked for."""
    if framework == "np":
        return lambda array: array
    if framework != "pt":
        raise UsageError("framework", repr(framework), "'np' or 'pt'")
    try:
        import torch
    except ModuleNotFoundError as error:
        raise UsageError(
            "framework", "'pt', and no torch", "torch to be installed, or 'np'"
        ) from error
    from core_tokens.torch_engine import to_torch

    return lambda array: to_torch(array, torch.device("cpu"))
