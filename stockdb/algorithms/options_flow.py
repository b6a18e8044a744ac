"""Option flow: what is traded and held in an underlying's options, and how they are priced."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from stockdb.access import Access
from stockdb.access.chain_days import chain_days
from stockdb.access.load import Loaded
from stockdb.algorithms.base import RATE, Algorithm, Values
from stockdb.algorithms.engine import finish
from stockdb.errors import StockDBError
from stockdb.processing.evaluate import evaluate, warmup
from stockdb.processing.nans import count_nans
from stockdb.processing.optionflow import OPTION_FLOW
from stockdb.types import parse_symbol

__all__ = ["OPTIONS_FLOW"]


#: Columns that are NaN whatever the data, and why.
_UNAVAILABLE = {"net_premium": "end-of-day files do not say which side traded"}


def _frame(
    access: Access,
    algorithm: Algorithm,
    names: list[str],
    sessions: int,
    end: dt.date | None,
    values: Values,
) -> tuple[pd.DataFrame, Loaded]:
    """Compute one row an underlying and day with a chain."""
    columns = algorithm.computed(values)
    loaded = Loaded()
    parts: dict[str, pd.DataFrame] = {}
    about: dict[str, Any] = {}
    for symbol in names:  # days are read in parallel within each
        try:
            days = chain_days(access, parse_symbol(symbol), sessions + warmup(columns), end, values)
        except StockDBError as error:
            loaded.errors[symbol] = error
            continue
        parts[symbol], about[symbol] = days.frame, days.notes
        if days.provenance is not None:
            loaded.provenance[symbol] = days.provenance
    if not parts:
        raise next(iter(loaded.errors.values()))
    whole = pd.concat(parts, names=["symbol", "date"])
    computed = evaluate(whole, columns)
    keep = np.concatenate([np.arange(len(p)) >= len(p) - sessions for p in parts.values()])
    nans = count_nans(whole, computed, keep, columns)
    frame = pd.concat([whole[["close", "volume"]], computed], axis=1)[keep]
    loaded.notes |= {"chains": about, "unavailable": _UNAVAILABLE}
    finish(access, algorithm, frame, loaded, sessions, values, nans)
    return frame, loaded


OPTIONS_FLOW = Algorithm(
    name="options_flow",
    summary="Put-call ratios, volume against open interest, skew, gamma exposure, max pain.",
    columns=lambda values: OPTION_FLOW,
    params=(RATE,),
    basic=False,
    adjusts=False,
    notes=(
        "close and volume are those of the stock as it was traded on the day",
        "gex assumes that dealers are long the calls and short the puts",
        "skew_25d, smirk, cw_spread and gex need a rate: rate=, or the bucket's treasury table",
        "cw_spread rests on the dividends of the year before, and needs the bucket's table of them",
        "net_premium needs the side of trades, which end-of-day files do not have",
    ),
    make=_frame,
)
