"""Tests for leaks: functions of bars that read the future, other symbols, or where data begin.

Each test computes twice, with a change that must not matter, and names what changed all the
same: the column, the row, and how far ahead the row reads. They take any function from a frame
of bars to a frame (or series) with the same index, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.errors import DataError

__all__ = ["Leak", "later_event", "look_back", "other_symbols", "perturbed", "prefix", "shaken"]

Function = Callable[[pd.DataFrame], pd.DataFrame | pd.Series]
Mask = npt.NDArray[np.bool_]

_PRICES: Final = ("open", "high", "low", "close", "adj_close", "vwap")
#: What a later split (7:1) and a later dividend (1.3 %) do to adjusted prices and volumes.
_EVENTS: Final = (("split", 1.0 / 7.0, 7.0), ("dividend", 0.987, 1.0))


@dataclass(frozen=True)
class Leak:
    """Something that changed and must not.

    Attributes
    ----------
    test : str
        ``prefix``, ``perturb``, ``other_symbols``, ``look_back`` or ``later_event``.
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
    whole = _computed(function, frame)
    leaks: dict[str, Leak] = {}
    for cut in _cuts(frame, cuts):
        kept = _dates(frame) <= cut
        part = _computed(function, frame[kept])
        changed = _differences(whole[kept], part)
        _collect(leaks, "prefix", whole[kept], changed, function, frame)
    return list(leaks.values())


def perturbed(function: Function, frame: pd.DataFrame, cuts: int = 5, seed: int = 0) -> list[Leak]:
    """Change all bars after t: rows up to t must stay the same, bit for bit; see :func:`prefix`."""
    whole = _computed(function, frame)
    leaks: dict[str, Leak] = {}
    for number, cut in enumerate(_cuts(frame, cuts)):
        after = _dates(frame) > cut
        changed = _differences(whole, _computed(function, shaken(frame, after, seed + number)))
        changed[after] = False
        _collect(leaks, "perturb", whole, changed, function, frame)
    return list(leaks.values())


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
    late = dates > _cuts(frame, 1)[0]
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


def _cuts(frame: pd.DataFrame, count: int) -> list[pd.Timestamp]:
    dates = _dates(frame).unique().sort_values()
    if len(dates) < 3:
        raise DataError("Too few bars for a test.", remedy="Give some hundred.")
    places = np.linspace(len(dates) / 3, len(dates) - 2, count).astype(int)
    return [dates[place] for place in places]


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
            with np.errstate(invalid="ignore"):
                same = (a == b) | (np.abs(a - b) <= np.maximum(absolute, relative * np.abs(a)))
            changed[:, place] = ~(same | (np.isnan(a) & np.isnan(b)))
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


def _collect(
    leaks: dict[str, Leak],
    test: str,
    computed: pd.DataFrame,
    changed: Mask,
    function: Function,
    frame: pd.DataFrame,
) -> None:
    """Add the first leak of each column, with how far ahead it reads."""
    for place, row in _first_rows(changed):
        column = str(computed.columns[place])
        if column in leaks:
            continue
        label = computed.index[row]
        reach, end = _reach(function, frame, place, label)
        detail = f"reads {reach} bar{'s' if reach != 1 else ''} ahead"
        if end:
            detail += ", which is the end of the data: it uses the whole sample"
        if not reach:  # it depends on how many rows there are, or on chance
            detail = "changes when later bars are cut off, whatever their values"
        leaks[column] = _leak(test, column, computed, row, reach or None, detail)


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
