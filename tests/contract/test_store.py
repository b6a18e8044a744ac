"""One contract for every store: four servers, and the fake that stands in for them.

What a server is known not to do is skipped with the reason, after a look that it still does
not: ``docs/servers.md`` is the table of these differences.
"""

from __future__ import annotations

import datetime as dt
import gzip
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stockdb.core.store import NotModified, ObjectStore
from stockdb.errors import (
    AccessDeniedError,
    NotFoundError,
    ObjectChangedError,
)
from tests.contract.servers import AnySite, Store, md5

MIB = 2**20
#: RFC 1321, appendix A.5.
MD5_OF = {b"": "d41d8cd98f00b204e9800998ecf8427e", b"a": "0cc175b9c0f1b6a831c399e269772661"}
KEYS = {
    "space": "a file/of two words.csv",
    "plus": "a+b/c+d.csv",
    "percent": "100%/a%b.csv",
    "escaped": "a%20b%2Fc%2B.csv",
    "equals": "year=2024/month=01/x.csv",
    "unicode": "größe/日本/ñ.csv",
    "marks": "a&b;c,d'e(f)!~@$.csv",
    "question": "what?/a#b.csv",
    "deep": "/".join(f"level-{n}" for n in range(25)) + "/x.csv",
    "long": "/".join(["n" * 200] * 4) + ".csv",
}


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


class TestRoundTrip:
    @pytest.mark.parametrize("size", [0, 1, 5 * MIB + 1], ids=["empty", "one byte", "5 MiB + 1"])
    def test_bytes_come_back_with_their_md5_as_etag(
        self, site: AnySite, store: Store, size: int
    ) -> None:
        data, key = noise(size), f"round/{size}"
        put = store.put(key, data)
        with site.counted() as requests:
            blob = store.get(key)
        assert bytes(blob.data) == data
        assert put.etag == blob.info.etag == md5(data)
        assert put.size == blob.info.size == blob.received == size
        assert blob.requests == requests() == 1

    @pytest.mark.parametrize("data", MD5_OF)
    def test_etag_by_the_standard(self, store: Store, data: bytes) -> None:
        assert store.put("standard", data).etag == MD5_OF[data]
        assert store.stat("standard").etag == MD5_OF[data]

    @pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())
    def test_keys(self, store: Store, key: str) -> None:
        data = key.encode()
        store.put(key, data)
        assert bytes(store.get(key).data) == data
        assert bytes(store.get_range(key, 1, 3).data) == data[1:3]
        assert (store.stat(key).key, store.stat(key).size) == (key, len(data))
        assert [info.key for info in store.listing(key)] == [key]
        assert [info.key for info in store.listing(key[:-4])] == [key]

    def test_keys_that_differ_by_one_escape_are_two_objects(self, store: Store) -> None:
        for key in ("escape/a b", "escape/a+b", "escape/a%20b", "escape/a%2Bb"):
            store.put(key, key.encode())
        for key in ("escape/a b", "escape/a+b", "escape/a%20b", "escape/a%2Bb"):
            assert bytes(store.get(key).data) == key.encode()

    def test_an_overwritten_object_has_new_bytes_and_a_new_etag(self, store: Store) -> None:
        old = store.put("overwritten", b"old bytes")
        assert bytes(store.get("overwritten").data) == b"old bytes"
        new = store.put("overwritten", b"new")
        assert old.etag == md5(b"old bytes") and new.etag == md5(b"new")
        blob = store.get("overwritten")
        assert (bytes(blob.data), blob.info.etag, blob.info.size) == (b"new", new.etag, 3)
        assert [info.etag for info in store.listing("overwritten")] == [new.etag]

    def test_user_metadata_and_content_type_come_back(self, store: Store) -> None:
        store.put("simulated", b"x,y\n", metadata={"simulated": "true"})
        store.put("real", b"x,y\n")
        for blob in (store.get("simulated"), store.get_range("simulated", 0, 2)):
            assert blob.headers["x-amz-meta-simulated"] == "true"
            assert blob.headers["content-type"] == "text/csv"
        assert "x-amz-meta-simulated" not in store.get("real").headers

    def test_gzip_encoded_objects_come_back_raw(
        self, site: AnySite, store: Store, tmp_path: Path
    ) -> None:
        raw = gzip.compress(b"trade_date,close\n" * 1000, mtime=0)
        store.put("encoded.csv", raw, metadata={"Content-Encoding": "gzip"})
        blob = store.get("encoded.csv")
        assert bytes(blob.data) == raw
        # Where a server forgets it, only the magic number tells that this is gzip.
        assert blob.headers.get("content-encoding") == (
            None if "encoding" in site.lacks else "gzip"
        )
        assert (blob.info.size, blob.info.etag) == (len(raw), md5(raw))
        assert bytes(store.get_range("encoded.csv", 3, 20).data) == raw[3:20]
        assert store.stat("encoded.csv").size == len(raw)
        assert downloaded(store, "encoded.csv", tmp_path) == raw

    def test_the_etag_of_a_multipart_object_is_not_taken_for_an_md5(
        self, site: AnySite, store: Store
    ) -> None:
        data = noise(5 * MIB + 1, seed=1)
        site.put_in_parts(store, "parts", data)
        blob = store.get("parts")
        assert (blob.info.etag or "").endswith("-2")
        assert bytes(blob.data) == data
        assert store.stat("parts").etag == blob.info.etag

    def test_stat(self, store: Store) -> None:
        store.put("stat", b"four")
        info = store.stat("stat")
        assert (info.key, info.size, info.etag) == ("stat", 4, md5(b"four"))
        assert info.last_modified is not None and info.last_modified.tzinfo is not None
        assert abs(info.last_modified - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=2)
        assert store.get("stat").info.last_modified == info.last_modified


