"""Longer bars from shorter ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from stockdb.sessions import exchange_zone, has_session, reached, schedule
from stockdb.types import Interval

__all__ = ["resample_intraday", "resample_sessions", "resample_to_sessions"]

#: How each column of a longer bar follows from the shorter ones; other columns: the last.
_AGGREGATE = {
    "open": "first",
    "high": "max",
    "low": "min",
    "close": "last",
    "volume": "sum",
    "dividends": "sum",
}


def resample_sessions(
    frame: pd.DataFrame,
    interval: Interval,
    *,
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    last_held: pd.Timestamp | None,
    calendar: str,
) -> pd.DataFrame:
    """Make weekly (Monday to Sunday) or monthly bars of daily ones.

    Parameters
    ----------
    frame : pandas.DataFrame
        Daily bars, DatetimeIndex ascending and unique.
    interval : Interval
        ``weekly`` or ``monthly``.
    start, end : pandas.Timestamp or None
        First and last day of the range that the frame was cut to, naive, seen from the exchange.
    last_held : pandas.Timestamp or None
        The newest session held, also beyond the range.
    calendar : str
        Exchange calendar that says whether a cut period lacks a session.

    Returns
    -------
    pandas.DataFrame
        Labelled by the last session that each period holds; ``partial`` (bool) marks a
        period of which sessions lie outside the range or after the newest bar held.

    Notes
    -----
    The first open and last close skip NaN; a period without any price stays NaN, and so
    does a volume of which every value is missing.
    """
    if frame.empty:
        return frame.assign(partial=np.zeros(0, bool))
    index = pd.DatetimeIndex(frame.index)
    period = index.to_period("W-SUN" if interval.name == "weekly" else "M")
    result = _aggregate(frame, np.asarray(period.asi8))
    result.index = pd.DatetimeIndex(index.to_series().groupby(np.asarray(period.asi8)).max())
    result.index.name = index.name
    partial = np.zeros(len(result), bool)
    # Only the first and the last period can be cut: the range and the data are contiguous.
    first, last = period[0], period[-1]
    day = pd.Timedelta(1, "D")
    if start is not None and has_session(calendar, first.start_time, start - day):
        partial[0] = True
    ends = [stamp for stamp in (end, last_held) if stamp is not None]
    if ends and has_session(calendar, min(ends) + day, last.end_time.normalize()):
        partial[-1] = True
    return result.assign(partial=partial)


def resample_intraday(frame: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Make longer intraday bars, aligned to the clock and labelled by their start.

    Parameters
    ----------
    frame : pandas.DataFrame
        Bars with a zoned DatetimeIndex, labelled by their start.
    interval : Interval

    Returns
    -------
    pandas.DataFrame
        Periods without any bar are left out: nothing is invented.
    """
    if frame.empty:
        return frame
    # Counted in elapsed time from local midnight, so that the hour repeated in autumn stays
    # two hours; the session's open (09:30) needs an offset for bars of an hour.
    index = pd.DatetimeIndex(frame.index)
    offset = pd.Timedelta(30, "min") if interval.minutes == 60 else pd.Timedelta(0)
    utc = index.tz_convert("UTC")
    label = (utc - offset).floor(f"{interval.minutes}min") + offset
    result = _aggregate(frame, label.tz_convert(index.tz))
    result.index = pd.DatetimeIndex(result.index, name=index.name)
    return result


def resample_to_sessions(
    frame: pd.DataFrame, interval: Interval, calendar: str
) -> tuple[pd.DataFrame, int]:
    """Make daily bars of intraday ones: those that overlap the session's hours.

    Parameters
    ----------
    frame : pandas.DataFrame
        Bars with a zoned DatetimeIndex, labelled by their start.
    interval : Interval
        Their length.
    calendar : str
        Exchange calendar that names the sessions.

    Returns
    -------
    (pandas.DataFrame, int)
        Index: sessions, naive midnights; and how many bars lie outside of every session (before
        and after hours, closed days), which are left out. Where the calendar does not reach, a
        session is a date of the frame's clock.

    Notes
    -----
    American exchanges print their closing auction within the session, and their data go on
    after it; elsewhere the auction comes up to a quarter of an hour after the close that the
    calendar names, and is the day's close.
    """
    index = pd.DatetimeIndex(frame.index)
    days = index.tz_localize(None).normalize().as_unit("ns")
    if frame.empty:
        return frame.set_axis(days.rename(index.name), axis=0), 0
    day = pd.Timedelta(1, "D")
    known = schedule(calendar, days[0] - day, days[-1] + day)
    auction = 0 if exchange_zone(calendar).startswith("America/") else 15
    begins = known["open"] - pd.Timedelta(interval.minutes, "min")
    ends = known["close"] + pd.Timedelta(auction, "min")
    starts = index.tz_convert("UTC")
    place = np.asarray(pd.DatetimeIndex(ends).searchsorted(starts, side="right"))
    session = days.to_numpy()
    inside = ~reached(calendar, days)
    if len(known):
        at = np.minimum(place, len(known) - 1)
        open_ = (place < len(known)) & (starts > pd.DatetimeIndex(begins)[at])
        session = np.where(open_, known.index.to_numpy()[at], session)
        inside |= np.asarray(open_)
    result = _aggregate(frame[inside], session[inside])
    result.index = pd.DatetimeIndex(result.index, name=index.name).as_unit("ns")
    return result, int((~inside).sum())


def _aggregate(frame: pd.DataFrame, period: Any) -> pd.DataFrame:
    grouped = frame.groupby(period, sort=True)
    result = grouped.agg({name: _AGGREGATE.get(str(name), "last") for name in frame.columns})
    if "volume" in frame:
        result["volume"] = grouped["volume"].sum(min_count=1)
    if "stock_splits" in frame:  # many vendors write 0 where there is none
        splits = frame["stock_splits"].where(frame["stock_splits"] != 0)
        product = splits.groupby(period, sort=True).prod(min_count=1)
        result["stock_splits"] = product.fillna(result["stock_splits"])
    return result
