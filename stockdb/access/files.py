"""The rest of the bucket: which datasets are there, and whole files to a local disk."""

from __future__ import annotations

import datetime as dt
import os
import secrets
from contextlib import suppress
from pathlib import Path

import pandas as pd

from stockdb.core.catalog import template
from stockdb.core.discovery import Discovery
from stockdb.core.store import ObjectStore
from stockdb.errors import DataError, NotFoundError
from stockdb.settings import Settings

__all__ = ["datasets", "download", "option_dates"]


def datasets(settings: Settings, store: ObjectStore) -> pd.DataFrame:
    """List the configured datasets; see ``MinIODataIntegration.list_datasets``."""
    rows = []
    for name, dataset in settings.datasets.items():
        pattern = template(dataset)
        found = store.listing(pattern.prefix, recursive=not pattern.flat)
        rows.append(
            {
                "dataset": name,
                "kind": dataset.kind,
                "interval": dataset.interval,
                "key": dataset.key,
                "adjustment": dataset.adjustment,
                "available": any(
                    "{" not in dataset.key or pattern.pattern.fullmatch(info.key) for info in found
                ),
            }
        )
    return pd.DataFrame(rows).set_index("dataset")


def option_dates(settings: Settings, discovery: Discovery) -> pd.DatetimeIndex:
    """All dates with an options file, over all options datasets."""
    found: set[dt.date] = set()
    for name, dataset in settings.datasets.items():
        if dataset.kind == "options" and dataset.duplicate_of is None:
            found |= set(discovery.dates(name))
    return pd.DatetimeIndex(sorted(found), name="date").as_unit("ns")


def download(store: ObjectStore, key: str, path: Path) -> Path:
    """Copy an object to a file; see ``MinIODataIntegration.download_file``."""
    if not key or "\0" in key or key.startswith("/") or ".." in key.split("/"):
        raise DataError(f"{key!r} is not an object key.", remedy="Use one of list_files().")
    path = path.expanduser()
    if path.is_dir():
        path = path / Path(key).name
    if not path.parent.is_dir():
        raise NotFoundError(f"There is no folder {str(path.parent)!r}.", remedy="Create it first.")
    # A name of its own beside the target: two downloads to one place must not meet, and
    # the last step stays a rename within one file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        store.download(key, descriptor)
        os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C too leaves nothing behind
        with suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)
    return path
