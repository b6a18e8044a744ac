"""The Alpha158-like ratios against pandas' own rolling windows, and SciPy.

Definitions: microsoft/qlib, qlib/contrib/data/loader.py, Alpha158DL.get_feature_config, whose
operators are pandas' (Rank = rolling.rank(pct=True), Quantile = rolling.quantile, Corr =
rolling.corr, Std = rolling.std, IdxMax = rolling.apply(argmax) + 1) and a regression on time.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress

from stockdb.processing.alpha import ALPHA, WINDOWS
from stockdb.processing.evaluate import evaluate
from tests.unit.processing.bars import bars

ROWS = 200


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return bars(ROWS, 7)


@pytest.fixture(scope="module")
def found(frame: pd.DataFrame) -> pd.DataFrame:
    return evaluate(frame, ALPHA)


def test_there_are_158_less_the_average_price() -> None:
    assert len(ALPHA) == 158 - 1
    assert all(column.scale_free and column.role == "feature" for column in ALPHA)


def test_the_bar_itself() -> None:
    one = pd.DataFrame(
        {"open": [10.0], "high": [13.0], "low": [9.0], "close": [12.0], "volume": [5.0]},
        index=pd.DatetimeIndex(["2024-01-02"]),
    )
    wanted = {
        "a_kmid": 0.2, "a_klen": 0.4, "a_kmid2": 0.5, "a_kup": 0.1, "a_kup2": 0.25,
        "a_klow": 0.1, "a_klow2": 0.25, "a_ksft": 0.2, "a_ksft2": 0.5,
        "a_open0": 10 / 12, "a_high0": 13 / 12, "a_low0": 0.75,
    }  # fmt: skip
    found = evaluate(one, ALPHA).iloc[0]
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("d", WINDOWS)
def test_windows_against_pandas(frame: pd.DataFrame, found: pd.DataFrame, d: int) -> None:
    c, h, lo, v = (frame[name] for name in ("close", "high", "low", "volume"))
    dc, dv = c.diff(), v.diff()
    known = c.shift(1).notna()
    moved = (c / c.shift(1) - 1).abs() * v
    up = (c > c.shift(1)).where(known).astype(float).rolling(d).mean()
    down = (c < c.shift(1)).where(known).astype(float).rolling(d).mean()
    top = h.rolling(d).apply(np.argmax, raw=True) + 1
    bottom = lo.rolling(d).apply(np.argmin, raw=True) + 1
    total_c, total_v = dc.abs().rolling(d).sum(), dv.abs().rolling(d).sum()
    rise = {"c": dc.clip(lower=0).rolling(d).sum() / total_c,
            "v": dv.clip(lower=0).rolling(d).sum() / total_v}  # fmt: skip
    fall = {"c": (-dc).clip(lower=0).rolling(d).sum() / total_c,
            "v": (-dv).clip(lower=0).rolling(d).sum() / total_v}  # fmt: skip
    highest, lowest = h.rolling(d).max(), lo.rolling(d).min()
    wanted = {
        "roc": c.shift(d) / c,
        "ma": c.rolling(d).mean() / c,
        "std": c.rolling(d).std() / c,
        "max": highest / c,
        "min": lowest / c,
        "qtlu": c.rolling(d).quantile(0.8) / c,
        "qtld": c.rolling(d).quantile(0.2) / c,
        "rank": c.rolling(d).rank(pct=True),
        "rsv": (c - lowest) / (highest - lowest),
        "imax": top / d,
        "imin": bottom / d,
        "imxd": (top - bottom) / d,
        "corr": c.rolling(d).corr(np.log(v)),
        "cord": (c / c.shift(1)).rolling(d).corr(np.log(v / v.shift(1) + 1)),
        "cntp": up,
        "cntn": down,
        "cntd": up - down,
        "sump": rise["c"],
        "sumn": fall["c"],
        "sumd": rise["c"] - fall["c"],
        "vma": v.rolling(d).mean() / v,
        "vstd": v.rolling(d).std() / v,
        "wvma": moved.rolling(d).std() / moved.rolling(d).mean(),
        "vsump": rise["v"],
        "vsumn": fall["v"],
        "vsumd": rise["v"] - fall["v"],
    }
    for name, values in wanted.items():
        own = found[f"a_{name}_{d}"]
        np.testing.assert_allclose(own, values, rtol=1e-9, atol=1e-11, err_msg=name)
    assert len(wanted) + 3 == 29


@pytest.mark.parametrize("d", WINDOWS)
def test_the_line_against_scipy(frame: pd.DataFrame, found: pd.DataFrame, d: int) -> None:
    close = frame["close"].to_numpy()
    for row in (d - 1, d + 40, ROWS - 1):
        window = close[row - d + 1 : row + 1]
        line = linregress(np.arange(d), window)
        last = window[-1] - (line.intercept + line.slope * (d - 1))
        values = found.iloc[row]
        assert values[f"a_beta_{d}"] == pytest.approx(line.slope / close[row], rel=1e-9)
        assert values[f"a_rsqr_{d}"] == pytest.approx(line.rvalue**2, rel=1e-9)
        assert values[f"a_resi_{d}"] == pytest.approx(last / close[row], rel=1e-7, abs=1e-12)


def test_a_halted_stock_is_undefined_not_infinite() -> None:
    still = bars(80).assign(open=5.0, high=5.0, low=5.0, close=5.0, volume=0.0)
    found = evaluate(still, ALPHA).iloc[-1]
    assert not np.isinf(found).any()
    for name in ("kmid2", "rsv_5", "rsqr_5", "corr_5", "sump_5", "vma_5", "wvma_5"):
        assert np.isnan(found[f"a_{name}"]), name
    assert found["a_ma_60"] == 1.0
