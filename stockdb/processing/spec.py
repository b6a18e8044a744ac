"""The seam of everything that is computed from bars: `Series` in, one `Column` out.

Indicators, the columns of the algorithms and the feature matrix are all `Column` objects;
:mod:`stockdb.processing.evaluate` applies them to frames, :mod:`stockdb.processing.leaks`
examines them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.errors import ConfigurationError, DataError
from stockdb.processing.runs import by_runs, run_length

__all__ = ["BARS", "Column", "Floats", "Series", "inputs_of", "moments", "ratio"]

Floats = npt.NDArray[np.float64]
Role = Literal["feature", "label"]
T = TypeVar("T")

#: The inputs that every series has a place for.
BARS: Final = ("open", "high", "low", "close", "volume")
_BARS: Final = frozenset(BARS)
_FLOAT64: Final = np.dtype(np.float64)


@dataclass(frozen=True, eq=False)
class Series:
    """The bars of one symbol as arrays, and what has been computed of them so far.

    Attributes
    ----------
    date : ndarray of datetime64[ns], shape (rows,)
        Ascending, naive; UTC for intraday bars.
    open, high, low, close, volume : ndarray of float64, shape (rows,)
        Contiguous, not to be written to. NaN where missing; all NaN where the source has no
        such column (see `absent`).
    extra : mapping of str to ndarray of float64, shape (rows,)
        Other inputs on the same rows, such as a rate.
    session : ndarray of datetime64[D], shape (rows,), or None
        Local session date of intraday bars; None for daily and longer ones.
    absent : frozenset of str
        Inputs that the source does not have.
    """

    date: npt.NDArray[np.datetime64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    extra: Mapping[str, Floats] = field(default_factory=dict)
    session: npt.NDArray[np.datetime64] | None = None
    absent: frozenset[str] = frozenset()
    _kept: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, frame: pd.DataFrame, extra: Iterable[str] = ()) -> Self:
        """Take the bars of a frame with one symbol.

        Parameters
        ----------
        frame : pandas.DataFrame
            Ascending, unique DatetimeIndex (zoned for intraday bars); columns of `BARS` as
            far as they are there.
        extra : iterable of str
            Further columns to carry along.

        Returns
        -------
        Series
            A price that is not positive and finite, and a volume that is negative or not
            finite, is NaN: such a value is missing, whatever was written.

        Raises
        ------
        DataError
            The index holds no ascending, unique dates, or a column is not numeric.
        """
        index = frame.index
        if not isinstance(index, pd.DatetimeIndex):
            raise _not_ascending()
        return cls.of_arrays(*moments(index), inputs_of(frame, extra))

    @classmethod
    def of_arrays(
        cls,
        date: npt.NDArray[np.datetime64],
        session: npt.NDArray[np.datetime64] | None,
        inputs: Mapping[str, Floats],
    ) -> Self:
        """Take arrays as :func:`moments` and :func:`inputs_of` give them, for one symbol.

        Raises
        ------
        DataError
            The dates do not ascend, or repeat.
        """
        steps = np.diff(date.view(np.int64))
        if len(steps) and steps.min() <= 0:
            if steps.min() < 0:
                raise _not_ascending()
            raise DataError(
                f"Bars of one symbol have one row a date; {date[np.argmin(steps) + 1]} repeats.",
                remedy="Remove the repeated rows: frame[~frame.index.duplicated(keep='last')].",
            )
        absent = frozenset(name for name in BARS if name not in inputs)
        nothing = np.full(len(date), np.nan) if absent else np.empty(0)
        bars: dict[str, Any] = {
            name: _sane(name, inputs[name]) if name in inputs else nothing for name in BARS
        }
        extra = {name: values for name, values in inputs.items() if name not in BARS}
        return cls(date, **bars, extra=extra, session=session, absent=absent)

    def __len__(self) -> int:
        return len(self.date)

    def __getitem__(self, rows: slice) -> Series:
        """Cut to consecutive rows; nothing computed so far is carried over."""
        return Series(
            self.date[rows],
            self.open[rows],
            self.high[rows],
            self.low[rows],
            self.close[rows],
            self.volume[rows],
            extra={name: values[rows] for name, values in self.extra.items()},
            session=None if self.session is None else self.session[rows],
            absent=self.absent,
        )

    def holds(self, inputs: Iterable[str]) -> bool:
        """Whether the source has all of these inputs."""
        return all(n in self.extra or (n in _BARS and n not in self.absent) for n in inputs)

    def input(self, name: str) -> Floats:
        """Return an input by name, one of `BARS` or of `extra`."""
        return getattr(self, name) if name in BARS else self.extra[name]

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Compute something once for this series, however many columns need it.

        Parameters
        ----------
        key : hashable
            Says what is computed, parameters included: ``("macd", 12, 26, 9)``.
        make : callable
        """
        try:
            return self._kept[key]  # type: ignore[no-any-return]
        except KeyError:
            made = self._kept[key] = make()
            return made

    def apply(self, function: Callable[..., Any], *inputs: str | Floats, outputs: int = 1) -> Any:
        """Call a function of TA-Lib, or one like it, on each run of bars without NaN.

        Parameters
        ----------
        function : callable
            Takes float64 arrays of one length, gives one array of that length, or a tuple.
        *inputs : str or ndarray of float64, shape (rows,)
            Names of inputs, or arrays.
        outputs : int
            How many arrays the function gives.

        Returns
        -------
        ndarray of float64, shape (rows,), or a tuple of them
            NaN in rows where an input is NaN. After a NaN the function starts anew: TA-Lib
            would stay NaN for ever, or go on with numbers that are wrong.
        """
        try:
            arrays, gaps = self._kept[inputs]
        except (KeyError, TypeError):  # a TypeError: there is an array among them
            arrays, gaps = self._take(inputs)
        return function(*arrays) if gaps is None else by_runs(function, arrays, gaps, outputs)

    def _take(
        self, inputs: tuple[str | Floats, ...]
    ) -> tuple[list[Floats], npt.NDArray[np.bool_] | None]:
        """Look arrays up, and the rows where one of them is NaN; kept where all have names."""
        arrays = [self.input(item) if isinstance(item, str) else item for item in inputs]
        taken = arrays, _union(self._gaps_of(item) for item in inputs)
        if all(isinstance(item, str) for item in inputs):
            self._kept[inputs] = taken
        return taken

    def _gaps_of(self, item: str | Floats) -> npt.NDArray[np.bool_] | None:
        if not isinstance(item, str):
            return _gaps(item)
        return self.once(("gaps of", item), lambda: _gaps(self.input(item)))

    @property
    def still(self) -> npt.NDArray[np.int64]:
        """Bars in a row, up to and including each, that hold one price only; shape (rows,).

        A bar whose high is above its low counts 0. What measures the range of prices is
        undefined where ``still >= window``: the stock is halted, not oversold.
        """
        return self.once("still", self._still)

    @property
    def unchanged(self) -> npt.NDArray[np.int64]:
        """Changes of the close in a row, up to each bar, that were zero; shape (rows,).

        What compares gains with losses over n changes is undefined where ``unchanged >= n``.
        """
        return self.once("unchanged", lambda: run_length(_repeats(self.close)))

    @property
    def untraded(self) -> npt.NDArray[np.int64]:
        """Bars in a row, up to and including each, with a volume of zero; shape (rows,)."""
        return self.once("untraded", lambda: run_length(self.volume == 0.0))

    def unless(
        self, values: Floats, kind: Literal["still", "unchanged", "untraded"], bars: int
    ) -> Floats:
        """Make NaN of the rows at which nothing has happened for so many bars.

        Parameters
        ----------
        values : ndarray of float64, shape (rows,)
        kind : {'still', 'unchanged', 'untraded'}
            Which of the counts above to go by.
        bars : int
            The least count at which the value is undefined.
        """
        try:
            longest = self._kept["longest", kind]
        except KeyError:
            longest = self.longest(kind)
        if longest < bars:
            return values
        return np.where(getattr(self, kind) >= bars, np.nan, values)

    def longest(self, kind: Literal["still", "unchanged", "untraded"]) -> int:
        """Return the highest of the counts ``still``, ``unchanged`` or ``untraded``."""
        return self.once(("longest", kind), lambda: int(getattr(self, kind).max(initial=0)))

    def _still(self) -> npt.NDArray[np.int64]:
        one_price = self.high == self.low
        if not one_price.any():
            return np.zeros(len(self), np.int64)
        links = run_length(one_price & _repeats(self.high) & _repeats(self.low))
        return np.where(one_price, links + 1, 0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Column:
    """One computed column: what it means, what it needs and how it is computed.

    Attributes
    ----------
    name : str
        Lower snake case, with its length: ``rsi_14``. Cross-sectional ones: ``xs_...``.
    definition : str
        The formula in plain text; C, H, L, O, V are the bars, t the row.
    unit : str
        ``ratio``, ``percent``, ``dollars``, ``shares`` ...
    window : int
        Bars that the definition looks at, bar t included.
    warmup : int
        Bars before the first row that is returned, so that it is within 1e-6 (relative; or
        1e-8, absolute) of what an infinite history would give. By default ``window - 1``.
    source : str
        Paper, book or library function.
    role : {'feature', 'label'}
        A label reads the future and never enters X.
    scale_free : bool
        Whether the values stay the same when all prices, or all volumes, are multiplied by
        a constant (a later split).
    reach : int
        Bars after t that are read: 0 for a feature.
    inputs : tuple of str
        Names of inputs that must be there.
    compute : callable
        `Series` -> ndarray of float64, shape (rows,).
    across : callable or None
        For cross-sectional columns. Takes the values of all symbols, shape (n,), and the
        dates of the same rows, and gives the values within each date, shape (n,).

    Examples
    --------
    >>> gap = Column(name="gap", definition="O[t]/C[t-1] - 1", unit="ratio", window=2,
    ...              source="-", inputs=("open", "close"),
    ...              compute=lambda s: ratio(s.open, np.append(np.nan, s.close[:-1])) - 1)
    >>> gap.warmup, gap.describe()["definition"]
    (1, 'O[t]/C[t-1] - 1')
    """

    name: str
    definition: str
    unit: str
    window: int
    compute: Callable[[Series], Floats] = field(repr=False)
    source: str
    warmup: int = -1
    role: Role = "feature"
    scale_free: bool = True
    reach: int = 0
    inputs: tuple[str, ...] = BARS
    across: Callable[[Floats, npt.NDArray[np.datetime64]], Floats] | None = field(
        default=None, repr=False
    )

    def __post_init__(self) -> None:
        if self.warmup < 0:
            object.__setattr__(self, "warmup", self.window - 1)
        problem = None
        if self.window < 1 or self.warmup < self.window - 1:
            problem = "window counts bar t, and warmup is at least window - 1"
        elif (self.role == "feature" and self.reach != 0) or self.reach < 0:
            problem = "a feature reads no bar after t: reach must be 0"
        elif self.cross_sectional != self.name.startswith("xs_"):
            problem = "cross-sectional columns, and only they, are named xs_"
        if problem:
            raise ConfigurationError(
                f"Column {self.name!r}: {problem}.", remedy="Correct its declaration."
            )

    @property
    def cross_sectional(self) -> bool:
        """Whether values depend on other symbols of the same date."""
        return self.across is not None

    def values(self, series: Series) -> Floats:
        """Compute the column.

        Returns
        -------
        ndarray of float64, shape (rows,)
            For a cross-sectional column before it is compared across. NaN where undefined;
            never infinite.

        Raises
        ------
        DataError
            The series lacks an input, or the function gave something else than one float64
            for each row.
        """
        self.require(series)
        with np.errstate(divide="ignore", invalid="ignore"):
            return _finite(self.raw(series))

    def require(self, series: Series) -> None:
        """Raise DataError where the series lacks an input."""
        if not series.holds(self.inputs):
            missing = [name for name in self.inputs if not series.holds((name,))]
            raise DataError(
                f"{self.name} needs {', '.join(missing)}, which these bars do not have.",
                remedy="Leave the column out, or give bars that have it.",
                column=self.name,
            )

    def raw(self, series: Series) -> Floats:
        """Compute as :meth:`values` does; inputs unchecked, infinities and warnings included."""
        values = self.compute(series)
        if values.__class__ is np.ndarray and values.dtype is _FLOAT64:  # nearly always
            if values.shape == series.close.shape:
                return values
        if not isinstance(values, np.ndarray) or values.dtype != np.float64:
            raise DataError(
                f"{self.name} was computed as {getattr(values, 'dtype', type(values).__name__)}.",
                remedy="Its compute function must give a float64 array.",
                column=self.name,
            )
        if values.shape != (len(series),):
            raise DataError(
                f"{self.name}: {values.shape} values for {len(series)} rows.",
                remedy="Its compute function must give one value for each row.",
                column=self.name,
            )
        return values

    def describe(self) -> dict[str, Any]:
        """Return everything but the functions, as JSON values."""
        return {
            "name": self.name,
            "definition": self.definition,
            "unit": self.unit,
            "window": self.window,
            "warmup": self.warmup,
            "source": self.source,
            "role": self.role,
            "scale_free": self.scale_free,
            "cross_sectional": self.cross_sectional,
            "reach": self.reach,
            "inputs": list(self.inputs),
        }


def moments(
    index: pd.DatetimeIndex,
) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.datetime64] | None]:
    """Give an index as naive datetime64[ns], and the local session dates of a zoned one."""
    session = None
    if index.tz is not None:
        session = index.tz_localize(None).to_numpy().astype("datetime64[D]")
        index = index.tz_convert(None)
    return index.as_unit("ns").to_numpy(), session


