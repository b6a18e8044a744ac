"""The catalogue against TA-Lib, against definitions written out, and over leaks and defects."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import talib

from stockdb.errors import ConfigurationError
from stockdb.processing import leaks
from stockdb.processing.evaluate import evaluate
from stockdb.processing.indicators import BASIC, CATALOGUE, STANDARD, catalogue, indicators
from stockdb.processing.spec import Column
from stockdb.processing.windows import lag
from tests.unit.processing.bars import bars, many

NAMES = list(CATALOGUE)
FRAME = bars(900, seed=5)
OP, H, L, C, V = (FRAME[name].to_numpy() for name in ("open", "high", "low", "close", "volume"))


def value(name: str, frame: pd.DataFrame = FRAME) -> np.ndarray:
    return evaluate(frame, [CATALOGUE[name]])[name].to_numpy()


def lagged(x: np.ndarray, bars: int = 1) -> np.ndarray:
    return np.append(np.full(bars, np.nan), x[:-bars])


# ------------------------------------------------------------------ TA-Lib, called directly

TALIB = {
    "sma_20": lambda: talib.SMA(C, 20),
    "ema_26": lambda: talib.EMA(C, 26),
    "c_over_sma_50": lambda: C / talib.SMA(C, 50) - 1,
    "c_over_kama_30": lambda: C / talib.KAMA(C, 30) - 1,
    "macd_over_c": lambda: talib.MACD(C)[0] / C,
    "macd_signal_over_c": lambda: talib.MACD(C)[1] / C,
    "macd_hist_over_c": lambda: talib.MACD(C)[2] / C,
    "adx_14": lambda: talib.ADX(H, L, C),
    "plus_di_14": lambda: talib.PLUS_DI(H, L, C),
    "minus_di_14": lambda: talib.MINUS_DI(H, L, C),
    "aroon_osc_25": lambda: talib.AROONOSC(H, L, 25),
    "linreg_slope_20_over_c": lambda: talib.LINEARREG_SLOPE(C, 20) / C,
    "trix_15": lambda: talib.TRIX(C, 15),
    "rsi_14": lambda: talib.RSI(C, 14),
    "rsi_2": lambda: talib.RSI(C, 2),
    "cmo_14": lambda: talib.CMO(C, 14),
    "roc_10": lambda: talib.ROC(C, 10),
    "stoch_k_14": lambda: talib.STOCH(H, L, C, 14, 3, 0, 3, 0)[0],
    "stoch_d_14": lambda: talib.STOCH(H, L, C, 14, 3, 0, 3, 0)[1],
    "willr_14": lambda: talib.WILLR(H, L, C, 14),
    "cci_20": lambda: talib.CCI(H, L, C, 20),
    "ultosc": lambda: talib.ULTOSC(H, L, C),
    "bop": lambda: talib.BOP(OP, H, L, C),
    "atr_14": lambda: talib.ATR(H, L, C, 14),
    "natr_14": lambda: talib.NATR(H, L, C, 14),
    "mfi_14": lambda: talib.MFI(H, L, C, V, 14),
}


@pytest.mark.parametrize("name", TALIB)
def test_equals_talib_on_clean_bars(name: str) -> None:
    np.testing.assert_allclose(value(name), TALIB[name](), rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------ written from the definitions


def rolling(function, window: int) -> np.ndarray:
    result = np.full(len(C), np.nan)
    for row in range(window - 1, len(C)):
        result[row] = function(slice(row - window + 1, row + 1))
    return result


def wilder_rsi(bars: int) -> np.ndarray:
    """Wilder's own recursion: seeded by plain means, then (13 old + new) / 14."""
    change = np.diff(C)
    gain, loss = np.maximum(change, 0), np.maximum(-change, 0)
    result = np.full(len(C), np.nan)
    up, down = gain[:bars].mean(), loss[:bars].mean()
    result[bars] = 100 * up / (up + down)
    for row in range(bars, len(change)):
        up = (up * (bars - 1) + gain[row]) / bars
        down = (down * (bars - 1) + loss[row]) / bars
        result[row + 1] = 100 * up / (up + down)
    return result


def flow(part: slice) -> float:
    multiplier = (2 * C[part] - H[part] - L[part]) / (H[part] - L[part])
    return float((multiplier * V[part]).sum())


def ad_slope(part: slice) -> float:
    level = np.cumsum((2 * C[part] - H[part] - L[part]) / (H[part] - L[part]) * V[part])
    return float(np.polyfit(np.arange(20.0), level, 1)[0] / V[part].mean())


