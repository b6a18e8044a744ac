"""Rolling windows whose every result depends on the bars of its own window alone.

No running totals: what a row holds is the same, bit for bit, whatever came before its window
and whatever comes after it, so that a short history, a long one and a live one agree. A NaN
inside a window makes that window's result NaN and no other.

All functions take float64 arrays of shape (n, ...) with time along the first axis and give
the same shape; the first ``window - 1`` rows are NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from stockdb.processing.spec import Floats, ratio

__all__ = [
    "lag",
    "regression",
    "rolling_flat",
    "rolling_max",
    "rolling_mean",
    "rolling_min",
    "rolling_sd",
    "rolling_sum",
]


def lag(x: Floats, bars: int) -> Floats:
    """Return x[t - bars]; negative ``bars`` look ahead, which only a label may.

    Examples
    --------
    >>> lag(np.array([1.0, 2.0, 3.0]), 1)
    array([nan,  1.,  2.])
    """
    result = np.full_like(x, np.nan)
    if abs(bars) >= len(x):
        return result
    if bars >= 0:
        result[bars:] = x[: len(x) - bars]
    else:
        result[:bars] = x[-bars:]
    return result


def rolling_sum(x: Floats, window: int) -> Floats:
    """Sum of x[t-window+1 .. t].

    Examples
    --------
    >>> rolling_sum(np.array([1.0, 2.0, 3.0, 4.0]), 3)
    array([nan, nan,  6.,  9.])
    """
    return _doubling(x, window, np.add)


def rolling_max(x: Floats, window: int) -> Floats:
    """Maximum of x[t-window+1 .. t]."""
    return _doubling(x, window, np.maximum)


def rolling_min(x: Floats, window: int) -> Floats:
    """Minimum of x[t-window+1 .. t]."""
    return _doubling(x, window, np.minimum)


def rolling_mean(x: Floats, window: int) -> Floats:
    """Mean of x[t-window+1 .. t]."""
    return rolling_sum(x, window) / window


def rolling_sd(x: Floats, window: int, ddof: int = 0) -> Floats:
    """Return the sd of x[t-window+1 .. t], in two passes; exactly 0 in a flat window."""
    mean = rolling_mean(x, window)
    total = np.zeros_like(x)
    for bars in range(window):
        total += np.square(lag(x, bars) - mean)
    result = np.sqrt(total / (window - ddof))
    result[rolling_flat(x, window)] = 0.0
    return result


def rolling_flat(x: Floats, window: int) -> npt.NDArray[np.bool_]:
    """Whether all of x[t-window+1 .. t] are the same number."""
    return np.asarray(rolling_max(x, window) == rolling_min(x, window))


def regression(y: Floats, x: Floats, window: int) -> Floats:
    """Slope of the regression of y on x and a constant over x[t-window+1 .. t].

    NaN where x is flat.
    """
    mean_x, mean_y = rolling_mean(x, window), rolling_mean(y, window)
    sxx, sxy = np.zeros_like(x), np.zeros_like(x)
    for bars in range(window):
        dx = lag(x, bars) - mean_x
        sxx += dx * dx
        sxy += dx * (lag(y, bars) - mean_y)
    slope = ratio(sxy, sxx)
    slope[rolling_flat(x, window)] = np.nan
    return slope


def _doubling(x: Floats, window: int, join: Callable[..., Any]) -> Floats:
    """Join a window out of pieces of 1, 2, 4 ... bars: log2(window) passes over the data."""
    piece, size = x, 1  # piece[t] joins x[t-size+1 .. t]
    result: Floats | None = None
    done = 0
    while result is None or done < window:
        if window & size:
            part = lag(piece, done)
            result = part if result is None else np.asarray(join(result, part))
            done += size
        if done < window:
            piece = np.asarray(join(piece, lag(piece, size)))
            size *= 2
    return result
