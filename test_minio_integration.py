"""The suite that the README runs: ``python test_minio_integration.py``, or pytest on it.

It goes through the front doors only. With an endpoint configured (environment, ``.env`` or
``minio_config.py``) it reads from that bucket and never writes to it; otherwise it starts an
embedded server with simulated data, which ends with the run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from minio_data_integration import MinIODataIntegration
from stockdb import errors
from stockdb.settings import Settings, load_settings


@dataclass(frozen=True)
class Bucket:
    """The bucket under test: the user's own, or the simulated one."""

    settings: Settings
    simulated: bool


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    own = load_settings()
    folder = tmp_path_factory.mktemp("stockdb")
    private = {"cache_dir": folder / "cache", "log_dir": folder / "logs"}
    if own.connection.endpoint:
        yield Bucket(load_settings(own, **private), simulated=False)
        return
    from stockdb.core.store import ObjectStore
    from stockdb.demo.bucket import demo_settings, fill_bucket
    from stockdb.demo.server import EmbeddedServer

    with EmbeddedServer() as server:
        settings = demo_settings(server, **private)
        fill_bucket(ObjectStore(settings))
        yield Bucket(settings, simulated=True)


@pytest.fixture(scope="session")
def minio(bucket: Bucket) -> Iterator[MinIODataIntegration]:
    with MinIODataIntegration(bucket.settings) as client:
        report = client.check_connection()
        if not report.ok:  # nothing below can pass: say why once, and stop
            pytest.exit(f"The bucket cannot be used.\n\n{report}", returncode=2)
        yield client


@pytest.fixture(scope="session")
def symbol(minio: MinIODataIntegration) -> str:
    symbols = minio.list_symbols()
    if not symbols:
        pytest.exit(
            f"{minio!r} holds no files {minio.settings.datasets['stocks'].key}."
            " Correct the key template in minio_config.py.",
            returncode=2,
        )
    return "AAPL" if "AAPL" in symbols else symbols[0]


@pytest.fixture(scope="session")
def history(minio: MinIODataIntegration, symbol: str) -> pd.DataFrame:
    return minio.get_historical_data(symbol)


