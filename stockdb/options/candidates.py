"""One row for each candidate of a strategy: legs, payoff, Greeks, margin, odds, liquidity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.options.book import STOCK, Book, leg_of
from stockdb.options.market import DividendSchedule
from stockdb.options.payoff import Side, profile
from stockdb.options.quotes import Bools, Floats, Ints

__all__ = ["COLUMNS", "MEASURE", "build", "empty", "horizon_vol", "limited"]

GREEKS: Final = ("delta", "gamma", "theta", "vega", "rho", "dividend_rho")
MEASURE: Final = "risk-neutral lognormal at the at-the-money iv of the first expiration"
#: Columns of every strategy, in front of its own.
COLUMNS: Final = (
    "symbol", "quote_date", "spot", "strategy", "legs", "net_debit", "net_debit_mid", "max_loss",
    "max_profit", "model_based", "breakevens", *GREEKS, "margin", "capital", "return", "annualised",
    "probability_of_profit", "measure", "expected_value", "liquidity", "fees", "dte", "flags",
)  # fmt: skip
_WIDE: Final = 0.25
_DEEP: Final = 1000.0  # contracts of open interest that count as deep
_ACTIVE: Final = 100.0  # contracts a day that count as active


def build(
    book: Book,
    strategy: str | npt.NDArray[np.object_],
    side: Side,
    *,
    fee: float,
    dividends: DividendSchedule | None,
    extra: Mapping[str, Any],
) -> pd.DataFrame:
    """Give one row a package, in the order given.

    Parameters
    ----------
    book : Book
    strategy : str or array of str
    side : Side
    fee : float
        Dollars a contract.
    dividends : DividendSchedule or None
    extra : mapping
        The strategy's own columns.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`, then ``extra``. Dollars are per share of one package and before fees, but
        ``fees`` (dollars a package, to enter). Greeks are net: theta a day, vega a vol point,
        rho and dividend_rho per 1.00. ``max_loss`` and ``max_profit`` are NaN where unlimited
        (then a flag says so); ``model_based`` names those of the two that rest on repricing.
        ``margin`` is the Regulation T requirement for sold options that nothing covers,
        ``capital`` the margin and the debit together; ``return`` is max_profit / capital.
    """
    if not len(side):
        return empty(extra)
    options = side.rows != STOCK
    at = np.where(options, side.rows, 0)
    debit, mid = _debits(book, side)
    found = profile(book, side, debit, horizon_vol(book, side))
    margin = _margin(book, side)
    capital = margin + debit
    capital = np.where(capital > 0.0, capital, np.nan)
    dte = np.where(options, book.dte[at], np.iinfo(np.int64).max).min(axis=1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        gain = found.max_profit / capital
        annualised = np.where(gain > -1.0, np.expm1(np.log1p(gain) * 365.0 / dte), np.nan)
    annualised = np.where(np.isfinite(annualised), annualised, np.nan)
    signs = np.array(side.signs)
    contracts = (np.abs(signs) * options).sum(axis=1)
    frame = pd.DataFrame(
        {
            "symbol": book.symbol,
            "quote_date": book.quote_date,
            "spot": book.spot,
            "strategy": strategy,
            "legs": _objects(
                [
                    [
                        leg_of(book, int(row), sign, abs(sign))
                        for row, sign in zip(rows, side.signs, strict=True)
                    ]
                    for rows in side.rows
                ]
            ),
            "net_debit": debit,
            "net_debit_mid": mid,
            "max_loss": found.max_loss,
            "max_profit": found.max_profit,
            "model_based": found.model_based,
            "breakevens": _objects([list(roots) for roots in found.breakevens]),
            **{name: _net(book, side, name) for name in GREEKS},
            "margin": margin,
            "capital": capital,
            "return": gain,
            "annualised": annualised,
            "probability_of_profit": found.probability,
            "measure": MEASURE,
            "expected_value": found.expected,
            "liquidity": _liquidity(book, at, options),
            "fees": fee * contracts,
            "dte": dte,
            "flags": _objects(
                _flags(book, side, at, options, dividends, found.max_loss, found.max_profit)
            ),
        }
    )
    return pd.concat([frame, pd.DataFrame(dict(extra), index=frame.index)], axis=1)


def empty(extra: Mapping[str, Any]) -> pd.DataFrame:
    """Give a frame of no candidates with the same columns."""
    texts = {"symbol", "strategy", "model_based", "measure"}
    objects = {"legs", "breakevens", "flags"}
    kinds: dict[str, Any] = {
        name: "str" if name in texts else "object" if name in objects else "float64"
        for name in COLUMNS
    }
    kinds |= {"quote_date": "datetime64[ns]", "dte": "int64"}
    kinds |= {name: pd.Series(values).dtype for name, values in extra.items()}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})


def limited(frame: pd.DataFrame, by: str, most: int, *, ascending: bool = False) -> pd.DataFrame:
    """Put the best rows first, those that rest on suspect quotes last, and keep some."""
    suspect = frame["flags"].map(lambda flags: "suspect_quote" in flags).to_numpy(bool)
    value = frame[by].to_numpy(np.float64)
    value = np.where(np.isnan(value), -np.inf, value if not ascending else -value)
    return frame.iloc[np.lexsort((-value, suspect))[:most]].reset_index(drop=True)


def horizon_vol(book: Book, side: Side) -> Floats:
    """At-the-money implied volatility of each package's first expiration."""
    options = side.rows != STOCK
    at = np.where(options, side.rows, 0)
    dte = np.where(options, book.dte[at], np.iinfo(np.int64).max).min(axis=1)
    table = book.at_the_money()
    if not len(table):
        return np.full(len(side), np.nan)
    known = table.index.to_numpy(np.float64)
    return np.asarray(np.interp(dte, known, table["iv"].to_numpy()), dtype=np.float64)


