"""One entry, one file: what was written comes back, and nothing else ever does."""

from __future__ import annotations

import ast
import json
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stockdb.core import cache, cachefiles, counters, entry, freshness, locks
from stockdb.core.entry import CorruptEntryError, load, read_metadata, write

FOOTER = 40  # magic 8, two lengths of 8, two CRCs of 4, magic 8: the layout in the docstring
METADATA: dict[str, Any] = {"etag": '"a"', "size": 3, "bad_rows": [[2, "no date", "ü,\x00"]]}
TABLE = pa.table(
    {
        "date": pa.array([0, 1, 2**62], pa.timestamp("ns")),
        "close": [1.5, float("nan"), float("-inf")],
        "note": ["", None, "é"],
    }
)


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def put(path: Path, table: pa.Table = TABLE) -> bytes:
    with opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL) as descriptor:
        nbytes = write(descriptor, table, METADATA)
    data = path.read_bytes()
    assert nbytes == len(data)
    return data


def read(path: Path) -> entry.Entry:
    with opened(path) as descriptor:
        return load(descriptor)


@pytest.mark.parametrize(
    "table",
    [
        TABLE,
        TABLE.slice(1, 1),
        TABLE.slice(0, 0),
        pa.table({}),
        pa.concat_tables([TABLE, TABLE]),
        pa.table({"d": pa.array(["a", "b", "a"]).dictionary_encode()}),
    ],
    ids=["plain", "slice", "no rows", "no columns", "two chunks", "dictionary"],
)
def test_what_was_written_comes_back(tmp_path: Path, table: pa.Table) -> None:
    put(tmp_path / "x", table)
    found = read(tmp_path / "x")
    assert found.table.schema == table.schema
    # Arrow's equals() holds NaN unequal to itself.
    assert [repr(column.to_pylist()) for column in found.table.columns] == [
        repr(column.to_pylist()) for column in table.columns
    ]
    assert found.metadata == METADATA
    assert found.nbytes == (tmp_path / "x").stat().st_size
    with opened(tmp_path / "x") as descriptor:
        assert read_metadata(descriptor) == METADATA


def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    data = put(tmp_path / "x")
    head, payload, document, crc, crc2, tail = struct.unpack("<8sQQII8s", data[-FOOTER:])
    assert head == tail == b"STOCKDB\x01"
    assert payload + document + FOOTER == len(data)
    assert pa.ipc.open_stream(data[:payload]).read_all().schema == TABLE.schema
    assert json.loads(data[payload : payload + document]) == METADATA
    assert (crc, crc2) == (zlib.crc32(data[:payload]), zlib.crc32(data[payload:-FOOTER]))


def test_every_flipped_byte_is_detected(tmp_path: Path) -> None:
    data = put(tmp_path / "x")
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        (tmp_path / "y").write_bytes(damaged)
        with pytest.raises(CorruptEntryError):
            read(tmp_path / "y")


def test_every_truncation_and_extension_is_detected(tmp_path: Path) -> None:
    data = put(tmp_path / "x")
    for size in range(len(data)):
        (tmp_path / "y").write_bytes(data[:size])
        with pytest.raises(CorruptEntryError):
            read(tmp_path / "y")
    for more in (b"\0", data[-FOOTER:], data):
        (tmp_path / "y").write_bytes(data + more)
        with pytest.raises(CorruptEntryError):
            read(tmp_path / "y")


def test_metadata_are_checked_without_reading_the_columns(tmp_path: Path) -> None:
    data = put(tmp_path / "x")
    (payload,) = struct.unpack("<Q", data[-FOOTER + 8 : -FOOTER + 16])
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        (tmp_path / "y").write_bytes(damaged)
        in_columns = position < payload or -FOOTER + 24 <= position - len(data) < -FOOTER + 28
        with opened(tmp_path / "y") as descriptor:
            if in_columns:
                assert read_metadata(descriptor) == METADATA
            else:
                with pytest.raises(CorruptEntryError):
                    read_metadata(descriptor)


@pytest.mark.parametrize("payload", [b"", b"not Arrow at all", b"\xff" * 64], ids=repr)
@pytest.mark.parametrize("document", [b"", b"{", b'{"a": 1}'], ids=repr)
def test_a_foreign_file_with_right_checksums_is_refused(
    tmp_path: Path, payload: bytes, document: bytes
) -> None:
    magic = b"STOCKDB\x01"
    sizes = (len(payload), len(document), zlib.crc32(payload), zlib.crc32(document))
    (tmp_path / "x").write_bytes(
        payload + document + struct.pack("<8sQQII8s", magic, *sizes, magic)
    )
    with pytest.raises(CorruptEntryError):
        read(tmp_path / "x")


def test_nan_is_no_json_value(tmp_path: Path) -> None:
    with opened(tmp_path / "x", os.O_RDWR | os.O_CREAT) as descriptor, pytest.raises(ValueError):
        write(descriptor, TABLE, {"size": float("nan")})


def test_a_write_that_the_system_cuts_short_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:7]))
    put(tmp_path / "x")
    assert read(tmp_path / "x").metadata == METADATA


def test_a_table_is_a_map_of_the_file_that_outlives_its_name(tmp_path: Path) -> None:
    values = np.arange(500_000, dtype="float64")
    put(tmp_path / "x", pa.table({"v": values}))
    before = pa.total_allocated_bytes()
    table = read(tmp_path / "x").table
    assert pa.total_allocated_bytes() - before < 100_000  # not the 4 MB of the column
    (tmp_path / "x").unlink()
    assert np.array_equal(table["v"].to_numpy(), values)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs /dev/fd")
def test_tables_in_use_take_no_descriptors(tmp_path: Path) -> None:
    put(tmp_path / "x")
    before = len(os.listdir("/dev/fd"))
    tables = [read(tmp_path / "x").table for _ in range(300)]
    assert len(os.listdir("/dev/fd")) == before
    assert all(table.num_rows == 3 for table in tables)


def test_without_dev_fd_the_map_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(path: str) -> None:
        raise FileNotFoundError(path)

    data = put(tmp_path / "x")
    monkeypatch.setattr(pa, "memory_map", absent)
    assert read(tmp_path / "x").metadata == METADATA
    for damaged in (b"", data[:-1]):
        (tmp_path / "y").write_bytes(damaged)
        with pytest.raises(CorruptEntryError):
            read(tmp_path / "y")


@pytest.mark.parametrize("module", [cache, cachefiles, counters, entry, freshness, locks])
def test_nothing_that_could_execute_is_imported(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    names = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [a.name for a in node.names]
        )
    }
    assert not names & {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    calls = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"eval", "exec", "compile", "__import__"}
