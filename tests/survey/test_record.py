import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, get_type_hints

import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
from hypothesis import given, settings
from numpy.typing import NDArray

import project
from core_tokens.errors import FileError
from core_tokens.survey import record
from core_tokens.survey.record import About, Record, from_bytes, to_bytes
from core_tokens.survey.snapshot import NEEDS_CLUSTER, Figures, snapshot
from core_tokens.vocabulary import Kind, Token

GOLDEN = project.GOLDEN / "survey" / "record.safetensors"
TEXTS: list[str | None] = ["a", "é中", r"\xE4", 'a "b", \\', "", None]
KINDS: list[Kind] = ["ordinary", "ordinary", "byte", "special", "unreachable", "padding"]


def made(matrix: NDArray[Any] | None = None, **changes: Any) -> Record:
    """The record of ``tiny_matrix``, or of another; ``changes`` are those of ``About``."""
    found = snapshot(project.tiny_matrix() if matrix is None else matrix, 0.002)
    about = About(
        commit="c" * 40, tensor="lm_head.weight", dtype="BF16",
        sha256="5" * 64, vocabulary="v" * 32, figures=found.figures,
        tokens=[Token(kind, text) for kind, text in zip(KINDS, TEXTS, strict=True)],
        bytes=96, seconds=0.25,
    )  # fmt: skip
    return record.record(found, msgspec.structs.replace(about, **changes))


def same(one: Record, other: Record) -> bool:
    """Equal, each array in dtype, shape and bits."""
    return one.about == other.about and list(one.arrays) == list(other.arrays) and all(
        (one.arrays[name].dtype, one.arrays[name].shape, one.arrays[name].tobytes())
        == (other.arrays[name].dtype, other.arrays[name].shape, other.arrays[name].tobytes())
        for name in one.arrays
    )  # fmt: skip


GOOD = to_bytes(made())


# ---- there and back ---------------------------------------------------------------------------


