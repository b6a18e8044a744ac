"""The quotes of a chain that can be traded at, as arrays; the rest named with its reason."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.errors import DataError
from stockdb.types import DateLike, parse_date

__all__ = ["EUROPEAN_ROOTS", "Quotes", "executable_quotes", "file_date"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Cash-settled index options that cannot be exercised early (Cboe product specifications).
EUROPEAN_ROOTS: Final = frozenset(
    {"SPX", "SPXW", "XSP", "VIX", "VIXW", "NDX", "NDXP", "XND", "RUT", "RUTW", "MRUT", "DJX", "XEO"}
)
_NEEDED: Final = ("contract", "type", "strike", "expiration", "quote_date", "bid", "ask")
_ROOT: Final = re.compile(r"(?:O:)?([A-Z0-9.\-^]+?)\d{6}[CP]\d{8}", re.ASCII)
_WIDE: Final = 0.25  # of the mid
_GRIDS: Final = (5, 1)  # cents


@dataclass(frozen=True, slots=True)
class Quotes:
    """Quotes with a bid below their ask, one row a contract, in the order of the chain.

    Attributes
    ----------
    symbol : str
    quote_date : datetime.date
    row : numpy.ndarray
        int64: position in the chain they were taken from.
    contract, root : numpy.ndarray
        object (str): OCC symbol as the chain spells it, and its root.
    call, european, wide, dead : numpy.ndarray
        bool. ``wide``: the spread exceeds 25 % of the mid. ``dead``: neither open interest
        nor volume.
    strike, bid, ask : numpy.ndarray
        float64, dollars a share.
    bid_size, ask_size : numpy.ndarray
        float64, contracts; NaN where the source does not say.
    expiration : numpy.ndarray
        datetime64[D].
    dte : numpy.ndarray
        int64, calendar days, 1 or more.
    open_interest, volume : numpy.ndarray
        float64, contracts; NaN where the source does not say.
    tick : numpy.ndarray
        float64, dollars: the price step of each row, from the grid on which the chain's
        own quotes lie (below and from $3).
    dropped : mapping
        Reason -> contracts that are left out for it.
    """

    symbol: str
    quote_date: dt.date
    row: Ints
    contract: npt.NDArray[np.object_]
    root: npt.NDArray[np.object_]
    call: Bools
    european: Bools
    strike: Floats
    bid: Floats
    ask: Floats
    bid_size: Floats
    ask_size: Floats
    expiration: npt.NDArray[np.datetime64]
    dte: Ints
    wide: Bools
    dead: Bools
    open_interest: Floats
    volume: Floats
    tick: Floats
    dropped: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.row)

    @property
    def mid(self) -> Floats:
        """Middle of bid and ask: to measure by, never to trade at."""
        return (self.bid + self.ask) / 2.0

    @property
    def years(self) -> Floats:
        """Years to expiration, ACT/365."""
        return self.dte / 365.0


def executable_quotes(
    chain: pd.DataFrame, *, quote_date: DateLike | None = None, tick: float | None = None
) -> Quotes:
    """Take the quotes that can be traded at out of a chain.

    Parameters
    ----------
    chain : pandas.DataFrame
        As ``get_option_chain`` gives it; needs contract, type, strike, expiration, quote_date,
        bid, ask. Looks at symbol, style, bid_size, ask_size, volume, open_interest too.
    quote_date : date-like, optional
        The day whose quotes are wanted; by default that of the file which the chain was read
        from (:func:`file_date`), else the one that most rows have.
    tick : float, optional
        Dollars; by default read off the quotes.

    Returns
    -------
    Quotes
        ``dropped`` has the rest by the first reason that holds: ``wrong_quote_date``,
        ``expired``, ``adjusted_root`` (another deliverable than 100 shares), ``no_quote``
        (a side is missing), ``zero_bid``, ``crossed`` (bid above ask), ``locked`` (bid at the
        ask), ``zero_size``, ``duplicate`` (a copy), ``conflicting_duplicates`` (all copies of a
        contract that is quoted twice with different prices).

    Raises
    ------
    DataError
        A needed column is missing, or bid equals ask in nearly every row: such prices are
        mids or settlements, at which nobody has offered to trade.
    """
    missing = [name for name in _NEEDED if name not in chain.columns]
    if missing:
        raise DataError(
            f"The chain has no column {', '.join(missing)}.",
            remedy="Give a chain as get_option_chain returns it, with its bids and asks.",
            columns=missing,
        )
    contract = chain["contract"].to_numpy(dtype=object, na_value="")
    symbol = str(chain["symbol"].iloc[0]) if "symbol" in chain.columns and len(chain) else ""
    quoted = chain["quote_date"].to_numpy("datetime64[D]")
    day = _day(quoted, file_date(chain) if quote_date is None else quote_date)
    expiration = chain["expiration"].to_numpy("datetime64[D]")
    dte = (expiration - np.datetime64(day)).astype(np.int64)
    bid, ask = _numbers(chain, "bid"), _numbers(chain, "ask")
    sizes = {name: _numbers(chain, name) for name in ("bid_size", "ask_size")}
    root = np.array([_root(name, symbol) for name in contract], dtype=object)
    reasons = {
        "wrong_quote_date": quoted != np.datetime64(day),
        "expired": dte < 1,
        "adjusted_root": np.array([_adjusted(name, symbol) for name in root], dtype=bool),
        "no_quote": ~(np.isfinite(bid) & np.isfinite(ask)),
        "zero_bid": bid <= 0.0,
        "crossed": bid > ask,
        "locked": bid == ask,
        "zero_size": (sizes["bid_size"] <= 0.0) | (sizes["ask_size"] <= 0.0),
        **_duplicates(contract, bid, ask, quoted == np.datetime64(day)),
    }
    left = np.ones(len(chain), bool)
    dropped: dict[str, tuple[str, ...]] = {}
    for reason, bad in reasons.items():
        named = left & bad
        if named.any():
            dropped[reason] = tuple(contract[named])
        left &= ~bad
    locked = len(dropped.get("locked", ()))
    if locked > 9 * left.sum():
        raise DataError(
            f"{symbol or 'The chain'}: bid equals ask in {locked} of {locked + left.sum()} quotes.",
            remedy="Mids and settlements are not prices at which anyone trades: "
            "give the bids and asks themselves.",
            symbol=symbol,
        )
    keep = np.flatnonzero(left)
    interest, volume = _numbers(chain, "open_interest"), _numbers(chain, "volume")
    middle = (bid + ask)[keep] / 2.0
    return Quotes(
        symbol=symbol,
        quote_date=day,
        row=keep,
        contract=contract[keep],
        root=root[keep],
        call=(chain["type"] == "call").to_numpy(bool)[keep],
        european=_european(chain, root)[keep],
        strike=_numbers(chain, "strike")[keep],
        bid=bid[keep],
        ask=ask[keep],
        bid_size=sizes["bid_size"][keep],
        ask_size=sizes["ask_size"][keep],
        expiration=expiration[keep],
        dte=dte[keep],
        wide=(ask - bid)[keep] > _WIDE * middle,
        dead=_dead(interest, volume)[keep],
        open_interest=interest[keep],
        volume=volume[keep],
        tick=_ticks(bid[keep], ask[keep]) if tick is None else np.full(len(keep), tick),
        dropped=dropped,
    )


def file_date(chain: pd.DataFrame) -> dt.date | None:
    """Give the date of the file that a chain was read from; None where the frame does not say.

    Examples
    --------
    >>> chain = pd.DataFrame()
    >>> chain.attrs["stockdb"] = {"file_date": "2024-03-04"}
    >>> file_date(chain)
    datetime.date(2024, 3, 4)
    """
    note = chain.attrs.get("stockdb")
    said = note.get("file_date") if isinstance(note, dict) else None
    return None if said is None else parse_date(said, "file_date")


def _dead(interest: Floats, volume: Floats) -> Bools:
    """Mark what nobody holds and nobody traded; where both are unknown nothing can be said."""
    known = np.isfinite(interest) | np.isfinite(volume)
    return np.asarray(known & ~(interest > 0.0) & ~(volume > 0.0))


def _day(quoted: npt.NDArray[np.datetime64], wanted: DateLike | None) -> dt.date:
    if wanted is not None:
        return parse_date(wanted, "quote_date")
    if not len(quoted):
        raise DataError("An empty chain has no quote date.", remedy="Give quote_date.")
    days, counts = np.unique(quoted, return_counts=True)
    day: dt.date = days[counts.argmax()].astype(dt.date)
    return day


def _numbers(chain: pd.DataFrame, name: str) -> Floats:
    if name not in chain.columns:
        return np.full(len(chain), np.nan)
    return chain[name].to_numpy(np.float64, na_value=np.nan)


def _root(contract: str, symbol: str) -> str:
    match = _ROOT.fullmatch(contract)
    return match[1] if match else symbol


def _adjusted(root: str, symbol: str) -> bool:
    """Say whether the root has a digit after the symbol: AAPL7, BRKB1; not 3M's own digits."""
    return root[-1:].isdigit() and not symbol.endswith(root[-1:])


