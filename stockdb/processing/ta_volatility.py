"""Ranges and bands by TA-Lib."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from stockdb.processing import ta
from stockdb.processing.spec import Column, Floats, Series, ratio
from stockdb.processing.ta_trend import wilder_warmup
from stockdb.processing.windows import lag

__all__ = ["VOLATILITY_TA", "bollinger"]

_SMA: Final[Any] = 0  # TA-Lib's number of the simple average
_HLC: Final = ("high", "low", "close")
_BARS: Final = 20


def bollinger(series: Series) -> tuple[Floats, Floats, Floats]:
    """Bands of 2 sd (ddof 0) around the mean of C over 20 bars: upper, middle, lower."""

    def bands(close: Floats) -> Any:
        return ta.BBANDS(close, _BARS, 2.0, 2.0, _SMA)

    found: tuple[Floats, Floats, Floats] = series.once(
        "bollinger", lambda: series.apply(bands, "close", outputs=3)
    )
    return found


def _pct_b(series: Series) -> Floats:
    upper, _, lower = bollinger(series)
    # Running sums leave a width of 1e-8 where there is none.
    return series.unless(ratio(series.close - lower, upper - lower), "unchanged", _BARS - 1)


def _width(series: Series) -> Floats:
    upper, middle, lower = bollinger(series)
    width = (upper - lower) / middle
    flat = series.longest("unchanged") >= _BARS - 1
    return np.where(series.unchanged >= _BARS - 1, 0.0, width) if flat else width


def _true_range(series: Series) -> Floats:
    return series.once("trange", lambda: series.apply(lambda h, lo, c: ta.TRANGE(h, lo, c), *_HLC))


def _sd_of_returns(series: Series) -> Floats:
    returns = np.log(ratio(series.close, lag(series.close, 1)))
    values = series.apply(lambda r: ta.STDDEV(r, _BARS, 1.0), returns)
    flat = series.longest("unchanged") >= _BARS
    return np.where(series.unchanged >= _BARS, 0.0, values) if flat else values


VOLATILITY_TA: Final = (
    Column(
        name="atr_14",
        definition="Wilder's average of the true range over 14 bars",
        unit="dollars",
        window=15,
        warmup=wilder_warmup(14),
        source="Wilder (1978); TA-Lib",
        scale_free=False,
        inputs=_HLC,
        compute=lambda s: s.apply(lambda h, lo, c: ta.ATR(h, lo, c, 14), *_HLC),
    ),
    Column(
        name="natr_14",
        definition="100 x atr_14 / C",
        unit="percent",
        window=15,
        warmup=wilder_warmup(14),
        source="Forman (2006); TA-Lib",
        inputs=_HLC,
        compute=lambda s: s.apply(lambda h, lo, c: ta.NATR(h, lo, c, 14), *_HLC),
    ),
    Column(
        name="trange_over_c",
        definition="max(H, C[t-1]) - min(L, C[t-1]), over C[t-1]",
        unit="ratio",
        window=2,
        source="Wilder (1978); TA-Lib",
        inputs=_HLC,
        compute=lambda s: ratio(_true_range(s), lag(s.close, 1)),
    ),
    Column(
        name="pct_b",
        definition="(C - lower) / (upper - lower) of bands 2 sd (ddof 0) around the mean of C over "
        "20 bars; NaN where C stood",
        unit="ratio",
        window=_BARS,
        source="Bollinger (2001); TA-Lib",
        inputs=("close",),
        compute=_pct_b,
    ),
    Column(
        name="bb_width",
        definition="(upper - lower) / middle of the same bands",
        unit="ratio",
        window=_BARS,
        source="Bollinger (2001); TA-Lib",
        inputs=("close",),
        compute=_width,
    ),
    Column(
        name="sd_ret_20",
        definition="standard deviation (ddof 0) of the changes of ln C over 20 bars",
        unit="a bar",
        window=_BARS + 1,
        source="TA-Lib",
        inputs=("close",),
        compute=_sd_of_returns,
    ),
)
