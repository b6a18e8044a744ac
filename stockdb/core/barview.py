"""Bars of one symbol as the validation rules see them: arrays, and what many rules ask of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from stockdb.settings.sections import Validation

__all__ = ["BAR", "DAY", "PRICES", "Bars", "Dates", "Floats", "Ints", "Mask"]

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Dates = npt.NDArray[np.datetime64]

PRICES: Final = ("open", "high", "low", "close")
BAR: Final = (*PRICES, "volume")
# Vendors round adjusted prices one by one, so that a close may stand this much above its
# own high; real errors are a thousand times larger.
TOLERANCE: Final = 1e-6

DAY: Final = 86_400_000_000_000  # nanoseconds


@dataclass(eq=False)
class Bars:
    """Bars of one symbol; every array has shape (rows,).

    Attributes
    ----------
    date, wall : ndarray of datetime64[ns]
        Instants, for order and duplicates; and what the local clock showed, for weekdays
        and times of day.
    columns : mapping of str to ndarray of float64
    rules : Validation
    intraday : bool or None
        None infers it, see `daily`.
    notes : dict of str to ndarray of float64
        What a rule computed and the report should show; NaN where there is nothing to say.
    zoned : bool
        `date` is UTC, known for sure: another exchange's clock can be told from it.
    """

    date: Dates
    wall: Dates
    columns: Mapping[str, Floats]
    rules: Validation
    intraday: bool | None = None
    notes: dict[str, Floats] = field(default_factory=dict)
    zoned: bool = False

    def take(self, rows: Ints) -> Bars:
        """Give some of the rows, as bars of their own."""
        cells = {name: column[rows] for name, column in self.columns.items()}
        return Bars(
            self.date[rows], self.wall[rows], cells, self.rules, self.intraday, zoned=self.zoned
        )

    @cached_property
    def nothing(self) -> Mask:
        """No row; read-only, for every rule may give it back."""
        mask = np.zeros(len(self.date), dtype=np.bool_)
        mask.setflags(write=False)
        return mask

    # ------------------------------------------------------------------ prices, volume

    @cached_property
    def sane(self) -> bool:
        """Whether no price can break a rule about a row's own prices: one answer for all.

        Nearly every frame is clean, and this costs a fraction of asking every such rule.
        A NaN makes every comparison false.
        """
        try:
            first, high, low, close = (self.columns[name] for name in PRICES)
        except KeyError:
            return False
        if not len(high):
            return True
        return bool(
            np.minimum.reduce(low) > self.rules.min_price
            and np.maximum.reduce(high) <= self.rules.max_price
            and (high >= low).all()
            and (first >= low).all()
            and (first <= high).all()
            and (close >= low).all()
            and (close <= high).all()
        )

    def any_price(self, test: Callable[[Floats], Any]) -> Mask:
        """Rows with a price, of those that are there, that passes a test of what is no price."""
        if self.sane:
            return self.nothing
        prices = (self.columns[name] for name in PRICES if name in self.columns)
        return reduce(np.logical_or, map(test, prices), self.nothing)

    @cached_property
    def traded(self) -> bool:
        """Whether there is a volume and every row's is a finite number above zero."""
        volume = self.columns.get("volume")
        if volume is None or not len(volume):
            return False
        return bool(np.minimum.reduce(volume) > 0 and np.maximum.reduce(volume) < np.inf)

    def volume(self, test: Callable[[Floats], Any]) -> Mask:
        """Rows whose volume passes a test of what is no volume; none where there is none."""
        volume = self.columns.get("volume")
        return self.nothing if volume is None or self.traded else np.asarray(test(volume))

    def out_of_range(self, price: Floats) -> Mask:
        """Whether prices are out of bounds or infinite; NaN is not, it is missing."""
        return np.asarray((price <= self.rules.min_price) | (price > self.rules.max_price))

    def below(self, upper: str, lower: str) -> Mask:
        """Rows where `upper` is below `lower` by more than rounding.

        Prices that are themselves out of range are left out: they have their own
        finding, and one defect should not be reported three times.
        """
        if self.sane or upper not in self.columns or lower not in self.columns:
            return self.nothing
        over, under = self.columns[upper], self.columns[lower]
        found = np.asarray(over < under * (1.0 - TOLERANCE))
        if found.any():
            found &= ~(self.out_of_range(over) | self.out_of_range(under))
        return found

    def outside(self, name: str) -> Mask:
        """Rows whose `name` is not between low and high."""
        if self.sane:
            return self.nothing
        found = self.below("high", name) | self.below(name, "low")
        if found.any():  # between a high and a low that are swapped there is no inside
            found &= ~self.below("high", "low")
        return found

    @cached_property
    def usable(self) -> Mask:
        """Rows with a close that no rule about the row's own prices objects to."""
        close = self.columns.get("close")
        if close is None:
            return self.nothing
        if self.sane:
            return np.ones(len(close), dtype=np.bool_)
        return ~(np.isnan(close) | self.out_of_range(close) | self.outside("close"))

    # ------------------------------------------------------------------ time

    @cached_property
    def dated(self) -> Mask:
        """Rows that have a date."""
        return ~np.isnat(self.date)

    @cached_property
    def steps(self) -> Ints:
        """Nanoseconds from each row to the next; rows without a date do not count."""
        date = self.date if self.dated.all() else self.date[self.dated]
        ticks = date.view(np.int64)
        return np.asarray(ticks[1:] - ticks[:-1], dtype=np.int64)

    @cached_property
    def ascending(self) -> bool:
        """Whether every row has a date after that of the row above."""
        if not len(self.steps):
            return bool(self.dated.all())
        return bool(np.minimum.reduce(self.steps) > 0 and self.dated.all())

    @cached_property
    def in_order(self) -> tuple[Bars, Ints | None]:
        """The rows that have a date, by date, and which rows these are (None: as they stand)."""
        if self.ascending:
            return self, None
        rows = np.flatnonzero(self.dated)
        rows = rows[np.argsort(self.date[rows], kind="stable")]
        return self.take(rows), rows

    def mark(self, rows: Ints) -> Mask:
        """Mark rows that are given by number in the order of `in_order`."""
        if not len(rows):
            return self.nothing
        order = self.in_order[1]
        mask = self.nothing.copy()
        mask[rows if order is None else order[rows]] = True
        return mask

    @cached_property
    def repeats(self) -> tuple[Mask, Mask]:
        """Rows that repeat an earlier row exactly; rows of dates whose rows contradict."""
        if self.ascending:
            return self.nothing, self.nothing
        bars, rows = self.in_order
        if rows is None or bool((bars.steps > 0).all()):
            return self.nothing, self.nothing
        starts = np.flatnonzero(np.r_[True, bars.steps != 0])
        first = np.repeat(rows[starts], np.diff(np.r_[starts, len(rows)]))
        same = np.ones(len(rows), dtype=np.bool_)
        for cells in self.columns.values():
            same &= (cells[rows] == cells[first]) | np.isnan(cells[rows]) & np.isnan(cells[first])
        disputed = np.isin(first, first[~same])
        exact, conflict = self.nothing.copy(), self.nothing.copy()
        exact[rows] = (rows != first) & ~disputed
        conflict[rows] = disputed
        return exact, conflict

    @cached_property
    def days(self) -> Ints:
        """Days since 1970 on the local clock."""
        return self.wall.view(np.int64) // DAY

    @cached_property
    def times(self) -> Mask:
        """Rows with a time of day other than midnight."""
        return np.asarray((self.days * DAY != self.wall.view(np.int64)) & self.dated)

    @cached_property
    def daily(self) -> bool:
        """Whether these are bars of a day or more: all at midnight, or one a day."""
        if self.intraday is not None or not self.times.any():
            return not self.intraday
        moments = np.sort(self.wall[self.dated].view(np.int64))
        apart = np.diff(moments) > 0
        return bool(apart.any()) and not (apart & (np.diff(moments // DAY) == 0)).any()
