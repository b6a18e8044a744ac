"""The suite that the README runs: ``python test_minio_integration.py``, or pytest on it.

It goes through the front doors only. With an endpoint configured (environment, ``.env`` or
``minio_config.py``) it reads from that bucket and never writes to it; otherwise it starts an
embedded server with simulated data, which ends with the run.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leaps_data_integration import LEAPSDataIntegration
from minio_data_integration import MinIODataIntegration
from stockdb import errors
from stockdb.options import price
from stockdb.settings import Settings, load_settings
from trading_data_adapter import TradingDataAdapter

Client, Leaps = MinIODataIntegration, LEAPSDataIntegration
ON_BARS = "momentum_tracker mean_reversion pairs_trading ml_predictions volume_analysis".split()
ON_OPTIONS = ["leaps_arbitrage", "options_flow"]
SEARCHES = "calendar_spreads diagonal_spreads synthetic_positions volatility_arbitrage".split()


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
def minio(bucket: Bucket) -> Iterator[Client]:
    with MinIODataIntegration(bucket.settings) as client:
        report = client.check_connection()
        if not report.ok:  # nothing below can pass: say why once, and stop
            pytest.exit(f"The bucket cannot be used.\n\n{report}", returncode=2)
        yield client


@pytest.fixture(scope="session")
def symbol(minio: Client) -> str:
    symbols = minio.list_symbols()
    if not symbols:
        pytest.exit(
            f"{minio!r} holds no files {minio.settings.datasets['stocks'].key}."
            " Correct the key template in minio_config.py.",
            returncode=2,
        )
    return "AAPL" if "AAPL" in symbols else symbols[0]


@pytest.fixture(scope="session")
def history(minio: Client, symbol: str) -> pd.DataFrame:
    return minio.get_historical_data(symbol)


@pytest.fixture(scope="session")
def liquid(minio: Client) -> list[str]:
    """Three symbols with two years of bars or more; the README's, where the bucket has them."""
    held = minio.list_symbols()
    found = []
    for name in dict.fromkeys([s for s in ("AAPL", "MSFT", "GOOGL") if s in held] + held[:30]):
        if len(minio.get_historical_data(name)) >= 504:
            found.append(name)
        if len(found) == 3:
            return found
    pytest.skip(f"fewer than three of {len(held)} symbols have two years of bars")


@pytest.fixture(scope="session")
def features(minio: Client, liquid: list[str]) -> pd.DataFrame:
    return minio.create_unified_interface().get_feature_matrix(liquid, adjust="none")


@pytest.fixture(scope="session")
def leaps(minio: Client) -> Leaps:
    return LEAPSDataIntegration(minio)


@pytest.fixture(scope="session")
def underlying(minio: Client, leaps: Leaps) -> str:
    """An underlying with long-dated options in the newest file, the README's if there."""
    if not len(minio.list_option_dates()):
        pytest.skip("the bucket holds no option files")
    wanted = list(dict.fromkeys(["MSFT", *leaps.config.symbols]))
    for name in wanted:
        try:
            chain = minio.get_option_chain(name, dte=(leaps.config.min_days_to_expiration, None))
        except errors.NotFoundError:
            continue
        if len(chain):
            return name
    pytest.skip(f"the newest file has long-dated options of none of {', '.join(wanted)}")


@pytest.fixture(scope="session")
def known(leaps: Leaps, underlying: str) -> pd.DataFrame:
    """The long-dated options that have an implied volatility."""
    chain = leaps.get_leaps_chain(underlying)
    found = chain[chain["iv"].notna()]
    if found.empty:
        pytest.skip(f"no volatility is known: {chain['reason'].value_counts().to_dict()}")
    return found


