from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_type_hints

import hypothesis.strategies as st
import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from pyarrow import parquet as pq

import project
from core_tokens.core import core_within
from core_tokens.survey import parquet, record
from core_tokens.survey.checkpoints import Checkpoint
from core_tokens.survey.parquet import (
    Writer,
    failed_row,
    membership_columns,
    membership_schema,
    survey_rows,
    survey_schema,
)
from core_tokens.survey.record import About, Record
from core_tokens.survey.snapshot import NEEDS_CLUSTER, Figures, snapshot
from core_tokens.vocabulary import Token

RULERS = ["ulp", "steps", "l2"]
HERE = Checkpoint("runs/step7", 7, Path("/runs/step7"))


def made(**changes: Any) -> Record:
    found = snapshot(project.tiny_matrix(), 0.002)
    about = About(
        commit="", tensor="W", dtype="BF16", sha256="5" * 64, vocabulary="",
        figures=found.figures, tokens=[], bytes=96, seconds=0.25,
    )  # fmt: skip
    return record.record(found, msgspec.structs.replace(about, **changes))


def rows_of(radii: Sequence[float], rulers: Sequence[str] = RULERS) -> list[dict[str, Any]]:
    found = made()
    cores = {
        ruler: [
            core_within(
                radius, found.arrays[f"distance_{ruler}"], found.arrays["vector_of_token"],
                found.arrays["token_ids"],
            )
            for radius in radii
        ]
        for ruler in rulers
    }  # fmt: skip
    return survey_rows(4, HERE, "W.safetensors", found, radii, cores)


# ---- columns ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rulers", [RULERS, ["l2"], ["steps", "ulp"]])
def test_the_columns_of_a_survey(rulers: list[str]) -> None:
    schema = survey_schema(rulers)
    before = [
        "checkpoint",
        "source",
        "step",
        "commit",
        "file",
        "tensor",
        "sha256",
        "dtype",
        "bytes",
    ]
    counts = [
        f"{what}_{ruler}"
        for ruler in rulers
        for what in ("core_tokens", "core_vectors", "halo_tokens", "halo_vectors")
    ]
    figures = [field.name for field in fields(Figures)]
    assert schema.names == [*before, *figures, "radius", *counts, "error"]
    kinds = {
        int: pa.int64(), int | None: pa.int64(), float: pa.float64(), float | None: pa.float64(),
    }  # fmt: skip
    for name, kind in get_type_hints(Figures).items():
        assert schema.field(name).type == kinds[kind]
    assert schema.field("radius").type == pa.float64()
    assert {schema.field(name).type for name in counts} == {pa.int64()}


@pytest.mark.parametrize("rulers", [RULERS, ["l2"]])
def test_the_columns_of_the_members(rulers: list[str]) -> None:
    kinds = {"ulp": pa.float32(), "steps": pa.int64(), "l2": pa.float32()}
    assert membership_schema(rulers) == pa.schema(
        [("checkpoint", pa.int32()), ("token", pa.int64())]
        + [(f"distance_{ruler}", kinds[ruler]) for ruler in rulers]
        + [("text", pa.string())]
    )


# ---- rows -------------------------------------------------------------------------------------


def test_a_checkpoint_has_one_row_for_each_radius() -> None:
    rows = rows_of([0.0, 1.0, 3.0])
    assert [row["radius"] for row in rows] == [0.0, 1.0, 3.0]
    assert [row["core_tokens_ulp"] for row in rows] == [2, 4, 6]
    assert [row["halo_tokens_ulp"] for row in rows] == [4, 2, 0]
    assert [row["core_vectors_ulp"] for row in rows] == [1, 2, 4]
    assert [row["halo_vectors_ulp"] for row in rows] == [3, 2, 0]
    assert [row["core_tokens_steps"] for row in rows] == [2, 4, 5]
    assert [row["core_tokens_l2"] for row in rows] == [2, 6, 6]
    for row in rows:
        for name, value in asdict(made().about.figures).items():
            assert row[name] == value
        assert (row["checkpoint"], row["source"], row["step"]) == (4, "runs/step7", 7)
        assert (row["commit"], row["file"], row["tensor"]) == (None, "W.safetensors", "W")
        assert (row["sha256"], row["dtype"], row["bytes"]) == ("5" * 64, "BF16", 96)
        assert "error" not in row
    assert set(rows[0]) | {"error"} == set(survey_schema(RULERS).names)


