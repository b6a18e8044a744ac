"""Arbitrage planted in the simulated option files, each package with its edge.

A planted package is made of quotes a few cents on the wrong side of their fair prices, each moved
by its share, so that no single one stands out from its neighbours: `stockdb.options.suspects`
marks a quote that contradicts five others, or that lies 1 % of the stock's price away from what its
neighbours allow, and none of these does. Where each package stands is chosen so that no other
package pays: the usual quotes around it are wider than what was moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from stockdb.demo.simulate_stocks import Dates, Floats
from stockdb.options.market import RateCurve

__all__ = ["FEE", "PLANTED_IN", "Book", "Leg", "Planted", "plant"]

FEE: Final = 0.65  # dollars a contract
_EDGE: Final = 0.06  # dollars a share after fees, before rounding to cents
_WIDTH: Final = 5  # cents between bid and ask of a planted leg
_SIZE: Final = 20  # contracts
_STOCK_HALF: Final = 1  # cents between the close and either side of the stock's quote
_LEAPS: Final = 8  # the first expiration beyond a year, among those listed
BUY: Final = 1
SELL: Final = -1


@dataclass(frozen=True, slots=True)
class Book:
    """The contracts of one underlying, in file order; arrays of one length."""

    symbol: str
    row_starts: list[str]  # a row up to its bid
    expirations: Dates
    is_call: npt.NDArray[np.bool_]
    strikes: Floats

    def years(self, date: str) -> Floats:
        """Years of 365 days to each expiration."""
        return (self.expirations - np.datetime64(date)).astype(np.float64) / 365

    def row(self, expiration: int, kind: str, strike: float) -> int:
        """Find a contract: by the number of its expiration, its type and its strike."""
        day = np.unique(self.expirations)[expiration]
        match = (self.expirations == day) & (self.is_call == (kind == "call"))
        (found,) = np.flatnonzero(match & (self.strikes == strike))
        return int(found)

    def ladder(self, expiration: int) -> Floats:
        """Strikes of an expiration, ascending."""
        day = np.unique(self.expirations)[expiration]
        return np.unique(self.strikes[self.expirations == day])


class Leg(NamedTuple):
    """One leg: a contract (its row in the book), or 100 shares where ``row`` is None.

    ``side`` is 1 bought, -1 sold; ``bid`` and ``ask`` are in cents.
    """

    row: int | None
    contract: str
    side: int
    ratio: int
    bid: int
    ask: int
    size: int = _SIZE

    @property
    def price(self) -> int:
        """Cents at which the leg trades."""
        return self.ask if self.side == BUY else self.bid


class Planted(NamedTuple):
    """A package that pays ``edge`` dollars a share, fees taken off, whatever happens."""

    symbol: str
    date: str
    kind: str
    legs: tuple[Leg, ...]
    floor: float  # dollars a share, worth today: the least that is paid later
    edge: float

    def describe(self) -> dict[str, Any]:
        """Give it in JSON's own types."""
        return {
            "symbol": self.symbol,
            "quote_date": self.date,
            "kind": self.kind,
            "edge": round(self.edge, 6),
            "fees_per_contract": FEE,
            "legs": [
                {
                    "contract": leg.contract,
                    "side": "buy" if leg.side == BUY else "sell",
                    "ratio": leg.ratio,
                    "price": leg.price / 100,
                }
                for leg in self.legs
            ],
        }


class _Draft(NamedTuple):
    """A package before it is priced; ``moves`` says which legs leave their fair price."""

    kind: str
    legs: tuple[tuple[int, int, int], ...]  # row, side, ratio
    moves: tuple[bool, ...]
    floor: float
    stock: int | None = None  # cents paid for 100 shares' worth of one


def plant(book: Book, date: str, spot: float, curve: RateCurve, fair: Floats) -> list[Planted]:
    """Plant packages in a book.

    Parameters
    ----------
    book : Book
        Of a symbol in `PLANTED_IN`.
    date : str
    spot : float
        Close, dollars.
    curve : RateCurve
    fair : numpy.ndarray
        Dollars a share, one a contract.

    Returns
    -------
    list of Planted
        No two of them share a contract.
    """
    discount = curve.discount(book.years(date))
    return [
        _planted(book, date, make(book, spot, discount), fair) for make in PLANTED_IN[book.symbol]
    ]


