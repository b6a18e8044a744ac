"""Longer bars from shorter ones: each expected bar is worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stockdb.processing.resample import (
    resample_intraday,
    resample_sessions,
    resample_to_sessions,
)
from stockdb.types import INTERVALS

NAN = math.nan
COLUMNS = ["open", "high", "low", "close", "volume"]


def daily(rows: dict[str, list[float]]) -> pd.DataFrame:
    index = pd.DatetimeIndex(list(rows), name="date").as_unit("ns")
    return pd.DataFrame(list(rows.values()), index=index, columns=COLUMNS)


#: Two weeks across the end of January 2024, which has no holiday there.
FRAME = daily({
    "2024-01-29": [10, 12, 9, 11, 100],
    "2024-01-30": [11, 15, 10, 14, 200],
    "2024-01-31": [14, 14, 8, 9, 300],
    "2024-02-01": [9, 10, 9, 10, 400],
    "2024-02-02": [10, 11, 10, 11, 500],
    "2024-02-05": [20, 22, 19, 21, 600],
    "2024-02-06": [21, 23, 20, 22, 700],
})  # fmt: skip


def sessions(frame: pd.DataFrame, interval: str, **given: Any) -> pd.DataFrame:
    options = {"start": None, "end": None, "last_held": None, "calendar": "XNYS", **given}
    for name in ("start", "end", "last_held"):
        if isinstance(options[name], str):
            options[name] = pd.Timestamp(options[name])
    return resample_sessions(frame, INTERVALS[interval], **options)


class TestSessions:
    def test_weeks(self) -> None:
        found = sessions(FRAME, "weekly")
        assert [str(day.date()) for day in found.index] == ["2024-02-02", "2024-02-06"]
        assert found[COLUMNS].to_numpy().tolist() == [
            [10, 15, 8, 11, 1500], [20, 23, 19, 22, 1300],
        ]  # fmt: skip

    def test_months(self) -> None:
        found = sessions(FRAME, "monthly")
        assert [str(day.date()) for day in found.index] == ["2024-01-31", "2024-02-06"]
        assert found[COLUMNS].to_numpy().tolist() == [[10, 15, 8, 9, 600], [9, 23, 9, 22, 2200]]

    def test_type_and_name_of_the_index_stay(self) -> None:
        found = sessions(FRAME, "weekly")
        assert found.index.name == "date" and str(found.index.dtype) == "datetime64[ns]"
        assert str(found["partial"].dtype) == "bool"
        assert found.columns.tolist() == [*COLUMNS, "partial"]

    def test_the_frame_given_is_not_changed(self) -> None:
        before = FRAME.copy(deep=True)
        sessions(FRAME, "weekly")
        pd.testing.assert_frame_equal(FRAME, before)

    def test_missing_values(self) -> None:
        frame = daily({
            "2024-01-29": [NAN, NAN, NAN, NAN, NAN],
            "2024-01-30": [11, 15, 10, 14, 200],
            "2024-01-31": [14, 14, 8, NAN, NAN],
            "2024-02-05": [NAN, NAN, NAN, NAN, NAN],
        })  # fmt: skip
        found = sessions(frame, "weekly")[COLUMNS].to_numpy()
        np.testing.assert_array_equal(found, [[11, 15, 8, 14, 200], [NAN] * 5])

    def test_other_columns(self) -> None:
        frame = FRAME.assign(adj_close=np.arange(7.0), dividends=[0, 0.5, 0, 0.25, 0, 0, 0],
                             stock_splits=[0, 0, 0, 0, 0, 0, 0], note=np.arange(7.0))  # fmt: skip
        found = sessions(frame, "weekly")
        assert found["adj_close"].tolist() == [4, 6]
        assert found["dividends"].tolist() == [0.75, 0]
        assert found["note"].tolist() == [4, 6]

    @pytest.mark.parametrize(
        ("ratios", "expected"),
        [
            ([0, 0, 0, 0, 0, 0, 0], [0, 0]),
            ([0, 4, 0, 0, 0, 0, 0], [4, 0]),  # 0 is how vendors write "no split"
            ([0, 4, 0, 2, 0, 0, 3], [8, 3]),
            ([1, 1, 1, 1, 1, 1, 1], [1, 1]),
            ([1, 0.5, 1, 1, 1, 1, 1], [0.5, 1]),
        ],
    )
    def test_splits_of_a_week_multiply(self, ratios: list[float], expected: list[float]) -> None:
        found = sessions(FRAME.assign(stock_splits=np.array(ratios, float)), "weekly")
        assert found["stock_splits"].tolist() == expected

    def test_an_empty_frame(self) -> None:
        found = sessions(FRAME.iloc[:0], "monthly")
        assert found.empty and str(found["partial"].dtype) == "bool"
        assert str(found.index.dtype) == "datetime64[ns]"

    @pytest.mark.parametrize(
        ("interval", "options", "partial"),
        [
            ("weekly", {}, [False, False]),
            ("weekly", {"start": "2024-01-29"}, [False, False]),
            ("weekly", {"start": "2024-01-27"}, [False, False]),
            ("weekly", {"start": "2024-01-30"}, [True, False]),
            ("weekly", {"end": "2024-02-06"}, [False, True]),
            ("weekly", {"end": "2024-02-09"}, [False, False]),
            ("weekly", {"last_held": "2024-02-06"}, [False, True]),
            ("weekly", {"last_held": "2024-02-09"}, [False, False]),
            ("weekly", {"end": "2024-02-29", "last_held": "2024-02-08"}, [False, True]),
            ("weekly", {"end": "2024-02-08", "last_held": "2024-02-29"}, [False, True]),
            ("monthly", {"start": "2024-01-29"}, [True, False]),
            ("monthly", {"start": "2024-01-02"}, [False, False]),  # only New Year is left out
            ("monthly", {"end": "2024-02-28"}, [False, True]),
            ("monthly", {"end": "2024-02-29"}, [False, False]),
        ],
    )
    def test_what_is_cut_is_flagged(
        self, interval: str, options: dict[str, str], partial: list[bool]
    ) -> None:
        assert sessions(FRAME, interval, **options)["partial"].tolist() == partial

    def test_the_calendar_decides(self) -> None:
        # Monday, 2024-05-27 was Memorial Day in New York (and a bank holiday in London),
        # Monday, 2024-05-06 a bank holiday in London only.
        week = daily({"2024-05-07": [1, 1, 1, 1, 1], "2024-05-10": [1, 1, 1, 1, 1]})
        options = {"start": "2024-05-07", "end": "2024-05-10"}
        assert sessions(week, "weekly", calendar="XNYS", **options)["partial"].tolist() == [True]
        assert sessions(week, "weekly", calendar="XLON", **options)["partial"].tolist() == [False]


def intraday(rows: dict[str, list[float]], zone: str = "America/New_York") -> pd.DataFrame:
    index = pd.DatetimeIndex(pd.to_datetime(list(rows), utc=True), name="date").as_unit("ns")
    return pd.DataFrame(list(rows.values()), index=index.tz_convert(zone), columns=COLUMNS)


class TestIntraday:
    def test_bars_of_an_hour_begin_at_the_half_hour(self) -> None:
        frame = intraday({
            "2024-01-02 14:30": [10, 12, 9, 11, 100],  # 09:30 in New York
            "2024-01-02 15:25": [11, 15, 8, 14, 200],
            "2024-01-02 15:30": [14, 16, 13, 15, 300],
            "2024-01-02 20:30": [15, 15, 15, 15, 400],
        })  # fmt: skip
        found = resample_intraday(frame, INTERVALS["1h"])
        assert [f"{stamp:%H:%M}" for stamp in found.index] == ["09:30", "10:30", "15:30"]
        assert found.to_numpy().tolist() == [
            [10, 15, 8, 14, 300], [14, 16, 13, 15, 300], [15, 15, 15, 15, 400],
        ]  # fmt: skip
        assert str(found.index.dtype) == "datetime64[ns, America/New_York]"
        assert found.index.name == "date"

    @pytest.mark.parametrize(
        ("interval", "labels"),
        [("5m", ["09:30", "09:40"]), ("15m", ["09:30"]), ("30m", ["09:30"])],
    )
    def test_shorter_bars_follow_the_clock(self, interval: str, labels: list[str]) -> None:
        rows = {f"2024-01-02 14:{minute}": [1.0] * 5 for minute in (31, 34, 40, 44)}
        found = resample_intraday(intraday(rows), INTERVALS[interval])
        assert [f"{stamp:%H:%M}" for stamp in found.index] == labels
        assert found["volume"].sum() == 4

    def test_nothing_is_invented(self) -> None:
        frame = intraday({"2024-01-02 14:30": [1.0] * 5, "2024-01-05 14:30": [2.0] * 5})
        assert len(resample_intraday(frame, INTERVALS["15m"])) == 2

    def test_the_hour_that_autumn_repeats_is_two_hours(self) -> None:
        # 2024-11-03: 01:30 comes twice in New York, at 05:30 and 06:30 UTC.
        rows = {"2024-11-03 05:30": [1.0] * 5, "2024-11-03 06:30": [2.0] * 5}
        found = resample_intraday(intraday(rows), INTERVALS["1h"])
        assert found["volume"].tolist() == [1, 2]
        assert [stamp.isoformat() for stamp in found.index] == [
            "2024-11-03T01:30:00-04:00", "2024-11-03T01:30:00-05:00",
        ]  # fmt: skip

    def test_missing_values(self) -> None:
        rows = {"2024-01-02 14:30": [NAN] * 5, "2024-01-02 14:35": [1.0, 2.0, 0.5, 1.5, NAN]}
        found = resample_intraday(intraday(rows), INTERVALS["15m"]).to_numpy()
        np.testing.assert_array_equal(found, [[1.0, 2.0, 0.5, 1.5, NAN]])

    def test_an_empty_frame(self) -> None:
        frame = intraday({"2024-01-02 14:30": [1.0] * 5}).iloc[:0]
        assert resample_intraday(frame, INTERVALS["1h"]).empty

    def test_a_zone_of_half_an_hour(self) -> None:
        # Mumbai, UTC+05:30: 09:15 to 10:10 are in the hours from 08:30 and 09:30.
        rows = {"2024-01-02 03:45": [1.0] * 5, "2024-01-02 04:40": [2.0] * 5}
        found = resample_intraday(intraday(rows, "Asia/Kolkata"), INTERVALS["15m"])
        assert [f"{stamp:%H:%M}" for stamp in found.index] == ["09:15", "10:00"]


def at(zone: str, closes: dict[str, float]) -> pd.DataFrame:
    """Bars that begin at these times and show one price each."""
    index = pd.DatetimeIndex(list(closes), name="date").tz_localize(zone).as_unit("ns")
    return pd.DataFrame(
        {name: list(closes.values()) for name in COLUMNS[:4]} | {"volume": 1.0}, index=index
    )


class TestToSessions:
    def test_before_and_after_hours_in_new_york_are_no_part_of_the_day(self) -> None:
        frame = at("America/New_York", {
            "2024-07-03 09:00": 1, "2024-07-03 09:30": 2, "2024-07-03 12:55": 3,
            "2024-07-03 13:00": 4,  # a half day
            "2024-07-04 10:00": 5,  # a holiday
            "2024-07-05 15:55": 6, "2024-07-05 16:00": 7,
        })  # fmt: skip
        found, outside = resample_to_sessions(frame, INTERVALS["5m"], "XNYS")
        assert [str(day)[:10] for day in found.index] == ["2024-07-03", "2024-07-05"]
        assert found.to_numpy().tolist() == [[2, 3, 2, 3, 2], [6, 6, 6, 6, 1]]
        assert outside == 4
        assert str(found.index.dtype) == "datetime64[ns]" and found.index.name == "date"

    def test_an_hour_that_the_open_divides_counts(self) -> None:
        frame = at("America/New_York", {
            "2024-07-05 08:00": 1, "2024-07-05 09:00": 2, "2024-07-05 15:00": 3,
            "2024-07-05 16:00": 4,
        })  # fmt: skip
        found, outside = resample_to_sessions(frame, INTERVALS["1h"], "XNYS")
        assert found[["open", "close"]].to_numpy().tolist() == [[2, 3]] and outside == 2

    def test_the_auction_after_the_close_of_london(self) -> None:
        """Trading ends at 16:30, the auction uncrosses at 16:35."""
        frame = at("Europe/London", {
            "2024-06-03 08:00": 1, "2024-06-03 16:25": 2, "2024-06-03 16:35": 3,
            "2024-06-03 17:00": 4,
        })  # fmt: skip
        found, outside = resample_to_sessions(frame, INTERVALS["5m"], "XLON")
        assert found["close"].tolist() == [3] and outside == 1

    def test_a_session_that_begins_the_evening_before(self) -> None:
        """Futures in Chicago: Tuesday's session runs from Monday, 17:00 to Tuesday, 16:00."""
        frame = at("America/Chicago", {
            "2024-06-03 15:00": 1, "2024-06-03 18:00": 2, "2024-06-04 15:00": 3,
        })  # fmt: skip
        found, outside = resample_to_sessions(frame, INTERVALS["1h"], "CMES")
        assert [str(day)[:10] for day in found.index] == ["2024-06-03", "2024-06-04"]
        assert found[["open", "close"]].to_numpy().tolist() == [[1, 1], [2, 3]] and outside == 0

    def test_where_the_calendar_does_not_reach(self) -> None:
        frame = at("America/New_York", {"1980-07-05 10:00": 1, "1980-07-05 20:00": 2})
        found, outside = resample_to_sessions(frame, INTERVALS["1h"], "XNYS")
        assert found[["open", "close"]].to_numpy().tolist() == [[1, 2]] and outside == 0

    def test_nothing(self) -> None:
        found, outside = resample_to_sessions(
            at("America/New_York", {"2024-07-05 10:00": 1})[:0], INTERVALS["1h"], "XNYS"
        )
        assert found.empty and str(found.index.dtype) == "datetime64[ns]" and outside == 0
