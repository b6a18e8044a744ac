"""Single flight: of all threads and processes that want one thing, one goes.

A lock (``flock``) belongs to an open file, not to a process: it ends with the last descriptor,
so a killed holder releases at once, but a forked child would hold on with its copy. Files that
carry a lock are therefore opened with :func:`opened`, which keeps them out of children.

Where the system locks single bytes for an open file (Linux), all names share one file: making
a file takes longer than all else here, and strangers never wait for each other.
"""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from stockdb.core.scope import current

try:
    import fcntl
except ImportError:  # Windows: threads are serialised, processes may fetch twice
    fcntl = None  # type: ignore[assignment]

__all__ = ["SingleFlight", "opened", "try_lock"]

#: Lock commands of an open file's own bytes, as ``fcntl`` names them; None where there are none.
_BYTES: Final = getattr(fcntl, "F_OFD_SETLK", None) if sys.maxsize > 2**32 else None
_FLOCK: Final = struct.Struct("@hhqqi0q")  # type, whence, start, length, process
_STRIPES: Final = 128
_FIRST_NAP: Final = 0.002
_LONGEST_NAP: Final = 0.05
_FLAGS: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)

_open_here: set[int] = set()


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """Open a private file for one block; no symlink is followed, no child keeps it.

    Parameters
    ----------
    path : pathlib.Path
    flags : int
        Of ``os.open``.
    """
    descriptor = os.open(path, flags | _FLAGS, 0o600)
    _open_here.add(descriptor)
    try:
        yield descriptor
    finally:
        if descriptor in _open_here:  # else this is a child, and it was closed at the fork
            _open_here.discard(descriptor)
            if fcntl is not None:  # a child forked in this very instant may have a copy
                with suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Take the exclusive lock of an open file, unless somebody alive holds it.

    Raises
    ------
    OSError
        The file system has no locks, which says nothing about a holder.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_byte(descriptor: int, byte: int) -> bool:
    """Take the lock of one byte, which need not be there; see :func:`try_lock`."""
    try:
        _byte_lock(descriptor, byte, fcntl.F_WRLCK)
    except (BlockingIOError, PermissionError):  # both are allowed to say "held"
        return False
    return True


def _byte_lock(descriptor: int, byte: int, kind: int) -> None:
    assert _BYTES is not None
    fcntl.fcntl(descriptor, _BYTES, _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0))


class _Named:
    """A lock that can be referred to weakly."""

    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()


class SingleFlight:
    """Locks by name: a thread lock first, then a file lock that a dead holder releases.

    Parameters
    ----------
    directory : pathlib.Path
        Holds the lock file; without locks of single bytes, up to 128 of them.

    Notes
    -----
    Waiting is bounded and a lock that fails is no error: the caller then does the work a
    second time, which costs a request and harms nothing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._guard = threading.Lock()
        self._named: WeakValueDictionary[str, _Named] = WeakValueDictionary()

    @contextmanager
    def hold(self, name: str, wait: float) -> Iterator[bool]:
        """Wait for the name's turn, at most ``wait`` seconds; yields whether it came."""
        until = time.monotonic() + wait
        with self._guard:
            named = self._named.get(name)
            if named is None:
                named = self._named[name] = _Named()
        got = _acquire(named.lock, until)
        try:
            with self._file_lock(name, until) if got else nullcontext(False) as locked:
                yield locked
        finally:
            if got:
                named.lock.release()

    @contextmanager
    def _file_lock(self, name: str, until: float) -> Iterator[bool]:
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
        by_byte = _BYTES is not None
        path = self._directory / ("flights" if by_byte else f"{number % _STRIPES:03x}")
        with ExitStack() as stack:
            locked = False
            with suppress(OSError):  # full, read-only, no locks or no descriptors: go without
                descriptor = stack.enter_context(opened(path, os.O_RDWR | os.O_CREAT))
                if by_byte:
                    locked = _wait_for(lambda: _try_byte(descriptor, number), until)
                    stack.callback(_release, descriptor, number)
                else:
                    locked = _wait_for(lambda: try_lock(descriptor), until)
            yield locked


def _release(descriptor: int, byte: int) -> None:
    """Let go at once, whoever may have a copy of the descriptor; none if this is a fork."""
    if descriptor in _open_here:
        with suppress(OSError):
            _byte_lock(descriptor, byte, fcntl.F_UNLCK)


def _acquire(lock: threading.Lock, until: float) -> bool:
    """Take a thread lock, in bounded time; whose scope is cancelled waits no longer."""
    scope = current()
    if scope is None:
        return lock.acquire(timeout=max(until - time.monotonic(), 0))
    while not lock.acquire(timeout=min(_LONGEST_NAP, max(until - time.monotonic(), 0))):
        if scope.cancelled or time.monotonic() >= until:
            return False
    return True


def _wait_for(attempt: Callable[[], bool], until: float) -> bool:
    nap = _FIRST_NAP
    while not attempt():
        scope = current()
        if time.monotonic() + nap > until or (scope is not None and scope.cancelled):
            return False
        time.sleep(nap)
        nap = min(nap * 1.5, _LONGEST_NAP)
    return True


def _after_fork() -> None:
    """Close in the child what the parent has open, without a word about its locks."""
    for descriptor in list(_open_here):
        with suppress(OSError):
            os.close(descriptor)
    _open_here.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
