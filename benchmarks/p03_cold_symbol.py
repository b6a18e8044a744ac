"""P3: one cold symbol, fetched, parsed, validated and cached, against minio + pandas."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from benchmarks.common import daily_csv, paired, server
from minio_data_integration import MinIODataIntegration
from stockdb.core.store import ObjectStore

PAIRS = 60
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
            received = minio.provenance(minio.get_historical_data("S000", max_age=None)).received
    return {
        "ours": own,
        "peer": other,
        "ratio": ratio,
        "bar": BAR,
        "ok": ratio <= BAR,
        "bytes": len(daily_csv(0)),
        "warm_bytes": received,
        "unit": "s",
        "peer_is": "minio get + pandas.read_csv + slice",
    }
