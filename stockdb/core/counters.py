"""Counters that several processes add up to, and that a kill does not lose.

Every process counts in a small memory-mapped file of its own, so nothing is shared and
nothing waits; the total is the sum over all files. A process holds the lock of its file
while it lives; files of dead processes are folded into one.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from stockdb.core.locks import try_lock

__all__ = ["NAMES", "Counters"]

NAMES: Final = (
    "hits",
    "misses",
    "revalidations",
    "replaced",
    "stale_serves",
    "evictions",
    "healed",
    "write_errors",
    "bytes_saved",
    "requests_saved",
    "bytes_fetched",
    "requests",
)
_SIZE: Final = 8 * len(NAMES)
_SLOT: Final = {name: 8 * index for index, name in enumerate(NAMES)}
_TOTAL: Final = "total"


class Counters:
    """Named whole numbers that only grow, until they are reset.

    Parameters
    ----------
    directory : pathlib.Path
        Where the files are; where it cannot be written, counting goes on in memory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._pid = 0
        self._slots: mmap.mmap | bytearray = bytearray(_SIZE)

    def add(self, **amounts: int) -> None:
        """Add to one or several counters."""
        with self._lock:
            if self._pid != os.getpid():
                self._slots, self._pid = self._open(), os.getpid()
            for name, amount in amounts.items():
                slot = _SLOT[name]
                (old,) = struct.unpack_from("<q", self._slots, slot)
                struct.pack_into("<q", self._slots, slot, old + amount)

    def totals(self) -> dict[str, int]:
        """Sum over all processes, living and dead."""
        sums = [0] * len(NAMES)
        seen = False
        for path in self._files():
            with suppress(OSError, struct.error):
                values = struct.unpack(f"<{len(NAMES)}q", path.read_bytes()[:_SIZE])
                sums = [a + b for a, b in zip(sums, values, strict=True)]
                seen = True
        if not seen or isinstance(self._slots, bytearray):
            with self._lock:
                own = struct.unpack(f"<{len(NAMES)}q", bytes(self._slots))
            if isinstance(self._slots, bytearray):
                sums = [a + b for a, b in zip(sums, own, strict=True)]
        return dict(zip(NAMES, sums, strict=True))

    def fold(self) -> None:
        """Add the files of dead processes to the total and remove them."""
        with suppress(OSError):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
            total = os.open(self._directory / _TOTAL, flags, 0o600)
            try:
                if not try_lock(total):
                    return
                for path in self._files():
                    if path.name != _TOTAL:
                        self._fold_one(path, total)
            finally:
                os.close(total)

    @staticmethod
    def _fold_one(path: Path, total: int) -> None:
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
            try:
                if not try_lock(descriptor):
                    return  # its process lives
                layout = f"<{len(NAMES)}q"
                values = struct.unpack(layout, os.pread(descriptor, _SIZE, 0).ljust(_SIZE, b"\0"))
                sums = struct.unpack(layout, os.pread(total, _SIZE, 0).ljust(_SIZE, b"\0"))
                summed = [a + b for a, b in zip(sums, values, strict=True)]
                os.unlink(path)
                os.pwrite(total, struct.pack(layout, *summed), 0)
            finally:
                os.close(descriptor)

    def _files(self) -> list[Path]:
        with suppress(OSError):
            return sorted(self._directory.iterdir())
        return []

    def _open(self) -> mmap.mmap | bytearray:
        """Open this process's file; the descriptor stays open, and with it the lock."""
        path = self._directory / f"{os.getpid()}-{secrets.token_hex(4)}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        try:
            self._descriptor = os.open(path, flags, 0o600)
            try_lock(self._descriptor)
            os.ftruncate(self._descriptor, _SIZE)
            os.posix_fallocate(self._descriptor, 0, _SIZE)  # a full disk would be a SIGBUS
            return mmap.mmap(self._descriptor, _SIZE)
        except OSError:
            return bytearray(_SIZE)
