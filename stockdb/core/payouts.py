"""Rules about dividends and adjusted closes, for frames that have such columns.

The adjusted close over the close is a factor that steps down, going back in time, at every
dividend: by ``1 - dividend / close of the session before`` (the way of CRSP and Yahoo).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from stockdb.core.barview import DAY, Bars, Floats, Mask

__all__ = ["adj_close_range", "missing_adjustment", "unexplained_adjustment", "wrong_dividend"]

_SMALL: Final = 0.001  # a dividend below this share of the price is lost in rounding
_IGNORED: Final = 0.25  # an adjustment of less than this share of the dividend is none
_DISAGREE: Final = 1.5  # factor between what was adjusted and what was paid
_LARGE: Final = 0.25  # a dividend of this share of the price must be seen in the price
_SEEN: Final = 1 / 3  # ... by at least this share of it
_UNIT: Final = (50.0, 200.0)  # dollars for cents
_OTHERS: Final = 3
_AGAIN: Final = 14 * DAY  # the same amount so soon is one dividend recorded twice
_CHANGE: Final = 0.003  # a change of the factor that rounding does not make


def adj_close_range(bars: Bars) -> Mask:
    """Rows whose adjusted close is not a positive number; NaN is missing, not wrong."""
    adjusted = bars.columns.get("adj_close")
    if adjusted is None:
        return bars.nothing
    return np.asarray((adjusted <= 0) | np.isinf(adjusted))


def missing_adjustment(bars: Bars) -> Mask:
    """Dividends that the adjusted close takes no notice of."""
    return _at(bars, lambda paid: (paid.share >= _SMALL) & paid.ignored)


def wrong_dividend(bars: Bars) -> Mask:
    """Dividends that cannot be: too large for the price, a unit off, twice, or not adjusted so."""
    return _at(bars, lambda paid: paid.impossible() | paid.off_unit() | paid.again() | paid.other())


def unexplained_adjustment(bars: Bars) -> Mask:
    """Rows at which the adjustment steps though no dividend or split is recorded."""
    if not {"adj_close", "dividends", "close"} <= set(bars.columns):
        return bars.nothing
    ordered = bars.in_order[0]
    if len(ordered.date) < 2:
        return bars.nothing
    factor = _factor(ordered)
    with np.errstate(divide="ignore", invalid="ignore"):
        stepped = np.abs(factor[1:] / factor[:-1] - 1.0) > _CHANGE + 2 * _grain(ordered)[1:]
    splits = ordered.columns.get("stock_splits", np.zeros(len(factor)))
    recorded = (ordered.columns["dividends"] > 0) | ~((splits == 0) | (splits == 1))
    recorded |= np.isnan(ordered.columns["dividends"]) | (factor <= 0)
    return bars.mark(np.flatnonzero(stepped & ~recorded[1:] & (factor[:-1] > 0)) + 1)


@dataclass(frozen=True)
class _Paid:
    """Dividends of a series in order; every array has shape (dividends,)."""

    amount: Floats
    date: Floats  # ns since 1970
    share: Floats  # of the close before
    change: Floats  # close over the close before
    adjusted: Floats  # share of the close before that the adjusted close takes off; NaN unknown

    @property
    def ignored(self) -> Mask:
        return np.asarray(np.abs(self.adjusted) < _IGNORED * self.share)

    def impossible(self) -> Mask:
        """Larger than the price, or large and not seen in it."""
        unseen = 1.0 - self.change < _SEEN * self.share
        return np.asarray((self.share >= 1.0) | ((self.share >= _LARGE) & unseen))

    def off_unit(self) -> Mask:
        """About a hundred times the others, or a hundredth, as an amount and of the price.

        Where only one of the two is, prices or the dividend's currency changed their unit.
        """
        found = np.zeros(len(self.amount), dtype=np.bool_)
        if len(self.amount) > _OTHERS:
            for number in range(len(found)):
                found[number] = all(
                    _UNIT[0] <= _times(values, number) <= _UNIT[1]
                    for values in (self.amount, self.share)
                )
        return found

    def again(self) -> Mask:
        """Mark the same amount as a few days before."""
        found = np.zeros(len(self.amount), dtype=np.bool_)
        near = np.isclose(self.amount[1:], self.amount[:-1], rtol=0.02)
        found[1:] = near & (np.diff(self.date) <= _AGAIN)
        return found

    def other(self) -> Mask:
        """Mark what was adjusted, but by another amount."""
        low, high = np.minimum(self.share, self.adjusted), np.maximum(self.share, self.adjusted)
        return np.asarray((high > _DISAGREE * low) & (high - low > 2 * _SMALL) & ~self.ignored)


def _times(values: Floats, number: int) -> float:
    """How many times larger, or smaller, one value is than the others' median."""
    usual, one = float(np.median(np.delete(values, number))), float(values[number])
    return max(one / usual, usual / one) if usual > 0 else 0.0


def _at(bars: Bars, judge: Callable[[_Paid], Mask]) -> Mask:
    dividends = bars.columns.get("dividends")
    if dividends is None or "close" not in bars.columns or not (dividends > 0).any():
        return bars.nothing
    ordered = bars.in_order[0]
    place = np.flatnonzero(ordered.columns["dividends"] > 0)
    place = place[place > 0]
    if not len(place):
        return bars.nothing
    close = ordered.columns["close"]
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = _factor(ordered)
        amount = ordered.columns["dividends"][place]
        paid = _Paid(
            amount=amount,
            date=ordered.date[place].view(np.int64).astype(np.float64),
            share=amount / close[place - 1],
            change=close[place] / close[place - 1],
            adjusted=1.0 - factor[place - 1] / factor[place],
        )
        return bars.mark(place[judge(paid)])


def _factor(bars: Bars) -> Floats:
    close = bars.columns["close"]
    adjusted = bars.columns.get("adj_close", np.full(len(close), np.nan))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(adjusted / close)


def _grain(bars: Bars) -> Floats:
    """Say what rounding to cents can do to the factor."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(0.005 / np.minimum(bars.columns["adj_close"], bars.columns["close"]))
