"""Calendar and diagonal spreads: a nearer option sold, a later one bought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.arguments import (
    Bounds,
    parse_bounds,
    parse_option_type,
    parse_optional,
    parse_whole,
)
from stockdb.options._asked import settle
from stockdb.options.book import Book
from stockdb.options.candidates import build, limited
from stockdb.options.market import DividendSchedule
from stockdb.options.payoff import Side, worth
from stockdb.options.quotes import Bools, Floats, Ints

__all__ = ["CalendarRules", "DiagonalRules", "calendar_spreads", "diagonal_spreads", "forward_vol"]

_MANY_DAYS: Final = 36_525
_SIGNS: Final = (-1, 1)  # the nearer one sold, the later one bought


@dataclass(frozen=True, slots=True)
class CalendarRules:
    """What a calendar spread has to be like; None asks nothing.

    Attributes
    ----------
    option_type : {'call', 'put'} or None
        In any of the spellings of :func:`stockdb.arguments.parse_option_type`.
    front_days, back_days : tuple
        Least and most calendar days to expiration of the sold and of the bought option.
    moneyness : tuple
        Strike / spot.
    min_iv_difference : float or None
        Least iv of the front less that of the back; .02 is two vol points.
    max_spread_pct : float or None
        Most (ask - bid) / mid of either leg.
    min_open_interest : float
        Least open interest of either leg, contracts.
    max_debit : float or None
        Dollars a share.

    Raises
    ------
    ConfigurationError
        A value that is none, or a reversed range.
    """

    option_type: str | None = None
    front_days: Bounds = (20, 90)
    back_days: Bounds = (365, None)
    moneyness: Bounds = (0.9, 1.1)
    min_iv_difference: float | None = None
    max_spread_pct: float | None = 0.25
    min_open_interest: float = 0.0
    max_debit: float | None = None

    def __post_init__(self) -> None:
        settle(
            self,
            option_type=None if self.option_type is None else parse_option_type(self.option_type),
            front_days=parse_bounds("front_days", self.front_days),
            back_days=parse_bounds("back_days", self.back_days),
            moneyness=parse_bounds("moneyness", self.moneyness),
            min_iv_difference=parse_optional("min_iv_difference", self.min_iv_difference),
            max_debit=parse_optional("max_debit", self.max_debit),
        )


@dataclass(frozen=True, slots=True)
class DiagonalRules:
    """What a diagonal spread has to be like; None asks nothing.

    Attributes
    ----------
    option_type : {'call', 'put'} or None
        ``call`` is the poor man's covered call.
    long_delta, short_delta : tuple
        Of absolute deltas.
    long_days, short_days : tuple
        Calendar days to expiration.
    max_debit_of_width : float or None
        Most debit / difference of strikes.
    extrinsic_covered : bool
        The sold extrinsic value is at least the bought one.
    upside_covered : bool
        Difference of strikes and sold premium exceed what the bought option costs.
    max_spread_pct : float or None
    min_open_interest : float
    roll_days : int
        The sold option is to be rolled so many days before it expires.

    Raises
    ------
    ConfigurationError
        A value that is none, or a reversed range.
    """

    option_type: str | None = "call"
    long_delta: Bounds = (0.70, 0.90)
    short_delta: Bounds = (0.20, 0.30)
    long_days: Bounds = (366, None)
    short_days: Bounds = (30, 45)
    max_debit_of_width: float | None = 0.75
    extrinsic_covered: bool = True
    upside_covered: bool = True
    max_spread_pct: float | None = 0.25
    min_open_interest: float = 0.0
    roll_days: int = 7

    def __post_init__(self) -> None:
        width = parse_optional("max_debit_of_width", self.max_debit_of_width, least=0.0)
        settle(
            self,
            option_type=None if self.option_type is None else parse_option_type(self.option_type),
            long_delta=parse_bounds("long_delta", self.long_delta, least=0.0, most=1.0),
            short_delta=parse_bounds("short_delta", self.short_delta, least=0.0, most=1.0),
            long_days=parse_bounds("long_days", self.long_days),
            short_days=parse_bounds("short_days", self.short_days),
            max_debit_of_width=width,
            roll_days=parse_whole("roll_days", self.roll_days, most=_MANY_DAYS),
        )


def forward_vol(front: Any, front_years: Any, back: Any, back_years: Any) -> Any:
    """Volatility between two expirations; NaN where the later total variance is smaller.

    Examples
    --------
    >>> round(float(forward_vol(0.30, 0.25, 0.25, 1.0)), 6)
    0.23094
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt((back**2 * back_years - front**2 * front_years) / (back_years - front_years))


