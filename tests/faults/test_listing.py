"""The rows of the acceptance matrix about listings: all of it or an error, never a part."""

from __future__ import annotations

import datetime as dt
import gzip
from collections.abc import Callable
from email.utils import format_datetime
from typing import Any

import pytest

from stockdb.core.store import ObjectStore
from stockdb.errors import (
    AccessDeniedError,
    ClockSkewError,
    ConfigurationError,
    CredentialsExpiredError,
    DeadlineError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
)
from tests.faults.bodies import Connect, Failing, html, md5
from tests.faults.origin import Fault, Origin, Request

KEYS = [f"stocks/S{number:04}.csv" for number in range(2_500)]
XML: dict[str, str | None] = {"Content-Type": "application/xml"}


@pytest.fixture
def full(origin: Origin) -> Origin:
    for key in KEYS:
        origin.put(key, key.encode())
    return origin


def page(number: int) -> Callable[[Request], bool]:
    """Pick the requests for one page, counted from 1."""
    token = None if number == 1 else f"t{1000 * (number - 1)}"
    return lambda request: request.query.get("continuation-token") == token


def names(store: ObjectStore, prefix: str = "", **options: Any) -> list[str]:
    return [info.key for info in store.listing(prefix, **options)]


def tokens(origin: Origin) -> list[str | None]:
    return [request.query.get("continuation-token") for request in origin.of()]


# ----------------------------------------------- listing of 2,500 keys


def test_listing_of_2500_keys(full: Origin, store: ObjectStore) -> None:
    found = list(store.listing())
    assert [info.key for info in found] == KEYS
    assert found[7].size == len(KEYS[7]) and found[7].etag == md5(KEYS[7].encode())
    assert found[7].last_modified == dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    assert tokens(full) == [None, "t1000", "t2000"]
    assert full.accepts == 1


def test_listing_of_a_prefix_folders_and_a_limit(full: Origin, store: ObjectStore) -> None:
    full.put("options/2024-01-02.csv", b"x")
    assert names(store, "stocks/S24") == KEYS[2_400:]
    assert names(store, recursive=False) == ["options/", "stocks/"]
    assert names(store, "nothing/") == []
    full.requests.clear()
    assert names(store, "stocks/", limit=3) == KEYS[:3]
    assert names(store, "stocks/", limit=1_200) == KEYS[:1_200]
    assert [request.query["max-keys"] for request in full.of()] == ["3", "1000", "1000"]


def test_listing_of_keys_that_need_quoting(origin: Origin, store: ObjectStore) -> None:
    odd = sorted(["a b.csv", "a+b.csv", "a%20b.csv", "a&<b>.csv", "Ä/€.csv", "bell\x07.csv"])
    for key in odd:
        origin.put(key, b"x")
    assert names(store) == odd


def test_listing_without_content_length(full: Origin, store: ObjectStore) -> None:
    full.break_listing(Fault("chunked"))
    assert names(store) == KEYS


# ----------------------------------------------- 503 on page 2; other breaks of a page


