"""Moving one object: resume, never two versions mixed, verified before it is handed on.

Knows nothing of MinIO: it drives a :class:`Source`, so the same code runs against a real
server and against one that breaks on purpose.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from stockdb.core.integrity import checksum, stored_checksum
from stockdb.core.transport import Deadline
from stockdb.errors import (
    DeadlineError,
    IntegrityError,
    ObjectChangedError,
    StockDBError,
    UnavailableError,
)
from stockdb.settings import Performance

__all__ = ["FileSink", "MemorySink", "ObjectInfo", "Retry", "Source", "Stream", "Transfer"]

T = TypeVar("T")
_PARALLEL_RANGES: Final = 4
#: A try that delivered this much was worth it: it does not count against the attempts.
_PROGRESS: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a listing or an answer's headers say about an object.

    Attributes
    ----------
    key : str
    size : int
        Bytes stored.
    etag : str or None
        Without quotes; None where the server gives none.
    version_id : str or None
    last_modified : datetime.datetime or None
        Aware, UTC.
    """

    key: str
    size: int
    etag: str | None = None
    version_id: str | None = None
    last_modified: dt.datetime | None = None


@dataclass
class Stream:
    """An answer whose body is still to be read.

    Attributes
    ----------
    info : ObjectInfo
        Of the whole object, also where the body is a part of it.
    start, stop : int
        The bytes of the object that the body holds.
    headers : mapping
    read : callable
        Returns the next bytes, at most the number given; empty at the end.
    close : callable
        Takes True where the body was read to its end and the connection can be kept.
    """

    info: ObjectInfo
    start: int
    stop: int
    headers: Mapping[str, str]
    read: Callable[[int], bytes]
    close: Callable[[bool], None]


class Source(Protocol):
    """One attempt at an object; raises errors of our tree only."""

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
        """Open bytes ``start`` to ``stop`` (exclusive) of an object."""
        ...


class MemorySink:
    """Collects an object in memory, in one allocation."""

    def __init__(self) -> None:
        self.data = bytearray()

    def reset(self, size: int) -> None:
        """Make room for an object of this size, dropping what was there."""
        self.data = bytearray(size)

    def write(self, offset: int, chunk: bytes) -> None:
        """Put a chunk where it belongs."""
        self.data[offset : offset + len(chunk)] = chunk

    def blocks(self) -> Iterator[memoryview]:
        """Everything written, in order, for checksums."""
        yield memoryview(self.data)


class FileSink:
    """Collects an object in an open file."""

    def __init__(self, descriptor: int) -> None:
        self._fd = descriptor

    def reset(self, size: int) -> None:
        """Empty the file."""
        os.ftruncate(self._fd, 0)

    def write(self, offset: int, chunk: bytes) -> None:
        """Put a chunk where it belongs."""
        view = memoryview(chunk)
        while view:
            written = os.pwrite(self._fd, view, offset)
            view, offset = view[written:], offset + written

    def blocks(self) -> Iterator[memoryview]:
        """Everything written, in order, for checksums."""
        offset = 0
        while block := os.pread(self._fd, 1 << 20, offset):
            offset += len(block)
            yield memoryview(block)


class _NoVersionError(Exception):
    """A body without an ETag broke: only reading it again from the start is safe."""

    def __init__(self, error: StockDBError) -> None:
        super().__init__(error)
        self.error = error


