"""Counters that several processes add up to, and that a kill does not lose.

Every process counts in a small memory-mapped file of its own, so nothing is shared and
nothing waits; the total is the sum over all files. A process holds the lock of its file
while it lives; files of dead processes are folded into one, one by one. The total names those
that it has taken in and is replaced in one step, so that neither a kill before the file's
removal nor a sum taken meanwhile loses or doubles a count.
"""

from __future__ import annotations

import json
import mmap
import os
import secrets
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from stockdb.core.locks import opened, try_lock

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
_COUNTS: Final = struct.Struct(f"<{len(NAMES)}q")
_SLOT: Final = {name: 8 * index for index, name in enumerate(NAMES)}
_TOTAL: Final = "total"
_ATTEMPTS: Final = 5
_REMEMBERED: Final = 500


class Counters:
    """Named whole numbers that only grow.

    Parameters
    ----------
    directory : pathlib.Path
        Where the files are; where it cannot be written, counting goes on in memory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._pid = 0
        self._name = ""
        self._slots: mmap.mmap | bytearray = bytearray(_COUNTS.size)

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
        counted = {}
        for path in self._files():
            with suppress(OSError, struct.error):
                counted[path.name] = _COUNTS.unpack(path.read_bytes())
        # The total comes second: whatever vanished above is in it, and it names what did not.
        sums, folded = self._folded()
        for name in counted.keys() - {*folded, self._name}:
            sums = _plus(sums, counted[name])
        with self._lock:  # our own are taken from memory: their file may have been removed
            own = _COUNTS.unpack(bytes(self._slots))
        return dict(zip(NAMES, _plus(sums, own), strict=True))

    def fold(self) -> None:
        """Add the files of dead processes to the total and remove them."""
        with suppress(OSError), opened(self._directory, os.O_RDONLY) as gate:
            if try_lock(gate):
                for path in self._files():
                    with suppress(OSError, struct.error):
                        self._fold_one(path)

    def _fold_one(self, path: Path) -> None:
        with opened(path, os.O_RDWR) as descriptor:
            if not try_lock(descriptor):
                return  # its process lives
            sums, folded = self._folded()
            data = path.read_bytes()
            # Else it was taken in before a kill, or its process was killed before it counted.
            if path.name not in folded and len(data) == _COUNTS.size:
                sums = _plus(sums, _COUNTS.unpack(data))
                names = [path.name, *folded][:_REMEMBERED]
                total = {"counts": dict(zip(NAMES, sums, strict=True)), "folded": names}
                text = json.dumps(total).encode()
                fresh = self._directory / f"{_TOTAL}.new"
                with opened(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as target:
                    if os.write(target, text) < len(text):
                        return  # the disk is full; the file waits for the next fold
                os.replace(fresh, self._directory / _TOTAL)
            os.unlink(path)

    def _folded(self) -> tuple[list[int], list[str]]:
        """Return what the dead have counted, and the files last taken in."""
        # Absent, torn by a power cut, or not ours:
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            total = json.loads((self._directory / _TOTAL).read_bytes())
            return [int(total["counts"].get(name, 0)) for name in NAMES], list(total["folded"])
        return [0] * len(NAMES), []

    def _files(self) -> list[Path]:
        with suppress(OSError):
            return sorted(path for path in self._directory.iterdir() if "-" in path.name)
        return []

    def _open(self) -> mmap.mmap | bytearray:
        """Open this process's file and lock it; the map keeps the file open, and so the lock."""
        for _ in range(_ATTEMPTS):
            name = f"{os.getpid()}-{secrets.token_hex(4)}"
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
            try:
                descriptor = os.open(self._directory / name, flags, 0o600)
                try:
                    # Until it is locked, somebody's fold may take it for a dead process's file.
                    if try_lock(descriptor) and os.fstat(descriptor).st_nlink:
                        os.write(descriptor, bytes(_COUNTS.size))  # a hole could be a SIGBUS
                        slots = mmap.mmap(descriptor, _COUNTS.size)
                        self._name = name
                        return slots
                finally:
                    os.close(descriptor)
            except (OSError, ValueError):  # a short write leaves too little to map
                break
        return bytearray(_COUNTS.size)


def _plus(some: Sequence[int], more: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip(some, more, strict=True)]
