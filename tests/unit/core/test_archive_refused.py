"""Archives that are refused: damaged, lying, hostile, or too much."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from stockdb.core import archive
from stockdb.core.archive import (
    Member,
    member_chunks,
)
from tests.unit.core.archive_cases import (
    DAY,
    KEY,
    MIB,
    SMALL,
    Source,
    end_at,
    entry_at,
    expected,
    local_at,
    patched,
    refused,
    zip64_end,
    zip64_offsets,
    zipped,
)

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
