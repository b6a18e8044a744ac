"""HTTP connections with a hard time limit: the pool that the MinIO client is given.

The client's own pool waits 300 s, retries with one signature and follows redirects. Ours
does one attempt and no redirect, and a watchdog shuts the socket of any call whose time is
up, so that not even one byte every nine seconds keeps a reader waiting past its deadline.
"""

from __future__ import annotations

import heapq
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import BaseHTTPResponse

from stockdb.settings import Performance

__all__ = ["Deadline", "Pool", "make_pool"]


class Deadline:
    """A moment by which a call must have ended.

    Parameters
    ----------
    seconds : float
        From now on.
    """

    __slots__ = ("expires", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expires = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left; zero or less when it has passed."""
        return self.expires - time.monotonic()

    def passed(self) -> bool:
        """Whether the time is up."""
        return self.remaining() <= 0


@dataclass
class _Call:
    """What one attempt of one thread is allowed, and the sockets it uses."""

    deadline: Deadline
    armed: list[int] = field(default_factory=list)


class _Watchdog:
    """One daemon thread that shuts the sockets of calls whose time is up."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._heap: list[tuple[float, int]] = []
        self._sockets: dict[int, socket.socket] = {}
        self._numbers = itertools.count()
        self._pid = 0

    def arm(self, sock: socket.socket, expires: float) -> int:
        with self._wake:
            if self._pid != os.getpid():  # a forked child has no watchdog thread
                self._pid = os.getpid()
                self._heap.clear()
                self._sockets.clear()
                threading.Thread(target=self._run, name="stockdb-watchdog", daemon=True).start()
            number = next(self._numbers)
            self._sockets[number] = sock
            heapq.heappush(self._heap, (expires, number))
            if self._heap[0][1] == number:
                self._wake.notify()
            return number

    def disarm(self, number: int) -> None:
        # The heap entry stays until its time comes; the socket is let go at once.
        with self._wake:
            self._sockets.pop(number, None)

    def _run(self) -> None:
        with self._wake:
            while True:
                while self._heap and self._heap[0][1] not in self._sockets:
                    heapq.heappop(self._heap)
                if not self._heap:
                    self._wake.wait()
                    continue
                wait = self._heap[0][0] - time.monotonic()
                if wait > 0:
                    self._wake.wait(wait)
                    continue
                number = heapq.heappop(self._heap)[1]
                sock = self._sockets.pop(number)
                with suppress(OSError):  # already closed by its owner
                    # The plain method: an SSLSocket's own would drop its state under a reader.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)


_watchdog = _Watchdog()


def _forked() -> None:
    global _watchdog
    _watchdog = _Watchdog()  # the parent's lock may be held at the moment of the fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

_current = threading.local()


class _TimedMixin:
    """Hands the socket to the watchdog for the length of the current call."""

    sock: Any

    def _new_conn(self) -> Any:
        sock = super()._new_conn()  # type: ignore[misc]
        self._watch(sock)  # a TLS handshake can drip too
        return sock

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        self._watch(self.sock)
        super().putrequest(*args, **kwargs)  # type: ignore[misc]

    @staticmethod
    def _watch(sock: socket.socket) -> None:
        call: _Call | None = getattr(_current, "call", None)
        if call is not None:
            call.armed.append(_watchdog.arm(sock, call.deadline.expires))


class _TimedHTTP(_TimedMixin, HTTPConnection):
    pass


class _TimedHTTPS(_TimedMixin, HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _TimedHTTP


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TimedHTTPS


class Pool(urllib3.PoolManager):
    """A pool that makes one attempt per call and follows no redirect."""

    def __init__(self, performance: Performance, **kwargs: Any) -> None:
        super().__init__(retries=False, **kwargs)
        self.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
        self._performance = performance

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **kwargs: Any
    ) -> BaseHTTPResponse:
        """Send one request within the current call's time."""
        call: _Call | None = getattr(_current, "call", None)
        left = self._performance.object_deadline if call is None else call.deadline.remaining()
        left = max(left, 0.001)
        kwargs["timeout"] = urllib3.Timeout(
            connect=min(self._performance.connect_timeout, left),
            read=min(self._performance.read_timeout, left),
        )
        return super().urlopen(method, url, redirect=False, **kwargs)

    @contextmanager
    def call(self, deadline: Deadline) -> Iterator[None]:
        """Bind all requests of this thread inside the block to one deadline."""
        outer = getattr(_current, "call", None)
        call = _current.call = _Call(deadline)
        try:
            yield
        finally:
            _current.call = outer
            for number in call.armed:
                _watchdog.disarm(number)


def make_pool(
    performance: Performance, *, verify: bool = True, ca_file: Path | None = None
) -> Pool:
    """Build the pool for one client.

    Parameters
    ----------
    performance : Performance
        Timeouts; the pool keeps a connection for every worker.
    verify : bool
        Check TLS certificates.
    ca_file : pathlib.Path, optional
        PEM file of the authorities to trust; ``SSL_CERT_FILE`` or certifi's otherwise.
    """
    trusted = str(ca_file) if ca_file else os.environ.get("SSL_CERT_FILE") or certifi.where()
    return Pool(
        performance,
        num_pools=4,
        maxsize=performance.max_workers + 4,
        cert_reqs="CERT_REQUIRED" if verify else "CERT_NONE",
        ca_certs=trusted if verify else None,
    )
