from pathlib import Path
from typing import Any

import h5py
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray

from core_tokens.errors import CoreTokensError, FileError, TensorError
from core_tokens.survey import hdf5
from strategies import BFLOAT16, finite_bits, from_bits

ONE = np.arange(12, dtype=np.float32).reshape(4, 3) + 0.5
MANY = np.stack([ONE, -ONE, ONE * 2])
FLOATS = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"]
NAMES = {"f2": "F16", "f4": "F32", "f8": "F64", "u2": "BF16"}


def write(path: Path, **datasets: Any) -> Path:
    """A file of datasets; a name with __ stands in a group."""
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            options = data if isinstance(data, dict) else {"data": data}
            file.create_dataset(name.replace("__", "/"), **options)
    return path


def bits_of(matrix: NDArray[Any]) -> NDArray[np.uint16]:
    """The bits of bfloat16, as training logs keep them."""
    return matrix.astype(BFLOAT16).view(np.uint16)


# ---- what is one ------------------------------------------------------------------------------


def test_a_file_is_known_by_how_it_begins(tmp_path: Path) -> None:
    assert hdf5.is_hdf5(write(tmp_path / "no suffix", W=ONE))
    assert hdf5.is_hdf5(write(tmp_path / "W.safetensors", W=ONE))
    for name, content in {"a.h5": b"", "b.h5": hdf5.MAGIC[:-1], "c.hdf5": b"text"}.items():
        (tmp_path / name).write_bytes(content)
        assert not hdf5.is_hdf5(tmp_path / name)
    assert not hdf5.is_hdf5(tmp_path)
    assert not hdf5.is_hdf5(tmp_path / "nothing")


# ---- one matrix -------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [*FLOATS, "<u2", ">u2"])
@pytest.mark.parametrize("index", [None, 0, 1, 2])
def test_a_matrix_is_read_bit_by_bit_whatever_its_byte_order(
    tmp_path: Path, stored: str, index: int | None
) -> None:
    whole = ONE if index is None else MANY
    data = bits_of(whole) if stored.endswith("u2") else whole
    path = write(tmp_path / "a.h5", W=data.astype(stored))
    name, matrix = hdf5.read(path, "W", index)
    wanted = data if index is None else data[index]
    native = wanted.astype(stored[1:])
    assert name == NAMES[stored[1:]]
    assert matrix.dtype == (BFLOAT16 if stored.endswith("u2") else np.dtype(stored[1:]))
    assert matrix.dtype.isnative
    assert matrix.shape == (4, 3)
    assert matrix.flags["C_CONTIGUOUS"]
    assert matrix.view(np.uint8).tobytes() == native.tobytes()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(finite_bits(), min_size=1, max_size=9))
def test_sixteen_bits_are_those_of_bfloat16(tmp_path: Path, bits: list[int]) -> None:
    path = write(tmp_path / "a.h5", W=np.array([bits], np.uint16))
    _, matrix = hdf5.read(path, "W", None)
    assert matrix.astype(np.float64).tolist() == from_bits([bits]).astype(np.float64).tolist()


@pytest.mark.parametrize(
    "how",
    [
        {"chunks": (1, 2, 2)}, {"chunks": (2, 4, 3), "compression": "gzip"},
        {"compression": "lzf", "shuffle": True}, {"chunks": (3, 1, 1), "fletcher32": True},
        {"maxshape": (None, 4, 3)},
    ],
    ids=str,
)  # fmt: skip
def test_how_a_dataset_is_laid_out_does_not_matter(tmp_path: Path, how: dict[str, Any]) -> None:
    path = write(tmp_path / "a.h5", W={"data": bits_of(MANY), **how})
    for index in range(3):
        _, matrix = hdf5.read(path, "W", index)
        assert matrix.tobytes() == bits_of(MANY[index]).tobytes()


