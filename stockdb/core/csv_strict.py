"""CSV read strictly: fast where all is well, line by line where something is not.

The fast reader either vouches for a buffer or refuses it. A refused one is cut into pieces,
and a piece that is refused on its own is read line by line, which names the line and reason.

A record is one physical line, so a quoted field cannot hold a line break. Blank lines are
skipped. Lines end in LF or CR LF; a bare CR is an error.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal

import pyarrow as pa

from stockdb.core import cells
from stockdb.core.cells import CellError
from stockdb.core.columns import Column, HeaderError, Layout, Spec, arrange
from stockdb.core.csv_fast import read_fast
from stockdb.errors import DataError
from stockdb.types import DstPolicy

__all__ = ["BadRow", "OnBadRows", "Reading", "column_type", "read_csv"]

OnBadRows = Literal["raise", "quarantine"]

_PIECE: Final = 256 * 1024


@dataclass(frozen=True)
class BadRow:
    """A line that was left out.

    Attributes
    ----------
    line : int
        1-based physical line of the file (Parquet: row).
    reason : str
    text : str
        The line, cut to 200 characters.
    """

    line: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a read is about: the file's key, its kind, and what bad rows lead to."""

    key: str
    spec: Spec
    spellings: tuple[tuple[str, str], ...] = ()
    zone: str = "UTC"
    on_bad_rows: OnBadRows = "raise"
    dst_policy: DstPolicy = "raise"
    first_line: int = 1

    def error(self, line: int | None, reason: str, remedy: str | None = None) -> DataError:
        """Build the error for a line, 1-based within the data at hand."""
        number = None if line is None else line + self.first_line - 1
        where = self.key if number is None else f"{self.key}, line {number}"
        return DataError(f"{where}: {reason}.", remedy=remedy, key=self.key, line=number)

    def refuse(self, line: int, problem: CellError, text: str) -> BadRow:
        """Raise for a bad row, or hand it back where bad rows are left out."""
        lenient = self.dst_policy if problem.dst else self.on_bad_rows
        if lenient != "quarantine":
            raise self.error(line, problem.reason, problem.remedy)
        return BadRow(line + self.first_line - 1, problem.reason, text[:200])


# ------------------------------------------------------------------------------ header


def read_csv(data: bytes, reading: Reading) -> tuple[dict[str, pa.Array], list[BadRow]]:
    """Read a CSV file that was unpacked already.

    Parameters
    ----------
    data : bytes
    reading : Reading

    Returns
    -------
    (dict of str to Array, list of BadRow)
        Columns by our names in file order, equally long: ``day`` as date32, ``stamp`` as
        timestamp[ns] in the reading's zone, ``float`` as float64 with NaN and without nulls,
        the rest as string, a blank text being ``""``.

    Raises
    ------
    DataError
        The header is unusable; a row is bad and bad rows raise; or no row is good.
    """
    start, lines = _skip_blank_lines(data, 3 if data.startswith(b"\xef\xbb\xbf") else 0, 0)
    if start >= len(data):
        raise reading.error(1, "the file is empty", "Upload the file again: it has no header.")
    _refuse_other_formats(data[start : start + 64], lines + 1, reading)
    end = _line_end(data, start)
    header, lines = data[start:end], lines + 1
    if header[:6].lower() in (b"price,", b"ticker"):  # yfinance: fields, tickers, index name
        header, end, lines = _flatten(data, header, end, lines)
    try:
        layout = _layout(header.rstrip(b"\r"), reading.spec, reading.spellings)
    except HeaderError as problem:
        raise reading.error(lines, problem.message, problem.remedy) from None
    if any(column.kind == "probe" for column in layout.columns):
        layout = _probe(data, end + 1, layout)
    arrays, bad = _read_body(data, end + 1, lines + 1, layout, reading)
    names = [column.name for _, column in layout.kept]
    return dict(zip(names, arrays, strict=True)), bad


def _line_end(data: bytes, start: int) -> int:
    end = data.find(b"\n", start)
    return len(data) if end < 0 else end


