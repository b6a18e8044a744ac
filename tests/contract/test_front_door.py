"""What ``MinIODataIntegration`` promises, on small files whose every value is written here."""

from __future__ import annotations

import datetime as dt
import io
import itertools
import json
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from minio import Minio

from minio_data_integration import MinIODataIntegration
from stockdb import errors
from stockdb.demo.server import EmbeddedServer
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


class TestDates:
    @pytest.mark.parametrize(
        "kind",
        [
            lambda day: day,
            lambda day: str(day),
            lambda day: f"{day:%Y%m%d}",
            lambda day: f"{day}T00:00:00",
            lambda day: f"{day} 00:00",
            lambda day: dt.datetime.combine(day, dt.time()),
            lambda day: pd.Timestamp(day),
            lambda day: np.datetime64(day),
            lambda day: np.datetime64(day, "ns"),
            lambda day: pd.Timestamp(day, tz="America/New_York"),
            lambda day: pd.Timestamp(day, tz="America/New_York").tz_convert("Asia/Tokyo"),
        ],
        ids=["date", "text", "compact", "iso", "minutes", "datetime", "Timestamp", "datetime64",
             "datetime64ns", "zoned", "tokyo"],
    )  # fmt: skip
    def test_every_kind_names_the_same_sessions(
        self, minio: MinIODataIntegration, kind: Callable[[dt.date], Any]
    ) -> None:
        first, last = dt.date(2024, 1, 9), dt.date(2024, 1, 17)
        frame = minio.get_historical_data("AAPL", kind(first), kind(last))
        assert days_of(frame) == [day for day in JANUARY if first <= day <= last]

    def test_a_bare_end_date_includes_that_session(self, minio: MinIODataIntegration) -> None:
        frame = minio.get_historical_data("AAPL", end_date="2024-01-31")
        assert days_of(frame)[-1] == dt.date(2024, 1, 31)

    def test_an_open_end_is_everything(self, minio: MinIODataIntegration) -> None:
        assert days_of(minio.get_historical_data("AAPL")) == JANUARY
        assert days_of(minio.get_historical_data("AAPL", "2024-01-30")) == JANUARY[-2:]
        assert days_of(minio.get_historical_data("AAPL", None, "2024-01-03")) == JANUARY[:2]

    def test_one_day(self, minio: MinIODataIntegration) -> None:
        frame = minio.get_historical_data("AAPL", "2024-01-10", "2024-01-10")
        assert frame[COLUMNS].to_numpy().tolist() == [values(6)]

    def test_aliases(self, minio: MinIODataIntegration) -> None:
        asked = minio.get_historical_data("AAPL", start="2024-01-09", end="2024-01-11")
        same = minio.get_historical_data("AAPL", start_date="2024-01-09", end_date="2024-01-11")
        pd.testing.assert_frame_equal(asked, same)
        assert len(asked) == 3
        bulk = minio.bulk_download(["AAPL"], start="2024-01-09", end="2024-01-11")
        pd.testing.assert_frame_equal(bulk["AAPL"], same)
        ((_, frame),) = minio.iter_historical_data(["AAPL"], start="2024-01-09", end="2024-01-11")
        pd.testing.assert_frame_equal(frame, same)

    def test_one_end_said_twice_is_refused(self, minio: MinIODataIntegration) -> None:
        with pytest.raises(errors.RangeError, match="start"):
            minio.get_historical_data("AAPL", start_date="2024-01-09", start="2024-01-10")
        with pytest.raises(errors.RangeError, match="end"):
            minio.get_historical_data("AAPL", end_date="2024-01-09", end="2024-01-10")

    @pytest.mark.parametrize("ends", [("2024-02-01", "2024-01-01"), ("2024-01-03", "2024-01-02")])
    def test_a_reversed_range(self, minio: MinIODataIntegration, ends: tuple[str, str]) -> None:
        with pytest.raises(errors.RangeError, match="lies after"):
            minio.get_historical_data("AAPL", *ends)
        with pytest.raises(ValueError, match="lies after"):
            minio.bulk_download(["AAPL"], *ends)

    @pytest.mark.parametrize("wrong", ["soon", "2024-02-30", "01/02/2024", 20240102, pd.NaT, ""])
    def test_what_is_no_date(self, minio: MinIODataIntegration, wrong: Any) -> None:
        with pytest.raises(errors.RangeError):
            minio.get_historical_data("AAPL", wrong)

    def test_an_interval_that_nobody_knows(self, minio: MinIODataIntegration) -> None:
        with pytest.raises(errors.ConfigurationError, match="7m") as caught:
            minio.get_historical_data("AAPL", interval="7m")
        assert "5m" in caught.value.remedy

    def test_an_interval_that_is_not_held(self, minio: MinIODataIntegration) -> None:
        with pytest.raises(errors.ConfigurationError, match="no 5m bars") as caught:
            minio.get_historical_data("AAPL", interval="5m")
        assert "daily" in caught.value.remedy