LN = np.append(np.nan, np.diff(np.log(C)))
WRITTEN = {
    "rsi_14": lambda: wilder_rsi(14),
    "returns": lambda: C / lagged(C) - 1,
    "log_returns": lambda: LN,
    "typical_price": lambda: (H + L + C) / 3,
    "vwap": lambda: (H + L + C) / 3,
    "pct_b": lambda: rolling(
        lambda w: (C[w][-1] - C[w].mean() + 2 * C[w].std()) / (4 * C[w].std()), 20
    ),
    "bb_width": lambda: rolling(lambda w: 4 * C[w].std() / C[w].mean(), 20),
    "sd_ret_20": lambda: rolling(lambda w: LN[w].std(), 20),
    "obv_diff": lambda: rolling(
        lambda w: (np.sign(np.diff(C[w])) * V[w][1:]).sum() / V[w][1:].sum(), 21
    ),
    "cmf_20": lambda: rolling(lambda w: flow(w) / V[w].sum(), 20),
    "ad_slope": lambda: rolling(ad_slope, 20),
    "rvol_20": lambda: rolling(lambda w: V[w][-1] / V[w][:-1].mean(), 21),
    "trange_over_c": lambda: (
        np.maximum(H, lagged(C)) - np.minimum(L, lagged(C))
    ) / lagged(C),
    "willr_14": lambda: rolling(
        lambda w: -100 * (H[w].max() - C[w][-1]) / (H[w].max() - L[w].min()), 14
    ),
    "roc_20": lambda: 100 * (C / lagged(C, 20) - 1),
    "bop": lambda: (C - OP) / (H - L),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_equals_its_definition(name: str) -> None:
    np.testing.assert_allclose(value(name), WRITTEN[name](), rtol=1e-9, atol=1e-9)


# ------------------------------------------------------------------ warm-up, leaks, over all


def computed(frame: pd.DataFrame) -> pd.DataFrame:
    return evaluate(frame, list(CATALOGUE.values()))


def test_no_column_reads_the_future() -> None:
    """Rows up to t, bit for bit, from the bars up to t alone, and with other bars after t."""
    assert leaks.prefix(computed, bars(700, 1), cuts=4) == []
    assert leaks.perturbed(computed, bars(700, 1), cuts=4) == []


def test_no_column_reads_another_symbol() -> None:
    assert leaks.other_symbols(computed, many(3, 400)) == []


def test_scale_free_columns_do_not_see_a_later_split() -> None:
    free = [name for name, column in CATALOGUE.items() if column.scale_free]
    assert leaks.later_event(computed, bars(700, 2), free) == []
    others = {leak.column for leak in leaks.later_event(computed, bars(700, 2))}
    assert others == set(CATALOGUE) - set(free)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NAMES)
def test_warm_up_is_long_enough(name: str, seed: int) -> None:
    """60 rows equal the tail of 2,000, relative 1e-6."""
    column = CATALOGUE[name]
    frame = bars(2000, 10 + seed)
    assert leaks.look_back(lambda part: evaluate(part, [column]), frame, column.warmup) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_first_warm_row_has_a_value(name: str) -> None:
    column = CATALOGUE[name]
    last = value(name, bars(column.warmup + 1, 4))[-1]
    assert np.isfinite(last) or name == "half_life"  # of a walk that does not revert: NaN
    if column.window > 1:
        assert np.isnan(value(name, bars(column.window - 1, 4))[-1])


def planted(ahead: int) -> Column:
    return Column(
        name="planted", definition="C[t+n] / C - 1", unit="ratio", window=1, source="-",
        inputs=("close",), compute=lambda s: lag(s.close, -ahead) / s.close - 1,
    )  # fmt: skip


@pytest.mark.parametrize("ahead", [1, 26])
def test_a_leak_planted_among_the_columns_is_the_one_that_is_found(ahead: int) -> None:
    columns = [*CATALOGUE.values(), planted(ahead)]
    for test in (leaks.prefix, leaks.perturbed):
        (leak,) = test(lambda frame: evaluate(frame, columns), bars(500, 1), cuts=1)
        assert (leak.column, leak.reach) == ("planted", ahead)
        assert f"reads {ahead} bar" in str(leak)


# ------------------------------------------------------------------ defects


def holed(*rows: int) -> pd.DataFrame:
    frame = FRAME.copy()
    frame.iloc[list(rows)] = np.nan
    return frame


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_bar_spoils_what_looks_at_it_and_nothing_later(name: str) -> None:
    """After the hole each column starts anew, as if the bars before it had never been."""
    column = CATALOGUE[name]
    after = value(name, holed(300))
    anew = value(name, FRAME.iloc[301:])
    begins = column.window - 1
    np.testing.assert_array_equal(after[:300], value(name)[:300])
    assert np.isnan(after[300])
    assert np.isnan(after[301 : 301 + begins - 1]).all()
    later = after[301 + begins :]
    np.testing.assert_allclose(later, anew[begins:], rtol=1e-9, atol=1e-9)


