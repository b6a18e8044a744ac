"""Which quotes of a chain contradict the rest of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from stockdb.options._packages import SELL, STOCK, Found, Terms, per_share
from stockdb.options._parity import pairs_of_strikes
from stockdb.options._verticals import books
from stockdb.options.quotes import Bools, Floats, Ints, Quotes

__all__ = ["Suspects", "find_suspects", "judge_stock"]

MANY: Final = 5  # quotes that one quote contradicts
FAR_SPREADS: Final = 4.0  # times its neighbours' spread
FAR_LEVEL: Final = 0.01  # of the level of the underlying
MIXED_SHARE: Final = 0.015  # of the quotes: then the chain was not quoted at one moment
MIXED_LEAST: Final = 8
STOCK_SHARE: Final = 0.01  # of the quotes (and at least `MANY`) that contradict the stock's
RATE_DOUBT: Final = 0.01  # a year: what parity is off by this is the rate's fault


@dataclass(frozen=True, slots=True)
class Suspects:
    """Quotes that contradict the rest of their chain.

    Attributes
    ----------
    conflicts : numpy.ndarray
        int64, one a quote: other quotes that it contradicts, when those with more conflicts
        are set aside.
    distance : numpy.ndarray
        float64, dollars: how far its executable side lies beyond what its neighbours allow;
        0 where it does not, NaN without neighbours.
    many, far : numpy.ndarray
        bool: marked for the one or the other.
    stock : bool
        The stock's quote contradicts many options: it is of another moment.
    mixed : bool
        So many quotes are marked that the chain was not quoted at one moment: no row of it
        can be trusted.
    """

    conflicts: Ints
    distance: Floats
    many: Bools
    far: Bools
    mixed: bool
    stock: bool = False

    @classmethod
    def none(cls) -> Suspects:
        """Nothing to judge."""
        nothing = np.empty(0)
        return cls(nothing.astype(np.int64), nothing, nothing > 0, nothing > 0, False)

    @property
    def marked(self) -> Bools:
        """Quotes marked for either reason."""
        marked: Bools = self.many | self.far
        return marked


def find_suspects(quotes: Quotes, pairs: dict[str, tuple[Ints, Ints]]) -> Suspects:
    """Mark the quotes that contradict many others or lie far from their neighbours.

    Parameters
    ----------
    quotes : Quotes
    pairs : dict
        Violating pairs, of any kind: rows sold and rows bought.

    Notes
    -----
    Greedy vertex cover of the graph of violating pairs (Chvatal 1979): the quote with the most
    conflicts is set aside, and again, until none has `MANY` left. Then each quote is held
    against its nearest two unmarked neighbours on either side, of its type and expiration:
    convexity bounds it by the chord between them from above and by the two chords prolonged
    from below. Far is more than `FAR_SPREADS` times the neighbours' spread and more than
    `FAR_LEVEL` of the underlying. Where more than `MIXED_SHARE` of the quotes (and at least
    `MIXED_LEAST`) are marked, setting aside goes on until no conflict is left.
    """
    count = len(quotes)
    none = np.empty(0, np.int64)
    short = np.concatenate([none, *(pair[0] for pair in pairs.values())])
    long = np.concatenate([none, *(pair[1] for pair in pairs.values())])
    conflicts = _set_aside(short, long, count, MANY)
    many = conflicts >= MANY
    distance, far = _far(quotes, many)
    marked = int((many | far).sum())
    mixed = marked >= MIXED_LEAST and marked > MIXED_SHARE * count
    if mixed:
        conflicts = _set_aside(short, long, count, 1)
        many = conflicts >= 1
    return Suspects(conflicts, distance, many, far, mixed)


def judge_stock(
    suspects: Suspects, findings: Iterable[Found], quotes: Quotes, terms: Terms
) -> Suspects:
    """Mark the stock's quote where many options that are not marked contradict it.

    Notes
    -----
    Counted are the sold options of rays and caps, the options of floors, and the calls of
    conversions and reversals whose edge a rate `RATE_DOUBT` away would not explain.
    """
    if terms.implied_spot:  # no quote to judge
        return suspects
    against: set[int] = set()
    for found in findings:
        if not len(found) or not (found.legs == STOCK).any():
            continue
        options = found.legs != STOCK
        at = np.where(options, found.legs, 0)
        edge, _ = per_share(found, quotes, terms)
        if found.kind in ("conversion", "reversal"):
            strike, years = quotes.strike[at[:, 1]], quotes.years[at[:, 1]]
            edge = edge - RATE_DOUBT * strike * years
        clean = ~(suspects.marked[at] & options).any(axis=1) & (edge > 0.0)
        column = 1
        if found.kind == "call_ray":
            column = found.sides.index(SELL)
        against |= set(found.legs[clean, column].tolist())
    stock = len(against) >= max(MANY, STOCK_SHARE * len(quotes))
    return replace(suspects, stock=stock)


def _set_aside(short: Ints, long: Ints, count: int, least: int) -> Ints:
    """Give the conflicts that each quote had when it was set aside; else those it is left with."""
    found = np.zeros(count, np.int64)
    numbers = np.unique(np.minimum(short, long) * count + np.maximum(short, long))
    one, other = numbers // max(count, 1), numbers % max(count, 1)
    while len(one):
        held = np.bincount(one, minlength=count) + np.bincount(other, minlength=count)
        worst = int(held.argmax())
        if held[worst] < least:
            return np.where(found > 0, found, held)
        found[worst] = held[worst]
        left = (one != worst) & (other != worst)
        one, other = one[left], other[left]
    return found


def _far(quotes: Quotes, excluded: Bools) -> tuple[Floats, Bools]:
    distance = np.full(len(quotes), np.nan)
    far = np.zeros(len(quotes), bool)
    level = _level(quotes)
    spread = quotes.ask - quotes.bid
    for rows, call, _ in books(quotes):
        for block in np.split(rows, np.flatnonzero(np.diff(quotes.dte[rows])) + 1):
            ordered = block if call else block[::-1]
            x = quotes.strike[ordered] * (1.0 if call else -1.0)
            beyond, around = _beyond(
                x,
                quotes.bid[ordered],
                quotes.ask[ordered],
                np.flatnonzero(~excluded[ordered]),
                spread[ordered],
            )
            distance[ordered] = beyond
            limit = np.maximum(FAR_SPREADS * around, FAR_LEVEL * level)
            far[ordered] = beyond > limit  # NaN is not far
    return distance, far


def _beyond(
    x: Floats, bid: Floats, ask: Floats, trusted: Ints, spread: Floats
) -> tuple[Floats, Floats]:
    """Measure how far each quote lies outside the bounds of its neighbours.

    Prices fall with x, at most one for one, and are convex.
    """
    count, held = len(x), len(trusted)
    if held < 2:
        return np.full(count, np.nan), np.full(count, np.nan)
    mid = (bid + ask) / 2.0
    at = np.arange(count)
    left = np.searchsorted(trusted, at, "left") - 1
    right = np.searchsorted(trusted, at, "right")
    lefts = [_neighbour(trusted, left - k) for k in (0, 1)]
    rights = [_neighbour(trusted, right + k) for k in (0, 1)]
    upper = np.full(count, np.inf)
    lower = np.zeros(count)
    (l1, has_l1), (l2, has_l2) = lefts
    (r1, has_r1), (r2, has_r2) = rights
    upper = np.where(has_l1, mid[l1], upper)
    upper = np.where(has_r1, np.minimum(upper, mid[r1] + (x[r1] - x)), upper)
    lower = np.where(has_r1, mid[r1], lower)
    lower = np.where(has_l1, np.maximum(lower, mid[l1] - (x - x[l1])), lower)
    both = has_l1 & has_r1
    share = (x - x[l1]) / np.where(both, x[r1] - x[l1], 1.0)
    chord = mid[l1] + share * (mid[r1] - mid[l1])
    upper = np.where(both, np.minimum(upper, chord), upper)
    for near, next_, has in ((l1, l2, has_l2), (r1, r2, has_r2)):
        gap = np.where(has, x[near] - x[next_], 1.0)
        prolonged = mid[near] + (mid[near] - mid[next_]) / gap * (x - x[near])
        lower = np.where(has, np.maximum(lower, prolonged), lower)
    beyond = np.maximum(np.maximum(bid - upper, lower - ask), 0.0)
    around = np.where(has_l1, spread[l1], 0.0)
    around = np.maximum(around, np.where(has_r1, spread[r1], 0.0))
    alone = ~(has_l1 | has_r1)
    return np.where(alone, np.nan, beyond), np.where(alone, np.nan, around)


def _neighbour(trusted: Ints, position: Ints) -> tuple[Ints, Bools]:
    exists: Bools = (position >= 0) & (position < len(trusted))
    return trusted[np.clip(position, 0, len(trusted) - 1)], exists


def _level(quotes: Quotes) -> float:
    """Take the strike at which call and put cost the same for the level of the underlying."""
    call, put = pairs_of_strikes(quotes)
    if not len(call):
        return float(np.median(quotes.strike)) if len(quotes) else 0.0
    gap = np.abs(quotes.mid[call] - quotes.mid[put])
    return float(np.median(quotes.strike[call][np.argsort(gap)[:5]]))
