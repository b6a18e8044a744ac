"""Every kind of input at the boundary: dates, ranges, symbols, intervals, adjustments."""

from __future__ import annotations

import datetime as dt
import pickle
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockdb import types
from stockdb.errors import ConfigurationError, DataError, RangeError, StockDBError
from stockdb.types import (
    DateRange,
    Interval,
    parse_adjustment,
    parse_date,
    parse_interval,
    parse_range,
    parse_symbol,
    parse_symbols,
)

NEW_YORK = ZoneInfo("America/New_York")
DAY = dt.date(2024, 1, 31)
LAST_NANOSECOND = pd.Timestamp(2024, 1, 31, 23, 59, 59, 999999, nanosecond=999)
FOUR_PM = pd.Timestamp(2024, 1, 31, 16)

# What names the whole of 31 January 2024.
DAYS: dict[str, Any] = {
    "iso": "2024-01-31",
    "compact": "20240131",
    "blanks": "  2024-01-31\n",
    "numpy str": np.str_("2024-01-31"),
    "date": DAY,
    "datetime64[D]": np.datetime64("2024-01-31", "D"),
}
# What names 16:00 on that day, without a zone.
INSTANTS: dict[str, Any] = {
    "iso T": "2024-01-31T16:00",
    "iso blank": "2024-01-31 16:00:00",
    "fraction": "2024-01-31 16:00:00.000",
    "datetime": dt.datetime(2024, 1, 31, 16),
    "Timestamp": pd.Timestamp("2024-01-31 16:00"),
    "Timestamp[s]": pd.Timestamp("2024-01-31 16:00").as_unit("s"),
    **{
        f"datetime64[{unit}]": np.datetime64("2024-01-31T16", unit)
        for unit in ("h", "m", "s", "ms", "us", "ns")
    },
}
# The same, seen from New York (UTC-5 in January).
AWARE: dict[str, Any] = {
    "Z": "2024-01-31T21:00:00Z",
    "offset": "2024-01-31T16:00-05:00",
    "offset without colon": "2024-01-31 16:00 -0500",
    "datetime": dt.datetime(2024, 1, 31, 16, tzinfo=NEW_YORK),
    "datetime UTC": dt.datetime(2024, 1, 31, 21, tzinfo=dt.UTC),
    "Timestamp": pd.Timestamp("2024-01-31 16:00", tz="America/New_York"),
}
NO_DATES: dict[str, Any] = {
    "month 13": "2024-13-01",
    "month 13 compact": "20241301",
    "30 February": "2024-02-30",
    "29 February 2023": "2023-02-29",
    "year only": "2024",
    "month only": "2024-01",
    "empty": "",
    "blank": "   ",
    "tomorrow": "tomorrow",
    "today": "today",
    "now": "now",
    "nat": "NaT",
    "american": "01/31/2024",
    "unpadded": "2024-1-31",
    "slashes": "2024/01/31",
    "trailing": "2024-01-31 or so",
    "hour 25": "2024-01-31T25:00",
    "second 99": "2024-01-31T16:00:99",
    "offset 99": "2024-01-31T16:00+99:00",
    "zone name": "2024-01-31T16:00 America/New_York",
    "arabic digits": "٢٠٢٤-٠١-٣١",
    "fullwidth digits": "２０２４0131",
    "NUL": "2024-01-31\x00",
    "int": 20240131,
    "zero": 0,
    "nanoseconds": 1_706_659_200_000_000_000,
    "numpy int": np.int64(20240131),
    "float": 20240131.0,
    "nan": float("nan"),
    "bool": True,
    "NaT": pd.NaT,
    "numpy NaT": np.datetime64("NaT"),
    "numpy NaT ns": np.datetime64("NaT", "ns"),
    "NA": pd.NA,
    "bytes": b"2024-01-31",
    "time": dt.time(16),
    "timedelta": dt.timedelta(1),
    "Period": pd.Period("2024-01-31"),
    "list": ["2024-01-31"],
    "array": np.array(["2024-01-31"], dtype="datetime64[D]"),
    "index": pd.DatetimeIndex(["2024-01-31"]),
    "function": lambda: DAY,
}
OUT_OF_RANGE: dict[str, Any] = {
    "1500": "1500-01-01",
    "3000": "3000-01-01",
    "0000": "0000-01-01",
    "9999": "9999-12-31",
    "1500 compact": "15000101",
    "3000 with a time": "3000-01-01 16:00",
    "1500 date": dt.date(1500, 1, 1),
    "3000 date": dt.date(3000, 1, 1),
    "date.min": dt.date.min,
    "date.max": dt.date.max,
    "1500 datetime": dt.datetime(1500, 1, 1),
    "3000 datetime": dt.datetime(3000, 1, 1),
    "3000 aware": dt.datetime(3000, 1, 1, tzinfo=dt.UTC),
    "1500 Timestamp": pd.Timestamp("1500-01-01"),
    "3000 Timestamp": pd.Timestamp("3000-01-01"),
    "3000 datetime64": np.datetime64("3000-01-01"),
    "20000 datetime64": np.datetime64("20000-01-01", "D"),
    # The edges of datetime64[ns]: the end of the day, or UTC, lies beyond.
    "first partial day": "1677-09-21",
    "last partial day": "2262-04-11",
    "last day in another zone": "2262-04-11T23:00-05:00",
    "Timestamp.max": pd.Timestamp.max,
}


