"""Members of ZIP archives against the standard library's zipfile, which wrote the archives."""

from __future__ import annotations

import io
import os
import struct
import threading
import tracemalloc
import zipfile

import pytest

from stockdb.core.archive import (
    Member,
    find_member,
    member_chunks,
)
from stockdb.errors import NotFoundError
from tests.unit.core.archive_cases import (
    ARCHIVES,
    DAY,
    KEY,
    MIB,
    SMALL,
    TAIL,
    Source,
    end_at,
    entry_at,
    expected,
    local_at,
    patched,
    refused,
    rows,
    zipped,
)


@pytest.mark.parametrize("way", ARCHIVES)
def test_every_member_equals_what_zipfile_reads(way: str) -> None:
    data = ARCHIVES[way]()
    source, truth = Source(data), expected(data)
    members = source.directory()
    assert len(source.ranges) == 1 + (source.ranges[0][0] > members[-1].end if members else 0)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        infos = file.infolist()
        start = file.start_dir
    listed = [(m.name, m.offset, m.compressed, m.size, m.crc, m.method) for m in members]
    assert listed == [
        (i.filename, i.header_offset, i.compress_size, i.file_size, i.CRC, i.compress_type)
        for i in infos
    ]
    following = [*[info.header_offset for info in infos[1:]], start]
    assert [member.end for member in members] == following[: len(members)]
    for member in members:
        assert b"".join(member_chunks(source, member, KEY)) == truth[member.name]


def test_a_comment_that_mentions_the_end_record() -> None:
    """Python's own zipfile gives up on this one."""
    source = Source(
        zipped(SMALL, comment=b"daily files, PK\5\6 is no end, nor is PK\5\6" + bytes(30))
    )
    for name, data in SMALL.items():
        assert source.member(name[5:]) == data


def test_backslashes_part_folders_too() -> None:
    name = f"options\\2009\\{DAY}"
    data = zipped({name.replace("\\", "/"): b"rows"}).replace(b"options/2009/", b"options\\2009\\")
    source = Source(data)
    assert [member.name for member in source.directory()] == [name]
    assert source.member(DAY) == b"rows"


def test_ends_come_from_offsets_not_from_the_order_of_the_directory() -> None:
    data = zipped(SMALL)
    start = struct.unpack_from("<L", data, end_at(data) + 16)[0]
    length = (end_at(data) - start) // 3
    entries = [data[start + i * length : start + (i + 1) * length] for i in (2, 0, 1)]
    source = Source(data[:start] + b"".join(entries) + data[end_at(data) :])
    members = source.directory()
    assert [member.name[-13:-11] for member in members] == ["30", "28", "29"]
    assert [member.end for member in members] == [start, members[2].offset, members[0].offset]
    for member in members:
        assert b"".join(member_chunks(source, member, KEY)) == SMALL[member.name]


def test_foreign_bytes_between_a_header_and_the_next_are_not_read() -> None:
    """A hole behind a member, where another one was deleted, costs no more than a header may."""
    data = zipped(SMALL)
    hole = local_at(data, "2009/2009-12-29options.csv")
    wide = data[:hole] + bytes(8 * MIB) + data[hole:]
    for name in ("2009/2009-12-29options.csv", f"2009/{DAY}"):
        begin = struct.unpack_from("<L", wide, entry_at(wide, name) + 42)[0]
        wide = patched(wide, entry_at(wide, name) + 42, "L", begin + 8 * MIB)
    wide = patched(wide, end_at(wide) + 16, "L", entry_at(wide, "2009/2009-12-28options.csv"))
    source = Source(wide)
    assert source.member("2009-12-28options.csv") == SMALL["2009/2009-12-28options.csv"]
    compressed = source.directory()[0].compressed
    assert source.ranges[1][0] == 0 and source.ranges[1][1] < compressed + 3 * 65536


# ------------------------------------------------------------------------- what it costs


def test_one_member_costs_the_tail_and_one_range() -> None:
    members = {f"2009/2009-{n:03d}options.csv": os.urandom(300_000) for n in range(20)}
    source = Source(zipped(members))
    name = "2009-007options.csv"
    assert source.member(name) == members[f"2009/{name}"]
    assert len(source.ranges) == 2
    assert source.moved < 300_000 + TAIL + 2000


def test_a_long_directory_costs_a_second_read_of_what_the_tail_lacks() -> None:
    members = {f"{'folder/' * 20}{n:04d}.csv": b"%d" % n for n in range(2000)}
    data = zipped(members)
    source = Source(data)
    assert len(source.directory()) == 2000
    start = struct.unpack_from("<L", data, end_at(data) + 16)[0]
    assert source.ranges == [(len(data) - TAIL, len(data)), (start, len(data) - TAIL)]
    for number in (0, 1000, 1999):  # in the first read, in the second
        assert source.member(f"{number:04d}.csv") == b"%d" % number


