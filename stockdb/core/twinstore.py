"""Where the shared twins are: a prefix or bucket of their own, for all machines."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from stockdb.core.catalog import template
from stockdb.core.days import Place
from stockdb.core.ranges import RangeReader
from stockdb.core.reader import SCHEMA_VERSION
from stockdb.core.store import ObjectStore
from stockdb.core.transport import Deadline
from stockdb.core.twins import NoTwinError, Twin, open_twin
from stockdb.errors import ConfigurationError, DeadlineError, NotFoundError, StockDBError
from stockdb.settings import Settings

__all__ = ["TwinStore"]

_ETAG_HEADER: Final = "source-etag"
log = logging.getLogger("stockdb.chains")


class TwinStore:
    """Finds, opens and writes shared twins.

    Parameters
    ----------
    settings : Settings
        ``cache.twin_prefix`` and ``cache.twin_bucket``; without either there are no twins.
    store : ObjectStore
        Of the bucket with the originals.

    Raises
    ------
    ConfigurationError
        Twins would stand among the originals.
    """

    def __init__(self, settings: Settings, store: ObjectStore) -> None:
        self._settings = settings
        self.prefix = settings.cache.twin_prefix or ""
        bucket = settings.cache.twin_bucket or settings.connection.bucket_name
        self.configured = settings.cache.twin_prefix is not None or (
            settings.cache.twin_bucket is not None
        )
        self._apart = bucket != settings.connection.bucket_name
        if self.configured and not self._apart and not self.prefix:
            raise ConfigurationError(
                "Twins would stand among the files that they are made of.",
                remedy="Set twin_prefix in CACHE_CONFIG ('twins/', say), or another twin_bucket.",
            )
        self._store = store
        if self._apart:
            connection = settings.connection.model_copy(update={"bucket_name": bucket})
            self._store = ObjectStore(replace(settings, connection=connection))

    def key(self, place: Place) -> str:
        """Key of a place's twin: never one of an original.

        Raises
        ------
        ConfigurationError
            A dataset of the same bucket would take it for a file of its own.
        """
        inside = f"/{PurePosixPath(place.member.name).name}" if place.member else ""
        key = f"{self.prefix}{place.key}{inside}.twin.parquet"
        if not self._apart:
            for name, dataset in self._settings.datasets.items():
                if "{" in dataset.key and template(dataset).pattern.fullmatch(key):
                    raise ConfigurationError(
                        f"The twin {key} would be read as a file of dataset {name!r}.",
                        remedy="Choose another twin_prefix in CACHE_CONFIG, or a twin_bucket.",
                    )
        return key

    def source(self, place: Place, etag: str) -> dict[str, str]:
        """Name what a twin is held against: file, version, and how its dataset says to read it."""
        reading = place.dataset.model_dump_json(include={"format", "columns"})
        how = hashlib.sha256(f"{SCHEMA_VERSION}\0{reading}".encode()).hexdigest()[:16]
        return {"key": place.where, "etag": etag, "reading": how}

    def open(self, place: Place, etag: str | None, deadline: Deadline) -> Twin | None:
        """Open the twin of one version of a file; None where there is none that can be used.

        A twin is a shortcut: whatever is wrong with it costs speed, never a read.
        """
        if not self.configured or etag is None:
            return None
        reader = RangeReader(self._store, self.key(place), deadline)
        try:
            return open_twin(reader, self.source(place, etag))
        except (NotFoundError, NoTwinError) as reason:
            log.debug("no twin of %s: %s", place.where, reason)
        except DeadlineError:
            raise
        except StockDBError as error:
            log.warning("the twin of %s cannot be read: %s", place.where, error)
        return None

    def stands(self, place: Place, etag: str) -> int | None:
        """Bytes of the twin of this very version; None where it is absent or of another."""
        deadline = Deadline(self._settings.performance.object_deadline)
        try:
            blob = self._store.get_range(self.key(place), 0, 4, deadline=deadline)
        except NotFoundError:
            return None
        known = blob.headers.get(f"x-amz-meta-{_ETAG_HEADER}")
        return blob.info.size if known == self._stamp(place, etag) else None

    def write(self, place: Place, etag: str, twin: Path) -> int:
        """Put a twin in its place, in one step; returns its bytes."""
        data = twin.read_bytes()
        self._store.put(
            self.key(place),
            data,
            content_type="application/vnd.apache.parquet",
            metadata={_ETAG_HEADER: self._stamp(place, etag)},
        )
        return len(data)

    def prepare(self) -> None:
        """Create the twins' own bucket where it does not exist."""
        if self._apart:
            self._store.make_bucket()

    def close(self) -> None:
        """Let go of connections of its own."""
        if self._apart:
            self._store.close()

    def _stamp(self, place: Place, etag: str) -> str:
        return f"{etag}-{self.source(place, etag)['reading']}"