def _planted(book: Book, date: str, draft: _Draft, fair: Floats) -> Planted:
    """Move the legs, rounded to cents, until the package pays."""
    contracts = sum(ratio for _, _, ratio in draft.legs)
    moved = sum(
        ratio for (_, _, ratio), moves in zip(draft.legs, draft.moves, strict=True) if moves
    )
    paid = sum(side * ratio * fair[row] for row, side, ratio in draft.legs)
    stock = 0 if draft.stock is None else draft.stock
    lacking = _EDGE + paid + stock / 100 + contracts * FEE / 100 - draft.floor
    legs = []
    for (row, side, ratio), moves in zip(draft.legs, draft.moves, strict=True):
        price = fair[row] - side * (lacking / moved if moves else 0.0)
        # What is bought gets an ask, what is sold a bid; what does not move stays outside.
        down = (side == BUY) == moves
        cents = int(np.floor(100 * price)) if down else int(np.ceil(100 * price))
        bid, ask = (cents - _WIDTH, cents) if side == BUY else (cents, cents + _WIDTH)
        contract = book.row_starts[row].split(",", 1)[0]
        legs.append(Leg(row, contract, side, ratio, bid, ask))
    if draft.stock is not None:
        bid = draft.stock - 2 * _STOCK_HALF
        legs.insert(0, Leg(None, book.symbol, BUY, 1, bid, draft.stock))
    debit = sum(leg.side * leg.ratio * leg.price for leg in legs)
    edge = draft.floor - debit / 100 - contracts * FEE / 100
    return Planted(book.symbol, date, draft.kind, tuple(legs), draft.floor, edge)


def _near(book: Book, expiration: int, level: float) -> int:
    """Give the position of the listed strike nearest to a level."""
    return int(np.abs(book.ladder(expiration) - level).argmin())


def _monotonicity(book: Book, spot: float, discount: Floats) -> _Draft:
    """Sell the highest strike of the last calls for more than the strike below it costs.

    Any lower pair would also pay as a butterfly with the strike above it.
    """
    last = _LEAPS + 1
    low, high = (book.row(last, "call", float(strike)) for strike in book.ladder(last)[-2:])
    return _Draft("monotonicity", ((high, SELL, 1), (low, BUY, 1)), (True, False), 0.0)


def _calendar(book: Book, spot: float, discount: Floats) -> _Draft:
    """Sell a put deep in the money for more than the same put a month later.

    Both are worth what exercise pays. The later one stays there: below, it would also pay
    against the stock.
    """
    strike = float(book.ladder(1)[_near(book, 1, 1.35 * spot)])
    legs = ((book.row(1, "put", strike), SELL, 1), (book.row(2, "put", strike), BUY, 1))
    return _Draft("calendar", legs, (True, False), 0.0)


def _long_box(book: Book, spot: float, discount: Floats) -> _Draft:
    """Buy a box for less than its value, where early exercise of its puts is worth little."""
    at = _near(book, 3, spot)
    low, high = (float(strike) for strike in book.ladder(3)[[at - 4, at - 1]])
    legs = (
        (book.row(3, "call", low), BUY, 1),
        (book.row(3, "call", high), SELL, 1),
        (book.row(3, "put", low), SELL, 1),
        (book.row(3, "put", high), BUY, 1),
    )
    return _Draft("long_box", legs, (True,) * 4, (high - low) * float(discount[legs[0][0]]))


def _butterfly(book: Book, spot: float, discount: Floats) -> _Draft:
    """Buy a butterfly of LEAPS and be paid for it."""
    at = _near(book, _LEAPS, spot)
    low, body, high = (
        book.row(_LEAPS, "call", float(strike)) for strike in book.ladder(_LEAPS)[at - 1 : at + 2]
    )
    legs = ((low, BUY, 1), (body, SELL, 2), (high, BUY, 1))
    return _Draft("butterfly", legs, (True,) * 3, 0.0)


def _conversion(book: Book, spot: float, discount: Floats) -> _Draft:
    """Buy the stock, and sell it by put and call for more: where no dividend blurs parity.

    The put is out of the money, or its early exercise would let boxes pay too.
    """
    expiration = _LEAPS - 1
    strike = float(book.ladder(expiration)[_near(book, expiration, 0.8 * spot)])
    put, call = (book.row(expiration, kind, strike) for kind in ("put", "call"))
    legs = ((put, BUY, 1), (call, SELL, 1))
    ask = round(100 * spot) + _STOCK_HALF
    return _Draft("conversion", legs, (True, True), strike * float(discount[put]), ask)


PLANTED_IN: Final = {
    "GOOGL": (_conversion,),
    "MSFT": (_monotonicity, _calendar, _long_box, _butterfly),
}
