"""Feature matrices of real prices: two vendors agree, real split days, every model type."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stockdb.models import MODEL_TYPES
from stockdb.settings import Dataset
from tests.unit.models import checks
from tests.unit.models.test_audit import LEAKS_IN_FEW_ROWS

pytestmark = pytest.mark.shared_data
NAMES = ["AAPL", "KO", "META", "SPY", "TSLA"]  # META and TSLA were listed later, KO is cut


@pytest.fixture(scope="module")
def adjusted(shared_data: Path, make_bucket: Callable[..., str], module_clients: Any) -> Any:
    """A vendor's split-adjusted files, declared as such."""
    folder = shared_data / "stocks-2010-2025"
    files = {f"stocks-2010-2025/{n}.csv": (folder / f"{n}.csv").read_bytes() for n in NAMES}
    bucket = make_bucket(files)
    datasets = module_clients(bucket).settings.datasets
    stocks = datasets["stocks"].model_copy(update={"adjustment": "splits"})
    client = module_clients(bucket, datasets={**datasets, "stocks": stocks})
    return client.create_unified_interface()


@pytest.fixture(scope="module")
def raw(shared_data: Path, make_bucket: Callable[..., str], module_clients: Any) -> Any:
    """Another vendor's raw files, and a table of splits."""
    files = {
        f"stocks-2010-2025/{name}.csv": gzip.decompress(
            (shared_data / "stocks-unadjusted" / f"{name}.csv.gz").read_bytes()
        )
        for name in ("AAPL", "SPY")
    }
    splits = (shared_data / "corporate-actions" / "splits.csv").read_bytes()
    bucket = make_bucket({**files, "reference/splits.csv": splits})
    return module_clients(bucket).create_unified_interface()


@pytest.fixture(scope="module")
def frame(adjusted: Any) -> pd.DataFrame:
    return adjusted.get_feature_matrix(NAMES, labels=["y_fwd_5", "y_tb"])


def test_two_vendors_agree_whoever_adjusts(raw: Any, frame: pd.DataFrame) -> None:
    """Raw prices and splits against adjusted ones: features of the close, over two real splits.

    Highs, lows and volumes of vendors differ by more; closes by a cent.
    """
    names = [
        *("ret_5", "ret_63", "mom_12_1", "c_over_sma_20", "c_over_sma_200", "c_over_ema_26"),
        *("macd_hist_over_c", "linreg_slope_20_over_c", "rsi_14", "pct_b"),
    ]
    other = raw.get_feature_matrix(["AAPL", "SPY"], names)
    assert other.attrs["stockdb"]["adjustment"] == "splits"
    assert other.attrs["stockdb"]["carried"] == {}
    one, two = other.loc["AAPL"], frame.loc["AAPL", names]
    days = one.index.intersection(two.index)
    days = days[days > "2012-01-01"]
    assert len(days) > 2300
    apart = (one.loc[days, names] - two.loc[days]).abs()
    assert (apart.quantile(0.99) < 0.03 * two.std()).all()


def test_returns_of_the_split_days(raw: Any) -> None:
    """645.57 to 93.70 at 7:1 and 499.23 to 129.04 at 4:1: +1.60 % and +3.39 % to the owner."""
    returns = raw.get_feature_matrix("AAPL", "ret_1", "2014-06-02", "2020-09-30")["ret_1"]
    first, second = returns["AAPL", "2014-06-09"], returns["AAPL", "2020-08-31"]
    assert first == pytest.approx(93.70 * 7 / 645.57 - 1, rel=1e-5)
    assert second == pytest.approx(129.04 * 4 / 499.23 - 1, rel=1e-5)


def test_values_are_plausible(frame: pd.DataFrame) -> None:
    assert not np.isinf(frame.drop(columns="t1").to_numpy()).any()
    inside = {"rsi_14": (0, 100), "rsi_2": (0, 100), "adx_14": (0, 100), "hi52": (0, 1),
              "mfi_14": (0, 100), "cmf_20": (-1, 1), "aroon_osc_25": (-100, 100)}  # fmt: skip
    for name, (least, most) in inside.items():
        values = frame[name].dropna()
        assert least <= values.min() and values.max() <= most + 1e-3, name
    assert set(frame["y_tb"].dropna()) == {-1.0, 0.0, 1.0}
    weight = frame["weight"].dropna()
    assert 0 < weight.min() and weight.max() <= 1
    note = frame.attrs["stockdb"]
    assert note["not_a_session"] == 0
    assert len(json.loads(note["objects"])) == len(NAMES)
    # Every symbol is warm after a year, and then stays so.
    warm = frame.groupby(level=0, group_keys=False).apply(lambda own: own.iloc[252:-30])
    assert warm.isna().mean().max() < 0.001


