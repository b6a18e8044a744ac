"""The one read path: key, cache, fetch, parse, and the rows of a range."""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import pandas as pd
import pyarrow as pa

from stockdb.core.bars import Bars, Edges, Origin, join
from stockdb.core.cache import Cached, DiskCache, NoCache
from stockdb.core.catalog import (
    bars_datasets,
    chosen_datasets,
    day_datasets,
    held_nowhere,
    not_held,
    overlaps,
    spellings,
    symbol_not_found,
    template,
)
from stockdb.core.daybars import DayBars, YearOfBars
from stockdb.core.days import Days
from stockdb.core.discovery import CONFIRMED, Discovery
from stockdb.core.entry import Entry
from stockdb.core.freshness import Freshness, ReadPolicy
from stockdb.core.parse import parse_bars
from stockdb.core.store import NotModified, ObjectStore
from stockdb.core.transport import Deadline
from stockdb.errors import (
    DeadlineError,
    NotFoundError,
    RangeError,
    StockDBError,
    SymbolNotFoundError,
    UnavailableError,
)
from stockdb.settings import Dataset, Settings
from stockdb.types import DateRange, Interval

__all__ = ["Bars", "Origin", "ReadPolicy", "Reader"]

#: Part of every cache name: a change of what the parser makes of the same bytes changes it.
SCHEMA_VERSION: Final = 1


