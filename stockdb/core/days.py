"""Which object, or member of an archive, holds a day: by listing, never by guessing."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from stockdb.core.archive import (
    Member,
    directory_table,
    file_name,
    find_member,
    from_table,
    member_chunks,
    read_directory,
)
from stockdb.core.cache import DiskCache, NoCache
from stockdb.core.catalog import KeyTemplate, template
from stockdb.core.discovery import Discovery
from stockdb.core.entry import Entry
from stockdb.core.freshness import Freshness, ReadPolicy
from stockdb.core.ranges import RangeReader
from stockdb.core.store import ObjectInfo, ObjectStore
from stockdb.core.transport import Deadline
from stockdb.errors import ArchiveError, ObjectChangedError
from stockdb.settings import Dataset, Settings

__all__ = ["Days", "Place"]

_FOR_EVER: Final = Freshness(float("inf"))
_USUAL: Final = ReadPolicy()
#: Bytes of a member's inflated block.
_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where one day of a dataset is.

    Attributes
    ----------
    name : str
        Of the dataset.
    dataset : Dataset
    key : str
        Of the object; for an archive, of the archive.
    date : datetime.date
    etag : str or None
    size : int
        Of the object, as the listing has it.
    member : Member or None
        The file within the archive.
    flaw : ArchiveError or None
        Why the member may not be read: two have its name, or its path is hostile. Only who
        reads that day is told, for the archive's other days are sound.
    """

    name: str
    dataset: Dataset
    key: str
    date: dt.date
    etag: str | None = None
    size: int = -1
    member: Member | None = None
    flaw: ArchiveError | None = None

    def check(self) -> None:
        """Raise where the member may not be read."""
        if self.flaw is not None:
            raise self.flaw

    @property
    def where(self) -> str:
        """Key, and member after a ``!``."""
        return self.key if self.member is None else f"{self.key}!{self.member.name}"


