"""One day's file, open for reading: an object of its own, or a member of an archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from stockdb.core import planner, search
from stockdb.core.archive import member_chunks
from stockdb.core.days import Place
from stockdb.core.kept import Version
from stockdb.core.parse import BadRow, Parsed, parse_options
from stockdb.core.ranges import RangeReader
from stockdb.core.scan import READ, Block, blocks_of, blocks_of_table, in_blocks, inflated, split
from stockdb.core.store import ObjectStore
from stockdb.errors import DataError, ObjectChangedError

__all__ = ["DayFile", "is_parquet", "listed", "open_day"]

_UNDERLYING: Final = ("underlying", "underlyingsymbol", "symbol", "ticker")
_GZIP: Final = b"\x1f\x8b"
_PARQUET: Final = b"PAR1"
_BLOCK: Final = 1 << 20


@dataclass
class DayFile:
    """One version of a day's file.

    Attributes
    ----------
    place : Place
    version : Version
    reader : RangeReader
        Of the object that holds it, pinned to that version.
    head : bytes
        The file's first bytes; empty for a member of an archive, which has to be inflated.
    store : ObjectStore
    """

    place: Place
    version: Version
    reader: RangeReader
    head: bytes
    store: ObjectStore

    @property
    def searchable(self) -> bool:
        """Whether it turned out to be text, whose rows can be read by byte range."""
        return self.place.member is None and not self.head.startswith((_GZIP, _PARQUET))

    @property
    def size(self) -> int:
        """Bytes that a full read moves."""
        member = self.place.member
        return self.reader.size if member is None else member.compressed

    def layout(self, head: bytes | None = None) -> search.Layout:
        """Read the header."""
        own = self.version.dataset.columns
        return search.read_layout(head or self.head, _UNDERLYING, self.version.key, own)

    def parse(self, data: bytes, before: int = 1) -> Parsed:
        """Parse a header with lines, the unreadable of which are left out and listed."""
        return parse_options(
            data,
            self.version.dataset,
            key=self.version.key.removesuffix(".gz"),
            on_bad_rows="quarantine",
            date=self.place.date,
            first_line=before,
        )

    def blocks(self) -> tuple[int, Iterator[Block]]:
        """Open a full read; which column holds the underlying, and the blocks.

        What was read is right only when the iterator is exhausted: a checksum may come last.
        """
        self.reader.be_patient(self.size)
        if is_parquet(self.version) or self.head.startswith(_PARQUET):
            return 1, self._parquet_blocks()
        if self.searchable:
            layout = self.layout()
            lines = split(self.reader.read, layout.start, self.reader.size)
        else:
            pieces = in_blocks(self._unpacked())
            offset, first = next(pieces, (0, b""))
            layout = self.layout(first or b"\n")
            lines = chain([(offset + layout.start, first[layout.start :])], pieces)
        found = blocks_of(
            lines, layout.header, self.parse, before=layout.lines, in_file=self.searchable
        )
        return layout.column, found

    def _unpacked(self) -> Iterator[bytes]:
        reader, key = self.reader, self.version.key
        if self.place.member is not None:
            return member_chunks(reader.read, self.place.member, self.place.key, block=_BLOCK)
        spans = range(0, reader.size, READ)
        pieces = (reader.read(at, min(at + READ, reader.size)) for at in spans)
        return inflated(pieces, key, reader.size)

    def _parquet_blocks(self) -> Iterator[Block]:
        """Read a Parquet file whole: its rows cannot be told apart before."""
        version = self.version
        if self.place.member is not None:
            data: Any = b"".join(self._unpacked())
        else:
            blob = self.store.get(version.key)
            self.reader.count(blob)
            if blob.info.etag != version.etag:
                raise ObjectChangedError(
                    f"{version.key} was replaced while it was read.", key=version.key
                )
            data = memoryview(blob.data)
            del blob
        parsed = parse_options(
            data,
            version.dataset,
            key=version.key,
            on_bad_rows="quarantine",
            date=self.place.date,
        )
        del data
        yield from blocks_of_table(parsed)


def open_day(place: Place, reader: RangeReader, store: ObjectStore) -> DayFile:
    """Look at a file's beginning, which tells its version and what it is.

    Raises
    ------
    ObjectChangedError
        An archive is no longer the one whose directory names the member.
    DataError
        The file is empty.
    ArchiveError
        The member's name or path is not one to trust.
    """
    place.check()
    if place.member is not None:
        reader.read(0, 4)
        if reader.etag != place.etag:
            raise ObjectChangedError(
                f"{place.key} was replaced after it was listed.",
                remedy="Ask again with max_age=0.",
                key=place.key,
            )
        head = b""
    else:
        head = _head(place, reader, store)
    return DayFile(place, Version(place.where, reader.etag, place.dataset), reader, head, store)


def _head(place: Place, reader: RangeReader, store: ObjectStore) -> bytes:
    try:
        return reader.read(0, planner.HEAD)
    except ObjectChangedError:
        # Asked for no version: an empty object, which has no range.
        if store.stat(place.key).size > 0:
            raise
    raise DataError(
        f"{place.key} is empty.", remedy="Upload the file again.", key=place.key, line=1
    )


def is_parquet(version: Version) -> bool:
    """Whether a file's dataset or name says that it is Parquet."""
    return version.dataset.format == "parquet" or version.key.lower().endswith((".parquet", ".pq"))


def listed(row: BadRow) -> list[Any]:
    """Write an unreadable line as JSON has it."""
    return [row.line, row.reason, row.text]
