"""The archive row of the acceptance matrix, over the wire: hostile, damaged and no ZIPs."""

from __future__ import annotations

import io
import os
import random
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from stockdb.core.archive import find_member, member_chunks, read_directory
from stockdb.core.ranges import RangeReader
from stockdb.core.store import ObjectStore
from stockdb.core.transport import Deadline
from stockdb.errors import ArchiveError, NotFoundError, ObjectChangedError
from tests.faults.origin import Fault, Origin

KEY = "2009.zip"
DAY = "2009-12-30options.csv"
DRAW = random.Random(9)
ROWS = "".join(
    f"ABC0912C{DRAW.randrange(10**8):08d},ABC,2009-12-19,call,{DRAW.random():.2f}\n"
    for _ in range(4000)
).encode()
DAYS = {f"2009/2009-12-{day}options.csv": ROWS[day * 100 :] for day in (29, 30, 31)}
Failing = Callable[..., Any]
Read = Callable[..., tuple[bytes, RangeReader]]
Refused = Callable[..., ArchiveError]


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return sink.getvalue()


def patched(data: bytes, at: int, form: str, *values: int) -> bytes:
    copy = bytearray(data)
    struct.pack_into("<" + form, copy, at, *values)
    return bytes(copy)


def entry_at(data: bytes, name: str) -> int:
    return data.rindex(name.encode()) - 46


def data_at(data: bytes, name: str) -> int:
    return data.index(name.encode()) + len(name)


@pytest.fixture
def read(origin: Origin, store: ObjectStore) -> Read:
    """Read one member of an object with this body (and later versions), through the store."""

    def read(body: bytes, *later: bytes, name: str = DAY, **held: Any) -> tuple[bytes, RangeReader]:
        origin.put(KEY, body, *later, **held)
        with RangeReader(store, KEY, Deadline(4)) as reader:
            member = find_member(read_directory(reader.read, len(body), KEY), name, KEY)
            return b"".join(member_chunks(reader.read, member, KEY)), reader

    return read


@pytest.fixture
def refused(read: Read, failing: Failing) -> Refused:
    """Expect an ArchiveError that names the key and says these words."""

    def refuse(body: bytes, *words: str, **more: Any) -> ArchiveError:
        error: ArchiveError = failing(ArchiveError, read, body, **more)
        assert error.key == KEY and KEY in str(error)
        assert not error.retryable
        for word in words:
            assert word in str(error)
        return error

    return refuse


def test_an_intact_archive(read: Read) -> None:
    """What the faults below are held against."""
    for name, data in DAYS.items():
        got, reader = read(zipped(DAYS), name=name[5:])
        assert got == data
        assert reader.requests == 2


def test_an_absent_member_is_not_found(read: Read, failing: Failing, origin: Origin) -> None:
    error = failing(NotFoundError, read, zipped(DAYS), name="2009-12-25options.csv")
    assert error.key == KEY and "2009-12-25options.csv" in str(error)
    assert len(origin.of(KEY)) == 1


# ------------------------------------------------------------------- ZIP bomb


def test_zip_bomb_by_ratio(refused: Refused, origin: Origin) -> None:
    refused(zipped({**DAYS, "2009/zeros.csv": bytes(30 << 20)}), "a bomb", name="zeros.csv")
    assert len(origin.of(KEY)) == 1  # nothing of it was asked for


def bomb(quoted: bool) -> tuple[bytes, dict[str, bytes]]:
    """Ten members that share their bytes, and what each of them inflates to without a flaw.

    After D. Fifield, A better zip bomb, 2019. Either all of them are one and the same, or
    each one's data begin with a stored block that quotes the next one's header, and go on
    with the next one's data.
    """
    names = [b"2009-12-%doptions.csv" % day for day in range(21, 31)]
    squeeze = zlib.compressobj(9, wbits=-15)
    data, plain = squeeze.compress(ROWS) + squeeze.flush(), ROWS
    directory, contents = b"", {}
    for name in reversed(names):
        known = [zlib.crc32(plain), len(data), len(plain)]
        header = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, *known, len(name), 0) + name
        contents[name.decode()] = plain
        body = header + data
        entry = (b"PK\1\2", 20, 20, 0, 8, 0, 0, *known, len(name), 0, 0, 0, 0, 0, len(body))
        directory += struct.pack("<4s6H3L5H2L", *entry) + name
        if quoted:
            size = len(header)
            data = struct.pack("<BHH", 0, size, size ^ 0xFFFF) + body
            plain = header + plain
        elif len(contents) == 1:
            directory *= 10
            break
    for at in range(42, len(directory), 46 + len(names[0])):  # from the end, as yet
        back = struct.unpack_from("<L", directory, at)[0]
        directory = patched(directory, at, "L", len(body) - back)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 10, 10, len(directory), len(body), 0)
    return body + directory + end, contents


