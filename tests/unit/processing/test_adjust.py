"""Adjustment by hand-worked examples, and back again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockdb.errors import DataError
from stockdb.processing.adjust import Events, adjust, carried, events_of, factors, unadjust
from tests.unit.processing.bars import bars

DAYS = pd.DatetimeIndex(["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"], name="date")


def table(name: str, **rows: float) -> pd.DataFrame:
    days = pd.DatetimeIndex([day.replace("_", "-").removeprefix("d") for day in rows])
    return pd.DataFrame({name: list(rows.values())}, index=days)


def four(close: list[float]) -> pd.DataFrame:
    data = dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": [100.0] * 4}
    return pd.DataFrame(data, index=DAYS).astype("float64")


def test_a_split() -> None:
    """4:1 on 4 January: 400 becomes 100, a hundred shares four hundred."""
    events = Events.of(table("ratio", d2024_01_04=4.0), None)
    result = adjust(four([400, 404, 102, 103]), events, wanted="splits")
    assert result["close"].tolist() == [100, 101, 102, 103]
    assert result["volume"].tolist() == [400, 400, 100, 100]


def test_a_reverse_split_and_one_after_the_last_row() -> None:
    events = Events.of(table("ratio", d2024_01_03=0.1, d2025_06_01=2.0), None)
    result = adjust(four([1, 10, 11, 12]), events, wanted="splits")
    assert result["close"].tolist() == [5, 5, 5.5, 6]
    assert result["volume"].tolist() == [20, 200, 200, 200]


def test_a_dividend() -> None:
    """Two of a hundred: 0.98, and the return over the ex-date is that of an owner."""
    events = Events.of(None, table("amount", d2024_01_04=2.0))
    result = adjust(four([50, 100, 98, 99]), events, wanted="all")
    assert result["close"].tolist() == [49, 98, 98, 99]
    assert result["volume"].tolist() == [100] * 4


def test_two_dividends_multiply() -> None:
    events = Events.of(None, table("amount", d2024_01_03=5.0, d2024_01_05=10.0))
    result = adjust(four([100, 100, 100, 90]), events, wanted="all")
    np.testing.assert_allclose(result["close"], [100 * 0.95 * 0.9, 90, 90, 90], rtol=1e-15)


def test_a_dividend_and_a_split_of_one_day() -> None:
    """Of 400 old, 4:1, and 1 on each new share: the owner of 100 new has 1 of them in cash."""
    events = Events.of(table("ratio", d2024_01_04=4.0), table("amount", d2024_01_04=1.0))
    result = adjust(four([400, 400, 99, 99]), events, wanted="all")
    assert result["close"].tolist() == [99, 99, 99, 99]


@pytest.mark.parametrize("adjusted", [False, True])
def test_amounts_as_paid_and_on_todays_shares_agree(adjusted: bool) -> None:
    """8 on an old share before 4:1 are 2 on a new one."""
    amount = 2.0 if adjusted else 8.0
    events = Events.of(
        table("ratio", d2024_01_05=4.0),
        table("amount", d2024_01_03=amount),
        amounts_adjusted=adjusted,
    )
    result = adjust(four([400, 392, 392, 98]), events, wanted="all")
    np.testing.assert_allclose(result["close"], [98, 98, 98, 98], rtol=1e-15)


def test_a_table_says_that_its_amounts_are_on_todays_shares() -> None:
    """As yfinance gives them: 2 on a new share are 8 on an old one."""
    frame = four([400, 392, 392, 98])
    splits = table("ratio", d2024_01_05=4.0)
    for given in (
        pd.DataFrame({"ex_date": ["2024-01-03"], "adjusted_amount": [2.0]}),
        pd.Series([2.0], index=["2024-01-03"], name="adjusted_amount"),
    ):
        events = Events.of(splits, events_of(given, "amount", "A"))
        np.testing.assert_allclose(adjust(frame, events)["close"], [98] * 4, rtol=1e-15)
    both = pd.DataFrame({"ex_date": ["2024-01-03"], "adjusted_amount": [2.0], "amount": 8.0})
    with pytest.raises(DataError, match="both amount and adjusted_amount"):
        events_of(both, "amount", "A")


def test_a_spin_off_written_as_an_odd_ratio() -> None:
    """Of 102.5 before, 2.5 went to the new company: what was kept neither rose nor fell."""
    events = Events.of(table("ratio", d2024_01_04=1.025), None)
    result = adjust(four([102.5, 102.5, 100, 100]), events, wanted="splits")
    np.testing.assert_allclose(result["close"], [100] * 4, rtol=1e-15)
    np.testing.assert_allclose(result["volume"], [102.5, 102.5, 100, 100], rtol=1e-15)


def test_of_intraday_bars_the_local_date_decides() -> None:
    """19:30 in New York on the evening before the ex-date is 00:30 UTC of the ex-date."""
    stamps = ["2024-01-03 15:59", "2024-01-03 19:30", "2024-01-04 04:00", "2024-01-04 09:30"]
    index = pd.DatetimeIndex(stamps, tz="America/New_York", name="date")
    events = Events.of(table("ratio", d2024_01_04=4.0), table("amount", d2024_01_04=1.0))
    frame = four([396, 400, 99, 99]).set_index(index)
    result = adjust(frame, events)
    np.testing.assert_allclose(result["close"], [98.01, 99, 99, 99], rtol=1e-15)
    np.testing.assert_allclose(unadjust(result, events), frame, rtol=1e-15)


def test_held_adjusted_is_never_divided_twice() -> None:
    events = Events.of(table("ratio", d2024_01_04=4.0), table("amount", d2024_01_04=1.0))
    frame = four([100, 100, 99, 99])
    assert adjust(frame, events, held="splits", wanted="splits").equals(frame)
    assert adjust(frame, events, held="all", wanted="all").equals(frame)
    result = adjust(frame, events, held="splits", wanted="all")
    assert result["close"].tolist() == [99, 99, 99, 99]
    assert result["volume"].tolist() == [100] * 4
    with pytest.raises(DataError, match="unadjust"):
        adjust(frame, events, held="splits", wanted="none")


def test_a_hole_before_the_ex_date_takes_the_last_close_there_is() -> None:
    events = Events.of(None, table("amount", d2024_01_04=2.0))
    result = adjust(four([100, np.nan, 98, 99]), events, wanted="all")
    assert result["close"].tolist()[0] == 98


def test_dividends_outside_the_rows_have_no_effect() -> None:
    events = Events.of(None, table("amount", d2024_01_02=2.0, d2024_01_09=3.0))
    frame = four([100, 101, 102, 103])
    assert adjust(frame, events, wanted="all").equals(frame)
    dates = DAYS.as_unit("ns").to_numpy()
    found = factors(dates, frame["close"].to_numpy(), events, held="none", wanted="all")
    assert (found.splits, found.dividends) == (0, 0)


def test_a_dividend_larger_than_the_price_is_refused() -> None:
    events = Events.of(None, table("amount", d2024_01_04=120.0))
    with pytest.raises(DataError, match="not smaller than the close"):
        adjust(four([100, 100, 98, 99]), events, wanted="all")


@pytest.mark.parametrize("wanted", ["splits", "all"])
@pytest.mark.parametrize("held", ["none", "splits"])
def test_there_and_back(held: str, wanted: str) -> None:
    frame = bars(500)
    days = frame.index
    events = Events.of(
        pd.DataFrame({"ratio": [2.0, 1.5, 0.2]}, index=days[[100, 300, 400]]),
        pd.DataFrame({"amount": [0.5, 1.0, 0.7, 0.9]}, index=days[[50, 150, 300, 450]]),
    )
    there = adjust(frame, events, held=held, wanted=wanted)  # type: ignore[arg-type]
    if (held, wanted) != ("splits", "splits"):
        assert not np.allclose(there["close"], frame["close"])
    back = unadjust(there, events, held=held, wanted=wanted)  # type: ignore[arg-type]
    np.testing.assert_allclose(back, frame, rtol=1e-12)


def test_a_callers_table_in_any_shape() -> None:
    frame = pd.DataFrame(
        {"symbol": ["A", "B", "A"], "ex_date": ["2024-02-01", "2024-01-01", "2023-01-01"],
         "ratio": [2.0, 3.0, 4.0]}
    )  # fmt: skip
    assert events_of(frame, "ratio", "A")["ratio"].tolist() == [4.0, 2.0]
    series = pd.Series([2.0], index=["2024-02-01"])
    assert events_of(series, "ratio", "A").index[0] == pd.Timestamp("2024-02-01")
    with pytest.raises(DataError, match="ex_date and ratio"):
        events_of(frame.rename(columns={"ratio": "factor"}), "ratio", "A")
    with pytest.raises(DataError, match="positive"):
        events_of(pd.Series([0.0], index=["2024-02-01"]), "ratio", "A")


@pytest.mark.parametrize(
    ("close", "ratio", "found"),
    [
        ([400.0, 404.0, 101.0, 99.0], 4.0, False),  # it steps
        ([100.0, 101.0, 101.0, 99.0], 4.0, True),  # it does not: somebody has divided
        ([400.0, 404.0, 75.0, 99.0], 4.0, False),  # a bad day on top
        ([100.0, 101.0, 75.0, 99.0], 4.0, True),  # the bad day alone
        ([10.0, 10.0, 80.0, 80.0], 0.125, False),  # a reverse split
        ([80.0, 81.0, 80.0, 80.0], 0.125, True),
        ([100.0, 101.0, 80.0, 80.0], 1.25, False),  # too small to tell from news
        ([100.0, 101.0, 101.0, 80.0], 1.25, False),
        ([100.0, np.nan, 101.0, 80.0], 4.0, False),  # nobody knows
    ],
)
def test_splits_that_prices_carry_already(close: list[float], ratio: float, found: bool) -> None:
    events = Events.of(table("ratio", d2024_01_04=ratio), None)
    days = carried(DAYS.as_unit("ns").to_numpy(), np.array(close), events)
    assert days == ([np.datetime64("2024-01-04")] if found else [])


def test_one_split_that_steps_clears_the_others() -> None:
    events = Events.of(table("ratio", d2024_01_03=2.0, d2024_01_05=4.0), None)
    date = DAYS.as_unit("ns").to_numpy()
    assert carried(date, np.array([100.0, 101.0, 100.0, 25.0]), events) == []
    assert len(carried(date, np.array([100.0, 101.0, 100.0, 99.0]), events)) == 2
    outside = Events.of(table("ratio", d2023_01_03=2.0, d2025_01_05=4.0), None)
    assert carried(date, np.array([100.0, 101.0, 100.0, 99.0]), outside) == []
