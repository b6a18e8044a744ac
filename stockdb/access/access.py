"""One client's store, cache and reader, and the historical read on top of them."""

from __future__ import annotations

import datetime as dt
import pickle
from typing import Any

import pandas as pd

from stockdb.access.history import HistoryRequest, read_history
from stockdb.access.provenance import ProvenanceLog
from stockdb.core.cache import open_cache
from stockdb.core.reader import Reader
from stockdb.core.store import ObjectStore
from stockdb.settings import Settings

__all__ = ["Access"]


class Access:
    """Everything that a read needs; crosses to another process as its settings.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    ConfigurationError
        No endpoint is configured.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = ObjectStore(settings)
        self.cache = open_cache(settings.cache)
        self.reader = Reader(settings, self.store, self.cache)
        self.provenance = ProvenanceLog()

    def __repr__(self) -> str:
        return f"Access({self.store!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _open, (self.settings,)

    def history(self, symbol: str, request: HistoryRequest) -> pd.DataFrame:
        """Read one symbol; see :func:`stockdb.access.history.read_history`."""
        today = dt.datetime.now(dt.UTC).date()
        return read_history(self.reader, self.provenance, symbol, request, today)

    def close(self) -> None:
        """Let go of connections."""
        self.store.close()


_opened: dict[bytes, Access] = {}


def _open(settings: Settings) -> Access:
    """Give a worker process one client per settings, not one per task."""
    identity = pickle.dumps(settings)
    if identity not in _opened:
        _opened[identity] = Access(settings)
    return _opened[identity]
