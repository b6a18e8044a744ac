"""The rows of one underlying in a big sorted CSV, found by a few ranged reads.

The file declares an order: rows grouped by underlying, underlyings ascending by byte. What
the search sees is held against that order; the first contradiction ends it. What it does
not see it cannot prove: its result is *assumed*, and that a symbol is absent it never says.
"""

from __future__ import annotations

import csv
import io
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from stockdb.core.columns import fold
from stockdb.errors import DataError

__all__ = [
    "ContradictionError",
    "Known",
    "Layout",
    "Probe",
    "find_run",
    "read_layout",
    "whole_lines",
]

#: Probes sent together to a server that is far away, where waiting is what costs.
PROBES: Final = 4
#: Probes of one search at most; halving alone needs fewer than this for any file.
MOST: Final = 28
#: Bytes around a probe: enough for a few lines of a hundred bytes.
WINDOW: Final = 2048
_LONGEST_LINE: Final = 1 << 20
#: The search ends when the bytes that may or may not belong to the run are this few: one more
#: probe would cost more than reading them.
SLACK: Final = 192 * 1024
_SLACK_SHARE: Final = 0.004
#: Larger runs are cut line by line, which takes less memory.
_PLAIN: Final = 4 << 20
#: How far from a guess the probes stand, as a share of the gap: names are not spread evenly.
_MARGIN: Final = 0.04
#: Names up to this length are compared as one number.
_NAME: Final = 8
#: The run itself is read in parts of at least so many bytes, and in so many parts at most.
_CHUNK: Final = 1 << 20
_CHUNKS: Final = 8
ReadMany = Callable[[Sequence[tuple[int, int]]], list[bytes]]


class ContradictionError(Exception):
    """The file is not in the order that its dataset declares."""


@dataclass(frozen=True)
class Layout:
    """How the lines of a file are built.

    Attributes
    ----------
    header : bytes
        The first line with its end, without a byte order mark.
    column : int
        Which field holds the underlying; -1 where none does (the contract then tells it).
    start : int
        Where the rows begin.
    lines : int
        Lines before the rows.
    title : str
        Name of that column in the file.
    """

    header: bytes
    column: int
    start: int
    lines: int = 1
    title: str = ""

    def underlying(self, line: bytes) -> bytes:
        """Return the underlying of one line, as the parser would read it."""
        line = line.rstrip(b"\r\n")
        if b'"' not in line:
            fields = line.split(b",", self.column + 1)
            if len(fields) > self.column >= 0:
                return fields[self.column]
        else:
            text = line.decode("utf-8", "replace")
            row = next(csv.reader(io.StringIO(text)), [])
            if len(row) > self.column >= 0:
                return row[self.column].encode()
        raise ContradictionError("a line without an underlying")


@dataclass(frozen=True, slots=True)
class Probe:
    """A line that was seen: where it begins and whose it is."""

    at: int
    underlying: bytes


@dataclass
class Known:
    """What has been seen of one version of a file: lines in order of their place.

    A second question about the same version begins with what the first one learned, on
    whatever thread.
    """

    probes: list[Probe] = field(default_factory=list)
    contradicted: bool = False
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, probe: Probe) -> bool:
        """Insert a line; whether it was new.

        Raises
        ------
        ContradictionError
            It is not in the order declared; from now on every call says so.
        """
        with self._guard:
            index = bisect_left(self.probes, probe.at, key=lambda known: known.at)
            before = self.probes[index - 1] if index else None
            after = self.probes[index] if index < len(self.probes) else None
            if after is not None and after.at == probe.at:
                return False
            if (before and before.underlying > probe.underlying) or (
                after and after.underlying < probe.underlying
            ):
                self.contradicted = True
            if self.contradicted:
                raise ContradictionError("underlyings do not ascend")
            self.probes.insert(index, probe)
            return True

    def around(self, symbol: bytes) -> tuple[Probe | None, list[Probe], Probe | None]:
        """Return the last line before a symbol's, the first and last of it, the first after."""
        with self._guard:
            if self.contradicted:
                raise ContradictionError("underlyings do not ascend")
            low = bisect_left(self.probes, symbol, key=lambda known: known.underlying)
            high = bisect_right(self.probes, symbol, key=lambda known: known.underlying)
            before = self.probes[low - 1] if low else None
            after = self.probes[high] if high < len(self.probes) else None
            return before, self.probes[low:high], after

    def refuse(self) -> None:
        """Remember that the file is not in the order declared."""
        with self._guard:
            self.contradicted = True


