"""One underlying's rows out of the files that hold every underlying of a day.

The planner chooses; this module acts. A version that was read in full once is known: its
index and its columns are kept, and answer the next question about it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from stockdb.core import planner, search
from stockdb.core.cache import Cached, DiskCache, NoCache
from stockdb.core.catalog import spellings, symbol_not_found
from stockdb.core.discovery import Discovery
from stockdb.core.entry import Entry
from stockdb.core.freshness import Freshness
from stockdb.core.parse import Parsed, parse_options
from stockdb.core.ranges import RangeReader
from stockdb.core.reader import SCHEMA_VERSION, Origin, ReadPolicy, iso
from stockdb.core.scan import BLOCK, Block, blocks_of, find_places, index_table, split, unzipped
from stockdb.core.store import ObjectStore
from stockdb.core.transport import Deadline
from stockdb.errors import DataError, DateNotFoundError, ObjectChangedError, UnavailableError
from stockdb.settings import Dataset, Settings

__all__ = ["Chain", "ChainReader", "Place"]

_HEAD: Final = 64 * 1024
_FOR_EVER: Final = Freshness(float("inf"))
_HELD_ONLY: Final = Freshness(float("inf"), offline=True)
_LAYOUTS_KEPT: Final = 64
_LOOPBACK_BANDWIDTH: Final = 1e9
_UNDERLYING: Final = ("underlying", "underlyingsymbol", "symbol", "ticker")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the options of one day are.

    Attributes
    ----------
    name : str
        Of the dataset.
    dataset : Dataset
    key : str
    date : datetime.date
    """

    name: str
    dataset: Dataset
    key: str
    date: dt.date


@dataclass(frozen=True)
class Chain:
    """The rows of one underlying on one day.

    Attributes
    ----------
    symbol : str
        As the file spells it.
    date : datetime.date
    table : pyarrow.Table
        Columns ``parse.OPTION_COLUMNS``, rows in the file's order.
    origin : Origin
    """

    symbol: str
    date: dt.date
    table: pa.Table
    origin: Origin


@dataclass
class _Result:
    """What one way of reading found."""

    table: pa.Table | None
    strategy: str
    grouping: str
    bad_rows: list[list[Any]] = field(default_factory=list)


