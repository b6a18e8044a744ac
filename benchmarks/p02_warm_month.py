"""P2: a warm month of daily bars, validated, against ArcticDB on local LMDB."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.common import daily_csv, scratch, server
from benchmarks.peers import Peer, missing
from minio_data_integration import MinIODataIntegration
from stockdb.core.store import ObjectStore

ROUNDS = 200
BAR = 1.0


def run() -> dict[str, Any]:
    """Read the same symbol and month in turn; validation is computed on every read."""
    try:
        peer = Peer()
    except FileNotFoundError as error:
        return missing(error, BAR)
    folder = scratch()
    with peer, server() as (settings, _):
        ObjectStore(settings).put("stocks-2010-2025/S000.csv", daily_csv(0))
        peer.do("open", uri=f"lmdb://{folder}", symbols=1, rows=3708)
        own, other = [], []
        with MinIODataIntegration(settings) as minio:
            for number in range(ROUNDS + 10):
                begin = time.perf_counter()
                frame = minio.get_historical_data("S000", "2024-01-01", "2024-01-31")
                spent = time.perf_counter() - begin
                answer = peer.do("month", symbol="S000")
                assert len(frame) == answer["rows"] > 0
                if number >= 10:
                    own.append(spent)
                    other.append(answer["seconds"])
    ratio = statistics.median(a / b for a, b in zip(own, other, strict=True))
    return {
        "ours": statistics.median(own),
        "peer": statistics.median(other),
        "ratio": ratio,
        "bar": BAR,
        "ok": ratio <= BAR,
        "bytes": 0,
        "unit": "s",
        "peer_is": "ArcticDB on LMDB, date_range",
    }
