"""A whole day's file in bounded memory: it finds one underlying and proves the grouping.

What it learns is kept: an index (where each underlying's rows are) and the rows themselves
as columns, block by block. From then on a question about this version costs one small
read, and whether the symbol is in the file is known, not assumed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from stockdb.core.parse import Parsed
from stockdb.errors import ArchiveError

__all__ = ["BLOCK", "Block", "Index", "blocks_of", "index_table", "split", "unzipped"]

BLOCK: Final = 8 * 1024**2
_EXPANSION: Final = 200
Read = Callable[[int, int], bytes]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Block:
    """Some whole lines of a file, as columns, grouped by underlying.

    Attributes
    ----------
    number : int
    table : pyarrow.Table
        Rows of one underlying stand together; within it they keep the file's order.
    names : list of str
        Underlyings in the order of their rows.
    first, rows : numpy.ndarray of int64
        Where each underlying's rows begin in ``table``, and how many there are.
    start, stop : numpy.ndarray of int64
        Their bytes in the file; -1 where they do not stand together there.
    bad_rows : tuple
        Lines that could not be read.
    """

    number: int
    table: pa.Table
    names: list[str]
    first: Ints
    rows: Ints
    start: Ints
    stop: Ints
    bad_rows: tuple[Any, ...]


def split(read: Read, start: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Cut a file into blocks of whole lines, the next one read while one is worked on.

    Yields
    ------
    (int, bytes)
        Where the block begins in the file, and its lines.
    """
    spans = [(at, min(at + BLOCK, size)) for at in range(start, size, BLOCK)]
    carry, begin = b"", start
    with ThreadPoolExecutor(1, thread_name_prefix="stockdb-scan") as ahead:
        coming = ahead.submit(read, *spans[0]) if spans else None
        for number, (_, end) in enumerate(spans):
            assert coming is not None
            data = carry + coming.result()
            following = spans[number + 1] if number + 1 < len(spans) else None
            coming = ahead.submit(read, *following) if following else None
            cut = len(data) if end == size else data.rfind(b"\n") + 1
            if cut:
                yield begin, data[:cut]
            carry, begin = data[cut:], begin + cut


def unzipped(pieces: Iterator[bytes], key: str, limit: int) -> Iterator[tuple[int, bytes]]:
    """Inflate a gzip stream into blocks of whole lines; offsets are of the inflated text."""
    inflate = zlib.decompressobj(wbits=31)
    data, begin, total = b"", 0, 0
    try:
        for piece in pieces:
            while piece:
                out = inflate.decompress(piece, BLOCK)
                total += len(out)
                if total > limit * _EXPANSION:
                    raise ArchiveError(f"{key} inflates to more than {total:,} bytes.", key=key)
                data += out
                piece = inflate.unconsumed_tail
                if len(data) >= BLOCK:
                    cut = data.rfind(b"\n") + 1
                    if cut:
                        yield begin, data[:cut]
                        data, begin = data[cut:], begin + cut
    except zlib.error as error:
        raise ArchiveError(f"{key} is a damaged gzip stream ({error}).", key=key) from None
    if not inflate.eof:
        raise ArchiveError(f"{key} is a gzip stream without its end.", key=key)
    if data:
        yield begin, data


def blocks_of(
    lines: Iterator[tuple[int, bytes]],
    header: bytes,
    parse: Callable[[bytes, int], Parsed],
    *,
    in_file: bool,
) -> Iterator[Block]:
    """Parse blocks of lines.

    Parameters
    ----------
    lines : iterator of (int, bytes)
        Offset and whole lines.
    header : bytes
        The file's first line.
    parse : callable
        Takes a header with lines, and the number of the line before the first of them.
    in_file : bool
        Whether offsets are the object's own, so that rows can be fetched by them.
    """
    before = 1
    for number, (offset, data) in enumerate(lines):
        parsed = parse(header + data, before)
        before += data.count(b"\n")
        yield _group(number, parsed, offset, data if in_file else None)