def _objects(values: list[Any]) -> npt.NDArray[np.object_]:
    held = np.empty(len(values), dtype=object)
    held[:] = values
    return held


def _debits(book: Book, side: Side) -> tuple[Floats, Floats]:
    """Paid at executable prices, and at mids."""
    debit, mid = np.zeros(len(side)), np.zeros(len(side))
    for column, sign in enumerate(side.signs):
        rows = side.rows[:, column]
        stock = rows == STOCK
        quoted = (book.stock_ask if sign > 0 else book.stock_bid) if stock.any() else 0.0
        quoted = book.spot if np.isnan(quoted) else quoted
        middle = (book.stock_bid + book.stock_ask) / 2.0
        middle = book.spot if np.isnan(middle) else middle
        fill = book.ask[rows] if sign > 0 else book.bid[rows]
        debit += sign * np.where(stock, quoted, fill)
        mid += sign * np.where(stock, middle, book.mid[rows])
    return debit, mid


def _net(book: Book, side: Side, name: str) -> Floats:
    total = np.zeros(len(side))
    for column, sign in enumerate(side.signs):
        rows = side.rows[:, column]
        of_stock = 1.0 if name == "delta" else 0.0
        total += sign * np.where(rows == STOCK, of_stock, book.numbers[name][rows])
    return total


def _margin(book: Book, side: Side) -> Floats:
    """Regulation T: what sold options require that no other leg covers.

    A sold call is covered by bought stock or a call that lasts as long, a sold put by sold stock
    or such a put; a difference of strikes that they leave is required. Uncovered: 20 % of the
    stock less what the option is out of the money, at least 10 % (of the stock, or of a put's
    strike), and the premium. Of a sold call and a sold put the larger requirement counts, and
    the other's premium. Stock sold short: half its price.
    """
    calls = np.zeros(len(side))
    puts = np.zeros(len(side))
    premiums = [np.zeros(len(side)), np.zeros(len(side))]
    for column, sign in enumerate(side.signs):
        rows = side.rows[:, column]
        if sign > 0 or (rows == STOCK).all():
            continue
        call = book.call[rows]
        cover = _cover(book, side, rows)
        out = np.where(call, book.strike[rows] - book.spot, book.spot - book.strike[rows])
        floor = 0.1 * np.where(call, book.spot, book.strike[rows])
        naked = np.maximum(0.2 * book.spot - np.maximum(out, 0.0), floor)
        held = np.where(np.isnan(cover), naked + book.bid[rows], cover)
        calls += np.where(call, held, 0.0)
        puts += np.where(call, 0.0, held)
        premiums[0] += np.where(call & np.isnan(cover), book.bid[rows], 0.0)
        premiums[1] += np.where(~call & np.isnan(cover), book.bid[rows], 0.0)
    both = (calls > 0.0) & (puts > 0.0)
    larger = np.maximum(calls, puts) + np.where(calls >= puts, premiums[1], premiums[0])
    margin = np.where(both, larger, calls + puts)
    for column, sign in enumerate(side.signs):
        if sign < 0:
            stock = side.rows[:, column] == STOCK
            price = book.spot if np.isnan(book.stock_bid) else book.stock_bid
            margin = margin + np.where(stock, 1.5 * price, 0.0)  # the proceeds are held, too
    return margin