@dataclass
class ChainReader:
    """Reads chains; composes store, cache, planner, search and scan.

    Parameters
    ----------
    settings : Settings
    store : ObjectStore
    cache : DiskCache or NoCache
    discovery : Discovery
    """

    settings: Settings
    store: ObjectStore
    cache: DiskCache | NoCache
    discovery: Discovery

    def __post_init__(self) -> None:
        self._guard = threading.Lock()
        self._known: OrderedDict[tuple[str, str], search.Known] = OrderedDict()
        self._selectable = True

    def places(self) -> dict[dt.date, Place]:
        """List all dates with an options file, ascending; the first dataset wins."""
        found: dict[dt.date, Place] = {}
        for name, dataset in self.settings.datasets.items():
            if dataset.kind == "options" and dataset.duplicate_of is None:
                for date, key in self.discovery.dates(name).items():
                    found.setdefault(date, Place(name, dataset, key, date))
        return dict(sorted(found.items()))

    def place(self, date: dt.date | None) -> Place:
        """Find the file of a date, or the newest one.

        Raises
        ------
        DateNotFoundError
            No file for the date; the neighbours are named.
        """
        found = self.places()
        if not found:
            keys = [d.key for d in self.settings.datasets.values() if d.kind == "options"]
            raise DateNotFoundError(
                "The bucket holds no options files.",
                remedy=f"Looked for {', '.join(keys) or 'none'}; correct DATASETS.",
            )
        if date is None:
            return found[max(found)]
        if date in found:
            return found[date]
        before = max((d for d in found if d < date), default=None)
        after = min((d for d in found if d > date), default=None)
        near = " and ".join(str(d) for d in (before, after) if d is not None)
        raise DateNotFoundError(
            f"There is no options file for {date}.",
            remedy=f"The nearest dates held are {near}; list_option_dates() has all.",
            date=str(date),
            before=None if before is None else str(before),
            after=None if after is None else str(after),
        )

    def chain(self, symbol: str, place: Place, policy: ReadPolicy, *, verify: bool) -> Chain:
        """Read one underlying on one day.

        Parameters
        ----------
        symbol : str
            Upper case.
        place : Place
        policy : ReadPolicy
        verify : bool
            Use only what is proved about the file.

        Raises
        ------
        SymbolNotFoundError
            The whole file was looked at, or is known, and does not hold it.
        """
        deadline = Deadline(self.settings.performance.object_deadline)
        dataset = place.dataset

        def fetch(held: dict[str, Any] | None) -> Entry | None:
            if held is not None and held["etag"] is not None:
                if self.store.stat(place.key, deadline=deadline).etag == held["etag"]:
                    return None
            return self._fetch(symbol, place, deadline, verify)

        ttl = dataset.ttl_seconds
        wanted = Freshness(
            self.settings.cache.cache_ttl_seconds if ttl is None else ttl,
            policy.max_age,
            policy.offline,
            policy.allow_stale,
        )
        name = self._name("chain", place.key, symbol, str(verify))
        cached = self.cache.get(name, wanted, fetch, wait=deadline.seconds / 2)
        return _chain(symbol, place, cached)

    def explain(self, symbol: str, place: Place, *, verify: bool) -> planner.Facts:
        """Gather what the planner goes by, at the price of one HEAD."""
        info = self.store.stat(place.key)
        index = self._held("index", place.key, info.etag)
        return self._facts(symbol, place, info.size, info.etag, index, verify)

    # -- fetching --------------------------------------------------------------------

    def _fetch(self, symbol: str, place: Place, deadline: Deadline, verify: bool) -> Entry:
        for attempt in (1, 2):
            try:
                with RangeReader(self.store, place.key, deadline) as reader:
                    return self._read(reader, symbol, place, verify)
            except ObjectChangedError:
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def _read(self, reader: RangeReader, symbol: str, place: Place, verify: bool) -> Entry:
        head = reader.read(0, _HEAD)
        index = self._held("index", place.key, reader.etag)
        facts = self._facts(symbol, place, reader.size, reader.etag, index, verify)
        if index is not None and not _spelt(index.table, symbol):
            raise self._absent(symbol, place, index.table)
        for step in planner.plan(facts):
            result = self._try(step.strategy, reader, head, symbol, place, index)
            if result is not None and result.table is not None:
                return self._entry(result, reader, symbol, place)
        index = self._held("index", place.key, reader.etag)
        raise self._absent(symbol, place, index.table if index else None)

    def _try(
        self,
        strategy: str,
        reader: RangeReader,
        head: bytes,
        symbol: str,
        place: Place,
        index: Entry | None,
    ) -> _Result | None:
        """Read in one way; None where it found nothing, or found that it cannot be trusted."""
        if strategy == "twin" and index is not None:
            return self._from_twin(symbol, place, index)
        if strategy == "index" and index is not None:
            return self._from_index(reader, head, symbol, place, index)
        if strategy == "search":
            return self._from_search(reader, head, symbol, place)
        if strategy == "select":
            return self._from_select(reader, head, symbol, place)
        if strategy == "scan":
            return self._from_scan(reader, head, symbol, place)
        return None

    def _from_twin(self, symbol: str, place: Place, index: Entry) -> _Result | None:
        parts = []
        for spot in _spelt(index.table, symbol):
            shard = self._held("shard", place.key, index.metadata["etag"], str(spot["block"]))
            if shard is None:  # evicted
                return None
            parts.append(shard.table.slice(spot["first"], spot["rows"]))
        return _Result(pa.concat_tables(parts).combine_chunks(), "twin", "proved")

    def _from_index(
        self, reader: RangeReader, head: bytes, symbol: str, place: Place, index: Entry
    ) -> _Result | None:
        spots = _spelt(index.table, symbol)
        spans = _merged([(spot["start"], spot["stop"]) for spot in spots])
        layout = self._layout(head, place)
        parsed = self._parse(place, layout.header + b"".join(reader.read_many(spans)), 1)
        names = set(parsed.table.column("underlying").to_pylist())
        if parsed.table.num_rows != sum(spot["rows"] for spot in spots) or len(names) != 1:
            return None
        return _Result(parsed.table, "index", "proved", _listed(parsed))

    def _from_search(
        self, reader: RangeReader, head: bytes, symbol: str, place: Place
    ) -> _Result | None:
        layout = self._layout(head, place)
        try:
            known = self._seen(place.key, reader.etag, layout, head)
            found = search.find_run(reader.read_many, layout, reader.size, symbol.encode(), known)
        except search.ContradictionError:
            return None
        if found is None:
            return None
        parsed = self._parse(place, layout.header + found[1], 1)
        return _Result(parsed.table, "search", "assumed", _listed(parsed))

    def _from_select(
        self, reader: RangeReader, head: bytes, symbol: str, place: Place
    ) -> _Result | None:
        layout = self._layout(head, place)
        titles = layout.header.decode().rstrip("\r\n").split(",")
        try:
            data = self.store.select(place.key, titles[layout.column].strip('"'), symbol)
        except UnavailableError:
            self._selectable = False
            return None
        reader.requests += 1
        reader.received += len(data)
        if not data.strip():
            return None
        if self.store.stat(place.key).etag != reader.etag:
            raise ObjectChangedError(f"{place.key} was replaced while it was read.", key=place.key)
        reader.requests += 1
        parsed = self._parse(place, layout.header + data, 1)
        return _Result(parsed.table, "select", "scanned by the server", _listed(parsed))

    def _from_scan(self, reader: RangeReader, head: bytes, symbol: str, place: Place) -> _Result:
        """Read everything once, keep what it teaches, and take the symbol's rows."""
        kept: list[pa.Table] = []
        blocks: list[Block] = []
        bad: list[list[Any]] = []
        wanted = spellings(symbol)
        taken: str | None = None
        for block in self._blocks(reader, head, place):
            if reader.etag is not None:
                self._keep(
                    Entry(block.table, {"etag": reader.etag, "size": 0}),
                    "shard",
                    place.key,
                    reader.etag,
                    str(block.number),
                )
            for position, name in enumerate(block.names):
                if name in wanted and taken in {None, name}:
                    taken = name
                    first, rows = int(block.first[position]), int(block.rows[position])
                    # A copy: a slice would hold the whole block in memory.
                    kept.append(block.table.take(pa.array(range(first, first + rows))))
            bad += [[row.line, row.reason, row.text] for row in block.bad_rows]
            blocks.append(replace(block, table=block.table.slice(0, 0)))
        index = index_table(blocks)
        if reader.etag is not None:
            metadata = {
                "etag": reader.etag,
                "size": 0,
                "grouped": index.grouped,
                "ascending": index.ascending,
            }
            self._keep(Entry(index.table, metadata), "index", place.key, reader.etag)
        self._refuse_bad_rows(bad, symbol, place)
        table = pa.concat_tables(kept).combine_chunks() if kept else None
        return _Result(table, "scan", "proved", bad)

    def _blocks(self, reader: RangeReader, head: bytes, place: Place) -> Iterator[Block]:
        if head.startswith(b"\x1f\x8b"):
            spans = range(0, reader.size, BLOCK)
            pieces = (reader.read(at, min(at + BLOCK, reader.size)) for at in spans)
            lines = unzipped(pieces, place.key, reader.size)
            first_offset, first = next(lines)
            layout = self._layout(first, place)
            rest = _chained((first_offset, first[layout.start :]), lines)
            return blocks_of(rest, layout.header, self._lenient(place), in_file=False)
        layout = self._layout(head, place)
        return blocks_of(
            split(reader.read, layout.start, reader.size),
            layout.header,
            self._lenient(place),
            in_file=True,
        )

    def _refuse_bad_rows(self, bad: list[list[Any]], symbol: str, place: Place) -> None:
        """Raise for a bad line of this underlying; those of others are only counted."""
        if self.settings.validation.on_bad_rows != "raise":
            return
        for line, reason, text in bad:
            if f",{symbol}," in f",{text},":
                raise DataError(
                    f"{place.key}, line {line}: {reason}.", key=place.key, line=line, symbol=symbol
                )

    # -- what is known ---------------------------------------------------------------

    def _facts(
        self,
        symbol: str,
        place: Place,
        size: int,
        etag: str | None,
        index: Entry | None,
        verify: bool,
    ) -> planner.Facts:
        spots = _spelt(index.table, symbol) if index is not None else []
        placed = bool(spots) and all(spot["start"] >= 0 for spot in spots)
        twin = bool(spots) and all(
            self._held("shard", place.key, etag, str(spot["block"])) is not None for spot in spots
        )
        loopback = self.store.endpoint.host in {"127.0.0.1", "::1", "localhost"}
        return planner.Facts(
            size=size,
            ordered=place.dataset.order == "underlying",
            verify=verify,
            ranged=place.key.endswith(".csv"),
            index_bytes=sum(spot["stop"] - spot["start"] for spot in spots) if placed else None,
            twin=twin,
            selectable=self._selectable,
            bandwidth=_LOOPBACK_BANDWIDTH if loopback else self.settings.performance.bandwidth,
        )

    def _seen(self, key: str, etag: str | None, layout: search.Layout, head: bytes) -> search.Known:
        """Return what earlier searches saw of this version, or begin with its first lines."""
        identity = (key, etag or "")
        with self._guard:
            known = self._known.get(identity)
            if known is not None and etag is not None:
                self._known.move_to_end(identity)
                return known
        known = search.Known()
        first, last = layout.start, head.rfind(b"\n", 0, len(head) - 1) + 1
        line_end = head.find(b"\n", first)
        if first < len(head) and line_end > 0:
            known.add(search.Probe(first, layout.underlying(head[first:line_end])))
            begin = head.rfind(b"\n", 0, max(last - 1, 0)) + 1
            if begin > first:
                known.add(search.Probe(begin, layout.underlying(head[begin : last - 1])))
        with self._guard:
            self._known[identity] = known
            while len(self._known) > _LAYOUTS_KEPT:
                self._known.popitem(last=False)
        return known

    def _layout(self, head: bytes, place: Place) -> search.Layout:
        renamed = [file for file, ours in place.dataset.columns.items() if ours == "underlying"]
        return search.read_layout(head, (*_UNDERLYING, *renamed), place.key)

    def _parse(self, place: Place, data: bytes, line: int) -> Parsed:
        return parse_options(
            data,
            place.dataset,
            key=place.key,
            on_bad_rows=self.settings.validation.on_bad_rows,
            date=place.date,
            first_line=line,
        )

    def _lenient(self, place: Place) -> Any:
        def parse(data: bytes, line: int) -> Parsed:
            return parse_options(
                data,
                place.dataset,
                key=place.key.removesuffix(".gz"),
                on_bad_rows="quarantine",
                date=place.date,
                first_line=line,
            )

        return parse

    def _absent(self, symbol: str, place: Place, index: pa.Table | None) -> Exception:
        known = [] if index is None else pc.unique(index["underlying"]).to_pylist()
        return symbol_not_found(symbol, known, f"the options of {place.date}")

    # -- the cache -------------------------------------------------------------------

    def _name(self, *parts: str | None) -> str:
        endpoint, bucket = self.store.identity
        text = "\0".join([endpoint, bucket, str(SCHEMA_VERSION), *(part or "" for part in parts)])
        return hashlib.sha256(text.encode()).hexdigest()

    def _held(self, *parts: str | None) -> Entry | None:
        if None in parts:
            return None
        try:
            return self.cache.get(self._name(*parts), _HELD_ONLY, _nothing, wait=0.0).entry
        except UnavailableError:
            return None

    def _keep(self, entry: Entry, *parts: str | None) -> None:
        self.cache.get(self._name(*parts), _FOR_EVER, lambda _: entry, wait=1.0)

    def _entry(self, result: _Result, reader: RangeReader, symbol: str, place: Place) -> Entry:
        assert result.table is not None
        endpoint, bucket = self.store.identity
        spelt = result.table.column("underlying")[0].as_py()
        return Entry(
            result.table,
            {
                "dataset": place.name,
                "key": place.key,
                "symbol": symbol,
                "spelt": spelt,
                "endpoint": endpoint,
                "bucket": bucket,
                "etag": reader.etag,
                "version_id": reader.version_id,
                "size": reader.size,
                "fetched_at": iso(time.time()),
                "requests": reader.requests,
                "received": reader.received,
                "bad_rows": result.bad_rows[:100],
                "simulated": reader.simulated,
                "strategy": result.strategy,
                "grouping": result.grouping,
            },
        )


