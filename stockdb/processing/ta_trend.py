"""Trend indicators by TA-Lib: averages, MACD, directional movement.

A price of a series is above zero or NaN, so that dividing by one, or by an average, is safe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from stockdb.processing import ta
from stockdb.processing.spec import Column, Floats, Series

__all__ = ["TREND", "macd", "wilder_warmup"]

_HLC: Final = ("high", "low", "close")


def ema_warmup(bars: int) -> int:
    """Bars after which an exponential average has forgotten its start to 1e-6, with room.

    Its weight falls by 1 - 2/(n+1) a bar; TA-Lib starts from the mean of the first n.
    """
    return bars + int(np.ceil(1.25 * np.log(1e-8) / np.log(1.0 - 2.0 / (bars + 1.0))))


def wilder_warmup(bars: int) -> int:
    """Return the same for Wilder's average, whose weight falls by 1 - 1/n."""
    return ema_warmup(2 * bars - 1)


def ema(series: Series, bars: int) -> Floats:
    """Exponential moving average of C, computed once."""
    return series.once(("ema", bars), lambda: series.apply(lambda c: ta.EMA(c, bars), "close"))


def macd(series: Series) -> tuple[Floats, Floats, Floats]:
    """MACD(12, 26, 9): line, signal and histogram in the currency of the prices."""
    found: tuple[Floats, Floats, Floats] = series.once(
        "macd", lambda: series.apply(lambda c: ta.MACD(c, 12, 26, 9), "close", outputs=3)
    )
    return found


def _over(
    name: str, bars: int, average: Callable[[Series], Floats], what: str, warm: int
) -> Column:
    return Column(
        name=name,
        definition=f"C / {what} - 1",
        unit="ratio",
        window=bars,
        warmup=warm,
        source="TA-Lib",
        inputs=("close",),
        compute=lambda s: s.close / average(s) - 1.0,
    )


def _sma(bars: int) -> Callable[[Series], Floats]:
    return lambda s: s.once(("sma", bars), lambda: s.apply(lambda c: ta.SMA(c, bars), "close"))


def _directional(function: Callable[..., Any], bars: int, still: int) -> Callable[[Series], Floats]:
    """Compute from high, low and close; undefined where nothing moved for as long as it looks."""

    def compute(series: Series) -> Floats:
        values = series.apply(lambda h, lo, c: function(h, lo, c, bars), *_HLC)
        return series.unless(values, "still", still)

    return compute


def _adx_like(name: str, what: str, function: Callable[..., Any], window: int, warm: int) -> Column:
    return Column(
        name=name,
        definition=f"{what}, 14 bars; NaN where one price stood for 14 bars",
        unit="0..100",
        window=window,
        warmup=warm,
        source="Wilder (1978); TA-Lib",
        inputs=_HLC,
        compute=_directional(function, 14, 14),
    )


def _macd_column(name: str, part: int, what: str) -> Column:
    return Column(
        name=name,
        definition=f"{what} of MACD(12, 26, 9) / C",
        unit="ratio",
        window=34,
        warmup=ema_warmup(26) + ema_warmup(9),
        source="Appel (1979); TA-Lib",
        inputs=("close",),
        compute=lambda s: macd(s)[part] / s.close,
    )


def _aroon(series: Series) -> Floats:
    values = series.apply(lambda h, lo: ta.AROONOSC(h, lo, 25), "high", "low")
    return series.unless(values, "still", 26)


TREND: Final = (
    Column(
        name="sma_20",
        definition="mean of C over 20 bars",
        unit="dollars",
        window=20,
        source="TA-Lib",
        scale_free=False,
        inputs=("close",),
        compute=_sma(20),
    ),
    Column(
        name="ema_26",
        definition="exponential average of C, weight 2/27",
        unit="dollars",
        window=26,
        warmup=ema_warmup(26),
        source="TA-Lib",
        scale_free=False,
        inputs=("close",),
        compute=lambda s: ema(s, 26),
    ),
    *(
        _over(f"c_over_sma_{bars}", bars, _sma(bars), f"mean of C over {bars} bars", bars - 1)
        for bars in (5, 20, 50, 200)
    ),
    _over("c_over_ema_12", 12, lambda s: ema(s, 12), "EMA of 12 bars", ema_warmup(12)),
    _over("c_over_ema_26", 26, lambda s: ema(s, 26), "EMA of 26 bars", ema_warmup(26)),
    _over(
        "c_over_kama_30",
        31,
        lambda s: s.apply(lambda c: ta.KAMA(c, 30), "close"),
        "Kaufman's adaptive average of 30 bars",
        700,
    ),
    _macd_column("macd_over_c", 0, "line"),
    _macd_column("macd_signal_over_c", 1, "signal"),
    _macd_column("macd_hist_over_c", 2, "histogram"),
    _adx_like("adx_14", "average directional index", ta.ADX, 28, 2 * wilder_warmup(14)),
    _adx_like("plus_di_14", "plus directional indicator", ta.PLUS_DI, 15, wilder_warmup(14)),
    _adx_like("minus_di_14", "minus directional indicator", ta.MINUS_DI, 15, wilder_warmup(14)),
    Column(
        name="aroon_osc_25",
        definition="100 x (bars since the lowest low - bars since the highest high) / 25 over 26 "
        "bars; NaN where one price stood for 26 bars",
        unit="-100..100",
        window=26,
        source="Chande (1995); TA-Lib",
        inputs=("high", "low"),
        compute=_aroon,
    ),
    Column(
        name="linreg_slope_20_over_c",
        definition="slope of the regression of C on time over 20 bars / C",
        unit="ratio a bar",
        window=20,
        source="TA-Lib",
        inputs=("close",),
        compute=lambda s: s.apply(lambda c: ta.LINEARREG_SLOPE(c, 20), "close") / s.close,
    ),
    Column(
        name="trix_15",
        definition="change in percent of the threefold exponential average of C, 15 bars",
        unit="percent",
        window=44,
        warmup=3 * ema_warmup(15),
        source="Hutson (1983); TA-Lib",
        inputs=("close",),
        compute=lambda s: s.apply(lambda c: ta.TRIX(c, 15), "close"),
    ),
)
