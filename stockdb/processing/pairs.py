"""Pairs of symbols: hedge ratios, cointegration and the spread, on ln C.

The regressions are formed anew at each month's first session, on the `FORMATION` sessions before
it, and stay as they are within the month (Gatev, Goetzmann and Rouwenhorst 2006). Everything is
vectorised over pairs: arrays have the shape (rows, pairs), time along the first axis.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from stockdb.processing.spec import Column, Floats, Series, ratio
from stockdb.processing.statistics import half_life_of, ln_close, mackinnon_p, residual_adf_t
from stockdb.processing.windows import lag, rolling_mean

__all__ = ["FORMATION", "PAIRS", "WARMUP", "kalman", "pair_block", "regressions"]

FORMATION: Final = 252
_Z_BARS: Final = 60
_HALF_LIFE_BARS: Final = 126
_Q_OVER_R: Final = 0.01
#: A month has 23 sessions at most; its first one looks back on the formation.
WARMUP: Final = FORMATION + 23
#: Bars whose least squares the Kalman filter starts from, and the information, in units of
#: 1/R, that it is given about the slope where x stood still in them.
_START: Final = 20
_FAINT: Final = 1e-9


def pair_block(y: Floats, x: Floats, date: npt.NDArray[np.datetime64]) -> dict[str, Floats]:
    """Compute all columns of many pairs that share their dates.

    Parameters
    ----------
    y, x : ndarray of float64, shape (rows, pairs)
        ln C of both legs on the sessions that both have.
    date : ndarray of datetime64[ns], shape (rows,)

    Returns
    -------
    dict of str to ndarray of float64, shape (rows, pairs)
        NaN where a window is not full or holds a NaN.
    """
    names = [column.name for column in PAIRS]
    block = {name: np.full(y.shape, np.nan) for name in names}
    slope, intercept = np.full(y.shape, np.nan), np.full(y.shape, np.nan)
    for begin, end in _months(date):
        if begin < FORMATION:
            continue
        formation, month = slice(begin - FORMATION, begin), slice(begin, end)
        fitted = regressions(y[formation], x[formation])
        for name in ("beta_ols", "beta_tls", "coint_t", "coint_p"):
            block[name][month] = fitted[name]
        slope[month], intercept[month] = fitted["beta_ols"], fitted["alpha"]
        held = slice(begin - FORMATION, end)
        beta, innovation = kalman(
            y[held], x[held], y[formation].mean(axis=0), x[formation].mean(axis=0), _Q_OVER_R
        )
        block["beta_kf"][month] = beta[FORMATION:]
        block["innov_kf"][month] = innovation[FORMATION:]
    block["spread"] = y - intercept - slope * x
    block["z_60"] = _z(y, x, slope)
    block["half_life"] = _half_life(y, x, slope)
    return block


def _months(date: npt.NDArray[np.datetime64]) -> list[tuple[int, int]]:
    """First row of each month, and the row after its last."""
    month = date.astype("datetime64[M]")
    changes = (np.flatnonzero(month[1:] != month[:-1]) + 1).tolist()
    return list(zip([0, *changes], [*changes, len(date)], strict=True))


def regressions(y: Floats, x: Floats) -> dict[str, Floats]:
    """Fit y on x by least squares and by total least squares, and test for cointegration.

    Parameters
    ----------
    y, x : ndarray of float64, shape (bars, pairs)

    Returns
    -------
    dict of str to ndarray of float64, shape (pairs,)
        ``alpha`` and ``beta_ols`` of the regression with a constant, ``beta_tls`` (slope of the
        line with the least squared distances at right angles), ``coint_t`` and ``coint_p``
        (Engle-Granger: unit root of the residuals, one lagged difference, constant). NaN where
        a leg did not move, or one value is missing.
    """
    mean_y, mean_x = y.mean(axis=0), x.mean(axis=0)
    dy, dx = y - mean_y, x - mean_x
    moved = (y.max(axis=0) > y.min(axis=0)) & (x.max(axis=0) > x.min(axis=0))
    sxx = np.where(moved, (dx * dx).sum(axis=0), np.nan)
    sxy, syy = (dx * dy).sum(axis=0), (dy * dy).sum(axis=0)
    beta = ratio(sxy, sxx)
    residual = dy - beta * dx
    # One leg that is the other, or a multiple: there is no residual but rounding.
    noise = (residual * residual).sum(axis=0) <= 1e-18 * syy
    t = residual_adf_t(np.ascontiguousarray(residual.T))
    t[noise] = np.nan
    difference = syy - sxx
    return {
        "alpha": mean_y - beta * mean_x,
        "beta_ols": beta,
        "beta_tls": ratio(difference + np.sqrt(difference**2 + 4.0 * sxy * sxy), 2.0 * sxy),
        "coint_t": t,
        "coint_p": mackinnon_p(t, variables=2),
    }


def kalman(
    y: Floats, x: Floats, centre_y: Floats, centre_x: Floats, q_over_r: float
) -> tuple[Floats, Floats]:
    """Follow y = intercept + beta x, whose state walks randomly, bar by bar.

    Parameters
    ----------
    y, x : ndarray of float64, shape (bars, pairs)
    centre_y, centre_x : ndarray of float64, shape (pairs,)
        Subtracted before, which changes the intercept alone: no precision is lost to the level
        of prices.
    q_over_r : float
        Variance of a step of either state over that of the observation; 0 gives least squares.

    Returns
    -------
    (ndarray, ndarray) of float64, shape (bars, pairs)
        beta after each bar, and the innovation: y less what the state of the bar before
        expected. NaN in the first 20 bars, whose least squares the filter starts from, and from
        a missing value on.

    Notes
    -----
    Kalman (1960); for pairs Chan (2013), Algorithmic Trading, chapter 3.
    """
    beta, innovation = np.full_like(y, np.nan), np.full_like(y, np.nan)
    start = x[:_START] - centre_x, y[:_START] - centre_y
    middle = start[0].mean(axis=0)
    deviation = start[0] - middle
    pbb = 1.0 / ((deviation * deviation).sum(axis=0) + _FAINT)
    b = (deviation * start[1]).sum(axis=0) * pbb
    a = start[1].mean(axis=0) - b * middle
    pab, paa = -middle * pbb, 1.0 / _START + middle * middle * pbb
    for bar in range(_START, len(y)):
        h = x[bar] - centre_x
        paa, pbb = paa + q_over_r, pbb + q_over_r
        error = y[bar] - centre_y - (a + b * h)
        ga, gb = paa + pab * h, pab + pbb * h  # P h
        total = ga + gb * h + 1.0
        ka, kb = ga / total, gb / total
        a, b = a + ka * error, b + kb * error
        # Joseph's form keeps the covariance positive.
        ca, cb = 1.0 - ka, 1.0 - kb * h
        da, db = ka * h, kb
        paa, pab, pbb = (
            ca * ca * paa - 2.0 * ca * da * pab + da * da * pbb + ka * ka,
            -ca * db * paa + (ca * cb + da * db) * pab - da * cb * pbb + ka * kb,
            db * db * paa - 2.0 * db * cb * pab + cb * cb * pbb + kb * kb,
        )
        beta[bar], innovation[bar] = b, error
    return beta, innovation


def _z(y: Floats, x: Floats, slope: Floats) -> Floats:
    """Give the standard score of the spread over 60 bars, all of them at today's slope."""
    spread = y - slope * x
    mean = rolling_mean(y, _Z_BARS) - slope * rolling_mean(x, _Z_BARS)
    total = np.zeros_like(y)
    for bars in range(_Z_BARS):
        total += np.square(lag(y, bars) - slope * lag(x, bars) - mean)
    deviation = np.sqrt(total / _Z_BARS)
    # What rounding leaves of a spread that does not move is no deviation.
    return ratio(spread - mean, np.where(deviation > 1e-12, deviation, np.nan))


