"""Bytes of one object -> Arrow table with an explicit schema. Pure: no I/O, no clock.

Three entry points, by what the object holds: :func:`parse_bars`, :func:`parse_options` and
:func:`parse_reference`. CSV, gzipped CSV and Parquet lead to the same columns; what is wrong
with a file is a :class:`~stockdb.errors.DataError` with ``key`` and ``line``, or a
:class:`BadRow` where bad rows are to be left out.
"""

from __future__ import annotations

import datetime as dt
import zlib
import zoneinfo
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import pyarrow as pa

from stockdb.core import cells, columns
from stockdb.core.columns import Spec
from stockdb.core.csv_strict import BadRow, OnBadRows, Reading, read_csv
from stockdb.core.parquet_strict import read_parquet
from stockdb.errors import ArchiveError, ConfigurationError, DataError
from stockdb.settings import Dataset
from stockdb.types import INTERVALS, parse_interval

__all__ = [
    "OPTION_COLUMNS",
    "BadRow",
    "OnBadRows",
    "Parsed",
    "parse_bars",
    "parse_options",
    "parse_reference",
]

#: Columns of :func:`parse_options`, in order.
OPTION_COLUMNS: Final = tuple(known.name for known in columns.OPTIONS.known)

_REFERENCE: Final = {
    "splits": columns.SPLITS,
    "dividends": columns.DIVIDENDS,
    "treasury": columns.TREASURY,
}
_GZIP: Final = b"\x1f\x8b\x08"
_MAX_UNPACKED: Final = 4 * 1024**3
_MAX_RATIO: Final = 200  # day files unpack to 4-10 times their size
_ALWAYS_ALLOWED: Final = 16 * 1024**2  # whatever the ratio


@dataclass(frozen=True)
class Parsed:
    """A table and what was left out of it.

    Attributes
    ----------
    table : pyarrow.Table
        One contiguous chunk a column; float columns have NaN and no nulls.
    bad_rows : tuple of BadRow
        In file order; empty unless bad rows are quarantined.
    """

    table: pa.Table
    bad_rows: tuple[BadRow, ...] = ()


def parse_bars(
    data: bytes | memoryview,
    dataset: Dataset,
    *,
    key: str,
    on_bad_rows: OnBadRows = "raise",
    date: dt.date | None = None,
) -> Parsed:
    """Read bars: one symbol over time, or (``kind='day_bars'``) all symbols of one day.

    Parameters
    ----------
    data : bytes or memoryview
        The whole object: CSV, gzipped CSV or Parquet.
    dataset : Dataset
        Says format, interval, zone, extra spellings of column names, and ``dst_policy``: what
        an intraday stamp without an offset means that the zone's clocks showed twice or never,
        see :func:`stockdb.core.cells.localize`. ``on_bad_rows`` does not cover these: such a
        row is well-formed.
    key : str
        Where the data came from: its ending decides the format, errors name it.
    on_bad_rows : {'raise', 'quarantine'}
        Whether a row that cannot be read raises, or is left out and reported. A file without
        one good row raises either way.
    date : datetime.date, optional
        Date of all rows, for a file without a date column.

    Returns
    -------
    Parsed
        ``date`` (timestamp[ns], naive midnight; intraday timestamp[ns, zone of the dataset]),
        then as far as the file has them ``open high low close volume adj_close dividends
        stock_splits`` (float64), ``symbol`` (string), and other numeric columns in lower
        snake case. Blank numbers are NaN. Rows are stably sorted by date, those of
        ``day_bars`` are in file order; duplicates are kept.

        A daily row is dated by the date as written, whatever time or offset stands behind it;
        where most dates have several times of day, the file is refused.

    Raises
    ------
    DataError
        The content is not what the dataset says; ``line`` is the 1-based line of the
        (unpacked) file, ``key`` the object.
    ArchiveError
        The gzip stream is damaged or unpacks to an absurd size.
    ConfigurationError
        The dataset's time zone does not exist.
    """
    intraday = dataset.interval is not None and parse_interval(dataset.interval).intraday
    if dataset.kind == "day_bars":
        spec = columns.DAY_BARS
    elif intraday:
        spec = columns.INTRADAY_BARS
    else:
        spec = columns.BARS if date is None else columns.BARS_UNDATED
    spellings, zone = tuple(dataset.columns.items()), _zone(dataset.timezone)
    reading = Reading(key, spec, spellings, zone, on_bad_rows, dataset.dst_policy)
    arrays, bad = _read(data, dataset.format, reading)
    if "date" not in arrays:
        arrays["date"] = _constant_date(date, arrays, reading)
    if pa.types.is_date32(arrays["date"].type):
        arrays["date"] = arrays["date"].cast(cells.NS)
    table = _assemble(arrays, spec)
    if dataset.kind == "day_bars":
        return Parsed(table, tuple(bad))
    table = _sorted(table)
    if spec is columns.BARS:
        _refuse_intraday(table, data, dataset, reading)
    return Parsed(table, tuple(bad))


