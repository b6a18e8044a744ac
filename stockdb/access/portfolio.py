"""Joins positions with chains, bars and dividends, for `stockdb.options.portfolio`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.access import load
from stockdb.access.access import Access
from stockdb.access.market import read_market
from stockdb.access.numbers import last_traded
from stockdb.access.positions import parse_positions
from stockdb.access.strategies import Asked, read_book
from stockdb.arguments import parse_by_symbol, parse_number, parse_whole
from stockdb.core.reader import ReadPolicy
from stockdb.errors import ConfigurationError, DataError, NotFoundError, StockDBError
from stockdb.options import greeks
from stockdb.options.market import DividendSchedule, parse_price
from stockdb.options.portfolio import Portfolio, analyze
from stockdb.options.quotes import EUROPEAN_ROOTS
from stockdb.types import DateLike, parse_date, parse_symbol

__all__ = ["analyze_positions"]

_GREEKS: Final = ("delta", "gamma", "theta", "vega", "rho", "dividend_rho")
_QUOTED: Final = (
    "type", "strike", "expiration", "dte", "bid", "ask", "mid", "iv", "rate", "q", "spot",
    *_GREEKS, "open_interest", "volume",
)  # fmt: skip
_AUTO: Final = "auto"
_BENCHMARK: Final = "SPY"
_BETA_RETURNS: Final = 252
_LEAST_RETURNS: Final = 60
_STALE: Final = 10  # calendar days that a close may be old where nothing else has a price
#: The chain with a volatility for each quote, its day, the dividends to come.
_Chain = tuple[pd.DataFrame, pd.Timestamp, DividendSchedule | None]


def analyze_positions(
    access: Access,
    given: Any,
    date: DateLike | None,
    asked: Asked,
    *,
    min_days: int,
    quantity: float,
    dividends: Mapping[str, Any] | None,
    betas: Mapping[str, float] | None,
    benchmark: str | None,
    spots: Mapping[str, float] | None,
    **options: Any,
) -> Portfolio:
    """Read what positions need and measure them; see ``LEAPSDataIntegration``."""
    wanted = parse_positions(given)
    if asked.dividends is not None or asked.spot is not None or asked.q is not None:
        raise ConfigurationError(
            "dividends, spots and yields belong to one symbol each.",
            remedy="Give dividends={'AAPL': {...}} and spots={'AAPL': 150.0}.",
        )
    paid, own = parse_by_symbol("dividends", dividends), parse_by_symbol("spots", spots)
    own = {name: parse_price(f"spots[{name!r}]", price) for name, price in own.items()}
    given_betas = {
        name: parse_number(f"betas[{name!r}]", beta)
        for name, beta in parse_by_symbol("betas", betas).items()
    }
    quantity = parse_number("quantity", quantity)
    min_days = parse_whole("min_days", min_days)
    flat = wanted["quantity"] * np.where(wanted["bare"], quantity, 1.0) == 0.0
    if flat.all():
        raise DataError(
            "Every position is flat: its quantity is 0.", remedy="Give contracts or shares held."
        )
    held = wanted[~flat]
    chained = held.loc[(held["contract"] != "") | held["bare"], "symbol"].unique()
    chains = _each(access, chained, lambda name: _chain(access, name, date, asked, own, paid))
    day = _day(chains, date)
    stocks = _each(
        access,
        held.loc[held["contract"] == "", "symbol"].unique(),
        lambda name: _stock(access, name, day, asked, chains.get(name), own.get(name)),
    )
    day = _as_of(day, stocks)
    rows = []
    for entry in held.to_dict("records"):
        symbol, contract, count = entry["symbol"], entry["contract"], entry["quantity"]
        if entry["bare"]:
            contract, count = _leaps_call(chains[symbol][0], symbol, min_days), count * quantity
        if contract:
            rows.append(_option(chains[symbol][0], symbol, contract, count))
        else:
            rows.append(_shares(symbol, count, stocks[symbol]))
    symbols = list(dict.fromkeys(held["symbol"]))
    schedules = {
        name: chains[name][2]
        if name in chains
        else _schedule(access, name, day, paid, asked.policy)
        for name in symbols
    }
    against, returns = _benchmark(access, benchmark, day, asked.policy)
    known, price = _betas(access, symbols, day, given_betas, returns, asked.policy)
    result = analyze(
        pd.DataFrame(rows),
        quote_date=day,
        dividends=schedules,
        betas=known,
        benchmark_price=price,
        **options,
    )
    days = {found[1] for found in chains.values()}
    days |= {stock.day for stock in stocks.values() if stock.day is not None}
    result.notes["quote_dates"] = sorted(str(each.date()) for each in days)
    result.notes["benchmark"] = against
    result.notes["flat"] = [row.contract or row.symbol for row in wanted[flat].itertuples()]
    return result


def _each(access: Access, symbols: Iterable[str], read: Callable[[str], Any]) -> dict[str, Any]:
    """Read each symbol in threads; a portfolio is measured as a whole or not."""
    names = list(symbols)
    found = dict(zip(names, load.each(access, names, read), strict=True))
    for outcome in found.values():
        if isinstance(outcome, StockDBError):
            raise outcome
    return found


def _day(chains: Mapping[str, _Chain], date: DateLike | None) -> pd.Timestamp | None:
    """Take the day of the chains, else the one asked for; None is the newest of the bars."""
    if chains:
        return max(day for _, day, _ in chains.values())
    return None if date is None else pd.Timestamp(parse_date(date)).as_unit("ns")


def _as_of(day: pd.Timestamp | None, stocks: Mapping[str, _Stock]) -> pd.Timestamp:
    """Take the newest day of the bars where nothing else says which day it is."""
    if day is not None:
        return day
    known = [stock.day for stock in stocks.values() if stock.day is not None]
    if not known:
        raise DataError(
            "Nothing says which day the positions are of: the bucket has no bars of them.",
            remedy="Give date=.",
        )
    return max(known)


def _schedule(
    access: Access,
    symbol: str,
    day: pd.Timestamp,
    paid: Mapping[str, Any],
    policy: ReadPolicy,
) -> DividendSchedule | None:
    given = paid.get(symbol)
    market = read_market(
        access.reference, symbol, day.date(), rate=0.0, dividends=given, policy=policy
    )
    return market.dividends


def _chain(
    access: Access,
    symbol: str,
    date: DateLike | None,
    asked: Asked,
    spots: Mapping[str, float | None],
    dividends: Mapping[str, Any],
) -> _Chain:
    """Read one underlying's chain with a volatility for each quote, its day and dividends."""
    own = replace(asked, spot=spots.get(symbol), dividends=dividends.get(symbol))
    book, enriched, market = read_book(access, symbol, date, own)
    enriched = enriched[enriched["quote_date"] == book.quote_date]  # no price of another day
    enriched = enriched.assign(contract=enriched["contract"].str.removeprefix("O:"))
    table = book.at_the_money()
    iv = enriched["iv"].to_numpy(np.float64)
    at = np.interp(enriched["dte"], table.index, table["iv"]) if len(table) else np.nan
    enriched["iv_source"] = np.where(np.isnan(iv), "expiry", "own")
    enriched["iv"] = np.where(np.isnan(iv), at, iv)
    for name in ("rate", "q"):  # those of the expiration, for quotes without numbers
        enriched[name] = enriched[name].fillna(enriched.groupby("dte")[name].transform("first"))
    return enriched, book.quote_date, market.dividends


