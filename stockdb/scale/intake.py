"""A user's file on its way into the bucket: where it belongs, whether it is fit, its bytes there.

Pure: no I/O. What the reader could not read afterwards is refused here.
"""

from __future__ import annotations

import datetime as dt
import gzip
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from stockdb.core.catalog import spellings, template
from stockdb.core.parse import parse_bars, parse_options, parse_reference
from stockdb.core.report import Finding, ValidationReport
from stockdb.core.validation import validate_arrays
from stockdb.errors import ConfigurationError, DataError, ValidationError
from stockdb.scale.doubts import doubts
from stockdb.settings import Dataset, Settings
from stockdb.types import parse_interval, parse_symbol

__all__ = ["ENDINGS", "Fit", "Target", "dated", "findings_of", "fit", "target"]

#: What a file may end with, before an optional ``.gz``.
ENDINGS: Final = (".csv", ".txt", ".parquet", ".pq")
_KINDS: Final = ("reference", "options", "day_bars", "bars")
#: Kinds with a file a day.
_DATED: Final = ("options", "day_bars")
_TABLES: Final = ("splits", "dividends", "treasury")
_PARQUET: Final = (".parquet", ".pq")
_GZIP: Final = b"\x1f\x8b"


@dataclass(frozen=True)
class Target:
    """Where a file belongs.

    Attributes
    ----------
    name : str
        Of the dataset.
    dataset : Dataset
    symbol : str or None
    date : datetime.date or None
        None where only the content can tell.
    """

    name: str
    dataset: Dataset
    symbol: str | None = None
    date: dt.date | None = None

    @property
    def undated(self) -> bool:
        """Whether only the content can tell the date."""
        return self.date is None and self.dataset.kind in _DATED

    @property
    def what(self) -> str:
        """What the file is, however its name is spelt; no other file may be the same."""
        symbol = min(spellings(self.symbol)) if self.symbol else ""
        return f"{symbol or self.date or 'all'} of the dataset {self.name!r}"


@dataclass(frozen=True)
class Fit:
    """A file that may go into the bucket.

    Attributes
    ----------
    key : str
    data : bytes
        The file's own where the layout allows it, else the same rows written anew.
    rows : int
    warnings : int
        Findings of validation that do not keep it out.
    findings : str
        Which, and of which rows.
    """

    key: str
    data: bytes
    rows: int
    warnings: int
    findings: str = ""


def target(
    settings: Settings,
    path: PurePath,
    *,
    dataset: str | None = None,
    symbol: str | None = None,
    date: dt.date | None = None,
) -> Target:
    """Find the dataset, symbol and date of a file by its name.

    Parameters
    ----------
    settings : Settings
    path : pathlib.PurePath
        Relative to the folder that is taken in.
    dataset, symbol, date : optional
        What the caller says; the rest is taken from the name.

    Raises
    ------
    DataError
        The name fits no dataset, or several.
    ConfigurationError
        No such dataset, or one that nothing is written into.
    """
    writable = {
        name: known
        for name, known in settings.datasets.items()
        if known.kind in _KINDS
        and known.duplicate_of is None
        and (known.kind != "reference" or name in _TABLES)
    }
    if dataset is not None:
        if dataset not in writable:
            raise ConfigurationError(
                f"Nothing can be written into {dataset!r}.",
                remedy=f"Use one of: {', '.join(writable)}.",
            )
        writable = {dataset: writable[dataset]}
    found: list[Target] = []
    for kind in _KINDS:  # a symbol's pattern would take any name: it comes last
        found = [
            match
            for name, known in writable.items()
            if known.kind == kind and (match := _match(name, known, path)) is not None
        ]
        if found:
            break
    inside = [match for match in found if template(match.dataset).pattern.fullmatch(str(path))]
    found = inside or found
    if not found and dataset is not None:  # its name tells nothing; the caller or the content may
        found = [Target(dataset, writable[dataset])]
    if len(found) != 1:
        which = " and ".join(repr(match.name) for match in found) or "no dataset"
        raise DataError(
            f"The name {path.name!r} fits {which}.",
            remedy="Say which dataset it belongs to: dataset= (--dataset).",
        )
    match = found[0]
    if symbol is None and match.symbol is None and match.dataset.kind == "bars":
        symbol = _stem(path.name)
    return Target(
        match.name,
        match.dataset,
        parse_symbol(symbol) if symbol is not None else match.symbol,
        date or match.date,
    )