def _refuse_intraday(
    table: pa.Table, data: bytes | memoryview, dataset: Dataset, reading: Reading
) -> None:
    """Refuse a file of intraday bars where daily ones are declared: of each day one would stay."""
    if not _several_a_day(table):
        return
    # The times of day were not read: a file that repeats its rows has none.
    spec = columns.INTRADAY_BARS
    anew = replace(reading, spec=spec, dst_policy="earlier", on_bad_rows="quarantine")
    stamps = _read(data, dataset.format, anew)[0]["date"].cast(cells.NS).to_numpy()
    stamps = np.unique(stamps)
    if not _several_a_day(pa.table({"date": stamps})):
        return
    minutes = int(np.median(np.diff(stamps)) / np.timedelta64(1, "m"))
    named = [one.name for one in INTERVALS.values() if one.minutes == minutes > 0]
    raise DataError(
        f"{reading.key}: declared {dataset.interval or 'daily'}, and holds several times of day on "
        f"most dates: these are intraday bars.",
        remedy=f"Declare interval={(named or ['1m'])[0]!r} for its dataset in DATASETS of "
        "minio_config.py; daily bars are made of them.",
        key=reading.key,
    )


def _several_a_day(table: pa.Table) -> bool:
    """Whether most dates stand in more than one row."""
    days = table["date"].to_numpy().astype("datetime64[D]")
    if len(days) < 2 or not (days[1:] == days[:-1]).any():
        return False
    counts = np.unique(days, return_counts=True)[1]
    return bool((counts > 1).mean() > 0.5)


def parse_options(
    data: bytes | memoryview,
    dataset: Dataset,
    *,
    key: str,
    on_bad_rows: OnBadRows = "raise",
    date: dt.date | None = None,
    first_line: int = 1,
) -> Parsed:
    """Read option chains of one day: a whole file, or its header and a fragment of its lines.

    Parameters
    ----------
    data : bytes or memoryview
        CSV, gzipped CSV or Parquet; or the header line of a CSV file followed by whole
        lines out of it.
    dataset : Dataset
        Says format and extra spellings of column names.
    key : str
        Where the data came from: its ending decides the format, errors name it.
    on_bad_rows : {'raise', 'quarantine'}
        As for :func:`parse_bars`.
    date : datetime.date, optional
        ``quote_date`` of all rows, for a file without that column.
    first_line : int
        Number that the first line of ``data`` counts as in errors. For a header followed by
        lines of the file from number n on, give n - 1.

    Returns
    -------
    Parsed
        The columns :data:`OPTION_COLUMNS` in the order of the file's rows: ``contract
        underlying type style`` string (``type`` is ``call`` or ``put``), ``expiration
        quote_date`` date32, the others float64. A blank number is NaN, which a 0 is not. The
        vendor's Greeks are called ``vendor_delta`` and so on.

        A column that the file lacks is NaN or null. Where ``underlying``, ``expiration``,
        ``type`` or ``strike`` is missing, it comes from the contract.

    Raises
    ------
    DataError
        The content is not an option chain; ``line`` and ``key`` say where.
    ArchiveError
        The gzip stream is damaged or unpacks to an absurd size.
    """
    spec = columns.OPTIONS
    reading = Reading(
        key,
        spec,
        tuple(dataset.columns.items()),
        on_bad_rows=on_bad_rows,
        first_line=first_line,
    )
    arrays, bad = _read(data, dataset.format, reading)
    count = len(next(iter(arrays.values())))
    if not arrays.keys() >= set(columns.FROM_CONTRACT):
        arrays = cells.contract_parts(arrays["contract"]) | arrays
    if "quote_date" not in arrays:
        arrays["quote_date"] = _constant_date(date, arrays, reading)
    for known in spec.known:
        if known.name not in arrays:
            arrays[known.name] = (
                pa.array(np.full(count, np.nan))
                if known.kind == "float"
                else pa.nulls(count, pa.string())
            )
    return Parsed(_assemble(arrays, spec), tuple(bad))


