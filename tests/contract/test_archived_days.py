"""Days that only a yearly ZIP holds: their chains, their daily bars, and calls that cross over."""

from __future__ import annotations

import csv
import datetime as dt
import io
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from minio import Minio

from minio_data_integration import MinIODataIntegration
from stockdb.errors import (
    ArchiveError,
    DataError,
    DateNotFoundError,
    SymbolNotFoundError,
)
from stockdb.settings import Dataset, load_settings
from tests.contract.test_option_chains import HEADER, lines_of, listed, origin_of, scan

Client = Callable[..., MinIODataIntegration]
DAYS = ("2008-12-29", "2008-12-30", "2008-12-31")
OWN = "2010-01-04"


def day_of(day: str, **counts: int) -> bytes:
    """A day as of 2008: contracts without the prefix of later years."""
    chance = random.Random(day)
    rows = "".join(lines_of(name, count, chance, day) for name, count in counts.items())
    return (HEADER + rows).replace("O:", "").encode()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return sink.getvalue()


OPTIONS = {day: day_of(day, A=40, AAPL=3000, Z=7) for day in DAYS}


def year_of(folder: str = "2008/", **more: bytes) -> bytes:
    return zipped({**{f"{folder}{day}options.csv": data for day, data in OPTIONS.items()}, **more})


@pytest.fixture(scope="module")
def bucket(make_bucket: Callable[..., str]) -> str:
    """Three days in a ZIP, and one of a later year in a file of its own."""
    own = f"options-complete/{OWN}options.csv"
    return make_bucket({"2008.zip": year_of(), own: day_of(OWN, A=4, AAPL=5)})


