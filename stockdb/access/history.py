"""One historical read: bars, checked, adjusted, resampled, shaped and labelled."""

from __future__ import annotations

import datetime as dt
import functools
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.access.adjusting import Adjusted, EventTables, adjustment_of, needed
from stockdb.access.provenance import ATTRS, ProvenanceLog, worst_freshness
from stockdb.access.reference import Reference
from stockdb.core.catalog import chosen_datasets, held_nowhere, not_held, source_intervals
from stockdb.core.reader import Bars, Origin, Reader, ReadPolicy
from stockdb.core.report import ValidationReport
from stockdb.core.validation import validate_arrays
from stockdb.errors import (
    DeadlineError,
    StockDBError,
    SymbolNotFoundError,
    UnavailableError,
    ValidationError,
)
from stockdb.processing.adjust import apply_to, split_part
from stockdb.processing.evaluate import evaluate, warmup
from stockdb.processing.indicators import indicators
from stockdb.processing.resample import (
    resample_intraday,
    resample_sessions,
    resample_to_sessions,
)
from stockdb.processing.spec import Column
from stockdb.sessions import has_session
from stockdb.types import INTERVALS, Adjustment, DateRange, Interval

__all__ = ["HistoryRequest", "read_history", "warm_start"]

_COLUMNS: Final = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """What is asked of each symbol; parsed, so that workers need not.

    Attributes
    ----------
    wanted : DateRange
    interval : Interval
    adjust : {'none', 'splits', 'all'}
    validate : bool
    preprocess : bool, str or tuple
        True adds the basic columns; else names of indicators, or columns.
    policy : ReadPolicy
    events : EventTables
    dataset : str or None
        The one to read; None takes what holds the symbol.
    """

    wanted: DateRange = field(default_factory=DateRange)
    interval: Interval = INTERVALS["daily"]
    adjust: Adjustment = "none"
    validate: bool = True
    preprocess: bool | str | tuple[str | Column, ...] = False
    policy: ReadPolicy = field(default_factory=ReadPolicy)
    events: EventTables = field(default_factory=EventTables)
    dataset: str | None = None


def read_history(
    reader: Reader,
    reference: Reference,
    log: ProvenanceLog,
    symbol: str,
    request: HistoryRequest,
    today: dt.date,
) -> pd.DataFrame:
    """Read one symbol.

    Returns
    -------
    pandas.DataFrame
        Flat, index ``date`` ascending and unique, columns float64 in lower case; with
        weekly and monthly bars a bool column ``partial``.

    Raises
    ------
    StockDBError
        As ``MinIODataIntegration.get_historical_data`` documents.
    """
    chosen = chosen_datasets(reader.settings.datasets, request.dataset)
    absent: list[StockDBError] = []
    for source in source_intervals(chosen, request.interval):
        given = _Given(reader, reference, symbol, source, today)
        try:
            return _history(given, request, log)
        except (SymbolNotFoundError, UnavailableError, DeadlineError) as error:
            if not not_held(error):
                raise
            absent.append(error)
    raise held_nowhere(absent)


def _history(given: _Given, request: HistoryRequest, log: ProvenanceLog) -> pd.DataFrame:
    """Read one symbol, made of bars of one length."""
    symbol, today = given.symbol, given.today
    read = _read(given, request)
    frame, bars, origins = read.frame, read.bars, read.origins
    if request.preprocess:
        frame, warm = _with_indicators(given, request, frame)
        origins = _distinct(origins + warm.origins)
    summary = {
        "symbol": symbol,
        "dataset": ",".join(dict.fromkeys(origin.dataset for origin in bars.origins)),
        "interval": request.interval.name,
        "adjustment": bars.adjustment if read.adjusted is None else request.adjust,
        "freshness": worst_freshness(origins),
        "validated_at": min(origin.validated_at for origin in origins),
        "simulated": any(origin.simulated for origin in origins),
        "empty_reason": None if len(frame) else _why_empty(read, request.wanted, today),
        "validation": None if read.report is None else read.report.summary(),
    }
    if given.source != request.interval:
        summary["made_of"] = given.source.name
    if read.outside:
        summary["outside_sessions"] = read.outside
    if read.adjusted is not None:
        summary["adjusted"] = read.adjusted.note
    if request.preprocess:
        summary["warmup"] = warm.note
    frame.attrs = {ATTRS: log.note(summary, origins)}
    return frame


@dataclass(frozen=True, slots=True)
class _Given:
    """What all parts of one read go by."""

    reader: Reader
    reference: Reference
    symbol: str
    source: Interval
    today: dt.date

    def bars(self, wanted: DateRange, request: HistoryRequest) -> Bars:
        """Read the bars that a request is made of."""
        return self.reader.bars(
            self.symbol,
            self.source,
            wanted,
            request.policy,
            dataset=request.dataset,
            sessions=not request.interval.intraday,
        )


