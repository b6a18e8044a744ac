"""Members of ZIP archives against the standard library's zipfile, which wrote the archives."""

from __future__ import annotations

import io
import os
import random
import struct
import threading
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pytest
from minio import Minio

from stockdb.core import archive
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
from stockdb.errors import ArchiveError, NotFoundError
from stockdb.settings import load_settings

KEY = "2009.zip"
DAY = "2009-12-30options.csv"
MIB = 1024**2
#: What the tail of an archive costs: 64 KiB, and the end records.
TAIL = 64 * 1024 + 98


def rows(seed: int, size: int) -> bytes:
    """Rows that deflate by about 4 to 1, as those of an options file do."""
    draw = random.Random(seed)
    block = "".join(
        f"ABC0912{draw.randrange(10, 30)}C{draw.randrange(10**8):08d},ABC,2009-12-19,call,"
        f"{draw.randrange(1000) / 10},A,{draw.random():.2f},,{draw.random():.2f},,,,2009-12-30\n"
        for _ in range(min(size, 300_000) // 60 + 1)
    ).encode()
    return (block * (size // len(block) + 1))[:size]


SMALL = {f"2009/2009-12-{day}options.csv": rows(day, 5000 + day) for day in (28, 29, 30)}


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, **more: Any) -> bytes:
    sink = io.BytesIO(more.get("prefix", b""))
    sink.seek(0, io.SEEK_END)
    with zipfile.ZipFile(sink, "a", method) as file:
        file.comment = more.get("comment", b"")
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type, info.extra = method, more.get("extra", b"")
            with file.open(info, "w", force_zip64=more.get("zip64", False)) as member:
                member.write(data)
    return sink.getvalue()


class Forward(io.RawIOBase):
    """A pipe: zipfile cannot go back, and writes sizes behind the data."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


def streamed(members: dict[str, bytes]) -> bytes:
    pipe = Forward()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as file:  # type: ignore[arg-type]
        for name, data in members.items():
            file.writestr(name, data)
    return bytes(pipe.data)


class Source:
    """Bytes that are read by range, and which ranges."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.ranges: list[tuple[int, int]] = []

    def __call__(self, start: int, stop: int) -> bytes:
        assert 0 <= start < stop, "an empty range is no request"
        self.ranges.append((start, stop))
        return self.data[start:stop]

    @property
    def moved(self) -> int:
        return sum(min(stop, len(self.data)) - start for start, stop in self.ranges)

    def directory(self) -> list[Member]:
        return read_directory(self, len(self.data), KEY)

    def member(self, name: str) -> bytes:
        return b"".join(member_chunks(self, find_member(self.directory(), name, KEY), KEY))


def expected(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {info.filename: file.read(info) for info in file.infolist()}


def refused(call: Callable[[], object], *words: str) -> ArchiveError:
    with pytest.raises(ArchiveError) as caught:
        call()
    assert caught.value.key == KEY
    assert KEY in str(caught.value) and caught.value.remedy
    for word in words:
        assert word in str(caught.value)
    return caught.value


def patched(data: bytes, at: int, form: str, *values: int) -> bytes:
    copy = bytearray(data)
    struct.pack_into("<" + form, copy, at, *values)
    return bytes(copy)


def entry_at(data: bytes, name: str) -> int:
    """Where a member's entry in the directory begins."""
    return data.rindex(name.encode()) - 46


def local_at(data: bytes, name: str) -> int:
    return data.index(name.encode()) - 30


def end_at(data: bytes) -> int:
    return data.rindex(b"PK\5\6")


# ----------------------------------------------------------------- every way to write one

FIELD = struct.pack("<HH", 0xCAFE, 9) + b"anything!"
ARCHIVES: dict[str, Callable[[], bytes]] = {
    "deflated": lambda: zipped(SMALL),
    "stored": lambda: zipped(SMALL, zipfile.ZIP_STORED),
    "no folder": lambda: zipped({name[5:]: data for name, data in SMALL.items()}),
    "two folders": lambda: zipped({f"options/{name}": data for name, data in SMALL.items()}),
    "with its folders": lambda: zipped({"options/": b"", **SMALL}),
    "streamed, sizes behind the data": lambda: streamed(SMALL),
    "a comment": lambda: zipped(SMALL, comment=b"daily files"),
    "the longest comment": lambda: zipped(SMALL, comment=b"c" * 65535),
    "extra fields": lambda: zipped(SMALL, extra=FIELD * 3),
    "long extra fields": lambda: zipped(SMALL, extra=FIELD * 5000),
    "bytes before it": lambda: b"#!/bin/sh\nexit\n" * 99 + zipped(SMALL),
    "bytes before it that offsets count": lambda: zipped(SMALL, prefix=b"MZ" * 999),
    "ZIP64 members": lambda: zipped(SMALL, zip64=True),
    "an empty member": lambda: zipped({**SMALL, "empty.csv": b""}),
    "an empty stored member": lambda: zipped({**SMALL, "empty.csv": b""}, zipfile.ZIP_STORED),
    "an archive inside": lambda: zipped({**SMALL, "2008.zip": zipped(SMALL)}, zipfile.ZIP_STORED),
    "names that are not ASCII": lambda: zipped({"größe/2009 €.csv": b"1", **SMALL}),
    "no member": lambda: zipped({}),
    "no member, ZIP64": lambda: zip64_end(zipped({})),
    "ZIP64 end records": lambda: zip64_end(zipped(SMALL)),
    "ZIP64 end records behind other bytes": lambda: b"junk" * 50 + zip64_end(zipped(SMALL)),
    "ZIP64 end records and the longest comment": lambda: zip64_end(
        zipped(SMALL, comment=b"c" * 65535)
    ),
    "offsets beyond 32 bits by their mark only": lambda: zip64_offsets(zipped(SMALL)),
}


def zip64_end(data: bytes, **wrong: int) -> bytes:
    """Put ZIP64 end records before the end record, as zipfile does for big archives."""
    at = end_at(data)
    _, _, _, _, count, length, offset, _ = struct.unpack_from("<4s4H2LH", data, at)
    values = {
        "rest": 44,
        "disk": 0,
        "first_disk": 0,
        "here": count,
        "count": count,
        "length": length,
        "offset": offset,
        "locator_disk": 0,
        "record": offset + length,
        "disks": 1,
        **wrong,
    }
    rest, disk, first, here, count, length, offset, locator_disk, record, disks = values.values()
    middle = struct.pack(
        "<4sQ2H2L4Q", b"PK\6\6", rest, 45, 45, disk, first, here, count, length, offset
    ) + struct.pack("<4sLQL", b"PK\6\7", locator_disk, record, disks)
    masked = patched(data[at:], 8, "2H2L", 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    return data[:at] + middle + masked


def zip64_offsets(data: bytes) -> bytes:
    """Move every member's offset into a ZIP64 field of its directory entry."""
    at = end_at(data)
    _, _, _, _, count, length, offset, _ = struct.unpack_from("<4s4H2LH", data, at)
    entries, position = b"", offset
    for _ in range(count):
        names, extras, comments = struct.unpack_from("<3H", data, position + 28)
        stop = position + 46 + names + extras + comments
        begin = struct.unpack_from("<L", data, position + 42)[0]
        fields = FIELD + struct.pack("<HHQ", 1, 8, begin)
        head = patched(data[position : position + 46], 30, "H", len(fields))
        head = patched(head, 42, "L", 0xFFFFFFFF)
        entries += head + data[position + 46 : position + 46 + names] + fields
        position = stop
    end = patched(data[at:], 12, "L", len(entries))
    return data[:offset] + entries + end


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


# ------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_method_is_named(method: int) -> None:
    source = Source(zipped(SMALL, method))
    members = source.directory()
    assert {member.method for member in members} == {method}  # listed all the same
    error = refused(lambda: source.member(DAY), f"method {method}", DAY, "deflate")
    assert error.member == f"2009/{DAY}"  # type: ignore[attr-defined]
    assert len(source.ranges) == 2  # two directories: nothing of the member was asked for


@pytest.mark.parametrize("flag", [0x0001, 0x0040, 0x2000, 0x0020])
def test_an_encrypted_or_patched_member_is_named(flag: int) -> None:
    data = zipped(SMALL)
    data = patched(data, local_at(data, f"2009/{DAY}") + 6, "H", flag)
    refused(lambda: Source(data).member(DAY), "encrypted", DAY, "password")
    assert Source(data).member("2009-12-28options.csv") == SMALL["2009/2009-12-28options.csv"]


@pytest.mark.parametrize("field", [4, 6, 8])
def test_a_part_of_several_disks_is_named(field: int) -> None:
    data = zipped(SMALL)
    at = end_at(data) + field
    data = patched(data, at, "H", struct.unpack_from("<H", data, at)[0] + 1)
    refused(Source(data).directory, "several disks")


def test_a_member_on_another_disk_is_named() -> None:
    data = zipped(SMALL)
    data = patched(data, entry_at(data, f"2009/{DAY}") + 34, "H", 1)
    refused(Source(data).directory, "several disks")


@pytest.mark.parametrize("field", ["disk", "first_disk", "here", "locator_disk"])
def test_a_part_of_several_disks_is_named_in_zip64(field: str) -> None:
    value = 2 if field == "here" else 1
    data = patched(zip64_end(zipped(SMALL), **{field: value}), -18, "2H", 0xFFFF, 0xFFFF)
    refused(Source(data).directory, "several disks")
    data = zip64_end(zipped(SMALL), disks=2)
    refused(Source(data).directory, "several disks")


@pytest.mark.parametrize(
    "wrong", [{"record": 5}, {"rest": 45}, {"rest": 43}, {"length": 7}, {"offset": 7}]
)
def test_zip64_records_that_contradict_themselves(wrong: dict[str, int]) -> None:
    refused(Source(zip64_end(zipped(SMALL), **wrong)).directory)


def test_zip64_records_that_contradict_the_plain_one() -> None:
    data = zip64_end(zipped(SMALL))
    for field, form in ((8, "H"), (10, "H"), (12, "L"), (16, "L")):
        refused(Source(patched(data, end_at(data) + field, form, 1)).directory, "contradict")


def test_a_zip64_locator_without_its_record() -> None:
    data = zip64_end(zipped(SMALL)).replace(b"PK\6\6", b"PK\6\0")
    refused(Source(data).directory, "ZIP64 end record")


def test_two_end_records_are_two_archives() -> None:
    """The second one, in the comment of the first, leads to another directory."""
    hidden = zipped({f"2009/{DAY}": b"forged"})
    data = zipped(SMALL, comment=hidden)
    assert set(expected(data)) == {f"2009/{DAY}"}  # zipfile takes the forged one
    refused(Source(data).directory, "two end records")


@pytest.mark.parametrize(
    ("field", "form", "value", "word"),
    [
        (10, "2H", None, "fill"),  # fewer members than the directory has
        (12, "L", 1, "damaged"),
        (16, "L", 0xFFFFFF, "beginning"),
    ],
)
def test_an_end_record_that_lies(field: int, form: str, value: int | None, word: str) -> None:
    data = zipped(SMALL)
    at = end_at(data)
    data = (
        patched(data, at + 8, "2H", 2, 2)
        if value is None
        else patched(data, at + field, form, value)
    )
    refused(Source(data).directory, word)


def test_more_members_than_the_directory_has() -> None:
    data = zipped(SMALL)
    refused(Source(patched(data, end_at(data) + 8, "2H", 4, 4)).directory, "damaged directory")


def test_a_name_that_is_not_utf8_harms_no_other_member() -> None:
    bad = zipped({"größe.csv": b"1", **SMALL}).replace("größe".encode(), b"gr\xff\xb6\xff\x9fe")
    assert Source(bad).member(DAY) == SMALL[f"2009/{DAY}"]


@pytest.mark.parametrize("length", [0, 4, 7])
def test_a_zip64_field_that_is_too_short(length: int) -> None:
    data = zip64_offsets(zipped({DAY: b"rows"}))
    at = data.rindex(b"\1\0\10\0")
    refused(Source(patched(data, at + 2, "H", length)).directory, "ZIP64 field")
    refused(Source(patched(data, at, "H", 2)).directory, "ZIP64 field")


@pytest.mark.parametrize(
    "change",
    [
        lambda data, at: patched(data, at, "L", 0),  # signature
        lambda data, at: patched(data, at + 8, "H", 0),  # method
        lambda data, at: patched(data, at + 30, "B", ord("3")),  # name
        lambda data, at: patched(data, at + 26, "H", 5),  # a shorter name
        lambda data, at: patched(data, at + 28, "H", 60000),  # fields longer than the member
    ],
)
def test_a_header_that_is_not_the_one_of_the_directory(
    change: Callable[[bytes, int], bytes],
) -> None:
    data = zipped(SMALL)
    damaged = change(data, local_at(data, f"2009/{DAY}"))
    refused(lambda: Source(damaged).member(DAY), DAY)


# ------------------------------------------------------------------------- caps


def test_too_many_members(monkeypatch: pytest.MonkeyPatch) -> None:
    assert archive.MAX_MEMBERS == 100_000
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    assert len(Source(zipped(SMALL)).directory()) == 3
    refused(Source(zipped({**SMALL, "x": b""})).directory, "4 members", "too many")


def test_too_long_a_directory_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert archive.MAX_DIRECTORY == 64 * MIB
    members = {f"{'folder/' * 20}{n:04d}.csv": b"" for n in range(1000)}
    data = zipped(members)
    length = struct.unpack_from("<L", data, end_at(data) + 12)[0]
    monkeypatch.setattr(archive, "MAX_DIRECTORY", length)
    assert len(Source(data).directory()) == 1000
    monkeypatch.setattr(archive, "MAX_DIRECTORY", length - 1)
    source = Source(data)
    refused(source.directory, f"{length:,} bytes", "too many")
    assert len(source.ranges) == 1


def test_the_cap_on_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert archive.MAX_SIZE == 4 * 1024**3
    source = Source(zipped(SMALL))
    monkeypatch.setattr(archive, "MAX_SIZE", 5030)
    assert source.member(DAY) == SMALL[f"2009/{DAY}"]
    monkeypatch.setattr(archive, "MAX_SIZE", 5029)
    before = len(source.ranges)
    refused(lambda: source.member(DAY), "5,029 bytes", "too many")
    assert len(source.ranges) == before + 1  # the directory only
    padded = Member(DAY, 0, 5030, 10, 0, 8, 9999)  # deflate may go on and on without a byte
    refused(lambda: list(member_chunks(source, padded, KEY)), "5,029 bytes")


def test_the_cap_on_the_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (archive.MAX_RATIO, archive.RATIO_FREE) == (200, MIB)
    zeros = Source(zipped({"free": bytes(MIB), "bomb": bytes(MIB + 1)}))
    free, bomb = zeros.directory()
    assert bomb.size > 900 * bomb.compressed
    assert zeros.member("free") == bytes(MIB)
    refused(lambda: zeros.member("bomb"), "200 to 1", "bomb")
    monkeypatch.setattr(archive, "MAX_RATIO", 1032)
    assert zeros.member("bomb") == bytes(MIB + 1)


@pytest.mark.parametrize("said", [5, 100_000])
def test_a_lying_bomb_inflates_one_byte_more_than_it_said(
    said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    inflated = 0

    class Counting:
        def __init__(self, **options: Any) -> None:
            self._real = real(**options)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal inflated
            out = self._real.decompress(data, most)
            inflated += len(out)
            return out

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    real = zlib.decompressobj
    data = zipped({DAY: bytes(50 * MIB)})
    data = patched(data, entry_at(data, DAY) + 24, "L", said)
    monkeypatch.setattr(zlib, "decompressobj", Counting)
    refused(lambda: Source(data).member(DAY), "more than the directory says")
    assert inflated == said + 1


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
