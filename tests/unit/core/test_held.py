"""Coverage and gaps against the New York Stock Exchange's own calendar.

Sessions and half days as the exchange publishes them: closed on 2023-11-23, until 13:00 on
2023-11-24; clocks forward on 2024-03-10. Twenty-one sessions in January 2024.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockdb.core.barview import BAR
from stockdb.core.held import PUBLISHING, Window, coverage, gaps
from stockdb.core.validation import validate_bars
from stockdb.sessions import half_days, schedule, sessions

LATER = pd.Timestamp("2025-06-02 12:00", tz="UTC")


def days(start: str, end: str) -> pd.DatetimeIndex:
    return sessions("XNYS", pd.Timestamp(start), pd.Timestamp(end))


def window(start: str | None, end: str | None, now: pd.Timestamp = LATER) -> Window:
    first, last = (None if date is None else pd.Timestamp(date) for date in (start, end))
    return Window(first, last, now)


def kinds(found: pd.DataFrame) -> list[tuple[str, str, int, str]]:
    return [
        (f"{row.start:%Y-%m-%d}", f"{row.end:%Y-%m-%d}", row.sessions, row.kind)
        for row in found.itertuples()
    ]


def test_holidays_and_half_days_are_no_gaps() -> None:
    held = days("2023-11-01", "2024-01-31")
    within = window("2023-11-01", "2024-01-31")
    found = gaps(held, "XNYS", within)
    assert len(found) == 0
    summary = coverage(held, found, "XNYS", within)
    assert summary["expected"] == summary["held"] == 21 + 20 + 21
    assert (summary["missing"], summary["share"], summary["half_days"]) == (0, 1.0, 1)
    assert half_days("XNYS", pd.Timestamp("2023-11-01"), pd.Timestamp("2023-12-31")).tolist() == [
        pd.Timestamp("2023-11-24")
    ]


def test_missing_sessions_are_runs_over_weekends() -> None:
    held = days("2023-11-01", "2024-01-31")
    gone = pd.DatetimeIndex(["2023-11-24", "2023-11-27", "2024-01-10"])
    found = gaps(held.difference(gone), "XNYS", window("2023-11-01", "2024-01-31"))
    assert kinds(found) == [
        ("2023-11-24", "2023-11-27", 2, "missing"),
        ("2024-01-10", "2024-01-10", 1, "missing"),
    ]
    assert found["half_days"].tolist() == [1, 0]


def test_before_the_first_and_after_the_last() -> None:
    held = days("2024-01-10", "2024-01-31")
    found = gaps(held, "XNYS", window("2024-01-01", "2024-03-29"))
    assert [row[3] for row in kinds(found)] == ["before_first", "after_last"]
    assert found["sessions"].tolist() == [6, 20 + 20]  # Presidents' Day and Good Friday are closed


@pytest.mark.parametrize(
    ("now", "late"),
    [
        ("2024-01-31 20:59", 0),  # the session of the 31st closes at 21:00 UTC
        ("2024-01-31 21:01", 1),
        ("2024-02-02 22:00", 3),
    ],
)
def test_the_newest_sessions_are_not_published_yet(now: str, late: int) -> None:
    held = days("2024-01-02", "2024-01-30")
    within = window(None, None, pd.Timestamp(now, tz="UTC"))
    found = gaps(held, "XNYS", within)
    assert [row[3] for row in kinds(found)] == (["not_published"] if late else [])
    summary = coverage(held, found, "XNYS", within)
    assert (summary["not_published"], summary["missing"]) == (late, 0)


def test_what_stays_away_is_no_longer_late() -> None:
    held = days("2024-01-02", "2024-01-30")
    found = gaps(held, "XNYS", window(None, None, pd.Timestamp("2024-02-05 22:00", tz="UTC")))
    assert kinds(found) == [("2024-01-31", "2024-02-05", PUBLISHING + 1, "after_last")]


def test_a_day_without_an_object_is_told_from_one_without_a_row() -> None:
    every = days("2024-01-02", "2024-01-31")
    absent = pd.DatetimeIndex(["2024-01-06", "2024-01-10", "2024-01-15"])  # and two closed days
    held = every.difference(absent).difference(pd.DatetimeIndex(["2024-01-17"]))
    found = gaps(held, "XNYS", window("2024-01-02", "2024-01-31"), absent=absent)
    assert kinds(found) == [
        ("2024-01-10", "2024-01-10", 1, "object_missing"),
        ("2024-01-17", "2024-01-17", 1, "missing"),
    ]


def test_rows_on_closed_days_are_listed_and_counted() -> None:
    """The Saturday and Sunday before Martin Luther King's day, and that Monday."""
    closed = pd.DatetimeIndex(["2023-01-14", "2023-01-15", "2023-01-16", "2023-01-21"])
    held = days("2023-01-03", "2023-01-31").append(closed).sort_values()
    within = window("2023-01-03", "2023-01-31")
    found = gaps(held, "XNYS", within)
    assert kinds(found) == [
        ("2023-01-14", "2023-01-16", 0, "closed_day"),
        ("2023-01-21", "2023-01-21", 0, "closed_day"),
    ]
    assert found["bars"].tolist() == [3, 1]
    summary = coverage(held, found, "XNYS", within)
    assert (summary["closed_days"], summary["held"], summary["missing_bars"]) == (4, 20, 0)