def inputs_of(frame: pd.DataFrame, extra: Iterable[str] = ()) -> dict[str, Floats]:
    """Give the bars of a frame, and further columns, as contiguous float64.

    Raises
    ------
    DataError
        A column is not numeric.
    """
    return {name: _numbers(frame, name) for name in (*BARS, *extra) if name in frame}


def ratio(above: Floats | float, below: Floats | float) -> Floats:
    """Divide; undefined (NaN) where the divisor is zero.

    Examples
    --------
    >>> ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0]))
    array([0.5, nan])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        result = np.divide(above, below)
    return _finite(result)


def _finite(values: Floats) -> Floats:
    """Make NaN of infinities; a copy only where there are any."""
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values) if infinite.any() else values


def _not_ascending() -> DataError:
    return DataError(
        "Bars need an index of ascending dates.",
        remedy="Use frame.sort_index(), with a DatetimeIndex as get_historical_data() returns it.",
    )


def _numbers(frame: pd.DataFrame, name: str) -> Floats:
    try:
        values = np.ascontiguousarray(frame[name].to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError):
        raise DataError(
            f"The column {name!r} is not numeric.", remedy="Give prices and volumes as numbers."
        ) from None
    return values


def _sane(name: str, values: Floats) -> Floats:
    """Make NaN of what cannot be a price or a volume; a copy only where there is any."""
    least = 0.0 if name == "volume" else np.nextafter(0.0, 1.0)
    if len(values) and values.min() >= least and values.max() < np.inf:  # nor NaN, nearly always
        return values
    with np.errstate(invalid="ignore"):
        wrong = (values < 0.0) if name == "volume" else (values <= 0.0)
    wrong |= np.isinf(values)
    return np.where(wrong, np.nan, values) if wrong.any() else values


def _repeats(values: Floats) -> npt.NDArray[np.bool_]:
    """Mark the values that equal the one before; the first never does."""
    result = np.zeros(len(values), bool)
    result[1:] = values[1:] == values[:-1]
    return result


def _gaps(values: Floats) -> npt.NDArray[np.bool_] | None:
    """Mark the rows that are NaN; None where none is."""
    gaps = np.isnan(values)
    return gaps if gaps.any() else None


def _union(masks: Iterable[npt.NDArray[np.bool_] | None]) -> npt.NDArray[np.bool_] | None:
    some = [mask for mask in masks if mask is not None]
    return np.logical_or.reduce(some) if some else None
