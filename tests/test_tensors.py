import json
import re
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

import project
from core_tokens import tensors
from core_tokens.errors import CoreTokensError, FileError, TensorError

DTYPES = {
    "BF16": (np.dtype(ml_dtypes.bfloat16), torch.bfloat16),
    "F16": (np.dtype(np.float16), torch.float16),
    "F32": (np.dtype(np.float32), torch.float32),
    "F64": (np.dtype(np.float64), torch.float64),
    "F8_E4M3": (np.dtype(ml_dtypes.float8_e4m3fn), torch.float8_e4m3fn),
    "F8_E5M2": (np.dtype(ml_dtypes.float8_e5m2), torch.float8_e5m2),
}


def values_of(dtype: str) -> list[list[float]]:
    largest = 448.0 if dtype == "F8_E4M3" else float("inf")  # E4M3 has no infinity
    return [[0.0, -0.0, 1.5], [-2.25, largest, 2.0**-14]]


def matrix_of(dtype: str) -> NDArray[Any]:
    return np.array(values_of(dtype)).astype(DTYPES[dtype][0])


def same_bytes(left: NDArray[Any], right: NDArray[Any]) -> bool:
    return (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())


def write(path: Path, **arrays: NDArray[Any]) -> Path:
    path.write_bytes(safetensors.numpy.save(arrays))
    return path


# ---- entries --------------------------------------------------------------------------------


def test_entries_tells_dtype_shape_and_place_of_every_tensor_sorted(tmp_path: Path) -> None:
    path = write(tmp_path / "x", z=np.zeros((2, 3), np.float32), a=np.arange(4))
    there = tensors.entries(path)
    assert list(there) == ["a", "z"]
    assert (there["a"].dtype, there["a"].shape) == ("I64", (4,))
    assert (there["z"].dtype, there["z"].shape) == ("F32", (2, 3))
    content = path.read_bytes()
    assert content[there["a"].offset :][:32] == np.arange(4).tobytes()


def test_entries_of_a_torch_file_leave_its_metadata_out(tmp_path: Path) -> None:
    metadata = {"format": "pt"}
    safetensors.torch.save_file({"W": torch.zeros(2, 2)}, tmp_path / "x", metadata=metadata)
    assert list(tensors.entries(tmp_path / "x")) == ["W"]


def test_entry_prints_as_dtype_and_shape() -> None:
    assert str(tensors.Entry("BF16", (3, 4), 8)) == "BF16[3, 4]"
    assert str(tensors.Entry("F32", (), 8)) == "F32[]"


@pytest.mark.parametrize(
    ("dtype", "nbytes"),
    [("BF16", 24), ("F16", 24), ("F32", 48), ("F64", 96), ("F8_E4M3", 12), ("F8_E5M2", 12)],
)
def test_entry_knows_its_bytes(dtype: str, nbytes: int) -> None:
    assert tensors.Entry(dtype, (3, 4), 8).nbytes == nbytes


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"nowhere: found no such file; expected a safetensors fil"):
        tensors.entries(tmp_path / "nowhere")


def test_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=rf"{re.escape(str(tmp_path))}: found a folder"):
        tensors.entries(tmp_path)


@pytest.mark.parametrize("spoil", project.SPOILED.values(), ids=project.SPOILED)
def test_spoiled_file_is_refused_by_name(tmp_path: Path, spoil: Any) -> None:
    good = safetensors.numpy.save({"W": matrix_of("BF16")})
    (tmp_path / "x.safetensors").write_bytes(spoil(good))
    with pytest.raises(FileError, match=r"x\.safetensors: found .+; expected a whole safetensors"):
        tensors.entries(tmp_path / "x.safetensors")


# ---- map_matrix -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_matrix_is_mapped_in_its_own_dtype_bit_for_bit(tmp_path: Path, dtype: str) -> None:
    values = matrix_of(dtype)
    torch_values = torch.tensor(values_of(dtype), dtype=torch.float64).to(DTYPES[dtype][1])
    safetensors.torch.save_file({"W": torch_values}, tmp_path / "x")
    assert same_bytes(tensors.map_matrix(tmp_path / "x"), values)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padding", [1, 2, 3, 5, 7])
