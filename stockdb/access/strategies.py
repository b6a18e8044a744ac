"""Reads chains and bars, and has `stockdb.options` look for candidates in them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.access import load
from stockdb.access.access import Access
from stockdb.access.chains import parse_filter, read_chain
from stockdb.access.market import Market, read_market
from stockdb.access.numbers import NumbersRequest, with_numbers
from stockdb.access.provenance import ATTRS
from stockdb.arguments import parse_optional, parse_whole
from stockdb.core.days import Place
from stockdb.core.reader import ReadPolicy
from stockdb.errors import ConfigurationError, StockDBError, SymbolNotFoundError
from stockdb.options.book import Book, book_of
from stockdb.options.calendars import (
    CalendarRules,
    DiagonalRules,
    calendar_spreads,
    diagonal_spreads,
)
from stockdb.options.market import parse_price, parse_quote
from stockdb.options.synthetics import SyntheticRules, synthetic_positions
from stockdb.options.volatility import VolatilityRules, iv_at, volatility_trades
from stockdb.types import DateLike, parse_date, parse_symbol

__all__ = ["Asked", "Rules", "candidates", "closes_before", "read_book"]

Rules = CalendarRules | DiagonalRules | SyntheticRules | VolatilityRules
_TENORS: Final = (30, 60, 90, 180, 365, 545, 730)
_SEARCHES: Final[dict[type, Callable[..., pd.DataFrame]]] = {
    CalendarRules: calendar_spreads,
    DiagonalRules: diagonal_spreads,
    SyntheticRules: synthetic_positions,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller says beside the rules: the market, the costs, how old data may be.

    Attributes
    ----------
    stock_bid, stock_ask : float or None
        The stock's quote from the moment of the chain.
    spot : float or None
        The stock's price; by default the middle of its quote, else as for ``get_leaps_chain``.
    rate, dividends, q
        As for ``get_leaps_chain``. Dividends are used for flags and present values; forwards
        come from the chain.
    fees_per_contract : float or None
        Dollars; None takes LEAPS_CONFIG.
    max_rows : int
    verify, max_age, offline, allow_stale
        As for ``get_option_chain``.

    Raises
    ------
    ConfigurationError
        A price, rate, yield, schedule, fee or count that cannot be one.
    """

    stock_bid: float | None = None
    stock_ask: float | None = None
    spot: float | None = None
    rate: Any = None
    dividends: Any = None
    q: float | None = None
    fees_per_contract: float | None = None
    max_rows: int = 200
    verify: bool | None = None
    max_age: float | None = None
    offline: bool = False
    allow_stale: bool = False
    policy: ReadPolicy = field(init=False, default_factory=ReadPolicy, repr=False)

    def __post_init__(self) -> None:
        bid, ask = parse_quote(self.stock_bid, self.stock_ask)
        spot = parse_price("spot", self.spot)
        if spot is None and bid is not None and ask is not None:
            spot = (bid + ask) / 2.0
        checked = NumbersRequest(spot, self.rate, self.dividends, self.q)
        parsed = {
            "stock_bid": bid,
            "stock_ask": ask,
            "spot": checked.spot,
            "rate": checked.rate,
            "dividends": checked.dividends,
            "q": checked.q,
            "fees_per_contract": parse_optional(
                "fees_per_contract", self.fees_per_contract, least=0.0
            ),
            "max_rows": parse_whole("max_rows", self.max_rows, least=1),
            "policy": ReadPolicy(self.max_age, self.offline, self.allow_stale),
        }
        for name, value in parsed.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, given: dict[str, Any]) -> Asked:
        """Check the names of what a caller gave.

        Raises
        ------
        ConfigurationError
            An unknown name.
        """
        known = [name for name in cls.__dataclass_fields__ if name != "policy"]
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ConfigurationError(
                f"Unknown option {', '.join(unknown)}.", remedy=f"Known are {', '.join(known)}."
            )
        return cls(**given)


def read_book(
    access: Access, symbol: str, date: DateLike | None, asked: Asked
) -> tuple[Book, pd.DataFrame, Market]:
    """Read one whole chain with its numbers.

    Returns
    -------
    (Book, pandas.DataFrame, Market)
        The quotes that can be traded at; the enriched chain; rates and dividends used.
    """
    chain = access.chain(
        parse_symbol(symbol),
        None if date is None else parse_date(date),
        parse_filter(),
        asked.policy,
        asked.verify,
    )
    wanted = NumbersRequest(asked.spot, asked.rate, None, asked.q, asked.policy)
    enriched = with_numbers(access, chain, wanted)
    book = book_of(enriched, stock_bid=asked.stock_bid, stock_ask=asked.stock_ask)
    day = book.quote_date.date()
    market = read_market(
        access.reference, symbol, day, rate=0.0, dividends=asked.dividends, policy=asked.policy
    )
    return book, enriched, market