class Days:
    """Finds the files of days.

    Parameters
    ----------
    settings : Settings
    store : ObjectStore
    cache : DiskCache or NoCache
    discovery : Discovery
    """

    def __init__(
        self,
        settings: Settings,
        store: ObjectStore,
        cache: DiskCache | NoCache,
        discovery: Discovery,
    ) -> None:
        self._settings = settings
        self._store = store
        self._cache = cache
        self._discovery = discovery

    def places(
        self,
        kind: str,
        first: dt.date | None = None,
        last: dt.date | None = None,
        *,
        archives: bool = True,
        policy: ReadPolicy = _USUAL,
        broken: list[ArchiveError] | None = None,
        datasets: Mapping[str, Dataset] | None = None,
    ) -> dict[dt.date, Place]:
        """List the days of all datasets of a kind, ascending.

        Parameters
        ----------
        kind : {'options', 'day_bars'}
        first, last : datetime.date, optional
            Both included.
        archives : bool
            Look into archives too; an object of the same day wins over a member.
        policy : ReadPolicy
            For the listings.
        broken : list, optional
            Takes the archives that cannot be read; without it the first of them raises.
        datasets : mapping, optional
            Those to look at, in archives, too; all of the settings by default.
        """
        found: dict[dt.date, Place] = {}
        chosen = [
            (name, dataset)
            for name, dataset in (datasets or self._settings.datasets).items()
            if dataset.kind == kind and dataset.duplicate_of is None
        ]
        for name, dataset in chosen:
            pattern = template(dataset)
            for info in self._discovery.objects(name, policy):
                date = pattern.date_of(info.key)
                if date is not None and _inside(date, first, last):
                    place = Place(name, dataset, info.key, date, info.etag, info.size)
                    found.setdefault(date, place)
        if archives:
            for info in self._archives(first, last, policy):
                try:
                    members = list(self._members(info, chosen))
                except ArchiveError as error:
                    if broken is None:
                        raise
                    broken.append(error)
                    continue
                for place in members:
                    if _inside(place.date, first, last):
                        found.setdefault(place.date, place)
        return dict(sorted(found.items()))

    def usual(self, kind: str, date: dt.date) -> Place | None:
        """Say where a day's file usually is, without asking: in the dataset that comes first.

        None where that dataset cannot hold the date: a listing has to tell then.
        """
        for name, dataset in self._settings.datasets.items():
            if dataset.kind == kind and dataset.duplicate_of is None:
                names_day = template(dataset).fields & {"YYYY-MM-DD", "YYYYMMDD"}
                if not names_day or not _covers(dataset, date):
                    return None
                return Place(name, dataset, template(dataset).key(date=date), date)
        return None

    def again(self, place: Place) -> Place:
        """Find a day anew, by listings made now.

        Raises
        ------
        ObjectChangedError
            It is not there any more.
        """
        kind = place.dataset.kind
        found = self.places(kind, place.date, place.date, policy=ReadPolicy(0.0)).get(place.date)
        if found is None:
            raise ObjectChangedError(
                f"{place.where} is gone.",
                remedy="Ask again with max_age=0.",
                key=place.key,
            )
        return found

    def reader(self, place: Place, deadline: Deadline) -> RangeReader:
        """Open a place's object, pinned to the version that the listing saw."""
        place.check()
        return RangeReader(self._store, place.key, deadline, etag=place.etag, size=place.size)

    def content(self, place: Place, reader: RangeReader) -> Iterator[bytes]:
        """Read a place's file from its beginning; right only when exhausted."""
        if place.member is None:
            yield from (
                reader.read(at, min(at + 8 * _BLOCK, reader.size))
                for at in range(0, reader.size, 8 * _BLOCK)
            )
        else:
            yield from member_chunks(reader.read, place.member, place.key, block=_BLOCK)

    def _archives(
        self, first: dt.date | None, last: dt.date | None, policy: ReadPolicy
    ) -> Iterator[ObjectInfo]:
        for name, dataset in self._settings.datasets.items():
            if dataset.kind != "archive" or dataset.duplicate_of is not None:
                continue
            pattern = template(dataset)
            for info in self._discovery.objects(name, policy):
                match = pattern.pattern.fullmatch(info.key)
                year = int(match["year"]) if match and match.groupdict().get("year") else None
                if year is None or (
                    (first is None or year >= first.year) and (last is None or year <= last.year)
                ):
                    yield info

    def _members(self, info: ObjectInfo, datasets: list[tuple[str, Dataset]]) -> Iterator[Place]:
        """Match members by file name with the datasets' own file names."""
        patterns = [(name, dataset, _file_name(dataset)) for name, dataset in datasets]
        namesakes: dict[str, list[Member]] = {}
        for member in self._directory(info):
            namesakes.setdefault(file_name(member), []).append(member)
        for base, members in namesakes.items():
            for name, dataset, pattern in patterns:
                date = pattern.date_of(base)
                if date is not None and _covers(dataset, date):
                    yield Place(
                        name,
                        dataset,
                        info.key,
                        date,
                        info.etag,
                        info.size,
                        members[0],
                        _flaw(members, base, info.key),
                    )
                    break

    def _directory(self, info: ObjectInfo) -> list[Member]:
        endpoint, bucket = self._store.identity
        text = "\0".join(["directory", endpoint, bucket, info.key, info.etag or ""])

        def fetch(_: dict[str, Any] | None) -> Entry:
            deadline = Deadline(self._settings.performance.object_deadline)
            with RangeReader(
                self._store, info.key, deadline, etag=info.etag, size=info.size
            ) as reader:
                members = read_directory(reader.read, info.size, info.key)
                metadata = {"key": info.key, "etag": info.etag, "requests": reader.requests}
                return Entry(directory_table(members), metadata)

        name = hashlib.sha256(text.encode()).hexdigest()
        try:
            cached = self._cache.get(name, _FOR_EVER, fetch, wait=30.0)
        except ObjectChangedError:
            raise ObjectChangedError(
                f"{info.key} was replaced after it was listed.",
                remedy="Ask again with max_age=0.",
                key=info.key,
            ) from None
        return from_table(cached.entry.table)


def _flaw(members: list[Member], base: str, key: str) -> ArchiveError | None:
    try:
        find_member(members, base, key)
    except ArchiveError as error:
        return error
    return None


def _file_name(dataset: Dataset) -> KeyTemplate:
    """Compile the last part of a dataset's key: what a member of an archive is called."""
    return template(dataset.model_copy(update={"key": PurePosixPath(dataset.key).name}))


def _covers(dataset: Dataset, date: dt.date) -> bool:
    day = date.isoformat()
    return (dataset.start is None or day >= dataset.start) and (
        dataset.end is None or day <= dataset.end
    )


def _inside(date: dt.date, first: dt.date | None, last: dt.date | None) -> bool:
    return (first is None or date >= first) and (last is None or date <= last)