def test_the_bar_of_a_session_that_is_still_open_is_on_no_closed_day() -> None:
    held = days("2024-01-02", "2024-01-31")
    within = window(None, None, pd.Timestamp("2024-01-31 18:00", tz="UTC"))
    found = gaps(held, "XNYS", within)
    assert len(found) == 0
    assert coverage(held, found, "XNYS", within)["closed_days"] == 0


def test_sessions_of_2002_are_known() -> None:
    """The exchange was closed on 2001-09-11 to 14, and on 2004-06-11 for President Reagan."""
    assert len(days("2001-09-10", "2001-09-17")) == 2
    assert len(days("2002-01-01", "2002-12-31")) == 252
    held = days("2004-06-01", "2004-06-30")
    assert pd.Timestamp("2004-06-11") not in held
    assert len(gaps(held, "XNYS", window("2004-06-01", "2004-06-30"))) == 0


def slices(start: str, end: str, minutes: int = 5) -> pd.DatetimeIndex:
    table = schedule("XNYS", pd.Timestamp(start), pd.Timestamp(end))
    parts = [
        pd.date_range(opens, closes, freq=f"{minutes}min", inclusive="left")
        for opens, closes in zip(table["open"], table["close"], strict=True)
    ]
    return pd.DatetimeIndex([stamp for part in parts for stamp in part], name="date").tz_convert(
        "America/New_York"
    )


def test_sessions_open_at_half_past_nine_by_the_local_clock() -> None:
    """Also across the change of clocks: 14:30 UTC before, 13:30 after."""
    held = slices("2024-03-07", "2024-03-12")
    assert len(held) == 4 * 78
    assert {stamp.strftime("%H:%M") for stamp in held if stamp.hour == 9} >= {"09:30"}
    assert min(stamp.strftime("%H:%M") for stamp in held) == "09:30"
    assert len(gaps(held, "XNYS", window("2024-03-07", "2024-03-12"), minutes=5)) == 0


def test_a_half_day_holds_42_slices_of_five_minutes() -> None:
    held = slices("2023-11-24", "2023-11-24")
    assert len(held) == 42
    found = gaps(held, "XNYS", window("2023-11-23", "2023-11-24"), minutes=5)
    assert len(found) == 0


def test_slices_missing_within_a_session() -> None:
    held = slices("2024-03-07", "2024-03-12")
    gone = held[100:103]
    found = gaps(held.difference(gone), "XNYS", window("2024-03-07", "2024-03-12"), minutes=5)
    (row,) = found.itertuples()
    assert (row.start, row.end, row.bars, row.kind) == (gone[0], gone[-1], 3, "intraday")


def test_whole_sessions_missing_count_their_slices() -> None:
    held = slices("2023-11-20", "2023-11-28")
    gone = held[(held >= "2023-11-24") & (held < "2023-11-28")]
    found = gaps(held.difference(gone), "XNYS", window("2023-11-20", "2023-11-28"), minutes=5)
    (row,) = found.itertuples()
    assert (row.sessions, row.bars, row.kind, row.half_days) == (2, 42 + 78, "missing", 1)


def test_other_exchanges_by_name() -> None:
    """1 May is a holiday in Paris and none in New York."""
    held = sessions("XPAR", pd.Timestamp("2024-04-29"), pd.Timestamp("2024-05-03"))
    within = window("2024-04-29", "2024-05-03")
    assert len(gaps(held, "XPAR", within)) == 0
    assert kinds(gaps(held, "XNYS", within)) == [("2024-05-01", "2024-05-01", 1, "missing")]