class TestShapes:
    def test_a_string_gives_a_flat_frame(self, minio: MinIODataIntegration) -> None:
        frame = minio.get_historical_data("AAPL")
        assert isinstance(frame.index, pd.DatetimeIndex) and frame.index.name == "date"
        assert str(frame.index.dtype) == "datetime64[ns]"
        assert frame.index.is_unique and frame.index.is_monotonic_increasing
        assert frame.columns.tolist() == COLUMNS
        assert set(map(str, frame.dtypes)) == {"float64"}
        assert frame.to_numpy().tolist() == [values(number) for number in range(21)]

    @pytest.mark.parametrize("symbols", [["AAPL"], ["MSFT", "AAPL"], ("KO",), pd.Index(["KO"])])
    def test_a_list_gives_the_long_form(self, minio: MinIODataIntegration, symbols: Any) -> None:
        frame = minio.get_historical_data(symbols)
        assert frame.index.names == ["symbol", "date"]
        assert str(frame.index.levels[1].dtype) == "datetime64[ns]"
        assert frame.columns.tolist() == COLUMNS
        assert list(dict.fromkeys(frame.index.get_level_values("symbol"))) == list(symbols)
        for symbol in symbols:
            flat = minio.get_historical_data(symbol)
            pd.testing.assert_frame_equal(frame.loc[symbol], flat, check_freq=False)

    def test_one_failing_symbol_changes_no_shape(self, minio: MinIODataIntegration) -> None:
        with pytest.warns(UserWarning, match="1 of 3 symbols failed: NOSUCH"):
            frame = minio.get_historical_data(["AAPL", "NOSUCH", "KO"])
        assert frame.index.names == ["symbol", "date"]
        assert set(frame.index.get_level_values("symbol")) == {"AAPL", "KO"}
        why = "There is no symbol 'NOSUCH' in dataset 'stocks'."
        assert (note(frame)["failed"], note(frame)["errors"]) == (1, {"NOSUCH": why})
        known = minio.provenance(frame)
        assert known.errors == {"NOSUCH": why} and list(known.symbols) == ["AAPL", "KO"]
        whole = minio.bulk_download(["AAPL", "NOSUCH"]).to_frame()
        assert note(whole)["errors"] == {"NOSUCH": why}
        assert note(minio.get_historical_data(["AAPL"]))["failed"] == 0
        with pytest.warns(UserWarning, match="1 of 2 symbols failed"):
            frame = minio.get_historical_data(["NOSUCH", "KO"])
        assert frame.index.names == ["symbol", "date"] and len(frame) == 21

    def test_a_symbol_that_cannot_be_one_fails_alone(self, minio: MinIODataIntegration) -> None:
        with pytest.warns(UserWarning, match="1 of 2 symbols failed"):
            frame = minio.get_historical_data(["BRK/B", "KO"])
        assert set(frame.index.get_level_values("symbol")) == {"KO"}
        result = minio.bulk_download(["AAPL", "BRK/B", "KO", float("nan")])  # type: ignore[list-item]
        assert list(result) == ["AAPL", "KO"]
        assert list(result.errors) == ["BRK/B", "nan (float)"]
        assert {type(error) for error in result.errors.values()} == {errors.DataError}

    def test_all_failing_is_an_error(self, minio: MinIODataIntegration) -> None:
        with pytest.raises(errors.SymbolNotFoundError, match="NOSUCH"):
            minio.get_historical_data(["NOSUCH", "NEITHER"])

    def test_a_symbol_without_rows_in_the_range_is_told(
        self, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        bucket = make_bucket({key("OLD"): bars(JANUARY[:5]), key("NEW"): bars(JANUARY[5:])})
        minio = client_factory(bucket)
        frame = minio.get_historical_data(["OLD", "NEW"], "2024-01-22", "2024-01-23")
        assert set(frame.index.get_level_values("symbol")) == {"NEW"}
        assert "newest bar held" in json.dumps(note(frame))
        empty = minio.get_historical_data(["OLD", "NEW"], "2024-01-06", "2024-01-07")
        assert empty.empty and empty.index.names == ["symbol", "date"]
        assert str(empty.index.levels[1].dtype) == "datetime64[ns]"
        assert set(map(str, empty.dtypes)) == {"float64"}
        assert "no session" in json.dumps(note(empty))

    def test_repeats_are_read_once(self, minio: MinIODataIntegration) -> None:
        assert len(minio.get_historical_data(["KO", "ko", "KO"])) == 21

    @pytest.mark.parametrize("symbols", [[], None, 5, {"AAPL": 1}])
    def test_what_is_no_list_of_symbols(self, minio: MinIODataIntegration, symbols: Any) -> None:
        with pytest.raises(errors.DataError):
            minio.get_historical_data(symbols)

    def test_a_frame_is_the_callers_own(self, minio: MinIODataIntegration) -> None:
        for again in (False, True):  # of the fetch, and of the cache's memory map
            frame = minio.get_historical_data("MSFT")
            assert frame["close"].iloc[0] == 300.25, again
            frame.iloc[0, frame.columns.get_loc("close")] = -1.0
            frame["open"] *= 2
            frame.to_numpy()[3, 3] = -1.0
        assert minio.get_historical_data("MSFT", offline=True)["close"].iloc[0] == 300.25
        assert minio.get_historical_data("MSFT").to_numpy()[3, 3] == values(3, 300.0)[3]


class TestOutput:
    def test_arrow(self, minio: MinIODataIntegration) -> None:
        table = minio.get_historical_data("AAPL", output_format="arrow")
        assert isinstance(table, pa.Table)
        assert table.column_names == ["date", *COLUMNS]
        assert [stamp.date() for stamp in table["date"].to_pylist()] == JANUARY
        assert table["close"].to_pylist() == [values(number)[3] for number in range(21)]
        assert json.loads(table.schema.metadata[b"stockdb"])["symbol"] == "AAPL"
        long = minio.get_historical_data(["AAPL", "KO"], output_format="arrow")
        assert long.column_names == ["symbol", "date", *COLUMNS]
        assert long.num_rows == 42

    def test_polars(self, minio: MinIODataIntegration) -> None:
        polars = pytest.importorskip("polars")
        frame = minio.get_historical_data("AAPL", output_format="polars")
        assert isinstance(frame, polars.DataFrame)
        assert frame.columns == ["date", *COLUMNS]
        assert frame["close"].to_list() == [values(number)[3] for number in range(21)]
        assert [stamp.date() for stamp in frame["date"]] == JANUARY

    def test_an_unknown_format_costs_no_request(self, minio: MinIODataIntegration) -> None:
        before = minio.get_cache_stats()["requests"]
        with pytest.raises(errors.ConfigurationError, match="excel") as caught:
            minio.get_historical_data("AAPL", max_age=0, output_format="excel")  # type: ignore[arg-type]
        assert "arrow" in caught.value.remedy
        assert minio.get_cache_stats()["requests"] == before

    def test_preprocessing(self, minio: MinIODataIntegration) -> None:
        frame = minio.get_historical_data("AAPL", "2024-01-03", "2024-01-05", preprocess=True)
        closes = [values(number)[3] for number in (0, 1, 2, 3)]
        expected = [after / before - 1 for before, after in itertools.pairwise(closes)]
        assert frame["returns"].tolist() == pytest.approx(expected, rel=1e-14)  # the first, too
        _, high, low, close, _ = values(2)
        assert frame["typical_price"].iloc[1] == pytest.approx((high + low + close) / 3, rel=1e-14)
        empty = minio.get_historical_data("AAPL", "2024-01-06", "2024-01-07", preprocess=True)
        assert empty.empty and str(empty["returns"].dtype) == "float64"


class TestMistakes:
    def test_a_misspelt_symbol_has_suggestions(self, minio: MinIODataIntegration) -> None:
        for kind in (errors.SymbolNotFoundError, KeyError, FileNotFoundError):
            with pytest.raises(kind) as caught:
                minio.get_historical_data("APPL")
        assert caught.value.suggestions[0] == "AAPL"
        assert "'AAPL'" in str(caught.value) and caught.value.symbol == "APPL"

    def test_no_configuration(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ValueError, match=r"No MinIO endpoint") as caught:
            MinIODataIntegration()
        assert isinstance(caught.value, errors.ConfigurationError)
        for remedy in ("MINIO_ENDPOINT", "minio_config.py", "python -m stockdb demo"):
            assert remedy in str(caught.value)

    def test_a_wrong_secret(self, minio: MinIODataIntegration, client_factory: Any) -> None:
        bucket = minio.settings.connection.bucket_name
        client = client_factory(bucket, secret_key="wrong-dummy-secret")
        for call in (client.get_historical_data, lambda _: client.list_symbols()):
            with pytest.raises(errors.AccessDeniedError) as caught:
                call("AAPL")
        assert isinstance(caught.value, PermissionError)
        assert "MINIO_SECRET_KEY" in str(caught.value)
        report = client.check_connection()
        assert {c.name for c in report.checks if c.status == "failed"} == {"credentials"}

    def test_a_wrong_bucket(self, client_factory: ClientFactory) -> None:
        client = client_factory("no-such-bucket-here")
        with pytest.raises(errors.NotFoundError, match="no-such-bucket-here") as caught:
            client.get_historical_data("AAPL")
        assert not isinstance(caught.value, KeyError)  # the bucket is missing, not the symbol
        with pytest.raises(errors.NotFoundError, match="no-such-bucket-here"):
            client.list_symbols()
        report = client.check_connection()
        assert {c.name for c in report.checks if c.status == "failed"} == {"bucket"}

    def test_an_unreachable_host(self, client_factory: ClientFactory) -> None:
        client = client_factory(endpoint="http://127.0.0.1:9")
        with pytest.raises(errors.UnavailableError, match=r"127\.0\.0\.1:9") as caught:
            client.get_historical_data("AAPL")
        assert isinstance(caught.value, ConnectionError) and caught.value.retryable
        report = client.check_connection()
        assert {c.name for c in report.checks if c.status == "failed"} == {"connect"}
        assert not report and not report.ok

    def test_a_host_that_does_not_exist(self, client_factory: ClientFactory) -> None:
        client = client_factory(endpoint="https://no-such-host.invalid")
        with pytest.raises(errors.UnavailableError, match=r"no-such-host\.invalid"):
            client.get_historical_data("AAPL")
        report = client.check_connection()
        assert {c.name for c in report.checks if c.status == "failed"} == {"dns"}

    def test_https_against_a_plain_server(
        self, embedded_server: EmbeddedServer, client_factory: ClientFactory
    ) -> None:
        client = client_factory(endpoint=embedded_server.endpoint.replace("http:", "https:"))
        with pytest.raises(errors.TLSError) as caught:
            client.get_historical_data("AAPL")
        assert "http://" in str(caught.value)
        report = client.check_connection()
        assert {c.name for c in report.checks if c.status == "failed"} == {"tls"}

    @pytest.mark.parametrize("symbol", ["../../etc/passwd", "..", "", "A/B", "AA\0PL", "ÄAPL"])
    def test_a_symbol_that_is_a_path_is_never_sent(
        self, minio: MinIODataIntegration, symbol: str
    ) -> None:
        before = minio.get_cache_stats()
        with pytest.raises(errors.DataError):
            minio.get_historical_data(symbol)
        assert minio.get_cache_stats() == before

    def test_all_is_well(self, minio: MinIODataIntegration) -> None:
        report = minio.check_connection()
        assert report.ok and report
        assert [c.name for c in report.checks] == [
            "dns", "connect", "tls", "clock", "credentials", "bucket",
        ]  # fmt: skip
        assert json.loads(json.dumps(report.to_dict()))["ok"] is True


class TestSharing:
    def test_context_manager(self, make_bucket: Fill, client_factory: ClientFactory) -> None:
        with client_factory(make_bucket({key("AAPL"): bars()})) as minio:
            assert isinstance(minio, MinIODataIntegration)
            assert len(minio.get_historical_data("AAPL")) == 21
        minio.close()  # twice does no harm

    def test_nothing_is_sent_before_the_first_call(self, client_factory: ClientFactory) -> None:
        client_factory(endpoint="http://127.0.0.1:9")

    def test_sixteen_threads_on_one_client(
        self, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        symbols = [f"T{number}" for number in range(4)]
        levels = {symbol: 100.0 * (number + 1) for number, symbol in enumerate(symbols)}
        minio = client_factory(make_bucket({key(s): bars(level=x) for s, x in levels.items()}))
        barrier = threading.Barrier(16)

        def work(number: int) -> list[bool]:
            barrier.wait()
            right = []
            for turn in range(12):
                symbol = symbols[(number + turn) % 4]
                frame = minio.get_historical_data(symbol)
                expected = [values(row, levels[symbol]) for row in range(21)]
                right.append(frame.to_numpy().tolist() == expected)
                right.append(minio.provenance(frame).origins[0].key == key(symbol))
                frame.iloc[:] = -1.0  # nobody else sees it
            return right

        with ThreadPoolExecutor(16) as pool:
            outcomes = list(pool.map(work, range(16)))
        assert all(all(outcome) for outcome in outcomes)
        stats = minio.get_cache_stats()
        assert stats["misses"] == 4 and stats["requests"] == 4
        assert stats["hits"] == 16 * 12 - 4

    def test_no_warning_of_ours_on_the_usual_path(
        self, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        minio = client_factory(make_bucket({key("AAPL"): bars()}))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            minio.get_historical_data("AAPL", preprocess=True)
            minio.get_historical_data(["AAPL"])

    def test_the_note_of_an_object_that_cannot_be_read_names_its_line(
        self, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        data = f"{HEADER}\n2024-01-02,10,11,9,10.5,100\n2024-01-03,ten,11,9,10.5,100\n".encode()
        bucket = make_bucket({key("TEXT"): data})
        with pytest.raises(errors.DataError) as caught:
            client_factory(bucket).get_historical_data("TEXT")
        assert (caught.value.line, caught.value.key) == (3, key("TEXT"))
        assert caught.value.symbol == "TEXT"
        lenient = client_factory(bucket, on_bad_rows="quarantine")
        frame = lenient.get_historical_data("TEXT")
        assert days_of(frame) == [dt.date(2024, 1, 2)]
        assert [row[0] for row in lenient.provenance(frame).origins[0].bad_rows] == [3]


def test_stats_have_the_promised_names(minio: MinIODataIntegration) -> None:
    stats = minio.get_cache_stats()
    assert {
        "entries", "bytes", "hits", "misses", "revalidations", "stale_serves", "evictions",
        "hit_ratio", "bytes_saved",
    } <= stats.keys()  # fmt: skip
    assert json.loads(json.dumps(stats)) == stats


def test_a_put_that_is_not_utf8_is_an_error_not_an_empty_frame(
    s3: Minio, make_bucket: Fill, client_factory: ClientFactory
) -> None:
    bucket = make_bucket()
    body = b"\xff\xfe" + "trade_date,Open".encode("utf-16-le")
    s3.put_object(bucket, key("WEIRD"), io.BytesIO(body), len(body))
    with pytest.raises(errors.DataError, match="WEIRD"):
        client_factory(bucket).get_historical_data("WEIRD")
