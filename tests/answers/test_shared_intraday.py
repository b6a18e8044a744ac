"""Real bars of one and five minutes, and longer ones made of them.

Source of every expected value: the files themselves (see their MANIFEST), read here by the
csv module and grouped by itertools. The NYSE closed at 13:00 on 2024-07-03.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from minio_data_integration import MinIODataIntegration
from stockdb import errors
from stockdb.settings import Dataset

pytestmark = pytest.mark.shared_data

COLUMNS = ["open", "high", "low", "close", "volume"]
Fill = Callable[..., str]


def stamps(data: bytes) -> list[tuple[dt.datetime, list[float]]]:
    records = list(csv.reader(io.StringIO(gzip.decompress(data).decode(), newline=""), strict=True))
    return [
        (dt.datetime.fromisoformat(record[0]), [float(text) for text in record[1:]])
        for record in records[1:]
    ]


MINUTES = ("AAPL", "SPY", "NVDA")


@pytest.fixture(scope="module")
def files(shared_data: Path) -> dict[str, bytes]:
    return {s: (shared_data / "intraday" / f"{s}_5min.csv.gz").read_bytes() for s in MINUTES}


@pytest.fixture(scope="module")
def minute(
    files: dict[str, bytes], shared_data: Path, make_bucket: Fill, module_clients: Any
) -> MinIODataIntegration:
    """A bucket with five-minute and with daily bars."""
    objects = {f"intraday/{s}_5min.csv.gz": data for s, data in files.items()}
    daily = (shared_data / "stocks-2010-2025" / "AAPL.csv").read_bytes()
    bucket = make_bucket(objects | {"stocks-2010-2025/AAPL.csv": daily})
    dataset = Dataset(
        key="intraday/{SYMBOL}_5min.csv.gz", kind="bars", interval="5m", adjustment="splits"
    )
    client: MinIODataIntegration = module_clients(bucket, datasets={"minutes": dataset})
    return client


class TestIntraday:
    @pytest.mark.parametrize("symbol", MINUTES)
    def test_every_value_and_every_stamp(
        self, minute: MinIODataIntegration, files: dict[str, bytes], symbol: str
    ) -> None:
        frame = minute.get_historical_data(symbol, interval="5m")
        rows = stamps(files[symbol])
        assert str(frame.index.dtype) == "datetime64[ns, America/New_York]"
        assert frame.index.name == "date"
        assert [stamp.to_pydatetime().replace(tzinfo=None) for stamp in frame.index] == [
            stamp for stamp, _ in rows
        ]
        np.testing.assert_array_equal(frame[COLUMNS].to_numpy(), [values for _, values in rows])
        # New York summer time: the first bar of the first day opens at 13:30 UTC.
        assert frame.index[0].tz_convert("UTC").isoformat() == "2024-05-13T13:30:00+00:00"

    def test_78_bars_a_day_and_42_on_the_half_day(self, minute: MinIODataIntegration) -> None:
        frame = minute.get_historical_data("SPY", interval="5m")
        counts = frame.groupby(frame.index.date).size()
        assert counts[dt.date(2024, 7, 3)] == 42
        assert set(counts.drop(dt.date(2024, 7, 3))) == {78}
        half = minute.get_historical_data("SPY", "2024-07-03", "2024-07-03", "5m")
        assert len(half) == 42
        assert str(half.index[-1]) == "2024-07-03 12:55:00-04:00"

    def test_no_finding_in_clean_bars(self, minute: MinIODataIntegration) -> None:
        for start, end in ((None, None), ("2024-07-03 09:30", "2024-07-03 09:30")):
            frame = minute.get_historical_data("AAPL", start, end, "5m")
            assert frame.attrs["stockdb"]["validation"]["warnings"] == 0
            assert frame.attrs["stockdb"]["validation"]["errors"] == 0

    def test_ranges_reach_into_the_day(self, minute: MinIODataIntegration) -> None:
        naive = minute.get_historical_data("SPY", "2024-07-02 15:50", "2024-07-03 09:40", "5m")
        assert [f"{stamp:%d %H:%M}" for stamp in naive.index] == [
            "02 15:50", "02 15:55", "03 09:30", "03 09:35", "03 09:40",
        ]  # fmt: skip
        zoned = minute.get_historical_data(
            "SPY",
            pd.Timestamp("2024-07-02 19:50", tz="UTC"),
            pd.Timestamp("2024-07-03 13:40", tz="UTC"),
            "5m",
        )
        pd.testing.assert_frame_equal(zoned, naive)

    @pytest.mark.parametrize(("interval", "length"), [("15m", 15), ("30m", 30), ("1h", 60)])
    @pytest.mark.parametrize("symbol", MINUTES)
    def test_longer_bars_equal_an_independent_resample(
        self,
        minute: MinIODataIntegration,
        files: dict[str, bytes],
        symbol: str,
        interval: str,
        length: int,
    ) -> None:
        opening = dt.time(9, 30)  # bars are counted from the opening of the exchange

        def label(stamp: dt.datetime) -> dt.datetime:
            opened = dt.datetime.combine(stamp.date(), opening)
            return opened + (stamp - opened) // dt.timedelta(minutes=length) * dt.timedelta(
                minutes=length
            )

        expected = []
        rows = stamps(files[symbol])
        for begin, group in itertools.groupby(rows, key=lambda row: label(row[0])):
            values = [values for _, values in group]
            opens, highs, lows, closes, volumes = zip(*values, strict=True)
            expected.append(
                (begin, [opens[0], max(highs), min(lows), closes[-1], math.fsum(volumes)])
            )
        frame = minute.get_historical_data(symbol, interval=interval)
        assert str(frame.index.tz) == "America/New_York"
        assert [s.to_pydatetime().replace(tzinfo=None) for s in frame.index] == [
            begin for begin, _ in expected
        ]
        np.testing.assert_array_equal(frame[COLUMNS].to_numpy(), [bar for _, bar in expected])
        assert frame.attrs["stockdb"]["interval"] == interval
        assert frame.attrs["stockdb"]["dataset"] == "minutes"

    def test_what_cannot_be_made_says_what_is_there(self, minute: MinIODataIntegration) -> None:
        with pytest.raises(errors.ConfigurationError, match="no 1m bars") as caught:
            minute.get_historical_data("AAPL", interval="1m")
        assert "5m" in caught.value.remedy and "daily" in caught.value.remedy

    def test_daily_bars_still_come_from_daily_files(self, minute: MinIODataIntegration) -> None:
        frame = minute.get_historical_data("AAPL", "2024-07-03", "2024-07-03")
        assert frame.index.tz is None and len(frame) == 1

    def test_minutes_of_two_vendors(
        self, shared_data: Path, make_bucket: Fill, client_factory: Any
    ) -> None:
        lean = (shared_data / "intraday" / "SPY_1min_lean.csv.gz").read_bytes()
        extended = (shared_data / "intraday" / "AAPL_1min_extended_hours.csv.gz").read_bytes()
        bucket = make_bucket({"m/SPY.csv.gz": lean, "m/AAPL.csv.gz": extended})
        minio = client_factory(
            bucket, datasets={"m": Dataset(key="m/{SYMBOL}.csv.gz", interval="1m")}
        )
        spy = minio.get_historical_data("SPY", interval="1m")
        assert [s.to_pydatetime().replace(tzinfo=None) for s in spy.index] == [
            stamp for stamp, _ in stamps(lean)
        ]
        aapl = minio.get_historical_data("AAPL", interval="1m")  # its stamps have an offset
        assert list(aapl.index) == [stamp for stamp, _ in stamps(extended)]
        five = minio.get_historical_data("SPY", "2013-10-04", "2013-10-04", "5m")
        by_minute = spy.loc["2013-10-04"]
        assert five["volume"].sum() == by_minute["volume"].sum()
        assert set(five.index.minute % 5) == {0}
