"""Rules about the level of prices: splits not applied, wrong units, spikes, other companies.

All of them start from the same few jumps between one usable close and the next. A frame
without a jump is told by one division and two reductions.

What parts a split from news: shares are cut and their price with them, so the money that
changes hands stays what it was; on the day of an earnings shock it multiplies. And the bars
of both sides do not touch: a price that travelled there by trading was not split.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from stockdb.core.barview import DAY, Bars, Floats, Ints, Mask

__all__ = ["Levels", "levels_of"]

#: Usual ratios of splits below ten; above, any ratio is within a day's move of some split.
_SPLITS: Final = np.log([1.5, 5 / 3, 2, 2.5, 3, 4, 5, 6, 7, 8, 9, 10])
_OVERNIGHT: Final = 0.06  # what the price may move besides, in logarithms
_OVERNIGHT_ALONE: Final = 0.03  # the same where no volume can confirm the split
_GAP: Final = math.log(1.2)  # least distance between the bars of both sides of a split
_WHOLE: Final = 0.9
_SPIKE: Final = math.log(2.5)
_SPIKE_ROWS: Final = 5
_LIKENESS: Final = 0.25  # two jumps cancel when they differ by less than this share
_AROUND: Final = 20  # rows on each side that say what is usual
#: Money traded after a split over that before: on its day, and over the days that follow.
_MONEY_ON_THE_DAY: Final = (0.2, 2.5)
_MONEY_AFTERWARDS: Final = (0.4, 3.0)
_SAME_SHARES: Final = 2.5
_NEAR_RECORD: Final = 10  # rows from a recorded split within which a vendor may have applied it
#: Units that are mistaken: pence for pounds, fils for dinars; and what the price may move besides.
_UNITS: Final = np.log([100, 1000])
_MOVED: Final = math.log(1.3)
_OTHER_PRICE: Final = 2.0
_OTHER_VOLUME: Final = 5.0
_FEW: Final = 5  # rows that are too few to say what volume is usual


@dataclass(frozen=True)
class Levels:
    """What the levels of a series show; each a mask over its rows."""

    split: Mask
    scale: Mask
    spike: Mask
    jump: Mask
    recycled: Mask


def levels_of(bars: Bars) -> Levels:
    """Look at the levels once for all rules; keeps the answer with the bars."""
    found: Levels | None = bars.__dict__.get("_levels")
    if found is None:
        found = bars.__dict__["_levels"] = _levels(bars)
    return found


def _levels(bars: Bars) -> Levels:
    nothing = bars.nothing
    if _calm(bars):
        return Levels(nothing, nothing, nothing, nothing, nothing)
    ordered, rows = bars.in_order
    series = _Series.of(ordered)
    masks = series.classify()
    wide = _wide(ordered)
    ratio = np.full(len(ordered.date), np.nan)
    ratio[series.place[1:]] = np.exp(series.step)
    if masks["scale"].any():
        ratio[masks["scale"]] = series.over_the_others(masks["scale"])
    if wide.any():
        ratio[wide] = (ordered.columns["high"] / ordered.columns["low"])[wide]
        masks["scale"] |= wide
    bars.notes["ratio"] = shown = np.full(len(bars.date), np.nan)
    shown[slice(None) if rows is None else rows] = ratio
    return Levels(**{name: bars.mark(np.flatnonzero(mask)) for name, mask in masks.items()})


def _calm(bars: Bars) -> bool:
    """Whether nothing here can be a jump, for the price of a few passes."""
    close = bars.columns.get("close")
    if close is None or not len(close):
        return True
    limit = bars.rules.jump_ratio
    if not (bars.sane and bars.ascending and (bars.traded or "volume" not in bars.columns)):
        return False
    if (bars.columns["high"] > bars.columns["low"] * bars.rules.scale_ratio).any():
        return False
    if len(close) < 2:
        return True
    ratio = close[1:] / close[:-1]
    if not (np.maximum.reduce(ratio) < limit and np.minimum.reduce(ratio) > 1.0 / limit):
        return False
    return bool(np.maximum.reduce(bars.steps) < bars.rules.recycled_gap_days * DAY)


def _wide(bars: Bars) -> Mask:
    """Rows whose own prices are a unit apart, such as a high in pence and a low in pounds."""
    if not {"high", "low"} <= set(bars.columns):
        return bars.nothing.copy()
    high, low = bars.columns["high"], bars.columns["low"]
    odd = bars.out_of_range(high) | bars.out_of_range(low) | bars.outside("close")
    return np.asarray((high > low * bars.rules.scale_ratio) & ~odd)


@dataclass(frozen=True)
class _Series:
    """The usable rows of bars in order, and the steps between their closes."""

    bars: Bars
    place: Ints  # row of each usable close
    step: Floats  # logarithm of each close over the one before, shape (usable - 1,)
    money: Floats  # close times volume; NaN where nothing was traded
    shares: Floats

    @classmethod
    def of(cls, bars: Bars) -> _Series:
        place = np.flatnonzero(bars.usable)
        close = bars.columns["close"][place]
        shares = np.full(len(place), np.nan)
        if "volume" in bars.columns:
            volume = bars.columns["volume"][place]
            shares = np.where((volume > 0) & (volume < np.inf), volume, np.nan)
        return cls(bars, place, np.diff(np.log(close)), close * shares, shares)

    def classify(self) -> dict[str, Mask]:
        names = ("split", "scale", "spike", "jump", "recycled")
        masks = {name: self.bars.nothing.copy() for name in names}
        rules = self.bars.rules
        jumps = np.flatnonzero(np.abs(self.step) >= math.log(rules.jump_ratio))
        large = np.abs(self.step[jumps]) >= math.log(rules.scale_ratio)
        off, settled = self._off_scale(jumps[large])
        masks["scale"][self.place[off]] = True
        rest, spikes = self._spikes([int(jump) for jump in jumps if int(jump) not in settled])
        masks["spike"][self.place[spikes]] = True
        recycled = self._recycled()
        masks["recycled"][self.place[recycled]] = True
        for jump in rest:
            if jump + 1 in recycled:
                continue
            if self._other_unit(jump):
                masks["scale"][self._shorter_side(jump)] = True
                continue
            kind = "split" if self._like_split(jump) else "jump"
            masks[kind][self.place[jump + 1]] = True
        return masks

    def over_the_others(self, off: Mask) -> Floats:
        """Give the ratio of each marked row's close to the nearest one before that is not."""
        close = self.bars.columns["close"]
        rows, others = np.flatnonzero(off), self.place[~off[self.place]]
        before = np.searchsorted(others, rows) - 1
        return np.asarray(close[rows] / close[others[np.maximum(before, 0)]])

    def _off_scale(self, jumps: Ints) -> tuple[list[int], set[int]]:
        """Find closes of a level that is left and returned to; and the jumps to and fro.

        Of two levels that take turns, the one with fewer closes is the wrong one.
        """
        if len(jumps) < 2:
            return [], set()
        heights = np.concatenate([[0.0], np.cumsum(self.step[jumps])])
        level = _same_heights(heights, _LIKENESS * float(np.min(np.abs(self.step[jumps]))))
        edges = np.concatenate([[0], jumps + 1, [len(self.place)]])
        lengths = np.diff(edges)
        total = np.bincount(level, weights=lengths)
        wrong: set[tuple[int, int]] = set()
        for run in range(1, len(level) - 1):
            inner, outer = int(level[run]), int(level[run - 1])
            if outer == int(level[run + 1]):
                pair = (inner, outer) if total[inner] <= total[outer] else (outer, inner)
                wrong.add(pair)
        off: list[int] = []
        settled: set[int] = set()
        for run in range(len(level)):
            beside = [int(level[other]) for other in (run - 1, run + 1) if 0 <= other < len(level)]
            if all((int(level[run]), other) in wrong for other in beside):
                off += range(int(edges[run]), int(edges[run + 1]))
                settled |= {int(edge) - 1 for edge in edges[run : run + 2]}
        return off, settled

    def _spikes(self, jumps: list[int]) -> tuple[list[int], list[int]]:
        """Pair jumps there and back within a few rows; gives the others, and the closes between."""
        rest: list[int] = []
        spikes: list[int] = []
        number = 0
        while number < len(jumps):
            here = jumps[number]
            after = jumps[number + 1] if number + 1 < len(jumps) else None
            if after is not None and after - here <= _SPIKE_ROWS and self._cancel(here, after):
                spikes += range(here + 1, after + 1)
                number += 2
            else:
                rest.append(here)
                number += 1
        return rest, spikes

    def _cancel(self, there: int, back: int) -> bool:
        one, other = float(self.step[there]), float(self.step[back])
        size = min(abs(one), abs(other))
        return one * other < 0 and size >= _SPIKE and abs(one + other) <= _LIKENESS * size

    def _like_split(self, jump: int) -> bool:
        """Whether the price level went somewhere as a split takes it."""
        step = float(self.step[jump])
        if not self._apart(jump, step):
            return False
        if self._recorded(jump, step):
            return True
        before, day, after = self._sides(jump)
        usual = _usual if self.bars.daily else _total
        money, shares = usual(self.money, before), usual(self.shares, before)
        measured = money > 0 and usual(self.money, after) > 0
        off = self._off_usual_ratio(jump, step)
        if not measured:
            return off <= _OVERNIGHT_ALONE and abs(step) >= math.log(1.9)
        # The larger the step, the less what else moves the money can be taken for it.
        room = math.exp(abs(step) / 2)
        kept = off <= _OVERNIGHT and all(
            _within(usual(self.money, rows) / money, (min(low, 1 / room), max(high, room)))
            for rows, (low, high) in ((day, _MONEY_ON_THE_DAY), (after, _MONEY_AFTERWARDS))
        )
        # Prices moved this far without more shares changing hands: nobody traded them there.
        traded = usual(self.shares, day) / shares
        quiet = abs(step) >= _SPIKE and _within(traded, (1 / _SAME_SHARES, _SAME_SHARES))
        return kept or quiet

    def _recorded(self, jump: int, step: float) -> bool:
        """Whether the frame itself records a split of this size about here."""
        splits = self.bars.columns.get("stock_splits")
        if splits is None:
            return False
        first, last = int(self.place[jump]), int(self.place[jump + 1])
        near = splits[max(0, first + 1 - _NEAR_RECORD) : last + _NEAR_RECORD]
        near = near[(near > 0) & (near != 1)]
        return bool((np.abs(np.abs(np.log(near)) - abs(step)) <= _OVERNIGHT).any())

    def _other_unit(self, jump: int) -> bool:
        """Whether prices change their unit for good, while as many shares trade as before."""
        if float(np.min(np.abs(_UNITS - abs(self.step[jump])))) > _MOVED:
            return False
        before, day, after = self._sides(jump)
        usual = _usual if self.bars.daily else _total
        shares = usual(self.shares, before)
        same = (1 / _OTHER_VOLUME, _OTHER_VOLUME)
        return shares > 0 and all(
            _within(usual(self.shares, rows) / shares, same) for rows in (day, after)
        )

    def _shorter_side(self, jump: int) -> Ints:
        before, after = self.place[: jump + 1], self.place[jump + 1 :]
        return before if len(before) < len(after) else after

    def _sides(self, jump: int) -> tuple[slice, slice, slice]:
        """Rows before a jump, of its day, and after it.

        For intraday bars whole days: volumes follow the clock, so that the first hours of a
        day cannot be compared with the last of the day before.
        """
        if self.bars.daily:
            after = slice(jump + 1, jump + 1 + _AROUND)
            day = slice(jump + 1, jump + 2)
            if math.isnan(_usual(self.money, day)):
                day = after
            return slice(max(0, jump + 1 - _AROUND), jump + 1), day, after
        days = self.bars.days[self.place]
        first = int(np.searchsorted(days, days[jump]))
        last = int(np.searchsorted(days, days[jump + 1], side="right"))
        day = slice(jump + 1, last)
        return slice(first, jump + 1), day, day

    def _off_usual_ratio(self, jump: int, step: float) -> float:
        """How far the jump, at the open or at the close, is from a usual ratio."""
        steps = [step]
        if "open" in self.bars.columns:
            opened = float(self.bars.columns["open"][self.place[jump + 1]])
            closed = float(self.bars.columns["close"][self.place[jump]])
            if opened > 0 and math.isfinite(opened):
                steps.append(math.log(opened / closed))
        return min(
            0.0 if abs(size) > _SPLITS[-1] else float(np.min(np.abs(_SPLITS - abs(size))))
            for size in steps
        )

    def _apart(self, jump: int, step: float) -> bool:
        """Whether the bars before and after the jump keep a distance."""
        if not {"high", "low"} <= set(self.bars.columns):
            return True
        high, low = self.bars.columns["high"], self.bars.columns["low"]
        here, there = self.place[jump], self.place[jump + 1]
        # A minute's bar that spans the whole jump holds quotes of both sides; the next tells.
        span = math.log(max(high[there] / low[there], 1.0)) if low[there] > 0 else 0.0
        if not self.bars.daily and span >= _WHOLE * abs(step) and jump + 2 < len(self.place):
            there = self.place[jump + 2]
        upper, lower = (low[there], high[here]) if step > 0 else (low[here], high[there])
        return bool(lower > 0 and upper > 0 and math.log(upper / lower) >= _GAP)

    def _recycled(self) -> list[int]:
        """First closes after a long silence that look like another company's."""
        if not self.bars.daily or len(self.place) < 2:
            return []
        alive = ~np.isnan(self.bars.columns["close"])
        if "volume" in self.bars.columns:
            alive &= self.bars.columns["volume"] > 0
        rows = np.flatnonzero(alive)
        ticks = self.bars.date[rows].view(np.int64)
        gaps = np.flatnonzero(ticks[1:] - ticks[:-1] >= self.bars.rules.recycled_gap_days * DAY)
        if not len(gaps):
            return []
        kept = np.flatnonzero(alive[self.place])
        parts = np.split(kept, np.searchsorted(self.place[kept], rows[gaps + 1]))
        close = self.bars.columns["close"][self.place]
        found = []
        for earlier, later in pairwise(parts):
            before, after = earlier[-_AROUND:], later[:_AROUND]
            if not len(before) or not len(after):
                continue
            price = _factor(close, before, after)
            if price >= _OTHER_PRICE or self._other_volumes(before, after):
                found.append(int(after[0]))
        return found

    def _other_volumes(self, before: Ints, after: Ints) -> bool:
        """Whether volumes differ by more than those of a stock that seldom trades do anyway."""
        if min(len(before), len(after)) < _FEW:
            return False
        if _factor(self.shares, before, after) < _OTHER_VOLUME:
            return False
        one, other = self.shares[before], self.shares[after]
        less, more = (one, other) if np.median(one) < np.median(other) else (other, one)
        return bool(np.quantile(less, 0.75) < np.quantile(more, 0.25))


def _same_heights(heights: Floats, apart: float) -> Ints:
    """Give a number to each height, the same to those that lie together."""
    known: list[float] = []
    numbers = np.empty(len(heights), dtype=np.int64)
    for place, height in enumerate(heights):
        near = [number for number, other in enumerate(known) if abs(other - height) <= apart]
        if not near:
            known.append(float(height))
            near = [len(known) - 1]
        numbers[place] = near[0]
    return numbers


def _usual(values: Floats, rows: slice) -> float:
    part = values[rows]
    part = part[~np.isnan(part)]
    return float(np.median(part)) if len(part) else math.nan


def _total(values: Floats, rows: slice) -> float:
    return float(np.nansum(values[rows]))


def _factor(values: Floats, before: Ints, after: Ints) -> float:
    """How many times larger, whichever way, what is usual after is than before."""
    one, other = np.median(values[before]), np.median(values[after])
    return float(max(one / other, other / one)) if one > 0 and other > 0 else 0.0


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]
