"""Parsing against an oracle that is the csv module and float(), on random and damaged files."""

from __future__ import annotations

import csv
import datetime as dt
import io
import math
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stockdb.core import csv_fast, csv_strict
from stockdb.core.columns import BARS, INTRADAY_BARS, OPTIONS, Spec
from stockdb.core.csv_strict import Reading
from stockdb.core.parse import parse_bars, parse_options
from stockdb.errors import DataError
from stockdb.settings import Dataset

DAILY = Dataset(key="s/{SYMBOL}.csv", interval="daily")
OPTIONS_SET = Dataset(key="o/{YYYY-MM-DD}options.csv", kind="options")
NAMES = ["open", "high", "low", "close", "volume"]
BLANKS = ["", "NaN", "nan", "null", "NA"]

dates = st.dates(dt.date(1700, 1, 1), dt.date(2250, 12, 31))
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(0, 10**6, places=2, allow_nan=False).map(float),
    st.integers(0, 10**12).map(float),
    st.just(math.nan),
)
tables = st.lists(st.tuples(dates, *[numbers] * 5), min_size=1, max_size=40)


def same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))


def write(draw: st.DrawFn, rows: list[tuple]) -> bytes:
    """Write a table in a random dialect: order of columns, quotes, line ends, blank lines."""
    order = draw(st.permutations(range(6)))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    date = draw(st.sampled_from(["%Y-%m-%d", "%Y%m%d", "%Y-%m-%d 00:00:00-05:00"]))
    blank = draw(st.sampled_from(BLANKS))
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, quoting=quoting, lineterminator=end)
    writer.writerow([["Trade_Date", *NAMES][i] for i in order])
    for day, *values in rows:
        text = date.replace("%Y", f"{day:%Y}".zfill(4)).replace("%m", f"{day:%m}")
        cells = [text.replace("%d", f"{day:%d}")]
        cells += [blank if math.isnan(value) else value for value in values]
        writer.writerow([cells[i] for i in order])
        if draw(st.integers(0, 9)) == 0:
            sink.write(end)
    text = sink.getvalue()
    return (text if draw(st.booleans()) else text.rstrip("\r\n")).encode()


@st.composite
def files(draw: st.DrawFn) -> tuple[list[tuple], bytes]:
    rows = draw(tables)
    return rows, write(draw, rows)


@settings(max_examples=300, deadline=None)
@given(files())
def test_random_tables_come_back_exactly(case: tuple[list[tuple], bytes]):
    rows, data = case
    parsed = parse_bars(data, DAILY, key="x.csv")
    assert parsed.bad_rows == () and parsed.table.schema.names == ["date", *NAMES]
    found = list(zip(*(column.to_pylist() for column in parsed.table.columns), strict=True))
    expected = sorted(rows, key=lambda row: row[0])
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours[0].date() == theirs[0] and ours[0].time() == dt.time()
        assert all(same(a, b) for a, b in zip(ours[1:], theirs[1:], strict=True))


# ------------------------------------------------------------------ one damaged byte

LINES = [
    "trade_date,open,high,low,close,volume",
    "2023-01-03,130.28,130.9,124.17,125.07,112117500",
    "2023-01-04,126.89,128.6557,125.08,126.36,89113600.0",
    "2023-01-05,127.13,,124.76,125.02,80962700",
    "2023-01-06,126,130.29,124.89,129.62,8.77e7",
]
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def oracle(data: bytes) -> list[tuple] | None:
    """Rows by the csv module and float(), sorted; None where a row is no bar at all."""
    records = list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))
    rows = []
    for record in records[1:]:
        if not "".join(record).strip():
            continue
        day, *texts = (text.strip(" \t") for text in record)
        if len(texts) != 5 or not re.fullmatch(r"[0-9]{4}(-?)[0-9]{2}\1[0-9]{2}", day):
            return None
        if any(text not in BLANKS and not NUMBER.fullmatch(text) for text in texts):
            return None
        values = [math.nan if text in BLANKS else float(text) for text in texts]
        rows.append((dt.datetime.strptime(day.replace("-", ""), "%Y%m%d"), *values))
    return sorted(rows, key=lambda row: row[0])


@settings(max_examples=1500, deadline=None)
@given(
    ends=st.sampled_from(["\n", "\r\n"]),
    at=st.integers(len(LINES[0]) + 2, len("\n".join(LINES))),
    byte=st.one_of(st.sampled_from(list(b'",\n\r\x00\xff -+.eEnN0\t')), st.integers(0, 255)),
    how=st.sampled_from(["replace", "insert", "delete"]),
)
@example(ends="\n", at=60, byte=ord('"'), how="insert")
def test_one_damaged_byte_never_shifts_rows(ends: str, at: int, byte: int, how: str):
    data = bytearray((ends.join(LINES) + ends).encode())
    if how == "replace":
        data[at] = byte
    elif how == "insert":
        data.insert(at, byte)
    else:
        del data[at]
    try:
        table = parse_bars(bytes(data), DAILY, key="x.csv").table
    except DataError as error:
        assert error.line is not None and 2 <= error.line <= len(LINES) + 1
        return
    expected = oracle(bytes(data))
    assert expected is not None, "accepted what the csv module and float() refuse"
    found = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours[0] == theirs[0]
        assert all(same(a, b) for a, b in zip(ours[1:], theirs[1:], strict=True))


