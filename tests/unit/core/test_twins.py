"""Twins on a disk: sorting in parts, single flipped bytes, footers that lie."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from stockdb.core import planner, scan, twins
from stockdb.core.parse import parse_options
from stockdb.core.scan import Block
from stockdb.core.twins import NoTwinError, Twin, make_twin, open_twin
from stockdb.settings import Dataset

DATASET = Dataset(key="o/{YYYY-MM-DD}options.csv", kind="options")
HEADER = b"contract,underlying,expiration,type,strike,bid,ask,quote_date\n"
SOURCE = {"key": "k", "etag": "e", "reading": "r"}


class Bytes:
    """Stands in for a RangeReader: the bytes of a file, and what was asked of them."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size, self.asked = data, len(data), list[tuple[int, int]]()

    def read(self, start: int, stop: int) -> bytes:
        self.asked.append((start, stop))
        return self.data[start:stop]


def row(name: str, number: int) -> bytes:
    return f"{name}230120C00010000,{name},2023-01-20,call,10,{number},1,2023-01-03\n".encode()


def blocks(names: list[str], size: int = 700) -> Iterator[Block]:
    """Blocks of some rows; the bid is the row's number in the file."""

    def parse(data: bytes, before: int) -> Any:
        return parse_options(data, DATASET, key="k.csv", on_bad_rows="raise", first_line=before)

    lines = [row(name, number) for number, name in enumerate(names)]
    parts = [b"".join(lines[i : i + size]) for i in range(0, len(lines), size)]
    offsets = [sum(map(len, parts[:i])) for i in range(len(parts))]
    return scan.blocks_of(
        iter(zip(offsets, parts, strict=True)), HEADER, parse, before=1, in_file=True
    )


def twin_of(names: list[str], path: Path) -> bytes:
    make_twin(blocks(names), 1, SOURCE, path)
    return path.read_bytes()


def opened(data: bytes) -> Twin:
    reader: Any = Bytes(data)
    return open_twin(reader, SOURCE)


@pytest.fixture
def names() -> list[str]:
    """Shuffled: every underlying is in every block."""
    chance = random.Random(5)
    kinds = ["A", "AA", "AAPL", "BRK.B", "Z", *(f"S{n}" for n in range(40))]
    return [chance.choice(kinds) for _ in range(5_000)]


@pytest.mark.parametrize("sort, group", [(49_152, 24_576), (1_000, 300), (1, 1)])
def test_rows_keep_the_files_order_however_they_are_sorted(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sort: int, group: int
) -> None:
    monkeypatch.setattr(twins, "SORT_ROWS", sort)
    monkeypatch.setattr(twins, "GROUP_ROWS", group)
    data = twin_of(names, tmp_path / "t")
    for name in sorted(set(names)):
        table = opened(data).rows(name)
        assert table is not None
        assert table["bid"].to_pylist() == [i for i, each in enumerate(names) if each == name]
    assert opened(data).places("BRK-B")  # in any spelling
    assert opened(data).places("B") == [] and opened(data).cost("B") == 0


def test_a_note_that_is_not_of_the_rows_is_not_believed(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a writer had counted wrong: all sums are right, and so is the number of rows."""
    real = twins.Contents.pack

    def pack(contents: twins.Contents) -> bytes:
        one, two, *others = contents.counts
        return real(replace(contents, counts=[one + 1, two - 1, *others]))

    monkeypatch.setattr(twins.Contents, "pack", pack)
    twin = opened(twin_of(names, tmp_path / "t"))
    assert twin.rows("A") is None and twin.rows("Z") is not None


@pytest.mark.parametrize("rows_of_one", [50, 20_000])
def test_sorting_takes_the_memory_of_a_batch_not_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_of_one: int
) -> None:
    """Nor that of the largest underlying."""
    monkeypatch.setattr(twins, "SORT_ROWS", 500)
    monkeypatch.setattr(twins, "GROUP_ROWS", 500)
    names = [f"S{n // rows_of_one:04d}" for n in range(20_000)]
    held: list[int] = []
    real = twins._write_group

    def write(writer: Any, tables: list[pa.Table]) -> None:
        held.append(pa.total_allocated_bytes())
        real(writer, tables)

    monkeypatch.setattr(twins, "_write_group", write)
    before = pa.total_allocated_bytes()
    data = twin_of(names, tmp_path / "t")
    assert len(held) >= 20_000 // 700
    # What stays from batch to batch is the writer's own list of row groups, no rows.
    assert max(held) - before < 1_000_000
    for name in (names[0], names[-1]):
        table = opened(data).rows(name)
        assert table is not None and table.num_rows == rows_of_one


def test_a_footer_longer_than_the_first_guess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twins, "GROUP_ROWS", 10)
    data = twin_of([f"S{n // 10:04d}" for n in range(2_000)], tmp_path / "t")
    expected = opened(data).rows("S0077")
    monkeypatch.setattr(twins, "FOOTER", 1 << 16)  # as much as Parquet's own reader asks for
    twin = opened(data)
    found = twin.rows("S0077")
    assert found is not None and expected is not None
    pd.testing.assert_frame_equal(found.to_pandas(), expected.to_pandas())
    assert len(twin.reader.asked) == 4  # type: ignore[attr-defined]
    assert planner.FOOTER >= 1 << 16


def test_no_single_flipped_byte_gives_wrong_rows(names: list[str], tmp_path: Path) -> None:
    data = twin_of(names, tmp_path / "t")
    whole = opened(data).rows("AAPL")
    assert whole is not None
    truth = whole.to_pandas()
    outcomes = {"right": 0, "refused": 0}
    chance = random.Random(1)
    for at in chance.sample(range(4, len(data)), 1_500):
        broken = bytearray(data)
        broken[at] ^= 1 << chance.randrange(8)
        try:
            table = opened(bytes(broken)).rows("AAPL")
        except NoTwinError:
            table = None
        if table is None:
            outcomes["refused"] += 1
        else:
            assert table.to_pandas().equals(truth), at
            outcomes["right"] += 1  # a byte that nobody needs
    assert outcomes["refused"] > 700


@pytest.mark.parametrize("other", ["key", "etag", "reading"])
def test_of_another_source(names: list[str], tmp_path: Path, other: str) -> None:
    reader: Any = Bytes(twin_of(names, tmp_path / "t"))
    with pytest.raises(NoTwinError, match="another"):
        open_twin(reader, {**SOURCE, other: "x"})


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" * 4, b"x" * 300, b"\xff" * 296 + b"PAR1"])
def test_no_parquet_at_all(data: bytes) -> None:
    with pytest.raises(NoTwinError):
        opened(data)
