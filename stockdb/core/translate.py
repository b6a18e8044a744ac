"""Foreign failures and header texts, translated once: into our own tree, into values."""

from __future__ import annotations

import datetime as dt
import email.utils
import http.client
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from urllib3 import exceptions as urllib3

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

__all__ = [
    "NETWORK",
    "Answer",
    "NotModified",
    "etag",
    "extent",
    "http_date",
    "is_page",
    "translate",
]

#: What the HTTP layer below the client may raise; ValueError is its bad-name check.
NETWORK: Final = (urllib3.HTTPError, OSError, ValueError)

_EXPIRED: Final = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidTokenId"}
_SKEWED: Final = {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"}
_REGION: Final = {"AuthorizationHeaderMalformed", "PermanentRedirect", "Redirect", "InvalidRegion"}
_DENIED: Final = {
    "AccessDenied",
    "AllAccessDisabled",
    "AccountProblem",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "XMinioInvalidIAMCredentials",
}
#: How a TLS alert begins (RFC 8446, 5.1), where the status line of an answer was expected.
_ALERT: Final = "\x15\x03"
_BUSY: Final = {
    "SlowDown",
    "SlowDownRead",
    "ServiceUnavailable",
    "InternalError",
    "RequestTimeout",
    "XMinioServerNotInitialized",
    "XMinioBackendDown",
    "ServerBusy",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "503 SlowDown",
}


@dataclass(frozen=True)
class Answer:
    """A refusal of the server, as far as it could be read.

    Attributes
    ----------
    status : int
        HTTP status.
    code, message : str
        Of the S3 error document, where there was one.
    content_type, body : str
        Of an answer that was no S3 document.
    headers : mapping
    """

    status: int
    code: str = ""
    message: str = ""
    content_type: str = ""
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class NotModified(Exception):  # noqa: N818  an answer, not an error
    """The server answered 304: the object is still the one asked about."""


def etag(text: str | None) -> str | None:
    """Return an ETag without quotes; None where there is none."""
    return (text or "").removeprefix("W/").strip('"') or None


def http_date(text: str | None) -> dt.datetime | None:
    """Return the time that a header tells; None where it tells none."""
    try:
        return email.utils.parsedate_to_datetime(text) if text else None
    except ValueError:
        return None


def is_page(headers: Mapping[str, str]) -> bool:
    """Tell a page for people, such as a login or the server's console, from an answer of S3."""
    return headers.get("content-type", "").startswith("text/html") and "etag" not in headers


def extent(status: int, headers: Mapping[str, str]) -> tuple[int, int, int] | None:
    """Find which bytes an answer holds: start, stop (exclusive), and of how many.

    Parameters
    ----------
    status : int
    headers : mapping
        Names in lower case.

    Returns
    -------
    tuple or None
        None where it does not say, says what no object can have, or is no object.
    """
    if is_page(headers):
        return None
    number = "([0-9]{1,18})"
    if status == 206:
        text = headers.get("content-range", "")
        part = re.fullmatch(f"bytes {number}-{number}/{number}", text)
        return (int(part[1]), int(part[2]) + 1, int(part[3])) if part else None
    whole = re.fullmatch(number, headers.get("content-length", ""))
    return (0, int(whole[1]), int(whole[1])) if whole else None


_NO_CREDENTIALS: Final = (
    "No credentials are set, and the bucket is not public: set MINIO_ACCESS_KEY and "
    "MINIO_SECRET_KEY (environment, `.env` or minio_config.py)."
)


def translate(
    failure: Answer | Exception,
    *,
    endpoint: str,
    bucket: str,
    key: str | None,
    timed_out: bool = False,
    anonymous: bool = False,
) -> StockDBError | NotModified:
    """Turn a foreign exception into one of ours.

    Parameters
    ----------
    failure : Answer or Exception
        What the server said, or one of :data:`NETWORK`.
    endpoint : str
        URL without credentials, for the message.
    bucket : str
    key : str or None
        Object the request was about.
    timed_out : bool
        Whether the call's deadline had passed; then whatever broke, broke by it.
    anonymous : bool
        Whether no credentials are set: a refusal has that reason.

    Returns
    -------
    StockDBError or NotModified
        To be raised ``from None``: foreign texts may hold signed URLs.
    """
    place = f"{bucket}/{key}" if key else f"bucket {bucket!r}"
    values = {"endpoint": endpoint, "bucket": bucket, "key": key}
    if timed_out:
        return DeadlineError(f"{endpoint} did not deliver {place} in time.", **values)
    if isinstance(failure, Answer):
        found = _s3(failure, place, values) if failure.code else _status(failure, place, values)
        if anonymous and isinstance(found, AccessDeniedError):
            return AccessDeniedError(found.message, remedy=_NO_CREDENTIALS, **found.values)
        return found
    # The client's name checks raise a bare ValueError; parsing a listing raises subclasses.
    if type(failure) is ValueError:
        return ConfigurationError(f"The MinIO client refuses {place}: {failure}.", **values)
    if isinstance(failure, (urllib3.HTTPError, OSError)):
        return _network(failure, endpoint, place, values)
    return UnavailableError(
        f"{endpoint} gave an answer for {place} that is not S3 ({type(failure).__name__}).",
        **values,
    )


def _s3(answer: Answer, place: str, values: dict[str, str | None]) -> StockDBError | NotModified:
    code = answer.code
    if code in {"NoSuchKey", "NoSuchVersion", "NoSuchUpload"}:
        return NotFoundError(f"There is no object {place}.", code=code, **values)
    if code == "NoSuchBucket":
        return NotFoundError(
            f"There is no bucket {values['bucket']!r} at {values['endpoint']}.",
            remedy="Set MINIO_BUCKET_NAME to a bucket that exists.",
            code=code,
            **values,
        )
    if code in _EXPIRED:
        return CredentialsExpiredError(
            f"The session token has expired ({code} for {place}).", code=code, **values
        )
    if code in _SKEWED:
        return _skew(answer, values)
    if code == "PreconditionFailed":
        return ObjectChangedError(f"{place} was replaced in the meantime.", code=code, **values)
    if code == "InvalidRange":
        return ObjectChangedError(f"{place} is shorter than it was.", code=code, **values)
    if code in _DENIED:
        return AccessDeniedError(f"Access to {place} was refused ({code}).", code=code, **values)
    if code in _REGION:
        return ConfigurationError(
            f"The server signs for another region or host ({code}: {answer.message}).",
            remedy="Set region in MINIO_CONFIG (or MINIO_REGION), or the endpoint of that region.",
            code=code,
            **values,
        )
    if code in _BUSY:
        return UnavailableError(f"{values['endpoint']} is failing: {code}.", code=code, **values)
    return _status(answer, place, values)


def _skew(answer: Answer, values: dict[str, str | None]) -> ClockSkewError:
    here = dt.datetime.now(dt.UTC).replace(microsecond=0)
    there = http_date(answer.headers.get("Date"))
    return ClockSkewError(
        f"The clocks differ too much ({answer.code}): here {here.isoformat()}, "
        f"server {there.isoformat() if there else 'unknown'}.",
        here=here,
        server=there,
        code=answer.code,
        **values,
    )


def _status(
    answer: Answer, place: str, values: dict[str, str | None]
) -> StockDBError | NotModified:
    """Judge an answer by its status, where it carried no S3 error that we know."""
    endpoint, status = values["endpoint"], answer.status
    if status == 304:
        return NotModified()
    if status == 412:
        return ObjectChangedError(f"{place} was replaced in the meantime.", **values)
    if status == 416:
        return ObjectChangedError(f"{place} is shorter than it was.", **values)
    if "HTTPS server" in answer.body or "HTTPS port" in answer.body:  # Go's words, and nginx's
        return _speaks_tls(values)
    what = answer.code or f"HTTP {status}"
    if status in {401, 403}:
        return AccessDeniedError(f"Access to {place} was refused ({what}).", code=what, **values)
    if status == 429 or status >= 500:
        return UnavailableError(f"{endpoint} is failing: {what}.", code=what, **values)
    if status in {200, 206} and not answer.content_type.startswith("text/html"):
        return UnavailableError(
            f"{endpoint} does not say how long {place} is, or which part of it this is.",
            remedy="Check for a proxy that re-encodes answers.",
            retryable=False,
            **values,
        )
    if answer.code:
        return UnavailableError(
            f"{endpoint} refused the request for {place}: {answer.code} {answer.message}.",
            retryable=False,
            code=answer.code,
            **values,
        )
    return ConfigurationError(
        f"{endpoint} answered HTTP {status} without an S3 message.",
        remedy="Check host and port: this is not the S3 API (MinIO's console has another port).",
        status=status,
        **values,
    )


def _speaks_tls(values: dict[str, str | None]) -> TLSError:
    return TLSError(
        f"{values['endpoint']} speaks TLS, but was asked in plain HTTP.",
        remedy="Write the endpoint with https://, or set secure=True.",
        **values,
    )


def _network(
    error: Exception, endpoint: str, place: str, values: dict[str, str | None]
) -> StockDBError:
    if isinstance(error, urllib3.MaxRetryError) and error.reason is not None:
        error = error.reason
    causes = list(_causes(error))
    cause = causes[-1]
    if any(isinstance(each, http.client.BadStatusLine) and _ALERT in str(each) for each in causes):
        return _speaks_tls(values)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TLSError(
            f"The certificate of {endpoint} is not trusted: {cause.verify_message}.",
            remedy="Set ca_file in MINIO_CONFIG to the authority that signed it.",
            **values,
        )
    if isinstance(error, urllib3.SSLError) or isinstance(cause, ssl.SSLError):
        plain = endpoint.replace("https://", "http://")
        return TLSError(
            f"TLS with {endpoint} failed ({getattr(cause, 'reason', None) or 'handshake'}).",
            remedy=f"If the server speaks plain HTTP, write '{plain}' or set secure=False.",
            **values,
        )
    if isinstance(error, urllib3.NameResolutionError):
        return UnavailableError(
            f"The host name of {endpoint} cannot be resolved.",
            remedy="Check the spelling of MINIO_ENDPOINT and the DNS of this machine.",
            **values,
        )
    if isinstance(error, (urllib3.ConnectTimeoutError, urllib3.NewConnectionError)):
        reason = getattr(cause, "strerror", None) or "no answer"
        return UnavailableError(
            f"No connection to {endpoint}: {reason}.",
            remedy="Check that the server runs and that host and port are right "
            "(`python -m stockdb doctor`).",
            **values,
        )
    if isinstance(error, (urllib3.ReadTimeoutError, urllib3.TimeoutError, TimeoutError)):
        return DeadlineError(f"{endpoint} stopped sending {place}.", **values)
    if isinstance(error, urllib3.DecodeError):
        return IntegrityError(f"The body of {place} cannot be decoded.", **values)
    if isinstance(error, urllib3.LocationValueError):
        return ConfigurationError(f"{endpoint} is not an address that can be used.", **values)
    return UnavailableError(
        f"The connection to {endpoint} broke while reading {place} ({type(cause).__name__}).",
        **values,
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what is below it, which urllib3 keeps in ``args`` or the context."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        inner = [item for item in following.args if isinstance(item, BaseException)]
        following = inner[0] if inner else (following.__cause__ or following.__context__)
