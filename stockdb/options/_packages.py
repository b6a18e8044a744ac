"""What the tests of static arbitrage are given and what they find."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from stockdb.options.market import DividendSchedule, RateCurve
from stockdb.options.quotes import Floats, Ints, Quotes

__all__ = ["BUY", "SELL", "STOCK", "Found", "Terms", "per_share", "trim"]

STOCK: Final = -1  # in place of a row of the quotes: 100 shares
BUY: Final = 1
SELL: Final = -1
NOISE: Final = 1e-9  # dollars: less than that is rounding


@dataclass(frozen=True, slots=True)
class Terms:
    """The market around the chain.

    Attributes
    ----------
    stock_bid, stock_ask : float or None
        Synchronous with the chain.
    curve : RateCurve or None
    dividends : DividendSchedule or None
        None: unknown; an empty schedule: none to come.
    declared_until : datetime.date or None
        Ex-dates after it are forecasts; None: all are declared.
    known_until : datetime.date or None
        Ex-dates after it are unknown; None: the schedule is complete.
    fee : float
        Dollars a contract.
    borrow_rate : float
        Yearly fee for borrowed stock, as a fraction of the stock's price.
    futures : tuple of (datetime.date, float, float)
        Expiration, bid and ask of the futures that options without a spot follow.
    implied_spot : bool
        The stock's price was implied by the chain: nothing that uses it is riskless.
    """

    stock_bid: float | None = None
    stock_ask: float | None = None
    curve: RateCurve | None = None
    dividends: DividendSchedule | None = None
    declared_until: dt.date | None = None
    known_until: dt.date | None = None
    fee: float = 0.65
    borrow_rate: float = 0.0
    futures: tuple[tuple[dt.date, float, float], ...] = ()
    implied_spot: bool = False

    def knows_dividends(self, expiration: dt.date) -> bool:
        """Whether every dividend up to an expiration is known."""
        if self.dividends is None:
            return False
        return self.known_until is None or expiration <= self.known_until

    def future(self, expiration: dt.date) -> tuple[float, float] | None:
        """Bid and ask of the future of an expiration."""
        found = [(bid, ask) for day, bid, ask in self.futures if day == expiration]
        return found[0] if found else None

    def discount(self, years: Floats) -> Floats:
        """Discount factors; ones without a curve, a bound as long as rates are not negative."""
        if self.curve is None:
            return np.ones_like(years)
        return np.asarray(self.curve.discount(years), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Found:
    """Packages of one kind that pay more than they cost, whatever happens.

    Attributes
    ----------
    kind, klass : str
    legs : numpy.ndarray
        int64, shape (n, legs): rows of the quotes, or ``STOCK``.
    sides : tuple of int
        ``BUY`` or ``SELL``, one a leg.
    ratios : numpy.ndarray
        int64, shape (n, legs): contracts (or 100 shares) of each leg in the smallest package.
    floor : numpy.ndarray
        float64, shape (n,): least value today of all later payments of a package, dollars a
        share.
    unit : numpy.ndarray
        int64, shape (n,): sold contracts of a butterfly or ray, for which its inequality is
        written; else 1.
    total : int
        Packages before any were left out (see `trim`).
    now : numpy.ndarray
        float64, shape (n,): part of the edge that exercising at once secures; NaN where that
        is no choice.
    """

    kind: str
    klass: str
    legs: Ints
    sides: tuple[int, ...]
    ratios: Ints
    floor: Floats
    unit: Ints
    total: int = 0
    now: Floats = field(default_factory=lambda: np.empty(0))

    def __len__(self) -> int:
        return len(self.legs)


def per_share(found: Found, quotes: Quotes, terms: Terms) -> tuple[Floats, Floats]:
    """Give the edge of a package after fees, and its net debit before them.

    Returns
    -------
    edge, debit : numpy.ndarray
        float64, shape (n,); dollars for each share of the deliverable of one package: 100
        shares a contract, ratios counted. Bought legs pay the ask, sold ones get the bid.
    """
    debit = np.zeros(len(found))
    contracts = np.zeros(len(found))
    for column, side in enumerate(found.sides):
        rows, ratio = found.legs[:, column], found.ratios[:, column]
        debit += side * ratio * leg_prices(rows, side, quotes, terms)
        contracts += np.where(rows == STOCK, 0, ratio)
    fees = terms.fee * contracts / 100.0
    return found.floor - debit - fees, debit


def leg_prices(rows: Ints, side: int, quotes: Quotes, terms: Terms) -> Floats:
    """Prices that a leg trades at: the ask bought, the bid sold."""
    prices = quotes.ask if side == BUY else quotes.bid
    stock = terms.stock_ask if side == BUY else terms.stock_bid
    at = prices[np.where(rows == STOCK, 0, rows)] if len(prices) else np.empty(len(rows))
    if stock is None:
        return at
    return np.where(rows == STOCK, stock, at)


def trim(found: Found, edges: Floats, by: Ints, most: int) -> Found:
    """Keep the best packages of each quote, so that at most about ``most`` are left.

    Parameters
    ----------
    found : Found
    edges : numpy.ndarray
    by : numpy.ndarray
        The quote that each package is counted for.
    most : int
    """
    if len(found) <= most:
        return found
    quota = max(1, most // len(np.unique(by)))
    order = np.lexsort((-edges, by))
    first = np.flatnonzero(np.r_[True, np.diff(by[order]) != 0])
    rank = np.arange(len(order)) - np.repeat(first, np.diff(np.r_[first, len(order)]))
    return take(found, np.sort(order[rank < quota]))


def take(found: Found, rows: npt.NDArray[np.int64]) -> Found:
    """Take some packages."""
    return Found(
        found.kind,
        found.klass,
        found.legs[rows],
        found.sides,
        found.ratios[rows],
        found.floor[rows],
        found.unit[rows],
        found.total,
        found.now[rows] if len(found.now) else found.now,
    )


def package(
    kind: str,
    legs: Sequence[Ints],
    sides: tuple[int, ...],
    floor: Floats,
    *,
    klass: str = "riskless",
    ratios: Sequence[Ints] | None = None,
    unit: Ints | None = None,
    now: Floats | None = None,
) -> Found:
    """Put packages together, leg by leg; one contract a leg unless told."""
    count = len(floor)
    one = np.ones(count, np.int64)
    return Found(
        kind,
        klass,
        np.column_stack(legs).astype(np.int64).reshape(count, len(sides)),
        sides,
        np.column_stack(ratios if ratios is not None else [one] * len(sides)).astype(np.int64),
        np.asarray(floor, np.float64),
        one if unit is None else unit,
        count,
        np.empty(0) if now is None else now,
    )