class TestChains:
    @pytest.mark.parametrize("folder", ["2008/", "", "a\\b\\"])
    @pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
    def test_each_equals_a_full_scan(
        self, make_bucket: Callable[..., str], client_factory: Client, folder: str, method: int
    ) -> None:
        data = zipped({f"{folder}{d}options.csv": x for d, x in OPTIONS.items()}, method)
        client = client_factory(make_bucket({"2008.zip": data}))
        for day in DAYS:
            for symbol, rows in scan(OPTIONS[day]).items():
                frame = client.get_option_chain(symbol, day)
                assert listed(frame) == rows
                assert set(frame["quote_date"]) == {pd.Timestamp(day)}
                assert not frame["contract"].str.startswith("O:").any()

    def test_what_it_costs_and_where_it_came_from(
        self, client_factory: Client, bucket: str
    ) -> None:
        client = client_factory(bucket)
        planned = client.explain("get_option_chain", "AAPL", DAYS[1])
        assert planned["strategy"].tolist() == ["scan"]
        with zipfile.ZipFile(io.BytesIO(year_of())) as file:
            compressed = file.getinfo(f"2008/{DAYS[1]}options.csv").compress_size
        assert planned["size"].tolist() == [compressed]
        frame = client.get_option_chain("AAPL", DAYS[1])
        origin = origin_of(client, frame)
        assert origin.key == f"2008.zip!2008/{DAYS[1]}options.csv"
        assert (origin.strategy, origin.grouping) == ("scan", "proved")
        assert compressed <= origin.received <= compressed + 1_000_000
        # The day was inflated once; what it taught answers for every underlying of it.
        other = client.get_option_chain("Z", DAYS[1])
        origin = origin_of(client, other)
        assert (origin.strategy, origin.requests, origin.received) == ("twin", 1, 4)
        with pytest.raises(SymbolNotFoundError) as caught:
            client.get_option_chain("AAPLE", DAYS[1])
        assert caught.value.suggestions == ("AAPL",)

    def test_dates(self, client_factory: Client, bucket: str) -> None:
        client = client_factory(bucket)
        assert [str(d)[:10] for d in client.list_option_dates()] == [*DAYS, OWN]
        assert set(client.get_option_chain("A")["quote_date"]) == {pd.Timestamp(OWN)}  # newest
        with pytest.raises(DateNotFoundError) as caught:
            client.get_option_chain("A", "2009-06-01")
        assert caught.value.values["before"] == DAYS[2] and caught.value.values["after"] == OWN
        with pytest.raises(DateNotFoundError):
            client.get_option_chain("A", "2008-12-28")

    def test_only_archives_at_all(
        self, make_bucket: Callable[..., str], client_factory: Client
    ) -> None:
        client = client_factory(make_bucket({"2008.zip": year_of()}))
        assert set(client.get_option_chain("A")["quote_date"]) == {pd.Timestamp(DAYS[2])}
        assert client.get_options_data("A")["quote_date"].nunique() == 3

    def test_the_directory_is_read_once(self, client_factory: Client, bucket: str) -> None:
        client = client_factory(bucket)
        client.list_option_dates()
        before = client.get_cache_stats()["requests"]
        client.list_option_dates()
        client.list_option_dates("AAPL")
        assert client.get_cache_stats()["requests"] == before

    def test_a_file_of_its_own_wins(
        self, make_bucket: Callable[..., str], client_factory: Client
    ) -> None:
        own = f"options/2008/{DAYS[0]}options.csv"
        bucket = make_bucket({"2008.zip": year_of(), own: day_of(DAYS[0], A=3)})
        client = client_factory(bucket)
        assert len(client.get_option_chain("A", DAYS[0])) == 3
        assert len(client.get_option_chain("A", DAYS[1])) == 40
        assert len(client.get_options_data("A", DAYS[0], DAYS[1])) == 3 + 40

    def test_a_damaged_member_teaches_nothing(
        self, make_bucket: Callable[..., str], client_factory: Client
    ) -> None:
        data = bytearray(year_of())
        entry = data.rindex(f"2008/{DAYS[0]}options.csv".encode()) - 46
        data[entry + 16] ^= 1  # its CRC-32 in the directory
        client = client_factory(make_bucket({"2008.zip": bytes(data)}))
        for _ in range(2):
            with pytest.raises(ArchiveError, match="CRC"):
                client.get_option_chain("A", DAYS[0])
        assert len(client.get_option_chain("A", DAYS[1])) == 40

    def test_an_archive_replaced_after_it_was_listed(
        self, make_bucket: Callable[..., str], client_factory: Client, s3: Minio
    ) -> None:
        bucket = make_bucket({"2008.zip": year_of()})
        client = client_factory(bucket)
        assert len(client.list_option_dates()) == 3
        new = zipped({"x.txt": b"x" * 999, f"2008/{DAYS[0]}options.csv": day_of(DAYS[0], A=2)})
        s3.put_object(bucket, "2008.zip", io.BytesIO(new), len(new))
        assert len(client.get_option_chain("A", DAYS[0])) == 2


class TestArchivesThatCannotBeTrusted:
    """Only the day that a doubtful member claims is refused; the others are sound."""

    @pytest.mark.parametrize(
        "names",
        [
            (f"2008/{DAYS[0]}options.csv", f"other/{DAYS[0]}options.csv"),
            (f"2008/{DAYS[0]}options.csv", f"2008/{DAYS[0]}options.csv"),
            (f"../{DAYS[0]}options.csv",),
            (f"2008/../../{DAYS[0]}options.csv",),
        ],
    )
    def test_chains(
        self, make_bucket: Callable[..., str], client_factory: Client, names: tuple[str, ...]
    ) -> None:
        client = client_factory(make_bucket({"2008.zip": self._zip(names, "options")}))
        with pytest.raises(ArchiveError, match=DAYS[0]):
            client.get_option_chain("A", DAYS[0])
        assert listed(client.get_option_chain("A", DAYS[1])) == scan(OPTIONS[DAYS[1]])["A"]
        with pytest.warns(UserWarning, match="1 of 2 days"):
            history = client.get_options_data("A", DAYS[0], DAYS[1])
        assert set(history["quote_date"]) == {pd.Timestamp(DAYS[1])}

    def test_bars(self, make_bucket: Callable[..., str], client_factory: Client) -> None:
        names = (f"../{DAYS[0]}stocks.csv",)
        client = client_factory(make_bucket({"2008.zip": self._zip(names, "stocks")}))
        with pytest.raises(ArchiveError, match=DAYS[0]):
            client.get_historical_data("A", "2008-12-01", "2008-12-31")

    def test_a_damaged_archive_of_another_year_hides_no_dates(
        self, make_bucket: Callable[..., str], client_factory: Client
    ) -> None:
        own = f"options-complete/{OWN}options.csv"
        objects = {"2005.zip": b"<html>502 Bad Gateway</html>", own: day_of(OWN, A=4)}
        client = client_factory(make_bucket(objects))
        for ask in (
            lambda: client.get_option_chain("A", "2010-01-05"),
            lambda: client.get_options_data("A", "2010-02-01", "2010-02-28"),
        ):
            with pytest.raises(DateNotFoundError, match=OWN):
                ask()
        with pytest.raises(ArchiveError, match="2005.zip"):
            client.get_option_chain("A", "2005-05-02")

    @staticmethod
    def _zip(names: tuple[str, ...], what: str) -> bytes:
        rows = {"options": OPTIONS[DAYS[0]], "stocks": stocks_of(0)}[what]
        sound = {"options": OPTIONS[DAYS[1]], "stocks": stocks_of(1)}[what]
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a name that is there twice
            for name in names:
                file.writestr(name, rows)
            file.writestr(f"2008/{DAYS[1]}{what}.csv", sound)
        return sink.getvalue()


