"""P7: 1,024 windows for an LSTM out of 500 symbols, and the memory that they are gathered from."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.common import paired
from stockdb.models import prepare_for_model

SYMBOLS = 500
ROWS = 3700
FEATURES = 30
SEQ_LEN = 60
BATCH = 1024
PAIRS = 41
BAR_TIME = 1.3
BAR_MEMORY = 1.2


def frame_of(symbols: int) -> pd.DataFrame:
    """Give features of random numbers and a label, float32, as a feature matrix has them."""
    random = np.random.default_rng(0)
    days = pd.bdate_range("2010-01-04", periods=ROWS)
    index = pd.MultiIndex.from_product(
        [[f"S{n:03d}" for n in range(symbols)], days], names=["symbol", "date"]
    )
    block = random.standard_normal((len(index), FEATURES + 1), np.float32)
    names = [*(f"f_{n}" for n in range(FEATURES)), "y_fwd_5"]
    return pd.DataFrame(block, index=index, columns=names, copy=False)


def run() -> dict[str, Any]:
    """Gather shuffled batches; the peer indexes the same rows of the same array."""
    frame = frame_of(SYMBOLS)
    base = SYMBOLS * ROWS * FEATURES * 4
    gc.collect()
    tracemalloc.start()
    prepared = prepare_for_model(frame, "lstm", seq_len=SEQ_LEN, calendar=None)
    gc.collect()
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    train = prepared.train
    values = train.base.rows.values
    steps = np.arange(-SEQ_LEN + 1, 1)
    random = np.random.default_rng(1)
    batches = [random.integers(0, len(train), BATCH) for _ in range(PAIRS)]
    windows = train.X

    def ours(number: int) -> Any:
        return windows[batches[number]]

    def peer(number: int) -> Any:
        return values[train.rows[batches[number]][:, None] + steps]

    for number in range(3):
        np.testing.assert_array_equal(ours(number), peer(number))
    own, other, ratio = paired(ours, peer, PAIRS)
    return {
        "ours": own,
        "peer": other,
        "ratio": ratio,
        "bar": BAR_TIME,
        "memory_ratio": round(held / base, 3),
        "memory_bar": BAR_MEMORY,
        "peak_ratio": round(peak / base, 3),
        "ok": ratio <= BAR_TIME and held <= BAR_MEMORY * base,
        "bytes": 0,
        "unit": "s",
        "peer_is": "NumPy fancy indexing of the same 1,024 windows of 60 x 30",
    }
