"""Small files whose every value is known, for the tests of the front door."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pandas as pd

from minio_data_integration import MinIODataIntegration
from tests.conftest import ClientFactory

Fill = Callable[..., str]
HEADER = "trade_date,Open,High,Low,Close,Volume"
COLUMNS = ["open", "high", "low", "close", "volume"]
#: The 21 sessions of January 2024, written by hand: weekdays without the 1st and the 15th.
JANUARY = [dt.date(2024, 1, day) for day in (
    2, 3, 4, 5, 8, 9, 10, 11, 12, 16, 17, 18, 19, 22, 23, 24, 25, 26, 29, 30, 31,
)]  # fmt: skip


def values(number: int, level: float = 100.0) -> list[float]:
    """The bar of the n-th session: simple numbers, high above low, volume in whole shares."""
    base = level + number
    return [base, base + 2.0, base - 1.5, base + 0.25, 1000.0 + number]


def bars(days: list[dt.date] | None = None, level: float = 100.0) -> bytes:
    held = JANUARY if days is None else days
    lines = [HEADER]
    for number, day in enumerate(held):
        lines.append(",".join([str(day), *(f"{value:g}" for value in values(number, level))]))
    return ("\n".join(lines) + "\n").encode()


def key(symbol: str) -> str:
    return f"stocks-2010-2025/{symbol}.csv"


def days_of(frame: pd.DataFrame) -> list[dt.date]:
    return [stamp.date() for stamp in frame.index.get_level_values("date")]


def note(frame: pd.DataFrame) -> dict[str, Any]:
    found: dict[str, Any] = frame.attrs["stockdb"]
    return found


def three_symbols(make_bucket: Fill, clients: ClientFactory) -> MinIODataIntegration:
    """A client of a bucket with three symbols: the same sessions at three price levels."""
    levels = {"AAPL": 100.0, "MSFT": 300.0, "KO": 50.0}
    return clients(make_bucket({key(s): bars(level=level) for s, level in levels.items()}))
