"""Objects that change, servers that stop, and folders that continue each other."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest
from minio import Minio

from minio_data_integration import MinIODataIntegration
from stockdb import errors
from stockdb.demo.server import EmbeddedServer
from stockdb.settings import Dataset
from tests.conftest import ClientFactory, admin_of, fill
from tests.contract.front_door_tools import (
    JANUARY,
    Fill,
    bars,
    days_of,
    key,
    note,
    values,
)


class TestFreshness:
    def test_a_replaced_object(
        self, s3: Minio, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        bucket = make_bucket({key("AAPL"): bars(JANUARY[:5])})
        minio = client_factory(bucket)
        assert len(minio.get_historical_data("AAPL")) == 5
        fill(s3, bucket, {key("AAPL"): bars(JANUARY[:7], level=200.0)})
        held = minio.get_historical_data("AAPL")  # within its TTL nobody is asked
        assert (len(held), note(held)["freshness"]) == (5, "fresh")
        new = minio.get_historical_data("AAPL", max_age=0)
        assert new.to_numpy().tolist() == [values(number, 200.0) for number in range(7)]
        assert note(new)["freshness"] == "replaced"
        assert minio.get_cache_stats()["replaced"] == 1
        assert len(minio.get_historical_data("AAPL", offline=True)) == 7

    def test_a_dataset_with_a_ttl_of_its_own(
        self, s3: Minio, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        bucket = make_bucket({key("AAPL"): bars(JANUARY[:5])})
        dataset = {"key": key("{SYMBOL}"), "interval": "daily", "ttl_seconds": 0}
        minio = client_factory(bucket, datasets={"stocks": dataset})
        assert len(minio.get_historical_data("AAPL")) == 5
        fill(s3, bucket, {key("AAPL"): bars(JANUARY[:7])})
        assert len(minio.get_historical_data("AAPL")) == 7

    def test_a_deleted_object(
        self, s3: Minio, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        bucket = make_bucket({key("AAPL"): bars(), key("KO"): bars()})
        minio = client_factory(bucket)
        assert len(minio.get_historical_data("AAPL")) == 21
        s3.remove_object(bucket, key("AAPL"))
        for flags in ({}, {"allow_stale": True}):  # the last good version has no right to live
            with pytest.raises(errors.SymbolNotFoundError):
                minio.get_historical_data("AAPL", max_age=0, **flags)
        with pytest.raises(errors.UnavailableError, match="offline"):
            minio.get_historical_data("AAPL", offline=True)
        assert minio.clear_cache(symbol="AAPL").entries == 0

    @pytest.mark.parametrize("stem", ["AAPL", "aapl"])
    def test_a_stopped_server(
        self, embedded_server: EmbeddedServer, tmp_path: Path, stem: str
    ) -> None:
        with EmbeddedServer() as server:
            s3 = admin_of(server)
            s3.make_bucket("stockdb")
            fill(s3, "stockdb", {key(stem): bars()})
            clients = ClientFactory(server, tmp_path)
            minio = clients()
            frame = minio.get_historical_data("AAPL")
        fresh = minio.get_historical_data("AAPL")  # the TTL says that nobody need be asked
        assert note(fresh)["freshness"] == "fresh"
        with pytest.raises(errors.UnavailableError):
            minio.get_historical_data("AAPL", max_age=0)
        stale = minio.get_historical_data("AAPL", max_age=0, allow_stale=True)
        pd.testing.assert_frame_equal(stale, frame)
        assert note(stale)["freshness"] == "stale"
        assert minio.get_cache_stats()["stale_serves"] == 1
        offline = minio.get_historical_data("AAPL", max_age=0, offline=True)
        pd.testing.assert_frame_equal(offline, frame)
        assert note(offline)["freshness"] == "offline"
        with pytest.raises(errors.UnavailableError):
            minio.get_historical_data("MSFT")
        # A later process with the same cache is served as well.
        later = clients(
            cache_dir=minio.settings.cache.cache_dir, max_attempts=1, listing_ttl_seconds=0
        )
        for flags, state in (({"offline": True}, "offline"), ({"allow_stale": True}, "stale")):
            again = later.get_historical_data("AAPL", max_age=0, **flags)
            pd.testing.assert_frame_equal(again, frame)
            assert note(again)["freshness"] == state
        clients.close()

    def test_without_a_cache(self, make_bucket: Fill, client_factory: ClientFactory) -> None:
        minio = client_factory(make_bucket({key("AAPL"): bars()}), cache_enabled=False)
        for _ in range(2):
            frame = minio.get_historical_data("AAPL")
            assert note(frame)["freshness"] == "fetched" and len(frame) == 21
        with pytest.raises(errors.UnavailableError, match="cache"):
            minio.get_historical_data("AAPL", offline=True)
        assert minio.get_cache_stats()["entries"] == 0
        assert minio.clear_cache().entries == 0

    def test_the_cache_can_be_cleared_by_symbol(
        self, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        minio = client_factory(make_bucket({key("AAPL"): bars(), key("KO"): bars()}))
        minio.bulk_download(["AAPL", "KO"])
        cleared = minio.clear_cache(symbol="aapl")
        assert (cleared.entries, cleared.remaining_entries) == (1, 1)
        assert cleared.bytes > 0
        with pytest.raises(errors.UnavailableError):
            minio.get_historical_data("AAPL", offline=True)
        assert len(minio.get_historical_data("KO", offline=True)) == 21


class TestTwoDatasets:
    """A second folder continues the first; where both hold a date, the first counts."""

    OLD, NEW = JANUARY[:12], JANUARY[10:]

    def client(
        self, make_bucket: Fill, make: ClientFactory, adjustment: str = "none"
    ) -> MinIODataIntegration:
        objects = {
            key("BOTH"): bars(self.OLD),
            "stocks-new/BOTH.csv": bars(self.NEW, level=110.5),
            key("OLD"): bars(self.OLD),
            "stocks-new/NEW.csv": bars(self.NEW, level=500.0),
        }
        new = Dataset(
            key="stocks-new/{SYMBOL}.csv",
            interval="daily",
            start="2024-01-17",
            adjustment=adjustment,  # type: ignore[arg-type]
        )
        return make(make_bucket(objects), datasets={"new": new})

    def test_one_call_joins_them(self, make_bucket: Fill, client_factory: ClientFactory) -> None:
        minio = self.client(make_bucket, client_factory)
        frame = minio.get_historical_data("BOTH")
        assert days_of(frame) == JANUARY
        old = [values(number) for number in range(12)]
        new = [values(number, 110.5) for number in range(2, 11)]
        assert frame.to_numpy().tolist() == old + new
        assert note(frame)["dataset"] == "stocks,new"
        known = minio.provenance(frame)
        assert [origin.key for origin in known.origins] == [key("BOTH"), "stocks-new/BOTH.csv"]
        assert minio.get_historical_data("BOTH", interval="monthly")["volume"].tolist() == [
            sum(row[4] for row in old + new)
        ]

    def test_a_symbol_of_one_of_them(
        self, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        minio = self.client(make_bucket, client_factory)
        assert days_of(minio.get_historical_data("OLD")) == self.OLD
        assert days_of(minio.get_historical_data("NEW")) == self.NEW
        with pytest.raises(errors.SymbolNotFoundError):
            minio.get_historical_data("NONE")

    def test_a_range_of_one_asks_only_that_one(
        self, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        minio = self.client(make_bucket, client_factory)
        frame = minio.get_historical_data("BOTH", "2024-01-03", "2024-01-05")
        assert note(frame)["dataset"] == "stocks"
        assert minio.get_cache_stats()["requests"] == 1

    def test_different_adjustments_never_mix(
        self, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        minio = self.client(make_bucket, client_factory, adjustment="splits")
        with pytest.raises(errors.DataError, match="different adjustment"):
            minio.get_historical_data("BOTH")
        frame = minio.get_historical_data("BOTH", end_date="2024-01-10")
        assert note(frame)["adjustment"] == "none"

    @pytest.mark.shared_data
    def test_the_real_files_of_2025_and_2026(
        self, shared_data: Path, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        folders = ("stocks-2010-2025", "stocks-2026")
        files = {f: (shared_data / f / "AAPL.csv").read_text() for f in folders}
        bucket = make_bucket({f"{f}/AAPL.csv": text.encode() for f, text in files.items()})
        datasets = {
            "stocks": {"key": f"{folders[0]}/{{SYMBOL}}.csv", "interval": "daily",
                       "adjustment": "splits", "end": "2025-12-31"},
            "stocks_2026": {"key": f"{folders[1]}/{{SYMBOL}}.csv", "interval": "daily",
                            "adjustment": "splits", "start": "2026-01-01"},
        }  # fmt: skip
        minio = client_factory(bucket, datasets=datasets)
        lines = [line for text in files.values() for line in text.splitlines()[1:]]
        frame = minio.get_historical_data("AAPL", "2025-12-29", "2026-01-09")
        wanted = [line.split(",") for line in lines if "2025-12-29" <= line[:10] <= "2026-01-09"]
        assert [str(day) for day in days_of(frame)] == [record[0] for record in wanted]
        assert frame.to_numpy().tolist() == [[float(x) for x in record[1:]] for record in wanted]
        assert len(minio.get_historical_data("AAPL")) == len(lines)
        week = minio.get_historical_data("AAPL", "2025-12-29", "2026-01-09", "weekly")
        assert days_of(week) == [dt.date(2026, 1, 2), dt.date(2026, 1, 9)]
        assert week["partial"].tolist() == [False, False]
