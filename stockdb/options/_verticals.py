"""Static arbitrage between two options of one type: monotonicity, slope, calendar, put rays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stockdb.options._packages import BUY, NOISE, SELL, Found, Terms, package, per_share, trim
from stockdb.options.quotes import Bools, Floats, Ints, Quotes

__all__ = ["books", "put_rays", "two_option_pairs", "two_option_tests", "whole_ratios"]


def books(quotes: Quotes) -> Iterator[tuple[Ints, bool, bool]]:
    """Yield the rows of each root, style and type, by expiration and strike.

    Yields
    ------
    (numpy.ndarray, bool, bool)
        Rows; whether they are calls; whether they are European.
    """
    roots, number = np.unique(quotes.root.astype(str), return_inverse=True)
    for root in range(len(roots)):
        for european in (False, True):
            for call in (True, False):
                mine = (number == root) & (quotes.european == european) & (quotes.call == call)
                rows = np.flatnonzero(mine)
                if len(rows):
                    order = np.lexsort((quotes.strike[rows], quotes.expiration[rows]))
                    yield rows[order], call, european


def two_option_pairs(quotes: Quotes, terms: Terms) -> dict[str, tuple[Ints, Ints]]:
    """Find every pair of quotes that violates monotonicity, slope or the order of time.

    Returns
    -------
    dict
        ``monotonicity``, ``slope``, ``calendar`` -> rows sold and rows bought.

    Notes
    -----
    Sold one option, bought another of the same type that expires no earlier: whatever the
    holder of the sold one exercises, the bought one is exercised against it, which costs at most
    the difference of strikes, and nothing where the bought strike is the better one. So with
    x = K for calls and -K for puts every pair has one bound: bid(short) - ask(long) -
    max(0, x_long - x_short) <= 0 (Merton 1973, theorems 1 to 4). European options cannot be
    exercised against an assignment before expiry: one expiration, discounted strikes.
    """
    pairs: dict[str, list[tuple[Ints, Ints]]] = {"monotonicity": [], "slope": [], "calendar": []}
    for rows, call, european in books(quotes):
        x = quotes.strike[rows] * (1.0 if call else -1.0)
        bid, ask = quotes.bid[rows], quotes.ask[rows]
        days = quotes.dte[rows]
        factor = _slope_factor(quotes, terms, rows, european)
        starts = np.flatnonzero(np.r_[True, np.diff(days) != 0])
        for start, end in zip(starts, np.r_[starts[1:], len(rows)], strict=True):
            last = end if european else len(rows)
            distance = x[None, start:last] - x[start:end, None]  # [short, long]
            cost = np.maximum(distance, 0.0) * factor[start]
            gross = bid[start:end, None] - ask[None, start:last] - cost
            short, long = np.nonzero(gross > 2.0 * terms.fee / 100.0 + NOISE)
            apart = distance[short, long]
            for kind, chosen in (
                ("monotonicity", apart < 0.0),
                ("slope", apart > 0.0),
                ("calendar", apart == 0.0),
            ):
                pairs[kind].append((rows[start + short[chosen]], rows[start + long[chosen]]))
    none = np.empty(0, np.int64)
    return {
        kind: (
            np.concatenate([none, *(short for short, _ in parts)]),
            np.concatenate([none, *(long for _, long in parts)]),
        )
        for kind, parts in pairs.items()
    }


def two_option_tests(
    pairs: dict[str, tuple[Ints, Ints]], quotes: Quotes, terms: Terms, most: int
) -> list[Found]:
    """Make packages of violating pairs.

    Parameters
    ----------
    pairs : dict
        Of :func:`two_option_pairs`.
    quotes : Quotes
    terms : Terms
    most : int
        Pairs of one kind to report; beyond it each sold quote keeps its best ones.
    """
    return [
        _pairs_found(kind, short, long, quotes, terms, most)
        for kind, (short, long) in pairs.items()
        if len(short)
    ]


def _slope_factor(quotes: Quotes, terms: Terms, rows: Ints, european: bool) -> Floats:
    """Value today of a dollar of strike that is owed: at once, or at expiry if European."""
    discount = terms.discount(quotes.years[rows])
    return discount if european else np.maximum(1.0, discount)


def _pairs_found(
    kind: str, short: Ints, long: Ints, quotes: Quotes, terms: Terms, most: int
) -> Found:
    floor = np.zeros(len(short))
    if kind == "slope":
        width = np.abs(quotes.strike[short] - quotes.strike[long])
        discount = terms.discount(quotes.years[short])
        floor = -width * np.where(quotes.european[short], discount, np.maximum(1.0, discount))
    found = package(kind, [short, long], (SELL, BUY), floor)
    edges, _ = per_share(found, quotes, terms)
    return trim(found, edges, short, most)


def put_rays(quotes: Quotes, terms: Terms, most: int) -> list[Found]:
    """Find American puts of one expiration whose price per dollar of strike falls with strike.

    Notes
    -----
    A butterfly whose lower wing is the put of strike 0, which is worth nothing: P(K1) / K1 <=
    P(K2) / K2 for K1 < K2. Integer ratios K2 : K1.
    """
    shorts: list[Ints] = []
    longs: list[Ints] = []
    for rows, call, european in books(quotes):
        if call or european:
            continue
        for block in np.split(rows, np.flatnonzero(np.diff(quotes.dte[rows])) + 1):
            strike = quotes.strike[block]
            share = strike[:, None] / strike[None, :]  # [short K1, long K2]
            fees = terms.fee / 100.0 * (1.0 + share)
            gross = quotes.bid[block][:, None] - share * quotes.ask[block][None, :]
            bad: Bools = (gross > fees + NOISE) & (share < 1.0)
            short, long = np.nonzero(bad)
            shorts.append(block[short])
            longs.append(block[long])
    if not sum(map(len, shorts)):
        return []
    short, long = np.concatenate(shorts), np.concatenate(longs)
    ratios = whole_ratios(quotes.strike[long], quotes.strike[short])
    found = package(
        "put_ray", [short, long], (SELL, BUY), np.zeros(len(short)), ratios=ratios, unit=ratios[0]
    )
    edges, _ = per_share(found, quotes, terms)
    return [trim(found, edges / found.unit, short, most)]


def whole_ratios(*amounts: Floats) -> list[Ints]:
    """Give the smallest whole numbers in the proportion of dollar amounts (to 1/1000)."""
    thousandths = [np.round(np.asarray(amount) * 1000.0).astype(np.int64) for amount in amounts]
    divisor = thousandths[0]
    for amount in thousandths[1:]:
        divisor = np.gcd(divisor, amount)
    return [amount // divisor for amount in thousandths]
