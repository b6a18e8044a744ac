"""Inputs for a forecast are what training would have seen of the same rows."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

from stockdb.errors import ConfigurationError
from stockdb.models import MODEL_TYPES, prepare_for_model
from tests.unit.models.frames import FEATURES, SEQ_LEN, feature_frame

SUPERVISED = ["lstm", "transformer", "cnn", "xgboost", "random_forest", "linear"]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return feature_frame()


@pytest.mark.parametrize("model", SUPERVISED)
def test_rows_of_test_come_out_the_same(frame: pd.DataFrame, model: str) -> None:
    prepared = prepare_for_model(frame, model, seq_len=SEQ_LEN)
    features = frame[list(FEATURES)]  # no label
    whole = prepared.transform(features.sample(frac=1.0, random_state=0))
    place = whole.index.get_indexer(prepared.test.index)
    assert (place >= 0).all()
    np.testing.assert_array_equal(np.asarray(whole.X)[place], np.asarray(prepared.test.X))
    np.testing.assert_array_equal(whole.symbol_id[place], prepared.test.symbol_id)
    assert np.isnan(whole.y).all()
    # Rows whose label lies in the future are there as well: it is them that one asks about.
    for symbol in ("AAA", "BBB"):
        assert (symbol, frame.index.get_level_values(1).max()) in whole.index


@pytest.mark.parametrize("model", SUPERVISED)
def test_today_alone(frame: pd.DataFrame, model: str) -> None:
    prepared = prepare_for_model(frame, model, seq_len=SEQ_LEN)
    rows = SEQ_LEN if prepared.kind.layout == "window" else 1
    last = frame[list(FEATURES)].loc[["AAA", "DDD"]].groupby(level=0).tail(rows)
    found = prepared.transform(last)
    assert len(found) == 2
    assert found.symbol_id.tolist() == [1, 0]  # DDD came after training
    whole = prepared.transform(frame)
    place = whole.index.get_indexer(found.index)
    np.testing.assert_array_equal(np.asarray(found.X), np.asarray(whole.X)[place])
    (batch,) = found.batches()
    np.testing.assert_array_equal(batch.X, np.asarray(found.X))


def test_a_window_over_a_gap_is_no_sample(frame: pd.DataFrame) -> None:
    prepared = prepare_for_model(frame, "lstm", seq_len=SEQ_LEN)
    own = frame.loc[["AAA"]].tail(SEQ_LEN + 3)
    assert len(prepared.transform(own)) == 4
    assert len(prepared.transform(own.drop(index=own.index[1]))) == 2
    holed = own.copy()
    holed.iloc[-2, 0] = np.nan
    assert len(prepared.transform(holed)) == 2


def test_errors(frame: pd.DataFrame) -> None:
    prepared = prepare_for_model(frame, "linear")
    with pytest.raises(ConfigurationError, match="no column 'rsi_14', which the model"):
        prepared.transform(frame.drop(columns="rsi_14"))
    with pytest.raises(ConfigurationError, match="has no samples to transform"):
        prepare_for_model(frame, "rl").transform(frame)


@pytest.mark.parametrize("model", MODEL_TYPES)
def test_all_of_it_crosses_to_another_process(frame: pd.DataFrame, model: str) -> None:
    prepared = prepare_for_model(frame, model, seq_len=SEQ_LEN)
    again = pickle.loads(pickle.dumps(prepared))
    assert str(again.fingerprint) == str(prepared.fingerprint)
    assert again.dropped == prepared.dropped
    assert again.train.index.equals(prepared.train.index)


def test_what_was_fitted_is_small_and_enough(frame: pd.DataFrame) -> None:
    for model in ("lstm", "linear"):
        prepared = prepare_for_model(frame, model, seq_len=SEQ_LEN)
        kept = pickle.dumps(prepared.fitted)
        assert len(kept) < 5000 < 20_000 < len(pickle.dumps(prepared))
        fitted = pickle.loads(kept)
        found = fitted.transform(frame)
        place = found.index.get_indexer(prepared.test.index)
        np.testing.assert_array_equal(np.asarray(found.X)[place], np.asarray(prepared.test.X))
        np.testing.assert_array_equal(
            fitted.inverse_transform(np.asarray(found.X)),
            prepared.inverse_transform(np.asarray(found.X)),
        )
