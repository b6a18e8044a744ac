"""Splitters: scikit-learn's own where nothing overlaps, and no overlap where something does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, TimeSeriesSplit, cross_val_score

from stockdb.errors import ConfigurationError
from stockdb.models import PurgedKFold, WalkForward, prepare_for_model
from tests.unit.models import checks
from tests.unit.models.frames import SEQ_LEN, feature_frame

DAYS = pd.bdate_range("2020-01-01", periods=60)


def intervals(symbols: int, horizon: int) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Labels of several symbols on all days but the last ones."""
    t0 = np.concatenate([DAYS[: 60 - horizon]] * symbols)
    t1 = np.concatenate([DAYS[horizon:]] * symbols)
    return pd.DatetimeIndex(t0), pd.DatetimeIndex(t1)


def pairs(splitter: Any) -> list[tuple[list[int], list[int]]]:
    return [(train.tolist(), test.tolist()) for train, test in splitter.split()]


def test_without_intervals_they_are_scikit_learns() -> None:
    X = np.zeros((60, 1))
    wanted = [(a.tolist(), b.tolist()) for a, b in KFold(5).split(X)]
    assert pairs(PurgedKFold(5, t0=DAYS, t1=DAYS)) == wanted
    wanted = [(a.tolist(), b.tolist()) for a, b in TimeSeriesSplit(5).split(X)]
    assert pairs(WalkForward(5, t0=DAYS, t1=DAYS)) == wanted
    kept = TimeSeriesSplit(4, test_size=6, gap=2, max_train_size=15).split(X)
    # scikit-learn counts the rows that are left of the gap, this counts the dates before it.
    walk = WalkForward(4, t0=DAYS, t1=DAYS, test_size=6, embargo=2, train_size=17)
    assert pairs(walk) == [(a.tolist(), b.tolist()) for a, b in kept]


@pytest.mark.parametrize("kind", [PurgedKFold, WalkForward])
@pytest.mark.parametrize("horizon", [1, 6])
@pytest.mark.parametrize("embargo", [0, 3])
def test_no_label_of_train_meets_one_of_test(kind: Any, horizon: int, embargo: int) -> None:
    t0, t1 = intervals(3, horizon)
    splitter = kind(4, t0=t0, t1=t1, embargo=embargo, sessions=DAYS)
    assert splitter.get_n_splits() == 4
    seen = []
    for train, test in splitter.split(np.zeros((len(t0), 2))):
        spans = list(zip(t0, t1, strict=True))
        own, other = [spans[n] for n in train], [spans[n] for n in test]
        assert checks.overlaps(own, other) == 0
        assert len(own) and len(other)
        begin, end = DAYS.get_indexer(t0), DAYS.get_indexer(t1)
        before = end[train][begin[train] < begin[test].min()]
        after = begin[train][begin[train] > begin[test].max()]
        if kind is WalkForward:
            assert not len(after)
            assert begin[test].min() - before.max() > embargo
        elif len(after):
            assert after.min() - end[test].max() > embargo
        seen += test.tolist()
        # All symbols of a date are on one side.
        assert not set(t0[train]) & set(t0[test])
    if kind is PurgedKFold:
        assert sorted(seen) == list(range(len(t0)))


def test_the_overlap_checker_sees_a_plain_split() -> None:
    t0, t1 = intervals(2, 6)
    spans = list(zip(t0, t1, strict=True))
    train, test = next(KFold(3).split(np.zeros((54, 1))))
    assert checks.overlaps([spans[n] for n in train], [spans[n] for n in test]) > 0


def test_scikit_learn_takes_them() -> None:
    found = prepare_for_model(feature_frame(), "linear", seq_len=SEQ_LEN)
    train = found.train
    for kind in (PurgedKFold, WalkForward):
        cut = kind(4, t0=train.t0, t1=train.t1, embargo=5)
        scores = cross_val_score(Ridge(), train.X, train.y, cv=cut)
        assert scores.shape == (4,)
        search = GridSearchCV(Ridge(), {"alpha": [1.0, 10.0]}, cv=cut).fit(train.X, train.y)
        assert search.best_params_["alpha"] in {1.0, 10.0}


def test_errors() -> None:
    with pytest.raises(ConfigurationError, match="n_splits=1.*2 or more"):
        PurgedKFold(1, t0=DAYS, t1=DAYS)
    with pytest.raises(ConfigurationError, match="embargo=-1: it counts sessions"):
        PurgedKFold(t0=DAYS, t1=DAYS, embargo=-1)
    with pytest.raises(ConfigurationError, match="60 t0 and 59 t1"):
        PurgedKFold(t0=DAYS, t1=DAYS[1:])
    with pytest.raises(ConfigurationError, match="t0 <= t1"):
        PurgedKFold(t0=DAYS, t1=DAYS[::-1])
    with pytest.raises(ConfigurationError, match="X has 3 samples and t0 60"):
        next(PurgedKFold(t0=DAYS, t1=DAYS).split(np.zeros(3)))
    with pytest.raises(ConfigurationError, match="cannot make 70 parts"):
        next(PurgedKFold(70, t0=DAYS, t1=DAYS).split())
    with pytest.raises(ConfigurationError, match="Nothing is left to train on"):
        next(WalkForward(5, t0=DAYS, t1=DAYS, embargo=10).split())
    with pytest.raises(ConfigurationError, match="nothing to train"):
        next(WalkForward(3, t0=DAYS, t1=DAYS, test_size=20).split())
