"""Which sessions bars hold, against the exchange's calendar: coverage, gaps and their kinds. Pure.

What a date without a row means depends on the date: a holiday is no gap, a session that has
only just ended is not published yet, one in the middle is missing. What a row means does, too:
on a closed day nobody traded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from stockdb.core.barview import Bars
from stockdb.core.report import Finding
from stockdb.core.rhythm import bar_length
from stockdb.core.rules import severity_of
from stockdb.sessions import closed_days, exchange_zone, half_days, schedule, sessions

__all__ = [
    "EXPLANATIONS",
    "GAP_COLUMNS",
    "PUBLISHING",
    "Window",
    "about_sessions",
    "coverage",
    "gaps",
]

#: Sessions that may pass until a bar is published: later ones are missing, not late.
PUBLISHING: Final = 3
GAP_COLUMNS: Final = ("start", "end", "sessions", "bars", "kind", "half_days", "explanation")
EXPLANATIONS: Final = {
    "missing": "the exchange was open, and the object holds earlier and later bars but none here",
    "object_missing": "the exchange was open, and the bucket holds no object for these days",
    "before_first": "the exchange was open before the first bar held: not listed yet, or not kept",
    "after_last": "the exchange was open after the newest bar held: delisted, or no longer updated",
    "not_published": "the newest sessions: their bars are not in the bucket yet",
    "intraday": "the exchange was open, and bars of the day's other hours are held",
    "closed_day": "no gap: bars are held, but the exchange was closed",
}


class Window(NamedTuple):
    """The dates that are looked at, and the time at which they are.

    Attributes
    ----------
    start, end : pandas.Timestamp or None
        Naive dates, both included; None is the first bar held, and today.
    now : pandas.Timestamp
        Zoned. A session that has not closed yet is not expected.
    """

    start: pd.Timestamp | None
    end: pd.Timestamp | None
    now: pd.Timestamp


def about_sessions(bars: Bars, calendar: str) -> Iterator[Finding]:
    """Hold bars against a calendar, between the first day held and the last.

    Parameters
    ----------
    bars : Bars
        Of one symbol; daily or intraday. Labels without a zone are taken to show the
        exchange's clock.
    calendar : str

    Yields
    ------
    Finding
        ``missing_session``, about no row, its labels are the missing dates; ``missing_bars``,
        of sessions that are held in part, its labels are the missing times by the exchange's
        clock (half days are known; nothing is said where bars do not stand at regular times);
        ``holiday``, the rows of weekdays on which the exchange was closed.
    """
    if not bars.dated.any():
        return
    if bars.zoned and not bars.daily:
        local = pd.DatetimeIndex(bars.date, tz="UTC").tz_convert(exchange_zone(calendar))
        bars = replace(bars, wall=local.tz_localize(None).to_numpy())
    stamps = bars.days.astype("datetime64[D]").astype("datetime64[ns]")
    held = pd.DatetimeIndex(np.unique(stamps[bars.dated]))
    if len(held) > 1 and np.median(np.diff(held.to_numpy())) > np.timedelta64(4, "D"):
        return  # weekly or monthly bars
    expected = sessions(calendar, held[0], held[-1])
    missing = expected.difference(held)
    severity = severity_of("missing_session", "warning", bars.rules)
    if len(missing) and severity:
        half = int(missing.isin(half_days(calendar, held[0], held[-1])).sum())
        some = f", {half:,} of them half days" if half else ""
        yield Finding(
            rule="missing_session",
            severity=severity,
            reason=f"Sessions of {calendar} without a row{some}.",
            count=len(missing),
            labels=missing,
        )
    severity = severity_of("missing_bars", "warning", bars.rules)
    if not bars.daily and severity and len(expected):
        absent = _absent(bars.in_order[0], schedule(calendar, held[0], held[-1]), calendar)
        if len(absent):
            yield Finding(
                rule="missing_bars",
                severity=severity,
                reason=f"Bars of sessions of {calendar} that are held in part are missing.",
                count=len(absent),
                labels=absent,
            )
    closed = closed_days(calendar, pd.DatetimeIndex(stamps)) & bars.dated
    closed &= (bars.days + 3) % 7 < 5  # another rule speaks of weekends
    severity = severity_of("holiday", "warning", bars.rules)
    if closed.any() and severity:
        positions = np.flatnonzero(closed)
        shown = [name for name in ("close", "volume") if name in bars.columns]
        yield Finding(
            rule="holiday",
            severity=severity,
            reason=f"The row falls on a day on which {calendar} was closed.",
            count=len(positions),
            positions=positions,
            columns=tuple(shown),
            labels=pd.DatetimeIndex(bars.wall[positions]),
            data={name: bars.columns[name][positions] for name in shown},
        )


def _absent(ordered: Bars, open_days: pd.DataFrame, calendar: str) -> pd.DatetimeIndex:
    """List the bars that sessions held in part lack, by the exchange's clock.

    Bars may be named by their start or by their end: what fits best holds. Nothing is said
    of bars that stand at other times, such as hours that begin at the full hour.
    """
    length = bar_length(ordered)
    days = np.unique(ordered.days).astype("datetime64[D]").astype("datetime64[ns]")
    open_days = open_days.loc[open_days.index.isin(days), ["open", "close"]]
    none = pd.DatetimeIndex([])
    if length is None or not len(open_days):
        return none
    step, zone = pd.Timedelta(length, "ns"), exchange_zone(calendar)
    clock = open_days.apply(lambda times: times.dt.tz_convert(zone).dt.tz_localize(None))
    held = pd.DatetimeIndex(ordered.wall)
    best, absent = 0.0, none
    for times in (clock, clock + step):
        due = pd.DatetimeIndex(np.concatenate(_starts(times, step)))
        there = due.isin(held)
        if there.mean() > best:
            best, absent = float(there.mean()), due[~there]
    return absent


def gaps(
    held: pd.DatetimeIndex,
    calendar: str,
    window: Window,
    *,
    minutes: int | None = None,
    absent: pd.DatetimeIndex | None = None,
) -> pd.DataFrame:
    """Find what is missing between two dates, run by run; and what should not be there.

    Parameters
    ----------
    held : pandas.DatetimeIndex
        Labels of the bars held, ascending: naive dates; zoned starts for intraday bars.
    calendar : str
    window : Window
    minutes : int, optional
        Length of intraday bars: the hours of each session are held against them, half days
        and clock changes included.
    absent : pandas.DatetimeIndex, optional
        Naive dates that should have an object of their own, as days in a file each, and
        have none.

    Returns
    -------
    pandas.DataFrame
        One row a gap, ascending: ``start``, ``end`` (dates; zoned first and last missing bar
        of an ``intraday`` gap), ``sessions`` (int, whole sessions missing), ``bars`` (int,
        bars missing; held, of a ``closed_day``), ``kind`` (``missing``, ``object_missing``,
        ``before_first``, ``after_last``, ``not_published``, ``intraday``, ``closed_day``),
        ``half_days`` (int, of the sessions), ``explanation``.
    """
    days = _days(held)
    first, last = _ends(days, window)
    if first is None or last is None:
        return _table([])
    known = schedule(calendar, first, last)
    open_days = known[known["close"] <= window.now]
    expected = pd.DatetimeIndex(open_days.index)
    kinds = _kinds(expected, days, absent)
    rows = list(_runs(expected, kinds, open_days, minutes))
    rows += _closed(held, calendar, first, last)
    if minutes is not None:
        rows += _inside(held, open_days[expected.isin(days)], minutes)
    rows.sort(key=lambda row: pd.Timestamp(row["start"]).tz_localize(None))
    return _table(rows)


def coverage(
    held: pd.DatetimeIndex, found: pd.DataFrame, calendar: str, window: Window
) -> dict[str, Any]:
    """Sum up what is held of what was to be expected; takes what :func:`gaps` found.

    Returns
    -------
    dict
        first, last (sessions held, NaT without any), expected, held, missing (sessions),
        share (held / expected, NaN where nothing was expected), not_published, closed_days
        (rows on days without a session), half_days (expected), intraday_gaps, missing_bars.
    """
    days = _days(held)
    first, last = _ends(days, window)
    open_days = None
    if first is not None and last is not None:
        open_days = schedule(calendar, first, last)
        open_days = open_days[open_days["close"] <= window.now]
    expected = pd.DatetimeIndex([] if open_days is None else open_days.index)
    by_kind = found.groupby("kind")[["sessions", "bars"]].sum()
    late = int(by_kind["sessions"].get("not_published", 0))
    there, due = int(expected.isin(days).sum()), len(expected) - late
    closed = found[found["kind"] == "closed_day"]
    # Zoned gaps within sessions stand in the same columns: dates one by one, not by `.dt`.
    runs = zip(closed["start"], closed["end"], strict=True)
    traded = days[~closed_days(calendar, days)]
    return {
        "first": traded[0] if len(traded) else pd.NaT,
        "last": traded[-1] if len(traded) else pd.NaT,
        "expected": due,
        "held": there,
        "missing": due - there,
        "share": there / due if due else float("nan"),
        "not_published": late,
        "closed_days": sum((end - start).days + 1 for start, end in runs),
        "half_days": 0 if open_days is None else int(open_days["half_day"].sum()),
        "intraday_gaps": int((found["kind"] == "intraday").sum()),
        "missing_bars": int(found["bars"].sum()) - int(closed["bars"].sum()),
    }


def _days(held: pd.DatetimeIndex) -> pd.DatetimeIndex:
    naive = held.tz_localize(None) if held.tz is not None else held
    return pd.DatetimeIndex(naive.normalize().unique()).as_unit("ns")


def _ends(
    days: pd.DatetimeIndex, window: Window
) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    today = window.now.tz_localize(None).normalize()
    first = window.start if window.start is not None else (days[0] if len(days) else None)
    last = min(window.end, today) if window.end is not None else today
    return (None, None) if first is None or first > last else (first, last)


def _kinds(
    expected: pd.DatetimeIndex, days: pd.DatetimeIndex, absent: pd.DatetimeIndex | None
) -> list[str]:
    """Say of each expected session why it is not held; '' where it is."""
    kinds = np.full(len(expected), "missing", dtype=object)
    if absent is not None:
        kinds[expected.isin(absent)] = "object_missing"
    if len(days):
        kinds[expected < days[0]] = "before_first"
        after = expected > days[-1]
        kinds[after] = "not_published" if after.sum() <= PUBLISHING else "after_last"
    kinds[expected.isin(days)] = ""
    return [str(kind) for kind in kinds]


def _runs(
    expected: pd.DatetimeIndex, kinds: list[str], open_days: pd.DataFrame, minutes: int | None
) -> Iterator[dict[str, Any]]:
    first = 0
    while first < len(kinds):
        stop = first + 1
        while stop < len(kinds) and kinds[stop] == kinds[first]:
            stop += 1
        if kinds[first]:
            part = open_days.iloc[first:stop]
            bars = stop - first if minutes is None else sum(map(len, _starts(part, _step(minutes))))
            yield {
                "start": expected[first],
                "end": expected[stop - 1],
                "sessions": stop - first,
                "bars": bars,
                "kind": kinds[first],
                "half_days": int(part["half_day"].sum()),
            }
        first = stop


def _closed(
    held: pd.DatetimeIndex, calendar: str, first: pd.Timestamp, last: pd.Timestamp
) -> Iterator[dict[str, Any]]:
    """Find days with bars and without a session, as far as the calendar knows; runs of days."""
    naive = held.tz_localize(None) if held.tz is not None else held
    stamps = naive.normalize().as_unit("ns")
    stamps = stamps[(stamps >= first) & (stamps <= last)]
    stamps = stamps[closed_days(calendar, stamps)]
    dates, bars = np.unique(stamps.to_numpy(), return_counts=True)
    if not len(dates):
        return
    breaks = np.flatnonzero(np.diff(dates) > np.timedelta64(1, "D")) + 1
    for part in np.split(np.arange(len(dates)), breaks):
        yield {
            "start": pd.Timestamp(dates[part[0]]),
            "end": pd.Timestamp(dates[part[-1]]),
            "sessions": 0,
            "bars": int(bars[part].sum()),
            "kind": "closed_day",
            "half_days": 0,
        }


def _starts(open_days: pd.DataFrame, step: pd.Timedelta) -> list[pd.DatetimeIndex]:
    """Give the starts of the bars that each session should hold."""
    return [
        pd.date_range(opens, closes, freq=step, inclusive="left")
        for opens, closes in zip(open_days["open"], open_days["close"], strict=True)
    ]


def _step(minutes: int) -> pd.Timedelta:
    return pd.Timedelta(minutes, "min")


def _inside(
    held: pd.DatetimeIndex, open_days: pd.DataFrame, minutes: int
) -> Iterator[dict[str, Any]]:
    """Find bars missing within sessions of which others are held."""
    step = _step(minutes)
    stamps = held.tz_convert("UTC")
    for starts in _starts(open_days, step):
        absent = starts[~starts.isin(stamps)]
        if not len(absent):
            continue
        breaks = np.flatnonzero(np.diff(absent.to_numpy()) > step.to_numpy()) + 1
        for part in np.split(np.arange(len(absent)), breaks):
            local = absent[part].tz_convert(held.tz)
            yield {
                "start": local[0],
                "end": local[-1],
                "sessions": 0,
                "bars": len(part),
                "kind": "intraday",
                "half_days": 0,
            }


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    filled = [{**row, "explanation": EXPLANATIONS[row["kind"]]} for row in rows]
    frame = pd.DataFrame(filled, columns=list(GAP_COLUMNS))
    if not rows:
        counts = ["sessions", "bars", "half_days"]
        return frame.astype(dict.fromkeys(counts, "int64")).astype(
            {"start": "datetime64[ns]", "end": "datetime64[ns]"}
        )
    return frame
