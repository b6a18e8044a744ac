"""Apply columns to frames, of one symbol or of many."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.errors import DataError
from stockdb.processing.spec import BARS, Column, Series, inputs_of, moments

__all__ = ["evaluate", "spec_hash", "split", "warmup"]


def warmup(columns: Sequence[Column]) -> int:
    """Bars to have before the first row that must be right: the most that any column needs."""
    return max((column.warmup for column in columns), default=0)


def spec_hash(columns: Sequence[Column]) -> str:
    """Sixteen hex digits that change with any column's description, and with their order."""
    text = json.dumps([column.describe() for column in columns], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def split(
    frame: pd.DataFrame, extra: Sequence[str] = ()
) -> Iterator[tuple[Any, slice | npt.NDArray[np.intp], Series]]:
    """Take a frame apart by symbol.

    Parameters
    ----------
    frame : pandas.DataFrame
        One symbol (DatetimeIndex), or many (MultiIndex symbol, date), in any order of
        symbols; the dates of each ascend.
    extra : sequence of str
        Columns to carry along beside the bars.

    Yields
    ------
    symbol : str, or None for a flat frame
    rows : slice or ndarray of intp
        Where its rows are in the frame.
    series : Series
    """
    if not isinstance(frame.index, pd.MultiIndex):
        yield None, slice(0, len(frame)), Series.of(frame, extra)
        return
    if frame.index.nlevels != 2:
        raise DataError(
            f"A frame of many symbols has the index (symbol, date), not {frame.index.names}.",
            remedy="Use the long form as get_historical_data() returns it for a list.",
        )
    inputs = inputs_of(frame, extra)
    codes, places = (np.asarray(part) for part in frame.index.codes)
    date, session = moments(pd.DatetimeIndex(frame.index.levels[1]))
    order = None if (codes[1:] >= codes[:-1]).all() else np.argsort(codes, kind="stable")
    ordered = codes if order is None else codes[order]
    edges = [0, *(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1).tolist(), len(codes)]
    for begin, end in zip(edges[:-1], edges[1:] if len(codes) else [], strict=False):
        rows: slice | npt.NDArray[np.intp] = slice(begin, end)
        if order is not None:
            rows = order[begin:end]
            if rows[-1] - rows[0] == end - begin - 1:  # together, though not in order
                rows = slice(int(rows[0]), int(rows[-1]) + 1)
        own = {name: values[rows] for name, values in inputs.items()}
        mine = places[rows]
        sessions = None if session is None else session[mine]
        series = Series.of_arrays(date[mine], sessions, own)
        yield frame.index.levels[0][ordered[begin]], rows, series


def evaluate(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Compute columns for every symbol of a frame.

    Parameters
    ----------
    frame : pandas.DataFrame
        As for :func:`split`; not changed.
    columns : sequence of Column
        Names must differ.

    Returns
    -------
    pandas.DataFrame
        float64, the rows and index of the frame, one column each, in the order given; NaN
        where undefined, never infinite. No value depends on another symbol, save those of
        cross-sectional columns (``xs_``), which compare within one date.

    Raises
    ------
    DataError
        An input is missing, a name is given twice, or dates do not ascend.
    """
    names = [column.name for column in columns]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise DataError(
            f"Columns asked for twice: {', '.join(sorted(twice))}.", remedy="Name each once."
        )
    extra = tuple(dict.fromkeys(n for c in columns for n in c.inputs if n not in BARS))
    block = np.empty((len(columns), len(frame)))
    with np.errstate(divide="ignore", invalid="ignore"):
        for number, (symbol, rows, series) in enumerate(split(frame, extra)):
            try:
                if number == 0:  # all symbols have the columns of the frame
                    for column in columns:
                        column.require(series)
                for values, column in zip(block, columns, strict=True):
                    values[rows] = column.raw(series)
            except DataError as error:
                if error.symbol is None:
                    error.symbol = symbol
                raise
            part = block[:, rows]
            if np.isinf(part).any():
                block[:, rows] = np.where(np.isinf(part), np.nan, part)
    across = [(i, column.across) for i, column in enumerate(columns) if column.across is not None]
    if across:
        dates = _dates(frame)
        for i, compare in across:
            block[i] = compare(block[i], dates)
    return pd.DataFrame(block.T, index=frame.index, columns=pd.Index(names), copy=False)


def _dates(frame: pd.DataFrame) -> npt.NDArray[np.datetime64]:
    index = pd.DatetimeIndex(frame.index.get_level_values(-1))
    if index.tz is not None:
        index = index.tz_convert(None)
    return index.as_unit("ns").to_numpy()