@pytest.mark.parametrize(
    "data",
    [
        np.zeros((4, 3), np.int32), np.zeros((4, 3), np.int16), np.zeros((4, 3), np.uint8),
        np.zeros((4, 3), np.complex64), np.zeros((4, 3), bool), np.zeros((4, 3), "S3"),
        np.zeros((4, 3), [("a", "f4")]), np.zeros((0, 3), np.float32), np.zeros((4, 0), "f4"),
        np.zeros(5, np.float32), np.float32(3), MANY, np.zeros((2, 2, 2, 2), np.float32),
    ],
    ids=lambda data: f"{data.dtype}{list(data.shape)}",
)  # fmt: skip
def test_what_is_no_matrix_of_floats_is_refused_as_it_is(tmp_path: Path, data: Any) -> None:
    path = write(tmp_path / "a.h5", W=data)
    shown = f"{data.dtype}{list(data.shape)}" if data.dtype.fields is None else "["
    with pytest.raises(TensorError) as caught:
        hdf5.read(path, "W", None)
    assert str(caught.value).startswith(f"{path}: W: found ")
    assert shown.replace("|S3", "S3") in str(caught.value).replace("|S3", "S3")
    assert "[vocab, dims] or [steps, vocab, dims]" in str(caught.value)


def test_a_matrix_alone_has_no_numbers(tmp_path: Path) -> None:
    with pytest.raises(TensorError, match=r"W: found float32\[4, 3\]"):
        hdf5.read(write(tmp_path / "a.h5", W=ONE), "W", 0)


@pytest.mark.parametrize("index", [3, 4, 10**9])
def test_a_number_beyond_the_last_is_refused(tmp_path: Path, index: int) -> None:
    with pytest.raises(TensorError, match=f"found 3 matrices; expected number {index} among"):
        hdf5.read(write(tmp_path / "a.h5", W=MANY), "W", index)


# ---- which dataset ----------------------------------------------------------------------------