@dataclass
class Reader:
    """Composes store, cache, catalog and parser.

    Parameters
    ----------
    settings : Settings
    store : ObjectStore
    cache : DiskCache or NoCache
    """

    settings: Settings
    store: ObjectStore
    cache: DiskCache | NoCache
    discovery: Discovery = field(init=False)
    days: Days = field(init=False)
    day_bars: DayBars = field(init=False)
    _spelt: dict[tuple[str, str], str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.discovery = Discovery(self.settings, self.store, self.cache)
        self.days = Days(self.settings, self.store, self.cache, self.discovery)
        self.day_bars = DayBars(self.settings, self.cache, self.days, self._name)

    def bars(
        self,
        symbol: str,
        interval: Interval,
        wanted: DateRange,
        policy: ReadPolicy,
        *,
        dataset: str | None = None,
        sessions: bool = False,
    ) -> Bars:
        """Read one symbol's bars.

        Parameters
        ----------
        symbol : str
            Upper case.
        interval : Interval
            One that the bucket holds.
        wanted : DateRange
        policy : ReadPolicy
        dataset : str, optional
            Of this interval: read this one only.
        sessions : bool
            The range is one of dates: intraday bars of whole sessions.

        Raises
        ------
        SymbolNotFoundError
            No dataset of this interval holds the symbol.
        ConfigurationError
            No dataset of this interval is configured.
        DataError
            The object is malformed, or datasets hold the symbol that are no one series.
        RangeError
            ``dataset`` holds a file a day, and the range does not begin within it.
        """
        edges = Edges(wanted, interval, sessions)
        chosen = chosen_datasets(self.settings.datasets, dataset)
        parts: list[Bars] = []
        absent: list[StockDBError] = []

        def read(name: str) -> None:
            try:
                parts.append(self._from_dataset(name, symbol, edges, policy))
            except (SymbolNotFoundError, UnavailableError, DeadlineError) as error:
                if not not_held(error):
                    raise
                absent.append(error)

        by_day = dataset is not None and chosen[dataset].kind == "day_bars"
        if by_day:
            _within(dataset, chosen, wanted)
        names = [] if by_day else [name for name, _ in bars_datasets(chosen, interval.name)]
        for name in names:
            if dataset is not None or overlaps(chosen[name], wanted):
                read(name)
        if by_day or dataset is None:
            self._older(symbol, edges, policy, chosen, parts)
        if not parts and not absent:  # no dataset covers the range: any one can say who is known
            if by_day:
                raise symbol_not_found(symbol, (), datasets=[*chosen])
            read(names[0])
        if not parts:
            raise held_nowhere(absent)
        return parts[0] if len(parts) == 1 else join(parts)

    def _older(
        self,
        symbol: str,
        edges: Edges,
        policy: ReadPolicy,
        datasets: Mapping[str, Dataset],
        parts: list[Bars],
    ) -> None:
        """Add the years that are held by day, where the range reaches back to them.

        An open-ended range does not: it would move every day of many years for one symbol.
        """
        wanted = edges.wanted
        held = day_datasets(datasets, edges.interval.name, wanted)
        first = wanted.first_day(held[0].timezone) if held else None
        if first is None:
            return
        last = wanted.last_day(held[0].timezone)
        ends = [pd.Timestamp(dataset.end) for dataset in held if dataset.end]
        if len(ends) == len(held):
            last = max(ends) if last is None else min(last, max(ends))
        years = self.day_bars.years(
            symbol,
            first.date(),
            None if last is None else last.date(),
            policy,
            datasets=datasets,
        )
        parts += [
            bars_of_year(symbol, year, *edges.rows(year.dates, year.places[0].dataset))
            for year in years
            if year.table.num_rows
        ]

    def _from_dataset(
        self,
        name: str,
        symbol: str,
        edges: Edges,
        policy: ReadPolicy,
    ) -> Bars:
        dataset = self.settings.datasets[name]
        key, cached = self._locate(name, dataset, symbol, policy)
        table, metadata = cached.entry.table, cached.entry.metadata
        date = table.column("date").to_numpy()
        first, last = edges.rows(date, dataset)
        columns = {
            column: table.column(column).to_numpy()[first:last]
            for column in table.column_names
            if column != "date" and pa.types.is_floating(table.schema.field(column).type)
        }
        asked = cached.state in {"fetched", "replaced"}
        origin = Origin(
            dataset=name,
            key=key,
            etag=metadata["etag"],
            version_id=metadata["version_id"],
            adjustment=dataset.adjustment,
            state=cached.state,
            fetched_at=metadata["fetched_at"],
            validated_at=iso(cached.validated),
            requests=metadata["requests"] if asked else int(cached.state == "revalidated"),
            received=metadata["received"] if asked else 0,
            rows=int(last - first),
            bad_rows=metadata["bad_rows"],
            simulated=metadata["simulated"],
        )
        return Bars(
            symbol,
            date[first:last],
            columns,
            (origin,),
            dataset.adjustment,
            dataset.timezone,
            dataset.calendar,
            date[0] if len(date) else None,
            date[-1] if len(date) else None,
            (date, table.column("close").to_numpy()) if "close" in table.column_names else None,
        )

    def _locate(
        self, name: str, dataset: Dataset, symbol: str, policy: ReadPolicy
    ) -> tuple[str, Cached]:
        """Read the symbol's object: under the key that served last, else as a listing spells it."""
        tried = self._spelt.get((name, symbol)) or template(dataset).key(symbol=symbol)
        try:
            return tried, self.object(name, dataset, tried, symbol, policy)
        except NotFoundError as error:
            if error.values.get("code") == "NoSuchBucket":
                raise
            failure: StockDBError = error
        except (UnavailableError, DeadlineError) as error:
            if not (policy.offline or policy.allow_stale):
                raise
            failure = error
        # The key is absent: only the listing can tell whether the symbol is; a kept one may be
        # too old to know. Or nobody can be asked: what a kept one spells may be held.
        absent = isinstance(failure, NotFoundError)
        held: dict[str, str] = {}
        for max_age in (None, CONFIRMED) if absent else (None,):
            try:
                held = self.discovery.symbols(name, max_age=max_age, offline=not absent)
            except UnavailableError:
                if absent:
                    raise
                raise failure from None
            failure.values["listed"] = any(spelling in held for spelling in spellings(symbol))
            for key in (held[spelling] for spelling in spellings(symbol) if spelling in held):
                if key == tried:
                    continue
                with suppress(NotFoundError):
                    found = self.object(name, dataset, key, symbol, policy)
                    self._spelt[name, symbol] = key
                    return key, found
        if absent:
            raise symbol_not_found(symbol, held, datasets=[name])
        raise failure

    def _name(self, *parts: str | None) -> str:
        endpoint, bucket = self.store.identity
        text = "\0".join([endpoint, bucket, str(SCHEMA_VERSION), *(part or "" for part in parts)])
        return hashlib.sha256(text.encode()).hexdigest()

    def object(
        self, name: str, dataset: Dataset, key: str, symbol: str, policy: ReadPolicy
    ) -> Cached:
        """Return one object of bars, parsed, from the cache or the bucket."""
        endpoint, bucket = self.store.identity
        bad_rows = self.settings.validation.on_bad_rows
        deadline = Deadline(self.settings.performance.object_deadline)

        def fetch(held: dict[str, Any] | None) -> Entry | None:
            try:
                blob = self.store.get(
                    key, if_none_match=held["etag"] if held else None, deadline=deadline
                )
            except NotModified:
                return None
            parsed = parse_bars(memoryview(blob.data), dataset, key=key, on_bad_rows=bad_rows)
            info = blob.info
            metadata = {
                "dataset": name,
                "key": key,
                "symbol": symbol,
                "endpoint": endpoint,
                "bucket": bucket,
                "etag": info.etag,
                "version_id": info.version_id,
                "size": info.size,
                "fetched_at": iso(time.time()),
                "requests": blob.requests,
                "received": blob.received,
                "bad_rows": [[row.line, row.reason, row.text] for row in parsed.bad_rows],
                "simulated": blob.headers.get("x-amz-meta-simulated") == "true",
            }
            return Entry(parsed.table, metadata)

        wanted = self.freshness(dataset, policy)
        try:
            return self.cache.get(
                self.entry_name(dataset, key), wanted, fetch, wait=deadline.seconds / 2
            )
        except StockDBError as error:
            if error.symbol is None:
                error.symbol = symbol
            raise

    def entry_name(self, dataset: Dataset, key: str) -> str:
        """Name the cache entry of one object of bars, after all that its content depends on."""
        endpoint, bucket = self.store.identity
        options = dataset.model_dump_json(
            include={"kind", "format", "interval", "columns", "timezone", "dst_policy"}
        )
        bad_rows = self.settings.validation.on_bad_rows
        text = "\0".join([endpoint, bucket, key, "", options, bad_rows, str(SCHEMA_VERSION)])
        return hashlib.sha256(text.encode()).hexdigest()

    def freshness(self, dataset: Dataset, policy: ReadPolicy) -> Freshness:
        """Say what counts as fresh: by the dataset, unless the caller said it."""
        ttl = dataset.ttl_seconds
        return Freshness(
            self.settings.cache.cache_ttl_seconds if ttl is None else ttl,
            policy.max_age,
            policy.offline,
            policy.allow_stale,
        )


def bars_of_year(symbol: str, year: YearOfBars, first: int, last: int) -> Bars:
    """Take the rows of a range out of a year that is held by day."""
    lead = year.places[0]
    fetched = iso(year.fetched_at)
    origin = Origin(
        dataset=lead.name,
        key=f"{lead.where} .. {year.places[-1].where}",
        etag=lead.etag if lead.member is not None else None,
        version_id=None,
        adjustment=lead.dataset.adjustment,
        state="fetched" if year.requests else "fresh",
        fetched_at=fetched,
        validated_at=fetched,
        requests=year.requests,
        received=year.received,
        rows=last - first,
        bad_rows=year.bad_rows,
        simulated=False,
    )
    return Bars(
        symbol,
        year.dates[first:last],
        {
            name: year.table.column(name).to_numpy()[first:last]
            for name in year.table.column_names
            if name != "date"
        },
        (origin,),
        lead.dataset.adjustment,
        lead.dataset.timezone,
        lead.dataset.calendar,
        year.dates[0],
        year.dates[-1],
        (year.dates, year.table.column("close").to_numpy())
        if "close" in year.table.column_names
        else None,
    )


def _within(name: str | None, datasets: Mapping[str, Dataset], wanted: DateRange) -> None:
    """Refuse to read every day that a dataset has, or none, for one symbol."""
    dataset = datasets[str(name)]
    if wanted.start is None or not overlaps(dataset, wanted):
        dates = f"{dataset.start or '...'} to {dataset.end or '...'}"
        raise RangeError(
            f"Dataset {name!r} holds a file a day, {dates}.",
            remedy="Give a start_date within it.",
            dataset=name,
        )


def iso(seconds: float) -> str:
    """Write seconds since the epoch as ISO 8601, UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="seconds")
