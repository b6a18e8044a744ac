"""What a feature matrix says about itself."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stockdb.access import Access, Provenance
from stockdb.core.reader import Origin
from stockdb.models.sets import Plan

if TYPE_CHECKING:
    from stockdb.models.part import Part

__all__ = ["note_of"]


def note_of(access: Access, parts: list[Part], plan: Plan, call: dict[str, Any]) -> dict[str, Any]:
    """Make the small note, for ``attrs``, of a matrix that is made of these parts."""
    known = {
        part.symbol: replace(part.provenance[0], origins=_origins(part.provenance))
        for part in parts
    }
    note = access.provenance.note_all(known)
    reasons: dict[str, int] = {}
    nans: dict[str, int] = {}
    for part in parts:
        for name, counts in part.nans.items():
            nans[name] = nans.get(name, 0) + sum(counts.values())
            for reason, count in counts.items():
                reasons[reason] = reasons.get(reason, 0) + count
    calendars = list(dict.fromkeys(part.notes["calendar"] for part in parts))
    note |= {
        "sets": list(plan.sets),
        "spec": plan.spec,
        "reach": {column.name: column.reach for column in plan.labels},
        "warmup": {
            "needed": plan.warmup,
            "least_there": min(part.notes["warmup"] for part in parts),
        },
        "calendar": calendars[0] if len(calendars) == 1 else None,
        "nan": nans,
        "nan_reasons": reasons,
        "carried": {
            part.symbol: part.notes["carried"][-1] for part in parts if part.notes["carried"]
        },
        "not_a_session": sum(part.notes.get("not_a_session", 0) for part in parts),
        # Texts: pandas copies attrs with every column, and a text is copied for nothing.
        "objects": json.dumps(_objects(parts), sort_keys=True),
        "call": json.dumps(call, sort_keys=True),
        "unpinned": _unpinned(parts),
    }
    for name in ("bill", "chains"):
        found = {part.symbol: part.notes[name] for part in parts if name in part.notes}
        if found:
            first = next(iter(found.values()))
            note[name] = first if name == "bill" else dict(list(found.items())[:20])
    return note


def _origins(known: Iterable[Provenance]) -> tuple[Origin, ...]:
    """Name each object of one symbol once: bars, tables, chains."""
    found = {(o.dataset, o.key): o for each in known for o in each.origins}
    return tuple(found.values())


def _objects(parts: Iterable[Part]) -> dict[str, str]:
    """Key of each object -> its ETag, and behind a space its version where it has one."""
    return {
        origin.key: " ".join(filter(None, (origin.etag, origin.version_id)))
        for part in parts
        for known in part.provenance
        for origin in known.origins
        if origin.etag is not None
    }


def _unpinned(parts: Iterable[Part]) -> int:
    """Count what was read without an ETag of its own: years that are held by day."""
    return len(
        {
            origin.key
            for part in parts
            for known in part.provenance
            for origin in known.origins
            if origin.etag is None
        }
    )
