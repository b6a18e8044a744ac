"""What the tests of archives share: every way to write one, and how to damage it."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from stockdb.core.archive import (
    Member,
    find_member,
    member_chunks,
    read_directory,
)
from stockdb.errors import ArchiveError

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
