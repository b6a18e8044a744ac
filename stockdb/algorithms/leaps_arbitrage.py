"""LEAPS arbitrage: parity and box bounds at executable prices, volatility and liquidity."""

from __future__ import annotations

from stockdb.algorithms.base import Algorithm, Param, positive_number
from stockdb.errors import ConfigurationError
from stockdb.processing.spec import Column, Floats, Series

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
        "box_rate", "ln((K2 - K1)/box)/T on executable sides", "a year",
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
    _column("quote_age", "sessions from quote_date to the newest held bar of the stock",
            "sessions", "dataset", "quote_date"),
)  # fmt: skip

LEAPS_ARBITRAGE = Algorithm(
    name="leaps_arbitrage",
    summary="Long-dated options: parity and box bounds at executable prices, volatility.",
    columns=lambda values: _COLUMNS,
    params=(Param("min_days", 365, "least days to expiration", positive_number),),
    basic=False,
    index=("symbol", "date", "contract"),
    pending="its chains are not joined yet",
)
