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
MIXED_SHARE: Final = 0.015  # of the quotes of a chain, or of an expiration: then they were
MIXED_LEAST: Final = 8  # not made at one moment; fewer than so many are a handful of bad ones
MIXED_SPREAD: Final = 0.25  # of the expirations of a chain have such quotes, and at least
MIXED_EXPIRATIONS: Final = 3
STOCK_SHARE: Final = 0.01  # of the quotes (and at least `MANY`) that contradict the stock's
RATE_DOUBT: Final = 0.01  # a year: what parity is off by this is the rate's fault
RUN: Final = 8  # bad quotes side by side that may support each other
NONE: Final = -1  # in place of a neighbour

_Sides = tuple[Ints, Ints, Ints, Ints]  # nearest and next one to the left, and to the right


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
    apart : numpy.ndarray
        bool: so many quotes of its expiration are marked that this was not quoted at one moment,
        or the whole chain was not: no row on it can be trusted.
    mixed : bool
        The whole chain was not quoted at one moment.
    """

    conflicts: Ints
    distance: Floats
    many: Bools
    far: Bools
    apart: Bools
    mixed: bool = False
    stock: bool = False

    @classmethod
    def none(cls) -> Suspects:
        """Nothing to judge."""
        nothing = np.empty(0)
        return cls(nothing.astype(np.int64), nothing, nothing > 0, nothing > 0, nothing > 0)

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
    against its nearest two trusted neighbours on either side, of its type and expiration:
    convexity bounds it by the chord between them from above and by the two chords prolonged
    from below. Far is more than `FAR_SPREADS` times the neighbours' spread and more than
    `FAR_LEVEL` of the underlying. This, too, is greedy: what explains most is no longer trusted,
    and the others are judged again.

    A handful of bad quotes says nothing of the others. Where more than `MIXED_SHARE` of the
    quotes of an expiration (and at least `MIXED_LEAST`) are marked, it was not quoted at one
    moment, and where they are as many of the chain, in `MIXED_EXPIRATIONS` or more and
    `MIXED_SPREAD` of its expirations, the chain was not. Then setting aside goes on until no
    conflict is left.
    """
    count = len(quotes)
    none = np.empty(0, np.int64)
    short = np.concatenate([none, *(pair[0] for pair in pairs.values())])
    long = np.concatenate([none, *(pair[1] for pair in pairs.values())])
    conflicts = _set_aside(short, long, np.zeros(count, bool), MANY)
    many = conflicts >= MANY
    distance, far = _far(quotes, many)
    apart, mixed = _apart(quotes.dte, many | far)
    if apart.any():
        conflicts = _set_aside(short, long, far, 1)
        many = conflicts >= 1
    return Suspects(conflicts, distance, many, far, apart, mixed)


def _apart(dte: Ints, marked: Bools) -> tuple[Bools, bool]:
    """Mark the quotes of expirations that were not quoted at one moment; all, if the chain was."""
    _, number, size = np.unique(dte, return_inverse=True, return_counts=True)
    bad = np.bincount(number, weights=marked, minlength=len(size))
    hit = int((bad > 0).sum())
    total = bad.sum()
    mixed = bool(
        total >= MIXED_LEAST
        and total > MIXED_SHARE * len(dte)
        and hit >= max(MIXED_EXPIRATIONS, MIXED_SPREAD * len(size))
    )
    apart: Bools = ((bad >= MIXED_LEAST) & (bad > MIXED_SHARE * size))[number]
    return apart | mixed, mixed


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


def _set_aside(short: Ints, long: Ints, first: Bools, least: int) -> Ints:
    """Give the conflicts that each quote had when it was set aside; else those it is left with.

    Those of ``first`` go before the others: what contradicts only them is not to blame.
    """
    count = len(first)
    found = np.zeros(count, np.int64)
    numbers = np.unique(np.minimum(short, long) * count + np.maximum(short, long))
    one, other = numbers // max(count, 1), numbers % max(count, 1)
    while len(one):
        held = np.bincount(one, minlength=count) + np.bincount(other, minlength=count)
        worst = int(np.where(first & (held > 0), held + count, held).argmax())
        if held[worst] < least:
            return np.where(found > 0, found, held)
        found[worst] = held[worst]
        left = (one != worst) & (other != worst)
        one, other = one[left], other[left]
    return found


def _far(quotes: Quotes, excluded: Bools) -> tuple[Floats, Bools]:
    """Set the worst of each ladder aside and judge the rest again, until none of it is far."""
    distance = np.full(len(quotes), np.nan)
    far = np.zeros(len(quotes), bool)
    ladders = _ladders(quotes)
    trusted = ~excluded[ladders.row]
    while True:
        sides = ladders.neighbours(trusted)
        beyond, limit = ladders.beyond(np.arange(len(trusted)), *sides)
        excess = np.where(trusted & (beyond > limit), beyond - limit, 0.0)  # NaN is not far
        if not excess.any():
            distance[ladders.row], far[ladders.row] = beyond, beyond > limit
            return distance, far
        trusted[_worst(ladders, excess, sides)] = False


