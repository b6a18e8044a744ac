"""One member of a big ZIP by ranged reads: the archive's directory, then that member's bytes.

An archive is not believed: its directory is held against caps, against itself (members may
not overlap) and against the member's own header; the member against its length and CRC-32.
Nothing is extracted by name: names are compared, no more. Format: PKWARE's APPNOTE 6.3.10
with ZIP64, without encryption, several disks, and methods but stored (0) and deflated (8).

Throughout, ``read`` returns the bytes of one version of the object from a start to a stop
(exclusive), and ``key`` is the object's, for the errors.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Final

import pyarrow as pa

from stockdb.errors import ArchiveError, NotFoundError

__all__ = [
    "Member",
    "directory_table",
    "file_name",
    "find_member",
    "from_table",
    "member_chunks",
    "read_directory",
]

MAX_MEMBERS: Final = 100_000
MAX_DIRECTORY: Final = 64 * 1024**2
#: Bytes that one member may inflate to: in all, and for each of its compressed bytes.
MAX_SIZE: Final = 4 * 1024**3
MAX_RATIO: Final = 200
#: Up to this size a member may have any ratio.
RATIO_FREE: Final = 1024**2
#: Compressed bytes asked for at once (the longest header fits into the first of them), and
#: handed to zlib at once (it copies what it leaves).
STEP: Final = 4 * 1024**2
_FEED: Final = 256 * 1024

_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
#: The end records with the longest comment: one read finds them, and most directories too.
_TAIL: Final = 64 * 1024 + _END.size + _END64.size + _LOCATOR.size
_U16: Final = 0xFFFF
_U32: Final = 0xFFFFFFFF
_DEFLATED: Final = 8
_UTF8: Final = 0x0800
_UNREADABLE: Final = 0x2061  # encrypted, a patch, strongly encrypted, masked
_REPACK: Final = "Pack it again as one plain ZIP (deflate, no password, one file)."
_COLUMNS: Final = ("offset", "compressed", "size", "crc", "method", "end")
_SCHEMA: Final = pa.schema([("name", pa.string()), *((name, pa.uint64()) for name in _COLUMNS)])
_OVERLAPS: Final = "overlaps what follows it: a bomb, or a lying size"
Read = Callable[[int, int], bytes]
Pieces = Iterator[memoryview]


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive, as the directory describes it: none of it is proved yet.

    Attributes
    ----------
    name : str
        Path as written in the archive; never one to write to.
    offset : int
        Where its own header begins in the archive.
    compressed, size : int
        Bytes in the archive, and inflated.
    crc : int
        CRC-32 of the inflated bytes.
    method : int
        0 stored, 8 deflated; others are listed but cannot be read.
    end : int
        Where the next member or the directory begins: header and data are one range.
    """

    name: str
    offset: int
    compressed: int
    size: int
    crc: int
    method: int
    end: int


def read_directory(read: Read, size: int, key: str) -> list[Member]:
    """List an archive's members (of ``size`` bytes), in the order of its directory.

    It takes one read of 64 KiB, and a second one where the directory begins before that.

    Raises
    ------
    ArchiveError
        No ZIP, or one that is truncated, contradicts itself, has overlapping members, spans
        several disks or passes a cap (100,000 members, 64 MiB of directory).
    """
    at = max(0, size - _TAIL)
    tail = _exactly(read, at, size, key) if size > 0 else b""
    end = _find_end(tail, key)
    if end is None:
        raise _error(key, _what_it_is(_exactly(read, 0, min(size, 1024), key) if at else tail))
    stop, count, length, offset = _end_records(tail, end, key)
    start = at + stop - length
    if count > MAX_MEMBERS or length > MAX_DIRECTORY:
        raise _error(key, f"has {count:,} members, {length:,} bytes of directory: too many")
    if start < offset:
        raise _error(key, "lacks its beginning, or lies about where its directory is")
    before = _exactly(read, start, at, key) if start < at else b""
    # Foreign bytes before an archive (a self-extracting one) shift whatever it points to.
    return _members(before + tail[max(start - at, 0) : stop], count, start, start - offset, key)


def file_name(member: Member) -> str:
    """Name a member without its folder; both kinds of slash part one."""
    return _path(member.name)[-1]


def find_member(members: Sequence[Member], wanted: str, key: str) -> Member:
    """Find the member of this file name, in whatever folder; exact, never a similar one.

    Raises
    ------
    NotFoundError
        There is none; the directory is as long as its end record says.
    ArchiveError
        Two members have this name, or its path has ``..`` or NUL in it.
    """
    found = [member for member in members if file_name(member) == wanted]
    if not found:
        raise NotFoundError(f"{key} has no member {wanted!r} among its {len(members)}.", key=key)
    if len(found) > 1:
        names = " and ".join(repr(member.name) for member in found[:2])
        raise _error(key, f"has {len(found)} members named {wanted!r}: {names}")
    if ".." in _path(found[0].name) or "\0" in found[0].name:
        raise _error(key, "has a path that no honest archive has", member=found[0])
    return found[0]


