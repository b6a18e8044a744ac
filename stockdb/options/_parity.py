"""Static arbitrage between calls, puts and the stock: parity, floors, caps, boxes."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from stockdb.options._packages import (
    BUY,
    NOISE,
    SELL,
    STOCK,
    Found,
    Terms,
    package,
    per_share,
    take,
    trim,
)
from stockdb.options.quotes import Bools, Floats, Ints, Quotes

__all__ = ["NO_SPOT", "box_tests", "future_tests", "parity_tests", "stock_tests"]

#: Roots whose index nobody can hold: their options follow futures (Cboe, "VIX options").
NO_SPOT: Final = ("VIX", "VIXW")


@dataclass(frozen=True, slots=True)
class _Carry:
    """Strike and dividends until an exercise, worth today: K * factor + paid, by choice of time.

    Arrays over the possible times: at once, just before and just after each ex-date, expiry.
    """

    factor: Floats
    paid: Floats
    forecast: bool
    complete: bool  # all dividends are known

    def least(self, strike: Floats) -> Floats:
        """Least over the times (Gmin)."""
        least: Floats = (np.outer(strike, self.factor) + self.paid).min(axis=1)
        return least

    def most(self, strike: Floats) -> Floats:
        """Greatest over the times (Gmax)."""
        most: Floats = (np.outer(strike, self.factor) + self.paid).max(axis=1)
        return most

    def at_expiry(self, strike: Floats) -> Floats:
        """With no choice: at expiration."""
        value: Floats = strike * self.factor[-1] + self.paid[-1]
        return value


def carry(quote_date: dt.date, expiration: np.datetime64, terms: Terms) -> _Carry:
    """Work out G(tau) = K e^(-r tau) + sum of D_j e^(-r t_j) up to tau, for one expiration."""
    day: dt.date = expiration.astype("datetime64[D]").astype(dt.date)
    years = (day - quote_date).days / 365.0
    schedule = () if terms.dividends is None else terms.dividends.until(quote_date, day)
    times, paid, sum_ = [0.0], [0.0], 0.0
    for time, amount in schedule:
        before = sum_
        sum_ += amount * float(terms.discount(np.array([time]))[0])
        times += [time, time]
        paid += [before, sum_]
    times.append(years)
    paid.append(sum_)
    last = terms.declared_until
    forecast = (
        last is not None
        and terms.dividends is not None
        and any(last < ex <= day and ex > quote_date for ex in terms.dividends.ex_dates)
    )
    return _Carry(
        terms.discount(np.array(times)), np.array(paid), forecast, terms.knows_dividends(day)
    )


def _expirations(quotes: Quotes, rows: Ints) -> list[Ints]:
    """Split rows by expiration."""
    order = rows[np.argsort(quotes.dte[rows], kind="stable")]
    return np.split(order, np.flatnonzero(np.diff(quotes.dte[order])) + 1) if len(order) else []


def pairs_of_strikes(quotes: Quotes) -> tuple[Ints, Ints]:
    """Match each call with the put of its root, style, expiration and strike.

    Returns
    -------
    call, put : numpy.ndarray
        int64 rows, by root, style, expiration and strike.
    """
    keys = pd.DataFrame(
        {
            "root": quotes.root.astype(str),
            "european": quotes.european,
            "expiration": quotes.dte,
            "strike": quotes.strike,
        }
    )
    keys["row"] = np.arange(len(keys))
    by = ["root", "european", "expiration", "strike"]
    both = keys[quotes.call].merge(keys[~quotes.call], on=by, suffixes=("_call", "_put"))
    both = both.sort_values(by)
    return both["row_call"].to_numpy(np.int64), both["row_put"].to_numpy(np.int64)


def parity_tests(quotes: Quotes, terms: Terms) -> list[Found]:
    """Conversions and reversals: the stock against its synthetic twin.

    Notes
    -----
    Conversion: stock and put bought, call sold; worth at least Gmin, for an assignment may come
    at once, just before any ex-date, or at expiration. Reversal: the opposite; costs at most
    Gmax, and the lender may recall the stock. European options: at expiration only. Rates must
    be known; for a reversal dividends too (unknown ones can only add to a conversion). Options on
    VIX settle on a future of their own, not on the index: no spot is their underlying.
    """
    call, put = pairs_of_strikes(quotes)
    on_stock = ~np.isin(quotes.root[call].astype(str), NO_SPOT)
    call, put = call[on_stock], put[on_stock]
    if terms.curve is None or not len(call):
        return []
    found = []
    for block in _blocks(quotes, call):
        calls, puts = call[block], put[block]
        known = carry(quotes.quote_date, quotes.expiration[calls[0]], terms)
        strike, european = quotes.strike[calls], bool(quotes.european[calls[0]])
        stock = np.full(len(calls), STOCK)
        if terms.stock_ask is not None:
            least = known.at_expiry(strike) if european else known.least(strike)
            klass = _class(terms, _parity_class(known, european))
            legs, sides = [stock, puts, calls], (BUY, BUY, SELL)
            found.append(package("conversion", legs, sides, least, klass=klass))
        if terms.stock_bid is not None and known.complete:
            most = known.at_expiry(strike) if european else known.most(strike)
            borrow = terms.stock_bid * terms.borrow_rate * quotes.years[calls]
            legs, sides = [stock, puts, calls], (SELL, SELL, BUY)
            klass = _class(terms, "conditional")
            found.append(package("reversal", legs, sides, -most - borrow, klass=klass))
    return _positive(found, quotes, terms)


def future_tests(quotes: Quotes, terms: Terms) -> list[Found]:
    """Conversions and reversals of options on VIX, against the future of their own expiration.

    Notes
    -----
    C - P = e^(-rT) (F - K): a future costs nothing to enter, so that put and future bought and
    call sold pay K - F at expiration.
    """
    call, put = pairs_of_strikes(quotes)
    mine = np.isin(quotes.root[call].astype(str), NO_SPOT)
    call, put = call[mine], put[mine]
    if terms.curve is None or not terms.futures or not len(call):
        return []
    found = []
    for block in _blocks(quotes, call):
        calls, puts = call[block], put[block]
        future = terms.future(quotes.expiration[calls[0]].item())
        if future is None:
            continue
        factor = float(terms.discount(quotes.years[calls[:1]])[0])
        bid, ask = future
        strike = quotes.strike[calls]
        for kind, sides, worth in (
            ("future_conversion", (BUY, SELL), strike - ask),
            ("future_reversal", (SELL, BUY), bid - strike),
        ):
            found.append(package(kind, [puts, calls], sides, factor * worth))
    return _positive(found, quotes, terms)


def _parity_class(known: _Carry, european: bool) -> str:
    """Name the class of a conversion: nothing is forecast where no dividend is counted on."""
    if known.forecast:
        return "conditional"
    return "riskless" if european and known.paid[-1] == 0.0 else "riskless_declared"


def _blocks(quotes: Quotes, rows: Ints) -> list[Ints]:
    """Positions of each root, style and expiration in rows that are sorted by them."""
    root = quotes.root[rows].astype(str)
    change = (
        (root[1:] != root[:-1])
        | (np.diff(quotes.dte[rows]) != 0)
        | (quotes.european[rows][1:] != quotes.european[rows][:-1])
    )
    return np.split(np.arange(len(rows)), np.flatnonzero(change) + 1)


def stock_tests(quotes: Quotes, terms: Terms) -> list[Found]:
    """Floors and caps of American options against the stock.

    Notes
    -----
    Call floor: stock sold short, call bought, exercised when it costs least, at once or later
    (min{K, Gmin}); put floor: stock and put bought, exercised when it brings most (Gmax). Both
    are riskless where at once is best. Waiting needs a rate, and the short call floor needs
    dividends. Caps: a call for more than the stock, a put for more than its strike.
    """
    american = np.flatnonzero(~quotes.european)
    found = []
    for block in _expirations(quotes, american):
        calls, puts = block[quotes.call[block]], block[~quotes.call[block]]
        known = carry(quotes.quote_date, quotes.expiration[block[0]], terms)
        if terms.stock_bid is not None:
            found += _call_floor(quotes, terms, calls, known)
        if terms.stock_ask is not None:
            found += _put_floor(quotes, terms, puts, known)
            stock = np.full(len(calls), STOCK)
            nothing = np.zeros(len(calls))
            klass = _class(terms, "riskless")
            found.append(package("call_cap", [stock, calls], (BUY, SELL), nothing, klass=klass))
        found.append(package("put_cap", [puts], (SELL,), -quotes.strike[puts]))
    return _positive(found, quotes, terms)


def _call_floor(quotes: Quotes, terms: Terms, calls: Ints, known: _Carry) -> list[Found]:
    strike = quotes.strike[calls]
    later = strike
    if terms.curve is not None and known.complete:
        later = np.minimum(strike, known.least(strike))
    return _now_or_later("call_floor", quotes, terms, calls, (SELL, BUY), -strike, -later, known)


def _put_floor(quotes: Quotes, terms: Terms, puts: Ints, known: _Carry) -> list[Found]:
    strike = quotes.strike[puts]
    later = known.most(strike) if terms.curve is not None else strike
    return _now_or_later("put_floor", quotes, terms, puts, (BUY, BUY), strike, later, known)


def _now_or_later(
    kind: str,
    quotes: Quotes,
    terms: Terms,
    rows: Ints,
    sides: tuple[int, ...],
    now: Floats,
    best: Floats,
    known: _Carry,
) -> list[Found]:
    """Part a floor by when to exercise, for the class depends on it."""
    stock = np.full(len(rows), STOCK)
    secured = per_share(package(kind, [stock, rows], sides, now), quotes, terms)[0]
    waiting = "conditional" if known.forecast else "riskless_declared"
    at_once: Bools = best <= now + NOISE
    parts = []
    for chosen, klass in ((at_once, "riskless"), (~at_once, waiting)):
        i = np.flatnonzero(chosen)
        parts.append(
            package(
                kind,
                [stock[i], rows[i]],
                sides,
                best[i],
                klass=_class(terms, klass),
                now=secured[i],
            )
        )
    return parts


def _class(terms: Terms, klass: str) -> str:
    return "statistical" if terms.implied_spot else klass


def _positive(found: list[Found], quotes: Quotes, terms: Terms) -> list[Found]:
    """Keep what pays, one Found a kind and class."""
    groups: dict[tuple[str, str], list[Found]] = {}
    for item in found:
        edges, _ = per_share(item, quotes, terms)
        good = np.flatnonzero(edges > NOISE)
        if len(good):
            groups.setdefault((item.kind, item.klass), []).append(take(item, good))
    return [_together(items) for items in groups.values()]


def _together(items: list[Found]) -> Found:
    first = items[0]
    return Found(
        first.kind,
        first.klass,
        np.concatenate([item.legs for item in items]),
        first.sides,
        np.concatenate([item.ratios for item in items]),
        np.concatenate([item.floor for item in items]),
        np.concatenate([item.unit for item in items]),
        sum(len(item) for item in items),
        np.concatenate([item.now for item in items]),
    )


def box_tests(quotes: Quotes, terms: Terms, most: int, *, american_short: bool) -> list[Found]:
    """Find boxes that cost less (long) or bring more (short) than their value.

    Parameters
    ----------
    quotes : Quotes
    terms : Terms
        Without a curve nothing is found.
    most : int
        Boxes of one kind to report; beyond it each lower call keeps its best ones.
    american_short : bool
        Report short boxes of American options too: as statistical, for either short option
        may be assigned early.
    """
    call, put = pairs_of_strikes(quotes)
    if terms.curve is None or not len(call):
        return []
    parts: dict[tuple[str, str], list[Found]] = {}
    for block in _blocks(quotes, call):
        calls, puts = call[block], put[block]
        european = bool(quotes.european[calls[0]])
        factor = float(terms.discount(quotes.years[calls[:1]])[0])
        strike = quotes.strike[calls]
        bought = quotes.ask[calls] - quotes.bid[puts]  # the synthetic stock at each strike
        sold = quotes.bid[calls] - quotes.ask[puts]
        width = strike[None, :] - strike[:, None]  # [low, high]
        fees = 4.0 * terms.fee / 100.0
        worth = factor if european else min(1.0, factor)
        long_edge = width * worth - bought[:, None] + sold[None, :] - fees
        short_edge = sold[:, None] - bought[None, :] - width * factor - fees
        kinds = [("long_box", "riskless", long_edge, (BUY, SELL, SELL, BUY), worth)]
        if european or american_short:
            klass = "riskless" if european else "statistical"
            kinds.append(("short_box", klass, short_edge, (SELL, BUY, BUY, SELL), -factor))
        for kind, klass, edge, sides, value in kinds:
            low, high = np.nonzero((edge > NOISE) & (width > 0.0))
            if len(low):
                legs = [calls[low], calls[high], puts[low], puts[high]]
                floor = width[low, high] * value
                parts.setdefault((kind, klass), []).append(
                    package(kind, legs, sides, floor, klass=klass)
                )
    found = [_together(items) for items in parts.values()]
    return [trim(item, per_share(item, quotes, terms)[0], item.legs[:, 0], most) for item in found]