def _nothing(_: dict[str, Any] | None) -> Entry | None:
    raise AssertionError("offline reads never fetch")


def _spelt(index: pa.Table, symbol: str) -> list[dict[str, int]]:
    """Places of a symbol under the first spelling that the file has."""
    for spelling in spellings(symbol):
        found = find_places(index, spelling)
        if found:
            return found
    return []


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join spans that touch."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((start, stop))
    return merged


def _chained(
    first: tuple[int, bytes], rest: Iterator[tuple[int, bytes]]
) -> Iterator[tuple[int, bytes]]:
    yield first
    yield from rest


def _listed(parsed: Parsed) -> list[list[Any]]:
    return [[row.line, row.reason, row.text] for row in parsed.bad_rows]


def _chain(symbol: str, place: Place, cached: Cached) -> Chain:
    metadata = cached.entry.metadata
    asked = cached.state in {"fetched", "replaced"}
    origin = Origin(
        dataset=place.name,
        key=place.key,
        etag=metadata["etag"],
        version_id=metadata["version_id"],
        adjustment="none",
        state=cached.state,
        fetched_at=metadata["fetched_at"],
        validated_at=iso(cached.validated),
        requests=metadata["requests"] if asked else int(cached.state == "revalidated"),
        received=metadata["received"] if asked else 0,
        rows=cached.entry.table.num_rows,
        bad_rows=metadata["bad_rows"],
        simulated=metadata["simulated"],
        strategy=metadata["strategy"] if asked else "cache",
        grouping=metadata["grouping"],
    )
    return Chain(metadata["spelt"], place.date, cached.entry.table, origin)
