"""Exchange sessions: which dates an exchange was, or will be, open.

Calendars come from ``exchange_calendars``, imported where one is needed: most reads need
none, and the import takes longer than they do.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.errors import ConfigurationError

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

__all__ = [
    "calendar",
    "closed_days",
    "exchange_zone",
    "half_days",
    "has_session",
    "reached",
    "same_calendar",
    "schedule",
    "sessions",
]

#: First dates to try: some calendars are not known as far back as others.
_STARTS: Final = ("1990-01-01", "1997-01-06", "2000-01-01", "2002-01-01")
_MONDAY_TO_FRIDAY: Final = {"XNYS", "NYSE", "XNAS", "NASDAQ", "XLON", "XETR", "XPAR", "XTKS"}


@functools.lru_cache(maxsize=16)
def calendar(name: str) -> ExchangeCalendar:
    """Load an exchange's calendar from 1990, or from when it is known, to a year from now.

    Parameters
    ----------
    name : str
        Market identifier code (``XNYS``, ``XLON`` ...) or an alias such as ``NYSE``.

    Raises
    ------
    ConfigurationError
        No calendar of that name.
    """
    import exchange_calendars
    from exchange_calendars.errors import InvalidCalendarName

    try:
        for start in _STARTS:
            with suppress(ValueError):  # not known that early
                return exchange_calendars.get_calendar(name, start=start)
        return exchange_calendars.get_calendar(name)
    except InvalidCalendarName:
        raise ConfigurationError(
            f"There is no exchange calendar {name!r}.",
            remedy="Use a market identifier code such as 'XNYS', 'XLON' or 'XTKS'.",
        ) from None


def sessions(name: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DatetimeIndex:
    """Return the sessions from ``start`` to ``end``, both included, as far as known.

    Parameters
    ----------
    name : str
        Calendar.
    start, end : pandas.Timestamp
        Naive dates.

    Returns
    -------
    pandas.DatetimeIndex
        Naive midnights, datetime64[ns].
    """
    held = calendar(name).sessions
    return pd.DatetimeIndex(held[(held >= start) & (held <= end)]).as_unit("ns")


def half_days(name: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DatetimeIndex:
    """Return the sessions from ``start`` to ``end`` that close early; see :func:`sessions`."""
    held = calendar(name).early_closes
    return pd.DatetimeIndex(held[(held >= start) & (held <= end)]).as_unit("ns")


def schedule(name: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """Return when the exchange opened and closed.

    Parameters
    ----------
    name : str
        Calendar.
    start, end : pandas.Timestamp
        Naive dates, both included.

    Returns
    -------
    pandas.DataFrame
        Index: sessions, naive midnights, datetime64[ns]; columns ``open``, ``close``
        (datetime64[ns, UTC]) and ``half_day`` (bool).
    """
    held = calendar(name).schedule.loc[start:end, ["open", "close"]]
    table = held.set_axis(pd.DatetimeIndex(held.index).as_unit("ns"), axis=0)
    return pd.DataFrame(table.assign(half_day=table.index.isin(half_days(name, start, end))))


def closed_days(name: str, days: pd.DatetimeIndex) -> npt.NDArray[np.bool_]:
    """Mark the days on which the exchange was closed, weekends among them.

    Parameters
    ----------
    name : str
        Calendar.
    days : pandas.DatetimeIndex
        Naive midnights, NaT among them.

    Returns
    -------
    ndarray of bool, shape (days,)
        False where the calendar does not reach: nobody can say.
    """
    return np.asarray(reached(name, days) & ~days.isin(calendar(name).sessions))


def reached(name: str, days: pd.DatetimeIndex) -> npt.NDArray[np.bool_]:
    """Mark the days that a calendar reaches to; see :func:`closed_days`."""
    held = calendar(name).sessions
    return np.asarray((days >= held[0]) & (days <= held[-1]))


def exchange_zone(name: str) -> str:
    """Name the time zone of an exchange's clock."""
    return str(calendar(name).tz)


def has_session(name: str, start: pd.Timestamp, end: pd.Timestamp) -> bool:
    """Whether the exchange was open on any date from ``start`` to ``end``."""
    if end < start:
        return False
    if name in _MONDAY_TO_FRIDAY and len(pd.bdate_range(start, end)) == 0:
        return False  # a weekend: no need to load the calendar
    return len(sessions(name, start, end)) > 0


def same_calendar(one: str, other: str) -> bool:
    """Whether two names, aliases among them, are of one exchange."""
    return one == other or calendar(one).name == calendar(other).name
