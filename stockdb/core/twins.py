"""Columnar twins of day files: Parquet sorted by underlying, under a prefix of their own.

A twin is used only while the file that it was made of has the same ETag; it stands beside
that file and never in its place.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stockdb.core.ranges import RangeReader
from stockdb.core.scan import Block

__all__ = ["SOURCE", "RangeFile", "make_twin", "read_twin"]

#: User metadata of a twin: the ETag of the file that it was made of.
SOURCE: Final = "source-etag"
_ROWS_PER_GROUP: Final = 20_000
_TAIL: Final = 64 * 1024


def make_twin(blocks: Iterator[Block]) -> bytes:
    """Sort a day's blocks by underlying into one Parquet file, in bounded memory.

    Rows of one underlying keep the order of the file. Every row group carries the least and
    greatest underlying, so that a reader finds the one or two that it needs.

    Returns
    -------
    bytes
        The file, a tenth to a twentieth of the CSV.
    """
    with tempfile.TemporaryDirectory(prefix="stockdb-twin-") as folder:
        places: dict[str, list[tuple[int, int, int]]] = {}
        tables: list[pa.Table] = []
        for block in blocks:
            path = Path(folder, f"{block.number}.arrow")
            with pa.OSFile(str(path), "wb") as sink:
                with pa.ipc.new_stream(sink, block.table.schema) as writer:
                    writer.write_table(block.table)
            tables.append(pa.ipc.open_stream(pa.memory_map(str(path))).read_all())
            for name, first, rows in zip(block.names, block.first, block.rows, strict=True):
                places.setdefault(name, []).append((len(tables) - 1, int(first), int(rows)))
        return _write(tables, places)


def _write(tables: list[pa.Table], places: dict[str, list[tuple[int, int, int]]]) -> bytes:
    schema = tables[0].schema if tables else pa.schema([("underlying", pa.string())])
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer:
        pending: list[pa.Table] = []
        count = 0
        for name in sorted(places, key=str.encode):
            for number, first, rows in places[name]:
                pending.append(tables[number].slice(first, rows))
                count += rows
            if count >= _ROWS_PER_GROUP:
                writer.write_table(pa.concat_tables(pending), row_group_size=count)
                pending, count = [], 0
        if pending:
            writer.write_table(pa.concat_tables(pending), row_group_size=count)
    return sink.getvalue()


class RangeFile(io.RawIOBase):
    """An object as a file that can be read from any place; its tail is read once."""

    def __init__(self, reader: RangeReader, size: int) -> None:
        self._reader = reader
        self._size = size
        self._at = 0
        self._tail_start = max(0, size - _TAIL)
        self._tail = reader.read(self._tail_start, size)

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to another place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read from here on."""
        stop = self._size if size < 0 else min(self._at + size, self._size)
        start, self._at = self._at, max(self._at, stop)
        if stop <= start:
            return b""
        if start >= self._tail_start:
            return self._tail[start - self._tail_start : stop - self._tail_start]
        return self._reader.read(start, stop)

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def read_twin(reader: RangeReader, size: int, symbols: list[str]) -> pa.Table:
    """Read the rows of one underlying, under the first spelling that the twin has.

    Returns
    -------
    pyarrow.Table
        Without rows where no spelling is there: a twin holds the whole day, so that is proved.
    """
    file = pq.ParquetFile(pa.PythonFile(RangeFile(reader, size), mode="r"), pre_buffer=True)
    column = file.schema_arrow.get_field_index("underlying")
    for symbol in symbols:
        groups = []
        for number in range(file.num_row_groups):
            bounds = file.metadata.row_group(number).column(column).statistics
            if bounds is None or bounds.min <= symbol <= bounds.max:
                groups.append(number)
        if groups:
            table = file.read_row_groups(groups)
            found = table.filter(pc.equal(table["underlying"], symbol))
            if found.num_rows:
                return _without_nulls(found.combine_chunks())
    return file.schema_arrow.empty_table()


def _without_nulls(table: pa.Table) -> pa.Table:
    """Parquet has no NaN of its own for floats that were null: fill them as the parser does."""
    for number, field in enumerate(table.schema):
        column = table.column(number)
        if pa.types.is_floating(field.type) and column.null_count:
            table = table.set_column(number, field, pc.fill_null(column, np.nan))
    return table
