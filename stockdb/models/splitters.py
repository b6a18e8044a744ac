"""Splits by date: purged by label interval, embargoed in sessions.

López de Prado, Advances in Financial Machine Learning, 2018, chapter 7. A training sample
is purged where its label interval meets that of an evaluated sample, and kept away from it
by an embargo. Walk-forward and k-fold speak scikit-learn's interface.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stockdb.errors import ConfigurationError, RangeError
from stockdb.models.arguments import whole
from stockdb.models.rows import Array
from stockdb.types import parse_date

__all__ = ["PurgedKFold", "SplitPlan", "WalkForward", "plan_split"]


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """Where valid and test begin, as places among the sessions, and the embargo.

    Attributes
    ----------
    valid, test : int
    embargo : int
        Sessions that must lie between the end of a label and the next segment.
    """

    valid: int
    test: int
    embargo: int

    def segment(self, day: Array) -> Array:
        """0 for train, 1 for valid, 2 for test."""
        return (day >= self.valid).astype(np.int8) + (day >= self.test)

    def purged(self, day: Array, reach: Array) -> Array:
        """Mark samples whose label interval reaches into a later segment."""
        return np.asarray(reach >= self._next(day))

    def embargoed(self, day: Array, reach: Array) -> Array:
        """Mark samples whose label ends too few sessions before the next segment."""
        return np.asarray(reach + self.embargo >= self._next(day))

    def _next(self, day: Array) -> Array:
        never = np.iinfo(np.int32).max
        return np.array([self.valid, self.test, never], np.int64)[self.segment(day)]


def plan_split(
    sessions: pd.DatetimeIndex, held: Array, split_dates: Any, embargo: int
) -> SplitPlan:
    """Decide where valid and test begin.

    Parameters
    ----------
    sessions : pandas.DatetimeIndex
    held : numpy.ndarray of int
        Places of the sessions that hold rows, ascending.
    split_dates : (date-like, date-like) or None
        First date of valid and first date of test; None is 70/15/15 by date.
    embargo : int

    Raises
    ------
    RangeError
        Not two dates, ascending; no row before the first of them, or none from it on.
    ConfigurationError
        An embargo that is no whole number, or negative.
    """
    embargo = whole(embargo, "embargo", 0, "sessions")
    if split_dates is None:
        cuts = [int(held[int(len(held) * part)]) for part in (0.70, 0.85)]
        return SplitPlan(cuts[0], cuts[1], embargo)
    dates = _two_dates(split_dates)
    stamps = [pd.Timestamp(date).tz_localize(sessions.tz) for date in dates]
    places = [int(sessions.searchsorted(stamp, side="left")) for stamp in stamps]
    if not held[0] < places[0] <= held[-1]:
        raise RangeError(
            f"Valid begins on {dates[0]}, and nothing would be "
            f"{'evaluated' if places[0] > held[0] else 'trained on'}: there are rows of "
            f"{sessions[held[0]]:%Y-%m-%d} .. {sessions[held[-1]]:%Y-%m-%d}.",
            remedy="Give split_dates=(first date of valid, first date of test) within them.",
        )
    return SplitPlan(places[0], places[1], embargo)


def _two_dates(split_dates: Any) -> list[Any]:
    remedy = "Give split_dates=(first date of valid, first date of test)."
    if isinstance(split_dates, str | pd.Timestamp) or not hasattr(split_dates, "__len__"):
        raise RangeError(f"split_dates={split_dates!r} are not two dates.", remedy=remedy)
    if len(split_dates) != 2:
        raise RangeError(f"split_dates needs 2 dates, not {len(split_dates)}.", remedy=remedy)
    dates = [parse_date(date, "split_dates") for date in split_dates]
    if dates[0] >= dates[1]:
        raise RangeError(f"split_dates {dates[0]} .. {dates[1]} do not ascend.", remedy=remedy)
    return dates


class _Splitter:
    """What both splitters share: label intervals as places among the sessions."""

    def __init__(
        self,
        n_splits: int,
        t0: Any,
        t1: Any,
        embargo: int,
        sessions: Any,
    ) -> None:
        self.n_splits = whole(n_splits, "n_splits", 2, "pairs of train and test")
        self.embargo = whole(embargo, "embargo", 0, "sessions")
        begin, end = pd.DatetimeIndex(t0), pd.DatetimeIndex(t1)
        if len(begin) != len(end):
            raise ConfigurationError(f"There are {len(begin)} t0 and {len(end)} t1.")
        if begin.hasnans or end.hasnans or (end < begin).any():
            raise ConfigurationError("Every sample needs t0 <= t1.")
        known = begin.unique() if sessions is None else pd.DatetimeIndex(sessions)
        known = known.union(begin.unique()).union(end.unique()).sort_values()
        self._begin = known.get_indexer(begin)
        self._end = known.get_indexer(end)
        self._days = np.unique(self._begin)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits."""
        return self.n_splits

    def split(
        self, X: Any = None, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[Array, Array]]:
        """Yield (train, test): places of the samples, ascending.

        Parameters
        ----------
        X : array-like, optional
            Only its length is looked at.
        y, groups : object
            Ignored; scikit-learn passes them.

        Raises
        ------
        ConfigurationError
            X has another length than t0, there are fewer dates than splits, or a split is
            left without a training sample.
        """
        if X is not None and np.shape(X)[0] != len(self._begin):
            raise ConfigurationError(f"X has {np.shape(X)[0]} samples and t0 {len(self._begin)}.")
        for first, last in self._blocks():
            test = (self._begin >= first) & (self._begin <= last)
            train = self._train(test, first)
            if not train.any():
                raise ConfigurationError(
                    f"Nothing is left to train on for the test block of {int(test.sum())} "
                    "samples, once overlapping labels and the embargo are taken away.",
                    remedy="Give fewer splits, a smaller embargo, or more history.",
                )
            yield np.flatnonzero(train), np.flatnonzero(test)

    def _blocks(self) -> list[tuple[int, int]]:
        raise NotImplementedError

    def _train(self, test: Array, first: int) -> Array:
        raise NotImplementedError

    def _parts(self, count: int) -> list[Array]:
        if len(self._days) < count:
            raise ConfigurationError(f"{len(self._days)} dates cannot make {count} parts.")
        return np.array_split(self._days, count)


