"""Data of leaps_arbitrage: against arithmetic on the files, and blind to later days."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leaps_data_integration import LEAPSDataIntegration
from trading_data_adapter import TradingDataAdapter

pytestmark = pytest.mark.shared_data
DAYS = ("2022-11-29", "2022-11-30", "2022-12-01")
COLUMNS = (
    "parity_hi parity_lo box_rate iv delta iv_term_slope iv_minus_rv_252 spread_pct "
    "open_interest quote_age"
).split()


def objects_of(folder: Path, days: tuple[str, ...]) -> dict[str, bytes]:
    found = {
        f"options-complete/{day}options.csv": gzip.decompress(
            (folder / f"options-complete/{day}options.csv.gz").read_bytes()
        )
        for day in days
    }
    bars = (folder / "stocks-2010-2025/AAPL.csv").read_bytes().splitlines(keepends=True)
    kept = [line for line in bars if line[:10] <= b"2022-12-01" or line.startswith(b"trade")]
    found["stocks-2010-2025/AAPL.csv"] = b"".join(kept)
    found["reference/dividends.csv"] = (folder / "corporate-actions/dividends.csv").read_bytes()
    rates = folder / "rates/us_treasury_cmt_2010_2026.csv"
    found["reference/treasury.csv"] = rates.read_bytes()
    return found


@pytest.fixture(scope="module")
def minio(shared_data: Path, module_clients: Any, make_bucket: Callable[..., str]) -> Any:
    return module_clients(make_bucket(objects_of(shared_data, DAYS)))


@pytest.fixture(scope="module")
def frame(minio: Any) -> pd.DataFrame:
    return TradingDataAdapter(minio).get_data_for_algorithm(
        "leaps_arbitrage", "AAPL", lookback_days=3
    )


def test_shape(frame: pd.DataFrame) -> None:
    assert list(frame.index.names) == ["symbol", "date", "contract"]
    assert list(frame.columns) == COLUMNS
    dates = frame.index.get_level_values("date").unique()
    assert [str(day.date()) for day in dates] == list(DAYS)
    assert not np.isinf(frame.to_numpy()).any()
    note = frame.attrs["stockdb"]
    assert note["algorithm"] == "leaps_arbitrage"
    assert note["chains"]["AAPL"]["days"] == 3


def test_values_by_hand(frame: pd.DataFrame, minio: Any, shared_data: Path) -> None:
    day = DAYS[1]
    chain = LEAPSDataIntegration(minio).get_leaps_chain("AAPL", day, min_days=0)
    chain = chain[(chain["bid"] > 0) & (chain["bid"] < chain["ask"])]
    long = chain[chain["dte"] >= 365]
    rows = frame.loc[("AAPL", pd.Timestamp(day))]
    assert set(rows.index) == set(long["contract"].str.removeprefix("O:"))
    strike, dte = 150.0, long["dte"].min()
    pair = long[(long["strike"] == strike) & (long["dte"] == dte)].set_index("type")
    call, put = pair.loc["call"], pair.loc["put"]
    name = call["contract"].removeprefix("O:")
    years, rate, spot = dte / 365, call["rate"], call["spot"]
    closes = pd.read_csv(shared_data / "stocks-2010-2025/AAPL.csv", index_col=0)["Close"]
    assert spot == pytest.approx(closes[day])
    high = call["bid"] - put["ask"] - (spot - strike * math.exp(-rate * years))
    assert rows.loc[name, "parity_hi"] == pytest.approx(high)
    # four ex-dates up to January 2024, as the bucket's table has them
    paid = [("2023-02-10", 0.23), ("2023-05-12", 0.24), ("2023-08-11", 0.24), ("2023-11-10", 0.24)]
    present = sum(
        cash * math.exp(-rate * ((pd.Timestamp(ex) - pd.Timestamp(day)).days - 6.5 / 24) / 365)
        for ex, cash in paid
    )
    low = spot - present - strike - (call["ask"] - put["bid"])
    assert rows.loc[name, "parity_lo"] == pytest.approx(low, abs=1e-3)
    put_name = put["contract"].removeprefix("O:")
    assert rows.loc[put_name, "parity_hi"] == rows.loc[name, "parity_hi"]
    best = -math.inf
    both = long[long["dte"] == dte].pivot(index="strike", columns="type", values=["bid", "ask"])
    both = both.dropna()
    for other in both.index:
        k1, k2 = sorted((strike, other))
        if k1 < k2:
            one, two = both.loc[k1], both.loc[k2]
            cost = one["ask"]["call"] - two["bid"]["call"] + two["ask"]["put"] - one["bid"]["put"]
            if cost > 0:
                best = max(best, math.log((k2 - k1) / cost) / years)
    assert rows.loc[name, "box_rate"] == pytest.approx(best)
    assert 0.0 < best < 0.06
    returns = np.log(closes[:day]).diff().dropna().tail(252)
    wanted = call["iv"] - returns.std() * math.sqrt(252)
    assert rows.loc[name, "iv_minus_rv_252"] == pytest.approx(wanted)
    assert rows.loc[name, "delta"] == pytest.approx(call["delta"])
    middle = (call["bid"] + call["ask"]) / 2
    assert rows.loc[name, "spread_pct"] == pytest.approx((call["ask"] - call["bid"]) / middle)
    assert rows.loc[name, "open_interest"] == call["open_interest"]
    ages = frame["quote_age"].groupby("date").agg(["min", "max"])
    assert ages.to_numpy().tolist() == [[0, 0]] * 3  # what came later makes no quote older


def test_later_days_change_nothing(
    frame: pd.DataFrame, shared_data: Path, module_clients: Any, make_bucket: Callable[..., str]
) -> None:
    objects = objects_of(shared_data, DAYS[:2])
    bars = objects["stocks-2010-2025/AAPL.csv"].splitlines(keepends=True)
    objects["stocks-2010-2025/AAPL.csv"] = b"".join(bars[:-1])
    past = TradingDataAdapter(module_clients(make_bucket(objects))).get_data_for_algorithm(
        "leaps_arbitrage", "AAPL", lookback_days=2
    )
    known = frame[frame.index.get_level_values("date") <= pd.Timestamp(DAYS[1])]
    assert set(past.columns) == set(COLUMNS)
    pd.testing.assert_frame_equal(past, known, check_exact=False)


@pytest.mark.parametrize("day", DAYS)
def test_a_day_asked_for_alone_has_the_same_rows(frame: pd.DataFrame, minio: Any, day: str) -> None:
    """Every column of every row, whatever days are read after it, or before it."""
    alone = TradingDataAdapter(minio).get_data_for_algorithm(
        "leaps_arbitrage", "AAPL", lookback_days=1, end_date=day
    )
    assert len(alone) > 100
    among = frame[frame.index.get_level_values("date") == pd.Timestamp(day)]
    pd.testing.assert_frame_equal(alone, among, check_exact=True)


def test_the_end_date_and_the_least_days(minio: Any) -> None:
    adapter = TradingDataAdapter(minio)
    early = adapter.get_data_for_algorithm(
        "leaps_arbitrage", ["AAPL"], lookback_days=1, end_date=DAYS[0], min_days=700
    )
    dates = early.index.get_level_values("date").unique()
    assert [str(day.date()) for day in dates] == [DAYS[0]]
    assert (early["quote_age"] == 0).all()
    names = early.index.get_level_values("contract")
    assert all(name[4:10] >= "241001" for name in names)