def fit(
    data: bytes,
    path: PurePath,
    found: Target,
    settings: Settings,
    spelt: Mapping[str, str],
    now: pd.Timestamp,
    *,
    accept_findings: bool = False,
) -> Fit:
    """Hold a file against everything that a read of it would, and give its key and bytes.

    Parameters
    ----------
    data : bytes
        Of the whole file.
    path : pathlib.PurePath
        For its ending, and for errors.
    found : Target
    settings : Settings
    spelt : mapping of str to str
        Symbol -> key of what the dataset holds already: ``BRK.B`` stays ``BRK-B.csv``.
    now : pandas.Timestamp
        UTC: what is dated later is told.
    accept_findings : bool
        Let rows pass that the validation rules call errors.

    Raises
    ------
    DataError, ArchiveError
        It cannot be read, is of another symbol or date, or repeats what must be unique.
    ValidationError
        The rules find errors; ``report`` has them.
    """
    kind = found.dataset.kind
    # The ending says how to read it, whatever the dataset's own files are like.
    own = found.dataset.model_copy(update={"format": "auto"})
    symbol, date = found.symbol, found.date
    report: ValidationReport | None = None
    if kind == "bars":
        table = parse_bars(data, own, key=path.name).table
        _of_one_symbol(table, symbol, path)
        report = _report(table, found, settings)
    elif kind == "options":
        table = parse_options(data, own, key=path.name, date=date).table
        date = _one_date(table["quote_date"], date, path)
        _unique(table, ["contract"] if not table["contract"].null_count else _TERMS, path)
    elif kind == "day_bars":
        table = parse_bars(data, own, key=path.name, date=date).table
        date = _one_date(table["date"].cast(pa.date32()), date, path)
        _unique(table, ["symbol"], path)
    else:
        table = parse_reference(data, key=path.name, kind=found.name).table  # type: ignore[arg-type]
        _reference(table, path)
    if report is not None and report.errors and not accept_findings:
        raise ValidationError(
            f"{path.name}: {'; '.join(finding.reason for finding in report.errors)}",
            remedy="Correct the file, or let it pass: accept_findings=True (--accept-findings).",
            symbol=symbol,
            report=report,
        )
    keys = (spelt[name] for name in spellings(symbol) if name in spelt) if symbol else iter(())
    key = next(keys, None) or template(found.dataset).key(symbol=symbol, date=date)
    remarks = [] if table.num_rows else ["no_rows: a header, and no row below it"]
    if report is not None:
        remarks += findings_of(report)
    remarks += [
        _line(rule, len(rows), rows.slice(0, _SHOWN).to_pylist())
        for rule, rows in doubts(table, found.dataset, now)
    ]
    return Fit(
        key,
        _bytes(data, path, table, found.dataset, key),
        table.num_rows,
        len(remarks),
        "; ".join(remarks),
    )


def dated(data: bytes, path: PurePath, found: Target) -> Target:
    """Take the date of an undated target from its rows.

    Raises
    ------
    DataError, ArchiveError
        It cannot be read, or holds several days.
    """
    own = found.dataset.model_copy(update={"format": "auto"})
    if found.dataset.kind == "options":
        dates = parse_options(data, own, key=path.name).table["quote_date"]
    else:
        dates = parse_bars(data, own, key=path.name).table["date"].cast(pa.date32())
    return replace(found, date=_one_date(dates, None, path))


def findings_of(report: ValidationReport) -> list[str]:
    """Write each error and warning as its rule, how many rows, and the first few of them."""
    return [_told(finding) for finding in (*report.errors, *report.warnings)]


def _told(finding: Finding) -> str:
    if not len(finding.labels):
        return _line(finding.rule, finding.count, finding.columns, "column")
    return _line(finding.rule, finding.count, finding.labels[:_SHOWN])


def _line(rule: str, count: int, labels: Iterable[object], unit: str = "row") -> str:
    shown = ", ".join(str(label).removesuffix(" 00:00:00") for label in labels)
    more = " ..." if unit == "row" and count > _SHOWN else ""
    return f"{rule}: {count:,} {unit}{'s' * (count != 1)} ({shown}{more})"


#: Rows named of one finding.
_SHOWN: Final = 3
_TERMS: Final = ["underlying", "expiration", "type", "strike"]


def _stem(name: str) -> str:
    plain = name.removesuffix(".gz")
    for ending in ENDINGS:
        plain = plain.removesuffix(ending)
    return plain


def _match(name: str, dataset: Dataset, path: PurePath) -> Target | None:
    """Take the varying parts of a key out of a file's name, whatever the folder and ending."""
    last = dataset.key.rpartition("/")[2]
    pattern = template(dataset.model_copy(update={"key": _stem(last)}))
    stem = _stem(path.name)
    if not pattern.pattern.fullmatch(stem):
        return None
    symbol, date = pattern.symbol_of(stem), pattern.date_of(stem)
    if "date" in pattern.pattern.groupindex and date is None:
        return None
    if date is not None and not (dataset.start or "") <= date.isoformat() <= (dataset.end or "9"):
        return None
    return Target(name, dataset, symbol.upper() if symbol else None, date)