class PurgedKFold(_Splitter):
    """K contiguous test blocks by date over all symbols; train is purged on both sides.

    Parameters
    ----------
    n_splits : int
    t0, t1 : datetime-like, shape (n,)
        First and last date of each sample's label interval, both included; in the order of
        X: ``prepared.train.t0`` and ``.t1``.
    embargo : int
        Sessions after the end of the last test label in which no training sample begins.
    sessions : pandas.DatetimeIndex, optional
        What the embargo counts; the dates of t0 and t1 otherwise.

    Examples
    --------
    >>> import pandas as pd
    >>> day = pd.date_range("2024-01-01", periods=9)
    >>> folds = PurgedKFold(3, t0=day, t1=day + pd.Timedelta(1, "D"), embargo=1)
    >>> [train.tolist() for train, test in folds.split()]
    [[5, 6, 7, 8], [0, 1, 8], [0, 1, 2, 3, 4]]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        t0: Any,
        t1: Any,
        embargo: int = 0,
        sessions: Any = None,
    ) -> None:
        super().__init__(n_splits, t0, t1, embargo, sessions)

    def _blocks(self) -> list[tuple[int, int]]:
        return [(int(part[0]), int(part[-1])) for part in self._parts(self.n_splits)]

    def _train(self, test: Array, first: int) -> Array:
        until = int(self._end[test].max()) + self.embargo
        return np.asarray((self._end < first) | (self._begin > until))


class WalkForward(_Splitter):
    """Train on what came before, test on the block that follows.

    Parameters
    ----------
    n_splits : int
    t0, t1, sessions
        As for :class:`PurgedKFold`.
    embargo : int
        Sessions that must lie between the end of a training label and the test block.
    train_size : int, optional
        Dates that train may span; None takes all before (an expanding window).
    test_size : int, optional
        Dates in each test block; by default the dates are cut into ``n_splits + 1`` parts.

    Examples
    --------
    >>> import pandas as pd
    >>> day = pd.date_range("2024-01-01", periods=8)
    >>> walk = WalkForward(3, t0=day, t1=day + pd.Timedelta(1, "D"))
    >>> [(train.tolist(), test.tolist()) for train, test in walk.split()]
    [([0], [2, 3]), ([0, 1, 2], [4, 5]), ([0, 1, 2, 3, 4], [6, 7])]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        t0: Any,
        t1: Any,
        embargo: int = 0,
        sessions: Any = None,
        train_size: int | None = None,
        test_size: int | None = None,
    ) -> None:
        super().__init__(n_splits, t0, t1, embargo, sessions)
        optional = {"train_size": train_size, "test_size": test_size}
        for name, size in optional.items():
            optional[name] = None if size is None else whole(size, name, 1, "dates")
        self.train_size, self.test_size = optional.values()

    def _blocks(self) -> list[tuple[int, int]]:
        if self.test_size is None:
            parts = self._parts(self.n_splits + 1)[1:]
        else:
            if self.test_size * self.n_splits >= len(self._days):
                raise ConfigurationError(
                    f"{self.n_splits} blocks of {self.test_size} dates leave nothing to train "
                    f"on: there are {len(self._days)} dates."
                )
            tail = self._days[-self.test_size * self.n_splits :]
            parts = np.split(tail, self.n_splits)
        return [(int(part[0]), int(part[-1])) for part in parts]

    def _train(self, test: Array, first: int) -> Array:
        kept = self._end + self.embargo < first
        if self.train_size is not None:
            before = self._days[self._days < first][-self.train_size :]
            kept &= self._begin >= before[0]
        return np.asarray(kept)
