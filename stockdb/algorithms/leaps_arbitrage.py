"""LEAPS arbitrage: parity and box bounds at executable prices, volatility and liquidity."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd

from stockdb.access import Access
from stockdb.access.leaps_days import leaps_days
from stockdb.access.load import Loaded
from stockdb.algorithms.base import RATE, Algorithm, Param, Values, positive_number
from stockdb.algorithms.engine import finish
from stockdb.errors import ConfigurationError, StockDBError
from stockdb.processing.spec import Column, Floats, Series
from stockdb.types import parse_symbol

__all__ = ["LEAPS_ARBITRAGE"]


def _from_chains(series: Series) -> Floats:
    raise ConfigurationError(
        "The columns of leaps_arbitrage are computed from chains, not from bars.",
        remedy="Use TradingDataAdapter.get_data_for_algorithm('leaps_arbitrage', ...).",
    )


def _column(name: str, definition: str, unit: str, source: str, *inputs: str) -> Column:
    return Column(
        name=name,
        definition=definition,
        unit=unit,
        window=253 if "rv" in name else 1,
        source=source,
        scale_free=unit != "dollars",
        inputs=inputs,
        compute=_from_chains,
    )


_PARITY = "Stoll (1969), American bounds with dividends"
_COLUMNS = (
    _column(
        "parity_hi", "(C_bid - P_ask) - (S_ask - K e^-rT); above 0 breaks the upper bound",
        "dollars", _PARITY, "call_bid", "put_ask", "stock_ask", "rate",
    ),
    _column(
        "parity_lo", "(S_bid - PV(D) - K) - (C_ask - P_bid); above 0 breaks the lower bound",
        "dollars", _PARITY, "call_ask", "put_bid", "stock_bid", "rate", "dividends",
    ),
    _column(
        "box_rate", "highest ln((K2 - K1)/box)/T of long boxes with the strike, bid and ask",
        "a year",
        "Ronn and Ronn (1989)", "call_bid", "call_ask", "put_bid", "put_ask",
    ),
    _column("iv", "American implied volatility at mid", "a year",
            "Andersen, Lake and Offengenden (2016)", "mid", "rate"),
    _column("delta", "dV/dS at iv", "ratio",
            "Andersen, Lake and Offengenden (2016)", "mid", "rate"),
    _column("iv_term_slope", "change of at-the-money iv for a year more of expiry", "a year",
            "least squares over expirations", "iv"),
    _column("iv_minus_rv_252", "iv - realised volatility of 252 sessions", "a year",
            "close-to-close", "iv", "close"),
    _column("spread_pct", "(ask - bid)/mid", "ratio", "quoted spread", "bid", "ask"),
    _column("open_interest", "contracts open, as the file says", "contracts",
            "dataset", "open_interest"),
    _column("quote_age", "sessions of the stock after quote_date, up to the row's date",
            "sessions", "dataset", "quote_date"),
)  # fmt: skip


def _frame(
    access: Access,
    algorithm: Algorithm,
    names: list[str],
    sessions: int,
    end: dt.date | None,
    values: Values,
) -> tuple[pd.DataFrame, Loaded]:
    """Compute one row an underlying, day with a chain, and long-dated contract."""
    loaded = Loaded()
    parts: dict[str, pd.DataFrame] = {}
    about: dict[str, Any] = {}
    for symbol in names:  # days are read in parallel within each
        try:
            days = leaps_days(access, parse_symbol(symbol), sessions, end, values)
        except StockDBError as error:
            loaded.errors[symbol] = error
            continue
        parts[symbol], about[symbol] = days.frame, days.notes
        if days.provenance is not None:
            loaded.provenance[symbol] = days.provenance
    if not parts:
        raise next(iter(loaded.errors.values()))
    frame = pd.concat(parts, names=["symbol", "date", "contract"])
    frame = frame[[column.name for column in _COLUMNS]]
    missing = {name: int(count) for name, count in frame.isna().sum().items() if count}
    loaded.notes |= {"chains": about}
    nans = {str(name): {"undefined": count} for name, count in missing.items()}
    finish(access, algorithm, frame, loaded, sessions, values, nans)
    return frame, loaded


LEAPS_ARBITRAGE = Algorithm(
    name="leaps_arbitrage",
    summary="Long-dated options: parity and box bounds at executable prices, volatility.",
    columns=lambda values: _COLUMNS,
    params=(Param("min_days", 365, "least days to expiration", positive_number), RATE),
    basic=False,
    adjusts=False,
    index=("symbol", "date", "contract"),
    notes=(
        "the stock trades at the chain's spot: the day's close, or what parity implies; that is "
        "no synchronous quote, so that a parity value above 0 is a lead, not an arbitrage",
        "box_rate is the highest of the long boxes that have the strike",
        "iv, delta, parity and iv_term_slope need a rate: rate=, or the bucket's treasury table",
        "parity_lo needs the bucket's table of dividends",
        "rows of a file that are quoted on another date than the file's are left out, so that "
        "quote_age is 0 wherever the bucket has bars of the stock, and NaN elsewhere",
    ),
    make=_frame,
)
