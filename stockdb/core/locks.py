"""Single flight: of all threads and processes that want one thing, one goes."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

try:
    import fcntl
except ImportError:  # Windows: threads are serialised, processes may fetch twice
    fcntl = None  # type: ignore[assignment]

__all__ = ["SingleFlight", "try_lock"]

_STRIPES: Final = 1024
_FIRST_NAP: Final = 0.002
_LONGEST_NAP: Final = 0.05


def try_lock(descriptor: int) -> bool:
    """Take the exclusive lock of an open file, if nobody alive holds it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


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
        Holds the lock files, at most 1,024.

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
        got = named.lock.acquire(timeout=max(wait, 0))
        try:
            descriptor = self._lock_file(name, until) if got else None
            try:
                yield got and descriptor is not None
            finally:
                if descriptor is not None:
                    os.close(descriptor)  # lets go of the lock too
        finally:
            if got:
                named.lock.release()

    def _lock_file(self, name: str, until: float) -> int | None:
        if fcntl is None:
            return None
        stripe = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % _STRIPES
        path = self._directory / f"{stripe:03x}"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        descriptor = None
        with suppress(OSError):  # full, read-only or out of descriptors: go without
            descriptor = os.open(path, flags, 0o600)
            nap = _FIRST_NAP
            while not try_lock(descriptor):
                if time.monotonic() + nap > until:
                    os.close(descriptor)
                    return None
                time.sleep(nap)
                nap = min(nap * 1.5, _LONGEST_NAP)
        return descriptor
