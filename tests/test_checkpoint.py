import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from core_tokens.checkpoint import Place, locate
from core_tokens.errors import FileError, TensorError

MATRIX = np.zeros((4, 2), np.float32)
LLAMA = "model.embed_tokens.weight"


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
    ],
)
def test_a_family_is_known_by_the_name_of_its_embedding(tmp_path: Path, key: str) -> None:
    layer = "model.layers.0.mlp.weight"
    path = write(tmp_path / "model.safetensors", key, layer, "model.layers.9.embed_tokens.weight")
    assert locate(tmp_path) == locate(path) == Place(path, key)


@pytest.mark.parametrize("head", ["lm_head.weight", "model.lm_head.weight", "embed_out.weight",
                                  "output.weight"])  # fmt: skip
def test_the_unembedding_is_taken_unless_tied_or_asked_otherwise(tmp_path: Path, head: str) -> None:
    path = write(tmp_path / "model.safetensors", LLAMA, head, "layers.0.attention.output.weight")
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
        r"thinker\.lm_head\.weight F32\[4, 2\]; expected one, or --tensor KEY"
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
