"""Columnar twins of day files: one Parquet file sorted by underlying, read by range.

A twin says in its footer which file, in which version and read how, it was made of, and where
each underlying's rows are. So one underlying costs the footer and the one or two row groups
that hold it, and that an underlying is absent is known and not assumed.

Parquet's own checksums leave out its footer and the headers of its pages, where one flipped
bit renames a column. So the footer holds CRC-32 sums of its own: one of itself, with this one
put as zeros, and one of each row group.
"""

from __future__ import annotations

import base64
import io
import json
import tempfile
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from stockdb.core.catalog import spellings
from stockdb.core.dayfile import listed
from stockdb.core.planner import FOOTER
from stockdb.core.ranges import RangeReader
from stockdb.core.scan import Block

__all__ = ["Contents", "NoTwinError", "Twin", "make_twin", "open_twin"]

#: Rows of a row group, what a read of one underlying moves, about. It holds whole underlyings,
#: but for one that is larger than what may be sorted at once.
GROUP_ROWS: Final = 24_576
#: Rows sorted at once: what making a twin needs in memory goes by it.
SORT_ROWS: Final = 49_152
#: A file with more unreadable lines gets no twin: it should be mended instead.
BAD_ROWS: Final = 1_000
_NOTE: Final = b"stockdb"
_SUMS: Final = b"stockdb-crc32:"
_DIGITS: Final = 8
_MAGIC: Final = b"PAR1"
_END: Final = 8


class NoTwinError(Exception):
    """There is no twin, or it is not of this version of this file, or damaged."""


@dataclass(frozen=True)
class Contents:
    """What a twin says about the file that it was made of.

    Attributes
    ----------
    source : dict of str to str
        Key, ETag and way of reading of the source.
    names : list of str
        Underlyings in the order of the rows.
    counts : list of int
        Rows of each.
    column : int
        Which field of the source's lines holds the underlying.
    bad_rows : list
        ``[line, reason, text]`` of every line that could not be read.
    """

    source: dict[str, str]
    names: list[str]
    counts: list[int]
    column: int
    bad_rows: list[list[Any]]

    def pack(self) -> bytes:
        """Write as text that a Parquet footer can hold."""
        return base64.b64encode(zlib.compress(json.dumps(vars(self)).encode()))

    @staticmethod
    def unpack(text: bytes) -> Contents:
        """Read what :meth:`pack` wrote."""
        return Contents(**json.loads(zlib.decompress(base64.b64decode(text))))


def make_twin(
    blocks: Iterator[Block], column: int, source: dict[str, str], target: Path
) -> Contents:
    """Sort a day's blocks by underlying into one Parquet file, in bounded memory.

    The blocks wait in a temporary folder; then some row groups at a time are gathered from
    them. Rows of one underlying keep the order of the file.

    Raises
    ------
    NoTwinError
        More than 1,000 unreadable lines.
    """
    with tempfile.TemporaryDirectory(prefix="stockdb-twin-") as folder:
        parts: list[_Part] = []
        bad: list[list[Any]] = []
        schema = pa.schema([])
        for block in blocks:
            bad += [listed(row) for row in block.bad_rows]
            if len(bad) > BAD_ROWS:
                raise NoTwinError(f"more than {BAD_ROWS:,} of its lines cannot be read")
            schema = block.table.schema
            parts.append(_Part.save(block, Path(folder, f"{block.number}.arrow")))
            del block
            pa.default_memory_pool().release_unused()
        rows: dict[str, int] = {}
        for part in parts:
            for name, (_, count) in part.places.items():
                rows[name] = rows.get(name, 0) + count
        names = sorted(rows, key=str.encode)
        contents = Contents(source, names, [rows[name] for name in names], column, bad)
        with pq.ParquetWriter(
            target,
            schema,
            compression="zstd",
            store_schema=False,
            write_statistics=False,  # the note says more, in less
        ) as writer:
            groups = sum(
                _write(writer, chosen, rows, parts) for chosen in _batches(names, rows, SORT_ROWS)
            )
            sums = _SUMS + b"0" * _DIGITS * (1 + groups)
            writer.add_key_value_metadata({_NOTE: contents.pack(), b"sums": sums})
    _seal(target)
    return contents


