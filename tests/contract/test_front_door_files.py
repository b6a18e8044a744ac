"""Listings of the rest of the bucket, and copies to a local disk."""

from __future__ import annotations

import datetime as dt
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from minio_data_integration import MinIODataIntegration
from stockdb import errors
from tests.conftest import ClientFactory
from tests.contract.front_door_tools import (
    Fill,
    bars,
    key,
)


class TestFiles:
    @pytest.fixture
    def objects(self) -> dict[str, bytes]:
        return {
            key("AAPL"): bars(),
            key("KO"): b"x",
            "stocks-2010-2025/readme.txt": b"not a symbol's file",
            "options-complete/2024-01-03options.csv": b"a",
            "options-complete/2024-01-02options.csv": b"b",
            "options-complete/2024-02-31options.csv": b"no such day",
            "options-complete/notes.csv": b"c",
            "options/2008/2008-05-06options.csv": b"d",
            "options-2010/2010-05-06options.csv": b"a copy",
            "financials/A/AAPL income.xlsx": b"\0\1\2",
            "financials/B.xlsx": b"b",
        }

    @pytest.fixture
    def client(
        self, objects: dict[str, bytes], make_bucket: Fill, client_factory: ClientFactory
    ) -> MinIODataIntegration:
        return client_factory(make_bucket(objects))

    def test_list_files(self, client: MinIODataIntegration, objects: dict[str, bytes]) -> None:
        files = client.list_files("financials")
        assert [info.key for info in files] == [
            "financials/A/AAPL income.xlsx", "financials/B.xlsx",
        ]  # fmt: skip
        for info in files:
            assert info.size == len(objects[info.key])
            assert info.etag == hashlib.md5(objects[info.key]).hexdigest()
            assert isinstance(info.last_modified, dt.datetime) and info.last_modified.tzinfo
        assert [info.key for info in client.list_files("stocks")] == [key("AAPL"), key("KO")]
        assert client.list_files("samples") == []

    def test_an_unknown_dataset(self, client: MinIODataIntegration) -> None:
        for call in (client.list_files, client.list_symbols):
            with pytest.raises(errors.NotFoundError, match="'stonks'") as caught:
                call("stonks")
            assert "stocks" in caught.value.remedy

    def test_list_symbols(self, client: MinIODataIntegration) -> None:
        assert client.list_symbols() == ["AAPL", "KO"]
        assert client.list_symbols("stocks") == ["AAPL", "KO"]

    def test_list_option_dates(self, client: MinIODataIntegration) -> None:
        dates = client.list_option_dates()
        assert isinstance(dates, pd.DatetimeIndex) and str(dates.dtype) == "datetime64[ns]"
        assert [str(date.date()) for date in dates] == ["2008-05-06", "2024-01-02", "2024-01-03"]
        assert client.list_option_dates("aapl").equals(dates)
        with pytest.raises(errors.DataError):
            client.list_option_dates("../x")

    def test_list_datasets(self, client: MinIODataIntegration) -> None:
        table = client.list_datasets()
        assert table.index.name == "dataset"
        assert table.columns.tolist() == ["kind", "interval", "key", "adjustment", "available"]
        held = {"stocks", "options", "options_2002_2009", "options_2010_copy", "financials"}
        assert set(table.index[table["available"]]) == held
        assert table.loc["stocks", "key"] == "stocks-2010-2025/{SYMBOL}.csv"

    def test_download_to_a_file_and_to_a_folder(
        self, client: MinIODataIntegration, objects: dict[str, bytes], tmp_path: Path
    ) -> None:
        name = "financials/A/AAPL income.xlsx"
        target = client.download_file(name, tmp_path / "mine.xlsx")
        assert target == tmp_path / "mine.xlsx" and target.read_bytes() == objects[name]
        target = client.download_file(name, str(tmp_path))
        assert target == tmp_path / "AAPL income.xlsx" and target.read_bytes() == objects[name]
        target.write_bytes(b"older, and longer than the new one")
        assert client.download_file(name, target).read_bytes() == objects[name]
        names = {path.name for path in tmp_path.iterdir() if path.is_file()}
        assert names == {"mine.xlsx", "AAPL income.xlsx"}

    def test_a_failed_download_leaves_everything_as_it_was(
        self, client: MinIODataIntegration, tmp_path: Path
    ) -> None:
        folder = tmp_path / "here"
        folder.mkdir()
        (folder / "held.csv").write_bytes(b"mine")
        for target in (folder, folder / "held.csv", folder / "new.csv"):
            with pytest.raises(errors.NotFoundError):
                client.download_file("financials/none.xlsx", target)
        with pytest.raises(errors.NotFoundError, match="missing") as caught:
            client.download_file("financials/B.xlsx", folder / "missing" / "b.xlsx")
        assert isinstance(caught.value, FileNotFoundError)
        for wrong in ("", "/etc/passwd", "../../etc/passwd", "a/../../b", "a\0b"):
            with pytest.raises(errors.DataError, match="is not an object key"):
                client.download_file(wrong, folder)
        with pytest.raises(errors.StockDBError):
            client.download_file("financials/", folder)
        assert [path.name for path in folder.iterdir()] == ["held.csv"]
        assert (folder / "held.csv").read_bytes() == b"mine"

    def test_many_downloads_to_one_place_leave_one_whole_file(
        self, client: MinIODataIntegration, objects: dict[str, bytes], tmp_path: Path
    ) -> None:
        target = tmp_path / "aapl.csv"
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: client.download_file(key("AAPL"), target), range(16)))
        assert target.read_bytes() == objects[key("AAPL")]
        assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"aapl.csv"}
