"""A set of 157 ratios of bars, after Alpha158 of Microsoft's Qlib (Yang et al., 2020).

The shape of a bar, and 29 statistics of its last 5, 10, 20, 30 and 60 bars, all free of scale:
prices over C[t], volumes over V[t]. It differs from Alpha158 in four points. VWAP0 is left
out: daily bars have no average price of their own. A window is undefined (NaN) until it is full;
Qlib begins with one bar. What Qlib divides by x + 1e-12 is undefined where x is 0. ``a_corr``
takes ln V instead of ln(V + 1), so that a later split leaves it as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from stockdb.processing.spec import Column, Floats, Series, ratio
from stockdb.processing.windows import (
    lag,
    rolling_flat,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_sd,
    rolling_sum,
)

__all__ = ["ALPHA", "WINDOWS"]

WINDOWS: Final = (5, 10, 20, 30, 60)
_SOURCE: Final = "Qlib, Alpha158; Yang et al. (2020)"
_OHLC: Final = ("open", "high", "low", "close")
#: Rows whose windows are sorted at a time, which bounds memory.
_ROWS: Final = 4096

Statistic = Callable[[Series, int], Floats]


def _bar(name: str, definition: str, compute: Callable[[Series], Floats]) -> Column:
    return Column(
        name=f"a_{name}",
        definition=definition,
        unit="ratio",
        window=1,
        source=_SOURCE,
        inputs=_OHLC,
        compute=compute,
    )


def _range(series: Series) -> Floats:
    return series.high - series.low


def _body_top(series: Series) -> Floats:
    return np.maximum(series.open, series.close)


def _body_bottom(series: Series) -> Floats:
    return np.minimum(series.open, series.close)


def _shift(series: Series) -> Floats:
    return 2.0 * series.close - series.high - series.low


_BAR: Final = (
    _bar("kmid", "(C - O)/O", lambda s: ratio(s.close - s.open, s.open)),
    _bar("klen", "(H - L)/O", lambda s: ratio(_range(s), s.open)),
    _bar("kmid2", "(C - O)/(H - L)", lambda s: ratio(s.close - s.open, _range(s))),
    _bar("kup", "(H - max(O, C))/O", lambda s: ratio(s.high - _body_top(s), s.open)),
    _bar("kup2", "(H - max(O, C))/(H - L)", lambda s: ratio(s.high - _body_top(s), _range(s))),
    _bar("klow", "(min(O, C) - L)/O", lambda s: ratio(_body_bottom(s) - s.low, s.open)),
    _bar("klow2", "(min(O, C) - L)/(H - L)", lambda s: ratio(_body_bottom(s) - s.low, _range(s))),
    _bar("ksft", "(2 C - H - L)/O", lambda s: ratio(_shift(s), s.open)),
    _bar("ksft2", "(2 C - H - L)/(H - L)", lambda s: ratio(_shift(s), _range(s))),
    _bar("open0", "O/C", lambda s: ratio(s.open, s.close)),
    _bar("high0", "H/C", lambda s: ratio(s.high, s.close)),
    _bar("low0", "L/C", lambda s: ratio(s.low, s.close)),
)

# ------------------------------------------------------------------ of windows


def _sorted(x: Floats, bars: int, reduce: Callable[[Floats], Floats]) -> Floats:
    """Reduce each window by what does not depend on the order in which numbers are added."""
    result = np.full(len(x), np.nan)
    if len(x) < bars:
        return result
    windows = np.lib.stride_tricks.sliding_window_view(x, bars)
    for first in range(0, len(windows), _ROWS):
        part = windows[first : first + _ROWS]
        found = reduce(part)
        begin = first + bars - 1
        result[begin : begin + len(part)] = np.where(np.isnan(part).any(axis=1), np.nan, found)
    return result


def _quantile(share: float) -> Statistic:
    def compute(series: Series, bars: int) -> Floats:
        place = share * (bars - 1)
        low, part = int(place), place - int(place)

        def reduce(windows: Floats) -> Floats:
            ranked = np.partition(windows, [low, min(low + 1, bars - 1)], axis=1)
            lower: Floats = ranked[:, low]
            upper: Floats = ranked[:, min(low + 1, bars - 1)]
            return lower + part * (upper - lower)

        return ratio(_sorted(series.close, bars, reduce), series.close)

    return compute


def _rank(series: Series, bars: int) -> Floats:
    def reduce(windows: Floats) -> Floats:
        last = windows[:, -1:]
        below, level = (windows < last).sum(axis=1), (windows == last).sum(axis=1)
        share: Floats = (below + (level + 1) / 2.0) / bars
        return share

    return _sorted(series.close, bars, reduce)


def _place_of_high(series: Series, bars: int) -> Floats:
    key = ("a_imax", bars)
    found: Floats = series.once(
        key, lambda: _sorted(series.high, bars, lambda w: (np.argmax(w, axis=1) + 1.0) / bars)
    )
    return found


def _place_of_low(series: Series, bars: int) -> Floats:
    key = ("a_imin", bars)
    found: Floats = series.once(
        key, lambda: _sorted(series.low, bars, lambda w: (np.argmin(w, axis=1) + 1.0) / bars)
    )
    return found


def _line(series: Series, bars: int) -> tuple[Floats, Floats, Floats]:
    """Regress C on time over the window: slope, R squared, and the last residual."""

    def make() -> tuple[Floats, Floats, Floats]:
        close, middle = series.close, (bars - 1) / 2.0
        mean = rolling_mean(close, bars)
        sxy, syy = np.zeros_like(close), np.zeros_like(close)
        for back in range(bars):
            deviation = lag(close, back) - mean
            sxy += (middle - back) * deviation
            syy += deviation * deviation
        sxx = bars * (bars * bars - 1) / 12.0
        slope = sxy / sxx
        explained = ratio(slope * sxy, syy)
        explained[rolling_flat(close, bars)] = np.nan
        return slope, explained, close - mean - slope * middle

    return series.once(("a_line", bars), make)


def _correlation(x: Floats, y: Floats, bars: int) -> Floats:
    mean_x, mean_y = rolling_mean(x, bars), rolling_mean(y, bars)
    sxx, syy, sxy = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for back in range(bars):
        dx, dy = lag(x, back) - mean_x, lag(y, back) - mean_y
        sxx += dx * dx
        syy += dy * dy
        sxy += dx * dy
    result = ratio(sxy, np.sqrt(sxx * syy))
    result[rolling_flat(x, bars) | rolling_flat(y, bars)] = np.nan
    return result


def _corr(series: Series, bars: int) -> Floats:
    volume = np.log(np.where(series.volume > 0.0, series.volume, np.nan))
    return _correlation(series.close, volume, bars)


def _cord(series: Series, bars: int) -> Floats:
    price = ratio(series.close, lag(series.close, 1))
    volume = np.log(ratio(series.volume, lag(series.volume, 1)) + 1.0)
    return _correlation(price, volume, bars)


def _up(x: Floats) -> Floats:
    """1 where x rises, 0 where not, NaN where unknown."""
    change = x - lag(x, 1)
    return np.where(np.isnan(change), np.nan, (change > 0.0).astype(np.float64))


def _count_up(series: Series, bars: int) -> Floats:
    return rolling_mean(_up(series.close), bars)


def _count_down(series: Series, bars: int) -> Floats:
    return rolling_mean(_up(-series.close), bars)


def _gains(name: str, sign: float) -> Statistic:
    """Sum of the changes in one direction over the sum of all, both as absolute values."""

    def compute(series: Series, bars: int) -> Floats:
        x = series.input(name)
        change = x - lag(x, 1)
        one = rolling_sum(np.maximum(sign * change, 0.0), bars)
        return ratio(one, rolling_sum(np.abs(change), bars))

    return compute


def _balance(name: str) -> Statistic:
    up, down = _gains(name, 1.0), _gains(name, -1.0)
    return lambda s, d: up(s, d) - down(s, d)


def _weighted(series: Series, bars: int) -> Floats:
    change = ratio(series.close, lag(series.close, 1)) - 1.0
    moved = np.abs(change) * series.volume
    return ratio(rolling_sd(moved, bars, ddof=1), rolling_mean(moved, bars))


def _stochastic(series: Series, bars: int) -> Floats:
    low, high = rolling_min(series.low, bars), rolling_max(series.high, bars)
    return ratio(series.close - low, high - low)


_C: Final = ("close",)
_V: Final = ("volume",)
_CV: Final = ("close", "volume")
_HLC: Final = ("high", "low", "close")
#: Name -> definition over d bars, bars looked at beside the window, inputs, function.
_STATISTICS: Final[dict[str, tuple[str, int, tuple[str, ...], Statistic]]] = {
    "roc": ("C[t-d]/C", 1, _C, lambda s, d: ratio(lag(s.close, d), s.close)),
    "ma": ("mean(C, d)/C", 0, _C, lambda s, d: ratio(rolling_mean(s.close, d), s.close)),
    "std": ("sd(C, d)/C, ddof 1", 0, _C, lambda s, d: ratio(rolling_sd(s.close, d, 1), s.close)),
    "beta": ("slope of C on time over d, /C", 0, _C, lambda s, d: ratio(_line(s, d)[0], s.close)),
    "rsqr": ("R squared of that line", 0, _C, lambda s, d: _line(s, d)[1].copy()),
    "resi": ("its last residual/C", 0, _C, lambda s, d: ratio(_line(s, d)[2], s.close)),
    "max": ("max(H, d)/C", 0, _HLC, lambda s, d: ratio(rolling_max(s.high, d), s.close)),
    "min": ("min(L, d)/C", 0, _HLC, lambda s, d: ratio(rolling_min(s.low, d), s.close)),
    "qtlu": ("80 % quantile(C, d)/C", 0, _C, _quantile(0.8)),
    "qtld": ("20 % quantile(C, d)/C", 0, _C, _quantile(0.2)),
    "rank": ("rank of C among d/d, ties averaged", 0, _C, _rank),
    "rsv": ("(C - min(L, d))/(max(H, d) - min(L, d))", 0, _HLC, _stochastic),
    "imax": ("place of the highest H in the window, 1..d, /d", 0, _HLC,
             lambda s, d: _place_of_high(s, d).copy()),
    "imin": ("place of the lowest L in the window, 1..d, /d", 0, _HLC,
             lambda s, d: _place_of_low(s, d).copy()),
    "imxd": ("imax - imin", 0, _HLC, lambda s, d: _place_of_high(s, d) - _place_of_low(s, d)),
    "corr": ("correlation of C and ln V over d", 0, _CV, _corr),
    "cord": ("correlation of C/C[t-1] and ln(V/V[t-1] + 1) over d", 1, _CV, _cord),
    "cntp": ("share of the d bars with C > C[t-1]", 1, _C, _count_up),
    "cntn": ("share of the d bars with C < C[t-1]", 1, _C, _count_down),
    "cntd": ("cntp - cntn", 1, _C, lambda s, d: _count_up(s, d) - _count_down(s, d)),
    "sump": ("sum of the rises of C over d/sum of its absolute changes", 1, _C,
             _gains("close", 1.0)),
    "sumn": ("sum of the falls of C over d/sum of its absolute changes", 1, _C,
             _gains("close", -1.0)),
    "sumd": ("sump - sumn", 1, _C, _balance("close")),
    "vma": ("mean(V, d)/V", 0, _V, lambda s, d: ratio(rolling_mean(s.volume, d), s.volume)),
    "vstd": ("sd(V, d)/V, ddof 1", 0, _V, lambda s, d: ratio(rolling_sd(s.volume, d, 1), s.volume)),
    "wvma": ("sd/mean over d of abs(C/C[t-1] - 1) x V, ddof 1", 1, _CV, _weighted),
    "vsump": ("sum of the rises of V over d/sum of its absolute changes", 1, _V,
              _gains("volume", 1.0)),
    "vsumn": ("sum of the falls of V over d/sum of its absolute changes", 1, _V,
              _gains("volume", -1.0)),
    "vsumd": ("vsump - vsumn", 1, _V, _balance("volume")),
}  # fmt: skip


def _column(name: str, bars: int) -> Column:
    definition, more, inputs, statistic = _STATISTICS[name]
    return Column(
        name=f"a_{name}_{bars}",
        definition=f"{definition}; d = {bars}",
        unit="ratio",
        window=bars + (1 if name == "roc" else more),
        source=_SOURCE,
        inputs=inputs,
        compute=lambda s: statistic(s, bars),
    )


#: All of them: 12 of the bar itself and 29 of each window.
ALPHA: Final = (*_BAR, *(_column(name, bars) for name in _STATISTICS for bars in WINDOWS))