def _of_one_symbol(table: pa.Table, symbol: str | None, path: PurePath) -> None:
    if "symbol" not in table.column_names or symbol is None:
        return
    held = {name.upper() for name in pc.unique(table["symbol"]).to_pylist() if name}
    if not held <= set(spellings(symbol)):
        raise DataError(
            f"{path.name} holds {', '.join(sorted(held)[:5])}, not {symbol} alone.",
            remedy="Split it into one file a symbol, named like the symbol.",
            symbol=symbol,
        )


def _report(table: pa.Table, found: Target, settings: Settings) -> ValidationReport:
    dataset, rules = found.dataset, settings.validation
    intraday = dataset.interval is not None and parse_interval(dataset.interval).intraday
    columns = {
        field.name: table[field.name].to_numpy()
        for field in table.schema
        if pa.types.is_floating(field.type)
    }
    return validate_arrays(
        table["date"].to_numpy(),
        columns,
        rules,
        symbol=found.symbol,
        intraday=intraday,
        calendar=dataset.calendar if rules.missing_sessions else None,
        timezone=dataset.timezone if intraday else None,
    )


def _one_date(dates: pa.ChunkedArray, date: dt.date | None, path: PurePath) -> dt.date:
    held = sorted(pc.unique(dates).to_pylist())
    if len(held) != 1 or (date is not None and held[0] != date):
        listed = ", ".join(map(str, held[:3])) + (" ..." if len(held) > 3 else "")
        raise DataError(
            f"{path.name} holds rows of {listed}, not of {date or 'one day'} alone.",
            remedy="Split it into one file a day, named like the day.",
        )
    only: dt.date = held[0]
    return only


def _unique(table: pa.Table, names: list[str], path: PurePath) -> None:
    counted = table.group_by(names).aggregate([([], "count_all")])
    twice = counted.filter(pc.greater(counted["count_all"], 1))
    if twice.num_rows:
        first = ", ".join(str(twice[name][0]) for name in names)
        raise DataError(
            f"{path.name} holds {first} more than once ({twice.num_rows} such rows).",
            remedy="Leave one row of each in the file.",
        )


def _reference(table: pa.Table, path: PurePath) -> None:
    for name in ("ratio", "amount"):
        if name in table.column_names and not (table[name].to_numpy() > 0).all():
            raise DataError(f"{path.name}: every {name} must be above 0.")
    _unique(table, ["date"] if "date" in table.column_names else table.column_names, path)


def _bytes(data: bytes, path: PurePath, table: pa.Table, dataset: Dataset, key: str) -> bytes:
    name = key.lower().removesuffix(".gz")
    parquet = dataset.format == "parquet" or name.endswith(_PARQUET)
    packed = key.lower().endswith(".gz")
    ordered = dataset.order != "underlying" or _ascending(table["underlying"])
    held = data[:4] == b"PAR1"
    if held == parquet and ordered and packed == data.startswith(_GZIP):
        return data
    if not ordered:
        by = np.argsort(table["underlying"].to_numpy(zero_copy_only=False), kind="stable")
        table = table.take(pa.array(by))
    plain = _parquet(table) if parquet else _csv(table)
    return gzip.compress(plain, mtime=0) if packed else plain


def _ascending(names: pa.ChunkedArray) -> bool:
    if len(names) < 2:
        return True
    return bool(pc.all(pc.less_equal(names.slice(0, len(names) - 1), names.slice(1))).as_py())


def _parquet(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _csv(table: pa.Table) -> bytes:
    """Write rows as the bucket's CSV: blank for NaN, dates as YYYY-MM-DD, instants in UTC."""
    import pyarrow.csv as pa_csv

    columns: dict[str, Any] = {}
    for field in table.schema:
        column = table[field.name]
        if pa.types.is_floating(field.type):
            column = pc.if_else(pc.is_nan(column), None, column)
        elif pa.types.is_timestamp(field.type):
            text = "%Y-%m-%d" if field.type.tz is None else "%Y-%m-%dT%H:%M:%SZ"
            whole = pa.timestamp("s", "UTC" if field.type.tz else None)
            column = pc.strftime(column.cast(whole), text)
        columns[field.name.removeprefix("vendor_")] = column
    sink = io.BytesIO()
    sink.write((",".join(columns) + "\n").encode())
    options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
    pa_csv.write_csv(pa.table(columns), sink, options)
    return sink.getvalue()
