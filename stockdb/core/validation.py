"""Bars held against the rules: a frame, or arrays, and the rules in, a report out.

The rules are a table in `stockdb.core.rules`. Findings are built only where a rule marked
something, so that a clean frame costs what its rules cost.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.core.barview import Bars, Dates, Floats, Ints
from stockdb.core.columns import BARS, fold
from stockdb.core.held import about_sessions
from stockdb.core.report import Finding, ValidationReport, apply_policy
from stockdb.core.rules import RULES, Rule, chosen
from stockdb.settings.sections import Validation

__all__ = ["RULES", "Bars", "Rule", "apply_policy", "validate_arrays", "validate_bars"]

_DEFAULT: Final = Validation()
#: Columns that rules know besides those every file of bars may have; the parser keeps them.
_EXTRAS: Final = {
    "dividends": ("dividend", "dividendamount", "exdividend", "divcash"),
    "stock_splits": ("stocksplit", "splits", "split", "splitratio", "splitfactor"),
}
_MEANING: Final = {
    fold(spelling): known.name
    for known in BARS.known
    for spelling in (known.name, *known.spellings)
} | {fold(spelling): name for name, spellings in _EXTRAS.items() for spelling in (name, *spellings)}
_OURS: Final = {known.name for known in BARS.known if known.kind == "float"} | set(_EXTRAS)


def validate_arrays(
    date: Dates,
    columns: Mapping[str, Floats],
    rules: Validation | None = None,
    *,
    symbol: str | None = None,
    intraday: bool | None = None,
    calendar: str | None = None,
    timezone: str | None = None,
) -> ValidationReport:
    """Hold the bars of one symbol against the rules; the fast entry of the read path.

    Parameters
    ----------
    date : ndarray of datetime64[ns], shape (rows,)
        As the local clock shows it; with a `timezone` instants in UTC.
    columns : mapping of str to ndarray of float64, shape (rows,)
        By our names; columns without rules count for duplicates only.
    rules, symbol, intraday, calendar
        As in :func:`validate_bars`.
    timezone : str, optional
        Zone whose clock decides about days and times of day; the report's labels show it.
    """
    rules = rules or _DEFAULT
    cells = {name: np.asarray(column, dtype=np.float64) for name, column in columns.items()}
    date = wall = date.astype("datetime64[ns]", copy=False)
    if timezone is not None:
        local = pd.DatetimeIndex(date, tz="UTC").tz_convert(timezone).tz_localize(None)
        wall = local.to_numpy()
    bars = Bars(date, wall, cells, rules, intraday, zoned=timezone is not None)
    found = [*_required_columns(cells, rules), *_findings(bars, (None,), wall, calendar)]
    return ValidationReport.of(found, len(date), symbol)


def validate_bars(
    frame: pd.DataFrame,
    rules: Validation | None = None,
    *,
    symbol: str | None = None,
    intraday: bool | None = None,
    calendar: str | None = None,
) -> ValidationReport:
    """Hold a frame of bars against the rules.

    Parameters
    ----------
    frame : DataFrame
        With a DatetimeIndex, a ``date`` column or a MultiIndex (symbol, date); the usual
        spellings of columns (``Open``, ``Adj Close``, ``trade_date``) count as present.
        With a symbol level or column every symbol is checked by itself. It is not changed.
    rules : Validation, optional
        The settings' defaults where not given.
    symbol : str, optional
        For the report's title.
    intraday : bool, optional
        None infers it: bars at midnight, or one a day, are daily.
    calendar : str, optional
        Hold daily bars against the sessions of this exchange, too.

    Returns
    -------
    ValidationReport
        Its positions count rows of `frame`; its labels are dates, or (symbol, date).

    Examples
    --------
    >>> days = pd.DatetimeIndex(["2024-01-02", "2024-01-03"], name="date")
    >>> frame = pd.DataFrame({"Close": [10.0, 0.0]}, index=days)
    >>> validate_bars(frame, Validation(required_columns=("close",))).summary()["rules"]
    {'price_range': 1, 'column_names': 1}
    """
    rules = rules or _DEFAULT
    places, found = _places(frame)
    cells, texts = _cells(frame, places)
    found += [*_required_columns(places, rules), *texts]
    dates, keys, moments = _dates_and_keys(frame, places)
    if len(frame) and dates.isna().all():
        reason = "There are no dates, neither as index nor as a column `date`."
        found.append(Finding.about_columns("missing_date", "error", reason, ["date"]))
        return ValidationReport.of(found, len(frame), symbol)
    wall = dates.tz_localize(None).to_numpy()
    bars = Bars(
        moments.to_numpy("datetime64[ns]"),
        wall,
        cells,
        rules,
        intraday,
        zoned=moments.tz is not None,
    )
    groups: Iterable[Ints | None] = (None,)
    labels: pd.Index[Any] = dates
    if keys:
        labels = pd.MultiIndex.from_arrays([*keys, dates])
        codes, _ = pd.factorize(labels.droplevel(-1), use_na_sentinel=False)
        order = np.argsort(codes, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    found += _findings(bars, groups, labels, calendar)
    return ValidationReport.of(found, len(frame), symbol)


def _findings(
    everything: Bars,
    groups: Iterable[Ints | None],
    labels: pd.Index[Any] | Dates,
    calendar: str | None,
) -> Iterator[Finding]:
    """Hold each group of rows (None: all) against every rule; one finding per rule."""
    marked: dict[str, list[Ints]] = {}
    rules = chosen(everything.rules)
    for rows in groups:
        bars = everything if rows is None else everything.take(rows)
        for rule in rules:
            mask = rule.mark(bars)
            if mask is not bars.nothing and mask.any():
                here = np.flatnonzero(mask)
                marked.setdefault(rule.name, []).append(here if rows is None else rows[here])
        for name, values in bars.notes.items():
            _note(everything, name, rows, values)
        if calendar is not None:
            yield from _placed(about_sessions(bars, calendar), rows, labels)
    cells = {**everything.columns, **everything.notes}
    for rule in rules:
        if rule.name in marked:
            positions = np.sort(np.concatenate(marked[rule.name]))
            shown = [name for name in rule.columns if name in cells]
            yield Finding(
                rule=rule.name,
                severity=rule.severity,
                reason=rule.reason.format(rules=everything.rules),
                count=len(positions),
                positions=positions,
                columns=tuple(shown),
                labels=pd.Index(labels.take(positions)),
                data={name: cells[name][positions] for name in shown},
                frame_level=rule.frame_level,
            )


def _note(everything: Bars, name: str, rows: Ints | None, values: Floats) -> None:
    """Put what a rule noted about some rows where they stand in the whole."""
    if rows is None:
        return  # the whole itself
    whole = everything.notes.setdefault(name, np.full(len(everything.date), np.nan))
    whole[rows] = values


def _placed(
    found: Iterable[Finding], rows: Ints | None, labels: pd.Index[Any] | Dates
) -> Iterator[Finding]:
    """Say in terms of the whole frame what was found in one group of its rows."""
    for finding in found:
        if rows is None:
            yield finding
        elif len(finding.positions):
            positions = rows[finding.positions]
            yield replace(finding, positions=positions, labels=pd.Index(labels.take(positions)))
        else:
            keys = labels[rows[0]][:-1]
            dates = [(*keys, date) for date in finding.labels]
            yield replace(finding, labels=pd.MultiIndex.from_tuples(dates))


def _required_columns(names: Iterable[str], rules: Validation) -> Iterator[Finding]:
    there = list(names)
    missing = [name for name in rules.required_columns if name not in there]
    if missing:
        spare = [name for name in there if name not in rules.required_columns]
        near = ((name, difflib.get_close_matches(name, spare, n=1)) for name in missing)
        hints = [f"{other[0]!r} is {name}" for name, other in near if other]
        reason = f"Required columns are missing: {', '.join(missing)}."
        reason += f" Perhaps {', '.join(hints)}." if hints else ""
        yield Finding.about_columns("required_columns", "error", reason, missing)


def _places(frame: pd.DataFrame) -> tuple[dict[str, int], list[Finding]]:
    """Where each column of ours is in the frame, and what is to be said about the names."""
    # yfinance heads its columns (price, ticker); our own spelling wins over any other.
    names = [str(name[0] if isinstance(name, tuple) else name) for name in frame.columns]
    meant = [_MEANING.get(fold(name), name) for name in names]
    ours = [name if our in names else our for name, our in zip(names, meant, strict=True)]
    places = {our: place for place, our in enumerate(ours)}
    read = {name: our for name, our in zip(names, ours, strict=True) if name != our}
    found = []
    if twins := [our for our in places if ours.count(our) > 1 and our in _OURS]:
        reason = f"Several columns mean the same: {', '.join(twins)}."
        found.append(Finding.about_columns("duplicate_columns", "error", reason, twins))
    if read:
        renamed = (f", {name} as {our}" for name, our in read.items() if fold(name) != fold(our))
        reason = f"Column names are read in lower case{''.join(renamed)}."
        found.append(Finding.about_columns("column_names", "info", reason, read))
    return places, found


def _cells(frame: pd.DataFrame, places: dict[str, int]) -> tuple[dict[str, Floats], list[Finding]]:
    """All columns of numbers; those that should be and are text, with a finding."""
    cells, found = {}, []
    for name, place in places.items():
        series = frame.iloc[:, place]
        if not pd.api.types.is_numeric_dtype(series.dtype):
            if name not in _OURS:
                continue
            text, series = series, pd.to_numeric(series.astype(object), errors="coerce")
            lost = int((series.isna() & text.notna()).sum())
            reason = f"Column {name} holds text, {lost:,} of {len(text):,} are not numbers."
            found.append(Finding.about_columns("not_numeric", "error", reason, [name]))
        cells[name] = series.to_numpy(dtype=np.float64)
    return cells, found


def _dates_and_keys(
    frame: pd.DataFrame, places: dict[str, int]
) -> tuple[pd.DatetimeIndex, list[pd.Index[Any]], pd.DatetimeIndex]:
    """Dates of all rows, NaT where there are none; what tells the symbols apart; instants."""
    index = frame.index
    moments: pd.DatetimeIndex | None = None
    keys = [pd.Index(frame.iloc[:, places["symbol"]])] if "symbol" in places else []
    if isinstance(index, pd.MultiIndex):
        meant = [_MEANING.get(fold(str(name))) for name in index.names]
        level = meant.index("date") if "date" in meant else index.nlevels - 1
        keys = [index.get_level_values(n) for n in range(index.nlevels) if n != level]
        index = index.get_level_values(level)
    elif "date" in places and not isinstance(index, pd.DatetimeIndex):
        index = pd.Index(frame.iloc[:, places["date"]])
    if pd.api.types.is_numeric_dtype(index.dtype):  # a row counter is no date
        index = pd.DatetimeIndex(np.full(len(index), "NaT", dtype="datetime64[ns]"))
    elif not isinstance(index, pd.DatetimeIndex):
        # Text, without its UTC offset: sessions are dates of the exchange, not of Greenwich.
        whole = index.astype(str)
        index = pd.to_datetime(whole.str.slice(0, 19), format="ISO8601", errors="coerce")
        if whole.str.slice(19).str.contains("[+-]", regex=True).all():
            # An hour that the clock shows twice is told apart by its offset.
            moments = pd.to_datetime(whole, format="ISO8601", errors="coerce", utc=True)
    dates = _nanoseconds(index)
    return dates, keys, dates if moments is None else _nanoseconds(moments)


def _nanoseconds(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    if index.unit != "ns":  # which cannot hold placeholders such as 9999-12-31
        index = pd.DatetimeIndex(index.where((index.year > 1677) & (index.year < 2262)))
    return index.as_unit("ns")
