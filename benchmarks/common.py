"""What the benchmarks share: folders, a server with simulated symbols, and fair timing."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from minio import Minio

from stockdb.core.store import ObjectStore
from stockdb.demo.bucket import demo_settings
from stockdb.demo.server import EmbeddedServer
from stockdb.settings import Settings

#: Removed when this process ends, and not before: for minutes after a deletion, ext4 takes up to
#: half a millisecond for a new file instead of some ten microseconds.
_run = tempfile.TemporaryDirectory(prefix="stockdb-bench-")
SETTLED = 1e-4
PATIENCE = 360


def scratch() -> Path:
    """Make a new folder, which stays until the run ends."""
    return Path(tempfile.mkdtemp(dir=_run.name))


def settle() -> None:
    """Wait until new files are cheap: no bar shall pay for what was deleted before the run."""
    folder, end = scratch(), time.monotonic() + PATIENCE
    for attempt in itertools.count():
        spent = []
        for number in range(1000):
            begin = time.perf_counter()
            Path(folder, f"{attempt}-{number}").open("xb").close()
            spent.append(time.perf_counter() - begin)
        if statistics.median(spent[-100:]) < SETTLED or time.monotonic() > end:
            return
        time.sleep(10)


@contextmanager
def server() -> Iterator[tuple[Settings, Minio]]:
    """Start an embedded server; yields settings with private folders and a bare client."""
    folder = scratch()
    with EmbeddedServer(folder / "server") as embedded:
        settings = demo_settings(
            embedded, cache_dir=Path(folder, "cache"), log_dir=Path(folder, "logs")
        )
        ObjectStore(settings).make_bucket()
        bare = Minio(
            settings.endpoint().netloc, embedded.access_key, embedded.secret_key, secure=False
        )
        yield settings, bare


def daily_csv(seed: int, rows: int = 3708) -> bytes:
    """Simulate a symbol's file of the size that the real bucket holds (0.19 MB)."""
    random = np.random.default_rng(seed)
    dates = pd.bdate_range("2010-01-04", periods=rows)
    close = np.round(100 * np.exp(np.cumsum(random.normal(0, 0.015, rows))), 4)
    high = np.round(close * 1.01, 4)
    low = np.round(close * 0.99, 4)
    volume = random.integers(1_000_000, 90_000_000, rows)
    lines = ["trade_date,Open,High,Low,Close,Volume"]
    lines += [
        f"{day:%Y-%m-%d},{c},{h},{lo},{c},{v}"
        for day, c, h, lo, v in zip(dates, close, high, low, volume, strict=True)
    ]
    return ("\n".join(lines) + "\n").encode()


def paired(
    ours: Callable[[int], object], peer: Callable[[int], object], pairs: int
) -> tuple[float, float, float]:
    """Time two things in turn; returns the medians (seconds) and the median ratio."""
    own, other = [], []
    for number in range(pairs):
        begin = time.perf_counter()
        ours(number)
        middle = time.perf_counter()
        peer(number)
        own.append(middle - begin)
        other.append(time.perf_counter() - middle)
    ratio = statistics.median(a / b for a, b in zip(own, other, strict=True))
    return statistics.median(own), statistics.median(other), ratio