def test_matrix_behind_a_header_of_any_length_is_read(
    tmp_path: Path, dtype: str, padding: int
) -> None:
    values = matrix_of(dtype)
    header, data = project.split(safetensors.numpy.save({"W": values}))
    text = json.dumps(header).encode()
    text += b" " * ((padding - len(text)) % 8)
    (tmp_path / "x").write_bytes(project.join(text, data, padding=1))
    mapped = tensors.map_matrix(tmp_path / "x")
    assert tensors.entries(tmp_path / "x")["W"].offset % 8 == padding
    assert same_bytes(mapped, values)
    assert np.array_equal(mapped[[1, 0]], values[[1, 0]])


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2"])
def test_every_value_of_8_bits_that_torch_saved_is_mapped_as_it_is(
    tmp_path: Path, dtype: str
) -> None:
    stored = torch.arange(256, dtype=torch.uint8).reshape(16, 16).view(DTYPES[dtype][1])
    safetensors.torch.save_file({"W": stored}, tmp_path / "x")
    mapped = tensors.map_matrix(tmp_path / "x")
    assert mapped.dtype == DTYPES[dtype][0]
    assert np.array_equal(mapped.astype(np.float64), stored.double().numpy(), equal_nan=True)
    assert np.array_equal(np.signbit(mapped), torch.signbit(stored.float()).numpy())


def test_matrix_that_is_not_the_first_tensor_is_read(tmp_path: Path) -> None:
    values = matrix_of("BF16")
    write(tmp_path / "x", a=np.arange(3), W=values, z=np.zeros(1, np.int8))
    assert same_bytes(tensors.map_matrix(tmp_path / "x"), values)


def test_matrix_is_read_by_another_name(tmp_path: Path) -> None:
    values = matrix_of("F32")
    write(tmp_path / "x", **{"model.embed_tokens.weight": values, "W": np.zeros(3)})
    assert same_bytes(tensors.map_matrix(tmp_path / "x", "model.embed_tokens.weight"), values)


def test_matrix_is_read_only(tmp_path: Path) -> None:
    write(tmp_path / "x", W=matrix_of("BF16"))
    mapped = tensors.map_matrix(tmp_path / "x")
    with pytest.raises(ValueError, match="read-only"):
        mapped[0, 0] = 1


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros(3, np.float32), r"F32\[3\]"),
        (np.zeros((), np.float32), r"F32\[\]"),
        (np.zeros((2, 2, 2), np.float32), r"F32\[2, 2, 2\]"),
        (np.zeros((2, 2), np.int64), r"I64\[2, 2\]"),
        (np.zeros((2, 2), np.int8), r"I8\[2, 2\]"),
        (np.zeros((2, 2), np.bool_), r"BOOL\[2, 2\]"),
        (np.zeros((0, 2), np.float32), r"F32\[0, 2\]"),
        (np.zeros((2, 0), np.float32), r"F32\[2, 0\]"),
    ],
)
def test_tensor_that_is_no_matrix_of_floats_is_refused(
    tmp_path: Path, array: NDArray[Any], found: str
) -> None:
    write(tmp_path / "x", W=array)
    floats = "BF16, F16, F32, F64, F8_E4M3, F8_E5M2"
    expected = rf"x: W: found {found}; expected a matrix \[vocab, dim\] of {floats}$"
    with pytest.raises(TensorError, match=expected):
        tensors.map_matrix(tmp_path / "x")


def test_misnamed_tensor_is_refused_and_those_there_are_listed(tmp_path: Path) -> None:
    write(tmp_path / "x", w=matrix_of("BF16"), bias=np.zeros(2, np.float32))
    with pytest.raises(TensorError, match=r"x: W: found .*bias F32\[2\], w BF16\[2, 3\]; expected"):
        tensors.map_matrix(tmp_path / "x")


def test_file_without_tensors_says_so(tmp_path: Path) -> None:
    write(tmp_path / "x")
    with pytest.raises(TensorError, match=r"x: W: found .*no tensors"):
        tensors.map_matrix(tmp_path / "x")


# ---- read -----------------------------------------------------------------------------------

SCHEMA: tensors.Schema = {"a": ("I64", ("n",)), "b": ("F32", ("n", "m")), "c": ("BF16", (1,))}


