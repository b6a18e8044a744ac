"""Moving one object: resume, never two versions mixed, verified before it is handed on.

Knows nothing of MinIO: it drives a :class:`Source`, so the same code runs against a real
server and against one that breaks on purpose.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from stockdb.core.integrity import checksum, stored_checksum
from stockdb.core.transport import Deadline, Retry
from stockdb.errors import (
    DataError,
    DeadlineError,
    IntegrityError,
    NotFoundError,
    ObjectChangedError,
    StockDBError,
    UnavailableError,
)
from stockdb.settings import Performance

__all__ = ["FileSink", "MemorySink", "ObjectInfo", "Source", "Stream", "Transfer"]

E = TypeVar("E", bound=StockDBError)
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


@dataclass
class Transfer:
    """One object on its way into a sink.

    Attributes
    ----------
    place : mapping
        ``endpoint``, ``bucket`` and ``key``, for the errors.
    requests, received : int
        Requests sent and body bytes received so far, repeats included.
    headers : mapping
        Of the last answer that began a whole object.
    """

    source: Source
    key: str
    performance: Performance
    deadline: Deadline
    place: Mapping[str, str]
    version_id: str | None = None
    wait: Callable[[float], object] = time.sleep
    requests: int = 0
    received: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    _count: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def whole(
        self,
        sink: MemorySink | FileSink,
        if_none_match: str | None = None,
        promised: ObjectInfo | None = None,
    ) -> ObjectInfo:
        """Fetch the whole object, verified.

        Parameters
        ----------
        sink : MemorySink or FileSink
        if_none_match : str, optional
        promised : ObjectInfo, optional
            What was said of the object before; of the same ETag, it has the same length.

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
        DataError
            The object does not fit into memory.
        """
        changed = damaged = False
        while True:
            try:
                return self._once(sink, if_none_match, promised)
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
        wanted = if_match
        while True:
            try:
                stream = self._open(retry.deadline, start + len(sink), stop, wanted)
                info = stream.info
                # A server may ignore If-Match; the answer's own ETag tells which version it is.
                if wanted and info.etag != wanted:
                    stream.close(False)
                    raise self._changed()
                wanted, self.headers = info.etag, stream.headers
                self._drain(
                    stream, lambda _, chunk: sink.extend(chunk), min(stop, info.size), retry
                )
                stream.close(False)  # where the server sent more than was asked for
                return bytes(sink), info
            except ObjectChangedError:
                raise
            except StockDBError as error:
                if wanted is None:  # nothing says that the rest belongs to the same version
                    sink.clear()
                retry.failed(error)

    def _retry(self) -> Retry:
        return Retry(self.performance, self.deadline, self.wait)

    def _error(self, kind: type[E], message: str, **more: Any) -> E:
        """Make an error that says where; ``{}`` stands for the object."""
        object_ = f"{self.place['bucket']}/{self.key} at {self.place['endpoint']}"
        return kind(message.format(object_), **self.place, **more)

    def _changed(self) -> ObjectChangedError:
        return self._error(ObjectChangedError, "{} was replaced while it was read.")

    def _open(
        self,
        deadline: Deadline,
        start: int = 0,
        stop: int | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> Stream:
        with self._count:
            self.requests += 1
        stream = self.source.open(
            self.key,
            deadline,
            start=start,
            stop=stop,
            if_match=if_match,
            if_none_match=if_none_match,
            version_id=self.version_id,
        )
        if stream.start != start:
            stream.close(False)
            raise self._error(
                UnavailableError,
                "The server answered another range of {} than was asked for.",
                remedy="Check for a proxy between here and the server.",
                retryable=False,
            )
        if self.version_id and stream.info.version_id != self.version_id:
            # Some servers ignore versionId and send what is current.
            stream.close(False)
            raise self._error(
                NotFoundError,
                "The server does not keep the version asked for of {}.",
                remedy="Ask a server, and a bucket, that keeps versions.",
                version_id=self.version_id,
            )
        return stream

    def _once(
        self, sink: MemorySink | FileSink, if_none_match: str | None, promised: ObjectInfo | None
    ) -> ObjectInfo:
        retry = self._retry()
        while True:
            stream = retry.run(lambda: self._open(retry.deadline, if_none_match=if_none_match))
            info, self.headers = stream.info, stream.headers
            self._make_room(sink, stream)
            try:
                if info.size >= 2 * self.performance.part_size and info.etag:
                    self._in_parts(stream, sink, retry)
                else:
                    self._continue(stream, sink, 0, info.size, info, retry)
            except _NoVersionError as broken:
                retry.failed(broken.error)
                continue
            self._verify(sink, info, promised)
            return info

    def _make_room(self, sink: MemorySink | FileSink, stream: Stream) -> None:
        try:
            sink.reset(stream.info.size)
        except (MemoryError, OSError) as error:
            stream.close(False)
            if isinstance(error, OSError):
                raise
            raise self._error(
                DataError,
                f"{{}} is said to have {stream.info.size} bytes, which do not fit into memory.",
                remedy="Use download_file(), which writes it to disk.",
            ) from None

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
                stream = stream or self._reopen(retry.deadline, position, stop, info)
                self._drain(stream, write, stop, retry)
                return
            except ObjectChangedError:
                raise
            except StockDBError as error:
                if info.etag is None:  # nothing says that the rest belongs to the same version
                    raise _NoVersionError(error) from None
                stream = None
                retry.failed(error)

    def _reopen(self, deadline: Deadline, position: int, stop: int, info: ObjectInfo) -> Stream:
        stream = self._open(deadline, position, stop, if_match=info.etag)
        if stream.info.etag != info.etag or stream.info.size != info.size:
            stream.close(False)
            raise self._changed()
        return stream

    def _in_parts(self, stream: Stream, sink: MemorySink | FileSink, retry: Retry) -> None:
        """Let the open body run from the front while others take parts from the back."""
        info, step = stream.info, self.performance.part_size
        parts = deque((start, min(start + step, info.size)) for start in range(0, info.size, step))
        helping = self.deadline.twin()  # ends with ours, or earlier by our hand
        stop = threading.Event()
        failures: list[Exception] = []

        def give_up() -> None:
            parts.clear()
            stop.set()
            helping.cut()

        def from_the_back() -> None:
            while parts:
                try:
                    start, end = parts.pop()
                    patience = Retry(self.performance, helping, stop.wait)
                    self._continue(None, sink, start, end, info, patience)
                except IndexError:
                    return
                except (StockDBError, OSError) as error:  # OSError: the disk
                    failures.append(error)
                    give_up()

        workers = min(_PARALLEL_RANGES, len(parts)) - 1
        with ThreadPoolExecutor(workers, thread_name_prefix="stockdb-range") as pool:
            try:
                helpers = [pool.submit(from_the_back) for _ in range(workers)]
                self._from_the_front(stream, parts, sink, retry)
                wait(helpers)
            except BaseException:  # Ctrl-C too: nobody may write into the sink after us
                give_up()
                stream.close(False)
                raise
        if failures:  # the first; those after it came of giving up
            raise failures[0]
        for helper in helpers:
            helper.result()

    def _from_the_front(
        self,
        stream: Stream,
        parts: deque[tuple[int, int]],
        sink: MemorySink | FileSink,
        retry: Retry,
    ) -> None:
        front: Stream | None = stream
        while parts:
            try:
                start, end = parts.popleft()
            except IndexError:  # a helper was faster
                break
            self._continue(front, sink, start, end, stream.info, retry)
            # Once it broke, the rest of its parts are asked for one by one.
            front = stream if front is not None and stream.start == end else None
        if front is not None:
            front.close(False)

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
                    raise self._error(
                        UnavailableError, f"{{}} ended after {stream.start} of {stop} bytes."
                    )
                write(stream.start, chunk)
                stream.start += len(chunk)
                with self._count:
                    self.received += len(chunk)
                # Without an ETag the next try begins anew, so nothing has been gained.
                if stream.info.etag and stream.start - first >= _PROGRESS:
                    retry.progress()
                if stream.start >= stop:
                    break
                if retry.deadline.passed():
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
        return self._error(DeadlineError, "{} arrives too slowly.")

    def _verify(
        self, sink: MemorySink | FileSink, info: ObjectInfo, promised: ObjectInfo | None
    ) -> None:
        """Compare with the strongest checksum that the server stored, and with the length."""
        same = promised is not None and info.etag is not None and info.etag == promised.etag
        if promised and same and 0 < promised.size != info.size:  # 0 where HEAD told no length
            raise self._error(
                IntegrityError,
                f"{{}} came with {info.size} of the {promised.size} bytes that it has.",
            )
        if not self.performance.verify_checksums:
            return
        wanted = stored_checksum(info.etag, self.headers)
        if wanted is None:
            return  # the length was held against the headers while reading
        name, digest = wanted
        if checksum(name, sink.blocks()) != digest:
            raise self._error(
                IntegrityError,
                f"The bytes of {{}} do not match its {name} checksum.",
                remedy="Try again; if the server's ETags are no MD5, set verify_checksums=False.",
            )