def _option(enriched: pd.DataFrame, symbol: str, contract: str, quantity: float) -> dict[str, Any]:
    rows = enriched[enriched["contract"] == contract]
    if rows.empty:
        raise NotFoundError(
            f"The chain of {symbol} does not quote {contract}.",
            remedy="Look at get_option_chain() for what is quoted on that day.",
            contract=contract,
            symbol=symbol,
        )
    row = rows.iloc[0]
    found = {name: row[name] for name in _QUOTED}
    style = str(row.get("style", ""))[:1].upper()
    european = style == "E" or (style != "A" and contract[:-15] in EUROPEAN_ROOTS)
    if np.isnan(found["delta"]):  # the quote implies no volatility: that of its expiration
        numbers = greeks(
            found["spot"], found["strike"], found["dte"] / 365.0, found["rate"], found["q"],
            found["iv"], found["type"], "european" if european else "american",
        )  # fmt: skip
        found |= {name: numbers[name] for name in _GREEKS}
        found["theta"], found["vega"] = numbers.theta / 365.0, numbers.vega / 100.0
    return {
        "symbol": symbol,
        "contract": contract,
        "quantity": quantity,
        "multiplier": 100,
        "american": not european,
        "iv_source": row["iv_source"],
        **found,
    }


@dataclass(frozen=True, slots=True)
class _Stock:
    """A stock's price and volume; the day of its bar, None without one."""

    spot: float
    volume: float
    day: pd.Timestamp | None


