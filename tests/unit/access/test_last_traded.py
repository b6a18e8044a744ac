"""Prices and volumes as they were traded, out of bars that later splits have adjusted."""

from __future__ import annotations

from typing import Any, cast

import pandas as pd
import pytest

from stockdb.access.access import Access
from stockdb.access.numbers import last_traded

SPLITS = pd.DataFrame(
    {"ratio": [4.0, 10.0]}, index=pd.DatetimeIndex(["2021-07-20", "2024-06-10"], name="date")
)


class Bucket:
    """Knows NVIDIA's splits, and nothing else."""

    def splits(self, symbol: str, **_: Any) -> pd.DataFrame:
        return SPLITS


@pytest.mark.parametrize(
    ("day", "adjustment", "close", "volume"),
    [
        # NVDA closed at 1,208.88 on the eve of its 10:1 split; adjusted sources say 120.888.
        ("2024-06-07", "splits", 1208.88, 41_238_580),
        ("2024-06-07", "none", 120.888, 412_385_800),
        ("2024-06-10", "splits", 120.888, 412_385_800),
        ("2021-07-19", "splits", 4835.52, 10_309_645),
    ],
)
def test_on_the_share_count_of_the_day(
    day: str, adjustment: str, close: float, volume: float
) -> None:
    bars = pd.DataFrame(
        {"close": [1.0, 120.888], "volume": [1.0, 412_385_800.0]},
        index=pd.DatetimeIndex(["2020-01-02", day]),
    )
    bars.attrs = {"stockdb": {"adjustment": adjustment}}
    found = last_traded(cast(Access, Bucket()), "NVDA", bars)
    assert found == pytest.approx((close, volume))