def _skip_blank_lines(data: bytes, start: int, lines: int) -> tuple[int, int]:
    while start < len(data):
        end = _line_end(data, start)
        if data[start:end].strip():
            break
        start, lines = end + 1, lines + 1
    return start, lines


def _refuse_other_formats(head: bytes, line: int, reading: Reading) -> None:
    text = head.lstrip()
    if text.startswith(b"<"):
        raise reading.error(
            line,
            f"this is HTML or XML, not CSV ({text[:40].decode('latin-1')!r})",
            "A server or proxy stored an error page under this key: upload the file again.",
        )
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise reading.error(line, "the text is UTF-16", "Write the file as UTF-8.")
    if text.startswith(b"PAR1"):
        raise reading.error(line, "this is Parquet, not CSV", "Set format='parquet'.")


def _flatten(data: bytes, header: bytes, end: int, lines: int) -> tuple[bytes, int, int]:
    """Join the three header lines of yfinance into one; leave any other header alone."""
    second_end = _line_end(data, end + 1)
    third_end = _line_end(data, second_end + 1)
    rows = [header, data[end + 1 : second_end], data[second_end + 1 : third_end]]
    starts = [row.split(b",", 1)[0].strip().lower() for row in rows]
    if sorted(starts[:2]) != [b"price", b"ticker"] or starts[2] not in (b"date", b"datetime"):
        return header, end, lines
    fields = rows[starts.index(b"price")].split(b",", 1)
    return b",".join([starts[2], *fields[1:]]), third_end, lines + 2


@lru_cache(maxsize=64)
def _layout(header: bytes, spec: Spec, spellings: tuple[tuple[str, str], ...]) -> Layout:
    if b"\0" in header or b"\r" in header:
        what = "a NUL byte" if b"\0" in header else "a bare carriage return"
        raise HeaderError(f"{what} in the header", "Write text lines that end in LF or CR LF.")
    try:
        names = _split(header.decode("utf-8"))
    except UnicodeDecodeError:
        raise HeaderError("the header is not UTF-8", "Write the file as UTF-8.") from None
    except CellError as problem:
        raise HeaderError(f"header: {problem.reason}", "Correct the header line.") from None
    return arrange(names, spec, spellings)


def _probe(data: bytes, start: int, layout: Layout) -> Layout:
    """Keep unknown columns of numbers, and leave out those that begin with text only.

    A column is text if its first eight values are; a single odd value is a defect to report.
    """
    seen: dict[int, list[bool]] = {
        i: [] for i, column in enumerate(layout.columns) if column.kind == "probe"
    }
    for number, (_, line) in enumerate(_physical_lines(data, start, 1)):
        if number >= 1000 or all(len(flags) >= 8 for flags in seen.values()):
            break
        fields = line.decode("utf-8", "replace").replace('"', "").split(",")
        for i, flags in seen.items():
            if i < len(fields) and fields[i].strip() not in cells.BLANK:
                flags.append(cells.is_number(fields[i]))
    return _decide(layout, tuple(i for i, flags in seen.items() if flags and not any(flags)))


@lru_cache(maxsize=64)
def _decide(layout: Layout, texts: tuple[int, ...]) -> Layout:
    return Layout(
        tuple(
            replace(column, kind="skip" if i in texts else "float")
            if column.kind == "probe"
            else column
            for i, column in enumerate(layout.columns)
        )
    )


# ------------------------------------------------------------------------------ pieces


def _read_body(
    data: bytes, start: int, first: int, layout: Layout, reading: Reading
) -> tuple[list[pa.Array], list[BadRow]]:
    if next(_physical_lines(data, start, first), None) is None:
        return [pa.array([], column_type(c, reading)) for _, c in layout.kept], []
    zone = reading.zone, reading.dst_policy
    # Checking quotes takes memory in proportion, so a large quoted file goes by pieces.
    if len(data) < 16 * _PIECE or b'"' not in data:
        whole = read_fast(data, start, layout, *zone)
        if whole is not None:
            return whole, []
    pieces: list[list[pa.Array]] = []
    bad: list[BadRow] = []
    for line, piece in _cut(data, start, first):
        read = read_fast(piece, 0, layout, *zone) if len(data) > _PIECE else None
        pieces.append(_read_lines(piece, line, layout, reading, bad) if read is None else read)
    arrays = [pa.concat_arrays(list(parts)) for parts in zip(*pieces, strict=True)]
    if bad and not len(arrays[0]):  # failure never looks like empty data
        raise reading.error(
            bad[0].line - reading.first_line + 1,
            f"none of the {len(bad)} rows can be read; the first: {bad[0].reason}",
            "Correct the file.",
        )
    return arrays, bad


