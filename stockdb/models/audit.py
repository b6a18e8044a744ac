"""The leak tests as a tool for feature functions of the user's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.errors import ConfigurationError, DataError, StockDBError
from stockdb.models.arguments import demand_numbers, frame_of, whole
from stockdb.models.findings import TESTS, AuditReport
from stockdb.models.own import Own
from stockdb.models.prepare import prepare_for_model
from stockdb.models.sets import make_plan
from stockdb.models.watched import Watched
from stockdb.processing import leaks
from stockdb.processing.evaluate import evaluate
from stockdb.processing.evaluate import warmup as warmup_of
from stockdb.processing.labels import forward_return
from stockdb.processing.leaks import Leak, Search
from stockdb.processing.spec import BARS, Column

__all__ = ["TESTS", "AuditReport", "audit"]

Function = Callable[[pd.DataFrame], pd.DataFrame | pd.Series]
_LABEL: Final = "y_fwd_5"
_LEAST: Final = 60  # dates: of fewer the purge leaves little
#: Dates that are tried however slow the function is, and seconds that more may take.
_CUTS: Final = {"prefix": (40, 4.0), "perturb": (20, 1.0)}


def audit(
    function: Function | Column | str,
    data: pd.DataFrame,
    *,
    by_symbol: bool = False,
    warmup: int | None = None,
    labels: Mapping[str, int] | None = None,
    cross_sectional: Sequence[str] = (),
    scale_free: Sequence[str] | None = None,
    cuts: int | None = None,
    seed: int = 0,
) -> AuditReport:
    """Look for leaks in a feature function.

    Parameters
    ----------
    function : callable, Column or str
        Takes a frame of bars, gives a DataFrame or Series on the same index. It is given copies.
        A string names a feature, or a set of them, that is computed of bars.
    data : pandas.DataFrame
        Bars, some hundred rows a symbol: one symbol, or the long form (symbol, date), which the
        function is given whole. It is not changed.
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
    cuts : int, optional
        Dates at which the future is cut off, and changed. By default as many as some seconds
        allow, at least 40: all of them where the function takes about a millisecond.
    seed : int

    Returns
    -------
    AuditReport
        ``dates`` and ``cuts`` say at how many dates it looked.

    Raises
    ------
    DataError
        The function gives another index, other columns for other rows, or no numbers; it fails
        on every part of the data; too few bars.
    ConfigurationError
        An argument of the wrong kind, or a feature that is not computed of bars.

    Notes
    -----
    The answer for the bars up to t must be the beginning of the answer for all bars. A row that
    reads h bars ahead breaks this at h dates t: at its own and at the h - 1 that follow. A leak
    of one bar in one row therefore shows at one date alone, and only a report whose
    ``coverage`` is 1 rules it out. Where not all dates are tried, those that are stand after 5,
    10, 20, 50 ... bars (warm-ups that are filled in from behind), in two runs of 12 sessions
    around the end of a month and a year (what happens on certain days), and evenly over the
    rest. Where the function raises an error, as it may of few bars, the report says so. One that
    remembers what it was given in an earlier call cannot be judged by calling it again.

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
    data = _bars(data)
    if cuts is not None:
        cuts = whole(cuts, "cuts", 1, "dates")
    seed = whole(seed, "seed", 0, "random orders")
    if warmup is not None:
        warmup = whole(warmup, "warmup", 0, "bars")
    columns = _columns_of(function, data)
    if columns:
        warmup = warmup_of(columns) if warmup is None else warmup
        free = [column.name for column in columns if column.scale_free]
        scale_free = free if scale_free is None else scale_free
    given = Watched(_whole(function, columns))
    first = _framed((_each_symbol(given) if by_symbol else given)(data.copy()))
    inner = given.function
    compute = _each_symbol(inner) if by_symbol else inner
    declared = _declared(labels, first)
    demand_numbers(first.drop(columns=list(declared)), _name(function))
    features = _without(compute, declared)

    search = Search(compute, data, declared)
    order = leaks.cut_order(search.dates, seed)
    tried: dict[str, int] = {}
    refused: dict[str, str] = {}
    for test, cut in (
        ("prefix", search.prefix),
        ("perturb", lambda place: search.perturbed(place, seed + place)),
    ):
        tried[test], failed = _try(search, test, cut, order, cuts)
        if failed:
            refused[test] = failed
    found = [leak for leak in search.leaks("prefix", "perturb") if leak.column not in declared]
    found += given.written()
    tests = ["prefix", "perturb", "argument"]
    skipped: dict[str, str] = {}

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
    names = [name for name in search.columns if name not in declared]
    compares = {name for name in names if name.startswith("xs_")} | set(cross_sectional)
    run("other_symbols", alone,
        lambda: leaks.other_symbols(features, data, cross_sectional, seed))  # fmt: skip
    run("alone", alone, lambda: _alone(features, data, compares))
    run("training", _untrainable(data), lambda: _training(features, data, seed))
    run("label_reach", None if declared else "no labels are named",
        lambda: _label_reach(search, declared))  # fmt: skip
    run("look_back", None if warmup is not None else "warmup= is not given",
        lambda: leaks.look_back(features, data, warmup or 0))  # fmt: skip
    run("later_event", None if scale_free is None or len(scale_free) else "no column claims it",
        lambda: leaks.later_event(features, data, scale_free))  # fmt: skip
    return AuditReport(
        tuple(found), tuple(tests), skipped, len(order), tried, refused, search.settled("prefix")
    )


