"""Bringing a model's own files under data/, tracked with DVC, and taking them out again."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.util import load_yaml_guess_indent
from tqdm import tqdm

from core_tokens import params, tensors
from core_tokens.errors import CoreTokensError, FileError, TensorError, UsageError, in_files
from core_tokens.files import replacing, write_all
from core_tokens.measurements import check_not_empty, measure

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
        with in_files(W=embedding, cluster_token_ids=cluster_tokens):
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
        _edit_params(lambda document: _enlist(document, name, discover=not cluster_tokens))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
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
    _edit_params(lambda document: _delist(document, name))
    if LOCK.is_file():
        text = LOCK.read_text(encoding="utf-8")
        yaml = _round_trip(text)
        document = yaml.load(text) or {}
        stages = document.get("stages", {})
        stale = [stage for stage in stages if stage.endswith(f"@{name}")]
        for stage in stale:
            del stages[stage]
        if stale:
            _write_yaml(LOCK, yaml, document)
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
    command = [sys.executable, "-m", "dvc", "add", "--quiet", *map(str, targets)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise CoreTokensError("dvc add", lines[-1], "files that DVC can track")


def _enlist(document: Any, name: str, *, discover: bool) -> None:
    _resize(document["models"], lambda names: names.append(name))
    if discover:
        _resize(document["cluster"]["discover"], lambda names: names.append(name))


def _delist(document: Any, name: str) -> None:
    for names in (document["models"], document["cluster"]["discover"]):
        if name in names:
            _resize(names, lambda names: names.remove(name))
    document["fetch"].pop(name, None)


def _resize(names: Any, change: Callable[[Any], None]) -> None:
    """Change a list of names; a comment behind it keeps its distance, so that it can move back."""
    before = len(", ".join(names))
    change(names)
    if names.fa.flow_style() and names.ca.comment:
        names.ca.comment[0].column += len(", ".join(names)) - before


def _edit_params(edit: Callable[[Any], None]) -> None:
    """Change params.yaml, with its comments, quotes and layout as they were."""
    text = params.PATH.read_text(encoding="utf-8")
    yaml = _round_trip(text)
    document = yaml.load(text)
    edit(document)
    _write_yaml(params.PATH, yaml, document)


def _round_trip(text: str) -> YAML:
    """A YAML writer that keeps comments, quotes, long lines and the indentation of ``text``."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1 << 16
    _, indent, offset = load_yaml_guess_indent(text)
    yaml.indent(sequence=indent, offset=offset)
    return yaml


def _write_yaml(path: Path, yaml: YAML, document: Any) -> None:
    text = StringIO()
    yaml.dump(document, text)
    write_all({path: text.getvalue()})
