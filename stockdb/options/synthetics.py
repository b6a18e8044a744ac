"""Synthetic stock, conversions and reversals: where each strike stands in its no-trade band."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.arguments import Bounds, parse_bounds, parse_choice
from stockdb.errors import ConfigurationError
from stockdb.options._asked import settle
from stockdb.options.book import STOCK, Book
from stockdb.options.candidates import build
from stockdb.options.market import DividendSchedule
from stockdb.options.payoff import Side
from stockdb.options.quotes import Bools, Floats, Ints

__all__ = ["SyntheticRules", "synthetic_positions"]

#: Signs of stock, put and call.
_SHAPES: Final = {
    "synthetic_long": (0, -1, 1),
    "synthetic_short": (0, 1, -1),
    "conversion": (1, 1, -1),
    "reversal": (-1, -1, 1),
}


@dataclass(frozen=True, slots=True)
class SyntheticRules:
    """Which synthetic positions to look at; None asks nothing.

    Attributes
    ----------
    kinds : str or sequence of str
        Of ``synthetic_long``, ``synthetic_short``, ``conversion``, ``reversal``.
    days : tuple
        Least and most calendar days to expiration.
    moneyness : tuple
        Strike / spot.
    max_spread_pct : float or None
    min_open_interest : float

    Raises
    ------
    ConfigurationError
        A value that is none, or a reversed range.
    """

    kinds: str | Sequence[str] = tuple(_SHAPES)
    days: Bounds = (365, None)
    moneyness: Bounds = (0.8, 1.2)
    max_spread_pct: float | None = 0.25
    min_open_interest: float = 0.0

    def __post_init__(self) -> None:
        given: Any = self.kinds
        many = isinstance(given, Iterable) and not isinstance(given, str)
        kinds = [parse_choice("kinds", kind, _SHAPES) for kind in (given if many else [given])]
        if not kinds:
            raise ConfigurationError(
                "kinds is empty.", remedy=f"Give some of {', '.join(_SHAPES)}."
            )
        settle(
            self,
            kinds=tuple(dict.fromkeys(kinds)),
            days=parse_bounds("days", self.days),
            moneyness=parse_bounds("moneyness", self.moneyness),
        )


def synthetic_positions(
    book: Book,
    rules: SyntheticRules | None = None,
    *,
    fee: float = 0.65,
    dividends: DividendSchedule | None = None,
    max_rows: int = 200,
) -> pd.DataFrame:
    """Measure synthetic positions against the stock.

    Returns
    -------
    pandas.DataFrame
        By how far from the middle of the band, farthest first: the columns of
        :func:`stockdb.options.candidates.build` and strike, implied_forward (of the expiration,
        from de-Americanised quotes), carry (ln(forward / spot) / T, a year), implied_dividend
        (dollars: spot - forward discounted), known_dividends (present value; NaN where unknown),
        implied_borrow (a year: what the forward lacks beyond known dividends; NaN where they
        are unknown), band_low (S - PV(D) - K), band_high (S - K e^(-rT)), band_position (of C - P
        at mids: 0 at the lower bound, 1 at the upper; outside is a breach), locked_rate (a year,
        continuous: what the position lends or borrows at when held to expiration; NaN for
        synthetic stock alone), bill_rate, rate_pickup (locked_rate less bill_rate; of borrowing
        the reverse), next_ex_date, next_dividend. A breach at mids is no arbitrage:
        ``find_arbitrage_opportunities`` looks at executable prices.
    """
    rules = rules or SyntheticRules()
    call, put = _pairs(book, rules)
    frames = []
    for kind in rules.kinds:
        stock, of_put, of_call = _SHAPES[kind]
        legs = [put, call] if stock == 0 else [np.full(len(call), STOCK), put, call]
        signs = (of_put, of_call) if stock == 0 else (stock, of_put, of_call)
        side = Side(np.column_stack(legs), signs)
        extra = _measures(book, call, put, kind, dividends)
        frames.append(build(book, kind, side, fee=fee, dividends=dividends, extra=extra))
    filled = [frame for frame in frames if len(frame)]
    if not filled:
        return frames[0]
    frame = pd.concat(filled, ignore_index=True)
    away = (frame["band_position"] - 0.5).abs().fillna(-1.0).to_numpy()
    suspect = frame["flags"].map(lambda flags: "suspect_quote" in flags).to_numpy(bool)
    return frame.iloc[np.lexsort((-away, suspect))[:max_rows]].reset_index(drop=True)


def _pairs(book: Book, rules: SyntheticRules) -> tuple[Ints, Ints]:
    good: Bools = np.isfinite(book.numbers["iv"]) & (book.dte >= (rules.days[0] or 0))
    if rules.days[1] is not None:
        good &= book.dte <= rules.days[1]
    ratio = book.strike / book.spot
    low, high = rules.moneyness
    good &= (ratio >= (low or 0.0)) & (ratio <= (np.inf if high is None else high))
    if rules.max_spread_pct is not None:
        good &= (book.ask - book.bid) / book.mid <= rules.max_spread_pct
    if rules.min_open_interest > 0.0:
        good &= book.open_interest >= rules.min_open_interest
    frame = pd.DataFrame(
        {"row": np.arange(len(book)), "dte": book.dte, "strike": book.strike, "call": book.call}
    )[good]
    both = frame[frame["call"]].merge(frame[~frame["call"]], on=["dte", "strike"])
    both = both.sort_values(["dte", "strike"])
    return both["row_x"].to_numpy(np.int64), both["row_y"].to_numpy(np.int64)


def _measures(
    book: Book, call: Ints, put: Ints, kind: str, dividends: DividendSchedule | None
) -> dict[str, Any]:
    strike, years = book.strike[call], book.numbers["years"][call]
    rate, forward = book.numbers["rate"][call], book.numbers["forward"][call]
    discount = np.exp(-rate * years)
    known = _present_value(book, call, rate, dividends)
    low = book.spot - np.where(np.isnan(known), 0.0, known) - strike
    high = book.spot - strike * discount
    gap = book.mid[call] - book.mid[put]
    with np.errstate(divide="ignore", invalid="ignore"):
        position = np.where(high > low, (gap - low) / (high - low), np.nan)
        borrow = -np.log((forward * discount + known) / book.spot) / years
    locked = _locked(book, call, put, kind, years, known)
    next_date, next_cash = _next(book, call, dividends)
    return {
        "strike": strike,
        "implied_forward": forward,
        "carry": np.log(forward / book.spot) / years,
        "implied_dividend": book.spot - forward * discount,
        "known_dividends": known,
        "implied_borrow": borrow,
        "band_low": low,
        "band_high": high,
        "band_position": position,
        "locked_rate": locked,
        "bill_rate": rate,
        "rate_pickup": (locked - rate) * (-1.0 if kind == "reversal" else 1.0),
        "next_ex_date": next_date,
        "next_dividend": next_cash,
    }


def _present_value(
    book: Book, rows: Ints, rate: Floats, dividends: DividendSchedule | None
) -> Floats:
    known = np.full(len(rows), np.nan)
    if dividends is None:
        return known
    for i, row in enumerate(rows):
        due = dividends.until(book.quote_date, pd.Timestamp(book.expiration[row]))
        known[i] = sum(cash * np.exp(-rate[i] * time) for time, cash in due)
    return known


def _locked(book: Book, call: Ints, put: Ints, kind: str, years: Floats, known: Floats) -> Floats:
    """Rate at which the strike at expiration, less known dividends, is paid for today."""
    if kind not in ("conversion", "reversal"):
        return np.full(len(call), np.nan)
    if kind == "conversion":
        stock = book.spot if np.isnan(book.stock_ask) else book.stock_ask
        paid = stock + book.ask[put] - book.bid[call]
    else:
        stock = book.spot if np.isnan(book.stock_bid) else book.stock_bid
        paid = stock + book.bid[put] - book.ask[call]
    net = paid - np.nan_to_num(known)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate: Floats = np.log(book.strike[call] / net) / years
    return rate


def _next(book: Book, rows: Ints, dividends: DividendSchedule | None) -> tuple[Any, Floats]:
    """Give the next ex-date before each expiration, and what is paid."""
    day = np.full(len(rows), np.datetime64("NaT"), "datetime64[ns]")
    cash = np.full(len(rows), np.nan)
    to_come = () if dividends is None else tuple(
        (ex, amount)
        for ex, amount in zip(dividends.ex_dates, dividends.amounts, strict=True)
        if pd.Timestamp(ex) > book.quote_date
    )  # fmt: skip
    if to_come:
        due = book.expiration[rows] >= np.datetime64(to_come[0][0])
        day[due] = np.datetime64(to_come[0][0])
        cash[due] = to_come[0][1]
    return day, cash
