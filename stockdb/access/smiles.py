"""What a day's implied volatilities and gammas come to: skews, parity deviations, exposure."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from stockdb.access.access import Access
from stockdb.access.market import read_market
from stockdb.core.reader import ReadPolicy
from stockdb.options import flow
from stockdb.options.chain import enrich

__all__ = ["SMILE_INPUTS", "trailing_yield", "volatility_inputs"]

#: Inputs of :data:`stockdb.processing.optionflow.INPUTS` that need volatilities.
SMILE_INPUTS = ("day_skew_25d", "day_smirk", "day_cw_spread", "day_gex")
_SKEW_DAYS = 90  # beyond, only open interest matters


def volatility_inputs(
    access: Access,
    symbol: str,
    day: dt.date,
    chain: pd.DataFrame,
    spot: float,
    rate: Any,
    policy: ReadPolicy | None = None,
) -> dict[str, float]:
    """Compute the inputs that need volatilities; NaN without a rate or a price of the stock.

    Parameters
    ----------
    chain : pandas.DataFrame
        One day; open interest as known at the open.
    spot : float
        The stock's close of the day as traded, dollars.
    rate : float or None
        None takes the bucket's Treasury yields of the day.

    Notes
    -----
    Skews and gammas rest on the yields at which calls and puts agree. Deviations from parity
    would vanish with those: they rest on the dividends of the year before, and are NaN where the
    bucket has no table of dividends.
    """
    nothing = dict.fromkeys(SMILE_INPUTS, float("nan"))
    curve = read_market(access.reference, symbol, day, rate=rate, dividends=(), policy=policy).curve
    if curve is None or not spot > 0.0:
        return nothing
    chain = chain.drop_duplicates("contract")
    part = chain[(chain["open_interest"] > 0.0) | (chain["dte"] <= _SKEW_DAYS)]
    part = part.reset_index(drop=True)
    if part.empty:
        return nothing
    found = enrich(part, spot, curve, quote_date=day)
    calls = (found["type"] == "call").to_numpy(bool)
    years, delta, iv, gamma, strike, held = (
        found[name].to_numpy(np.float64)
        for name in ("years", "delta", "iv", "gamma", "strike", "open_interest")
    )
    result = {
        "day_skew_25d": flow.skew_at(years, delta, iv, calls),
        "day_smirk": flow.smirk(years, strike, iv, calls, spot),
        "day_cw_spread": float("nan"),
        "day_gex": flow.gamma_exposure(gamma, held, calls, spot),
    }
    paid = trailing_yield(access, symbol, day, spot, policy)
    if paid is not None:
        iv = enrich(part, spot, curve, q=paid, quote_date=day)["iv"].to_numpy(np.float64)
        result["day_cw_spread"] = flow.parity_spread(years, strike, iv, calls, held)
    return result


def trailing_yield(
    access: Access, symbol: str, day: dt.date, spot: float, policy: ReadPolicy | None = None
) -> float | None:
    """Cash dividends of the 365 days to a date over the price; None without a table of them.

    Amounts count on the shares of that day: a table on today's shares is taken back by the
    splits since.
    """
    table = access.dividends(symbol, required=False, policy=policy)
    if table is None:
        return None
    end = pd.Timestamp(day)
    year = table[(table.index > end - pd.Timedelta(days=365)) & (table.index <= end)]
    paid = float(year["amount"].sum())
    splits = access.splits(symbol, required=False, policy=policy)
    if splits is not None and table.attrs["stockdb"].get("adjustment") == "splits":
        later = splits.index > end
        paid *= float(splits["ratio"].to_numpy(np.float64)[later].prod())
    return float(np.log1p(paid / spot))
