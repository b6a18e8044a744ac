"""The rows of one underlying in a big sorted CSV, found by a few ranged reads.

The file declares an order: rows grouped by underlying, underlyings ascending by byte. What
the search sees is held against that order; the first contradiction ends it. What it does
not see it cannot prove: its result is *assumed*, and that a symbol is absent it never says.
"""

from __future__ import annotations

import csv
import io
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from stockdb.core.columns import fold
from stockdb.errors import DataError

__all__ = ["ContradictionError", "Layout", "Probe", "find_run", "read_layout", "underlyings"]

#: Probes sent together: each round divides the gap by one more than this.
PROBES: Final = 4
ROUNDS: Final = 8
#: Bytes around a probe: enough for a few lines of a hundred bytes.
WINDOW: Final = 2048
_LONGEST_LINE: Final = 1 << 20
#: The search ends when the bytes that may or may not belong to the run are this few.
SLACK: Final = 192 * 1024
_SLACK_SHARE: Final = 0.002
_CHUNK: Final = 1 << 20
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
        Which field holds the underlying.
    start : int
        Where the rows begin.
    """

    header: bytes
    column: int
    start: int

    def underlying(self, line: bytes) -> bytes:
        """Return the underlying of one line."""
        if b'"' not in line:
            fields = line.split(b",", self.column + 1)
            if len(fields) > self.column:
                return fields[self.column].strip()
        else:
            text = line.decode("utf-8", "replace")
            row = next(csv.reader(io.StringIO(text)), [])
            if len(row) > self.column:
                return row[self.column].strip().encode()
        raise ContradictionError("a line without an underlying")


@dataclass(frozen=True, slots=True)
class Probe:
    """A line that was seen: where it begins and whose it is."""

    at: int
    underlying: bytes


@dataclass
class Known:
    """What has been seen of one version of a file: lines in order of their place.

    A second question about the same version begins with what the first one learned.
    """

    probes: list[Probe] = field(default_factory=list)

    def add(self, probe: Probe) -> None:
        """Insert a line, refusing one that contradicts the order."""
        places = [known.at for known in self.probes]
        index = bisect_left(places, probe.at)
        if index < len(places) and places[index] == probe.at:
            return
        before = self.probes[index - 1] if index else None
        after = self.probes[index] if index < len(self.probes) else None
        if (before and before.underlying > probe.underlying) or (
            after and after.underlying < probe.underlying
        ):
            raise ContradictionError("underlyings do not ascend")
        self.probes.insert(index, probe)


def read_layout(head: bytes, names: Sequence[str], key: str) -> Layout:
    """Read the header line.

    Parameters
    ----------
    head : bytes
        The first bytes of the file, with the whole first line.
    names : sequence of str
        Spellings of the column wanted.
    key : str
        For errors.

    Raises
    ------
    DataError
        No line end in sight, or no such column.
    """
    skip = 3 if head.startswith(b"\xef\xbb\xbf") else 0
    end = head.find(b"\n", skip)
    if end < 0:
        raise DataError(f"{key} has no first line of a CSV file.", key=key, line=1)
    header = head[skip : end + 1]
    try:
        titles = next(csv.reader([header.decode("utf-8").rstrip("\r\n")]), [])
    except UnicodeDecodeError:
        raise DataError(f"The header of {key} is not UTF-8.", key=key, line=1) from None
    wanted = {fold(name) for name in names}
    for column, title in enumerate(titles):
        if fold(title) in wanted:
            return Layout(header, column, end + 1)
    raise DataError(
        f"{key} has no column {names[0]!r}; found: {', '.join(titles[:30])}.", key=key, line=1
    )


def find_run(
    read_many: ReadMany, layout: Layout, size: int, symbol: bytes, known: Known
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
    for _ in range(ROUNDS):
        gaps = _gaps(known, layout, size, symbol)
        if sum(stop - start for start, stop in gaps) <= slack:
            break
        seen = len(known.probes)
        for probe in _probe(read_many, layout, size, _offsets(gaps)):
            known.add(probe)
        if len(known.probes) == seen:
            break  # nothing new: the gaps hold no further line starts
    gaps = _gaps(known, layout, size, symbol)
    first, last = gaps[0][0], gaps[-1][1]
    chunks = [(at, min(at + _CHUNK, last)) for at in range(first, last, _CHUNK)]
    data = b"".join(read_many(chunks))
    return _cut(data, first, layout, symbol)


def underlyings(data: bytes, layout: Layout) -> list[bytes]:
    """Return the underlying of every line."""
    return [layout.underlying(line) for line in data.split(b"\n") if line.strip()]


def _gaps(known: Known, layout: Layout, size: int, symbol: bytes) -> list[tuple[int, int]]:
    """Where the run may begin and where it may end: one gap, or one for each edge."""
    before = [probe for probe in known.probes if probe.underlying < symbol]
    same = [probe for probe in known.probes if probe.underlying == symbol]
    after = [probe for probe in known.probes if probe.underlying > symbol]
    low = before[-1].at if before else layout.start
    high = after[0].at if after else size
    if not same:
        return [(low, high)]
    return [(low, same[0].at), (same[-1].at, high)]


def _offsets(gaps: list[tuple[int, int]]) -> list[int]:
    """Spread the probes over the gaps, by their length."""
    total = sum(stop - start for start, stop in gaps)
    found = []
    for start, stop in gaps:
        length = stop - start
        count = max(1, round(PROBES * length / total)) if length else 0
        found += [start + length * (i + 1) // (count + 1) for i in range(count)]
    return found


def _probe(read_many: ReadMany, layout: Layout, size: int, offsets: list[int]) -> list[Probe]:
    """See the first whole line after each offset; none where the file ends before."""
    windows = [(at, min(at + WINDOW, size)) for at in offsets]
    found = []
    for (at, stop), data in zip(windows, read_many(windows), strict=True):
        begin = data.find(b"\n") + 1
        end = data.find(b"\n", begin) if begin else -1
        while end < 0 and stop < size and stop - at < _LONGEST_LINE:
            longer = min(stop + 8 * WINDOW, size)
            data += read_many([(stop, longer)])[0]
            stop = longer
            begin = data.find(b"\n") + 1
            end = data.find(b"\n", begin) if begin else -1
        if begin == 0 or at + begin >= size:
            continue
        line = data[begin:] if end < 0 else data[begin:end]
        if line.strip():
            found.append(Probe(at + begin, layout.underlying(line)))
    return found


def _cut(data: bytes, first: int, layout: Layout, symbol: bytes) -> tuple[int, bytes] | None:
    """Take the symbol's lines out of whole lines, with both edges held against the order."""
    previous = b""
    begin = end = -1
    at = 0
    for line in data.splitlines(keepends=True):
        if line.strip():
            underlying = layout.underlying(line)
            if underlying < previous:
                raise ContradictionError("underlyings do not ascend")
            if underlying == symbol:
                if begin < 0:
                    begin = at
                end = at + len(line)
            previous = underlying
        at += len(line)
    return None if begin < 0 else (first + begin, data[begin:end])
