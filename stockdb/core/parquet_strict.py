"""Parquet under the same rules as CSV: the same columns, kinds and refusals.

``line`` of an error or a bad row is the 1-based row. Types are not guessed: a price column
of strings is an error, although its texts may be numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stockdb.core import cells
from stockdb.core.cells import CellError
from stockdb.core.columns import Column, HeaderError, arrange
from stockdb.core.csv_strict import BadRow, Reading

__all__ = ["read_parquet"]

Problems = dict[int, CellError]


def read_parquet(data: bytes, reading: Reading) -> tuple[dict[str, pa.Array], list[BadRow]]:
    """Read a Parquet file; results and errors as for :func:`csv_strict.read_csv`."""
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        schema = file.schema_arrow
        layout = arrange(schema.names, reading.spec, reading.spellings)
        kept = [
            column if column.kind != "probe" else replace(column, kind="float")
            for column, field in zip(layout.columns, schema, strict=True)
            if column.kind != "skip" and (column.kind != "probe" or _is_numeric(field.type))
        ]
        names = [
            field.name
            for column, field in zip(layout.columns, schema, strict=True)
            if column.kind != "skip" and (column.kind != "probe" or _is_numeric(field.type))
        ]
        table = file.read(columns=names)
    except HeaderError as problem:
        raise reading.error(None, problem.message, problem.remedy) from None
    except (pa.ArrowException, OSError) as problem:
        raise reading.error(
            None, f"not a readable Parquet file ({problem})", "Upload the file again."
        ) from None
    problems: Problems = {}
    arrays = {}
    for column, name in zip(kept, names, strict=True):
        values = table.column(name).combine_chunks()
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        try:
            arrays[column.name] = _READ[column.kind](values, column, reading, problems)
        except (CellError, pa.ArrowInvalid) as problem:
            raise reading.error(
                None,
                f"column {name!r} of type {values.type} cannot be read: {problem}",
                "Write prices and sizes as numbers, dates as dates, and names as strings.",
            ) from None
    return _leave_out(arrays, problems, table, reading)


def _leave_out(
    arrays: dict[str, pa.Array], problems: Problems, table: pa.Table, reading: Reading
) -> tuple[dict[str, pa.Array], list[BadRow]]:
    if not problems:
        return arrays, []
    bad = [
        reading.refuse(row + 1, problems[row], str(table.slice(row, 1).to_pylist()[0]))
        for row in sorted(problems)
    ]
    if len(bad) == table.num_rows:  # failure never looks like empty data
        raise reading.error(
            1, f"none of the {len(bad)} rows can be read; the first: {bad[0].reason}"
        )
    mask = np.ones(table.num_rows, bool)
    mask[list(problems)] = False
    return {name: array.filter(pa.array(mask)) for name, array in arrays.items()}, bad


def _is_numeric(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _floats(values: pa.Array, column: Column, _reading: Reading, problems: Problems) -> pa.Array:
    if not (_is_numeric(values.type) or pa.types.is_null(values.type)):
        raise CellError("not numbers")
    array = values.cast(pa.float64(), safe=False).fill_null(math.nan)
    numbers = array.to_numpy()
    for row in np.flatnonzero(np.isinf(numbers)):
        problems.setdefault(int(row), CellError(f"{column.label} is infinite"))
    if not column.blank:
        for row in np.flatnonzero(np.isnan(numbers)):
            problems.setdefault(int(row), CellError(f"{column.label} is blank"))
    return array


def _each(
    values: pa.Array, read: Callable[[str], Any], problems: Problems, default: Any
) -> list[Any]:
    """Read one value after the other, with a default for those that cannot be."""
    done = []
    for row, value in enumerate(values.to_pylist()):
        try:
            done.append(read("" if value is None else str(value)))
        except CellError as problem:
            problems.setdefault(row, problem)
            done.append(default)
    return done


def _days(values: pa.Array, column: Column, _reading: Reading, problems: Problems) -> pa.Array:
    if pa.types.is_timestamp(values.type) and values.type.tz is not None:
        values = pc.local_timestamp(values)  # the date as written, in the zone of the file
    if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        values = values.cast(pa.date32(), safe=False)
        try:
            return cells.check_day_range(values)
        except CellError:
            pass  # find the rows below
    elif not (_is_text(values.type) or pa.types.is_integer(values.type)):
        raise CellError("not dates")
    days = _each(values, lambda text: cells.read_day(text, column.label), problems, 0)
    return pa.array(days, pa.int32()).view(pa.date32())


def _stamps(values: pa.Array, column: Column, reading: Reading, problems: Problems) -> pa.Array:
    zone, policy = reading.zone, reading.dst_policy
    if pa.types.is_date(values.type):
        values = values.cast(pa.date32()).cast(cells.NS)
    if pa.types.is_timestamp(values.type):
        for row in np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False)):
            problems.setdefault(int(row), CellError(f"{column.label} is blank"))
        if values.type.tz is not None:
            return values.cast(pa.timestamp("ns", zone)).fill_null(0)
        naive = values.cast(cells.NS).fill_null(0)
        try:
            return cells.localize(naive, zone, policy)
        except pa.ArrowInvalid:
            read = _localizer(column, reading)
            stamps = _each(naive.view(pa.int64()), read, problems, 0)
    elif _is_text(values.type):

        def read_text(text: str) -> int:
            return cells.read_stamp(text, column.label, zone, policy)

        stamps = _each(values, read_text, problems, 0)
    else:
        raise CellError("not dates")
    return pa.array(stamps, pa.int64()).view(pa.timestamp("ns", zone))


def _localizer(column: Column, reading: Reading) -> Callable[[str], int]:
    def read(wall: str) -> int:
        what = f"{column.label} {np.datetime64(int(wall), 'ns')}"
        return cells.localize_one(int(wall), reading.zone, reading.dst_policy, what)

    return read


def _texts(values: pa.Array, column: Column, _reading: Reading, problems: Problems) -> pa.Array:
    if not (_is_text(values.type) or pa.types.is_null(values.type)):
        raise CellError("not strings")
    array = values.cast(pa.string()).fill_null("")
    if not column.blank:
        for row in np.flatnonzero(pc.equal(array, "").to_numpy(zero_copy_only=False)):
            problems.setdefault(int(row), CellError(f"{column.label} is blank"))
    return array


def _contracts(values: pa.Array, column: Column, reading: Reading, problems: Problems) -> pa.Array:
    if column.blank:
        return _texts(values, column, reading, problems)
    texts = _texts(values, replace(column, blank=True), reading, problems)
    read = _each(texts, lambda text: cells.read_contract(text, column.label), problems, "")
    return pa.array(read, pa.string())


def _types(values: pa.Array, column: Column, reading: Reading, problems: Problems) -> pa.Array:
    texts = _texts(values, replace(column, blank=True), reading, problems)
    read = _each(texts, lambda text: cells.call_or_put(text, column.label), problems, "call")
    return pa.array(read, pa.string())


_READ: Final[dict[str, Callable[[pa.Array, Column, Reading, Problems], pa.Array]]] = {
    "float": _floats,
    "day": _days,
    "stamp": _stamps,
    "text": _texts,
    "contract": _contracts,
    "type": _types,
}
