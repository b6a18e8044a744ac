"""P10: what grows with the work and what must not: bulk by symbols, memory by file size."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.common import daily_csv, scratch, server
from benchmarks.p01_cold_chain import day_file
from minio_data_integration import MinIODataIntegration
from stockdb.core.store import ObjectStore

FEW, MANY = 200, 2_000
ROUNDS = 3
BAR = 1.2
BAR_MEMORY = 64 * 1024**2
#: Rows of a day's file of about 30 MB and 140 MB.
ROWS = {"2010-01-04": 350_000, "2023-01-03": 1_650_000}
SYMBOL = "AAPL"


def run() -> dict[str, Any]:
    """Bulk rounds are interleaved; each chain is read by a process of its own."""
    folder = scratch()
    with server() as (settings, bare):
        few, many = _bulk(settings, folder)
        connection, key = settings.connection, "options-complete/{}options.csv"
        memory: dict[str, dict[str, int]] = {}
        for day, rows in ROWS.items():
            path = folder / "day.csv"
            day_file(path, rows)
            size = path.stat().st_size
            bare.fput_object(
                connection.bucket_name, key.format(day), str(path), part_size=5 * 1024**3 - 1
            )
            path.unlink()
            found = {"file": size}
            for name, verify in (("search", False), ("scan", True)):
                cache = folder / f"{name}-{day}"
                grown = [_read_apart(settings, cache / str(n), day, verify) for n in range(3)]
                found[name] = int(statistics.median(grown))
            memory[day] = found
    most = max(max(found["search"], found["scan"]) for found in memory.values())
    ratio = statistics.median(b / a for a, b in zip(few, many, strict=True))
    return {
        "ours": statistics.median(many),
        "peer": statistics.median(few),
        "ratio": ratio,
        "bar": BAR,
        "ok": ratio <= BAR and most <= BAR_MEMORY,
        "memory": memory,
        "memory_most": most,
        "memory_bar": BAR_MEMORY,
        "unit": "s a symbol; bytes of extra resident memory at the peak of a chain read",
        "peer_is": f"the same with {FEW} symbols instead of {MANY}",
    }


def _bulk(settings: Any, folder: Path) -> tuple[list[float], list[float]]:
    """Seconds a symbol with few and with many cold symbols."""
    store = ObjectStore(settings)
    names = [f"S{number:04d}" for number in range(MANY)]
    bodies = [daily_csv(seed) for seed in range(20)]
    for number, name in enumerate(names):
        store.put(f"stocks-2010-2025/{name}.csv", bodies[number % len(bodies)])

    def ours(count: int, number: int) -> float:
        cache = folder / f"bulk{count}-{number}"
        with MinIODataIntegration(settings, cache_dir=cache) as minio:
            begin = time.perf_counter()
            result = minio.bulk_download(names[:count], progress=False)
            spent = time.perf_counter() - begin
        assert len(result) == count and not result.errors
        return spent / count

    ours(FEW, -1)
    pairs = [(ours(FEW, n), ours(MANY, n)) for n in range(ROUNDS)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def _read_apart(settings: Any, cache: Path, day: str, verify: bool) -> int:
    """Extra memory of a cold chain read in a process of its own, in bytes."""
    secret = settings.connection.secret_key
    question = {
        "endpoint": settings.endpoint().url,
        "access_key": settings.connection.access_key,
        "secret_key": secret.get_secret_value(),
        "bucket_name": settings.connection.bucket_name,
        "cache_dir": str(cache),
        "log_dir": str(cache / "logs"),
    }
    command = [sys.executable, "-m", "benchmarks.p10_growth", day, str(int(verify))]
    answer = subprocess.run(
        command, input=json.dumps(question), capture_output=True, text=True, check=True
    )
    return int(answer.stdout)


def _child(day: str, verify: bool) -> int:
    """Read a chain, having read one from nothing before, and say how far memory went up."""
    with MinIODataIntegration(**json.load(sys.stdin)) as minio:
        minio.list_option_dates()  # connected, and all that a first read loads is loaded
        import stockdb.access.chains  # noqa: F401

        before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        frame = minio.get_option_chain(SYMBOL, day, verify=verify)
        peak = _status("VmHWM")
        (origin,) = minio.provenance(frame).origins
    assert origin.strategy == ("scan" if verify else "search") and len(frame) == 3600
    return peak - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


if __name__ == "__main__":
    print(_child(sys.argv[1], sys.argv[2] == "1"))