def read_layout(head: bytes, names: Sequence[str], key: str, own: Mapping[str, str]) -> Layout:
    """Read the header line.

    Parameters
    ----------
    head : bytes
        The first bytes of the file, with the whole first line.
    names : sequence of str
        Usual spellings of the column wanted, ours first.
    key : str
        For errors.
    own : mapping of str to str
        The dataset's own spellings: name in the file, our name. They win.

    Raises
    ------
    DataError
        No line end in sight.
    """
    skip = 3 if head.startswith(b"\xef\xbb\xbf") else 0
    end, lines = head.find(b"\n", skip), 1
    while end >= 0 and not head[skip:end].strip():  # blank lines before the header
        skip, lines = end + 1, lines + 1
        end = head.find(b"\n", skip)
    if end < 0:
        raise DataError(f"{key} has no first line of a CSV file.", key=key, line=1)
    header = head[skip : end + 1]
    try:
        titles = next(csv.reader([header.decode("utf-8").rstrip("\r\n")]), [])
    except UnicodeDecodeError:
        raise DataError(f"The header of {key} is not UTF-8.", key=key, line=lines) from None
    claims = {fold(theirs): fold(ours) for theirs, ours in own.items()}
    usual = {fold(name) for name in names}
    claimed = [i for i, title in enumerate(titles) if claims.get(fold(title)) in usual]
    found = claimed or [
        i for i, title in enumerate(titles) if fold(title) in usual and fold(title) not in claims
    ]
    column = found[0] if found else -1
    return Layout(header, column, end + 1, lines, titles[column].strip() if found else "")