def test_nothing_held() -> None:
    nothing = pd.DatetimeIndex([])
    within = window(None, None)
    found = gaps(nothing, "XNYS", within)
    assert len(found) == 0 and found["start"].dtype == "datetime64[ns]"
    summary = coverage(nothing, found, "XNYS", within)
    assert summary["expected"] == 0 and summary["share"] != summary["share"]


@pytest.mark.parametrize("holiday", ["2024-01-01", "2024-01-15", "2024-02-19"])
def test_a_row_on_a_closed_day_is_told_wherever_it_stands(holiday: str) -> None:
    """New Year before the first session, King's day in the middle, Presidents' day at the end."""
    closed = pd.DatetimeIndex([holiday])
    held = days("2024-01-02", "2024-02-16").append(closed).sort_values()
    within = window(None, None, pd.Timestamp("2024-02-20 12:00", tz="UTC"))
    found = gaps(held, "XNYS", within)
    assert kinds(found) == [(holiday, holiday, 0, "closed_day")]
    summary = coverage(held, found, "XNYS", within)
    assert (summary["first"], summary["last"]) == (
        pd.Timestamp("2024-01-02"), pd.Timestamp("2024-02-16"),
    )  # fmt: skip
    frame = pd.DataFrame({name: 10.0 + np.arange(len(held)) for name in BAR}, index=held)
    report = validate_bars(frame, calendar="XNYS")
    assert report.to_frame()["rule"].tolist() == ["holiday"]
    assert report.to_frame()["date"].tolist() == [pd.Timestamp(holiday)]


def test_nothing_but_a_holiday() -> None:
    held = pd.DatetimeIndex(["2024-01-01"])
    within = window("2024-01-01", "2024-01-01")
    found = gaps(held, "XNYS", within)
    assert kinds(found) == [("2024-01-01", "2024-01-01", 0, "closed_day")]
    summary = coverage(held, found, "XNYS", within)
    assert pd.isna(summary["first"]) and (summary["held"], summary["closed_days"]) == (0, 1)
    frame = pd.DataFrame(dict.fromkeys(BAR, [10.0]), index=held)
    assert validate_bars(frame, calendar="XNYS").summary()["rules"] == {"holiday": 1}


def test_where_the_calendar_ends_nobody_can_say() -> None:
    """4 July 1980 and Saturday, 5 July: the calendar begins in 1990."""
    held = pd.DatetimeIndex(["1980-07-04", "1980-07-05"])
    within = window("1980-07-01", "1980-07-08")
    found = gaps(held, "XNYS", within)
    assert len(found) == 0
    assert coverage(held, found, "XNYS", within)["first"] == held[0]


def test_gaps_within_sessions_beside_whole_ones_and_closed_days() -> None:
    """Wednesday 5 June 2024 without the bar of 11:00, no 6 June; one bar on Saturday, the 8th."""
    step = pd.Timedelta(5, "min")
    opens = schedule("XNYS", pd.Timestamp("2024-06-03"), pd.Timestamp("2024-06-07"))
    starts = pd.DatetimeIndex(
        [stamp for row in opens.itertuples() for stamp in pd.date_range(
            row.open, row.close, freq=step, inclusive="left")]
    ).tz_convert("America/New_York")  # fmt: skip
    hole = pd.Timestamp("2024-06-05 11:00", tz="America/New_York")
    odd = pd.DatetimeIndex([pd.Timestamp("2024-06-08 10:00", tz="America/New_York")])
    held = starts[(starts != hole) & (starts.day != 6)].append(odd)
    within = window("2024-06-03", "2024-06-09")
    found = gaps(held, "XNYS", within, minutes=5)
    assert kinds(found) == [
        ("2024-06-05", "2024-06-05", 0, "intraday"),
        ("2024-06-06", "2024-06-06", 1, "missing"),
        ("2024-06-08", "2024-06-08", 0, "closed_day"),
    ]
    summary = coverage(held, found, "XNYS", within)
    assert (summary["held"], summary["missing"], summary["closed_days"]) == (4, 1, 1)
    assert (summary["intraday_gaps"], summary["missing_bars"]) == (1, 1 + 78)
