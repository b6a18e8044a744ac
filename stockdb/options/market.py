"""What a price needs besides the option: interest rates and cash dividends.

Time is counted ACT/365 (fixed): calendar days from the quote date to the expiration, over 365.
Both ends are the close of the exchange, 16:00 in New York. A stock goes ex-dividend at the open
(9:30) of its ex-date, six and a half hours earlier, so that a dividend whose ex-date is the
expiration still falls before it.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.arguments import parse_optional
from stockdb.errors import ConfigurationError, DataError
from stockdb.types import DateLike, parse_date

__all__ = [
    "DividendSchedule",
    "RateCurve",
    "parse_price",
    "parse_quote",
    "parse_yield",
    "year_fraction",
]

Floats = npt.NDArray[np.float64]

DAYS_A_YEAR: Final = 365.0
_OPEN_BEFORE_CLOSE: Final = 6.5 / 24.0  # days
#: A rate above 50 % is a percentage that was not divided by 100; no market has been below -1 %.
_MOST: Final = 0.5
_LEAST: Final = -0.05
#: Yields that a caller may give: stock that is hard to borrow has "yielded" up to its whole price.
_YIELDS: Final = {"least": -0.5, "most": 1.0}
_TENOR: Final = re.compile(
    r"(?:DGS|BC_)?\s*(\d+(?:\.\d+)?)\s*[-_ ]?\s*(mo?|months?|mths?|yr?s?|years?)?", re.I | re.ASCII
)


def year_fraction(quote_date: DateLike, expiration: DateLike) -> float:
    """Count the years from the close of one day to the close of another, ACT/365.

    Examples
    --------
    >>> year_fraction("2023-01-03", "2024-01-03")
    1.0
    """
    days = (parse_date(expiration, "expiration") - parse_date(quote_date, "quote_date")).days
    return days / DAYS_A_YEAR


def parse_price(name: str, value: object) -> float | None:
    """Read a price, dollars above 0, or None."""
    return parse_optional(name, value, above=0.0, remedy=f"Give {name} in dollars, above 0.")


def parse_yield(value: object) -> float | None:
    """Read ``q``, a continuous yield a year from -0.5 to 1, or None."""
    return parse_optional("q", value, remedy="Yields are fractions: 1.2 % is 0.012.", **_YIELDS)


def parse_quote(
    bid: object, ask: object, names: tuple[str, str] = ("stock_bid", "stock_ask")
) -> tuple[float | None, float | None]:
    """Read a bid and an ask, dollars; None where unknown.

    Raises
    ------
    ConfigurationError
        One is no price, or the bid is above the ask.
    """
    low, high = parse_price(names[0], bid), parse_price(names[1], ask)
    if low is not None and high is not None and low > high:
        raise ConfigurationError(
            f"The bid {low:g} is above its ask {high:g} ({names[0]}, {names[1]}).",
            remedy="Give a quote of one moment; a crossed one is a data error.",
        )
    return low, high


@dataclass(frozen=True, slots=True)
class RateCurve:
    """Interest rates by time to maturity, continuously compounded.

    Attributes
    ----------
    tenors : tuple of float
        Years, ascending; ``(0.0,)`` for a flat curve.
    rates : tuple of float
        Zero rates a year, continuous; 0.05 is 5 %.
    source : str
        Who says so: ``caller``, or the dataset.
    as_of : datetime.date or None
        The day the rates are of.

    Notes
    -----
    Between two tenors the rate is linear in time, outside them that of the nearest tenor.
    """

    tenors: tuple[float, ...]
    rates: tuple[float, ...]
    source: str = "caller"
    as_of: dt.date | None = None

    def __post_init__(self) -> None:
        if not self.tenors or len(self.tenors) != len(self.rates):
            raise ConfigurationError(
                "A rate curve needs one rate for each tenor, and at least one.",
                remedy="Give rate=0.05 or rate={0.25: 0.05, 1.0: 0.048}.",
            )
        if any(b <= a for a, b in zip(self.tenors, self.tenors[1:], strict=False)):
            raise ConfigurationError("The tenors of a rate curve do not ascend.")
        for rate in (*self.tenors, *self.rates):
            if not np.isfinite(rate):
                raise ConfigurationError("A rate curve holds a value that is not finite.")
        for rate in self.rates:
            if not _LEAST <= rate <= _MOST:
                raise ConfigurationError(
                    f"A rate of {rate:g} a year is {rate:.0%}: it lies outside {_LEAST:.0%} to "
                    f"{_MOST:.0%}.",
                    remedy="Rates are fractions: 4.5 % is 0.045.",
                )

    @classmethod
    def of(cls, value: Any, source: str = "caller", as_of: DateLike | None = None) -> RateCurve:
        """Make a curve of what a caller gives.

        Parameters
        ----------
        value : RateCurve, float, mapping or pandas.Series
            A number is a flat curve; a mapping or Series goes from tenor (years, or text such
            as ``6m`` or ``2y``) to rate. Continuously compounded, 0.05 is 5 %.
        source : str
        as_of : date-like, optional

        Raises
        ------
        ConfigurationError
            Nothing of these, not finite, or a percentage instead of a fraction.

        Examples
        --------
        >>> RateCurve.of({"6m": 0.04, "1y": 0.05}).rate(0.75)
        0.045
        """
        if isinstance(value, RateCurve):
            return value
        day = None if as_of is None else parse_date(as_of, "as_of")
        if isinstance(value, Real) and not isinstance(value, bool):
            return cls((0.0,), (float(value),), source, day)
        if isinstance(value, (Mapping, pd.Series)):
            points = {_known_tenor(tenor): _number(rate) for tenor, rate in value.items()}
            tenors = sorted(points)
            return cls(tuple(tenors), tuple(points[tenor] for tenor in tenors), source, day)
        raise ConfigurationError(
            f"{type(value).__name__} is not a rate curve.",
            remedy="Give a number, a mapping tenor -> rate, or a RateCurve.",
        )

    @classmethod
    def from_treasury(
        cls, row: Any, as_of: DateLike | None = None, source: str = "treasury"
    ) -> RateCurve:
        """Make a curve of one day's constant-maturity Treasury yields.

        Parameters
        ----------
        row : mapping or pandas.Series
            Tenor (``1m``, ``DGS3MO``, ``10 Yr`` ...) -> par yield in percent a year, bond
            equivalent. Other entries (a date, SOFR) and missing yields are left out.
        as_of : date-like, optional
            By default the name of the Series, where that is a date.
        source : str

        Raises
        ------
        DataError
            No entry is the yield of a tenor.

        Notes
        -----
        To half a year the yield is simple interest; beyond that the curve of par yields,
        linear between tenors, is stripped at half-yearly coupons: what a coupon bond at par
        yields is not what a single payment does (US Treasury, "Treasury Yield Curve
        Methodology": yields are on a bond-equivalent basis).

        Examples
        --------
        >>> curve = RateCurve.from_treasury({"6m": 4.0, "1y": 4.0, "SOFR": 4.1})
        >>> [round(rate, 6) for rate in curve.rates]
        [0.039605, 0.039605]
        """
        yields: dict[float, float] = {}
        for name, value in row.items():
            tenor = _tenor(name)
            if tenor is not None and isinstance(value, Real) and np.isfinite(float(value)):
                yields[tenor] = float(value) / 100.0
        if not yields:
            raise DataError(
                "The row holds no Treasury yield.",
                remedy="Name its columns by tenor, such as 1m, 6m, 1y, 10y, in percent.",
            )
        if as_of is None and isinstance(getattr(row, "name", None), (dt.date, pd.Timestamp)):
            as_of = row.name
        tenors = sorted(yields)
        day = None if as_of is None else parse_date(as_of, "as_of")
        return cls(tuple(tenors), _zero_rates(tenors, yields), source, day)

    def rate(self, T: Any) -> Any:
        """Zero rate to a time, continuous; a float for a scalar, else an array."""
        found = np.interp(np.asarray(T, dtype=np.float64), self.tenors, self.rates)
        return float(found) if np.ndim(found) == 0 else found

    def discount(self, T: Any) -> Any:
        """Value today of 1 paid in T years."""
        found = np.exp(-np.asarray(T, dtype=np.float64) * self.rate(T))
        return float(found) if np.ndim(found) == 0 else found

    def describe(self) -> dict[str, Any]:
        """Say what the curve is, in JSON's own types."""
        return {
            "source": self.source,
            "as_of": None if self.as_of is None else self.as_of.isoformat(),
            "tenors": [round(tenor, 6) for tenor in self.tenors],
            "rates": [round(rate, 8) for rate in self.rates],
            "compounding": "continuous",
        }


def _tenor(name: object) -> float | None:
    """Years of a tenor's name; None where it is none."""
    if isinstance(name, Real) and not isinstance(name, bool):
        return float(name)
    match = _TENOR.fullmatch(str(name).strip())
    if match is None or (match[2] is None and not str(name).strip().upper().startswith("DGS")):
        return None
    number = float(match[1])
    return number / 12.0 if (match[2] or "y").lower().startswith("m") else number


def _known_tenor(name: object) -> float:
    tenor = _tenor(name)
    if tenor is None:
        raise ConfigurationError(
            f"{name!r} is not a tenor.", remedy="Use years (0.5), or text such as '6m' or '2y'."
        )
    return tenor


def _number(value: object) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ConfigurationError(f"{value!r} is not a rate.", remedy="Give 0.045 for 4.5 %.")
    return float(value)


def _zero_rates(tenors: list[float], yields: Mapping[float, float]) -> tuple[float, ...]:
    """Strip par yields (fractions, bond equivalent) to continuous zero rates."""
    par = [yields[tenor] for tenor in tenors]
    times = np.arange(1, int(np.ceil(2.0 * max(tenors))) + 1) / 2.0
    discounts: list[float] = []
    for coupon in np.interp(times, tenors, par) / 2.0:
        discounts.append(float((1.0 - coupon * sum(discounts)) / (1.0 + coupon)))
    zeros = -np.log(discounts) / times
    short = [float(np.log1p(y * t) / t) if t > 0.0 else y for t, y in zip(tenors, par, strict=True)]
    long = np.interp(tenors, times, zeros)
    return tuple(
        short_rate if tenor <= 0.5 else float(long_rate)
        for tenor, short_rate, long_rate in zip(tenors, short, long, strict=True)
    )


@dataclass(frozen=True, slots=True)
class DividendSchedule:
    """Known cash dividends of one stock.

    Attributes
    ----------
    ex_dates : tuple of datetime.date
        Ascending, each once.
    amounts : tuple of float
        Dollars a share, on the share count of the quote date.
    source : str
    """

    ex_dates: tuple[dt.date, ...] = ()
    amounts: tuple[float, ...] = ()
    source: str = field(default="caller")

    def __post_init__(self) -> None:
        if len(self.ex_dates) != len(self.amounts):
            raise ConfigurationError("Dividends need one amount for each ex-date.")
        if any(b <= a for a, b in zip(self.ex_dates, self.ex_dates[1:], strict=False)):
            raise ConfigurationError("The ex-dates of a dividend schedule do not ascend.")
        if not all(np.isfinite(amount) and amount >= 0.0 for amount in self.amounts):
            raise ConfigurationError(
                "A dividend is negative or not finite.", remedy="Give dollars a share, 0 or more."
            )

    @classmethod
    def of(cls, value: Any, source: str = "caller") -> DividendSchedule:
        """Make a schedule of what a caller gives.

        Parameters
        ----------
        value : DividendSchedule, mapping, Series, DataFrame or iterable
            Ex-date -> dollars a share; a frame with columns ``ex_date`` and ``amount``; or
            pairs of the two. Empty says that no dividend is to come. Amounts of the same
            ex-date are added up (a regular and a special dividend).
        source : str

        Raises
        ------
        ConfigurationError
            Nothing of these.
        RangeError
            An ex-date that is no date.

        Examples
        --------
        >>> DividendSchedule.of({"2023-02-10": 0.23}).until("2023-01-31", "2023-03-17")
        ((0.026655, 0.23),)
        """
        if isinstance(value, DividendSchedule):
            return value
        if isinstance(value, pd.DataFrame):
            frame = value if "ex_date" in value.columns else value.reset_index()
            if not {"ex_date", "amount"} <= set(frame.columns):
                raise ConfigurationError(
                    "A frame of dividends has the columns ex_date and amount.",
                    columns=[str(name) for name in value.columns],
                )
            pairs: Iterable[Any] = zip(frame["ex_date"], frame["amount"], strict=True)
        elif isinstance(value, (Mapping, pd.Series)):
            pairs = value.items()
        elif isinstance(value, Iterable) and not isinstance(value, str):
            pairs = value
        else:
            raise ConfigurationError(
                f"{type(value).__name__} is not a dividend schedule.",
                remedy="Give {'2025-02-07': 0.25}, pairs, a Series or a frame.",
            )
        sums: dict[dt.date, float] = {}
        for pair in pairs:
            try:
                day, amount = pair
                paid = float(amount)
            except (TypeError, ValueError):
                raise ConfigurationError(
                    f"{pair!r} is not an ex-date and an amount.",
                    remedy="Give pairs such as ('2025-02-07', 0.25).",
                ) from None
            when = parse_date(day, "ex_date")
            sums[when] = sums.get(when, 0.0) + paid
        days = sorted(sums)
        return cls(tuple(days), tuple(sums[day] for day in days), source)

    def until(self, quote_date: DateLike, expiration: DateLike) -> tuple[tuple[float, float], ...]:
        """Dividends after the close of the quote date and up to the expiration.

        Returns
        -------
        tuple of (float, float)
            Years from the close of the quote date to the open of the ex-date (ACT/365, to a
            millionth), and dollars a share; ascending. What
            :func:`stockdb.options.price` takes as ``dividends``.
        """
        begin, end = parse_date(quote_date, "quote_date"), parse_date(expiration, "expiration")
        return tuple(
            (round(((day - begin).days - _OPEN_BEFORE_CLOSE) / DAYS_A_YEAR, 6), amount)
            for day, amount in zip(self.ex_dates, self.amounts, strict=True)
            if begin < day <= end
        )

    def describe(self) -> dict[str, Any]:
        """Say what the schedule is, in JSON's own types."""
        return {
            "source": self.source,
            "ex_dates": [day.isoformat() for day in self.ex_dates],
            "amounts": list(self.amounts),
        }
