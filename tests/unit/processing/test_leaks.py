"""Planted leaks are found, with column, row and reach; clean functions pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from stockdb.errors import DataError
from stockdb.processing import leaks
from tests.unit.processing.bars import bars, many

Function = Callable[[pd.DataFrame], pd.DataFrame]


def feature(compute: Callable[[pd.Series], pd.Series]) -> Function:
    """A feature of the close, symbol by symbol."""

    def function(frame: pd.DataFrame) -> pd.DataFrame:
        if frame.index.nlevels == 1:
            return compute(frame["close"]).to_frame("f")
        return frame.groupby(level=0)["close"].transform(compute).to_frame("f")

    return function


CLEAN = feature(lambda close: close.rolling(20).mean() / close)


@pytest.mark.parametrize("frame", [bars(), many()], ids=["one", "many"])
def test_a_clean_feature_passes_all(frame: pd.DataFrame) -> None:
    for test in (leaks.prefix, leaks.perturbed, leaks.other_symbols, leaks.later_event):
        assert test(CLEAN, frame) == []
    assert leaks.look_back(CLEAN, frame, 19) == []


@pytest.mark.parametrize("test", [leaks.prefix, leaks.perturbed])
@pytest.mark.parametrize("ahead", [1, 5, 26])
def test_a_shift_to_the_left_reads_as_far(test: Callable[..., list], ahead: int) -> None:
    (leak,) = test(feature(lambda close: close.shift(-ahead) / close), bars())
    assert (leak.column, leak.reach) == ("f", ahead)
    assert f"reads {ahead} bar" in str(leak) and leak.symbol is None


@pytest.mark.parametrize("test", [leaks.prefix, leaks.perturbed])
def test_a_centred_window_reads_half_of_its_length(test: Callable[..., list]) -> None:
    (leak,) = test(feature(lambda close: close.rolling(21, center=True).mean()), many())
    assert leak.reach == 10 and leak.symbol == "S0"


@pytest.mark.parametrize("test", [leaks.prefix, leaks.perturbed])
def test_a_full_sample_scaler_reads_to_the_end(test: Callable[..., list]) -> None:
    (leak,) = test(feature(lambda close: (close - close.mean()) / close.std()), bars())
    assert "whole sample" in leak.detail


def test_a_bfill_is_found_where_there_is_a_hole() -> None:
    frame = bars()
    frame.iloc[::7, 3] = np.nan
    assert leaks.perturbed(feature(lambda close: close.bfill()), frame)
    assert not leaks.perturbed(feature(lambda close: close.ffill()), frame)


def test_a_mean_over_symbols_is_found_unless_it_is_declared() -> None:
    def function(frame: pd.DataFrame) -> pd.DataFrame:
        mean = frame.groupby(level=1)["close"].transform("mean")
        return pd.DataFrame({"f": frame["close"] / mean, "xs_f": frame["close"] / mean})

    (leak,) = leaks.other_symbols(function, many())
    assert leak.column == "f" and "only S" in leak.detail
    assert leaks.other_symbols(function, many(), cross_sectional=["f"]) == []


def test_a_window_that_crosses_symbols_is_found() -> None:
    def function(frame: pd.DataFrame) -> pd.DataFrame:
        return frame["close"].rolling(20).mean().to_frame("f")

    assert leaks.other_symbols(function, many())


def test_a_warm_up_that_is_too_short_is_found() -> None:
    slow = feature(lambda close: close.ewm(span=50, adjust=False).mean())
    (leak,) = leaks.look_back(slow, bars(2000), 60)
    assert "more than 60 bars" in leak.detail
    assert leaks.look_back(slow, bars(2000), 500) == []


def test_a_price_level_is_found_by_a_later_split() -> None:
    (leak,) = leaks.later_event(feature(lambda close: close.rolling(5).mean()), bars())
    assert "split" in leak.detail
    assert leaks.later_event(feature(lambda close: close), bars(), scale_free=[]) == []


def test_a_function_that_loses_rows_is_refused() -> None:
    with pytest.raises(DataError, match="index"):
        leaks.prefix(lambda frame: frame.dropna().iloc[1:], bars())


def test_each_single_row_that_reads_the_next_bar_is_found() -> None:
    """No other cut than the one at its date can show it."""
    frame = bars(40)
    for row in range(39):

        def leaking(part: pd.DataFrame, row: int = row) -> pd.DataFrame:
            close = part["close"].copy()
            if len(close) > row + 1:
                close.iloc[row] = part["close"].iloc[row + 1]
            return close.to_frame("f")

        search = leaks.Search(leaking, frame)
        for place in range(39):
            search.prefix(place)
            assert bool(search.leaks("prefix")) == (place >= row)
        (leak,) = search.leaks("prefix")
        assert (leak.date, leak.reach) == (frame.index[row], 1)


def test_columns_may_read_as_far_as_they_say() -> None:
    def function(frame: pd.DataFrame) -> pd.DataFrame:
        later = frame.groupby(level=0)["close"].shift(-3)
        return pd.DataFrame({"label": later, "feature": later})

    for said, found in ((3, {"feature"}), (2, {"feature", "label"})):
        search = leaks.Search(function, many(3, 60), {"label": said})
        for place in (20, 40):
            search.prefix(place)
            search.perturbed(place, 0)
        for test in ("prefix", "perturb"):
            assert {leak.column for leak in search.leaks(test)} == found


@pytest.mark.parametrize("rows", [3, 4, 20, 300, 3770])
def test_cuts_come_in_an_order_that_sees_most_first(rows: int) -> None:
    dates = bars(rows).index
    order = leaks.cut_order(dates, 0)
    assert sorted(order) == list(range(rows - 1))
    assert leaks.cut_order(dates, 0) == order
    if rows < 3770:
        return
    first = order[:60]
    assert {4, 9, 19, 49, 99, 199, 499} <= set(first)
    assert set(dates[first].day_of_week) == {0, 1, 2, 3, 4}
    last = {place for place in first if dates[place].month != dates[place + 1].month}
    assert len(last) >= 2 and any(dates[place].month == 12 for place in last)
    assert any(place + 1 in first for place in last)
    for count in (100, 400, 1500):  # never is a stretch left out for long
        gaps = np.diff(sorted({0, rows - 2, *order[:count]}))
        assert gaps.max() < 5 * rows / count
