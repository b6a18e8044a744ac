"""Bars for tests of what is computed from bars."""

from __future__ import annotations

import numpy as np
import pandas as pd


def bars(rows: int = 400, seed: int = 0, price: float = 100.0) -> pd.DataFrame:
    """A random walk of 1.5 % a day with plausible ranges and volumes."""
    chance = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(chance.normal(0.0003, 0.015, rows)))
    opened = close * np.exp(chance.normal(0, 0.006, rows))
    frame = pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * np.exp(np.abs(chance.normal(0, 0.006, rows))),
            "low": np.minimum(opened, close) * np.exp(-np.abs(chance.normal(0, 0.006, rows))),
            "close": close,
            "volume": np.round(1e6 * np.exp(chance.normal(0, 0.4, rows))),
        },
        index=pd.bdate_range("2015-01-02", periods=rows, name="date", unit="ns"),
    )
    return frame.round({name: 4 for name in ("open", "high", "low", "close")})


def many(symbols: int = 3, rows: int = 400) -> pd.DataFrame:
    """The long form of several."""
    parts = {f"S{number}": bars(rows, number, 20.0 * (number + 1)) for number in range(symbols)}
    return pd.concat(parts, names=["symbol", "date"])
