"""survey.parquet and membership.parquet: rows in the order of the checkpoints, a part at a time.

The bytes depend on the rows alone: the parts are cut where the rows say, not when they come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_type_hints

import numpy as np

from core_tokens.core import Core
from core_tokens.errors import CoreTokensError
from core_tokens.survey.checkpoints import Checkpoint
from core_tokens.survey.record import Record
from core_tokens.survey.snapshot import Figures

try:
    import pyarrow as pa
    from pyarrow import parquet
except ImportError as error:
    raise CoreTokensError(
        "a survey", "no pyarrow", "pip install -c constraints.txt -e '.[survey]'"
    ) from error

PART_VALUES = 1 << 17
"""Values of a part (a row group) at least, the last apart: what both ends hold at a time."""
ROWS_AT_ONCE, TABLES_AT_ONCE = 256, 64
"""What waits is put together at times: a table of one row takes as much as one of many."""
OF_RULER = {"ulp": pa.float32(), "steps": pa.int64(), "l2": pa.float32()}
COUNTS = ("core_tokens", "core_vectors", "halo_tokens", "halo_vectors")
"""Columns for each distance: ``core_tokens_ulp``, …"""


def survey_schema(distances: Sequence[str]) -> pa.Schema:
    """The columns of survey.parquet: one row for each checkpoint and radius.

    A checkpoint that failed has one row, with ``error`` and without anything that was not found.
    """
    named = {"checkpoint": pa.int32(), "source": pa.string(), "step": pa.int64(),
             "commit": pa.string(), "file": pa.string(), "tensor": pa.string(),
             "sha256": pa.string(), "dtype": pa.string(), "bytes": pa.int64()}  # fmt: skip
    kinds = {"int": pa.int64(), "float": pa.float64()}
    types = {name: kind.__name__ if isinstance(kind, type) else str(kind)
             for name, kind in get_type_hints(Figures).items()}  # fmt: skip
    numbers = {name: kinds[kind.partition(" ")[0]] for name, kind in types.items()}
    counts = {f"{count}_{ruler}": pa.int64() for ruler in distances for count in COUNTS}
    return pa.schema({**named, **numbers, "radius": pa.float64(), **counts, "error": pa.string()})


def membership_schema(distances: Sequence[str]) -> pa.Schema:
    """The columns of membership.parquet: one row for each checkpoint and token of its cluster."""
    rulers = {f"distance_{ruler}": OF_RULER[ruler] for ruler in distances}
    return pa.schema({"checkpoint": pa.int32(), "token": pa.int64(), **rulers, "text": pa.string()})


def survey_rows(
    at: int,
    checkpoint: Checkpoint,
    file: str,
    found: Record,
    radii: Sequence[float],
    cores: Mapping[str, Sequence[Core]],
) -> list[dict[str, Any]]:
    """The rows of one checkpoint, one for each radius.

    Args:
        at: the position of the checkpoint.
        checkpoint: which it is.
        file: in which its matrix lies.
        found: what is known of it.
        radii: in the units of each distance.
        cores: distance -> the core within each radius.
    """
    about = found.about
    shared = {
        "checkpoint": at, "source": checkpoint.name, "step": checkpoint.step,
        "commit": about.commit or None, "file": file or None, "tensor": about.tensor,
        "sha256": about.sha256, "dtype": about.dtype, "bytes": about.bytes,
        **{field.name: getattr(about.figures, field.name) for field in fields(Figures)},
    }  # fmt: skip
    rows = []
    for nth, radius in enumerate(radii):
        row = shared | {"radius": radius}
        for ruler, some in cores.items():
            core = some[nth]
            counts = (
                len(core.token_ids),
                core.vectors,
                len(core.halo_token_ids),
                core.halo_vectors,
            )
            row |= {f"{name}_{ruler}": count for name, count in zip(COUNTS, counts, strict=True)}
        rows.append(row)
    return rows


def failed_row(at: int, checkpoint: Checkpoint, error: str) -> dict[str, Any]:
    """The one row of a checkpoint that failed."""
    return {"checkpoint": at, "source": checkpoint.name, "step": checkpoint.step, "error": error}


def membership_columns(at: int, found: Record, distances: Sequence[str]) -> dict[str, Any]:
    """The columns of one checkpoint's tokens."""
    arrays, tokens = found.arrays, found.about.tokens
    count = len(arrays["token_ids"])
    of_token = arrays["vector_of_token"]
    return {
        "checkpoint": np.full(count, at, np.int32),
        "token": arrays["token_ids"],
        **{f"distance_{ruler}": arrays[f"distance_{ruler}"][of_token] for ruler in distances},
        "text": [token.text for token in tokens] if tokens else [None] * count,
    }


class Writer:
    """A Parquet file that is written as rows come, in parts of ``PART_VALUES`` or more."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._file = parquet.ParquetWriter(path, schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._tabulate()
            self._write()
        self._file.close()

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows, each column -> value; what a row lacks is null."""
        self._rows += rows
        if len(self._rows) >= ROWS_AT_ONCE:
            self._tabulate()

    def add_columns(self, columns: dict[str, Any]) -> None:
        """Add rows as columns."""
        self._add(pa.table(columns, schema=self._schema))

    def _tabulate(self) -> None:
        if self._rows:
            self._add(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []

    def _add(self, table: pa.Table) -> None:
        self._tables.append(table)
        if sum(map(len, self._tables)) * len(self._schema) >= PART_VALUES:
            self._write()
        elif len(self._tables) >= TABLES_AT_ONCE:
            self._tables = [self._whole()]

    def _whole(self) -> pa.Table:
        return pa.concat_tables(self._tables).combine_chunks()

    def _write(self) -> None:
        if any(map(len, self._tables)):
            whole = self._whole()
            self._file.write_table(whole, row_group_size=len(whole))
        self._tables = []
