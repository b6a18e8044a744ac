"""Columns of the algorithms against published values, other libraries and brute force.

Sources: statsmodels (adfuller, coint), arch (VarianceRatio), scipy (rankdata, odr); the
formulas of the papers that each column names, summed or looped over explicitly here.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from arch.unitroot import VarianceRatio
from statsmodels.tsa.stattools import adfuller, coint

from stockdb.processing import statistics
from stockdb.processing.evaluate import evaluate
from stockdb.processing.labels import forward_return, triple_barrier
from stockdb.processing.momentum import MOMENTUM
from stockdb.processing.pairs import kalman, pair_block, regressions
from stockdb.processing.spec import Series
from stockdb.processing.volatility import VOLATILITY
from stockdb.processing.volume import VOLUME
from tests.unit.processing.bars import bars, many

COLUMNS = {column.name: column for column in (*MOMENTUM, *VOLATILITY, *VOLUME)}
COLUMNS |= {column.name: column for column in statistics.MEAN_REVERSION}


def values(name: str, frame: pd.DataFrame) -> np.ndarray:
    return COLUMNS[name].values(Series.of(frame, ("bill",)))


def flat(rows: int, **columns: float) -> pd.DataFrame:
    """Bars that are all the same."""
    held = {"open": 100.0, "high": 100.0, "low": 100.0, "close": 100.0, "volume": 1000.0}
    index = pd.bdate_range("2020-01-01", periods=rows, name="date", unit="ns")
    return pd.DataFrame({**held, **columns}, index=index)


def steady(rows: int, rate: float) -> pd.DataFrame:
    close = 50.0 * (1.0 + rate) ** np.arange(rows)
    return flat(rows).assign(open=close, high=close, low=close, close=close)


# ------------------------------------------------------------------ momentum


def test_momentum_of_a_steady_rise() -> None:
    frame = steady(300, 0.001)
    assert values("mom_12_1", frame)[-1] == pytest.approx(0.25971, abs=5e-6)
    assert values("mom_6_1", frame)[-1] == pytest.approx(1.001**105 - 1, rel=1e-12)
    assert np.isnan(values("mom_12_1", frame)[:252]).all()
    assert values("hi52", frame)[-1] == 1.0


def test_nearness_to_the_high_of_the_year() -> None:
    frame = bars(600, 3)
    t = 555
    highest = max(frame["high"].iloc[t - 251 : t + 1])
    assert values("hi52", frame)[t] == pytest.approx(frame["close"].iloc[t] / highest, rel=1e-14)


def test_ewma_volatility_by_an_explicit_sum() -> None:
    frame = bars(2600, 1)
    r = np.diff(np.log(frame["close"].to_numpy()))  # r[i] is the change into bar i + 1
    got = values("vol_mop", frame)
    for t in (2400, 2599):
        past = r[: t - 1][::-1]  # changes into t-1, t-2 ...: lagged one bar
        weights = (1 / 61) * (60 / 61) ** np.arange(len(past))
        mean = (weights * past).sum()
        variance = (weights * (past - mean) ** 2).sum()
        assert got[t] == pytest.approx(math.sqrt(261 * variance), rel=1e-6)
    assert np.isnan(got[:837]).all() and np.isfinite(got[838:]).all()


def test_position_is_the_sign_over_the_bill_scaled_by_volatility() -> None:
    frame = bars(1500, 2)
    held = frame.assign(bill=0.0)
    position, volatility = values("tsmom_pos", held), values("vol_mop", held)
    year = frame["close"].iloc[-1] / frame["close"].iloc[-253] - 1
    assert position[-1] == pytest.approx(math.copysign(0.40 / volatility[-1], year), rel=1e-12)
    # A bill that earned a little more than the stock turns the position over, and a little less
    # does not.
    daily = 252 * ((1 + abs(year)) ** (1 / 252) - 1) * math.copysign(1, year)
    for shift, sign in ((-0.001, 1.0), (0.001, -1.0)):
        turned = values("tsmom_pos", frame.assign(bill=daily + shift))
        if year > 0:
            assert math.copysign(1, turned[-1]) == sign


def test_ranks_within_dates_are_scipys() -> None:
    frame = many(5, 400)
    frame = pd.concat([frame, frame.loc[["S1"]].rename({"S1": "T1"})])  # a tie
    ranks = evaluate(frame.assign(bill=0.0), [COLUMNS["xs_rank"], COLUMNS["mom_12_1"]])
    for _, day in list(ranks.groupby(level="date"))[-5:]:
        expected = scipy.stats.rankdata(day["mom_12_1"])
        np.testing.assert_array_equal(day["xs_rank"], expected)


# ------------------------------------------------------------------ mean reversion


def test_half_life_of_an_autoregression() -> None:
    x = np.array([1.0 * 0.9**k for k in range(126)])  # dx = -.1 x[t-1] exactly
    assert statistics.half_life(x)[-1] == pytest.approx(6.579, abs=5e-4)
    assert np.isnan(statistics.half_life(-x * 0 + np.arange(126.0) ** 2)[-1])  # diverges


def test_half_life_by_numpys_least_squares() -> None:
    x = np.log(bars(300, 8)["close"].to_numpy())
    got = statistics.half_life(x)
    for t in range(125, 300, 25):
        w = x[t - 125 : t + 1]
        slope = np.polyfit(w[:-1], np.diff(w), 1)[0]
        expected = -math.log(2) / math.log1p(slope) if -1 < slope < 0 else math.nan
        assert got[t] == pytest.approx(expected, rel=1e-8, nan_ok=True)


@pytest.mark.parametrize("seed", range(4))
def test_unit_root_test_is_statsmodels(seed: int) -> None:
    x = np.log(bars(260, seed)["close"].to_numpy())
    t_got = statistics.adf_t(x)
    p_got = statistics.mackinnon_p(t_got)
    for t in range(125, 260, 27):
        statistic, p, *_ = adfuller(
            x[t - 125 : t + 1], maxlag=1, regression="c", autolag=None, result_object=False
        )
        assert t_got[t] == pytest.approx(statistic, rel=1e-8)
        assert p_got[t] == pytest.approx(p, rel=1e-8)


def test_hurst_of_random_walks() -> None:
    chance = np.random.default_rng(5)
    walks = np.cumsum(chance.normal(size=(500, 400)), axis=0)
    got = statistics.hurst(walks, window=500)[-1]
    assert got.mean() == pytest.approx(0.485, abs=0.01)
    assert got.std() == pytest.approx(0.051, abs=0.008)


def test_hurst_by_numpys_line() -> None:
    x = np.log(bars(300, 9)["close"].to_numpy())
    w = x[-252:]
    scales = np.arange(2, 21)
    deviations = [np.std(w[k:] - w[:-k]) for k in scales]
    slope = np.polyfit(np.log(scales), np.log(deviations), 1)[0]
    assert statistics.hurst(x)[-1] == pytest.approx(slope, rel=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_variance_ratio_is_archs(seed: int) -> None:
    x = np.log(bars(300, seed)["close"].to_numpy())
    got = statistics.variance_ratio(x)
    for t in (251, 280, 299):
        expected = VarianceRatio(x[t - 251 : t + 1], lags=5, debiased=True, overlap=True).vr
        assert got[t] == pytest.approx(expected, rel=1e-9)


def test_standard_score_by_a_loop() -> None:
    frame = bars(60, 4)
    x = np.log(frame["close"].to_numpy())
    got = values("z_20", frame)
    for t in range(19, 60):
        w = x[t - 19 : t + 1]
        assert got[t] == pytest.approx((x[t] - w.mean()) / w.std(), rel=1e-9)
    assert np.isnan(values("z_20", flat(30))).all()  # a halted stock has no score


# ------------------------------------------------------------------ volatility


def test_range_volatility_of_a_constant_range() -> None:
    frame = flat(25, high=102.0, low=100.0)
    assert values("vol_pk", frame)[-1] == pytest.approx(0.0118927, abs=5e-8)


def test_range_volatilities_by_a_loop() -> None:
    frame = bars(40, 6)
    o, h, lo, c = (np.log(frame[name].to_numpy()) for name in ("open", "high", "low", "close"))
    rows = range(20, 40)  # the last 20
    gk = np.mean([0.5 * (h[i] - lo[i]) ** 2 - (2 * math.log(2) - 1) * (c[i] - o[i]) ** 2
                  for i in rows])  # fmt: skip
    assert values("vol_gk", frame)[-1] == pytest.approx(math.sqrt(gk), rel=1e-12)
    rs = np.mean([(h[i] - c[i]) * (h[i] - o[i]) + (lo[i] - c[i]) * (lo[i] - o[i]) for i in rows])
    night = np.var([o[i] - c[i - 1] for i in rows], ddof=1)
    day = np.var([c[i] - o[i] for i in rows], ddof=1)
    k = 0.34 / (1.34 + 21 / 19)
    yz = night + k * day + (1 - k) * rs
    assert values("vol_yz", frame)[-1] == pytest.approx(math.sqrt(yz), rel=1e-12)


# ------------------------------------------------------------------ volume


def test_average_price_of_a_constant_price_is_the_price() -> None:
    frame = flat(30).assign(volume=np.arange(30.0) + 1)
    assert values("vwap_20", frame)[-1] == pytest.approx(100.0, rel=1e-14)
    assert np.isnan(values("vwap_20", flat(30, volume=0.0))).all()


def test_average_price_and_illiquidity_by_a_loop() -> None:
    frame = bars(60, 11)
    frame.iloc[50, frame.columns.get_loc("volume")] = 0.0
    last = frame.iloc[-20:]
    typical = (last["high"] + last["low"] + last["close"]) / 3
    expected = (typical * last["volume"]).sum() / last["volume"].sum()
    assert values("vwap_20", frame)[-1] == pytest.approx(expected, rel=1e-12)
    terms = []
    for i in range(60 - 21, 60):
        r = math.log(frame["close"].iloc[i] / frame["close"].iloc[i - 1])
        dollars = frame["close"].iloc[i] * frame["volume"].iloc[i]
        if dollars:
            terms.append(abs(r) / dollars)
    assert len(terms) == 20
    assert values("amihud_21", frame)[-1] == pytest.approx(1e6 * np.mean(terms), rel=1e-12)


def profile_by_loops(window: pd.DataFrame) -> tuple[float, float, float]:
    """Volume by price with plain loops: 24 bins, 70 %."""
    bottom, top = window["low"].min(), window["high"].max()
    edges = [bottom + (top - bottom) * i / 24 for i in range(25)]
    held = [0.0] * 24
    for bar in window.itertuples():
        for i in range(24):
            if bar.high == bar.low:
                inside = edges[i] <= bar.low < edges[i + 1] or (i == 23 and bar.low == top)
                held[i] += bar.volume * inside
            else:
                overlap = min(bar.high, edges[i + 1]) - max(bar.low, edges[i])
                held[i] += bar.volume * max(overlap, 0.0) / (bar.high - bar.low)
    low = high = held.index(max(held))
    poc = (edges[low] + edges[low + 1]) / 2
    while sum(held[low : high + 1]) < 0.70 * sum(held):
        below = held[low - 1] if low else -1.0
        above = held[high + 1] if high < 23 else -1.0
        if below >= above:
            low -= 1
        else:
            high += 1
    return poc, edges[low], edges[high + 1]


@pytest.mark.parametrize("seed", range(4))
def test_value_area_by_plain_loops(seed: int) -> None:
    frame = bars(60, seed)
    frame.iloc[30, :4] = frame.iloc[30]["close"]  # a bar of one price
    got = np.array([values(name, frame) for name in ("poc", "va_lo", "va_hi")])
    assert np.isnan(got[:, :19]).all()
    for t in range(19, 60):
        expected = profile_by_loops(frame.iloc[t - 19 : t + 1])
        np.testing.assert_allclose(got[:, t], expected, rtol=1e-10)


def test_value_area_of_one_price_is_the_price() -> None:
    for name in ("poc", "va_lo", "va_hi"):
        assert values(name, flat(25))[-1] == 100.0
        assert np.isnan(values(name, flat(25, volume=0.0))[-1])


def test_bulk_classified_imbalance_by_a_loop() -> None:
    frame = bars(120, 12)
    r = np.diff(np.log(frame["close"].to_numpy()), prepend=np.nan)
    above = 0.0
    for t in range(70, 120):
        bought = scipy.stats.norm.cdf(r[t] / np.std(r[t - 19 : t + 1]))
        above += frame["volume"].iloc[t] * abs(bought - (1 - bought))
    expected = above / frame["volume"].iloc[70:].sum()
    assert values("vpin_bvc", frame)[-1] == pytest.approx(expected, rel=1e-10)


# ------------------------------------------------------------------ labels


def test_forward_return_starts_where_one_can_trade() -> None:
    frame = bars(40, 13)
    got = forward_return(5).values(Series.of(frame))
    close = frame["close"].to_numpy()
    assert got[10] == pytest.approx(close[16] / close[11] - 1, rel=1e-14)
    assert np.isnan(got[-6:]).all() and np.isfinite(got[:-6]).all()


def barriers_by_loops(frame: pd.DataFrame, t: int) -> tuple[float, int]:
    close, high, low = (frame[name].to_numpy() for name in ("close", "high", "low"))
    r = np.diff(np.log(close), prepend=np.nan)
    sd = np.std(r[t - 19 : t + 1])
    up, down = close[t + 1] * math.exp(2 * sd), close[t + 1] * math.exp(-2 * sd)
    for i in range(t + 2, t + 23):
        if low[i] <= down:  # the stop first, also where both are touched
            return -1.0, i
        if high[i] >= up:
            return 1.0, i
    return 0.0, t + 22


def test_triple_barrier_and_weights_by_loops() -> None:
    frame = bars(140, 14)
    calm = frame.index[100:]  # barriers of a wild month, and prices that do not reach them
    for name in ("high", "low", "close"):
        frame.loc[calm, name] = (
            frame.loc[calm[0], "close"]
            * (frame.loc[calm, name] / frame.loc[calm[0], "close"]) ** 0.1
        )
    wild = frame.index[60]
    frame.loc[wild, ["high", "low"]] = [frame.loc[wild, "high"] * 1.5, frame.loc[wild, "low"] * 0.5]
    label, t1, weight = (column.values(Series.of(frame)) for column in triple_barrier())
    known = range(20, 140 - 22)
    spans = {}
    for t in known:
        expected, end = barriers_by_loops(frame, t)
        assert label[t] == expected, t
        assert pd.Timestamp(int(t1[t])) == frame.index[end]
        spans[t] = range(t + 1, end + 1)
    assert {-1.0, 0.0, 1.0} == set(label[list(known)])
    assert label[58] == -1.0  # both barriers in one bar
    for t in range(45, 90):  # all that overlap are known
        alive = [sum(bar in span for span in spans.values()) for bar in spans[t]]
        assert weight[t] == pytest.approx(np.mean([1 / n for n in alive]), rel=1e-9)


# ------------------------------------------------------------------ pairs


def cointegrated(rows: int, pairs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    x = 4.0 + np.cumsum(chance.normal(0, 0.01, (rows, pairs)), axis=0)
    noise = np.zeros((rows, pairs))
    for t in range(1, rows):
        noise[t] = 0.9 * noise[t - 1] + chance.normal(0, 0.01, pairs)
    return 0.5 + 1.3 * x + noise, x


def test_engle_granger_is_statsmodels() -> None:
    y, x = cointegrated(252, 6)
    fitted = regressions(y, x)
    for pair in range(6):
        t, p, _ = coint(y[:, pair], x[:, pair], trend="c", maxlag=1, autolag=None)
        assert fitted["coint_t"][pair] == pytest.approx(t, rel=1e-8)
        assert fitted["coint_p"][pair] == pytest.approx(p, rel=1e-8)


def test_false_positives_are_what_the_test_promises() -> None:
    chance = np.random.default_rng(1)
    y, x = np.cumsum(chance.normal(0, 0.01, (2, 252, 2000)), axis=1)
    rejected = (regressions(y, x)["coint_p"] < 0.05).mean()
    assert 0.03 < rejected < 0.075  # a plain ADF of the residuals rejects 19 %


def test_hedge_ratios_are_numpys() -> None:
    y, x = cointegrated(252, 3, 2)
    fitted = regressions(y, x)
    for pair in range(3):
        slope, constant = np.polyfit(x[:, pair], y[:, pair], 1)
        assert fitted["beta_ols"][pair] == pytest.approx(slope, rel=1e-9)
        assert fitted["alpha"][pair] == pytest.approx(constant, rel=1e-8)
        centred = np.column_stack([x[:, pair], y[:, pair]])
        centred = centred - centred.mean(axis=0)
        direction = np.linalg.svd(centred)[2][0]
        assert fitted["beta_tls"][pair] == pytest.approx(direction[1] / direction[0], rel=1e-8)


def test_a_filter_without_noise_is_least_squares() -> None:
    y, x = cointegrated(300, 4, 3)
    beta, _ = kalman(y, x, y.mean(axis=0), x.mean(axis=0), 0.0)
    np.testing.assert_allclose(beta[-1], regressions(y, x)["beta_ols"], rtol=1e-6)


def test_the_filter_by_matrices() -> None:
    y, x = cointegrated(60, 1, 4)
    design = np.column_stack([np.ones(60), x[:, 0] - x[0, 0]])
    state = np.linalg.lstsq(design[:20], y[:20, 0])[0]
    covariance = np.linalg.inv(design[:20].T @ design[:20])
    betas, innovations = [], []
    for t in range(20, 60):
        h = design[t]
        covariance = covariance + 0.01 * np.eye(2)
        innovations.append(y[t, 0] - h @ state)  # what t-1 expected
        gain = covariance @ h / (h @ covariance @ h + 1.0)
        state = state + gain * innovations[-1]
        left = np.eye(2) - np.outer(gain, h)
        covariance = left @ covariance @ left.T + np.outer(gain, gain)
        betas.append(state[1])
    got, innovation = kalman(y, x, np.zeros(1), x[0], 0.01)
    assert np.isnan(got[:20]).all()
    np.testing.assert_allclose(got[20:, 0], betas, rtol=1e-6)
    np.testing.assert_allclose(innovation[20:, 0], innovations, rtol=1e-6, atol=1e-7)


def test_ratios_are_formed_on_the_year_before_the_month() -> None:
    y, x = cointegrated(420, 2, 5)
    date = pd.bdate_range("2020-01-01", periods=420).as_unit("ns")
    block = pair_block(y, x, date.to_numpy())
    first = int(np.flatnonzero(date == "2021-05-03")[0])  # a Monday, the month's first session
    last = int(np.flatnonzero(date == "2021-05-31")[0])
    for pair in range(2):
        year = slice(first - 252, first)
        slope, constant = np.polyfit(x[year, pair], y[year, pair], 1)
        month = block["beta_ols"][first : last + 1, pair]
        np.testing.assert_allclose(month, slope, rtol=1e-9)
        assert len(set(month)) == 1 and block["beta_ols"][last + 1, pair] != month[0]
        residual = y[:, pair] - slope * x[:, pair]
        t = last - 3
        assert block["spread"][t, pair] == pytest.approx(residual[t] - constant, abs=1e-10)
        sixty = residual[t - 59 : t + 1]
        z = (residual[t] - sixty.mean()) / sixty.std()
        assert block["z_60"][t, pair] == pytest.approx(z, rel=1e-8)
        window = residual[t - 125 : t + 1]
        speed = np.polyfit(window[:-1], np.diff(window), 1)[0]
        expected = -math.log(2) / math.log1p(speed)
        assert block["half_life"][t, pair] == pytest.approx(expected, rel=1e-6)


def test_a_pair_of_the_same_is_no_discovery() -> None:
    y, _ = cointegrated(252, 1, 6)
    fitted = regressions(y, y.copy())
    assert fitted["beta_ols"][0] == pytest.approx(1.0)
    assert np.isnan(fitted["coint_t"][0]) and np.isnan(fitted["coint_p"][0])
