"""Volatility out of open, high, low and close; a day, not a year."""

from __future__ import annotations

from typing import Final

import numpy as np

from stockdb.processing.spec import Column, Floats, Series, ratio
from stockdb.processing.windows import lag, rolling_mean, rolling_sd

__all__ = ["VOLATILITY"]

_BARS: Final = 20
_2LN2: Final = 2.0 * np.log(2.0)


def _parkinson(series: Series) -> Floats:
    range_ = np.log(ratio(series.high, series.low))
    return np.asarray(np.sqrt(rolling_mean(range_ * range_, _BARS) / (2.0 * _2LN2)))


def _garman_klass(series: Series) -> Floats:
    range_, body = np.log(ratio(series.high, series.low)), np.log(ratio(series.close, series.open))
    variance = rolling_mean(0.5 * range_ * range_ - (_2LN2 - 1.0) * body * body, _BARS)
    return np.sqrt(np.where(variance >= 0.0, variance, np.nan))


def _yang_zhang(series: Series) -> Floats:
    high, low = np.log(ratio(series.high, series.open)), np.log(ratio(series.low, series.open))
    body = np.log(ratio(series.close, series.open))
    overnight = np.log(ratio(series.open, lag(series.close, 1)))
    rogers_satchell = rolling_mean(high * (high - body) + low * (low - body), _BARS)
    k = 0.34 / (1.34 + (_BARS + 1.0) / (_BARS - 1.0))
    variance = (
        np.square(rolling_sd(overnight, _BARS, ddof=1))
        + k * np.square(rolling_sd(body, _BARS, ddof=1))
        + (1.0 - k) * rogers_satchell
    )
    return np.sqrt(np.where(variance >= 0.0, variance, np.nan))


VOLATILITY: Final = (
    Column(
        name="vol_pk",
        definition="sqrt(mean of ln(H/L)^2 over 20 bars / (4 ln 2))",
        unit="a bar",
        window=_BARS,
        source="Parkinson (1980)",
        inputs=("high", "low"),
        compute=_parkinson,
    ),
    Column(
        name="vol_gk",
        definition="sqrt(mean of .5 ln(H/L)^2 - (2 ln 2 - 1) ln(C/O)^2 over 20 bars); NaN where "
        "that mean is negative",
        unit="a bar",
        window=_BARS,
        source="Garman and Klass (1980)",
        inputs=("open", "high", "low", "close"),
        compute=_garman_klass,
    ),
    Column(
        name="vol_yz",
        definition="sqrt(var(ln O/C[t-1]) + k var(ln C/O) + (1 - k) Rogers-Satchell) over 20 "
        "bars, ddof 1, k = .34/(1.34 + 21/19)",
        unit="a bar",
        window=_BARS + 1,
        source="Yang and Zhang (2000)",
        inputs=("open", "high", "low", "close"),
        compute=_yang_zhang,
    ),
)
