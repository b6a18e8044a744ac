"""Every model type: no leak, everything aligned, and every row accounted for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import RobustScaler, StandardScaler

from stockdb.errors import ConfigurationError, DataError, RangeError
from stockdb.models import MODEL_TYPES, prepare_for_model
from tests.unit.models import checks
from tests.unit.models.frames import (
    FEATURES,
    GONE,
    SEQ_LEN,
    UNDEFINED,
    closes,
    feature_frame,
    stamps,
)

WINDOWS = ("lstm", "gru", "transformer", "cnn")
TABLES = ("xgboost", "lightgbm", "random_forest", "linear")
SUPERVISED = (*WINDOWS, *TABLES)
every = pytest.mark.parametrize("model", MODEL_TYPES)
supervised = pytest.mark.parametrize("model", SUPERVISED)
windows = pytest.mark.parametrize("model", WINDOWS)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return feature_frame()


def prepared(frame: pd.DataFrame, model: str, **options: Any) -> Any:
    return prepare_for_model(frame, model, **{"seq_len": SEQ_LEN, **options})


def rows_of(segment: Any) -> int:
    return int(segment.mask.sum()) if segment.X is not None and _is_panel(segment) else len(segment)


def _is_panel(segment: Any) -> bool:
    return hasattr(segment, "tradable")


def gathered(found: Any, segment: Any) -> np.ndarray:
    """Give X in the features' own units, features on the last axis."""
    values = found.inverse_transform(np.asarray(segment.X))
    return values.swapaxes(1, 2) if found.model_type == "cnn" else values