class TestManyDays:
    def test_a_range_crosses_from_an_archive_into_files(
        self, client_factory: Client, bucket: str
    ) -> None:
        client = client_factory(bucket)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            frame = client.get_options_data("AAPL", "2008-01-01", "2010-12-31")
        assert frame.groupby("quote_date").size().tolist() == [3000, 3000, 3000, 5]
        origins = client.provenance(frame).origins
        assert [o.key.partition("!")[0] for o in origins] == [
            *["2008.zip"] * 3, f"options-complete/{OWN}options.csv",
        ]  # fmt: skip

    def test_an_open_range_leaves_archives_alone_and_says_so(
        self, client_factory: Client, bucket: str
    ) -> None:
        frame = client_factory(bucket).get_options_data("AAPL")
        assert len(frame) == 5
        assert frame.attrs["stockdb"]["archived_days_left_out"] == 3

    def test_one_contract(self, client_factory: Client, bucket: str) -> None:
        frame = client_factory(bucket).get_contract_history(
            "O:AAPL230120C00010000", "2008-12-30", "2010-12-31"
        )
        assert [str(day)[:10] for day in frame.index] == [DAYS[1], DAYS[2], OWN]

    def test_an_archive_that_cannot_be_read_costs_its_own_days_only(
        self, make_bucket: Callable[..., str], client_factory: Client
    ) -> None:
        objects = {"2007.zip": b"PK\3\4 and no end", "2008.zip": year_of()}
        client = client_factory(make_bucket(objects))
        with pytest.warns(UserWarning, match=r"2007\.zip"):
            assert len(client.list_option_dates()) == 3
        with pytest.warns(UserWarning, match=r"2007\.zip"):
            frame = client.get_options_data("A", "2007-01-01", "2008-12-31")
        assert len(frame) == 120
        assert list(frame.attrs["stockdb"]["errors"]) == ["2007.zip"]
        with pytest.raises(ArchiveError, match=r"2007\.zip"):
            client.get_option_chain("A", "2007-05-01")
        with pytest.raises(ArchiveError):
            client.get_options_data("A", "2007-01-01", "2007-12-31")
        assert len(client.get_option_chain("A", DAYS[0])) == 40


# ------------------------------------------------------------------------------ daily bars

STOCKS = "symbol,open,high,low,close,volume,adjust_close\n"
SESSIONS = ("2009-12-29", "2009-12-30", "2009-12-31")
LATER = ("2010-01-04", "2010-01-05", "2010-01-06")


def stocks_of(number: int) -> bytes:
    """Every symbol's bar of one day; the close of AAPL is 10, 11, 12 ..."""
    rows = [f"{name},{base + number},{base + number + 2},{base + number - 1},{base + number},"
            f"{1000 + number},{(base + number) / 2}"
            for name, base in (("A", 50), ("AAPL", 10), ("BRK.B", 90))]  # fmt: skip
    return (STOCKS + "\n".join(rows) + "\n").encode()


