"""Small chains written out quote by quote."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

DAY = dt.date(2026, 1, 5)
YEAR = dt.date(2027, 1, 5)  # 365 days on
LATER = dt.date(2027, 7, 5)  # 546 days on


def quote(
    kind: str,
    strike: float,
    bid: float,
    ask: float,
    expiration: dt.date = YEAR,
    sizes: tuple[float, float] = (10, 10),
    *,
    root: str = "ABC",
    style: str = "A",
    **more: Any,
) -> dict[str, Any]:
    letter = {"call": "C", "put": "P"}[kind]
    return {
        "symbol": "ABC",
        "contract": f"O:{root}{expiration:%y%m%d}{letter}{round(strike * 1000):08d}",
        "expiration": pd.Timestamp(expiration),
        "type": kind,
        "strike": strike,
        "bid": bid,
        "ask": ask,
        "bid_size": float(sizes[0]),
        "ask_size": float(sizes[1]),
        "volume": 5.0,
        "open_interest": 100.0,
        "style": style,
        "quote_date": pd.Timestamp(DAY),
        **more,
    }


def chain(quotes: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(list(quotes))
    frame["dte"] = (frame["expiration"] - frame["quote_date"]).dt.days
    return frame
