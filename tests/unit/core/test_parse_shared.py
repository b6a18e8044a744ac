"""Every real file beside the project, against a reading by the csv module or by pandas."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from stockdb.core.parse import parse_bars, parse_options, parse_reference
from stockdb.errors import DataError
from stockdb.settings import Dataset

pytestmark = pytest.mark.shared_data

DAILY = Dataset(key="s/{SYMBOL}.csv", interval="daily")
INTRADAY = Dataset(key="m/{SYMBOL}.csv", interval="1m")
OPTIONS = Dataset(key="o/{YYYY-MM-DD}options.csv", kind="options")

#: Name in the files -> ours, written down by hand.
NAMES = {
    "Open": "open", "High": "high", "Low": "low", "Close": "close", "Volume": "volume",
    "open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume",
    "Adj Close": "adj_close", "Dividends": "dividends", "Stock Splits": "stock_splits",
    "average": "average", "barCount": "bar_count",
}  # fmt: skip


def unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if path.name.endswith(".gz") else data


def by_csv_module(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and records; the three lines of a yfinance header count as one."""
    records = list(csv.reader(io.StringIO(unpacked(path).decode(), newline=""), strict=True))
    header, body = records[0], records[1:]
    return (header, body[2:]) if header[0] == "Price" else (header, body)


def number(text: str) -> float:
    return math.nan if text in ("", "NaN") else float(text)


def assert_numbers(table: pa.Table, name: str, texts: list[str]) -> None:
    column = table[name]
    assert column.null_count == 0 and column.num_chunks == 1
    expected = np.array([number(text) for text in texts])
    np.testing.assert_array_equal(column.to_numpy(), expected, err_msg=name)


def files(folder: Path, *folders: str) -> list[Path]:
    found = [path for name in folders for path in sorted((folder / name).glob("*.csv*"))]
    assert found
    return found


def test_every_daily_file(shared_data: Path):
    seen = 0
    for path in files(
        shared_data, "stocks-2010-2025", "stocks-2026", "stocks-unadjusted",
        "stocks-total-return-adjusted", "vendor-formats", "dirty",
    ):  # fmt: skip
        if path.name.startswith("spy_cboe"):
            continue
        table = parse_bars(path.read_bytes(), DAILY, key=path.name).table
        header, records = by_csv_module(path)
        records.sort(key=lambda record: record[0][:10])  # stable, as ours
        assert table.num_rows == len(records), path.name
        expected = [dt.datetime.strptime(record[0][:10], "%Y-%m-%d") for record in records]
        assert table["date"].to_pylist() == expected, path.name
        numeric = [name for name in header[1:] if name != "Repaired?"]
        assert sorted(table.schema.names) == sorted(["date", *(NAMES[n] for n in numeric)])
        for name in numeric:
            position = header.index(name)
            assert_numbers(table, NAMES[name], [record[position] for record in records])
        seen += 1
    assert seen == 15 + 5 + 3 + 4 + 3 + 17


def test_the_vendor_layout_with_preamble_is_refused(shared_data: Path):
    path = shared_data / "dirty" / "spy_cboe_quotedata_original_2025-05-16.csv.gz"
    with pytest.raises(DataError, match="SPDR S&P 500") as caught:
        parse_options(path.read_bytes(), OPTIONS, key=path.name)
    assert caught.value.line == 2  # the first line is blank


def test_local_session_dates_of_a_file_with_offsets(shared_data: Path):
    path = shared_data / "vendor-formats" / "AAPL_yfinance_tz_dividends_splits.csv"
    table = parse_bars(path.read_bytes(), DAILY, key=path.name).table
    dates = pd.DatetimeIndex(table["date"].to_pandas())
    assert dates.tz is None and (dates == dates.normalize()).all()
    assert (dates.day_of_week < 5).all()
    assert str(dates[0]) == "2023-01-03 00:00:00"


