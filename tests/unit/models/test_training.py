"""What is prepared feeds models: batches a network, tables scikit-learn, returns arch."""

from __future__ import annotations

import pickle
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor

from stockdb.errors import ConfigurationError
from stockdb.models import MODEL_TYPES, prepare_for_model
from tests.unit.models.frames import SEQ_LEN, feature_frame


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """A label that can be learnt: what its window's first and last rows say, and noise."""
    found = feature_frame()
    signal = found["hole"].fillna(0.0) + found["hole"].groupby(level=0).shift(SEQ_LEN - 1)
    noise = np.random.default_rng(1).normal(0, 0.1, len(found))
    return found.assign(mine=signal + noise)


def prepared(frame: pd.DataFrame, model: str, **options: Any) -> Any:
    return prepare_for_model(frame, model, "mine", SEQ_LEN, **{"horizon": 1, **options})


@pytest.mark.parametrize("model", ["lstm", "gru", "transformer", "cnn"])
def test_a_network_trains_on_batches(frame: pd.DataFrame, model: str) -> None:
    found = prepared(frame, model)
    network = MLPRegressor(hidden_layer_sizes=(32,), random_state=0, learning_rate_init=0.01)
    for epoch in range(40):
        for batch in found.train.batches(128, shuffle=True, seed=epoch):
            assert batch.X.dtype == np.float32
            network.partial_fit(batch.X.reshape(len(batch.X), -1), batch.y)
    X = np.asarray(found.test.X).reshape(len(found.test), -1)
    assert network.score(X, found.test.y) > 0.5  # on data it has not seen


@pytest.mark.parametrize(
    ("model", "estimator"),
    [
        ("linear", Ridge()),
        ("random_forest", RandomForestRegressor(20, random_state=0)),
        ("xgboost", HistGradientBoostingRegressor(max_iter=30, random_state=0)),
        ("lightgbm", HistGradientBoostingRegressor(max_iter=30, random_state=0)),
    ],
)
def test_tables_feed_scikit_learn(frame: pd.DataFrame, model: str, estimator: Any) -> None:
    found = prepared(frame, model)
    train, test = found.train, found.test
    estimator.fit(train.X, train.y, sample_weight=train.weight)
    assert estimator.score(test.X, test.y) > 0.3  # half of the signal is in the row itself


def test_returns_feed_arch(frame: pd.DataFrame) -> None:
    arch = pytest.importorskip("arch", reason="arch is an optional extra")
    found = prepare_for_model(frame, "arima_garch")
    result = arch.arch_model(found.train.X["AAA"]).fit(disp="off")
    assert result.convergence_flag == 0
    # The walk's volatility is 1.5 % a day.
    assert np.sqrt(np.mean(result.conditional_volatility**2)) == pytest.approx(1.5, rel=0.15)


