"""Input types, parsed once at the boundary: symbols, dates, ranges, intervals."""

from __future__ import annotations

import datetime as dt
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd

from stockdb.errors import ConfigurationError, DataError, RangeError

__all__ = [
    "Adjustment",
    "DateLike",
    "DateRange",
    "DstPolicy",
    "Interval",
    "OutputFormat",
    "parse_adjustment",
    "parse_age",
    "parse_date",
    "parse_interval",
    "parse_path",
    "parse_range",
    "parse_symbol",
    "parse_symbols",
    "parse_workers",
]

DateLike = str | dt.date | dt.datetime | pd.Timestamp | np.datetime64
Adjustment = Literal["none", "splits", "all"]
DstPolicy = Literal["raise", "earlier", "later", "quarantine"]
OutputFormat = Literal["pandas", "arrow", "polars"]

_SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.\-^=_]{0,31}")
# ASCII: otherwise \d is also an Arabic-Indic digit, and "ß".upper() is a ticker.
_DATE_TEXT = re.compile(r"\d{4}-\d{2}-\d{2}|\d{8}", re.ASCII)
_DATETIME_TEXT = re.compile(
    r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?\s*(Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
_YEARS: Final = range(1678, 2262)  # whole years that datetime64[ns] holds in every time zone


def parse_symbol(value: object) -> str:
    """Check a ticker and bring it to upper case.

    Parameters
    ----------
    value : str
        A ticker in any case: ``"aapl"``, ``"BRK.B"``, ``"BRK-B"``, ``"^GSPC"``.

    Returns
    -------
    str
        Upper case, without surrounding blanks. Which spelling the bucket uses
        (``BRK.B`` or ``BRK-B``) is the catalog's business.

    Raises
    ------
    DataError
        Not a string, empty, or with characters that no ticker has (``/``, NUL, ``..``):
        it would otherwise become part of an object key.

    Examples
    --------
    >>> parse_symbol(" brk.b ")
    'BRK.B'
    """
    if not isinstance(value, str):
        raise DataError(
            f"A symbol is a string, not {type(value).__name__}.",
            remedy="Give a ticker such as 'AAPL'.",
            symbol=repr(value),
        )
    symbol = value.strip().upper()
    if not value.isascii() or not _SYMBOL.fullmatch(symbol) or ".." in symbol:
        raise DataError(
            f"{value!r} is not a ticker symbol.",
            remedy="Use letters, digits and . - ^ = _ only, for example 'AAPL' or 'BRK.B'.",
            symbol=value,
        )
    return symbol


def parse_symbols(value: object) -> tuple[list[str], bool]:
    """Split "one symbol or many" into a list and whether a single one was asked for.

    Returns
    -------
    (list of str, bool)
        Symbols in the order asked, repeats dropped; True where a bare string was given.

    Examples
    --------
    >>> parse_symbols("aapl")
    (['AAPL'], True)
    >>> parse_symbols(["msft", "AAPL", "MSFT"])
    (['MSFT', 'AAPL'], False)
    """
    if isinstance(value, str):
        return [parse_symbol(value)], True
    if not isinstance(value, (list, tuple, set, frozenset, pd.Index, pd.Series, np.ndarray)):
        raise DataError(
            f"Symbols are a string or a list of strings, not {type(value).__name__}.",
            remedy="Give 'AAPL' or ['AAPL', 'MSFT'].",
        )
    if isinstance(value, np.ndarray):
        value = value.ravel()  # a 0-d array cannot be iterated
    symbols = list(dict.fromkeys(parse_symbol(item) for item in value))
    if isinstance(value, (set, frozenset)):
        symbols.sort()  # a set has no order of its own
    if not symbols:
        raise DataError("The list of symbols is empty.", remedy="Give at least one symbol.")
    return symbols, False


@dataclass(frozen=True, slots=True)
class Interval:
    """A bar length.

    Attributes
    ----------
    name : str
        ``daily``, ``weekly``, ``monthly`` or ``1m 5m 15m 30m 1h``.
    minutes : int
        Length within a session; 0 for daily and longer bars.
    """

    name: str
    minutes: int = 0

    @property
    def intraday(self) -> bool:
        """Whether bars are shorter than a session."""
        return self.minutes > 0


INTERVALS: Final[dict[str, Interval]] = {
    "1m": Interval("1m", 1),
    "5m": Interval("5m", 5),
    "15m": Interval("15m", 15),
    "30m": Interval("30m", 30),
    "1h": Interval("1h", 60),
    "daily": Interval("daily"),
    "weekly": Interval("weekly"),
    "monthly": Interval("monthly"),
}
_INTERVAL_ALIASES: Final[dict[str, str]] = {"1d": "daily", "1wk": "weekly", "1mo": "monthly"}


def parse_interval(value: object) -> Interval:
    """Read an interval name.

    Examples
    --------
    >>> parse_interval("1wk").name
    'weekly'
    """
    text = value.name if isinstance(value, Interval) else str(value).strip()
    if text == "1M":  # a month to pandas and to most vendors, a minute once in lower case
        raise ConfigurationError(
            "Interval '1M' is ambiguous.",
            remedy="Write '1m' for one minute or '1mo' for one month.",
            interval=text,
        )
    text = text.lower()
    found = INTERVALS.get(_INTERVAL_ALIASES.get(text, text))
    if found is None:
        known = ", ".join([*INTERVALS, *_INTERVAL_ALIASES])
        raise ConfigurationError(
            f"Unknown interval {value!r}.", remedy=f"Use one of: {known}.", interval=text
        )
    return found


def parse_adjustment(value: object) -> Adjustment:
    """Check an ``adjust=`` argument: ``none``, ``splits`` or ``all``."""
    if value == "none":
        return "none"
    if value == "splits":
        return "splits"
    if value == "all":
        return "all"
    raise ConfigurationError(
        f"Unknown adjustment {value!r}.", remedy="Use adjust='none', 'splits' or 'all'."
    )


def parse_age(value: object, what: str, *, seconds: float = 1.0) -> float | None:
    """Check an age such as ``max_age=``: a number of 0 or more, or None.

    Parameters
    ----------
    value : float, int or None
        Infinity is an age: older than anything.
    what : str
        Name of the argument, for the message.
    seconds : float
        How many seconds one unit of it is.

    Returns
    -------
    float or None
        In seconds.

    Raises
    ------
    ConfigurationError
        Not a number, NaN, or below 0.

    Examples
    --------
    >>> parse_age(7, "older_than_days", seconds=86400.0)
    604800.0
    """
    if value is None:
        return None
    number = isinstance(value, int | float | np.integer | np.floating)
    if not number or isinstance(value, bool) or not value >= 0:  # type: ignore[operator]
        raise ConfigurationError(
            f"{what} {value!r} is not an age.", remedy="Give a number of 0 or more, or None."
        )
    return float(value) * seconds  # type: ignore[arg-type]


def parse_workers(value: object) -> int | None:
    """Check a ``max_workers=``: a whole number of 1 or more, or None.

    Raises
    ------
    ConfigurationError
        Anything else.
    """
    if value is None:
        return None
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(
            f"max_workers must be at least 1, not {value!r}.",
            remedy="Give a whole number, or None for that of PERFORMANCE_CONFIG.",
        )
    return int(value)


def parse_path(value: object, what: str) -> Path:
    """Check the path of a file or folder.

    Raises
    ------
    DataError
        Neither text nor a path, or empty: that would be the working directory.
    """
    if not isinstance(value, str | os.PathLike):
        raise DataError(
            f"{what} is no path, but {type(value).__name__}.",
            remedy="Give a string or a pathlib.Path.",
        )
    text = os.fsdecode(value)
    if not text.strip():
        raise DataError(
            f"{what} is empty.",
            remedy="Give the file or folder; '.' for the working directory.",
        )
    return Path(text)


def _timestamp(value: DateLike, what: str) -> tuple[pd.Timestamp, bool]:
    """Return a timestamp and whether the value names a whole day."""
    if isinstance(value, str):
        text = value.strip()
        bare = _DATE_TEXT.fullmatch(text) is not None
        if not bare and not _DATETIME_TEXT.fullmatch(text):
            raise RangeError(f"{what} {value!r} is not a date.", value=value)
    elif isinstance(value, dt.datetime):  # a Timestamp is one too
        bare = False
    elif isinstance(value, dt.date):
        bare = True
    elif isinstance(value, np.datetime64):
        unit = np.datetime_data(value.dtype)[0]
        if unit in {"Y", "M", "W"}:  # a month as an end: its first day, or its last?
            raise RangeError(f"{what} {value!s} is not a whole date.", value=str(value))
        bare = unit == "D"
    else:  # an int would silently become nanoseconds after 1970
        raise RangeError(
            f"{what} {value!r} ({type(value).__name__}) is not a date.", value=repr(value)
        )
    try:
        stamp = pd.Timestamp(value)
    except (ValueError, OverflowError) as error:
        raise RangeError(f"{what} {value!r} is not a date: {error}.", value=str(value)) from None
    if pd.isna(stamp):
        raise RangeError(f"{what} {value!r} is not a date.", value=str(value))
    if stamp.year not in _YEARS:
        raise RangeError(
            f"{what} {value!r} lies outside {_YEARS[0]}-{_YEARS[-1]}.", value=str(value)
        )
    return stamp.as_unit("ns"), bare


def parse_date(value: DateLike, what: str = "date") -> dt.date:
    """Read one calendar date.

    Parameters
    ----------
    value : str, date, datetime, Timestamp or datetime64
        Strings as ``YYYY-MM-DD`` or ``YYYYMMDD``; a time of day is dropped.
    what : str
        Name of the argument, for the message.

    Raises
    ------
    RangeError
        Not a date.

    Examples
    --------
    >>> parse_date("2024-01-31")
    datetime.date(2024, 1, 31)
    """
    return _timestamp(value, what)[0].date()


@dataclass(frozen=True, slots=True)
class DateRange:
    """A closed range of time; ``None`` is open-ended.

    Attributes
    ----------
    start, end : pandas.Timestamp or None
        First and last instant that belong to the range. A bare date given as the end
        reaches to the last nanosecond of that day. Naive values are exchange-local time;
        aware ones keep their zone.
    """

    start: pd.Timestamp | None = None
    end: pd.Timestamp | None = None

    def first_day(self, tz: str) -> pd.Timestamp | None:
        """Midnight of the first session date, naive, seen from the exchange."""
        return None if self.start is None else _local(self.start, tz).normalize()

    def last_day(self, tz: str) -> pd.Timestamp | None:
        """Midnight of the last session date, naive, seen from the exchange."""
        return None if self.end is None else _local(self.end, tz).normalize()


def _local(stamp: pd.Timestamp, tz: str) -> pd.Timestamp:
    return stamp if stamp.tzinfo is None else stamp.tz_convert(tz).tz_localize(None)


def parse_range(start: DateLike | None, end: DateLike | None) -> DateRange:
    """Read a start and an end.

    Parameters
    ----------
    start, end : str, date, datetime, Timestamp, datetime64 or None
        None is open-ended; a bare end date includes that whole day.

    Raises
    ------
    RangeError
        A value is not a date, or the start lies after the end.

    Examples
    --------
    >>> parse_range("2024-01-01", "2024-01-31").end
    Timestamp('2024-01-31 23:59:59.999999999')
    """
    first = None if start is None else _timestamp(start, "start_date")[0]
    last = None
    if end is not None:
        last, bare = _timestamp(end, "end_date")
        if bare:
            last = last.normalize() + pd.Timedelta(1, "D") - pd.Timedelta(1, "ns")
    if first is not None and last is not None:
        if (first.tzinfo is None) != (last.tzinfo is None):
            # Wall clocks compare where one has no zone; giving it the other's zone would
            # fail in the hour that daylight saving repeats or leaves out.
            reversed_ = first.tz_localize(None) > last.tz_localize(None)
        else:
            reversed_ = first > last
        if reversed_:
            raise RangeError(
                f"start_date {start!s} lies after end_date {end!s}.",
                remedy="Swap the two.",
                start=str(start),
                end=str(end),
            )
    return DateRange(first, last)
