"""What pyarrow would let through: refused with its line, or left out and counted."""

from __future__ import annotations

import datetime as dt

import pytest

from stockdb.core import csv_fast, csv_strict
from stockdb.core.parse import parse_options
from tests.unit.core.parse_cases import (
    CHAIN,
    DAY_FILE,
    HEADER,
    OPTIONS,
    ROWS,
    bars,
    minute,
    refused,
    refused_then_left_out,
    rows,
    with_line,
)

# ---------------------------------------------------------------------- strictness


def test_short_row():
    refused_then_left_out(b"2023-02-01,1,1,1,1", "too short", "5 fields instead of 6")


def test_long_row():
    refused_then_left_out(b"2023-02-01,1,1,1,1,1,1", "too long", "7 fields instead of 6")


def test_unclosed_quote():
    refused_then_left_out(b'"2023-02-01,1,1,1,1,1', "quote is never closed")
    refused_then_left_out(b'2023-02-01,1,1,1,1,"1', "quote is never closed")


def test_two_unclosed_quotes_do_not_merge_rows():
    lines = [b'2023-02-01,"1,1,1,1,1\n', b'2023-02-02,2",2,2,2,2\n']
    data = HEADER + ROWS[0] + b"".join(lines) + ROWS[1]
    refused(data, 3, "quote")
    assert [bad.line for bad in bars(data, on_bad_rows="quarantine").bad_rows] == [3, 4]


def test_quoted_line_break_is_refused():
    data = b'symbol,date,close\n"A\nB",2023-01-03,4\n' + b"C,2023-01-03,4\n"
    refused(data, 2, "quote is never closed")


def test_stray_quote():
    refused_then_left_out(b'2023-02-01,"1"0,1,1,1,1', "quote")


def test_text_in_a_price_column():
    refused_then_left_out(b"2023-02-01,1,abc,1,1,1", "High is not a number: 'abc'")


@pytest.mark.parametrize(
    "text", [b"1_000", b"0x10", b"1e", b"$5", b"5%", b"1 2", b"--1", b"nan(1)"]
)
def test_texts_that_only_look_like_numbers(text: bytes):
    refused_then_left_out(b"2023-02-01,%s,1,1,1,1" % text, "Open is not a number")


def test_numbers_in_any_notation():
    table = bars(HEADER + b"2023-01-03,+1.5,1.,.5, 1e2\t,-0\n").table
    assert rows(table)[0][1:] == (1.5, 1.0, 0.5, 100.0, 0.0)


def test_bad_utf8():
    refused_then_left_out(b"2023-02-01,1,1,1,1,1\xff", "not UTF-8")


def test_bad_utf8_in_a_column_that_is_left_out():
    data = b"date,close,name\n2023-01-03,4,Apple\n2023-01-04,5,\xc3\n"
    refused(data, 3, "not UTF-8")
    assert bars(data.replace(b"\xc3\n", b"\xc3\xa9\n")).table.num_rows == 2


def test_bad_utf8_in_the_header():
    refused(b"date,close\xff\n2023-01-03,4\n", 1, "UTF-8")


def test_nul_byte():
    refused_then_left_out(b"2023-02-01,1,1,1\x00,1,1", "NUL")
    refused(b"date,close\x00\n2023-01-03,4\n", 1, "NUL")
    for name in (b"symbol", b"name"):  # text, and a column that is left out
        refused(b"date,close,%s\n2023-01-03,4,A\n2023-01-04,4,A\x00\n" % name, 3, "NUL")


@pytest.mark.parametrize("text", [b"inf", b"-inf", b"Infinity", b"+INF"])
def test_infinite_price(text: bytes):
    refused_then_left_out(b"2023-02-01,1,1,1,%s,1" % text, "Close is infinite")


@pytest.mark.parametrize("text", [b"1e999", b"-1e999", b"9" * 400])
def test_overflow(text: bytes):
    refused_then_left_out(b"2023-02-01,1,1,1,%s,1" % text, "Close is too large")


def test_thousands_separators():
    refused_then_left_out(b'2023-02-01,"1,234.50",1,1,1,1', "thousands separators")
    assert "1234.50" in refused(with_line(2, b'2023-02-01,"1,234.50",1,1,1,1'), 2).remedy


def test_empty_file():
    for data in (b"", b"\n\n", b"\xef\xbb\xbf", b"  \r\n"):
        refused(data, 1, "empty")


def test_header_only_is_a_typed_empty_table():
    expected = bars(HEADER + b"".join(ROWS)).table.schema
    for data in (HEADER, HEADER.strip(), HEADER + b"\n\r\n", HEADER.replace(b"\n", b"\r\n")):
        table = bars(data).table
        assert table.num_rows == 0 and table.schema == expected
        assert all(column.num_chunks == 1 for column in table.columns)


def test_byte_order_mark_is_stripped():
    data = HEADER + b"".join(ROWS)
    assert bars(b"\xef\xbb\xbf" + data).table.equals(bars(data).table)


def test_windows_line_ends():
    data = HEADER + b"".join(ROWS)
    assert bars(data.replace(b"\n", b"\r\n")).table.equals(bars(data).table)


