"""The real prices beside the project, read through the front door from a real S3 server.

Source of every expected value: the files themselves (see their MANIFEST), read here by the
csv module and grouped by itertools. Which weekdays were holidays is written down by hand,
from the holiday lists that the NYSE publishes: 2024-01-01 New Year, 2024-01-15 Martin Luther
King, 2024-03-29 Good Friday, 2024-05-27 Memorial Day, 2026-01-01 New Year.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import urllib3
from minio import Minio
from minio.commonconfig import SnowballObject

from minio_data_integration import MinIODataIntegration
from stockdb.settings import Dataset

pytestmark = pytest.mark.shared_data

SYMBOLS = (
    "AAPL", "AMZN", "GOOG", "GOOGL", "JPM", "KO", "META", "MSFT", "NVDA", "PEP",
    "QQQ", "SPY", "TSLA", "WMT", "XLE",
)  # fmt: skip
COLUMNS = ["open", "high", "low", "close", "volume"]
#: Name in the files -> ours.
NAMES = {"Adj Close": "adj_close", "Stock Splits": "stock_splits"}
Row = tuple[dt.date, list[float]]
Fill = Callable[..., str]


def by_csv_module(data: bytes) -> tuple[list[str], list[Row]]:
    """Header without the date, and rows sorted by date; yfinance heads in three lines."""
    records = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))
    header, body = records[0][1:], records[1:]
    if records[0][0] == "Price":
        body = body[2:]
    rows = [
        (dt.date.fromisoformat(record[0][:10]), [float(text or "nan") for text in record[1:]])
        for record in body
    ]
    return header, sorted(rows, key=lambda row: row[0])


def resampled(rows: list[Row], label: Callable[[dt.date], Any]) -> list[Row]:
    """Longer bars by hand: last session, first open, highest high, lowest low, last close."""
    bars = []
    for _, group in itertools.groupby(rows, key=lambda row: label(row[0])):
        held = list(group)
        opens, highs, lows, closes, volumes = zip(*(values for _, values in held), strict=True)
        bar = [opens[0], max(highs), min(lows), closes[-1], math.fsum(volumes)]
        bars.append((held[-1][0], bar))
    return bars


def week(day: dt.date) -> tuple[int, int]:
    return day.isocalendar()[:2]


def month(day: dt.date) -> tuple[int, int]:
    return day.year, day.month


def assert_rows(frame: pd.DataFrame, rows: list[Row], columns: list[str] = COLUMNS) -> None:
    assert frame.index.name == "date"
    assert str(frame.index.dtype) == "datetime64[ns]"
    assert [stamp.date() for stamp in frame.index] == [day for day, _ in rows]
    assert (frame.index == frame.index.normalize()).all()
    expected = np.array([values for _, values in rows]).reshape(len(rows), len(columns))
    np.testing.assert_array_equal(frame[columns].to_numpy(), expected)


@pytest.fixture(scope="module")
def stocks(shared_data: Path) -> dict[str, bytes]:
    """Symbol -> file, of all shared symbols."""
    return {s: (shared_data / "stocks-2010-2025" / f"{s}.csv").read_bytes() for s in SYMBOLS}


@pytest.fixture(scope="module")
def minio(stocks: dict[str, bytes], make_bucket: Fill, module_clients: Any) -> MinIODataIntegration:
    bucket = make_bucket({f"stocks-2010-2025/{s}.csv": data for s, data in stocks.items()})
    client: MinIODataIntegration = module_clients(bucket)
    return client


class TestDaily:
    def test_every_shared_symbol_is_covered_here(self, shared_data: Path) -> None:
        held = {path.stem for path in (shared_data / "stocks-2010-2025").glob("*.csv")}
        assert held == set(SYMBOLS)

    def test_january_2024_of_aapl_has_21_sessions(self, minio: MinIODataIntegration) -> None:
        frame = minio.get_historical_data(
            symbol="AAPL", start_date="2024-01-01", end_date="2024-01-31", interval="daily"
        )
        assert len(frame) == 21
        assert frame.columns.tolist() == COLUMNS

    def test_the_known_session(self, minio: MinIODataIntegration) -> None:
        frame = minio.get_historical_data("AAPL", "2023-01-03", "2023-01-03")
        assert frame.loc["2023-01-03", COLUMNS[:4]].tolist() == [130.28, 130.90, 124.17, 125.07]

    @pytest.mark.parametrize("symbol", SYMBOLS)
    def test_every_value_equals_the_file(
        self, minio: MinIODataIntegration, stocks: dict[str, bytes], symbol: str
    ) -> None:
        header, rows = by_csv_module(stocks[symbol])
        assert [name.lower() for name in header] == COLUMNS
        assert len(rows) > 2000
        assert_rows(minio.get_historical_data(symbol), rows)

    def test_all_symbols_are_listed(self, minio: MinIODataIntegration) -> None:
        assert minio.list_symbols() == sorted(SYMBOLS)

    def test_all_symbols_at_once(
        self, minio: MinIODataIntegration, stocks: dict[str, bytes]
    ) -> None:
        result = minio.bulk_download(SYMBOLS, "2024-01-01", "2024-12-31")
        assert list(result) == list(SYMBOLS) and not result.errors
        for symbol, frame in result.items():
            _, rows = by_csv_module(stocks[symbol])
            assert_rows(frame, [row for row in rows if row[0].year == 2024])


class TestLongerBars:
    @pytest.mark.parametrize(("interval", "label"), [("weekly", week), ("monthly", month)])
    @pytest.mark.parametrize("symbol", SYMBOLS)
    def test_every_bar_equals_an_independent_resample(
        self,
        minio: MinIODataIntegration,
        stocks: dict[str, bytes],
        symbol: str,
        interval: str,
        label: Callable[[dt.date], Any],
    ) -> None:
        expected = resampled(by_csv_module(stocks[symbol])[1], label)
        assert_rows(minio.get_historical_data(symbol, interval=interval), expected)

    @pytest.mark.parametrize(("alias", "interval"), [("1wk", "weekly"), ("1mo", "monthly")])
    def test_aliases(self, minio: MinIODataIntegration, alias: str, interval: str) -> None:
        frame = minio.get_historical_data("KO", "2024-01-01", "2024-06-30", alias)
        same = minio.get_historical_data("KO", "2024-01-01", "2024-06-30", interval)
        pd.testing.assert_frame_equal(frame, same)
        assert frame.attrs["stockdb"]["interval"] == interval

    def test_bars_of_a_cut_range_hold_only_the_range(
        self, minio: MinIODataIntegration, stocks: dict[str, bytes]
    ) -> None:
        first, last = dt.date(2024, 1, 10), dt.date(2024, 3, 20)
        _, rows = by_csv_module(stocks["SPY"])
        inside = [row for row in rows if first <= row[0] <= last]
        for interval, label in (("weekly", week), ("monthly", month)):
            frame = minio.get_historical_data("SPY", first, last, interval)
            assert_rows(frame, resampled(inside, label))

    @pytest.mark.parametrize(
        ("interval", "start", "end", "first", "last", "partial"),
        [
            # Good Friday is no session: March 2024 is complete on the 28th.
            ("monthly", "2024-03-01", "2024-03-28", "2024-03-28", "2024-03-28", "-"),
            ("monthly", "2024-03-01", "2024-03-27", "2024-03-27", "2024-03-27", "x"),
            ("monthly", "2024-03-01", "2024-03-31", "2024-03-28", "2024-03-28", "-"),
            ("weekly", "2024-03-25", "2024-03-28", "2024-03-28", "2024-03-28", "-"),
            ("weekly", "2024-03-25", "2024-03-27", "2024-03-27", "2024-03-27", "x"),
            # The year begins with a holiday: week and month are complete from the 2nd.
            ("weekly", "2024-01-01", "2024-01-05", "2024-01-05", "2024-01-05", "-"),
            ("weekly", "2024-01-02", "2024-01-05", "2024-01-05", "2024-01-05", "-"),
            ("weekly", "2024-01-03", "2024-01-05", "2024-01-05", "2024-01-05", "x"),
            ("monthly", "2024-01-02", "2024-01-31", "2024-01-31", "2024-01-31", "-"),
            ("monthly", "2024-01-03", "2024-01-31", "2024-01-31", "2024-01-31", "x"),
            # Cut at both ends, at one, at none.
            ("weekly", "2024-01-10", "2024-01-23", "2024-01-12", "2024-01-23", "x-x"),
            ("weekly", "2024-01-09", "2024-01-10", "2024-01-10", "2024-01-10", "x"),
            ("monthly", "2024-01-03", "2024-03-27", "2024-01-31", "2024-03-27", "x-x"),
            ("monthly", "2024-02-01", "2024-04-10", "2024-02-29", "2024-04-10", "--x"),
            # A range that ends on a weekend or a holiday cuts nothing.
            ("weekly", "2024-01-08", "2024-01-14", "2024-01-12", "2024-01-12", "-"),
            ("weekly", "2024-01-15", "2024-01-21", "2024-01-19", "2024-01-19", "-"),
            ("weekly", "2024-01-16", "2024-01-19", "2024-01-19", "2024-01-19", "-"),
            ("monthly", "2023-12-31", "2024-01-01", None, None, ""),
            # Open ends: the newest bar held is 2025-12-31, a Wednesday before a holiday and
            # one more session of that week.
            ("monthly", "2025-11-01", None, "2025-11-28", "2025-12-31", "--"),
            ("weekly", "2025-12-22", None, "2025-12-26", "2025-12-31", "-x"),
            ("monthly", None, "2010-01-31", "2010-01-29", "2010-01-29", "-"),
        ],
    )  # fmt: skip
    def test_cut_periods_are_flagged(
        self,
        minio: MinIODataIntegration,
        interval: str,
        start: str | None,
        end: str | None,
        first: str | None,
        last: str | None,
        partial: str,
    ) -> None:
        frame = minio.get_historical_data("AAPL", start, end, interval)
        assert "".join("-x"[flag] for flag in frame["partial"]) == partial
        assert frame["partial"].dtype == bool
        if first is not None:
            assert str(frame.index[0].date()) == first
            assert str(frame.index[-1].date()) == last

    def test_an_end_with_a_zone_cuts_where_the_exchange_is(
        self, minio: MinIODataIntegration
    ) -> None:
        # Two at night in London is the evening of the 30th in New York.
        end = pd.Timestamp("2024-01-31 02:00", tz="UTC")
        frame = minio.get_historical_data("AAPL", "2024-01-01", end, "monthly")
        assert str(frame.index[-1].date()) == "2024-01-30"
        assert frame["partial"].tolist() == [True]

    @pytest.mark.parametrize(
        ("newest", "weekly", "monthly"),
        [
            ("2024-05-15", True, True),  # a Wednesday
            ("2024-05-17", False, True),  # a Friday
            ("2024-05-24", False, True),  # the Friday before Memorial Day
            ("2024-05-28", True, True),
            ("2024-05-31", False, False),  # the last session of the month, a Friday
            ("2024-03-28", False, False),  # Good Friday follows
            ("2024-06-28", False, False),  # the weekend ends the month
        ],
    )
    def test_the_newest_period_is_partial_until_its_last_session(
        self,
        stocks: dict[str, bytes],
        make_bucket: Fill,
        client_factory: Any,
        newest: str,
        weekly: bool,
        monthly: bool,
    ) -> None:
        lines = stocks["MSFT"].decode().splitlines()
        held = [line for line in lines[1:] if line[:10] <= newest]
        data = "\n".join([lines[0], *held]).encode()
        minio = client_factory(make_bucket({"stocks-2010-2025/MSFT.csv": data}))
        for interval, expected in (("weekly", weekly), ("monthly", monthly)):
            for end in (None, "2024-12-31"):
                frame = minio.get_historical_data("MSFT", "2024-01-01", end, interval)
                assert str(frame.index[-1].date()) == newest
                assert frame["partial"].tolist() == [False] * (len(frame) - 1) + [expected]


VENDORS = (
    "AAPL_yahoo_classic_adjclose",
    "AAPL_yfinance_multiindex_header",
    "AAPL_yfinance_tz_dividends_splits",
)


class TestFormats:
    @pytest.mark.parametrize("packed", ["csv", "csv.gz", "parquet"])
    @pytest.mark.parametrize("name", VENDORS)
    def test_vendor_formats(
        self, shared_data: Path, make_bucket: Fill, client_factory: Any, name: str, packed: str
    ) -> None:
        data = (shared_data / "vendor-formats" / f"{name}.csv").read_bytes()
        header, rows = by_csv_module(data)
        object_ = {
            "csv": lambda: data,
            "csv.gz": lambda: gzip.compress(data),
            "parquet": lambda: as_parquet("Date", header, rows),
        }[packed]()
        bucket = make_bucket({f"vendor/AAPL.{packed}": object_})
        dataset = Dataset(key=f"vendor/{{SYMBOL}}.{packed}", interval="daily", adjustment="splits")
        frame = client_factory(bucket, datasets={"stocks": dataset}).get_historical_data("AAPL")
        columns = [NAMES.get(text, text.lower()) for text in header]
        assert set(frame.columns) == set(columns)
        assert frame.columns.tolist()[:5] == COLUMNS
        assert str(frame.index[0].date()) == "2023-01-03"
        assert_rows(frame, rows, columns)

    @pytest.mark.parametrize("packed", ["csv.gz", "parquet"])
    def test_the_bucket_layout_compressed_and_as_parquet(
        self, stocks: dict[str, bytes], make_bucket: Fill, client_factory: Any, packed: str
    ) -> None:
        header, rows = by_csv_module(stocks["TSLA"])
        parquet = as_parquet("trade_date", header, rows)
        data = parquet if packed == "parquet" else gzip.compress(stocks["TSLA"])
        bucket = make_bucket({f"stocks-2010-2025/TSLA.{packed}": data})
        dataset = Dataset(key=f"stocks-2010-2025/{{SYMBOL}}.{packed}", interval="daily")
        minio = client_factory(bucket, datasets={"stocks": dataset})
        assert_rows(minio.get_historical_data("TSLA"), rows)
        assert minio.list_symbols() == ["TSLA"]


def as_parquet(date: str, header: list[str], rows: list[Row]) -> bytes:
    days, values = zip(*rows, strict=True)
    columns = dict(zip(header, map(list, zip(*values, strict=True)), strict=True))
    sink = io.BytesIO()
    pq.write_table(pa.table({date: pa.array(days, pa.date32()), **columns}), sink)
    return sink.getvalue()


class TestSpellings:
    @pytest.mark.parametrize(
        ("stem", "asked"),
        [("aapl", "AAPL"), ("aapl", "aapl"), ("AAPL", "aapl"), ("BRK-B", "BRK.B"),
         ("BRK.B", "BRK-B"), ("BRK_B", "brk.b"), ("brk-b", "BRK.B"), ("BRK-B", "BRK-B")],
    )  # fmt: skip
    def test_a_symbol_is_found_however_the_bucket_spells_it(
        self,
        stocks: dict[str, bytes],
        make_bucket: Fill,
        client_factory: Any,
        monkeypatch: pytest.MonkeyPatch,
        stem: str,
        asked: str,
    ) -> None:
        bucket = make_bucket({f"stocks-2010-2025/{stem}.csv": stocks["KO"]})
        minio = client_factory(bucket)
        frame = minio.get_historical_data(asked)
        assert_rows(frame, by_csv_module(stocks["KO"])[1])
        assert frame.attrs["stockdb"]["symbol"] == asked.upper()
        assert minio.provenance(frame).origins[0].key == f"stocks-2010-2025/{stem}.csv"
        # Held now, it costs nothing more, whatever its spelling; and it needs no server.
        attempts: list[str] = []
        send = urllib3.PoolManager.urlopen

        def counted(pool: Any, method: str, url: str, *args: Any, **named: Any) -> Any:
            attempts.append(f"{method} {url}")
            return send(pool, method, url, *args, **named)

        monkeypatch.setattr(urllib3.PoolManager, "urlopen", counted)
        again = minio.get_historical_data(asked)
        assert attempts == []
        assert minio.provenance(again).requests == 0
        minio.get_historical_data(asked, max_age=0)
        assert len(attempts) == 1  # and counting works
        pd.testing.assert_frame_equal(minio.get_historical_data(asked, offline=True), frame)


class TestManySymbols:
    def test_a_listing_of_two_pages_is_complete_and_kept(
        self, s3: Minio, make_bucket: Fill, client_factory: Any
    ) -> None:
        self._listed(s3, make_bucket(), client_factory, 1_050)

    @pytest.mark.slow
    @pytest.mark.timeout(400)
    def test_eleven_thousand_symbols_list_in_seconds(
        self, s3: Minio, make_bucket: Fill, client_factory: Any, record_property: Any
    ) -> None:
        seconds = self._listed(s3, make_bucket(), client_factory, 11_000)
        record_property("seconds_to_list_11000_symbols", round(seconds, 2))
        print(f"\n  11,000 symbols listed in {seconds:.2f} s")
        assert seconds < 30

    def _listed(self, s3: Minio, bucket: str, client_factory: Any, count: int) -> float:
        names = [f"S{number:05d}" for number in range(count)]
        line = b"trade_date,Open,High,Low,Close,Volume\n2024-01-02,1,1,1,1,1\n"
        for first in range(0, count, 1_000):  # 1,000 in one request: a PUT each takes minutes
            some = names[first : first + 1_000]
            s3.upload_snowball_objects(
                bucket,
                [
                    SnowballObject(
                        f"stocks-2010-2025/{name}.csv", data=io.BytesIO(line), length=len(line)
                    )
                    for name in some
                ],
            )
        minio = client_factory(bucket)
        begin = time.perf_counter()
        assert minio.list_symbols() == names
        seconds = time.perf_counter() - begin
        before = minio.get_cache_stats()
        assert minio.list_symbols() == names
        assert len(minio.list_files("stocks")) == count
        after = minio.get_cache_stats()
        assert (after["requests"], after["misses"]) == (before["requests"], before["misses"])
        assert after["hits"] == before["hits"] + 2
        # Another client on the same cache asks nobody either.
        other = client_factory(
            bucket,
            cache_dir=minio.settings.cache.cache_dir,
            access_key="nobody",
            secret_key="wrong-dummy-secret",
        )
        assert other.list_symbols() == names
        return seconds
