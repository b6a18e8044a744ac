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
    OSError
        The file cannot be mapped.
    """
    mapped = _map(descriptor)
    payload_size, checksum, document = _parts(memoryview(mapped))
    payload = mapped.slice(0, payload_size)
    if zlib.crc32(payload) != checksum:
        raise CorruptEntryError("payload checksum")
    try:
        table = pa.ipc.open_stream(payload).read_all()
        metadata = json.loads(bytes(document))
    except (pa.ArrowException, OSError, ValueError) as error:  # Arrow's reader has them all
        raise CorruptEntryError(str(error)) from None
    return Entry(table, metadata, mapped.size)


def read_metadata(descriptor: int) -> dict[str, Any]:
    """Read an entry's metadata; its columns are neither read nor checked.

    Raises
    ------
    CorruptEntryError
        The footer or the metadata differ from what was written.
    OSError
        The file cannot be mapped.
    """
    _, _, document = _parts(memoryview(_map(descriptor)))
    try:
        found = json.loads(bytes(document))
    except ValueError as error:
        raise CorruptEntryError(str(error)) from None
    return dict(found)


def _map(descriptor: int) -> pa.Buffer:
    """Map a file for as long as anything refers to it, without keeping a descriptor.

    ``mmap`` duplicates the descriptor, so that some hundred tables in use would exhaust the
    process's limit; Arrow closes its own and keeps the map.
    """
    try:
        source = pa.memory_map(f"/dev/fd/{descriptor}")
    except OSError:  # no /dev/fd here, or no descriptor left: this will tell
        try:
            return pa.py_buffer(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ))
        except ValueError:
            raise CorruptEntryError("empty") from None
    with source:
        return source.read_buffer()


def _parts(view: memoryview) -> tuple[int, int, memoryview]:
    """Return the payload's size and checksum, and the metadata, which are checked."""
    if len(view) < _FOOTER.size:
        raise CorruptEntryError("too short")
    head, payload, document, checksum, crc, tail = _FOOTER.unpack(view[-_FOOTER.size :])
    if head != MAGIC or tail != MAGIC or payload + document + _FOOTER.size != len(view):
        raise CorruptEntryError("footer")
    text = view[payload : payload + document]
    if zlib.crc32(text) != crc:
        raise CorruptEntryError("metadata checksum")
    return payload, checksum, text
