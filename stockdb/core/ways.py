"""The ways to read one underlying out of a day's file: twin, index, search, select, scan.

Each either finds rows that can be used, or returns None; the last, a full read, is exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa

from stockdb.core import search
from stockdb.core.catalog import spellings
from stockdb.core.dayfile import DayFile, listed
from stockdb.core.kept import FileIndex, Kept
from stockdb.core.scan import Block, concerns, index_table
from stockdb.core.twins import Twin
from stockdb.errors import DataError, ObjectChangedError

__all__ = ["Found", "Sheet", "known_bad_rows", "read_way"]


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
    """A day's file, open for a question about one underlying.

    Attributes
    ----------
    file : DayFile
    symbol : str
    kept : Kept
    index : FileIndex or None
        What an earlier full read learned.
    shared : Twin or None
        The twin that ``compact`` wrote of this version.
    on_bad_rows : {'raise', 'quarantine'}
    """

    file: DayFile
    symbol: str
    kept: Kept
    index: FileIndex | None
    shared: Twin | None
    on_bad_rows: Literal["raise", "quarantine"]

    @property
    def known(self) -> FileIndex | Twin | None:
        """What tells of the whole file, where anything does."""
        return self.shared if self.index is None else self.index

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
            key = self.file.version.key
            raise DataError(
                f"{key}, line {line}: {reason}.", key=key, line=line, symbol=self.symbol
            )
        return own


def read_way(strategy: str, sheet: Sheet) -> Found | None:
    """Read in one way; None where it found nothing, or found that it cannot be trusted."""
    if strategy == "scan":
        return _scan(sheet)
    if sheet.shared is not None and strategy == "shared_twin":
        return _shared_twin(sheet, sheet.shared)
    if sheet.index is not None and strategy == "twin":
        return _twin(sheet, sheet.index)
    if not sheet.file.searchable:
        return None
    if sheet.index is not None and strategy == "index":
        return _by_index(sheet, sheet.index)
    if strategy == "search":
        return _search(sheet)
    return _select(sheet) if strategy == "select" else None


def known_bad_rows(sheet: Sheet, known: FileIndex | Twin) -> list[list[Any]]:
    """Unreadable lines of a file that was read in full, as far as they may be the underlying's."""
    return sheet.own_bad_rows(known.bad_rows, known.column)


def _shared_twin(sheet: Sheet, twin: Twin) -> Found | None:
    bad = known_bad_rows(sheet, twin)
    table = twin.rows(sheet.symbol)
    file = sheet.file
    file.reader.requests += twin.reader.requests
    file.reader.received += twin.reader.received
    return None if table is None else Found(table, "shared_twin", "proved", bad)


def _twin(sheet: Sheet, index: FileIndex) -> Found | None:
    bad = known_bad_rows(sheet, index)
    parts = []
    for spot in index.places(sheet.symbol):
        shard = sheet.kept.shard(sheet.file.version, spot["block"])
        if shard is None:  # evicted
            return None
        parts.append(_rows(shard, spot["first"], spot["rows"]))
    return Found(pa.concat_tables(parts).combine_chunks(), "twin", "proved", bad)


def _by_index(sheet: Sheet, index: FileIndex) -> Found | None:
    bad = known_bad_rows(sheet, index)
    spots = index.places(sheet.symbol)
    spans = _merged([(spot["start"], spot["stop"]) for spot in spots])
    parts = sheet.file.reader.read_many(spans)
    header = sheet.file.layout().header
    parsed = sheet.file.parse(header + b"".join(_ended(part) for part in parts))
    names = set(parsed.table.column("underlying").to_pylist())
    expected = sum(spot["rows"] for spot in spots)
    if parsed.table.num_rows != expected or names != {spots[0]["underlying"]}:
        return None
    return Found(parsed.table, "index", "proved", bad)


def _search(sheet: Sheet) -> Found | None:
    file = sheet.file
    layout, reader = file.layout(), file.reader
    if layout.column < 0:
        return None
    probes = 1 if reader.near else search.PROBES
    try:
        known = sheet.kept.lines(file.version, layout, file.head)
        for name in spellings(sheet.symbol):
            run = search.find_run(
                reader.read_many, layout, reader.size, name.encode(), known, probes
            )
            if run is not None:
                return _strictly(sheet, layout.header + run[1], name, "search", "assumed")
    except search.ContradictionError:
        pass
    return None


def _select(sheet: Sheet) -> Found | None:
    file = sheet.file
    layout, reader, version = file.layout(), file.reader, file.version
    if layout.column < 0:
        return None
    for name in spellings(sheet.symbol):
        reader.requests += 1
        data = file.store.select(version.key, layout.title, name)
        reader.received += len(data)
        if not data.strip():
            continue
        reader.requests += 1
        if file.store.stat(version.key).etag != version.etag:
            raise ObjectChangedError(
                f"{version.key} was replaced while it was read.", key=version.key
            )
        return _strictly(sheet, layout.header + data, name, "select", "scanned by the server")
    return None


def _strictly(sheet: Sheet, data: bytes, name: str, strategy: str, grouping: str) -> Found | None:
    """Parse rows that all must be readable and of one underlying; a full read judges others."""
    try:
        parsed = sheet.file.parse(data)
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
    version = sheet.file.version
    column, found = sheet.file.blocks()
    for block in found:
        sheet.kept.keep_shard(version, block.number, block.table)
        for position, name in enumerate(block.names):
            if name in taken:
                first, rows = int(block.first[position]), int(block.rows[position])
                taken[name].append(_rows(block.table, first, rows))
        bad += [listed(row) for row in block.bad_rows]
        # Without its table: even an empty slice of it would hold the whole in memory.
        blocks.append(replace(block, table=block.table.schema.empty_table(), bad_rows=()))
        del block
        # Arrow's allocator would rather keep what the next block could use.
        pa.default_memory_pool().release_unused()
    index = index_table(blocks)
    sheet.kept.keep_index(version, index, bad, column)
    own = sheet.own_bad_rows(bad, column)
    parts = next((taken[name] for name in wanted if taken[name]), None)
    if parts is None:
        names = tuple(dict.fromkeys(name for block in blocks for name in block.names))
        return Found(None, "scan", "proved", own, names)
    return Found(pa.concat_tables(parts).combine_chunks(), "scan", "proved", own)


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
