"""Labels: what a model is to predict. They read the future, say how far, and never enter X.

Whoever knows the close of bar t can trade at the close of bar t+1 at the earliest: every label
starts there.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from stockdb.processing.spec import Column, Floats, Series, ratio
from stockdb.processing.statistics import ln_close
from stockdb.processing.windows import lag, rolling_sd

__all__ = ["forward_return", "triple_barrier"]

_VOL_BARS: Final = 20


def forward_return(horizon: int) -> Column:
    """Return the label ``y_fwd_<horizon>``: C[t+1+horizon]/C[t+1] - 1."""
    return Column(
        name=f"y_fwd_{horizon}",
        definition=f"C[t+1+{horizon}]/C[t+1] - 1",
        unit="ratio",
        window=1,
        source="return from the first close at which a decision of bar t can be traded",
        role="label",
        reach=1 + horizon,
        inputs=("close",),
        compute=lambda s: ratio(lag(s.close, -1 - horizon), lag(s.close, -1)) - 1.0,
    )


def triple_barrier(sigmas: float = 2.0, sessions: int = 21) -> tuple[Column, Column, Column]:
    """Return the labels ``y_tb``, ``t1`` and ``weight``.

    Parameters
    ----------
    sigmas : float
        Distance of both barriers from the entry C[t+1], in daily sd of ln C over 20 bars.
    sessions : int
        Bars after the entry at which the label ends untouched.
    """

    def labels(series: Series) -> tuple[Floats, npt.NDArray[np.int64]]:
        key = ("triple_barrier", sigmas, sessions)
        return series.once(key, lambda: _touch(series, sigmas, sessions))

    def t1(series: Series) -> Floats:
        _, end = labels(series)
        # Midnights are multiples of 2^16 ns, so a float64 holds them exactly.
        stamps = series.date.astype("datetime64[ns]").astype(np.int64).astype(np.float64)
        known = end >= 0
        result = np.full(len(series), np.nan)
        result[known] = stamps[end[known]]
        return result

    source = "López de Prado (2018), Advances in Financial Machine Learning"
    shared = {"source": source, "role": "label", "reach": 1 + sessions, "window": _VOL_BARS + 1}
    return (
        Column(
            name="y_tb",
            definition=f"+1 where a high reaches C[t+1] exp({sigmas:g} sd) first, -1 where a low "
            f"reaches C[t+1] exp(-{sigmas:g} sd) first or in the same bar, 0 where neither does "
            f"in the {sessions} bars after t+1; sd of the changes of ln C over 20 bars up to t",
            unit="class",
            inputs=("high", "low", "close"),
            compute=lambda s: labels(s)[0],
            **shared,  # type: ignore[arg-type]
        ),
        Column(
            name="t1",
            definition="date of the bar that decides y_tb",
            unit="date",
            inputs=("high", "low", "close"),
            compute=t1,
            **shared,  # type: ignore[arg-type]
        ),
        Column(
            name="weight",
            definition="mean over the bars of [t+1, t1] of 1 / number of y_tb labels of the "
            "symbol alive in that bar",
            unit="ratio",
            inputs=("high", "low", "close"),
            compute=lambda s: _uniqueness(*labels(s), _alive(s, sigmas)),
            **{**shared, "warmup": _VOL_BARS + 1 + sessions},  # type: ignore[arg-type]
        ),
    )


def _barrier(series: Series, sigmas: float) -> Floats:
    x = ln_close(series)
    return sigmas * rolling_sd(x - lag(x, 1), _VOL_BARS)


def _touch(series: Series, sigmas: float, sessions: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the label and the row that decides it (-1: not known)."""
    distance, entry = _barrier(series, sigmas), lag(series.close, -1)
    upper, lower = entry * np.exp(distance), entry * np.exp(-distance)
    label = np.full(len(series), np.nan)
    end = np.full(len(series), -1, np.int64)
    waiting = np.isfinite(upper) & (distance > 0.0)
    for bars in range(2, sessions + 2):
        high, low = lag(series.high, -bars), lag(series.low, -bars)
        waiting &= np.isfinite(high) & np.isfinite(low)  # a missing bar hides what happened
        stop, profit = waiting & (low <= lower), waiting & (high >= upper)
        label[profit] = 1.0
        label[stop] = -1.0  # both in one bar: nobody knows which came first, assume the worse
        done = stop | profit
        if bars == sessions + 1:
            label[waiting & ~done] = 0.0
            done = waiting
        end[done] = np.flatnonzero(done) + bars
        waiting = waiting & ~done
    return label, end


def _alive(series: Series, sigmas: float) -> npt.NDArray[np.bool_]:
    """Rows with a label, decided or not yet."""
    distance, entry = _barrier(series, sigmas), lag(series.close, -1)
    return np.isfinite(entry) & (distance > 0.0)


def _uniqueness(label: Floats, end: npt.NDArray[np.int64], alive: npt.NDArray[np.bool_]) -> Floats:
    rows = len(label)
    known = end >= 0
    start = np.arange(rows) + 1
    # A label that waits for bars to come is alive until the last bar held.
    stop = np.where(known, end, rows - 1)
    change = np.zeros(rows + 2)
    np.add.at(change, start[alive], 1.0)
    np.add.at(change, stop[alive] + 1, -1.0)
    count = np.cumsum(change)[:rows]
    total = np.concatenate([[0.0], np.cumsum(ratio(1.0, np.where(count > 0, count, 1.0)))])
    result = np.full(rows, np.nan)
    first, last = start[known], end[known]
    result[known] = (total[last + 1] - total[first]) / (last + 1 - first)
    return result
