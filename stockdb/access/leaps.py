"""Joins chains that are read with what `stockdb.options` makes of them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from stockdb.access.access import Access
from stockdb.access.chains import parse_filter
from stockdb.access.market import read_market
from stockdb.access.numbers import NumbersRequest, with_numbers
from stockdb.access.provenance import ATTRS
from stockdb.core.reader import ReadPolicy
from stockdb.options.arbitrage import find_arbitrage, suspect_quotes, terms_of
from stockdb.options.quotes import file_date
from stockdb.types import DateLike, parse_date, parse_symbol

__all__ = ["arbitrage_on", "find_opportunities", "suspects_of"]


def find_opportunities(
    access: Access,
    symbol: str,
    date: DateLike | None,
    *,
    min_days: int | None,
    policy: ReadPolicy,
    verify: bool | None,
    **options: Any,
) -> pd.DataFrame:
    """Read one chain and look for arbitrage in it; see ``find_arbitrage_opportunities``."""
    chain = access.chain(
        parse_symbol(symbol),
        None if date is None else parse_date(date),
        parse_filter(dte=None if min_days is None else (min_days, None)),
        policy,
        verify,
    )
    return arbitrage_on(access, chain, policy=policy, **options)


def suspects_of(
    access: Access, symbol: str, date: DateLike | None, policy: ReadPolicy, verify: bool | None
) -> pd.DataFrame:
    """Read one chain and list the quotes that contradict it."""
    day = None if date is None else parse_date(date)
    chain = access.chain(parse_symbol(symbol), day, parse_filter(), policy, verify)
    frame = suspect_quotes(chain)
    reason = None if len(frame) else f"no quote contradicts the other {len(chain)} rows"
    frame.attrs = {**chain.attrs, ATTRS: {**chain.attrs[ATTRS], "empty_reason": reason}}
    return frame


def arbitrage_on(
    access: Access,
    chain: pd.DataFrame,
    *,
    stock_bid: float | None,
    stock_ask: float | None,
    rate: Any,
    dividends: Any,
    fees_per_contract: float | None,
    borrow_rate: float,
    futures: Any = None,
    policy: ReadPolicy | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Look for arbitrage in a chain that was read, with the bucket's rates and dividends."""
    if not len(chain):
        return find_arbitrage(chain, **options)
    symbol = str(chain["symbol"].iloc[0])
    day = file_date(chain) or chain["quote_date"].iloc[0].date()
    market = read_market(
        access.reference, symbol, day, rate=rate, dividends=dividends, policy=policy
    )
    fees = (
        access.settings.leaps.fees_per_contract if fees_per_contract is None else fees_per_contract
    )
    terms = terms_of(
        stock_bid=stock_bid,
        stock_ask=stock_ask,
        rate=market.curve,
        dividends=market.dividends,
        declared_until=market.declared_until,
        known_until=market.known_until,
        fees_per_contract=fees,
        borrow_rate=borrow_rate,
        futures=futures,
    )
    if options.get("include_statistical"):
        middle = None
        if terms.stock_bid is not None and terms.stock_ask is not None:
            middle = (terms.stock_bid + terms.stock_ask) / 2.0
        chain = with_numbers(access, chain, NumbersRequest(middle, market.curve, policy=policy))
    frame = find_arbitrage(chain, terms, **options)
    frame.attrs[ATTRS]["market"] = market.describe()
    return frame
