"""P12: 500 symbols from the cache to batches of an LSTM: 30 features, labels, splits, windows."""

from __future__ import annotations

import io
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.common import daily_csv, server
from minio_data_integration import MinIODataIntegration

SYMBOLS = 500
ROWS = 3700
BATCHES = 20


def resident() -> float:
    """Give the most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run() -> dict[str, Any]:
    """Time each step once; a figure to watch, without a bar: no peer does all of it."""
    names = [f"S{number:03d}" for number in range(SYMBOLS)]
    with server() as (settings, bare):

        def put(number: int) -> None:
            data = daily_csv(number, ROWS)
            key = f"stocks-2010-2025/{names[number]}.csv"
            bare.put_object("stockdb", key, io.BytesIO(data), len(data))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, range(SYMBOLS)))
        with MinIODataIntegration(settings) as minio:
            unified = minio.create_unified_interface()
            unified.get_feature_matrix(names[:2])  # imports, calendars
            before = resident()
            clock = [time.perf_counter()]
            unified.get_feature_matrix(names)
            clock.append(time.perf_counter())
            features = unified.get_feature_matrix(names)
            clock.append(time.perf_counter())
            prepared = unified.prepare_for_model(features, "lstm")
            clock.append(time.perf_counter())
            batches = prepared.train.batches(1024, shuffle=True)
            total = sum(float(next(batches).X.sum()) for _ in range(BATCHES))
            clock.append(time.perf_counter())
            peak = resident()
    assert np.isfinite(total)
    cold, warm, prepare, batch = (round(b - a, 3) for a, b in zip(clock, clock[1:], strict=False))
    return {
        "ours": round(warm + prepare, 3),
        "cold_matrix": cold,
        "warm_matrix": warm,
        "prepare": prepare,
        "batch": round(batch / BATCHES, 4),
        "shape": list(features.shape),
        "peak_mb": round(peak),
        "peak_above_start_mb": round(peak - before),
        "matrix_mb": round(features.memory_usage(index=False).sum() / 1e6),
        "bar": None,
        "bytes": 0,
        "unit": "s",
    }