def _half_life(y: Floats, x: Floats, slope: Floats) -> Floats:
    """Half-life of the spread over 126 bars, all of them at today's slope."""
    count = _HALF_LIFE_BARS - 1
    mean = rolling_mean(y, count) - slope * rolling_mean(x, count)  # of the later values
    before = rolling_mean(lag(y, 1), count) - slope * rolling_mean(lag(x, 1), count)
    sxx, sxy = np.zeros_like(y), np.zeros_like(y)
    later = y - slope * x
    for bars in range(1, _HALF_LIFE_BARS):
        earlier = lag(y, bars) - slope * lag(x, bars)
        deviation = earlier - before
        sxx += deviation * deviation
        sxy += deviation * ((later - earlier) - (mean - before))
        later = earlier
    return half_life_of(ratio(sxy, np.where(sxx > 1e-20 * count, sxx, np.nan)))


def _of(name: str) -> Any:
    def compute(series: Series) -> Floats:
        def make() -> dict[str, Floats]:
            return pair_block(
                ln_close(series)[:, None], np.log(series.input("x"))[:, None], series.date
            )

        return np.ascontiguousarray(series.once("pair", make)[name][:, 0])

    return compute


def _column(name: str, definition: str, unit: str, window: int, source: str) -> Column:
    return Column(
        name=name,
        definition=definition,
        unit=unit,
        window=window,
        warmup=WARMUP,
        source=source,
        inputs=("close", "x"),
        compute=_of(name),
    )


