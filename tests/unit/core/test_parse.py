"""Parsing rules. Expected values are literals, or come from csv + float() or pandas."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from stockdb.errors import ConfigurationError, DataError
from stockdb.settings import Dataset
from tests.unit.core.parse_cases import (
    HEADER,
    ROWS,
    bars,
    days,
    minute,
    refused,
    refused_then_left_out,
    rows,
    stamps,
    with_line,
)

# ---------------------------------------------------------------------- what comes out


def test_columns_types_and_order():
    data = (
        b"symbol,Volume,Close,extra Num,Stock Splits,Adj Close,Date,Low,High,Open,Dividends\n"
        b"AAPL,100,4,9,0,3.5,2023-01-03,2,5,3,0.25\n"
    )
    table = bars(data).table
    assert table.schema.names == [
        "date", "open", "high", "low", "close", "volume",
        "adj_close", "dividends", "stock_splits", "symbol", "extra_num",
    ]  # fmt: skip
    assert table.schema.types == [
        pa.timestamp("ns"),
        *[pa.float64()] * 8,
        pa.string(),
        pa.float64(),
    ]
    assert rows(table) == [
        (pd.Timestamp("2023-01-03"), 3.0, 5.0, 2.0, 4.0, 100.0, 3.5, 0.25, 0.0, "AAPL", 9.0)
    ]


def test_floats_are_one_chunk_without_nulls_and_zero_copy():
    table = bars(with_line(3, b"2023-02-01,,NaN,nan,null,NA")).table
    for name in ("open", "high", "low", "close", "volume"):
        column = table[name]
        assert column.num_chunks == 1 and column.null_count == 0
        assert np.isnan(column.chunk(0).to_numpy(zero_copy_only=True)).sum() == 1


def test_rows_are_stably_sorted_and_duplicates_kept():
    data = HEADER + b"2023-01-05,1,1,1,1,1\n2023-01-03,2,2,2,2,2\n2023-01-05,3,3,3,3,3\n"
    table = bars(data + b"2023-01-03,4,4,4,4,4\n").table
    assert table["open"].to_pylist() == [2.0, 4.0, 1.0, 3.0]
    assert all(column.num_chunks == 1 for column in table.columns)


def test_a_descending_file_is_turned_round():
    table = bars(HEADER + b"".join(reversed(ROWS))).table
    assert table.equals(bars(HEADER + b"".join(ROWS)).table)


def test_volume_written_both_ways():
    table = bars(HEADER + b"2023-01-03,1,1,1,1,1710178.0\n2023-01-04,1,1,1,1,1177707\n").table
    assert table["volume"].to_pylist() == [1710178.0, 1177707.0]


def test_zero_is_not_blank():
    table = bars(HEADER + b"2023-01-03,0,1,1,1,\n").table
    assert table["open"].to_pylist() == [0.0]
    assert math.isnan(table["volume"][0].as_py())


def test_memoryview_is_accepted():
    data = HEADER + b"".join(ROWS)
    for view in (
        memoryview(data),
        memoryview(bytearray(data)),
        memoryview(b"x" + data)[1:],
        memoryview(data[::-1])[::-1],
    ):
        assert bars(view).table.equals(bars(data).table)


# ---------------------------------------------------------------------- header spellings


@pytest.mark.parametrize(
    "name", ["trade_date", "quote_date", "Date", "DATETIME", "timestamp", "Time", "Trade Date", ""]
)
def test_date_spellings(name: str):
    table = bars(f"{name},Close\n2023-01-03,4\n".encode()).table
    assert days(table) == ["2023-01-03"]


@pytest.mark.parametrize("name", ["adjust_close", "adj_close", "Adj Close", "AdjClose", "ADJCLOSE"])
def test_adjusted_close_spellings(name: str):
    table = bars(f"date,Vol,{name}\n2023-01-03,7,4\n".encode()).table
    assert table.schema.names == ["date", "volume", "adj_close"]


def test_dataset_columns_give_further_spellings_and_leave_columns_out():
    dataset = Dataset(
        key="x/{SYMBOL}.csv", columns={"Schluss": "close", "Handelstag": "date", "Notes": ""}
    )
    table = bars(b"Handelstag,schluss,notes\n2023-01-03,4,x\n", dataset=dataset).table
    assert table.schema.names == ["date", "close"]


def test_dataset_columns_decide_between_two_spellings():
    data = b"date,time,close\n2023-01-03,2023-01-04,4\n"
    refused(data, 1, "'date'", "'time'", "both mean")
    dataset = Dataset(key="x/{SYMBOL}.csv", columns={"time": "date"})
    assert days(bars(data, dataset=dataset).table) == ["2023-01-04"]


def test_a_row_counter_in_front_is_not_the_date():
    table = bars(b",Date,Close\n0,2023-01-03,4\n1,2023-01-04,5\n").table
    assert table.schema.names == ["date", "close"]
    assert days(table) == ["2023-01-03", "2023-01-04"]


def test_yfinance_three_line_header_keeps_line_numbers():
    data = b"Price,Close,Volume\nTicker,AAPL,AAPL\nDate,,\n2023-01-03,4,5\n2023-01-04,x,5\n"
    refused(data, 5, "Close")
    table = bars(data.replace(b"x", b"6")).table
    assert rows(table) == [
        (pd.Timestamp("2023-01-03"), 4.0, 5.0), (pd.Timestamp("2023-01-04"), 6.0, 5.0),
    ]  # fmt: skip


def test_unknown_text_columns_are_left_out_and_numbers_kept():
    data = b"date,close,Repaired?,barCount,Name\n2023-01-03,4,True,5,Apple\n2023-01-04,5,False,,x\n"
    table = bars(data).table
    assert table.schema.names == ["date", "close", "bar_count"]
    assert table["bar_count"][0].as_py() == 5.0 and math.isnan(table["bar_count"][1].as_py())


def test_an_unknown_column_of_numbers_is_as_strict_as_a_price():
    head = b"date,close,average\n2023-01-03,4,4.5\n"
    refused(head + b"2023-01-04,5,oops\n", 3, "average")
    refused(b"date,close,average\n2023-01-03,4,oops\n2023-01-04,4,4.5\n", 2, "average")


def test_missing_columns_list_what_was_found():
    refused(b"Datum,Close\n2023-01-03,4\n", 1, "date", "'Datum'", "'Close'")
    refused(b"date,symbol\n2023-01-03,A\n", 1, "open", "'symbol'")


def test_a_file_without_header_says_so():
    refused(b"".join(ROWS), 1, "first line is the header")


def test_other_separators_are_named():
    refused(b"date;open;close\n2023-01-03;1;2\n", 1, "';'", "commas")


def test_duplicate_columns_are_always_an_error():
    data = b"date,Adj Close,adj_close\n2023-01-03,1,2\n"
    for mode in ("raise", "quarantine"):
        refused(data, 1, "'Adj Close'", "'adj_close'", "twice", on_bad_rows=mode)


# ---------------------------------------------------------------------- dates


@pytest.mark.parametrize(
    "text",
    [
        "2023-01-03", "20230103", "2023-01-03 00:00:00", "2023-01-03T16:00",
        "2023-01-03 16:00:00.5", "2023-01-03 00:00:00-05:00", "2023-01-03 00:00:00+09:00",
        "2023-01-03T23:30:00Z",
        "2023-01-03 00:00:00-0500", " 2023-01-03 ",
    ],
)  # fmt: skip
def test_daily_dates_are_the_date_as_written(text: str):
    table = bars(f"date,close\n{text},4\n".encode()).table
    assert table["date"].to_pylist() == [pd.Timestamp("2023-01-03")]
    assert table.schema.field("date").type == pa.timestamp("ns")


def test_offsets_may_change_within_a_file():
    data = b"date,close\n2023-03-10 00:00:00-05:00,1\n2023-03-13 00:00:00-04:00,2\n"
    assert days(bars(data).table) == ["2023-03-10", "2023-03-13"]


def test_dates_of_nine_digits_are_refused():
    refused(b"date,close\n20230103,1\n202301045,2\n", 3, "is not a date")


def test_what_follows_a_date_is_read_too():
    good = b"date,close\n2023-03-10 00:00:00-05:00,1\n"
    refused(good + b"2023-03-13 and more,2\n", 3, "is not a date")
    refused(good + b"2023-03-13 00:00:00-05:00:00,2\n", 3, "is not a date")


def test_date_formats_may_change_within_a_file():
    data = b"date,close\n2023-03-10,1\n20230313,2\n2023-03-14 09:30:00,3\n"
    assert days(bars(data).table) == ["2023-03-10", "2023-03-13", "2023-03-14"]


@pytest.mark.parametrize(
    "text",
    ["2023-02-30", "03/01/2023", "2023-1-3", "202301033", "2023 1 3", "2023-0103", "x",
     "0001-01-01", "9999-12-31", "2023-01-03 25:00", "2023-01-03 09:60", "2023-01-03 09:30-99:00",
     "1672704000", "2023-01-03 09:30-05:61"],
)  # fmt: skip
def test_unparsable_date(text: str):
    refused_then_left_out(f"{text},1,1,1,1,1".encode(), "trade_date")


@pytest.mark.parametrize("text", ["", "NaN", "  ", "null"])
def test_blank_date(text: str):
    refused_then_left_out(f"{text},1,1,1,1,1".encode(), "trade_date is blank")


def test_date_argument_stands_in_for_a_missing_column():
    table = bars(b"close\n4\n5\n", date=dt.date(2023, 1, 3)).table
    assert days(table) == ["2023-01-03", "2023-01-03"]
    assert days(bars(b"date,close\n2023-01-04,4\n", date=dt.date(2023, 1, 3)).table) == [
        "2023-01-04"
    ]


# ---------------------------------------------------------------------- intraday


def test_naive_stamps_are_wall_clock_time_of_the_exchange():
    table = minute("2024-03-08 09:30:00", "2024-03-11 09:30:00").table
    assert stamps(table) == ["2024-03-08 09:30:00-05:00", "2024-03-11 09:30:00-04:00"]


def test_stamps_with_offset_are_converted_to_the_exchange():
    table = minute("2024-03-08 14:30:00+00:00", "2024-03-11 15:30:00+0200").table
    assert stamps(table) == ["2024-03-08 09:30:00-05:00", "2024-03-11 09:30:00-04:00"]


def test_stamps_with_and_without_offset_mix():
    texts = ["20240311", "2024-03-11 09:30", "2024-03-11T13:31:00Z", "2024-03-11 15:32+02"]
    table = minute(*texts, "2024-03-11 09:33:00.5-0400", "2024-03-11 19:04 +05:30").table
    assert stamps(table) == [
        "2024-03-11 00:00:00-04:00", "2024-03-11 09:30:00-04:00", "2024-03-11 09:31:00-04:00",
        "2024-03-11 09:32:00-04:00", "2024-03-11 09:33:00.500000-04:00",
        "2024-03-11 09:34:00-04:00",
    ]  # fmt: skip


AMBIGUOUS, MISSING = "2024-11-03 01:30:00", "2024-03-10 02:30:00"


@pytest.mark.parametrize(
    ("text", "word"), [(AMBIGUOUS, "happened twice"), (MISSING, "never happened")]
)
def test_daylight_saving_is_an_error_unless_a_policy_is_given(text: str, word: str):
    good = "2024-06-03 09:30:00"
    for mode in ("raise", "quarantine"):
        with pytest.raises(DataError, match=word) as caught:
            minute(good, text, good, on_bad_rows=mode)
        assert caught.value.line == 3 and "dst_policy" in caught.value.remedy
    parsed = minute(good, text, good, dst_policy="quarantine")
    assert [bad.line for bad in parsed.bad_rows] == [3]
    assert parsed.table["close"].to_pylist() == [0.0, 2.0]


@pytest.mark.parametrize("extra", [(), ("2024-06-03T13:30:00Z",)], ids=["fast", "line by line"])
def test_daylight_saving_policies(extra: tuple[str, ...]):
    earlier = minute(AMBIGUOUS, MISSING, *extra, dst_policy="earlier").table
    later = minute(AMBIGUOUS, MISSING, *extra, dst_policy="later").table
    assert stamps(earlier)[0] == "2024-03-10 01:59:59.999999999-05:00"
    assert stamps(earlier)[-1] == "2024-11-03 01:30:00-04:00"
    assert stamps(later)[0] == "2024-03-10 03:00:00-04:00"
    assert stamps(later)[-1] == "2024-11-03 01:30:00-05:00"


def test_unknown_zone_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="Mars/Base"):
        bars(b"date,close\n", dataset=Dataset(key="x/{SYMBOL}.csv", timezone="Mars/Base"))