@dataclass(frozen=True, slots=True)
class _Read:
    """Bars as they are asked for, without indicators.

    Attributes
    ----------
    frame : pandas.DataFrame
    bars : Bars
        As they are held.
    report : ValidationReport or None
    adjusted : Adjusted or None
    usable : int
        Rows of ``bars`` that validation left.
    outside : int
        Of those, rows outside of every session, which no daily bar is made of.
    """

    frame: pd.DataFrame
    bars: Bars
    report: ValidationReport | None
    adjusted: Adjusted | None
    usable: int = 0
    outside: int = 0

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Of the bars, and of the tables that they were adjusted by."""
        if self.adjusted is None:
            return self.bars.origins
        return _distinct(self.bars.origins + self.adjusted.origins)


@dataclass(frozen=True, slots=True)
class _Warmup:
    """The bars before a range that indicators were computed from."""

    note: dict[str, Any]
    origins: tuple[Origin, ...] = ()


def _read(given: _Given, request: HistoryRequest, what: str = "") -> _Read:
    reader, source = given.reader, given.source
    bars = given.bars(request.wanted, request)
    adjusted: Adjusted | None = None
    if needed(bars.adjustment, request.adjust):
        adjusted = _adjustment(given, request, bars)
    columns, date = dict(bars.columns), bars.date
    report: ValidationReport | None = None
    keep: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    if request.validate and len(date):
        rules = reader.settings.validation
        report = validate_arrays(
            date,
            # A split that is known, and adjusted for, is no finding.
            columns if adjusted is None else apply_to(columns, split_part(adjusted.factors)),
            rules,
            symbol=given.symbol,
            intraday=source.intraday,
            calendar=bars.calendar if rules.missing_sessions else None,
            timezone=bars.timezone if source.intraday else None,
        )
        _refuse(report, rules.policy, given.symbol, what)
        if rules.policy == "drop" and not report.ok:
            keep = ~report.bad_rows("error")
    if adjusted is not None:
        columns = apply_to(columns, adjusted.factors)
    last_of_date = _last_of_each(date)
    if last_of_date is not None:
        keep = last_of_date if keep is None else keep & last_of_date
    if keep is not None:
        date = date[keep]
        columns = {name: values[keep] for name, values in columns.items()}
    frame, outside = _frame(date, columns, bars, source), 0
    if request.interval != source:
        frame, outside = _resampled(frame, bars, request, source)
    return _Read(frame, bars, report, adjusted, len(date), outside)


def _resampled(
    frame: pd.DataFrame, bars: Bars, request: HistoryRequest, source: Interval
) -> tuple[pd.DataFrame, int]:
    if request.interval.intraday:
        return resample_intraday(frame, request.interval), 0
    first = request.wanted.first_day(bars.timezone)
    last = request.wanted.last_day(bars.timezone)
    outside = 0
    if source.intraday:
        frame, outside = resample_to_sessions(frame, source, bars.calendar)
        frame = frame.loc[first:last]
        if request.interval.name == "daily":
            return frame, outside
    longer = resample_sessions(
        frame,
        request.interval,
        start=first,
        end=last,
        last_held=_last_day(bars, source),
        calendar=bars.calendar,
    )
    return longer, outside


def _last_day(bars: Bars, source: Interval) -> pd.Timestamp | None:
    """Give the newest day held, as the exchange's clock showed it."""
    if bars.last_held is None or not source.intraday:
        return None if bars.last_held is None else pd.Timestamp(bars.last_held)
    return pd.Timestamp(bars.last_held, tz="UTC").tz_convert(bars.timezone).tz_localize(None)


def _adjustment(given: _Given, request: HistoryRequest, bars: Bars) -> Adjusted:
    """Compute the factors of the rows asked for, which events after them need later rows for."""
    wanted = replace(request.wanted, end=None)
    found = adjustment_of(
        given.bars(wanted, request),
        request.adjust,
        request.events,
        given.reference,
        request.policy,
        intraday=given.source.intraday,
        today=given.today,
    )
    rows, whole = slice(0, len(bars.date)), found.factors
    part = replace(whole, price=whole.price[rows], volume=whole.volume[rows])
    return replace(found, factors=part)