def member_chunks(read: Read, member: Member, key: str, *, block: int = 1 << 20) -> Iterator[bytes]:
    """Inflate one member in bounded memory, the next range read while one is worked on.

    Length and CRC-32 are known to be right only **after the last chunk**: whoever publishes
    or remembers what was read must exhaust the iterator first (``b"".join`` does).

    Parameters
    ----------
    read : callable
        Called from another thread as well.
    member : Member
    key : str
    block : int
        Bytes of a chunk, at most.

    Yields
    ------
    bytes

    Raises
    ------
    ArchiveError
        Before the first byte: a cap is passed, the method is unknown, the member encrypted,
        its own header not what the directory describes. On the way: damaged, or longer than
        the directory says (one byte beyond that is inflated, no more). After the last chunk:
        too short, or another CRC-32.
    """
    if member.method not in {0, _DEFLATED}:
        raise _error(key, f"is compressed by method {member.method}", _REPACK, member)
    if member.method == 0 and member.compressed != member.size:
        raise _error(key, "is stored, and lies about its size", member=member)
    if max(member.size, member.compressed) > MAX_SIZE:
        raise _error(key, f"has more than {MAX_SIZE:,} bytes: too many", member=member)
    if member.size > max(RATIO_FREE, MAX_RATIO * member.compressed):
        raise _error(key, f"inflates by more than {MAX_RATIO} to 1: a bomb", member=member)
    left, crc = member.size, 0
    with closing(_compressed(read, member, key)) as pieces:
        stored = member.method == 0
        for chunk in _sliced(pieces, block) if stored else _inflated(pieces, member, key, block):
            left -= len(chunk)
            crc = zlib.crc32(chunk, crc)
            yield chunk
    if left:
        raise _error(key, f"is {left:,} bytes shorter than the directory says", member=member)
    if crc != member.crc:
        raise _error(key, "is damaged: it has another CRC-32", member=member)


def directory_table(members: Sequence[Member]) -> pa.Table:
    """Put members into a table, with a column for each attribute, for the cache."""
    return pa.Table.from_pylist([asdict(member) for member in members], schema=_SCHEMA)


def from_table(table: pa.Table) -> list[Member]:
    """Take members out of a table that :func:`directory_table` made."""
    return [Member(**row) for row in table.to_pylist()]


def _find_end(tail: bytes, key: str) -> int | None:
    """Find the end record: the one whose comment ends where the archive does."""
    ends = [
        match.start()
        for match in re.finditer(rb"PK\x05\x06(?=.{16}(..))", tail, re.DOTALL)
        if match.start() + _END.size + int.from_bytes(match[1], "little") == len(tail)
    ]
    if len(ends) > 1:  # one in the other's comment: two readers would see two archives
        raise _error(key, "has two end records, and so two directories")
    return ends[0] if ends else None


def _what_it_is(head: bytes) -> str:
    if head.startswith(b"PK\3\4"):
        return "is a truncated ZIP archive: its end, with the directory, is missing"
    if re.search(rb"<!doctype html|<html", head, re.IGNORECASE):
        return "is an HTML page, not a ZIP archive"
    return "is not a ZIP archive: it has no end record" if head else "is empty, not a ZIP archive"


def _end_records(tail: bytes, end: int, key: str) -> tuple[int, int, int, int]:
    """Return where the directory stops in ``tail``, its members, length and declared offset."""
    _, *said, _ = _END.unpack_from(tail, end)  # disk, its first, members here, in all, place
    stop, others = end, 0
    locator = end - _LOCATOR.size
    if locator >= 0 and tail.startswith(b"PK\6\7", locator):
        stop = tail.rfind(b"PK\6\6", 0, locator)
        if stop < 0 or locator - stop < _END64.size:
            raise _error(key, "has no ZIP64 end record where it should be")
        _, rest, _, _, *wide = _END64.unpack_from(tail, stop)
        _, others, record, disks = _LOCATOR.unpack_from(tail, locator)
        tops = (_U16, _U16, _U16, _U16, _U32, _U32)
        agree = all(a in {b, top} for a, b, top in zip(said, wide, tops, strict=True))
        # The record stands right behind the directory, the locator right behind the record.
        if not agree or record != wide[4] + wide[5] or stop + 12 + rest != locator:
            raise _error(key, "has end records that contradict each other")
        said, others = wide, others + max(disks - 1, 0)
    if said[0] or said[1] or others or said[2] != said[3]:
        raise _error(key, "is one part of an archive of several disks", _REPACK)
    return stop, said[3], said[4], said[5]


