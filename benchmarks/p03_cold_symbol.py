"""P3: one cold symbol, fetched, parsed, validated and cached, against minio + pandas.

Also what the same read costs in each state of the cache, under ``states``.
"""

from __future__ import annotations

import io
import statistics
import time
from typing import Any

import pandas as pd

from benchmarks.common import daily_csv, paired, server
from minio_data_integration import MinIODataIntegration
from stockdb.core.store import ObjectStore

PAIRS = 60
STATES = 20
BAR = 1.3


def run() -> dict[str, Any]:
    """Every read is of a symbol that was never read before."""
    with server() as (settings, bare):
        store = ObjectStore(settings)
        for number in range(PAIRS + 5):
            store.put(f"stocks-2010-2025/S{number:03d}.csv", daily_csv(number))
        bucket = settings.connection.bucket_name
        with MinIODataIntegration(settings) as minio:

            def ours(number: int) -> pd.DataFrame:
                return minio.get_historical_data(f"S{number:03d}", "2024-01-01", "2024-01-31")

            def peer(number: int) -> pd.DataFrame:
                response = bare.get_object(bucket, f"stocks-2010-2025/S{number:03d}.csv")
                try:
                    frame = pd.read_csv(
                        io.BytesIO(response.read()),
                        parse_dates=["trade_date"],
                        index_col="trade_date",
                    )
                finally:
                    response.close()
                    response.release_conn()
                return frame.loc["2024-01-01":"2024-01-31"]

            for number in range(PAIRS, PAIRS + 5):  # connections and imports are warm for both
                assert (ours(number).to_numpy() == peer(number).to_numpy()).all()
            own, other, ratio = paired(ours, peer, PAIRS)
            states = {
                "cold": _state(minio, store, None, -1),
                "warm": _state(minio, store, None, 0),
                "revalidated": _state(minio, store, 0, 0),
                "replaced": _state(minio, store, 0, 1),
            }
    return {
        "ours": own,
        "peer": other,
        "ratio": ratio,
        "bar": BAR,
        "ok": ratio <= BAR,
        "bytes": len(daily_csv(0)),
        "states": states,
        "unit": "s",
        "peer_is": "minio get + pandas.read_csv + slice",
    }


def _state(
    minio: MinIODataIntegration, store: ObjectStore, max_age: float | None, change: int
) -> dict[str, float]:
    """Median seconds, bytes received and requests of a month's read in one state.

    ``change`` says what happens to the object before: 0 nothing, 1 it is replaced, less than 0
    it is a new one.
    """
    spent, received, requests = [], [], []
    for number in range(STATES):
        name = f"T{number:03d}"
        if change:
            store.put(f"stocks-2010-2025/{name}.csv", daily_csv(2000 + 1000 * change + number))
        begin = time.perf_counter()
        frame = minio.get_historical_data(name, "2024-01-01", "2024-01-31", max_age=max_age)
        spent.append(time.perf_counter() - begin)
        origins = minio.provenance(frame).origins
        received.append(sum(origin.received for origin in origins))
        requests.append(sum(origin.requests for origin in origins))
    return {
        "seconds": statistics.median(spent),
        "bytes": statistics.median(received),
        "requests": statistics.median(requests),
    }
