"""One underlying's rows out of the files that hold every underlying of a day.

The planner chooses; this module acts. A version that was read in full once is known: its
index and its columns are kept, and answer the next question about it.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from stockdb.core import planner
from stockdb.core.cache import Cached, DiskCache, NoCache
from stockdb.core.catalog import symbol_not_found
from stockdb.core.discovery import Discovery
from stockdb.core.entry import Entry
from stockdb.core.freshness import Freshness
from stockdb.core.kept import FileIndex, Kept, Version
from stockdb.core.ranges import RangeReader
from stockdb.core.reader import Origin, ReadPolicy, iso
from stockdb.core.store import ObjectStore
from stockdb.core.transport import Deadline
from stockdb.core.ways import Found, Sheet, is_parquet, known_bad_rows, read_way
from stockdb.errors import (
    DataError,
    DateNotFoundError,
    DeadlineError,
    ObjectChangedError,
    SymbolNotFoundError,
    UnavailableError,
)
from stockdb.settings import Dataset, Settings

__all__ = ["Chain", "ChainReader", "Place"]

_LOOPBACK_BANDWIDTH: Final = 1e9
_HELD_STATES: Final = {"fresh", "revalidated", "stale", "offline"}


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
        self._kept = Kept(self.cache, self.store.identity)
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

        def fetch(held: dict[str, Any] | None) -> Entry | None:
            if held is not None and held["etag"] is not None:
                if self.store.stat(place.key, deadline=deadline).etag == held["etag"]:
                    return None
            return self._fetch(symbol, place, deadline, verify)

        ttl = place.dataset.ttl_seconds
        wanted = Freshness(
            self.settings.cache.cache_ttl_seconds if ttl is None else ttl,
            policy.max_age,
            policy.offline,
            policy.allow_stale,
        )
        how = (self.settings.validation.on_bad_rows, str(verify))
        name = self._kept.name(_version(place, None), "chain", symbol, *how)
        cached = self.cache.get(name, wanted, fetch, wait=deadline.seconds / 2)
        if not verify and cached.state in _HELD_STATES and self._now_proved(place, cached.entry):
            try:
                return self.chain(symbol, place, policy, verify=True)
            except (UnavailableError, DeadlineError):
                pass  # offline, say: what is held is still marked as assumed
        return _chain(symbol, place, cached)

    def explain(self, symbol: str, place: Place, *, verify: bool) -> planner.Facts:
        """Gather what the planner goes by, at the price of one HEAD."""
        info = self.store.stat(place.key)
        version = _version(place, info.etag)
        return self._facts(symbol, version, info.size, self._kept.index(version), verify)

    def _now_proved(self, place: Place, entry: Entry) -> bool:
        """Whether rows that were assumed are of a version that was read in full since."""
        if entry.metadata["grouping"] != "assumed":
            return False
        return self._kept.index(_version(place, entry.metadata["etag"])) is not None

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
        head = self._head(reader, place)
        version = _version(place, reader.etag)
        index = self._kept.index(version)
        sheet = Sheet(
            version,
            reader,
            head,
            symbol,
            place.date,
            self.store,
            self._kept,
            index,
            self.settings.validation.on_bad_rows,
        )
        if index is not None and not index.places(symbol):
            known_bad_rows(sheet, index)
            raise _absent(symbol, place, index.names)
        found = None
        for step in planner.plan(self._facts(symbol, version, reader.size, index, verify)):
            try:
                found = read_way(step.strategy, sheet)
            except UnavailableError:
                if step.strategy != "select":
                    raise
                self._selectable = False
            if found is not None:
                break
        assert found is not None  # the last way is always exact
        if found.table is None:
            raise _absent(symbol, place, found.names)
        return self._entry(found, found.table, reader, symbol, place)

    def _head(self, reader: RangeReader, place: Place) -> bytes:
        try:
            return reader.read(0, planner.HEAD)
        except ObjectChangedError:
            # Asked for no version: an empty object, which has no range.
            if self.store.stat(place.key).size > 0:
                raise
        raise DataError(
            f"{place.key} is empty.", remedy="Upload the file again.", key=place.key, line=1
        )

    def _facts(
        self, symbol: str, version: Version, size: int, index: FileIndex | None, verify: bool
    ) -> planner.Facts:
        spots = index.places(symbol) if index is not None else []
        placed = bool(spots) and all(spot["start"] >= 0 for spot in spots)
        twin = bool(spots) and all(
            self._kept.shard(version, spot["block"]) is not None for spot in spots
        )
        loopback = self.store.endpoint.host in {"127.0.0.1", "::1", "localhost"}
        return planner.Facts(
            size=size,
            ordered=version.dataset.order == "underlying",
            verify=verify,
            ranged=version.key.lower().endswith(".csv") and not is_parquet(version),
            index_bytes=sum(spot["stop"] - spot["start"] for spot in spots) if placed else None,
            twin=twin,
            selectable=self._selectable,
            bandwidth=_LOOPBACK_BANDWIDTH if loopback else self.settings.performance.bandwidth,
        )

    def _entry(
        self, found: Found, table: pa.Table, reader: RangeReader, symbol: str, place: Place
    ) -> Entry:
        endpoint, bucket = self.store.identity
        return Entry(
            table,
            {
                "dataset": place.name,
                "key": place.key,
                "symbol": symbol,
                "spelt": table.column("underlying")[0].as_py(),
                "endpoint": endpoint,
                "bucket": bucket,
                "etag": reader.etag,
                "version_id": reader.version_id,
                "size": reader.size,
                "fetched_at": iso(time.time()),
                "requests": reader.requests,
                "received": reader.received,
                "bad_rows": found.bad_rows[:100],
                "simulated": reader.simulated,
                "strategy": found.strategy,
                "grouping": found.grouping,
            },
        )


def _version(place: Place, etag: str | None) -> Version:
    return Version(place.key, etag, place.dataset)


def _absent(symbol: str, place: Place, known: Sequence[str]) -> SymbolNotFoundError:
    return symbol_not_found(symbol, known, f"the options of {place.date}")


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