@pytest.mark.parametrize("model", MODEL_TYPES)
@pytest.mark.parametrize("label", ["y_fwd_5", "y_tb"])
def test_every_model_type(adjusted: Any, frame: pd.DataFrame, model: str, label: str) -> None:
    found = adjusted.prepare_for_model(frame, model, label)
    kept = sum(
        int(part.mask.sum()) if model == "rl" else len(part) for part in found.segments.values()
    )
    assert kept + sum(found.dropped.values()) == len(frame)
    spans = [list(zip(part.t0, part.t1, strict=True)) for part in found.segments.values()]
    if model != "arima_garch":
        edges = [(min(begin for begin, _ in span), max(end for _, end in span)) for span in spans]
        assert edges[0][1] < edges[1][0] and edges[1][1] < edges[2][0]
        assert checks.overlaps(spans[0][:200], spans[1][:200] + spans[2][:200]) == 0
    if found.kind.layout == "window":
        assert found.train.X.shape[0] > 8000
        assert np.isfinite(found.test.X[:64]).all()


def test_five_minute_bars(
    shared_data: Path, make_bucket: Callable[..., str], module_clients: Any
) -> None:
    """78 bars a day (42 on 3 July): windows count bars, run over the night, and cross no gap."""
    names = ("AAPL", "NVDA", "SPY")
    files = {
        f"intraday/{name}_5min.csv.gz": (
            shared_data / "intraday" / f"{name}_5min.csv.gz"
        ).read_bytes()
        for name in names
    }
    dataset = Dataset(
        key="intraday/{SYMBOL}_5min.csv.gz", kind="bars", interval="5m", adjustment="splits"
    )
    client = module_clients(make_bucket(files), datasets={"minutes": dataset})
    unified = client.create_unified_interface()
    chosen = ["ret_1", "rsi_14", "c_over_sma_20", "natr_14"]
    whole = unified.get_feature_matrix(names, chosen, interval="5m")
    part = unified.get_feature_matrix(names, chosen, "2024-07-01", "2024-07-05", interval="5m")
    dates = part.index.get_level_values(1)
    assert str(dates.tz) == "America/New_York"
    assert part.loc["SPY"].groupby(part.loc["SPY"].index.date).size().tolist() == [78, 78, 42, 78]
    assert part[chosen].notna().all().all()
    inner = part.index[:-30]
    np.testing.assert_allclose(part.loc[inner, chosen], whole.loc[inner, chosen], rtol=1e-4)
    assert part["y_fwd_21"].isna().sum() == 22 * 3  # no bar after the end is read
    found = unified.prepare_for_model(whole, "lstm", seq_len=30)
    assert found.train.t1.max() < found.valid.t0.min()
    assert found.dropped["purged"] == 6 * 2 * 3
    gap = whole.drop(index=("SPY", whole.loc["SPY"].index[2000]))
    less = unified.prepare_for_model(gap, "lstm", seq_len=30)
    assert less.dropped["missing_session"] == 29


def test_the_audit_of_real_bars(adjusted: Any) -> None:
    def momentum(frame: pd.DataFrame) -> pd.DataFrame:
        change = frame["close"].pct_change()
        return pd.DataFrame({"fast": change.rolling(5).mean(), "calm": change.rolling(60).std()})

    assert adjusted.audit(momentum, "AAPL", warmup=60, cuts=60).ok
    assert adjusted.audit(momentum, ["KO", "SPY"], by_symbol=True, cuts=60).ok
    assert not adjusted.audit(
        momentum, ["KO", "SPY"], cuts=60
    ).ok  # rolls over from one to the other


@pytest.mark.parametrize("leaking", LEAKS_IN_FEW_ROWS, ids=lambda leaking: leaking.__name__)
def test_the_audit_finds_leaks_in_few_rows(adjusted: Any, leaking: Any) -> None:
    for name in ("AAPL", "KO", "SPY"):
        report = adjusted.audit(leaking, name)
        assert {"prefix", "perturb"} <= {leak.test for leak in report.leaks}, name
