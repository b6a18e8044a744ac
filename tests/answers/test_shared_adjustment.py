"""Adjustment of real prices against adjusted files of other vendors and Lean's factor files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stockdb.processing.adjust import Events, adjust, factors
from stockdb.settings import Dataset

pytestmark = pytest.mark.shared_data


def prices(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, index_col=0, parse_dates=True).rename_axis("date")
    frame.columns = frame.columns.str.lower()
    return frame.astype("float64")


def events(shared: Path, symbol: str, *, adjusted: bool = True) -> Events:
    folder = shared / "corporate-actions"
    tables = []
    for name in ("splits", "dividends"):
        table = pd.read_csv(folder / f"{name}.csv", parse_dates=["ex_date"])
        tables.append(table[table["symbol"] == symbol].set_index("ex_date"))
    return Events.of(tables[0], tables[1], amounts_adjusted=adjusted)


def test_factors_of_two_real_splits(shared_data: Path) -> None:
    frame = prices(shared_data / "stocks-unadjusted" / "AAPL.csv.gz")
    dates = frame.index.as_unit("ns").to_numpy()
    found = factors(
        dates, frame["close"].to_numpy(), events(shared_data, "AAPL"), held="none", wanted="splits"
    )
    factor = pd.Series(found.price, frame.index)
    assert factor["2014-06-06"] == pytest.approx(1 / 28)
    assert factor["2014-06-09"] == factor["2020-08-28"] == pytest.approx(1 / 4)
    assert factor["2020-08-31"] == 1.0


def test_returns_of_the_split_days(shared_data: Path) -> None:
    """645.57 to 93.70 and 499.23 to 129.04: +1.60 % and +3.39 % to the owner."""
    frame = prices(shared_data / "stocks-unadjusted" / "AAPL.csv.gz")
    close = adjust(frame, events(shared_data, "AAPL"), wanted="splits")["close"]
    returns = close.pct_change()
    assert returns["2014-06-09"] == pytest.approx(93.70 * 7 / 645.57 - 1, abs=1e-9)
    assert returns["2020-08-31"] == pytest.approx(129.04 * 4 / 499.23 - 1, abs=1e-9)


@pytest.mark.parametrize("symbol", ["AAPL", "SPY"])
def test_closes_agree_with_another_vendors_split_adjusted_file(
    shared_data: Path, symbol: str
) -> None:
    raw = prices(shared_data / "stocks-unadjusted" / f"{symbol}.csv.gz")
    ours = adjust(raw, events(shared_data, symbol), wanted="splits")["close"]
    theirs = prices(shared_data / "stocks-2010-2025" / f"{symbol}.csv")["close"]
    both = pd.concat([ours, theirs], axis=1, keys=["ours", "theirs"], sort=True).dropna()
    assert len(both) > 2800
    assert np.abs(both["ours"] / both["theirs"] - 1).max() < 0.01


def test_volumes_agree_too(shared_data: Path) -> None:
    """Vendors count the same trades within a third; a missed 28:1 would be unmistakable."""
    raw = prices(shared_data / "stocks-unadjusted" / "AAPL.csv.gz")
    ours = adjust(raw, events(shared_data, "AAPL"), wanted="splits")["volume"]
    theirs = prices(shared_data / "stocks-2010-2025" / "AAPL.csv")["volume"]
    ratio = (ours / theirs).dropna()
    assert 0.67 < ratio["2010":"2013"].median() < 1.5
    assert 0.67 < ratio["2021"].median() < 1.5


def test_an_odd_ratio_of_real_life(shared_data: Path) -> None:
    """GOOG's class C dividend of 2015: Lean has the factor .997307 and the close before."""
    raw = prices(shared_data / "stocks-unadjusted" / "GOOG.csv.gz")
    table = pd.read_csv(shared_data / "corporate-actions" / "lean_factor_GOOG.csv")
    lean = table.set_index("date").loc[20150424]
    ratios = pd.DataFrame(
        {"ratio": [1.0 / lean["split_factor"], 20.0]},
        index=pd.DatetimeIndex(["2015-04-27", "2022-07-18"]),
    )
    close = adjust(raw, Events.of(ratios, None), wanted="splits")["close"]
    before = lean["reference_price"] * lean["split_factor"] / 20
    assert close["2015-04-24"] == pytest.approx(before, rel=1e-12)
    assert close["2015-04-27"] == pytest.approx(555.37 / 20, rel=1e-12)
    theirs = prices(shared_data / "stocks-2010-2025" / "GOOG.csv")["close"]
    both = pd.concat([close, theirs], axis=1, keys=["ours", "theirs"], sort=True).dropna()
    assert len(both) > 1100
    assert np.abs(both["ours"] / both["theirs"] - 1).max() < 0.01