class TestLeaks:
    @windows
    def test_4_windows_hold_one_symbol_and_consecutive_sessions(self, model: str) -> None:
        found = prepared(feature_frame(stamp=True), model)
        assert found.feature_names[0] == "stamp"
        for segment in found.segments.values():
            stamp = gathered(found, segment)[:, :, 0]
            assert checks.broken_windows(stamp, stamps(segment.index)) == []
            assert len(stamp) > 100

    def test_4_catches_a_window_across_symbols(self) -> None:
        whole = feature_frame(stamp=True)
        stamp = whole["stamp"].to_numpy()
        cut = np.lib.stride_tricks.sliding_window_view(stamp, SEQ_LEN)  # knows no symbol
        ends = stamps(whole.index)[SEQ_LEN - 1 :]
        broken = checks.broken_windows(cut, ends)
        first = {s: int(np.argmax(whole.index.get_level_values(0) == s)) for s in ("BBB", "CCC")}
        assert {n + SEQ_LEN - 1 for n in broken} >= {first["BBB"], first["CCC"] + 3}
        hole = whole.index.get_loc(("BBB", GONE + pd.Timedelta(1, "D")))
        assert hole - SEQ_LEN + 1 in broken

    @pytest.mark.parametrize("model", TABLES)
    def test_4_rows_of_tables_are_their_own(self, model: str) -> None:
        found = prepared(feature_frame(stamp=True), model)
        for segment in found.segments.values():
            stamp = np.rint(gathered(found, segment)[:, 0])
            np.testing.assert_array_equal(stamp, stamps(segment.index))

    def test_4_panel_and_series_hold_their_own(self) -> None:
        whole = feature_frame(stamp=True)
        found = prepared(whole, "rl")
        for segment in found.segments.values():
            values = np.rint(found.inverse_transform(segment.X)[:, :, 0])
            for asset, symbol in enumerate(found.symbols):
                index = pd.MultiIndex.from_product([[symbol], segment.index])
                held = segment.mask[:, asset]
                np.testing.assert_array_equal(values[held, asset], stamps(index)[held])
        series = prepared(whole, "arima_garch", returns="stamp")
        for segment in series.segments.values():
            for symbol, values in segment.X.items():
                own = segment.index[segment.index.get_level_values(0) == symbol]
                np.testing.assert_allclose(values / 100.0, stamps(own), rtol=1e-6)
                assert checks.broken_windows(values[None] / 100.0, stamps(own)[-1:]) == []

    @every
    def test_5_valid_and_test_do_not_move_training(self, frame: pd.DataFrame, model: str) -> None:
        found = prepared(frame, model)
        dates = frame.index.get_level_values(1)
        late = dates >= pd.Timestamp(found.parameters["valid_from"])
        other = frame.copy()
        chance = np.random.default_rng(0)
        names = [name for name in frame if name != "t1"]
        noise = chance.normal(0, 10, (int(late.sum()), len(names)))
        other.loc[late, names] = other.loc[late, names].to_numpy() * noise + noise
        same = checks.state(prepared(other, model)) == checks.state(found)
        assert same  # a bare comparison would take minutes to show how long lists differ
        assert str(prepared(other, model).fingerprint) != str(found.fingerprint)

    @pytest.mark.parametrize("model", ["lstm", "linear"])
    def test_5_catches_a_scaler_of_the_full_sample(
        self, frame: pd.DataFrame, model: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from stockdb.models import prepare

        fit = prepare.fit_scaler

        def of_all(kind: Any, values: Any, rows: Any, names: Any) -> Any:
            return fit(kind, values, np.arange(len(values)), names)

        monkeypatch.setattr(prepare, "fit_scaler", of_all)
        with pytest.raises(AssertionError):
            self.test_5_valid_and_test_do_not_move_training(frame, model)

    @supervised
    @pytest.mark.parametrize("label", ["y_fwd_5", "y_tb"])
    def test_6_no_label_interval_meets_a_later_segment(
        self, frame: pd.DataFrame, model: str, label: str
    ) -> None:
        found = prepared(frame, model, label=label, embargo=0)
        spans = [self._spans(frame, found, s, label) for s in found.segments.values()]
        assert checks.overlaps(spans[0], spans[1] + spans[2]) == 0
        assert checks.overlaps(spans[1], spans[2]) == 0
        for segment, own in zip(found.segments.values(), spans, strict=True):
            assert list(zip(segment.t0, segment.t1, strict=True)) == own

    def _spans(self, frame: Any, found: Any, segment: Any, label: str) -> list[Any]:
        if label == "y_fwd_5":
            return checks.label_intervals(segment.index, closes(), 6)
        ends = frame.loc[segment.index, "t1"]
        return list(zip(segment.index.get_level_values(1), ends, strict=True))

    def test_6_catches_labels_that_are_not_purged(
        self, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from stockdb.models import prepare

        monkeypatch.setattr(prepare, "_drop_near_the_next", lambda work: None)
        with pytest.raises(AssertionError):
            self.test_6_no_label_interval_meets_a_later_segment(frame, "xgboost", "y_fwd_5")

    @supervised
    def test_5_later_barriers_do_not_move_training(self, frame: pd.DataFrame, model: str) -> None:
        """Neither the values nor the ends of labels from valid on are in what training sees."""
        found = prepared(frame, model, label="y_tb")
        late = frame.index.get_level_values(1) >= pd.Timestamp(found.parameters["valid_from"])
        other = frame.copy()
        dates = pd.Series(frame.index.get_level_values(1), index=frame.index)
        other.loc[late, "t1"] = dates[late] + pd.Timedelta(60, "D")
        other.loc[late, ["y_tb", "weight"]] = 0.5
        again = prepared(other, model, label="y_tb")
        assert checks.state(again) == checks.state(found)
        assert again.parameters["embargo"] == found.parameters["embargo"]

    def test_6_panel_rewards_stay_in_their_segment(self, frame: pd.DataFrame) -> None:
        found = prepared(frame, "rl", embargo=0)
        spans = [list(zip(s.t0, s.t1, strict=True)) for s in found.segments.values()]
        assert checks.overlaps(spans[0], spans[1] + spans[2]) == 0
        assert checks.overlaps(spans[1], spans[2]) == 0

    @every
    def test_10_order_and_seed_give_one_fingerprint(self, frame: pd.DataFrame, model: str) -> None:
        found = prepared(frame, model)
        mixed = frame.sample(frac=1.0, random_state=3)
        backwards = pd.concat([frame.loc[[symbol]] for symbol in ("DDD", "BBB", "AAA", "CCC")])
        for other in (mixed, backwards):
            assert str(prepared(other, model, seed=9).fingerprint) == str(found.fingerprint)
        changed = frame.copy()
        changed.loc[("AAA", "2018-08-01"), ["ret_1", "rsi_14"]] *= 1.001
        assert str(prepared(changed, model).fingerprint) != str(found.fingerprint)

    @every
    def test_the_frame_is_not_changed(self, frame: pd.DataFrame, model: str) -> None:
        before = frame.copy()
        prepared(frame, model)
        pd.testing.assert_frame_equal(frame, before)


class TestAlignment:
    @supervised
    def test_y_is_the_return_after_the_row(self, frame: pd.DataFrame, model: str) -> None:
        found = prepared(frame, model)
        close = {s: part.droplevel(0)["close"] for s, part in closes().groupby(level=0)}
        for segment in found.segments.values():
            wanted = []
            for symbol, date in segment.index:
                own = close[symbol]
                place = own.index.get_loc(date)
                wanted.append(own.iloc[place + 6] / own.iloc[place + 1] - 1)
            np.testing.assert_allclose(segment.y, wanted, rtol=1e-5, atol=1e-7)
            assert segment.y.dtype == np.float32
            assert set(segment.weight.tolist()) == {1.0}

    @supervised
    def test_no_label_enters_x(self, frame: pd.DataFrame, model: str) -> None:
        names = prepared(frame, model, label="y_tb").feature_names
        assert names[:5] == FEATURES
        assert all(name.endswith("_missing") for name in names[5:])

    @supervised
    def test_split_by_date_over_all_symbols(self, frame: pd.DataFrame, model: str) -> None:
        found = prepared(frame, model)
        dates = frame.index.get_level_values(1).unique().sort_values()
        cuts = [dates[int(len(dates) * part)] for part in (0.70, 0.85)]
        spans = [s.index.get_level_values(1) for s in found.segments.values()]
        assert spans[0].max() < cuts[0] <= spans[1].min()
        assert spans[1].max() < cuts[1] <= spans[2].min()

    def test_embargo_counts_sessions(self, frame: pd.DataFrame) -> None:
        days = frame.index.get_level_values(1).unique().sort_values()
        for embargo in (0, 1, 5, 30):
            found = prepared(frame, "xgboost", embargo=embargo)
            first = days.get_loc(pd.Timestamp(found.parameters["valid_from"]))
            last = days.get_loc(found.train.t1.max())
            assert first - last - 1 == embargo
        assert prepared(frame, "xgboost").parameters["embargo"] == 5
        assert prepared(frame, "xgboost", label="y_tb").parameters["embargo"] == 21

    def test_split_dates(self, frame: pd.DataFrame) -> None:
        found = prepared(frame, "xgboost", split_dates=("2019-03-01", "2019-08-01"))
        assert found.train.t1.max() < pd.Timestamp("2019-03-01")
        assert found.valid.index.get_level_values(1).min() == pd.Timestamp("2019-03-01")
        assert found.test.index.get_level_values(1).min() == pd.Timestamp("2019-08-01")

    @every
    def test_every_row_is_accounted_for(self, frame: pd.DataFrame, model: str) -> None:
        found = prepared(frame, model)
        kept = sum(rows_of(segment) for segment in found.segments.values())
        assert kept + sum(found.dropped.values()) == len(frame)
        assert all(count > 0 for count in found.dropped.values())

    def test_what_is_purged_and_what_is_embargoed(self, frame: pd.DataFrame) -> None:
        """y_fwd_5 of t reads t+6: six rows of each symbol reach over, five more come too near."""
        found = prepared(frame, "xgboost")
        # AAA, BBB and CCC at both borders (28 May and 13 September), DDD (October on) at none.
        assert found.dropped["purged"] == 6 * 3 * 2
        assert found.dropped["embargo"] == 5 * 3 * 2
        assert "embargo" not in prepared(frame, "xgboost", embargo=0).dropped

    @supervised
    def test_vocabulary_is_of_the_training_rows(self, frame: pd.DataFrame, model: str) -> None:
        found = prepared(frame, model)
        assert found.symbols == ("AAA", "BBB", "CCC")
        number = {"AAA": 1, "BBB": 2, "CCC": 3, "DDD": 0}
        for segment in found.segments.values():
            wanted = [number[symbol] for symbol, _ in segment.index]
            assert segment.symbol_id.tolist() == wanted
        assert 0 in found.test.symbol_id

    def test_weights_of_triple_barriers_are_their_uniqueness(self, frame: pd.DataFrame) -> None:
        found = prepared(frame, "xgboost", label="y_tb")
        wanted = frame.loc[found.train.index, "weight"].to_numpy(np.float32)
        np.testing.assert_array_equal(found.train.weight, wanted)
        assert wanted.min() < wanted.max()
        own = prepared(frame, "xgboost", weight="natr_14")
        assert own.train.weight.std() > 0

    @supervised
    def test_weights_that_were_named_do_not_enter_x(self, frame: pd.DataFrame, model: str) -> None:
        future = frame["y_fwd_5"].abs().fillna(0.0)  # as a uniqueness, it looks ahead
        found = prepared(frame.assign(w=future), model, weight="w")
        assert found.feature_names == prepared(frame, model).feature_names
        with pytest.raises(DataError, match="negative"):
            prepared(frame.assign(w=-1.0), model, weight="w")


class TestMissing:
    @windows
    def test_windows_with_nan_or_a_gap_are_dropped(self, frame: pd.DataFrame, model: str) -> None:
        found = prepared(frame, model)
        held = found.train.index
        assert np.isfinite(np.asarray(found.train.X)).all()
        days = frame.index.get_level_values(1).unique().sort_values()
        for symbol, date in (("BBB", GONE), ("CCC", UNDEFINED)):
            place = days.get_loc(date)
            inside = {(symbol, day) for day in days[place : place + SEQ_LEN]}
            if date == GONE:
                inside = {(symbol, day) for day in days[place + 1 : place + SEQ_LEN]}
            assert not inside & set(held)
            assert (symbol, days[place + SEQ_LEN]) in held
            assert ("AAA", date) in held
        assert found.dropped["missing_session"] == SEQ_LEN - 1
        # Four symbols' 20 bars of warm-up; the last 9 of the window are short_history.
        assert found.dropped["short_history"] == 4 * (SEQ_LEN - 1)

    @pytest.mark.parametrize("model", ["xgboost", "lightgbm", "random_forest"])
    def test_trees_keep_nan_and_their_units(self, frame: pd.DataFrame, model: str) -> None:
        found = prepared(frame, model)
        wanted = frame.loc[found.train.index, list(FEATURES)].to_numpy(np.float32)
        np.testing.assert_array_equal(found.train.X, wanted)
        assert np.isnan(wanted).any()

    def test_linear_imputes_as_scikit_learn_does(self, frame: pd.DataFrame) -> None:
        found = prepared(frame, "linear")
        raw = {
            name: frame.loc[segment.index, list(FEATURES)].to_numpy(np.float32).astype(float)
            for name, segment in found.segments.items()
        }
        imputer = SimpleImputer(strategy="median", add_indicator=True).fit(raw["train"])
        scaler = StandardScaler().fit(imputer.transform(raw["train"]))
        for name, segment in found.segments.items():
            wanted = scaler.transform(imputer.transform(raw[name]))
            np.testing.assert_allclose(segment.X, wanted, rtol=2e-4, atol=2e-5)
        flags = [name for name in found.feature_names if name.endswith("_missing")]
        assert len(flags) == int(np.isnan(raw["train"]).any(axis=0).sum())

    @windows
    def test_robust_scaler_is_scikit_learns(self, frame: pd.DataFrame, model: str) -> None:
        found = prepared(frame, model)
        raw = frame.loc[found.train.index, list(FEATURES)].to_numpy(np.float32).astype(float)
        scaler = RobustScaler().fit(raw)
        np.testing.assert_allclose(found.scaler.center, scaler.center_, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found.scaler.scale, scaler.scale_, rtol=1e-6)

    def test_a_transformers_mask_and_a_cnns_axes(self, frame: pd.DataFrame) -> None:
        lstm = prepared(frame, "lstm")
        transformer, cnn = prepared(frame, "transformer"), prepared(frame, "cnn")
        assert lstm.train.mask is None
        assert transformer.train.mask.shape == (len(transformer.train), SEQ_LEN)
        assert transformer.train.mask.all()
        assert lstm.train.X.shape == (len(lstm.train), SEQ_LEN, 5)
        assert cnn.train.X.shape == (len(lstm.train), 5, SEQ_LEN)
        np.testing.assert_array_equal(
            np.asarray(cnn.train.X), np.asarray(lstm.train.X).swapaxes(1, 2)
        )

    def test_arima_gets_the_longest_run(self, frame: pd.DataFrame) -> None:
        found = prepared(frame, "arima_garch")
        returns = frame["ret_1"]
        gap = returns.loc["BBB"].loc[:"2019-05"]
        longest = max(gap.loc[:GONE], gap.loc[GONE:], key=len)
        wanted = longest[longest.index < found.parameters["valid_from"]].dropna() * 100
        own = found.train.X["BBB"]
        assert own.dtype == np.float64
        assert own.ndim == 1
        np.testing.assert_allclose(own, wanted, rtol=1e-6)
        assert "DDD" not in found.train.X
        assert found.dropped["shorter_run"] > 100

    def test_a_panel_masks_what_cannot_be_traded(self, frame: pd.DataFrame) -> None:
        found = prepared(frame, "rl")
        train = found.train
        assert train.observations.shape == (len(train.index), 3, 5)
        assert train.next_ret.shape == train.tradable.shape == (len(train.index), 3)
        place = train.index.get_loc(GONE)
        assert train.tradable[place].tolist() == [True, False, True]
        assert train.observations[place, 1].tolist() == [0.0] * 5
        assert np.isnan(train.next_ret[place - 1, 1])
        close = closes()["close"]
        date, after = train.index[30], train.index[31]
        wanted = [close[s, after] / close[s, date] - 1 for s in found.symbols]
        np.testing.assert_allclose(train.next_ret[30], wanted, rtol=1e-5)
        assert found.test.tradable[-1].tolist() == [True, True, False]  # CCC is gone

    def test_rows_on_no_session_are_dropped(self, frame: pd.DataFrame) -> None:
        sunday = frame.loc[["AAA"]].head(1)
        sunday.index = pd.MultiIndex.from_tuples(
            [("AAA", pd.Timestamp("2018-07-08"))], names=frame.index.names
        )
        found = prepared(pd.concat([frame, sunday]), "lstm")
        assert found.dropped["not_a_session"] == 1
        assert len(found.train) == len(prepared(frame, "lstm").train)


class TestErrors:
    def test_messages_name_the_remedy(self, frame: pd.DataFrame) -> None:
        with pytest.raises(ConfigurationError, match="lstm, gru"):
            prepared(frame, "perceptron")
        with pytest.raises(ConfigurationError, match="no column 'y_fwd_7'.*y_fwd_5, y_tb"):
            prepared(frame, "lstm", label="y_fwd_7")
        with pytest.raises(ConfigurationError, match="horizon="):
            prepared(frame.assign(mine=1.0), "lstm", label="mine")
        with pytest.raises(ConfigurationError, match="returns="):
            prepared(frame, "rl", returns="none")
        with pytest.raises(RangeError, match="ascend"):
            prepared(frame, "lstm", split_dates=("2019-03-01", "2018-03-01"))
        with pytest.raises(RangeError, match="not two dates"):
            prepared(frame, "lstm", split_dates="2019-03-01")
        with pytest.raises(DataError, match=r"MultiIndex \(symbol, date\)"):
            prepared(frame.loc["AAA"], "lstm")
        with pytest.raises(DataError, match="AAA 2018-01-02.* twice"):
            prepared(pd.concat([frame, frame.head(1)]), "lstm")
        with pytest.raises(DataError, match=r"'rsi_14' is infinite on \('BBB'"):
            bad = frame.copy()
            bad.loc[("BBB", "2018-08-01"), "rsi_14"] = np.inf
            prepared(bad, "lstm")
        with pytest.raises(DataError, match="No training sample.*short_history"):
            prepared(frame, "lstm", seq_len=5000)
        with pytest.raises(DataError, match="'empty' has no value in the training"):
            prepared(frame.assign(empty=np.nan), "linear")

    def test_a_label_of_ones_own(self, frame: pd.DataFrame) -> None:
        found = prepared(frame.assign(mine=frame["ret_1"] > 0), "xgboost", label="mine", horizon=3)
        assert "mine" not in found.feature_names
        spans = checks.label_intervals(found.train.index, closes(), 3)
        assert list(zip(found.train.t0, found.train.t1, strict=True)) == spans
