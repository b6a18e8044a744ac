"""Features and model inputs out of a bucket, on a real server."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from minio_data_integration import MinIODataIntegration
from stockdb.errors import ConfigurationError, DataError, SymbolNotFoundError, UnavailableError
from stockdb.models import Own
from stockdb.processing.evaluate import evaluate
from stockdb.processing.indicators import indicators
from stockdb.processing.labels import forward_return
from stockdb.sessions import sessions
from tests.contract import test_leaps_chain as leaps
from tests.contract.test_options_flow import DAYS as DATES
from tests.contract.test_options_flow import STOCK, day_file, side
from tests.unit.options.chains import fair_chain
from tests.unit.processing.bars import bars
from trading_data_adapter import TradingDataAdapter

NAMES = ("AAPL", "GOOGL", "MSFT")
DAYS = sessions("XNYS", pd.Timestamp("2012-01-03"), pd.Timestamp("2017-12-29"))


def csv(frame: pd.DataFrame) -> bytes:
    renamed = frame.rename(columns=str.title).rename_axis("trade_date")
    return renamed.to_csv(date_format="%Y-%m-%d").encode()


def simulated(number: int) -> pd.DataFrame:
    frame = bars(len(DAYS), number, 40.0 * (number + 1))
    return frame.set_axis(pd.DatetimeIndex(DAYS, name="date"), axis=0)


HELD = {name: simulated(number) for number, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def bucket(make_bucket: Callable[..., str]) -> str:
    return make_bucket({f"stocks-2010-2025/{name}.csv": csv(held) for name, held in HELD.items()})


@pytest.fixture(scope="module")
def minio(bucket: str, module_clients: Any) -> MinIODataIntegration:
    return module_clients(bucket)


@pytest.fixture(scope="module")
def unified(minio: MinIODataIntegration) -> Any:
    return minio.create_unified_interface()


def test_the_readmes_snippet(minio: MinIODataIntegration) -> None:
    unified = minio.create_unified_interface()
    features = unified.get_feature_matrix(["AAPL", "MSFT", "GOOGL"])
    lstm_data = unified.prepare_for_model(features, model_type="lstm")
    assert len(features) == 3 * len(DAYS)
    assert lstm_data.train.X.shape[1:] == (60, 30)
    assert len(lstm_data.train) > 2000
    assert not np.isnan(lstm_data.train.X[:100]).any()


class TestMatrix:
    def test_shape(self, unified: Any) -> None:
        frame = unified.get_feature_matrix(["MSFT", "AAPL"], start="2016-01-01", end="2016-12-31")
        assert frame.index.names == ["symbol", "date"]
        assert frame.index.is_monotonic_increasing and frame.index.is_unique
        assert frame.index.get_level_values(1).dtype == "datetime64[ns]"
        wanted = DAYS[(DAYS >= "2016-01-01") & (DAYS <= "2016-12-31")]
        assert frame.loc["AAPL"].index.tolist() == wanted.tolist()
        assert set(frame.dtypes) == {np.dtype(np.float32)}
        assert frame.shape[1] == 33
        assert list(frame.columns[-3:]) == ["y_fwd_1", "y_fwd_5", "y_fwd_21"]
        assert not frame.iloc[:, :30].isna().any().any()  # warm from the first row on

    def test_values_are_those_of_the_columns(self, unified: Any) -> None:
        names = ["rsi_14", "c_over_sma_200", "natr_14", "returns"]
        frame = unified.get_feature_matrix(NAMES, names, labels="y_fwd_5")
        for symbol in NAMES:
            own = evaluate(HELD[symbol], (*indicators(names), forward_return(5)))
            np.testing.assert_array_equal(frame.loc[symbol], own.astype(np.float32))

    def test_warm_up_is_loaded_on_top(self, unified: Any) -> None:
        whole = unified.get_feature_matrix(NAMES)
        short = unified.get_feature_matrix(NAMES, start="2017-06-01")
        part = whole[whole.index.get_level_values(1) >= "2017-06-01"]
        pd.testing.assert_frame_equal(short, part, rtol=1e-6, atol=1e-7, check_flags=False)
        note = short.attrs["stockdb"]["warmup"]
        assert note["least_there"] >= note["needed"] == 676

    def test_no_bar_after_the_end_is_read(self, unified: Any) -> None:
        frame = unified.get_feature_matrix("AAPL", end="2016-06-30")
        whole = unified.get_feature_matrix("AAPL")
        assert frame["y_fwd_5"].iloc[-6:].isna().all()
        assert frame["y_fwd_5"].iloc[:-6].notna().all()
        kept = whole.loc[frame.index].iloc[:, :30]
        np.testing.assert_array_equal(frame.iloc[:, :30], kept)

    def test_order_threads_and_processes_give_the_same_bytes(self, unified: Any) -> None:
        one = unified.get_feature_matrix(NAMES, ["default", "xs_rank"], max_workers=1)
        others = [
            unified.get_feature_matrix(NAMES[::-1], ["default", "xs_rank"], max_workers=5),
            unified.get_feature_matrix([*NAMES, "AAPL"], ["default", "xs_rank"]),
        ]
        with joblib.parallel_config("loky", n_jobs=2):
            others.append(unified.get_feature_matrix(NAMES, ["default", "xs_rank"]))
        for other in others:
            pd.testing.assert_frame_equal(one, other, check_exact=True)
            a, b = (unified.prepare_for_model(x, "lstm", seq_len=20) for x in (one, other))
            assert str(a.fingerprint) == str(b.fingerprint)
        assert sorted(one["xs_rank"].dropna().unique()) == [1.0, 2.0, 3.0]

    def test_the_note(self, unified: Any, minio: MinIODataIntegration) -> None:
        frame = unified.get_feature_matrix(NAMES, labels=["y_fwd_5", "y_tb"])
        note = frame.attrs["stockdb"]
        json.dumps(note)
        assert len(json.dumps(note)) < 6000
        held = {object.key: object.etag for object in minio.list_files("stocks")}
        named = json.loads(note["objects"])
        assert {key: text.split()[0] for key, text in named.items()} == held
        assert note["sets"] == ["default@1"]
        assert note["reach"] == {"y_fwd_5": 6, "y_tb": 22, "t1": 22, "weight": 22}
        assert note["adjustment"] == "none"
        assert "no table of splits" in note["adjustment_reason"]
        for name, count in note["nan"].items():
            assert count == int(frame[name].isna().sum()), name
        assert set(note["nan"]) == set(frame.columns[frame.isna().any()])
        assert sum(note["nan_reasons"].values()) == int(frame.isna().sum().sum())
        assert note["nan_reasons"]["warm_up"] > 0 and note["nan_reasons"]["future"] > 0
        assert frame["t1"].dtype == "datetime64[ns]"
        assert list(frame.columns[-4:]) == ["y_fwd_5", "y_tb", "t1", "weight"]
        origins = minio.provenance(frame).origins
        assert {origin.key for origin in origins} == set(held)
        prepared = unified.prepare_for_model(frame, "xgboost", "y_tb")
        assert prepared.fingerprint.objects == named
        assert prepared.fingerprint.spec == note["spec"]
        assert prepared.parameters["embargo"] == 21

    def test_a_file_keeps_the_note(self, unified: Any, tmp_path: Path) -> None:
        frame = unified.get_feature_matrix(NAMES, labels=["y_fwd_5", "y_tb"])
        frame.to_parquet(tmp_path / "features.parquet")
        again = pd.read_parquet(tmp_path / "features.parquet")
        pd.testing.assert_frame_equal(again, frame, check_exact=True)
        assert again.attrs == frame.attrs
        assert unified.freeze(again) == unified.freeze(frame)
        one, two = (unified.prepare_for_model(held, "lstm") for held in (frame, again))
        assert str(one.fingerprint) == str(two.fingerprint)

    def test_functions_of_ones_own(self, unified: Any) -> None:
        def over_mean(frame: pd.DataFrame) -> pd.Series:
            assert list(frame.columns[:5]) == ["open", "high", "low", "close", "volume"]
            return frame["close"] / frame["close"].rolling(50).mean()

        def two(frame: pd.DataFrame) -> pd.DataFrame:
            change = frame["volume"].pct_change()
            return pd.DataFrame({"dv": change, "inf": change / 0.0})

        frame = unified.get_feature_matrix(NAMES, ["rsi_14", over_mean, two], start="2017-12-01")
        names = ["rsi_14", "over_mean", "dv", "inf", "y_fwd_1", "y_fwd_5", "y_fwd_21"]
        assert list(frame.columns) == names
        close = HELD["MSFT"]["close"]
        wanted = (close / close.rolling(50).mean()).loc["2017-12-01":]
        np.testing.assert_allclose(frame.loc["MSFT", "over_mean"], wanted, rtol=1e-6)
        assert frame["inf"].isna().all()
        assert frame.attrs["stockdb"]["nan"]["inf"] == len(frame)
        assert frame.attrs["stockdb"]["warmup"]["needed"] is None
        few = unified.get_feature_matrix(NAMES, [Own.of(over_mean, 60)], start="2017-12-01")
        assert few.attrs["stockdb"]["warmup"] == {"needed": 60, "least_there": 74}
        np.testing.assert_allclose(few.loc["MSFT", "over_mean"], wanted, rtol=1e-6)

    def test_names(self, unified: Any) -> None:
        alpha = unified.get_feature_matrix("AAPL", "alpha@1", labels=())
        assert alpha.shape[1] == 157
        own = unified.get_feature_matrix("AAPL", ["ret_17"], labels="y_fwd_3")
        assert list(own.columns) == ["ret_17", "y_fwd_3"]
        listed = unified.list_features()
        assert listed.loc["rsi_14", "sets"] == "default@1"
        assert listed.loc["a_roc_5", "sets"] == "alpha@1"
        assert listed["definition"].str.len().min() >= 3

    def test_errors(self, unified: Any) -> None:
        with pytest.raises(SymbolNotFoundError, match="MSFTT.*MSFT"):
            unified.get_feature_matrix(["AAPL", "MSFTT"])
        for wrong, message in (
            ("rsi_41", "Did you mean"),
            ("alpha@7", "no feature or set"),
            ("y_fwd_5", "labels="),
            (3, "is no feature"),
            ([], "No feature"),
            ([lambda f: f["close"], lambda f: f["open"]], "Two features are named 'own'"),
        ):
            with pytest.raises(ConfigurationError, match=message):
                unified.get_feature_matrix("AAPL", wrong)
        with pytest.raises(ConfigurationError, match="no label 'y_fwd_x'"):
            unified.get_feature_matrix("AAPL", labels="y_fwd_x")
        with pytest.raises(ConfigurationError, match="No symbol"):
            unified.get_feature_matrix([])
        with pytest.raises(ConfigurationError, match="weekly"):
            unified.get_feature_matrix("AAPL", interval="weekly")
        with pytest.raises(DataError, match="one row for each bar") as caught:
            unified.get_feature_matrix("AAPL", lambda f: f["close"].iloc[1:])
        assert caught.value.symbol == "AAPL"
        with pytest.raises(DataError, match="did not return numbers"):
            unified.get_feature_matrix("AAPL", lambda f: f["close"].map(lambda value: "x"))

    def test_an_empty_range_says_why(self, unified: Any) -> None:
        frame = unified.get_feature_matrix(NAMES, start="2017-12-30", end="2017-12-31")
        assert frame.empty
        assert frame.shape[1] == 33
        assert frame.index.names == ["symbol", "date"]
        assert "no session" in frame.attrs["stockdb"]["empty_reason"]


def test_live_last_row_equals_the_batch_row(make_bucket: Any, client_factory: Any) -> None:
    """Each day the file ends one bar later: its last row is what the whole file says later."""
    whole = None
    for cut in (0, 1, 40):
        held = {n: f.iloc[: len(f) - cut] for n, f in HELD.items()}
        made = make_bucket({f"stocks-2010-2025/{n}.csv": csv(f) for n, f in held.items()})
        unified = client_factory(made).create_unified_interface()
        frame = unified.get_feature_matrix(NAMES, ["default", "xs_rank"], labels=())
        whole = frame if whole is None else whole
        last = frame.groupby(level=0).tail(1)
        np.testing.assert_array_equal(last, whole.loc[last.index])


def test_a_bar_on_a_holiday_is_no_row(make_bucket: Any, client_factory: Any) -> None:
    stray = HELD["AAPL"].iloc[[-300]].set_axis([pd.Timestamp("2016-12-25")], axis=0)
    dirty = pd.concat([HELD["AAPL"], stray]).sort_index()
    clean = client_factory(make_bucket({"stocks-2010-2025/AAPL.csv": csv(HELD["AAPL"])}))
    other = client_factory(make_bucket({"stocks-2010-2025/AAPL.csv": csv(dirty)}))
    a, b = (c.create_unified_interface().get_feature_matrix("AAPL") for c in (clean, other))
    pd.testing.assert_frame_equal(a, b, check_exact=True)
    assert (a.attrs["stockdb"]["not_a_session"], b.attrs["stockdb"]["not_a_session"]) == (0, 1)


def test_audit_of_bars_that_it_reads(unified: Any) -> None:
    def centred(frame: pd.DataFrame) -> pd.Series:
        return frame["close"] / frame["close"].rolling(53, center=True).mean()

    one = unified.audit(centred, "AAPL")
    assert not one.ok
    assert {leak.reach for leak in one.leaks if leak.test == "perturb"} == {26}
    assert "reads 26 bars ahead" in str(one)
    several = unified.audit(lambda f: f["close"].pct_change(), ["AAPL", "MSFT"], by_symbol=True)
    assert several.ok, str(several)
    with pytest.raises(SymbolNotFoundError):
        unified.audit(centred, ["AAPL", "NONE"])


@pytest.mark.parametrize(
    "call",
    [lambda u: u.get_feature_matrix("AAPL", labels=5), lambda u: u.get_feature_matrix(5),
     lambda u: u.get_feature_matrix("AAPL", 5), lambda u: u.get_feature_matrix("AAPL", adjust=5),
     lambda u: u.get_feature_matrix("AAPL", max_workers="2"),
     lambda u: u.get_feature_matrix("AAPL", max_workers=1.5),
     lambda u: u.get_feature_matrix("AAPL", rate="x"),
     lambda u: u.get_feature_matrix("AAPL", rate=float("nan")),
     lambda u: u.get_feature_matrix("AAPL", engine=["pandas"]),
     lambda u: u.get_feature_matrix("AAPL", engine="dask", partition_symbols="2"),
     lambda u: u.get_feature_matrix(as_of=5),
     lambda u: u.get_feature_matrix("AAPL", lambda f: f["close"].astype(str)),
     lambda u: u.freeze(None), lambda u: u.freeze(pd.DataFrame()), lambda u: u.audit(None, "AAPL"),
     lambda u: u.audit(lambda f: f["close"], None)],
    ids=range(16),
)  # fmt: skip
def test_arguments_of_the_wrong_kind(unified: Any, call: Callable[[Any], Any]) -> None:
    with pytest.raises((ConfigurationError, DataError)) as raised:
        call(unified)
    assert raised.value.remedy != DataError.default_remedy


def test_a_manifest_that_cannot_be_written(unified: Any, tmp_path: Path) -> None:
    frame = unified.get_feature_matrix("AAPL", ["ret_1"])
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "none" / "x.json", tmp_path / "file" / "x.json", tmp_path, 5, "", "/"):
        with pytest.raises(ConfigurationError, match="folder that exists"):
            unified.freeze(frame, path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_options_where_chains_exist(make_bucket: Any, client_factory: Any) -> None:
    files = {
        f"options-complete/{DATES[n]:%Y-%m-%d}options.csv": day_file(n, ("AAA",)) for n in range(45)
    }
    files |= {f"stocks-2010-2025/{name}.csv": csv(STOCK) for name in ("AAA", "CCC")}
    minio = client_factory(make_bucket(files))
    unified = minio.create_unified_interface()
    frame = unified.get_feature_matrix(["CCC", "AAA"], ["rsi_14", "options@1"], start="2020-01-01")
    names = ["pcr_vol", "pcr_oi", "pcr_dollar", "vol_oi", "unusual"]
    assert list(frame.columns[:6]) == ["rsi_14", *names]
    own = frame.loc["AAA"]
    real = [date for date in DATES if date in own.index]  # one is a holiday
    assert len(real) == 44
    quoted = own.loc[real]
    assert quoted[names[:-1]].notna().all().all()
    assert own.drop(index=real)[names].isna().all().all()
    assert frame.loc["CCC", names].isna().all().all()
    for number, date in enumerate(DATES):
        if date in own.index:
            traded = [side(number, kind, 0) for kind in ("put", "call")]
            assert quoted.loc[date, "pcr_vol"] == pytest.approx(traded[0] / traded[1], rel=1e-6)
    assert list(quoted.index[quoted["unusual"] == 1.0]) == [DATES[40]]
    note = frame.attrs["stockdb"]
    missing = len(own) - 44 + len(frame.loc["CCC"])
    assert note["nan"]["pcr_vol"] == missing
    assert note["nan_reasons"]["no_chain"] == 5 * missing
    assert (
        note["chains"]["CCC"]["days"] == 0
        and "None of the newest" in note["chains"]["CCC"]["reason"]
    )
    named = set(json.loads(note["objects"]))
    assert sum(key.startswith("options-complete/") for key in named) >= 44
    assert {origin.key for origin in minio.provenance(frame).origins} == named
    frozen = unified.freeze(frame)
    pd.testing.assert_frame_equal(unified.get_feature_matrix(as_of=frozen), frame)
    part = unified.get_feature_matrix("AAA", "options@1", start=DATES[38], labels=())
    pd.testing.assert_frame_equal(
        part,
        frame.loc[["AAA"]][names].loc[(slice(None), slice(DATES[38], None)), :],
        check_flags=False,
    )


def test_prices_that_carry_their_splits_already(make_bucket: Any, client_factory: Any) -> None:
    """A split-adjusted copy whose dataset says ``none`` would be divided twice: that is told."""
    before = HELD["MSFT"].index < pd.Timestamp("2016-03-01")
    paid = HELD["MSFT"].copy()
    paid.loc[before, ["open", "high", "low", "close"]] *= 4.0
    files = {"stocks-2010-2025/AAPL.csv": csv(HELD["AAPL"]), "stocks-2010-2025/MSFT.csv": csv(paid)}
    splits = b"symbol,ex_date,ratio\nAAPL,2015-06-01,7.0\nMSFT,2016-03-01,4.0\n"
    minio = client_factory(make_bucket({**files, "reference/splits.csv": splits}))
    unified = minio.create_unified_interface()
    message = "1 symbols are declared as unadjusted.*AAPL on 2015-06-01.*divided twice"
    with pytest.warns(UserWarning, match=message) as caught:
        frame = unified.get_feature_matrix(["AAPL", "MSFT"])
    assert caught[0].filename == __file__
    assert frame.attrs["stockdb"]["carried"] == {"AAPL": "2015-06-01"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unified.get_feature_matrix("MSFT")
        datasets = minio.settings.datasets
        stocks = datasets["stocks"].model_copy(update={"adjustment": "splits"})
        said = client_factory(minio.settings.connection.bucket_name,
                              datasets={**datasets, "stocks": stocks})  # fmt: skip
        said.create_unified_interface().get_feature_matrix("AAPL")


def test_skews_where_a_rate_is_known(make_bucket: Any, client_factory: Any) -> None:
    """Chains that QuantLib priced, with dear puts: the matrix says what the adapter says."""
    chain = fair_chain((20, 45, 100), tuple(range(70, 145, 5)), 0.001, lambda K: 0.25)
    dear = (chain["type"] == "put") & (chain["strike"] < 99.0)
    chain.loc[dear, ["bid", "ask"]] += 0.30
    files = {"stocks-2010-2025/XYZ.csv": leaps.STOCK % b"100", leaps.KEY: leaps.csv_of(chain)}
    names = ["skew_25d", "smirk", "cw_spread"]
    bare = client_factory(make_bucket(files)).create_unified_interface()
    unknown = bare.get_feature_matrix("XYZ", "options", labels=())
    assert list(unknown.columns[-3:]) == names
    assert unknown[names].isna().all().all()  # no rate, and none is guessed
    dividends = b"symbol,ex_date,amount\nXYZ,2022-03-01,0.75\nXYZ,2022-09-01,0.75\n"
    files |= {"reference/treasury.csv": leaps.TREASURY, "reference/dividends.csv": dividends}
    minio = client_factory(make_bucket(files))
    unified = minio.create_unified_interface()
    frame = unified.get_feature_matrix("XYZ", "options", labels=(), adjust="none")
    row = frame[names].dropna().iloc[-1]
    assert row["skew_25d"] > 0.01 and row["smirk"] > 0.01 and row["cw_spread"] < -0.005
    own = TradingDataAdapter(minio).get_data_for_algorithm("options_flow", "XYZ", 1)
    np.testing.assert_array_equal(row, own[names].iloc[-1].astype(np.float32))
    manifest = unified.freeze(frame)
    assert {"reference/treasury.csv", "reference/dividends.csv"} <= set(manifest.objects)
    again = client_factory(minio.settings.connection.bucket_name).create_unified_interface()
    pd.testing.assert_frame_equal(again.get_feature_matrix(as_of=manifest), frame, check_exact=True)


def test_a_broken_day_of_chains_is_told(make_bucket: Any, client_factory: Any) -> None:
    files = {f"options-complete/{DATES[n]:%Y-%m-%d}options.csv": day_file(n) for n in (42, 43, 44)}
    files[f"options-complete/{DATES[43]:%Y-%m-%d}options.csv"] = b"no,chain\n1,2\n"
    files["stocks-2010-2025/AAA.csv"] = csv(STOCK)
    unified = client_factory(make_bucket(files)).create_unified_interface()
    with pytest.warns(UserWarning, match=f"could not be read.*AAA on {DATES[43]:%Y-%m-%d}"):
        frame = unified.get_feature_matrix("AAA", "pcr_vol", start=DATES[42], labels=())
    assert frame["pcr_vol"].loc["AAA"].notna()[DATES[42:45]].tolist() == [True, False, True]
    assert frame.attrs["stockdb"]["nan_reasons"]["chain_failed"] == 1


def test_without_a_server(make_bucket: Any, client_factory: Any) -> None:
    """What is cached is served offline, to the byte; what is not is an error, never no rows."""
    bucket = make_bucket({f"stocks-2010-2025/{n}.csv": csv(HELD[n]) for n in NAMES})
    unified = client_factory(bucket).create_unified_interface()
    with pytest.raises(UnavailableError):
        unified.get_feature_matrix(NAMES, offline=True)
    frame = unified.get_feature_matrix(NAMES)
    again = unified.get_feature_matrix(NAMES, offline=True)
    pd.testing.assert_frame_equal(again, frame, check_exact=True)
    assert again.attrs["stockdb"]["freshness"] == "offline"
    away = client_factory(bucket, endpoint="http://127.0.0.1:9", max_attempts=1)
    with pytest.raises(UnavailableError):
        away.create_unified_interface().get_feature_matrix(NAMES)


def test_many_callers_at_once(unified: Any) -> None:
    """Threads share the client; each gets the bytes that it would get alone."""
    wanted = unified.get_feature_matrix(NAMES, ["default", "xs_rank"])

    def ask(number: int) -> pd.DataFrame:
        return unified.get_feature_matrix(NAMES, ["default", "xs_rank"], max_workers=1 + number % 3)

    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(ask, range(12)):
            pd.testing.assert_frame_equal(found, wanted, check_exact=True)