def _seal(path: Path) -> None:
    """Write the sums into the places that were left for them."""
    metadata = pq.read_metadata(path)
    with path.open("r+b") as file:
        size = file.seek(0, io.SEEK_END)
        begin = size - _END - metadata.serialized_size
        file.seek(begin)
        footer = bytearray(file.read(metadata.serialized_size))
        at = footer.rindex(_SUMS) + len(_SUMS)
        for number in range(metadata.num_row_groups):
            start, stop = _span(metadata, number)
            file.seek(start)
            here = at + _DIGITS * (1 + number)
            footer[here : here + _DIGITS] = b"%08x" % zlib.crc32(file.read(stop - start))
        footer[at : at + _DIGITS] = b"%08x" % zlib.crc32(footer)
        file.seek(begin)
        file.write(footer)


def _sums(footer: bytes) -> list[bytes]:
    """Return the sums of the row groups out of a footer that agrees with its own."""
    at = footer.rfind(_SUMS) + len(_SUMS)
    said, rest = footer[at : at + _DIGITS], footer[at + _DIGITS :]
    if at < len(_SUMS) or said != b"%08x" % zlib.crc32(footer[:at] + b"0" * _DIGITS + rest):
        raise NoTwinError("damaged")
    return [rest[i : i + _DIGITS] for i in range(0, len(rest), _DIGITS)]


def _span(metadata: pq.FileMetaData, number: int) -> tuple[int, int]:
    """Bytes of a row group."""
    group = metadata.row_group(number)
    starts, stops = [], []
    for i in range(group.num_columns):
        chunk = group.column(i)
        start = min(chunk.dictionary_page_offset or chunk.data_page_offset, chunk.data_page_offset)
        starts.append(start)
        stops.append(start + chunk.total_compressed_size)
    return min(starts), max(stops)


@dataclass
class _Part:
    """A block that waits on disk, and where each underlying's rows are in it."""

    path: Path
    places: dict[str, tuple[int, int]]

    @staticmethod
    def save(block: Block, path: Path) -> _Part:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.OSFile(str(path), "wb") as sink:
            with pa.ipc.new_stream(sink, block.table.schema, options=options) as writer:
                writer.write_table(block.table)
        spots = zip(block.first.tolist(), block.rows.tolist(), strict=True)
        return _Part(path, dict(zip(block.names, spots, strict=True)))

    def load(self) -> pa.Table:
        with pa.OSFile(str(self.path), "rb") as source:
            return pa.ipc.open_stream(source).read_all()

    def rows(self, table: pa.Table, name: str) -> pa.Table:
        """Copy an underlying's rows: a slice would hold the whole part in memory."""
        first, count = self.places[name]
        return table.take(pa.array(range(first, first + count), pa.int64()))


def _batches(names: Sequence[str], rows: dict[str, int], most: int) -> Iterator[list[str]]:
    """Cut the names into runs of about so many rows."""
    chosen: list[str] = []
    count = 0
    for name in names:
        if chosen and count + rows[name] > most:
            yield chosen
            chosen, count = [], 0
        chosen.append(name)
        count += rows[name]
    if chosen:
        yield chosen


def _write(
    writer: pq.ParquetWriter, names: list[str], rows: dict[str, int], parts: list[_Part]
) -> int:
    """Gather some underlyings from all parts that hold them; returns how many groups it wrote."""
    if rows[names[0]] > SORT_ROWS:  # alone, as the batches are cut
        return _write_large(writer, names[0], parts)
    gathered: dict[str, list[pa.Table]] = {name: [] for name in names}
    for part in parts:
        mine = [name for name in part.places if name in gathered]
        if mine:
            table = part.load()
            for name in mine:
                gathered[name].append(part.rows(table, name))
            del table
    groups = 0
    for chosen in _batches(names, rows, GROUP_ROWS):
        groups += 1
        _write_group(writer, [table for name in chosen for table in gathered.pop(name)])
    return groups


def _write_large(writer: pq.ParquetWriter, name: str, parts: list[_Part]) -> int:
    """Write one underlying as it comes: it has more rows than may be held at once."""
    groups = 0
    waiting: list[pa.Table] = []
    for part in parts:
        if name in part.places:
            waiting.append(part.rows(part.load(), name))
        if waiting and (part is parts[-1] or sum(map(len, waiting)) >= GROUP_ROWS):
            groups += 1
            _write_group(writer, waiting)
            waiting = []
    return groups


def _write_group(writer: pq.ParquetWriter, tables: list[pa.Table]) -> None:
    group = pa.concat_tables(tables)
    writer.write_table(group, row_group_size=group.num_rows)
    del group
    pa.default_memory_pool().release_unused()


