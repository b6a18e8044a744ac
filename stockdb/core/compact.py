"""Twins for all machines: every day's options file once more, sorted by underlying, as Parquet."""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from stockdb.core.chains import ChainReader
from stockdb.core.dayfile import open_day
from stockdb.core.days import Place
from stockdb.core.freshness import ReadPolicy
from stockdb.core.ranges import RangeReader
from stockdb.core.transport import Deadline
from stockdb.core.twins import NoTwinError, make_twin
from stockdb.errors import (
    ArchiveError,
    ConfigurationError,
    DataError,
    StockDBError,
)

__all__ = ["CompactedDay", "compact"]

_UNVERSIONED: Final = "the server gives no ETag, so nothing tells one version from another"
State = Literal["current", "to write", "written", "failed"]


@dataclass(frozen=True, slots=True)
class CompactedDay:
    """What became of one day.

    Attributes
    ----------
    date : datetime.date or None
        None for an archive that cannot be read at all.
    key, twin : str
        Where the original is, and its twin.
    state : {'current', 'to write', 'written', 'failed'}
        ``current``: the twin of this very version is there.
    source_bytes, twin_bytes : int
        Bytes of the original as it is stored, and of the twin; 0 where not known.
    underlyings, rows : int
        0 where nothing was written.
    seconds : float
    reason : str
        Why it failed.
    """

    date: dt.date | None
    key: str
    twin: str
    state: State
    source_bytes: int = 0
    twin_bytes: int = 0
    underlyings: int = 0
    rows: int = 0
    seconds: float = 0.0
    reason: str = ""


def compact(
    chains: ChainReader,
    first: dt.date | None = None,
    last: dt.date | None = None,
    *,
    dry_run: bool = False,
) -> Iterator[CompactedDay]:
    """Write the twins that are missing, day by day, ascending; each in one step.

    A day whose twin is of the version that the bucket holds now is left alone, so a run that
    was broken off goes on where it was. One day that fails does not end it.

    Parameters
    ----------
    chains : ChainReader
    first, last : datetime.date, optional
        Both included.
    dry_run : bool
        Say what would be written, and write nothing.

    Raises
    ------
    ConfigurationError
        No place for twins is configured, or one where they would be taken for originals.
    """
    twins = chains.twins
    if not twins.configured:
        raise ConfigurationError(
            "No place for twins is configured.",
            remedy="Set twin_prefix ('twins/', say) or twin_bucket in CACHE_CONFIG.",
        )
    broken: list[ArchiveError] = []
    places = chains.days.places("options", first, last, policy=ReadPolicy(0.0), broken=broken)
    for place in places.values():
        twins.key(place)  # before the first is written
    if not dry_run:
        twins.prepare()
    for error in broken:
        yield CompactedDay(None, error.key or "", "", "failed", reason=error.message)
    for place in places.values():
        yield _one(chains, place, dry_run)


def _one(chains: ChainReader, place: Place, dry_run: bool) -> CompactedDay:
    size = place.size if place.member is None else place.member.compressed
    day = CompactedDay(place.date, place.where, chains.twins.key(place), "to write", size)
    try:
        if place.etag is None:
            raise NoTwinError(_UNVERSIONED)
        standing = chains.twins.stands(place, place.etag)
        if standing is not None:
            return replace(day, state="current", twin_bytes=standing)
        return day if dry_run else _write(chains, place, day)
    except (StockDBError, NoTwinError) as error:
        reason = error.message if isinstance(error, StockDBError) else str(error)
        return replace(day, state="failed", reason=reason)


def _write(chains: ChainReader, place: Place, day: CompactedDay) -> CompactedDay:
    begin = time.monotonic()
    deadline = Deadline(chains.settings.performance.object_deadline)
    with RangeReader(chains.store, place.key, deadline) as reader:
        file = open_day(place, reader, chains.store)
        etag = file.version.etag  # a newer one than the listing's, perhaps
        if etag is None:
            raise NoTwinError(_UNVERSIONED)
        with tempfile.TemporaryDirectory(prefix="stockdb-compact-") as folder:
            path = Path(folder, "twin.parquet")
            column, blocks = file.blocks()
            source = chains.twins.source(place, etag)
            contents = make_twin(blocks, column, source, path)
            if not contents.names:
                raise DataError(f"{place.where} has no rows.", key=place.key)
            size = chains.twins.write(place, etag, path)
    return replace(
        day,
        state="written",
        twin_bytes=size,
        underlyings=len(contents.names),
        rows=sum(contents.counts),
        seconds=round(time.monotonic() - begin, 3),
    )
