"""One symbol of a feature matrix: its bars and what is computed of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.access import Access, HistoryRequest, Provenance
from stockdb.access.history import warm_start
from stockdb.access.load import bill
from stockdb.access.provenance import ATTRS
from stockdb.access.quality import dataset_of
from stockdb.errors import DataError, StockDBError
from stockdb.models.chains import OPTION_INPUTS, option_days
from stockdb.models.sets import Plan
from stockdb.processing.nans import count_nans
from stockdb.processing.spec import BARS, Column, Series
from stockdb.sessions import calendar as exchange_calendar
from stockdb.sessions import sessions
from stockdb.types import DateRange

__all__ = ["Part", "Task"]

Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Task:
    """What is done for each symbol; crosses to another process.

    Attributes
    ----------
    access : Access
    request : HistoryRequest
        Of the rows that are returned.
    plan : Plan
    rate : float or None
        Of a bill, for the columns that need one.
    gate : threading.Lock
        Many threads may wait for the server; computing holds the interpreter, and is slower by
        half where threads take it from one another.
    """

    access: Access
    request: HistoryRequest
    plan: Plan
    rate: float | None = None
    gate: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Task, (self.access, self.request, self.plan, self.rate)

    def __call__(self, symbol: str) -> Part:
        """Read and compute one symbol.

        Raises
        ------
        StockDBError
            It cannot be read, or a column cannot be computed.
        """
        try:
            return _part(self, symbol)
        except StockDBError as error:
            if error.symbol is None:
                error.symbol = symbol
            raise


@dataclass(slots=True)
class Part:
    """The rows of one symbol.

    Attributes
    ----------
    symbol : str
    index : pandas.DatetimeIndex
    block : ndarray of float32, shape (columns, rows)
        In the order of ``names``; cross-sectional columns are still to be compared.
    names : tuple of str
    across : dict of str to ndarray of float64
        Cross-sectional columns, uncompared.
    dates : dict of str to ndarray of datetime64[ns]
    nans : dict of str to dict of str to int
    provenance : tuple of Provenance
        Of the bars, then of what else was read.
    notes : dict
    """

    symbol: str
    index: pd.DatetimeIndex
    block: Floats32
    names: tuple[str, ...]
    across: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    dates: dict[str, npt.NDArray[np.datetime64]] = field(default_factory=dict)
    nans: dict[str, dict[str, int]] = field(default_factory=dict)
    provenance: tuple[Provenance, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)


def _part(task: Task, symbol: str) -> Part:
    access, request, plan = task.access, task.request, task.plan
    bars, known = _bars(access, symbol, request, plan)
    dataset = dataset_of(access.settings, bars)
    adjusted = bars.attrs[ATTRS].get("adjusted", {})
    notes: dict[str, Any] = {
        "calendar": dataset.calendar,
        "carried": adjusted.get("carried", []),
    }
    provenance = [known]
    bars.attrs = {}  # pandas would copy them with every step that follows
    if not request.interval.intraday:
        bars, notes["not_a_session"] = _real(bars, notes["calendar"])
    index = pd.DatetimeIndex(bars.index)
    keep = _asked(index, request.wanted, dataset.timezone)
    columns = [column for column in plan.computed if not OPTION_INPUTS & set(column.inputs)]
    if any("bill" in column.inputs for column in columns):
        rates, notes["bill"], origin = bill_of(access, index, task.rate)
        bars = bars.assign(bill=rates)
        provenance += origin
    notes["warmup"] = int((~keep).sum())
    with task.gate:
        values = _computed(bars, columns)
        nans = count_nans(bars, values, keep, columns)
    frames = [values[keep]]
    optional = [column for column in plan.columns if OPTION_INPUTS & set(column.inputs)]
    if optional:
        days = option_days(access, symbol, optional, index[keep], request, task.rate)
        frames.append(days.frame)
        nans |= days.nans
        notes["chains"] = days.note
        provenance += days.provenance
    for own in plan.own:
        found = own.columns(bars)[keep]
        nans |= {str(n): {"own": int(c)} for n, c in found.isna().sum().items() if c}
        frames.append(found)
    return _as_part(symbol, index[keep], frames, plan, nans, tuple(provenance), notes)


def _bars(
    access: Access, symbol: str, request: HistoryRequest, plan: Plan
) -> tuple[pd.DataFrame, Provenance]:
    """Read a symbol's bars, those to warm up on included."""
    wanted = request.wanted
    if wanted.start is not None:
        needed = plan.warmup
        earlier = None if needed is None else warm_start(access.reader, request, needed)
        if needed != 0:
            wanted = replace(wanted, start=earlier)
    frame = access.history(symbol, replace(request, wanted=wanted))
    known = access.provenance.of(frame)
    attrs = frame.attrs
    frame = frame.reindex(columns=[*BARS, *(name for name in frame if name not in BARS)])
    frame.attrs = attrs
    return frame, known