def cases(table: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("value", table.values(), ids=table)


class TestDates:
    @cases({**DAYS, **{f"at 16:00, {name}": value for name, value in INSTANTS.items()}})
    def test_accepted(self, value: Any) -> None:
        found = parse_date(value)
        assert type(found) is dt.date
        assert found == DAY

    def test_aware_keeps_its_own_calendar_date(self) -> None:
        assert parse_date(pd.Timestamp("2024-01-31 23:00", tz="America/New_York")) == DAY
        assert parse_date("2024-01-31T23:00-05:00") == DAY

    @cases(NO_DATES)
    def test_refused(self, value: Any) -> None:
        with pytest.raises(RangeError, match="^expiration .* is not a date"):
            parse_date(value, "expiration")

    def test_none_is_no_date(self) -> None:
        with pytest.raises(RangeError, match="None"):
            parse_date(None)  # type: ignore[arg-type]

    @cases(OUT_OF_RANGE)
    def test_years_that_nanoseconds_cannot_hold(self, value: Any) -> None:
        with pytest.raises(RangeError, match="expiration .* lies outside 1678-2261"):
            parse_date(value, "expiration")

    @cases({**NO_DATES, **OUT_OF_RANGE})
    def test_the_error_crosses_a_process(self, value: Any) -> None:
        with pytest.raises(RangeError) as caught:
            parse_date(value)
        again = pickle.loads(pickle.dumps(caught.value))
        assert str(again) == str(caught.value)
        assert "YYYY-MM-DD" in again.remedy

    def test_is_a_value_error_of_our_tree(self) -> None:
        with pytest.raises(ValueError) as caught:
            parse_date("tomorrow")
        assert isinstance(caught.value, StockDBError)

    @given(st.dates(dt.date(1678, 1, 1), dt.date(2261, 12, 31)))
    def test_every_day_of_the_span_in_every_spelling(self, day: dt.date) -> None:
        for value in (day, day.isoformat(), f"{day:%Y%m%d}".zfill(8), np.datetime64(day, "D")):
            assert parse_date(value) == day
            found = parse_range(value, value)
            assert found.start == pd.Timestamp(day)
            assert found.end is not None and found.end.date() == day
            assert found.first_day("Asia/Tokyo") == found.last_day("America/New_York")


class TestRanges:
    @cases(DAYS)
    def test_bare_day(self, value: Any) -> None:
        found = parse_range(value, value)
        assert found.start == pd.Timestamp(2024, 1, 31)
        assert found.end == LAST_NANOSECOND, "a bare end includes the whole day"

    @cases(INSTANTS)
    def test_instant_ends_where_it_says(self, value: Any) -> None:
        assert parse_range(value, value) == DateRange(FOUR_PM, FOUR_PM)

    @pytest.mark.parametrize(
        "value", [dt.datetime(2024, 1, 31), pd.Timestamp("2024-01-31"), "2024-01-31 00:00"]
    )
    def test_midnight_of_a_datetime_is_an_instant(self, value: Any) -> None:
        assert parse_range(None, value).end == pd.Timestamp(2024, 1, 31)

    @cases(AWARE)
    def test_aware(self, value: Any) -> None:
        found = parse_range(value, value)
        assert found.start is not None and found.start.tzinfo is not None
        assert found.start == found.end == FOUR_PM.tz_localize("America/New_York")
        assert found.first_day("America/New_York") == pd.Timestamp(2024, 1, 31)
        assert found.last_day("Asia/Tokyo") == pd.Timestamp(2024, 2, 1), "06:00 there"

    @cases({**DAYS, **INSTANTS, **AWARE})
    def test_always_nanoseconds(self, value: Any) -> None:
        found = parse_range(value, value)
        assert found.start is not None and found.start.unit == "ns"
        assert found.end is not None and found.end.unit == "ns"

    def test_nanoseconds_are_kept(self) -> None:
        exact = pd.Timestamp(1706659200000000001)
        assert parse_range(exact, np.datetime64(exact.value, "ns")) == DateRange(exact, exact)

    def test_open_ends(self) -> None:
        assert parse_range(None, None) == DateRange(None, None)
        assert parse_range("2024-01-31", None) == DateRange(pd.Timestamp(2024, 1, 31), None)
        assert parse_range(None, "2024-01-31") == DateRange(None, LAST_NANOSECOND)
        assert DateRange().first_day("UTC") is None
        assert DateRange().last_day("UTC") is None

    @cases({**NO_DATES, **OUT_OF_RANGE})
    def test_refused_by_the_name_of_the_argument(self, value: Any) -> None:
        with pytest.raises(RangeError, match="^start_date "):
            parse_range(value, None)
        with pytest.raises(RangeError, match="^end_date "):
            parse_range(None, value)

    @pytest.mark.parametrize(
        ("start", "end"),
        [
            ("2024-02-01", "2024-01-31"),
            ("20240201", dt.date(2024, 1, 31)),
            (dt.date(2024, 2, 1), pd.Timestamp("2024-01-31 23:59")),
            ("2024-01-31 16:00", "2024-01-31 15:59"),
            ("2024-01-31", pd.Timestamp("2024-01-30", tz="UTC")),
            (pd.Timestamp("2024-02-01", tz="UTC"), "2024-01-31"),
            ("2024-01-31T16:00-05:00", "2024-01-31T20:59Z"),  # 21:00Z begins later
        ],
    )
    def test_reversed(self, start: Any, end: Any) -> None:
        with pytest.raises(RangeError, match="lies after end_date") as caught:
            parse_range(start, end)
        assert caught.value.values == {"start": str(start), "end": str(end)}
        assert "Swap" in str(caught.value)

    @pytest.mark.parametrize(
        ("start", "end"),
        [
            ("2024-01-31", "2024-01-31"),
            ("2024-01-31 16:00", "2024-01-31"),  # the end is the end of the day
            ("2024-01-31T16:00-05:00", "2024-01-31T21:00Z"),  # the same instant
            (pd.Timestamp("2024-01-31 16:00", tz="Asia/Tokyo"), "2024-01-31"),
        ],
    )
    def test_not_reversed(self, start: Any, end: Any) -> None:
        assert parse_range(start, end).start is not None

    @pytest.mark.parametrize("naive", ["2024-11-03 01:30", "2024-03-10 02:30"])
    def test_naive_beside_aware_in_the_hour_of_the_clock_change(self, naive: str) -> None:
        """01:30 comes twice that night, 02:30 never; neither is an error of the caller."""
        later = pd.Timestamp("2024-12-01", tz="America/New_York")
        earlier = pd.Timestamp("2024-01-01", tz="America/New_York")
        assert parse_range(naive, later) == DateRange(pd.Timestamp(naive), later)
        assert parse_range(earlier, naive) == DateRange(earlier, pd.Timestamp(naive))
        with pytest.raises(RangeError, match="lies after"):
            parse_range(later, naive)

    def test_frozen_and_picklable(self) -> None:
        found = parse_range("2024-01-01", pd.Timestamp("2024-01-31 16:00", tz="America/New_York"))
        assert pickle.loads(pickle.dumps(found)) == found
        with pytest.raises(AttributeError):
            found.start = None  # type: ignore[misc]


class TestSymbols:
    @pytest.mark.parametrize(
        ("value", "symbol"),
        [
            ("AAPL", "AAPL"),
            ("aapl", "AAPL"),
            ("  aapl\n", "AAPL"),
            ("BRK.B", "BRK.B"),
            ("brk-b", "BRK-B"),
            ("^GSPC", "^GSPC"),
            ("ES=F", "ES=F"),
            ("BTC-USD", "BTC-USD"),
            ("7203.T", "7203.T"),
            ("A", "A"),
            ("A" * 32, "A" * 32),
            (np.str_("spy"), "SPY"),
        ],
    )
    def test_accepted(self, value: Any, symbol: str) -> None:
        found = parse_symbol(value)
        assert found == symbol
        assert type(found) is str

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "   ",
            "../",
            "..",
            ".",
            "../../etc/passwd",
            "A/../B",
            "A/B",
            "A\\B",
            "/AAPL",
            "A..B",
            ".AAPL",
            "-AAPL",
            "AA PL",
            "AA\nPL",
            "AAPL\x00",
            "\x00",
            "AAPL%2F",
            "AAPL?x",
            "AAPL#",
            "{SYMBOL}",
            "AAPL,MSFT",
            "*",
            "A" * 33,
            "ÄPL",
            # What upper() would turn into letters of a ticker.
            "ß",
            "\ufb01",  # the ligature fi
            "\u017f",  # long s
            "\u0131",  # dotless i
            "\u212a",  # Kelvin sign
            "ＡＡＰＬ",
            "٣",
        ],
    )
    def test_refused(self, value: str) -> None:
        with pytest.raises(DataError) as caught:
            parse_symbol(value)
        assert caught.value.symbol == value
        assert "'AAPL'" in caught.value.remedy

    @pytest.mark.parametrize("value", [None, 5, 1.5, True, b"AAPL", ["AAPL"], float("nan"), pd.NA])
    def test_not_a_string(self, value: Any) -> None:
        with pytest.raises(DataError, match=f"not {type(value).__name__}"):
            parse_symbol(value)

    @given(st.text())
    def test_whatever_passes_is_safe_in_a_key(self, text: str) -> None:
        try:
            symbol = parse_symbol(text)
        except DataError:
            return
        assert symbol == text.strip().upper()
        assert symbol.isascii() and symbol.isprintable()
        assert not set(symbol) & set("/\\ %?#*{}") and ".." not in symbol
        assert parse_symbol(symbol) == symbol

    @pytest.mark.parametrize(
        "many",
        [
            ["msft", "AAPL", "MSFT"],
            ("msft", "AAPL"),
            pd.Index(["msft", "AAPL"]),
            pd.Series(["msft", "AAPL", "Msft"], index=[7, 8, 9]),
            np.array(["msft", "AAPL"]),
        ],
        ids=lambda many: type(many).__name__,
    )
    def test_many_keep_their_order_without_repeats(self, many: Any) -> None:
        assert parse_symbols(many) == (["MSFT", "AAPL"], False)

    @pytest.mark.parametrize("kind", [set, frozenset])
    def test_sets_are_sorted(self, kind: Any) -> None:
        assert parse_symbols(kind(["msft", "AAPL", "b"])) == (["AAPL", "B", "MSFT"], False)

    def test_one_or_a_list_of_one(self) -> None:
        assert parse_symbols("aapl") == (["AAPL"], True)
        assert parse_symbols(["aapl"]) == (["AAPL"], False)
        assert parse_symbols(np.array("aapl")) == (["AAPL"], False)

    @pytest.mark.parametrize(
        "value",
        [
            [],
            (),
            set(),
            np.array([]),
            pd.Series([], dtype=str),
            None,
            5,
            b"AAPL",
            {"AAPL": 1},
            iter(["AAPL"]),
            ["AAPL", None],
            ["AAPL", ""],
            ["AAPL", "../"],
            [["AAPL"]],
            {"AAPL", 1},
            pd.Series(["AAPL", None]),
            "AAPL,MSFT",
        ],
    )
    def test_refused_lists(self, value: Any) -> None:
        with pytest.raises(DataError):
            parse_symbols(value)


