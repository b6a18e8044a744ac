"""Arrays in the shape that each type of model wants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from stockdb.models.labels import Labels
from stockdb.models.rows import Array, Rows
from stockdb.models.scalers import Scaler
from stockdb.models.windows import Windows, run_lengths

__all__ = [
    "Gather",
    "Imputer",
    "Panel",
    "Series",
    "defined",
    "longest_runs",
    "own_labels",
    "panel",
    "vocabulary",
]

_PERCENT = 100.0  # optimisers of GARCH models want returns near 1


@dataclass(frozen=True, slots=True, eq=False)
class Gather:
    """X of some rows: windows that end there, or the rows themselves.

    Attributes
    ----------
    values : numpy.ndarray of float32, shape (n, features)
    seq_len : int or None
    channels_first : bool
    """

    values: Array
    seq_len: int | None
    channels_first: bool

    def __call__(self, rows: Array) -> Any:
        """Lay out X of some rows."""
        if self.seq_len is None:
            return self.values[rows]
        return Windows(self.values, rows, self.seq_len, self.channels_first)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One series a symbol, for models that are fitted to each alone.

    Attributes
    ----------
    X : dict of str to numpy.ndarray of float64
        Returns x 100 of each symbol's longest run of sessions without a gap or NaN.
    rows : numpy.ndarray of int
    base : Rows
    numbers : numpy.ndarray of int32
        Number of each symbol in the training vocabulary.
    """

    X: dict[str, Array]
    rows: Array
    base: Rows
    numbers: Array = field(default_factory=lambda: np.zeros(0, np.int32))

    y = weight = mask = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def index(self) -> pd.MultiIndex:
        """(symbol, date) of every return, in the order of the series."""
        return self.base.index(self.rows)

    @property
    def symbol_id(self) -> Array:
        """Number of each return's symbol, int32; 0 = unknown."""
        return np.asarray(self.numbers[self.base.code[self.rows]])

    @property
    def t0(self) -> pd.DatetimeIndex:
        """Date of each return."""
        return pd.DatetimeIndex(self.base.sessions[self.base.day[self.rows]], name="t0")

    @property
    def t1(self) -> pd.DatetimeIndex:
        """The same: a return looks at no later session."""
        return self.t0.rename("t1")

    def arrays(self) -> list[Array]:
        """Give what the fingerprint is taken of."""
        return [self.rows, *self.X.values()]


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Sessions x assets, for an agent that decides on all assets at once.

    Attributes
    ----------
    X : numpy.ndarray of float32, shape (sessions, assets, features)
        Observations, known at the close of each session; 0, the training median, where
        ``mask`` is false.
    y : numpy.ndarray of float32, shape (sessions, assets)
        Return from that close to the next session's; NaN where there is none.
    mask : numpy.ndarray of bool, shape (sessions, assets)
        Whether the asset has a bar and all its features on that session.
    index : pandas.DatetimeIndex
    symbol_id : numpy.ndarray of int32, shape (assets,)
        1 ... assets: symbols outside the training vocabulary have no place here.
    t0, t1 : pandas.DatetimeIndex
        Each session and the next.
    weight : numpy.ndarray of float32, shape (sessions,)
        1.
    """

    X: Array
    y: Array
    mask: Array
    index: pd.DatetimeIndex
    symbol_id: Array
    t0: pd.DatetimeIndex
    t1: pd.DatetimeIndex
    weight: Array

    def __len__(self) -> int:
        return len(self.index)

    @property
    def observations(self) -> Array:
        """X."""
        return self.X

    @property
    def next_ret(self) -> Array:
        """The same as ``y``."""
        return self.y

    @property
    def tradable(self) -> Array:
        """The same as ``mask``."""
        return self.mask

    def arrays(self) -> list[Array]:
        """Give what the fingerprint is taken of."""
        return [self.X, self.y, self.mask, self.index.asi8]


def defined(values: Array) -> Array:
    """Mark the rows without NaN."""
    found = np.ones(len(values), bool)
    for column in range(values.shape[1]):
        found &= ~np.isnan(values[:, column])
    return found


def vocabulary(rows: Rows, train: Array) -> tuple[tuple[str, ...], Array]:
    """Give the symbols of the training rows numbers from 1; the others are 0."""
    known = np.bincount(rows.code[train], minlength=len(rows.symbols)) > 0
    numbers = np.where(known, np.cumsum(known), 0).astype(np.int32)
    return tuple(s for s, is_known in zip(rows.symbols, known, strict=True) if is_known), numbers


@dataclass(frozen=True, slots=True, eq=False)
class Imputer:
    """Fills NaN with the training median, and says so in one more column.

    Attributes
    ----------
    medians : numpy.ndarray of float32, shape (features,)
        NaN where no training row has a value: the scaler refuses such a column by name.
    flagged : tuple of int
        Columns with an indicator: those that lack values in training rows. A column that lacks
        them only later is filled alone: no model could have learnt its indicator.
    """

    medians: Array
    flagged: tuple[int, ...]

    @classmethod
    def fit(cls, values: Array, train: Array) -> Imputer:
        """Look at the training rows, and at no other."""
        medians = np.full(values.shape[1], np.nan, np.float32)
        flagged = []
        for column in range(values.shape[1]):
            sample = values[train, column]
            known = sample[~np.isnan(sample)]
            if len(known) < len(sample):
                flagged.append(column)
            if len(known):
                medians[column] = np.median(known.astype(np.float64))
        return cls(medians, tuple(flagged))

    def names(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Name the columns and, behind them, the indicators."""
        return (*names, *(f"{names[column]}_missing" for column in self.flagged))

    def fill(self, values: Array) -> Array:
        """Fill an array that nobody else holds; the result has the indicators as well."""
        missing = np.isnan(values)
        flags = missing[:, list(self.flagged)].astype(np.float32)
        for column, median in enumerate(self.medians):
            values[missing[:, column], column] = median
        return np.column_stack([values, flags]) if self.flagged else values


