"""P8: one day out of a yearly ZIP by ranged reads, against minio get + zipfile."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from benchmarks.common import paired, server
from benchmarks.p01_cold_chain import day_file
from stockdb.core.archive import find_member, member_chunks, read_directory
from stockdb.core.ranges import RangeReader
from stockdb.core.store import ObjectStore
from stockdb.core.transport import Deadline

PAIRS = 7
MEMBERS = 12
ROWS = 1_100_000
BAR_BYTES = 1_000_000


def year_file(path: Path, folder: Path) -> None:
    """Zip a dozen days; two different ones are enough, each is deflated by itself."""
    days = []
    for seed in range(2):
        days.append(folder / f"{seed}.csv")
        day_file(days[-1], ROWS, seed=seed)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for number in range(MEMBERS):
            file.write(days[number % 2], f"2009/2009-{number + 1:02d}-30options.csv")


def run() -> dict[str, Any]:
    """Each read of ours begins with the archive's directory: nothing is remembered."""
    with server() as (settings, bare), tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "2009.zip")
        year_file(path, Path(folder))
        size, bucket, key = path.stat().st_size, settings.connection.bucket_name, path.name
        bare.fput_object(bucket, key, str(path), part_size=64 * 1024**2)
        path.unlink()
        store = ObjectStore(settings)
        costs: list[tuple[int, int, int]] = []

        def name(number: int) -> str:
            return f"2009-{number % MEMBERS + 1:02d}-30options.csv"

        def ours(number: int) -> bytes:
            with RangeReader(store, key, Deadline(60)) as reader:
                members = read_directory(reader.read, size, key)
                member = find_member(members, name(number), key)
                data = b"".join(member_chunks(reader.read, member, key))
            costs.append((reader.received - member.compressed, reader.requests, member.compressed))
            return data

        def peer(number: int) -> bytes:
            response = bare.get_object(bucket, key)
            try:
                body = response.read()
            finally:
                response.close()
                response.release_conn()
            with zipfile.ZipFile(io.BytesIO(body)) as file:
                return file.read(f"2009/{name(number)}")

        assert ours(5) == peer(5)
        own, other, ratio = paired(ours, peer, PAIRS)
        store.close()
    beyond, requests, compressed = max(costs)
    return {
        "ours": own,
        "peer": other,
        "ratio": ratio,
        "bar": BAR_BYTES,
        "ok": beyond <= BAR_BYTES,
        "bytes": beyond + compressed,
        "bytes_compressed": compressed,
        "bytes_beyond_it": beyond,
        "requests": requests,
        "file": size,
        "unit": "s",
        "peer_is": "minio get of the whole archive + zipfile",
    }