def _with_indicators(
    given: _Given, request: HistoryRequest, frame: pd.DataFrame
) -> tuple[pd.DataFrame, _Warmup]:
    """Add indicators that are warm in the first row: earlier bars are loaded on top."""
    wanted = None if request.preprocess is True else request.preprocess
    columns = indicators(wanted)  # type: ignore[arg-type]
    needs = warmup(columns)
    start = warm_start(given.reader, request, needs)
    whole, warm = frame, _Warmup({"needed": needs, "there": 0})
    if start is not None and len(frame):
        earlier = replace(request, wanted=replace(request.wanted, start=start))
        read = _read(given, earlier, " before the range, where its indicators begin")
        # What the frame was validated by stays: its rows, behind the bars before them.
        before = read.frame[read.frame.index < frame.index[0]]
        whole = pd.concat([before, frame])
        warm = _Warmup({"needed": needs, "there": len(before)}, read.origins)
    computed = evaluate(whole, columns).iloc[len(whole) - len(frame) :]
    kept = frame[[name for name in frame.columns if name not in computed.columns]]
    return pd.concat([kept, computed], axis=1), warm


def warm_start(reader: Reader, request: HistoryRequest, bars: int) -> pd.Timestamp | None:
    """Start early enough to hold so many bars more, holidays and holes included."""
    start = request.wanted.start
    if start is None or not bars:
        return None
    interval = request.interval
    days = {"daily": 1.6 * bars, "weekly": 7.5 * bars, "monthly": 31 * bars}.get(
        interval.name, 1.6 * (bars * interval.minutes / 390 + 1)
    )
    earlier = start - pd.Timedelta(days=int(days) + 10)
    # The years that are held by day cost a file a day: indicators do not reach into them.
    for dataset in reader.settings.datasets.values():
        if dataset.kind == "day_bars" and dataset.end and dataset.duplicate_of is None:
            edge = pd.Timestamp(dataset.end).tz_localize(start.tzinfo) + pd.Timedelta(1, "D")
            if earlier < edge <= start:
                earlier = edge
    return earlier


def _refuse(report: ValidationReport, policy: str, symbol: str, what: str) -> None:
    """Raise where the policy says so: ``drop`` cannot heal what is wrong with all rows."""
    refused = [
        finding
        for finding in report.errors
        if policy == "raise" or (policy == "drop" and finding.frame_level)
    ]
    if refused:
        raise ValidationError(
            f"{symbol}{what}: {'; '.join(finding.reason for finding in refused)}",
            symbol=symbol,
            report=report,
        )


def _distinct(origins: tuple[Origin, ...]) -> tuple[Origin, ...]:
    """Name each object once, as it was first read."""
    kept: dict[tuple[str, str], Origin] = {}
    for origin in origins:
        kept.setdefault((origin.dataset, origin.key), origin)
    return tuple(kept.values())


def _last_of_each(
    date: np.ndarray[Any, np.dtype[np.datetime64]],
) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
    """Mark the last row of each date; None where no date repeats (nearly always)."""
    if len(date) < 2:
        return None
    different = date[1:] != date[:-1]
    if different.all():
        return None
    return np.append(different, True)


def _frame(
    date: np.ndarray[Any, np.dtype[np.datetime64]],
    columns: dict[str, np.ndarray[Any, np.dtype[np.float64]]],
    bars: Bars,
    interval: Interval,
) -> pd.DataFrame:
    names: list[str] = [name for name in _COLUMNS if name in columns]
    names += [name for name in columns if name not in names]
    # One block, copied once: the arrays may be views of a memory map.
    block = np.empty((len(names), len(date)))
    for row, name in enumerate(names):
        block[row] = columns[name]
    index = pd.DatetimeIndex(np.array(date, "datetime64[ns]"), name="date")
    if interval.intraday:
        index = index.tz_localize("UTC").tz_convert(bars.timezone)
    return pd.DataFrame(block.T, index=index, columns=_column_index(tuple(names)), copy=False)


@functools.lru_cache(maxsize=256)
def _column_index(names: tuple[str, ...]) -> pd.Index[str]:
    """Share the column index: making one takes a third as long as the frame itself."""
    return pd.Index(names)


def _why_empty(read: _Read, wanted: DateRange, today: dt.date) -> str:
    """Say why a known symbol has no rows in a range."""
    bars = read.bars
    start, end = wanted.first_day(bars.timezone), wanted.last_day(bars.timezone)
    if bars.first_held is None or bars.last_held is None:
        return "the object holds no rows"
    if len(bars.date) and not read.usable:
        return f"validation dropped all {len(bars.date):,} rows of the range"
    first, last = pd.Timestamp(bars.first_held), pd.Timestamp(bars.last_held)
    if start is not None and start.date() > today:
        return "the range lies in the future"
    if start is not None and end is not None and not has_session(bars.calendar, start, end):
        return f"no session of {bars.calendar} in the range (weekend or holiday)"
    if start is not None and start > last:
        return f"the range begins after the newest bar held ({last.date()})"
    if end is not None and end < first:
        return f"the range ends before the first bar held ({first.date()})"
    if read.outside:
        return f"its {read.outside:,} bars of the range lie outside of the sessions"
    return "the bucket holds no bars in the range, though the exchange was open"