def calendar_spreads(
    book: Book,
    rules: CalendarRules | None = None,
    *,
    fee: float = 0.65,
    dividends: DividendSchedule | None = None,
    max_rows: int = 200,
) -> pd.DataFrame:
    """Find calendar spreads: one strike, the front sold and the back bought.

    Returns
    -------
    pandas.DataFrame
        By the difference of implied volatilities, largest first: the columns of
        :func:`stockdb.options.candidates.build` and iv_front, iv_back, iv_difference (front -
        back), forward_vol, front_dte, back_dte, strike, option_type, back_value_at_strike and
        back_value_at_spot (dollars a share that the back option is worth when the front expires
        with the stock at the strike, and where it is now, repriced at today's iv).
        ``attrs['stockdb']['rejected']`` counts the pairs that each rule turned down.
    """
    rules = rules or CalendarRules()
    numbers = _numbers(book)
    front, back = _pairs(
        book,
        _in(book.dte, rules.front_days) & _type(book, rules.option_type),
        _in(book.dte, rules.back_days) & _type(book, rules.option_type),
        same_strike=True,
    )
    iv, spread = book.numbers["iv"], (book.ask - book.bid) / book.mid
    tests = {
        "numbers": numbers[front] & numbers[back],
        "moneyness": _in(book.strike[front] / book.spot, rules.moneyness),
        "iv_difference": _at_least(iv[front] - iv[back], rules.min_iv_difference),
        "spread": _at_most(np.maximum(spread[front], spread[back]), rules.max_spread_pct),
        "open_interest": _interest(book, front, back, rules.min_open_interest),
        "debit": _at_most(book.ask[back] - book.bid[front], rules.max_debit),
        "credit": book.ask[back] > book.bid[front],  # arbitrage, or a quote that is wrong
    }
    front, back, rejected = _sift(front, back, tests)
    doubtful = book.suspect[front] | book.suspect[back]
    order = np.lexsort((iv[back] - iv[front], doubtful))[:max_rows]  # repricing takes its time
    front, back = front[order], back[order]
    side = Side(np.column_stack([front, back]), _SIGNS)
    years = book.numbers["years"]
    only = Side(back[:, None], (1,))
    days = book.dte[front]
    extra = {
        "iv_front": iv[front],
        "iv_back": iv[back],
        "iv_difference": iv[front] - iv[back],
        "forward_vol": forward_vol(iv[front], years[front], iv[back], years[back]),
        "front_dte": book.dte[front],
        "back_dte": book.dte[back],
        "strike": book.strike[front],
        "option_type": np.where(book.call[front], "call", "put"),
        "back_value_at_strike": worth(book, only, days, book.strike[back][:, None])[:, 0],
        "back_value_at_spot": worth(book, only, days, np.full((len(back), 1), book.spot))[:, 0],
    }
    frame = build(book, "calendar", side, fee=fee, dividends=dividends, extra=extra)
    return _noted(limited(frame, "iv_difference", max_rows), rejected)