class Retry:
    """Counts the attempts at one thing and waits between them, within a deadline.

    Parameters
    ----------
    performance : Performance
        ``max_attempts``, ``backoff_base``, ``backoff_max``.
    deadline : Deadline
    wait : callable, optional
        Takes seconds.
    """

    def __init__(
        self,
        performance: Performance,
        deadline: Deadline,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._performance = performance
        self._deadline = deadline
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
        if self.failures >= self._performance.max_attempts or self._deadline.passed():
            raise error
        # Full jitter: many clients that failed together must not come back together.
        ceiling = min(
            self._performance.backoff_max, self._performance.backoff_base * 2**self.failures
        )
        delay = random.uniform(0, ceiling)
        if delay >= self._deadline.remaining():
            raise error
        self._wait(delay)

    def run(self, attempt: Callable[[], T]) -> T:
        """Call until it works or must be given up."""
        while True:
            try:
                return attempt()
            except StockDBError as error:
                self.failed(error)


@dataclass
class Transfer:
    """One object on its way into a sink.

    Attributes
    ----------
    requests, received : int
        Requests sent and body bytes received so far, repeats included.
    headers : mapping
        Of the last answer that began a whole object.
    """

    source: Source
    key: str
    performance: Performance
    deadline: Deadline
    version_id: str | None = None
    wait: Callable[[float], object] = time.sleep
    requests: int = 0
    received: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    _count: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def whole(self, sink: MemorySink | FileSink, if_none_match: str | None = None) -> ObjectInfo:
        """Fetch the whole object, verified.

        Raises
        ------
        NotModified
            ``if_none_match`` is still the current ETag.
        ObjectChangedError
            Replaced during the transfer, twice.
        IntegrityError
            The bytes do not match the stored checksum or length, twice.
        UnavailableError, DeadlineError
            After all attempts, or at the deadline.
        """
        changed = damaged = False
        while True:
            try:
                return self._once(sink, if_none_match)
            except ObjectChangedError:
                if changed:
                    raise
                changed = True
            except IntegrityError:
                if damaged:
                    raise
                damaged = True

    def part(self, start: int, stop: int, if_match: str | None) -> tuple[bytes, ObjectInfo]:
        """Fetch bytes ``start`` to ``stop`` (exclusive) of one version of the object.

        The object's end cuts the range short. Raises as :meth:`whole`, but a replaced
        object at once: only the caller knows what else has to be read again.
        """
        sink = bytearray()
        retry = self._retry()
        info: ObjectInfo | None = None
        while True:
            try:
                stream = self._open(
                    start + len(sink), stop, if_match or (info.etag if info else None)
                )
                if info is not None and stream.info.etag != info.etag:
                    stream.close(False)
                    raise ObjectChangedError(f"{self.key} was replaced.", key=self.key)
                info, stop = stream.info, min(stop, stream.info.size)
                self._drain(stream, lambda offset, chunk: sink.extend(chunk), stop, retry)
                stream.close(False)  # where the server sent more than was asked for
                return bytes(sink), info
            except ObjectChangedError:
                raise
            except StockDBError as error:
                retry.failed(error)

    def _retry(self) -> Retry:
        return Retry(self.performance, self.deadline, self.wait)

    def _open(
        self,
        start: int = 0,
        stop: int | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> Stream:
        with self._count:
            self.requests += 1
        stream = self.source.open(
            self.key,
            self.deadline,
            start=start,
            stop=stop,
            if_match=if_match,
            if_none_match=if_none_match,
            version_id=self.version_id,
        )
        if stream.start != start:
            stream.close(False)
            raise UnavailableError(
                f"The server answered another range of {self.key} than was asked for.",
                remedy="Check for a proxy between here and the server.",
                retryable=False,
                key=self.key,
            )
        return stream

    def _once(self, sink: MemorySink | FileSink, if_none_match: str | None) -> ObjectInfo:
        retry = self._retry()
        while True:
            stream = retry.run(lambda: self._open(if_none_match=if_none_match))
            info, headers = stream.info, stream.headers
            self.headers = headers
            sink.reset(info.size)
            try:
                if info.size >= 2 * self.performance.part_size and info.etag:
                    self._in_parts(stream, sink, retry)
                else:
                    self._continue(stream, sink, 0, info.size, info, retry)
            except _NoVersionError as broken:
                retry.failed(broken.error)
                continue
            self._verify(sink, info, headers)
            return info

    def _continue(
        self,
        stream: Stream | None,
        sink: MemorySink | FileSink,
        start: int,
        stop: int,
        info: ObjectInfo,
        retry: Retry,
    ) -> None:
        """Read on up to ``stop``; where the body breaks, go on by range and If-Match."""
        position = start

        def write(offset: int, chunk: bytes) -> None:
            nonlocal position
            sink.write(offset, chunk)
            position = offset + len(chunk)

        while True:
            try:
                stream = stream or self._reopen(position, stop, info)
                self._drain(stream, write, stop, retry)
                return
            except ObjectChangedError:
                raise
            except StockDBError as error:
                if info.etag is None:  # nothing says that the rest belongs to the same version
                    raise _NoVersionError(error) from None
                stream = None
                retry.failed(error)

    def _reopen(self, position: int, stop: int, info: ObjectInfo) -> Stream:
        stream = self._open(position, stop, if_match=info.etag)
        # A server may ignore If-Match; the answer's own ETag tells which version it is.
        if stream.info.etag != info.etag or stream.info.size != info.size:
            stream.close(False)
            raise ObjectChangedError(f"{self.key} was replaced while it was read.", key=self.key)
        return stream

    def _in_parts(self, stream: Stream, sink: MemorySink | FileSink, retry: Retry) -> None:
        """Let the open body run from the front while others take parts from the back."""
        info, step = stream.info, self.performance.part_size
        parts = deque((start, min(start + step, info.size)) for start in range(0, info.size, step))
        stop = threading.Event()

        def from_the_back() -> None:
            while not stop.is_set():
                try:
                    start, end = parts.pop()
                except IndexError:
                    return
                self._continue(None, sink, start, end, info, self._retry())

        workers = min(_PARALLEL_RANGES - 1, len(parts) - 1)
        with ThreadPoolExecutor(workers, thread_name_prefix="stockdb-range") as pool:
            helpers = [pool.submit(from_the_back) for _ in range(workers)]
            try:
                front: Stream | None = stream
                while True:
                    try:
                        start, end = parts.popleft()
                    except IndexError:
                        break
                    self._continue(front, sink, start, end, info, retry)
                    front = stream if front is not None and stream.start == end else None
                if front is not None:
                    front.close(False)
                for helper in helpers:
                    helper.result()
            except BaseException:
                stop.set()
                parts.clear()
                stream.close(False)
                raise

    def _drain(
        self,
        stream: Stream,
        write: Callable[[int, bytes], object],
        stop: int,
        retry: Retry,
    ) -> None:
        """Read a body up to ``stop``; ``stream.start`` moves along with what was read."""
        window_start, window_bytes = time.monotonic(), 0
        performance = self.performance
        first = stream.start
        try:
            while stream.start < stop:
                chunk = stream.read(min(1 << 20, stop - stream.start))
                if not chunk:
                    raise UnavailableError(
                        f"The body of {self.key} ended after {stream.start} of {stop} bytes.",
                        key=self.key,
                    )
                write(stream.start, chunk)
                stream.start += len(chunk)
                with self._count:
                    self.received += len(chunk)
                if stream.start - first >= _PROGRESS:
                    retry.progress()
                if stream.start >= stop:
                    break
                if self.deadline.passed():
                    raise self._late()
                window_bytes += len(chunk)
                elapsed = time.monotonic() - window_start
                if elapsed >= performance.stall_window:
                    if window_bytes < performance.min_bytes_per_second * elapsed:
                        raise self._late()
                    window_start, window_bytes = time.monotonic(), 0
        except BaseException:  # Ctrl-C too: a half-read connection must not go back
            stream.close(False)
            raise
        if stream.start >= stream.stop:
            stream.close(True)

    def _late(self) -> DeadlineError:
        return DeadlineError(f"{self.key} arrives too slowly.", key=self.key)

    def _verify(
        self, sink: MemorySink | FileSink, info: ObjectInfo, headers: Mapping[str, str]
    ) -> None:
        """Compare with the strongest checksum that the server stored."""
        wanted = stored_checksum(info.etag, headers) if self.performance.verify_checksums else None
        if wanted is None:
            return  # the length was held against the headers while reading
        name, digest = wanted
        if checksum(name, sink.blocks()) != digest:
            raise IntegrityError(
                f"The bytes of {self.key} do not match its {name} checksum.",
                remedy="Try again; if the server's ETags are no MD5, set verify_checksums=False.",
                key=self.key,
            )
