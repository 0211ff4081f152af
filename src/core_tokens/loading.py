"""A core, or the vectors it was cut from, out of any project, at any revision, in one call.

Of what DVC keeps only the one file is brought, and it is hashed: DVC's own programming interface
takes whatever a remote sends.
"""

import atexit
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from core_tokens import core_file, tensors, yaml_text
from core_tokens.core import check_measurements
from core_tokens.errors import CoreTokensError, FileError, UsageError, in_files
from core_tokens.measurements import Measurements
from core_tokens.objects import of_the_web
from core_tokens.revisions import finite_json

if TYPE_CHECKING:
    from torch import Tensor

Framework = Literal["np", "pt"]
"""Arrays of NumPy or tensors of torch, by the names that safetensors has for them."""


PARAMS = "params.yaml"


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
    with _opened(repo, rev, remote) as project:
        name = project.model(model)
        metrics = project.metrics(name, "core.json")
        with project.file(name, "core_tokens.safetensors") as path:
            core = core_file.read(path)
        counted = project.count(metrics, name, "core.json", "core.tokens")
        if counted != len(core.token_ids):
            there = f"{counted:,} tokens, where the core file has {len(core.token_ids):,}"
            raise FileError(project.named(name, "core.json"), there, "both of one run: dvc repro")
        if (radius := metrics.get("radius")) != float(core.radius):
            there = f"the radius {radius!r}, where the core file has {float(core.radius)}"
            raise FileError(project.named(name, "core.json"), there, "both of one run: dvc repro")
        return LoadedCore(
            model=name,
            token_ids=convert(core.token_ids),
            distance=core.ruler,
            radius=float(core.radius),
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
    with _opened(repo, rev, remote) as project:
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


class _Project:
    """A project at one revision: what Git has of it, and what DVC brings.

    Attributes:
        name: as the user calls it, with the revision.
        params: params.yaml, as it stands.
        commit: in full; empty for a working tree that differs from it.
    """

    def __init__(self, name: str, fs: Any, remote: str | None) -> None:
        self._name, self._fs, self._remote = name, fs, remote
        self.commit = _commit(fs.repo)
        # Past DVC, which might never see the end of what is refused here.
        self.params: dict[str, Any] = self._mapping(
            PARAMS, self._plain(PARAMS), yaml_text.parse, "a YAML mapping"
        )

    def model(self, wanted: str | None) -> str:
        """The model that is meant."""
        models = self.params.get("models")
        listed = [name for name in models if isinstance(name, str)] if models else []
        if wanted in listed:
            return wanted
        if wanted is None and len(listed) == 1:
            return listed[0]
        found = "no model named" if wanted is None else f"the model {wanted!r}"
        there = f"one of: {', '.join(listed)}" if listed else "one, but params.yaml lists none"
        raise UsageError(f"{self._name}: model", found, there)

    def named(self, model: str, name: str) -> str:
        """What a file is called in a message."""
        return f"{self._name}: data/{model}/{name}"

    def metrics(self, model: str, name: str) -> dict[str, Any]:
        """A file of metrics."""
        path = f"data/{model}/{name}"
        return self._mapping(path, self._read(path), finite_json, "what its stage wrote")

    def count(self, metrics: dict[str, Any], model: str, name: str, key: str) -> int:
        """A count, by its dotted key."""
        value: Any = metrics
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, int):
            where = f"{self.named(model, name)}: {key}"
            raise FileError(where, repr(value), "a count: dvc repro")
        return value

    @contextmanager
    def file(self, model: str, name: str) -> Iterator[Path]:
        """Bring one file, and have it for as long as the block lasts."""
        content = self._read(f"data/{model}/{name}")
        with TemporaryDirectory(prefix="core-tokens-") as folder:
            path = Path(folder, name)
            path.write_bytes(content)
            try:
                yield path
            except CoreTokensError as error:
                where = error.where.replace(str(path), self.named(model, name))
                raise type(error)(where, error.found, error.expected) from error

    def _mapping(
        self, path: str, content: bytes, parse: Callable[[bytes], Any], expected: str
    ) -> dict[str, Any]:
        try:
            document = parse(content)
        except (ValueError, RecursionError) as error:
            raise FileError(
                f"{self._name}: {path}", f"no such thing ({error})", expected
            ) from error
        if not isinstance(document, dict):
            raise FileError(f"{self._name}: {path}", type(document).__name__, expected)
        return document

    def _plain(self, path: str) -> bytes:
        """The bytes of a file that Git has."""
        fs = self._fs.repo.fs
        try:
            with fs.open(fs.join(self._fs.repo.root_dir, path), "rb") as file:
                return bytes(file.read())
        except FileNotFoundError as error:
            there = "the folder or the Git URL of a project"
            raise UsageError(self._name, f"no {path}", there) from error

    def _read(self, path: str) -> bytes:
        """The bytes of a file, those that were locked where DVC keeps it."""
        where, info = f"{self._name}: {path}", {}
        try:
            info = self._fs.info(f"/{path}")  # from the top of the project, wherever one is in it
            if info["type"] == "other":  # a pipe would be waited for
                raise FileError(where, "a device or a pipe", "a file")
            with self._fs.open(f"/{path}", "rb") as file:
                content = bytes(file.read())
        except FileNotFoundError as error:
            there = "a file that was pushed to a remote, one that is reached from here too"
            found = f"no such file{self._trouble(info)}"
            raise FileError(where, found, there) from error
        except IsADirectoryError as error:
            raise FileError(where, "a folder", "a file") from error
        if info.get("fs_info") is None:  # not of the working tree, where it may be changed at will
            locked = info.get("dvc_info", {}).get("md5")
            found = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if locked is not None and found != locked:
                mend = f"{locked}: core-tokens doctor --fix, where the project is"
                raise FileError(where, f"the md5 {found}", mend)
        return content

    def _trouble(self, info: Mapping[str, Any]) -> str:
        """What a web server says instead of a file: for DVC it is one that is not there."""
        oid = info.get("dvc_info", {}).get("md5")
        if oid is None:
            return ""
        try:
            store = self._fs.repo.cloud.get_remote_odb(self._remote)
            store.fs.info(store.oid_to_path(oid))
        except FileNotFoundError as error:
            trouble = of_the_web(error)
            return f" ({str(trouble) or type(trouble).__name__})" if trouble else ""
        except Exception as error:  # each kind of remote has errors of its own
            return f" ({str(error) or type(error).__name__})"
        return ""