@pytest.mark.parametrize(
    "fault",
    [
        Fault("error", status=503, code="SlowDown"),
        Fault("error", status=500),
        Fault("reset-before-headers"),
        Fault("reset-mid-body", at=10_000),
        Fault("fin-mid-body", at=10_000),
        Fault("short", at=10_000),
        Fault("stall-before-headers"),
        Fault("stall-mid-body", at=10_000),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_fault_on_one_page_once(
    full: Origin, store: ObjectStore, fault: Fault, number: int
) -> None:
    full.break_listing(
        Fault(
            fault.kind,
            at=fault.at,
            status=fault.status,
            code=fault.code,
            times=1,
            when=page(number),
        )
    )
    assert names(store) == KEYS
    asked = [None, "t1000", "t2000"]
    assert tokens(full) == sorted([*asked, asked[number - 1]], key=asked.index)


@pytest.mark.parametrize(("code", "told"), [("SlowDown", "SlowDown"), ("", "HTTP 503")])
def test_503_on_page_2_for_ever(
    full: Origin, store: ObjectStore, failing: Failing, code: str, told: str
) -> None:
    full.break_listing(Fault("error", status=503, code=code, when=page(2)))
    error = failing(UnavailableError, names, store)
    assert error.code == told and told in str(error)
    assert full.url in str(error) and "doctor" in error.remedy
    assert (error.endpoint, error.bucket, error.retryable) == (full.url, "stockdb", True)
    assert tokens(full) == [None] + ["t1000"] * 5


@pytest.mark.parametrize("kind", ["reset-mid-body", "fin-mid-body", "short"])
def test_page_that_is_always_cut_off(
    full: Origin, store: ObjectStore, failing: Failing, kind: Any
) -> None:
    """A truncated document is XML up to there, and full of keys."""
    full.break_listing(Fault(kind, at=50_000, when=page(2)))
    error = failing(UnavailableError, names, store)
    assert full.url in str(error) and error.bucket == "stockdb"
    assert tokens(full) == [None] + ["t1000"] * 5


def test_page_that_is_cut_off_between_chunks(
    full: Origin, store: ObjectStore, failing: Failing
) -> None:
    full.break_listing(Fault("chunked"), Fault("fin-mid-body", at=70_000, when=page(2)))
    failing(UnavailableError, names, store)
    assert tokens(full) == [None] + ["t1000"] * 5


def test_page_whose_end_is_cut_off_with_the_connection(
    full: Origin, store: ObjectStore, failing: Failing
) -> None:
    """No length, no chunks: only the document itself can tell that it is not complete."""
    silent: dict[str, str | None] = {"Content-Length": None, "Connection": "close"}
    full.break_listing(
        Fault("headers", headers={**silent, "Transfer-Encoding": "identity"}),
        Fault("fin-mid-body", at=50_000),
    )
    failing(UnavailableError, names, store)
    assert tokens(full) == [None] * 5


@pytest.mark.parametrize(
    "kind", ["stall-before-headers", "stall-mid-body", "drip-headers", "drip-body"]
)
def test_page_that_stalls_or_drips(
    full: Origin, connect: Connect, failing: Failing, kind: Any
) -> None:
    full.break_listing(Fault(kind, pause=0.1, at=300 if kind == "stall-mid-body" else 0))
    store = connect(full.url, object_deadline=1)
    error = failing(DeadlineError, names, store, within=2)
    assert full.url in str(error) and "'stockdb'" in str(error)


# ----------------------------------------------- repeated token


def test_repeated_token(full: Origin, store: ObjectStore, failing: Failing) -> None:
    full.break_listing(Fault("repeat-token"))
    error = failing(IntegrityError, names, store)
    assert "without end" in str(error) and full.url in str(error) and "proxy" in error.remedy
    assert (error.endpoint, error.bucket) == (full.url, "stockdb")
    assert tokens(full) == [None, "t1000"]


def test_more_is_promised_but_no_token_given(
    origin: Origin, store: ObjectStore, failing: Failing
) -> None:
    text = (
        b"<ListBucketResult><Name>stockdb</Name><IsTruncated>true</IsTruncated></ListBucketResult>"
    )
    origin.break_listing(Fault("answer", text=text, headers=XML))
    failing(IntegrityError, names, store)
    assert len(origin.of()) == 1


# ----------------------------------------------- answers that are no listing


def test_listing_that_is_html(origin: Origin, store: ObjectStore, failing: Failing) -> None:
    origin.break_listing(html())
    error = failing(ConfigurationError, names, store)
    assert origin.url in str(error) and "not the S3 API" in error.remedy
    assert len(origin.of()) == 1


NO_LISTINGS = {
    "empty": b"",
    "page": b"<html><body/></html>",
    "bare": b"<ListBucketResult/>",
    "bytes": b"\xff\xfe",
    "size": b"<ListBucketResult><Name>b</Name><Contents><Key>k</Key><Size>many</Size></Contents>"
    b"<IsTruncated>false</IsTruncated></ListBucketResult>",
    "date": b"<ListBucketResult><Name>b</Name><Contents><Key>k</Key>"
    b"<LastModified>soon</LastModified></Contents><IsTruncated>false</IsTruncated>"
    b"</ListBucketResult>",
    "error-with-200": b"<Error><Code>InternalError</Code><Message>m</Message></Error>",
    "gzip": gzip.compress(b"<ListBucketResult/>", mtime=0),
}


@pytest.mark.parametrize("text", NO_LISTINGS.values(), ids=NO_LISTINGS)
def test_listing_that_is_no_listing(
    origin: Origin, store: ObjectStore, failing: Failing, text: bytes
) -> None:
    origin.break_listing(Fault("answer", text=text, headers=XML))
    error = failing(UnavailableError, names, store)
    assert origin.url in str(error) and "not S3" in str(error)
    assert len(origin.of()) == 5


# ----------------------------------------------- refusals


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", AccessDeniedError),
        (404, "NoSuchBucket", NotFoundError),
        (400, "ExpiredToken", CredentialsExpiredError),
        (403, "RequestTimeTooSkewed", ClockSkewError),
        (301, "PermanentRedirect", ConfigurationError),
    ],
)
def test_refused_listing_costs_one_request(
    full: Origin, store: ObjectStore, failing: Failing, status: int, code: str, kind: Any
) -> None:
    there = dt.datetime(2020, 2, 2, tzinfo=dt.UTC)
    headers: dict[str, str | None] = {"Date": format_datetime(there, usegmt=True)}
    full.break_listing(Fault("error", status=status, code=code, headers=headers))
    error = failing(kind, names, store)
    assert (error.code, error.endpoint, error.bucket) == (code, full.url, "stockdb")
    assert len(full.of()) == 1
    if kind is ClockSkewError:
        assert error.server == there and there.isoformat() in str(error)


def test_redirected_listing_is_not_followed(
    full: Origin, store: ObjectStore, failing: Failing
) -> None:
    with Origin() as other:
        target: dict[str, str | None] = {"Location": f"{other.url}/stockdb?list-type=2"}
        full.break_listing(Fault("answer", status=302, headers=target))
        failing(ConfigurationError, names, store)
        assert (len(full.of()), other.accepts) == (1, 0)


def test_refused_connection(connect: Connect, closed_port: str, failing: Failing) -> None:
    error = failing(UnavailableError, names, connect(closed_port))
    assert closed_port in str(error) and "Check that the server runs" in error.remedy
    assert (error.endpoint, error.bucket, error.key) == (closed_port, "stockdb", None)