class TestConditions:
    def test_an_unchanged_object_is_not_sent_again(self, site: AnySite, store: Store) -> None:
        etag = store.put("same", b"same").etag
        with site.counted() as requests, pytest.raises(NotModified):
            store.get("same", if_none_match=etag)
        assert requests() == 1

    def test_a_changed_object_is_sent(self, store: Store) -> None:
        old = store.put("changed", b"old").etag
        store.put("changed", b"new")
        assert bytes(store.get("changed", if_none_match=old).data) == b"new"

    def test_an_object_that_went_is_not_found_rather_than_unchanged(
        self, site: AnySite, store: Store
    ) -> None:
        etag = store.put("went", b"there").etag
        site.remove(store, "went")
        with pytest.raises(NotFoundError):
            store.get("went", if_none_match=etag)

    def test_a_range_of_an_old_version_is_refused_at_once(
        self, site: AnySite, store: Store
    ) -> None:
        old = store.put("pinned", b"old bytes").etag
        assert bytes(store.get_range("pinned", 0, 3, if_match=old).data) == b"old"
        store.put("pinned", b"new bytes")
        with site.counted() as requests, pytest.raises(ObjectChangedError) as caught:
            store.get_range("pinned", 0, 3, if_match=old)
        assert requests() == 1
        assert (caught.value.key, caught.value.values["bucket"]) == ("pinned", store.bucket)


DATA = bytes(range(256)) * 4


@pytest.fixture(scope="module")
def key(store: Store) -> str:
    store.put("ranges", DATA)
    return "ranges"


class TestRanges:
    @pytest.mark.parametrize(
        "start, stop",
        [(0, 1), (1023, 1024), (300, 700), (0, 1024), (1020, 5000), (0, 10**12)],
        ids=["first", "last", "middle", "all", "cut short", "far too long"],
    )
    def test_ranges(self, site: AnySite, store: Store, key: str, start: int, stop: int) -> None:
        with site.counted() as requests:
            blob = store.get_range(key, start, stop)
        assert bytes(blob.data) == DATA[start:stop]
        sent = len(DATA[start:stop])  # and not the whole object, nor a byte more
        assert blob.received == sent
        assert blob.headers.get("content-length", str(sent)) == str(sent)
        assert blob.requests == requests() == 1
        assert (blob.info.size, blob.info.etag) == (1024, md5(DATA))

    @pytest.mark.parametrize("start", [1024, 5000], ids=["at the end", "beyond"])
    def test_a_start_beyond_the_end_says_that_the_object_is_shorter(
        self, site: AnySite, store: Store, key: str, start: int
    ) -> None:
        with site.counted() as requests, pytest.raises(ObjectChangedError, match="shorter"):
            store.get_range(key, start, start + 10)
        assert requests() <= 5

    def test_no_range_of_an_empty_object(self, store: Store) -> None:
        store.put("nothing", b"")
        with pytest.raises(ObjectChangedError, match="shorter"):
            store.get_range("nothing", 0, 10)

    @pytest.mark.parametrize("start, stop", [(5, 5), (7, 3), (-1, 4)])
    def test_what_is_no_range(self, store: Store, key: str, start: int, stop: int) -> None:
        with pytest.raises(ValueError, match="not a range"):
            store.get_range(key, start, stop)