def good_tensors() -> dict[str, NDArray[Any]]:
    return {
        "a": np.arange(3),
        "b": np.ones((3, 2), np.float32),
        "c": np.ones(1, ml_dtypes.bfloat16),
        "extra": np.zeros((5, 5), np.int8),
    }


def test_read_gives_the_tensors_of_the_schema_and_no_others(tmp_path: Path) -> None:
    arrays = good_tensors()
    found = tensors.read(write(tmp_path / "x", **arrays), SCHEMA)
    assert set(found) == set(SCHEMA)
    assert all(same_bytes(found[name], arrays[name]) for name in SCHEMA)


def test_skipped_tensor_is_checked_but_not_read(tmp_path: Path) -> None:
    arrays = good_tensors()
    assert set(tensors.read(write(tmp_path / "x", **arrays), SCHEMA, skip="b")) == {"a", "c"}
    arrays["b"] = np.ones((4, 2), np.float32)
    with pytest.raises(TensorError, match=r"x: b: found F32\[4, 2\]; expected F32\[n=3, "):
        tensors.read(write(tmp_path / "x", **arrays), SCHEMA, skip="b")


@pytest.mark.parametrize("name", SCHEMA)
def test_absent_tensor_is_named_among_those_there(tmp_path: Path, name: str) -> None:
    arrays = good_tensors()
    del arrays[name]
    with pytest.raises(TensorError, match=rf"x: {name}: found .*extra I8\[5, 5\]; expected"):
        tensors.read(write(tmp_path / "x", **arrays), SCHEMA)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("a", np.arange(3, dtype=np.int32), r"x: a: found I32\[3\]; expected I64\["),
        ("a", np.arange(3, dtype=np.float64), r"x: a: found F64\[3\]; expected I64\["),
        ("a", np.zeros((3, 1), np.int64), r"x: a: found I64\[3, 1\]; expected I64\["),
        ("a", np.array(3), r"x: a: found I64\[\]; expected I64\["),
        ("b", np.ones((2, 2), np.float32), r"x: b: found F32\[2, 2\]; expected F32\[n=3, "),
        ("c", np.ones(2, ml_dtypes.bfloat16), r"x: c: found BF16\[2\]; expected BF16\[1\]"),
        ("c", np.ones(0, ml_dtypes.bfloat16), r"x: c: found BF16\[0\]; expected BF16\[1\]"),
    ],
)
def test_tensor_of_another_dtype_or_shape_is_refused(
    tmp_path: Path, name: str, array: NDArray[Any], message: str
) -> None:
    arrays = good_tensors()
    arrays[name] = array
    with pytest.raises(TensorError, match=message):
        tensors.read(write(tmp_path / "x", **arrays), SCHEMA)


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_vectors_may_have_any_dtype_that_is_measured(tmp_path: Path, dtype: str) -> None:
    schema: tensors.Schema = {"vectors": tensors.MEASUREMENTS["vectors"]}
    array = np.array([[1.5, -0.25]]).astype(DTYPES[dtype][0])
    found = tensors.read(write(tmp_path / "x", vectors=array), schema)
    assert same_bytes(found["vectors"], array)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("BF16|F16|F32", r"BF16, F16 or F32\[vectors, "),
        ("F16|F32", r"F16 or F32\["),
        ("F32", r"F32\["),
    ],
)
@pytest.mark.parametrize("found", ["F64", "F8_E5M2"])
def test_a_dtype_among_none_of_several_is_refused_and_they_are_listed(
    tmp_path: Path, dtype: str, expected: str, found: str
) -> None:
    path = write(tmp_path / "x", vectors=np.ones((2, 3)).astype(DTYPES[found][0]))
    with pytest.raises(
        TensorError, match=rf"x: vectors: found {found}\[2, 3\]; expected {expected}"
    ):
        tensors.read(path, {"vectors": (dtype, ("vectors", "dims"))})


def test_empty_dimensions_are_read(tmp_path: Path) -> None:
    arrays = good_tensors()
    arrays["a"], arrays["b"] = np.empty(0, np.int64), np.empty((0, 2), np.float32)
    found = tensors.read(write(tmp_path / "x", **arrays), SCHEMA)
    assert (found["a"].shape, found["b"].shape) == ((0,), (0, 2))