class _Pieces(io.RawIOBase):
    """Parts of an object as a file: what was not fetched before cannot be read."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._at = 0
        self._held: list[tuple[int, bytes]] = []

    def hold(self, start: int, data: bytes) -> None:
        self._held.append((start, data))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        start, stop = self._at, self._size if size < 0 else min(self._at + size, self._size)
        for first, data in self._held:
            if first <= start and stop <= first + len(data):
                self._at = stop
                return data[start - first : stop - first]
        raise OSError(f"bytes {start} to {stop} were not fetched")


@dataclass
class Twin:
    """A twin that is open.

    Attributes
    ----------
    contents : Contents
    reader : RangeReader
        Pinned to one version of the twin.
    """

    contents: Contents
    reader: RangeReader
    _file: pq.ParquetFile = field(repr=False)
    _pieces: _Pieces = field(repr=False)
    _sums: list[bytes] = field(repr=False)

    @property
    def names(self) -> list[str]:
        """All underlyings in the file."""
        return self.contents.names

    @property
    def bad_rows(self) -> list[list[Any]]:
        """Unreadable lines of the source."""
        return self.contents.bad_rows

    @property
    def column(self) -> int:
        """Which field of the source's lines holds the underlying."""
        return self.contents.column

    def places(self, symbol: str) -> list[tuple[int, int]]:
        """First row and rows of an underlying; empty means that it is not in the file."""
        for spelling in spellings(symbol):
            if spelling in self.names:
                number = self.names.index(spelling)
                return [(sum(self.contents.counts[:number]), self.contents.counts[number])]
        return []

    def cost(self, symbol: str) -> int:
        """Bytes that :meth:`rows` will move; none for an underlying that is not there."""
        if not self.places(symbol):
            return 0
        groups = self._groups(symbol)
        return _span(self._file.metadata, groups[-1])[1] - _span(self._file.metadata, groups[0])[0]

    def rows(self, symbol: str) -> pa.Table | None:
        """Read an underlying's rows, in the order of the source.

        Returns
        -------
        pyarrow.Table or None
            None where the twin turns out to be damaged or gone: the source tells then.
        """
        (first, count), groups = self.places(symbol)[0], self._groups(symbol)
        spans = [_span(self._file.metadata, number) for number in groups]
        begin = spans[0][0]
        data = self.reader.read(begin, spans[-1][1])
        for number, (start, stop) in zip(groups, spans, strict=True):
            if b"%08x" % zlib.crc32(data[start - begin : stop - begin]) != self._sums[number]:
                return None
        self._pieces.hold(begin, data)
        try:
            table = self._file.read_row_groups(groups, use_threads=False)
        except (pa.ArrowException, OSError):
            return None
        table = table.slice(first - self._begins()[groups[0]], count).combine_chunks()
        names = set(table["underlying"].to_pylist())
        return table if table.num_rows == count and names <= set(spellings(symbol)) else None

    def _begins(self) -> list[int]:
        """First row of every row group, and the number of rows."""
        metadata = self._file.metadata
        counts = (metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
        return [0, *accumulate(counts)]

    def _groups(self, symbol: str) -> list[int]:
        ((first, count),) = self.places(symbol)
        begins = self._begins()
        low, high = bisect_right(begins, first) - 1, bisect_right(begins, first + count - 1)
        return list(range(low, high))


def open_twin(reader: RangeReader, source: dict[str, str]) -> Twin:
    """Read a twin's footer, and see whether it is of this source.

    Parameters
    ----------
    reader : RangeReader
    source : dict of str to str
        As given to :func:`make_twin`.

    Raises
    ------
    NoTwinError
        Of another version of the source, of another one, or damaged.
    """
    reader.read(0, 4)  # tells the size
    size = reader.size
    start = max(0, size - FOOTER)
    tail = reader.read(start, size)
    if size < 2 * _END or tail[-4:] != _MAGIC:
        raise NoTwinError("damaged")
    footer = size - _END - int.from_bytes(tail[-_END:-4], "little")
    if footer < start:
        tail, start = reader.read(max(0, footer), start) + tail, max(0, footer)
    sums = _sums(tail[footer - start : -_END])
    pieces = _Pieces(size)
    pieces.hold(start, tail)
    try:
        file = pq.ParquetFile(pa.PythonFile(pieces, mode="r"), pre_buffer=False)
        contents = Contents.unpack((file.metadata.metadata or {})[_NOTE])
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, zlib.error):
        raise NoTwinError("damaged") from None
    if contents.source != source:
        raise NoTwinError("of another version of its source")
    if sum(contents.counts) != file.metadata.num_rows:
        raise NoTwinError("damaged")
    return Twin(contents, reader, file, pieces, sums)
