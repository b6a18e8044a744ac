"""Where frames come from, what was found in them, and why they are empty."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from minio_data_integration import MinIODataIntegration
from stockdb import errors
from tests.conftest import ClientFactory
from tests.contract.front_door_tools import (
    COLUMNS,
    HEADER,
    JANUARY,
    Fill,
    bars,
    days_of,
    key,
    note,
    three_symbols,
    values,
)


@pytest.fixture(scope="module")
def minio(make_bucket: Fill, module_clients: ClientFactory) -> MinIODataIntegration:
    return three_symbols(make_bucket, module_clients)


class TestProvenance:
    def test_the_note_is_small_json(self, minio: MinIODataIntegration) -> None:
        frame = minio.get_historical_data("AAPL")
        text = json.dumps(frame.attrs)
        assert json.loads(text) == frame.attrs
        assert len(text) < 1_000
        assert {
            "dataset",
            "adjustment",
            "freshness",
            "simulated",
            "empty_reason",
            "provenance",
        } <= (note(frame).keys())
        assert note(frame)["dataset"] == "stocks"
        assert note(frame)["empty_reason"] is None
        assert note(frame)["simulated"] is False

    def test_it_stays_small_for_many_symbols(
        self, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        symbols = [f"S{number:03d}" for number in range(60)]
        bucket = make_bucket({key(symbol): bars(JANUARY[:2]) for symbol in symbols})
        minio = client_factory(bucket)
        frame = minio.get_historical_data(symbols)
        assert len(frame) == 120
        assert json.loads(json.dumps(frame.attrs)) == frame.attrs
        assert len(json.dumps(frame.attrs)) < 2_000
        known = minio.provenance(frame)
        assert [origin.key for origin in known.origins] == [key(symbol) for symbol in symbols]
        assert known.requests == 60
        result = minio.bulk_download(symbols)
        assert len(minio.provenance(result.to_frame()).origins) == 60

    @pytest.mark.parametrize("symbol", ["AAPL", ["AAPL", "KO"]])
    def test_it_survives_parquet(
        self, minio: MinIODataIntegration, tmp_path: Path, symbol: Any
    ) -> None:
        frame = minio.get_historical_data(symbol)
        frame.to_parquet(tmp_path / "frame.parquet")
        again = pd.read_parquet(tmp_path / "frame.parquet")
        assert again.attrs == frame.attrs and again.attrs
        assert minio.provenance(again).summary == note(frame)

    def test_the_whole_of_it(self, make_bucket: Fill, client_factory: ClientFactory) -> None:
        data = bars()
        minio = client_factory(make_bucket({key("AAPL"): data}))
        begin = dt.datetime.now(dt.UTC).replace(microsecond=0)
        frame = minio.get_historical_data("AAPL", "2024-01-03", "2024-01-05")
        known = minio.provenance(frame)
        (origin,) = known.origins
        assert (origin.dataset, origin.key) == ("stocks", key("AAPL"))
        assert origin.etag == hashlib.md5(data).hexdigest()
        assert (origin.requests, origin.received, origin.rows) == (1, len(data), 3)
        assert (known.requests, known.received) == (1, len(data))
        assert origin.state == note(frame)["freshness"] == "fetched"
        fetched = dt.datetime.fromisoformat(origin.fetched_at)
        assert begin <= fetched <= dt.datetime.now(dt.UTC)
        assert known.summary == note(frame) and known.id == note(frame)["provenance"]
        assert known.to_frame()["key"].tolist() == [key("AAPL")]
        warm = minio.provenance(minio.get_historical_data("AAPL"))
        assert (warm.requests, warm.received) == (0, 0)
        assert warm.summary["freshness"] == "fresh"
        asked = minio.provenance(minio.get_historical_data("AAPL", max_age=0))
        assert (asked.requests, asked.received) == (1, 0)
        assert asked.summary["freshness"] == "revalidated"

    def test_a_foreign_frame(
        self, minio: MinIODataIntegration, client_factory: ClientFactory
    ) -> None:
        for foreign in (pd.DataFrame({"close": [1.0]}), None, 5):
            with pytest.raises(errors.NotFoundError, match="Nothing is known"):
                minio.provenance(foreign)
        other = client_factory(minio.settings.connection.bucket_name).get_historical_data("KO")
        with pytest.raises(errors.NotFoundError):
            minio.provenance(other)

    def test_simulated_objects_say_so(
        self, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        minio = client_factory(make_bucket({key("AAPL"): bars()}, simulated="true"))
        for _ in range(2):
            frame = minio.get_historical_data("AAPL")
            assert note(frame)["simulated"] is True
        assert note(minio.get_historical_data(["AAPL"]))["simulated"] is True


BROKEN = (
    f"{HEADER}\n"
    "2024-01-02,10,11,9,10.5,100\n"
    "2024-01-03,10,8,9,10.5,100\n"  # high below low
    "2024-01-04,10,11,9,10.5,0\n"  # a warning only
    "2024-01-05,10,11,9,0,100\n"  # no price
).encode()


class TestValidation:
    @pytest.fixture
    def bucket(self, make_bucket: Fill) -> str:
        return make_bucket({key("BAD"): BROKEN, key("GOOD"): bars()})

    def test_flag_keeps_and_counts(self, bucket: str, client_factory: ClientFactory) -> None:
        frame = client_factory(bucket).get_historical_data("BAD")
        assert len(frame) == 4
        found = note(frame)["validation"]
        assert found["rules"]["high_low"] == 1
        assert found["rules"]["price_range"] == 1
        assert found["rules"]["zero_volume"] == 1

    def test_switched_off(self, bucket: str, client_factory: ClientFactory) -> None:
        frame = client_factory(bucket, policy="raise").get_historical_data("BAD", validate=False)
        assert len(frame) == 4
        assert note(frame)["validation"] is None

    def test_drop_removes_the_rows_with_errors(
        self, bucket: str, client_factory: ClientFactory
    ) -> None:
        minio = client_factory(bucket, policy="drop")
        frame = minio.get_historical_data("BAD")
        assert days_of(frame) == [dt.date(2024, 1, 2), dt.date(2024, 1, 4)]
        assert len(minio.get_historical_data("GOOD")) == 21
        # A range of which every row is dropped is empty, and says why.
        frame = minio.get_historical_data("BAD", "2024-01-05", "2024-01-05")
        assert frame.empty
        assert "validation" in note(frame)["empty_reason"]

    def test_raise_stops_with_the_report(self, bucket: str, client_factory: ClientFactory) -> None:
        minio = client_factory(bucket, policy="raise")
        with pytest.raises(errors.ValidationError, match="BAD") as caught:
            minio.get_historical_data("BAD")
        assert {finding.rule for finding in caught.value.report.errors} >= {"high_low"}
        assert caught.value.symbol == "BAD"
        assert len(minio.get_historical_data("GOOD")) == 21
        assert len(minio.get_historical_data("BAD", "2024-01-02", "2024-01-02")) == 1

    @pytest.mark.parametrize("policy", ["drop", "raise"])
    def test_a_missing_column_cannot_be_dropped(
        self, make_bucket: Fill, client_factory: ClientFactory, policy: str
    ) -> None:
        data = b"Date,Open,High,Low,Close\n2024-01-02,10,11,9,10.5\n"
        minio = client_factory(make_bucket({key("NOVOL"): data}), policy=policy)
        with pytest.raises(errors.ValidationError, match="volume"):
            minio.get_historical_data("NOVOL")

    def test_own_rules(self, minio: MinIODataIntegration) -> None:
        frame = minio.get_historical_data("AAPL")
        assert minio.validate_data(frame).ok
        report = minio.validate_data(frame, max_price=110.0)
        assert [finding.rule for finding in report.errors] == ["price_range"]
        # Sessions 9 to 20 have a high of base + 2 above 110: 100 + 9 + 2.
        assert report.errors[0].count == 12
        with pytest.raises(errors.ConfigurationError, match="max_prize"):
            minio.validate_data(frame, max_prize=110.0)

    @pytest.mark.parametrize("validate", [True, False])
    @pytest.mark.parametrize("close", ["10.5", "10.75"])
    def test_dates_that_repeat_come_out_once(
        self, make_bucket: Fill, client_factory: ClientFactory, close: str, validate: bool
    ) -> None:
        data = (
            f"{HEADER}\n2024-01-02,10,11,9,10.5,100\n2024-01-03,10,11,9,10.5,100\n"
            f"2024-01-02,10,11,9,{close},100\n"
        ).encode()
        minio = client_factory(make_bucket({key("TWICE"): data}))
        frame = minio.get_historical_data("TWICE", validate=validate)
        assert days_of(frame) == [dt.date(2024, 1, 2), dt.date(2024, 1, 3)]
        assert frame["close"].iloc[0] == float(close)  # the last row of a date counts
        if validate:
            rule = "duplicate" if close == "10.5" else "conflicting_duplicate"
            assert rule in note(frame)["validation"]["rules"]


class TestAdjustment:
    @pytest.fixture
    def bucket(self, make_bucket: Fill) -> str:
        return make_bucket({key("AAPL"): bars()})

    def client(self, make: ClientFactory, bucket: str, held: str) -> MinIODataIntegration:
        dataset = {"key": "stocks-2010-2025/{SYMBOL}.csv", "interval": "daily", "adjustment": held}
        return make(bucket, datasets={"stocks": dataset})

    @pytest.mark.parametrize(
        ("held", "asked", "lacking"),
        [
            ("none", "splits", "splits"),
            ("none", "all", "splits and dividends"),
            ("splits", "all", "dividends"),
        ],
    )
    def test_what_cannot_be_adjusted_raises(
        self, bucket: str, client_factory: ClientFactory, held: str, asked: Any, lacking: str
    ) -> None:
        minio = self.client(client_factory, bucket, held)
        with pytest.raises(errors.DataError, match=f"needs {lacking} that are not"):
            minio.get_historical_data("AAPL", adjust=asked)

    @pytest.mark.parametrize(
        ("held", "asked"),
        [("none", "none"), ("splits", "none"), ("splits", "splits"), ("all", "splits"),
         ("all", "all")],
    )  # fmt: skip
    def test_what_is_adjusted_is_recorded_and_never_divided_again(
        self, bucket: str, client_factory: ClientFactory, held: str, asked: Any
    ) -> None:
        minio = self.client(client_factory, bucket, held)
        for _ in range(2):
            frame = minio.get_historical_data("AAPL", adjust=asked)
            assert note(frame)["adjustment"] == held
            assert frame.to_numpy().tolist() == [values(number) for number in range(21)]

    def test_an_unknown_adjustment(self, minio: MinIODataIntegration) -> None:
        with pytest.raises(errors.ConfigurationError, match="both"):
            minio.get_historical_data("AAPL", adjust="both")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def gap(make_bucket: Fill, module_clients: ClientFactory) -> MinIODataIntegration:
    """A symbol without the session of the 10th."""
    days = [day for day in JANUARY if day != dt.date(2024, 1, 10)]
    return module_clients(make_bucket({key("GAP"): bars(days)}))


class TestEmptyRanges:
    @pytest.mark.parametrize("interval", ["daily", "weekly", "monthly"])
    @pytest.mark.parametrize(
        ("start", "end", "reason"),
        [
            ("2124-01-03", "2124-01-04", "future"),
            ("2124-01-03", None, "future"),
            ("2024-01-06", "2024-01-07", "no session"),
            ("2024-01-15", "2024-01-15", "no session"),
            ("2024-01-01", "2024-01-01", "no session"),
            ("2011-06-01", "2011-06-30", "before the first bar held (2024-01-02)"),
            (None, "2023-12-29", "before the first bar held (2024-01-02)"),
            ("2005-06-01", "2005-06-30", "before the first bar held (2024-01-02)"),
            ("2024-02-05", "2024-02-09", "after the newest bar held (2024-01-31)"),
            ("2024-02-05", None, "after the newest bar held (2024-01-31)"),
            ("2024-01-10", "2024-01-10", "though the exchange was open"),
        ],
    )
    def test_each_has_its_reason(
        self,
        gap: MinIODataIntegration,
        start: str | None,
        end: str | None,
        reason: str,
        interval: str,
    ) -> None:
        frame = gap.get_historical_data("GAP", start, end, interval)
        assert frame.empty
        assert reason in note(frame)["empty_reason"]
        assert frame.index.name == "date" and str(frame.index.dtype) == "datetime64[ns]"
        assert {str(frame[name].dtype) for name in COLUMNS} == {"float64"}
        assert frame.columns.tolist() == COLUMNS + ["partial"] * (interval != "daily")
        if interval != "daily":
            assert str(frame["partial"].dtype) == "bool"
        assert json.loads(json.dumps(frame.attrs)) == frame.attrs
        assert gap.provenance(frame).origins[0].key == key("GAP")

    def test_a_file_without_rows(self, make_bucket: Fill, client_factory: ClientFactory) -> None:
        minio = client_factory(make_bucket({key("NONE"): f"{HEADER}\n".encode()}))
        frame = minio.get_historical_data("NONE")
        assert frame.empty and "no rows" in note(frame)["empty_reason"]
