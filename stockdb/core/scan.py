"""A whole day's file in bounded memory: it finds one underlying and proves the grouping.

What it learns is kept: an index (where each underlying's rows are) and the rows themselves
as columns, block by block. From then on a question about this version costs one small
read, and whether the symbol is in the file is known, not assumed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa

from stockdb.core.parse import BadRow, Parsed
from stockdb.errors import ArchiveError

__all__ = [
    "READ",
    "Block",
    "Index",
    "blocks_of",
    "blocks_of_table",
    "concerns",
    "index_table",
    "in_blocks",
    "inflated",
    "split",
]

#: Bytes parsed at once: what a read of a whole file needs in memory is some multiple of it.
BLOCK: Final = 1 << 19
#: Bytes asked for at once; the next ones come while these are worked on.
READ: Final = 2 << 20
#: Rows of a block cut out of a table.
ROWS: Final = 1 << 15
_EXPANSION: Final = 200
_ALWAYS_ALLOWED: Final = 16 * 1024**2  # whatever the ratio
_STEP: Final = 1 << 20
_LONGEST_BLANK: Final = 256
#: What follows the root of an option symbol, or the beginning of it.
_CUT_TAIL: Final = re.compile(r"[0-9]{0,6}|[0-9]{6}[CP][0-9]{0,8}")
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
    bad_rows : tuple of BadRow
        Lines that could not be read.
    grouped : bool
        Whether each underlying's rows stand together in this part of the file.
    """

    number: int
    table: pa.Table
    names: list[str]
    first: Ints
    rows: Ints
    start: Ints
    stop: Ints
    bad_rows: tuple[BadRow, ...]
    grouped: bool = True


