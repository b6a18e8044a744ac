"""Packages of static arbitrage as rows of a frame."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.options._explain import doubt, sentence
from stockdb.options._packages import BUY, NOISE, SELL, STOCK, Found, Terms, leg_prices, per_share
from stockdb.options.quotes import Bools, Floats, Ints, Quotes
from stockdb.options.suspects import Suspects

__all__ = ["COLUMNS", "rows_of"]

COLUMNS: Final = (
    "symbol", "quote_date", "kind", "class", "style", "legs", "edge", "edge_per_short", "capacity",
    "profit", "capital", "annualised", "dte", "net_debit", "fees", "survives_one_tick", "flags",
    "suspect_count", "suspects", "largest_dividend", "disclosures", "explanation",
)  # fmt: skip
_WIDTH_OWED: Final = ("slope", "short_box")
_SHORT_STOCK: Final = ("reversal", "call_floor")
_LOCKED: Final = ("conversion", "reversal", "long_box", "short_box")
_NAKED: Final = ("synthetic_long", "synthetic_short", "iv_outlier_dear")
_MARGIN_OF_NAKED: Final = 0.2  # Regulation T, of the stock; here of the strike
_MARGIN_OF_SHORT_STOCK: Final = 0.5  # Regulation T, beyond the proceeds
_TICK_OF_STOCK: Final = 0.01
_OWES_DIVIDEND: Final = (
    "monotonicity", "slope", "calendar", "butterfly", "long_box", "call_ray", "short_box",
)  # fmt: skip


def rows_of(found: Found, quotes: Quotes, terms: Terms, suspects: Suspects) -> pd.DataFrame:
    """Give one row a package, unranked; columns are `COLUMNS` and ``growth`` to rank by."""
    edge, debit = per_share(found, quotes, terms)
    options = found.legs != STOCK
    at = np.where(options, found.legs, 0)
    contracts = (found.ratios * options).sum(axis=1)
    capacity, unknown = _capacity(found, quotes, options, at)
    capital = _capital(found, quotes, terms, debit, options, at)
    dte = _days(found, quotes, options, at)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        growth = np.log1p(edge / capital) / dte
        annualised = np.expm1(365.0 * growth)
    annualised[~np.isfinite(annualised)] = np.nan
    marked = (suspects.marked[at] & options).sum(axis=1)
    if suspects.stock:
        marked += (~options).sum(axis=1)
    apart = (suspects.apart[at] & options).sum(axis=1)  # none of these legs can be trusted
    marked = np.where(marked > 0, marked, apart)
    european = quotes.european[at[np.arange(len(found)), options.argmax(axis=1)]]
    dividend = _largest_dividend(found, quotes, terms, options, at, european)
    legs = _legs(found, quotes, terms, dte)
    names = _names(found, quotes, suspects)
    flags = _flags(found, quotes, options, at, unknown, capacity, annualised, suspects)
    return pd.DataFrame(
        {
            "symbol": quotes.symbol,
            "quote_date": pd.Timestamp(quotes.quote_date).as_unit("ns"),
            "kind": found.kind,
            "class": np.where(marked > 0, "suspect", found.klass),
            "style": np.where(european, "E", "A"),
            "legs": _objects(legs),
            "edge": edge,
            "edge_per_short": edge / found.unit,
            "capacity": capacity,
            "profit": edge * 100.0 * capacity,
            "capital": capital * 100.0 * capacity,
            "annualised": annualised,
            "dte": dte,
            "net_debit": debit,
            "fees": terms.fee * contracts,
            "survives_one_tick": edge - _one_tick(found, quotes, options, at) > NOISE,
            "flags": _objects(flags),
            "suspect_count": marked,
            "suspects": _objects(names),
            "largest_dividend": dividend,
            "disclosures": _objects(
                _disclosures(found, terms, dividend, european, _earned(found, quotes, debit, dte))
            ),
            "explanation": [
                sentence(found.kind, quotes.symbol, row, gain)
                + doubt(named, count, whole=suspects.mixed)
                for row, gain, named, count in zip(legs, edge, names, marked, strict=True)
            ],
            "growth": growth,
        }
    )


def _objects(values: list[Any]) -> npt.NDArray[np.object_]:
    held = np.empty(len(values), dtype=object)
    held[:] = values
    return held


def _capacity(found: Found, quotes: Quotes, options: Bools, at: Ints) -> tuple[Ints, Bools]:
    """Count the packages that the sizes shown allow; 1 where none is shown."""
    buys = np.array(found.sides) == BUY
    size = np.where(buys, quotes.ask_size[at], quotes.bid_size[at])
    lots = np.where(options, np.floor(size / found.ratios), np.nan)
    known = np.isfinite(lots)
    least = np.where(known, lots, np.inf).min(axis=1)
    unknown = np.asarray(~known.any(axis=1))
    return np.where(unknown, 1.0, least).astype(np.int64), unknown


def _capital(
    found: Found, quotes: Quotes, terms: Terms, debit: Floats, options: Bools, at: Ints
) -> Floats:
    """Dollars a share: the debit; of a credit what a broker holds against the sold legs."""
    bought = np.zeros(len(found))
    for column, side in enumerate(found.sides):
        if side == BUY:
            price = leg_prices(found.legs[:, column], side, quotes, terms)
            bought += price * found.ratios[:, column]
    margin = bought
    if found.kind in _WIDTH_OWED:
        strikes = np.where(options, quotes.strike[at], np.nan)
        margin = np.nanmax(strikes, axis=1) - np.nanmin(strikes, axis=1)
    elif found.kind in _SHORT_STOCK and terms.stock_bid is not None:
        margin = np.full(len(found), _MARGIN_OF_SHORT_STOCK * terms.stock_bid)
    elif found.kind == "put_cap":
        margin = quotes.strike[at[:, 0]]
    elif found.kind in _NAKED:
        return _MARGIN_OF_NAKED * quotes.strike[at[:, 0]] + np.maximum(debit, 0.0)
    return np.where(debit > 0.0, debit, margin)


def _days(found: Found, quotes: Quotes, options: Bools, at: Ints) -> Ints:
    """Days until the guarantee ends: the first expiration of the package."""
    days = np.where(options, quotes.dte[at], np.iinfo(np.int64).max)
    least: Ints = days.min(axis=1)
    return least


def _one_tick(found: Found, quotes: Quotes, options: Bools, at: Ints) -> Floats:
    tick = np.where(options, quotes.tick[at], _TICK_OF_STOCK)
    worse: Floats = (tick * found.ratios).sum(axis=1)
    return worse


def _largest_dividend(
    found: Found, quotes: Quotes, terms: Terms, options: Bools, at: Ints, european: Bools
) -> Floats:
    """Largest dividend that a sold American call may owe; 0 without one, NaN where unknown."""
    owed = np.zeros(len(found))
    if found.kind not in _OWES_DIVIDEND:
        return owed
    sold = np.array(found.sides) == SELL
    short_call = options & sold & quotes.call[at]
    if terms.dividends is None:
        return np.where(short_call.any(axis=1) & ~european, np.nan, 0.0)
    for expiration in np.unique(quotes.expiration[at[short_call]]):
        due = terms.dividends.until(quotes.quote_date, expiration.item())
        most = max((amount for _, amount in due), default=0.0)
        here = (short_call & (quotes.expiration[at] == expiration)).any(axis=1) & ~european
        owed[here] = np.maximum(owed[here], most)
    return owed


def _legs(found: Found, quotes: Quotes, terms: Terms, dte: Ints) -> list[list[dict[str, Any]]]:
    columns = []
    for column, side in enumerate(found.sides):
        rows, ratios = found.legs[:, column], found.ratios[:, column].tolist()
        word = "buy" if side == BUY else "sell"
        if len(rows) and rows[0] == STOCK:  # a leg is the stock in all packages of a kind or none
            price = terms.stock_ask if side == BUY else terms.stock_bid
            columns.append([_stock_leg(quotes, terms, word, ratio, price) for ratio in ratios])
            continue
        fill = leg_prices(rows, side, quotes, terms).tolist()
        fields = (
            quotes.contract[rows], np.where(quotes.call[rows], "call", "put"),
            quotes.strike[rows].tolist(),
            pd.DatetimeIndex(quotes.expiration[rows].astype("M8[ns]")),
            quotes.dte[rows].tolist(), quotes.bid[rows].tolist(), quotes.ask[rows].tolist(), fill,
            quotes.bid_size[rows].tolist(), quotes.ask_size[rows].tolist(),
            quotes.open_interest[rows].tolist(), quotes.volume[rows].tolist(),
        )  # fmt: skip
        columns.append(
            [
                {
                    "contract": contract, "side": word, "ratio": ratio, "type": str(kind),
                    "strike": strike, "expiration": day, "dte": days, "bid": bid, "ask": ask,
                    "fill": price, "bid_size": bid_size, "ask_size": ask_size,
                    "open_interest": interest, "volume": volume,
                }
                for ratio, contract, kind, strike, day, days, bid, ask, price, bid_size, ask_size,
                interest, volume in zip(ratios, *fields, strict=True)
            ]
        )  # fmt: skip
    if found.kind.startswith("future_"):
        word = "buy" if found.kind == "future_conversion" else "sell"
        days = quotes.expiration[found.legs[:, 0]].tolist()
        columns.insert(0, [_future_leg(quotes, terms, word, day) for day in days])
    return [list(row) for row in zip(*columns, strict=True)]


def _future_leg(quotes: Quotes, terms: Terms, side: str, day: dt.date) -> dict[str, Any]:
    bid, ask = terms.future(day) or (float("nan"), float("nan"))
    leg = _stock_leg(quotes, terms, side, 1, ask if side == "buy" else bid)
    days = (day - quotes.quote_date).days
    return {
        **leg,
        "type": "future",
        "expiration": pd.Timestamp(day).as_unit("ns"),
        "dte": days,
        "bid": bid,
        "ask": ask,
    }


def _stock_leg(
    quotes: Quotes, terms: Terms, side: str, ratio: int, price: float | None
) -> dict[str, Any]:
    nan = float("nan")
    return {
        "contract": quotes.symbol, "side": side, "ratio": ratio, "type": "stock", "strike": nan,
        "expiration": pd.NaT, "dte": 0, "bid": nan if terms.stock_bid is None else terms.stock_bid,
        "ask": nan if terms.stock_ask is None else terms.stock_ask, "fill": price,
        "bid_size": nan, "ask_size": nan, "open_interest": nan, "volume": nan,
    }  # fmt: skip


def _flags(
    found: Found,
    quotes: Quotes,
    options: Bools,
    at: Ints,
    unknown: Bools,
    capacity: Ints,
    annualised: Floats,
    suspects: Suspects,
) -> list[list[str]]:
    marks = {
        "wide_spread": (quotes.wide[at] & options).any(axis=1),
        "dead_quote": (quotes.dead[at] & options).any(axis=1),
        "size_unknown": unknown,
        "size_below_ratio": capacity == 0,
        "annualised_undefined": np.isnan(annualised),
        "contradicts_many": (suspects.many[at] & options).any(axis=1),
        "far_from_neighbours": (suspects.far[at] & options).any(axis=1),
        "chain_not_synchronous": np.full(len(found), suspects.mixed),
        "expiration_not_synchronous": (suspects.apart[at] & options).any(axis=1)
        & (not suspects.mixed),
        "stock_not_synchronous": ~options.all(axis=1) & suspects.stock,
    }
    if found.klass == "statistical" and STOCK in found.legs[:1]:
        marks["implied_spot"] = np.full(len(found), True)
    if len(found.now):
        marks["exercise_now"] = found.now > NOISE
    flags: list[list[str]] = [[] for _ in range(len(found))]
    for name, mask in marks.items():
        for row in np.flatnonzero(mask):
            flags[row].append(name)
    return flags


def _names(found: Found, quotes: Quotes, suspects: Suspects) -> list[list[str]]:
    marked = np.append(suspects.marked, suspects.stock)  # the stock is row -1
    named = np.append(quotes.contract, quotes.symbol)
    return [[named[leg] for leg in row if marked[leg]] for row in found.legs]


def _earned(found: Found, quotes: Quotes, debit: Floats, dte: Ints) -> Floats:
    """Give the rate a year at which a locked package lends or borrows; NaN for others."""
    if found.kind in ("conversion", "reversal"):
        face = quotes.strike[found.legs[:, 1]]
    elif found.kind in ("long_box", "short_box"):
        face = quotes.strike[found.legs[:, 1]] - quotes.strike[found.legs[:, 0]]
    else:
        return np.full(len(found), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate: Floats = np.log(face / np.abs(debit)) * 365.0 / dte
    return rate


def _disclosures(
    found: Found, terms: Terms, dividend: Floats, european: Bools, earned: Floats
) -> list[list[str]]:
    """Name what the guarantee leaves out, a list of sentences a row."""
    always: list[str] = []
    if found.kind in (*_LOCKED, "future_conversion", "future_reversal") or found.klass in (
        "riskless_declared",
        "conditional",
    ):
        always.append("Rests on lending and borrowing at the rate given, locked until the end.")
    if found.kind in _SHORT_STOCK:
        always.append("The lender of the stock may recall it, or charge more.")
    if found.klass == "conditional" and found.kind not in _SHORT_STOCK:
        always.append("Counts on dividends that are not declared yet.")
    waits = found.klass != "riskless" or found.kind == "conversion"
    counted = found.kind in ("conversion", "call_floor", "put_floor", "reversal") and waits
    if counted and terms.dividends is not None and terms.dividends.amounts:
        always.append("Rests on the dividends given being paid as given.")
    if found.kind == "short_box" and found.klass == "statistical":
        always.append("Either sold option may be assigned early, which costs the interest.")
    if found.klass == "statistical":
        always.append("No arbitrage: it rests on a model or on a price that was not quoted.")
    verb = "pays" if found.kind in ("reversal", "short_box") else "earns"
    texts = []
    for owed, cash_settled, rate in zip(dividend, european, earned, strict=True):
        row = list(always)
        if np.isfinite(rate):
            row.append(f"Before fees and dividends it {verb} {rate:.2%} a year.")
        if np.isnan(owed):
            row.append(
                "A sold call assigned the night before an ex-date owes the dividend unless the "
                "bought one was exercised; the dividends are unknown."
            )
        elif owed > 0.0 and not cash_settled:
            row.append(
                "A sold call assigned the night before an ex-date owes the dividend, at most "
                f"{owed:g} dollars a share, unless the bought one was exercised."
            )
        texts.append(row)
    return texts