def downloaded(store: Store, key: str, folder: Path) -> bytes:
    path = folder / "file"
    path.write_bytes(b"left over from before")
    descriptor = os.open(path, os.O_RDWR)
    try:
        blob = store.download(key, descriptor)
    finally:
        os.close(descriptor)
    data = path.read_bytes()
    assert (bytes(blob.data), blob.info.size, blob.info.etag) == (b"", len(data), md5(data))
    return data


@pytest.fixture(scope="module")
def large(store: Store) -> bytes:
    data = noise(40 * MIB, seed=2)
    store.put("large", data)
    return data


class TestLargeObjects:
    def test_parallel_ranges_make_one_object(
        self, site: AnySite, store: Store, large: bytes
    ) -> None:
        ours = site.store(store.bucket, part_size=4 * MIB)
        with site.counted() as requests:
            blob = ours.get("large")
        assert md5(bytes(blob.data)) == md5(large)
        assert blob.received == len(large) == blob.info.size
        assert blob.requests == requests()
        if isinstance(ours, ObjectStore):
            assert blob.requests > 3

    def test_download_to_a_file(self, site: AnySite, large: bytes, tmp_path: Path,
                                store: Store) -> None:  # fmt: skip
        assert downloaded(site.store(store.bucket, part_size=4 * MIB), "large", tmp_path) == large

    @pytest.mark.parametrize("data", [b"", b"one piece"], ids=["empty", "small"])
    def test_download_of_little(self, store: Store, data: bytes, tmp_path: Path) -> None:
        store.put("little", data)
        assert downloaded(store, "little", tmp_path) == data


def readings(store: Store, key: str) -> dict[str, Callable[[], object]]:
    def download() -> object:
        with tempfile.TemporaryFile() as file:
            return store.download(key, file.fileno())

    return {
        "get": lambda: store.get(key),
        "get_range": lambda: store.get_range(key, 0, 10),
        "stat": lambda: store.stat(key),
        "download": download,
    }


class TestMissing:
    @pytest.mark.parametrize("call", ["get", "get_range", "stat", "download"])
    def test_a_missing_key_costs_one_request(self, site: AnySite, store: Store, call: str) -> None:
        with site.counted() as requests, pytest.raises(NotFoundError) as caught:
            readings(store, "missing/key")[call]()
        assert requests() == 1
        assert isinstance(caught.value, FileNotFoundError) and not caught.value.retryable
        assert caught.value.key == "missing/key"
        assert f"{store.bucket}/missing/key" in str(caught.value)

    def test_a_folder_is_not_an_object(self, store: Store) -> None:
        store.put("folder/inside", b"x")
        for key in ("folder", "folder/"):
            with pytest.raises(NotFoundError):
                store.get(key)

    @pytest.mark.parametrize("call", ["get", "get_range", "stat", "download"])
    def test_a_missing_bucket(self, site: AnySite, call: str) -> None:
        nowhere = site.store("no-such-bucket")
        with site.counted() as requests, pytest.raises(NotFoundError) as caught:
            readings(nowhere, "key")[call]()
        assert requests() == 1
        assert caught.value.values["bucket"] == "no-such-bucket"
        if call.startswith("get"):  # stat and download begin with HEAD, which has no body
            assert "MINIO_BUCKET_NAME" in caught.value.remedy

    def test_the_listing_of_a_missing_bucket_is_not_empty(self, site: AnySite) -> None:
        with pytest.raises(NotFoundError, match="no bucket"):
            list(site.store("no-such-bucket").listing())


class TestCredentials:
    @pytest.mark.parametrize("call", ["get", "get_range", "stat", "download", "put", "listing"])
    def test_a_wrong_secret_is_denied(self, site: AnySite, store: Store, call: str) -> None:
        store.put("guarded", b"guarded")
        wrong = site.store(store.bucket, secret_key="dummy-and-wrong")
        calls = readings(wrong, "guarded")
        calls["put"] = lambda: wrong.put("guarded", b"overwritten")
        calls["listing"] = lambda: list(wrong.listing())
        if "signatures" in site.lacks:
            calls[call]()
            pytest.skip(f"{site.name} checks no signatures")
        with pytest.raises(AccessDeniedError) as caught:
            calls[call]()
        assert not caught.value.retryable and "MINIO_SECRET_KEY" in caught.value.remedy
        assert "dummy-and-wrong" not in str(caught.value)
        assert bytes(store.get("guarded").data) == b"guarded"