@contextmanager
def _opened(
    repo: str | os.PathLike[str], rev: str | None, remote: str | None
) -> Iterator[_Project]:
    """Open a project; what was cloned for it stays for a next call, until the process ends."""
    from dvc.api import DVCFileSystem
    from dvc.repo.open_repo import clean_repos

    atexit.unregister(clean_repos)
    atexit.register(clean_repos)
    place = os.fspath(repo)
    name = place + (f"@{rev}" if rev else "")
    if ":" not in place and not Path(place).exists():
        raise UsageError(
            name, "no such folder", "that of a project, or the URL of its Git repository"
        )
    with _explained(name):
        config = _present_remotes(place) if rev is not None and Path(place).is_dir() else {}
        fs = DVCFileSystem(place, rev=rev, remote=remote, config=config)
        try:
            configured = fs.repo.config["remote"]
            if remote is not None and remote not in configured:  # DVC would take its default
                there = ", ".join(sorted(configured)) or "one to be configured"
                raise UsageError(f"{name}: remote", repr(remote), there)
            yield _Project(name, fs, remote)
        finally:
            fs.close()


def _present_remotes(folder: str) -> dict[str, Any]:
    """The remotes of a folder: where a revision had others, they may be gone."""
    from dvc.repo import Repo

    with Repo(folder, uninitialized=True) as repo:
        core = {key: value for key, value in repo.config["core"].items() if key == "remote"}
        return {"core": core, "remote": dict(repo.config["remote"])}


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """What DVC, Git or a remote says, as one line."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.scm import CloneError, RevError

    try:
        yield
    except CoreTokensError:
        raise
    except NotDvcRepoError as error:
        raise UsageError(where, "no DVC project", "the folder or the Git URL of one") from error
    except CloneError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = str(cause) or type(cause).__name__
        raise UsageError(where, f"no clone ({reason})", "a Git URL that answers") from error
    except RevError as error:
        raise UsageError(
            where, "no such revision", "a commit, tag, branch or experiment"
        ) from error
    except Exception as error:  # of DVC, or of a remote: each kind has errors of its own
        reason = str(error) or type(error).__name__
        raise CoreTokensError(
            where, f"an error ({reason})", "a project and remote that answer"
        ) from error


def _commit(repo: Any) -> str:
    """The commit of a project opened by DVC; empty for a working tree that differs from it."""
    from dvc.fs import LocalFileSystem
    from dvc.scm import NoSCM

    if not isinstance(repo.fs, LocalFileSystem):
        return str(repo.get_rev())
    if isinstance(repo.scm, NoSCM) or repo.scm.is_dirty(untracked_files=False):
        return ""
    return str(repo.get_rev())


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
