"""A whole file in blocks: where they are cut, and what is proved about their order."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from stockdb.core import scan
from stockdb.core.parse import parse_options
from stockdb.core.scan import Index, blocks_of, blocks_of_table, concerns, index_table, split
from stockdb.errors import ArchiveError, DataError
from stockdb.settings import Dataset

DATASET = Dataset(key="o/{YYYY-MM-DD}options.csv", kind="options")
HEADER = b"contract,underlying,expiration,type,strike,bid,ask,quote_date\n"


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "BLOCK", 400)
    monkeypatch.setattr(scan, "READ", 1000)


def row(name: str, number: int) -> bytes:
    return f"{name}230120C00010000,{name},2023-01-20,call,10,{number},1,2023-01-03\n".encode()


def body(*names: str) -> bytes:
    return b"".join(row(name, number) for number, name in enumerate(names))


def parse(data: bytes, before: int) -> Any:
    return parse_options(data, DATASET, key="k.csv", on_bad_rows="quarantine", first_line=before)


def cut(data: bytes, start: int = 0) -> list[tuple[int, bytes]]:
    return list(split(lambda begin, end: data[begin:end], start, len(data)))


def index_of(data: bytes, *, in_file: bool = True) -> tuple[Index, list[scan.Block]]:
    lines = cut(HEADER + data, len(HEADER))
    blocks = list(blocks_of(iter(lines), HEADER, parse, before=1, in_file=in_file))
    return index_table(blocks), blocks


class TestSplit:
    @pytest.mark.parametrize("size", [*range(30), 399, 400, 500, 999, 1000, 1250, 1251, 5000])
    @pytest.mark.parametrize("step", [1, 7, 100, 2600])
    def test_nothing_is_lost_and_lines_stay_whole(self, size: int, step: int) -> None:
        data = bytearray(b"x" * size)
        data[step - 1 :: step] = b"\n" * len(data[step - 1 :: step])
        for start in (0, min(3, size)):
            parts = cut(bytes(data), start)
            assert b"".join(part for _, part in parts) == data[start:]
            at = start
            for number, (place, part) in enumerate(parts):
                assert place == at and part
                assert part.endswith(b"\n") or number == len(parts) - 1
                at += len(part)

    def test_no_tiny_block_at_the_end(self) -> None:
        for size in range(1000, 2600, 7):
            data = (b"x" * 9 + b"\n") * (size // 10) + b"x" * (size % 10)
            assert all(80 <= len(part) <= 520 for _, part in cut(data))

    def test_a_truncated_line_at_the_end_is_one_bad_row_and_no_foreign_file(self) -> None:
        lines = body(*["A"] * 40)
        for size in range(1990, 2060):
            data = lines[:size]
            _, blocks = index_of(data)
            assert sum(block.table.num_rows for block in blocks) >= data.count(b"\n")


class TestGzip:
    def pieces(self, data: bytes, size: int = 64) -> Iterator[bytes]:
        return (data[i : i + size] for i in range(0, len(data), size))

    @pytest.mark.parametrize("streams", [1, 2, 5])
    @pytest.mark.parametrize("step", [1 << 20, 100, 1])
    @pytest.mark.parametrize("padding", [b"", b"\0" * 200])
    def test_streams(
        self, streams: int, step: int, padding: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scan, "_STEP", step)
        data = body(*["A"] * 60)
        each = -(-len(data) // streams)
        packed = b"".join(gzip.compress(data[i : i + each]) for i in range(0, len(data), each))
        parts = list(scan.in_blocks(scan.inflated(self.pieces(packed + padding), "k", len(packed))))
        assert b"".join(part for _, part in parts) == data
        assert all(part.endswith(b"\n") for _, part in parts)
        assert [at for at, _ in parts] == [
            sum(len(part) for _, part in parts[:n]) for n in range(len(parts))
        ]

    @pytest.mark.parametrize("damage", [lambda z: z[:-3], lambda z: z + b"tail", lambda z: z[:40]])
    def test_damaged(self, damage: Any) -> None:
        with pytest.raises(ArchiveError):
            list(scan.inflated(self.pieces(damage(gzip.compress(body("A")))), "k", 100))

    def test_a_bomb(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(scan, "_ALWAYS_ALLOWED", 1000)
        packed = gzip.compress(b"\n" * 10**6)
        with pytest.raises(ArchiveError, match="more than"):
            list(scan.inflated(self.pieces(packed), "k", 100))


class TestIndex:
    def places(self, index: Index, name: str) -> list[dict[str, Any]]:
        return [item for item in index.table.to_pylist() if item["underlying"] == name]

    @pytest.mark.parametrize("blank", [b"", b"\n", b"  \r\n"])
    @pytest.mark.parametrize("bad", [b"", b"X230120C00010000,X,torn\n"])
    def test_bytes_are_exact_past_blank_and_bad_lines(self, blank: bytes, bad: bytes) -> None:
        names = ["A"] * 9 + ["B"] * 9 + ["C"]
        data = blank + body(*names[:5]) + blank + bad + body(*names[5:])
        index, blocks = index_of(data)
        assert (index.grouped, index.ascending) == (True, True)
        for name in "ABC":
            spots = self.places(index, name)
            parts = [(HEADER + data)[spot["start"] : spot["stop"]] for spot in spots]
            lines = [line for line in b"".join(parts).splitlines() if b"torn" not in line]
            held = sorted(line for line in lines if line.strip())
            expected = [line for line in data.splitlines() if f",{name},".encode() in line]
            assert held == sorted(expected)
        assert sum(len(block.bad_rows) for block in blocks) == bool(bad)

    def test_a_run_over_several_blocks_is_one(self) -> None:
        index, blocks = index_of(body(*["A"] * 2, *["B"] * 40, *["C"] * 2))
        assert len(blocks) > 4 and len(self.places(index, "B")) > 3
        assert (index.grouped, index.ascending) == (True, True)

    @pytest.mark.parametrize(
        "names, grouped, ascending",
        [
            ("AABB", True, True),
            ("BBAA", True, False),
            ("ABA", False, False),
            ("A" * 20 + "B" * 20 + "A" * 20, False, False),  # in different blocks
            ("A" * 20 + "BA" + "C" * 20, False, False),
        ],
    )
    @pytest.mark.parametrize("in_file", [True, False])
    def test_what_is_proved(
        self, names: str, grouped: bool, ascending: bool, in_file: bool
    ) -> None:
        index, blocks = index_of(body(*names), in_file=in_file)
        assert (index.grouped, index.ascending) == (grouped, ascending)
        for name in set(names):
            parts = [
                blocks[spot["block"]].table.slice(spot["first"], spot["rows"])
                for spot in self.places(index, name)
            ]
            bids = pa.concat_tables(parts)["bid"].to_pylist()
            assert bids == [i for i, each in enumerate(names) if each == name]  # file's order

    def test_no_rows(self) -> None:
        index, blocks = index_of(b"")
        assert index.table.num_rows == 0 and len(blocks) == 1
        assert index.table.schema.field("block").type == pa.int64()
        with pytest.raises(DataError):  # nor a header of an option chain
            list(blocks_of(iter(()), b"<html>\n", parse, before=1, in_file=True))

    def test_a_table_that_was_read_whole(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(scan, "ROWS", 3)
        blocks = list(blocks_of_table(parse(HEADER + body(*"AABBBBC"), 1)))
        assert [block.names for block in blocks] == [["A", "B"], ["B"], ["C"]]
        assert index_table(blocks).ascending


@pytest.mark.parametrize(
    "text, name, expected",
    [
        ("O:AAPL230120C00050000,AAPL,oops", "AAPL", True),
        ('"O:AAPL230120C00050000","AAPL",oops', "AAPL", True),
        ("O:AAPL230120C00050000,MSFT,oops", "AAPL", False),  # the underlying's word counts
        ("O:AAPL230120C00050000", "AAPL", True),
        ("AAPL2301", "AAPL", True),
        ("AAPL2301", "A", False),
        ("O:AAPL230120C00050000,AA", "AA", False),  # cut: only the contract is whole
        ("O:AAPL230120C00050000,AA", "AAPL", True),
        ("O:AA", "AAPL", True),
        ("O:AA", "B", False),
        ("", "AAPL", False),
        ("O:", "AAPL", False),
    ],
)
def test_whose_an_unreadable_line_is(text: str, name: str, expected: bool) -> None:
    assert concerns(text, [name], 1) is expected
