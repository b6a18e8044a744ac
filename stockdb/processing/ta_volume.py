"""Volume indicators by TA-Lib. Levels that only add up (OBV, A/D) never converge: differences."""

from __future__ import annotations

from typing import Final

import numpy as np

from stockdb.processing import ta
from stockdb.processing.spec import Column, Floats, Series, ratio
from stockdb.processing.ta_momentum import where_typical_moved
from stockdb.processing.windows import lag, rolling_sum

__all__ = ["VOLUME_TA"]

_HLC: Final = ("high", "low", "close")
_BARS: Final = 20


def _signed_volume(series: Series) -> Floats:
    """Change of TA-Lib's on-balance volume: V with the sign of the change of C."""

    def change(close: Floats, volume: Floats) -> Floats:
        level: Floats = ta.OBV(close, volume)
        result = np.full_like(level, np.nan)
        result[1:] = np.diff(level)
        return result

    return series.apply(change, "close", "volume")  # type: ignore[no-any-return]


def _accumulated(series: Series) -> Floats:
    """Money flow volume of each bar: V x (2C - H - L) / (H - L), 0 where H = L."""

    def change(high: Floats, low: Floats, close: Floats, volume: Floats) -> Floats:
        return np.asarray(np.diff(ta.AD(high, low, close, volume), prepend=0.0))

    return series.once("ad", lambda: series.apply(change, *_HLC, "volume"))


def _share_of_volume(values: Floats, series: Series) -> Floats:
    """Sum over 20 bars as a share of the volume traded in them."""
    return ratio(rolling_sum(values, _BARS), rolling_sum(series.volume, _BARS))


def _mfi(series: Series) -> Floats:
    values = series.apply(lambda h, lo, c, v: ta.MFI(h, lo, c, v, 14), *_HLC, "volume")
    return series.unless(where_typical_moved(values, series, 14), "untraded", 14)


def _slope(series: Series) -> Floats:
    """Regression slope of the A/D level over 20 bars, as a share of the mean volume."""
    flow = _accumulated(series)
    # The slope of a level follows from its differences: one of `bars` ago raises the last
    # bars + 1 points, whose distances in time from the middle are its weight.
    time = np.arange(_BARS) - (_BARS - 1) / 2.0
    total = np.zeros_like(flow)
    for bars in range(_BARS - 1):
        total += time[_BARS - 1 - bars :].sum() / (time * time).sum() * lag(flow, bars)
    return ratio(total, rolling_sum(series.volume, _BARS) / _BARS)


VOLUME_TA: Final = (
    Column(
        name="obv_diff",
        definition="change of on-balance volume over 20 bars / volume of the same bars",
        unit="ratio",
        window=_BARS + 1,
        source="Granville (1963); TA-Lib",
        inputs=("close", "volume"),
        compute=lambda s: _share_of_volume(_signed_volume(s), s),
    ),
    Column(
        name="cmf_20",
        definition="sum of V x (2C - H - L)/(H - L) over 20 bars / sum of V; bars with H = L add "
        "nothing",
        unit="-1..1",
        window=_BARS,
        source="Chaikin; TA-Lib's A/D line",
        inputs=(*_HLC, "volume"),
        compute=lambda s: _share_of_volume(_accumulated(s), s),
    ),
    Column(
        name="mfi_14",
        definition="100 x positive / total money flow of 14 bars, by the change of (H+L+C)/3; NaN "
        "where that stood or nothing was traded",
        unit="0..100",
        window=15,
        source="Quong and Soudack (1989); TA-Lib",
        inputs=(*_HLC, "volume"),
        compute=_mfi,
    ),
    Column(
        name="ad_slope",
        definition="slope of the accumulation/distribution line over 20 bars / mean volume",
        unit="ratio a bar",
        window=_BARS,
        source="Chaikin; TA-Lib's A/D line",
        inputs=(*_HLC, "volume"),
        compute=_slope,
    ),
    Column(
        name="rvol_20",
        definition="V / mean of V[t-20 .. t-1]",
        unit="ratio",
        window=_BARS + 1,
        source="relative volume",
        inputs=("volume",),
        compute=lambda s: ratio(s.volume, lag(rolling_sum(s.volume, _BARS), 1) / _BARS),
    ),
)
