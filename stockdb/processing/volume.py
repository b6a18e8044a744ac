"""Volume: averages by volume, illiquidity, volume by price, and order flow guessed from bars."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from scipy.special import ndtr

from stockdb.processing.spec import Column, Floats, Series, ratio
from stockdb.processing.statistics import ln_close
from stockdb.processing.windows import lag, rolling_sd, rolling_sum

__all__ = ["BINS", "PROFILE_BARS", "SHARE", "VOLUME", "value_area"]

_HLCV: Final = ("high", "low", "close", "volume")
#: Volume by price: bars of the window, price bins between its low and its high, value area.
PROFILE_BARS: Final = 20
BINS: Final = 24
SHARE: Final = 0.70
_VPIN_BARS: Final = 50
_SIGMA_BARS: Final = 20
#: Rows whose profiles are computed at a time, which bounds memory.
_ROWS: Final = 512


def _vwap_20(series: Series) -> Floats:
    typical = (series.high + series.low + series.close) / 3.0
    money = rolling_sum(typical * series.volume, 20)
    return ratio(money, rolling_sum(series.volume, 20))


def _amihud(series: Series) -> Floats:
    x = ln_close(series)
    per_dollar = ratio(np.abs(x - lag(x, 1)), series.close * series.volume)
    untraded = series.volume == 0.0
    count = rolling_sum(np.where(untraded, 0.0, 1.0), 21)
    total = rolling_sum(np.where(untraded, 0.0, per_dollar), 21)
    return 1e6 * ratio(total, count)


def _profile(series: Series) -> tuple[Floats, Floats, Floats]:
    """Point of control and value area of each window; see :func:`value_area`."""

    def make() -> tuple[Floats, Floats, Floats]:
        rows = len(series)
        block = np.full((3, rows), np.nan)
        windows = [
            np.lib.stride_tricks.sliding_window_view(series.input(name), PROFILE_BARS)
            for name in ("high", "low", "volume")
            if rows >= PROFILE_BARS
        ]
        for begin in range(0, rows - PROFILE_BARS + 1, _ROWS):
            part = value_area(*(view[begin : begin + _ROWS] for view in windows))
            first = begin + PROFILE_BARS - 1
            block[:, first : first + part.shape[1]] = part
        return block[0], block[1], block[2]

    return series.once("profile", make)


def value_area(high: Floats, low: Floats, volume: Floats) -> Floats:
    """Find where most volume was traded.

    Each bar's volume is spread evenly from its low to its high over `BINS` bins between the
    window's lowest low and highest high. The value area grows from the fullest bin (the lower
    one on ties) by its fuller neighbour (the lower one on ties) until it holds `SHARE` of the
    volume.

    Parameters
    ----------
    high, low, volume : ndarray of float64, shape (windows, bars)

    Returns
    -------
    ndarray of float64, shape (3, windows)
        Middle of the fullest bin, lower edge and upper edge of the value area. NaN where a
        value is missing or nothing was traded; all three are the price where it was but one.

    Notes
    -----
    Steidlmayer's market profile, on bars: where inside a bar the volume was traded is unknown.
    """
    windows, bars = high.shape
    bottom, top = low.min(axis=1), high.max(axis=1)
    width = (top - bottom) / BINS
    edges = bottom[:, None] + width[:, None] * np.arange(BINS + 1)
    edges[:, -1] = top
    filled = np.zeros((windows, BINS))
    for bar in range(bars):
        h, lo, v = high[:, bar, None], low[:, bar, None], volume[:, bar, None]
        part = np.minimum(h, edges[:, 1:]) - np.maximum(lo, edges[:, :-1])
        spread = np.maximum(part, 0.0) / np.where(h > lo, h - lo, 1.0)
        # A bar of one price fills the one bin that holds it.
        place = np.clip(
            np.floor((lo - bottom[:, None]) / np.where(width > 0, width, 1.0)[:, None]), 0, BINS - 1
        )
        single = (np.arange(BINS) == place).astype(np.float64)
        filled += np.where(h > lo, spread, single) * v
    total = volume.sum(axis=1)
    known = np.isfinite(total) & np.isfinite(top) & np.isfinite(bottom) & (total > 0.0)
    peak = np.where(known, np.argmax(np.where(known[:, None], filled, 0.0), axis=1), 0)
    first, last = _grow(filled, peak, SHARE * total, known)
    row = np.arange(windows)
    middle = (edges[row, peak] + edges[row, peak + 1]) / 2.0
    result = np.array([middle, edges[row, first], edges[row, last + 1]])
    result[:, ~known] = np.nan
    return result


def _grow(filled: Floats, peak: Any, wanted: Floats, known: Any) -> tuple[Any, Any]:
    row = np.arange(len(filled))
    padded = np.pad(filled, ((0, 0), (1, 1)), constant_values=-1.0)
    first, last, held = peak.copy(), peak.copy(), filled[row, peak]
    for _ in range(BINS - 1):
        growing = known & (held < wanted)
        if not growing.any():
            break
        below, above = padded[row, first], padded[row, last + 2]
        down = growing & (below >= above) & (first > 0)
        up = growing & ~down & (last < BINS - 1)
        held = held + np.where(down, below, 0.0) + np.where(up, above, 0.0)
        first, last = first - down, last + up
    return first, last


def _vpin(series: Series) -> Floats:
    x = ln_close(series)
    change = x - lag(x, 1)
    sigma = rolling_sd(change, _SIGMA_BARS)
    # Of a change z, the share ndtr(z) of the volume was bought and the rest sold.
    z = np.where(change == 0.0, 0.0, ratio(change, sigma))
    imbalance = np.abs(2.0 * np.asarray(ndtr(z)) - 1.0) * series.volume
    return ratio(rolling_sum(imbalance, _VPIN_BARS), rolling_sum(series.volume, _VPIN_BARS))


def _price(name: str, what: str, place: int) -> Column:
    return Column(
        name=name,
        definition=f"{what} of the volume by price of {PROFILE_BARS} bars, each bar's V spread "
        f"evenly over [L, H], {BINS} bins between the lowest L and the highest H, value area "
        f"{SHARE:.0%}; approximation: bars do not say where inside them was traded",
        unit="dollars",
        window=PROFILE_BARS,
        source="Steidlmayer's market profile, from bars",
        scale_free=False,
        inputs=("high", "low", "volume"),
        compute=lambda s: _profile(s)[place],
    )


VOLUME: Final = (
    Column(
        name="vwap_20",
        definition="sum of (H + L + C)/3 x V over 20 bars / sum of V; NaN where nothing was traded",
        unit="dollars",
        window=20,
        source="volume-weighted average price",
        scale_free=False,
        inputs=_HLCV,
        compute=_vwap_20,
    ),
    Column(
        name="amihud_21",
        definition="1e6 x mean over 21 bars of abs(change of ln C) / (C x V); bars without trade "
        "are left out of the mean",
        unit="per million dollars",
        window=22,
        source="Amihud (2002)",
        scale_free=False,
        inputs=("close", "volume"),
        compute=_amihud,
    ),
    _price("poc", "middle of the fullest bin", 0),
    _price("va_lo", "lower edge of the value area", 1),
    _price("va_hi", "upper edge of the value area", 2),
    Column(
        name="vpin_bvc",
        definition="sum over 50 bars of abs(bought - sold) / sum of V, bought = V x N(change of "
        "ln C / sd of its last 20 values); approximation: bars of time, not buckets of volume, "
        "and trades classified in bulk",
        unit="0..1",
        window=_VPIN_BARS + _SIGMA_BARS,
        source="Easley, López de Prado and O'Hara (2012), bulk volume classification",
        inputs=("close", "volume"),
        compute=_vpin,
    ),
)
