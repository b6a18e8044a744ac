"""Mean reversion over rolling windows: z-score, half-life, unit root, Hurst, variance ratio.

The functions take x = ln C, shape (n,), and look at the ``window`` bars that end at row t; rows
before that, and windows with a NaN, are NaN.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.special import ndtr

from stockdb.processing.spec import Column, Floats, Series, ratio
from stockdb.processing.windows import (
    lag,
    regression,
    rolling_flat,
    rolling_mean,
    rolling_sd,
    rolling_sum,
)

__all__ = [
    "MEAN_REVERSION",
    "adf_t",
    "half_life",
    "half_life_of",
    "hurst",
    "ln_close",
    "mackinnon_p",
    "residual_adf_t",
    "variance_ratio",
]

#: MacKinnon (1994), tables 3 and 4, constant, for 1 and 2 variables: the statistic's range,
#: where the two polynomials meet, and their coefficients.
_RANGE: Final = {1: (-18.83, -1.61, 2.74), 2: (-18.86, -2.62, 0.92)}
_SMALL: Final = {1: (2.1659, 1.4412, 0.038269), 2: (2.92, 1.5012, 0.039796)}
_LARGE: Final = {
    1: (1.7339, 0.93202, -0.12745, -0.010368),
    2: (2.1945, 0.64695, -0.29198, -0.042377),
}


def half_life(x: Floats, window: int = 126) -> Floats:
    """Bars in which half of a deviation is expected to be gone.

    Regress x[t] - x[t-1] on x[t-1] and a constant; -ln 2 / ln(1 + beta), NaN unless
    -1 < beta < 0. On a random walk it is finite nearly always: read it with ``adf_p``.
    """
    before = lag(x, 1)
    beta = regression(x - before, before, window - 1)
    return half_life_of(beta)


def half_life_of(beta: Floats) -> Floats:
    """Turn the coefficient of x[t-1] into a half-life."""
    inside = (beta > -1.0) & (beta < 0.0)
    result = np.full_like(beta, np.nan)
    result[inside] = -np.log(2.0) / np.log1p(beta[inside])
    return result


def adf_t(x: Floats, window: int = 126) -> Floats:
    """Augmented Dickey-Fuller statistic with a constant and one lagged difference.

    Dickey and Fuller (1979). Regress dx[t] on x[t-1], dx[t-1] and a constant over the
    window's last ``window - 2`` differences.
    """
    before = lag(x, 1)
    change = x - before
    columns = (before, lag(change, 1), change)
    count = window - 2
    means = [rolling_mean(column, count) for column in columns]
    s = {pair: np.zeros_like(x) for pair in ("00", "01", "11", "0y", "1y", "yy")}
    for bars in range(count):
        a, b, y = (lag(column, bars) - mean for column, mean in zip(columns, means, strict=True))
        s["00"] += a * a
        s["01"] += a * b
        s["11"] += b * b
        s["0y"] += a * y
        s["1y"] += b * y
        s["yy"] += y * y
    result = _t_of_two(s["00"], s["01"], s["11"], s["0y"], s["1y"], s["yy"], count - 3)
    result[rolling_flat(x, window)] = np.nan
    return result


def residual_adf_t(residual: Floats) -> Floats:
    """Engle-Granger statistic: ADF without constant, one lagged difference.

    Parameters
    ----------
    residual : numpy.ndarray
        Shape (m, window): one cointegrating regression's residuals a row.

    Returns
    -------
    numpy.ndarray
        Shape (m,).
    """
    before = residual[:, 1:-1]
    change = np.diff(residual, axis=1)
    b, y = change[:, :-1], change[:, 1:]

    def dot(left: Floats, right: Floats) -> Floats:
        return np.asarray((left * right).sum(axis=1))

    return _t_of_two(
        dot(before, before),
        dot(before, b),
        dot(b, b),
        dot(before, y),
        dot(b, y),
        dot(y, y),
        y.shape[1] - 2,
    )


def _t_of_two(
    s00: Floats, s01: Floats, s11: Floats, s0y: Floats, s1y: Floats, syy: Floats, freedom: int
) -> Floats:
    """T statistic of the first of two regressors, out of their cross products."""
    determinant = s00 * s11 - s01 * s01
    # Where the second regressor explains the first, rounding is all that is left.
    determinant = np.where(determinant > 1e-12 * s00 * s11, determinant, np.nan)
    first = ratio(s11 * s0y - s01 * s1y, determinant)
    second = ratio(s00 * s1y - s01 * s0y, determinant)
    squares = syy - first * s0y - second * s1y
    # A perfect fit leaves rounding noise only, whose t is meaningless.
    squares = np.where(squares > 1e-14 * syy, squares, np.nan)
    return ratio(first, np.sqrt(squares / freedom * s11 / determinant))


def mackinnon_p(t: Floats, variables: int = 1) -> Floats:
    """Approximate p-value of a unit-root (1 variable) or Engle-Granger (2) statistic.

    MacKinnon (1994), "Approximate asymptotic distribution functions for unit-root and
    cointegration tests", Journal of Business and Economic Statistics 12; regression with a
    constant.
    """
    low, meeting, high = _RANGE[variables]
    small = np.polynomial.polynomial.polyval(t, _SMALL[variables])
    large = np.polynomial.polynomial.polyval(t, _LARGE[variables])
    result = np.asarray(ndtr(np.where(t <= meeting, small, large)))
    result = np.where(t > high, 1.0, np.where(t < low, 0.0, result))
    return np.where(np.isnan(t), np.nan, result)


def hurst(x: Floats, window: int = 252, shortest: int = 2, longest: int = 20) -> Floats:
    """Hurst exponent: slope of ln sd(x[t+k] - x[t]) against ln k.

    k runs from ``shortest`` to ``longest``; the sd (ddof 0) is over all differences inside
    the window. Near .5 for a random walk (.485 +- .051 at 500 bars), lower where x reverts.
    """
    scales = np.log(np.arange(shortest, longest + 1.0))
    weights = scales - scales.mean()
    weights /= (weights * weights).sum()
    slope = np.zeros_like(x)
    for weight, k in zip(weights, range(shortest, longest + 1), strict=True):
        change = x - lag(x, k)
        count = window - k
        mean = rolling_mean(change, count)
        variance = rolling_sum(change * change, count) / count - mean * mean
        # Below this only rounding is left: the window is flat or a straight line.
        noise = 1e-12 * rolling_sum(change * change, count) / count
        variance = np.where(variance > noise, variance, np.nan)
        slope += weight * 0.5 * np.log(variance)
    return slope


def variance_ratio(x: Floats, window: int = 252, lags: int = 5) -> Floats:
    """Lo-MacKinlay variance ratio: variance of ``lags``-bar changes over that of single ones.

    Lo and MacKinlay (1988), overlapping and corrected for bias; 1 for a random walk, above
    where changes persist, below where they revert.
    """
    count = window - 1
    mean = (x - lag(x, count)) / count
    single = np.zeros_like(x)
    several = np.zeros_like(x)
    change, longer = x - lag(x, 1), x - lag(x, lags)
    for bars in range(count):
        single += np.square(lag(change, bars) - mean)
    for bars in range(window - lags):
        several += np.square(lag(longer, bars) - lags * mean)
    several /= lags * (count - lags + 1) * (1.0 - lags / count)
    result = ratio(several, single / (count - 1))
    result[rolling_flat(x, window)] = np.nan
    return result


def ln_close(series: Series) -> Floats:
    """Ln C, computed once."""
    return series.once("ln_close", lambda: np.log(series.close))


def _z(series: Series) -> Floats:
    x = ln_close(series)
    return ratio(x - rolling_mean(x, 20), rolling_sd(x, 20))


MEAN_REVERSION: Final = (
    Column(
        name="z_20",
        definition="(ln C - mean) / sd of ln C over 20 bars, ddof 0; NaN where the price is flat",
        unit="standard deviations",
        window=20,
        source="standard score",
        inputs=("close",),
        compute=_z,
    ),
    Column(
        name="half_life",
        definition="-ln 2 / ln(1 + beta) of the regression of x[t] - x[t-1] on x[t-1] and a "
        "constant, x = ln C over 126 bars; NaN unless -1 < beta < 0; finite on most random walks "
        "too, so read it with adf_p",
        unit="bars",
        window=126,
        source="Ornstein-Uhlenbeck half-life; Chan (2013), Algorithmic Trading",
        inputs=("close",),
        compute=lambda s: half_life(ln_close(s)),
    ),
    Column(
        name="adf_p",
        definition="p-value of the augmented Dickey-Fuller test of ln C over 126 bars: constant, "
        "one lagged difference; small rejects a random walk",
        unit="probability",
        window=126,
        source="Dickey and Fuller (1979); p-value MacKinnon (1994)",
        inputs=("close",),
        compute=lambda s: mackinnon_p(adf_t(ln_close(s))),
    ),
    Column(
        name="hurst",
        definition="slope of ln sd(x[t+k] - x[t]) on ln k, k = 2..20, x = ln C over 252 bars, "
        "ddof 0",
        unit="exponent",
        window=252,
        source="Hurst (1951), by the scaling of the sd of differences",
        inputs=("close",),
        compute=lambda s: hurst(ln_close(s)),
    ),
    Column(
        name="vr_5",
        definition="variance of 5-bar changes of ln C over 5 times that of 1-bar changes, "
        "overlapping, corrected for bias, over 252 bars",
        unit="ratio",
        window=252,
        source="Lo and MacKinlay (1988)",
        inputs=("close",),
        compute=lambda s: variance_ratio(ln_close(s)),
    ),
)