def _stock(
    access: Access,
    symbol: str,
    day: pd.Timestamp | None,
    asked: Asked,
    chain: _Chain | None,
    price: float | None,
) -> _Stock:
    """Price a stock: as its chain does where that was read, as the caller says, else by its bars.

    Bars are those of the day, or of up to ten days before where nothing else has a price.
    """
    if chain is not None:
        spots, day = chain[0]["spot"].dropna(), chain[1]
        price = float(spots.iloc[0]) if len(spots) else price
    back = pd.Timedelta(0 if price is not None else _STALE, "D")
    request = access.request(
        None if day is None else day - back, day, "daily", validate=False,
        max_age=asked.max_age, offline=asked.offline, allow_stale=asked.allow_stale,
    )  # fmt: skip
    try:
        bars = access.history(symbol, request)
    except NotFoundError as error:
        if price is None:
            remedy = f"{error.remedy} Or give its price: spots={{'{symbol}': ...}}."
            raise type(error)(error.message, remedy=remedy, **error.values) from None
        return _Stock(price, float("nan"), None)  # the table of liquidation says: volume unknown
    if bars.empty:
        if price is None:
            raise DataError(
                f"No price of {symbol} is known for {day and day.date()}.",
                remedy=f"Give spots={{'{symbol}': ...}}, or another date.",
                symbol=symbol,
            )
        return _Stock(price, float("nan"), None)
    close, volume = last_traded(access, symbol, bars, asked.policy)
    return _Stock(close if price is None else price, volume, bars.index[-1].normalize())


def _shares(symbol: str, quantity: float, stock: _Stock) -> dict[str, Any]:
    spot, nan = stock.spot, float("nan")
    return {
        "symbol": symbol, "contract": symbol, "quantity": quantity, "multiplier": 1,
        "american": False, "iv_source": "", "type": "stock", "strike": nan,
        "expiration": pd.NaT, "dte": 0, "bid": spot, "ask": spot, "mid": spot, "iv": nan,
        "rate": nan, "q": nan, "spot": spot, **dict.fromkeys(_GREEKS, 0.0), "delta": 1.0,
        "open_interest": nan, "volume": stock.volume,
    }  # fmt: skip


def _leaps_call(enriched: pd.DataFrame, symbol: str, min_days: int) -> str:
    """Take the call nearest the forward of the first expiration that is long enough."""
    calls = enriched[
        (enriched["type"] == "call")
        & (enriched["dte"] >= min_days)
        & (enriched["iv_source"] == "own")
    ]
    if calls.empty:
        raise DataError(
            f"{symbol} has no call with an implied volatility and {min_days} days or more.",
            remedy="Give a smaller min_days, a rate, or the contracts themselves.",
            symbol=symbol,
        )
    first = calls[calls["dte"] == calls["dte"].min()]
    away = np.abs(np.log(first["moneyness"]))
    return str(first["contract"].loc[away.idxmin()])


def _benchmark(
    access: Access, asked: str | None, day: pd.Timestamp, policy: ReadPolicy
) -> tuple[str | None, pd.Series]:
    """Read the benchmark's returns; only the one that nobody named may be absent."""
    if asked is None:
        return None, pd.Series(dtype=np.float64)
    named = not (isinstance(asked, str) and asked == _AUTO)
    symbol = parse_symbol(asked) if named else _BENCHMARK
    returns = _returns(access, symbol, day, policy, required=named)
    return (symbol if len(returns) else None), returns


def _betas(
    access: Access,
    symbols: list[str],
    day: pd.Timestamp,
    given: Mapping[str, float],
    market: pd.Series,
    policy: ReadPolicy,
) -> tuple[dict[str, float], float]:
    """Regress daily returns on the benchmark's where no beta is given."""
    known = dict(given)
    price = float(market.attrs["last"]) if len(market) else float("nan")
    for symbol in symbols:
        if symbol in known or not len(market):
            continue
        both = pd.concat([_returns(access, symbol, day, policy), market], axis=1, join="inner")
        both = both.dropna().tail(_BETA_RETURNS)
        if len(both) >= _LEAST_RETURNS:
            covariance = np.cov(both.to_numpy(), rowvar=False)
            known[symbol] = float(covariance[0, 1] / covariance[1, 1])
    return known, price


def _returns(
    access: Access,
    symbol: str,
    day: pd.Timestamp,
    policy: ReadPolicy,
    *,
    required: bool = False,
) -> pd.Series:
    adjust, _ = load.widest_adjustment(access, "auto", policy)
    request = access.request(
        None, day, "daily", adjust=adjust, validate=False,
        max_age=policy.max_age, offline=policy.offline, allow_stale=policy.allow_stale,
    )  # fmt: skip
    try:
        frame = access.history(symbol, request)
    except NotFoundError:
        if required:
            raise
        return pd.Series(dtype=np.float64)
    closes = frame["close"].where(frame["close"] > 0.0)
    found = pd.Series(np.log(closes).diff().to_numpy(), index=frame.index, name=symbol)
    found.attrs = {"last": float(closes.iloc[-1]) if len(closes) else float("nan")}
    return found