def find_run(
    read_many: ReadMany,
    layout: Layout,
    size: int,
    symbol: bytes,
    known: Known,
    probes: int = PROBES,
) -> tuple[int, bytes] | None:
    """Find the bytes that hold all rows of one underlying, if the file is sorted.

    Parameters
    ----------
    read_many : callable
        Reads ranges of one version of the object.
    layout : Layout
    size : int
        Of the object.
    symbol : bytes
    known : Known
        Lines seen before; grows.
    probes : int
        Sent together. Each costs some work on both sides, each round a wait: near a server
        one by one is fastest.

    Returns
    -------
    (int, bytes) or None
        Where the bytes begin and the rows of the underlying, whole lines; None where there
        are none at the place where they would have to be.

    Raises
    ------
    ContradictionError
        Something seen is not in the declared order.
    """
    slack = max(SLACK, int(size * _SLACK_SHARE))
    unsure, guessing = 2 * size, True
    try:
        for _ in range(-(-MOST // probes)):
            gaps = _gaps(known, layout, size, symbol)
            left = sum(stop - start for start, stop in gaps)
            if left <= slack:
                break
            # Where a guess misled, the next round divides evenly.
            guessing, unsure = left <= unsure / 2 or not guessing, left
            guess = _guess(known, symbol) if guessing and len(gaps) == 1 else None
            offsets = _offsets(gaps, probes) if guess is None else _near(gaps[0], guess, probes)
            if not any([known.add(seen) for seen in _probe(read_many, layout, size, offsets)]):
                break  # the gaps hold no further line starts
        gaps = _gaps(known, layout, size, symbol)
        first, last = gaps[0][0], gaps[-1][1]
        step = max(_CHUNK, -(-(last - first) // _CHUNKS))
        chunks = [(at, min(at + step, last)) for at in range(first, last, step)]
        return _cut(b"".join(read_many(chunks)), first, layout, symbol)
    except ContradictionError:
        known.refuse()
        raise


def whole_lines(data: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """Lines from ``start`` on that end within the data and are not blank, with their places."""
    while (end := data.find(b"\n", start)) >= 0:
        line = data[start:end]
        if line.strip():
            yield start, line
        start = end + 1


def _gaps(known: Known, layout: Layout, size: int, symbol: bytes) -> list[tuple[int, int]]:
    """Where the run may begin and where it may end: one gap, or one for each edge."""
    before, same, after = known.around(symbol)
    low = before.at if before else layout.start
    high = after.at if after else size
    if not same:
        return [(low, high)]
    return [(low, same[0].at), (same[-1].at, high)]


def _offsets(gaps: list[tuple[int, int]], probes: int) -> list[int]:
    """Spread the probes over the gaps, by their length."""
    total = sum(stop - start for start, stop in gaps)
    found = []
    for start, stop in gaps:
        length = stop - start
        count = max(1, round(probes * length / total)) if length else 0
        found += [start + length * (i + 1) // (count + 1) for i in range(count)]
    return found


def _guess(known: Known, symbol: bytes) -> float | None:
    """Guess where in the gap a symbol stands, by its letters: 0 at its beginning, 1 at its end."""
    before, _, after = known.around(symbol)
    low = _rank(before.underlying) if before else 0.0
    high = _rank(after.underlying) if after else 1.0
    return (_rank(symbol) - low) / (high - low) if high > low else None


def _rank(name: bytes) -> float:
    """Make a number of a name, in the order of names: capital letters count, others little."""
    rank, share = 0.0, 1.0
    for byte in name[:_NAME]:
        share /= 28
        rank += share * min(max(byte - 63, 1), 27)
    return rank


def _near(gap: tuple[int, int], guess: float, probes: int) -> list[int]:
    """Place the probes around a guess, so that they are likely to have the symbol between them."""
    start, length = gap[0], gap[1] - gap[0]
    if probes == 1:  # beyond it, as seen from the nearer end: most of the gap is then cut off
        steps = [1.0 if guess < 0.5 else -1.0]
    else:
        steps = [2.0 * i - probes + 1 for i in range(probes)]
    shares = (min(max(guess + step * _MARGIN, 0.02), 0.98) for step in steps)
    return [start + int(length * share) for share in dict.fromkeys(shares)]


def _probe(read_many: ReadMany, layout: Layout, size: int, offsets: list[int]) -> list[Probe]:
    """See the first whole line after each offset; none where the file ends before."""
    windows = [(at, min(at + WINDOW, size)) for at in offsets]
    found = []
    for (at, stop), data in zip(windows, read_many(windows), strict=True):
        while (seen := _first_line(data, stop == size)) is None and stop < size:
            if stop - at >= _LONGEST_LINE:
                break
            longer = min(stop + 8 * WINDOW, size)
            data += read_many([(stop, longer)])[0]
            stop = longer
        if seen is not None:
            found.append(Probe(at + seen[0], layout.underlying(seen[1])))
    return found


def _first_line(data: bytes, at_end: bool) -> tuple[int, bytes] | None:
    """Find the first line that begins within the data, after the one cut by its beginning."""
    begin = data.find(b"\n") + 1
    if not begin:
        return None
    found = next(whole_lines(data, begin), None)
    if found is None and at_end:  # the last line may lack its end
        begin = data.rfind(b"\n") + 1
        return (begin, data[begin:]) if data[begin:].strip() else None
    return found


def _cut(data: bytes, first: int, layout: Layout, symbol: bytes) -> tuple[int, bytes] | None:
    """Take the symbol's lines out of whole lines, with both edges held against the order."""
    run = _cut_plain(data, layout.column, symbol) if len(data) <= _PLAIN else None
    if run is not None:
        return (first + run[0], data[run[0] : run[1]]) if run[0] < run[1] else None
    previous = b""
    begin = end = -1
    # The last line of the file may lack its end.
    for at, line in whole_lines(data if data.endswith(b"\n") else data + b"\n", 0):
        underlying = layout.underlying(line)
        if underlying < previous:
            raise ContradictionError("underlyings do not ascend")
        if underlying == symbol:
            begin = at if begin < 0 else begin
            end = min(at + len(line) + 1, len(data))
        previous = underlying
    return None if begin < 0 else (first + begin, data[begin:end])


def _cut_plain(data: bytes, column: int, symbol: bytes) -> tuple[int, int] | None:
    """Find the run as :func:`_cut` does, fast; None where anything about the lines is odd."""
    if column < 1 or len(symbol) > _NAME or any(odd in data for odd in (b'"', b"\r", b"\0")):
        return None
    text = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(text == 10)
    if not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    commas = np.flatnonzero(text == 44)
    fields, rest = divmod(len(commas), len(ends))
    if rest or fields <= column:
        return None
    begins = np.concatenate([[0], ends[:-1] + 1])
    grid = commas.reshape(-1, fields)
    first, size = grid[:, column - 1] + 1, grid[:, column] - grid[:, column - 1] - 1
    if (grid[:, 0] < begins).any() or (grid[:, -1] > ends).any() or size.max() > _NAME:
        return None  # a blank line or a short one, say
    names = np.zeros(len(ends), np.uint64)
    for i in range(int(size.max())):
        held = size > i
        names[held] |= text[first[held] + i].astype(np.uint64) << np.uint64(8 * (_NAME - 1 - i))
    if (names[1:] < names[:-1]).any():
        return None
    wanted = np.uint64(int.from_bytes(symbol.ljust(_NAME, b"\0"), "big"))
    low, high = (int(np.searchsorted(names, wanted, side)) for side in ("left", "right"))
    if low == high:
        return 0, 0
    return int(begins[low]), min(int(ends[high - 1]) + 1, len(data))