def split(read: Read, start: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Cut a file into blocks of whole lines, the next one read while one is worked on.

    Yields
    ------
    (int, bytes)
        Where the block begins in the file, and its lines.
    """
    # No tiny block at the end: one of which no row can be read would pass for a foreign file.
    edges = [start, *range(start + READ, size - READ // 4, READ), size]
    spans = [(low, high) for low, high in pairwise(edges) if low < high]
    carry, begin = b"", start
    with ThreadPoolExecutor(1, thread_name_prefix="stockdb-scan") as ahead:
        coming = ahead.submit(read, *spans[0]) if spans else None
        for number, (_, end) in enumerate(spans):
            assert coming is not None
            data = carry + coming.result()
            # A future keeps its result: let go of it.
            coming = ahead.submit(read, *spans[number + 1]) if number + 1 < len(spans) else None
            cut = len(data) if end == size else data.rfind(b"\n") + 1
            at = 0
            while at < cut:
                stop = _block_end(data, at, cut)
                yield begin + at, data[at:stop]
                at = stop
            carry, begin = data[cut:], begin + cut


def _block_end(data: bytes, at: int, cut: int) -> int:
    """Where a block of whole lines that begins at ``at`` ends, leaving no tiny one behind."""
    if cut - at < BLOCK + BLOCK // 4:
        return cut
    return data.rfind(b"\n", at, at + BLOCK) + 1 or data.find(b"\n", at, cut) + 1 or cut


def in_blocks(pieces: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Cut unpacked text into blocks of whole lines; offsets are of the unpacked text."""
    data, begin = b"", 0
    for out in pieces:
        data += out
        # What stays is no tiny block at the end.
        while len(data) >= BLOCK + BLOCK // 4 and (whole := data.rfind(b"\n") + 1):
            cut = min(_block_end(data, 0, len(data)), whole)
            yield begin, data[:cut]
            data, begin = data[cut:], begin + cut
    if data:
        yield begin, data


def inflated(pieces: Iterator[bytes], key: str, limit: int) -> Iterator[bytes]:
    """Inflate a gzip file.

    Parameters
    ----------
    pieces : iterator of bytes
        The file; it may be several streams in a row, padded with zeros.
    key : str
    limit : int
        Bytes of the file: how much it may inflate to goes by them.

    Raises
    ------
    ArchiveError
        A damaged or endless stream.
    """
    most = max(_ALWAYS_ALLOWED, limit * _EXPANSION)
    inflate, total, between = zlib.decompressobj(wbits=31), 0, False
    try:
        for piece in pieces:
            waiting = piece
            while waiting:
                if between:
                    waiting = waiting.lstrip(b"\0")
                    if not waiting:
                        break
                    inflate, between = zlib.decompressobj(wbits=31), False
                out = inflate.decompress(waiting, _STEP)
                waiting = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
                while out:
                    total += len(out)
                    if total > most:
                        raise ArchiveError(f"{key} inflates to more than {most:,} bytes.", key=key)
                    yield out
                    # What did not fit is still inside, although all input was taken.
                    full = len(out) == _STEP and not waiting and not inflate.eof
                    out = inflate.decompress(b"", _STEP) if full else b""
                between = inflate.eof
                waiting = inflate.unused_data if inflate.eof else waiting
    except zlib.error as error:
        raise ArchiveError(f"{key} is a damaged gzip stream ({error}).", key=key) from None
    if not between:
        raise ArchiveError(f"{key} is a gzip stream without its end.", key=key)


def blocks_of(
    lines: Iterator[tuple[int, bytes]],
    header: bytes,
    parse: Callable[[bytes, int], Parsed],
    *,
    before: int,
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
    before : int
        Lines before the first block.
    in_file : bool
        Whether offsets are the object's own, so that rows can be fetched by them.
    """
    number = -1
    for number, (offset, data) in enumerate(lines):
        parsed = parse(header + data, before)
        skipped = {row.line - before - 1 for row in parsed.bad_rows}
        places = _line_bytes(data if in_file else None, offset, parsed.table.num_rows, skipped)
        before += data.count(b"\n")
        del data
        yield _group(number, parsed, places)
    if number < 0:  # no rows: but is it a header at all?
        yield _group(0, parse(header, before), _line_bytes(None, 0, 0, set()))


def blocks_of_table(parsed: Parsed) -> Iterator[Block]:
    """Cut a table that was read whole into blocks."""
    for number, at in enumerate(range(0, max(1, parsed.table.num_rows), ROWS)):
        part = Parsed(parsed.table.slice(at, ROWS), () if number else parsed.bad_rows)
        yield _group(number, part, _line_bytes(None, 0, part.table.num_rows, set()))


def _group(number: int, parsed: Parsed, places: tuple[Ints, Ints]) -> Block:
    table, (begins, ends) = parsed.table, places
    encoded = table.column("underlying").combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    known = encoded.dictionary.to_pylist()
    if len(codes) == 0:
        none = np.zeros(0, np.int64)
        return Block(number, table, [], none, none, none, none, parsed.bad_rows)
    edges = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    first = np.concatenate([[0], edges])
    last = np.concatenate([edges, [len(codes)]])
    if len(first) > len(known):  # some underlying stands in several places
        order = np.argsort(codes, kind="stable")
        runs = np.bincount(codes[first], minlength=len(known))
        starts = np.full(len(known), -1, np.int64)
        stops = np.full(len(known), -1, np.int64)
        alone = runs[codes[first]] == 1
        starts[codes[first[alone]]] = begins[first[alone]]
        stops[codes[first[alone]]] = ends[last[alone] - 1]
        table = table.take(pa.array(order))
        rows = np.bincount(codes, minlength=len(known))
        first = np.concatenate([[0], np.cumsum(rows)[:-1]])
        return Block(
            number, table, known, first, rows, starts, stops, parsed.bad_rows, grouped=False
        )
    names = [known[code] for code in codes[first]]
    starts, stops = begins[first], ends[last - 1]
    return Block(number, table, names, first, last - first, starts, stops, parsed.bad_rows)


def _line_bytes(
    data: bytes | None, offset: int, count: int, skipped: set[int]
) -> tuple[Ints, Ints]:
    """Where each row's line begins and ends; blank and unreadable lines are no rows."""
    unknown = np.full(count, -1, np.int64)
    if data is None:
        return unknown, unknown
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + 1
    if len(ends) == 0 or ends[-1] != len(data):
        ends = np.append(ends, len(data))
    begins = np.concatenate([[0], ends[:-1]])
    if len(ends) != count:
        short = np.flatnonzero(ends - begins <= _LONGEST_BLANK)
        blank = [i for i in short.tolist() if not data[begins[i] : ends[i]].strip()]
        keep = np.ones(len(ends), bool)
        keep[blank + [i for i in skipped if i < len(ends)]] = False
        begins, ends = begins[keep], ends[keep]
    if len(ends) != count:
        return unknown, unknown
    return begins + offset, ends + offset


def concerns(text: str, names: Collection[str], column: int) -> bool:
    """Whether an unreadable line may be a row of an underlying.

    Parameters
    ----------
    text : str
        The line, or the beginning of it.
    names : collection of str
        Spellings of the underlying.
    column : int
        Where its field is; -1 where only the contract tells it.
    """
    fields = [part.strip() for part in text.replace('"', "").split(",")]
    if len(fields) > column + 1 > 0:
        return fields[column] in names
    # Cut short: by its contract, as far as that goes.
    contract = fields[0].removeprefix("O:")
    return any(
        bool(contract)
        and (name.startswith(contract) or _CUT_TAIL.fullmatch(contract.removeprefix(name)))
        for name in names
        if name.startswith(contract) or contract.startswith(name)
    )


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


def index_table(blocks: Sequence[Block]) -> Index:
    """Put the index together from the blocks' places (their tables may be gone by now)."""
    names = [name for block in blocks for name in block.names]
    numbers = [block.number for block in blocks for _ in block.names]

    def column(of: Callable[[Block], Ints]) -> pa.Array:
        return pa.array(np.concatenate([np.zeros(0, np.int64), *map(of, blocks)]), pa.int64())

    table = pa.table(
        {
            "underlying": pa.array(names, pa.string()),
            "block": pa.array(numbers, pa.int64()),
            "first": column(lambda block: block.first),
            "rows": column(lambda block: block.rows),
            "start": column(lambda block: block.start),
            "stop": column(lambda block: block.stop),
        }
    )
    # A run that goes over from one block into the next is named twice, one after the other.
    order = [name for i, name in enumerate(names) if not i or names[i - 1] != name]
    grouped = all(block.grouped for block in blocks) and len(set(order)) == len(order)
    ascending = grouped and all(a.encode() < b.encode() for a, b in pairwise(order))
    return Index(table, grouped, ascending)