numbers = st.integers(0, 2**62)
floats = st.floats(0, allow_nan=False, allow_infinity=False)
KINDS_OF_FIGURES: dict[Any, st.SearchStrategy[Any]] = {
    int: numbers, float: floats, int | None: st.none() | numbers, float | None: st.none() | floats,
}  # fmt: skip
figures_of_any_kind = st.builds(
    Figures, **{field: KINDS_OF_FIGURES[kind] for field, kind in get_type_hints(Figures).items()}
)
text = st.text(max_size=8)
abouts = st.builds(
    About, commit=text, tensor=text, dtype=text, sha256=text, vocabulary=text,
    figures=figures_of_any_kind, bytes=st.integers(0, 2**60), seconds=floats,
    tokens=st.lists(
        st.builds(Token, st.sampled_from(KINDS), st.none() | text), min_size=4, max_size=4
    ),
)  # fmt: skip


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Arrays of every size, the empty ones too, of any bits; and any text."""
    vectors = draw(st.integers(0, 4))
    count = draw(st.integers(0, 4)) if vectors else 0
    kinds = {"distance_ulp": np.dtype("f4"), "distance_l2": np.dtype("f4")}
    arrays = {}
    for name in record.ARRAYS:
        dtype = kinds.get(name, np.dtype(np.int64))
        size = (count if name == "token_ids" else vectors) * dtype.itemsize
        data = draw(st.binary(min_size=size, max_size=size))
        arrays[name] = np.frombuffer(data, dtype)
    ids = st.integers(0, max(vectors - 1, 0))
    of_token = draw(st.lists(ids, min_size=count, max_size=count))
    arrays["vector_of_token"] = np.array(of_token, np.int64)
    about = draw(abouts)
    figures = replace(about.figures, cluster_vectors=vectors)
    tokens = about.tokens[:count] if draw(st.booleans()) else []
    return Record(msgspec.structs.replace(about, figures=figures, tokens=tokens), arrays)


@settings(max_examples=40)
@given(records())
def test_what_is_written_is_read_back_bit_by_bit(kept: Record) -> None:
    content = to_bytes(kept)
    assert same(from_bytes("key", content), kept)
    assert to_bytes(from_bytes("key", content)) == content


@pytest.mark.parametrize("matrix", [None, np.eye(3, dtype=np.float32), np.zeros((1, 1), "f4")])
def test_a_snapshot_comes_back_with_or_without_a_cluster(matrix: NDArray[Any] | None) -> None:
    kept = made(matrix, tokens=[])
    assert same(from_bytes("key", to_bytes(kept)), kept)


def test_the_arrays_are_those_of_the_measurements() -> None:
    found = snapshot(project.tiny_matrix(), 0.002).measured
    kept = from_bytes("key", GOOD)
    assert set(kept.arrays) == set(record.ARRAYS)
    for name in record.ARRAYS:
        assert kept.arrays[name].tobytes() == getattr(found, name).tobytes(), name
    assert kept.arrays["token_ids"].tolist() == project.CLUSTER_IDS


def test_arrays_in_another_memory_order_are_written_the_same() -> None:
    kept = made()
    turned = {name: np.repeat(array, 2)[::2] for name, array in kept.arrays.items()}
    assert not any(array.flags["C_CONTIGUOUS"] for array in turned.values())
    assert to_bytes(Record(kept.about, turned)) == GOOD


def test_the_bytes_are_the_golden_ones() -> None:
    assert GOLDEN.read_bytes() == GOOD


def test_torch_reads_the_arrays_of_the_golden_file() -> None:
    arrays = safetensors.torch.load(GOLDEN.read_bytes())
    assert set(arrays) == set(record.ARRAYS)
    assert arrays["token_ids"].tolist() == project.CLUSTER_IDS
    assert arrays["distance_ulp"].tolist() == [3.0, 0.0, 2.0, 1.0]


# ---- what is not whole ------------------------------------------------------------------------


def refused(content: bytes) -> None:
    with pytest.raises(FileError, match=r"^the key: found .*; expected ") as caught:
        from_bytes("the key", content)
    assert str(caught.value).isprintable()


def test_every_truncation_is_refused() -> None:
    for length in range(len(GOOD)):
        refused(GOOD[:length])


def harmless(content: bytes) -> bool:
    """Whether a changed file still says the very same, such as with other white space."""
    return same(from_bytes("key", content), from_bytes("key", GOOD))


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80, 0xFF])
def test_every_changed_byte_is_refused_or_changes_nothing_that_is_read(flip: int) -> None:
    refusals = 0
    for at in range(len(GOOD)):
        spoiled = GOOD[:at] + bytes([GOOD[at] ^ flip]) + GOOD[at + 1 :]
        try:
            assert harmless(spoiled), at
        except FileError:
            refusals += 1
    # What is left are names of metadata that nobody reads, and padding.
    assert refusals >= len(GOOD) - 16, len(GOOD) - refusals


@pytest.mark.parametrize("more", [b"\0", b" ", bytes(8), GOOD])
def test_what_follows_a_whole_file_is_refused(more: bytes) -> None:
    refused(GOOD + more)
    refused(more + GOOD)


@pytest.mark.parametrize("spoil", project.SPOILED.values(), ids=project.SPOILED)
def test_a_spoiled_file_of_tensors_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    header, data = project.split(GOOD)
    metadata = header.pop("__metadata__")  # which some ways to spoil a header cannot bear
    spoiled = spoil(project.join(header, data))
    refused(spoiled)
    with suppress(ValueError, TypeError, RecursionError):  # what is still JSON is given it back
        header, data = project.split(spoiled)
        refused(project.join({**header, "__metadata__": metadata}, data))


@pytest.mark.parametrize(
    "metadata",
    [
        {}, {record.KEY: ""}, {record.KEY: "[]"}, {record.KEY: "null"}, {record.KEY: "{}"},
        {record.KEY: '{"about": "{}"}'}, {record.KEY: '{"about": {}, "xxh3": ""}'},
        {record.KEY: '{"about": null, "xxh3": null}'}, {record.KEY: "[" * 100_000},
        {record.KEY: '"about"'}, {record.KEY: "3"},
    ],
    ids=lambda metadata: str(metadata)[:40],
)  # fmt: skip
def test_metadata_of_another_kind_are_refused(metadata: dict[str, str]) -> None:
    header, data = project.split(GOOD)
    refused(project.join({**header, "__metadata__": metadata}, data))


def hashed(about: object, arrays: dict[str, NDArray[Any]]) -> bytes:
    """A file whose hash is right, whatever it says."""
    text = json.dumps(about)
    parts = json.dumps({"about": text, "xxh3": record._hash(text, arrays)})
    return safetensors.numpy.save(arrays, metadata={record.KEY: parts})


@pytest.mark.parametrize("missing", [*About.__struct_fields__])
def test_a_result_of_fewer_parts_is_refused_though_its_hash_is_right(missing: str) -> None:
    kept = made()
    about = msgspec.to_builtins(kept.about)
    assert same(from_bytes("key", hashed(about, dict(kept.arrays))), kept)
    refused(hashed({k: v for k, v in about.items() if k != missing}, dict(kept.arrays)))
    refused(hashed({**about, missing: ["of another kind", {}]}, dict(kept.arrays)))


UNFIT: dict[str, Callable[[dict[str, Any], Any], object]] = {
    "fewer tokens": lambda arrays, _: arrays.update(token_ids=arrays["token_ids"][1:]),
    "fewer distances": lambda arrays, _: arrays.update(distance_ulp=arrays["distance_ulp"][1:]),
    "distances as a matrix": lambda arrays, _: arrays.update(
        distance_l2=arrays["distance_l2"][None]
    ),
    "other vectors than were counted": lambda _, about: about["figures"].update(cluster_vectors=5),
    "a vector beyond the last": lambda arrays, _: arrays.update(
        vector_of_token=arrays["vector_of_token"] + 1
    ),
    "a vector before the first": lambda arrays, _: arrays.update(
        vector_of_token=arrays["vector_of_token"] - 1
    ),
    "text of some tokens": lambda _, about: about["tokens"].pop(),
}


@pytest.mark.parametrize("spoil", UNFIT.values(), ids=UNFIT)
def test_parts_that_do_not_fit_each_other_are_refused_though_their_hash_is_right(
    spoil: Callable[[dict[str, Any], Any], object],
) -> None:
    kept = made()
    arrays, about = dict(kept.arrays), msgspec.to_builtins(kept.about)
    spoil(arrays, about)
    refused(hashed(about, arrays))


def test_what_needs_a_cluster_may_be_null_and_counts_may_not() -> None:
    kept = made()
    about = msgspec.to_builtins(kept.about)
    for name in about["figures"]:
        figures = {**about["figures"], name: None}
        content = hashed({**about, "figures": figures}, dict(kept.arrays))
        if name in NEEDS_CLUSTER:
            assert getattr(from_bytes("key", content).about.figures, name) is None
        else:
            refused(content)


def test_only_what_a_radius_needs_is_kept() -> None:
    header, data = project.split(GOOD)
    assert set(header) - {"__metadata__"} == {
        "token_ids", "vector_of_token", "distance_ulp", "distance_steps", "distance_l2",
    }  # fmt: skip
    assert len(data) == 6 * 8 + 6 * 8 + 4 * (4 + 8 + 4)


def test_a_result_of_more_parts_is_refused_though_its_hash_is_right() -> None:
    kept = made()
    refused(hashed({**msgspec.to_builtins(kept.about), "more": 1}, dict(kept.arrays)))


@pytest.mark.parametrize("name", record.ARRAYS)
def test_a_result_without_an_array_is_refused(name: str) -> None:
    header, _ = project.split(GOOD)
    arrays = {other: made().arrays[other] for other in record.ARRAYS if other != name}
    refused(safetensors.numpy.save(arrays, metadata=header["__metadata__"]))
    zeros = {**arrays, name: np.zeros(3, np.uint8)}
    refused(safetensors.numpy.save(zeros, metadata=header["__metadata__"]))


@pytest.mark.parametrize("name", record.ARRAYS)
def test_an_array_of_another_shape_is_other_bytes(name: str) -> None:
    kept = made()
    header, _ = project.split(GOOD)
    turned = {**kept.arrays, name: kept.arrays[name][None]}
    refused(safetensors.numpy.save(turned, metadata=header["__metadata__"]))
