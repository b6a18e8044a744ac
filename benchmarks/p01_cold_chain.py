"""P1: one underlying out of a sorted day's file of over 100 MB, against polars.scan_csv."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.common import paired, scratch, server
from minio_data_integration import MinIODataIntegration

PAIRS = 9
BAR = 1 / 8
BAR_BYTES = 0.015
BAR_REQUESTS = 40
HEADER = (
    "contract,underlying,expiration,type,strike,style,bid,bid_size,ask,ask_size,volume,"
    "open_interest,quote_date,delta,gamma,theta,vega,implied_volatility\n"
)


def tickers(count: int, seed: int) -> list[str]:
    """Make distinct tickers of one to four letters, sorted by byte."""
    random = np.random.default_rng(seed)
    found = {"A", "AA", "AAP", "AAPL", "AAPL1"}
    while len(found) < count:
        found.add("".join(random.choice(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), random.integers(1, 5))))
    return sorted(found)


def day_file(path: Path, rows: int, *, underlyings: int = 5000, seed: int = 1) -> dict[str, int]:
    """Write a day of options: grouped by underlying, underlyings ascending, heavy-tailed.

    Returns
    -------
    dict
        Rows of each underlying.
    """
    random = np.random.default_rng(seed)
    names = tickers(underlyings, seed)
    weights = random.pareto(1.1, underlyings) + 0.05
    counts = np.maximum(1, np.round(weights / weights.sum() * rows).astype(int))
    counts[names.index("AAPL")] = 3600
    date = dt.date(2023, 1, 3)
    with path.open("w", encoding="ascii", newline="") as file:
        file.write(HEADER)
        for name, count in zip(names, counts, strict=True):
            lines = []
            prices = random.integers(5, 20000, count) / 100
            for i in range(count):
                kind = "call" if i % 2 == 0 else "put"
                strike = 10 + (i // 2) % 400
                expiry = dt.date(2023, 1, 20) + dt.timedelta(days=7 * (i // 800))
                contract = f"O:{name}{expiry:%y%m%d}{kind[0].upper()}{strike * 1000:08d}"
                lines.append(
                    f"{contract},{name},{expiry},{kind},{strike},A,{prices[i]},13,"
                    f"{prices[i] + 0.1:.2f},11,,{i},{date},,,,,\n"
                )
            file.write("".join(lines))
    return dict(zip(names, counts.tolist(), strict=True))


def run() -> dict[str, Any]:
    """Each read of ours has a cache of its own, so that nothing was seen before."""
    folder = scratch()
    with server() as (settings, bare):
        path = folder / "day.csv"
        counts = day_file(path, 1_600_000)
        size = path.stat().st_size
        bucket, key = settings.connection.bucket_name, "options-complete/2023-01-03options.csv"
        bare.fput_object(bucket, key, str(path), part_size=5 * 1024**3 - 1)
        endpoint = settings.endpoint().url
        options = {
            "aws_endpoint_url": endpoint,
            "aws_access_key_id": settings.connection.access_key,
            "aws_secret_access_key": settings.connection.secret_key.get_secret_value(),
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
        }
        costs: list[tuple[int, int]] = []

        def ours(number: int) -> int:
            cache = folder / f"cache{number}"
            with MinIODataIntegration(settings, cache_dir=cache) as minio:
                frame = minio.get_option_chain("AAPL", "2023-01-03")
                known = minio.provenance(frame)
            costs.append((known.received, known.requests))
            shutil.rmtree(cache)
            return len(frame)

        def peer(_: int) -> int:
            lazy = pl.scan_csv(f"s3://{bucket}/{key}", storage_options=options)
            return lazy.filter(pl.col("underlying") == "AAPL").collect().height

        assert ours(-1) == peer(-1) == counts["AAPL"]
        own, other, ratio = paired(ours, peer, PAIRS)
        received, requests = max(costs)
    ok = ratio <= BAR and received <= BAR_BYTES * size and requests <= BAR_REQUESTS
    return {
        "ours": own,
        "peer": other,
        "ratio": ratio,
        "bar": BAR,
        "ok": ok,
        "bytes": received,
        "bytes_share": received / size,
        "requests": requests,
        "file": size,
        "unit": "s",
        "peer_is": "polars.scan_csv on S3 with filter",
    }
