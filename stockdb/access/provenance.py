"""Where a frame came from: a small note on the frame, the whole of it kept aside.

pandas copies ``attrs`` on every column selection and ``to_parquet`` needs JSON, so the
frame carries a summary and an id only.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Any, Final

import pandas as pd

from stockdb.core.reader import Origin
from stockdb.errors import NotFoundError

__all__ = ["ATTRS", "Provenance", "ProvenanceLog", "worst_freshness"]

ATTRS: Final = "stockdb"
_KEPT: Final = 4096
_ORDER: Final = ("stale", "offline", "fresh", "revalidated", "replaced", "fetched")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything known about where a frame came from.

    Attributes
    ----------
    id : str
    summary : dict
        What ``df.attrs['stockdb']`` shows.
    origins : tuple of Origin
        One for each object that was read.
    """

    id: str
    summary: dict[str, Any]
    origins: tuple[Origin, ...]

    @property
    def requests(self) -> int:
        """Requests that this read sent; 0 where the cache had everything."""
        return sum(origin.requests for origin in self.origins)

    @property
    def received(self) -> int:
        """Bytes of objects that this read moved over the network."""
        return sum(origin.received for origin in self.origins)

    def to_frame(self) -> pd.DataFrame:
        """One row an object."""
        return pd.DataFrame([asdict(origin) for origin in self.origins])


class ProvenanceLog:
    """The last few thousand provenances of one client, by id."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[str, Provenance] = OrderedDict()

    def note(self, summary: dict[str, Any], origins: tuple[Origin, ...]) -> dict[str, Any]:
        """Keep a provenance and return the summary with its id."""
        identity = secrets.token_hex(8)
        complete = {**summary, "provenance": identity}
        with self._lock:
            self._held[identity] = Provenance(identity, complete, origins)
            while len(self._held) > _KEPT:
                self._held.popitem(last=False)
        return complete

    def add(self, provenance: Provenance) -> None:
        """Keep a provenance that a worker process made."""
        with self._lock:
            self._held[provenance.id] = provenance

    def of(self, frame: Any) -> Provenance:
        """Find a frame's provenance.

        Raises
        ------
        NotFoundError
            The frame carries no note of ours, or it is too old to be kept.
        """
        attrs = getattr(frame, "attrs", None) or {}
        note = attrs.get(ATTRS)
        identity = note.get("provenance") if isinstance(note, dict) else None
        with self._lock:
            found = self._held.get(identity) if identity else None
        if found is None:
            raise NotFoundError(
                "Nothing is known about where this frame came from.",
                remedy="Ask the client that made it; concat and merge drop the note.",
            )
        return found


def worst_freshness(origins: tuple[Origin, ...]) -> str:
    """Summarise: one stale object makes the frame stale."""
    states = {origin.state for origin in origins}
    return next((state for state in _ORDER if state in states), "none")