def test_a_big_member_comes_in_ranges_without_a_gap_or_an_overlap() -> None:
    big = rows(1, 60 * MIB)
    data = zipped({"a.csv": b"before", DAY: big, "z.csv": b"behind"})
    source = Source(data)
    assert source.member(DAY) == big
    _, *ranges = source.ranges
    member = find_member(source.directory(), DAY, KEY)
    assert len(ranges) >= 3
    assert ranges[0][0] == member.offset and ranges[-1][1] == member.end
    assert all(a[1] == b[0] for a, b in zip(ranges, ranges[1:], strict=False))
    assert max(stop - start for start, stop in ranges) <= 4 * MIB


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_memory_is_bounded_whatever_the_size(method: int) -> None:
    source = Source(zipped({DAY: rows(1, 96 * MIB)}, method))
    member = find_member(source.directory(), DAY, KEY)
    tracemalloc.start()
    try:
        sizes = [len(chunk) for chunk in member_chunks(source, member, KEY)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) == 96 * MIB and max(sizes) <= MIB
    assert peak < 16 * MIB


@pytest.mark.parametrize("block", [1, 1000, 10**6])
def test_chunks_are_no_larger_than_asked_for(block: int) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        source = Source(zipped({DAY: bytes(5000)}, method))
        chunks = list(member_chunks(source, source.directory()[0], KEY, block=block))
        assert b"".join(chunks) == bytes(5000)
        assert all(0 < len(chunk) <= block for chunk in chunks)


def test_the_next_range_is_read_while_one_is_worked_on() -> None:
    data = zipped({DAY: os.urandom(13 * MIB)}, zipfile.ZIP_STORED)
    source, reading = Source(data), [threading.Event() for _ in range(4)]

    def read(start: int, stop: int) -> bytes:
        reading[start // (4 * MIB)].set()
        return source(start, stop)

    chunks = member_chunks(read, source.directory()[0], KEY)
    next(chunks)
    assert reading[1].wait(10) and not reading[2].wait(0.1)  # one step ahead, no further
    for _ in range(4):
        next(chunks)
    assert reading[2].wait(10) and not reading[3].is_set()


def test_who_stops_early_reads_no_further_and_does_not_wait() -> None:
    source, gate = (
        Source(zipped({DAY: os.urandom(13 * MIB)}, zipfile.ZIP_STORED)),
        threading.Event(),
    )

    def read(start: int, stop: int) -> bytes:
        if start:
            gate.wait(20)
        return source(start, stop)

    chunks = member_chunks(read, source.directory()[0], KEY)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert not gate.is_set()
    gate.set()
    for thread in threading.enumerate():
        if thread.name.startswith("stockdb-zip"):
            thread.join(10)
    assert len(source.ranges) <= 3  # tail, first range, the one that was under way


def test_an_error_of_the_reader_goes_through() -> None:
    source = Source(zipped({DAY: os.urandom(9 * MIB)}, zipfile.ZIP_STORED))

    def read(start: int, stop: int) -> bytes:
        if start > 4 * MIB:
            raise ConnectionResetError("gone")
        return source(start, stop)

    with pytest.raises(ConnectionResetError, match="gone"):
        for _ in member_chunks(read, source.directory()[0], KEY):
            pass


# ------------------------------------------------------------------------- which member


def member_of(name: str) -> Member:
    return Member(name, 0, 1, 1, 0, 0, 100)


@pytest.mark.parametrize(
    "path", ["", "2009/", "options/2009/", "options\\2009\\", "/", "C:\\data\\", "a/b\\c/"]
)
def test_a_member_is_found_in_any_folder(path: str) -> None:
    members = [member_of("2009/2009-12-29options.csv"), member_of(path + DAY)]
    assert find_member(members, DAY, KEY) is members[1]


@pytest.mark.parametrize(
    "other",
    [
        DAY.upper(),
        "x" + DAY,
        DAY + "x",
        DAY + "\0",
        DAY + "/",
        DAY + " ",
        "._" + DAY,
        DAY + "/readme",
        "2009-12-30 options.csv",
    ],
)
def test_nothing_similar_is_taken(other: str) -> None:
    with pytest.raises(NotFoundError, match=DAY) as caught:
        find_member([member_of(other)], DAY, KEY)
    assert caught.value.key == KEY


def test_a_name_with_a_folder_is_no_file_name() -> None:
    with pytest.raises(NotFoundError):
        find_member([member_of(f"2009/{DAY}")], f"2009/{DAY}", KEY)


def test_two_members_of_one_name_are_refused() -> None:
    members = [member_of(f"a/{DAY}"), member_of("other"), member_of(f"b/{DAY}")]
    refused(lambda: find_member(members, DAY, KEY), f"a/{DAY}", f"b/{DAY}", "2 members")
    assert find_member(members, "other", KEY).name == "other"


@pytest.mark.parametrize("path", ["../", "2009/../", "..\\", "a\0b/"])
def test_a_hostile_path_is_refused(path: str) -> None:
    members = [member_of(path + DAY), member_of("other")]
    error = refused(lambda: find_member(members, DAY, KEY), "honest")
    assert error.member == path + DAY  # type: ignore[attr-defined]
    assert find_member(members, "other", KEY).name == "other"


def test_dots_in_a_name_are_no_parent_folder() -> None:
    members = [member_of("a..b/..c/" + DAY)]
    assert find_member(members, DAY, KEY) is members[0]
