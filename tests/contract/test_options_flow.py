"""Option flow out of day files, on a real server: sums, what was known when, and failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from minio_data_integration import MinIODataIntegration
from stockdb.errors import DateNotFoundError, SymbolNotFoundError
from stockdb.settings import Dataset
from tests.contract.test_algorithms import csv
from tests.unit.processing.bars import bars
from trading_data_adapter import TradingDataAdapter

HEADER = (
    "contract,underlying,expiration,type,strike,style,bid,bid_size,ask,ask_size,volume,"
    "open_interest,quote_date,delta,gamma,theta,vega,implied_volatility"
)
DAYS = pd.bdate_range("2020-03-02", periods=45)
STOCK = bars(1500, 3)  # from 2015 to 2020-10
EXPIRY = "2020-06-19"


def volumes(number: int, symbol: str = "AAA") -> dict[tuple[str, int], tuple[int, int]]:
    """(type, strike) -> (volume, open interest) of one day."""
    chance = np.random.default_rng(number + (1000 if symbol == "BBB" else 0))
    held = {
        (kind, strike): (int(chance.integers(0, 50)), int(chance.integers(100, 300)))
        for kind in ("call", "put")
        for strike in (90, 100, 110)
    }
    if number == 40 and symbol == "AAA":  # more contracts in a day than were open
        held["call", 100] = (5000, 100)
    return held


def day_file(number: int, symbols: tuple[str, ...] = ("AAA", "BBB")) -> bytes:
    date = DAYS[number].strftime("%Y-%m-%d")
    lines = [HEADER]
    for symbol in symbols:
        for (kind, strike), (volume, held) in volumes(number, symbol).items():
            contract = f"O:{symbol}200619{kind[0].upper()}{strike * 1000:08d}"
            lines.append(
                f"{contract},{symbol},{EXPIRY},{kind},{strike},A,1.9,5,2.1,5,{volume},{held},"
                f"{date},,,,,"
            )
    return "\n".join(lines).encode() + b"\n"


@pytest.fixture(scope="module")
def bucket(make_bucket: Callable[..., str]) -> str:
    files = {
        f"options-complete/{DAYS[n]:%Y-%m-%d}options.csv": day_file(
            n, ("AAA",) if n == 20 else ("AAA", "BBB")
        )
        for n in range(45)
    }
    return make_bucket({**files, "stocks-2010-2025/AAA.csv": csv(STOCK)})


@pytest.fixture(scope="module")
def adapter(bucket: str, module_clients: Any) -> TradingDataAdapter:
    return TradingDataAdapter(module_clients(bucket))


def side(number: int, kind: str, which: int) -> int:
    return sum(held[which] for key, held in volumes(number).items() if key[0] == kind)


def test_ratios_are_sums_over_the_chain(adapter: TradingDataAdapter) -> None:
    frame = adapter.get_data_for_algorithm("options_flow", "AAA", lookback_days=10)
    assert list(frame.index) == list(DAYS[-10:]) and frame.index.name == "date"
    for row, number in zip(frame.itertuples(), range(35, 45), strict=True):
        calls, puts = side(number, "call", 0), side(number, "put", 0)
        held = side(number, "call", 1) + side(number, "put", 1)
        shares = STOCK["volume"][DAYS[number]]
        assert row.pcr_vol == pytest.approx(puts / calls)
        assert row.pcr_dollar == pytest.approx(puts / calls)  # every mid is 2.00
        assert row.pcr_oi == pytest.approx(side(number, "put", 1) / side(number, "call", 1))
        assert row.vol_oi == pytest.approx((calls + puts) / held)  # open interest of the same row
        assert row.os_ratio == pytest.approx(100 * (calls + puts) / shares)
        assert row.close == pytest.approx(STOCK["close"][DAYS[number]])
    assert frame["net_premium"].isna().all()


def test_unusual_is_beyond_the_twenty_days_before(adapter: TradingDataAdapter) -> None:
    frame = adapter.get_data_for_algorithm("options_flow", "AAA", lookback_days=25)
    assert frame["unusual"].notna().all()  # warm in the first row
    assert list(frame.index[frame["unusual"] == 1.0]) == [DAYS[40]]
    whole = adapter.get_data_for_algorithm("options_flow", "AAA")
    assert len(whole) == 45
    assert whole.attrs["stockdb"]["nan"]["columns"]["unusual"] == {"warm_up": 20}
    pd.testing.assert_frame_equal(frame, whole.tail(25))


def test_open_interest_published_after_the_close_is_of_the_day_before(
    bucket: str, module_clients: Any
) -> None:
    late = Dataset(key="options-complete/{YYYY-MM-DD}options.csv", kind="options", oi_asof="close")
    standard = module_clients(bucket).settings.datasets
    minio = module_clients(bucket, datasets={**standard, "options": late})
    frame = TradingDataAdapter(minio).get_data_for_algorithm("options_flow", "AAA", 45)
    assert np.isnan(frame["vol_oi"].iloc[0]) and np.isnan(frame["max_pain"].iloc[0])
    for number in range(1, 45):
        before = side(number - 1, "call", 1) + side(number - 1, "put", 1)
        traded = side(number, "call", 0) + side(number, "put", 0)
        assert frame["vol_oi"].iloc[number] == pytest.approx(traded / before)


def test_many_and_a_day_without_the_symbol(adapter: TradingDataAdapter) -> None:
    with pytest.warns(UserWarning, match="1 of 3 symbols failed: NONE") as caught:
        frame = adapter.get_data_for_algorithm("options_flow", ["BBB", "AAA", "NONE"], 30)
    assert caught[0].filename == __file__
    assert list(frame.index.unique("symbol")) == ["BBB", "AAA"]
    assert DAYS[20] in frame.loc["AAA"].index and DAYS[20] not in frame.loc["BBB"].index
    assert len(frame.loc["BBB"]) == 30
    note = frame.attrs["stockdb"]
    assert note["chains"]["BBB"]["days_absent"] == 1 and len(json.dumps(note)) < 8000
    assert frame.loc["BBB"]["os_ratio"].isna().all()  # no bars of the stock
    assert frame.loc["AAA"]["os_ratio"].notna().all()
    # 45 and 44 days, and the bars of the stock.
    assert len(adapter.minio.provenance(frame).origins) == 90
    # The 30 newest files have 29 days of it: one more is read, and the first row is warm.
    warm = adapter.get_data_for_algorithm("options_flow", "BBB", 10)
    assert len(warm) == 10 and warm["unusual"].notna().all()
    with pytest.raises(SymbolNotFoundError, match="None of the newest"):
        adapter.get_data_for_algorithm("options_flow", "NONE", 5)


def test_ends_at_the_newest_file_on_or_before(adapter: TradingDataAdapter) -> None:
    sunday = DAYS[30] + pd.offsets.Week(weekday=6)
    frame = adapter.get_data_for_algorithm("options_flow", "AAA", 5, end_date=sunday)
    assert frame.index[-1] == DAYS[DAYS <= sunday][-1]
    with pytest.raises(DateNotFoundError, match="no options file up to 2019-01-01"):
        adapter.get_data_for_algorithm("options_flow", "AAA", 5, end_date="2019-01-01")


def test_blank_volumes_are_not_zero(make_bucket: Callable[..., str], module_clients: Any) -> None:
    text = day_file(0).decode().splitlines()
    cells = [line.split(",") for line in text[1:]]
    blank = "\n".join([text[0], *(",".join([*c[:10], "", *c[11:]]) for c in cells)]) + "\n"
    name = make_bucket({f"options-complete/{DAYS[0]:%Y-%m-%d}options.csv": blank.encode()})
    minio: MinIODataIntegration = module_clients(name)
    (row,) = TradingDataAdapter(minio).get_data_for_algorithm("options_flow", "AAA").itertuples()
    assert np.isnan([row.pcr_vol, row.pcr_dollar, row.vol_oi, row.os_ratio]).all()
    assert row.pcr_oi == pytest.approx(side(0, "put", 1) / side(0, "call", 1))
