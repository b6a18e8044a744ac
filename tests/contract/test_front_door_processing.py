"""Adjustment and indicators through the front door, on a real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from minio_data_integration import MinIODataIntegration
from stockdb.errors import ConfigurationError, DataError, ValidationError
from stockdb.processing.evaluate import evaluate
from stockdb.processing.indicators import indicators
from stockdb.settings import Dataset
from tests.unit.processing.bars import bars

SPLIT, PAID = "2015-06-01", "2016-02-01"


def csv(frame: pd.DataFrame) -> bytes:
    renamed = frame.rename(columns=str.title).rename_axis("trade_date")
    return renamed.to_csv(date_format="%Y-%m-%d").encode()


RAW = bars(900, 7)
EVENTS = {
    "reference/splits.csv": f"symbol,ex_date,ratio\nONE,{SPLIT},4\nTWO,2010-01-01,2\n".encode(),
    "reference/dividends.csv": f"symbol,ex_date,amount\nONE,{PAID},1.5\n".encode(),
}


@pytest.fixture(scope="module")
def minio(make_bucket: Callable[..., str], module_clients: Any) -> MinIODataIntegration:
    stocks = {f"stocks-2010-2025/{name}.csv": csv(RAW) for name in ("ONE", "TWO")}
    return module_clients(make_bucket({**stocks, **EVENTS}))


@pytest.fixture(scope="module")
def bare(make_bucket: Callable[..., str], module_clients: Any) -> MinIODataIntegration:
    return module_clients(make_bucket({"stocks-2010-2025/ONE.csv": csv(RAW)}))


def test_adjusted_for_splits_out_of_the_bucket(minio: MinIODataIntegration) -> None:
    frame = minio.get_historical_data("ONE", adjust="splits")
    before = RAW.index < SPLIT
    np.testing.assert_allclose(frame["close"][before], RAW["close"][before] / 4, rtol=1e-12)
    np.testing.assert_allclose(frame["volume"][before], RAW["volume"][before] * 4, rtol=1e-12)
    np.testing.assert_array_equal(frame["close"][~before], RAW["close"][~before])
    note = frame.attrs["stockdb"]
    assert note["adjustment"] == "splits"
    tables = {"splits": "reference/splits.csv"}
    assert note["adjusted"] == {
        "from": "none", "to": "splits", "splits": 1, "dividends": 0, "tables": tables,
        "carried": ["2015-06-01"],  # these bars do not step there
    }  # fmt: skip
    keys = [origin.key for origin in minio.provenance(frame).origins]
    assert keys == ["stocks-2010-2025/ONE.csv", "reference/splits.csv"]


def test_a_range_is_adjusted_for_what_comes_after_it(minio: MinIODataIntegration) -> None:
    whole = minio.get_historical_data("ONE", adjust="all")
    part = minio.get_historical_data("ONE", "2015-03-02", "2015-03-31", adjust="all")
    assert len(part) == 22
    pd.testing.assert_frame_equal(part, whole["2015-03-02":"2015-03-31"], check_freq=False)
    ex = RAW.index.get_loc(pd.Timestamp(PAID))
    factor = (1 - 1.5 / RAW["close"].iloc[ex - 1]) / 4
    np.testing.assert_allclose(part["open"], RAW["open"]["2015-03-02":"2015-03-31"] * factor)


def test_the_callers_events_win(bare: MinIODataIntegration) -> None:
    splits = pd.DataFrame({"symbol": ["ONE"], "ex_date": [SPLIT], "ratio": [10.0]})
    frame = bare.get_historical_data("ONE", adjust="splits", splits=splits)
    assert frame["close"].iloc[0] == pytest.approx(RAW["close"].iloc[0] / 10)
    assert frame.attrs["stockdb"]["adjusted"]["tables"] == {"splits": "caller"}
    many = bare.bulk_download(["ONE"], adjust="splits", splits=splits)["ONE"]
    pd.testing.assert_frame_equal(many, frame)


def test_a_known_split_is_no_finding(make_bucket: Callable[..., str], client_factory: Any) -> None:
    jump = RAW.copy()
    jump.loc[:"2015-05-29", ["open", "high", "low", "close"]] *= 4
    jump.loc[:"2015-05-29", "volume"] /= 4
    client = client_factory(make_bucket({"stocks-2010-2025/ONE.csv": csv(jump), **EVENTS}))
    raw = client.get_historical_data("ONE").attrs["stockdb"]["validation"]
    assert raw["rules"]["split_jump"] == 1
    adjusted = client.get_historical_data("ONE", adjust="all").attrs["stockdb"]["validation"]
    assert "split_jump" not in adjusted["rules"]


def test_what_nobody_has_is_an_error(bare: MinIODataIntegration) -> None:
    with pytest.raises(DataError, match="needs splits and dividends"):
        bare.get_historical_data("ONE", adjust="all")
    with pytest.raises(DataError, match=r"needs splits .*reference/splits.csv"):
        bare.get_historical_data("ONE", adjust="splits")


def test_held_adjusted_is_not_adjusted_again(
    make_bucket: Callable[..., str], client_factory: Any
) -> None:
    bucket = make_bucket({"stocks-2010-2025/ONE.csv": csv(RAW), **EVENTS})
    stocks = Dataset(key="stocks-2010-2025/{SYMBOL}.csv", adjustment="splits")
    dividends = Dataset(key="reference/dividends.csv", kind="reference")
    client = client_factory(bucket, datasets={"stocks": stocks, "dividends": dividends})
    frame = client.get_historical_data("ONE", adjust="splits")
    np.testing.assert_array_equal(frame["close"], RAW["close"])
    paid = client.get_historical_data("ONE", adjust="all")
    assert paid.attrs["stockdb"]["adjusted"]["from"] == "splits"
    assert paid["close"].iloc[0] != RAW["close"].iloc[0]


def test_indicators_are_warm_in_the_first_row(minio: MinIODataIntegration) -> None:
    names = ["rsi_14", "adx_14", "c_over_sma_200", "pct_b"]
    part = minio.get_historical_data("ONE", "2017-06-01", "2017-08-31", preprocess=names)
    whole = evaluate(RAW, indicators(names))["2017-06-01":"2017-08-31"]
    assert part[names].notna().all(axis=None)
    np.testing.assert_allclose(part[names], whole, rtol=1e-6, atol=1e-8)
    bare = minio.get_historical_data("ONE", "2017-06-01", "2017-08-31")
    pd.testing.assert_frame_equal(part[bare.columns], bare)
    note = part.attrs["stockdb"]
    assert note["dataset"] == "stocks"
    needed = max(column.warmup for column in indicators(names))
    held = int((RAW.index < "2017-06-01").sum())
    assert note["warmup"] == {"needed": needed, "there": held}
    short = minio.get_historical_data("ONE", "2017-06-01", preprocess="c_over_sma_20")
    note = short.attrs["stockdb"]["warmup"]
    assert note["needed"] == 19 <= note["there"] < 60


def test_sixty_rows_of_every_indicator_are_the_tail_of_all(minio: MinIODataIntegration) -> None:
    whole = minio.get_historical_data("ONE", preprocess="all")
    part = minio.get_historical_data("ONE", RAW.index[-60], preprocess="all")
    assert len(part) == 60 and part.shape[1] == whole.shape[1] > 40
    np.testing.assert_allclose(part, whole.iloc[-60:], rtol=1e-6, atol=1e-8)


def test_bars_before_the_range_are_held_against_the_same_rules(
    make_bucket: Callable[..., str], client_factory: Any
) -> None:
    """A bar that is dropped is dropped for the indicators, too; ``raise`` says where it is."""
    bad = RAW.copy()
    bad.iloc[-70, [1, 2]] = bad.iloc[-70, [2, 1]]  # high below low
    bad.iloc[-60, [1, 2]] = bad.iloc[-60, [2, 1]]
    bucket = make_bucket({"stocks-2010-2025/ONE.csv": csv(bad)})
    minio = client_factory(bucket, policy="drop")
    whole = minio.get_historical_data("ONE", preprocess=["atr_14", "stoch_k_14"])
    part = minio.get_historical_data("ONE", bad.index[-60], preprocess=["atr_14", "stoch_k_14"])
    assert len(part) == 59 and len(whole) == 898
    np.testing.assert_allclose(part, whole.iloc[-59:], rtol=1e-6, atol=1e-8)
    strict = client_factory(bucket, policy="raise")
    assert len(strict.get_historical_data("ONE", bad.index[-59])) == 59
    with pytest.raises(ValidationError, match="ONE before the range, .* high is below the low"):
        strict.get_historical_data("ONE", bad.index[-59], preprocess=["atr_14"])


def test_of_weekly_bars_too(minio: MinIODataIntegration) -> None:
    part = minio.get_historical_data(
        "ONE", "2017-06-07", "2017-08-31", "weekly", preprocess="rsi_14"
    )
    bare = minio.get_historical_data("ONE", "2017-06-07", "2017-08-31", "weekly")
    pd.testing.assert_frame_equal(part[bare.columns], bare)
    assert part["rsi_14"].notna().all()


def test_a_list_and_the_standard_set(minio: MinIODataIntegration) -> None:
    frame = minio.get_historical_data(["ONE", "TWO"], "2017-06-01", preprocess="standard")
    assert frame.index.names == ["symbol", "date"]
    names = [column.name for column in indicators("standard")]
    assert set(names) <= set(frame.columns) and frame[names].notna().all(axis=None)
    again = minio.preprocess_data(minio.get_historical_data(["ONE", "TWO"]), "standard")
    late = again[again.index.get_level_values("date") >= "2017-06-01"]
    np.testing.assert_allclose(frame[names], late[names], rtol=1e-6, atol=1e-8)


def test_processes_compute_the_same(minio: MinIODataIntegration) -> None:
    threads = minio.bulk_download(["ONE", "TWO"], "2017-01-01", preprocess=["rsi_14"])
    with joblib.parallel_config("loky", n_jobs=2):
        processes = minio.bulk_download(["ONE", "TWO"], "2017-01-01", preprocess=["rsi_14"])
    for name in threads:
        pd.testing.assert_frame_equal(threads[name], processes[name])


def test_a_misspelt_indicator_is_refused_before_anything_is_read(
    minio: MinIODataIntegration,
) -> None:
    before = minio.get_cache_stats()["hits"]
    with pytest.raises(ConfigurationError, match="rsi_14"):
        minio.get_historical_data("ONE", preprocess=["rsi14"])
    assert minio.get_cache_stats()["hits"] == before
    assert "rsi_14" in minio.list_indicators().index
