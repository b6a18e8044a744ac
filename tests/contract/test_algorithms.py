"""What every algorithm of the adapter keeps to, on a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from minio_data_integration import MinIODataIntegration
from stockdb.errors import ConfigurationError, DateNotFoundError, RangeError, SymbolNotFoundError
from tests.unit.processing.bars import bars
from trading_data_adapter import TradingDataAdapter

NAMES = ["AAA", "BBB", "CCC"]
#: A rank or a pair needs two symbols; every other algorithm takes one.
BY_BARS = ["momentum_tracker", "mean_reversion", "ml_predictions", "volume_analysis"]
READY = [*BY_BARS, "pairs_trading"]
COLUMNS = {
    "momentum_tracker": "mom_12_1 mom_6_1 vol_mop tsmom_pos hi52 rsi_14 adx_14 macd_hist_over_c "
    "xs_rank",
    "mean_reversion": "z_20 pct_b half_life adf_p hurst vr_5 rsi_2",
    "pairs_trading": "beta_ols beta_tls beta_kf coint_t coint_p n_pairs_tested spread z_60 "
    "half_life",
    "ml_predictions": "ret_1 ret_5 ret_21 ret_63 vol_pk vol_gk vol_yz y_fwd_5 y_tb t1 weight",
    "leaps_arbitrage": "parity_hi parity_lo box_rate iv delta iv_term_slope iv_minus_rv_252 "
    "spread_pct open_interest quote_age",
    "options_flow": "pcr_vol pcr_oi pcr_dollar vol_oi unusual os_ratio net_premium skew_25d smirk "
    "cw_spread gex max_pain",
    "volume_analysis": "vwap_20 vwap obv_diff cmf_20 mfi_14 ad_slope amihud_21 rvol_20 poc va_lo "
    "va_hi vpin_bvc",
}


def csv(frame: pd.DataFrame) -> bytes:
    renamed = frame.rename(columns=str.title).rename_axis("trade_date")
    return renamed.to_csv(date_format="%Y-%m-%d").encode()


HELD = {name: bars(2600, number) for number, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def minio(make_bucket: Callable[..., str], module_clients: Any) -> MinIODataIntegration:
    objects = {f"stocks-2010-2025/{name}.csv": csv(frame) for name, frame in HELD.items()}
    return module_clients(make_bucket(objects))


@pytest.fixture(scope="module")
def adapter(minio: MinIODataIntegration) -> TradingDataAdapter:
    return TradingDataAdapter(minio)


def test_the_seven_of_the_readme(adapter: TradingDataAdapter) -> None:
    assert set(adapter.list_algorithms()) == set(COLUMNS)
    with pytest.raises(ConfigurationError, match="Did you mean momentum_tracker"):
        adapter.describe("momentum_traker")
    assert adapter.describe("Pairs Trading")["algorithm"] == "pairs_trading"


@pytest.mark.parametrize("name", COLUMNS)
class TestSpecification:
    def test_has_every_column_of_the_contract(self, adapter: TradingDataAdapter, name: str) -> None:
        described = adapter.describe(name)
        assert json.loads(json.dumps(described)) == described
        columns = {column["name"]: column for column in described["columns"]}
        assert set(COLUMNS[name].split()) <= set(columns)
        for column in columns.values():
            assert all(column[key] for key in ("definition", "unit", "source")), column
            assert column["window"] >= 1 and column["role"] in {"feature", "label"}

    def test_only_labels_read_the_future(self, adapter: TradingDataAdapter, name: str) -> None:
        labels = {c["name"] for c in adapter.describe(name)["columns"] if c["role"] == "label"}
        expected = {"y_fwd_1", "y_fwd_5", "y_fwd_21", "y_tb", "t1", "weight"}
        assert labels == (expected if name == "ml_predictions" else set())

    def test_statistics_ship_with_what_makes_them_honest(
        self, adapter: TradingDataAdapter, name: str
    ) -> None:
        columns = {column["name"] for column in adapter.describe(name)["columns"]}
        if "half_life" in columns:
            assert "adf_p" in columns or {"coint_p", "n_pairs_tested"} <= columns
        if "gex" in columns:
            assert any("dealers" in note for note in adapter.describe(name)["notes"])

    def test_a_misspelt_parameter_is_an_error(self, adapter: TradingDataAdapter, name: str) -> None:
        with pytest.raises(ConfigurationError, match="Did you mean offline"):
            adapter.get_data_for_algorithm(name, NAMES, ofline=True)
        with pytest.raises(ConfigurationError, match="offline='sometimes'"):
            adapter.get_data_for_algorithm(name, NAMES, offline="sometimes")
        for wrong in (0, -1, 2.5, True, None):
            with pytest.raises(ConfigurationError, match="lookback_days"):
                adapter.get_data_for_algorithm(name, NAMES, lookback_days=wrong)  # type: ignore[arg-type]
        with pytest.raises(RangeError):
            adapter.get_data_for_algorithm(name, NAMES, end_date="soon")


@pytest.mark.parametrize("name", READY)
class TestData:
    def test_columns_dtypes_and_default_length(
        self, adapter: TradingDataAdapter, name: str
    ) -> None:
        frame = adapter.get_data_for_algorithm(name, NAMES)
        described = adapter.describe(name)
        columns = [column["name"] for column in described["columns"]]
        assert [c for c in frame.columns if c in columns] == columns
        assert list(frame.index.names) == described["index"]
        assert frame.index.is_unique
        for key, part in frame.groupby(level=list(range(frame.index.nlevels - 1)), sort=False):
            dates = part.index.get_level_values("date")
            assert len(part) == 252 and dates.is_monotonic_increasing, key
            assert dates[-1] == HELD["AAA"].index[-1]
        for column in columns:
            assert frame[column].dtype == ("datetime64[ns]" if column == "t1" else "float64")
        numbers = frame.select_dtypes("number")
        assert not np.isinf(numbers.to_numpy()).any()

    def test_the_note_is_small_json_and_counts_every_nan(
        self, adapter: TradingDataAdapter, name: str
    ) -> None:
        frame = adapter.get_data_for_algorithm(name, NAMES, lookback_days=300)
        note = frame.attrs["stockdb"]
        assert len(json.dumps(note)) < 8000
        assert note["algorithm"] == name and note["spec"] == adapter.describe(name)["spec"]
        for column in (c["name"] for c in adapter.describe(name)["columns"]):
            counted = sum(note["nan"]["columns"].get(column, {}).values())
            assert counted == frame[column].isna().sum(), column

    def test_few_sessions_are_the_tail_of_many(
        self, adapter: TradingDataAdapter, name: str
    ) -> None:
        few = adapter.get_data_for_algorithm(name, NAMES, lookback_days=60)
        many = adapter.get_data_for_algorithm(name, NAMES, lookback_days=2000)
        tail = many.groupby(level=list(range(many.index.nlevels - 1)), sort=False).tail(60)
        assert len(few) == 60 * few.index.droplevel("date").nunique()
        pd.testing.assert_frame_equal(few, tail, rtol=1e-6, atol=1e-8)

    def test_ends_at_the_newest_bar_on_or_before_the_end(
        self, adapter: TradingDataAdapter, name: str
    ) -> None:
        saturday = HELD["AAA"].index[2000] + pd.offsets.Week(weekday=5)
        frame = adapter.get_data_for_algorithm(name, NAMES, lookback_days=30, end_date=saturday)
        last = frame.index.get_level_values("date").max()
        assert last == HELD["AAA"].index[HELD["AAA"].index <= saturday][-1]
        whole = adapter.get_data_for_algorithm(name, NAMES, lookback_days=700)
        features = [c["name"] for c in adapter.describe(name)["columns"] if c["role"] == "feature"]
        same = whole.loc[frame.index, features]
        pd.testing.assert_frame_equal(frame[features], same, rtol=1e-6, atol=1e-8)

    def test_one_bad_symbol_is_warned_of_and_listed(
        self, adapter: TradingDataAdapter, name: str
    ) -> None:
        with pytest.warns(UserWarning, match="1 of 4 symbols failed: NONE") as caught:
            frame = adapter.get_data_for_algorithm(name, [*NAMES, "NONE"], lookback_days=30)
        assert caught[0].filename == __file__
        assert "NONE" in frame.attrs["stockdb"]["errors"]
        good = adapter.get_data_for_algorithm(name, NAMES, lookback_days=30)
        pd.testing.assert_frame_equal(frame, good)
        with pytest.raises(SymbolNotFoundError):
            adapter.get_data_for_algorithm(name, ["NONE", "NADA"])

    def test_the_order_of_symbols_changes_the_order_only(
        self, adapter: TradingDataAdapter, name: str
    ) -> None:
        one = adapter.get_data_for_algorithm(name, NAMES, lookback_days=30)
        other = adapter.get_data_for_algorithm(name, NAMES[::-1], lookback_days=30)
        pd.testing.assert_frame_equal(one, other.loc[one.index], check_exact=True)


@pytest.mark.parametrize("name", BY_BARS)
def test_a_string_gives_a_flat_frame(adapter: TradingDataAdapter, name: str) -> None:
    flat = adapter.get_data_for_algorithm(name, "aaa", lookback_days=40)
    long = adapter.get_data_for_algorithm(name, ["AAA"], lookback_days=40)
    assert flat.index.name == "date" and flat.index.dtype == "datetime64[ns]"
    assert list(long.index.names) == ["symbol", "date"]
    pd.testing.assert_frame_equal(flat, long.loc["AAA"], check_freq=False)
    np.testing.assert_allclose(flat["close"], HELD["AAA"]["close"].iloc[-40:], rtol=1e-12)


def test_all_have_data(adapter: TradingDataAdapter) -> None:
    assert all(adapter.describe(name)["available"] for name in COLUMNS)


def test_without_chains_leaps_arbitrage_says_so(adapter: TradingDataAdapter) -> None:
    with pytest.raises(DateNotFoundError, match="no options file"):
        adapter.get_data_for_algorithm("leaps_arbitrage", "AAA")
