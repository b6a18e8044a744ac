"""Every foreign exception comes out as one of ours, with the values and without secrets.

The expected classes are decisions, written by hand; a new exception of urllib3 or minio
makes these tests fail until somebody decides about it.
"""

from __future__ import annotations

import datetime as dt
import http.client
import inspect
import socket
import ssl
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree.ElementTree import ParseError

import minio.error
import pytest
import urllib3.exceptions
from urllib3 import HTTPConnectionPool, HTTPHeaderDict

from stockdb.core.store import ObjectStore, _answer
from stockdb.core.translate import NETWORK, Answer, NotModified, etag, extent, http_date, translate
from stockdb.core.transport import Pool
from stockdb.errors import (
    AccessDeniedError,
    ClockSkewError,
    ConfigurationError,
    CredentialsExpiredError,
    DeadlineError,
    IntegrityError,
    NotFoundError,
    ObjectChangedError,
    StockDBError,
    TLSError,
    UnavailableError,
)
from stockdb.settings import load_settings

URL = "http://127.0.0.1:9"
SIGNED = "/stockdb/k?X-Amz-Signature=canary-dummy&X-Amz-Credential=canary-dummy"


def ours(failure: Answer | Exception, **more: Any) -> Any:
    return translate(failure, endpoint=URL, bucket="stockdb", key="AAPL.csv", **more)


def descendants(kind: type) -> Iterator[type]:
    """Yield a class of urllib3 and all that it derives from it."""
    yield kind
    for child in kind.__subclasses__():
        if child.__module__.startswith("urllib3."):  # not what some other package adds
            yield from descendants(child)


# ------------------------------------------------------------- urllib3

UNAVAILABLE = {
    "BodyNotHttplibCompatible",
    "ClosedPoolError",
    "ConnectTimeoutError",
    "EmptyPoolError",
    "FullPoolError",
    "HTTPError",
    "HeaderParsingError",
    "HostChangedError",
    "IncompleteRead",
    "InvalidChunkLength",
    "InvalidHeader",
    "MaxRetryError",
    "NameResolutionError",
    "NewConnectionError",
    "PoolError",
    "ProtocolError",
    "ProxyError",
    "RequestError",
    "ResponseError",
    "ResponseNotChunked",
    "TimeoutStateError",
    "UnrewindableBodyError",
}
EXPECTED: dict[str, type[StockDBError]] = {
    **dict.fromkeys(UNAVAILABLE, UnavailableError),
    **dict.fromkeys(("TimeoutError", "ReadTimeoutError"), DeadlineError),
    **dict.fromkeys(
        ("LocationValueError", "LocationParseError", "URLSchemeUnknown", "ProxySchemeUnknown"),
        ConfigurationError,
    ),
    "DecodeError": IntegrityError,
    "SSLError": TLSError,
}
URLLIB3 = sorted(set(descendants(urllib3.exceptions.HTTPError)), key=lambda kind: kind.__name__)