def _european(chain: pd.DataFrame, root: npt.NDArray[np.object_]) -> Bools:
    """Go by the style of the file; where it is silent, by the root."""
    known = np.array([name in EUROPEAN_ROOTS for name in root], dtype=bool)
    if "style" not in chain.columns:
        return known
    style = chain["style"].to_numpy(dtype=object, na_value="")
    letters = np.array([str(text)[:1].upper() for text in style], dtype=object)
    found: Bools = np.where(letters == "E", True, np.where(letters == "A", False, known))
    return found


def _duplicates(
    contract: npt.NDArray[np.object_], bid: Floats, ask: Floats, of_day: Bools
) -> dict[str, Bools]:
    """Mark copies; where copies differ, none of them can be trusted."""
    frame = pd.DataFrame({"contract": contract, "bid": bid, "ask": ask})
    copy = np.zeros(len(frame), bool)
    conflict = np.zeros(len(frame), bool)
    mine = frame[of_day]
    repeated = mine.duplicated("contract", keep=False)
    if repeated.any():
        twice = mine[repeated]
        kinds = twice.groupby("contract")[["bid", "ask"]].nunique(dropna=False).max(axis=1)
        differs = twice["contract"].map(kinds).to_numpy() > 1
        conflict[twice.index[differs]] = True
        copy[twice.index[~differs & twice.duplicated("contract").to_numpy()]] = True
    return {"duplicate": copy, "conflicting_duplicates": conflict}


def _ticks(bid: Floats, ask: Floats) -> Floats:
    """Give the price step: the coarsest of 5 and 1 cents on which all prices of a range lie."""
    prices = np.concatenate([bid, ask])
    below, above = (_grid(prices[part]) for part in (prices < 3.0, prices >= 3.0))
    ticks: Floats = np.where(ask < 3.0, below, above)
    return ticks


def _grid(prices: Floats) -> float:
    for cents in _GRIDS:
        steps = prices * 100.0 / cents
        if np.all(np.abs(steps - np.round(steps)) < 1e-6):
            return cents / 100.0
    return _GRIDS[-1] / 100.0
