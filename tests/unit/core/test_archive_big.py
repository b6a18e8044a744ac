"""Archives beyond 4 GiB and 65,535 members, and one above 1 GB on a server."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa
import pytest
from minio import Minio

from stockdb.core.archive import (
    Member,
    directory_table,
    find_member,
    from_table,
    member_chunks,
    read_directory,
)
from stockdb.core.ranges import RangeReader
from stockdb.core.store import ObjectStore
from stockdb.core.transport import Deadline
from stockdb.demo.server import EmbeddedServer
from stockdb.settings import load_settings
from tests.unit.core.archive_cases import (
    DAY,
    KEY,
    MIB,
    SMALL,
    Source,
    rows,
    zipped,
)

# ------------------------------------------------------------------------- round trip


def test_a_directory_survives_the_cache() -> None:
    members = Source(zipped({**SMALL, "größe/é.csv": b"x"})).directory()
    members.append(Member("liar", 2**40, 2**63, 2**64 - 1, 2**32 - 1, 65535, 2**64 - 1))
    table = directory_table(members)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    assert from_table(pa.ipc.open_stream(sink.getvalue()).read_all()) == members
    assert table.column_names == ["name", "offset", "compressed", "size", "crc", "method", "end"]
    assert from_table(directory_table([])) == []
    assert directory_table([]).schema == table.schema


# ------------------------------------------------------------------------- big ones


def read_file(file: IO[bytes], ranges: list[tuple[int, int]]) -> Callable[[int, int], bytes]:
    def read(start: int, stop: int) -> bytes:
        ranges.append((start, stop))
        return os.pread(file.fileno(), stop - start, start)

    return read


def moved(ranges: Iterable[tuple[int, int]]) -> int:
    return sum(stop - start for start, stop in ranges)


@pytest.mark.slow
def test_zip64_by_its_number_of_members() -> None:
    """More than 65,535 members: zipfile writes ZIP64 end records of its own accord."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as file:
        for number in range(66_000):
            file.writestr(f"{number}.csv", b"%d" % number)
    data = sink.getvalue()
    assert b"PK\6\6" in data[-200:]
    source = Source(data)
    members = source.directory()
    assert len(source.ranges) == 2
    assert [member.name for member in members] == [f"{number}.csv" for number in range(66_000)]
    for number in (0, 65_535, 65_536, 65_999):
        assert b"".join(member_chunks(source, members[number], KEY)) == b"%d" % number


@pytest.mark.slow
def test_65535_members_are_no_zip64() -> None:
    """The highest number is also the mark that says to look elsewhere."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as file:
        for number in range(65_535):
            file.writestr(f"{number}.csv", b"")
    assert b"PK\6\6" not in sink.getvalue()
    assert len(Source(sink.getvalue()).directory()) == 65_535


@pytest.mark.slow
def test_zip64_by_offsets_beyond_4_gib(tmp_path: Path) -> None:
    """P8 on a ZIP64 archive: a local sparse file, read by a function."""
    path = tmp_path / KEY
    days = {f"2009/2009-12-{day}options.csv": rows(day, 20 * MIB) for day in (29, 30, 31)}
    with path.open("wb") as hole:
        hole.truncate(4 * 1024**3 + 12_345)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, data in days.items():
            file.writestr(name, data)
    assert path.stat().st_blocks * 512 < 100 * MIB  # the hole is one
    ranges: list[tuple[int, int]] = []
    with path.open("rb") as opened:
        read = read_file(opened, ranges)
        members = read_directory(read, path.stat().st_size, KEY)
        assert min(member.offset for member in members) > 2**32
        member = find_member(members, DAY, KEY)
        assert b"".join(member_chunks(read, member, KEY)) == days[f"2009/{DAY}"]
    assert moved(ranges) <= member.compressed + 1_000_000
    path.unlink()


@pytest.fixture
def year(tmp_path: Path) -> Iterator[Path]:
    """An archive above 1 GB that zipfile wrote: six deflated days among stored noise."""
    path = tmp_path / KEY
    noise = os.urandom(32 * MIB)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for number in range(34):
            file.writestr(f"2009/{number:03d}stocks.bin", noise, zipfile.ZIP_STORED)
            if number % 6 == 3:
                day = rows(number, 33 * MIB)
                file.writestr(f"2009/2009-12-{number:02d}options.csv", day)
    yield path
    path.unlink()  # pytest keeps the folders of three runs


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_one_day_of_an_archive_above_1_gb_on_a_server(
    year: Path, embedded_server: EmbeddedServer, s3: Minio, make_bucket: Callable[..., str]
) -> None:
    """P8 through the store: bytes and requests as counted by the reader."""
    bucket = make_bucket()
    size = year.stat().st_size
    assert size > 10**9
    s3.fput_object(bucket, KEY, str(year), part_size=64 * MIB)
    try:
        store = ObjectStore(
            load_settings(
                directory=year.parent,
                endpoint=embedded_server.endpoint,
                access_key=embedded_server.access_key,
                secret_key=embedded_server.secret_key,
                bucket_name=bucket,
            )
        )
        for number in (3, 15, 33):  # the last one is 1 GB into the archive
            name = f"2009-12-{number:02d}options.csv"
            with RangeReader(store, KEY, Deadline(60)) as reader:
                member = find_member(read_directory(reader.read, size, KEY), name, KEY)
                got = b"".join(member_chunks(reader.read, member, KEY))
            with zipfile.ZipFile(year) as file:
                assert got == file.read(f"2009/{name}")
            assert reader.size == size
            assert reader.received <= member.compressed + 1_000_000
            assert reader.requests <= 2 + member.compressed // (4 * MIB)
        assert member.offset > 10**9
        store.close()
    finally:
        s3.remove_object(bucket, KEY)
