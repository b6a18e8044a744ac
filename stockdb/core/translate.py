"""Foreign failures, translated once: S3 answers and network errors into our own tree."""

from __future__ import annotations

import datetime as dt
import email.utils
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from urllib3 import exceptions as http

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

__all__ = ["NETWORK", "Answer", "NotModified", "translate"]

#: What the HTTP layer below the client may raise; ValueError is its bad-name check.
NETWORK: Final = (http.HTTPError, OSError, ValueError)

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


def translate(
    failure: Answer | Exception,
    *,
    endpoint: str,
    bucket: str,
    key: str | None,
    timed_out: bool = False,
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
        return _s3(failure, place, values) if failure.code else _status(failure, place, values)
    # The client's name checks raise a bare ValueError; parsing a listing raises subclasses.
    if type(failure) is ValueError:
        return ConfigurationError(f"The MinIO client refuses {place}: {failure}.", **values)
    if isinstance(failure, (http.HTTPError, OSError)):
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
    there = None
    header = answer.headers.get("Date")
    if header:
        there = email.utils.parsedate_to_datetime(header)
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
    if "HTTPS server" in answer.body:
        return TLSError(
            f"{endpoint} speaks TLS, but was asked in plain HTTP.",
            remedy="Write the endpoint with https://, or set secure=True.",
            **values,
        )
    if status in {401, 403}:
        return AccessDeniedError(f"Access to {place} was refused (HTTP {status}).", **values)
    if status == 429 or status >= 500:
        what = answer.code or f"HTTP {status}"
        return UnavailableError(f"{endpoint} is failing: {what}.", code=what, **values)
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


def _network(
    error: Exception, endpoint: str, place: str, values: dict[str, str | None]
) -> StockDBError:
    if isinstance(error, http.MaxRetryError) and error.reason is not None:
        error = error.reason
    cause = _root(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TLSError(
            f"The certificate of {endpoint} is not trusted: {cause.verify_message}.",
            remedy="Set ca_file in MINIO_CONFIG to the authority that signed it.",
            **values,
        )
    if isinstance(error, http.SSLError) or isinstance(cause, ssl.SSLError):
        plain = endpoint.replace("https://", "http://")
        return TLSError(
            f"TLS with {endpoint} failed ({getattr(cause, 'reason', None) or 'handshake'}).",
            remedy=f"If the server speaks plain HTTP, write '{plain}' or set secure=False.",
            **values,
        )
    if isinstance(error, http.NameResolutionError):
        return UnavailableError(
            f"The host name of {endpoint} cannot be resolved.",
            remedy="Check the spelling of MINIO_ENDPOINT and the DNS of this machine.",
            **values,
        )
    if isinstance(error, (http.ConnectTimeoutError, http.NewConnectionError)):
        reason = getattr(cause, "strerror", None) or "no answer"
        return UnavailableError(
            f"No connection to {endpoint}: {reason}.",
            remedy="Check that the server runs and that host and port are right "
            "(`python -m stockdb doctor`).",
            **values,
        )
    if isinstance(error, (http.ReadTimeoutError, http.TimeoutError, TimeoutError)):
        return DeadlineError(f"{endpoint} stopped sending {place}.", **values)
    if isinstance(error, http.DecodeError):
        return IntegrityError(f"The body of {place} cannot be decoded.", **values)
    if isinstance(error, http.LocationValueError):
        return ConfigurationError(f"{endpoint} is not an address that can be used.", **values)
    return UnavailableError(
        f"The connection to {endpoint} broke while reading {place} ({type(cause).__name__}).",
        **values,
    )


def _root(error: BaseException) -> BaseException:
    """Dig for the innermost cause, which urllib3 keeps in ``args`` or the context."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = [item for item in error.args if isinstance(item, BaseException)]
        following = inner[0] if inner else (error.__cause__ or error.__context__)
        if following is None:
            return error
        error = following
    return error
