import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from core_tokens.checkpoint import Which
from core_tokens.checkpoint import locate as locate_in
from core_tokens.errors import FileError, TensorError
from core_tokens.folder import Folder

MATRIX = np.zeros((4, 2), np.float32)
LLAMA = "model.embed_tokens.weight"


@dataclass(frozen=True)
class Place:
    """A tensor by the path of its file and its name there."""

    path: Path
    key: str


def locate(source: Path, tensor: str | None = None, which: Which = "unembedding") -> Place:
    """What is found in a file or a folder; the entry is that of the file's header."""
    files = Folder(source)
    place = locate_in(files, tensor, which)
    assert place.entry == files.header(place.file).entries[place.key]
    return Place(Path(files.at(place.file)), place.key)


def write(path: Path, *names: str, metadata: dict[str, str] | None = None) -> Path:
    """A file of small matrices, and of a vector that is never the embedding."""
    tensors = dict.fromkeys(names, MATRIX) | {"model.norm.weight": np.zeros(2, np.float32)}
    save_file(tensors, path, metadata)
    return path


def config(folder: Path, content: Mapping[str, object]) -> None:
    (folder / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "key",
    [
        LLAMA,
        "model.language_model.embed_tokens.weight",
        "transformer.wte.weight",
        "wte.weight",
        "gpt_neox.embed_in.weight",
        "transformer.word_embeddings.weight",
        "tok_embeddings.weight",
        "model.embeddings.tok_embeddings.weight",
        "model.decoder.embed_tokens.weight",
        "backbone.embedding.weight",
        "backbone.embeddings.weight",
        "rwkv.embeddings.weight",
        "shared.weight",
    ],
)
def test_a_family_is_known_by_the_name_of_its_embedding(tmp_path: Path, key: str) -> None:
    layer = "model.layers.0.mlp.weight"
    path = write(tmp_path / "model.safetensors", key, layer, "model.layers.9.embed_tokens.weight")
    assert locate(tmp_path) == locate(path) == Place(path, key)


@pytest.mark.parametrize(
    "head",
    [
        "lm_head.weight",
        "model.lm_head.weight",
        "language_model.lm_head.weight",
        "embed_out.weight",
        "output.weight",
        "language_model.output.weight",
        "transformer.output_layer.weight",
        "model.transformer.ff_out.weight",
        "head.weight",
    ],
)
def test_the_unembedding_is_taken_unless_tied_or_asked_otherwise(tmp_path: Path, head: str) -> None:
    path = write(tmp_path / "model.safetensors", LLAMA, head, "layers.0.attention.output.weight",
                 "model.transformer.blocks.0.ff_out.weight", "x.head.weight")  # fmt: skip
    assert locate(path).key == head
    assert locate(path, which="embedding").key == LLAMA
    config(tmp_path, {"tie_word_embeddings": True})
    assert locate(path).key == LLAMA
    config(tmp_path, {"text_config": {"tie_word_embeddings": True}})
    assert locate(tmp_path).key == LLAMA
    config(tmp_path, {"tie_word_embeddings": False})
    assert locate(tmp_path).key == head


def test_an_alias_in_the_metadata_leads_to_the_stored_tensor(tmp_path: Path) -> None:
    alias = {LLAMA: "lm_head.weight", "format": "pt"}
    path = write(tmp_path / "model.safetensors", "lm_head.weight", metadata=alias)
    config(tmp_path, {"tie_word_embeddings": True})
    for place in (locate(path), locate(path, LLAMA), locate(path, which="embedding")):
        assert place == Place(path, "lm_head.weight")


def test_the_shard_that_holds_the_tensor_is_found_without_the_others(tmp_path: Path) -> None:
    write(tmp_path / "model-00002-of-00002.safetensors", LLAMA)
    index = {
        "weight_map": {
            "lm_head.bias": "model-00001-of-00002.safetensors",  # not here
            LLAMA: "model-00002-of-00002.safetensors",
        }
    }
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert locate(tmp_path) == Place(tmp_path / "model-00002-of-00002.safetensors", LLAMA)


def test_where_no_name_is_known_the_only_matrix_is_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "W.safetensors", "anything")
    assert locate(path) == Place(path, "anything")


def test_several_that_fit_are_listed_with_their_shapes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", "thinker.lm_head.weight", "talker.lm_head.weight")
    message = (
        r"found 2 matrices that may be meant: talker\.lm_head\.weight F32\[4, 2\], "
        r"thinker\.lm_head\.weight F32\[4, 2\]; expected one, or its name \(--tensor KEY"
    )
    with pytest.raises(TensorError, match=message):
        locate(path)
    assert locate(path, "talker.lm_head.weight").key == "talker.lm_head.weight"