@settings(max_examples=500, deadline=None)
@given(
    at=st.integers(0, len(LINES[0]) - 1),
    byte=st.one_of(st.sampled_from(list(b'",\n\r\x00\xff')), st.integers(0, 255)),
)
def test_a_damaged_header_never_mislabels_a_column(at: int, byte: int):
    data = bytearray("\n".join(LINES).encode())
    data[at] = byte
    try:
        table = parse_bars(bytes(data), DAILY, key="x.csv").table
    except DataError:
        return
    columns = dict(zip(NAMES, zip(*(r[1:] for r in oracle("\n".join(LINES).encode())))))  # noqa: B905
    for name in set(NAMES) & set(table.schema.names):
        found = table[name].to_pylist()
        assert all(same(a, b) for a, b in zip(found, columns[name], strict=True)), name
    assert table.num_rows == 4


@settings(max_examples=300, deadline=None)
@given(
    at=st.integers(0, len("\n".join(LINES[1:])) - 1),
    byte=st.one_of(st.sampled_from(list(b'",\n\r\x00\xff')), st.integers(0, 255)),
)
def test_quarantine_keeps_every_undamaged_row(at: int, byte: int):
    """One damaged byte touches one line, or two where it was or is a line end."""
    body = bytearray("\n".join(LINES[1:]).encode())
    body[at] = byte
    data = LINES[0].encode() + b"\n" + bytes(body)
    parsed = parse_bars(data, DAILY, key="x.csv", on_bad_rows="quarantine")
    good = parse_bars("\n".join(LINES).encode(), DAILY, key="x.csv").table
    kept = {repr(row) for row in parsed.table.to_pylist()}
    lost = [row for row in good.to_pylist() if repr(row) not in kept]
    assert len(lost) <= 2
    assert len(parsed.bad_rows) <= 2


# ------------------------------------------------------------------ both ways agree

odd_numbers = st.one_of(
    st.text("0123456789+-.eE ,_\tnaifNAI", max_size=6),
    st.sampled_from(
        ["", "1", "-1.5", "inf", "nan", "NaN", "1e999", "1e-999", "+2", "5.", ".5", "nan(1)", "1_0"]
    ),
)
odd_dates = st.one_of(
    st.sampled_from(
        ["2023-01-03", "20230103", "2023-01-03 09:30", "2023-01-03 09", "2023-01-03T09:30:00.25",
         "2023-01-03 09:30:00-05:00", "2023-01-03 09:30Z", "2023-01-03 00:00:00+14:00", "",
         "2024-03-10 02:30:00", "2024-11-03 01:30:00", "1677-12-31", "2262-01-01",
         "1969-12-31 23:59"]
    ),
    st.text("0123456789-: TZ+", max_size=20),
)  # fmt: skip
texts = st.text("AaZ9 .\"'é", max_size=5)


@st.composite
def bodies(draw: st.DrawFn, *fields: st.SearchStrategy[str]) -> bytes:
    lines = [",".join(draw(field) for field in fields) for _ in range(draw(st.integers(1, 4)))]
    return "\n".join(lines).encode()


def agree(header: bytes, body: bytes, spec: Spec) -> None:
    """What the fast way accepts, the line-by-line way accepts with the same values."""
    reading = Reading("x.csv", spec, zone="America/New_York")
    layout = csv_strict._layout(header, spec, ())
    if not body.strip():
        return
    fast = csv_fast.read_fast(header + b"\n" + body, len(header) + 1, layout, reading.zone, "raise")
    if fast is None:
        return
    slow = csv_strict._read_lines(body, 2, layout, reading, [])
    for left, right in zip(fast, slow, strict=True):
        assert left.type == right.type
        assert repr(left.to_pylist()) == repr(right.to_pylist())


@settings(max_examples=1000, deadline=None)
@given(bodies(odd_dates, odd_numbers, odd_numbers))
def test_the_fast_way_agrees_with_the_exact_one_daily(body: bytes):
    agree(b"date,close,volume", body, BARS)


@settings(max_examples=1000, deadline=None)
@given(bodies(odd_dates, odd_numbers))
def test_the_fast_way_agrees_with_the_exact_one_intraday(body: bytes):
    agree(b"date,close", body, INTRADAY_BARS)


KINDS = st.sampled_from(["call", "C", "Put", "p", "", "x"])


@settings(max_examples=1000, deadline=None)
@given(bodies(texts, texts, odd_dates, KINDS, odd_numbers, odd_numbers, odd_numbers))
def test_the_fast_way_agrees_with_the_exact_one_options(body: bytes):
    agree(b"contract,underlying,expiration,type,strike,bid,ask", body, OPTIONS)


CONTRACTS = st.from_regex(
    r"(O:)?[A-Z]{1,6} ?[0-2][0-9][01][0-9][0-3][0-9][CPX][0-9]{8}", fullmatch=True
)


@settings(max_examples=1000, deadline=None)
@given(bodies(st.one_of(CONTRACTS, texts), odd_numbers, odd_numbers))
def test_the_fast_way_agrees_with_the_exact_one_contracts(body: bytes):
    agree(b"contract,bid,ask", body, OPTIONS)


@settings(max_examples=200, deadline=None)
@given(CONTRACTS)
def test_contract_parts_against_slices(contract: str):
    data = f"contract,bid,ask\n{contract},1,2\n".encode()
    try:
        table = parse_options(data, OPTIONS_SET, key="o.csv", date=dt.date(2020, 1, 2)).table
    except DataError:
        with pytest.raises((ValueError, KeyError)):
            dt.datetime.strptime(contract[-15:-9], "%y%m%d")
            {"C": 1, "P": 2}[contract[-9]]
        return
    root = contract.removeprefix("O:")[:-15].strip()
    assert table["underlying"][0].as_py() == root
    assert f"{table['expiration'][0].as_py():%y%m%d}" == contract[-15:-9]
    assert table["strike"][0].as_py() == int(contract[-8:]) / 1000
