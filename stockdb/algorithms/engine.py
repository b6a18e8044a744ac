"""The one way from a declaration to a frame: read, compute with warm-up on top, cut, note."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from stockdb.access import Access, load
from stockdb.access.callers import callers_level
from stockdb.access.load import Loaded
from stockdb.access.provenance import ATTRS
from stockdb.algorithms.base import Algorithm, Values
from stockdb.errors import ConfigurationError, DataError
from stockdb.processing.evaluate import evaluate, warmup
from stockdb.processing.nans import count_nans, merge
from stockdb.processing.spec import BARS, Column
from stockdb.types import DateLike, parse_date, parse_symbols

__all__ = ["bar_frame", "finish", "first_rows", "get_data"]


def get_data(
    access: Access,
    algorithm: Algorithm,
    symbols: str | Sequence[str],
    lookback_days: int = 252,
    end_date: DateLike | None = None,
    **params: Any,
) -> pd.DataFrame:
    """Compute the data of one algorithm; see ``TradingDataAdapter.get_data_for_algorithm``."""
    values = algorithm.values(params)
    sessions = _sessions(lookback_days)
    end = None if end_date is None else parse_date(end_date, "end_date")
    names, single = _names(symbols)
    if algorithm.pending is not None:
        raise ConfigurationError(
            f"This release has no data for {algorithm.name!r}: {algorithm.pending}.",
            remedy="describe() has its columns; use another algorithm meanwhile.",
            algorithm=algorithm.name,
        )
    make = bar_frame if algorithm.make is None else algorithm.make
    frame, loaded = make(access, algorithm, names, sessions, end, values)
    if single and algorithm.index == ("symbol", "date"):
        frame = frame.droplevel("symbol")
    _warn_of(loaded, algorithm.name, len(names))
    return frame


def bar_frame(
    access: Access,
    algorithm: Algorithm,
    names: list[str],
    sessions: int,
    end: DateLike | None,
    values: Values,
) -> tuple[pd.DataFrame, Loaded]:
    """Compute one row a symbol and bar."""
    columns = algorithm.computed(values)
    interval = values.get("interval", "daily")
    loaded = load.bars(access, names, end, interval, values)
    whole, keep = _cut(loaded.frames, sessions, columns)
    if algorithm.rate:
        dates = pd.DatetimeIndex(whole.index.get_level_values("date"))
        known, loaded.notes["bill"] = load.bill(
            access, dates.unique(), values["rate"], load.policy_of(values)
        )
        whole = whole.assign(bill=known.reindex(dates).to_numpy())
    computed = evaluate(whole, columns)
    nans = count_nans(whole, computed, keep, columns)
    frame = pd.concat([whole[list(BARS)], with_dates(computed, columns)], axis=1)[keep]
    frame = frame.loc[:, ~frame.columns.duplicated()]
    finish(access, algorithm, frame, loaded, sessions, values, nans)
    return frame, loaded


def first_rows(frame: pd.DataFrame, sessions: int) -> int:
    """Find the row at which the last sessions of a frame begin."""
    index = pd.DatetimeIndex(frame.index)
    if index.tz is None:
        return max(0, len(index) - sessions)
    days = index.tz_localize(None).normalize()
    begins = [0, *(np.flatnonzero(np.diff(days.asi8)) + 1).tolist()]
    return int(begins[max(0, len(begins) - sessions)])


def with_dates(computed: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Turn nanoseconds since 1970 of columns whose unit is ``date`` into dates."""
    dates = {
        column.name: _as_dates(computed[column.name].to_numpy())
        for column in columns
        if column.unit == "date"
    }
    return computed.assign(**dates) if dates else computed


def finish(
    access: Access,
    algorithm: Algorithm,
    frame: pd.DataFrame,
    loaded: Loaded,
    sessions: int,
    values: Values,
    nans: dict[str, dict[str, int]],
) -> None:
    """Put the note on a frame."""
    described = algorithm.describe(values)
    note = access.provenance.note_all(loaded.provenance, loaded.errors)
    note |= {
        "algorithm": algorithm.name,
        "spec": described["spec"],
        "warmup": described["warmup"],
        "lookback_days": sessions,
        "params": {name: _plain(value) for name, value in values.items()},
        "notes": list(algorithm.notes),
        "nan": merge(nans),
        **loaded.notes,
    }
    if frame.empty and note.get("empty_reason") is None:
        note["empty_reason"] = "no bar is held on or before the end date"
    frame.attrs = {ATTRS: note}


def _cut(
    frames: dict[str, pd.DataFrame], sessions: int, columns: Sequence[Column]
) -> tuple[pd.DataFrame, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Stack what has to be computed, and mark the rows that are returned.

    Where columns compare symbols, all of them are computed from the earliest date returned:
    a rank must not depend on how many sessions were asked for.
    """
    begins = {symbol: first_rows(frame, sessions) for symbol, frame in frames.items()}
    earliest = None
    if any(column.cross_sectional for column in columns):
        dates = [frames[s].index[row] for s, row in begins.items() if len(frames[s])]
        earliest = min(dates, default=None)
    parts, keep = {}, []
    for symbol, frame in frames.items():
        first = begins[symbol]
        if earliest is not None:
            first = min(first, int(frame.index.searchsorted(earliest)))
        start = _session_start(frame, max(0, first - warmup(columns)))
        parts[symbol] = frame.iloc[start:]
        keep.append(np.arange(start, len(frame)) >= begins[symbol])
    whole = pd.concat(parts, names=["symbol", "date"])
    return whole, np.concatenate(keep)


def _session_start(frame: pd.DataFrame, row: int) -> int:
    """Go back to where an intraday session begins: what adds up within it starts there."""
    index = pd.DatetimeIndex(frame.index)
    if index.tz is None or row >= len(index):
        return row
    day = index[row].normalize()
    return int(index.searchsorted(day))


def _as_dates(values: np.ndarray[Any, np.dtype[np.float64]]) -> pd.DatetimeIndex:
    missing = np.isnan(values)
    stamps = np.where(missing, 0, values).astype(np.int64).astype("datetime64[ns]")
    stamps[missing] = np.datetime64("NaT")
    return pd.DatetimeIndex(stamps)


def _sessions(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ConfigurationError(
            f"lookback_days={value!r} is no number of sessions.", remedy="Give 1 or more."
        )
    return int(value)


def _names(symbols: Any) -> tuple[list[str], bool]:
    """Read symbols; in a list, what is no symbol stays and fails alone."""
    try:
        return parse_symbols(symbols)
    except DataError as error:
        if error.symbol is None or isinstance(symbols, str) or len(symbols) < 2:
            raise
    names = (str(item).strip().upper() for item in symbols)
    return list(dict.fromkeys(names)), False


def _warn_of(loaded: Loaded, algorithm: str, asked: int) -> None:
    if loaded.errors:
        warnings.warn(
            f"{algorithm}: {len(loaded.errors)} of {asked} symbols failed: "
            + "; ".join(f"{name}: {error.message}" for name, error in loaded.errors.items()),
            stacklevel=callers_level(),
        )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
