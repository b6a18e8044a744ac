"""One underlying's rows out of the files that hold every underlying of a day.

The planner chooses; this module acts. A version that was read in full once is known: its
index and its columns are kept, and answer the next question about it.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa

from stockdb.core import planner
from stockdb.core.cache import Cached, DiskCache, NoCache
from stockdb.core.catalog import symbol_not_found
from stockdb.core.dayfile import DayFile, is_parquet, open_day
from stockdb.core.days import Days, Place
from stockdb.core.entry import Entry
from stockdb.core.freshness import Freshness
from stockdb.core.kept import FileIndex, Kept, Version
from stockdb.core.ranges import RangeReader
from stockdb.core.reader import Origin, ReadPolicy, iso
from stockdb.core.store import ObjectStore
from stockdb.core.transport import Deadline
from stockdb.core.twins import Twin
from stockdb.core.twinstore import TwinStore
from stockdb.core.ways import Found, Sheet, known_bad_rows, read_way
from stockdb.errors import (
    ArchiveError,
    DateNotFoundError,
    DeadlineError,
    NotFoundError,
    ObjectChangedError,
    SymbolNotFoundError,
    UnavailableError,
)
from stockdb.settings import Settings

__all__ = ["Chain", "ChainReader"]

_LOOPBACK_BANDWIDTH: Final = 1e9
_USUAL: Final = ReadPolicy()
_HELD_STATES: Final = {"fresh", "revalidated", "stale", "offline"}


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
    days : Days
    """

    settings: Settings
    store: ObjectStore
    cache: DiskCache | NoCache
    days: Days

    def __post_init__(self) -> None:
        self._kept = Kept(self.cache, self.store.identity)
        self.twins = TwinStore(self.settings, self.store)
        self._selectable = True

    def places(
        self,
        first: dt.date | None = None,
        last: dt.date | None = None,
        *,
        policy: ReadPolicy = _USUAL,
        broken: list[ArchiveError] | None = None,
    ) -> dict[dt.date, Place]:
        """List the dates with options, in files of their own and in archives; ascending.

        Parameters
        ----------
        first, last : datetime.date, optional
            Both included.
        policy : ReadPolicy
            Whether to ask the server; how old a listing may be is the settings' to say.
        broken : list, optional
            Takes the archives that cannot be read; without it the first of them raises.
        """
        policy = replace(policy, max_age=None)
        return self.days.places("options", first, last, policy=policy, broken=broken)

    def place(self, date: dt.date | None, policy: ReadPolicy = _USUAL) -> Place:
        """Find the file of a date, or the newest one.

        Raises
        ------
        DateNotFoundError
            No file for the date; the neighbours are named.
        """
        # An archive is looked into only where nothing else has the date.
        own = replace(policy, max_age=None)
        found = self.days.places("options", archives=False, policy=own)
        if date is None and found:
            return found[max(found)]
        if date in found:
            return found[date]
        if date is not None:
            inside = self.places(date, date, policy=policy)
            if date in inside:
                return inside[date]
        # Only neighbours are looked for: an archive of another year may be damaged.
        found = self.places(policy=policy, broken=[])
        if not found:
            keys = [d.key for d in self.settings.datasets.values() if d.kind == "options"]
            raise DateNotFoundError(
                "The bucket holds no options files.",
                remedy=f"Looked for {', '.join(keys) or 'none'}; correct DATASETS.",
            )
        if date is None:
            return found[max(found)]
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

    def on(self, symbol: str, date: dt.date | None, policy: ReadPolicy, *, verify: bool) -> Chain:
        """Read one underlying on a date, None being the newest.

        A date's own file is asked for by its usual name; what that does not find, the listing
        decides.

        Raises
        ------
        DateNotFoundError
            As :meth:`place`.
        SymbolNotFoundError
            As :meth:`chain`.
        """
        guess = None if date is None else self.days.usual("options", date)
        if guess is not None:
            try:
                return self.chain(symbol, guess, policy, verify=verify)
            except NotFoundError as error:
                if isinstance(error, SymbolNotFoundError) or error.values.get("code") in {
                    "NoSuchBucket"
                }:
                    raise
        return self.chain(symbol, self.place(date, policy), policy, verify=verify)

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
        try:
            cached = self.cache.get(name, wanted, fetch, wait=deadline.seconds / 2)
        except ObjectChangedError:
            if place.member is None:
                raise
            # Outside of the fetch, which holds a lock that the listing's may share.
            place = self.days.again(place)
            cached = self.cache.get(name, wanted, fetch, wait=deadline.seconds / 2)
        if not verify and cached.state in _HELD_STATES and self._now_proved(place, cached.entry):
            try:
                return self.chain(symbol, place, policy, verify=True)
            except (UnavailableError, DeadlineError):
                pass  # offline, say: what is held is still marked as assumed
        return _chain(symbol, place, cached)

    def explain(self, symbol: str, place: Place, *, verify: bool) -> planner.Facts:
        """Gather what the planner goes by, at the price of a few small requests."""
        info = self.store.stat(place.key)
        version = _version(place, info.etag)
        index = self._kept.index(version)
        deadline = Deadline(self.settings.performance.object_deadline)
        shared = self.twins.open(place, info.etag, deadline) if index is None else None
        size = info.size if place.member is None else place.member.compressed
        return self._facts(symbol, version, size, index, shared, verify)

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
                if attempt == 2 or place.member is not None:  # its directory is of the old one
                    raise
        raise AssertionError("unreachable")

    def _read(self, reader: RangeReader, symbol: str, place: Place, verify: bool) -> Entry:
        file = open_day(place, reader, self.store)
        version = file.version
        index = self._kept.index(version)
        shared = self.twins.open(place, version.etag, reader.deadline) if index is None else None
        on_bad_rows = self.settings.validation.on_bad_rows
        sheet = Sheet(file, symbol, self._kept, index, shared, on_bad_rows)
        if sheet.known is not None and not sheet.known.places(symbol):
            known_bad_rows(sheet, sheet.known)
            raise _absent(symbol, place, sheet.known.names, reader)
        found = self._by_plan(sheet, self._facts(symbol, version, file.size, index, shared, verify))
        if found.table is None:
            raise _absent(symbol, place, found.names, reader)
        return self._entry(found, found.table, file, symbol)

    def _by_plan(self, sheet: Sheet, facts: planner.Facts) -> Found:
        for step in planner.plan(facts):
            try:
                found = read_way(step.strategy, sheet)
            except UnavailableError:
                if step.strategy != "select":
                    raise
                self._selectable = False
                continue
            if found is not None:
                return found
        raise AssertionError("the last way is always exact")

    def _facts(
        self,
        symbol: str,
        version: Version,
        size: int,
        index: FileIndex | None,
        shared: Twin | None,
        verify: bool,
    ) -> planner.Facts:
        spots = index.places(symbol) if index is not None else []
        placed = bool(spots) and all(spot["start"] >= 0 for spot in spots)
        twin = bool(spots) and all(self._kept.holds(version, spot["block"]) for spot in spots)
        loopback = self.store.endpoint.loopback
        return planner.Facts(
            size=size,
            ordered=version.dataset.order == "underlying",
            verify=verify,
            ranged=version.key.lower().endswith(".csv") and not is_parquet(version),
            archived="!" in version.key,
            index_bytes=sum(spot["stop"] - spot["start"] for spot in spots) if placed else None,
            twin=twin,
            shared_bytes=shared.cost(symbol) if shared is not None else None,
            selectable=self._selectable,
            bandwidth=_LOOPBACK_BANDWIDTH if loopback else self.settings.performance.bandwidth,
        )

    def _entry(self, found: Found, table: pa.Table, file: DayFile, symbol: str) -> Entry:
        endpoint, bucket = self.store.identity
        place, reader = file.place, file.reader
        return Entry(
            table,
            {
                "dataset": place.name,
                "key": place.where,
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
    return Version(place.where, etag, place.dataset)


def _absent(
    symbol: str, place: Place, known: Sequence[str], reader: RangeReader
) -> SymbolNotFoundError:
    error = symbol_not_found(symbol, known, f"the options of {place.date}")
    error.values |= {"requests": reader.requests, "received": reader.received}
    return error


def _chain(symbol: str, place: Place, cached: Cached) -> Chain:
    metadata = cached.entry.metadata
    asked = cached.state in {"fetched", "replaced"}
    origin = Origin(
        dataset=place.name,
        key=place.where,
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