def test_batches(frame: pd.DataFrame) -> None:
    found = prepared(frame, "transformer")
    train = found.train
    plain = list(train.batches(100))
    assert [len(batch.y) for batch in plain[:-1]] == [100] * (len(train) // 100)
    np.testing.assert_array_equal(np.concatenate([b.X for b in plain]), np.asarray(train.X))
    np.testing.assert_array_equal(np.concatenate([b.y for b in plain]), train.y)
    np.testing.assert_array_equal(np.concatenate([b.symbol_id for b in plain]), train.symbol_id)
    assert plain[0].mask is not None and plain[0].mask.shape == (100, SEQ_LEN)
    one = np.concatenate([b.y for b in train.batches(64, shuffle=True)])
    again = np.concatenate([b.y for b in train.batches(64, shuffle=True)])
    other = np.concatenate([b.y for b in train.batches(64, shuffle=True, seed=1)])
    seeded = prepared(frame, "transformer", seed=1)
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    np.testing.assert_array_equal(
        np.concatenate([b.y for b in seeded.train.batches(64, shuffle=True)]), other
    )
    assert sorted(one.tolist()) == sorted(train.y.tolist())
    with pytest.raises(ConfigurationError, match="size=0.*1 or more"):
        next(train.batches(0))


@pytest.mark.parametrize("model", [m for m in MODEL_TYPES if m not in {"arima_garch", "rl"}])
def test_inverse_transform(frame: pd.DataFrame, model: str) -> None:
    found = prepared(frame, model)
    values = found.inverse_transform(np.asarray(found.valid.X)[:50])
    if found.kind.layout == "window":
        values = (values.swapaxes(1, 2) if model == "cnn" else values)[:, -1]
    names = [name for name in found.feature_names if name in frame]
    wanted = frame.loc[found.valid.index[:50], names].to_numpy()
    np.testing.assert_allclose(values[:, : len(names)], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("method", "package"), [("to_torch", "torch"), ("to_tf", "tensorflow")])
def test_a_framework_that_is_not_installed(
    frame: pd.DataFrame, method: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=f"pip install {package}"):
        getattr(prepared(frame, "lstm"), method)()
    with pytest.raises(ConfigurationError, match="no batches of samples"):
        getattr(prepare_for_model(frame, "rl"), method)()


def test_items_for_a_torch_loader(frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyTorch: only the name of it that is used, and its loader's protocol."""
    torch: Any = ModuleType("torch")
    torch.from_numpy = lambda array: array
    monkeypatch.setitem(sys.modules, "torch", torch)
    for model, width in (("lstm", 3), ("transformer", 4), ("xgboost", 3)):
        found = prepared(frame, model)
        sets = found.to_torch()
        assert list(sets) == ["train", "valid", "test"]
        assert len(sets["train"]) == len(found.train)
        items = sets["train"].__getitems__([5, 2])
        assert [len(item) for item in items] == [width, width]
        np.testing.assert_array_equal(items[0][0], found.train.X[5])
        assert items[1][-2] == found.train.y[2]
        np.testing.assert_array_equal(sets["train"][5][0], items[0][0])
        # A loader's worker gets them by pickle.
        again = pickle.loads(pickle.dumps(sets["train"]))
        np.testing.assert_array_equal(again[5][0], items[0][0])


def test_keras_trains_on_what_to_tf_gives(frame: pd.DataFrame) -> None:
    """With TensorFlow only, which is no dependency: Keras is given elements as it takes them."""
    tf: Any = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    found = prepared(frame, "lstm")
    sets = found.to_tf(128)
    network = tf.keras.Sequential([tf.keras.layers.LSTM(8), tf.keras.layers.Dense(1)])
    network.compile("adam", "mse")
    loss = network.fit(sets["train"], epochs=8, verbose=0).history["loss"]
    assert loss[-1] < loss[0]
    held = np.concatenate([element[1].numpy() for element in sets["test"]])
    np.testing.assert_array_equal(held, found.test.y)


def test_a_torch_loader_trains(frame: pd.DataFrame) -> None:
    """With PyTorch only, which is no dependency: its own loader, its own LSTM."""
    torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
    found = prepared(frame, "lstm")
    loader = torch.utils.data.DataLoader(found.to_torch()["train"], batch_size=128, shuffle=True)
    torch.manual_seed(0)
    cell, head = torch.nn.LSTM(5, 8, batch_first=True), torch.nn.Linear(8, 1)
    optimiser = torch.optim.Adam([*cell.parameters(), *head.parameters()], 0.01)
    apart = torch.utils.data.DataLoader(
        loader.dataset, batch_size=64, num_workers=1, multiprocessing_context="spawn"
    )
    np.testing.assert_array_equal(torch.cat([y for _, y, _ in apart]).numpy(), found.train.y)
    losses = []
    for _ in range(8):
        for X, y, weight in loader:
            error = head(cell(X)[0][:, -1])[:, 0] - y
            loss = (weight * error * error).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
