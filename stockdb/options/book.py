"""The quotes of a chain with computed numbers, as arrays that strategies pick legs from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.errors import DataError
from stockdb.options._packages import Terms
from stockdb.options._verticals import two_option_pairs
from stockdb.options.quotes import Bools, Floats, Ints, executable_quotes
from stockdb.options.suspects import find_suspects

__all__ = ["STOCK", "Book", "book_of"]

STOCK: Final = -1  # in place of a row: 100 shares
_NUMBERS: Final = (
    "iv", "delta", "gamma", "theta", "vega", "rho", "dividend_rho", "rate", "q", "years", "forward",
)  # fmt: skip


@dataclass(frozen=True)
class Book:
    """Quotes that can be traded at, with numbers.

    Attributes
    ----------
    symbol : str
    quote_date : pandas.Timestamp
    spot : float
        NaN where unknown.
    stock_bid, stock_ask : float
        NaN where the caller gave no quote.
    contract, call, american, suspect, wide, dead : numpy.ndarray
        One a quote.
    strike, bid, ask, bid_size, ask_size, open_interest, volume : numpy.ndarray
        float64; dollars a share, contracts.
    expiration : numpy.ndarray
        datetime64[D].
    dte : numpy.ndarray
        int64, calendar days.
    numbers : dict of str to numpy.ndarray
        Columns of an enriched chain: theta a day, vega a vol point, rho per 1.00.
    """

    symbol: str
    quote_date: pd.Timestamp
    spot: float
    stock_bid: float
    stock_ask: float
    contract: npt.NDArray[np.object_]
    call: Bools
    american: Bools
    suspect: Bools
    wide: Bools
    dead: Bools
    strike: Floats
    bid: Floats
    ask: Floats
    bid_size: Floats
    ask_size: Floats
    open_interest: Floats
    volume: Floats
    expiration: npt.NDArray[np.datetime64]
    dte: Ints
    numbers: dict[str, Floats] = field(repr=False)

    def __len__(self) -> int:
        return len(self.contract)

    @property
    def mid(self) -> Floats:
        """Middle of bid and ask."""
        return (self.bid + self.ask) / 2.0

    @property
    def extrinsic(self) -> Floats:
        """Mid less what exercising at once brings, dollars a share."""
        sign = np.where(self.call, 1.0, -1.0)
        return self.mid - np.maximum(sign * (self.spot - self.strike), 0.0)

    def at_the_money(self) -> pd.DataFrame:
        """Implied volatility at the forward of each expiration.

        Returns
        -------
        pandas.DataFrame
            Index dte (int64, ascending); columns iv (mean of call and put at the strike nearest
            the forward), strike, forward, rate, years.
        """
        rows = np.flatnonzero(np.isfinite(self.numbers["iv"]) & ~self.suspect)
        frame = pd.DataFrame(
            {
                "dte": self.dte[rows],
                "strike": self.strike[rows],
                **{name: self.numbers[name][rows] for name in ("iv", "forward", "rate", "years")},
            }
        )
        frame["away"] = np.abs(np.log(frame["strike"] / frame["forward"]))
        frame = frame[frame["away"] < 0.2]
        nearest = frame["away"] <= frame.groupby("dte")["away"].transform("min") + 1e-12
        columns = ["iv", "strike", "forward", "rate", "years"]
        return frame[nearest].groupby("dte")[columns].mean()


def book_of(
    enriched: pd.DataFrame, *, stock_bid: float | None = None, stock_ask: float | None = None
) -> Book:
    """Take the quotes that can be traded at out of an enriched chain.

    Parameters
    ----------
    enriched : pandas.DataFrame
        Of :func:`stockdb.options.chain.enrich`.
    stock_bid, stock_ask : float, optional

    Raises
    ------
    DataError
        The chain has no computed numbers.
    """
    missing = [name for name in (*_NUMBERS, "spot") if name not in enriched.columns]
    if missing:
        raise DataError(
            f"The chain lacks the computed columns {', '.join(missing)}.",
            remedy="Give a chain as get_leaps_chain returns it.",
            columns=missing,
        )
    quotes = executable_quotes(enriched)
    suspects = find_suspects(quotes, two_option_pairs(quotes, Terms()))
    spots = enriched["spot"].dropna()
    spot = float(spots.iloc[0]) if len(spots) else float("nan")

    def column(name: str) -> Floats:
        found: Floats = enriched[name].to_numpy(np.float64, na_value=np.nan)[quotes.row]
        return found

    return Book(
        symbol=quotes.symbol,
        quote_date=pd.Timestamp(quotes.quote_date).as_unit("ns"),
        spot=spot,
        stock_bid=float("nan") if stock_bid is None else float(stock_bid),
        stock_ask=float("nan") if stock_ask is None else float(stock_ask),
        contract=quotes.contract,
        call=quotes.call,
        american=~quotes.european,
        suspect=suspects.marked,
        wide=quotes.wide,
        dead=quotes.dead,
        strike=quotes.strike,
        bid=quotes.bid,
        ask=quotes.ask,
        bid_size=quotes.bid_size,
        ask_size=quotes.ask_size,
        open_interest=quotes.open_interest,
        volume=quotes.volume,
        expiration=quotes.expiration,
        dte=quotes.dte,
        numbers={name: column(name) for name in _NUMBERS},
    )


def leg_of(book: Book, row: int, side: int, ratio: int) -> dict[str, Any]:
    """Describe one leg."""
    word = "buy" if side > 0 else "sell"
    if row == STOCK:
        bid = book.spot if np.isnan(book.stock_bid) else book.stock_bid
        ask = book.spot if np.isnan(book.stock_ask) else book.stock_ask
        nan = float("nan")
        return {
            "contract": book.symbol, "side": word, "ratio": ratio, "type": "stock",
            "strike": nan, "expiration": pd.NaT, "dte": 0, "bid": bid, "ask": ask,
            "fill": ask if side > 0 else bid, "style": "", "rate": nan, "q": nan, "iv": nan,
            "delta": 1.0, "bid_size": nan,
            "ask_size": nan, "open_interest": nan, "volume": nan,
        }  # fmt: skip
    return {
        "contract": book.contract[row], "side": word, "ratio": ratio,
        "type": "call" if book.call[row] else "put", "strike": float(book.strike[row]),
        "expiration": pd.Timestamp(book.expiration[row]).as_unit("ns"), "dte": int(book.dte[row]),
        "bid": float(book.bid[row]), "ask": float(book.ask[row]),
        "fill": float(book.ask[row] if side > 0 else book.bid[row]),
        "style": "american" if book.american[row] else "european",
        "rate": float(book.numbers["rate"][row]), "q": float(book.numbers["q"][row]),
        "iv": float(book.numbers["iv"][row]), "delta": float(book.numbers["delta"][row]),
        "bid_size": float(book.bid_size[row]), "ask_size": float(book.ask_size[row]),
        "open_interest": float(book.open_interest[row]), "volume": float(book.volume[row]),
    }  # fmt: skip