# ---- to_bytes and matrix_header -------------------------------------------------------------

ARRAYS: st.SearchStrategy[NDArray[Any]] = st.sampled_from(
    [np.float32, np.float64, np.float16, np.int64, np.int32, np.bool_]
).flatmap(
    lambda dtype: npst.arrays(
        dtype, npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
    )
)
BFLOAT16 = npst.arrays(np.uint16, npst.array_shapes(min_dims=1, max_dims=2, max_side=4)).map(
    lambda bits: bits.view(ml_dtypes.bfloat16)
)
NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__")


@given(st.dictionaries(NAMES, ARRAYS, max_size=4))
def test_library_reads_back_what_to_bytes_writes(arrays: dict[str, NDArray[Any]]) -> None:
    content = tensors.to_bytes(arrays)
    back = safetensors.numpy.load(content)
    assert back.keys() == arrays.keys()
    assert all(same_bytes(back[name], arrays[name]) for name in arrays)


@given(st.dictionaries(NAMES, ARRAYS | BFLOAT16, max_size=4))
def test_to_bytes_is_byte_for_byte_what_torch_saves(arrays: dict[str, NDArray[Any]]) -> None:
    def as_torch(array: NDArray[Any]) -> torch.Tensor:
        if array.dtype == ml_dtypes.bfloat16:
            return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
        return torch.from_numpy(array.copy())

    expected = {name: as_torch(array) for name, array in arrays.items()}
    content = tensors.to_bytes(arrays)
    assert content == safetensors.torch.save(expected)
    back = safetensors.torch.load(content)
    assert {name: value.shape for name, value in back.items()} == {
        name: value.shape for name, value in expected.items()
    }


@given(BFLOAT16)
def test_bfloat16_is_read_back_bit_for_bit(array: NDArray[Any]) -> None:
    back = safetensors.torch.load(tensors.to_bytes({"x": array}))["x"]
    assert back.dtype == torch.bfloat16
    assert np.array_equal(back.view(torch.int16).numpy(), array.view(np.int16))


def test_views_that_are_not_contiguous_are_written_by_their_values() -> None:
    array = np.arange(12).reshape(3, 4)
    back = safetensors.numpy.load(tensors.to_bytes({"T": array.T, "every other": array[:, ::2]}))
    assert np.array_equal(back["T"], array.T)
    assert np.array_equal(back["every other"], array[:, ::2])


def test_order_of_the_tensors_given_does_not_matter() -> None:
    arrays = good_tensors()
    backwards = dict(reversed(list(arrays.items())))
    assert tensors.to_bytes(arrays) == tensors.to_bytes(backwards)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (100, 7), (12345, 2)])
def test_matrix_header_and_the_values_are_the_file_that_torch_saves(
    dtype: str, shape: tuple[int, int]
) -> None:
    values = torch.arange(shape[0] * shape[1]).reshape(shape).to(DTYPES[dtype][1])
    data = values.view(torch.uint8).numpy().tobytes()
    assert tensors.matrix_header(dtype, shape) + data == safetensors.torch.save({"W": values})


def test_header_of_a_replica_says_so_in_one_key_of_metadata(tmp_path: Path) -> None:
    values = matrix_of("BF16")
    content = tensors.matrix_header("BF16", (2, 3), "some-model") + values.tobytes()
    (tmp_path / "x").write_bytes(content)
    assert int.from_bytes(content[:8], "little") % 8 == 0
    with safetensors.safe_open(tmp_path / "x", "np") as file:
        assert file.metadata() == {
            "replica": "made to show the published figures of some-model; not its weights"
        }
    assert same_bytes(tensors.map_matrix(tmp_path / "x"), values)


