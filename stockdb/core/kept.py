"""What reads of a day's file taught, kept by version: its index, its columns, lines seen."""

from __future__ import annotations

import hashlib
import struct
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from stockdb.core import search
from stockdb.core.cache import DiskCache, NoCache
from stockdb.core.catalog import spellings
from stockdb.core.entry import Entry
from stockdb.core.freshness import Freshness
from stockdb.core.reader import SCHEMA_VERSION
from stockdb.core.scan import Index
from stockdb.errors import UnavailableError
from stockdb.settings import Dataset

__all__ = ["FileIndex", "Kept", "Version"]

_FOR_EVER: Final = Freshness(float("inf"))
_HELD_ONLY: Final = Freshness(float("inf"), offline=True)
_LAYOUTS_KEPT: Final = 64
#: A file with more unreadable lines than this is read anew each time.
_BAD_ROWS_KEPT: Final = 10_000
#: Part of every name: a change of how things are kept changes it.
_FORMAT: Final = "2"
_COMPRESSION: Final = "zstd"
#: These entries are made here: nothing was asked of the server for them.
_FREE: Final = {"size": 0, "requests": 0, "received": 0}


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one file, and how its dataset says that it is to be read.

    Attributes
    ----------
    key : str
    etag : str or None
        None where the server gives none: then nothing is kept of it.
    dataset : Dataset
    """

    key: str
    etag: str | None
    dataset: Dataset


@dataclass(frozen=True, slots=True)
class FileIndex:
    """Where everything is in a version that was read in full.

    Attributes
    ----------
    table : pyarrow.Table
        As ``scan.Index.table``.
    bad_rows : list
        ``[line, reason, text]`` of every line that could not be read.
    column : int
        Which field of a line holds the underlying.
    grouped, ascending : bool
        What the read proved about the order.
    """

    table: pa.Table
    bad_rows: list[list[Any]]
    column: int
    grouped: bool
    ascending: bool

    @property
    def names(self) -> list[str]:
        """All underlyings in the file."""
        found: list[str] = pc.unique(self.table["underlying"]).to_pylist()
        return found

    def places(self, symbol: str) -> list[dict[str, Any]]:
        """Blocks and bytes of an underlying under the first spelling that the file has.

        Empty means that it is not in the file.
        """
        for spelling in spellings(symbol):
            mask = pc.equal(self.table["underlying"], spelling)
            found: list[dict[str, Any]] = self.table.filter(mask).to_pylist()
            if found:
                return found
        return []


class Kept:
    """Keeps indexes and columns in the cache, and lines that searches saw in memory.

    Parameters
    ----------
    cache : DiskCache or NoCache
    identity : tuple of str
        Endpoint and bucket.
    """

    def __init__(self, cache: DiskCache | NoCache, identity: tuple[str, str]) -> None:
        self._cache = cache
        self._identity = identity
        self._guard = threading.Lock()
        self._seen: OrderedDict[tuple[str, str], search.Known] = OrderedDict()

    def name(self, version: Version, *parts: str) -> str:
        """Digest that an entry is kept under; parts say what of the version it is."""
        reading = version.dataset.model_dump_json(include={"format", "columns"})
        known = (
            *self._identity,
            _FORMAT,
            str(SCHEMA_VERSION),
            version.key,
            version.etag or "",
            reading,
        )
        return hashlib.sha256("\0".join([*known, *parts]).encode()).hexdigest()

    def index(self, version: Version) -> FileIndex | None:
        """Return the index of a version, if it was read in full once."""
        entry = self._held(version, "index")
        if entry is None:
            return None
        known = entry.metadata
        return FileIndex(
            entry.table,
            known["bad_rows"],
            known["column"],
            known["grouped"],
            known["ascending"],
        )

    def keep_index(
        self, version: Version, index: Index, bad_rows: Sequence[list[Any]], column: int
    ) -> None:
        """Keep what a full read proved."""
        if len(bad_rows) > _BAD_ROWS_KEPT:
            return
        metadata = {
            "grouped": index.grouped,
            "ascending": index.ascending,
            "bad_rows": list(bad_rows),
            "column": column,
        }
        self._keep(version, Entry(index.table, {**_FREE, **metadata}), "index")

    def holds(self, version: Version, block: int) -> bool:
        """Whether a block of a version's columns is here."""
        return self._held(version, "shard", str(block)) is not None

    def shard(self, version: Version, block: int) -> pa.Table | None:
        """Return a block of a version's columns."""
        entry = self._held(version, "shard", str(block))
        return None if entry is None else _unpacked(entry.table)

    def keep_shard(self, version: Version, block: int, table: pa.Table) -> None:
        """Keep a block of a version's columns."""
        self._keep(version, Entry(_packed(table), dict(_FREE)), "shard", str(block))

    def lines(self, version: Version, layout: search.Layout, head: bytes) -> search.Known:
        """Return what searches saw of a version so far, its first lines at least.

        Raises
        ------
        ContradictionError
            These are not in the order declared.
        """
        if version.etag is None:
            return _first_lines(layout, head)
        identity = (version.key, version.etag)
        with self._guard:
            known = self._seen.get(identity)
            if known is None:
                known = self._seen[identity] = _first_lines(layout, head)
            self._seen.move_to_end(identity)
            while len(self._seen) > _LAYOUTS_KEPT:
                self._seen.popitem(last=False)
        return known

    def _held(self, version: Version, *parts: str) -> Entry | None:
        if version.etag is None:
            return None
        try:
            name = self.name(version, *parts)
            return self._cache.get(name, _HELD_ONLY, _nothing, wait=0.0).entry
        except UnavailableError:
            return None

    def _keep(self, version: Version, entry: Entry, *parts: str) -> None:
        if version.etag is not None:
            metadata = {**entry.metadata, "etag": version.etag}
            entry = Entry(entry.table, metadata)
            # Whoever keeps it too keeps the same; and this may run under a lock of its stripe.
            self._cache.get(self.name(version, *parts), _FOR_EVER, lambda _: entry, wait=0.0)


def _packed(table: pa.Table) -> pa.Table:
    """Compress columns into one cell.

    A day of 1.6 million rows takes 239 MB as it is, 56 MB by LZ4 and 32 MB by Zstandard; the
    second question about it then waits half a millisecond longer. The cell stays mapped from
    the disk, and only the block in use is unpacked in memory.
    """
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=_COMPRESSION)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    content = pa.py_buffer(sink.getvalue())
    ends = pa.py_buffer(struct.pack("<2q", 0, content.size))
    cell = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, content])
    return pa.table({"packed": cell})


def _unpacked(table: pa.Table) -> pa.Table:
    return pa.ipc.open_stream(table.column("packed")[0].as_buffer()).read_all()


def _first_lines(layout: search.Layout, head: bytes) -> search.Known:
    known = search.Known()
    lines = list(search.whole_lines(head, layout.start))
    for at, line in (lines[0], lines[-1]) if lines else ():
        known.add(search.Probe(at, layout.underlying(line)))
    return known


def _nothing(_: dict[str, Any] | None) -> Entry | None:
    raise AssertionError("offline reads never fetch")
