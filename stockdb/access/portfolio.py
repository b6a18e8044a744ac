"""Joins positions with chains, bars and dividends, for `stockdb.options.portfolio`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.access import load
from stockdb.access.access import Access
from stockdb.access.chains import parse_contract
from stockdb.access.strategies import Asked, read_book
from stockdb.errors import ConfigurationError, DataError, NotFoundError, StockDBError
from stockdb.options import greeks
from stockdb.options.market import DividendSchedule
from stockdb.options.portfolio import Portfolio, analyze
from stockdb.options.quotes import EUROPEAN_ROOTS
from stockdb.types import DateLike, parse_symbol

__all__ = ["analyze_positions", "parse_positions"]

_GREEKS: Final = ("delta", "gamma", "theta", "vega", "rho", "dividend_rho")
_QUOTED: Final = (
    "type", "strike", "expiration", "dte", "bid", "ask", "mid", "iv", "rate", "q", "spot",
    *_GREEKS, "open_interest", "volume",
)  # fmt: skip
_AUTO: Final = "auto"
_BENCHMARK: Final = "SPY"
_BETA_RETURNS: Final = 252
_LEAST_RETURNS: Final = 60
_SHARES: Final = 100.0  # of a contract


def parse_positions(given: Any) -> pd.DataFrame:
    """Read positions, or symbols.

    Parameters
    ----------
    given : DataFrame, mapping, or list
        A frame or a list of dicts with ``contract`` (OCC symbol; empty for stock) or ``symbol``,
        and ``quantity`` (contracts or shares, negative where sold); a mapping contract or symbol
        -> quantity; a list of contracts, one of each; a list of symbols. Candidates of the
        strategy searches, one or many (rows with ``legs``): one contract a leg and ratio, and
        100 shares.

    Returns
    -------
    pandas.DataFrame
        symbol, contract (without ``O:``; empty for stock), quantity (NaN for a bare symbol).

    Raises
    ------
    DataError
        Nothing of these, an empty one, or a quantity that is no number.
    """
    rows = list(_entries(given))
    if not rows:
        raise DataError("There are no positions.", remedy="Give contracts, or symbols.")
    frame = pd.DataFrame(rows, columns=["symbol", "contract", "quantity"])
    held = frame.groupby(["symbol", "contract"], sort=False)["quantity"].sum(min_count=1)
    return held.reset_index()


def _entries(given: Any) -> Iterable[tuple[str, str, float]]:
    if isinstance(given, pd.DataFrame):
        given = given.reset_index().to_dict("records")
    if isinstance(given, pd.Series) and "legs" in given.index:
        given = [given]
    if isinstance(given, str):
        given = [given]
    if isinstance(given, Mapping):
        for name, quantity in given.items():
            yield *_named(name), _quantity(quantity, name)
        return
    if not isinstance(given, Iterable):
        raise DataError(
            f"{type(given).__name__} holds no positions.",
            remedy="Give {'AAPL250117C00150000': 2, 'AAPL': -100}, a frame, or symbols.",
        )
    for item in given:
        if isinstance(item, pd.Series):
            item = item.to_dict()
        if isinstance(item, Mapping) and "legs" in item:
            yield from _legs(item)
        elif isinstance(item, Mapping):
            contract, symbol = item.get("contract"), item.get("symbol")
            bare = contract is None or contract != contract or contract == ""
            name = symbol if bare else contract
            of, contract = _named(name)
            if not bare and isinstance(symbol, str):
                of = parse_symbol(symbol)  # an index has roots of other names
            if "quantity" not in item:
                raise DataError(f"{name} has no quantity.", remedy="Give contracts or shares.")
            yield of, contract, _quantity(item["quantity"], name)
        else:
            symbol, contract = _named(item)
            yield symbol, contract, 1.0 if contract else float("nan")


def _legs(candidate: Mapping[str, Any]) -> Iterable[tuple[str, str, float]]:
    """Take the legs of one candidate, once."""
    of = parse_symbol(candidate["symbol"])
    for leg in candidate["legs"]:
        sign = 1.0 if leg["side"] == "buy" else -1.0
        stock = leg["type"] == "stock"
        contract = "" if stock else _named(leg["contract"])[1]
        yield of, contract, sign * leg["ratio"] * (_SHARES if stock else 1.0)


def _named(name: Any) -> tuple[str, str]:
    """Tell a contract from a symbol."""
    text = str(name).strip().upper()
    if len(text) > 15 and text[-8:].isdigit():
        return parse_contract(text)
    return parse_symbol(name), ""


def _quantity(value: Any, name: Any) -> float:
    if not isinstance(value, (Real, np.number)) or not np.isfinite(float(value)):
        raise DataError(f"The quantity {value!r} of {name} is no number.")
    return float(value)


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
    symbols = list(dict.fromkeys(wanted["symbol"]))
    read = load.each(
        access,
        symbols,
        lambda symbol: _symbol(access, symbol, date, asked, spots, dividends),
    )
    errors = {s: r for s, r in zip(symbols, read, strict=True) if isinstance(r, StockDBError)}
    if errors:
        first = next(iter(errors.values()))
        raise first
    found = dict(zip(symbols, read, strict=True))
    rows = []
    for entry in wanted.to_dict("records"):
        symbol, contract, count = entry["symbol"], entry["contract"], entry["quantity"]
        enriched, day, _ = found[symbol]
        if contract:
            rows.append(_option(enriched, symbol, contract, count))
        elif np.isnan(count):
            contract = _leaps_call(enriched, symbol, min_days)
            rows.append(_option(enriched, symbol, contract, quantity))
        else:
            rows.append(_stock(access, enriched, symbol, count, day))
    days = {found[symbol][1] for symbol in symbols}
    schedules = {symbol: found[symbol][2] for symbol in symbols}
    against, returns = _benchmark(access, benchmark, max(days))
    known, price = _betas(access, symbols, max(days), betas, returns)
    result = analyze(
        pd.DataFrame(rows),
        quote_date=max(days),
        dividends=schedules,
        betas=known,
        benchmark_price=price,
        **options,
    )
    result.notes["quote_dates"] = sorted(str(day.date()) for day in days)
    result.notes["benchmark"] = against
    return result


def _symbol(
    access: Access,
    symbol: str,
    date: DateLike | None,
    asked: Asked,
    spots: Mapping[str, float] | None,
    dividends: Mapping[str, Any] | None,
) -> tuple[pd.DataFrame, pd.Timestamp, DividendSchedule | None]:
    own = Asked(
        spot=(spots or {}).get(symbol),
        rate=asked.rate,
        dividends=(dividends or {}).get(symbol),
        verify=asked.verify,
        max_age=asked.max_age,
        offline=asked.offline,
        allow_stale=asked.allow_stale,
    )
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


def _stock(
    access: Access,
    enriched: pd.DataFrame,
    symbol: str,
    quantity: float,
    day: pd.Timestamp,
) -> dict[str, Any]:
    spots = enriched["spot"].dropna()
    if spots.empty:
        raise DataError(
            f"No price of {symbol} is known for {day.date()}.",
            remedy=f"Give spots={{'{symbol}': ...}}, or a rate.",
            symbol=symbol,
        )
    spot, nan = float(spots.iloc[0]), float("nan")
    volume = nan
    try:
        bars = access.history(symbol, access.request(day, day, "daily", validate=False))
        if len(bars):
            volume = float(bars["volume"].iloc[-1])
    except NotFoundError:
        pass  # said in the table of liquidation: volume unknown
    return {
        "symbol": symbol, "contract": symbol, "quantity": quantity, "multiplier": 1,
        "american": False, "iv_source": "", "type": "stock", "strike": nan,
        "expiration": pd.NaT, "dte": 0, "bid": spot, "ask": spot, "mid": spot, "iv": nan,
        "rate": nan, "q": nan, "spot": spot, **dict.fromkeys(_GREEKS, 0.0), "delta": 1.0,
        "open_interest": nan, "volume": volume,
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
    access: Access, asked: str | None, day: pd.Timestamp
) -> tuple[str | None, pd.Series]:
    """Read the benchmark's returns; only the one that nobody named may be absent."""
    if asked is None:
        return None, pd.Series(dtype=np.float64)
    named = asked != _AUTO
    symbol = parse_symbol(asked) if named else _BENCHMARK
    returns = _returns(access, symbol, day, required=named)
    return (symbol if len(returns) else None), returns


def _betas(
    access: Access,
    symbols: list[str],
    day: pd.Timestamp,
    given: Mapping[str, float] | None,
    market: pd.Series,
) -> tuple[dict[str, float], float]:
    """Regress daily returns on the benchmark's where no beta is given."""
    known = {name: float(beta) for name, beta in (given or {}).items()}
    price = float(market.attrs["last"]) if len(market) else float("nan")
    for symbol in symbols:
        if symbol in known or not len(market):
            continue
        both = pd.concat([_returns(access, symbol, day), market], axis=1, join="inner")
        both = both.dropna().tail(_BETA_RETURNS)
        if len(both) >= _LEAST_RETURNS:
            covariance = np.cov(both.to_numpy(), rowvar=False)
            known[symbol] = float(covariance[0, 1] / covariance[1, 1])
    return known, price


def _returns(
    access: Access, symbol: str, day: pd.Timestamp, *, required: bool = False
) -> pd.Series:
    adjust, _ = load.widest_adjustment(access, "auto")
    request = access.request(None, day, "daily", adjust=adjust, validate=False)
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
