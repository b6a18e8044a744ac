"""Where a cache keeps its files: entries, temporary files, locks, counters.

What is done to an entry is done to the very file that was looked at, never to whatever another
process has put in its place meanwhile: files are known by their identity.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stockdb.core.entry import CorruptEntryError, Entry, load, write
from stockdb.core.locks import opened, try_lock
from stockdb.errors import ConfigurationError

__all__ = ["SUFFIX", "CacheFiles", "Identity", "Problem", "identify", "surplus"]

SUFFIX: Final = ".entry"
_EVICT_TO: Final = 0.9

#: Number, size and modification time (ns) of a file; the time is that of the last validation.
Identity = tuple[int, int, int]
Listed = tuple[Path, os.stat_result]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that the self-audit found.

    Attributes
    ----------
    path : pathlib.Path
    reason : str
    """

    path: Path
    reason: str


class CacheFiles:
    """The files below one directory, all private to this user.

    Parameters
    ----------
    directory : pathlib.Path
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.entries_folder = directory / "entries"
        self.temporary = directory / "tmp"
        self.locks = directory / "locks"
        self.counters = directory / "counters"

    def prepare(self) -> None:
        """Create what is missing; refuse what somebody else owns.

        Raises
        ------
        ConfigurationError
            The directory belongs to another user.
        OSError
            It cannot be created.
        """
        folders = (self.directory, self.entries_folder, self.temporary, self.locks, self.counters)
        for folder in folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _owned(folder.stat()):  # before anything is put into it
                raise ConfigurationError(
                    f"The cache directory {str(folder)!r} belongs to another user.",
                    remedy="Set MINIO_CACHE_DIR (or cache_dir) to a directory of your own.",
                )

    def trouble(self) -> str:
        """Say why nothing can be kept here; empty where it can."""
        try:
            self.prepare()
            draft = self.temporary / f"{os.getpid()}-{secrets.token_hex(8)}"
            draft.touch(mode=0o600, exist_ok=False)
            draft.unlink()
        except ConfigurationError as error:
            return error.message
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def path(self, name: str) -> Path:
        """Return where the entry of this name is."""
        return self.entries_folder / name[:1] / f"{name}{SUFFIX}"

    def entries(self) -> Iterator[Listed]:
        """Walk over all entries; those that vanish meanwhile are passed over."""
        with suppress(OSError):
            for folder in list(os.scandir(self.entries_folder)):
                with suppress(OSError), os.scandir(folder.path) as items:
                    for item in items:
                        if item.name.endswith(SUFFIX):
                            with suppress(OSError):
                                yield Path(item.path), item.stat(follow_symlinks=False)

    def read(self, name: str, accessed: float) -> tuple[Entry, Identity]:
        """Read and check an entry, and note the access, which eviction goes by.

        Raises
        ------
        CorruptEntryError
            It is not what was written; it was removed (if that was possible).
        OSError
            It is not there or cannot be read.
        """
        path = self.path(name)
        with opened(path, os.O_RDONLY) as descriptor:
            status = os.fstat(descriptor)
            if not _owned(status):
                raise PermissionError("an entry of another user")
            try:
                entry = load(descriptor)
            except CorruptEntryError:
                self.remove(path, identify(status))
                raise
            with suppress(OSError):  # a read-only cache is still a cache
                os.utime(descriptor, ns=(_ns(accessed), status.st_mtime_ns))
        return entry, identify(status)

    def stamp(
        self, name: str, known: Identity, *, accessed: float, validated: float | None = None
    ) -> tuple[Identity, Identity] | None:
        """Note an access, or a validation too, of the file that is known.

        Returns
        -------
        tuple of Identity or None
            Before and after; None where the file is gone or another has taken its place.
        """
        with suppress(OSError), opened(self.path(name), os.O_RDONLY) as descriptor:
            before = identify(os.fstat(descriptor))
            if before[:2] == known[:2]:
                modified = before[2] if validated is None else _ns(validated)
                os.utime(descriptor, ns=(_ns(accessed), modified))
                return before, identify(os.fstat(descriptor))
        return None

    def remove(self, path: Path, known: Identity | None = None) -> bool:
        """Remove an entry; where its identity is given, only if that is still the one there."""
        try:
            if known is None or os.stat(path, follow_symlinks=False).st_ino == known[0]:
                os.unlink(path)
                return True
        except OSError:
            pass  # gone already, or read-only
        return False

    def publish(self, name: str, entry: Entry, *, accessed: float, validated: float) -> int:
        """Write an entry under a temporary name and move it into place in one step.

        An answer to an older question does not replace one to a later question.

        Returns
        -------
        int
            Bytes written.
        """
        try:
            return self._publish(name, entry, accessed, validated)
        except FileNotFoundError:
            # Removed under us, or a sweep came between the draft and its lock: once more.
            self.prepare()
            return self._publish(name, entry, accessed, validated)

    def _publish(self, name: str, entry: Entry, accessed: float, validated: float) -> int:
        path = self.path(name)
        with suppress(FileNotFoundError):
            # A time in the future says nothing: a clock was set back.
            if validated < os.stat(path, follow_symlinks=False).st_mtime <= accessed:
                return 0
        draft = self.temporary / f"{os.getpid()}-{secrets.token_hex(8)}"
        with opened(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL) as descriptor:
            try:
                with suppress(OSError):  # a file system without locks: nothing is swept there
                    try_lock(descriptor)  # says that its writer lives, see `dead`
                nbytes = write(descriptor, entry.table, entry.metadata)
                os.utime(descriptor, ns=(_ns(accessed), _ns(validated)))
                self._into_place(draft, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(draft)
                raise
        return nbytes

    @staticmethod
    def _into_place(draft: Path, path: Path) -> None:
        try:
            os.replace(draft, path)
        except FileNotFoundError:  # nearly always, the folder is there
            path.parent.mkdir(mode=0o700, exist_ok=True)
            os.replace(draft, path)

    def dead(self) -> Iterator[Path]:
        """Temporary files whose writer is gone: nobody holds their lock."""
        with suppress(OSError):
            for path in list(self.temporary.iterdir()):
                with suppress(OSError), opened(path, os.O_RDWR) as descriptor:
                    if try_lock(descriptor):
                        yield path

    def sweep(self) -> None:
        """Remove what dead writers left."""
        for path in self.dead():
            with suppress(OSError):
                os.unlink(path)

    def audit(self) -> list[Problem]:
        """Check every byte of every entry, and look for what does not belong here."""
        problems = []
        for path, _ in list(self.entries()):
            try:
                with opened(path, os.O_RDONLY) as descriptor:
                    load(descriptor)
            except FileNotFoundError:
                continue  # evicted while we looked
            except CorruptEntryError as error:
                problems.append(Problem(path, str(error)))
            except OSError as error:
                problems.append(Problem(path, error.strerror or str(error)))
        problems += [Problem(path, "temporary file of a dead process") for path in self.dead()]
        known = {self.entries_folder, self.temporary, self.locks, self.counters}
        with suppress(OSError):
            found = sorted(self.directory.iterdir())
            problems += [Problem(path, "not ours") for path in found if path not in known]
        return problems


def surplus(entries: list[Listed], now: float, *, max_bytes: int, max_age: float) -> list[Path]:
    """Choose what has to go: all that is too old, then the least recently used.

    Parameters
    ----------
    entries : list of (path, status)
        The modification time is that of the last validation.
    now : float
        Seconds since the epoch.
    max_bytes : int
        Beyond this, entries go until nine tenths are left.
    max_age : float
        Seconds since the last validation.
    """
    gone = [path for path, status in entries if now - status.st_mtime > max_age]
    left = [item for item in entries if now - item[1].st_mtime <= max_age]
    total = sum(status.st_size for _, status in left)
    if total > max_bytes:
        for path, status in sorted(left, key=lambda item: item[1].st_atime):
            if total <= max_bytes * _EVICT_TO:
                break
            gone.append(path)
            total -= status.st_size
    return gone


def identify(status: os.stat_result) -> Identity:
    """Reduce a status to what changes when the file does."""
    return status.st_ino, status.st_size, status.st_mtime_ns


def _owned(status: os.stat_result) -> bool:
    return not hasattr(os, "getuid") or status.st_uid == os.getuid()


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
