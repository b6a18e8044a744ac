"""The disk cache: files, no database; takes a fetch callable and never knows the store.

Whatever is wrong with the cache (full, read-only, removed, damaged) costs speed, never a
read: the data are then fetched and returned without being kept.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from stockdb.core.cachefiles import SUFFIX, CacheFiles, Identity, Problem, identify, surplus
from stockdb.core.catalog import spellings
from stockdb.core.counters import NAMES, Counters
from stockdb.core.entry import CorruptEntryError, Entry, read_metadata
from stockdb.core.freshness import Freshness, Verdict, decide
from stockdb.core.locks import SingleFlight, opened
from stockdb.errors import (
    ConfigurationError,
    DeadlineError,
    NotFoundError,
    StockDBError,
    UnavailableError,
)
from stockdb.settings import Cache

__all__ = ["Cached", "ClearResult", "DiskCache", "Fetch", "NoCache", "Problem", "open_cache"]

log = logging.getLogger("stockdb.cache")
State = Literal["fetched", "replaced", "fresh", "revalidated", "stale", "offline"]
#: Takes the ETag and version held (or None); returns a new entry, or None where the held
#: one is still right.
Fetch = Callable[[dict[str, Any] | None], Entry | None]

_MAPPED: Final = 256
_LRU_RESOLUTION: Final = 60.0
_RESCAN_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Cached:
    """An entry as it is served.

    Attributes
    ----------
    entry : Entry
    state : str
        ``fetched``, ``replaced``, ``fresh``, ``revalidated``, ``stale`` or ``offline``.
    validated : float
        When the server last confirmed it, seconds since the epoch.
    """

    entry: Entry
    state: State
    validated: float


@dataclass(frozen=True, slots=True)
class ClearResult:
    """What ``clear_cache`` removed.

    Attributes
    ----------
    entries, bytes : int
        Removed.
    remaining_entries, remaining_bytes : int
        Still there.
    """

    entries: int
    bytes: int
    remaining_entries: int
    remaining_bytes: int


@dataclass(slots=True)
class _Mapped:
    """An entry kept mapped, with the identity of the file that it was read from.

    The map keeps the file's number from being given to another file.
    """

    identity: Identity
    entry: Entry
    used: float


_Found = tuple[Entry, Identity]
_instances: weakref.WeakSet[DiskCache] = weakref.WeakSet()


class DiskCache:
    """Immutable entries in one directory, shared by any number of threads and processes.

    Parameters
    ----------
    directory : pathlib.Path
        Created with mode 0700 where it is absent.
    max_bytes : int
        Least recently used entries go beyond this.
    max_entry_age : float
        Seconds; entries not validated for this long go.
    clock : callable
        Seconds since the epoch.

    Raises
    ------
    ConfigurationError
        The directory belongs to another user.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int,
        max_entry_age: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self._files = CacheFiles(directory)
        self._max_bytes = max_bytes
        self._max_entry_age = max_entry_age
        self._clock = clock
        self._warned = False
        self._reset_process_state()
        _instances.add(self)
        try:
            self._files.prepare()
            self._files.sweep()
            self.counters.fold()
        except OSError as error:
            self._warn("use", error)

    def __repr__(self) -> str:
        return f"DiskCache({str(self.directory)!r})"

    def get(self, name: str, wanted: Freshness, fetch: Fetch, *, wait: float) -> Cached:
        """Serve an entry, asking the server only where :func:`freshness.decide` says so.

        Parameters
        ----------
        name : str
            Hexadecimal digest of everything that the entry depends on.
        wanted : Freshness
        fetch : callable
            See :data:`Fetch`; its errors pass through.
        wait : float
            Seconds to wait for another thread or process that fetches the same entry.

        Raises
        ------
        UnavailableError
            Offline, and nothing is held.
        """
        found = self._look(name)
        verdict = decide(found and _validated(found), self._clock(), wanted)
        if verdict is Verdict.FRESH and found is not None:
            return self._hit(found, "offline" if wanted.offline else "fresh")
        if wanted.offline:
            raise UnavailableError(
                "This is not in the cache, and offline=True forbids to fetch it.",
                remedy="Read it once online, or drop offline=True.",
                retryable=False,
            )
        began = self._clock()
        with self._flights.hold(name, wait):
            found = self._look(name)
            if found is not None:
                now, validated = self._clock(), _validated(found)
                # Whoever held the lock before may have asked the server for all of us.
                if began <= validated <= now or decide(validated, now, wanted) is Verdict.FRESH:
                    return self._hit(found, "fresh")
            return self._ask(name, found, wanted, fetch)

    def peek(self, name: str) -> tuple[Entry, float] | None:
        """Give an entry and when it was validated (seconds since the epoch), if there is one."""
        found = self._look(name)
        return None if found is None else (found[0], _validated(found))

    def _hit(self, found: _Found, state: State) -> Cached:
        entry = found[0]
        self.counters.add(hits=1, requests_saved=1, bytes_saved=int(entry.metadata.get("size", 0)))
        return Cached(entry, state, _validated(found))

    def _ask(self, name: str, found: _Found | None, wanted: Freshness, fetch: Fetch) -> Cached:
        held = found[0] if found else None
        asked = self._clock()
        try:
            fresh = fetch(held.metadata if held else None)
        except NotFoundError as error:
            self._remove(self._files.path(name))  # gone, and so is the right to serve it
            cost = error.values
            self.counters.add(
                requests=cost.get("requests", 1), bytes_fetched=cost.get("received", 0)
            )
            raise
        except (UnavailableError, DeadlineError) as error:
            if found is None or not wanted.allow_stale:
                raise
            log.warning("serving a stale entry: %s", error.message)
            self.counters.add(stale_serves=1)
            return Cached(found[0], "stale", _validated(found))
        if fresh is None and found is not None:
            self._touch(name, found[1], asked)
            saved = int(found[0].metadata.get("size", 0))
            self.counters.add(revalidations=1, requests=1, bytes_saved=saved)
            return Cached(found[0], "revalidated", asked)
        if fresh is None:
            raise UnavailableError("The server answered 'not modified' to a first question.")
        self.counters.add(
            misses=1,
            replaced=1 if held else 0,
            requests=int(fresh.metadata.get("requests", 1)),
            bytes_fetched=int(fresh.metadata.get("received", 0)),
        )
        kept = self._keep(name, fresh, asked)
        return Cached(kept, "replaced" if held else "fetched", asked)

    # -- reading ---------------------------------------------------------------------

    def _look(self, name: str) -> _Found | None:
        """Return the entry and the identity of its file, or None."""
        try:
            identity = identify(os.stat(self._files.path(name), follow_symlinks=False))
        except OSError:
            self._forget(name)
            return None
        now = self._clock()
        with self._guard:
            mapped = self._mapped.get(name)
            if mapped is None or mapped.identity != identity:
                mapped = None
            else:
                self._mapped.move_to_end(name)
                if now - mapped.used < _LRU_RESOLUTION:
                    return mapped.entry, identity
                mapped.used = now
        if mapped is not None:
            self._files.stamp(name, identity, accessed=now)
            return mapped.entry, identity
        return self._load(name, now)

    def _load(self, name: str, now: float) -> _Found | None:
        try:
            entry, identity = self._files.read(name, now)
        except CorruptEntryError as error:
            log.warning("cache entry %s is damaged (%s): fetched again", name[:12], error)
            self._forget(name)
            self.counters.add(healed=1)
            return None
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn("read", error)
            return None
        with self._guard:
            self._mapped[name] = _Mapped(identity, entry, now)
            self._mapped.move_to_end(name)
            while len(self._mapped) > _MAPPED:
                self._mapped.popitem(last=False)
        return entry, identity

    def _forget(self, name: str) -> None:
        with self._guard:
            self._mapped.pop(name, None)

    # -- writing ---------------------------------------------------------------------

    def _keep(self, name: str, entry: Entry, asked: float) -> Entry:
        """Write the entry; where that fails, the entry is returned all the same."""
        now = self._clock()
        try:
            # Validated when the request was sent: what changes after that is not covered.
            nbytes = self._files.publish(name, entry, accessed=now, validated=asked)
        except (OSError, ConfigurationError) as error:
            self.counters.add(write_errors=1)
            self._warn("write", error)
            return entry
        self._written += nbytes
        if not self._scanned or self._written > self._max_bytes * _RESCAN_SHARE:
            self.clean()
        return replace(entry, nbytes=nbytes)

    def _touch(self, name: str, known: Identity, validated: float) -> None:
        """Note that the server confirmed the very file that it was asked about."""
        moved = self._files.stamp(name, known, accessed=self._clock(), validated=validated)
        with self._guard:
            mapped = self._mapped.get(name)
            # Only the time was moved, and by us: the content need not be checked again.
            if moved is not None and mapped is not None and moved[0] == mapped.identity == known:
                mapped.identity = moved[1]

    # -- keeping house ---------------------------------------------------------------

    def clean(self) -> int:
        """Remove entries that are too old, then the least recently used beyond the size.

        Returns
        -------
        int
            Entries removed.
        """
        gone = surplus(
            list(self._files.entries()),
            self._clock(),
            max_bytes=self._max_bytes,
            max_age=self._max_entry_age,
        )
        removed = sum(self._remove(path) for path in gone)
        self._scanned, self._written = True, 0
        if removed:
            self.counters.add(evictions=removed)
        return removed

    def clear(self, *, older_than: float | None = None, symbol: str | None = None) -> ClearResult:
        """Remove entries by age since the last validation (seconds) and symbol, however spelt."""
        now = self._clock()
        names = None if symbol is None else spellings(symbol)
        count = size = 0
        for path, status in list(self._files.entries()):
            if older_than is not None and now - status.st_mtime <= older_than:
                continue
            if names is not None and _symbol_of(path) not in names:
                continue
            if self._remove(path):
                count, size = count + 1, size + status.st_size
        left = list(self._files.entries())
        return ClearResult(count, size, len(left), sum(status.st_size for _, status in left))

    def statistics(self) -> dict[str, Any]:
        """Entries and bytes held, and the counters of all processes."""
        left = list(self._files.entries())
        counts = self.counters.totals()
        served = counts["hits"] + counts["revalidations"] + counts["stale_serves"]
        asked = served + counts["misses"]
        return {
            "entries": len(left),
            "bytes": sum(status.st_size for _, status in left),
            "max_bytes": self._max_bytes,
            **counts,
            "hit_ratio": served / asked if asked else 0.0,
            "directory": str(self.directory),
            "problem": self._files.trouble(),
        }

    def check(self) -> list[Problem]:
        """Audit the whole cache: every byte of every entry, and leftovers of dead writers."""
        return self._files.audit()

    def _remove(self, path: Path) -> bool:
        self._forget(path.name.removesuffix(SUFFIX))
        return self._files.remove(path)

    def _warn(self, doing: str, error: OSError | ConfigurationError) -> None:
        if not self._warned:
            self._warned = True
            reason = error.message if isinstance(error, StockDBError) else error.strerror
            log.warning(
                "cannot %s the cache at %s (%s); going on without it", doing, self.directory, reason
            )

    def _reset_process_state(self) -> None:
        """Begin with locks that nobody holds: in the constructor and after a fork."""
        self._guard = threading.Lock()
        self._mapped: OrderedDict[str, _Mapped] = OrderedDict()
        self._flights = SingleFlight(self._files.locks)
        self.counters = Counters(self._files.counters)
        self._written = 0
        self._scanned = False


