"""The ways to read one underlying out of a day's file: twin, index, search, select, scan.

Each either finds rows that can be used, or returns None; the last, a full read, is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final, Literal

import pyarrow as pa

from stockdb.core import search
from stockdb.core.catalog import spellings
from stockdb.core.kept import FileIndex, Kept, Version
from stockdb.core.parse import BadRow, Parsed, parse_options
from stockdb.core.ranges import RangeReader
from stockdb.core.scan import (
    READ,
    Block,
    blocks_of,
    blocks_of_table,
    concerns,
    index_table,
    split,
    unzipped,
)
from stockdb.core.store import ObjectStore
from stockdb.errors import DataError, ObjectChangedError

__all__ = ["Found", "Sheet", "is_parquet", "read_way"]

_UNDERLYING: Final = ("underlying", "underlyingsymbol", "symbol", "ticker")
_GZIP: Final = b"\x1f\x8b"
_PARQUET: Final = b"PAR1"


@dataclass(frozen=True)
class Found:
    """What one way of reading found.

    Attributes
    ----------
    table : pyarrow.Table or None
        None where the whole file was read, and the underlying is not in it.
    strategy, grouping : str
        As in ``Origin``.
    bad_rows : list
        Unreadable lines that may be the underlying's.
    names : tuple of str
        All underlyings, where a full read found none of the rows.
    """

    table: pa.Table | None
    strategy: str
    grouping: str
    bad_rows: list[list[Any]] = field(default_factory=list)
    names: tuple[str, ...] = ()


@dataclass
class Sheet:
    """One version of a day's file, open for a question about one underlying.

    Attributes
    ----------
    version : Version
    reader : RangeReader
        Pinned to that version.
    head : bytes
        Its first bytes.
    symbol : str
    date : datetime.date
        Of the file.
    store : ObjectStore
    kept : Kept
    index : FileIndex or None
    on_bad_rows : {'raise', 'quarantine'}
    """

    version: Version
    reader: RangeReader
    head: bytes
    symbol: str
    date: Any
    store: ObjectStore
    kept: Kept
    index: FileIndex | None
    on_bad_rows: Literal["raise", "quarantine"]

    @property
    def plain(self) -> bool:
        """Whether the file turned out to be text, whose rows can be read by byte range."""
        return not self.head.startswith((_GZIP, _PARQUET))

    def layout(self, head: bytes | None = None) -> search.Layout:
        """Read the header."""
        own = self.version.dataset.columns
        return search.read_layout(head or self.head, _UNDERLYING, self.version.key, own)

    def parse(self, data: bytes, before: int = 1) -> Parsed:
        """Parse a header with lines, the unreadable of which are left out and listed."""
        return parse_options(
            data,
            self.version.dataset,
            key=self.version.key.removesuffix(".gz"),
            on_bad_rows="quarantine",
            date=self.date,
            first_line=before,
        )

    def own_bad_rows(self, bad_rows: Iterable[list[Any]], column: int) -> list[list[Any]]:
        """Pick the unreadable lines that may be this underlying's; refuse them where told to.

        Raises
        ------
        DataError
            There is one, and bad rows raise.
        """
        names = spellings(self.symbol)
        own = [row for row in bad_rows if concerns(row[2], names, column)]
        if own and self.on_bad_rows == "raise":
            line, reason, _ = own[0]
            key = self.version.key
            raise DataError(
                f"{key}, line {line}: {reason}.", key=key, line=line, symbol=self.symbol
            )
        return own


def read_way(strategy: str, sheet: Sheet) -> Found | None:
    """Read in one way; None where it found nothing, or found that it cannot be trusted."""
    if strategy == "scan":
        return _scan(sheet)
    if sheet.index is not None and strategy == "twin":
        return _twin(sheet, sheet.index)
    if not sheet.plain:
        return None
    if sheet.index is not None and strategy == "index":
        return _by_index(sheet, sheet.index)
    if strategy == "search":
        return _search(sheet)
    return _select(sheet) if strategy == "select" else None


def known_bad_rows(sheet: Sheet, index: FileIndex) -> list[list[Any]]:
    """Unreadable lines of a file that was read in full, as far as they may be the underlying's."""
    return sheet.own_bad_rows(index.bad_rows, index.column)


def _twin(sheet: Sheet, index: FileIndex) -> Found | None:
    bad = known_bad_rows(sheet, index)
    parts = []
    for spot in index.places(sheet.symbol):
        shard = sheet.kept.shard(sheet.version, spot["block"])
        if shard is None:  # evicted
            return None
        parts.append(_rows(shard, spot["first"], spot["rows"]))
    return Found(pa.concat_tables(parts).combine_chunks(), "twin", "proved", bad)


def _by_index(sheet: Sheet, index: FileIndex) -> Found | None:
    bad = known_bad_rows(sheet, index)
    spots = index.places(sheet.symbol)
    spans = _merged([(spot["start"], spot["stop"]) for spot in spots])
    parts = sheet.reader.read_many(spans)
    parsed = sheet.parse(sheet.layout().header + b"".join(_ended(part) for part in parts))
    names = set(parsed.table.column("underlying").to_pylist())
    expected = sum(spot["rows"] for spot in spots)
    if parsed.table.num_rows != expected or names != {spots[0]["underlying"]}:
        return None
    return Found(parsed.table, "index", "proved", bad)


