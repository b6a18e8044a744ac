"""Rules that bars are held against: a frame and its rules in, a report out.

`RULES` is a table. A new rule is one function that marks rows and one line there; it may
use everything that `Bars` offers and costs a clean frame one or two vectorised passes.
Findings are built only where a rule marked something.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.core.columns import BARS, fold
from stockdb.core.report import Finding, Severity, ValidationReport, apply_policy
from stockdb.settings.sections import Validation

__all__ = ["RULES", "Bars", "Rule", "apply_policy", "validate_arrays", "validate_bars"]

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Dates = npt.NDArray[np.datetime64]

PRICES: Final = ("open", "high", "low", "close")
BAR: Final = (*PRICES, "volume")
VOLUME: Final = ("volume",)
# Vendors round adjusted prices one by one, so that a close may stand this much above its
# own high; real errors are a thousand times larger.
TOLERANCE: Final = 1e-6

_DAY: Final = 86_400_000_000_000  # nanoseconds
_DEFAULT: Final = Validation()
_MEANING: Final = {
    fold(spelling): known.name
    for known in BARS.known
    for spelling in (known.name, *known.spellings)
}
_OURS: Final = {known.name for known in BARS.known if known.kind == "float"}


@dataclass(eq=False)
class Bars:
    """Bars of one symbol, as the rules see them; every array has shape (rows,)."""

    date: Dates  # ns, instants: for order and duplicates
    wall: Dates  # ns, as the local clock shows them: for weekdays and times of day
    columns: Mapping[str, Floats]
    rules: Validation
    intraday: bool | None = None  # None infers it, see `daily`

    def take(self, rows: Ints) -> Bars:
        """Give some of the rows, as bars of their own."""
        cells = {name: column[rows] for name, column in self.columns.items()}
        return Bars(self.date[rows], self.wall[rows], cells, self.rules, self.intraday)

    @cached_property
    def nothing(self) -> Mask:
        """No row; read-only, for every rule may give it back."""
        mask = np.zeros(len(self.date), dtype=np.bool_)
        mask.setflags(write=False)
        return mask

    def any_price(self, test: Callable[[Floats], Any]) -> Mask:
        """Rows with a price, of those that are there, that passes a test."""
        prices = (self.columns[name] for name in PRICES if name in self.columns)
        return reduce(np.logical_or, map(test, prices), self.nothing)

    def volume(self, test: Callable[[Floats], Any]) -> Mask:
        """Rows whose volume passes a test; none where there is no volume."""
        volume = self.columns.get("volume")
        return self.nothing if volume is None else np.asarray(test(volume))

    def out_of_range(self, price: Floats) -> Mask:
        """Whether prices are out of bounds or infinite; NaN is not, it is missing."""
        return np.asarray((price <= self.rules.min_price) | (price > self.rules.max_price))

    def below(self, upper: str, lower: str) -> Mask:
        """Rows where `upper` is below `lower` by more than rounding.

        Prices that are themselves out of range are left out: they have their own
        finding, and one defect should not be reported three times.
        """
        if upper not in self.columns or lower not in self.columns:
            return self.nothing
        over, under = self.columns[upper], self.columns[lower]
        found = np.asarray(over < under * (1.0 - TOLERANCE))
        if found.any():
            found &= ~(self.out_of_range(over) | self.out_of_range(under))
        return found

    @cached_property
    def dated(self) -> Mask:
        """Rows that have a date."""
        return ~np.isnat(self.date)

    @cached_property
    def steps(self) -> Ints:
        """Nanoseconds from each row to the next; rows without a date do not count."""
        return np.asarray(np.diff(self.date[self.dated].view(np.int64)), dtype=np.int64)

    @cached_property
    def repeats(self) -> tuple[Mask, Mask]:
        """Rows that repeat an earlier row exactly; rows of dates whose rows contradict."""
        if bool((self.steps > 0).all()):
            return self.nothing, self.nothing
        rows = np.flatnonzero(self.dated)
        rows = rows[np.argsort(self.date[rows], kind="stable")]
        starts = np.flatnonzero(np.r_[True, np.diff(self.date[rows].view(np.int64)) != 0])
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
        return self.wall.view(np.int64) // _DAY

    @cached_property
    def times(self) -> Mask:
        """Rows with a time of day other than midnight."""
        return np.asarray((self.days * _DAY != self.wall.view(np.int64)) & self.dated)

    @cached_property
    def daily(self) -> bool:
        """Whether these are bars of a day or more: all at midnight, or one a day."""
        if self.intraday is not None or not self.times.any():
            return not self.intraday
        moments = np.sort(self.wall[self.dated].view(np.int64))
        apart = np.diff(moments) > 0
        return bool(apart.any()) and not (apart & (np.diff(moments // _DAY) == 0)).any()


def _unsorted(bars: Bars) -> Mask:
    found = bars.nothing.copy()
    found[np.flatnonzero(bars.dated)[1:]] = bars.steps < 0
    return found


def _outside(bars: Bars, name: str) -> Mask:
    found = bars.below("high", name) | bars.below(name, "low")
    if found.any():  # between a high and a low that are swapped there is no inside
        found &= ~bars.below("high", "low")
    return found


def _zero_volume(bars: Bars) -> Mask:
    return bars.nothing if bars.rules.allow_zero_volume else bars.volume(lambda v: v == 0)


def _fractional_volume(bars: Bars) -> Mask:
    return bars.volume(lambda volume: (np.floor(volume) != volume) & ~np.isnan(volume))


def _weekend(bars: Bars) -> Mask:
    # 1970-01-01 was a Thursday. Futures trade on Sunday evenings, so intraday bars may.
    return ((bars.days + 3) % 7 >= 5) & bars.dated if bars.daily else bars.nothing


class Rule(NamedTuple):
    """One line of the table; the report lists findings in its order, gravest first."""

    name: str
    severity: Severity
    reason: str  # one plain sentence; {rules.max_price:,.9g} and the like are filled in
    mark: Callable[[Bars], Mask]  # the rows found, shape (rows,)
    columns: tuple[str, ...] = ()  # whose cells the report shows
    frame_level: bool = False  # the frame as a whole is wrong: dropping rows does not heal it


_BOUNDS: Final = "A price is not above {rules.min_price:,.9g} or is above {rules.max_price:,.9g}."
_OPEN, _CLOSE = ("low", "open", "high"), ("low", "close", "high")
# fmt: off
RULES: Final[tuple[Rule, ...]] = (
    Rule("missing_date", "error", "The row has no usable date.", lambda bars: ~bars.dated, BAR),
    Rule("unsorted", "error", "The date is before that of the row above.", _unsorted, (), True),
    Rule("conflicting_duplicate", "error", "Rows of one date have different values.",
         lambda bars: bars.repeats[1], BAR),
    Rule("duplicate", "warning", "The row repeats an earlier one.", lambda b: b.repeats[0], BAR),
    Rule("missing_price", "error", "A price is missing.", lambda b: b.any_price(np.isnan), PRICES),
    Rule("price_range", "error", _BOUNDS, lambda b: b.any_price(b.out_of_range), PRICES),
    Rule("high_low", "error", "The high is below the low.",
         lambda bars: bars.below("high", "low"), ("high", "low")),
    Rule("open_outside_range", "error", "The open is not between low and high.",
         lambda bars: _outside(bars, "open"), _OPEN),
    Rule("close_outside_range", "error", "The close is not between low and high.",
         lambda bars: _outside(bars, "close"), _CLOSE),
    Rule("volume_range", "error", "The volume is negative or infinite.",
         lambda bars: bars.volume(lambda volume: (volume < 0) | (volume == np.inf)), VOLUME),
    Rule("missing_volume", "warning", "The volume is missing.",
         lambda bars: bars.volume(np.isnan), VOLUME),
    Rule("zero_volume", "warning", "The volume is zero.", _zero_volume, VOLUME),
    Rule("fractional_volume", "info", "The volume has a fraction, as adjusted volumes do.",
         _fractional_volume, VOLUME),
    Rule("time_of_day", "warning", "A daily row carries a time of day.",
         lambda bars: bars.times if bars.daily else bars.nothing),
    Rule("weekend", "warning", "A daily row falls on a weekend.", _weekend, ("close", "volume")),
)
# fmt: on


def validate_arrays(
    date: Dates,
    columns: Mapping[str, Floats],
    rules: Validation | None = None,
    *,
    symbol: str | None = None,
    intraday: bool | None = None,
) -> ValidationReport:
    """Hold the bars of one symbol against the rules; the fast entry of the read path.

    Parameters
    ----------
    date : ndarray of datetime64[ns], shape (rows,)
        As the local clock shows it.
    columns : mapping of str to ndarray of float64, shape (rows,)
        By our names; columns without rules count for duplicates only.
    rules, symbol, intraday
        As in :func:`validate_bars`.
    """
    rules = rules or _DEFAULT
    cells = {name: np.asarray(column, dtype=np.float64) for name, column in columns.items()}
    date = date.astype("datetime64[ns]", copy=False)
    bars = Bars(date, date, cells, rules, intraday)
    found = [*_required_columns(cells, rules), *_findings(bars, (None,), date)]
    return ValidationReport.of(found, len(date), symbol)


def validate_bars(
    frame: pd.DataFrame,
    rules: Validation | None = None,
    *,
    symbol: str | None = None,
    intraday: bool | None = None,
) -> ValidationReport:
    """Hold a frame of bars against the rules.

    Parameters
    ----------
    frame : DataFrame
        With a DatetimeIndex, a ``date`` column or a MultiIndex (symbol, date); the usual
        spellings of columns (``Open``, ``Adj Close``, ``trade_date``) count as present.
        With a symbol level or column every symbol is checked by itself. It is not changed.
    rules : Validation, optional
        The settings' defaults where not given.
    symbol : str, optional
        For the report's title.
    intraday : bool, optional
        None infers it: bars at midnight, or one a day, are daily.

    Returns
    -------
    ValidationReport
        Its positions count rows of `frame`; its labels are dates, or (symbol, date).

    Examples
    --------
    >>> days = pd.DatetimeIndex(["2024-01-02", "2024-01-03"], name="date")
    >>> frame = pd.DataFrame({"Close": [10.0, 0.0]}, index=days)
    >>> validate_bars(frame, Validation(required_columns=("close",))).summary()["rules"]
    {'price_range': 1, 'column_names': 1}
    """
    rules = rules or _DEFAULT
    places, found = _places(frame)
    cells, texts = _cells(frame, places)
    found += [*_required_columns(places, rules), *texts]
    dates, keys = _dates_and_keys(frame, places)
    if len(frame) and dates.isna().all():
        reason = "There are no dates, neither as index nor as a column `date`."
        found.append(Finding.about_columns("missing_date", "error", reason, ["date"]))
        return ValidationReport.of(found, len(frame), symbol)
    wall = dates.tz_localize(None).to_numpy()
    bars = Bars(dates.to_numpy("datetime64[ns]"), wall, cells, rules, intraday)
    groups: Iterable[Ints | None] = (None,)
    labels: pd.Index[Any] = dates
    if keys:
        labels = pd.MultiIndex.from_arrays([*keys, dates])
        codes, _ = pd.factorize(labels.droplevel(-1), use_na_sentinel=False)
        order = np.argsort(codes, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    found += _findings(bars, groups, labels)
    return ValidationReport.of(found, len(frame), symbol)


def _findings(
    everything: Bars, groups: Iterable[Ints | None], labels: pd.Index[Any] | Dates
) -> Iterator[Finding]:
    """Hold each group of rows (None: all) against every rule; one finding per rule."""
    marked: dict[str, list[Ints]] = {}
    for rows in groups:
        bars = everything if rows is None else everything.take(rows)
        for rule in RULES:
            mask = rule.mark(bars)
            if mask.any():
                here = np.flatnonzero(mask)
                marked.setdefault(rule.name, []).append(here if rows is None else rows[here])
    for rule in RULES:
        if rule.name in marked:
            positions = np.sort(np.concatenate(marked[rule.name]))
            shown = [name for name in rule.columns if name in everything.columns]
            yield Finding(
                rule=rule.name,
                severity=rule.severity,
                reason=rule.reason.format(rules=everything.rules),
                count=len(positions),
                positions=positions,
                columns=tuple(shown),
                labels=pd.Index(labels.take(positions)),
                data={name: everything.columns[name][positions] for name in shown},
                frame_level=rule.frame_level,
            )


def _required_columns(names: Iterable[str], rules: Validation) -> Iterator[Finding]:
    there = list(names)
    missing = [name for name in rules.required_columns if name not in there]
    if missing:
        spare = [name for name in there if name not in rules.required_columns]
        near = ((name, difflib.get_close_matches(name, spare, n=1)) for name in missing)
        hints = [f"{other[0]!r} is {name}" for name, other in near if other]
        reason = f"Required columns are missing: {', '.join(missing)}."
        reason += f" Perhaps {', '.join(hints)}." if hints else ""
        yield Finding.about_columns("required_columns", "error", reason, missing)


def _places(frame: pd.DataFrame) -> tuple[dict[str, int], list[Finding]]:
    """Where each column of ours is in the frame, and what is to be said about the names."""
    # yfinance heads its columns (price, ticker); our own spelling wins over any other.
    names = [str(name[0] if isinstance(name, tuple) else name) for name in frame.columns]
    meant = [_MEANING.get(fold(name), name) for name in names]
    ours = [name if our in names else our for name, our in zip(names, meant, strict=True)]
    places = {our: place for place, our in enumerate(ours)}
    read = {name: our for name, our in zip(names, ours, strict=True) if name != our}
    found = []
    if twins := [our for our in places if ours.count(our) > 1 and our in _OURS]:
        reason = f"Several columns mean the same: {', '.join(twins)}."
        found.append(Finding.about_columns("duplicate_columns", "error", reason, twins))
    if read:
        renamed = (f", {name} as {our}" for name, our in read.items() if fold(name) != fold(our))
        reason = f"Column names are read in lower case{''.join(renamed)}."
        found.append(Finding.about_columns("column_names", "info", reason, read))
    return places, found


def _cells(frame: pd.DataFrame, places: dict[str, int]) -> tuple[dict[str, Floats], list[Finding]]:
    """All columns of numbers; those that should be and are text, with a finding."""
    cells, found = {}, []
    for name, place in places.items():
        series = frame.iloc[:, place]
        if not pd.api.types.is_numeric_dtype(series.dtype):
            if name not in _OURS:
                continue
            text, series = series, pd.to_numeric(series.astype(object), errors="coerce")
            lost = int((series.isna() & text.notna()).sum())
            reason = f"Column {name} holds text, {lost:,} of {len(text):,} are not numbers."
            found.append(Finding.about_columns("not_numeric", "error", reason, [name]))
        cells[name] = series.to_numpy(dtype=np.float64)
    return cells, found


def _dates_and_keys(
    frame: pd.DataFrame, places: dict[str, int]
) -> tuple[pd.DatetimeIndex, list[pd.Index[Any]]]:
    """Dates of all rows, NaT where there are none, and what tells the symbols apart."""
    index = frame.index
    keys = [pd.Index(frame.iloc[:, places["symbol"]])] if "symbol" in places else []
    if isinstance(index, pd.MultiIndex):
        meant = [_MEANING.get(fold(str(name))) for name in index.names]
        level = meant.index("date") if "date" in meant else index.nlevels - 1
        keys = [index.get_level_values(n) for n in range(index.nlevels) if n != level]
        index = index.get_level_values(level)
    elif "date" in places and not isinstance(index, pd.DatetimeIndex):
        index = pd.Index(frame.iloc[:, places["date"]])
    if pd.api.types.is_numeric_dtype(index.dtype):  # a row counter is no date
        index = pd.DatetimeIndex(np.full(len(index), "NaT", dtype="datetime64[ns]"))
    elif not isinstance(index, pd.DatetimeIndex):
        # Text, without its UTC offset: sessions are dates of the exchange, not of Greenwich.
        text = index.astype(str).str.slice(0, 19)
        index = pd.to_datetime(text, format="ISO8601", errors="coerce")
    if index.unit != "ns":  # which cannot hold placeholders such as 9999-12-31
        index = pd.DatetimeIndex(index.where((index.year > 1677) & (index.year < 2262)))
    return index.as_unit("ns"), keys