def test_zip_bomb_by_quoted_overlap(refused: Refused) -> None:
    body, contents = bomb(quoted=True)
    with zipfile.ZipFile(io.BytesIO(body)) as file:
        infos = {info.filename: info for info in file.infolist()}
    assert sum(info.compress_size for info in infos.values()) > 9 * len(body)
    for name, plain in contents.items():
        begin = infos[name].header_offset + 30 + len(name)
        stream = zlib.decompressobj(wbits=-15)  # each of them is sound by itself
        assert stream.decompress(body[begin : begin + infos[name].compress_size]) == plain
        assert stream.eof and zlib.crc32(plain) == infos[name].CRC
        refused(body, "overlaps", name=name)


def test_zip_bomb_by_full_overlap(refused: Refused) -> None:
    body, _ = bomb(quoted=False)
    with zipfile.ZipFile(io.BytesIO(body)) as file:
        assert [file.read(info) for info in file.infolist()] == [ROWS] * 10
    refused(body, "overlaps", name=DAY)


def test_overlapping_members(refused: Refused) -> None:
    body = zipped(DAYS)
    first, second = (
        struct.unpack_from("<L", body, entry_at(body, name) + 42)[0] for name in list(DAYS)[:2]
    )
    at = entry_at(body, f"2009/{DAY}") + 42
    for offset in (first, first + 10, second - 1):
        refused(patched(body, at, "L", offset), "overlaps")


# ------------------------------------------------------------------- lying size


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("by", [-1, 1, -100, 100, -(2**10)])
def test_lying_size_uncompressed(refused: Refused, method: int, by: int) -> None:
    name = f"2009/{DAY}"
    body = zipped(DAYS, method)
    for at in (entry_at(body, name) + 24, body.index(name.encode()) - 30 + 22):  # both headers
        body = patched(body, at, "L", len(DAYS[name]) + by)
    refused(body)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("by", [-1, 1, -100, 100, 2**31])
def test_lying_size_compressed(refused: Refused, method: int, by: int) -> None:
    body = zipped(DAYS, method)
    at = entry_at(body, f"2009/{DAY}") + 20
    refused(patched(body, at, "L", struct.unpack_from("<L", body, at)[0] + by))


def test_lying_size_with_room_behind_the_data(refused: Refused) -> None:
    """Padding behind a member takes the overlap away; its deflate stream still ends earlier."""
    padding = b"".join([b"PK\7\x08", bytes(60)])
    body = zipped({DAY: ROWS})
    start = struct.unpack_from("<L", body, len(body) - 6)[0]
    body = body[:start] + padding + body[start:]
    body = patched(body, len(body) - 6, "L", start + len(padding))
    at = entry_at(body, DAY) + 20
    refused(patched(body, at, "L", struct.unpack_from("<L", body, at)[0] + 1), "before its comp")


# ------------------------------------------------------------------- bad CRC, damage


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_bad_crc_in_the_directory(refused: Refused, method: int) -> None:
    body = zipped(DAYS, method)
    at = entry_at(body, f"2009/{DAY}") + 16
    refused(patched(body, at, "L", struct.unpack_from("<L", body, at)[0] ^ 1), "CRC-32")


def test_bad_crc_of_damaged_data(refused: Refused) -> None:
    body = bytearray(zipped(DAYS, zipfile.ZIP_STORED))
    body[data_at(body, f"2009/{DAY}") + 1000] ^= 1
    refused(bytes(body), "CRC-32")


def test_bad_crc_comes_after_the_last_chunk(origin: Origin, store: ObjectStore) -> None:
    """Whoever publishes must have exhausted the iterator: until then nothing is known."""
    body = bytearray(zipped(DAYS, zipfile.ZIP_STORED))
    body[data_at(body, f"2009/{DAY}") + 1000] ^= 1
    origin.put(KEY, bytes(body))
    seen = 0
    with RangeReader(store, KEY, Deadline(4)) as reader:
        member = find_member(read_directory(reader.read, len(body), KEY), DAY, KEY)
        with pytest.raises(ArchiveError, match="CRC-32"):
            for chunk in member_chunks(reader.read, member, KEY, block=5000):
                seen += len(chunk)
    assert seen == member.size


def test_damaged_deflate_data(refused: Refused) -> None:
    body = bytearray(zipped(DAYS))
    at = data_at(body, f"2009/{DAY}") + 1000
    body[at : at + 8] = b"\xff" * 8
    refused(bytes(body), DAY)


def test_deflate_data_without_an_end(refused: Refused) -> None:
    squeeze = zlib.compressobj(9, wbits=-15)
    stream = squeeze.compress(ROWS) + squeeze.flush(zlib.Z_SYNC_FLUSH)  # all bytes, no end
    body = zipped({DAY: stream}, zipfile.ZIP_STORED)
    entry, local = entry_at(body, DAY), body.index(DAY.encode()) - 30
    for at in (entry + 10, local + 8):
        body = patched(body, at, "H", 8)
        body = patched(body, at + 6, "3L", zlib.crc32(ROWS), len(stream), len(ROWS))
    refused(body, "truncated")


