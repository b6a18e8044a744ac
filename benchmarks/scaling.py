"""The figures of docs/scaling.md: ``python -m benchmarks.scaling`` prints one JSON line each.

Threads, processes and a Dask cluster of two workers on one machine, against one worker; no bar
is set: two processes cannot be told from two machines here, but what they cost can be.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import joblib
from minio import Minio

from benchmarks.__main__ import machine
from benchmarks.common import daily_csv, scratch, server
from benchmarks.p01_cold_chain import day_file
from minio_data_integration import MinIODataIntegration
from stockdb.settings import Settings

SYMBOLS = [f"S{number:03d}" for number in range(200)]
AT_ONCE = 1000
ROUNDS = 3


def key(symbol: str) -> str:
    """Give the key of a symbol's bars."""
    return f"stocks-2010-2025/{symbol}.csv"


@contextmanager
def loky() -> Iterator[None]:
    """Use two processes."""
    from joblib.externals.loky import get_reusable_executor

    with joblib.parallel_config(backend="loky", n_jobs=2):
        yield
    get_reusable_executor().shutdown(wait=True, kill_workers=True)


@contextmanager
def dask() -> Iterator[None]:
    """Use two worker processes of a Dask cluster."""
    import distributed

    logging.getLogger("distributed").setLevel(logging.ERROR)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as run,
        distributed.Client(run),
        joblib.parallel_config(backend="dask"),
    ):
        yield


WAYS: dict[str, tuple[Callable[[], AbstractContextManager[Any]], int | None]] = {
    "one worker": (nullcontext, 1),
    "16 threads": (nullcontext, 16),
    "2 processes": (loky, None),
    "Dask, 2 workers": (dask, None),
}


def tell(what: str, **figures: Any) -> None:
    """Print one line of JSON."""
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}
    print(json.dumps({"what": what, **rounded, "machine": machine()}), flush=True)


def many(settings: Settings, folder: Path) -> None:
    """Time bulk downloads, cold and warm, and feature matrices."""
    for name, (way, workers) in WAYS.items():
        cold, warm, matrix = [], [], []
        with way():
            for number in range(ROUNDS):
                cache = folder / f"{name}-{number}"
                with MinIODataIntegration(settings, cache_dir=cache) as minio:
                    unified = minio.create_unified_interface()
                    # The workers stand, and have imported what they need.
                    minio.bulk_download(SYMBOLS[:2], max_workers=workers, progress=False)
                    unified.get_feature_matrix(SYMBOLS[:2], max_workers=workers)
                    minio.clear_cache()
                    for times in (cold, warm):
                        begin = time.perf_counter()
                        minio.bulk_download(SYMBOLS, max_workers=workers, progress=False)
                        times.append(time.perf_counter() - begin)
                    begin = time.perf_counter()
                    frame = unified.get_feature_matrix(SYMBOLS, max_workers=workers)
                    matrix.append(time.perf_counter() - begin)
        for what, times in (("bulk, cold", cold), ("bulk, warm", warm), ("matrix, warm", matrix)):
            seconds = statistics.median(times)
            tell(what, way=name, symbols=len(SYMBOLS), seconds=seconds,
                 per_second=len(SYMBOLS) / seconds)  # fmt: skip
    size = float(frame.memory_usage(index=False).sum())
    tell("matrix, size", rows=len(frame), columns=frame.shape[1], megabytes=size / 1e6)


def awaited(settings: Settings, folder: Path) -> None:
    """Time a thousand reads awaited at once, and how long the loop was held up."""
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            begin = time.perf_counter()
            await asyncio.sleep(0.005)
            longest = max(longest, time.perf_counter() - begin - 0.005)

    async def run(minio: MinIODataIntegration) -> float:
        heart = asyncio.create_task(beat())
        begin = time.perf_counter()
        wanted = [SYMBOLS[n % len(SYMBOLS)] for n in range(AT_ONCE)]
        await asyncio.gather(*map(minio.get_historical_data_async, wanted))
        heart.cancel()
        return time.perf_counter() - begin

    with MinIODataIntegration(settings, cache_dir=folder / "awaited") as minio:
        seconds = asyncio.run(run(minio))
    tell("awaited at once", reads=AT_ONCE, seconds=seconds, loop_held_up=longest)


