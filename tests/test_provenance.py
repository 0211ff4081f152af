import hashlib
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_tokens import provenance
from core_tokens.checkpoint import Place
from core_tokens.errors import FileError
from core_tokens.tensors import Entry

SOURCE = f"hf://org/model@{'0' * 40}"
PATH = Path("data/tiny/source.json")
PLACE = Place("model.safetensors", "lm_head.weight", Entry("BF16", (32, 8), 1_000))
ONE, TWO = (hashlib.sha256(text).hexdigest() for text in (b"1", b"2"))
TEXT = f"""\
{{
  "{SOURCE}": {{
    "lm_head.weight": {{
      "dtype": "BF16",
      "file": "model.safetensors",
      "sha256": "{ONE}",
      "shape": [
        32,
        8
      ]
    }}
  }}
}}
"""


def read(folder: Path, content: bytes | str) -> provenance.Fetched:
    path = folder / "source.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return provenance.read(path)


def parsed(text: str) -> provenance.Fetched:
    return msgspec.json.decode(text, type=provenance.Fetched)


def test_what_was_found_is_written_so(tmp_path: Path) -> None:
    assert provenance.with_fetched(PATH, {}, SOURCE, PLACE, ONE) == TEXT
    assert msgspec.to_builtins(read(tmp_path, TEXT)) == json.loads(TEXT)


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert provenance.read(tmp_path / "source.json") == {}


def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    assert provenance.with_fetched(PATH, read(tmp_path, TEXT), SOURCE, PLACE, ONE) == TEXT


def test_a_tensor_that_moved_to_another_file_is_the_same_tensor(tmp_path: Path) -> None:
    moved = Place("other.safetensors", PLACE.key, PLACE.entry)
    text = provenance.with_fetched(PATH, read(tmp_path, TEXT), SOURCE, moved, ONE)
    assert text == TEXT.replace("model.safetensors", "other.safetensors")


def test_other_bytes_are_refused_with_both_digests(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        provenance.with_fetched(PATH, read(tmp_path, TEXT), SOURCE, PLACE, TWO)
    assert str(caught.value) == (
        f"{SOURCE}: lm_head.weight: found bytes with the sha256 {TWO}; expected {ONE}, as {PATH} "
        "has it; delete that file if the source is meant to change"
    )


names = st.text(min_size=1, max_size=20).filter(lambda name: name.isprintable())
fetches = st.lists(st.tuples(names, names, st.binary(max_size=3)), max_size=8)


@given(fetches)
def test_the_record_holds_the_first_of_each_and_does_not_depend_on_the_order(
    fetched: list[tuple[str, str, bytes]],
) -> None:
    digests: dict[tuple[str, str], str] = {}
    for source, key, content in fetched:
        digests.setdefault((source, key), hashlib.sha256(content).hexdigest())

    def written(order: list[tuple[tuple[str, str], str]]) -> str:
        text = "{}"
        for (source, key), sha256 in order:
            place = Place("f", key, PLACE.entry)
            text = provenance.with_fetched(PATH, parsed(text), source, place, sha256)
        return text

    text = written(list(digests.items()))
    assert written(list(digests.items())[::-1]) == text
    found = {
        (source, key): entry["sha256"]
        for source, entries in json.loads(text).items()
        for key, entry in entries.items()
    }
    assert found == digests
    for source, key, content in fetched:
        sha256 = hashlib.sha256(content).hexdigest()
        place = Place("f", key, PLACE.entry)
        if digests[source, key] == sha256:
            assert provenance.with_fetched(PATH, parsed(text), source, place, sha256) == text
        else:
            with pytest.raises(FileError, match=sha256):
                provenance.with_fetched(PATH, parsed(text), source, place, sha256)


@pytest.mark.parametrize(
    "content",
    [
        b"", b" ", b"{", b"[]", b"null", b"1", b'"text"', b"{'a': {}}", b'{"a": 1}', b'{"a": []}',
        TEXT.replace(f'"{ONE}"', "null").encode(),
        b'{"a": {"b": 1}}', b'{"a": {"b": []}}', b'{"\xff": {}}', TEXT[:-20].encode(),
        b"<<<<<<< HEAD\n" + TEXT.encode(), TEXT.encode("utf-16"), b'{"a":' * 100_000,
    ],
    ids=lambda content: repr(content[:20]),
)  # fmt: skip
def test_what_is_no_record_is_refused_with_a_way_back(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "source.json"
    with pytest.raises(FileError) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(f"{path}: found no record of what was fetched (")
    assert str(caught.value).endswith(f"; expected it as it was: git checkout {path}")