def _asked(index: pd.DatetimeIndex, wanted: DateRange, timezone: str) -> npt.NDArray[np.bool_]:
    """Mark the rows that are not there to warm up on."""
    start = wanted.start if index.tz is not None else wanted.first_day(timezone)
    if start is None:
        return np.ones(len(index), bool)
    if index.tz is not None and start.tzinfo is None:
        start = start.tz_localize(index.tz, ambiguous=True, nonexistent="shift_forward")
    return np.asarray(index >= start)


def _real(bars: pd.DataFrame, calendar: str) -> tuple[pd.DataFrame, int]:
    """Leave out rows on dates that are no session, as far as the calendar knows."""
    index = pd.DatetimeIndex(bars.index)
    if not len(index):
        return bars, 0
    known = exchange_calendar(calendar).sessions
    real = index.isin(sessions(calendar, index[0], index[-1]))
    real |= (index < known[0]) | (index > known[-1])
    return (bars, 0) if real.all() else (bars[real], int((~real).sum()))


def bill_of(
    access: Access, index: pd.DatetimeIndex, rate: float | None
) -> tuple[npt.NDArray[np.float64], dict[str, Any], list[Provenance]]:
    """Give the bill's rate on each row, and where it is from."""
    dates = index if index.tz is None else index.tz_localize(None).normalize()
    known, note = bill(access, dates.unique(), rate)
    table = None if rate is not None else access.treasury(percent=True, required=False)
    origin = [] if table is None else [access.provenance.of(table)]
    return known.reindex(dates).to_numpy(), note, origin


def _computed(bars: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Compute columns of one symbol; those that compare symbols before they are compared."""
    extra = dict.fromkeys(n for c in columns for n in c.inputs if n not in BARS)
    series = Series.of(bars, extra)
    block = np.empty((len(columns), len(bars)))
    for place, column in enumerate(columns):
        block[place] = column.values(series)
    names = [column.name for column in columns]
    return pd.DataFrame(block.T, index=bars.index, columns=names, copy=False)


def _as_part(
    symbol: str,
    index: pd.DatetimeIndex,
    frames: list[pd.DataFrame],
    plan: Plan,
    nans: dict[str, dict[str, int]],
    provenance: tuple[Provenance, ...],
    notes: dict[str, Any],
) -> Part:
    held: dict[str, npt.NDArray[np.float64]] = {}
    for frame in frames:
        for name, values in zip(map(str, frame.columns), frame.to_numpy().T, strict=True):
            if name in held:
                raise DataError(f"Two features are named {name!r}.", remedy="Rename one.")
            held[name] = values
    first = [column.name for column in plan.columns]
    last = [column.name for column in plan.labels]
    mine = [name for name in held if name not in {*first, *last}]
    dates = {column.name for column in plan.labels if column.unit == "date"}
    compared = {column.name for column in plan.columns if column.cross_sectional}
    order = [name for name in (*first, *mine, *last) if name not in dates]
    block = np.empty((len(order), len(index)), np.float32)
    with np.errstate(over="ignore"):
        for place, name in enumerate(order):
            block[place] = held[name]
    block[np.isinf(block)] = np.nan  # beyond what float32 can hold
    return Part(
        symbol,
        index,
        block,
        tuple(order),
        {name: held[name].copy() for name in compared},
        {name: _stamps(held[name]) for name in sorted(dates)},
        nans,
        provenance,
        notes,
    )


def _stamps(values: npt.NDArray[np.float64]) -> npt.NDArray[np.datetime64]:
    missing = np.isnan(values)
    stamps = np.where(missing, 0, values).astype(np.int64).astype("datetime64[ns]")
    stamps[missing] = np.datetime64("NaT")
    return stamps
