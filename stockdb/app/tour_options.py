"""The tour: option chains, LEAPS with their numbers, and the arbitrage planted among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from leaps_data_integration import LEAPSDataIntegration
from minio_data_integration import MinIODataIntegration
from stockdb.app import planted
from stockdb.app.planted import Comparison, simulated_volatility
from stockdb.app.show import Show

__all__ = ["arbitrage", "chain", "leaps", "portfolio"]


def chain(show: Show, minio: MinIODataIntegration) -> None:
    """Read a few rows out of a file of all underlyings."""
    with show.step("minio.get_option_chain('MSFT'), the newest day, calls near the money"):
        found = minio.get_option_chain(
            "MSFT", option_type="call", dte=(30, 60), moneyness=(0.95, 1.05)
        )
    columns = ["contract", "expiration", "dte", "strike", "bid", "ask", "mid", "spread"]
    show.table(found[columns].head(5))
    known = minio.provenance(found)
    origin = known.origins[0]
    show.line(
        f"{len(found)} rows of {origin.key} by {origin.strategy}: {known.received:,} bytes and "
        f"{known.requests} requests for {origin.rows:,} rows of MSFT",
        end=True,
    )


def arbitrage(show: Show, minio: MinIODataIntegration, truth: Mapping[str, Any]) -> Comparison:
    """Look for arbitrage in every chain, and compare with what was planted."""
    search = LEAPSDataIntegration(minio)
    with show.step("leaps.find_arbitrage_opportunities('MSFT')"):
        found = search.find_arbitrage_opportunities("MSFT")
    show.table(found[["kind", "class", "edge", "capacity", "profit", "annualised", "dte"]])
    for text in found["explanation"].head(1):
        show.line(text)
    for skipped in found.attrs["stockdb"]["skipped"][:1]:
        show.line(f"not run: {skipped['test']}, for {skipped['reason']}", end=True)
    quotes = {name: (quote["bid"], quote["ask"]) for name, quote in truth["stock_quotes"].items()}
    with show.step(f"leaps.scan({len(quotes)} underlyings, quotes=bid and ask of each stock)"):
        result = search.scan(list(quotes), quotes=quotes, progress=False)
    everything = result["arbitrage"]
    columns = ["symbol", "kind", "class", "edge", "profit", "dte", "suspect_count"]
    show.table(everything[columns])
    compared = planted.arbitrage(truth, [everything])
    show.line(str(compared), end=True)
    return compared


def leaps(show: Show, minio: MinIODataIntegration, truth: Mapping[str, Any]) -> None:
    """Print implied volatilities next to those that the options were priced with."""
    with show.step("leaps.get_leaps_chain('MSFT')"):
        found = LEAPSDataIntegration(minio).get_leaps_chain("MSFT")
    found = found.assign(simulated=simulated_volatility(truth, found))
    near = found[found["moneyness"].between(0.97, 1.03)]
    columns = ["contract", "bid", "ask", "iv", "simulated", "delta", "vega"]
    digits = {"iv": 4, "simulated": 4, "delta": 3, "vega": 2}
    show.table(near[columns].iloc[:: max(1, len(near) // 5)].round(digits))
    off = (found["iv"] - found["simulated"]).abs()
    known = found["iv"].notna()
    reasons = found.loc[~known, "reason"].value_counts()
    beyond = off > found["iv_error"]
    moved = [leg["contract"] for item in truth["arbitrage"] for leg in item["legs"]]
    planted_legs = beyond & found["contract"].isin(moved)
    show.line(
        f"{len(found)} contracts, {known.sum()} with an implied volatility "
        f"({', '.join(f'{count} {reason}' for reason, count in reasons.items())})"
    )
    show.line(
        f"off by {100 * float(np.median(off[known])):.3f} points in the median; "
        f"{beyond.sum()} by more than half the spread, {planted_legs.sum()} of them legs planted"
    )
    numbers = found.attrs["stockdb"]["numbers"]
    spot, source = numbers["spot"], numbers["spot_source"]
    rate, carry = found["rate"].iloc[0], found["q"].iloc[0]
    show.line(
        f"spot {spot:g} ({source}); rate {rate:.3%} of the bucket's Treasury table; dividend "
        f"yield {carry:.3%} by parity, simulated {truth['options']['yields']['MSFT']:.3%}",
        end=True,
    )


def portfolio(show: Show, minio: MinIODataIntegration) -> None:
    """Measure a portfolio of LEAPS."""
    with show.step("leaps.analyze_portfolio(['MSFT', 'AAPL', 'GOOGL'])"):
        found = LEAPSDataIntegration(minio).analyze_portfolio(["MSFT", "AAPL", "GOOGL"])
    for text in str(found).splitlines():
        show.line(text)
    show.line()
