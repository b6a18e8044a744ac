"""P8: one day out of a yearly ZIP by ranged reads, against minio get + zipfile."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from benchmarks.common import paired, scratch, server
from benchmarks.p01_cold_chain import day_file
from stockdb.core.archive import find_member, member_chunks, read_directory
from stockdb.core.ranges import RangeReader
from stockdb.core.store import ObjectStore
from stockdb.core.transport import Deadline

PAIRS = 5
MEMBERS = 12
ROWS = 1_100_000
BAR_BYTES = 1_000_000
#: Where a day stands in an archive: behind so many bytes, so that one is above 1 GB and the
#: other has to be ZIP64.
SIZES = {"2009.zip": 10**9, "2008.zip": 2**32}


def year_file(path: Path, days: list[Path], beyond: int) -> None:
    """Zip a dozen days behind stored zeros, in a file that has a hole in their place."""
    with path.open("wb") as hole:
        hole.truncate(beyond)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        for number in range(MEMBERS):
            file.write(days[number % 2], f"{path.stem}/{name_of(path.name, number)}")


def name_of(key: str, number: int) -> str:
    """Name a member of an archive."""
    return f"{key.removesuffix('.zip')}-{number % MEMBERS + 1:02d}-30options.csv"


def run() -> dict[str, Any]:
    """Each read of ours begins with the archive's directory: nothing is remembered."""
    folder = scratch()
    with server() as (settings, bare):
        bucket = settings.connection.bucket_name
        days = [folder / f"{seed}.csv" for seed in range(2)]
        for seed, day in enumerate(days):
            day_file(day, ROWS, seed=seed)
        sizes: dict[str, int] = {}
        for key, beyond in SIZES.items():
            path = folder / key
            year_file(path, days, beyond)
            sizes[key] = path.stat().st_size
            bare.fput_object(bucket, key, str(path), part_size=64 * 1024**2)
            path.unlink()
        store = ObjectStore(settings)
        costs: dict[str, list[tuple[int, int, int]]] = {key: [] for key in SIZES}

        def read(key: str, number: int) -> bytes:
            with RangeReader(store, key, Deadline(60)) as reader:
                members = read_directory(reader.read, sizes[key], key)
                member = find_member(members, name_of(key, number), key)
                data = b"".join(member_chunks(reader.read, member, key))
            beyond = reader.received - member.compressed
            costs[key].append((beyond, reader.requests, member.compressed))
            return data

        def ours(number: int) -> bytes:
            return read("2009.zip", number)

        def peer(number: int) -> bytes:
            response = bare.get_object(bucket, "2009.zip")
            try:
                body = response.read()
            finally:
                response.close()
                response.release_conn()
            with zipfile.ZipFile(io.BytesIO(body)) as file:
                return file.read(f"2009/{name_of('2009.zip', number)}")

        assert ours(5) == peer(5)
        own, other, ratio = paired(ours, peer, PAIRS)
        for number in range(MEMBERS):
            assert read("2008.zip", number) == days[number % 2].read_bytes()
        store.close()
    archives = {}
    for key, size in sizes.items():
        beyond, requests, compressed = max(costs[key])
        archives[key] = {
            "file": size,
            "bytes": beyond + compressed,
            "bytes_compressed": compressed,
            "bytes_beyond_it": beyond,
            "requests": requests,
        }
    return {
        "ours": own,
        "peer": other,
        "ratio": ratio,
        "bar": BAR_BYTES,
        "ok": all(found["bytes_beyond_it"] <= BAR_BYTES for found in archives.values()),
        **archives["2009.zip"],
        "zip64": archives["2008.zip"],
        "unit": "s; bytes",
        "peer_is": "minio get of the whole archive + zipfile",
    }