def updates(settings: Settings, bare: Minio, folder: Path) -> None:
    """Time from the end of a write to its update."""
    bucket = settings.connection.bucket_name

    async def run(minio: MinIODataIntegration) -> list[float]:
        seconds = []
        async with minio.watch(SYMBOLS[:50], poll_seconds=600, initial=True) as watching:
            for _ in range(50):
                await anext(watching)
            await asyncio.sleep(1)
            for number in range(30):
                data = daily_csv(1000 + number)
                await asyncio.to_thread(
                    bare.put_object, bucket, key(SYMBOLS[number]), io.BytesIO(data), len(data)
                )
                begin = time.perf_counter()
                await anext(watching)
                seconds.append(time.perf_counter() - begin)
        return seconds

    with MinIODataIntegration(settings, cache_dir=folder / "updates") as minio:
        seconds = asyncio.run(run(minio))
    tell("from a write to its update", median=statistics.median(seconds), slowest=max(seconds))


def taken_in(settings: Settings, folder: Path) -> None:
    """Time a folder of bars into the bucket, and the same once more."""
    mine = folder / "mine"
    mine.mkdir()
    for number in range(100):
        (mine / f"N{number:03d}.csv").write_bytes(daily_csv(5000 + number))
    with MinIODataIntegration(settings, cache_dir=folder / "taken-in") as minio:
        for again in (False, True):
            begin = time.perf_counter()
            found = minio.ingest(mine, progress=False)
            seconds = time.perf_counter() - begin
            states = found["state"].value_counts().to_dict()
            tell("ingest", files=len(found), again=again, seconds=seconds, states=states)


def lazily(settings: Settings, folder: Path) -> None:
    """Time the feature matrix as a Dask frame, a part for each 25 symbols."""
    seconds = []
    with dask(), MinIODataIntegration(settings, cache_dir=folder / "lazy") as minio:
        unified = minio.create_unified_interface()
        for _ in range(ROUNDS + 1):  # the first one fills the cache
            begin = time.perf_counter()
            lazy = unified.get_feature_matrix(SYMBOLS, engine="dask", partition_symbols=25)
            lazy.map_partitions(len).compute()  # stays where it is
            seconds.append(time.perf_counter() - begin)
    middle = statistics.median(seconds[1:])
    tell("matrix, warm", way="engine='dask', kept there", symbols=len(SYMBOLS), seconds=middle,
         per_second=len(SYMBOLS) / middle)  # fmt: skip


def day_of_options(settings: Settings, bare: Minio, folder: Path) -> None:
    """Time one underlying out of a day's file, its twin, and one underlying out of that."""
    path = folder / "day.csv"
    day_file(path, 1_600_000)
    bucket, key = settings.connection.bucket_name, "options-complete/2023-01-03options.csv"
    bare.fput_object(bucket, key, str(path), part_size=5 * 1024**3 - 1)

    def reads(**more: Any) -> tuple[float, int, int]:
        times = []
        for number in range(9):
            cache = folder / f"day-{len(more)}-{number}"
            with MinIODataIntegration(settings, cache_dir=cache, **more) as minio:
                begin = time.perf_counter()
                chain = minio.get_option_chain("AAPL", "2023-01-03")
                times.append(time.perf_counter() - begin)
                known = minio.provenance(chain)
        return statistics.median(times), known.received, known.requests

    seconds, received, requests = reads()
    size = path.stat().st_size
    tell("chain out of a day's file", seconds=seconds, size=size, bytes=received, requests=requests)
    with MinIODataIntegration(
        settings, cache_dir=folder / "compact", twin_prefix="twins/"
    ) as minio:
        (made,) = minio.compact_options().itertuples()
    tell("twin of a day", seconds=made.seconds, bytes=made.twin_bytes, rows=made.rows)
    seconds, received, requests = reads(twin_prefix="twins/")
    tell("chain out of the twin", seconds=seconds, bytes=received, requests=requests)


def main() -> None:
    """Run all."""
    folder = scratch()
    with server() as (settings, bare):
        bucket = settings.connection.bucket_name
        for number, symbol in enumerate(SYMBOLS):
            data = daily_csv(number)
            bare.put_object(bucket, key(symbol), io.BytesIO(data), len(data))
        many(settings, folder)
        lazily(settings, folder)
        awaited(settings, folder)
        updates(settings, bare, folder)
        taken_in(settings, folder)
        day_of_options(settings, bare, folder)


if __name__ == "__main__":
    main()
