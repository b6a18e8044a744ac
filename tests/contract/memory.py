"""A bucket without a socket, for tests of what stands above the store.

It answers as ``stockdb.core.store.ObjectStore`` in front of a server does, as far as
``test_store.py`` asks, which runs on it as on the real servers. It speaks in the server's
codes, and has them translated by the code that translates a real server's.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from stockdb.core.store import Blob, NotModified, ObjectInfo
from stockdb.core.translate import Answer, translate
from stockdb.core.transport import Deadline
from stockdb.settings.endpoint import parse_endpoint

__all__ = ["MemoryServer", "MemoryStore"]

PAGE: Final = 1000
#: What the MinIO client takes for headers of HTTP; all else is the user's metadata.
PLAIN_HEADERS: Final = {"cache-control", "content-encoding", "content-language"}
STATUS: Final = {
    "InternalError": 500,
    "InvalidRange": 416,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchVersion": 404,
    "NotImplemented": 501,
    "PreconditionFailed": 412,
    "SignatureDoesNotMatch": 403,
}


@dataclass(frozen=True)
class Version:
    """One state of an object; ``data`` None says that it was deleted."""

    data: bytes | None
    info: ObjectInfo
    headers: dict[str, str] = field(default_factory=dict)


class MemoryServer:
    """What the stores of one test share.

    Attributes
    ----------
    requests : int
        So many a real server would have seen.
    """

    endpoint = parse_endpoint("http://127.0.0.1:9")

    def __init__(
        self,
        *,
        secret: str = "dummy-secret",
        selects: bool = True,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self.secret, self.selects, self.clock = secret, selects, clock
        self.buckets: dict[str, dict[str, tuple[Version, ...]]] = {}
        self.versioned: set[str] = set()
        self.requests = 0
        self.lock = threading.RLock()
        self._numbers = itertools.count(1)

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes | None,
        headers: dict[str, str] | None = None,
        etag: str | None = None,
    ) -> ObjectInfo:
        """Store an object as it is, or its deletion; the ETag is the MD5 where none is given."""
        with self.lock:
            version_id = f"version-{next(self._numbers)}" if bucket in self.versioned else None
            etag = etag or hashlib.md5(data or b"").hexdigest()
            now = self.clock().replace(microsecond=0)
            info = ObjectInfo(key, len(data or b""), etag, version_id, now)
            kept = self.buckets[bucket].get(key, ()) if version_id else ()
            self.buckets[bucket][key] = (*kept, Version(data, info, headers or {}))
            return info


class MemoryStore:
    """One bucket of a :class:`MemoryServer`, with the methods of ``ObjectStore``."""

    def __init__(
        self, server: MemoryServer, bucket: str = "stockdb", secret: str | None = None
    ) -> None:
        self.server, self.endpoint, self.bucket = server, server.endpoint, bucket
        self._secret = server.secret if secret is None else secret

    @property
    def identity(self) -> tuple[str, str]:
        return self.endpoint.url, self.bucket

    def close(self) -> None:
        pass

    def get(
        self,
        key: str,
        *,
        if_none_match: str | None = None,
        version_id: str | None = None,
        deadline: Deadline | None = None,
    ) -> Blob:
        found, data = self._find(key, version_id)
        if if_none_match is not None and if_none_match == found.info.etag:
            raise NotModified
        return Blob(bytearray(data), found.info, 1, len(data), found.headers)

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
        if not 0 <= start < stop:
            raise ValueError(f"not a range: {start} to {stop}")
        found, data = self._find(key, version_id)
        if if_match is not None and if_match != found.info.etag:
            raise self._refusal("PreconditionFailed", key)
        if start >= len(data):
            raise self._refusal("InvalidRange", key)
        part = data[start:stop]
        return Blob(part, found.info, 1, len(part), found.headers)

    def download(self, key: str, descriptor: int, *, deadline: Deadline | None = None) -> Blob:
        blob = self.get(key)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, blob.data, 0)
        return Blob(b"", blob.info, blob.requests, blob.received, blob.headers)

    def stat(self, key: str, *, deadline: Deadline | None = None) -> ObjectInfo:
        return self._find(key)[0].info

    def listing(
        self,
        prefix: str = "",
        *,
        recursive: bool = True,
        limit: int | None = None,
        deadline: Deadline | None = None,
    ) -> Iterator[ObjectInfo]:
        with self.server.lock:
            objects = list(self._objects().items())
        found: dict[str, ObjectInfo] = {}
        for key, versions in sorted(objects, key=lambda item: item[0].encode()):
            if not key.startswith(prefix) or versions[-1].data is None:
                continue
            folder, slash, _ = key[len(prefix) :].partition("/")
            name = key if recursive or not slash else f"{prefix}{folder}/"
            found.setdefault(name, versions[-1].info if name == key else ObjectInfo(name, 0))
        for number, info in enumerate(itertools.islice(found.values(), limit)):
            if number and number % PAGE == 0:
                self._objects()  # the next page is asked for when the last was read
            yield info

    def probe(self, deadline: Deadline) -> dt.datetime | None:
        self._objects()
        return self.server.clock()

    def select(
        self, key: str, column: str, value: str, *, deadline: Deadline | None = None
    ) -> bytes:
        if not self.server.selects:
            raise self._refusal("NotImplemented", key)
        _, data = self._find(key)
        header, *rows = csv.reader(io.StringIO(data.decode(), newline=""))
        if column not in header:
            raise self._refusal("InternalError", key)  # MinIO's word for it
        place = header.index(column)
        answer = io.StringIO()
        csv.writer(answer, lineterminator="\n").writerows(r for r in rows if r[place] == value)
        return answer.getvalue().encode()

    def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "text/csv",
        metadata: dict[str, str] | None = None,
        only_if: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        versions = self._objects().get(key, ())
        held = versions[-1].info.etag if versions and versions[-1].data is not None else None
        for name, wanted in (only_if or {}).items():
            met = held is None if name == "If-None-Match" else wanted == f'"{held}"'
            if not met:
                error = self._refusal("PreconditionFailed", key)
                error.retryable = False  # type: ignore[attr-defined]
                raise error
        headers = {"content-type": content_type}
        for name, text in (metadata or {}).items():
            plain = name.lower() in PLAIN_HEADERS
            headers[name.lower() if plain else f"x-amz-meta-{name.lower()}"] = text
        return self.server.put(self.bucket, key, bytes(data), headers)

    def make_bucket(self) -> None:
        self.server.buckets.setdefault(self.bucket, {})

    def _objects(self) -> dict[str, tuple[Version, ...]]:
        """Make one request: what the bucket holds, for whoever has the secret."""
        with self.server.lock:
            self.server.requests += 1
            if self._secret != self.server.secret:
                raise self._refusal("SignatureDoesNotMatch", None)
            if self.bucket not in self.server.buckets:
                raise self._refusal("NoSuchBucket", None)
            return self.server.buckets[self.bucket]

    def _find(self, key: str, version_id: str | None = None) -> tuple[Version, bytes]:
        versions = self._objects().get(key, ())
        if version_id is not None:
            versions = tuple(one for one in versions if one.info.version_id == version_id)
        if not versions or versions[-1].data is None:
            raise self._refusal("NoSuchVersion" if version_id else "NoSuchKey", key)
        return versions[-1], versions[-1].data

    def _refusal(self, code: str, key: str | None) -> Exception:
        url, bucket = self.identity
        return translate(Answer(STATUS[code], code), endpoint=url, bucket=bucket, key=key)
