"""Answers that are no object of S3: encoded, misleading, or from somebody else."""

from __future__ import annotations

import gzip
import tracemalloc
from typing import Any

import pytest

from stockdb.core.store import ObjectStore
from stockdb.errors import (
    AccessDeniedError,
    ConfigurationError,
    DataError,
    IntegrityError,
    UnavailableError,
)
from tests.faults.bodies import KEY, MULTIPART, SMALL, Failing, html
from tests.faults.origin import Fault, Origin

# ----------------------------------------------- gzip-encoded body


@pytest.mark.parametrize("stored", ["md5-etag", "multipart"])
def test_gzip_encoded_body_comes_back_raw(origin: Origin, store: ObjectStore, stored: str) -> None:
    packed = gzip.compress(SMALL * 10)
    etag = "md5" if stored == "md5-etag" else MULTIPART
    origin.put(KEY, packed, headers={"Content-Encoding": "gzip"}, etag=etag)
    blob = store.get(KEY)
    assert blob.data == packed and blob.info.size == len(packed)
    assert blob.headers["content-encoding"] == "gzip"
    assert store.get_range(KEY, 10, 500).data == packed[10:500]


def test_gzip_encoded_body_is_hashed_raw(
    origin: Origin, store: ObjectStore, failing: Failing
) -> None:
    packed = gzip.compress(SMALL)
    wrong = Fault("wrong-byte", at=4)  # of gzip's time stamp: it unpacks to the same bytes
    origin.put(KEY, packed, headers={"Content-Encoding": "gzip"}, fault=wrong)
    failing(IntegrityError, store.get, KEY)


def test_gzip_bomb_in_an_error_is_not_unpacked(
    origin: Origin, store: ObjectStore, failing: Failing
) -> None:
    bomb = gzip.compress(bytes(64 * 1024**2))
    headers: dict[str, str | None] = {"Content-Encoding": "gzip", "Content-Type": "text/html"}
    origin.put(KEY, SMALL, fault=Fault("answer", status=403, text=bomb, headers=headers))
    tracemalloc.start()
    try:
        failing(AccessDeniedError, store.get, KEY)
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024**2
    finally:
        tracemalloc.stop()


# ----------------------------------------------- answers that are not S3, or lie


def test_redirect_is_never_followed(origin: Origin, store: ObjectStore, failing: Failing) -> None:
    with Origin() as other:
        other.put(KEY, SMALL)
        for status in (301, 302, 303, 307, 308):
            target: dict[str, str | None] = {"Location": f"{other.url}/stockdb/{KEY}"}
            origin.put(KEY, SMALL, fault=Fault("answer", status=status, headers=target))
            for call in (store.get, store.stat):
                origin.requests.clear()
                error = failing(ConfigurationError, call, KEY)
                assert origin.url in str(error) and error.remedy
                assert len(origin.of(KEY)) == (1 if call == store.get else 2)
        assert other.accepts == 0


def test_wrong_content_range(origin: Origin, store: ObjectStore, failing: Failing) -> None:
    origin.put(KEY, SMALL, fault=Fault("wrong-range"))
    error = failing(UnavailableError, store.get_range, KEY, 1_000, 2_000)
    assert "another range" in str(error) and origin.url in str(error) and "proxy" in error.remedy
    assert error.retryable is False
    assert len(origin.of(KEY)) == 1


@pytest.mark.parametrize(
    "value", [None, "bytes", "bytes 0-9/*", "bytes */40000", "bytes 9-0/40000"]
)
def test_part_that_does_not_say_which(
    origin: Origin, store: ObjectStore, failing: Failing, value: str | None
) -> None:
    origin.put(KEY, SMALL, fault=Fault("headers", headers={"Content-Range": value}))
    error = failing(UnavailableError, store.get_range, KEY, 0, 10)
    assert origin.url in str(error) and error.endpoint == origin.url


def test_whole_object_as_answer_to_a_range(
    origin: Origin, store: ObjectStore, failing: Failing
) -> None:
    origin.put(KEY, SMALL, fault=Fault("no-range"))
    assert store.get_range(KEY, 0, 100).data == SMALL[:100]
    error = failing(UnavailableError, store.get_range, KEY, 1_000, 2_000)
    assert "another range" in str(error) and error.retryable is False
    assert len(origin.of(KEY)) == 2


