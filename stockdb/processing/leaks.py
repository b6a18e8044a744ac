"""Tests for leaks: functions of bars that read the future, other symbols, or where data begin.

Each test computes twice, with a change that must not matter, and names what changed all the
same: the column, the row, and how far ahead the row reads. They take any function from a frame
of bars to a frame (or series) with the same index, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.errors import DataError

__all__ = [
    "Leak",
    "Search",
    "cut_order",
    "later_event",
    "look_back",
    "other_symbols",
    "perturbed",
    "prefix",
    "shaken",
]

Function = Callable[[pd.DataFrame], pd.DataFrame | pd.Series]
Mask = npt.NDArray[np.bool_]

_ROUNDING: Final = 1e-12
_GOLDEN: Final = (5**0.5 - 1) / 2
_PRICES: Final = ("open", "high", "low", "close", "adj_close", "vwap")
#: What a later split (7:1) and a later dividend (1.3 %) do to adjusted prices and volumes.
_EVENTS: Final = (("split", 1.0 / 7.0, 7.0), ("dividend", 0.987, 1.0))


@dataclass(frozen=True)
class Leak:
    """Something that changed and must not.

    Attributes
    ----------
    test : str
        ``prefix``, ``perturb``, ``other_symbols``, ``look_back``, ``later_event``, or one of the
        tests of ``stockdb.models.audit``.
    column : str
    symbol : str or None
        None in a frame of one symbol.
    date : pandas.Timestamp
        The first row that changed.
    reach : int or None
        How many bars ahead that row reads at least, where the test can tell; None otherwise.
    detail : str
        One sentence.
    """

    test: str
    column: str
    symbol: str | None
    date: pd.Timestamp
    reach: int | None
    detail: str

    def __str__(self) -> str:
        where = f"{self.symbol} " if self.symbol else ""
        return f"{self.column} at {where}{self.date:%Y-%m-%d}: {self.detail} [{self.test}]"


def prefix(function: Function, frame: pd.DataFrame, cuts: int = 5) -> list[Leak]:
    """Compute from the bars up to t alone: rows up to t must be the same, bit for bit.

    Parameters
    ----------
    function : callable
    frame : pandas.DataFrame
        Bars; one symbol, or MultiIndex (symbol, date).
    cuts : int
        Dates t to try, spread over the last two thirds.
    """
    search = Search(function, frame)
    for place in _spread(search.dates, cuts):
        search.prefix(place)
    return search.leaks("prefix")


def perturbed(function: Function, frame: pd.DataFrame, cuts: int = 5, seed: int = 0) -> list[Leak]:
    """Change all bars after t: rows up to t must stay the same, bit for bit; see :func:`prefix`."""
    search = Search(function, frame)
    for number, place in enumerate(_spread(search.dates, cuts)):
        search.perturbed(place, seed + number)
    return search.leaks("perturb")


class Search:
    """Leaks across cuts: dates after which bars are taken away, or changed.

    A row t that reads a bar u > t shows at every cut from t to the bar before u, since all rows
    up to a cut are compared; a row that reads the next bar shows at the cut at t alone. Rows are
    the same bit for bit; but where no later value matters and only the last digits differ (to
    1e-12), numbers were added up in another order, and that is no leak.

    Parameters
    ----------
    function : callable
    frame : pandas.DataFrame
        Bars; one symbol, or MultiIndex (symbol, date).
    ahead : mapping of str to int
        Columns that may read the future, and how many bars of their symbol.

    Attributes
    ----------
    dates : pandas.DatetimeIndex
        That bars are held of, ascending; a cut is a place among them, but for the last.
    columns : list of str
        What the function gives.

    Raises
    ------
    DataError
        The function gives another index; fewer than three dates.
    """

    def __init__(
        self, function: Function, frame: pd.DataFrame, ahead: Mapping[str, int] | None = None
    ) -> None:
        self._function, self._frame, self._ahead = function, frame, dict(ahead or {})
        self._whole = _computed(function, frame)
        self._found: dict[tuple[str, str], Leak] = {}
        self._rounded: set[str] = set()
        self.columns = [str(name) for name in self._whole.columns]
        self._stamps = _dates(frame)
        self.dates = self._stamps.unique().sort_values()
        self._ascends = self.dates.equals(self._stamps)
        if len(self.dates) < 3:
            raise DataError("Too few bars for a test.", remedy="Give some hundred.")

    def prefix(self, place: int) -> None:
        """Compute from the bars up to a cut alone, and compare every row."""
        part = _computed(self._function, self._until(self._frame, place))
        self._compare("prefix", self._until(self._whole, place), part)

    def perturbed(self, place: int, seed: int) -> None:
        """Change all bars after a cut, and compare every row up to it."""
        after = np.asarray(self._stamps > self.dates[place])
        other = _computed(self._function, shaken(self._frame, after, seed))
        self._compare("perturb", self._until(self._whole, place), self._until(other, place))

    def leaks(self, *tests: str) -> list[Leak]:
        """Give the first leak of each column that these tests have found."""
        return [leak for (test, _), leak in self._found.items() if test in tests]

    def settled(self, test: str) -> bool:
        """Whether a test has nothing left to find: every column leaks."""
        return len(self.leaks(test)) == len(self.columns)

    def _until(self, frame: pd.DataFrame, place: int) -> pd.DataFrame:
        if self._ascends:  # a slice is a view
            return frame.iloc[: place + 1]
        return frame[np.asarray(self._stamps <= self.dates[place])]

    def _compare(self, test: str, expected: pd.DataFrame, got: pd.DataFrame) -> None:
        changed = _differences(expected, got)
        for place in np.flatnonzero(changed.any(axis=0)).tolist():
            column = self.columns[place]
            if (test, column) in self._found:
                continue
            own = changed[:, place]
            one, other = expected.iloc[:, [place]], got.iloc[:, [place]]
            rounding = not _differences(one, other, relative=_ROUNDING).any()
            if rounding and column in self._rounded:
                continue
            if column in self._ahead:
                own = own & ~_tail(expected, self._ahead[column])
            if not own.any():
                continue
            leak = self._measured(test, expected, place, int(np.argmax(own)))
            if rounding and leak.reach is None:
                self._rounded.add(column)
            else:
                self._found[test, column] = leak

    def _measured(self, test: str, frame: pd.DataFrame, place: int, row: int) -> Leak:
        """Say how far ahead a row reads."""
        reach, end = _reach(self._function, self._frame, place, frame.index[row])
        detail = f"reads {reach} bar{'s' if reach != 1 else ''} ahead"
        if end:
            detail += ", which is the end of the data: it uses the whole sample"
        if not reach:  # it depends on how many rows there are, or on chance
            detail = "changes when later bars are cut off, whatever their values"
        return _leak(test, self.columns[place], frame, row, reach or None, detail)


def cut_order(dates: pd.DatetimeIndex, seed: int = 0) -> list[int]:
    """Order all places at which dates can be cut, so that the first few see most.

    Three kinds take turns: after 5, 10, 20, 50 ... dates, where warm-ups are filled; two runs of
    consecutive dates around the ends of months (one of a year, where there is one), which hold
    every day of the week; and all others, each far from those before it.

    Parameters
    ----------
    dates : pandas.DatetimeIndex
        Ascending and unique.
    seed : int
        Where the third kind begins.

    Returns
    -------
    list of int
        Every place but the last, once.

    Examples
    --------
    >>> import pandas as pd
    >>> cut_order(pd.bdate_range("2024-01-01", periods=1000))[:6]
    [4, 519, 254, 9, 520, 872]
    """
    last = len(dates) - 1
    early = [
        rows - 1 for power in (1, 10, 100, 1000) for rows in (5 * power, 10 * power, 20 * power)
    ]
    months = np.asarray(dates.month, np.int64)
    turns = np.flatnonzero(months[1:] != months[:-1])  # the last date of each month
    years = turns[months[turns] == 12]
    middles = [int(_nearest(years if len(years) else turns, last // 2, last // 2)),
               int(_nearest(turns, (5 * last) // 6, (5 * last) // 6))]  # fmt: skip
    runs = [middle + day for middle in middles for day in range(-3, 9)]
    start = float(np.random.default_rng(seed).random())
    # Multiples of the golden ratio, modulo 1, stay as far from one another as numbers can.
    spread = np.modf(start + _GOLDEN * np.arange(1, 2 * last + 1))[0] * last
    turn = (place for places in zip_longest(early, runs, spread.astype(int)) for place in places)
    order = [int(place) for place in turn if place is not None and 0 <= place < last]
    return list(dict.fromkeys([*order, *range(last)]))


def _nearest(places: npt.NDArray[np.int64], wanted: int, default: int) -> int:
    return default if not len(places) else int(places[np.argmin(np.abs(places - wanted))])


def _spread(dates: pd.DatetimeIndex, count: int) -> list[int]:
    return [int(place) for place in np.linspace(len(dates) / 3, len(dates) - 2, count)]


def other_symbols(
    function: Function, frame: pd.DataFrame, cross_sectional: Iterable[str] = (), seed: int = 0
) -> list[Leak]:
    """Change one symbol's bars: the others' rows must stay the same.

    Parameters
    ----------
    function : callable
    frame : pandas.DataFrame
        MultiIndex (symbol, date) with two symbols or more; others have nothing to test.
    cross_sectional : iterable of str
        Columns that compare symbols: they may change on the dates that were changed only, and
        the bars of half of the dates are. Names that begin with ``xs_`` are among them.
    seed : int
    """
    if frame.index.nlevels < 2:
        return []
    names = frame.index.get_level_values(0)
    symbols = names.unique()
    if len(symbols) < 2:
        return []
    whole = _computed(function, frame)
    compares = set(cross_sectional)
    dates = _dates(frame)
    held = dates.unique().sort_values()
    late = dates > held[_spread(held, 1)[0]]
    leaks: dict[str, Leak] = {}
    for symbol in symbols[:3]:
        other = shaken(frame, np.asarray(names == symbol) & late, seed)
        changed = _differences(whole, _computed(function, other))
        changed[np.asarray(names == symbol)] = False
        for place, column in enumerate(whole.columns):
            if str(column).startswith("xs_") or column in compares:
                changed[late, place] = False
        for place, row in _first_rows(changed):
            column = str(whole.columns[place])
            detail = f"changes when only {symbol}'s bars do"
            leaks.setdefault(column, _leak("other_symbols", column, whole, row, None, detail))
    return list(leaks.values())


def look_back(function: Function, frame: pd.DataFrame, warmup: int, rows: int = 60) -> list[Leak]:
    """Compute the last rows from few bars and from all: they must agree to 1e-6.

    Parameters
    ----------
    function : callable
    frame : pandas.DataFrame
    warmup : int
        Bars before the first row that is compared; what the function says it needs.
    rows : int
        Rows of each symbol that are compared, relative to 1e-6 or to 1e-8 in absolute terms.
    """
    whole = _computed(function, frame)
    kept = _tail(frame, rows + warmup)
    part = _computed(function, frame[kept])
    last = _tail(frame[kept], rows)
    expected, got = whole[kept][last], part[last]
    changed = _differences(expected, got, relative=1e-6, absolute=1e-8)
    return [
        _leak(
            "look_back",
            str(expected.columns[place]),
            expected,
            row,
            None,
            f"needs more than {warmup} bars to warm up",
        )
        for place, row in _first_rows(changed)
    ]


def later_event(
    function: Function, frame: pd.DataFrame, scale_free: Sequence[str] | None = None
) -> list[Leak]:
    """Adjust all prices for a split, and for a dividend, that come later.

    Parameters
    ----------
    function : callable
    frame : pandas.DataFrame
    scale_free : sequence of str, optional
        Columns that must stay equal to 1e-9; all of them by default.
    """
    whole = _computed(function, frame)
    leaks: dict[str, Leak] = {}
    for event, price, volume in _EVENTS:
        factors = dict.fromkeys(_PRICES, price) | {"volume": volume}
        scaled = frame.assign(
            **{name: frame[name] * factors[name] for name in factors if name in frame}
        )
        changed = _differences(whole, _computed(function, scaled), relative=1e-9, absolute=1e-9)
        for place, row in _first_rows(changed):
            column = str(whole.columns[place])
            if scale_free is None or column in scale_free:
                detail = f"changes with a later {event}"
                leaks.setdefault(column, _leak("later_event", column, whole, row, None, detail))
    return list(leaks.values())


# ------------------------------------------------------------------ parts


def _computed(function: Function, frame: pd.DataFrame) -> pd.DataFrame:
    result = function(frame.copy())
    if isinstance(result, pd.Series):
        result = result.to_frame(str(result.name or "feature"))
    if not isinstance(result, pd.DataFrame) or not result.index.equals(frame.index):
        raise DataError(
            "A function under test must return a frame, or series, with the index it was given.",
            remedy="Return rows for all bars, NaN where there is no value.",
        )
    return result


def _dates(frame: pd.DataFrame) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(frame.index.get_level_values(-1))


def _tail(frame: pd.DataFrame, rows: int) -> Mask:
    if frame.index.nlevels < 2:
        return np.arange(len(frame)) >= len(frame) - rows
    back = frame.groupby(level=0, sort=False).cumcount(ascending=False)
    return np.asarray(back < rows)


def shaken(frame: pd.DataFrame, rows: Mask, seed: int) -> pd.DataFrame:
    """Other bars in some rows: still bars, high above low, but none of the same numbers."""
    chance = np.random.default_rng(seed)
    level = np.where(rows, np.exp(chance.normal(0.0, 0.3, len(frame))), 1.0)
    changed: dict[str, Any] = {}
    for name in frame.columns:
        if pd.api.types.is_numeric_dtype(frame[name].dtype):
            own = (
                level if name in _PRICES else np.where(rows, chance.uniform(0.2, 5, len(frame)), 1)
            )
            changed[name] = frame[name].astype(np.float64) * own
    return frame.assign(**changed)


def _differences(
    expected: pd.DataFrame, got: pd.DataFrame, relative: float = 0.0, absolute: float = 0.0
) -> Mask:
    """Mark the cells that differ, shape (rows, columns); NaN equals NaN."""
    if list(expected.columns) != list(got.columns):
        raise DataError(
            "The function under test gives other columns for other rows.",
            remedy="Its columns must not depend on the data.",
        )
    changed = np.zeros(expected.shape, bool)
    for place in range(expected.shape[1]):
        one, other = expected.iloc[:, place], got.iloc[:, place]
        if pd.api.types.is_numeric_dtype(one.dtype) and pd.api.types.is_numeric_dtype(other.dtype):
            a, b = one.to_numpy(np.float64), other.to_numpy(np.float64)
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            if relative or absolute:
                with np.errstate(invalid="ignore"):
                    same |= np.abs(a - b) <= np.maximum(absolute, relative * np.abs(a))
            changed[:, place] = ~same
        else:
            a, b = one.to_numpy(object), other.to_numpy(object)
            changed[:, place] = ~((a == b) | (pd.isna(a) & pd.isna(b)))
    return changed


def _first_rows(changed: Mask) -> Iterable[tuple[int, int]]:
    for place in np.flatnonzero(changed.any(axis=0)).tolist():
        yield place, int(np.argmax(changed[:, place]))


def _leak(
    test: str, column: str, frame: pd.DataFrame, row: int, reach: int | None, detail: str
) -> Leak:
    label: Any = frame.index[row]
    symbol, date = (str(label[0]), label[-1]) if isinstance(label, tuple) else (None, label)
    return Leak(test, column, symbol, pd.Timestamp(date), reach, detail)


def _reach(function: Function, frame: pd.DataFrame, place: int, label: Any) -> tuple[int, bool]:
    """Find the farthest bar whose change changes a cell; and whether that is the last one."""
    symbol = label[0] if isinstance(label, tuple) else None
    dates = _dates(frame)
    own = np.asarray(frame.index.get_level_values(0) == symbol) if symbol is not None else None
    mine = dates if own is None else dates[own]
    later = mine[mine > (label[-1] if isinstance(label, tuple) else label)].sort_values()
    before = _computed(function, frame).iloc[:, place].loc[[label]].to_numpy()

    def matters(bars: int) -> bool:
        rows = np.asarray(dates >= later[bars - 1])
        after = _computed(function, shaken(frame, rows, 1)).iloc[:, place].loc[[label]].to_numpy()
        return not pd.Series(before).equals(pd.Series(after))

    low, high = 0, len(later)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if matters(middle) else (low, middle - 1)
    return low, low == len(later) and low > 0
