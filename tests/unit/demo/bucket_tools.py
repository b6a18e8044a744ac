"""The simulated bucket as its tests see it: bytes, and what those say."""

from __future__ import annotations

import csv
import functools
import io
import time
from dataclasses import dataclass
from typing import Any

import pandas as pd

from stockdb.demo.simulate import demo_objects, demo_truth

SEED = 20240131
OPTION_DATES = ["2025-12-24", "2025-12-26", "2025-12-29", "2025-12-30", "2025-12-31"]


@dataclass
class Bucket:
    objects: dict[str, bytes]
    truth: dict[str, Any]
    seconds: float  # of processor time

    @property
    def symbols(self) -> list[str]:
        return [k.split("/")[1][:-4] for k in self.objects if k.startswith("stocks-2010-2025/")]

    def lines(self, key: str) -> list[str]:
        return self.objects[key].decode("ascii").split("\n")

    def stock_rows(self, symbol: str) -> list[list[str]]:
        return list(csv.reader(self.lines(f"stocks-2010-2025/{symbol}.csv")[1:-1]))

    def table(self, key: str, **kwargs: Any) -> pd.DataFrame:
        return pd.read_csv(io.BytesIO(self.objects[key]), **kwargs)

    def bars(self, symbol: str) -> pd.DataFrame:
        """Bars as the file has them, defects left out."""
        bad = {row["date"] for row in self.truth["dirty_rows"].get(symbol, ())}
        frame = self.table(f"stocks-2010-2025/{symbol}.csv", index_col="trade_date")
        return frame[~frame.index.isin(bad)]

    def chain(self, date: str) -> pd.DataFrame:
        frame = self.table(f"options-complete/{date}options.csv")
        expiration = pd.to_datetime(frame["expiration"])
        frame["years"] = (expiration - pd.Timestamp(date)).dt.days / 365
        frame["spot"] = frame["underlying"].map(self.truth["spots"][date])
        frame["rate"] = frame["expiration"].map(self.truth["options"]["rates"][date])
        frame["yield"] = frame["underlying"].map(self.truth["options"]["yields"])
        return frame

    def planted_contracts(self) -> set[str]:
        return {leg["contract"] for item in self.truth["arbitrage"] for leg in item["legs"]}

    def fair_chain(self, date: str) -> pd.DataFrame:
        """The chain without the quotes that were moved on purpose."""
        frame = self.chain(date)
        moved = frame["contract"].isin(self.planted_contracts()) & (date == OPTION_DATES[-1])
        return frame[~moved].reset_index(drop=True)


@functools.cache
def make(seed: int) -> Bucket:
    start = time.process_time()
    pairs = list(demo_objects(seed))
    bucket = Bucket(dict(pairs), demo_truth(seed), time.process_time() - start)
    assert len(bucket.objects) == len(pairs), "a key comes twice"
    return bucket