# ------------------------------------------------------------------- HTML instead of ZIP


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><html><body>Please sign in</body></html>",
        b"\xef\xbb\xbf\r\n <HTML><head>",
        b"<?xml version='1.0'?>\n<html xmlns='http://www.w3.org/1999/xhtml'>" + b"<br/>" * 50_000,
    ],
)
def test_html_instead_of_zip(refused: Refused, page: bytes) -> None:
    refused(page, "HTML page")


@pytest.mark.parametrize("body", [b"a,b\n1,2\n", os.urandom(200_000), b"PK", b"\x1f\x8b\x08" * 9])
def test_something_else_instead_of_zip(refused: Refused, body: bytes) -> None:
    error = refused(body, "not a ZIP")
    assert "HTML" not in str(error)


def test_nothing_instead_of_zip(refused: Refused) -> None:
    refused(b"", "empty")


# ------------------------------------------------------------------- truncated archive


def test_truncated_archive(refused: Refused) -> None:
    body = zipped({**DAYS, "noise.bin": os.urandom(100_000)})
    for length in (len(body) - 1, len(body) - 22, len(body) - 300, len(body) // 2, 40):
        refused(body[:length], "truncated")


def test_truncated_at_its_beginning(refused: Refused) -> None:
    body = zipped(DAYS)
    for cut in (1, 100, len(body) - 22):
        refused(body[cut:], "beginning")


def test_truncated_after_it_was_listed(read: Read, failing: Failing) -> None:
    """The caller's size is from an older listing."""
    body = zipped(DAYS)
    error = failing(ArchiveError, read, body, body[:-100], changes=(0,))
    assert f"ends before byte {len(body):,}" in str(error)


# ------------------------------------------------------------------- duplicate or ../ member


def test_duplicate_member(refused: Refused, read: Read) -> None:
    body = zipped({**DAYS, f"2009-copy/{DAY}": b"other rows"})
    refused(body, "2 members", f"2009/{DAY}", f"2009-copy/{DAY}")
    assert read(body, name="2009-12-29options.csv")[0] == DAYS["2009/2009-12-29options.csv"]


def test_duplicate_member_of_the_very_same_path(refused: Refused) -> None:
    sink = io.BytesIO(zipped(DAYS))
    with zipfile.ZipFile(sink, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr(f"2009/{DAY}", b"forged")
    refused(sink.getvalue(), "2 members")


@pytest.mark.parametrize("folder", ["../", "2009/../../", "..\\..\\"])
def test_parent_folder_member(refused: Refused, read: Read, folder: str) -> None:
    days = {name: data for name, data in DAYS.items() if not name.endswith(DAY)}
    body = zipped({**days, folder + DAY: b"forged"})
    refused(body, "honest", repr(folder + DAY))
    assert read(body, name="2009-12-29options.csv")[0] == DAYS["2009/2009-12-29options.csv"]


def test_only_the_expected_name_is_read(read: Read, origin: Origin) -> None:
    """Of the other members not a byte is asked for."""
    noise = {f"../{i}.bin": os.urandom(100_000) for i in range(5)}
    body = zipped({**noise, **DAYS, "/etc/passwd": os.urandom(100_000)})
    got, reader = read(body)
    assert got == DAYS[f"2009/{DAY}"]
    entry = zipfile.ZipFile(io.BytesIO(body)).getinfo(f"2009/{DAY}")
    last = origin.of(KEY)[-1].range
    assert last is not None and last[1] is not None
    assert last[0] == entry.header_offset
    assert last[1] - last[0] < entry.compress_size + 200
    assert reader.received < entry.compress_size + 70_000


# ------------------------------------------------------------------- faults of the line


NOISE = zipped({DAY: DRAW.randbytes(9 << 20), "z.csv": ROWS}, zipfile.ZIP_STORED)


def test_reset_within_a_member_is_resumed(read: Read, origin: Origin) -> None:
    broken = Fault("reset-mid-body", skip=2, times=1, at=1 << 20)  # tail, first range, this one
    got, reader = read(NOISE, fault=broken)
    assert got == zipfile.ZipFile(io.BytesIO(NOISE)).read(DAY)
    assert reader.requests == 5
    pinned = {request.if_match for request in origin.of(KEY)[1:]}
    assert pinned == {reader.etag}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_replaced_between_two_ranges_is_never_mixed(
    read: Read, failing: Failing, number: int
) -> None:
    other = bytearray(NOISE)
    other[6 << 20] ^= 1
    failing(ObjectChangedError, read, NOISE, bytes(other), changes=(number,))


def test_wrong_byte_on_the_way_is_noticed(refused: Refused) -> None:
    refused(NOISE, "CRC-32", fault=Fault("wrong-byte", skip=2, times=1, at=77))


def test_no_thread_stays_behind(read: Read, failing: Failing) -> None:
    failing(ArchiveError, read, NOISE, fault=Fault("wrong-byte", skip=2, times=1, at=77))
    for thread in threading.enumerate():
        if thread.name.startswith("stockdb-zip"):
            thread.join(5)
            assert not thread.is_alive()