_FORMED: Final = (
    f"on the {FORMATION} common sessions before the month's first one, constant within the month"
)
PAIRS: Final = (
    _column(
        "beta_ols", f"slope of ln y on ln x and a constant, {_FORMED}", "ratio", FORMATION + 1,
        "Gatev, Goetzmann and Rouwenhorst (2006), formation period",
    ),
    _column(
        "beta_tls", f"slope of total least squares of ln y and ln x, {_FORMED}", "ratio",
        FORMATION + 1, "Golub and Van Loan (1980)",
    ),
    _column(
        "beta_kf",
        "slope after bar t of ln y on ln x, intercept and slope a random walk with Q/R = .01, "
        f"started {FORMATION} sessions before the month",
        "ratio", FORMATION + 1, "Kalman (1960); Chan (2013)",
    ),
    _column(
        "innov_kf", "ln y less what the state of t-1 expected of it", "ln dollars",
        FORMATION + 1, "Kalman (1960); Chan (2013)",
    ),
    _column(
        "coint_t",
        f"Engle-Granger statistic of ln y on ln x: constant, one lagged difference, {_FORMED}; "
        "the other order is the row of (x, y)",
        "t statistic", FORMATION + 1, "Engle and Granger (1987)",
    ),
    _column(
        "coint_p",
        "p-value of coint_t; of many pairs tested some are small by chance: see n_pairs_tested",
        "probability", FORMATION + 1, "MacKinnon (1994)",
    ),
    _column(
        "spread", "ln y - beta_ols x ln x - the regression's constant", "ln dollars",
        FORMATION + 1, "Engle and Granger (1987)",
    ),
    _column(
        "z_60",
        "(ln y - beta_ols x ln x less its mean) / its sd over 60 sessions, ddof 0, all at the "
        "beta of t",
        "standard deviations", FORMATION + 1, "Gatev, Goetzmann and Rouwenhorst (2006)",
    ),
    _column(
        "half_life",
        "half-life of ln y - beta_ols x ln x over 126 sessions, all at the beta of t; NaN unless "
        "-1 < beta of the regression < 0; read it with coint_p",
        "sessions", FORMATION + 1, "Ornstein-Uhlenbeck half-life; Chan (2013)",
    ),
)  # fmt: skip