def candidates(
    access: Access,
    symbol: str,
    date: DateLike | None,
    rules: Rules,
    asked: Asked,
    *,
    history_days: int = 0,
    bars_symbol: str | None = None,
) -> pd.DataFrame:
    """Read a chain and search it by some rules; see the methods of ``LEAPSDataIntegration``."""
    history_days = parse_whole("history_days", history_days)
    bars = parse_symbol(symbol if bars_symbol is None else bars_symbol)
    book, enriched, market = read_book(access, symbol, date, asked)
    fees = access.settings.leaps.fees_per_contract
    common: dict[str, Any] = {
        "fee": fees if asked.fees_per_contract is None else asked.fees_per_contract,
        "dividends": market.dividends,
        "max_rows": asked.max_rows,
    }
    notes: dict[str, Any] = {}
    if isinstance(rules, VolatilityRules):
        day = book.quote_date.date()
        closes, notes["closes"] = closes_before(
            access, bars, day, asked, required=bars_symbol is not None
        )
        past, notes["history"] = _past(access, symbol, day, history_days, asked)
        frame = volatility_trades(book, closes, rules, history=past, **common)
    else:
        frame = _SEARCHES[type(rules)](book, rules, **common)
    note = {**enriched.attrs.get(ATTRS, {}), **frame.attrs.get(ATTRS, {}), **notes}
    known = None if market.dividends is None else market.dividends.describe()
    note["dividends"] = known
    note["suspect_quotes"] = int(book.suspect.sum())
    note["empty_reason"] = _why_empty(frame, enriched, note)
    frame.attrs = {ATTRS: note}
    return frame


def _why_empty(frame: pd.DataFrame, enriched: pd.DataFrame, note: dict[str, Any]) -> str | None:
    if len(frame):
        return None
    reasons = enriched["reason"].value_counts()
    if not (enriched["reason"] == "").any() and len(reasons):
        return f"no quote has an implied volatility: {reasons.index[0]}"
    rejected = note.get("rejected") or {}
    if (
        "closes" in note
        and rejected["structures"]
        and rejected["numbers"] == rejected["structures"]
    ):
        known = note["closes"]
        few = f"{known['closes']} closes up to the day are too few"
        why = few if "last" in known else known["note"]
        return f"no realised volatility to hold an implied one against: {why}"
    if rejected.get("pairs", rejected.get("structures", 0)):
        return "every candidate breaks a rule; see 'rejected' for how many break which"
    return (
        "no options of the expirations, strikes, deltas, spread and open interest asked for are "
        "quoted"
    )


def closes_before(
    access: Access, symbol: str, day: dt.date, asked: Asked, *, required: bool = False
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], dict[str, Any]]:
    """Read the closes up to a day, adjusted as far as the bucket knows how.

    Returns
    -------
    (numpy.ndarray, dict)
        Oldest first; empty where the bucket has no bars. What was read.

    Raises
    ------
    SymbolNotFoundError
        The bucket has no bars, and they are required: the caller named them.
    """
    adjust, why = load.widest_adjustment(access, "auto", asked.policy)
    request = access.request(
        None,
        day,
        "daily",
        adjust=adjust,
        validate=False,
        max_age=asked.max_age,
        offline=asked.offline,
        allow_stale=asked.allow_stale,
    )
    try:
        frame = access.history(symbol, request)
    except SymbolNotFoundError:
        if required:
            raise
        return np.empty(0), {"closes": 0, "note": f"the bucket has no bars of {symbol}"}
    closes = frame["close"].to_numpy(np.float64)
    closes = closes[np.isfinite(closes) & (closes > 0.0)]
    last = None if frame.empty else str(frame.index[-1].date())
    note = {"closes": len(closes), "last": last, "adjustment": frame.attrs[ATTRS]["adjustment"]}
    return closes, {**note, "note": why} if why else note


def _past(
    access: Access, symbol: str, day: dt.date, days: int, asked: Asked
) -> tuple[pd.DataFrame | None, dict[str, Any]]:
    """Read the at-the-money volatilities of the days before."""
    if days <= 0:
        return None, {"days": 0, "note": "history_days=0: no rank, percentile and z-score"}
    places = access.chains.places(None, day - dt.timedelta(days=1), policy=asked.policy)
    chosen = list(places.values())[-days:]

    def read(place: Place) -> pd.Series:
        chain = read_chain(
            access.chains, access.provenance, symbol, place, parse_filter(moneyness=(0.8, 1.25)),
            asked.policy, verify=access.verifies(asked.verify),
        )  # fmt: skip
        wanted = NumbersRequest(None, asked.rate, None, asked.q, asked.policy)
        numbers = with_numbers(access, chain, wanted)
        table = book_of(numbers).at_the_money()
        return pd.Series(iv_at(table, np.array(_TENORS)), index=_TENORS, name=place.date)

    outcomes = load.each(access, chosen, read)
    found = [outcome for outcome in outcomes if isinstance(outcome, pd.Series)]
    failed = [outcome for outcome in outcomes if isinstance(outcome, StockDBError)]
    note = {"days": len(found), "failed": len(failed)}
    return (pd.DataFrame(found) if found else None), note