def _group(number: int, parsed: Parsed, offset: int, data: bytes | None) -> Block:
    table = parsed.table
    encoded = table.column("underlying").combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    known = encoded.dictionary.to_pylist()
    if len(codes) == 0:
        none = np.zeros(0, np.int64)
        return Block(number, table, [], none, none, none, none, parsed.bad_rows)
    begins, ends = _line_bytes(data, offset, len(codes))
    edges = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    first = np.concatenate([[0], edges])
    if len(first) > len(known):  # some underlying stands in several places
        order = np.argsort(codes, kind="stable")
        runs = np.bincount(codes[first], minlength=len(known))
        alone = runs == 1
        starts = np.full(len(known), -1, np.int64)
        stops = np.full(len(known), -1, np.int64)
        last = np.concatenate([edges, [len(codes)]])
        for begin, end in zip(first, last, strict=True):
            if alone[codes[begin]]:
                starts[codes[begin]], stops[codes[begin]] = begins[begin], ends[end - 1]
        table = table.take(pa.array(order))
        rows = np.bincount(codes, minlength=len(known))
        first = np.concatenate([[0], np.cumsum(rows)[:-1]])
        return Block(number, table, known, first, rows, starts, stops, parsed.bad_rows)
    rows = np.diff(np.concatenate([first, [len(codes)]]))
    names = [known[code] for code in codes[first]]
    last_row = first + rows - 1
    return Block(number, table, names, first, rows, begins[first], ends[last_row], parsed.bad_rows)


def _line_bytes(data: bytes | None, offset: int, count: int) -> tuple[Ints, Ints]:
    """Where each row's line begins and ends, if every line is one row."""
    unknown = np.full(count, -1, np.int64)
    if data is None:
        return unknown, unknown
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + 1
    if len(ends) == 0 or ends[-1] != len(data):
        ends = np.append(ends, len(data))
    if len(ends) != count:  # blank or quarantined lines: their neighbours cannot be told apart
        return unknown, unknown
    begins = np.concatenate([[0], ends[:-1]])
    return begins + offset, ends + offset


@dataclass(frozen=True)
class Index:
    """Where every underlying of one version of a file is.

    Attributes
    ----------
    table : pyarrow.Table
        underlying, block, first, rows, start, stop: one row for each block that an
        underlying appears in.
    grouped, ascending : bool
        Whether each underlying stands in one place, and these in byte order: proved.
    """

    table: pa.Table
    grouped: bool
    ascending: bool

    def places(self, symbol: str) -> list[dict[str, int]]:
        """Blocks and bytes of one underlying; empty means that it is not in the file."""
        return find_places(self.table, symbol)


def find_places(table: pa.Table, symbol: str) -> list[dict[str, int]]:
    """Rows of an index table for one underlying."""
    import pyarrow.compute as pc

    found: list[dict[str, int]] = table.filter(pc.equal(table["underlying"], symbol)).to_pylist()
    return found


def index_table(blocks: list[Block]) -> Index:
    """Put the index together from the blocks' places (their tables may be gone by now)."""
    names = [name for block in blocks for name in block.names]
    table = pa.table(
        {
            "underlying": pa.array(names, pa.string()),
            "block": np.repeat([block.number for block in blocks], [len(b.names) for b in blocks]),
            "first": np.concatenate([block.first for block in blocks] or [np.zeros(0, np.int64)]),
            "rows": np.concatenate([block.rows for block in blocks] or [np.zeros(0, np.int64)]),
            "start": np.concatenate([block.start for block in blocks] or [np.zeros(0, np.int64)]),
            "stop": np.concatenate([block.stop for block in blocks] or [np.zeros(0, np.int64)]),
        }
    )
    grouped = ascending = True
    last_stop: dict[str, int] = {}
    previous: str | None = None
    for name, start, stop in zip(
        names, table["start"].to_pylist(), table["stop"].to_pylist(), strict=True
    ):
        if start < 0 or (name in last_stop and last_stop[name] != start):
            grouped = False
        if previous is not None and name.encode() < previous.encode():
            ascending = False
        last_stop[name], previous = stop, name
    return Index(table, grouped, grouped and ascending)