def _worst(ladders: _Ladders, excess: Floats, sides: _Sides) -> Ints:
    """Choose in each ladder what to set aside: the quotes that explain most, for each of them.

    A bad quote puts its neighbours out of bounds as well, by up to twice as much as itself: the
    greatest distance is not the culprit's. So each quote is tried, and each run of up to `RUN`
    neighbours, for bad ones may support each other: by how much do the others contradict each
    other less without it? Only the two on either side of what is left out are judged anew.
    """
    l1, l2, r1, r2 = sides
    seen = np.flatnonzero(excess > 0.0)
    tried = np.unique(np.concatenate([seen, *(side[seen] for side in sides)]))
    first = last = tried[tried != NONE]
    held = excess[first]
    runs = []
    for length in range(1, RUN + 1):
        a1, a2, b1, b2 = l1[first], l2[first], r1[last], r2[last]
        gain = held.copy()
        for one, around in (
            (a1, (l1[a1], l2[a1], b1, b2)),
            (a2, (l1[a2], l2[a2], a1, b1)),
            (b1, (a1, a2, r1[b1], r2[b1])),
            (b2, (b1, a1, r1[b2], r2[b2])),
        ):
            real = np.flatnonzero(one != NONE)
            beyond, limit = ladders.beyond(one[real], *(side[real] for side in around))
            after = np.where(beyond > limit, beyond - limit, 0.0)
            gain[real] += excess[one[real]] - after
        runs.append(np.column_stack([gain / length, excess[first], first, last]))
        first, last, held = first[b1 != NONE], b1[b1 != NONE], held[b1 != NONE]
        held = held + excess[last]
    gain, own, first, last = np.concatenate(runs).T
    first, last = first.astype(np.int64), last.astype(np.int64)
    order = np.lexsort((own, gain, ladders.number[first]))
    best = order[np.flatnonzero(np.diff(ladders.number[first[order]], append=-1))]
    return np.concatenate([np.arange(first[i], last[i] + 1) for i in best])


@dataclass(frozen=True, slots=True)
class _Ladders:
    """Quotes of one root, style, type and expiration side by side, one ladder after another.

    Prices fall with ``x``, at most one for one, and are convex.
    """

    row: Ints
    number: Ints
    x: Floats
    bid: Floats
    ask: Floats
    level: float

    def neighbours(self, trusted: Bools) -> _Sides:
        """Find the two nearest trusted quotes on either side; `NONE` where there is none."""
        left = self._nearest(trusted, self.number)
        right = self._nearest(trusted[::-1], self.number[::-1])[::-1]
        right = np.where(right == NONE, NONE, len(right) - 1 - right)
        return left, _after(left), right, _after(right)

    @staticmethod
    def _nearest(trusted: Bools, number: Ints) -> Ints:
        last = np.maximum.accumulate(np.where(trusted, np.arange(len(trusted)), NONE))
        before = np.concatenate([[NONE], last[:-1]]) if len(last) else last
        same: Bools = (before != NONE) & (number[before] == number)
        return np.where(same, before, NONE)

    def beyond(self, at: Ints, l1: Ints, l2: Ints, r1: Ints, r2: Ints) -> tuple[Floats, Floats]:
        """Measure how far quotes lie outside the bounds of others, and how far is too far.

        NaN for a quote that has neither neighbour.
        """
        x, mid, spread = self.x, (self.bid + self.ask) / 2.0, self.ask - self.bid
        has_l, has_r = l1 != NONE, r1 != NONE
        upper = np.where(has_l, mid[l1], np.inf)
        upper = np.where(has_r, np.minimum(upper, mid[r1] + (x[r1] - x[at])), upper)
        lower = np.where(has_r, mid[r1], 0.0)
        lower = np.where(has_l, np.maximum(lower, mid[l1] - (x[at] - x[l1])), lower)
        both = has_l & has_r
        share = (x[at] - x[l1]) / np.where(both, x[r1] - x[l1], 1.0)
        chord = mid[l1] + share * (mid[r1] - mid[l1])
        upper = np.where(both, np.minimum(upper, chord), upper)
        for near, next_ in ((l1, l2), (r1, r2)):
            has = next_ != NONE
            gap = np.where(has, x[near] - x[next_], 1.0)
            prolonged = mid[near] + (mid[near] - mid[next_]) / gap * (x[at] - x[near])
            lower = np.where(has, np.maximum(lower, prolonged), lower)
        beyond = np.maximum(np.maximum(self.bid[at] - upper, lower - self.ask[at]), 0.0)
        around = np.where(has_l, spread[l1], 0.0)
        around = np.maximum(around, np.where(has_r, spread[r1], 0.0))
        limit = np.maximum(FAR_SPREADS * around, FAR_LEVEL * self.level)
        return np.where(has_l | has_r, beyond, np.nan), limit


def _after(near: Ints) -> Ints:
    return np.where(near == NONE, NONE, near[near])


def _ladders(quotes: Quotes) -> _Ladders:
    rows = [np.empty(0, np.int64)]
    for book, call, _ in books(quotes):
        for block in np.split(book, np.flatnonzero(np.diff(quotes.dte[book])) + 1):
            rows.append(block if call else block[::-1])
    row = np.concatenate(rows)
    return _Ladders(
        row=row,
        number=np.repeat(np.arange(len(rows)), [len(block) for block in rows]),
        x=np.where(quotes.call, quotes.strike, -quotes.strike)[row],
        bid=quotes.bid[row],
        ask=quotes.ask[row],
        level=_level(quotes),
    )


def _level(quotes: Quotes) -> float:
    """Take the strike at which call and put cost the same for the level of the underlying."""
    call, put = pairs_of_strikes(quotes)
    if not len(call):
        return float(np.median(quotes.strike)) if len(quotes) else 0.0
    gap = np.abs(quotes.mid[call] - quotes.mid[put])
    return float(np.median(quotes.strike[call][np.argsort(gap)[:5]]))