def test_bare_carriage_returns_are_refused():
    data = HEADER + b"".join(ROWS)
    refused(data.replace(b"\n", b"\r"), 1, "carriage return")
    broken = data.replace(ROWS[1], ROWS[1].replace(b"\n", b"\r"))
    refused(broken, 3, "carriage return")
    refused(broken + b"\n", 3, "carriage return")  # the count of line ends is right again


def test_last_line_without_its_end():
    data = HEADER + b"".join(ROWS)
    assert bars(data[:-1]).table.equals(bars(data).table)
    refused(data[: data.rindex(b",")], 7, "too short")


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"  \n", b"\n\n\n"])
def test_blank_lines_are_skipped_and_counted(blank: bytes):
    lines = [HEADER, *ROWS]
    data = b"".join([*lines[:3], blank, *lines[3:], blank])
    assert bars(data).table.equals(bars(HEADER + b"".join(ROWS)).table)
    number = 8 + blank.count(b"\n") * 2
    refused(data + b"2023-02-01,1\n", number, "too short")


def test_blank_lines_before_the_header():
    refused(b"\n\n" + with_line(4, b"x"), 6, "too short")


def test_merged_rows_cannot_hide_behind_blank_lines():
    data = HEADER + ROWS[0] + b'2023-02-01,"1,1,1,1,1\n' + b'\n2023-02-02,1",1,1,1,1\n\n' + ROWS[1]
    refused(data, 3, "quote")


def test_records_are_counted_whatever_the_quotes_look_like(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(csv_fast, "_quotes_are_plain", lambda data: True)
    data = b'date,close,symbol\n2023-01-03,4,"A\nB"\n2023-01-04,4,C\n'
    refused(data, 2, "quote is never closed")


@pytest.mark.parametrize(
    ("text", "plain"),
    [(b'"a","b"\n', True), (b'1,"b"\r\n"c",2', True), (b'""', True), (b'"a', False),
     (b'"a"b\n', False), (b'a"b"\n', False), (b'"a""b"\n', False), (b'"a\nb"', False)],
)  # fmt: skip
def test_quotes_that_the_fast_way_trusts(text: bytes, plain: bool):
    assert csv_fast._quotes_are_plain(text) is plain


def test_a_line_of_blanks_is_no_record_of_a_single_column():
    table = bars(b"close\n1\n  \n2\n", date=dt.date(2023, 1, 3)).table
    assert table["close"].to_pylist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html>\n<html>", b"\n <html lang='en'>", b"<?xml version='1.0'?><Error/>"]
)
def test_html_instead_of_csv(page: bytes):
    error = refused(page, 2 if page.startswith(b"\n") else 1, "HTML or XML")
    assert "error page" in error.remedy


def test_utf16_is_named():
    refused("date,close\n".encode("utf-16"), 1, "UTF-16")


def test_quoted_fields():
    data = HEADER + b"".join(ROWS)
    quoted = b"\n".join(b'"' + line.replace(b",", b'","') + b'"' for line in data.splitlines())
    assert bars(quoted).table.equals(bars(data).table)
    day = b'symbol,close\n"A ""B"", C",4\n'
    assert rows(bars(day, dataset=DAY_FILE, date=dt.date(2023, 1, 3)).table)[0][2] == 'A "B", C'


def test_text_of_a_bad_row_is_cut():
    parsed = bars(with_line(4, b"x" * 5000), on_bad_rows="quarantine")
    assert parsed.bad_rows[0].text == "x" * 200


def test_quarantine_without_bad_rows():
    assert bars(HEADER + ROWS[0], on_bad_rows="quarantine").bad_rows == ()


def test_no_good_row_raises_even_when_lenient():
    refused(HEADER + b"x,1\ny,2\n", 2, "none of the 2 rows", on_bad_rows="quarantine")


def test_the_first_bad_line_is_reported_in_a_large_file():
    many = HEADER + b"".join(ROWS) * 20_000
    lines = many.splitlines(keepends=True)
    lines[70_000] = b"2023-02-01,1,1,1,bad,1\n"
    lines[100_000] = b"2023-02-01\n"
    data = b"".join(lines)
    refused(data, 70_001, "Close")
    parsed = bars(data, on_bad_rows="quarantine")
    assert [bad.line for bad in parsed.bad_rows] == [70_001, 100_001]
    assert parsed.table.num_rows == 119_998
    assert all(column.num_chunks == 1 for column in parsed.table.columns)


def test_a_large_quoted_file_is_read_fast(monkeypatch: pytest.MonkeyPatch):
    many = HEADER + b"".join(b'"' + row.replace(b",", b'",', 1) for row in ROWS) * 30_000
    assert len(many) > 16 * csv_strict._PIECE
    monkeypatch.setattr(csv_strict, "_read_lines", None)  # the slow way would fail
    assert bars(many).table.num_rows == 180_000


def test_usual_files_take_the_fast_way(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(csv_strict, "_read_lines", None)
    bars(HEADER + b"".join(ROWS))
    bars(HEADER + b"2023-01-03,,,,,\n")
    bars(HEADER + b"\n" + b"\n".join(ROWS) + b"\n\n")
    bars(b"date,close\n20230103,4\n")
    bars(b"date,close\n2023-01-03 00:00:00-05:00,4\n2023-06-03 00:00:00-04:00,4\n")
    minute("2024-03-08 09:30:00")
    minute("2024-03-08 14:30:00+00:00")
    parse_options(CHAIN, OPTIONS, key="k.csv")
