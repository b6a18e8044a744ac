"""From a feature frame to train, valid and test of one type of model."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from stockdb.access.callers import callers_level
from stockdb.errors import ConfigurationError, DataError
from stockdb.models import layouts
from stockdb.models.arguments import frame_of, text, whole
from stockdb.models.fingerprint import Fingerprint, fingerprint
from stockdb.models.kinds import ModelKind, model_kind
from stockdb.models.labels import Labels, align_labels
from stockdb.models.prepared import Prepared
from stockdb.models.rows import Array, Rows, feature_columns, sort_rows, take_apart
from stockdb.models.scalers import Scaler, fit_scaler
from stockdb.models.segments import Base, Segment
from stockdb.models.splitters import SplitPlan, plan_split
from stockdb.models.windows import run_lengths

__all__ = ["prepare_for_model"]

_NAMES = ("train", "valid", "test")


def prepare_for_model(
    features: pd.DataFrame,
    model_type: str,
    label: str = "y_fwd_5",
    seq_len: int = 60,
    split_dates: Any = None,
    embargo: int | None = None,
    seed: int = 0,
    *,
    horizon: int | None = None,
    weight: str | None = None,
    returns: str = "ret_1",
    calendar: str | None = "auto",
) -> Prepared:
    """Make leak-free inputs for one type of model.

    Parameters
    ----------
    features : pandas.DataFrame
        MultiIndex (symbol, date), numeric columns, as ``get_feature_matrix`` returns it.
        ``y_*``, ``t1``, ``weight`` and the label never enter X. It is not changed.
    model_type : {'lstm', 'gru', 'transformer', 'cnn', 'xgboost', 'lightgbm', \
'random_forest', 'linear', 'arima_garch', 'rl'}
    label : str
        Column to predict; arima_garch and rl need none.
    seq_len : int
        Rows in a window.
    split_dates : (date-like, date-like), optional
        First date of valid and first date of test, for all symbols; by default 70/15/15 of
        the dates held.
    embargo : int, optional
        Sessions that must lie between the end of a label and the next segment; by default
        the label's horizon.
    seed : int
        Order of shuffled batches. It changes no number and is not in the fingerprint.
    horizon : int, optional
        For a label of your own: bars from a row to the last bar that the label reads. Of a
        label whose reach is known it may only say more.
    weight : str, optional
        Column of the sample weights, which does not enter X; ``weight`` for the label ``y_tb``,
        otherwise 1. None is negative.
    returns : str
        Column of one-session returns, for arima_garch and rl.
    calendar : str or None
        Exchange calendar; ``auto`` takes the frame's own, or XNYS. None knows only bars.

    Returns
    -------
    Prepared
        ``.train .valid .test`` (X, y, weight, index, symbol_id, t0, t1, mask), ``.scaler``,
        ``.feature_names``, ``.dropped``, ``.inverse_transform``, ``.fingerprint``,
        ``.to_torch()``, ``.to_tf()``.

        =================== ========================================== ============== ========
        model type          X                                          NaN            scaling
        =================== ========================================== ============== ========
        lstm gru            lazy (batch, seq_len, features) float32    window dropped robust
        transformer         the same, and a mask (batch, seq_len)      window dropped robust
        cnn                 lazy (batch, features, seq_len)            window dropped robust
        xgboost lightgbm    (n, features) float32                      kept           none
        random_forest       (n, features) float32                      kept           none
        linear              (n, features) float32                      median and     z-score
                                                                       indicator
        arima_garch         dict symbol -> 1-D returns x 100           longest run    none
        rl                  (sessions, assets, features), with         mask           robust
                            next_ret and tradable (sessions, assets)
        =================== ========================================== ============== ========

    Raises
    ------
    ConfigurationError
        Unknown model type, a column that is missing, a label of unknown reach, a horizon
        shorter than a label's known reach, a count that is no whole number.
    DataError
        No MultiIndex (symbol, date), duplicates, infinite values, no training sample.
    RangeError
        ``split_dates`` are not two ascending dates, or all rows lie on one side of the first.

    Warns
    -----
    UserWarning
        Valid or test is left without a sample.

    Notes
    -----
    A sample belongs to the segment of its own date. Of train and valid, samples are purged
    whose label interval [t0, t1] reaches into the next segment, then those whose label ends
    fewer than ``embargo`` sessions before it. Inputs of valid and test may look back into
    the segment before: that is known on their date.

    A session is a date that the exchange calendar names, or that most of the symbols then
    alive have a bar on. A window whose rows are not consecutive sessions of one symbol is
    dropped, and so is a row on a date that is no session. Scalers, medians and the symbol
    vocabulary are fitted on the rows at which a training sample ends, and on no other.
    """
    kind = model_kind(model_type)
    features = frame_of(features)
    note = dict(features.attrs.get("stockdb") or {})
    label = text(label, "label", "Name one column, such as 'y_fwd_5'.")
    returns = text(returns, "returns", "Name one column, such as 'ret_1'.")
    if weight is not None:
        weight = text(weight, "weight", "Name one column, or leave it out.")
    if calendar is not None:
        calendar = text(calendar, "calendar", "Give a code such as 'XNYS', or None.")
    seq_len = whole(seq_len, "seq_len", 1, "rows of a window")
    seed = whole(seed, "seed", 0, "shuffled orders")
    if calendar == "auto":
        calendar = note.get("calendar", "XNYS")
    supervised = kind.layout in {"window", "table"}
    frame = sort_rows(features)
    names = feature_columns(frame.columns, *((label, weight) if supervised else ()))
    if kind.layout == "series":
        names = [returns]
    _demand(frame, names if supervised else [*names, returns], returns)
    ledger = Ledger(len(frame))
    frame, rows = take_apart(frame, names, calendar)
    ledger.lose("not_a_session", len(rows))
    if supervised:
        labels = align_labels(frame, rows, label, horizon, weight, note.get("reach", {}))
    else:
        labels = layouts.own_labels(rows, frame[returns], panel=kind.layout == "panel")
    gap = labels.horizon if embargo is None else whole(embargo, "embargo", 0, "sessions")
    plan = plan_split(rows.sessions, np.unique(rows.day), split_dates, gap)
    parameters = {
        "model_type": model_type,
        "label": label if supervised else None,
        "seq_len": seq_len if kind.layout == "window" else None,
        "valid_from": _date(rows.sessions, plan.valid),
        "test_from": _date(rows.sessions, plan.test),
        "embargo": gap,
        "horizon": labels.horizon,
        "weight": weight,
        "returns": None if supervised else returns,
        "calendar": calendar,
        "features": names,
        "symbols": list(rows.symbols),
    }
    work = _Work(kind, rows, labels, plan, ledger, seq_len, seed)
    made = _LAYOUTS[kind.layout](work)
    _warn_of_empty(made.segments, rows, parameters, ledger)
    objects, spec = _objects(note), str(note.get("spec", ""))
    return Prepared(
        model_type=model_type,
        kind=kind,
        **dict(zip(_NAMES, made.segments, strict=True)),
        scaler=made.scaler,
        feature_names=made.names,
        symbols=made.symbols,
        dropped=ledger.dropped,
        parameters=parameters,
        seed=seed,
        imputer=made.imputer,
        _measure=_Measure(rows, made, parameters, objects, spec),
    )


class Ledger:
    """Which rows are left, and what became of the others: the first reason counts."""

    def __init__(self, rows: int) -> None:
        self.left = np.ones(rows, bool)
        self.dropped: dict[str, int] = {}

    def lose(self, reason: str, left: int) -> None:
        """Note rows that are gone from the frame itself."""
        if left < len(self.left):
            self.dropped[reason] = len(self.left) - left
            self.left = np.ones(left, bool)

    def drop(self, reason: str, rows: Array) -> None:
        """Drop marked rows that are still there."""
        hit = int(np.count_nonzero(self.left & rows))
        if hit:
            self.dropped[reason] = self.dropped.get(reason, 0) + hit
            self.left &= ~rows


@dataclass(frozen=True, slots=True)
class _Work:
    """What the layouts work on."""

    kind: ModelKind
    rows: Rows
    labels: Labels
    plan: SplitPlan
    ledger: Ledger
    seq_len: int
    seed: int


@dataclass(frozen=True, slots=True)
class _Made:
    """What a layout makes."""

    segments: list[Any]
    scaler: Scaler
    names: tuple[str, ...]
    symbols: tuple[str, ...]
    imputer: layouts.Imputer | None = None
    shared: list[Array] = field(default_factory=list)

    def arrays(self) -> list[Array]:
        found = list(self.shared)
        for segment in self.segments:
            found += segment.arrays()
        return found


@dataclass(frozen=True, slots=True)
class _Measure:
    """Takes the fingerprint when it is asked for; crosses to another process."""

    rows: Rows
    made: _Made
    parameters: dict[str, Any]
    objects: dict[str, str]
    spec: str

    def __call__(self) -> Fingerprint:
        where = [self.rows.sessions.asi8, self.rows.code, self.rows.day]
        arrays = [*where, *self.made.arrays()]
        return fingerprint(self.parameters, arrays, self.objects, self.spec)


def _samples(work: _Work) -> _Made:
    """Windows and tables: one sample a row that has a label."""
    rows, labels, ledger, kind = work.rows, work.labels, work.ledger, work.kind
    ledger.drop("no_label", np.isnan(labels.y))
    ledger.drop("no_weight", np.isnan(labels.weight))
    if kind.layout == "window":
        _drop_windows(work)
    _drop_near_the_next(work)
    segment = work.plan.segment(rows.day)
    places = [np.flatnonzero(ledger.left & (segment == part)).astype(np.int32) for part in range(3)]
    _demand_samples(places[0], ledger)
    values, names, imputer = rows.values, rows.names, None
    if kind.missing == "impute":
        imputer = layouts.Imputer.fit(values, places[0])
        values, names = imputer.fill(values), imputer.names(names)
    scaler = fit_scaler(kind.scaling, values, places[0], names)
    scaler.transform_in_place(values)
    values.flags.writeable = False
    symbols, numbers = layouts.vocabulary(rows, places[0])
    base = Base(
        replace(rows, values=values, names=names), labels.y, labels.weight, labels.reach, numbers
    )
    layout = layouts.Gather(
        values, work.seq_len if kind.layout == "window" else None, kind.channels_first
    )
    segments = [Segment(base, place, layout, kind.masked, work.seed) for place in places]
    return _Made(segments, scaler, names, symbols, imputer, [values])


def _drop_windows(work: _Work) -> None:
    """Drop windows that cross a symbol, a missing session or a missing value."""
    rows, ledger = work.rows, work.ledger
    every = np.ones(len(rows), bool)
    within = run_lengths(rows.code, np.arange(len(rows)), every)
    ledger.drop("short_history", within < work.seq_len)
    gapless = run_lengths(rows.code, rows.day, every)
    ledger.drop("missing_session", gapless < work.seq_len)
    defined = layouts.defined(rows.values)
    ledger.drop("nan_feature", run_lengths(rows.code, rows.day, defined) < work.seq_len)


def _drop_near_the_next(work: _Work) -> None:
    day, reach = work.rows.day, work.labels.reach
    work.ledger.drop("purged", work.plan.purged(day, reach))
    work.ledger.drop("embargo", work.plan.embargoed(day, reach))


def _series(work: _Work) -> _Made:
    """One series of returns a symbol: its longest run in each segment."""
    rows, ledger = work.rows, work.ledger
    ledger.drop("nan_feature", np.isnan(rows.values[:, 0]))
    _drop_near_the_next(work)
    segment = work.plan.segment(rows.day)
    made, kept = [], np.zeros(len(rows), bool)
    for part in range(3):
        series = layouts.longest_runs(rows, ledger.left & (segment == part))
        kept[series.rows] = True
        made.append(series)
    ledger.drop("shorter_run", ~kept)
    _demand_samples(made[0].rows, ledger)
    symbols, numbers = layouts.vocabulary(rows, made[0].rows)
    segments = [replace(series, numbers=numbers) for series in made]
    scaler = fit_scaler("none", rows.values, made[0].rows, rows.names)
    return _Made(segments, scaler, rows.names, symbols)


def _panel(work: _Work) -> _Made:
    """Sessions x assets for each segment."""
    rows, ledger = work.rows, work.ledger
    ledger.drop("no_label", work.labels.reach <= rows.day)
    _drop_near_the_next(work)
    ledger.drop("nan_feature", ~layouts.defined(rows.values))
    segment = work.plan.segment(rows.day)
    train = np.flatnonzero(ledger.left & (segment == 0))
    _demand_samples(train, ledger)
    symbols, numbers = layouts.vocabulary(rows, train)
    ledger.drop("unknown_symbol", numbers[rows.code] == 0)
    scaler = fit_scaler(work.kind.scaling, rows.values, train, rows.names)
    segments = [
        layouts.panel(rows, ledger.left & (segment == part), numbers, work.labels.y, scaler)
        for part in range(3)
    ]
    return _Made(segments, scaler, rows.names, symbols)


_LAYOUTS = {"window": _samples, "table": _samples, "series": _series, "panel": _panel}


def _demand(frame: pd.DataFrame, names: list[str], returns: str) -> None:
    if not names:
        raise ConfigurationError(
            "The frame has no feature column.", remedy="Labels alone cannot be learnt from."
        )
    missing = [name for name in names if name not in frame]
    if missing:
        raise ConfigurationError(
            f"There is no column {missing[0]!r}.",
            remedy=f"arima_garch and rl read one-session returns: name them with returns= "
            f"(now {returns!r}).",
        )


def _demand_samples(train: Array, ledger: Ledger) -> None:
    if not len(train):
        raise DataError(
            f"No training sample is left; rows dropped by reason: {ledger.dropped}.",
            remedy="Ask for more history, a shorter seq_len, fewer features with NaN, or "
            "later split_dates.",
        )


def _warn_of_empty(
    segments: list[Any], rows: Rows, parameters: Mapping[str, Any], ledger: Ledger
) -> None:
    # Train is never among them: that is an error.
    empty = [name for name, each in zip(_NAMES, segments, strict=True) if not len(each.index)]
    if empty:
        first, last = rows.sessions[rows.day.min()], rows.sessions[rows.day.max()]
        warnings.warn(
            f"{' and '.join(empty)} has no sample. There are rows of {first:%Y-%m-%d} .. "
            f"{last:%Y-%m-%d}, valid begins on {parameters['valid_from']} and test on "
            f"{parameters['test_from'] or 'a later date'}; rows dropped by reason: "
            f"{ledger.dropped}.",
            stacklevel=callers_level(),
        )


def _date(sessions: pd.DatetimeIndex, place: int) -> str | None:
    return sessions[place].isoformat() if place < len(sessions) else None


def _objects(note: Mapping[str, Any]) -> dict[str, str]:
    text = note.get("objects")
    return json.loads(text) if isinstance(text, str) else {}