@pytest.mark.parametrize("radius", [0.1, 1e-5, 1 / 3, 3.0])
def test_a_radius_is_written_as_it_was_asked_for(tmp_path: Path, radius: float) -> None:
    with Writer(tmp_path / "a", survey_schema(RULERS)) as writer:
        writer.add(rows_of([radius]))
    assert pq.read_table(tmp_path / "a").column("radius").to_pylist() == [radius]


def test_what_needs_a_cluster_is_null_where_there_is_none(tmp_path: Path) -> None:
    found = snapshot(np.eye(3, dtype=np.float32), 0.5)
    empty = record.record(found, msgspec.structs.replace(made().about, figures=found.figures))
    with Writer(tmp_path / "a", survey_schema(RULERS)) as writer:
        writer.add(survey_rows(0, HERE, "W", empty, [1.0], {}))
    (row,) = pq.read_table(tmp_path / "a").to_pylist()
    figures = {field.name for field in fields(Figures)}
    assert {name for name in figures if row[name] is None} == set(NEEDS_CLUSTER)
    assert (row["cluster_tokens"], row["vocabulary"], row["error"]) == (0, 3, None)


def test_what_is_not_known_of_a_place_is_null_and_not_empty() -> None:
    (row,) = survey_rows(0, HERE, "", made(), [1.0], {})
    assert (row["commit"], row["file"]) == (None, None)
    (row,) = survey_rows(0, HERE, "", made(commit="c" * 40), [1.0], {})
    assert row["commit"] == "c" * 40


def test_a_checkpoint_that_failed_has_one_row_with_nothing_that_was_not_found(
    tmp_path: Path,
) -> None:
    with Writer(tmp_path / "a", survey_schema(RULERS)) as writer:
        writer.add([failed_row(3, HERE, "W: found nothing; expected something")])
    (row,) = pq.read_table(tmp_path / "a").to_pylist()
    known = {name: value for name, value in row.items() if value is not None}
    assert known == {
        "checkpoint": 3, "source": "runs/step7", "step": 7,
        "error": "W: found nothing; expected something",
    }  # fmt: skip


def test_each_token_of_a_cluster_is_a_row_of_the_members(tmp_path: Path) -> None:
    texts = [Token("ordinary", "a"), Token("ordinary", "b"), Token("padding", None)] * 2
    with Writer(tmp_path / "a", membership_schema(RULERS)) as writer:
        writer.add_columns(membership_columns(0, made(), RULERS))
        writer.add_columns(membership_columns(5, made(tokens=texts), RULERS))
    table = pq.read_table(tmp_path / "a")
    assert table.schema == membership_schema(RULERS)
    columns = table.to_pydict()
    assert columns["checkpoint"] == [0] * 6 + [5] * 6
    assert columns["token"] == project.CLUSTER_IDS * 2
    assert columns["distance_ulp"] == [0, 0, 1, 1, 3, 2] * 2
    assert columns["distance_steps"] == [0, 0, 1, 1, 3, 14080] * 2
    assert columns["text"] == [None] * 6 + ["a", "b", None] * 2
    for token, distance in zip(columns["token"], columns["distance_l2"], strict=True):
        row, origin = (project.tiny_matrix()[at].astype(np.float64) for at in (token, 1))
        assert distance == np.float32(np.sqrt(((row - origin) ** 2).sum()))


def test_a_checkpoint_without_a_cluster_has_no_members(tmp_path: Path) -> None:
    found = snapshot(np.eye(3, dtype=np.float32), 0.5)
    empty = record.record(found, msgspec.structs.replace(made().about, figures=found.figures))
    with Writer(tmp_path / "a", membership_schema(RULERS)) as writer:
        writer.add_columns(membership_columns(0, empty, RULERS))
    assert pq.read_table(tmp_path / "a").num_rows == 0