def test_the_only_dataset_is_meant_wherever_it_stands(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", run__model__W=MANY)
    assert hdf5.matrices(path, None, "steps") == (3, None, "run/model/W")
    assert hdf5.read(path, "run/model/W", 1)[1].tolist() == MANY[1].tolist()


def test_a_matrix_alone_is_no_number_of_them(tmp_path: Path) -> None:
    assert hdf5.matrices(write(tmp_path / "a.h5", W=ONE), None, "steps") == (None, None, "W")


@pytest.mark.parametrize("dtype", ["<i8", ">i4", "<u2", "<f8", "<f2", ">f4"])
def test_steps_are_those_beside_the_matrices(tmp_path: Path, dtype: str) -> None:
    steps = np.array([0, 512, 1024], dtype)
    path = write(tmp_path / "a.h5", W=MANY, steps=steps)
    found = hdf5.matrices(path, None, "steps")
    assert found == (3, [0, 512, 1024], "W")
    assert {type(step) for step in found[1] or ()} == {int}


@pytest.mark.parametrize(
    "steps",
    [
        np.arange(2), np.arange(4), np.zeros((3, 1)), np.int64(3), np.array([b"a", b"b", b"c"]),
        np.array([0, 1, np.nan]), np.array([0, 1, np.inf]), np.array([0, 1, 2**63], np.uint64),
        np.zeros(3, [("a", "i8")]), np.array([0, 0.5, 1]), np.array([0, 1, 2.25], np.float16),
        h5py.Empty("i8"), np.zeros(3, bool),
    ],
    ids=str,
)  # fmt: skip
def test_steps_that_do_not_fit_are_none(tmp_path: Path, steps: Any) -> None:
    path = write(tmp_path / "a.h5", W=MANY, steps=steps)
    assert hdf5.matrices(path, None, "steps") == (3, None, "W")


def test_a_group_called_steps_is_none(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["W"] = MANY
        file.create_group("steps")
    assert hdf5.matrices(tmp_path / "a.h5", None, "steps") == (3, None, "W")


def test_of_several_datasets_one_is_to_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", a__W=MANY, b=ONE, steps=np.arange(3))
    for ask in (None, "c", "a"):
        with pytest.raises(TensorError) as caught:
            hdf5.matrices(path, ask, "steps")
        where = f"{path}: {ask}" if ask else str(path)
        assert str(caught.value).startswith(f"{where}: found ")
        for listed in ("a/W float32[3, 4, 3]", "b float32[4, 3]", "steps int64[3]"):
            assert listed in str(caught.value)
    assert hdf5.matrices(path, "a/W", "steps") == (3, [0, 1, 2], "a/W")
    assert hdf5.matrices(path, "b", "steps") == (None, None, "b")


def test_without_datasets_there_is_nothing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("a/b")
    with pytest.raises(TensorError, match=r"a\.h5: found no datasets; expected one"):
        hdf5.matrices(tmp_path / "a.h5", None, "steps")
    with pytest.raises(TensorError, match=r"a\.h5: W: found no datasets"):
        hdf5.read(tmp_path / "a.h5", "W", None)


def test_a_dataset_of_no_shape_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", W=MANY, note=h5py.Empty("f4"))
    assert hdf5.matrices(path, None, "steps") == (3, None, "W")
    with pytest.raises(TensorError, match=r"note: found W float32\[3, 4, 3\]; expected one"):
        hdf5.matrices(path, "note", "steps")
    with pytest.raises(TensorError, match=r"b\.h5: found no datasets; expected one"):
        hdf5.matrices(write(tmp_path / "b.h5", note=h5py.Empty("f4")), None, "steps")


def test_no_matrices_at_all_are_none_of_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", W=MANY[:0], steps=np.arange(0))
    assert hdf5.matrices(path, None, "steps") == (0, [], "W")
    for index in (None, 0):
        with pytest.raises(TensorError, match=r"W: found float32\[0, 4, 3\]; expected \["):
            hdf5.read(path, "W", index)


def test_only_steps_are_no_matrices(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", steps=np.arange(3))
    with pytest.raises(TensorError, match=r"a.h5: found steps int64\[3\]; expected one"):
        hdf5.matrices(path, None, "steps")


# ---- what is not whole ------------------------------------------------------------------------


def read_all(path: Path) -> None:
    hdf5.matrices(path, None, "steps")
    for index in range(3):
        hdf5.read(path, "W", index)


def test_every_truncation_is_one_line(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.h5", W={"data": bits_of(MANY), "chunks": (1, 4, 3)})
    content = whole.read_bytes()
    cut = tmp_path / "cut.h5"
    for length in range(0, len(content), 61):
        cut.write_bytes(content[:length])
        with pytest.raises(CoreTokensError) as caught:
            read_all(cut)
        assert str(caught.value).isprintable()
        assert str(cut) in str(caught.value)


def test_data_that_are_spoiled_are_a_file_that_is(tmp_path: Path) -> None:
    how = {"data": MANY, "chunks": (1, 4, 3), "compression": "gzip", "fletcher32": True}
    path = write(tmp_path / "a.h5", W=how)
    with h5py.File(path) as file:
        where = file["W"].id.get_chunk_info(1)
    content = bytearray(path.read_bytes())
    content[where.byte_offset + 5] ^= 0xFF
    path.write_bytes(content)
    assert hdf5.read(path, "W", 0)[1].tolist() == MANY[0].tolist()
    with pytest.raises(FileError, match=r"W: found data that cannot be read .*; expected a whole"):
        hdf5.read(path, "W", 1)


@pytest.mark.parametrize("ask", [hdf5.matrices, hdf5.read])
def test_what_is_no_file_of_hdf5_is_refused(tmp_path: Path, ask: Any) -> None:
    path = tmp_path / "a.h5"
    with pytest.raises(FileError, match=r"a\.h5: found no such file; expected a file of HDF5"):
        ask(path, "W", None)
    path.write_bytes(hdf5.MAGIC)
    with pytest.raises(FileError, match=r"a\.h5: found no valid HDF5 \(.+\); expected a whole"):
        ask(path, "W", None)
    path.unlink()
    path.mkdir()
    with pytest.raises(FileError, match=r"a\.h5: found "):
        ask(path, "W", None)


def test_without_the_library_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.h5", W=ONE)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(CoreTokensError, match=r"for which h5py is not here; expected pip install"):
        hdf5.read(path, "W", None)
