"""Bringing a model's own files under data/, tracked with DVC, and taking them out again."""

import shutil
import subprocess
import sys
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from tqdm import tqdm

from core_tokens import params, tensors
from core_tokens.errors import (
    CoreTokensError,
    FileError,
    ParamsError,
    TensorError,
    UsageError,
    in_files,
)
from core_tokens.files import replacing, write_all
from core_tokens.measurements import check_not_empty, measure
from core_tokens.params_text import with_name, without_name

COPY_BYTES = 1 << 22
LOCK = Path("dvc.lock")


def add(
    name: str, embedding: Path, tensor: str | None = None, cluster_tokens: Path | None = None
) -> None:
    """Bring a matrix, and the cluster of it if there is one, in as the model ``name``.

    The matrix is copied as ``data/NAME/W.safetensors`` in its own dtype; without a cluster file
    the model is listed under ``cluster.discover``. Everything is checked before anything is
    written, and a failure on the way leaves nothing behind.

    Args:
        name: a slug that names no model yet.
        embedding: a safetensors file.
        tensor: its matrix; may be left out where it holds only one.
        cluster_tokens: a file with the tensor ``cluster_token_ids``.

    Raises:
        CoreTokensError: what is wrong with the name, a file, or the project.
    """
    settings = params.load()
    params.check_name("the name to add", name)
    folder = Path("data", name)
    if name in {*settings.models, *settings.fetch, *settings.cluster.discover} or folder.exists():
        raise UsageError(f"core-tokens add {name}", "a model of that name", "a name not in use")
    if not Path(".dvc").is_dir():
        raise FileError(Path(".dvc"), "no such folder", "a DVC project here (dvc init)")
    key = tensor or _only_matrix(embedding)
    matrix = tensors.map_matrix(embedding, key)
    if cluster_tokens:
        token_ids = tensors.read(cluster_tokens, tensors.CLUSTER_TOKENS)["cluster_token_ids"]
        with in_files(W=(embedding, key), cluster_token_ids=cluster_tokens):
            check_not_empty(token_ids)
            measure(matrix, token_ids)  # what a stage would refuse is refused before it is copied
    _check_space(embedding, matrix.nbytes)
    targets = [folder / "W.safetensors", folder / "vocab.json"]
    targets += [folder / "cluster_tokens.safetensors"] if cluster_tokens else []
    try:
        with replacing(*targets) as (to_matrix, to_vocab, *to_cluster):
            _copy_matrix(embedding, key, to_matrix)
            to_vocab.write_text("[]\n", encoding="utf-8")
            if cluster_tokens:
                shutil.copyfile(cluster_tokens, to_cluster[0])
        _dvc_add(targets)
        _enlist(name, discover=not cluster_tokens)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # data/ itself, where nothing else is in it
            folder.parent.rmdir()
        raise


def remove(name: str) -> None:
    """Take a model out: its entries in params.yaml and dvc.lock, and the folder data/NAME.

    Raises:
        UsageError: params.yaml names no such model.
    """
    settings = params.load()
    params.check_name("the name to remove", name)
    if name not in {*settings.models, *settings.fetch, *settings.cluster.discover}:
        known = ", ".join(settings.models) or "none"
        raise UsageError(f"core-tokens remove {name}", "no model of that name", f"one of: {known}")
    _delist(name)
    _drop_from_lock(name)
    folder = Path("data", name)
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _only_matrix(path: Path) -> str:
    """The name of the one matrix of floats in a file (TensorError if there are more, or none)."""
    there = tensors.entries(path)
    matrices = [
        name
        for name, entry in there.items()
        if entry.dtype in tensors.FLOATS and len(entry.shape) == 2
    ]
    if len(matrices) != 1:
        listed = ", ".join(f"{name} {there[name]}" for name in matrices) or ", ".join(
            f"{name} {entry}" for name, entry in there.items()
        )
        what = f"{len(matrices)} matrices" if matrices else "no matrix"
        raise TensorError(
            str(path),
            f"{what} of floats: {listed or 'no tensors'}",
            "one, or --tensor KEY to say which",
        )
    return matrices[0]


def _check_space(source: Path, nbytes: int) -> None:
    """Refuse to start a copy that the disk cannot hold."""
    free = shutil.disk_usage(".").free
    if free < nbytes:
        raise FileError(
            source, f"{nbytes:,} bytes to copy", f"no more than the {free:,} that are free here"
        )


def _copy_matrix(source: Path, key: str, target: Path) -> None:
    """Copy one tensor into a file of its own, under the name W, in its own dtype."""
    entry = tensors.entries(source)[key]
    with source.open("rb") as reader, target.open("wb") as writer:
        writer.write(tensors.matrix_header(entry.dtype, (entry.shape[0], entry.shape[1])))
        reader.seek(entry.offset)
        left = entry.nbytes
        with tqdm(
            total=left, unit="B", unit_scale=True, desc=f"copying {key}", disable=None
        ) as bar:
            while left:
                chunk = reader.read(min(COPY_BYTES, left))
                if not chunk:
                    raise FileError(source, "an end before the last row", "a file that keeps still")
                writer.write(chunk)
                left -= len(chunk)
                bar.update(len(chunk))


def _dvc_add(targets: list[Path]) -> None:
    """Track files with DVC."""
    command = [sys.executable, "-m", "dvc", "add", *map(str, targets)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.partition("Having any troubles?")[0].strip()
        if "Traceback" in reason:
            reason = reason.splitlines()[-1]
        raise CoreTokensError("dvc add", reason or "no message", "files that DVC can track")


def _enlist(name: str, *, discover: bool) -> None:
    """List a model in params.yaml."""
    text = params.PATH.read_bytes().decode()
    wanted = YAML(typ="safe", pure=True).load(text)
    lists: list[tuple[str, ...]] = [("models",)]
    if discover:
        lists.append(("cluster", "discover"))
    for keys in lists:
        text = with_name(text, keys, name)
    wanted["models"] = [*wanted["models"], name]
    if discover:
        wanted["cluster"]["discover"] = [*wanted["cluster"]["discover"], name]
    _write_params(text, wanted, "added")


def _delist(name: str) -> None:
    """Take a model out of params.yaml."""
    text = params.PATH.read_bytes().decode()
    wanted = YAML(typ="safe", pure=True).load(text)
    for keys in (("models",), ("cluster", "discover"), ("fetch",)):
        text = without_name(text, keys, name)
    wanted["models"] = [model for model in wanted["models"] if model != name]
    discover = wanted["cluster"]["discover"]
    wanted["cluster"]["discover"] = [model for model in discover if model != name]
    wanted["fetch"].pop(name, None)
    _write_params(text, wanted, "removed")


def _write_params(text: str, wanted: Any, what: str) -> None:
    """Write params.yaml, if it now says what was wanted; in some layouts (aliases) it does not."""
    try:
        says = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        says = None
    if says != wanted:
        raise ParamsError("", "lists in a layout that cannot be edited", f"the name {what} by hand")
    write_all({params.PATH: text.encode()})


def _drop_from_lock(name: str) -> None:
    """Take the stages of a model out of dvc.lock, laid out as DVC does."""
    if not LOCK.is_file():
        return
    yaml = YAML()
    document = yaml.load(LOCK.read_text(encoding="utf-8")) or {}
    stages = document.get("stages", {})
    stale = [stage for stage in stages if stage.endswith(f"@{name}")]
    for stage in stale:
        del stages[stage]
    if stale:
        text = StringIO()
        yaml.dump(document, text)
        write_all({LOCK: text.getvalue()})
