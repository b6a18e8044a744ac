"""Random archives that zipfile wrote, whole and damaged: its members' bytes or an ArchiveError."""

from __future__ import annotations

import io
import struct
import zipfile
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stockdb.core import archive
from stockdb.core.archive import find_member, from_table, member_chunks, read_directory
from stockdb.errors import ArchiveError, NotFoundError

KEY = "2009.zip"
#: Small, so that a few hundred bytes come in several ranges; the longest header here fits in.
STEP, FEED = 256, 61

names = st.text(st.sampled_from("abcäß€ .-_2009"), min_size=1, max_size=12).map(
    lambda x: x + ".csv"
)
folders = st.sampled_from(["", "2009/", "options/2009/", "größe/", "a b/c.d/"])
contents = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda part, times: part * times, st.binary(min_size=1, max_size=20), st.integers(0, 60)
    ),
    st.builds(bytes, st.integers(0, 2000)),
)
members = st.lists(
    st.tuples(
        names, folders, contents, st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    ),
    max_size=6,
    unique_by=lambda member: member[0],
)
fields = st.lists(
    st.builds(
        lambda kind, data: struct.pack("<HH", kind, len(data)) + data,
        st.integers(2, 0xFFFF),
        st.binary(max_size=30),
    ),
    max_size=3,
).map(b"".join)


class Pipe(io.RawIOBase):
    """Cannot be sought in: zipfile then writes sizes and CRC behind the data."""

    def __init__(self, sink: io.BytesIO) -> None:
        self._sink = sink

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return self._sink.write(data)


@st.composite
def archives(draw: st.DrawFn) -> tuple[bytes, dict[str, bytes]]:
    """An archive, and the bytes of its members by file name."""
    chosen = draw(members)
    sink = io.BytesIO()
    piped = draw(st.booleans())
    with zipfile.ZipFile(Pipe(sink) if piped else sink, "w") as file:  # type: ignore[arg-type]
        file.comment = draw(st.one_of(st.just(b""), st.binary(max_size=50)))
        for name, folder, data, method in chosen:
            info = zipfile.ZipInfo(folder + name)
            info.compress_type, info.extra = method, draw(fields)
            with file.open(info, "w", force_zip64=draw(st.booleans())) as member:
                member.write(data)
    before = draw(st.one_of(st.just(b""), st.binary(max_size=50)))
    return before + sink.getvalue(), {name: data for name, _, data, _ in chosen}


def get(body: bytes, name: str) -> bytes:
    """Read as the library does: the directory through the cache's table, one member."""

    def read(start: int, stop: int) -> bytes:
        assert 0 <= start < stop
        return body[start:stop]

    listed = from_table(archive.directory_table(read_directory(read, len(body), KEY)))
    member = find_member(listed, name, KEY)
    chunks = list(member_chunks(read, member, KEY, block=100))
    assert all(0 < len(chunk) <= 100 for chunk in chunks)
    return b"".join(chunks)


@pytest.fixture(autouse=True)
def small_steps():  # type: ignore[no-untyped-def]
    with patch.object(archive, "STEP", STEP), patch.object(archive, "_FEED", FEED):
        yield


@given(archives())
@settings(max_examples=300, deadline=None)
def test_every_member_of_every_archive(made: tuple[bytes, dict[str, bytes]]) -> None:
    body, truth = made
    for name, data in truth.items():
        assert get(body, name) == data
    with pytest.raises(NotFoundError):
        get(body, "absent.csv")


def holds_up(damaged: bytes, truth: dict[str, bytes], may_hide: bool) -> None:
    """Right bytes or an ArchiveError: never wrong ones, never another exception."""
    for name, data in truth.items():
        try:
            assert get(damaged, name) == data
        except ArchiveError as error:
            assert error.key == KEY
        except NotFoundError:
            assert may_hide  # the name itself is damaged


def in_directory(body: bytes, at: int) -> bool:
    end = body.rindex(b"PK\5\6")
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as file:
            return file.start_dir <= at < end
    except zipfile.BadZipFile:  # noise around an empty directory, which zipfile takes for ZIP64
        return False


@given(archives(), st.data())
@settings(max_examples=600, deadline=None)
def test_one_wrong_byte(made: tuple[bytes, dict[str, bytes]], data: st.DataObject) -> None:
    body, truth = made
    at = data.draw(st.integers(0, len(body) - 1))
    damaged = bytearray(body)
    damaged[at] ^= data.draw(st.integers(1, 255))
    holds_up(bytes(damaged), truth, in_directory(body, at))


@given(archives(), st.data())
@settings(max_examples=300, deadline=None)
def test_bytes_lost_or_added(made: tuple[bytes, dict[str, bytes]], data: st.DataObject) -> None:
    body, truth = made
    start = data.draw(st.integers(0, len(body)))
    stop = data.draw(st.integers(start, min(len(body), start + 30)))
    damaged = body[:start] + data.draw(st.binary(max_size=30)) + body[stop:]
    # As many added as lost: a name may have been written over, and nothing else tells of it.
    swapped = len(damaged) == len(body)
    holds_up(damaged, truth, swapped and any(in_directory(body, at) for at in range(start, stop)))


@given(st.binary(max_size=400), st.binary(max_size=40))
@settings(max_examples=300, deadline=None)
@example(b"", struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 46, 0, 0))
def test_no_archive_at_all(noise: bytes, end: bytes) -> None:
    for body in (noise, noise + b"PK\5\6" + end, noise + b"PK\6\7" + end + b"PK\5\6" + bytes(18)):
        with pytest.raises((ArchiveError, NotFoundError)):
            get(body, "any.csv")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("zip64", [False, True])
def test_every_single_bit(method: int, zip64: bool) -> None:
    """Not at random: each bit of one small archive, in turn."""
    truth = {"a.csv": b"1,2,3\n" * 9, "b.csv": b"4,5,6\n" * 5}
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as file:
        file.comment = b"note"
        for name, data in truth.items():
            with file.open(zipfile.ZipInfo(f"d/{name}"), "w", force_zip64=zip64) as member:
                member.write(data)
    body = sink.getvalue()
    if zip64:
        at = body.rindex(b"PK\5\6")
        count, length, offset = struct.unpack_from("<H2L", body, at + 10)
        record = struct.pack(
            "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, offset
        )
        body = body[:at] + record + struct.pack("<4sLQL", b"PK\6\7", 0, at, 1) + body[at:]
    assert [get(body, name) for name in truth] == list(truth.values())
    for bit in range(8 * len(body)):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        holds_up(bytes(damaged), truth, in_directory(body, bit // 8))
