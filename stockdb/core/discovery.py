"""What the bucket holds, by listing it; a listing is kept in the cache for a while."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any, Final

import pyarrow as pa

from stockdb.core.cache import DiskCache, NoCache
from stockdb.core.catalog import dataset_named, spellings, symbol_not_found, template
from stockdb.core.entry import Entry
from stockdb.core.freshness import Freshness, ReadPolicy
from stockdb.core.store import ObjectInfo, ObjectStore
from stockdb.settings import Dataset, Settings

__all__ = ["CONFIRMED", "Discovery"]

#: Seconds for which a listing tells that a symbol is absent: so long, many misspelt symbols
#: share one, and what was uploaded in between is found the next time.
CONFIRMED: Final = 5.0
_LISTING_WAIT: Final = 120.0
_USUAL: Final = ReadPolicy()


class Discovery:
    """Listings of a bucket, by dataset.

    Parameters
    ----------
    settings : Settings
    store : ObjectStore
    cache : DiskCache or NoCache
    """

    def __init__(self, settings: Settings, store: ObjectStore, cache: DiskCache | NoCache) -> None:
        self._settings = settings
        self._store = store
        self._cache = cache
        self._symbols: dict[str, tuple[pa.Table, dict[str, str]]] = {}

    def dataset(self, name: str) -> Dataset:
        """Look a dataset up by name.

        Raises
        ------
        NotFoundError
            No dataset of that name is configured.
        """
        return dataset_named(self._settings.datasets, name)

    def objects(self, name: str, policy: ReadPolicy = _USUAL) -> list[ObjectInfo]:
        """List all objects of a dataset, sorted by key.

        Parameters
        ----------
        name : str
        policy : ReadPolicy
            How old a kept listing may be (by default ``listing_ttl_seconds``), whether only a
            kept one is used, or one where the server cannot be reached.
        """
        dataset = self.dataset(name)
        pattern = template(dataset)
        table = self._listing(pattern.prefix, not pattern.flat, policy)
        listed = dataset.kind in {"files", "reference"}
        return [
            ObjectInfo(row["key"], row["size"], row["etag"], None, row["last_modified"])
            for row in table.to_pylist()
            if (listed and "{" not in dataset.key) or pattern.pattern.fullmatch(row["key"])
        ]

    def symbols(
        self, name: str, *, max_age: float | None = None, offline: bool = False
    ) -> dict[str, str]:
        """Return symbol (upper case) -> key for a dataset with one file a symbol."""
        pattern = template(self.dataset(name))
        policy = ReadPolicy(max_age, offline)
        table = self._listing(pattern.prefix, not pattern.flat, policy)
        held = self._symbols.get(name)
        if held is not None and held[0] is table:
            return held[1]
        found = {}
        for key in table.column("key").to_pylist():
            symbol = pattern.symbol_of(key)
            if symbol is not None:
                found[symbol.upper()] = key
        self._symbols[name] = (table, found)
        return found

    def dates(self, name: str, *, max_age: float | None = None) -> dict[dt.date, str]:
        """Return date -> key for a dataset with one file a day, ascending."""
        pattern = template(self.dataset(name))
        found = {}
        table = self._listing(pattern.prefix, not pattern.flat, ReadPolicy(max_age))
        for key in table["key"].to_pylist():
            date = pattern.date_of(key)
            if date is not None:
                found[date] = key
        return dict(sorted(found.items()))

    def resolve(self, name: str, symbol: str) -> str:
        """Find a symbol's key by listing, in any spelling.

        Raises
        ------
        SymbolNotFoundError
            With suggestions.
        """
        for max_age in (None, CONFIRMED):  # the second time with a listing made just now
            held = self.symbols(name, max_age=max_age)
            for spelling in spellings(symbol):
                if spelling in held:
                    return held[spelling]
        raise symbol_not_found(symbol, held, datasets=[name])

    def _listing(self, prefix: str, recursive: bool, policy: ReadPolicy) -> pa.Table:
        endpoint, bucket = self._store.identity
        text = "\0".join(["listing", endpoint, bucket, prefix, str(recursive)])
        name = hashlib.sha256(text.encode()).hexdigest()

        def fetch(_: dict[str, Any] | None) -> Entry:
            found = sorted(
                self._store.listing(prefix, recursive=recursive), key=lambda info: info.key
            )
            files = [info for info in found if not info.key.endswith("/")]
            table = pa.table(
                {
                    "key": pa.array([info.key for info in files], pa.string()),
                    "size": pa.array([info.size for info in files], pa.int64()),
                    "etag": pa.array([info.etag for info in files], pa.string()),
                    "last_modified": pa.array(
                        [info.last_modified for info in files], pa.timestamp("us", "UTC")
                    ),
                }
            )
            metadata = {"listing": prefix, "endpoint": endpoint, "bucket": bucket, "requests": 1}
            return Entry(table, metadata)

        ttl = self._settings.cache.listing_ttl_seconds
        wanted = Freshness(ttl, policy.max_age, policy.offline, policy.allow_stale)
        return self._cache.get(name, wanted, fetch, wait=_LISTING_WAIT).entry.table