@pytest.fixture(scope="session")
def truth(bucket: Bucket, minio: Client, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What was planted in the simulated bucket."""
    if not bucket.simulated:
        pytest.skip("only of the simulated bucket it is known what is planted in it")
    file = minio.download_file("_simulated/truth.json", tmp_path_factory.mktemp("truth"))
    return json.loads(file.read_text())


class TestConnection:
    """MinIO connection."""

    def test_every_check_passes(self, minio: Client) -> None:
        report = minio.check_connection()
        assert [check.name for check in report.checks if check.status == "failed"] == []
        print(f"\n{report}")

    def test_stocks_are_listed(self, minio: Client) -> None:
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
        self, minio: Client, symbol: str, history: pd.DataFrame
    ) -> None:
        first, last = history.index[len(history) // 3], history.index[len(history) // 2]
        part = minio.get_historical_data(symbol, start_date=first, end_date=str(last.date()))
        pd.testing.assert_frame_equal(part, history.loc[first:last])

    def test_second_read_is_free(self, minio: Client, symbol: str, history: pd.DataFrame) -> None:
        again = minio.get_historical_data(symbol)
        assert minio.provenance(again).requests == 0
        assert minio.provenance(again).received == 0
        pd.testing.assert_frame_equal(again, history)

    def test_max_age_zero_asks_and_moves_no_object(
        self, minio: Client, symbol: str, history: pd.DataFrame
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

    def test_bulk_keeps_going(self, minio: Client, symbol: str) -> None:
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

    def test_simulated_data_say_so(
        self, minio: Client, history: pd.DataFrame, tmp_path: Path
    ) -> None:
        try:  # a bucket of your own may hold the demo's data, too
            demo = minio.download_file("_simulated/truth.json", tmp_path).is_file()
        except errors.NotFoundError:
            demo = False
        assert history.attrs["stockdb"]["simulated"] is demo


class TestMistakes:
    """What goes wrong says what to do; an empty frame says why it is empty."""

    def test_misspelt_symbol_has_suggestions(self, minio: Client, symbol: str) -> None:
        with pytest.raises(KeyError) as caught:
            minio.get_historical_data(symbol + "X")
        assert symbol in caught.value.suggestions

    def test_reversed_range(self, minio: Client, symbol: str) -> None:
        with pytest.raises(errors.RangeError):
            minio.get_historical_data(symbol, "2024-02-01", "2024-01-01")

    @pytest.mark.parametrize(
        ("start", "end", "reason"),
        [("2024-01-06", "2024-01-07", "no session"), ("2124-01-03", "2124-01-04", "future")],
    )
    def test_empty_frames_are_typed_and_explained(
        self, minio: Client, symbol: str, start: str, end: str, reason: str
    ) -> None:
        frame = minio.get_historical_data(symbol, start, end)
        assert frame.empty
        assert reason in frame.attrs["stockdb"]["empty_reason"]
        assert str(frame["close"].dtype) == "float64"
        assert str(frame.index.dtype) == "datetime64[ns]"


class TestValidation:
    """Data validation."""

    def test_findings_are_counted(self, history: pd.DataFrame, minio: Client) -> None:
        broken = history.iloc[:100].copy()
        broken.iloc[10, broken.columns.get_loc("high")] = broken["low"].iloc[10] * 0.5
        broken.iloc[20, broken.columns.get_loc("close")] = 0.0
        broken.iloc[30, broken.columns.get_loc("volume")] = -1.0
        rules = {finding.rule for finding in minio.validate_data(broken).errors}
        assert {"high_low", "price_range", "volume_range"} <= rules
        print(f"\n{minio.validate_data(broken)}")

    def test_missing_column_is_an_error(self, history: pd.DataFrame, minio: Client) -> None:
        report = minio.validate_data(history.drop(columns="volume"))
        assert [finding.rule for finding in report.errors] == ["required_columns"]

    def test_policy_raise_stops(self, bucket: Bucket, symbol: str) -> None:
        with (
            MinIODataIntegration(bucket.settings, policy="raise", max_price=0.0001) as client,
            pytest.raises(errors.ValidationError) as caught,
        ):
            client.get_historical_data(symbol)
        assert caught.value.report.errors

    def test_preprocessing_definitions(self, minio: Client, history: pd.DataFrame) -> None:
        frame = minio.preprocess_data(history.tail(50))
        close = history["close"].tail(50).to_numpy()
        assert frame["returns"].iloc[-1] == pytest.approx(close[-1] / close[-2] - 1)
        assert pd.isna(frame["returns"].iloc[0])


class TestAlgorithmAdapters:
    """Algorithm adapters."""

    def test_all_seven_are_there(self, minio: Client) -> None:
        assert sorted(TradingDataAdapter(minio).list_algorithms()) == sorted(ON_BARS + ON_OPTIONS)

    @pytest.mark.parametrize("algorithm", ON_BARS)
    def test_on_bars(self, minio: Client, liquid: list[str], algorithm: str) -> None:
        frame = self.checked(minio, algorithm, liquid[:2], 60)
        assert (frame.groupby(level=frame.index.names[:-1]).size() == 60).all()

    @pytest.mark.parametrize("algorithm", ON_OPTIONS)
    def test_on_options(self, minio: Client, underlying: str, algorithm: str) -> None:
        self.checked(minio, algorithm, [underlying], 3)  # sessions, each of them a big file

    def checked(self, minio: Client, algorithm: str, symbols: Any, sessions: int) -> pd.DataFrame:
        adapter = TradingDataAdapter(minio)
        described = adapter.describe(algorithm)
        frame = adapter.get_data_for_algorithm(algorithm, symbols, lookback_days=sessions)
        columns = [column["name"] for column in described["columns"]]
        assert list(frame.columns)[-len(columns) :] == columns
        assert list(frame.index.names) == described["index"]
        assert frame.index.is_unique and len(frame) > 0
        numbers = frame.select_dtypes("number")
        assert not np.isinf(numbers.to_numpy(np.float64)).any() and numbers.notna().any().any()
        print(f"\n  {algorithm}: {frame.shape[0]} rows x {frame.shape[1]} columns")
        return frame

    def test_rows_depend_on_the_past_alone(self, minio: Client, liquid: list[str]) -> None:
        adapter = TradingDataAdapter(minio)
        long = adapter.get_data_for_algorithm("momentum_tracker", liquid[0], lookback_days=250)
        until = adapter.get_data_for_algorithm(
            "momentum_tracker", liquid[0], lookback_days=60, end_date=long.index[-20]
        )
        pd.testing.assert_frame_equal(until, long.iloc[-79:-19], rtol=1e-6, check_freq=False)


class TestLEAPSIntegration:
    """LEAPS integration."""

    def test_rows_have_numbers_or_reasons(self, leaps: Leaps, underlying: str) -> None:
        chain = leaps.get_leaps_chain(underlying)
        assert len(chain) > 0
        assert (chain["dte"] >= leaps.config.min_days_to_expiration).all()
        assert ((chain["iv"].isna()) == (chain["reason"] != "")).all()

    def test_a_volatility_gives_its_price_back(self, known: pd.DataFrame) -> None:
        assert (known["iv"] > 0).all() and (known["delta"].abs() <= 1).all()
        sample = known.iloc[:: max(1, len(known) // 40)]
        style = np.where(sample["style"].astype(str).str.startswith("E"), "european", "american")
        inputs = [sample[x].to_numpy() for x in ("spot", "strike", "years", "rate", "q", "iv")]
        values = price(*inputs, sample["type"].to_numpy(), style)
        # 1e-4 of the stock's price: what interpolated exercise boundaries are good for
        assert np.abs(values - sample["mid"].to_numpy()).max() < 1e-4 * sample["spot"].max()
        print(f"\n  {len(known)} volatilities")

    def test_edges_follow_from_the_legs(self, leaps: Leaps, underlying: str) -> None:
        found = leaps.find_arbitrage_opportunities(underlying)
        assert {"kind", "class", "legs", "edge", "capacity", "profit"} <= set(found.columns)
        assert (found["edge"] > 0).all()
        assert isinstance(found.attrs["stockdb"]["skipped"], list)
        # What is bought is worth no less than what is sold, so all that is received is gained.
        fee = leaps.config.fees_per_contract / 100
        plain = found[found["kind"].isin(["monotonicity", "calendar", "butterfly"])]
        for row in plain.to_dict("records"):
            received = sum(
                leg["ratio"] * (leg["bid"] if leg["side"] == "sell" else -leg["ask"])
                for leg in row["legs"]
            )
            contracts = sum(leg["ratio"] for leg in row["legs"])
            assert row["edge"] == pytest.approx(received - fee * contracts, abs=1e-9)
        counts = found.groupby(["kind", "class"]).size().to_dict()
        print(f"\n  {underlying}: {counts or 'no arbitrage'}")

    def test_finds_what_is_planted_alone(self, leaps: Leaps, truth: dict[str, Any]) -> None:
        quotes = {name: (q["bid"], q["ask"]) for name, q in truth["stock_quotes"].items()}
        found = leaps.scan(list(quotes), quotes=quotes, progress=False)["arbitrage"]
        assert set(found["class"]) <= {"riskless", "riskless_declared"}
        assert sorted(zip(found["symbol"], found["kind"], found["edge"].round(4), strict=True)) == (
            sorted((p["symbol"], p["kind"], round(p["edge"], 4)) for p in truth["arbitrage"])
        )

    @pytest.mark.parametrize("search", SEARCHES)
    def test_strategies(self, leaps: Leaps, underlying: str, search: str) -> None:
        found = getattr(leaps, f"find_{search}")(underlying)
        assert {"symbol", "strategy", "legs", "net_debit", "max_loss"} <= set(found.columns)
        assert (found["symbol"] == underlying).all()
        assert found["legs"].map(len).gt(0).all()
        print(f"\n  {search}: {len(found)} candidates")

    def test_a_portfolio_adds_up(self, leaps: Leaps, known: pd.DataFrame) -> None:
        row = known.loc[(known["moneyness"] - 1).abs().idxmin()]
        one, two = (
            leaps.analyze_portfolio({row["contract"]: n}, benchmark=None).positions["market_value"]
            for n in (1, -2)
        )
        assert one.sum() == pytest.approx(100 * row["mid"], rel=1e-6)
        assert two.sum() == pytest.approx(-2 * one.sum())


class TestUnifiedInterface:
    """Unified data access."""

    def test_matrix_is_sorted_and_finite(self, features: pd.DataFrame, liquid: list[str]) -> None:
        assert features.index.names == ["symbol", "date"]
        assert features.index.is_unique and features.index.is_monotonic_increasing
        assert set(features.index.get_level_values("symbol")) == set(liquid)
        assert not np.isinf(features.to_numpy(np.float64)).any()
        print(f"\n  {features.shape[0]:,} rows x {features.shape[1]} columns")

    def test_labels_lie_ahead_and_features_do_not(
        self, minio: Client, features: pd.DataFrame, liquid: list[str]
    ) -> None:
        whole = features.loc[liquid[0]]
        mine, close = whole.tail(100), minio.get_historical_data(liquid[0])["close"]
        close = close.loc[whole.index].tail(101)
        back = close.pct_change().to_numpy()[1:]
        ahead = (close.shift(-6) / close.shift(-1) - 1).to_numpy()[1:]
        for name, wanted in (("ret_1", back), ("y_fwd_5", ahead)):
            known = mine[name].notna().to_numpy()  # not beside a missing session
            assert known.sum() > 50
            np.testing.assert_allclose(mine[name].to_numpy()[known], wanted[known], atol=1e-6)

    def test_lstm_windows_hold_the_rows_before(self, minio: Client, features: pd.DataFrame) -> None:
        lstm = minio.create_unified_interface().prepare_for_model(features, model_type="lstm")
        batch = next(iter(lstm.train.batches(8)))
        assert batch.X.shape[1:] == (60, len(lstm.feature_names))
        assert np.isfinite(batch.X).all() and np.isfinite(batch.y).all()
        name, day = lstm.train.index[0]
        rows = features.loc[name].loc[:day, list(lstm.feature_names)].tail(60)
        np.testing.assert_allclose(
            lstm.inverse_transform(batch.X[0]), rows.to_numpy(), rtol=1e-3, atol=1e-4
        )
        ends = [part.index.get_level_values("date") for part in lstm.segments.values()]
        assert ends[0].max() < ends[1].min() and ends[1].max() < ends[2].min()

    def test_audit_catches_a_look_ahead(self, minio: Client, liquid: list[str]) -> None:
        unified = minio.create_unified_interface()
        assert unified.audit(lambda bars: bars["close"].pct_change(), liquid[0])
        report = unified.audit(lambda bars: bars["close"].shift(-1), liquid[0])
        assert not report and report.leaks


class TestPerformance:
    """Performance benchmarks: the figures are printed, the results are asserted."""

    def test_bulk(self, bucket: Bucket, tmp_path: Path) -> None:
        with MinIODataIntegration(bucket.settings, cache_dir=tmp_path) as client:
            symbols = client.list_symbols()[:25]
            cold, warm = self.twice("bulk_download", lambda: client.bulk_download(symbols))
            assert list(cold) == list(warm)
            for name, frame in warm.items():
                pd.testing.assert_frame_equal(frame, cold[name])
            moved = [
                sum(client.provenance(frame).received for frame in result.values())
                for result in (cold, warm)
            ]
            assert moved[1] == 0
        print(f"  {len(cold)} symbols, {moved[0]:,} bytes moved, then none")

    def test_chain_and_features(
        self, bucket: Bucket, liquid: list[str], underlying: str, tmp_path: Path
    ) -> None:
        with MinIODataIntegration(bucket.settings, cache_dir=tmp_path) as client:
            unified = client.create_unified_interface()
            for name, work in {
                "get_feature_matrix": lambda: unified.get_feature_matrix(liquid),
                "get_option_chain": lambda: client.get_option_chain(underlying),
            }.items():
                pd.testing.assert_frame_equal(*self.twice(name, work))

    def twice(self, name: str, work: Callable[[], Any]) -> tuple[Any, Any]:
        begin = time.perf_counter()
        cold = work()
        middle = time.perf_counter()
        warm = work()
        spent = 1000 * (middle - begin), 1000 * (time.perf_counter() - middle)
        print(f"\n  {name}: {spent[0]:.1f} ms cold, {spent[1]:.1f} ms warm")
        return cold, warm


def main() -> int:
    """Run this file's tests, with their diagnostics shown."""
    here = Path(__file__).resolve()
    arguments = [str(here), "-v", "-s", "-p", "no:cacheprovider", f"--rootdir={here.parent}"]
    return int(pytest.main([*arguments, *sys.argv[1:]]))


if __name__ == "__main__":
    sys.exit(main())