class TestConnection:
    """MinIO connection."""

    def test_every_check_passes(self, minio: MinIODataIntegration) -> None:
        report = minio.check_connection()
        assert [check.name for check in report.checks if check.status == "failed"] == []
        print(f"\n{report}")

    def test_stocks_are_listed(self, minio: MinIODataIntegration) -> None:
        datasets = minio.list_datasets()
        assert datasets.loc["stocks", "available"]

    def test_no_endpoint_says_how_to_configure_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "minio_config.py").write_text("")
        for name in ("MINIO_ENDPOINT", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(errors.ConfigurationError, match=r"MINIO_ENDPOINT.*stockdb demo"):
            MinIODataIntegration()

    def test_wrong_secret_is_refused(self, bucket: Bucket) -> None:
        if bucket.settings.connection.secret_key is None:
            pytest.skip("the configured bucket is public")
        with (
            MinIODataIntegration(bucket.settings, secret_key="wrong-dummy-secret") as client,
            pytest.raises(PermissionError),
        ):
            client.list_symbols()

    def test_unknown_bucket_is_named(self, bucket: Bucket) -> None:
        with (
            MinIODataIntegration(bucket.settings, bucket_name="no-such-bucket-here") as client,
            pytest.raises((errors.NotFoundError, errors.AccessDeniedError), match="no-such"),
        ):
            client.get_historical_data("AAPL")


class TestDownloadAndCaching:
    """Download and caching."""

    def test_history_is_sorted_unique_and_typed(self, history: pd.DataFrame) -> None:
        assert len(history) > 0
        assert history.index.is_monotonic_increasing
        assert history.index.is_unique
        assert history.index.name == "date"
        assert str(history.index.dtype) == "datetime64[ns]"
        assert {"open", "high", "low", "close", "volume"} <= set(history.columns)
        assert set(map(str, history.dtypes)) == {"float64"}

    def test_a_range_is_the_slice_of_the_whole(
        self, minio: MinIODataIntegration, symbol: str, history: pd.DataFrame
    ) -> None:
        first, last = history.index[len(history) // 3], history.index[len(history) // 2]
        part = minio.get_historical_data(symbol, start_date=first, end_date=str(last.date()))
        pd.testing.assert_frame_equal(part, history.loc[first:last])

    def test_second_read_asks_nobody(
        self, minio: MinIODataIntegration, symbol: str, history: pd.DataFrame
    ) -> None:
        again = minio.get_historical_data(symbol)
        assert minio.provenance(again).requests == 0
        assert minio.provenance(again).received == 0
        pd.testing.assert_frame_equal(again, history)

    def test_max_age_zero_asks_and_moves_no_object(
        self, minio: MinIODataIntegration, symbol: str, history: pd.DataFrame
    ) -> None:
        before = minio.get_cache_stats()["revalidations"]
        again = minio.get_historical_data(symbol, max_age=0)
        assert again.attrs["stockdb"]["freshness"] == "revalidated"
        assert minio.provenance(again).received == 0
        assert minio.get_cache_stats()["revalidations"] == before + 1

    def test_offline_serves_what_is_held(
        self, bucket: Bucket, symbol: str, history: pd.DataFrame
    ) -> None:
        with MinIODataIntegration(bucket.settings, endpoint="http://127.0.0.1:9") as client:
            with pytest.raises(errors.UnavailableError, match="offline"):
                client.get_historical_data(symbol, offline=True)  # another server's cache
        with MinIODataIntegration(bucket.settings) as client:
            held = client.get_historical_data(symbol, offline=True)
        pd.testing.assert_frame_equal(held, history)

    def test_bulk_keeps_going(self, minio: MinIODataIntegration, symbol: str) -> None:
        symbols = [*minio.list_symbols()[:5], "NOSUCHSYMBOL", symbol]
        result = minio.bulk_download(symbols)
        assert list(result.errors) == ["NOSUCHSYMBOL"]
        assert isinstance(result.errors["NOSUCHSYMBOL"], errors.SymbolNotFoundError)
        assert list(result) == list(dict.fromkeys(s for s in symbols if s != "NOSUCHSYMBOL"))
        assert result.to_frame().index.names == ["symbol", "date"]

    def test_cache_can_be_cleared(self, bucket: Bucket, symbol: str, tmp_path: Path) -> None:
        with MinIODataIntegration(bucket.settings, cache_dir=tmp_path / "own") as client:
            client.get_historical_data(symbol)
            assert client.get_cache_stats()["entries"] == 1
            assert client.clear_cache(older_than_days=7).entries == 0
            assert client.clear_cache().entries == 1
            assert client.get_cache_stats()["entries"] == 0

    def test_simulated_data_say_so(self, bucket: Bucket, history: pd.DataFrame) -> None:
        assert history.attrs["stockdb"]["simulated"] is bucket.simulated


class TestMistakes:
    """What goes wrong says what to do; an empty frame says why it is empty."""

    def test_misspelt_symbol_has_suggestions(
        self, minio: MinIODataIntegration, symbol: str
    ) -> None:
        with pytest.raises(KeyError) as caught:
            minio.get_historical_data(symbol + "X")
        assert symbol in caught.value.suggestions

    def test_reversed_range(self, minio: MinIODataIntegration, symbol: str) -> None:
        with pytest.raises(errors.RangeError):
            minio.get_historical_data(symbol, "2024-02-01", "2024-01-01")

    @pytest.mark.parametrize(
        ("start", "end", "reason"),
        [
            ("2024-01-06", "2024-01-07", "no session"),
            ("2124-01-03", "2124-01-04", "future"),
        ],
    )
    def test_empty_frames_are_typed_and_explained(
        self, minio: MinIODataIntegration, symbol: str, start: str, end: str, reason: str
    ) -> None:
        frame = minio.get_historical_data(symbol, start, end)
        assert frame.empty
        assert reason in frame.attrs["stockdb"]["empty_reason"]
        assert str(frame["close"].dtype) == "float64"
        assert str(frame.index.dtype) == "datetime64[ns]"


class TestValidation:
    """Data validation."""

    def test_findings_are_counted(self, history: pd.DataFrame, minio: MinIODataIntegration) -> None:
        broken = history.iloc[:100].copy()
        broken.iloc[10, broken.columns.get_loc("high")] = broken["low"].iloc[10] * 0.5
        broken.iloc[20, broken.columns.get_loc("close")] = 0.0
        broken.iloc[30, broken.columns.get_loc("volume")] = -1.0
        rules = {finding.rule for finding in minio.validate_data(broken).errors}
        assert {"high_low", "price_range", "volume_range"} <= rules
        print(f"\n{minio.validate_data(broken)}")

    def test_missing_column_is_an_error(
        self, history: pd.DataFrame, minio: MinIODataIntegration
    ) -> None:
        report = minio.validate_data(history.drop(columns="volume"))
        assert [finding.rule for finding in report.errors] == ["required_columns"]

    def test_policy_raise_stops(self, bucket: Bucket, symbol: str) -> None:
        with (
            MinIODataIntegration(bucket.settings, policy="raise", max_price=0.0001) as client,
            pytest.raises(errors.ValidationError) as caught,
        ):
            client.get_historical_data(symbol)
        assert caught.value.report.errors

    def test_preprocessing_follows_its_definitions(
        self, minio: MinIODataIntegration, history: pd.DataFrame
    ) -> None:
        frame = minio.preprocess_data(history.tail(50))
        close = history["close"].tail(50).to_numpy()
        assert frame["returns"].iloc[-1] == pytest.approx(close[-1] / close[-2] - 1)
        assert pd.isna(frame["returns"].iloc[0])


class TestPerformance:
    """Performance benchmarks: the figures are printed, the results are asserted."""

    def test_cold_warm_and_bulk(self, bucket: Bucket, tmp_path: Path) -> None:
        with MinIODataIntegration(bucket.settings, cache_dir=tmp_path) as client:
            symbols = client.list_symbols()[:25]
            figures = []
            for label in ("cold", "warm"):
                begin = time.perf_counter()
                result = client.bulk_download(symbols)
                spent = time.perf_counter() - begin
                moved = sum(client.provenance(frame).received for frame in result.values())
                figures.append((label, len(result), spent * 1000, moved))
                if label == "cold":
                    cold = result
            assert list(cold) == list(result)
            for name, frame in result.items():
                pd.testing.assert_frame_equal(frame, cold[name])
            assert figures[1][3] == 0  # the second round moved nothing
        print()
        for label, count, spent, moved in figures:
            print(f"  {label}: {count} symbols, {spent:7.1f} ms, {moved:,} bytes moved")


def main() -> int:
    """Run this file's tests, with their diagnostics shown."""
    here = Path(__file__).resolve()
    arguments = [str(here), "-v", "-s", "-p", "no:cacheprovider", f"--rootdir={here.parent}"]
    return int(pytest.main([*arguments, *sys.argv[1:]]))


if __name__ == "__main__":
    sys.exit(main())