# ---- the file ---------------------------------------------------------------------------------

SCHEMA = pa.schema({"n": pa.int64(), "text": pa.string()})


def write(path: Path, groups: Sequence[Sequence[int]], *, columns: bool = False) -> bytes:
    """A file of numbers that come in groups."""
    with Writer(path, SCHEMA) as writer:
        for group in groups:
            if columns:
                writer.add_columns({"n": list(group), "text": [str(n) for n in group]})
            else:
                writer.add([{"n": n, "text": str(n)} for n in group])
    return path.read_bytes()


groups_of_rows = st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=9)


def patched(patch: pytest.MonkeyPatch, part: int, rows: int, tables: int) -> None:
    values = part * len(SCHEMA)
    patch.setattr(parquet, "PART_VALUES", values)
    patch.setattr(parquet, "ROWS_AT_ONCE", rows)
    patch.setattr(parquet, "TABLES_AT_ONCE", tables)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups_of_rows, st.integers(1, 12), st.integers(1, 9), st.integers(1, 4), st.booleans())
def test_all_rows_are_there_in_their_order_and_parts_are_as_large_as_was_said(
    tmp_path: Path, groups: list[list[int]], part: int, rows: int, tables: int, columns: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patched(patch, part, rows, tables)
        write(tmp_path / "a", groups, columns=columns)
    table = pq.read_table(tmp_path / "a")
    assert table.schema == SCHEMA
    assert table.column("n").to_pylist() == [n for group in groups for n in group]
    file = pq.ParquetFile(tmp_path / "a")
    parts = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
    assert sum(parts) == sum(map(len, groups))
    assert all(part <= size < part + 5 + (0 if columns else rows) for size in parts[:-1])
    assert all(size > 0 for size in parts)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups_of_rows, st.booleans())
def test_the_same_rows_are_the_same_bytes_whenever_what_waits_is_put_together(
    tmp_path: Path, groups: list[list[int]], columns: bool
) -> None:
    written = []
    for tables in (1, 2, 64):
        with pytest.MonkeyPatch.context() as patch:
            patched(patch, 7, 3, tables)
            written.append(write(tmp_path / "a", groups, columns=columns))
    assert written == written[:1] * 3


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups_of_rows, st.integers(1, 9))
def test_the_rows_of_one_part_are_the_same_bytes_however_they_came(
    tmp_path: Path, groups: list[list[int]], rows: int
) -> None:
    flat = [n for group in groups for n in group]
    first = write(tmp_path / "a", [flat])
    with pytest.MonkeyPatch.context() as patch:
        patched(patch, 1000, rows, 2)
        assert write(tmp_path / "b", groups) == first
        assert write(tmp_path / "c", groups, columns=True) == first
        assert write(tmp_path / "d", [[n] for n in flat]) == first


def test_a_file_without_rows_has_its_columns(tmp_path: Path) -> None:
    write(tmp_path / "a", [])
    assert pq.read_schema(tmp_path / "a") == SCHEMA
    assert pq.read_table(tmp_path / "a").num_rows == 0


def test_what_a_row_lacks_is_null_and_what_it_must_not_have_is_refused(tmp_path: Path) -> None:
    with Writer(tmp_path / "a", SCHEMA) as writer:
        writer.add([{"n": 1}, {"text": "x"}])
    assert pq.read_table(tmp_path / "a").to_pylist() == [
        {"n": 1, "text": None}, {"n": None, "text": "x"},
    ]  # fmt: skip
    with pytest.raises(pa.ArrowInvalid):
        write(tmp_path / "b", [["not a number"]])  # type: ignore[list-item]


def test_an_error_in_between_ends_the_file_and_stays_the_error(tmp_path: Path) -> None:
    def write_half() -> None:
        with Writer(tmp_path / "a", SCHEMA) as writer:
            writer.add([{"n": 1}])
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        write_half()
    assert pq.read_table(tmp_path / "a").num_rows == 0
