"""Bars of one symbol as they were read, and the one rule by which those of several datasets join.

Datasets join where one continues the other: the files by day of 2002-2009, the files by symbol
after them. The same ticker at another exchange, or at other prices, is another series.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.errors import DataError
from stockdb.sessions import same_calendar, schedule
from stockdb.settings import Dataset
from stockdb.types import DateRange, Interval

__all__ = ["Bars", "Edges", "Origin", "join"]

Dates = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]
#: Closes of two sources of one series differ by rounding and by the venue that closed last.
_AGREE: Final = 0.02
#: Of the dates that two of them share, so many may hold a wrong price.
_WRONG: Final = 0.1


@dataclass(frozen=True, slots=True)
class Origin:
    """Where rows came from.

    Attributes
    ----------
    dataset, key : str
    etag, version_id : str or None
    adjustment : str
        What the prices in the object are adjusted for.
    state : str
        ``fetched``, ``replaced``, ``fresh``, ``revalidated``, ``stale`` or ``offline``.
    fetched_at, validated_at : str
        ISO 8601, UTC.
    requests, received : int
        Requests sent and bytes received for this read; 0 where the cache served it.
    rows : int
        Rows of the range that this object gave.
    bad_rows : list
        Quarantined lines, ``[line, reason, text]``.
    simulated : bool
        Whether the object says that its data are simulated.
    strategy : str
        ``object`` for a file read whole; for chains ``cache``, ``twin``, ``index``,
        ``search``, ``select`` or ``scan``.
    grouping : str
        ``assumed`` where rows were found by the declared order of a file that was never read
        in full; ``proved`` otherwise, or ``scanned by the server``.
    """

    dataset: str
    key: str
    etag: str | None
    version_id: str | None
    adjustment: str
    state: str
    fetched_at: str
    validated_at: str
    requests: int
    received: int
    rows: int
    bad_rows: list[list[Any]]
    simulated: bool
    strategy: str = "object"
    grouping: str = "proved"


@dataclass(frozen=True)
class Bars:
    """Bars of one symbol in a range, as columns.

    Attributes
    ----------
    symbol : str
    date : numpy.ndarray of datetime64[ns]
        Ascending; naive session dates, or UTC instants for intraday bars.
    columns : dict of str to numpy.ndarray of float64
        May be views of a memory map: copy before writing.
    origins : tuple of Origin
    adjustment : str
    timezone, calendar : str
    first_held, last_held : numpy.datetime64 or None
        What the objects hold, whatever the range.
    held : tuple of (ndarray of datetime64[ns], ndarray of float64) or None
        Dates and closes of all that the object holds, whatever the range.
    """

    symbol: str
    date: Dates
    columns: Mapping[str, Floats]
    origins: tuple[Origin, ...]
    adjustment: str
    timezone: str
    calendar: str
    first_held: np.datetime64 | None = None
    last_held: np.datetime64 | None = None
    held: tuple[Dates, Floats] | None = None

    @property
    def dataset(self) -> str:
        """Name of the dataset that the bars came from; of several, the first."""
        return self.origins[0].dataset


@dataclass(frozen=True, slots=True)
class Edges:
    """Which rows of a dataset are asked for.

    Attributes
    ----------
    wanted : DateRange
    interval : Interval
        Of the dataset's bars.
    sessions : bool
        The range is one of dates, to be made of intraday bars: whole sessions, though they
        begin the evening before.
    """

    wanted: DateRange
    interval: Interval
    sessions: bool = False

    def rows(self, date: Dates, dataset: Dataset) -> tuple[int, int]:
        """Find the rows by binary search: the dates ascend."""
        first, last = 0, len(date)
        start, end = self._ends(dataset)
        if start is not None:
            first = int(np.searchsorted(date, start.to_datetime64(), side="left"))
        if end is not None:
            last = int(np.searchsorted(date, end.to_datetime64(), side="right"))
        return first, max(first, last)

    def _ends(self, dataset: Dataset) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
        zone, wanted = dataset.timezone, self.wanted
        days = wanted.first_day(zone), wanted.last_day(zone)
        if not self.interval.intraday:
            return days
        if not self.sessions:
            return _instant(wanted.start, zone), _instant(wanted.end, zone)
        first, last = days
        start = _instant(first, zone)
        if first is not None and start is not None:
            open_days = schedule(dataset.calendar, first, first + pd.Timedelta(10, "D"))
            opens = open_days["open"].dt.tz_localize(None)
            start = min(start, *opens[:1])
        day_after = None if last is None else last + pd.Timedelta(1, "D")
        end = _instant(day_after, zone)
        return start, None if end is None else end - pd.Timedelta(1, "ns")


def _instant(stamp: pd.Timestamp | None, timezone: str) -> pd.Timestamp | None:
    """Bring a stamp to naive UTC, as Arrow stores zoned times."""
    if stamp is None:
        return None
    if stamp.tzinfo is None:
        # A range edge in the hour that a clock change skips or repeats takes the wider side.
        stamp = stamp.tz_localize(timezone, ambiguous=True, nonexistent="shift_forward")
    return stamp.tz_convert("UTC").tz_localize(None)


def join(parts: list[Bars]) -> Bars:
    """Put the bars of several datasets together; where dates repeat, the first dataset wins.

    Raises
    ------
    DataError
        They are no one series: of different exchanges, at different prices where they overlap,
        or adjusted differently within the range. The error names the datasets.
    """
    _check(parts)
    filled = [part for part in parts if len(part.date)]
    names = dict.fromkeys(name for part in filled for name in part.columns)
    date = np.concatenate([part.date for part in parts])
    columns = {
        name: np.concatenate(
            [part.columns.get(name, np.full(len(part.date), np.nan)) for part in parts]
        )
        for name in names
    }
    source = np.repeat(np.arange(len(parts)), [len(part.date) for part in parts])
    order = np.lexsort((source, date))
    date, source = date[order], source[order]
    keep = np.ones(len(date), bool)
    same_day = date[1:] == date[:-1]
    keep[1:] = ~(same_day & (source[1:] != source[:-1]))
    order = order[keep]
    lead = filled[0] if filled else parts[0]
    firsts = [part.first_held for part in parts if part.first_held is not None]
    lasts = [part.last_held for part in parts if part.last_held is not None]
    return Bars(
        lead.symbol,
        date[keep],
        {name: values[order] for name, values in columns.items()},
        tuple(origin for part in parts for origin in part.origins),
        lead.adjustment,
        lead.timezone,
        lead.calendar,
        np.min(firsts) if firsts else None,
        np.max(lasts) if lasts else None,
    )


def _check(parts: list[Bars]) -> None:
    """Refuse what is no one series."""
    for one, other in combinations([part for part in parts if part.first_held is not None], 2):
        if one.dataset == other.dataset:
            continue
        places = [f"{bars.calendar}, {bars.timezone}" for bars in (one, other)]
        if one.timezone != other.timezone or not same_calendar(one.calendar, other.calendar):
            raise _several(one, other, "of different exchanges", places)
        if one.adjustment == other.adjustment:
            if prices := _contradiction(one, other):
                raise _several(one, other, "that contradict each other", prices)
        elif len(one.date) and len(other.date):
            held = [f"adjusted for {bars.adjustment!r}" for bars in (one, other)]
            raise _several(one, other, "with different adjustment", held)


def _contradiction(one: Bars, other: Bars) -> list[str]:
    """Show where two sources disagree, if on more dates than a wrong price here and there."""
    if one.held is None or other.held is None:
        return []
    dates, here, there = np.intersect1d(one.held[0], other.held[0], return_indices=True)
    a, b = one.held[1][here], other.held[1][there]
    priced = (a > 0) & (b > 0)
    count = int(priced.sum())
    differ = np.flatnonzero(priced & (np.abs(a - b) > _AGREE * np.maximum(a, b)))
    if len(differ) <= (0 if count == 1 else max(1, int(_WRONG * count))):
        return []
    at = differ[-1]
    return [f"close {price[at]:g} on {str(dates[at])[:10]}" for price in (a, b)]


def _several(one: Bars, other: Bars, how: str, say: list[str]) -> DataError:
    names = [one.dataset, other.dataset]
    told = " and ".join(f"{name!r} ({what})" for name, what in zip(names, say, strict=True))
    return DataError(
        f"{one.symbol} is held by datasets {how}: {told}.",
        remedy=f"Choose one with dataset={names[0]!r} or dataset={names[1]!r}; where a call has "
        "no such argument, give a client DATASETS with one of them, or with a start and an end "
        "that keep them apart.",
        symbol=one.symbol,
        datasets=names,
    )
