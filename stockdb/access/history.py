"""One historical read: bars, checked, adjusted, resampled, shaped and labelled."""

from __future__ import annotations

import datetime as dt
import functools
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.access.adjusting import EventTables, adjustment_of, needed
from stockdb.access.provenance import ATTRS, ProvenanceLog, worst_freshness
from stockdb.access.reference import Reference
from stockdb.core.reader import Bars, Reader, ReadPolicy
from stockdb.core.report import ValidationReport
from stockdb.core.validation import validate_arrays
from stockdb.errors import ValidationError
from stockdb.processing.adjust import Factors, apply_to
from stockdb.processing.evaluate import evaluate, warmup
from stockdb.processing.indicators import indicators
from stockdb.processing.resample import resample_intraday, resample_sessions
from stockdb.processing.spec import Column
from stockdb.sessions import has_session
from stockdb.types import INTERVALS, Adjustment, DateRange, Interval

__all__ = ["HistoryRequest", "read_history"]

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
    read = _read(reader, reference, symbol, request, source)
    frame, bars = read.frame, read.bars
    if request.preprocess:
        frame = _with_indicators(reader, reference, symbol, request, source, frame)
    summary = {
        "symbol": symbol,
        "dataset": ",".join(dict.fromkeys(origin.dataset for origin in bars.origins)),
        "interval": request.interval.name,
        "adjustment": bars.adjustment if read.adjusted is None else request.adjust,
        "freshness": worst_freshness(bars.origins),
        "validated_at": min(origin.validated_at for origin in bars.origins),
        "simulated": any(origin.simulated for origin in bars.origins),
        "empty_reason": None if len(frame) else _why_empty(bars, request.wanted, today),
        "validation": None if read.report is None else read.report.summary(),
    }
    if read.adjusted is not None:
        summary["adjusted"] = read.adjusted
    frame.attrs = {ATTRS: log.note(summary, bars.origins)}
    return frame


@dataclass(frozen=True, slots=True)
class _Read:
    """Bars as they are asked for, without indicators."""

    frame: pd.DataFrame
    bars: Bars
    report: ValidationReport | None
    adjusted: dict[str, Any] | None


def _read(
    reader: Reader, reference: Reference, symbol: str, request: HistoryRequest, source: Interval
) -> _Read:
    bars = reader.bars(symbol, source, request.wanted, request.policy)
    adjusted: tuple[Factors, dict[str, Any]] | None = None
    if needed(bars.adjustment, request.adjust):
        adjusted = _adjustment(reader, reference, bars, source, request)
    columns, date = dict(bars.columns), bars.date
    report: ValidationReport | None = None
    keep: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    if request.validate and len(date):
        rules = reader.settings.validation
        report = validate_arrays(
            date,
            columns,
            rules,
            symbol=symbol,
            intraday=source.intraday,
            calendar=bars.calendar if rules.missing_sessions else None,
            timezone=bars.timezone if source.intraday else None,
        )
        _refuse(report, rules.policy, symbol)
        if rules.policy == "drop" and not report.ok:
            keep = ~report.bad_rows("error")
    if adjusted is not None:
        columns = apply_to(columns, adjusted[0])
    last_of_date = _last_of_each(date)
    if last_of_date is not None:
        keep = last_of_date if keep is None else keep & last_of_date
    if keep is not None:
        date = date[keep]
        columns = {name: values[keep] for name, values in columns.items()}
    frame = _frame(date, columns, bars, source)
    if request.interval != source:
        frame = _resampled(frame, bars, request, source)
    return _Read(frame, bars, report, None if adjusted is None else adjusted[1])


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


def _adjustment(
    reader: Reader, reference: Reference, bars: Bars, source: Interval, request: HistoryRequest
) -> tuple[Factors, dict[str, Any]]:
    """Compute the factors of the rows asked for, which events after them need later rows for."""
    longer = reader.bars(bars.symbol, source, replace(request.wanted, end=None), request.policy)
    found, note = adjustment_of(longer, request.adjust, request.events, reference, request.policy)
    rows = slice(0, len(bars.date))
    return replace(found, price=found.price[rows], volume=found.volume[rows]), note


def _with_indicators(
    reader: Reader,
    reference: Reference,
    symbol: str,
    request: HistoryRequest,
    source: Interval,
    frame: pd.DataFrame,
) -> pd.DataFrame:
    """Add indicators that are warm in the first row: earlier bars are loaded on top."""
    wanted = None if request.preprocess is True else request.preprocess
    columns = indicators(wanted)  # type: ignore[arg-type]
    start = _earlier(reader, request, warmup(columns))
    whole = frame
    if start is not None and len(frame):
        earlier = replace(request, wanted=replace(request.wanted, start=start), validate=False)
        longer = _read(reader, reference, symbol, earlier, source).frame
        # What the frame was validated by stays: its rows, behind the bars before them.
        whole = pd.concat([longer[longer.index < frame.index[0]], frame])
    computed = evaluate(whole, columns).iloc[len(whole) - len(frame) :]
    kept = frame[[name for name in frame.columns if name not in computed.columns]]
    return pd.concat([kept, computed], axis=1)


def _earlier(reader: Reader, request: HistoryRequest, bars: int) -> pd.Timestamp | None:
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


def _refuse(report: ValidationReport, policy: str, symbol: str) -> None:
    """Raise where the policy says so: ``drop`` cannot heal what is wrong with all rows."""
    refused = [
        finding
        for finding in report.errors
        if policy == "raise" or (policy == "drop" and finding.frame_level)
    ]
    if refused:
        raise ValidationError(
            f"{symbol}: {'; '.join(finding.reason for finding in refused)}",
            symbol=symbol,
            report=report,
        )


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
