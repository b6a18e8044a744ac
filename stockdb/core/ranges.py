"""Parts of one version of one object, asked for by range: never two versions mixed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from stockdb.core.store import Blob, ObjectStore
from stockdb.core.transport import Deadline

__all__ = ["RangeReader"]

_TOGETHER: Final = 8
#: A first answer within so many seconds comes from nearby: asking in turn costs less there than
#: threads do.
_NEAR: Final = 0.008
#: Seconds that a full read gets for each MiB beyond this size, on top of the deadline.
_SECONDS_PER_MIB: Final = 0.5
_LARGE: Final = 64 * 1024**2


class RangeReader:
    """Reads byte ranges of one object, pinned to the version that the first answer had.

    Parameters
    ----------
    store : ObjectStore
    key : str
    deadline : Deadline
        For everything read through it.
    etag, size : optional
        Where they are known already; otherwise the first read tells.

    Attributes
    ----------
    requests, received : int
        Requests sent and bytes received so far.
    size : int
        Bytes of the object; -1 before the first read.
    etag : str or None
    deadline : Deadline
    near : bool
        Whether the server answers so fast that several requests at once gain nothing.

    Raises
    ------
    ObjectChangedError
        By any read, where the object is no longer the version pinned.
    """

    def __init__(
        self,
        store: ObjectStore,
        key: str,
        deadline: Deadline,
        *,
        etag: str | None = None,
        size: int = -1,
    ) -> None:
        self._store = store
        self.key = key
        self.deadline = deadline
        self.etag = etag
        self.size = size
        self.version_id: str | None = None
        self.simulated = False
        self.requests = 0
        self.received = 0
        self.near = store.endpoint.loopback
        self._count = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> RangeReader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def read(self, start: int, stop: int) -> bytes:
        """Read bytes ``start`` to ``stop`` (exclusive), cut at the object's end."""
        if self.size >= 0:
            stop = min(stop, self.size)
            if start >= stop:
                return b""
        asked = time.monotonic()
        blob = self._store.get_range(
            self.key, start, stop, if_match=self.etag, deadline=self.deadline
        )
        if self.requests == 0 and time.monotonic() - asked < _NEAR:
            self.near = True
        self.count(blob)
        return bytes(blob.data)

    def count(self, blob: Blob) -> None:
        """Add what an answer cost, and be pinned to its version if it is the first."""
        with self._count:
            self.requests += blob.requests
            self.received += blob.received
            if self.size < 0:
                self.size, self.etag = blob.info.size, blob.info.etag
                self.version_id = blob.info.version_id
                self.simulated = blob.headers.get("x-amz-meta-simulated") == "true"

    def be_patient(self, size: int) -> None:
        """Give the deadline what reading so many bytes takes on a slow line."""
        extra = max(0, size - _LARGE) / 1024**2 * _SECONDS_PER_MIB
        self.deadline.expires += extra

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read several ranges, at once where that is faster; in the order given."""
        if len(ranges) < 2 or self.near:
            return [self.read(start, stop) for start, stop in ranges]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_TOGETHER, thread_name_prefix="stockdb-probe")
        return list(self._pool.map(lambda span: self.read(*span), ranges))