def _search(sheet: Sheet) -> Found | None:
    layout = sheet.layout()
    if layout.column < 0:
        return None
    read_many, size = sheet.reader.read_many, sheet.reader.size
    try:
        known = sheet.kept.lines(sheet.version, layout, sheet.head)
        for name in spellings(sheet.symbol):
            run = search.find_run(read_many, layout, size, name.encode(), known)
            if run is not None:
                return _strictly(sheet, layout.header + run[1], name, "search", "assumed")
    except search.ContradictionError:
        pass
    return None


def _select(sheet: Sheet) -> Found | None:
    layout, reader, version = sheet.layout(), sheet.reader, sheet.version
    if layout.column < 0:
        return None
    for name in spellings(sheet.symbol):
        reader.requests += 1
        data = sheet.store.select(version.key, layout.title, name)
        reader.received += len(data)
        if not data.strip():
            continue
        reader.requests += 1
        if sheet.store.stat(version.key).etag != version.etag:
            raise ObjectChangedError(
                f"{version.key} was replaced while it was read.", key=version.key
            )
        return _strictly(sheet, layout.header + data, name, "select", "scanned by the server")
    return None


def _strictly(sheet: Sheet, data: bytes, name: str, strategy: str, grouping: str) -> Found | None:
    """Parse rows that all must be readable and of one underlying; a full read judges others."""
    try:
        parsed = sheet.parse(data)
    except DataError:
        return None
    if parsed.bad_rows or set(parsed.table.column("underlying").to_pylist()) != {name}:
        return None
    return Found(parsed.table, strategy, grouping)


def _scan(sheet: Sheet) -> Found:
    """Read everything once, keep what it teaches, and take the underlying's rows."""
    wanted = spellings(sheet.symbol)
    taken: dict[str, list[pa.Table]] = {name: [] for name in wanted}
    blocks: list[Block] = []
    bad: list[list[Any]] = []
    column, found = _blocks(sheet)
    for block in found:
        sheet.kept.keep_shard(sheet.version, block.number, block.table)
        for position, name in enumerate(block.names):
            if name in taken:
                first, rows = int(block.first[position]), int(block.rows[position])
                taken[name].append(_rows(block.table, first, rows))
        bad += [_listed(row) for row in block.bad_rows]
        # Without its table: even an empty slice of it would hold the whole in memory.
        blocks.append(replace(block, table=block.table.schema.empty_table(), bad_rows=()))
        del block
        # Arrow's allocator would rather keep what the next block could use.
        pa.default_memory_pool().release_unused()
    index = index_table(blocks)
    sheet.kept.keep_index(sheet.version, index, bad, column)
    own = sheet.own_bad_rows(bad, column)
    parts = next((taken[name] for name in wanted if taken[name]), None)
    if parts is None:
        names = tuple(dict.fromkeys(name for block in blocks for name in block.names))
        return Found(None, "scan", "proved", own, names)
    return Found(pa.concat_tables(parts).combine_chunks(), "scan", "proved", own)


def _blocks(sheet: Sheet) -> tuple[int, Iterator[Block]]:
    """Open a full read; which column holds the underlying, and the blocks."""
    reader, key = sheet.reader, sheet.version.key
    reader.be_patient()
    if is_parquet(sheet.version) or sheet.head.startswith(_PARQUET):
        return 1, _parquet_blocks(sheet)
    if sheet.plain:
        layout = sheet.layout()
        lines = split(reader.read, layout.start, reader.size)
    else:
        spans = range(0, reader.size, READ)
        pieces = (reader.read(at, min(at + READ, reader.size)) for at in spans)
        inflated = unzipped(pieces, key, reader.size)
        offset, first = next(inflated, (0, b""))
        layout = sheet.layout(first or b"\n")
        lines = chain([(offset + layout.start, first[layout.start :])], inflated)
    blocks = blocks_of(lines, layout.header, sheet.parse, before=layout.lines, in_file=sheet.plain)
    return layout.column, blocks


def _parquet_blocks(sheet: Sheet) -> Iterator[Block]:
    """Read a Parquet file whole: its rows cannot be told apart before."""
    version, reader = sheet.version, sheet.reader
    blob = sheet.store.get(version.key)
    reader.count(blob)
    if blob.info.etag != version.etag:
        raise ObjectChangedError(f"{version.key} was replaced while it was read.", key=version.key)
    parsed = parse_options(
        memoryview(blob.data),
        version.dataset,
        key=version.key,
        on_bad_rows="quarantine",
        date=sheet.date,
    )
    del blob
    yield from blocks_of_table(parsed)


def is_parquet(version: Version) -> bool:
    """Whether a file's dataset or name says that it is Parquet."""
    return version.dataset.format == "parquet" or version.key.lower().endswith((".parquet", ".pq"))


def _rows(table: pa.Table, first: int, rows: int) -> pa.Table:
    """Copy rows: a slice would hold the whole table in memory."""
    return table.take(pa.array(range(first, first + rows), pa.int64()))


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join spans that touch."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((start, stop))
    return merged


def _ended(lines: bytes) -> bytes:
    """End the last line: the file's last may lack its end, and another part follow it."""
    return lines if lines.endswith(b"\n") else lines + b"\n"


def _listed(row: BadRow) -> list[Any]:
    return [row.line, row.reason, row.text]
