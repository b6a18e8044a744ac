"""One cached object as one immutable file: Arrow, then JSON, then a footer with checksums.

::

    Arrow IPC stream | JSON metadata | magic, lengths, CRC of both (little endian, 40 bytes)

The Arrow part comes first so that a memory map of the file is a map of the columns. A file
is written under another name, renamed, and never changed afterwards: a reader sees all of
it or nothing. It is not flushed to the device: what a power cut tears, the checksums find,
and a cache may be fetched again. Nothing in it is executable (no pickle).
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

__all__ = ["CorruptEntryError", "Entry", "load", "read_metadata", "write"]

MAGIC: Final = b"STOCKDB\x01"
_FOOTER: Final = struct.Struct("<8sQQII8s")


class CorruptEntryError(Exception):
    """The file is not what was written: truncated, flipped or foreign."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A cached table with what is known about its object.

    Attributes
    ----------
    table : pyarrow.Table
        Memory-mapped where it was read from disk.
    metadata : dict
        JSON values only.
    nbytes : int
        Size of the file; 0 where none was written.
    """

    table: pa.Table
    metadata: dict[str, Any]
    nbytes: int = 0


def write(descriptor: int, table: pa.Table, metadata: dict[str, Any]) -> int:
    """Write an entry to an open, empty file.

    Returns
    -------
    int
        Bytes written.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    payload = memoryview(sink.getvalue())
    document = json.dumps(metadata, separators=(",", ":"), allow_nan=False).encode()
    footer = _FOOTER.pack(
        MAGIC, len(payload), len(document), zlib.crc32(payload), zlib.crc32(document), MAGIC
    )
    total = 0
    for part in (payload, document, footer):
        view = memoryview(part)
        while view:
            count = os.write(descriptor, view)
            view, total = view[count:], total + count
    return total


def load(descriptor: int) -> Entry:
    """Map an entry and check it in full.

    Raises
    ------
    CorruptEntryError
        Any byte differs from what was written.
    """
    size = os.fstat(descriptor).st_size
    if size < _FOOTER.size:
        raise CorruptEntryError("too short")
    mapped = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
    view = memoryview(mapped)
    payload_end, document = _parts(view, size)
    payload = view[:payload_end]
    if zlib.crc32(payload) != _FOOTER.unpack(view[-_FOOTER.size :])[3]:
        raise CorruptEntryError("payload checksum")
    try:
        table = pa.ipc.open_stream(pa.py_buffer(payload)).read_all()
        metadata = json.loads(bytes(document))
    except (pa.ArrowInvalid, ValueError) as error:
        raise CorruptEntryError(str(error)) from None
    return Entry(table, metadata, size)


def read_metadata(path: Path) -> dict[str, Any]:
    """Read an entry's metadata without its columns (they are not checked)."""
    try:
        data = path.read_bytes()
        _, document = _parts(memoryview(data), len(data))
        found = json.loads(bytes(document))
    except (OSError, ValueError) as error:
        raise CorruptEntryError(str(error)) from None
    return dict(found)


def _parts(view: memoryview, size: int) -> tuple[int, memoryview]:
    """Return where the payload ends, and the checked metadata."""
    if size < _FOOTER.size:
        raise CorruptEntryError("too short")
    head, payload, document, _, crc, tail = _FOOTER.unpack(view[-_FOOTER.size :])
    if head != MAGIC or tail != MAGIC or payload + document + _FOOTER.size != size:
        raise CorruptEntryError("footer")
    text = view[payload : payload + document]
    if zlib.crc32(text) != crc:
        raise CorruptEntryError("metadata checksum")
    return payload, text
