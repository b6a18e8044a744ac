"""P5: 30 indicators of 500 symbols, against the same functions of TA-Lib alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import talib

from benchmarks.common import paired
from stockdb.processing.evaluate import evaluate
from stockdb.processing.indicators import indicators

SYMBOLS = 500
ROWS = 3700
PAIRS = 3
BAR = 1.3
NAMES = (
    "c_over_sma_5", "c_over_sma_20", "c_over_sma_50", "c_over_sma_200", "c_over_ema_12",
    "c_over_ema_26", "c_over_kama_30", "macd_over_c", "macd_signal_over_c", "macd_hist_over_c",
    "adx_14", "plus_di_14", "minus_di_14", "aroon_osc_25", "linreg_slope_20_over_c", "trix_15",
    "rsi_14", "rsi_2", "cmo_14", "roc_10", "stoch_k_14", "stoch_d_14", "willr_14", "cci_20",
    "ultosc", "bop", "natr_14", "pct_b", "bb_width", "mfi_14",
)  # fmt: skip


def alone(o: Any, h: Any, lo: Any, c: Any, v: Any) -> list[Any]:
    """Call the functions of TA-Lib that the 30 columns rest on, each once."""
    return [
        *(talib.SMA(c, bars) for bars in (5, 20, 50, 200)),
        *(talib.EMA(c, bars) for bars in (12, 26)),
        talib.KAMA(c, 30),
        *talib.MACD(c, 12, 26, 9),
        talib.ADX(h, lo, c, 14),
        talib.PLUS_DI(h, lo, c, 14),
        talib.MINUS_DI(h, lo, c, 14),
        talib.AROONOSC(h, lo, 25),
        talib.LINEARREG_SLOPE(c, 20),
        talib.TRIX(c, 15),
        talib.RSI(c, 14),
        talib.RSI(c, 2),
        talib.CMO(c, 14),
        talib.ROC(c, 10),
        *talib.STOCH(h, lo, c, 14, 3, 0, 3, 0),  # type: ignore[arg-type]
        talib.WILLR(h, lo, c, 14),
        talib.CCI(h, lo, c, 20),
        talib.ULTOSC(h, lo, c, 7, 14, 28),
        talib.BOP(o, h, lo, c),
        talib.NATR(h, lo, c, 14),
        *talib.BBANDS(c, 20, 2.0, 2.0),
        talib.MFI(h, lo, c, v, 14),
    ]


def frame_of(symbols: int) -> pd.DataFrame:
    """Random walks in the long form."""
    random = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.015, (symbols, ROWS)), axis=1)).ravel()
    opened = close * np.exp(random.normal(0, 0.005, close.size))
    index = pd.MultiIndex.from_product(
        [[f"S{n:03d}" for n in range(symbols)], pd.bdate_range("2010-01-04", periods=ROWS)],
        names=["symbol", "date"],
    )
    data = {
        "open": opened,
        "high": np.maximum(opened, close) * 1.004,
        "low": np.minimum(opened, close) * 0.996,
        "close": close,
        "volume": np.round(1e6 * np.exp(random.normal(0, 0.4, close.size))),
    }
    return pd.DataFrame(data, index=index)


def run() -> dict[str, Any]:
    """One frame of all symbols in, 30 columns out; the peer gets contiguous arrays."""
    frame = frame_of(SYMBOLS)
    columns = indicators(NAMES)
    names = ("open", "high", "low", "close", "volume")
    arrays = [
        tuple(
            np.ascontiguousarray(frame[name].to_numpy()[n * ROWS : (n + 1) * ROWS])
            for name in names
        )
        for n in range(SYMBOLS)
    ]

    def ours(_: int) -> pd.DataFrame:
        return evaluate(frame, columns)

    def peer(_: int) -> np.ndarray[Any, Any]:
        block = np.empty((31, SYMBOLS * ROWS))  # the bands are three
        for number, bars in enumerate(arrays):
            for values, result in zip(block, alone(*bars), strict=True):
                values[number * ROWS : (number + 1) * ROWS] = result
        return block

    assert ours(0).shape == (SYMBOLS * ROWS, 30)
    peer(0)
    own, other, ratio = paired(ours, peer, PAIRS)
    return {
        "ours": own,
        "peer": other,
        "ratio": ratio,
        "bar": BAR,
        "ok": ratio <= BAR,
        "bytes": 0,
        "unit": "s",
        "peer_is": "the same functions of TA-Lib alone, from contiguous arrays into one block",
    }
