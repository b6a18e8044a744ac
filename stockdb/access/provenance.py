"""Where a frame came from: a small note on the frame, the whole of it kept aside.

pandas copies ``attrs`` on every column selection and ``to_parquet`` needs JSON, so the
frame carries a summary and an id only.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import pandas as pd

from stockdb.core.reader import Origin
from stockdb.errors import NotFoundError, StockDBError

__all__ = ["ATTRS", "Provenance", "ProvenanceLog", "worst_freshness"]

ATTRS: Final = "stockdb"
_KEPT: Final = 4096
_SHOWN: Final = 10  # symbols named in the note of a long frame
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
    symbols : dict of str to dict
        For a frame of several symbols the summary of each.
    errors : dict of str to str
        For a frame of several symbols why those that are not in it failed.
    """

    id: str
    summary: dict[str, Any]
    origins: tuple[Origin, ...]
    symbols: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

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
        self.add(Provenance(identity, complete, origins))
        return complete

    def note_all(
        self,
        parts: Mapping[str, Provenance],
        errors: Mapping[str, StockDBError] | None = None,
    ) -> dict[str, Any]:
        """Keep one provenance for many symbols and return its summary, whatever their number small.

        Parameters
        ----------
        parts : mapping of str to Provenance
            By symbol, in the order asked.
        errors : mapping of str to StockDBError, optional
            Of the symbols that failed, where that does not fail the whole: the summary counts
            them and has the first few.
        """
        identity = secrets.token_hex(8)
        symbols = {symbol: part.summary for symbol, part in parts.items()}
        origins = tuple(origin for part in parts.values() for origin in part.origins)
        complete = {**_together(symbols, origins), "provenance": identity}
        failed = {symbol: error.message for symbol, error in (errors or {}).items()}
        if errors is not None:
            complete |= {"failed": len(failed), "errors": dict(list(failed.items())[:_SHOWN])}
        self.add(Provenance(identity, complete, origins, symbols, failed))
        return complete

    def add(self, provenance: Provenance) -> None:
        """Keep a provenance, made here or by a worker process."""
        with self._lock:
            self._held[provenance.id] = provenance
            while len(self._held) > _KEPT:
                self._held.popitem(last=False)

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


def _together(symbols: Mapping[str, dict[str, Any]], origins: tuple[Origin, ...]) -> dict[str, Any]:
    """Sum the notes of many symbols up."""
    summaries = list(symbols.values())
    empty = {
        symbol: summary["empty_reason"]
        for symbol, summary in symbols.items()
        if summary["empty_reason"] is not None
    }
    reports = [summary["validation"] for summary in summaries if summary["validation"] is not None]
    rules: Counter[str] = Counter()
    for report in reports:
        rules.update(report["rules"])
    return {
        "symbols": len(symbols),
        "dataset": _distinct(summaries, "dataset"),
        "interval": _distinct(summaries, "interval"),
        "adjustment": _distinct(summaries, "adjustment"),
        "freshness": worst_freshness(origins),
        "validated_at": min((summary["validated_at"] for summary in summaries), default=None),
        "simulated": any(summary["simulated"] for summary in summaries),
        "empty_reason": (
            "; ".join(dict.fromkeys(empty.values())) if len(empty) == len(symbols) else None
        ),
        "without_rows": len(empty),
        "without_rows_because": dict(list(empty.items())[:_SHOWN]),
        "validation": {
            **{name: sum(r[name] for r in reports) for name in ("errors", "warnings", "infos")},
            "rules": dict(rules),
        }
        if reports
        else None,
    }


def _distinct(summaries: list[dict[str, Any]], name: str) -> str:
    return ",".join(dict.fromkeys(str(summary[name]) for summary in summaries))