def diagonal_spreads(
    book: Book,
    rules: DiagonalRules | None = None,
    *,
    fee: float = 0.65,
    dividends: DividendSchedule | None = None,
    max_rows: int = 200,
) -> pd.DataFrame:
    """Find diagonal spreads: a deep LEAPS bought, a near option out of the money sold.

    Returns
    -------
    pandas.DataFrame
        By annualised return, best first: the columns of
        :func:`stockdb.options.candidates.build` and width (difference of strikes), debit_of_width,
        extrinsic_long, extrinsic_short, upside (width + sold premium - cost of the long),
        long_delta, short_delta, long_dte, short_dte, roll_date, income_annualised (sold premium
        over the debit, each ``short_dte`` days anew). ``attrs['stockdb']['rejected']`` counts
        the pairs that each rule turned down.
    """
    rules = rules or DiagonalRules()
    delta = np.abs(book.numbers["delta"])
    kind = _type(book, rules.option_type) & _numbers(book)
    short, long = _pairs(
        book,
        kind & _in(book.dte, rules.short_days) & _in(delta, rules.short_delta),
        kind & _in(book.dte, rules.long_days) & _in(delta, rules.long_delta),
        same_strike=False,
    )
    sign = np.where(book.call[short], 1.0, -1.0)
    width = sign * (book.strike[short] - book.strike[long])
    debit = book.ask[long] - book.bid[short]
    upside = width + book.bid[short] - book.ask[long]
    spread = (book.ask - book.bid) / book.mid
    extrinsic = book.extrinsic
    tests = {
        "width": width > 0.0,
        "debit_of_width": _at_most(debit / np.where(width > 0.0, width, np.nan),
                                   rules.max_debit_of_width),
        "extrinsic": (extrinsic[short] >= extrinsic[long]) | (not rules.extrinsic_covered),
        "upside": (upside > 0.0) | (not rules.upside_covered),
        "spread": _at_most(np.maximum(spread[short], spread[long]), rules.max_spread_pct),
        "open_interest": _interest(book, short, long, rules.min_open_interest),
        "credit": debit > 0.0,
    }  # fmt: skip
    short, long, rejected = _sift(short, long, tests)
    sign = np.where(book.call[short], 1.0, -1.0)
    width = sign * (book.strike[short] - book.strike[long])
    debit = book.ask[long] - book.bid[short]
    with np.errstate(over="ignore"):
        income = np.expm1(np.log1p(book.bid[short] / debit) * 365.0 / book.dte[short])
    roll = book.expiration[short] - np.timedelta64(rules.roll_days, "D")
    extra = {
        "width": width,
        "debit_of_width": debit / width,
        "extrinsic_long": extrinsic[long],
        "extrinsic_short": extrinsic[short],
        "upside": width + book.bid[short] - book.ask[long],
        "long_delta": book.numbers["delta"][long],
        "short_delta": book.numbers["delta"][short],
        "long_dte": book.dte[long],
        "short_dte": book.dte[short],
        "roll_date": roll.astype("datetime64[ns]"),
        "income_annualised": income,
        "option_type": np.where(book.call[short], "call", "put"),
    }
    side = Side(np.column_stack([short, long]), _SIGNS)
    frame = build(book, "diagonal", side, fee=fee, dividends=dividends, extra=extra)
    return _noted(limited(frame, "annualised", max_rows), rejected)


def _noted(frame: pd.DataFrame, rejected: dict[str, int]) -> pd.DataFrame:
    frame.attrs = {"stockdb": {"rejected": rejected}}
    return frame


def _numbers(book: Book) -> Bools:
    known: Bools = np.isfinite(book.numbers["iv"]) & np.isfinite(book.numbers["delta"])
    return known


def _type(book: Book, wanted: str | None) -> Bools:
    if wanted is None:
        return np.ones(len(book), np.bool_)
    return np.asarray(book.call == (wanted == "call"))


def _in(values: Floats | Ints, bounds: Bounds) -> Bools:
    low, high = bounds
    inside = np.isfinite(values)
    if low is not None:
        inside &= values >= low
    if high is not None:
        inside &= values <= high
    return inside


def _at_least(values: Floats, least: float | None) -> Bools:
    return np.ones(len(values), np.bool_) if least is None else np.asarray(values >= least)


def _at_most(values: Floats, most: float | None) -> Bools:
    return np.ones(len(values), np.bool_) if most is None else np.asarray(values <= most)


def _interest(book: Book, one: Ints, other: Ints, least: float) -> Bools:
    if least <= 0.0:
        return np.ones(len(one), np.bool_)
    smaller = np.minimum(book.open_interest[one], book.open_interest[other])
    return np.asarray(smaller >= least)


def _pairs(book: Book, near: Bools, far: Bools, *, same_strike: bool) -> tuple[Ints, Ints]:
    """Pair every nearer option with every later one of its type (and strike)."""
    columns: dict[str, Any] = {"row": np.arange(len(book)), "call": book.call, "dte": book.dte}
    by = ["call"]
    if same_strike:
        columns["strike"] = book.strike
        by.append("strike")
    frame = pd.DataFrame(columns)
    both = frame[near].merge(frame[far], on=by, suffixes=("_near", "_far"))
    both = both[both["dte_near"] < both["dte_far"]]
    return both["row_near"].to_numpy(np.int64), both["row_far"].to_numpy(np.int64)


def _sift(near: Ints, far: Ints, tests: dict[str, Bools]) -> tuple[Ints, Ints, dict[str, int]]:
    """Keep the pairs that pass all rules; count those that each rule turns down."""
    keep = np.ones(len(near), np.bool_)
    rejected = {}
    for name, passed in tests.items():
        rejected[name] = int((~passed).sum())
        keep &= passed
    return near[keep], far[keep], {"pairs": len(near), **rejected}
