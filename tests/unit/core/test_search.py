"""The ranged search on hand-made files; random ones are in ``tests/property``."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from stockdb.core import search
from stockdb.core.search import ContradictionError, Known, Layout, Probe, find_run, read_layout
from stockdb.errors import DataError

HEADER = b"contract,underlying,bid\n"


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SLACK", 120)
    monkeypatch.setattr(search, "WINDOW", 32)


def body(*groups: tuple[str, int]) -> bytes:
    return b"".join(f"c{i},{name},{i}\n".encode() for name, count in groups for i in range(count))


class File:
    """A file that counts what is asked of it."""

    def __init__(self, data: bytes) -> None:
        self.data, self.asked = data, list[tuple[int, int]]()
        self.layout = read_layout(data, ("underlying",), "key", {})

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        assert all(0 <= start < stop <= len(self.data) for start, stop in ranges)
        self.asked += ranges
        return [self.data[start:stop] for start, stop in ranges]

    def find(self, symbol: str, known: Known | None = None) -> bytes | None:
        known = Known() if known is None else known
        found = find_run(self.read_many, self.layout, len(self.data), symbol.encode(), known)
        if found is not None:
            assert self.data[found[0] : found[0] + len(found[1])] == found[1]
        return None if found is None else found[1]


GROUPS = (("A", 50), ("AA", 1), ("AAP", 30), ("AAPL", 200), ("AAPL1", 2), ("B", 400), ("ZZ", 1))


class TestFindRun:
    @pytest.mark.parametrize("name, count", GROUPS)
    @pytest.mark.parametrize("last_end", [b"\n", b""])
    @pytest.mark.parametrize("window", [6, 32])  # less than a line, and a few of them
    def test_every_group_wherever_it_stands(
        self, name: str, count: int, last_end: bytes, window: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(search, "WINDOW", window)
        file = File(HEADER + body(*GROUPS).removesuffix(b"\n") + last_end)
        found = file.find(name)
        assert found is not None
        assert found.rstrip(b"\n") == body((name, count)).rstrip(b"\n")

    @pytest.mark.parametrize("name", ["0", "AAPK", "AAPL0", "AAPL2", "AB", "C", "ZZZ"])
    def test_nothing_where_it_would_have_to_be(self, name: str) -> None:
        assert File(HEADER + body(*GROUPS)).find(name) is None

    def test_a_file_of_one_symbol_and_one_without_rows(self) -> None:
        assert File(HEADER + body(("A", 500))).find("A") == body(("A", 500))
        assert File(HEADER).find("A") is None

    def test_the_first_line_is_known_to_be_the_symbols(self) -> None:
        """What the reader's head tells: the run begins right after the header."""
        file = File(HEADER + body(("A", 90), ("B", 90)))
        known = Known([Probe(len(HEADER), b"A"), Probe(len(HEADER) + 8, b"A")])
        assert file.find("A", known) == body(("A", 90))

    def test_it_reads_little_and_learns(self) -> None:
        file, known = File(HEADER + body(*GROUPS, ("ZZZ", 4000))), Known()
        file.find("AAP", known)
        first = sum(stop - start for start, stop in file.asked)
        assert first < 2000 < len(file.data) / 20
        file.asked.clear()
        file.find("AAP", known)
        assert len(file.asked) == 1  # the run alone

    def test_a_large_run_takes_few_requests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(search, "_CHUNK", 64)
        file = File(HEADER + body(("A", 3), ("B", 3000), ("C", 3)))
        assert file.find("B") == body(("B", 3000))
        assert len(file.asked) < 40

    def test_what_a_probe_sees(self) -> None:
        assert search._first_line(b"cut\n\n \r\nc,A,1\nc,B", at_end=False) == (8, b"c,A,1")
        assert search._first_line(b"cut\nc,A", at_end=False) is None
        assert search._first_line(b"cut\nc,A", at_end=True) == (4, b"c,A")
        assert search._first_line(b"cut\n\n", at_end=True) is None
        assert search._first_line(b"cut", at_end=True) is None

    def test_a_very_long_line(self) -> None:
        long = b"c" * 5000 + b",B,1\n"
        file = File(HEADER + body(("A", 300)) + long + body(("C", 300)))
        assert file.find("B") == long
        assert file.find("C") == body(("C", 300))

    def test_a_line_longer_than_any_is_not_taken_in_part(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(search, "_LONGEST_LINE", 400)
        long = b"c,AAPL" + b"x" * 5000 + b",1\n"  # its beginning looks like AAPL's
        file = File(HEADER + body(("A", 50)) + long + body(("AB", 50)))
        assert file.find("AAPL") is None
        assert file.find("AB") == body(("AB", 50))

    def test_blank_lines_are_stepped_over(self) -> None:
        blank = b"\n" * 3000
        file = File(HEADER + blank + body(("A", 50)) + blank + body(("B", 5)) + blank)
        assert file.find("B") == body(("B", 5))
        assert file.find("A") == body(("A", 50))

    def test_the_underlying_is_the_last_field_and_lines_end_in_crlf(self) -> None:
        lines = [f"c{i},{i},{name}\r\n" for name, n in GROUPS for i in range(n)]
        file = File(b"contract,bid,underlying\r\n" + "".join(lines).encode())
        assert file.find("AAPL1") == b"c0,0,AAPL1\r\nc1,1,AAPL1\r\n"

    def test_quoted_fields(self) -> None:
        rows = b"".join(b'"c,%d","%s",1\n' % (i, s) for s in (b"A", b"B") for i in range(99))
        assert File(HEADER + rows).find("B") == rows[len(rows) // 2 :]


class TestCut:
    """What only looks regular goes the slow way, which sees every line for what it is."""

    @pytest.mark.parametrize(
        "data",
        [
            b"c,A\nc,A,1,1\nc,B,1\n",  # as many commas in all as if each line had two
            b"c,A,1\n\nc,B,1,1,1\n",
            b"c,A,1\nc,TOOLONGANAME,1\n",
            b'c,"A",1\nc,B,1\n',
            b"c,A,1\r\nc,B,1\r\n",
            b"c,A\0,1\nc,B,1\n",
            b"c,B,1\nc,A,1\n",
        ],
    )
    def test_odd_lines_are_not_cut_fast(self, data: bytes) -> None:
        assert search._cut_plain(data, 1, b"A") is None

    @pytest.mark.parametrize("end", [b"\n", b""])
    @pytest.mark.parametrize(
        "symbol, first, last", [(b"A", 0, 2), (b"AA", 2, 3), (b"ZZZZZZZZ", 3, 5), (b"B", 0, 0)]
    )
    def test_regular_ones_are(self, symbol: bytes, first: int, last: int, end: bytes) -> None:
        names = (b"A", b"A", b"AA", b"ZZZZZZZZ", b"ZZZZZZZZ")
        lines = [b"c%d,%s,%d\n" % (i, name, i * 7) for i, name in enumerate(names)]
        data = b"".join(lines).removesuffix(b"\n") + end
        found = search._cut_plain(data, 1, symbol)
        assert found is not None
        begin, stop = found
        expected = b"".join(lines[first:last])
        assert data[begin:stop].rstrip(b"\n") == expected.rstrip(b"\n")

    def test_ranks_are_in_the_order_of_names(self) -> None:
        names = [b"A", b"AA", b"AAP", b"AAPL", b"AB", b"B", b"BRK.B", b"Z", b"ZZZZZZZZ"]
        ranks = [search._rank(name) for name in names]
        assert ranks == sorted(set(ranks)) and 0 < ranks[0] and ranks[-1] < 1


class TestContradictions:
    @pytest.mark.parametrize(
        "groups", [(("B", 300), ("A", 300)), (("A", 90), ("C", 90), ("B", 90), ("D", 90))]
    )
    def test_seen_and_remembered(self, groups: Sequence[tuple[str, int]]) -> None:
        file, known = File(HEADER + body(*groups)), Known()
        with pytest.raises(ContradictionError):
            file.find("B", known)
        file.asked.clear()
        with pytest.raises(ContradictionError):
            file.find("D", known)
        assert not file.asked

    def test_a_displaced_row_at_the_edge_of_the_run(self) -> None:
        rows = body(("A", 3)) + body(("B", 2)) + body(("A", 1)) + body(("C", 2))
        with pytest.raises(ContradictionError):
            File(HEADER + rows).find("B")

    def test_a_line_without_an_underlying(self) -> None:
        with pytest.raises(ContradictionError):
            File(HEADER + b"garbage\n" + body(("A", 1))).find("A")

    def test_threads_keep_the_lines_in_order(self) -> None:
        data = HEADER + body(*[(f"S{n:03d}", 30) for n in range(200)])
        known, wrong = Known(), list[str]()

        def search_some(first: int) -> None:
            for n in range(first, 200, 8):
                if File(data).find(f"S{n:03d}", known) != body((f"S{n:03d}", 30)):
                    wrong.append(str(n))

        threads = [threading.Thread(target=search_some, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        places = [probe.at for probe in known.probes]
        assert places == sorted(set(places))


class TestLayout:
    def test_header(self) -> None:
        data = b'\xef\xbb\xbf\r\n"Contract", Underlying_Symbol ,bid\r\nx'
        layout = read_layout(data, ("underlying", "underlyingsymbol"), "key", {})
        assert (layout.column, layout.lines, layout.title) == (1, 2, "Underlying_Symbol")
        assert layout.header == b'"Contract", Underlying_Symbol ,bid\r\n'
        assert data[layout.start :] == b"x"

    def test_the_datasets_own_names_win(self) -> None:
        names = ("underlying", "symbol", "ticker")
        assert read_layout(b"symbol,root\n", names, "k", {"root": "underlying"}).column == 1
        assert read_layout(b"symbol,ticker\n", names, "k", {"symbol": "contract"}).column == 1
        assert read_layout(b"contract,bid\n", names, "k", {}).column == -1

    @pytest.mark.parametrize("head", [b"", b"contract,underlying", b"\n\n", b"\xff\xfe\n"])
    def test_no_header(self, head: bytes) -> None:
        with pytest.raises(DataError) as caught:
            read_layout(head, ("underlying",), "the/key", {})
        assert caught.value.key == "the/key"

    @pytest.mark.parametrize("line", [b"c", b"", b'"c'])
    def test_a_line_too_short(self, line: bytes) -> None:
        with pytest.raises(ContradictionError):
            Layout(HEADER, 1, 0).underlying(line)
