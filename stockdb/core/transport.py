"""Attempts and connections with a hard time limit: the pool that the MinIO client is given.

The client's own pool waits 300 s, retries with one signature and follows redirects. Ours
does one attempt and no redirect, and a watchdog shuts the socket of any call whose time is
up, so that not even one byte every nine seconds keeps a reader waiting past its deadline.
What cannot be shut, looking a name up and connecting, happens in a thread that is left
behind.
"""

from __future__ import annotations

import functools
import heapq
import http.client
import itertools
import os
import random
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError
from urllib3.response import BaseHTTPResponse

from stockdb.core.scope import current
from stockdb.core.translate import NETWORK
from stockdb.errors import StockDBError
from stockdb.settings import Performance
from stockdb.settings.endpoint import Endpoint

__all__ = ["Deadline", "Pool", "Retry", "make_pool", "warn_about_safety"]

T = TypeVar("T")


class Deadline:
    """A moment by which a call must have ended.

    Parameters
    ----------
    seconds : float
        From now on.
    """

    __slots__ = ("__weakref__", "expires", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expires = time.monotonic() + seconds
        scope = current()
        if scope is not None:  # whoever asked may stop waiting before
            scope.add(self)

    def remaining(self) -> float:
        """Seconds left; zero or less when it has passed."""
        return self.expires - time.monotonic()

    def passed(self) -> bool:
        """Whether the time is up."""
        return self.remaining() <= 0

    def twin(self) -> Deadline:
        """Return another one for the same moment, which can be cut by itself."""
        other = Deadline(self.seconds)
        other.expires = self.expires
        return other

    def cut(self) -> None:
        """End now: whatever waits under this deadline stops waiting."""
        self.expires = time.monotonic()
        _watchdog.cut(self)


class Retry:
    """Counts the attempts at one thing and waits between them, within a deadline.

    Parameters
    ----------
    performance : Performance
        ``max_attempts``, ``backoff_base``, ``backoff_max``.
    deadline : Deadline
    wait : callable, optional
        Takes seconds; returns True where it was woken because nobody needs the result.
    """

    def __init__(
        self,
        performance: Performance,
        deadline: Deadline,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self.deadline = deadline
        self._performance = performance
        self._wait = wait
        self.failures = 0

    def progress(self) -> None:
        """Forget earlier failures: the last try brought something."""
        self.failures = 0

    def failed(self, error: StockDBError) -> None:
        """Wait before the next try, or raise where there is to be none."""
        self.failures += 1
        if not error.retryable:
            raise error
        if self.failures >= self._performance.max_attempts or self.deadline.passed():
            raise error
        # Full jitter: many clients that failed together must not come back together.
        ceiling = min(
            self._performance.backoff_max, self._performance.backoff_base * 2**self.failures
        )
        delay = random.uniform(0, ceiling)
        if delay >= self.deadline.remaining() or self._wait(delay):
            raise error

    def run(self, attempt: Callable[[], T]) -> T:
        """Call until it works or must be given up."""
        while True:
            try:
                return attempt()
            except StockDBError as error:
                self.failed(error)


@dataclass
class _Call:
    """What one attempt of one thread is allowed, what is watched for it, what came of it."""

    deadline: Deadline
    armed: list[int] = field(default_factory=list)
    status: int = 0


class _Watchdog:
    """One daemon thread that ends what has outlasted its deadline."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._heap: list[tuple[float, int]] = []
        self._watched: dict[int, tuple[Deadline, Callable[[], object]]] = {}
        self._numbers = itertools.count()
        self._pid = 0

    def arm(self, deadline: Deadline, end: Callable[[], object]) -> int:
        """Call ``end``, which must not block, once the deadline has passed or is cut."""
        with self._wake:
            if self._pid != os.getpid():  # a forked child has no watchdog thread
                self._pid = os.getpid()
                self._heap.clear()
                self._watched.clear()
                threading.Thread(target=self._run, name="stockdb-watchdog", daemon=True).start()
            number = next(self._numbers)
            self._watched[number] = deadline, end
            heapq.heappush(self._heap, (deadline.expires, number))
            if self._heap[0][1] == number:
                self._wake.notify()
            return number

    def disarm(self, number: int) -> None:
        # The heap entry stays until its time comes; the socket is let go at once.
        with self._wake:
            self._watched.pop(number, None)

    def cut(self, deadline: Deadline) -> None:
        with self._wake:
            for number, (owner, end) in list(self._watched.items()):
                if owner is deadline:
                    del self._watched[number]
                    end()

    def _run(self) -> None:
        with self._wake:
            while True:
                while self._heap and self._heap[0][1] not in self._watched:
                    heapq.heappop(self._heap)
                if not self._heap:
                    self._wake.wait()
                    continue
                wait = self._heap[0][0] - time.monotonic()
                if wait > 0:
                    self._wake.wait(wait)
                    continue
                number = heapq.heappop(self._heap)[1]
                self._watched.pop(number)[1]()


_watchdog = _Watchdog()


def _forked() -> None:
    global _watchdog
    _watchdog = _Watchdog()  # the parent's lock may be held at the moment of the fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

_current = threading.local()


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):  # already closed by its owner
        # The plain method: an SSLSocket's own would drop its state under a reader.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _settle(outcome: Future[socket.socket], connect: Callable[[], socket.socket]) -> None:
    """Connect for somebody who may have stopped waiting."""
    try:
        sock = connect()
    except NETWORK as error:
        if outcome.set_running_or_notify_cancel():
            outcome.set_exception(error)
        return
    if outcome.set_running_or_notify_cancel():
        outcome.set_result(sock)
    else:
        sock.close()


class _WholeLines:
    """Reads the lines of an answer's head, and no end of the stream for the end of the head."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._begun = False

    def readline(self, limit: int) -> bytes:
        line: bytes = self._stream.readline(limit)
        is_head = self._begun or line.startswith(b"HTTP/")
        if is_head and not line.endswith(b"\n") and len(line) < limit:
            raise http.client.IncompleteRead(line)
        self._begun = True
        return line

    def close(self) -> None:
        self._stream.close()


class _Response(http.client.HTTPResponse):
    """Refuses a head that was cut off, of which Python makes an answer without a length."""

    def begin(self) -> None:
        stream: Any = self.fp
        self.fp = _WholeLines(stream)  # type: ignore[assignment]
        try:
            super().begin()
        finally:
            if self.fp is not None:  # else it was no HTTP at all, and has been closed
                self.fp = stream


class _TimedMixin:
    """Puts whatever the current call waits for under the eyes of the watchdog."""

    response_class: Any = _Response
    sock: Any

    def _new_conn(self) -> Any:
        call: _Call | None = getattr(_current, "call", None)
        connect = super()._new_conn  # type: ignore[misc]
        if call is None:
            return connect()
        outcome: Future[socket.socket] = Future()
        # A name server may take minutes, and an address each its own connect timeout.
        threading.Thread(
            target=_settle, args=(outcome, connect), name="stockdb-connect", daemon=True
        ).start()
        number = _watchdog.arm(call.deadline, outcome.cancel)
        try:
            return outcome.result()
        except CancelledError:
            raise ConnectTimeoutError(self, "the deadline has passed") from None
        finally:
            outcome.cancel()  # on Ctrl-C: nobody takes the socket any more
            _watchdog.disarm(number)

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        self._watch(self.sock)
        super().putrequest(*args, **kwargs)  # type: ignore[misc]

    @staticmethod
    def _watch(sock: socket.socket) -> None:
        call: _Call | None = getattr(_current, "call", None)
        if call is not None:
            call.armed.append(_watchdog.arm(call.deadline, functools.partial(_shut, sock)))


class _TimedHTTP(_TimedMixin, HTTPConnection):
    pass


class _TimedHTTPS(_TimedMixin, HTTPSConnection):
    _handle: socket.socket | None = None

    def _new_conn(self) -> Any:
        sock = super()._new_conn()
        # The TLS layer takes the socket itself over; its duplicate still reaches the wire.
        self._handle = sock.dup()
        self._watch(self._handle)
        return sock

    def connect(self) -> None:
        try:
            super().connect()
        finally:
            if self._handle is not None:
                self._handle.close()
                self._handle = None


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
        if left <= 0:
            raise ConnectTimeoutError("the deadline has passed")
        kwargs["timeout"] = urllib3.Timeout(
            connect=min(self._performance.connect_timeout, left),
            read=min(self._performance.read_timeout, left),
        )
        # Nothing is unpacked on the way: a few bytes of an error page can become gigabytes.
        kwargs["decode_content"] = False
        response = super().urlopen(method, url, redirect=False, **kwargs)
        if call is not None:
            call.status = response.status
        return response

    def clear(self) -> None:
        """Close what is idle now, not when somebody collects it; what is in use, once let go."""
        for key in self.pools.keys():
            pool = self.pools.get(key)
            if pool is not None:
                pool.close()
        super().clear()

    @contextmanager
    def call(self, deadline: Deadline) -> Iterator[_Call]:
        """Bind all requests of this thread inside the block to one deadline."""
        outer = getattr(_current, "call", None)
        call = _current.call = _Call(deadline)
        try:
            yield call
        finally:
            _current.call = outer
            _let_go(call.armed)

    def hold(self) -> Callable[[], None]:
        """Keep watching what the current call has used, after its end.

        Returns
        -------
        callable
            Lets it go. Until then a body can be read without outlasting the deadline.
        """
        call: _Call = _current.call
        armed, call.armed = call.armed, []
        return functools.partial(_let_go, armed)


def warn_about_safety(endpoint: Endpoint, verify: bool) -> None:
    """Warn the caller's caller where somebody on the way could read or change the data."""
    if endpoint.secure and not verify:
        warnings.warn(
            f"Certificates of {endpoint.url} are not checked: anybody on the way can "
            "read the credentials.",
            stacklevel=4,
        )
    if not endpoint.secure and not endpoint.loopback:
        warnings.warn(
            f"{endpoint.url} is plain HTTP: data can be read and changed on the way.",
            stacklevel=4,
        )


def _let_go(armed: list[int]) -> None:
    for number in armed:
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