def test_minutes_over_a_real_split(
    shared_data: Path, make_bucket: Callable[..., str], client_factory: Any
) -> None:
    """AAPL, 7:1 on 2014-06-09, by minutes: factors change overnight, and nothing jumps."""
    folder = shared_data / "intraday"
    bucket = make_bucket(
        {
            "minutes/AAPL.csv.gz": (folder / "AAPL_1min_lean.csv.gz").read_bytes(),
            "reference/splits.csv": (shared_data / "corporate-actions/splits.csv").read_bytes(),
        }
    )
    dataset = Dataset(key="minutes/{SYMBOL}.csv.gz", kind="bars", interval="1m")
    minio = client_factory(bucket, datasets={"minutes": dataset})
    raw = minio.get_historical_data("AAPL", interval="1m")["close"]
    close = minio.get_historical_data("AAPL", interval="1m", adjust="splits")["close"]
    factor = (close / raw).groupby(raw.index.date).agg(["min", "max"])
    old, new = 1 / 28, 1 / 4
    expected = [[old, old], [old, old], [new, new]]
    np.testing.assert_allclose(factor, expected, rtol=1e-12)
    assert np.abs(np.log(raw).diff()).max() > 1.5
    assert np.abs(np.log(close).diff()).max() < 0.05


@pytest.mark.parametrize("symbol", ["AAPL", "MSFT"])
def test_total_return_agrees_with_another_vendors_file(shared_data: Path, symbol: str) -> None:
    """Yearly returns with dividends, to a twentieth of a percent point."""
    held = prices(shared_data / "stocks-2010-2025" / f"{symbol}.csv")
    ours = adjust(held, events(shared_data, symbol), held="splits", wanted="all")["close"]
    theirs = prices(shared_data / "stocks-total-return-adjusted" / f"{symbol}.csv.gz")["close"]
    both = pd.concat([ours, theirs], axis=1, keys=["ours", "theirs"], sort=True).dropna()
    yearly = both.groupby(both.index.year).last().pct_change().dropna()
    assert len(yearly) >= 4
    assert np.abs(yearly["ours"] - yearly["theirs"]).max() < 0.0005


def test_factors_of_lean(shared_data: Path) -> None:
    """Lean's factor file: price_factor x split_factor up to and including each date."""
    frame = prices(shared_data / "stocks-unadjusted" / "AAPL.csv.gz")
    table = pd.read_csv(shared_data / "corporate-actions" / "lean_factor_AAPL.csv")
    table["date"] = pd.to_datetime(table["date"].astype(str))
    lean = (table["price_factor"] * table["split_factor"]).set_axis(table["date"])
    found = factors(
        frame.index.as_unit("ns").to_numpy(),
        frame["close"].to_numpy(),
        events(shared_data, "AAPL"),
        held="none",
        wanted="all",
    )
    ours = pd.Series(found.price, frame.index)
    for date in ("2012-08-08", "2014-06-06", "2016-05-04", "2018-08-09"):
        later = lean.index[lean.index >= pd.Timestamp(date)][0]
        # Both are relative to their own last dates: compare against a common one.
        base = pd.Timestamp("2019-01-02")
        anchor = lean[lean.index >= base].iloc[0]
        assert ours[date] / ours[base] == pytest.approx(lean[later] / anchor, rel=2e-3)
