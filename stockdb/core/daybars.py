"""Daily bars of one symbol out of files that hold every symbol of a day (2002-2009)."""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stockdb.core.cache import DiskCache, NoCache
from stockdb.core.catalog import spellings
from stockdb.core.days import Days, Place
from stockdb.core.entry import Entry
from stockdb.core.freshness import Freshness, ReadPolicy
from stockdb.core.parse import parse_bars
from stockdb.core.transport import Deadline
from stockdb.errors import UnavailableError
from stockdb.settings import Dataset, Settings

__all__ = ["DayBars", "YearOfBars"]

_FOR_EVER: Final = Freshness(float("inf"))
_HELD_ONLY: Final = Freshness(float("inf"), offline=True)
_TOGETHER: Final = 8


@dataclass(frozen=True)
class YearOfBars:
    """One symbol's daily bars of one year, and the files that they came from.

    Attributes
    ----------
    year : int
    table : pyarrow.Table
        ``date`` and float columns, ascending; empty where no file quotes the symbol.
    places : list of Place
    requests, received : int
        Of this read; 0 where the cache had the year.
    fetched_at : float
        Seconds since the epoch.
    bad_rows : list
    """

    year: int
    table: pa.Table
    places: list[Place]
    requests: int
    received: int
    fetched_at: float
    bad_rows: list[list[Any]]

    @property
    def dates(self) -> np.ndarray[Any, np.dtype[np.datetime64]]:
        """Session dates, ascending."""
        found: np.ndarray[Any, np.dtype[np.datetime64]] = self.table.column("date").to_numpy()
        return found

    @property
    def timezone(self) -> str:
        """Zone of the session dates."""
        return self.places[0].dataset.timezone


class DayBars:
    """Collects a symbol's rows from many day files; every file is read once for all symbols.

    Parameters
    ----------
    settings : Settings
    cache : DiskCache or NoCache
    days : Days
    name : callable
        Makes a cache name of its parts.
    """

    def __init__(
        self,
        settings: Settings,
        cache: DiskCache | NoCache,
        days: Days,
        name: Callable[..., str],
    ) -> None:
        self._settings = settings
        self._cache = cache
        self._days = days
        self._name = name

    def years(
        self,
        symbol: str,
        first: dt.date | None,
        last: dt.date | None,
        policy: ReadPolicy,
        *,
        datasets: Mapping[str, Dataset] | None = None,
    ) -> list[YearOfBars]:
        """Read the years of a range, whole ones: the caller cuts to the range.

        Parameters
        ----------
        symbol : str
        first, last : datetime.date or None
        policy : ReadPolicy
            For the listings.
        datasets : mapping, optional
            Those to read; all of the settings by default.

        Raises
        ------
        UnavailableError
            Offline, and a day is not in the cache.
        DataError, ArchiveError
            A day's file is malformed.
        """
        begin = None if first is None else dt.date(first.year, 1, 1)
        end = None if last is None else dt.date(last.year, 12, 31)
        by_year: dict[int, list[Place]] = {}
        for date, place in self._days.places(
            "day_bars", begin, end, policy=policy, datasets=datasets
        ).items():
            by_year.setdefault(date.year, []).append(place)
        return [
            self._year(symbol, year, places, policy.offline) for year, places in by_year.items()
        ]

    def _year(self, symbol: str, year: int, places: list[Place], offline: bool) -> YearOfBars:
        versions = hashlib.sha256(
            "\0".join(f"{place.where}={place.etag}" for place in places).encode()
        ).hexdigest()
        cost: list[tuple[int, int]] = []

        name = self._name("year", symbol, str(year), versions)
        try:
            entry = self._cache.get(name, _HELD_ONLY, _never, wait=0.0).entry
        except UnavailableError:
            # The days first: under the year's lock, a day whose lock is the same would wait.
            made = self._assemble(symbol, year, places, offline, cost)
            entry = self._cache.get(name, _FOR_EVER, lambda _: made, wait=0.0).entry
        return YearOfBars(
            year,
            entry.table,
            places,
            sum(requests for requests, _ in cost),
            sum(received for _, received in cost),
            entry.metadata["fetched_at"],
            entry.metadata["bad_rows"],
        )

    def _assemble(
        self,
        symbol: str,
        year: int,
        places: list[Place],
        offline: bool,
        cost: list[tuple[int, int]],
    ) -> Entry:
        with ThreadPoolExecutor(_TOGETHER, thread_name_prefix="stockdb-days") as pool:
            days = list(pool.map(lambda place: self._day(place, offline, cost), places))
        rows = [_rows_of(day.table, symbol) for day in days]
        bad = [row for day in days for row in day.metadata["bad_rows"]]
        table = pa.concat_tables(rows, promote_options="default").combine_chunks()
        return Entry(
            _without_nulls(table),
            {"symbol": symbol, "year": year, "fetched_at": time.time(), "bad_rows": bad[:100]},
        )

    def _day(self, place: Place, offline: bool, cost: list[tuple[int, int]]) -> Entry:
        def fetch(_: dict[str, Any] | None) -> Entry:
            deadline = Deadline(self._settings.performance.object_deadline)
            with self._days.reader(place, deadline) as reader:
                data = b"".join(self._days.content(place, reader))
                cost.append((reader.requests, reader.received))
            parsed = parse_bars(
                data,
                place.dataset,
                key=place.where if place.member is None else place.member.name,
                on_bad_rows=self._settings.validation.on_bad_rows,
                date=place.date,
            )
            bad = [[row.line, row.reason, row.text] for row in parsed.bad_rows]
            metadata = {"key": place.where, "etag": place.etag, "size": len(data), "bad_rows": bad}
            return Entry(parsed.table, metadata)

        wanted = Freshness(float("inf"), offline=offline)
        name = self._name("day", place.where, place.etag)
        return self._cache.get(name, wanted, fetch, wait=5.0).entry


def _rows_of(day: pa.Table, symbol: str) -> pa.Table:
    wanted = pa.array(spellings(symbol))
    found = day.filter(pc.is_in(pc.utf8_upper(day["symbol"]), value_set=wanted))
    return found.drop_columns(["symbol"])


def _without_nulls(table: pa.Table) -> pa.Table:
    """Fill columns that some days lack with NaN: float columns have no nulls here."""
    for number, name in enumerate(table.column_names):
        column = table.column(number)
        if pa.types.is_floating(column.type) and column.null_count:
            table = table.set_column(number, name, pc.fill_null(column, np.nan))
    return table


def _never(_: dict[str, Any] | None) -> Entry | None:
    raise AssertionError("offline reads never fetch")