def own_labels(rows: Rows, returns: pd.Series[Any], *, panel: bool) -> Labels:
    """Labels of models that predict the returns themselves.

    For a panel the label of session t is the return of session t + 1; a series has none.
    """
    values = returns.to_numpy(np.float32, na_value=np.nan)
    weight = np.broadcast_to(np.float32(1.0), len(rows))
    if not panel:
        return Labels(values, weight, rows.day, 0)
    y = np.full(len(rows), np.nan, np.float32)
    next_door = (rows.code[1:] == rows.code[:-1]) & (rows.day[1:] == rows.day[:-1] + 1)
    y[:-1][next_door] = values[1:][next_door]
    reach = np.minimum(rows.day + 1, rows.day.max()).astype(np.int32)
    return Labels(y, weight, reach, 1)


def longest_runs(rows: Rows, usable: Array) -> Series:
    """Each symbol's longest run of consecutive sessions; the later of two equal ones."""
    length = run_lengths(rows.code, rows.day, usable)
    bounds = np.searchsorted(rows.code, np.arange(len(rows.symbols) + 1))
    found, places = {}, [np.zeros(0, np.int64)]
    for number, symbol in enumerate(rows.symbols):
        own = length[bounds[number] : bounds[number + 1]]
        longest = int(own.max())
        if not longest:
            continue
        end = int(bounds[number + 1] - np.argmax(own[::-1]))
        place = np.arange(end - longest, end)
        found[symbol] = rows.values[place, 0].astype(np.float64) * _PERCENT
        places.append(place)
    return Series(found, np.concatenate(places), rows)


def panel(rows: Rows, usable: Array, numbers: Array, y: Array, scaler: Scaler) -> Panel:
    """Lay usable rows out by session and asset."""
    chosen = np.flatnonzero(usable)
    days = rows.day[chosen]
    first, last = (int(days.min()), int(days.max()) + 1) if len(chosen) else (0, 0)
    assets = int(numbers.max())
    where = (days - first, numbers[rows.code[chosen]] - 1)
    width = rows.values.shape[1]
    observations = np.zeros((last - first, assets, width), np.float32)
    observations[where] = scaler.transform(rows.values[chosen])
    next_ret = np.full((last - first, assets), np.nan, np.float32)
    next_ret[where] = y[chosen]
    mask = np.zeros((last - first, assets), bool)
    mask[where] = True
    index = pd.DatetimeIndex(rows.sessions[first:last], name="date")
    return Panel(
        X=observations,
        y=next_ret,
        mask=mask,
        index=index,
        symbol_id=np.arange(1, assets + 1, dtype=np.int32),
        t0=index.rename("t0"),
        t1=pd.DatetimeIndex(rows.sessions[first + 1 : last + 1], name="t1"),
        weight=np.ones(last - first, np.float32),
    )
