"""Which tensor of which file is the (un)embedding of a checkpoint?

A checkpoint is a safetensors file, or files in the Hugging Face layout: one file, or shards with an
index. Of wherever they lie, nothing but headers and small JSON files is read.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal, Protocol

from core_tokens import tensors
from core_tokens.errors import FileError, TensorError

HEADS = (
    "lm_head.weight",
    "embed_out.weight",
    "lm_head.linear.weight",
    "output_layer.weight",
)
"""Unembeddings, with any prefix."""
OUTPUTS = (
    "output.weight",
    "language_model.output.weight",
    "model.transformer.ff_out.weight",
    "head.weight",
    "unembedding.weight",
)
"""Unembeddings by the whole name, which ends as others do further down."""
EMBEDDINGS = (
    "embed_tokens.weight",
    "wte.weight",
    "embed_in.weight",
    "word_embeddings.weight",
    "tok_embeddings.weight",
    "token_embedding.weight",
    "backbone.embedding.weight",
    "backbone.embeddings.weight",
    "rwkv.embeddings.weight",
    "shared.weight",
)
"""Input embeddings, with any prefix (``transformer.wte.weight``)."""
INPUTS = ("embedding.weight", "model.embeddings.weight")
"""Input embeddings by the whole name."""
QUANTIZED = ("qweight", "weight_packed", "weight_scale", "weight_scale_inv", "weight.absmax",
             "weight.scb", "SCB", "qzeros", "scales")  # fmt: skip
"""What stands in place of, or beside, ``weight`` where numbers are codes to be scaled."""
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
CONFIG, TOKENIZER = "config.json", "tokenizer.json"

OTHER_FORMS = {".bin", ".pt", ".pth", ".ckpt", ".gguf"}
"""Suffixes of weights that are not read."""

Which = Literal["unembedding", "embedding"]


class Files(Protocol):
    """The files of a checkpoint: a folder on this machine, or a model on the hub."""

    @property
    def file(self) -> str:
        """The one file of tensors, where the source names it; else empty."""

    def names(self) -> list[str]:
        """The names of all files."""

    def at(self, name: str) -> str:
        """How a message calls a file; the source itself for an empty name."""

    def read(self, name: str) -> bytes:
        """A small file as a whole (FileError: see ``check_small``)."""

    def header(self, name: str) -> tensors.Header:
        """The header of a safetensors file."""

    def chunks(self, name: str, start: int, length: int) -> Iterator[bytes]:
        """Exactly ``length`` bytes of a file from ``start`` on, piece by piece."""


@dataclass(frozen=True)
class Place:
    """A tensor by the file that holds it, its name there, and its header entry."""

    file: str
    key: str
    entry: tensors.Entry


LARGEST_SMALL_FILE = 1 << 28
"""Bytes that are read whole into memory at most: of configurations, indices and tokenizers."""


def check_small(where: str | Path, size: int) -> None:
    """Refuse a file that is to be read as a whole, and is too large for that (FileError)."""
    if size > LARGEST_SMALL_FILE:
        raise FileError(where, f"{size:,} bytes", f"at most {LARGEST_SMALL_FILE:,}")


def locate(files: Files, tensor: str | None = None, which: Which = "unembedding") -> Place:
    """Find the matrix of a checkpoint.

    By default the unembedding; where config.json says that it is tied, or there is none, the input
    embedding. Aliases in a file's metadata (``model.embed_tokens.weight -> lm_head.weight``) are
    followed. Where no name is known, the only matrix of floats.

    Args:
        files: of the checkpoint.
        tensor: the name of the tensor, if it is not to be found by name.
        which: ``embedding`` takes the input embedding though there is an unembedding.

    Raises:
        FileError: no such file, or none that is understood.
        TensorError: none or several fit, or what fits is quantized; lists what is there with
            shapes.
    """
    file_of = _files_of_tensors(files)
    aliases = _aliases(files, file_of)
    stored = {name: name for name in file_of} | aliases
    if tensor is not None:
        if tensor not in stored:
            raise TensorError(
                f"{files.at('')}: {tensor}",
                f"no such tensor among {_listed(files, file_of)}",
                f"a tensor {tensor}",
            )
        return _checked(files, file_of, stored[tensor])
    heads = _known(stored, HEADS, OUTPUTS)
    embeddings = _known(stored, EMBEDDINGS, INPUTS)
    tied = _config(files).get("tie_word_embeddings") is True
    if which == "unembedding":
        if not heads and not tied:
            _refuse_codes(files, stored, HEADS)
        found = embeddings or heads if tied else heads or embeddings
    else:
        found = embeddings or (heads if tied else set())
    if not found:
        _refuse_codes(files, stored, EMBEDDINGS)
    none = "no input embedding" if heads else "no matrix of floats"
    if not found and not heads:
        everything = _entries(files, file_of)
        found = {name for name, entry in everything.items() if _is_matrix(entry)}
    if len(found) != 1:
        what = f"{len(found)} matrices that may be meant" if found else none
        some = {name: file_of[name] for name in found} or file_of
        raise TensorError(
            files.at(""),
            f"{what}: {_listed(files, some)}",
            "one, or its name (--tensor KEY, `tensor` in params.yaml)",
        )
    return _checked(files, file_of, found.pop())


def _files_of_tensors(files: Files) -> dict[str, str]:
    """Every tensor of a checkpoint -> the file that holds it."""
    names = files.names()
    single = files.file or (SINGLE if SINGLE in names else "")
    if not single and INDEX not in names:
        there = [name for name in names if name.endswith(".safetensors")]
        if len(there) != 1:
            weights = [name for name in names if PurePath(name).suffix in OTHER_FORMS] or there
            found = f"neither {SINGLE} nor {INDEX}"
            found += f", but {', '.join(sorted(weights))}" if weights else ""
            raise FileError(
                files.at(""),
                found,
                "one of them: pickles are not read, README, Pickles, has the way",
            )
        single = there[0]
    if single:
        return dict.fromkeys(files.header(single).entries, single)
    shards = _json(files, INDEX).get("weight_map")
    if not isinstance(shards, dict) or not all(
        isinstance(shard, str) and PurePath(shard).name == shard and (name + shard).isprintable()
        for name, shard in shards.items()
    ):
        raise FileError(files.at(INDEX), "no weight_map", "tensor names with files beside it")
    return shards


def _aliases(files: Files, file_of: dict[str, str]) -> dict[str, str]:
    """Other names of stored tensors, as the metadata of a single file gives them."""
    paths = set(file_of.values())
    if len(paths) != 1:
        return {}
    metadata = files.header(paths.pop()).metadata
    return {alias: name for alias, name in metadata.items() if name in file_of}


def _known(stored: dict[str, str], suffixes: Iterable[str], exact: Iterable[str] = ()) -> set[str]:
    """The stored tensors whose name, or alias, ends as one that is known.

    Layers are left out: what predicts a token further ahead has copies of both matrices there.
    """
    return {
        key
        for name, key in stored.items()
        if name in exact
        or (".layers." not in name and any(f".{name}".endswith(f".{end}") for end in suffixes))
    }


def _checked(files: Files, file_of: dict[str, str], key: str) -> Place:
    """A tensor that was found, if it is a matrix of plain floats."""
    file = file_of[key]
    there = files.header(file).entries
    if key not in there:
        raise TensorError(
            f"{files.at(file)}: {key}",
            f"no such tensor among {tensors.listed(there)}",
            f"it, since {INDEX} says so",
        )
    tensors.check_matrix(files.at(file), key, there[key])
    stem = key.removesuffix("weight")
    for end in QUANTIZED:
        if stem != key and stem + end in file_of:
            raise _quantized(files.at(file), stem + end)
    return Place(file, key, there[key])


def _refuse_codes(files: Files, stored: dict[str, str], suffixes: Iterable[str]) -> None:
    """Refuse a matrix that is there in codes only: to take another instead would be wrong."""
    for end in QUANTIZED:
        ends = [suffix.removesuffix("weight") + end for suffix in suffixes]
        for name in sorted(_known(stored, ends)):
            raise _quantized(files.at(""), name)


def _quantized(where: str, name: str) -> TensorError:
    return TensorError(
        f"{where}: {name}", "a quantized matrix", f"plain floats: {', '.join(tensors.FLOATS)}"
    )


def _is_matrix(entry: tensors.Entry) -> bool:
    return entry.dtype in tensors.FLOATS and len(entry.shape) == 2


def _listed(files: Files, file_of: dict[str, str]) -> str:
    """Tensors with their dtypes and shapes, for a message; no more headers than it needs."""
    some = {name: file_of[name] for name in tensors.most_telling(file_of)}
    more = len(file_of) - len(some)
    return tensors.listed(_entries(files, some)) + (f", and {more:,} more" if more else "")


def _entries(files: Files, file_of: dict[str, str]) -> dict[str, tensors.Entry]:
    """The header entries of tensors; each file is opened once."""
    there = {file: files.header(file).entries for file in sorted(set(file_of.values()))}
    return {name: there[file][name] for name, file in file_of.items() if name in there[file]}


def _config(files: Files) -> dict[str, Any]:
    """The config.json of a checkpoint, its language model's part included; {} if there is none."""
    config = _json(files, CONFIG) if CONFIG in files.names() else {}
    inner = config.get("text_config")
    return (inner | config) if isinstance(inner, dict) else config


def _json(files: Files, name: str) -> dict[str, Any]:
    try:
        content = json.loads(files.read(name))
    except (ValueError, RecursionError) as error:
        raise FileError(files.at(name), f"no valid JSON ({error})", "a JSON object") from error
    if not isinstance(content, dict):
        raise FileError(files.at(name), "no JSON object", "a JSON object")
    return content
