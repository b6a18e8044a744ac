"""Fair American chains, priced by QuantLib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from tests.answers.option_accuracy import Reference

DAY = pd.Timestamp("2023-01-03")
R, Q, SPOT = 0.045, 0.015, 100.0


def smile(K: float) -> float:
    return float(0.25 + 0.1 * np.log(K / 100.0) ** 2)


@lru_cache(maxsize=8)
def fair_chain(
    days: Sequence[int] = (45, 365, 730),
    strikes: Sequence[float] = (70.0, 80.0, 90.0, 95.0, 100.0, 105.0, 110.0, 120.0, 140.0),
    half: float = 0.01,
    vol: Callable[[float], float] = smile,
) -> pd.DataFrame:
    """Quotes ``half`` below and above what QuantLib's accurate scheme gives. Copy before use."""
    reference = Reference("accurate")
    rows = []
    for count in days:
        expiration = DAY + pd.Timedelta(days=count)
        for K in strikes:
            for kind in ("call", "put"):
                value = reference.price(SPOT, K, count, R, Q, vol(K), kind)
                name = f"XYZ{expiration:%y%m%d}{kind[0].upper()}{round(K * 1000):08d}"
                rows.append(
                    ("XYZ", name, expiration, count, kind, K, value - half, value + half, DAY)
                )
    names = "symbol contract expiration dte type strike bid ask quote_date".split()
    frame = pd.DataFrame(rows, columns=names)
    frame["mid"] = (frame["bid"] + frame["ask"]) / 2.0
    return frame.assign(style="A", open_interest=100.0, volume=10.0)
