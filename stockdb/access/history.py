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
from stockdb.core.reader import Bars, Origin, Reader, ReadPolicy
from stockdb.core.report import ValidationReport
from stockdb.core.validation import validate_arrays
from stockdb.errors import ValidationError
from stockdb.processing.adjust import apply_to, split_part
from stockdb.processing.evaluate import evaluate, warmup
from stockdb.processing.indicators import indicators
from stockdb.processing.resample import resample_intraday, resample_sessions
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
    """

    wanted: DateRange = field(default_factory=DateRange)
    interval: Interval = INTERVALS["daily"]
    adjust: Adjustment = "none"
    validate: bool = True
    preprocess: bool | str | tuple[str | Column, ...] = False
    policy: ReadPolicy = field(default_factory=ReadPolicy)
    events: EventTables = field(default_factory=EventTables)


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
    source = source_interval(reader, request.interval)
    given = _Given(reader, reference, symbol, source, today)
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
        "empty_reason": None if len(frame) else _why_empty(bars, request.wanted, today),
        "validation": None if read.report is None else read.report.summary(),
    }
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


@dataclass(frozen=True, slots=True)
class _Read:
    """Bars as they are asked for, without indicators."""

    frame: pd.DataFrame
    bars: Bars
    report: ValidationReport | None
    adjusted: Adjusted | None

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
    bars = reader.bars(given.symbol, source, request.wanted, request.policy)
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
    frame = _frame(date, columns, bars, source)
    if request.interval != source:
        frame = _resampled(frame, bars, request, source)
    return _Read(frame, bars, report, adjusted)


def _resampled(
    frame: pd.DataFrame, bars: Bars, request: HistoryRequest, source: Interval
) -> pd.DataFrame:
    if source.intraday:
        return resample_intraday(frame, request.interval)
    return resample_sessions(
        frame,
        request.interval,
        start=request.wanted.first_day(bars.timezone),
        end=request.wanted.last_day(bars.timezone),
        last_held=None if bars.last_held is None else pd.Timestamp(bars.last_held),
        calendar=bars.calendar,
    )


def _adjustment(given: _Given, request: HistoryRequest, bars: Bars) -> Adjusted:
    """Compute the factors of the rows asked for, which events after them need later rows for."""
    wanted = replace(request.wanted, end=None)
    found = adjustment_of(
        given.reader.bars(bars.symbol, given.source, wanted, request.policy),
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


def source_interval(reader: Reader, wanted: Interval) -> Interval:
    """Choose what to read: bars of this length, or the longest held that make it up."""
    held = {
        dataset.interval or "daily"
        for dataset in reader.settings.datasets.values()
        if dataset.kind == "bars" and dataset.duplicate_of is None
    }
    if wanted.name in held or not wanted.intraday:
        return wanted if wanted.name in held else INTERVALS["daily"]
    parts = [
        interval
        for name in held
        if (interval := INTERVALS[name]).intraday and wanted.minutes % interval.minutes == 0
    ]
    return max(parts, key=lambda interval: interval.minutes) if parts else wanted


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


def _why_empty(bars: Bars, wanted: DateRange, today: dt.date) -> str:
    """Say why a known symbol has no rows in a range."""
    start, end = wanted.first_day(bars.timezone), wanted.last_day(bars.timezone)
    if bars.first_held is None or bars.last_held is None:
        return "the object holds no rows"
    if len(bars.date):
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
    return "the bucket holds no bars in the range, though the exchange was open"
