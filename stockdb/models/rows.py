"""A feature frame taken apart: symbols, sessions, and one float32 block of features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.errors import DataError
from stockdb.sessions import sessions as exchange_sessions

__all__ = ["LABEL_COLUMNS", "Array", "Rows", "feature_columns", "sort_rows", "take_apart"]

Array = np.ndarray[Any, np.dtype[Any]]
#: Columns that read the future besides ``y_*``: they never enter X.
LABEL_COLUMNS: Final = ("t1", "weight")
_DAY: Final = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Rows:
    """A feature frame as arrays, rows ascending by symbol and date.

    Attributes
    ----------
    names : tuple of str
        Feature columns.
    values : numpy.ndarray of float32, shape (n, features)
    symbols : tuple of str
        Ascending.
    code : numpy.ndarray of int16 or int32, shape (n,)
        Place of each row's symbol in ``symbols``.
    sessions : pandas.DatetimeIndex
        Every session from the first row's to the last row's, ascending.
    day : numpy.ndarray of int32, shape (n,)
        Place of each row's date in ``sessions``.
    """

    names: tuple[str, ...]
    values: Array
    symbols: tuple[str, ...]
    code: Array
    sessions: pd.DatetimeIndex
    day: Array

    def __len__(self) -> int:
        return len(self.code)

    def index(self, rows: Array) -> pd.MultiIndex:
        """Give the (symbol, date) of some rows."""
        return pd.MultiIndex(
            levels=[pd.Index(self.symbols), self.sessions],  # type: ignore[list-item]
            codes=[self.code[rows], self.day[rows]],  # type: ignore[list-item]
            names=["symbol", "date"],
            verify_integrity=False,
        )


def feature_columns(columns: pd.Index[Any], *kept_out: str | None) -> list[str]:
    """Names of the columns that may enter X: no label, no label interval, no weight.

    ``kept_out`` are those that the caller named as label or weight.
    """
    return [
        name
        for name in map(str, columns)
        if not name.startswith("y_") and name not in LABEL_COLUMNS and name not in kept_out
    ]


def sort_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Check the index of a feature frame; sort its rows where they are not.

    Raises
    ------
    DataError
        Not a MultiIndex (symbol, date), no rows, or a (symbol, date) twice.
    """
    index = frame.index
    if not isinstance(index, pd.MultiIndex) or list(index.names) != ["symbol", "date"]:
        raise DataError(
            f"Features need a MultiIndex (symbol, date), not {list(index.names)}.",
            remedy="Give a frame as get_feature_matrix() returns it, or the long form of bars.",
        )
    if not len(frame):
        raise DataError("The feature frame has no rows.", remedy="Ask for a wider range.")
    if not index.is_monotonic_increasing:
        frame = frame.sort_index()
    if not frame.index.is_unique:
        twice = frame.index[frame.index.duplicated()][0]
        raise DataError(
            f"The feature frame holds {twice[0]} {twice[1]} twice.",
            remedy="Keep one row of each: features[~features.index.duplicated(keep='last')].",
            symbol=str(twice[0]),
        )
    return frame


def take_apart(
    frame: pd.DataFrame, names: list[str], calendar: str | None
) -> tuple[pd.DataFrame, Rows]:
    """Take a sorted feature frame apart, without the rows that stand on no session.

    Parameters
    ----------
    frame : pandas.DataFrame
        As :func:`sort_rows` gives it.
    names : list of str
        Feature columns.
    calendar : str or None
        Exchange calendar whose sessions count even where no symbol has a bar.

    Returns
    -------
    frame : pandas.DataFrame
        The rows that are left.
    rows : Rows
        The same rows.

    Raises
    ------
    DataError
        A feature is infinite or no number; the dates are none.
    """
    index = frame.index
    assert isinstance(index, pd.MultiIndex)
    held, code = _compact(index, 0)
    dates, position = _compact(index, 1)
    if not isinstance(dates, pd.DatetimeIndex):
        raise DataError(
            f"The index level 'date' holds {dates.dtype}, not dates.",
            remedy="Convert it with pandas.to_datetime.",
        )
    sessions = _sessions(dates, position, code, len(held), calendar)
    day = sessions.get_indexer(dates.as_unit("ns")).astype(np.int32)[position]
    code = code.astype(np.int16 if len(held) < 2**15 else np.int32)
    stray = day < 0
    if stray.any():
        frame, code, day = frame[~stray], code[~stray], day[~stray]
    values = _block(frame, names)
    return frame, Rows(tuple(names), values, tuple(map(str, held)), code, sessions, day)


def _compact(index: pd.MultiIndex, level: int) -> tuple[pd.Index[Any], Array]:
    """Values of a level that occur, ascending, and each row's place among them."""
    codes = np.asarray(index.codes[level])
    if codes.min() < 0:
        raise DataError(
            f"The index level {index.names[level]!r} has missing values.",
            remedy="Leave those rows out, or say what they belong to.",
        )
    used = np.flatnonzero(np.bincount(codes, minlength=len(index.levels[level])))
    values = index.levels[level].take(used)
    order = np.asarray(values.argsort())
    place = np.zeros(len(index.levels[level]), np.int32)
    place[used[order]] = np.arange(len(used), dtype=np.int32)
    return values.take(order), place[codes]


def _block(frame: pd.DataFrame, names: list[str]) -> Array:
    values = np.empty((len(frame), len(names)), np.float32)
    for column, name in enumerate(names):
        series = frame[name]
        if not pd.api.types.is_numeric_dtype(series.dtype):
            raise DataError(
                f"The feature {name!r} holds {series.dtype}, not numbers.",
                remedy="Encode it as numbers, or leave it out.",
            )
        values[:, column] = series.to_numpy(np.float32, na_value=np.nan)
        if np.isinf(values[:, column]).any():
            row = int(np.flatnonzero(np.isinf(values[:, column]))[0])
            raise DataError(
                f"The feature {name!r} is infinite on {frame.index[row]}.",
                remedy="Write NaN where a feature is undefined.",
            )
    return values


def _sessions(
    stamps: pd.DatetimeIndex, position: Array, code: Array, symbols: int, calendar: str | None
) -> pd.DatetimeIndex:
    """Say which dates are sessions: those of the calendar, and those that most symbols have.

    The calendar alone knows a session that every symbol lacks. The bars alone know what it
    does not: another market's sessions. A date that only a minority of the symbols alive
    has a bar on, and no calendar knows, is a stray row; were it a session, every other
    symbol would lack it.
    """
    held = np.bincount(position, minlength=len(stamps))
    first = np.full(symbols, len(stamps))
    last = np.zeros(symbols, np.int64)
    np.minimum.at(first, code, position)
    np.maximum.at(last, code, position)
    births = np.bincount(first, minlength=len(stamps) + 1)
    deaths = np.bincount(last + 1, minlength=len(stamps) + 1)
    alive = np.cumsum(births - deaths)[: len(stamps)]
    known = stamps[2 * held > alive]
    daily = stamps.tz is None and bool((stamps.as_unit("ns").asi8 % _DAY == 0).all())
    if calendar is not None and daily:
        known = known.union(exchange_sessions(calendar, stamps[0], stamps[-1]))
    return pd.DatetimeIndex(known.as_unit("ns"), name="date")
