"""Rules about how rows follow one another: silences, repeats, tails, gaps within a day."""

from __future__ import annotations

from typing import Final

import numpy as np

from stockdb.core.barview import BAR, DAY, PRICES, Bars, Ints, Mask

__all__ = ["bar_length", "intraday_gap", "long_gap", "padded_tail", "stale"]

_TAIL_ROWS: Final = 5  # untraded rows at the end that are a tail and no quiet week
_REGULAR: Final = 0.9  # share of equal steps that makes a gap remarkable
_HOUR: Final = 3_600_000_000_000  # nanoseconds
_OFTEN: Final = 0.5  # gaps a day in one hour of the clock that are its nature
_USUAL: Final = 0.5  # share of days that hold a time of day that the others should hold too


def long_gap(bars: Bars) -> Mask:
    """Rows after a silence that no holidays explain."""
    limit = bars.rules.max_gap_days * DAY
    if not len(bars.steps) or (bars.ascending and np.maximum.reduce(bars.steps) <= limit):
        return bars.nothing
    ordered = bars.in_order[0]
    steps = ordered.steps
    if not len(steps):
        return bars.nothing
    # Weekly and monthly bars are silent by nature.
    after = np.flatnonzero(steps > max(limit, 3.0 * float(np.median(steps)))) + 1
    return bars.mark(after)


def stale(bars: Bars) -> Mask:
    """Rows that repeat the row before in every price and a volume above zero.

    Flat rows (high equals low) of quiet stocks do so by chance, and so do quiet minutes: they
    count from the second repeat in a row on. Quotes repeated without a trade are the matter
    of `zero_volume`.
    """
    close = bars.columns.get("close")
    if close is None or len(close) < 2:
        return bars.nothing
    if not (close[1:] == close[:-1]).any():
        return bars.nothing
    ordered = bars.in_order[0]
    cells = [ordered.columns[name] for name in BAR if name in ordered.columns]
    same = np.zeros(len(ordered.date), dtype=np.bool_)
    same[1:] = np.logical_and.reduce([cell[1:] == cell[:-1] for cell in cells])
    same[1:] &= ordered.steps > 0  # rows of one date are duplicates
    if "volume" in ordered.columns:
        same &= ordered.columns["volume"] > 0
    names = set(ordered.columns)
    flat = ordered.columns["high"] == ordered.columns["low"] if {"high", "low"} <= names else same
    run = _run_lengths(same)
    found = np.flatnonzero(
        same & (run + 1 >= bars.rules.stale_rows) & ((~flat & bars.daily) | (run >= 2))
    )
    return bars.mark(found)


def padded_tail(bars: Bars) -> Mask:
    """Rows at the end that hold no price, or five and more that repeat one without a trade."""
    close = bars.columns.get("close")
    if close is None or not len(close) or bars.traded and bars.sane:
        return bars.nothing
    ordered = bars.in_order[0]
    if not len(ordered.date):
        return bars.nothing
    prices = [ordered.columns[name] for name in PRICES if name in ordered.columns]
    length = _trailing(np.logical_and.reduce([np.isnan(price) for price in prices]))
    volume = ordered.columns.get("volume")
    if not length and volume is not None:
        close = ordered.columns["close"]
        quiet = _trailing((volume == 0) & (close == close[-1]))
        length = quiet if _TAIL_ROWS <= quiet < len(close) else 0
    if length == 0 or length == len(ordered.date):
        return bars.nothing
    found = np.arange(len(ordered.date) - length, len(ordered.date))
    return bars.mark(found)


def intraday_gap(bars: Bars) -> Mask:
    """Rows before which bars of the same day are missing.

    Time is counted in instants, so that a clock change is no gap. A frame that often skips
    times (a quiet stock, hours outside the session) says nothing by skipping more; and a
    time of day that most days lack (a lunch break) is not missed. A day that ends early may
    be a half day: `find_gaps` asks the calendar.
    """
    if bars.daily or len(bars.date) < 3:
        return bars.nothing
    ordered = bars.in_order[0]
    steps, days = ordered.steps, ordered.days
    bar = bar_length(ordered)
    if bar is None:
        return bars.nothing
    inside = np.flatnonzero((days[1:] == days[:-1]) & (steps > 0))
    wall = ordered.wall.view(np.int64)
    usual = _usual_times(wall)
    found = [
        int(place) + 1
        for place in inside[steps[inside] > 1.5 * bar]
        if any(
            tick % DAY in usual
            for tick in range(int(wall[place]) + bar, int(wall[place + 1]) - bar // 2, bar)
        )
    ]
    return bars.mark(_not_thin(np.asarray(found, dtype=np.int64), wall))


def bar_length(ordered: Bars) -> int | None:
    """Nanoseconds that intraday bars in order last; None where their steps are not regular."""
    steps, days = ordered.steps, ordered.days
    inside = steps[(days[1:] == days[:-1]) & (steps > 0)]
    if len(inside) < 2:
        return None
    lengths, counts = np.unique(inside, return_counts=True)
    regular = counts.max() >= _REGULAR * len(inside)
    return int(lengths[np.argmax(counts)]) if regular else None


def _not_thin(gaps: Ints, wall: Ints) -> Ints:
    """Leave out the gaps of hours that have them nearly every day, as before the opening."""
    hours = wall[gaps] % DAY // _HOUR
    days = len(np.unique(wall // DAY))
    often = np.bincount(hours, minlength=24) > max(1.0, _OFTEN * days)
    return gaps[~often[hours]]


def _usual_times(wall: Ints) -> set[int]:
    """Give the times that at least half of the days hold; all, where there is only one day."""
    times, counts = np.unique(wall % DAY, return_counts=True)
    days = len(np.unique(wall // DAY))
    if days == 1:
        first, last = int(times[0]), int(times[-1])
        apart = int(np.median(np.diff(times)))
        return set(range(first, last + 1, apart))
    return {int(time) for time in times[counts >= _USUAL * days]}


def _run_lengths(mask: Mask) -> Ints:
    """Length of the run of true values that each row is in; 0 where it is false."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    lengths = np.zeros(len(mask), dtype=np.int64)
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        lengths[first:last] = last - first
    return lengths


def _trailing(mask: Mask) -> int:
    """How many true values stand at the end."""
    other = np.flatnonzero(~mask)
    return len(mask) - 1 - int(other[-1]) if len(other) else len(mask)