class NoCache:
    """Stands in where caching is switched off: every read asks the server."""

    def get(self, name: str, wanted: Freshness, fetch: Fetch, *, wait: float) -> Cached:
        """Fetch; see :meth:`DiskCache.get`."""
        if wanted.offline:
            raise UnavailableError(
                "offline=True needs the cache, which is switched off.",
                remedy="Set cache_enabled=True in CACHE_CONFIG.",
                retryable=False,
            )
        fresh = fetch(None)
        if fresh is None:
            raise UnavailableError("The server answered 'not modified' to a first question.")
        return Cached(fresh, "fetched", time.time())

    def peek(self, name: str) -> None:
        """Find nothing, for nothing is held."""

    def clear(self, *, older_than: float | None = None, symbol: str | None = None) -> ClearResult:
        """Remove nothing, for nothing is held."""
        return ClearResult(0, 0, 0, 0)

    def statistics(self) -> dict[str, Any]:
        """Give the same keys as :meth:`DiskCache.statistics`, all zero."""
        counts = dict.fromkeys(NAMES, 0)
        return {
            "entries": 0,
            "bytes": 0,
            "max_bytes": 0,
            **counts,
            "hit_ratio": 0.0,
            "directory": "",
            "problem": "",
        }

    def check(self) -> list[Problem]:
        """Find nothing."""
        return []


def _validated(found: _Found) -> float:
    return found[1][2] / 1e9


def _symbol_of(path: Path) -> str | None:
    try:
        with opened(path, os.O_RDONLY) as descriptor:
            symbol = read_metadata(descriptor).get("symbol")
    except (OSError, CorruptEntryError):
        return None
    return None if symbol is None else str(symbol)


def open_cache(settings: Cache) -> DiskCache | NoCache:
    """Open the cache that the settings describe, in the user's cache folder by default."""
    if not settings.cache_enabled:
        return NoCache()
    directory = settings.cache_dir
    if directory is None:
        import platformdirs

        directory = Path(platformdirs.user_cache_dir("stockdb", appauthor=False))
    return DiskCache(
        directory,
        max_bytes=settings.cache_max_bytes,
        max_entry_age=settings.cache_max_entry_age_days * 86400.0,
    )


def _after_fork() -> None:
    for cache in list(_instances):
        cache._reset_process_state()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