def _cover(book: Book, side: Side, sold: Ints) -> Floats:
    """Difference of strikes that a covered sold option leaves; NaN where nothing covers it."""
    cover = np.full(len(side), np.nan)
    call = book.call[sold]
    for column, sign in enumerate(side.signs):
        rows = side.rows[:, column]
        stock = rows == STOCK
        by_stock = stock & (call if sign > 0 else ~call)
        cover = np.where(by_stock, 0.0, cover)
        if sign > 0 and not stock.any():
            lasts = (book.call[rows] == call) & (book.dte[rows] >= book.dte[sold])
            direction = np.where(call, 1.0, -1.0)
            owed = np.maximum(direction * (book.strike[rows] - book.strike[sold]), 0.0)
            cover = np.where(lasts, np.fmin(cover, owed), cover)
    return cover


def _liquidity(book: Book, at: Ints, options: Bools) -> Floats:
    """Score the worst leg, 0 to 1: half by its spread, the rest by open interest and volume."""
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = (book.ask[at] - book.bid[at]) / book.mid[at]
    tight = np.clip(1.0 - spread / _WIDE, 0.0, 1.0)
    deep = np.clip(np.log1p(np.nan_to_num(book.open_interest[at])) / np.log1p(_DEEP), 0.0, 1.0)
    active = np.clip(np.log1p(np.nan_to_num(book.volume[at])) / np.log1p(_ACTIVE), 0.0, 1.0)
    score = 0.5 * tight + 0.3 * deep + 0.2 * active
    worst: Floats = np.where(options, score, 1.0).min(axis=1)
    return worst


def _flags(
    book: Book,
    side: Side,
    at: Ints,
    options: Bools,
    dividends: DividendSchedule | None,
    max_loss: Floats,
    max_profit: Floats,
) -> list[list[str]]:
    sold = (np.array(side.signs) < 0) & options
    paid = _largest_dividend(book, at, sold & book.call[at], dividends)
    intrinsic = np.maximum(np.where(book.call[at], 1.0, -1.0) * (book.spot - book.strike[at]), 0.0)
    extrinsic = book.mid[at] - intrinsic
    due = paid[:, None] * book.call[at] * 1.0
    early = sold & book.american[at] & (intrinsic > 0.0) & (extrinsic <= np.maximum(due, 0.05))
    marks = {
        "unlimited_loss": np.isnan(max_loss),
        "unlimited_profit": np.isnan(max_profit),
        "ex_dividend": paid > 0.0,
        "dividends_unknown": (
            (sold & book.call[at]).any(axis=1)
            if dividends is None
            else np.zeros(len(side), np.bool_)
        ),
        "assignment": early.any(axis=1),
        "wide_spread": (book.wide[at] & options).any(axis=1),
        "dead_quote": (book.dead[at] & options).any(axis=1),
        "suspect_quote": (book.suspect[at] & options).any(axis=1),
        "stock_at_implied_price": (~options).any(axis=1) & bool(np.isnan(book.stock_bid)),
    }
    flags: list[list[str]] = [[] for _ in range(len(side))]
    for name, mask in marks.items():
        for row in np.flatnonzero(mask):
            flags[row].append(name)
    return flags


def _largest_dividend(
    book: Book, at: Ints, short_call: Bools, dividends: DividendSchedule | None
) -> Floats:
    """Largest dividend before each package's last sold call expires; 0 without one."""
    most = np.zeros(len(at))
    if dividends is None:
        return most
    for expiration in np.unique(book.expiration[at[short_call]]):
        due = dividends.until(book.quote_date, pd.Timestamp(expiration))
        here = (short_call & (book.expiration[at] == expiration)).any(axis=1)
        most[here] = np.maximum(most[here], max((cash for _, cash in due), default=0.0))
    return most