def parse_reference(
    data: bytes | memoryview,
    *,
    key: str,
    kind: Literal["splits", "dividends", "treasury"],
    on_bad_rows: OnBadRows = "raise",
) -> Parsed:
    """Read a reference table; the ending of the key decides the format.

    Parameters
    ----------
    data : bytes or memoryview
    key : str
    kind : {'splits', 'dividends', 'treasury'}
    on_bad_rows : {'raise', 'quarantine'}

    Returns
    -------
    Parsed
        Splits and dividends: ``symbol`` (string), ``ex_date`` (timestamp[ns]) and ``ratio``
        or ``amount`` (float64, never NaN), in file order. Treasury: ``date`` (timestamp[ns],
        sorted), then the tenors in the units of the file under their names in lower case;
        blank is NaN.

    Raises
    ------
    DataError, ArchiveError
        As for :func:`parse_bars`.
    """
    spec = _REFERENCE[kind]
    arrays, bad = _read(data, "auto", Reading(key, spec, on_bad_rows=on_bad_rows))
    name = "date" if kind == "treasury" else "ex_date"
    arrays[name] = arrays[name].cast(cells.NS)
    table = _assemble(arrays, spec)
    return Parsed(_sorted(table) if kind == "treasury" else table, tuple(bad))


def _read(
    data: bytes | memoryview, form: str, reading: Reading
) -> tuple[dict[str, pa.Array], list[BadRow]]:
    plain = _unpack(_as_bytes(data), reading.key)
    name = reading.key.lower().removesuffix(".gz")
    if form == "auto":
        # An ending that says nothing leaves it to the content.
        silent = not name.endswith((".csv", ".txt"))
        declared = name.endswith((".parquet", ".pq"))
        form = "parquet" if declared or (silent and plain[:4] == b"PAR1") else "csv"
    return read_parquet(plain, reading) if form == "parquet" else read_csv(plain, reading)


def _as_bytes(data: bytes | memoryview) -> bytes:
    if isinstance(data, bytes):
        return data
    held = data.obj  # a view of whole bytes needs no copy
    whole = isinstance(held, bytes) and data.contiguous and data.nbytes == len(held)
    return held if isinstance(held, bytes) and whole else bytes(data)


def _unpack(data: bytes, key: str) -> bytes:
    """Unpack gzip, which its magic number tells and not the key; leave the rest alone."""
    if not data.startswith(_GZIP):
        return data
    limit = min(_MAX_UNPACKED, max(_ALWAYS_ALLOWED, _MAX_RATIO * len(data)))
    parts: list[bytes] = []
    size, rest = 0, data
    while rest:  # a file may be several streams in a row, padded with zeros
        stream = zlib.decompressobj(wbits=31)
        try:
            parts.append(stream.decompress(rest, limit - size + 1))
        except zlib.error as error:
            raise _damaged(key, str(error)) from None
        size += len(parts[-1])
        if size > limit:
            raise ArchiveError(
                f"{key}: {len(data):,} bytes of gzip unpack to more than {limit:,}.",
                remedy="Nobody's prices compress so well: check who wrote this object.",
                key=key,
            )
        if not stream.eof:
            raise _damaged(key, "it ends in the middle")
        rest = stream.unused_data.lstrip(b"\0")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _damaged(key: str, reason: str) -> ArchiveError:
    return ArchiveError(
        f"{key}: the gzip stream is damaged ({reason}).",
        remedy="Upload the file again; nothing of it was used.",
        key=key,
    )


@lru_cache(maxsize=32)
def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError(
            f"Unknown time zone {name!r}.",
            remedy="Give the dataset an IANA name such as 'America/New_York'.",
            timezone=name,
        ) from None
    return name


def _constant_date(date: dt.date | None, arrays: dict[str, pa.Array], reading: Reading) -> pa.Array:
    if date is None:
        raise DataError(
            f"{reading.key}: {reading.spec.what} without a date column; found {', '.join(arrays)}.",
            remedy="Put {YYYY-MM-DD} into the dataset's key, or give the date.",
            key=reading.key,
        )
    days = np.full(len(next(iter(arrays.values()))), np.datetime64(date, "D"))
    return pa.array(days)


def _assemble(arrays: dict[str, pa.Array], spec: Spec) -> pa.Table:
    """Put the known columns first, in our order, and the others behind in theirs."""
    ours = [known.name for known in spec.known if known.name in arrays]
    names = ours + [name for name in arrays if name not in set(ours)]
    return pa.table([arrays[name] for name in names], names=names)


def _sorted(table: pa.Table) -> pa.Table:
    dates = table.column("date").chunk(0).view(pa.int64()).to_numpy()
    if (dates[1:] >= dates[:-1]).all():
        return table
    return table.take(pa.array(np.argsort(dates, kind="stable")))