# ---- anything else that a file may hold -----------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@st.composite
def mutated_files(draw: st.DrawFn) -> bytes:
    """A good file whose header or bytes were changed somewhere."""
    content = safetensors.numpy.save({
        "W": matrix_of("BF16"), "cluster_token_ids": np.arange(3), "other": np.zeros(2, np.float32),
    })  # fmt: skip
    header, data = project.split(content)
    for _ in range(draw(st.integers(0, 3))):
        entry = header[draw(st.sampled_from(sorted(header)))]
        if isinstance(entry, dict):
            field = draw(st.sampled_from(["dtype", "shape", "data_offsets", "more"]))
            plausible = st.sampled_from(["BF16", "F32", "I64", "F8_E4M3", "F4", "bf16"])
            numbers = st.lists(st.integers(-2, 40) | st.integers(), max_size=3)
            entry[field] = draw(plausible | numbers | JSON)
    if draw(st.booleans()):
        header[draw(st.sampled_from(["W", "__metadata__", "", "x"]))] = draw(JSON)
    content = project.join(header, data, padding=draw(st.sampled_from([1, 8])))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(content) - 1))
        content = content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]
    return content[: draw(st.sampled_from([len(content), len(content) - 1, 8, 30]))]


@settings(max_examples=400, deadline=None)
@given(mutated_files())
def test_any_file_is_read_or_refused_with_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    path.write_bytes(content)
    for read in (
        lambda: tensors.map_matrix(path).copy(),
        lambda: tensors.read(path, tensors.CLUSTER_TOKENS),
    ):
        try:
            read()
        except CoreTokensError as error:
            assert str(path) in str(error)  # noqa: PT017 (both outcomes are right)


@settings(max_examples=400, deadline=None)
@given(mutated_files())
def test_a_header_alone_is_taken_where_the_library_takes_the_file(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    path.write_bytes(content)
    try:
        length = tensors.header_length(path, content[:16], len(content))
        alone = tensors.parse_header(path, content[8 : 8 + length], len(content))
    except CoreTokensError:
        with pytest.raises(CoreTokensError):
            tensors.header(path)
    else:
        assume(all(entry.dtype in tensors.FLOATS for entry in alone.entries.values()))
        assert tensors.header(path) == alone


@pytest.mark.parametrize(
    "offsets", [[0, 9], [4, 12], [-4, 4], [8, 0], [0, 4]], ids=str
)  # of 8 bytes
def test_tensors_fill_the_file_one_behind_the_other(offsets: list[int]) -> None:
    text = json.dumps({"a": {"dtype": "I64", "shape": [1], "data_offsets": offsets}}).encode()
    with pytest.raises(FileError, match="x: found no valid safetensors"):
        tensors.parse_header("x", text, 8 + len(text) + 8)


@pytest.mark.parametrize(
    "text", [b"7", b"[]", b'"a"', b"null", b"", b"{", b'{"a": 7}', b"\xff", b"[" * 9999]
)
def test_what_is_no_header_is_refused(text: bytes) -> None:
    with pytest.raises(FileError, match="x: found no valid safetensors"):
        tensors.parse_header("x", text, 8 + len(text))


@pytest.mark.parametrize("where", ["tensors", "metadata", "one tensor"])
def test_a_name_that_stands_twice_is_refused(tmp_path: Path, where: str) -> None:
    stored = '{"dtype":"I64","shape":[1],"data_offsets":[0,8]}'
    text = {
        "tensors": f'{{"a":{stored},"a":{stored}}}',
        "metadata": f'{{"__metadata__":{{"x":"1","x":"2"}},"a":{stored}}}',
        "one tensor": f'{{"a":{stored[:-1]},"shape":[1]}}}}',
    }[where]
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text.encode() + bytes(8))
    with pytest.raises(FileError, match=r"a name that stands there twice|duplicate field"):
        tensors.header(path)
    with pytest.raises(FileError, match="a name that stands there twice"):
        tensors.parse_header("x", text.encode(), path.stat().st_size)


# ---- what a message shows of a file -----------------------------------------------------------


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\nb", "a\u202eb", "\x7f"])
def test_a_name_that_a_terminal_would_obey_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "x", **{name: np.zeros(2, np.float32)})
    with pytest.raises(FileError) as caught:
        tensors.entries(path)
    assert ascii(name) in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_long_list_is_cut_with_those_of_no_layer_first() -> None:
    entry = tensors.Entry("F32", (2, 2), 0)
    there = {f"model.layers.{n}.w": entry for n in range(5000)} | {"wte.weight": entry}
    text = tensors.listed(there)
    assert text.startswith("wte.weight F32[2, 2], model.layers.0.w F32[2, 2], ")
    assert text.endswith(", and 4,981 more")
    assert text.count("F32") == tensors.LISTED
