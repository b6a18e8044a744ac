"""P4: 200 cold symbols in bulk, against raw bytes by obstore and ArcticDB's read_batch."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import obstore
from obstore.store import S3Store

from benchmarks.common import daily_csv, scratch, server
from benchmarks.peers import Peer
from minio_data_integration import MinIODataIntegration
from stockdb.core.store import ObjectStore
from stockdb.settings import Settings

SYMBOLS = 200
ROUNDS = 5
WORKERS = 16
BAR = 1.8
BAR_ARCTIC = 2.0


def raw_store(settings: Settings) -> S3Store:
    """Connect obstore to the same bucket."""
    secret = settings.connection.secret_key
    assert secret is not None
    return S3Store(
        settings.connection.bucket_name,
        endpoint=settings.endpoint().url,
        access_key_id=settings.connection.access_key,
        secret_access_key=secret.get_secret_value(),
        region="us-east-1",
        client_options={"allow_http": True},
    )


def run() -> dict[str, Any]:
    """Parse, validate and cache on our side; obstore only moves the bytes."""
    folder = scratch()
    with server() as (settings, _):
        store = ObjectStore(settings)
        names = [f"S{number:03d}" for number in range(SYMBOLS)]
        for number, name in enumerate(names):
            store.put(f"stocks-2010-2025/{name}.csv", daily_csv(number))
        raw = raw_store(settings)
        size = len(daily_csv(0))

        def ours(number: int) -> float:
            with MinIODataIntegration(settings, cache_dir=folder / f"c{number}") as minio:
                begin = time.perf_counter()
                result = minio.bulk_download(names, max_workers=WORKERS, progress=False)
                spent = time.perf_counter() - begin
            assert len(result) == SYMBOLS and not result.errors
            return spent

        def peer() -> float:
            begin = time.perf_counter()
            with ThreadPoolExecutor(WORKERS) as pool:
                bodies = list(
                    pool.map(
                        lambda name: bytes(
                            obstore.get(raw, f"stocks-2010-2025/{name}.csv").bytes()
                        ),
                        names,
                    )
                )
            assert len(bodies) == SYMBOLS
            return time.perf_counter() - begin

        ours(-1), peer()
        pairs = [(ours(number), peer()) for number in range(ROUNDS)]
        arctic = _arctic(settings)
    own = statistics.median(a for a, _ in pairs)
    other = statistics.median(b for _, b in pairs)
    ratio = statistics.median(a / b for a, b in pairs)
    faster = None if arctic is None else arctic / own
    return {
        "ours": own,
        "peer": other,
        "ratio": ratio,
        "bar": BAR,
        "ok": ratio <= BAR and (faster is None or faster >= BAR_ARCTIC),
        "arcticdb": arctic,
        "times_faster_than_arcticdb": faster,
        "bytes": SYMBOLS * size,
        "unit": "s",
        "peer_is": "obstore raw bytes, 16 threads; ArcticDB read_batch on the same server",
    }


def _arctic(settings: Settings) -> float | None:
    try:
        peer = Peer()
    except FileNotFoundError:
        return None
    connection, endpoint = settings.connection, settings.endpoint()
    secret = connection.secret_key
    assert secret is not None
    with peer:
        uri = (
            f"s3://{endpoint.host}:{connection.bucket_name}?port={endpoint.port}"
            f"&access={connection.access_key}&secret={secret.get_secret_value()}"
            "&region=us-east-1&path_prefix=arctic"
        )
        peer.do("open", uri=uri, symbols=SYMBOLS, rows=3708)
        return statistics.median(
            peer.do("batch", symbols=SYMBOLS)["seconds"] for _ in range(ROUNDS)
        )
