"""What a watch tells, and what it can be about."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import pandas as pd

from stockdb.errors import (
    AccessDeniedError,
    ClockSkewError,
    ConfigurationError,
    CredentialsExpiredError,
    DeadlineError,
    NotFoundError,
    UnavailableError,
)

__all__ = ["DOWN", "HOPELESS", "Subject", "Update", "now"]

#: The server cannot be reached: nothing can be said about any object.
DOWN: Final = (UnavailableError, DeadlineError)
#: What waiting does not mend: where a watch begins with it, there is nothing to wait for.
HOPELESS: Final = (
    ConfigurationError, AccessDeniedError, CredentialsExpiredError, ClockSkewError, NotFoundError
)  # fmt: skip


@dataclass(frozen=True)
class Update:
    """Something that happened.

    Attributes
    ----------
    kind : str
        ``rows`` (an object has other rows than before), ``removed`` (it is gone), ``error``
        (it is there and cannot be read, or the options files cannot be listed: ``reason``),
        ``stale`` (the server cannot be reached; what was told may be out of date),
        ``recovered`` (it can again, or they can), ``day`` (an options file is new or was
        replaced).
    symbol : str or None
        None for ``stale``, ``recovered`` and all that concerns options files.
    at : pandas.Timestamp
        When it was noticed, UTC.
    new, changed : pandas.DataFrame
        Rows that were not there, and rows that were with other values; as
        ``get_historical_data`` gives them.
    removed : pandas.DatetimeIndex
        Rows that are no longer there.
    etag : str or None
        Of the object that the newest rows are in.
    date : datetime.date or None
        Of an options file.
    key : str or None
    reason : str
        Why it is stale, or cannot be read.
    """

    kind: Literal["rows", "removed", "error", "stale", "recovered", "day"]
    symbol: str | None
    at: pd.Timestamp
    new: pd.DataFrame = field(default_factory=pd.DataFrame)
    changed: pd.DataFrame = field(default_factory=pd.DataFrame)
    removed: pd.DatetimeIndex = field(default_factory=lambda: pd.DatetimeIndex([]))
    etag: str | None = None
    date: dt.date | None = None
    key: str | None = None
    reason: str = ""

    def __repr__(self) -> str:
        what = f"{self.kind} {self.symbol or self.date or ''}".rstrip()
        rows = f"{len(self.new)} new, {len(self.changed)} changed, {len(self.removed)} removed"
        return f"<Update {what}, {self.at:%Y-%m-%d %H:%M:%S} UTC: {self.reason or rows}>"


class Subject(Protocol):
    """Something that can be looked at, and then tells what has changed since the last look."""

    prefix: str

    def look(self, first: bool) -> list[Update]:
        """Read anew, in a thread.

        Raises
        ------
        StockDBError
            One of :data:`DOWN` where nothing can be said; with ``first``, before anything
            could be said, also one of :data:`HOPELESS`.
        """

    def concerns(self, key: str) -> bool:
        """Whether a notification about this key is a reason to look."""


def now() -> pd.Timestamp:
    """Return the time, UTC."""
    return pd.Timestamp.now("UTC")
