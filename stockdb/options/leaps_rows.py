"""What the data of ``leaps_arbitrage`` are made of: one day's long-dated options as rows."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from stockdb.options.book import Book
from stockdb.options.market import DividendSchedule
from stockdb.options.quotes import Floats, Ints
from stockdb.options.volatility import realised_vol

__all__ = ["COLUMNS", "leaps_rows"]

COLUMNS: Final = (
    "parity_hi", "parity_lo", "box_rate", "iv", "delta", "iv_term_slope", "iv_minus_rv_252",
    "spread_pct", "open_interest",
)  # fmt: skip
_YEAR: Final = 252


def leaps_rows(
    book: Book,
    closes: Floats,
    *,
    min_days: float,
    dividends: DividendSchedule | None,
) -> pd.DataFrame:
    """Compute one row a contract that can be traded.

    Parameters
    ----------
    book : Book
        Of the whole chain: shorter options, too, shape the term structure.
    closes : numpy.ndarray
        The stock's, up to the quote date, oldest first.
    min_days : float
        Least calendar days to expiration of the rows.
    dividends : DividendSchedule or None
        None: unknown; ``parity_lo`` is NaN then.

    Returns
    -------
    pandas.DataFrame
        Index ``contract``; `COLUMNS`, float64. ``parity_hi``, ``parity_lo`` and ``box_rate`` are
        those of the strike, the same for its call and its put; NaN without the other one.
        ``box_rate`` is the highest rate that a long box through the strike lends at, bought at
        executable prices. The stock trades at its quote, else at the chain's spot.
    """
    rows = np.flatnonzero(book.dte >= min_days)
    frame = pd.DataFrame({name: np.full(len(rows), np.nan) for name in COLUMNS})
    frame.index = pd.Index([str(name).removeprefix("O:") for name in book.contract[rows]])
    frame.index.name = "contract"
    if not len(rows):
        return frame
    table = book.at_the_money()
    if len(table) > 1:
        frame["iv_term_slope"] = float(np.polyfit(table["years"], table["iv"], 1)[0])
    frame["iv"], frame["delta"] = book.numbers["iv"][rows], book.numbers["delta"][rows]
    frame["iv_minus_rv_252"] = book.numbers["iv"][rows] - realised_vol(closes, _YEAR)
    frame["spread_pct"] = (book.ask[rows] - book.bid[rows]) / book.mid[rows]
    frame["open_interest"] = book.open_interest[rows]
    for name, values in _of_strikes(book, rows, dividends).items():
        frame[name] = values
    return frame


def _of_strikes(book: Book, rows: Ints, dividends: DividendSchedule | None) -> dict[str, Floats]:
    """Bounds of each strike with both options, spread over its rows."""
    result = {name: np.full(len(book), np.nan) for name in ("parity_hi", "parity_lo", "box_rate")}
    keys = pd.DataFrame({"row": rows, "dte": book.dte[rows], "strike": book.strike[rows]})
    is_call = book.call[rows]
    both = keys[is_call].merge(keys[~is_call], on=["dte", "strike"], suffixes=("_call", "_put"))
    for _, part in both.sort_values("strike").groupby("dte"):
        call = part["row_call"].to_numpy(np.int64)
        put = part["row_put"].to_numpy(np.int64)
        strike, years = book.strike[call], float(book.numbers["years"][call[0]])
        # The rate belongs to the expiration; a row without volatility may lack it.
        rate = float(np.nanmax([*book.numbers["rate"][call], *book.numbers["rate"][put], -1.0]))
        rate = rate if rate > -1.0 else float("nan")
        bid = book.spot if np.isnan(book.stock_bid) else book.stock_bid
        ask = book.spot if np.isnan(book.stock_ask) else book.stock_ask
        paid = _present_value(book, call[0], rate, dividends)
        high = book.bid[call] - book.ask[put] - (ask - strike * np.exp(-rate * years))
        low = bid - paid - strike - (book.ask[call] - book.bid[put])
        lent = _box_rates(book, call, put, strike, years)
        for at in (call, put):
            result["parity_hi"][at], result["parity_lo"][at] = high, low
            result["box_rate"][at] = lent
    return {name: values[rows] for name, values in result.items()}


def _present_value(
    book: Book, row: np.int64, rate: float, dividends: DividendSchedule | None
) -> float:
    if dividends is None:
        return float("nan")
    due = dividends.until(book.quote_date, pd.Timestamp(book.expiration[row]))
    return float(sum(cash * np.exp(-rate * time) for time, cash in due))


def _box_rates(book: Book, call: Ints, put: Ints, strike: Floats, years: float) -> Floats:
    """Highest rate of the boxes that have each strike as one of their two."""
    bought = book.ask[call] - book.bid[put]
    sold = book.bid[call] - book.ask[put]
    width = strike[None, :] - strike[:, None]  # [low, high]
    cost = bought[:, None] - sold[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.log(width / cost) / years
    rate = np.where((width > 0.0) & (cost > 0.0), rate, -np.inf)
    best = np.maximum(rate.max(axis=1), rate.max(axis=0))
    return np.where(np.isfinite(best), best, np.nan)
