"""One historical read: bars, checked, adjusted, resampled, shaped and labelled."""

from __future__ import annotations

import datetime as dt
import functools
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.access.provenance import ATTRS, ProvenanceLog, worst_freshness
from stockdb.core.reader import Bars, Reader, ReadPolicy
from stockdb.core.report import ValidationReport
from stockdb.core.validation import validate_arrays
from stockdb.errors import DataError, ValidationError
from stockdb.processing.preprocessing import preprocess
from stockdb.processing.resample import resample_intraday, resample_sessions
from stockdb.sessions import has_session
from stockdb.types import INTERVALS, Adjustment, DateRange, Interval

__all__ = ["HistoryRequest", "read_history"]

_ADJUSTED: Final = {"none": 0, "splits": 1, "all": 2}
_COLUMNS: Final = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """What is asked of each symbol; parsed, so that workers need not.

    Attributes
    ----------
    wanted : DateRange
    interval : Interval
    adjust : {'none', 'splits', 'all'}
    validate, preprocess : bool
    policy : ReadPolicy
    """

    wanted: DateRange = field(default_factory=DateRange)
    interval: Interval = INTERVALS["daily"]
    adjust: Adjustment = "none"
    validate: bool = True
    preprocess: bool = False
    policy: ReadPolicy = field(default_factory=ReadPolicy)


def read_history(
    reader: Reader, log: ProvenanceLog, symbol: str, request: HistoryRequest, today: dt.date
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
    bars = reader.bars(symbol, source, request.wanted, request.policy)
    _check_adjustment(bars, request.adjust)
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
        )
        _refuse(report, rules.policy, symbol)
        if rules.policy == "drop" and not report.ok:
            keep = ~report.bad_rows("error")
    last_of_date = _last_of_each(date)
    if last_of_date is not None:
        keep = last_of_date if keep is None else keep & last_of_date
    if keep is not None:
        date = date[keep]
        columns = {name: values[keep] for name, values in columns.items()}
    frame = _frame(date, columns, bars, source)
    if request.interval != source:
        if source.intraday:
            frame = resample_intraday(frame, request.interval)
        else:
            last = None if bars.last_held is None else pd.Timestamp(bars.last_held)
            frame = resample_sessions(
                frame,
                request.interval,
                start=request.wanted.first_day(bars.timezone),
                end=request.wanted.last_day(bars.timezone),
                last_held=last,
                calendar=bars.calendar,
            )
    if request.preprocess:
        frame = preprocess(frame)
    summary = {
        "symbol": symbol,
        "dataset": ",".join(dict.fromkeys(origin.dataset for origin in bars.origins)),
        "interval": request.interval.name,
        "adjustment": bars.adjustment,
        "freshness": worst_freshness(bars.origins),
        "validated_at": min(origin.validated_at for origin in bars.origins),
        "simulated": any(origin.simulated for origin in bars.origins),
        "empty_reason": None if len(frame) else _why_empty(bars, request.wanted, today),
        "validation": None if report is None else report.summary(),
    }
    frame.attrs = {ATTRS: log.note(summary, bars.origins)}
    return frame


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


def _check_adjustment(bars: Bars, wanted: Adjustment) -> None:
    held = bars.adjustment
    if _ADJUSTED[wanted] <= _ADJUSTED[held]:
        return  # as adjusted as asked for, or more: it is recorded, never undone or repeated
    missing = (
        "splits and dividends"
        if wanted == "all" and held == "none"
        else ("dividends" if wanted == "all" else "splits")
    )
    raise DataError(
        f"The prices of {bars.symbol} are adjusted for {held!r} only; adjusting them for "
        f"{wanted!r} needs {missing} that are not available.",
        remedy="Use adjust='none', or declare the dataset's adjustment in minio_config.py.",
        symbol=bars.symbol,
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
