"""Which tensor of which file is the (un)embedding of a checkpoint?

A checkpoint is a safetensors file, or a folder in the Hugging Face layout: one file, or shards with
an index. Nothing but headers and small JSON files is read.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core_tokens import tensors
from core_tokens.errors import FileError, TensorError

HEADS = ("lm_head.weight", "embed_out.weight")
"""Unembeddings, with any prefix; and ``output.weight`` alone, a common name further down."""
EMBEDDINGS = (
    "embed_tokens.weight",
    "wte.weight",
    "embed_in.weight",
    "word_embeddings.weight",
    "tok_embeddings.weight",
)
"""Input embeddings, with any prefix (``transformer.wte.weight``)."""
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"

Which = Literal["unembedding", "embedding"]


@dataclass(frozen=True)
class Place:
    """A tensor by the file that holds it and its name there."""

    path: Path
    key: str


def locate(source: Path, tensor: str | None = None, which: Which = "unembedding") -> Place:
    """Find the matrix of a checkpoint.

    By default the unembedding; where config.json says that it is tied, or there is none, the input
    embedding. Aliases in a file's metadata (``model.embed_tokens.weight -> lm_head.weight``) are
    followed. Where no name is known, the only matrix of floats.

    Args:
        source: a safetensors file, or a folder with ``model.safetensors`` or shards and an index.
        tensor: the name of the tensor, if it is not to be found by name.
        which: ``embedding`` takes the input embedding though there is an unembedding.

    Raises:
        FileError: no such file, or none that is understood.
        TensorError: none or several fit; lists what is there with shapes.
    """
    files = _files_of_tensors(source)
    aliases = _aliases(set(files.values()), set(files))
    stored = {name: name for name in files} | aliases
    if tensor is not None:
        if tensor not in stored:
            raise TensorError(
                f"{source}: {tensor}",
                f"no such tensor among {_listed(files)}",
                f"a tensor {tensor}",
            )
        return Place(files[stored[tensor]], stored[tensor])
    heads = _known(stored, HEADS, exact="output.weight")
    embeddings = _known(stored, EMBEDDINGS)
    tied = _config(source).get("tie_word_embeddings") is True
    if which == "unembedding":
        found = embeddings or heads if tied else heads or embeddings
    else:
        found = embeddings or (heads if tied else set())
    none = "no input embedding" if heads else "no matrix of floats"
    if not found and not heads:
        found = {name for name, entry in _entries(files).items() if _is_matrix(entry)}
    if len(found) != 1:
        what = f"{len(found)} matrices that may be meant" if found else none
        some = {name: files[name] for name in found} or files
        raise TensorError(
            str(source), f"{what}: {_listed(some)}", "one, or --tensor KEY to say which"
        )
    key = found.pop()
    return Place(files[key], key)


def _files_of_tensors(source: Path) -> dict[str, Path]:
    """Every tensor of a checkpoint -> the file that holds it."""
    if not source.is_dir():
        return dict.fromkeys(tensors.entries(source), source)
    if (source / SINGLE).exists():
        return dict.fromkeys(tensors.entries(source / SINGLE), source / SINGLE)
    if not (source / INDEX).exists():
        raise FileError(source, f"neither {SINGLE} nor {INDEX}", "one of them in the folder")
    shards = _json(source / INDEX).get("weight_map")
    if not isinstance(shards, dict) or not all(
        isinstance(shard, str) and Path(shard).name == shard for shard in shards.values()
    ):
        raise FileError(source / INDEX, "no weight_map", "tensor names with files beside it")
    return {name: source / shard for name, shard in shards.items()}


def _aliases(paths: set[Path], names: set[str]) -> dict[str, str]:
    """Other names of stored tensors, as the metadata of a single file gives them."""
    if len(paths) != 1:
        return {}
    metadata = tensors.metadata(next(iter(paths)))
    return {alias: name for alias, name in metadata.items() if name in names}


def _known(stored: dict[str, str], suffixes: Iterable[str], exact: str = "") -> set[str]:
    """The stored tensors whose name, or alias, ends as one that is known.

    Layers are left out: what predicts a token further ahead has copies of both matrices there.
    """
    return {
        key
        for name, key in stored.items()
        if name == exact
        or (".layers." not in name and any(f".{name}".endswith(f".{end}") for end in suffixes))
    }


def _is_matrix(entry: tensors.Entry) -> bool:
    return entry.dtype in tensors.FLOATS and len(entry.shape) == 2


def _listed(files: dict[str, Path]) -> str:
    """Tensors with their dtypes and shapes, for a message."""
    return tensors.listed(_entries(files))


def _entries(files: dict[str, Path]) -> dict[str, tensors.Entry]:
    """The header entries of tensors; each file is opened once."""
    headers = {path: tensors.entries(path) for path in set(files.values())}
    return {name: headers[path][name] for name, path in files.items() if name in headers[path]}


def _config(source: Path) -> dict[str, Any]:
    """The config.json of a checkpoint, its language model's part included; {} if there is none."""
    path = (source if source.is_dir() else source.parent) / "config.json"
    config = _json(path) if path.is_file() else {}
    inner = config.get("text_config")
    return (inner | config) if isinstance(inner, dict) else config


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FileError(path, f"no valid JSON ({error})", "a JSON object") from error
    if not isinstance(content, dict):
        raise FileError(path, "no JSON object", "a JSON object")
    return content