def test_resume_at_a_server_without_ranges(
    origin: Origin, store: ObjectStore, failing: Failing
) -> None:
    broken = Fault("reset-mid-body", at=25_000, times=1)
    origin.put(KEY, SMALL, fault=(Fault("no-range"), broken))
    failing(UnavailableError, store.get, KEY)
    assert len(origin.of(KEY)) == 2


def test_no_content_length(origin: Origin, store: ObjectStore, failing: Failing) -> None:
    origin.put(KEY, SMALL, fault=Fault("chunked"))
    error = failing(UnavailableError, store.get, KEY)
    assert "how long" in str(error) and origin.url in str(error) and "proxy" in error.remedy
    assert len(origin.of(KEY)) == 1


def test_chunked_range_is_read_and_checked(origin: Origin, store: ObjectStore) -> None:
    """A part says where it ends, also without a Content-Length."""
    origin.put(KEY, SMALL, fault=Fault("chunked"))
    assert store.get_range(KEY, 1_000, 31_000).data == SMALL[1_000:31_000]


@pytest.mark.parametrize("length", ["many", "-5", "1e3", "4 0", "9" * 30])
def test_absurd_content_length(
    origin: Origin, store: ObjectStore, failing: Failing, length: str
) -> None:
    origin.put(KEY, SMALL, fault=Fault("headers", headers={"Content-Length": length}))
    error = failing(UnavailableError, store.get, KEY)
    assert origin.url in str(error)


def test_length_beyond_memory(origin: Origin, store: ObjectStore, failing: Failing) -> None:
    origin.put(KEY, SMALL, fault=Fault("headers", headers={"Content-Length": str(10**15)}))
    error = failing(DataError, store.get, KEY)
    assert KEY in str(error) and "memory" in str(error) and "download_file" in error.remedy
    assert len(origin.of(KEY)) == 1


def test_html_instead_of_an_object(origin: Origin, store: ObjectStore, failing: Failing) -> None:
    """The console of a MinIO server, or a login page, says 200 to everything."""
    origin.put(KEY, SMALL, fault=html())
    error = failing(ConfigurationError, store.get, KEY)
    assert origin.url in str(error) and "not the S3 API" in error.remedy
    assert len(origin.of(KEY)) == 1


def test_object_that_is_html(origin: Origin, store: ObjectStore) -> None:
    origin.put(KEY, b"<html>", headers={"Content-Type": "text/html"})
    assert store.get(KEY).data == b"<html>"


def test_error_that_is_no_xml(origin: Origin, store: ObjectStore, failing: Failing) -> None:
    for text in (b"<Error><Code>", b"\xff\xfe", b"<Error></Error>"):
        xml: dict[str, str | None] = {"Content-Type": "application/xml"}
        origin.put(KEY, SMALL, fault=Fault("answer", status=500, text=text, headers=xml))
        error = failing(UnavailableError, store.get, KEY)
        assert origin.url in str(error)


def test_wrong_region(origin: Origin, store: ObjectStore, failing: Failing) -> None:
    fault = Fault("error", status=400, code="AuthorizationHeaderMalformed")
    origin.put(KEY, SMALL, fault=fault)
    error = failing(ConfigurationError, store.get, KEY)
    assert "MINIO_REGION" in error.remedy
    assert len(origin.of(KEY)) == 1


@pytest.mark.parametrize("name", ["a b+c&d=e%20f#g.csv", "AAPL/2024-01-02.csv", "ÄÖ/€.csv"])
def test_keys_that_need_quoting(origin: Origin, store: ObjectStore, name: str) -> None:
    origin.put(name, SMALL)
    assert store.get(name).data == SMALL
    assert store.stat(name).size == len(SMALL)


def test_empty_object(origin: Origin, store: ObjectStore) -> None:
    origin.put(KEY, b"")
    assert store.get(KEY).data == b""
    assert store.stat(KEY).size == 0


@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [(403, AccessDeniedError, 1), (404, ConfigurationError, 1), (503, UnavailableError, 5)],
)
def test_page_that_is_no_utf8_does_not_hide_its_status(
    origin: Origin, store: ObjectStore, failing: Failing, status: int, kind: Any, tries: int
) -> None:
    headers: dict[str, str | None] = {"Content-Type": "text/html; charset=iso-8859-1"}
    text = "<html>Bitte später</html>".encode("latin-1")
    origin.put(KEY, SMALL, fault=Fault("answer", status=status, text=text, headers=headers))
    failing(kind, store.get, KEY)
    assert len(origin.of(KEY)) == tries
