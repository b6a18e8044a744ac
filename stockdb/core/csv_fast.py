"""CSV through pyarrow, whose result counts only when cheap checks of the buffer agree with it.

pyarrow's reader lets defects through in silence: an unclosed quote merges rows, infinities
pass, one odd byte turns a column into another type. Here every column has its type, every
physical line must be a record, and whatever looks odd makes the answer None: the caller
then reads line by line to find the line and the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from stockdb.core import cells
from stockdb.core.cells import CellError
from stockdb.core.columns import Column, Layout
from stockdb.types import DstPolicy

__all__ = ["read_fast"]

Zone = tuple[str, DstPolicy]


def read_fast(
    data: bytes, start: int, layout: Layout, zone: str, policy: DstPolicy
) -> list[pa.Array] | None:
    """Read the lines of ``data`` from ``start`` on, or return None where anything looks odd."""
    if b"\0" in data or not _is_utf8(data):
        return None
    if b"\r" in data and data.count(b"\r") != data.count(b"\r\n"):
        return None
    if len(layout.columns) < 2:  # a line of blanks would pass for a record
        return None
    quoted = b'"' in data
    if quoted and not _quotes_are_plain(data):
        return None
    sample = next((line for line in data[start : start + 4096].splitlines() if line.strip()), b"")
    fields = sample.replace(b'"', b"").decode("utf-8", "replace").split(",")
    shapes = tuple(
        cells.date_shape(fields[i] if i < len(fields) else "")
        for i, column in layout.kept
        if column.kind in {"day", "stamp"}
    )
    convert, parse, names = _options(layout, shapes, quoted)
    try:
        # With pyarrow's own threads, also for a small file: without them its reader still
        # hands over to another thread, and waits longer for it on a busy machine.
        table = pacsv.read_csv(
            pa.BufferReader(pa.py_buffer(data).slice(start)),
            read_options=pacsv.ReadOptions(column_names=names),
            parse_options=parse,
            convert_options=convert,
        )
        if not _same_count(table.num_rows, data, start):
            return None
        dates = iter(shapes)
        arrays = []
        for (_, column), chunked in zip(layout.kept, table.itercolumns(), strict=True):
            shape = next(dates) if column.kind in {"day", "stamp"} else ""
            arrays.append(_FAST[column.kind](_one(chunked), column, shape, (zone, policy)))
    except (pa.ArrowInvalid, CellError):
        return None
    return arrays


@lru_cache(maxsize=64)
def _options(
    layout: Layout, shapes: tuple[str, ...], quoted: bool
) -> tuple[pacsv.ConvertOptions, pacsv.ParseOptions, list[str]]:
    dates = iter(shapes)
    types: dict[str, pa.DataType] = {}
    for i, column in layout.kept:
        kind, name = column.kind, str(i)
        if kind == "float":
            types[name] = pa.float64()
        elif kind == "type":
            types[name] = pa.dictionary(pa.int32(), pa.string())
        elif kind in {"day", "stamp"}:
            types[name] = _SHAPES[kind, next(dates)]
        else:
            types[name] = pa.string()
    convert = pacsv.ConvertOptions(
        check_utf8=False,  # the whole buffer was checked
        column_types=types,
        include_columns=list(types),
        null_values=sorted(cells.BLANK),
        strings_can_be_null=False,
        quoted_strings_can_be_null=True,
    )
    parse = pacsv.ParseOptions(quote_char='"' if quoted else False)
    return convert, parse, [str(i) for i in range(len(layout.columns))]


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _same_count(records: int, data: bytes, start: int) -> bool:
    """Whether every physical line that is not blank became one record."""
    step = 1 << 15  # comparing makes a copy: one that stays in the processor's cache
    view = np.frombuffer(data, np.uint8, offset=start)
    ends = sum(int(np.count_nonzero(view[i : i + step] == 10)) for i in range(0, len(view), step))
    lines = ends + (not data.endswith(b"\n"))
    if lines != records and len(view) < 1 << 20:  # looking for blank lines is not cheap
        lines -= sum(not line.strip() for line in data[start:].splitlines())
    return lines == records


def _quotes_are_plain(data: bytes) -> bool:
    """Whether every quote opens or closes a whole field within its line."""
    view = np.frombuffer(data, np.uint8)
    at = np.flatnonzero(view == ord('"'))
    if len(at) % 2:
        return False
    opens, closes = at[::2], at[1::2]
    before = view[opens - 1]
    before[opens == 0] = 10
    after = view[np.minimum(closes + 1, len(view) - 1)]
    after[closes + 1 == len(view)] = 10
    ends = np.flatnonzero(view == 10)
    return bool(
        np.isin(before, (10, 44)).all()
        and np.isin(after, (10, 13, 44)).all()
        and (np.searchsorted(ends, opens) == np.searchsorted(ends, closes)).all()
    )


def _one(chunked: pa.ChunkedArray) -> pa.Array:
    return chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()


#: Kind of column and shape of its first date -> type that pyarrow reads.
_SHAPES: Final = {
    ("day", "iso"): pa.date32(),
    ("day", "basic"): pa.string(),
    ("day", "naive"): cells.NS,
    ("day", "aware"): pa.string(),
    ("stamp", "iso"): cells.NS,
    ("stamp", "basic"): pa.string(),
    ("stamp", "naive"): cells.NS,
    ("stamp", "aware"): cells.UTC,
}


def _fast_day(array: pa.Array, _column: Column, shape: str, _zone: Zone) -> pa.Array:
    if shape == "aware":  # the date as written: shifting to UTC could name another session
        array.cast(cells.UTC)
        array = pc.utf8_slice_codeunits(array, 0, 10)
    elif shape == "basic":
        array = cells.basic_to_iso(array)
    return cells.check_day_range(array if shape == "iso" else array.cast(pa.date32()))


def _fast_stamp(array: pa.Array, _column: Column, shape: str, zone: Zone) -> pa.Array:
    if shape == "basic":
        array = cells.basic_to_iso(array).cast(cells.NS)
    array = cells.check_stamp_range(array)
    return (
        array.cast(pa.timestamp("ns", zone[0]))
        if shape == "aware"
        else cells.localize(array, *zone)
    )


def _fast_float(array: pa.Array, column: Column, _shape: str, _zone: Zone) -> pa.Array:
    if array.null_count:
        if not column.blank or not pc.all(pc.is_finite(array), min_count=0).as_py():
            raise CellError("blank or not finite")
        return array.fill_null(math.nan)
    if not np.isfinite(array.to_numpy()).all():
        raise CellError("not finite")
    return array


def _fast_text(array: pa.Array, column: Column, _shape: str, _zone: Zone) -> pa.Array:
    if not column.blank and pc.any(pc.equal(array, "")).as_py():
        raise CellError("blank")
    return array


def _fast_contract(array: pa.Array, column: Column, _shape: str, _zone: Zone) -> pa.Array:
    if not column.blank:  # other columns are to be taken from it: see whether they can be
        cells.check_day_range(cells.contract_parts(array)["expiration"])
    return array


def _fast_type(array: pa.Array, _column: Column, _shape: str, _zone: Zone) -> pa.Array:
    words = [cells.call_or_put(word) for word in array.dictionary.to_pylist()]
    plain = pa.array(words, pa.string())
    return pa.DictionaryArray.from_arrays(array.indices, plain).dictionary_decode()


_FAST: Final[dict[str, Callable[[pa.Array, Column, str, Zone], pa.Array]]] = {
    "day": _fast_day,
    "stamp": _fast_stamp,
    "float": _fast_float,
    "text": _fast_text,
    "contract": _fast_contract,
    "type": _fast_type,
}
