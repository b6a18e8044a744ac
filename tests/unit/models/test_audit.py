"""Leaks that were planted are found, named and measured; clean functions are not accused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from stockdb.errors import DataError
from stockdb.models import audit
from stockdb.processing.indicators import indicator
from stockdb.processing.momentum import MOMENTUM
from tests.unit.processing.bars import bars, many

FLAT, LONG = bars(420), many(3, 320)


def clean(frame: pd.DataFrame) -> pd.DataFrame:
    close = frame["close"]
    return pd.DataFrame({"over": close / close.rolling(20).mean(), "ret": close.pct_change()})


def of_each(function: Any) -> Any:
    def compute(frame: pd.DataFrame) -> Any:
        return frame.groupby(level=0, group_keys=False).apply(function)

    return compute


def test_clean_functions_pass() -> None:
    report = audit(clean, FLAT, warmup=19)
    assert report and report.ok
    assert len(report) == 0 and list(report) == []
    assert report.tests == ("prefix", "perturb", "training", "look_back", "later_event")
    assert report.skipped["other_symbols"] == "the data have one symbol"
    assert report.skipped["label_reach"] == "no labels are named"
    long = audit(of_each(clean), LONG, warmup=19)
    assert long.ok, str(long)
    assert {"other_symbols", "alone", "training"} <= set(long.tests)
    assert audit(clean, LONG, by_symbol=True, warmup=19).ok


@pytest.mark.parametrize("name", ["rsi_14", "adx_14", "natr_14", "obv_diff", "hurst"])
def test_columns_of_the_library_pass(name: str) -> None:
    rows = 1000 if name == "adx_14" else 480
    report = audit(indicator(name), bars(rows))
    assert report.ok, str(report)
    assert "look_back" in report.tests


@pytest.mark.parametrize(("window", "reach"), [(53, 26), (11, 5), (3, 1)])
def test_a_centred_window(window: int, reach: int) -> None:
    def centred(frame: pd.DataFrame) -> pd.Series:
        return frame["close"] / frame["close"].rolling(window, center=True).mean()

    report = audit(centred, FLAT)
    assert not report
    found = {leak.test: leak for leak in report.leaks}
    assert {"prefix", "perturb"} <= set(found)
    for test in ("prefix", "perturb"):
        assert found[test].column == "close"
        assert found[test].reach == reach
        assert f"reads {reach} bar" in found[test].detail
    row = FLAT.index.get_loc(found["perturb"].date)
    later = FLAT.index[row + reach]
    # That bar is the first that was changed: the rows before this one read none of them.
    assert later > found["perturb"].date
    assert f"reads {reach} bar" in str(report)
    assert list(report) == list(report.leaks) and len(report) == len(report.leaks)
    assert report.to_frame()["reach"].iloc[0] == reach


def test_a_scaler_of_the_full_sample() -> None:
    def scaled(frame: pd.DataFrame) -> pd.DataFrame:
        change = frame["close"].pct_change()
        return pd.DataFrame({"clean": change, "scaled": (change - change.mean()) / change.std()})

    report = audit(scaled, FLAT)
    assert {leak.column for leak in report.leaks} == {"scaled"}
    assert {"prefix", "perturb", "training"} <= {leak.test for leak in report.leaks}
    assert "the whole sample" in str(report)
    (trained,) = [leak for leak in report.leaks if leak.test == "training"]
    assert "where valid begins" in trained.detail


def test_a_window_across_symbols() -> None:
    def across(frame: pd.DataFrame) -> pd.Series:
        return frame["close"] / frame["close"].rolling(20).mean()

    report = audit(across, LONG)
    tests = {leak.test: leak for leak in report.leaks}
    assert {"other_symbols", "alone"} <= set(tests)
    assert tests["alone"].symbol == "S1"
    assert tests["alone"].date == LONG.loc["S1"].index[0]
    assert "by_symbol=True" in str(report)
    assert audit(across, LONG, by_symbol=True).ok


def test_what_compares_symbols_within_a_date_may() -> None:
    def rank(frame: pd.DataFrame) -> pd.DataFrame:
        change = frame.groupby(level=0)["close"].pct_change()
        by_date = change.groupby(level=1)
        return pd.DataFrame({"xs_rank": by_date.rank(), "mine": by_date.rank(pct=True)})

    assert audit(rank, LONG, cross_sectional=["mine"]).ok
    report = audit(rank, LONG)
    assert {leak.column for leak in report.leaks} == {"mine"}

    def later(frame: pd.DataFrame) -> pd.DataFrame:  # compares with other dates
        change = frame.groupby(level=0)["close"].pct_change()
        return pd.DataFrame({"xs_z": change - change.mean()})

    assert not audit(later, LONG).ok


def test_too_short_a_warm_up() -> None:
    def slow(frame: pd.DataFrame) -> pd.Series:
        return frame["close"] / frame["close"].ewm(span=26, adjust=False).mean()

    report = audit(slow, FLAT, warmup=60)
    assert [leak.test for leak in report.leaks] == ["look_back"]
    assert "more than 60 bars" in str(report)
    assert audit(slow, FLAT, warmup=326).ok


def test_levels_change_with_a_later_split() -> None:
    def level(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"level": frame["close"].rolling(5).mean()})

    report = audit(level, FLAT)
    assert [leak.test for leak in report.leaks] == ["later_event"]
    assert "later split" in str(report)
    assert audit(level, FLAT, scale_free=()).ok
    assert audit(indicator("sma_20"), FLAT).ok


def test_labels_may_read_ahead_as_far_as_they_say() -> None:
    def labelled(frame: pd.DataFrame) -> pd.DataFrame:
        close = frame["close"]
        return clean(frame).assign(mine=close.shift(-6) / close.shift(-1) - 1)

    assert audit(labelled, FLAT, labels={"mine": 6}).ok
    report = audit(labelled, FLAT, labels={"mine": 5})
    assert [str(leak.test) for leak in report.leaks] == ["label_reach"]
    assert "reads 6 bars ahead and says 5" in str(report)
    assert {leak.column for leak in audit(labelled, FLAT).leaks} == {"mine"}


def test_xs_columns_of_the_library() -> None:
    rank = next(column for column in MOMENTUM if column.name == "xs_rank")
    assert audit(rank, many(3, 360)).ok


def test_short_and_bare_data() -> None:
    short = audit(clean, FLAT.iloc[:40])
    assert short.ok and short.skipped["training"] == "40 dates are too few to be split"
    assert audit(clean, FLAT.iloc[:60]).tests[2] == "training"
    bare = FLAT.rename(columns={"close": "price"})
    report = audit(lambda frame: frame["price"].shift(-2) / frame["price"], bare)
    assert report.skipped["training"] == "the data have no close to make a label of"
    assert {leak.reach for leak in report} == {2}


def test_errors() -> None:
    with pytest.raises(DataError, match="with the index it was given"):
        audit(lambda frame: frame["close"].dropna().iloc[5:], FLAT)
    with pytest.raises(DataError, match="Too few bars"):
        audit(clean, FLAT.iloc[:2])
    with pytest.raises(DataError):
        audit(lambda frame: np.zeros(len(frame)), FLAT)  # type: ignore[arg-type,return-value]
