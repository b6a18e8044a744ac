"""Static arbitrage between three strikes: butterflies, also diagonal ones, and call rays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stockdb.options._packages import (
    BUY,
    NOISE,
    SELL,
    STOCK,
    Found,
    Terms,
    package,
    per_share,
    trim,
)
from stockdb.options._verticals import books, whole_ratios
from stockdb.options.quotes import Floats, Ints, Quotes

__all__ = ["butterfly_tests", "call_rays"]

_OF_BODY = 500  # triples of one body that are looked at beyond the count


@dataclass(slots=True)
class _Triples:
    body: list[Ints] = field(default_factory=list)
    low: list[Ints] = field(default_factory=list)
    high: list[Ints] = field(default_factory=list)
    total: int = 0

    def add(self, body: int, low: Ints, high: Ints, edges: Floats) -> None:
        self.total += len(edges)
        best = np.argsort(-edges, kind="stable")[:_OF_BODY]
        self.body.append(np.full(len(best), body))
        self.low.append(low[best])
        self.high.append(high[best])


def butterfly_tests(quotes: Quotes, terms: Terms, most: int) -> list[Found]:
    """Find bodies that cost more than wings around them.

    Parameters
    ----------
    quotes : Quotes
    terms : Terms
    most : int
        Triples to report. Of a body with more than 500 violating pairs of wings the best 500
        count; where all bodies together have more than ``most``, each keeps its best ones.

    Notes
    -----
    X(K2) <= lambda X(K1) + (1 - lambda) X(K3), lambda = (K3-K2)/(K3-K1): prices are convex in
    the strike (Merton 1973, theorem 4), and for American options also where the wings expire
    later than the body. A body is violated by some pair of wings exactly if its bid lies above
    the lower convex hull of the asks, so only those bodies are taken apart: every pair of wings
    of the body's own expiration, and at each strike the cheapest wing among those that expire
    no earlier.
    """
    triples = _Triples()
    for rows, _, european in books(quotes):
        dte = quotes.dte[rows]
        blocks = np.split(rows, np.flatnonzero(np.diff(dte)) + 1)
        cheapest: dict[float, int] = {}
        for block in reversed(blocks):  # from the last expiration to the first
            if european:
                cheapest = {}
            for row in block:
                held = cheapest.get(quotes.strike[row])
                if held is None or quotes.ask[row] <= quotes.ask[held]:
                    cheapest[quotes.strike[row]] = int(row)
            wings = np.array([cheapest[strike] for strike in sorted(cheapest)])
            for body in _bodies_above_hull(quotes, terms, block, wings):
                _wings_of(quotes, terms, body, block, block, triples)
                if not european and len(blocks) > 1:
                    _wings_of(quotes, terms, body, wings, block, triples)
    if not triples.total:
        return []
    low, body, high = (np.concatenate(part) for part in (triples.low, triples.body, triples.high))
    k1, k2, k3 = (quotes.strike[rows] for rows in (low, body, high))
    ratios = whole_ratios(k3 - k2, k3 - k1, k2 - k1)
    found = package(
        "butterfly",
        [low, body, high],
        (BUY, SELL, BUY),
        np.zeros(len(body)),
        ratios=ratios,
        unit=ratios[1],
    )
    edges, _ = per_share(found, quotes, terms)
    kept = trim(found, edges / found.unit, body, most)
    return [
        Found(
            kept.kind,
            kept.klass,
            kept.legs,
            kept.sides,
            kept.ratios,
            kept.floor,
            kept.unit,
            triples.total,
        )
    ]


def _bodies_above_hull(quotes: Quotes, terms: Terms, block: Ints, wings: Ints) -> Ints:
    """Bodies whose bid, less the fees of both wings and its own, lies above the hull of asks."""
    strike, ask = quotes.strike[wings], quotes.ask[wings]
    hull = _lower_hull(strike, ask)
    above = np.interp(quotes.strike[block], strike[hull], ask[hull])
    bad = quotes.bid[block] - above > 2.0 * terms.fee / 100.0 + NOISE
    return block[bad]


def _lower_hull(x: Floats, y: Floats) -> list[int]:
    """Vertices of the lower convex hull, x ascending (Andrew's monotone chain, 1979)."""
    hull: list[int] = []
    for i in range(len(x)):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (y[b] - y[a]) * (x[i] - x[a]) < (y[i] - y[a]) * (x[b] - x[a]):
                break
            hull.pop()
        hull.append(i)
    return hull


def _wings_of(
    quotes: Quotes, terms: Terms, body: int, wings: Ints, own: Ints, triples: _Triples
) -> None:
    """Add the pairs of wings that a body violates; of other expirations where ``own`` differs."""
    strike, ask = quotes.strike[wings], quotes.ask[wings]
    k2 = quotes.strike[body]
    left, right = wings[strike < k2], wings[strike > k2]
    if not len(left) or not len(right):
        return
    k1, k3 = strike[strike < k2][:, None], strike[strike > k2][None, :]
    weight = (k3 - k2) / (k3 - k1)
    cost = weight * ask[strike < k2][:, None] + (1.0 - weight) * ask[strike > k2][None, :]
    edges = quotes.bid[body] - cost - 2.0 * terms.fee / 100.0
    bad = edges > NOISE
    if wings is not own:  # those of the body's own expiration are in already
        same = quotes.dte[body]
        bad &= ~((quotes.dte[left] == same)[:, None] & (quotes.dte[right] == same)[None, :])
    i, k = np.nonzero(bad)
    if len(i):
        triples.add(body, left[i], right[k], edges[i, k])


def call_rays(quotes: Quotes, terms: Terms, most: int) -> list[Found]:
    """Find American calls dearer than the mix of stock and a higher call of their expiration.

    Notes
    -----
    A butterfly whose lower wing is the call of strike 0, the stock: C(K2) <= ((K3-K2)/K3) S +
    (K2/K3) C(K3). Integer ratios (K3-K2) : K3 : K2.
    """
    if terms.stock_ask is None:
        return []
    bodies: list[Ints] = []
    highs: list[Ints] = []
    for rows, call, european in books(quotes):
        if not call or european:
            continue
        for block in np.split(rows, np.flatnonzero(np.diff(quotes.dte[rows])) + 1):
            strike = quotes.strike[block]
            share = strike[:, None] / strike[None, :]  # K2 / K3: [body, high]
            cost = (1.0 - share) * terms.stock_ask + share * quotes.ask[block][None, :]
            fees = terms.fee / 100.0 * (1.0 + share)
            bad = (quotes.bid[block][:, None] - cost > fees + NOISE) & (share < 1.0)
            body, high = np.nonzero(bad)
            bodies.append(block[body])
            highs.append(block[high])
    if not sum(map(len, bodies)):
        return []
    body, high = np.concatenate(bodies), np.concatenate(highs)
    k2, k3 = quotes.strike[body], quotes.strike[high]
    ratios = whole_ratios(k3 - k2, k3, k2)
    found = package(
        "call_ray",
        [np.full(len(body), STOCK), body, high],
        (BUY, SELL, BUY),
        np.zeros(len(body)),
        ratios=ratios,
        unit=ratios[1],
        klass="statistical" if terms.implied_spot else "riskless",
    )
    edges, _ = per_share(found, quotes, terms)
    return [trim(found, edges / found.unit, body, most)]
