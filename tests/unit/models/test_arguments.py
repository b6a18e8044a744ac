"""Arguments of the wrong kind are refused by an error of ours that names them and a remedy."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stockdb.errors import ConfigurationError, DataError, RangeError, StockDBError
from stockdb.models import Own, PurgedKFold, WalkForward, prepare_for_model
from stockdb.models.manifest import Manifest
from stockdb.models.sets import make_plan
from tests.unit.models.frames import SEQ_LEN, feature_frame
from tests.unit.processing.bars import bars

MODELS = Path(__file__).resolve().parents[3] / "stockdb" / "models"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return feature_frame()


def prepared(frame: Any, model: Any = "linear", label: Any = "y_fwd_5", **options: Any) -> Any:
    return prepare_for_model(frame, model, label, seq_len=SEQ_LEN, **options)


@pytest.mark.parametrize("value", [np.nan, 1.5, 5.0, -1, "5", True, [5], pd.Timedelta(5, "D")])
@pytest.mark.parametrize("name", ["embargo", "horizon"])
def test_sessions_are_counted_in_whole_numbers(frame: pd.DataFrame, name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}=.*whole number"):
        prepared(frame, **{name: value})


@pytest.mark.parametrize("value", [0, np.int64(0), np.int32(3)])
def test_whole_numbers_of_numpy_are_whole_numbers(frame: pd.DataFrame, value: Any) -> None:
    parameters = prepared(frame, embargo=value).parameters
    assert parameters["embargo"] == value and type(parameters["embargo"]) is int
    assert len(prepare_for_model(frame, "lstm", seq_len=np.int64(10)).train)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [PurgedKFold, WalkForward])
@pytest.mark.parametrize(
    "wrong", [{"embargo": np.nan}, {"embargo": 1.5}, {"embargo": -1}, {"n_splits": 2.5}]
)
def test_splitters_count_in_whole_numbers(kind: Any, wrong: dict[str, Any]) -> None:
    day = pd.date_range("2024-01-01", periods=20)
    with pytest.raises(ConfigurationError, match="whole number"):
        kind(**{"n_splits": 3, "t0": day, "t1": day} | wrong)


@pytest.mark.parametrize("wrong", [{"train_size": 0}, {"train_size": 1.5}, {"test_size": np.nan}])
def test_walk_forward_spans_whole_dates(wrong: dict[str, Any]) -> None:
    day = pd.date_range("2024-01-01", periods=20)
    with pytest.raises(ConfigurationError, match="whole number"):
        WalkForward(3, t0=day, t1=day, **wrong)


class TestHorizon:
    @pytest.mark.parametrize("horizon", [0, 1, 5])
    def test_less_than_a_label_is_known_to_read(self, frame: pd.DataFrame, horizon: int) -> None:
        """y_fwd_5 is C[t+6]/C[t+1]-1: with less than 6, training rows would read valid."""
        with pytest.raises(ConfigurationError, match="'y_fwd_5' reads 6 bars.*Leave horizon out"):
            prepared(frame, horizon=horizon)

    def test_at_least_as_much_purges_as_much(self, frame: pd.DataFrame) -> None:
        usual = prepared(frame, embargo=0)
        same, more = (prepared(frame, embargo=0, horizon=h) for h in (6, 9))
        assert usual.dropped["purged"] == same.dropped["purged"] == 6 * 3 * 2
        assert more.dropped["purged"] == 9 * 3 * 2

    def test_less_than_the_frame_declares(self, frame: pd.DataFrame) -> None:
        noted = frame.assign(y_tb=frame["y_tb"])
        noted.attrs["stockdb"] = {"reach": {"y_tb": 22}}
        with pytest.raises(ConfigurationError, match="'y_tb' reads 22 bars"):
            prepared(noted, label="y_tb", horizon=21)

    def test_less_than_t1_says(self, frame: pd.DataFrame) -> None:
        with pytest.raises(ConfigurationError, match="'t1' .*Leave horizon out"):
            prepared(frame, label="y_tb", horizon=3)
        assert len(prepared(frame, label="y_tb", horizon=22).train)

    def test_a_label_of_ones_own_may_read_its_own_bar(self, frame: pd.DataFrame) -> None:
        mine = frame.assign(mine=frame["ret_1"])
        assert len(prepared(mine, label="mine", horizon=0).train)


class TestSplitDates:
    @pytest.mark.parametrize(
        "dates", [("2030-01-01", "2031-01-01"), ("1990-01-01", "1991-01-01"),
                  ("2018-01-02", "2019-06-03"), ("2020-01-01", "2020-06-01")],
    )  # fmt: skip
    def test_valid_outside_of_the_data(self, frame: pd.DataFrame, dates: Any) -> None:
        with pytest.raises(RangeError, match="2018-01-02 .. 2019-12-31"):
            prepared(frame, split_dates=dates)

    def test_an_empty_segment_is_told(self, frame: pd.DataFrame) -> None:
        with pytest.warns(UserWarning, match="test has no sample.*2018-01-02 .. 2019-12-31"):
            found = prepared(frame, split_dates=("2019-06-03", "2030-01-01"))
        assert len(found.valid) and not len(found.test)
        with pytest.warns(UserWarning, match="valid has no sample"):  # a weekend
            prepared(frame, split_dates=("2019-06-01", "2019-06-02"))
        with pytest.warns(UserWarning, match="valid has no sample.*purged"):  # shorter than labels
            prepared(frame, split_dates=("2019-06-03", "2019-06-06"))

    @pytest.mark.parametrize("model", ["lstm", "linear", "arima_garch", "rl"])
    def test_nothing_is_told_where_all_have_samples(self, frame: pd.DataFrame, model: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            prepared(frame, model, split_dates=("2019-03-01", "2019-08-01"))

    @pytest.mark.parametrize("model", ["arima_garch", "rl", "lstm"])
    def test_every_layout_tells(self, frame: pd.DataFrame, model: str) -> None:
        with pytest.warns(UserWarning, match="test has no sample"):
            prepared(frame, model, split_dates=("2019-06-03", "2030-01-01"))


@pytest.mark.parametrize(
    "wrong",
    [{"model": ["lstm"]}, {"model": None}, {"label": ["y_fwd_5"]}, {"label": 5}, {"weight": 5},
     {"weight": ["weight"]}, {"model": "rl", "returns": ["ret_1"]}, {"calendar": 5},
     {"calendar": ["XNYS"]}, {"seed": "x"}, {"seed": -1}, {"split_dates": 5}],
    ids=str,
)  # fmt: skip
def test_arguments_of_the_wrong_kind(frame: pd.DataFrame, wrong: dict[str, Any]) -> None:
    with pytest.raises((ConfigurationError, RangeError)) as raised:
        prepared(frame, **wrong)
    name = "model_type" if "model" in wrong and "returns" not in wrong else list(wrong)[-1]
    assert name in str(raised.value)


@pytest.mark.parametrize("features", [None, np.zeros((3, 3)), [1], "AAPL", pd.Series([1.0])])
def test_features_are_a_frame(features: Any) -> None:
    with pytest.raises(DataError, match="get_feature_matrix"):
        prepared(features)


@pytest.mark.parametrize("features", [None, np.zeros((3, 3)), "AAPL"])
def test_what_is_transformed_is_a_frame(frame: pd.DataFrame, features: Any) -> None:
    with pytest.raises(DataError, match="get_feature_matrix"):
        prepared(frame).transform(features)


def test_columns_may_be_named_by_numbers(frame: pd.DataFrame) -> None:
    labels = frame[["y_fwd_5"]]
    numbered = frame[["rsi_14", "natr_14"]].set_axis([0, 1], axis=1).join(labels)
    found = prepared(numbered, "xgboost")
    assert found.feature_names == ("0", "1") and list(numbered.columns) == [0, 1, "y_fwd_5"]
    np.testing.assert_array_equal(
        found.transform(numbered).X[:, 0], frame["rsi_14"].to_numpy(np.float32)
    )


def test_a_column_that_is_there_twice(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="'rsi_14' twice"):
        prepared(pd.concat([frame, frame[["rsi_14"]]], axis=1))


def test_a_row_that_is_there_twice_has_a_fitting_remedy(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="drop_duplicates|duplicated") as raised:
        prepared(pd.concat([frame, frame.head(1)]))
    assert "quarantine" not in str(raised.value)


def test_every_data_error_of_the_room_has_a_remedy_of_its_own() -> None:
    """The class's own remedy is about lines of a file in the bucket."""
    bare = [
        f"{path.name}:{node.lineno}"
        for path in sorted(MODELS.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "DataError"
        and not any(keyword.arg == "remedy" for keyword in node.keywords)
    ]
    assert bare == []


@pytest.mark.parametrize("labels", [5, [5], {"y_fwd_5": 1}.values(), [None], ["y_fwd_5", b"x"]])
def test_labels_of_the_wrong_kind(labels: Any) -> None:
    with pytest.raises(ConfigurationError, match="y_fwd_<sessions>"):
        make_plan(None, labels)


@pytest.mark.parametrize("source", [5, None, [1]])
def test_a_manifest_of_the_wrong_kind(source: Any) -> None:
    with pytest.raises(StockDBError, match="freeze"):
        Manifest.load(source)


class TestOwn:
    @pytest.mark.parametrize(
        "values",
        [lambda f: f["close"].round(2).astype(str),
         lambda f: f["close"].astype(object), lambda f: f["close"] + 1j,
         lambda f: f.index.to_series(), lambda f: f["close"].astype(str).astype("category")],
        ids=["text", "object", "complex", "dates", "category"],
    )  # fmt: skip
    def test_what_is_no_number(self, values: Any) -> None:
        with pytest.raises(DataError, match="mine.* not numbers.*float"):
            Own(lambda frame: values(frame).rename("mine"), "mine").columns(bars(30))

    @pytest.mark.parametrize("kind", ["float64", "float32", "int64", "Float64", "double[pyarrow]"])
    def test_what_is_a_number(self, kind: str) -> None:
        held = bars(30)
        found = Own(lambda frame: frame["volume"].astype(kind).rename("mine"), "mine").columns(held)
        np.testing.assert_array_equal(found["mine"], held["volume"])