def halted() -> pd.DataFrame:
    """Forty bars at one price without a trade."""
    frame = FRAME.copy()
    frame.iloc[300:340, :4] = FRAME["close"].iloc[299]
    frame.iloc[300:340, 4] = 0.0
    return frame


UNDEFINED_WHEN_HALTED = {
    "rsi_14": 14, "rsi_2": 2, "cmo_14": 14, "stoch_k_14": 14, "stoch_d_14": 14, "willr_14": 14,
    "cci_20": 20, "ultosc": 8, "bop": 1, "adx_14": 14, "plus_di_14": 14, "minus_di_14": 14,
    "aroon_osc_25": 26, "pct_b": 20, "mfi_14": 14, "vwap": 1, "z_20": 20,
}  # fmt: skip


@pytest.mark.parametrize("name", UNDEFINED_WHEN_HALTED)
def test_of_a_halted_stock_an_oscillator_is_undefined(name: str) -> None:
    values = value(name, halted())
    assert np.isnan(values[300 + UNDEFINED_WHEN_HALTED[name] : 340]).all()
    assert np.isfinite(values[290:300]).all()
    assert np.isfinite(values[380:]).all()


def test_a_halted_stock_has_no_volatility_and_nothing_is_infinite() -> None:
    values = computed(halted())
    assert not np.isinf(values.to_numpy()).any()
    for name in ("bb_width", "sd_ret_20", "vol_pk"):
        assert values[name].iloc[330] == 0.0


def test_a_typical_price_that_stands_has_no_flow_and_no_deviation() -> None:
    """Ranges of 2 around one price: what compares its changes has nothing to compare."""
    frame = FRAME.copy()
    frame.iloc[300:340, :4] = [100.0, 101.0, 99.0, 100.0]
    mfi, cci = value("mfi_14", frame), value("cci_20", frame)
    assert np.isnan(mfi[314:340]).all() and np.isfinite(mfi[[313, 340]]).all()
    assert np.isnan(cci[319:340]).all() and np.isfinite(cci[[318, 340]]).all()
    assert np.isfinite(value("willr_14", frame)[300:340]).all()


def test_no_volume_at_all() -> None:
    values = computed(FRAME.assign(volume=0.0))
    for name in ("obv_diff", "cmf_20", "mfi_14", "ad_slope", "rvol_20", "vwap"):
        assert values[name].isna().all()
    assert values["rsi_14"].notna().sum() > 800


def test_prices_that_are_no_prices_count_as_missing() -> None:
    zero, hole = FRAME.copy(), FRAME.copy()
    zero.iloc[300, :4], hole.iloc[300, :4] = 0.0, np.nan
    pd.testing.assert_frame_equal(computed(zero), computed(hole))


# ------------------------------------------------------------------ intraday


def test_intraday_vwap_begins_with_each_session() -> None:
    index = pd.DatetimeIndex(
        ["2024-03-08 15:55", "2024-03-08 16:00", "2024-03-11 09:30", "2024-03-11 09:35"],
        tz="America/New_York",
    )
    frame = pd.DataFrame(
        {"open": 1.0, "high": [3.0, 6, 9, 3], "low": [3.0, 6, 9, 3], "close": [3.0, 6, 9, 3],
         "volume": [1.0, 2, 0, 4]},
        index=index,
    )  # fmt: skip
    values = evaluate(frame, [CATALOGUE["vwap"]])["vwap"].to_numpy()
    np.testing.assert_array_equal(values, [3.0, 5.0, np.nan, 3.0])


# ------------------------------------------------------------------ names


def test_names_and_sets() -> None:
    assert indicators(None) == BASIC
    assert [column.name for column in indicators("standard")] == list(STANDARD)
    assert [column.name for column in indicators("all")] == NAMES
    own = Column(
        name="own", definition="1", unit="-", window=1, source="-",
        inputs=("close",), compute=lambda s: np.ones(len(s)),
    )  # fmt: skip
    assert [column.name for column in indicators(["rsi_14", own, "rsi_14"])] == ["rsi_14", "own"]


def test_a_misspelt_name_is_told_with_what_it_may_be() -> None:
    with pytest.raises(ConfigurationError, match="rsi_14"):
        indicators(["rsi14"])


def test_the_catalogue_is_complete_and_json() -> None:
    table = catalogue()
    assert len(table) == len(NAMES) >= 40
    for name, column in CATALOGUE.items():
        assert name == column.name and column.role == "feature"
        described = json.loads(json.dumps(column.describe()))
        assert all(described[key] for key in ("definition", "unit", "source", "window"))