@pytest.mark.parametrize(
    "stem", ["AAPL_5min", "NVDA_5min", "SPY_5min", "AAPL_1min_lean", "SPY_1min_lean"]
)
def test_naive_intraday_files(shared_data: Path, stem: str):
    path = shared_data / "intraday" / f"{stem}.csv.gz"
    table = parse_bars(path.read_bytes(), INTRADAY, key=path.name).table
    header, records = by_csv_module(path)
    dates = pd.DatetimeIndex(table["date"].to_pandas())
    assert str(dates.tz) == "America/New_York"
    assert list(dates.strftime("%Y-%m-%d %H:%M:%S")) == [record[0] for record in records]
    for position, name in enumerate(header[1:], 1):
        assert_numbers(table, NAMES[name], [record[position] for record in records])


def test_intraday_file_with_offsets(shared_data: Path):
    path = shared_data / "intraday" / "AAPL_1min_extended_hours.csv.gz"
    table = parse_bars(path.read_bytes(), INTRADAY, key=path.name).table
    header, records = by_csv_module(path)
    dates = pd.DatetimeIndex(table["date"].to_pandas())
    assert [stamp.isoformat(sep=" ") for stamp in dates] == [record[0] for record in records]
    assert table.schema.names[-2:] == ["average", "bar_count"]
    for position, name in enumerate(header[1:], 1):
        assert_numbers(table, NAMES[name], [record[position] for record in records])


def test_every_option_file(shared_data: Path):
    seen = total = 0
    for path in files(shared_data, "options-complete"):
        if path.name.startswith("_"):
            continue
        table = parse_options(path.read_bytes(), OPTIONS, key=path.name).table
        header, records = by_csv_module(path)
        columns = dict(zip(header, zip(*records, strict=True), strict=True))
        for name in ("contract", "underlying", "type", "style"):
            assert table[name].to_pylist() == list(columns[name]), path.name
        for name in ("expiration", "quote_date"):
            assert [str(day) for day in table[name].to_pylist()] == list(columns[name]), path.name
        for name in ("strike", "bid", "bid_size", "ask", "ask_size", "volume", "open_interest"):
            assert_numbers(table, name, list(columns[name]))
        for name in ("delta", "gamma", "theta", "vega", "implied_volatility"):
            assert_numbers(table, f"vendor_{name}", list(columns[name]))
        seen += 1
        total += table.num_rows
    assert seen == 164 and total > 256_725  # 189,934 + 66,791 rows, and more


def test_options_against_pandas(shared_data: Path):
    path = shared_data / "options-complete" / "2026-07-15options.csv.gz"
    table = parse_options(path.read_bytes(), OPTIONS, key=path.name).table
    frame = pd.read_csv(path)
    assert table.num_rows == len(frame) == 13_545
    for name in ("strike", "bid", "ask", "volume", "open_interest"):
        np.testing.assert_array_equal(table[name].to_numpy(), frame[name].to_numpy(float))
    np.testing.assert_array_equal(table["vendor_theta"].to_numpy(), frame["theta"].to_numpy(float))


def test_reference_files(shared_data: Path):
    for kind, amount, count in (("splits", "ratio", 42), ("dividends", "amount", 389)):
        path = shared_data / "corporate-actions" / f"{kind}.csv"
        table = parse_reference(path.read_bytes(), key=path.name, kind=kind).table
        _, records = by_csv_module(path)
        assert table.num_rows == len(records) == count
        assert table["symbol"].to_pylist() == [record[0] for record in records]
        assert [str(day)[:10] for day in table["ex_date"].to_pylist()] == [r[1] for r in records]
        assert_numbers(table, amount, [record[2] for record in records])


def test_treasury_file(shared_data: Path):
    path = shared_data / "rates" / "us_treasury_cmt_2010_2026.csv"
    table = parse_reference(path.read_bytes(), key=path.name, kind="treasury").table
    header, records = by_csv_module(path)
    assert table.num_rows == len(records) == 4161
    assert table.schema.names == ["date", *(name.lower() for name in header[1:])]
    for position, name in enumerate(header[1:], 1):
        assert_numbers(table, name.lower(), [record[position] for record in records])