class TestIntervals:
    @pytest.mark.parametrize(
        ("value", "name", "minutes"),
        [
            ("daily", "daily", 0),
            ("weekly", "weekly", 0),
            ("monthly", "monthly", 0),
            ("1d", "daily", 0),
            ("1wk", "weekly", 0),
            ("1mo", "monthly", 0),
            ("1m", "1m", 1),
            ("5m", "5m", 5),
            ("15m", "15m", 15),
            ("30m", "30m", 30),
            ("1h", "1h", 60),
            ("Daily", "daily", 0),
            (" 1D ", "daily", 0),
            ("1MO", "monthly", 0),
            ("15M", "15m", 15),
        ],
    )
    def test_accepted(self, value: str, name: str, minutes: int) -> None:
        found = parse_interval(value)
        assert (found.name, found.minutes, found.intraday) == (name, minutes, minutes > 0)
        assert parse_interval(found) is found

    @pytest.mark.parametrize("value", ["", "2m", "hourly", "1y", None, 5, 1.0, Interval("2m", 2)])
    def test_refused_with_the_list(self, value: Any) -> None:
        with pytest.raises(ConfigurationError, match="Unknown interval") as caught:
            parse_interval(value)
        for name in "daily weekly monthly 1m 5m 15m 30m 1h 1d 1wk 1mo".split():
            assert name in caught.value.remedy

    def test_a_capital_m_is_not_guessed(self) -> None:
        """A month to most vendors; in lower case a minute."""
        with pytest.raises(ConfigurationError, match="'1m' for one minute or '1mo' for one month"):
            parse_interval("1M")

    def test_frozen(self) -> None:
        with pytest.raises(AttributeError):
            parse_interval("1m").minutes = 2  # type: ignore[misc]


class TestAdjustment:
    @pytest.mark.parametrize("value", ["none", "splits", "all"])
    def test_accepted(self, value: str) -> None:
        assert parse_adjustment(value) == value

    @pytest.mark.parametrize("value", [None, True, "", "None", "ALL", "split", 1])
    def test_refused(self, value: Any) -> None:
        with pytest.raises(ConfigurationError, match="'none', 'splits' or 'all'"):
            parse_adjustment(value)


def test_all_is_complete() -> None:
    """Every public class, function and alias that the module itself defines."""
    own = {
        name
        for name, value in vars(types).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == types.__name__
    }
    assert own | {"Adjustment", "DateLike", "DstPolicy", "OutputFormat"} == set(types.__all__)


@pytest.mark.parametrize("text", ["2024", "2024-01"])
def test_a_year_or_month_is_not_a_date(text: str) -> None:
    # As an end it could mean the first day or the last one.
    with pytest.raises(RangeError, match="not a whole date"):
        parse_date(np.datetime64(text))