def test_an_unembedding_alone_is_no_input_embedding_unless_tied(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", "lm_head.weight")
    assert locate(path).key == "lm_head.weight"
    with pytest.raises(TensorError, match=r"found no input embedding: lm_head\.weight F32\[4, 2\]"):
        locate(path, which="embedding")
    config(tmp_path, {"tie_word_embeddings": True})
    assert locate(path, which="embedding").key == "lm_head.weight"


def test_none_that_fits_lists_what_is_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors")
    with pytest.raises(TensorError, match=r"no matrix of floats: model\.norm\.weight F32\[2\]"):
        locate(path)
    with pytest.raises(
        TensorError, match=r"a\.safetensors: nope: found no such tensor among model"
    ):
        locate(path, "nope")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "neither model.safetensors nor model.safetensors.index.json"),
        ({"model.safetensors.index.json": "{"}, r"index\.json: found no valid JSON"),
        ({"model.safetensors.index.json": "[]"}, r"index\.json: found no JSON object"),
        ({"model.safetensors.index.json": "{}"}, r"index\.json: found no weight_map"),
        ({"model.safetensors.index.json": '{"weight_map": {"a": "../b"}}'}, "no weight_map"),
        ({"model.safetensors.index.json": '{"weight_map": {"a": 1}}'}, "no weight_map"),
        (
            {"model.safetensors.index.json": '{"weight_map": {"a": "gone.safetensors"}}'},
            r"gone\.safetensors: found no such file",
        ),
    ],
)
def test_a_folder_that_is_no_checkpoint_is_refused(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(FileError, match=message):
        locate(tmp_path)


def test_a_config_that_is_no_json_is_named(tmp_path: Path) -> None:
    write(tmp_path / "model.safetensors", LLAMA)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(FileError, match=r"config\.json: found no valid JSON"):
        locate(tmp_path)


@pytest.mark.parametrize("name", ["consolidated.safetensors", "model-00001-of-00001.safetensors"])
def test_the_only_safetensors_file_of_a_folder_is_taken(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, "output.weight")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    assert locate(tmp_path) == Place(path, "output.weight")


def test_a_folder_of_pickles_is_refused_with_their_names(tmp_path: Path) -> None:
    for name in ("b.bin", "a.pth", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(FileError, match=r"but a\.pth, b\.bin; expected .*pickles are not read"):
        locate(tmp_path)


@pytest.mark.parametrize(
    "codes", ["lm_head.qweight", "model.lm_head.weight_packed", "lm_head.weight.absmax"]
)
def test_an_unembedding_in_codes_is_refused_and_not_replaced_by_the_embedding(
    tmp_path: Path, codes: str
) -> None:
    path = write(tmp_path / "model.safetensors", LLAMA, codes)
    with pytest.raises(TensorError, match=f"{codes}: found a quantized matrix; expected plain"):
        locate(path)
    assert locate(path, which="embedding").key == LLAMA


@pytest.mark.parametrize("scale", ["lm_head.weight_scale_inv", "lm_head.SCB", "lm_head.scales"])
def test_a_matrix_with_scales_beside_it_is_refused(tmp_path: Path, scale: str) -> None:
    path = write(tmp_path / "model.safetensors", "lm_head.weight", LLAMA, scale)
    for tensor in (None, "lm_head.weight"):
        with pytest.raises(TensorError, match=f"{scale}: found a quantized matrix"):
            locate(path, tensor)
    assert locate(path, LLAMA).key == LLAMA


@pytest.mark.parametrize(("dtype", "name"), [(np.int8, "I8"), (np.uint8, "U8"), (np.int32, "I32")])
def test_a_matrix_of_integers_is_refused_by_its_dtype(
    tmp_path: Path, dtype: type, name: str
) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"lm_head.weight": np.zeros((4, 2), dtype)}, path)
    with pytest.raises(TensorError, match=rf"lm_head\.weight: found {name}\[4, 2\]; .*F8_E5M2"):
        locate(path)


def test_an_index_that_names_a_file_without_the_tensor_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", LLAMA)
    index = {"weight_map": {"lm_head.weight": "a.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(TensorError, match=r"a\.safetensors: lm_head\.weight: found no such tensor"):
        locate(tmp_path)


def test_what_lies_beside_a_single_file_is_read_only_where_it_is_its_company(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "model.safetensors", LLAMA, "lm_head.weight")
    write(tmp_path / "other.safetensors", "lm_head.weight")
    config(tmp_path, {"tie_word_embeddings": True})
    (tmp_path / "tokenizer.json").write_text("{}")
    assert Folder(path).names() == ["model.safetensors", "config.json", "tokenizer.json"]
    assert locate(path).key == LLAMA