def _bars(data: Any) -> pd.DataFrame:
    """Check that these are bars; leave out their note, which every step would copy."""
    index = frame_of(data).index
    if not isinstance(index.get_level_values(-1), pd.DatetimeIndex):
        raise DataError(
            f"Bars are indexed by date, not by {index.get_level_values(-1).dtype}.",
            remedy="Give bars as get_historical_data() returns them, or symbols.",
        )
    found: pd.DataFrame = data.copy(deep=False)
    found.attrs = {}
    return found


def _columns_of(function: Any, data: pd.DataFrame) -> tuple[Column, ...]:
    """Columns of the library that are named or given; () for a function."""
    if isinstance(function, Column):
        columns: tuple[Column, ...] = (function,)
    elif isinstance(function, str):
        columns = make_plan((function,), ()).columns
    elif callable(function):
        return ()
    else:
        raise ConfigurationError(
            f"function={function!r} cannot be called.",
            remedy="Give a function of bars, a Column, or the name of a feature.",
        )
    lacking = {n for c in columns for n in c.inputs if n not in data and n not in BARS}
    if lacking:
        raise ConfigurationError(
            f"{_name(function)} is not computed of bars alone: it needs "
            f"{', '.join(sorted(lacking))}.",
            remedy="Give data with these columns, or audit a feature of bars.",
        )
    return columns


def _name(function: Any) -> str:
    return function if isinstance(function, str) else Own.of(function).name


def _declared(labels: Any, first: pd.DataFrame) -> dict[str, int]:
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise ConfigurationError(
            f"labels={labels!r} do not say how far they read.",
            remedy="Give labels={'name of the column': bars ahead}.",
        )
    missing = [name for name in labels if name not in first]
    if missing:
        raise ConfigurationError(
            f"The function gives no column {missing[0]!r} that could be a label.",
            remedy=f"Its columns are {', '.join(map(str, first.columns))}.",
        )
    return {name: whole(bars, f"labels[{name!r}]", 0, "bars") for name, bars in labels.items()}


def _try(
    search: Search, test: str, cut: Callable[[int], None], order: list[int], cuts: int | None
) -> tuple[int, str]:
    """Cut at one date after another; give how many, and where the function failed."""
    least, seconds = (cuts, 0.0) if cuts is not None else _CUTS[test]
    begin, tried, failed = time.perf_counter(), 0, {}
    for number, place in enumerate(order):
        if number >= least and time.perf_counter() - begin > seconds:
            break
        try:
            cut(place)
            tried += 1
        except StockDBError:
            raise
        except Exception as error:  # whatever a function of the caller's may raise
            failed[place] = f"{type(error).__name__}: {error}"
        if search.settled(test):
            break
    if not failed:
        return tried, ""
    most = max(failed)
    why = (
        f"it raised an error at {len(failed)} dates, at the latest at {search.dates[most]:%Y-%m-%d}"
    )
    why += f", with bars of {most + 1} dates: {failed[most]}"
    if not tried:
        raise DataError(
            f"The function could be computed of all bars and of no part of them: {why}",
            remedy="Give NaN where there are too few bars.",
        )
    return tried, why


def _whole(function: Any, columns: tuple[Column, ...]) -> Function:
    return (lambda frame: evaluate(frame, columns)) if columns else function


def _each_symbol(inner: Function) -> Function:
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


def _label_reach(search: Search, declared: Mapping[str, int]) -> list[Leak]:
    """Labels that read farther than they say: training is not purged enough of them."""
    result = {}
    for leak in search.leaks("prefix", "perturb"):
        said = declared.get(leak.column)
        if said is not None and leak.column not in result:
            detail = f"{leak.detail} and says {said}" if leak.reach is not None else leak.detail
            result[leak.column] = replace(leak, test="label_reach", detail=detail)
    return list(result.values())