def _cut(data: bytes, start: int, first: int) -> Iterator[tuple[int, bytes]]:
    while start < len(data):
        end = _line_end(data, min(start + _PIECE, len(data))) + 1
        piece = data[start:end]
        if piece.strip():
            yield first, piece
        first, start = first + piece.count(b"\n"), end


def _physical_lines(data: bytes, start: int, first: int) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, without their ends, numbered."""
    while start < len(data):
        end = _line_end(data, start)
        line = data[start:end].removesuffix(b"\r")
        if line.strip():
            yield first, line
        first, start = first + 1, end + 1


# ------------------------------------------------------------------------------ slow


def _read_lines(
    body: bytes, first: int, layout: Layout, reading: Reading, bad: list[BadRow]
) -> list[pa.Array]:
    """Read line by line; bad lines raise or are added to ``bad``."""
    kept = layout.kept
    rows: list[list[Any]] = []
    for number, line in _physical_lines(body, 0, first):
        try:
            fields = _split_line(line, len(layout.columns))
            rows.append([_read_cell(fields[i], column, reading) for i, column in kept])
        except CellError as problem:
            text = line[:800].decode("utf-8", "backslashreplace")
            bad.append(reading.refuse(number, problem, text))
    columns: list[tuple[Any, ...]] = list(zip(*rows, strict=True)) or [()] * len(kept)
    return [
        _build(values, column_type(column, reading))
        for values, (_, column) in zip(columns, kept, strict=True)
    ]


def _split_line(line: bytes, width: int) -> list[str]:
    if b"\0" in line:
        raise CellError("a NUL byte in the line")
    try:
        fields = _split(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise CellError(
            f"the line is not UTF-8 (byte {error.start + 1})", "Write the file as UTF-8."
        ) from None
    if len(fields) != width:
        size = "short" if len(fields) < width else "long"
        raise CellError(f"the row is too {size}: {len(fields)} fields instead of {width}")
    return fields


def _split(line: str) -> list[str]:
    """Fields of one record, which is one physical line."""
    if "\r" in line:
        raise CellError("a bare carriage return", "End lines in LF or CR LF.")
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        unclosed = "unexpected end of data" in str(error)
        raise CellError(
            "a quote is never closed" if unclosed else f"a stray quote ({error})"
        ) from None


def _read_cell(text: str, column: Column, reading: Reading) -> Any:
    label = column.label or column.name
    kind = column.kind
    if kind == "float":
        return cells.read_number(text, label, column.blank)
    if kind == "day":
        return cells.read_day(text, label)
    if kind == "stamp":
        return cells.read_stamp(text, label, reading.zone, reading.dst_policy)
    if kind == "type":
        return cells.call_or_put(text, label)
    if kind == "contract" and not column.blank:
        return cells.read_contract(text, label)
    if not text and not column.blank:
        raise CellError(f"{label} is blank")
    return text


def column_type(column: Column, reading: Reading) -> pa.DataType:
    """Arrow type that a column is read as."""
    if column.kind == "float":
        return pa.float64()
    if column.kind == "day":
        return pa.date32()
    return pa.timestamp("ns", reading.zone) if column.kind == "stamp" else pa.string()


def _build(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    if pa.types.is_date32(kind):
        return pa.array(values, pa.int32()).view(kind)
    return (
        pa.array(values, pa.int64()).view(kind)
        if pa.types.is_timestamp(kind)
        else pa.array(values, kind)
    )