def _members(directory: bytes, count: int, start: int, shift: int, key: str) -> list[Member]:
    members, at = [], 0
    for _ in range(count):
        if at + _ENTRY.size > len(directory) or not directory.startswith(b"PK\1\2", at):
            raise _error(key, "has a damaged directory")
        entry = _ENTRY.unpack_from(directory, at)
        _, _, _, flags, method, _, _, crc, compressed, size, *lengths, disk, _, _, offset = entry
        if disk not in {0, _U16}:
            raise _error(key, "is one part of an archive of several disks", _REPACK)
        name_at, extra_at = at + _ENTRY.size, at + _ENTRY.size + lengths[0]
        name, extra = directory[name_at:extra_at], directory[extra_at : extra_at + lengths[1]]
        at += _ENTRY.size + sum(lengths)
        size, compressed, offset = _wide(extra, (size, compressed, offset), key)
        offset += shift
        least = offset + _LOCAL.size + len(name) + compressed  # its own header may be longer
        members.append(Member(_text(name, flags), offset, compressed, size, crc, method, least))
    if at != len(directory):
        raise _error(key, "has a directory that its members do not fill")
    ends = [0] * count
    for number in sorted(range(count), key=lambda i: members[i].offset, reverse=True):
        if members[number].end > start:
            raise _error(key, _OVERLAPS, member=members[number])
        ends[number], start = start, members[number].offset
    return [replace(member, end=end) for member, end in zip(members, ends, strict=True)]


def _wide(extra: bytes, values: Sequence[int], key: str) -> Iterator[int]:
    """Take the values that need more than 32 bits from the ZIP64 field, which has only these."""
    while _U32 in values and len(extra) >= 4 and extra[:2] != b"\1\0":
        extra = extra[4 + int.from_bytes(extra[2:4], "little") :]
    wide = extra[4 : 4 + int.from_bytes(extra[2:4], "little")]
    for value in values:
        if value == _U32:
            if len(wide) < 8:
                raise _error(key, "has a damaged ZIP64 field in its directory")
            value, wide = int.from_bytes(wide[:8], "little"), wide[8:]
        yield value


def _text(name: bytes, flags: int) -> str:
    return name.decode("utf-8" if flags & _UTF8 else "cp437", "replace")  # it is only compared


def _path(name: str) -> list[str]:
    return name.replace("\\", "/").split("/")


def _compressed(read: Read, member: Member, key: str) -> Generator[memoryview]:
    """Read a member's compressed bytes; its own header comes with the first of them."""
    # There may be a hole behind the data: go no further than the longest header makes it reach.
    longest = member.offset + _LOCAL.size + 2 * _U16 + member.compressed
    first = min(member.end, longest, member.offset + STEP)
    head = _exactly(read, member.offset, first, key)
    begin = _data_begin(head, member, key)
    stop = member.offset + begin + member.compressed
    if stop > member.end:
        raise _error(key, _OVERLAPS, member=member)
    spans = ((at, min(at + STEP, stop)) for at in range(first, stop, STEP))
    pool = ThreadPoolExecutor(1, thread_name_prefix="stockdb-zip")
    try:
        ahead = deque(pool.submit(_exactly, read, *span, key) for span in islice(spans, 1))
        yield memoryview(head)[begin : begin + member.compressed]
        while ahead:
            data = ahead.popleft().result()
            ahead.extend(pool.submit(_exactly, read, *span, key) for span in islice(spans, 1))
            yield memoryview(data)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # who gives up does not wait for a range


def _data_begin(head: bytes, member: Member, key: str) -> int:
    """Hold a member's own header against the directory; returns where its data begins."""
    if not head.startswith(b"PK\3\4"):
        raise _error(key, "is not where the directory says", member=member)
    _, _, flags, method, *_, name_size, extra_size = _LOCAL.unpack_from(head)
    if flags & _UNREADABLE:
        raise _error(key, "is encrypted, or a patch to another file", _REPACK, member)
    name = head[_LOCAL.size : _LOCAL.size + name_size]
    if method != member.method or _text(name, flags) != member.name:
        raise _error(key, "has another name or method in its own header", member=member)
    return int(_LOCAL.size + name_size + extra_size)


def _inflated(pieces: Pieces, member: Member, key: str, block: int) -> Iterator[bytes]:
    inflate = zlib.decompressobj(wbits=-15)
    left, behind = member.size, member.compressed
    for feed in _sliced(pieces, _FEED):
        behind -= len(feed)
        full = True
        while full:
            most = min(block, left + 1)
            try:
                chunk = inflate.decompress(feed, most)
            except zlib.error as error:
                raise _error(key, f"is damaged ({error})", member=member) from None
            left -= len(chunk)
            if left < 0:
                raise _error(key, "inflates to more than the directory says", member=member)
            if inflate.eof and (behind or inflate.unused_data):
                raise _error(key, "ends before its compressed bytes do", member=member)
            feed, full = inflate.unconsumed_tail, len(chunk) == most and not inflate.eof
            if chunk:
                yield chunk
    if not inflate.eof:
        raise _error(key, "is truncated: its compressed bytes do not end", member=member)


def _sliced(pieces: Pieces, block: int) -> Iterator[bytes]:
    for piece in pieces:
        for at in range(0, len(piece), block):
            yield bytes(piece[at : at + block])


def _exactly(read: Read, start: int, stop: int, key: str) -> bytes:
    data = read(start, stop)
    if len(data) != stop - start:
        raise _error(key, f"ends before byte {stop:,}")
    return data


def _error(key: str, what: str, remedy: str = "", member: Member | None = None) -> ArchiveError:
    whose = key if member is None else f"Member {member.name!r} of {key}"
    name = None if member is None else member.name
    return ArchiveError(f"{whose} {what}.", remedy=remedy or None, key=key, member=name)