def bare(kind: type[Exception]) -> Exception:
    """One of these, whatever its constructor wants, with a signed URL for a message."""
    error = kind.__new__(kind)
    error.args = (f"HTTPConnectionPool(host='h', port=9): failed with url: {SIGNED}",)
    if kind is urllib3.exceptions.MaxRetryError:
        error.reason = None  # type: ignore[attr-defined]
    return error


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A store whose pool raises whatever ``store.fails_with`` is."""
    settings = load_settings(
        directory=tmp_path,
        endpoint=URL,
        access_key="dummy",
        secret_key="dummy-secret",
        max_attempts=1,
    )
    found = ObjectStore(settings)

    def urlopen(*_: Any, **__: Any) -> None:
        raise found.fails_with  # type: ignore[attr-defined]

    monkeypatch.setattr(Pool, "urlopen", urlopen)
    yield found
    found.close()


def test_every_exception_of_urllib3_has_been_decided() -> None:
    assert {kind.__name__ for kind in URLLIB3} == set(EXPECTED)
    others = [
        kind
        for _, kind in inspect.getmembers(urllib3.exceptions, inspect.isclass)
        if kind.__module__.startswith("urllib3.")
        and issubclass(kind, Exception)
        and not issubclass(kind, Warning)
    ]
    assert all(issubclass(kind, NETWORK) for kind in others)


@pytest.mark.parametrize("kind", URLLIB3, ids=lambda kind: kind.__name__)
def test_every_exception_of_urllib3(store: Any, kind: type[Exception]) -> None:
    expected = EXPECTED[kind.__name__]
    error = ours(bare(kind))
    assert type(error) is expected
    assert (error.endpoint, error.bucket, error.key) == (URL, "stockdb", "AAPL.csv")
    assert URL in str(error) or "stockdb/AAPL.csv" in str(error)
    assert error.remedy
    assert "canary" not in str(error) + repr(error.values)
    assert type(ours(bare(kind), timed_out=True)) is DeadlineError

    store.fails_with = bare(kind)
    for call in (store.get, store.stat, lambda key: list(store.listing(key))):
        with pytest.raises(StockDBError) as caught:
            call("AAPL.csv")
        assert type(caught.value) is expected
        told = "".join(traceback.format_exception(caught.value))
        assert "canary" not in told


def test_an_exhausted_retry_is_what_it_was_about() -> None:
    pool = HTTPConnectionPool("127.0.0.1")
    reason = urllib3.exceptions.ReadTimeoutError(pool, SIGNED, "Read timed out.")
    error = ours(urllib3.exceptions.MaxRetryError(pool, SIGNED, reason))
    assert type(error) is DeadlineError
    assert "canary" not in str(error)


def test_names_that_cannot_be_resolved() -> None:
    cause = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    error = ours(urllib3.exceptions.NameResolutionError("h", None, cause))  # type: ignore[arg-type]
    assert type(error) is UnavailableError and "cannot be resolved" in str(error)
    assert "MINIO_ENDPOINT" in error.remedy


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (ConnectionRefusedError(111, "Connection refused"), UnavailableError, "broke"),
        (ConnectionResetError(104, "reset"), UnavailableError, "ConnectionResetError"),
        (TimeoutError("timed out"), DeadlineError, "stopped sending"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), TLSError, "failed"),
        (ssl.SSLCertVerificationError("x"), TLSError, "not trusted"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), UnavailableError, "not S3"),
        (ParseError("no element found"), UnavailableError, "not S3"),
        (ValueError("bucket name must be long"), ConfigurationError, "must be long"),
        (
            urllib3.exceptions.ProtocolError("aborted", http.client.BadStatusLine("\x15\x03\x03")),
            TLSError,
            "speaks TLS",
        ),
        (
            urllib3.exceptions.ProtocolError("aborted", http.client.BadStatusLine("220 ftp")),
            UnavailableError,
            "BadStatusLine",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_exceptions_of_python(error: Exception, kind: type[StockDBError], told: str) -> None:
    if isinstance(error, ssl.SSLCertVerificationError):
        error.verify_message = "self-signed"
    found = ours(error)
    assert type(found) is kind and told in str(found)
    assert isinstance(error, NETWORK) or isinstance(error, ParseError)


# ------------------------------------------------------------- minio

MINIO = [
    kind
    for _, kind in inspect.getmembers(minio.error, inspect.isclass)
    if issubclass(kind, Exception)
]


def s3_error(code: str | None, status: int = 400, message: str = "m") -> minio.error.S3Error:
    response: Any = SimpleNamespace(status=status, headers=HTTPHeaderDict())
    return minio.error.S3Error(response, code, message, SIGNED, "id", "host", "stockdb", "k")


SAMPLES: dict[str, tuple[Exception, type[StockDBError]]] = {
    "InvalidResponseError": (
        minio.error.InvalidResponseError(502, "text/html", SIGNED),
        UnavailableError,
    ),
    "MinioAdminException": (minio.error.MinioAdminException("403", SIGNED), UnavailableError),
    "MinioException": (minio.error.MinioException(SIGNED), UnavailableError),
    "S3Error": (s3_error("AccessDenied", 403), AccessDeniedError),
    "ServerError": (minio.error.ServerError(SIGNED, 503), UnavailableError),
}


def test_every_exception_of_minio_has_been_decided() -> None:
    assert {kind.__name__ for kind in MINIO} == set(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_exception_of_minio(store: Any, name: str) -> None:
    store.fails_with, expected = SAMPLES[name]
    for call in (store.get, store.stat, lambda key: list(store.listing(key))):
        with pytest.raises(StockDBError) as caught:
            call("AAPL.csv")
        error = caught.value
        assert type(error) is expected
        assert error.values["endpoint"] == URL and error.values["bucket"] == "stockdb"
        assert "canary" not in "".join(traceback.format_exception(error))


#: Codes of the S3 API reference ("Error responses") and of MinIO's api-errors.go.
CODES: dict[str, tuple[int, type[StockDBError], bool]] = {
    "NoSuchKey": (404, NotFoundError, False),
    "NoSuchVersion": (404, NotFoundError, False),
    "NoSuchBucket": (404, NotFoundError, False),
    "ExpiredToken": (400, CredentialsExpiredError, False),
    "InvalidToken": (400, CredentialsExpiredError, False),
    "TokenRefreshRequired": (400, CredentialsExpiredError, False),
    "RequestTimeTooSkewed": (403, ClockSkewError, False),
    "PreconditionFailed": (412, ObjectChangedError, True),
    "InvalidRange": (416, ObjectChangedError, True),
    "AccessDenied": (403, AccessDeniedError, False),
    "AllAccessDisabled": (403, AccessDeniedError, False),
    "AccountProblem": (403, AccessDeniedError, False),
    "InvalidAccessKeyId": (403, AccessDeniedError, False),
    "SignatureDoesNotMatch": (403, AccessDeniedError, False),
    "InvalidObjectState": (403, AccessDeniedError, False),
    "AuthorizationHeaderMalformed": (400, ConfigurationError, False),
    "PermanentRedirect": (301, ConfigurationError, False),
    "SlowDown": (503, UnavailableError, True),
    "ServiceUnavailable": (503, UnavailableError, True),
    "InternalError": (500, UnavailableError, True),
    "RequestTimeout": (400, UnavailableError, True),
    "XMinioServerNotInitialized": (503, UnavailableError, True),
    "TooManyRequests": (429, UnavailableError, True),
    "SomethingNew": (500, UnavailableError, True),
    "SomethingElse": (400, UnavailableError, False),
    "NotImplemented": (501, UnavailableError, True),
}


@pytest.mark.parametrize("code", CODES)
def test_codes_of_s3(code: str) -> None:
    status, kind, retryable = CODES[code]
    error = ours(Answer(status, code, "A message."))
    assert type(error) is kind
    assert error.retryable is retryable
    assert (error.endpoint, error.bucket, error.key) == (URL, "stockdb", "AAPL.csv")
    assert error.code == code
    assert kind in {NotFoundError, ObjectChangedError} or code in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ConfigurationError),
        (401, AccessDeniedError),
        (403, AccessDeniedError),
        (404, ConfigurationError),
        (412, ObjectChangedError),
        (416, ObjectChangedError),
        (429, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
        (302, ConfigurationError),
    ],
)
def test_statuses_without_a_document(status: int, kind: type[StockDBError]) -> None:
    error = ours(Answer(status))
    assert type(error) is kind
    if kind is UnavailableError:
        assert error.code == f"HTTP {status}"


def test_a_success_that_is_no_object() -> None:
    assert "how long" in str(ours(Answer(200)))
    assert ours(Answer(200)).retryable is False
    page = ours(Answer(200, content_type="text/html; charset=utf-8"))
    assert type(page) is ConfigurationError and "not the S3 API" in page.remedy


def test_304_is_an_answer_not_an_error() -> None:
    assert isinstance(ours(Answer(304)), NotModified)


@pytest.mark.parametrize("status", [403, 404, 503])
@pytest.mark.parametrize("error", [ParseError("x"), UnicodeDecodeError("utf-8", b"", 0, 1, "x")])
def test_a_page_that_cannot_be_read_keeps_its_status(status: int, error: Exception) -> None:
    """The client parses the page first; a login page in Latin-1 must not hide the 403."""
    found = _answer(error, status)
    assert isinstance(found, Answer) and found.status == status
    assert _answer(error, 200) is error


# ------------------------------------------------------------- header texts


def test_etag() -> None:
    assert etag('"abc"') == "abc"
    assert etag('W/"abc"') == "abc"
    assert etag("abc-3") == "abc-3"
    assert [etag(text) for text in (None, "", '""')] == [None] * 3


def test_http_date() -> None:
    # RFC 9110, 5.6.7
    assert http_date("Sun, 06 Nov 1994 08:49:37 GMT") == dt.datetime(
        1994, 11, 6, 8, 49, 37, tzinfo=dt.UTC
    )
    assert [http_date(text) for text in (None, "", "soon", "Sun, 99 Nov")] == [None] * 4


@pytest.mark.parametrize(
    ("status", "headers", "found"),
    [
        (200, {"content-length": "7"}, (0, 7, 7)),
        (200, {"content-length": "0"}, (0, 0, 0)),
        (206, {"content-range": "bytes 2-4/9", "content-length": "3"}, (2, 5, 9)),
        (200, {"content-range": "bytes 2-4/9", "content-length": "3"}, (0, 3, 3)),
        (200, {}, None),
        (200, {"content-length": "-1"}, None),
        (200, {"content-length": "1_0"}, None),
        (200, {"content-length": "9" * 19}, None),
        (200, {"content-length": "٣"}, None),
        (206, {"content-length": "3"}, None),
        (206, {"content-range": "bytes 2-4/*"}, None),
        (206, {"content-range": "bytes */9"}, None),
        (206, {"content-range": "rows 2-4/9"}, None),
        (200, {"content-length": "7", "content-type": "text/html"}, None),
        (200, {"content-length": "7", "content-type": "text/html", "etag": '"e"'}, (0, 7, 7)),
    ],
)
def test_extent(status: int, headers: dict[str, str], found: Any) -> None:
    assert extent(status, headers) == found
