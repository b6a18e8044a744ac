"""A consumer of updates that refuses whatever does not follow from what it was told before."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
from minio import Minio

HEADER = "trade_date,Open,High,Low,Close,Volume\n"
Rows = dict[pd.Timestamp, float]


class Mirror:
    """Rows by symbol as the updates tell them: date -> close."""

    def __init__(self) -> None:
        self.rows: dict[str, Rows] = {}
        self.stale = False
        self.kinds: list[str] = []

    def apply(self, update: Any) -> None:
        self.kinds.append(update.kind)
        if update.kind in {"stale", "recovered"}:
            assert self.stale != (update.kind == "stale"), "told twice"
            self.stale = update.kind == "stale"
            return
        held = self.rows.setdefault(update.symbol, {})
        for date, row in update.new.iterrows():
            assert date not in held, f"{update.symbol} {date.date()} is new twice"
            held[date] = row["close"]
        for date, row in update.changed.iterrows():
            assert held[date] != row["close"], f"{update.symbol} {date.date()} changed to itself"
            held[date] = row["close"]
        for date in update.removed:
            del held[date]  # a KeyError where it was not there


class Writer:
    """Puts, and knows, rows of symbols."""

    def __init__(self, s3: Minio, bucket: str) -> None:
        self._s3, self._bucket = s3, bucket
        self.rows: dict[str, Rows] = {}

    @staticmethod
    def key(symbol: str) -> str:
        return f"stocks-2010-2025/{symbol}.csv"

    def write(self, symbol: str, rows: dict[str, float]) -> None:
        text = HEADER + "".join(
            f"{date},{close},{close + 1},{close - 1},{close},100\n"
            for date, close in sorted(rows.items())
        )
        data = text.encode()
        self._s3.put_object(self._bucket, self.key(symbol), io.BytesIO(data), len(data))
        self.rows[symbol] = {pd.Timestamp(date): close for date, close in rows.items()}

    def delete(self, symbol: str) -> None:
        self._s3.remove_object(self._bucket, self.key(symbol))
        self.rows[symbol] = {}
