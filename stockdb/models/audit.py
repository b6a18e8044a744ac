"""The leak tests as a tool for feature functions of the user's own."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.errors import ConfigurationError, DataError
from stockdb.models.prepare import prepare_for_model
from stockdb.processing import leaks
from stockdb.processing.evaluate import evaluate
from stockdb.processing.labels import forward_return
from stockdb.processing.leaks import Leak
from stockdb.processing.spec import Column

__all__ = ["TESTS", "AuditReport", "audit"]

Function = Callable[[pd.DataFrame], pd.DataFrame | pd.Series]
_LABEL: Final = "y_fwd_5"
_LEAST: Final = 60  # dates: of fewer the purge leaves little

#: What each test does.
TESTS: Final = {
    "prefix": "computed from the bars up to t alone, rows up to t are the same, bit for bit",
    "perturb": "with other bars after t, rows up to t are the same, bit for bit",
    "other_symbols": "with other bars of one symbol, the others' rows are the same",
    "alone": "a symbol computed alone gives the same rows as among others",
    "training": "with other bars from the first date of valid on, train X is the same, byte for "
    "byte",
    "label_reach": "no label reads farther ahead than it says, which training is purged by",
    "look_back": "the last rows from few bars and from all agree to 1e-6",
    "later_event": "a later split or dividend leaves every row as it is, to 1e-9",
}


@dataclass(frozen=True)
class AuditReport:
    """What the tests found; true where nothing.

    Attributes
    ----------
    leaks : tuple of Leak
        Each names the column, the symbol and date, and how far ahead that row reads.
    tests : tuple of str
        Tests that were run; :data:`TESTS` says what they do.
    skipped : dict of str to str
        The others, and why.
    """

    leaks: tuple[Leak, ...]
    tests: tuple[str, ...]
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no test found anything."""
        return not self.leaks

    def __bool__(self) -> bool:
        return self.ok

    def __iter__(self) -> Iterator[Leak]:
        return iter(self.leaks)

    def __len__(self) -> int:
        return len(self.leaks)

    def __str__(self) -> str:
        lines = [f"{len(self.leaks)} leaks" if self.leaks else "no leak found"]
        lines[0] += f"; tests: {', '.join(self.tests)}"
        lines += [f"  {leak}" for leak in self.leaks]
        lines += [f"  not tested: {name}: {why}" for name, why in self.skipped.items()]
        if any(leak.test in {"other_symbols", "alone"} for leak in self.leaks):
            lines.append(
                "  If the function is only ever given one symbol's bars, as get_feature_matrix() "
                "does, audit it with by_symbol=True."
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def to_frame(self) -> pd.DataFrame:
        """One row a leak: test, column, symbol, date, reach (bars ahead), detail."""
        names = ["test", "column", "symbol", "date", "reach", "detail"]
        rows = [[getattr(leak, name) for name in names] for leak in self.leaks]
        return pd.DataFrame(rows, columns=names)


def audit(
    function: Function | Column,
    data: pd.DataFrame,
    *,
    by_symbol: bool = False,
    warmup: int | None = None,
    labels: Mapping[str, int] | None = None,
    cross_sectional: Sequence[str] = (),
    scale_free: Sequence[str] | None = None,
    cuts: int = 5,
    seed: int = 0,
) -> AuditReport:
    """Look for leaks in a feature function.

    Parameters
    ----------
    function : callable or Column
        Takes a frame of bars, gives a DataFrame or Series on the same index.
    data : pandas.DataFrame
        Bars, some hundred rows a symbol: one symbol, or the long form (symbol, date), which the
        function is given whole.
    by_symbol : bool
        The function is given one symbol at a time, as ``get_feature_matrix`` does.
    warmup : int, optional
        Bars that the function says it needs before its first right row; without it ``look_back``
        is not tested.
    labels : mapping of str to int, optional
        Columns that may read the future, and how many bars ahead they say they do.
    cross_sectional : sequence of str
        Columns that compare symbols within a date; those named ``xs_`` are known.
    scale_free : sequence of str, optional
        Columns that a later split must leave alone: by default all but labels; ``()`` for none.
    cuts : int
        Dates at which the future is cut off or changed.
    seed : int

    Returns
    -------
    AuditReport

    Raises
    ------
    DataError
        The function gives another index, or other columns for other rows; too few bars.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> days = pd.bdate_range("2020-01-01", periods=300, name="date")
    >>> close = 100 + np.random.default_rng(0).normal(size=300).cumsum()
    >>> bars = pd.DataFrame({"close": close}, index=days)
    >>> report = audit(lambda f: f["close"] / f["close"].rolling(53, center=True).mean(), bars)
    >>> report.ok, report.leaks[0].reach, report.leaks[0].detail
    (False, 26, 'reads 26 bars ahead')
    """
    if isinstance(function, Column):
        warmup = function.warmup if warmup is None else warmup
        scale_free = () if not function.scale_free and scale_free is None else scale_free
    elif not callable(function):
        raise ConfigurationError(
            f"function={function!r} cannot be called.",
            remedy="Give a function of bars, or a Column.",
        )
    compute = _each_symbol(function) if by_symbol else _whole(function)
    declared = dict(labels or {})
    features = _without(compute, declared)
    skipped: dict[str, str] = {}
    found = leaks.prefix(features, data, cuts)
    found += leaks.perturbed(features, data, cuts, seed)
    tests = ["prefix", "perturb"]

    def run(name: str, why_not: str | None, test: Callable[[], list[Leak]]) -> None:
        if why_not is not None:
            skipped[name] = why_not
        else:
            tests.append(name)
            found.extend(test())

    long = data.index.nlevels > 1 and data.index.get_level_values(0).nunique() > 1
    alone = None if long and not by_symbol else (
        "the function sees one symbol only" if by_symbol else "the data have one symbol"
    )  # fmt: skip
    names = [str(name) for name in _framed(compute(data)).columns if str(name) not in declared]
    compares = {name for name in names if name.startswith("xs_")} | set(cross_sectional)
    run("other_symbols", alone,
        lambda: leaks.other_symbols(features, data, cross_sectional, seed))  # fmt: skip
    run("alone", alone, lambda: _alone(features, data, compares))
    run("training", _untrainable(data), lambda: _training(features, data, seed))
    run("label_reach", None if declared else "no labels are named",
        lambda: _label_reach(compute, declared, data, cuts, seed))  # fmt: skip
    run("look_back", None if warmup is not None else "warmup= is not given",
        lambda: leaks.look_back(features, data, warmup or 0))  # fmt: skip
    run("later_event", None if scale_free is None or len(scale_free) else "no column claims it",
        lambda: leaks.later_event(features, data, scale_free))  # fmt: skip
    return AuditReport(tuple(found), tuple(tests), skipped)


def _whole(function: Function | Column) -> Function:
    if isinstance(function, Column):
        column = function
        return lambda frame: evaluate(frame, (column,))
    return function


def _each_symbol(function: Function | Column) -> Function:
    inner = _whole(function)

    def compute(frame: pd.DataFrame) -> pd.DataFrame | pd.Series:
        if frame.index.nlevels < 2:
            return inner(frame)
        names = frame.index.get_level_values(0).unique()
        parts = {name: _framed(inner(frame.loc[[name]].droplevel(0))) for name in names}
        found: pd.DataFrame = pd.concat(parts, names=frame.index.names)
        return found if found.index.equals(frame.index) else found.reindex(frame.index)

    return compute


def _framed(found: Any) -> pd.DataFrame:
    if isinstance(found, pd.Series):
        return found.to_frame(str(found.name or "feature"))
    if not isinstance(found, pd.DataFrame):
        raise DataError(
            f"The function gave a {type(found).__name__}.",
            remedy="Return a DataFrame or Series with the index that it was given.",
        )
    return found


def _without(compute: Function, declared: Mapping[str, int]) -> Function:
    if not declared:
        return compute
    return lambda frame: _framed(compute(frame)).drop(columns=list(declared), errors="ignore")


def _alone(compute: Function, data: pd.DataFrame, compares: set[str]) -> list[Leak]:
    """Compute some symbols alone: what looks across the border between two is another number."""
    whole = _framed(compute(data.copy()))
    result: dict[str, Leak] = {}
    for symbol in data.index.get_level_values(0).unique()[:3]:
        own = np.asarray(data.index.get_level_values(0) == symbol)
        part = _framed(compute(data[own].copy()))
        for name in whole.columns:
            if str(name) in compares or str(name) in result:
                continue
            one, other = whole.loc[own, name], part[name]
            changed = ~((one == other) | (one.isna() & other.isna())).to_numpy()
            if changed.any():
                date = data[own].index[int(np.argmax(changed))][-1]
                detail = "is another number where the symbol is computed alone"
                leak = Leak("alone", str(name), str(symbol), pd.Timestamp(date), None, detail)
                result[str(name)] = leak
    return list(result.values())


def _untrainable(data: pd.DataFrame) -> str | None:
    if "close" not in data:
        return "the data have no close to make a label of"
    dates = data.index.get_level_values(-1).nunique()
    return None if dates >= _LEAST else f"{dates} dates are too few to be split"


def _training(compute: Function, data: pd.DataFrame, seed: int) -> list[Leak]:
    """Prepare twice, with other bars from valid on: what training sees must be the same."""

    def prepared(frame: pd.DataFrame) -> Any:
        features = _framed(compute(frame.copy()))
        features = features.assign(**{_LABEL: evaluate(frame, (forward_return(5),))[_LABEL]})
        if features.index.nlevels < 2:
            features = pd.concat({"-": features}, names=["symbol", "date"])
        features.index = features.index.set_names(["symbol", "date"])
        infinite = features.replace([np.inf, -np.inf], np.nan)
        return prepare_for_model(infinite, "random_forest", _LABEL, embargo=0, calendar=None)

    first = prepared(data)
    valid = pd.Timestamp(first.parameters["valid_from"])
    dates = pd.DatetimeIndex(data.index.get_level_values(-1))
    late = np.asarray(dates >= valid)
    second = prepared(leaks.shaken(data, late, seed))
    result = []
    for place, name in enumerate(first.feature_names):
        one, other = first.train.X[:, place], second.train.X[:, place]
        if one.tobytes() == other.tobytes():
            continue
        changed = (one != other) & ~(np.isnan(one) & np.isnan(other))
        if not changed.any():
            continue
        symbol, date = first.train.index[int(np.argmax(changed))]
        detail = f"is trained on what bars from {valid:%Y-%m-%d} on say, where valid begins"
        where = None if symbol == "-" else str(symbol)
        result.append(Leak("training", name, where, pd.Timestamp(date), None, detail))
    return result


def _label_reach(
    compute: Function, declared: Mapping[str, int], data: pd.DataFrame, cuts: int, seed: int
) -> list[Leak]:
    """Measure how far labels read: farther than they say, and training is not purged enough."""
    result = []
    for leak in leaks.perturbed(compute, data, cuts, seed):
        said = declared.get(leak.column)
        if said is not None and leak.reach is not None and leak.reach > said:
            detail = f"reads {leak.reach} bars ahead and says {said}"
            result.append(
                Leak("label_reach", leak.column, leak.symbol, leak.date, leak.reach, detail)
            )
    return result
