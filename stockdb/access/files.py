"""The rest of the bucket: which datasets are there, and whole files to a local disk."""

from __future__ import annotations

import os
import secrets
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final

import pandas as pd

from stockdb.core.catalog import template
from stockdb.core.chains import ChainReader
from stockdb.core.compact import CompactedDay, compact
from stockdb.core.store import ObjectStore
from stockdb.errors import ArchiveError, DataError, NotFoundError
from stockdb.settings import Settings
from stockdb.types import DateRange

_ZONE: Final = "America/New_York"

__all__ = ["compact_options", "datasets", "download", "option_dates"]


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


def option_dates(chains: ChainReader) -> pd.DatetimeIndex:
    """All dates with options; see ``MinIODataIntegration.list_option_dates``."""
    broken: list[ArchiveError] = []
    found = chains.places(broken=broken)
    for error in broken:
        warnings.warn(f"Dates in an archive are not listed: {error.message}", stacklevel=4)
    return pd.DatetimeIndex(sorted(found), name="date").as_unit("ns")


def compact_options(
    chains: ChainReader,
    wanted: DateRange,
    *,
    dry_run: bool,
    on_day: Callable[[CompactedDay], None] | None,
) -> pd.DataFrame:
    """Write twins; see ``MinIODataIntegration.compact_options``."""
    first, last = wanted.first_day(_ZONE), wanted.last_day(_ZONE)
    done = []
    for day in compact(
        chains,
        None if first is None else first.date(),
        None if last is None else last.date(),
        dry_run=dry_run,
    ):
        done.append(day)
        if on_day is not None:
            on_day(day)
    names = [known.name for known in fields(CompactedDay)]
    frame = pd.DataFrame([asdict(day) for day in done], columns=names)
    return frame.assign(date=pd.to_datetime(frame["date"]).astype("datetime64[ns]"))


def download(store: ObjectStore, key: str, path: Path) -> Path:
    """Copy an object to a file; see ``MinIODataIntegration.download_file``."""
    text = key if isinstance(key, str) else ""
    if not text or "\0" in text or text.startswith("/") or ".." in text.split("/"):
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
