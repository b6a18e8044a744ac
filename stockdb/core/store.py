"""The bucket: the only file that imports minio.

Every call makes its own signed attempts within one deadline; every foreign error leaves
here as one of ``stockdb.errors``. What the client does badly (whole-file downloads, its
retries, its listing loop) is not used: see ``transfer.py`` and ``transport.py``.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from xml.etree.ElementTree import ParseError

from minio import Minio
from minio.datatypes import Object, parse_list_objects
from minio.error import (
    InvalidResponseError,
    MinioAdminException,
    MinioException,
    S3Error,
    ServerError,
)
from minio.helpers import normalize_headers
from minio.select import CSVInputSerialization, CSVOutputSerialization, SelectRequest
from urllib3.response import BaseHTTPResponse

from stockdb.core.blob import Blob
from stockdb.core.transfer import FileSink, MemorySink, ObjectInfo, Stream, Transfer
from stockdb.core.translate import (
    NETWORK,
    Answer,
    NotModified,
    etag,
    extent,
    http_date,
    is_page,
    translate,
)
from stockdb.core.transport import Deadline, Pool, Retry, make_pool, warn_about_safety
from stockdb.errors import (
    AccessDeniedError,
    ConfigurationError,
    IntegrityError,
    ObjectChangedError,
    StockDBError,
    UnavailableError,
)
from stockdb.settings import Settings

__all__ = ["Blob", "NotModified", "ObjectInfo", "ObjectStore"]

#: Seconds that a large object gets per MiB on top of the deadline for one object.
_SECONDS_PER_MIB: Final = 0.5
_LARGE: Final = 64 * 1024**2


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
        warn_about_safety(self.endpoint, self._connection.verify_certificates)

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
        promised = None
        if deadline is None:
            deadline = self._deadline()
            promised = self.stat(key, deadline=deadline)
            deadline.expires += max(0, promised.size - _LARGE) / 1024**2 * _SECONDS_PER_MIB
        transfer = self._transfer(key, None, deadline)
        info = transfer.whole(FileSink(descriptor), promised=promised)
        return Blob(b"", info, transfer.requests, transfer.received, transfer.headers)

    def stat(self, key: str, *, deadline: Deadline | None = None) -> ObjectInfo:
        """Ask for size, ETag and version of an object, without its bytes."""
        deadline = deadline or self._deadline()

        def attempt() -> ObjectInfo:
            try:
                with self._session(key, deadline) as client:
                    found = client.stat_object(self.bucket, key)
            except (AccessDeniedError, ConfigurationError, UnavailableError) as error:
                if error.retryable:
                    raise
                # A HEAD answer has no body: a skewed clock reads as AccessDenied, an
                # expired token as BadRequest. One GET says which it is.
                stream = self.open(key, deadline)
                stream.close(False)
                return stream.info
            return ObjectInfo(
                key, found.size or 0, etag(found.etag), found.version_id, found.last_modified
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
                    f"{self.endpoint.url} lists {self.bucket}/{prefix} without end.",
                    remedy="Check for a proxy between here and the server.",
                    **self._place(None),
                )
            tokens.add(token)

    def probe(self, deadline: Deadline) -> dt.datetime | None:
        """List one key, in one attempt, and return what time it is at the server."""
        query = {"list-type": "2", "prefix": "", "delimiter": "/", "max-keys": "1"}
        with self._session(None, deadline) as client:
            response = client._execute("GET", self.bucket, query_params=dict(query))
        return http_date(response.headers.get("Date"))

    def select(
        self, key: str, column: str, value: str, *, deadline: Deadline | None = None
    ) -> bytes:
        """Let the server filter a CSV object (S3 Select): lines whose column has this value.

        Raises
        ------
        UnavailableError
            The server does not know S3 Select, or refuses the file.
        """
        deadline = deadline or self._deadline()
        quoted, literal = column.replace('"', '""'), value.replace("'", "''")
        request = SelectRequest(
            f"SELECT * FROM S3Object s WHERE s.\"{quoted}\" = '{literal}'",
            CSVInputSerialization(file_header_info="USE"),
            CSVOutputSerialization(),
        )
        with self._session(key, deadline) as client:
            with client.select_object_content(self.bucket, key, request) as answer:
                return b"".join(answer.stream(1 << 20))

    def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "text/csv",
        metadata: dict[str, str] | None = None,
        only_if: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Store an object in one piece, with user metadata that comes back in the headers.

        ``only_if`` holds the headers of a condition (``If-None-Match``, ``If-Match``), which
        some servers ignore; where it is not met, an ObjectChangedError says so.
        """
        seconds = max(0, len(data) - _LARGE) / 1024**2 * _SECONDS_PER_MIB
        deadline = Deadline(self._performance.object_deadline + seconds)
        headers = {
            "Content-Type": content_type,
            **normalize_headers(dict(metadata or {})),
            **(only_if or {}),
        }

        def attempt() -> ObjectInfo:
            try:
                with self._session(key, deadline) as client:
                    # in one piece, so that the ETag is the MD5 of the bytes
                    result = client._put_object(self.bucket, key, data, dict(headers))
            except ObjectChangedError as error:
                error.retryable = False  # what is there will not go away
                raise
            return ObjectInfo(key, len(data), etag(result.etag), result.version_id)

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
        _, pool = self._client()
        with self._session(key, deadline) as client:
            response = client.get_object(
                self.bucket,
                key,
                offset=start,
                length=0 if stop is None else stop - start,
                request_headers=headers,  # type: ignore[arg-type]
                version_id=version_id,
            )
            let_go = pool.hold()  # the body is watched as well

        read, close = self._body(response, key, deadline, let_go)
        headers = {name.lower(): value for name, value in response.headers.items()}
        found = extent(response.status, headers)
        if found is None:
            close(False)
            kind = headers.get("content-type", "")
            raise self._translate(Answer(response.status, content_type=kind), key)
        start, stop, total = found
        info = ObjectInfo(
            key,
            total,
            etag(headers.get("etag")),
            headers.get("x-amz-version-id"),
            http_date(headers.get("last-modified")),
        )
        return Stream(info, start, stop, headers, read, close)

    def notifications(
        self, prefix: str, events: tuple[str, ...], deadline: Deadline
    ) -> tuple[Callable[[int], bytes], Callable[[bool], None]]:
        """Ask for notifications; gives functions that read on and that close (see ``notify``)."""
        query: Any = {"prefix": prefix, "suffix": "", "events": events}
        _, pool = self._client()
        with self._session(None, deadline) as client:
            response = client._execute(
                "GET", self.bucket, query_params=query, preload_content=False
            )
            return self._body(response, None, deadline, pool.hold())

    def _body(
        self,
        response: BaseHTTPResponse,
        key: str | None,
        deadline: Deadline,
        let_go: Callable[[], None],
    ) -> tuple[Callable[[int], bytes], Callable[[bool], None]]:
        """Make the functions that read an open body and that close it."""

        def read(amount: int) -> bytes:
            with self._session(key, deadline):
                return response.read1(amount, decode_content=False)

        def close(reusable: bool) -> None:
            let_go()
            if not reusable:
                response.close()
            response.release_conn()

        return read, close

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
                found, truncated, following = _parse_page(response, self.bucket)
            page = [
                ObjectInfo(
                    item.object_name or "",
                    item.size or 0,
                    etag(item.etag),
                    item.version_id,
                    item.last_modified,
                )
                for item in found
            ]
            return page, truncated, following

        return self._retry(deadline).run(attempt)

    def _place(self, key: str | None) -> dict[str, Any]:
        return {"endpoint": self.endpoint.url, "bucket": self.bucket, "key": key}

    def _transfer(self, key: str, version_id: str | None, deadline: Deadline | None) -> Transfer:
        place, wait = self._place(key), self._closing.wait
        deadline = deadline or self._deadline()
        return Transfer(self, key, self._performance, deadline, place, version_id, wait)

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

    @contextmanager
    def _session(self, key: str | None, deadline: Deadline) -> Iterator[Minio]:
        """Lend the client, bound to the deadline; translate whatever it raises."""
        client, pool = self._client()
        try:
            with pool.call(deadline) as call:
                yield client
        except (StockDBError, NotModified):
            raise
        except (MinioException, MinioAdminException, ParseError, *NETWORK) as error:
            raise self._translate(_answer(error, call.status), key, deadline.passed()) from None

    def _translate(
        self, failure: Answer | Exception, key: str | None, timed_out: bool = False
    ) -> StockDBError | NotModified:
        anonymous = self._connection.access_key is None
        return translate(failure, **self._place(key), timed_out=timed_out, anonymous=anonymous)


def _parse_page(response: BaseHTTPResponse, bucket: str) -> tuple[list[Object], bool, str | None]:
    if is_page(response.headers):
        raise InvalidResponseError(response.status, "text/html", None)
    try:
        return parse_list_objects(response, bucket)[:3]
    except ValueError as error:  # a bare one would read as a name that the client refuses
        raise ParseError(type(error).__name__) from None


def _answer(error: Exception, status: int) -> Answer | Exception:
    """Take what the server said out of the client's exceptions."""
    if status >= 300 and isinstance(error, (ParseError, ValueError)):
        return Answer(status)  # the client failed to read the page that came with it
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
