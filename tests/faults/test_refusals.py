"""The rows "403; 404" and "expired token; clock skew": said clearly, and never in a loop."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime

import pytest

from stockdb.core.store import ObjectStore
from stockdb.errors import (
    AccessDeniedError,
    ClockSkewError,
    ConfigurationError,
    CredentialsExpiredError,
    NotFoundError,
)
from tests.faults.bodies import KEY, SMALL, Failing, html
from tests.faults.origin import Fault, Origin

# ----------------------------------------------- 403; 404


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"])
def test_access_denied_costs_one_request(
    origin: Origin, store: ObjectStore, failing: Failing, code: str
) -> None:
    origin.put(KEY, SMALL, fault=Fault("error", status=403, code=code))
    error = failing(AccessDeniedError, store.get, KEY)
    assert isinstance(error, PermissionError)
    assert code in str(error) and f"stockdb/{KEY}" in str(error)
    assert "MINIO_ACCESS_KEY" in error.remedy
    assert (error.code, error.key, error.endpoint) == (code, KEY, origin.url)
    assert error.retryable is False
    assert len(origin.of(KEY)) == 1


def test_access_denied_without_a_document(
    origin: Origin, store: ObjectStore, failing: Failing
) -> None:
    origin.put(KEY, SMALL, fault=Fault("error", status=403))
    failing(AccessDeniedError, store.get, KEY)
    assert len(origin.of(KEY)) == 1


def test_access_denied_to_stat_asks_once_more_why(
    origin: Origin, store: ObjectStore, failing: Failing
) -> None:
    origin.put(KEY, SMALL, fault=Fault("error", status=403, code="AccessDenied"))
    failing(AccessDeniedError, store.stat, KEY)
    assert [request.method for request in origin.of(KEY)] == ["HEAD", "GET"]


def test_not_found_costs_one_request(origin: Origin, store: ObjectStore, failing: Failing) -> None:
    for call in (store.get, store.stat, lambda key: store.get_range(key, 0, 9)):
        origin.requests.clear()
        error = failing(NotFoundError, call, KEY)
        assert isinstance(error, FileNotFoundError)
        assert f"stockdb/{KEY}" in str(error) and "stockdb ls" in error.remedy
        assert (error.key, error.bucket, error.endpoint) == (KEY, "stockdb", origin.url)
        assert error.retryable is False
        assert len(origin.of(KEY)) == 1


def test_no_bucket(origin: Origin, store: ObjectStore, failing: Failing) -> None:
    origin.put(KEY, SMALL, fault=Fault("error", status=404, code="NoSuchBucket"))
    error = failing(NotFoundError, store.get, KEY)
    assert origin.url in str(error) and "MINIO_BUCKET_NAME" in error.remedy
    assert len(origin.of(KEY)) == 1


def test_not_found_in_html_is_not_taken_for_a_missing_object(
    origin: Origin, store: ObjectStore, failing: Failing
) -> None:
    """The cache drops what is not found, and a proxy's page does not say that it is gone."""
    origin.put(KEY, SMALL, fault=html(404))
    error = failing(ConfigurationError, store.get, KEY)
    assert origin.url in str(error) and "not the S3 API" in error.remedy
    assert len(origin.of(KEY)) == 1


# ----------------------------------------------- expired token; clock skew


def test_expired_token(origin: Origin, store: ObjectStore, failing: Failing) -> None:
    origin.put(KEY, SMALL, fault=Fault("error", status=400, code="ExpiredToken"))
    for call, methods in (
        (store.get, ["GET"]),
        (lambda key: store.get_range(key, 0, 9), ["GET"]),
        (store.stat, ["HEAD", "GET"]),  # the answer to HEAD has no body that could say it
    ):
        origin.requests.clear()
        error = failing(CredentialsExpiredError, call, KEY)
        assert "expired" in str(error) and "new session token" in error.remedy
        assert (error.code, error.endpoint) == ("ExpiredToken", origin.url)
        assert [request.method for request in origin.of(KEY)] == methods
    assert origin.of(KEY)[0].headers["x-amz-security-token"]  # the server had it to echo


@pytest.mark.parametrize("hours", [-3, 5])
def test_clock_skew_shows_both_clocks(
    origin: Origin, store: ObjectStore, failing: Failing, hours: int
) -> None:
    there = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours)).replace(microsecond=0)
    fault = Fault(
        "error",
        status=403,
        code="RequestTimeTooSkewed",
        headers={"Date": format_datetime(there, usegmt=True)},
    )
    origin.put(KEY, SMALL, fault=fault)
    for call, methods in ((store.get, ["GET"]), (store.stat, ["HEAD", "GET"])):
        origin.requests.clear()
        error = failing(ClockSkewError, call, KEY)
        assert error.server == there
        assert abs(dt.datetime.now(dt.UTC) - error.here) < dt.timedelta(seconds=10)
        assert error.here.isoformat() in str(error) and there.isoformat() in str(error)
        assert "NTP" in error.remedy
        assert [request.method for request in origin.of(KEY)] == methods


@pytest.mark.parametrize("date", [None, "soon", "Tue, 99 Foo 2024 00:00:00 GMT"])
def test_clock_skew_without_the_time_of_the_server(
    origin: Origin, store: ObjectStore, failing: Failing, date: str | None
) -> None:
    headers = {"Date": date or ""}
    fault = Fault("error", status=403, code="RequestTimeTooSkewed", headers=headers)
    origin.put(KEY, SMALL, fault=fault)
    error = failing(ClockSkewError, store.get, KEY)
    assert error.server is None and "unknown" in str(error)
