"""The bucket: the only file that imports minio.

Every call makes its own signed attempts within one deadline; every foreign error leaves
here as one of ``stockdb.errors``. What the client does badly (whole-file downloads, its
retries, its listing loop) is not used: see ``transfer.py`` and ``transport.py``.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import io
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from xml.etree.ElementTree import ParseError

from minio import Minio
from minio.datatypes import parse_list_objects
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.response import BaseHTTPResponse

from stockdb.core.transfer import FileSink, MemorySink, ObjectInfo, Retry, Stream, Transfer
from stockdb.core.translate import NETWORK, Answer, NotModified, translate
from stockdb.core.transport import Deadline, Pool, make_pool
from stockdb.errors import ConfigurationError, IntegrityError, StockDBError, UnavailableError
from stockdb.settings import Settings

__all__ = ["Blob", "NotModified", "ObjectInfo", "ObjectStore"]

_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}
#: Seconds that a large object gets per MiB on top of the deadline for one object.
_SECONDS_PER_MIB: Final = 0.5
_LARGE: Final = 64 * 1024**2


class Blob:
    """Bytes of an object, with what they cost.

    Attributes
    ----------
    data : bytes-like
    info : ObjectInfo
        Of the whole object.
    requests, received : int
        Requests sent and body bytes received, repeats included.
    headers : mapping
        Of the answer, names in lower case.
    """

    __slots__ = ("data", "headers", "info", "received", "requests")

    def __init__(
        self,
        data: bytes | bytearray,
        info: ObjectInfo,
        requests: int,
        received: int,
        headers: Mapping[str, str],
    ) -> None:
        self.data = data
        self.info = info
        self.requests = requests
        self.received = received
        self.headers = headers


class ObjectStore:
    """One bucket of one S3 server; threads may share it, forked processes get their own client.

    Parameters
    ----------
    settings : Settings
        ``connection`` and ``performance`` are used.

    Raises
    ------
    ConfigurationError
        No endpoint, or one that cannot be one. Nothing is sent yet.
    """

    def __init__(self, settings: Settings) -> None:
        self.endpoint = settings.endpoint()
        self.bucket = settings.connection.bucket_name
        self._connection = settings.connection
        self._performance = settings.performance
        self._clients: dict[int, tuple[Minio, Pool]] = {}
        self._closing = threading.Event()
        self._warn_about_safety()

    def __repr__(self) -> str:
        return f"ObjectStore({self.endpoint.url}, bucket={self.bucket!r})"

    @property
    def identity(self) -> tuple[str, str]:
        """Endpoint URL and bucket: what tells this bucket from any other."""
        return self.endpoint.url, self.bucket

    def close(self) -> None:
        """Let go of the connections and wake whoever waits between two attempts."""
        self._closing.set()
        for _, pool in self._clients.values():
            pool.clear()

    def get(
        self,
        key: str,
        *,
        if_none_match: str | None = None,
        version_id: str | None = None,
        deadline: Deadline | None = None,
    ) -> Blob:
        """Fetch a whole object, resumed where it breaks and verified.

        Raises
        ------
        NotModified
            The object still has the ETag ``if_none_match``.
        NotFoundError, AccessDeniedError, UnavailableError, DeadlineError, IntegrityError
            As their names say; see ``docs/errors.md``.
        """
        transfer = self._transfer(key, version_id, deadline)
        sink = MemorySink()
        info = transfer.whole(sink, if_none_match)
        return Blob(sink.data, info, transfer.requests, transfer.received, transfer.headers)

    def get_range(
        self,
        key: str,
        start: int,
        stop: int,
        *,
        if_match: str | None = None,
        version_id: str | None = None,
        deadline: Deadline | None = None,
    ) -> Blob:
        """Fetch bytes ``start`` to ``stop`` (exclusive), of one version of the object only.

        Raises
        ------
        ObjectChangedError
            The object no longer has the ETag ``if_match``.
        """
        if not 0 <= start < stop:
            raise ValueError(f"not a range: {start} to {stop}")
        transfer = self._transfer(key, version_id, deadline)
        data, info = transfer.part(start, stop, if_match)
        return Blob(data, info, transfer.requests, transfer.received, transfer.headers)

    def download(self, key: str, descriptor: int, *, deadline: Deadline | None = None) -> Blob:
        """Fetch a whole object into an open file, verified; ``data`` of the result is empty."""
        if deadline is None:
            size = self.stat(key).size
            deadline = Deadline(
                self._performance.object_deadline
                + max(0, size - _LARGE) / 1024**2 * _SECONDS_PER_MIB
            )
        transfer = self._transfer(key, None, deadline)
        info = transfer.whole(FileSink(descriptor))
        return Blob(b"", info, transfer.requests, transfer.received, transfer.headers)

    def stat(self, key: str, *, deadline: Deadline | None = None) -> ObjectInfo:
        """Ask for size, ETag and version of an object, without its bytes."""
        deadline = deadline or self._deadline()

        def attempt() -> ObjectInfo:
            try:
                with self._session(key, deadline) as client:
                    found = client.stat_object(self.bucket, key)
            except (PermissionError, ConfigurationError, UnavailableError):
                # A HEAD answer has no body: a skewed clock reads as AccessDenied, an
                # expired token as BadRequest. A GET of one byte says which it is.
                return self.get_range(key, 0, 1, deadline=deadline).info
            return ObjectInfo(
                key, found.size or 0, _etag(found.etag), found.version_id, found.last_modified
            )

        return self._retry(deadline).run(attempt)

    def listing(
        self,
        prefix: str = "",
        *,
        recursive: bool = True,
        limit: int | None = None,
        deadline: Deadline | None = None,
    ) -> Iterator[ObjectInfo]:
        """List objects page by page: all of them, or an error.

        Parameters
        ----------
        prefix : str
        recursive : bool
            False stops at the next ``/``; folders then appear with a trailing slash and
            size 0.
        limit : int, optional
            Stop after this many.
        deadline : Deadline, optional
            For one page, not for the whole listing.

        Raises
        ------
        IntegrityError
            The server repeats a page, so that the listing would never end.
        """
        token: str | None = None
        tokens: set[str] = set()
        count = 0
        while True:
            page, truncated, token = self._page(prefix, recursive, token, limit, deadline)
            for info in page:
                yield info
                count += 1
                if limit is not None and count >= limit:
                    return
            if not truncated:
                return
            if token is None or token in tokens:
                raise IntegrityError(
                    f"The listing of {self.bucket}/{prefix} repeats itself and has no end.",
                    remedy="Check for a proxy between here and the server.",
                    bucket=self.bucket,
                )
            tokens.add(token)

    def probe(self, deadline: Deadline) -> dt.datetime | None:
        """List one key, in one attempt, and return what time it is at the server."""
        query = {"list-type": "2", "prefix": "", "delimiter": "/", "max-keys": "1"}
        with self._session(None, deadline) as client:
            response = client._execute("GET", self.bucket, query_params=dict(query))
        return _http_date(response.headers.get("Date"))

    def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "text/csv",
        metadata: dict[str, str] | None = None,
    ) -> ObjectInfo:
        """Store an object in one piece, with user metadata that comes back in the headers."""
        deadline = self._deadline()

        def attempt() -> ObjectInfo:
            with self._session(key, deadline) as client:
                result = client.put_object(
                    self.bucket,
                    key,
                    io.BytesIO(data),
                    len(data),
                    content_type=content_type,
                    metadata=dict(metadata or {}),
                    # in one piece, so that the ETag is the MD5 of the bytes
                    part_size=min(max(len(data), 5 * 1024**2), 5 * 1024**3),
                )
            return ObjectInfo(key, len(data), _etag(result.etag), result.version_id)

        return self._retry(deadline).run(attempt)

    def make_bucket(self) -> None:
        """Create the bucket where it does not exist (the embedded server starts without)."""
        deadline = self._deadline()
        with self._session(None, deadline) as client:
            if not client.bucket_exists(self.bucket):
                client.make_bucket(self.bucket)

    def open(
        self,
        key: str,
        deadline: Deadline,
        *,
        start: int = 0,
        stop: int | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
        version_id: str | None = None,
    ) -> Stream:
        """Make one attempt at an object and return its body unread (see ``transfer.Source``)."""
        headers = {"x-amz-checksum-mode": "ENABLED"}
        if if_match:
            headers["If-Match"] = f'"{if_match}"'
        if if_none_match:
            headers["If-None-Match"] = f'"{if_none_match}"'
        with self._session(key, deadline) as client:
            response = client.get_object(
                self.bucket,
                key,
                offset=start,
                length=0 if stop is None else stop - start,
                request_headers=headers,  # type: ignore[arg-type]
                version_id=version_id,
            )
        try:
            return self._stream(key, response, deadline)
        except BaseException:
            response.close()
            raise

    def _stream(self, key: str, response: BaseHTTPResponse, deadline: Deadline) -> Stream:
        headers = {name.lower(): value for name, value in response.headers.items()}
        begin, total = 0, int(headers.get("content-length") or -1)
        stop = total
        if response.status == 206:
            try:
                span, _, whole = headers["content-range"].removeprefix("bytes ").partition("/")
                first, _, last = span.partition("-")
                begin, stop, total = int(first), int(last) + 1, int(whole)
            except (KeyError, ValueError):
                raise UnavailableError(
                    f"The server sent a part of {key} without saying which.", key=key
                ) from None
        if total < 0:
            raise UnavailableError(
                f"The server does not say how long {key} is.",
                remedy="Check for a proxy that re-encodes answers.",
                retryable=False,
                key=key,
            )
        info = ObjectInfo(
            key,
            total,
            _etag(headers.get("etag")),
            headers.get("x-amz-version-id"),
            _http_date(headers.get("last-modified")),
        )

        def read(amount: int) -> bytes:
            with self._session(key, deadline):
                return response.read1(amount, decode_content=False)

        def close(reusable: bool) -> None:
            if not reusable:
                response.close()
            response.release_conn()

        return Stream(info, begin, stop, headers, read, close)

    def _page(
        self,
        prefix: str,
        recursive: bool,
        token: str | None,
        limit: int | None,
        deadline: Deadline | None,
    ) -> tuple[list[ObjectInfo], bool, str | None]:
        # The client's own loop cannot retry one page, nor notice a repeated token.
        query = {
            "list-type": "2",
            "prefix": prefix,
            "delimiter": "" if recursive else "/",
            "encoding-type": "url",
            "max-keys": str(min(limit or 1000, 1000)),
        }
        if token:
            query["continuation-token"] = token
        deadline = deadline or self._deadline()

        def attempt() -> tuple[list[ObjectInfo], bool, str | None]:
            with self._session(None, deadline) as client:
                response = client._execute("GET", self.bucket, query_params=dict(query))
                found, truncated, following, _ = parse_list_objects(response, self.bucket)
            page = [
                ObjectInfo(
                    item.object_name or "",
                    item.size or 0,
                    _etag(item.etag),
                    item.version_id,
                    item.last_modified,
                )
                for item in found
            ]
            return page, truncated, following

        return self._retry(deadline).run(attempt)

    def _transfer(self, key: str, version_id: str | None, deadline: Deadline | None) -> Transfer:
        return Transfer(
            self,
            key,
            self._performance,
            deadline or self._deadline(),
            version_id,
            self._closing.wait,
        )

    def _deadline(self) -> Deadline:
        return Deadline(self._performance.object_deadline)

    def _retry(self, deadline: Deadline) -> Retry:
        return Retry(self._performance, deadline, self._closing.wait)

    def _client(self) -> tuple[Minio, Pool]:
        """Return this process's client: a forked child must not share sockets."""
        pid = os.getpid()
        found = self._clients.get(pid)
        if found is None:
            found = self._clients.setdefault(pid, self._make_client())
        return found

    def _make_client(self) -> tuple[Minio, Pool]:
        connection = self._connection
        secret = connection.secret_key
        token = connection.session_token
        if (connection.access_key is None) != (secret is None):
            missing = "MINIO_SECRET_KEY" if secret is None else "MINIO_ACCESS_KEY"
            raise ConfigurationError(
                "Only one half of the credentials is configured.", remedy=f"Set {missing} too."
            )
        pool = make_pool(
            self._performance,
            verify=connection.verify_certificates,
            ca_file=connection.ca_file,
        )
        try:
            client = Minio(
                self.endpoint.netloc,
                access_key=connection.access_key,
                secret_key=secret.get_secret_value() if secret else None,
                session_token=token.get_secret_value() if token else None,
                secure=self.endpoint.secure,
                region=connection.region,
                http_client=pool,
            )
        except ValueError as error:
            raise ConfigurationError(f"The MinIO client refuses the endpoint: {error}.") from None
        return client, pool

    def _warn_about_safety(self) -> None:
        if self.endpoint.secure and not self._connection.verify_certificates:
            warnings.warn(
                f"Certificates of {self.endpoint.url} are not checked: anybody on the way can "
                "read the credentials.",
                stacklevel=4,
            )
        if not self.endpoint.secure and self.endpoint.host not in _LOOPBACK:
            warnings.warn(
                f"{self.endpoint.url} is plain HTTP: data can be read and changed on the way.",
                stacklevel=4,
            )

    @contextmanager
    def _session(self, key: str | None, deadline: Deadline) -> Iterator[Minio]:
        """Lend the client, bound to the deadline; translate whatever it raises."""
        client, pool = self._client()
        try:
            with pool.call(deadline):
                yield client
        except (StockDBError, NotModified):
            raise
        except (MinioException, ParseError, *NETWORK) as error:
            raise translate(
                _answer(error),
                endpoint=self.endpoint.url,
                bucket=self.bucket,
                key=key,
                timed_out=deadline.passed(),
            ) from None


def _etag(value: str | None) -> str | None:
    if not value:
        return None
    return value.removeprefix("W/").strip('"') or None


def _http_date(text: str | None) -> dt.datetime | None:
    if not text:
        return None
    try:
        return email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None


def _answer(error: Exception) -> Answer | Exception:
    """Take what the server said out of the client's exceptions."""
    if isinstance(error, S3Error):
        headers: Mapping[str, Any] = getattr(error.response, "headers", None) or {}
        status = getattr(error.response, "status", 0)
        return Answer(status, error.code or "", error.message or "", headers=headers)
    if isinstance(error, ServerError):
        return Answer(error.status_code)
    if isinstance(error, InvalidResponseError):
        body = (error._body or "")[:500]
        return Answer(error._code, content_type=error._content_type or "", body=body)
    return error