def symbol_file(first: int) -> bytes:
    lines = ["trade_date,Open,High,Low,Close,Volume"]
    for number, day in enumerate(LATER, first):
        base = 10 + number
        lines.append(f"{day},{base},{base + 2},{base - 1},{base},{1000 + number}")
    return ("\n".join(lines) + "\n").encode()


@pytest.fixture(scope="module")
def crossing(make_bucket: Callable[..., str]) -> str:
    """AAPL: three sessions of 2009 in a ZIP, three of 2010 in a file of its own."""
    year = zipped({f"2009/{day}stocks.csv": stocks_of(n) for n, day in enumerate(SESSIONS)})
    return make_bucket({"2009.zip": year, "stocks-2010-2025/AAPL.csv": symbol_file(3)})


class TestBars:
    def test_one_call_crosses_from_the_archive_into_the_symbols_file(
        self, client_factory: Client, crossing: str
    ) -> None:
        client = client_factory(crossing)
        frame = client.get_historical_data("AAPL", "2009-12-29", "2010-01-06")
        assert [str(day)[:10] for day in frame.index] == [*SESSIONS, *LATER]
        assert frame["close"].tolist() == [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]
        assert frame["volume"].tolist() == [1000.0, 1001, 1002, 1003, 1004, 1005]
        origins = {o.dataset: o for o in client.provenance(frame).origins}
        old, new = origins["stocks_2002_2009"], origins["stocks"]
        assert (old.rows, new.rows) == (3, 3)
        assert old.key == "2009.zip!2009/2009-12-29stocks.csv .. 2009.zip!2009/2009-12-31stocks.csv"
        assert new.key == "stocks-2010-2025/AAPL.csv"
        assert frame.attrs["stockdb"]["adjustment"] == "none"

    def test_the_range_decides_which_side_is_read(
        self, client_factory: Client, crossing: str
    ) -> None:
        client = client_factory(crossing)
        old = client.get_historical_data("AAPL", "2009-12-30", "2009-12-31")
        assert old["close"].tolist() == [11.0, 12.0]
        new = client.get_historical_data("AAPL", "2010-01-01", "2010-01-05")
        assert [o.dataset for o in client.provenance(new).origins] == ["stocks"]
        # One that only the archive knows, in either spelling.
        only = client.get_historical_data("BRK-B", "2009-12-29", "2010-01-06")
        assert only["close"].tolist() == [90.0, 91.0, 92.0]

    def test_prices_of_another_adjustment_are_never_joined(
        self, client_factory: Client, crossing: str
    ) -> None:
        datasets = {
            **load_settings(directory=Path("/nonexistent")).datasets,
            "stocks": Dataset(
                key="stocks-2010-2025/{SYMBOL}.csv", interval="daily", adjustment="splits",
                start="2010-01-01",
            ),
        }  # fmt: skip
        client = client_factory(crossing, datasets=datasets)
        with pytest.raises(DataError, match="adjust") as caught:
            client.get_historical_data("AAPL", "2009-12-29", "2010-01-06")
        assert "none" in str(caught.value) and "splits" in str(caught.value)
        # Either side alone is what it says.
        assert len(client.get_historical_data("AAPL", "2009-12-29", "2009-12-31")) == 3
        new = client.get_historical_data("AAPL", "2010-01-01", "2010-01-06", adjust="splits")
        assert len(new) == 3

    def test_against_the_csv_module(self, client_factory: Client, crossing: str) -> None:
        client = client_factory(crossing)
        frame = client.get_historical_data("A", "2009-12-01", "2009-12-31")
        for number, day in enumerate(SESSIONS):
            rows = csv.DictReader(io.StringIO(stocks_of(number).decode()))
            row: dict[str, Any] = next(row for row in rows if row["symbol"] == "A")
            bar = frame.loc[pd.Timestamp(dt.date.fromisoformat(day))]
            assert [bar[name] for name in ("open", "high", "low", "close")] == [
                float(row[name]) for name in ("open", "high", "low", "close")
            ]
