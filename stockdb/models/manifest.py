"""Freeze a feature matrix, and build the same bytes again."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb import __version__
from stockdb.access import Access
from stockdb.access.load import each
from stockdb.access.provenance import ATTRS
from stockdb.core.pinned import Pin, PinnedStore, Pins
from stockdb.errors import ConfigurationError, DataError, NotFoundError, ObjectChangedError
from stockdb.models.arguments import frame_of
from stockdb.models.fingerprint import digest
from stockdb.models.matrix import build
from stockdb.models.sets import Plan, make_plan

__all__ = ["Manifest", "freeze", "rebuild"]

_FORMAT: Final = 1
#: What the numbers are made by.
_LIBRARIES: Final = ("numpy", "pandas", "pyarrow", "scipy", "TA-Lib")


@dataclass(frozen=True)
class Manifest:
    """What a feature matrix was made of: enough to make it again, or to say why not.

    Attributes
    ----------
    call : dict
        Symbols, features, labels, start, end, interval, adjustment, rate, validate, and what
        day it was.
    spec : str
        Hash of the feature specification.
    objects : dict of str to list
        Key of each object -> its ETag, and its version or None.
    unpinned : int
        Sources without an ETag of their own (years that the bucket holds by day): of these
        only the digest tells whether they have changed.
    rows : int
    columns : list of str
    digest : str
        SHA-256 of index and values.
    bucket : str
    libraries : dict of str to str
        Versions that the numbers were computed with.
    format : int
    """

    call: dict[str, Any]
    spec: str
    objects: dict[str, list[str | None]]
    unpinned: int
    rows: int
    columns: list[str]
    digest: str
    bucket: str
    libraries: dict[str, str]
    format: int = _FORMAT

    def __repr__(self) -> str:
        return (
            f"<Manifest: {len(self.call['symbols'])} symbols, {self.rows:,} rows x "
            f"{len(self.columns)} columns, {len(self.objects)} objects, {self.digest[:12]}>"
        )

    def to_json(self) -> str:
        """Write it as JSON text, always the same for the same manifest."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file, all of it or nothing.

        Raises
        ------
        ConfigurationError
            The file cannot be written there.
        """
        try:
            target = Path(path)
            draft = target.with_name(f"{target.name}.{os.getpid()}.part")
            draft.write_text(self.to_json(), encoding="utf-8")
            draft.replace(target)
        except (OSError, TypeError, ValueError) as error:  # ValueError: a path without a name
            why = getattr(error, "strerror", None) or error
            raise ConfigurationError(
                f"The manifest cannot be written to {path!s}: {why}.",
                remedy="Give the path of a file in a folder that exists and may be written to.",
            ) from None
        return target

    @classmethod
    def load(cls, source: Manifest | Mapping[str, Any] | str | os.PathLike[str]) -> Manifest:
        """Read a manifest from a file, or from what its JSON says.

        Raises
        ------
        NotFoundError
            No such file.
        DataError
            It is no manifest, or one of a later format.
        """
        if isinstance(source, Manifest):
            return source
        held: Any = source
        if isinstance(source, str | os.PathLike):
            path = Path(source)
            if not path.is_file():
                raise NotFoundError(f"There is no manifest {path}.", remedy="Check the path.")
            try:
                held = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                held = None
        if not isinstance(held, Mapping) or set(held) != set(cls.__dataclass_fields__):
            raise DataError("This is no manifest of ours.", remedy="Give what freeze() made.")
        if held["format"] != _FORMAT:
            raise DataError(
                f"The manifest has the format {held['format']}, this release knows {_FORMAT}.",
                remedy="Use the release that made it.",
            )
        return cls(**held)


def freeze(frame: pd.DataFrame, bucket: str) -> Manifest:
    """Write down what a feature matrix was made of; see ``UnifiedDataInterface.freeze``."""
    note = frame_of(frame).attrs.get(ATTRS)
    if not isinstance(note, dict) or "call" not in note:
        raise DataError(
            "This frame does not say what it was made of.",
            remedy="Give a frame as get_feature_matrix() returned it; concat and merge drop the "
            "note.",
        )
    made = json.loads(note["made"])
    if list(frame.columns) != made["columns"] or len(frame) != made["rows"]:
        raise DataError(
            f"This frame was changed since it was made: it had {made['rows']} rows and the "
            f"columns {', '.join(made['columns'][:5])} ...",
            remedy="Freeze it before rows are cut and columns added.",
        )
    objects: dict[str, list[str | None]] = {}
    for key, text in json.loads(note["objects"]).items():
        etag, _, version = text.partition(" ")
        objects[key] = [etag, version or None]
    return Manifest(
        call=json.loads(note["call"]),
        spec=note["spec"],
        objects=objects,
        unpinned=note["unpinned"],
        rows=len(frame),
        columns=list(frame.columns),
        digest=frame_digest(frame),
        bucket=bucket,
        libraries={"stockdb": __version__}
        | {name: importlib.metadata.version(name) for name in _LIBRARIES},
    )


def frame_digest(frame: pd.DataFrame) -> str:
    """SHA-256 of a feature matrix: symbols, dates, column names and values."""
    index = frame.index
    assert isinstance(index, pd.MultiIndex)
    dates = pd.DatetimeIndex(index.levels[1])
    named = {
        "symbols": list(map(str, index.levels[0])),
        "zone": str(dates.tz),
        "columns": list(map(str, frame.columns)),
    }
    arrays = [dates.as_unit("ns").asi8, *(np.asarray(codes, np.int64) for codes in index.codes)]
    for name in frame.columns:
        values = frame[name].to_numpy()
        arrays.append(values.view(np.int64) if values.dtype.kind == "M" else values)
    return digest(named, arrays)


def rebuild(
    access: Access, manifest: Manifest, features: Any, max_workers: int | None
) -> pd.DataFrame:
    """Build a feature matrix again; see ``get_feature_matrix(as_of=...)``.

    Raises
    ------
    ObjectChangedError
        Objects have changed, and their old versions are not kept: names them all.
    ConfigurationError
        The features are not those of the manifest.
    DataError
        The same objects gave other numbers: names the libraries that have changed.
    """
    plan = _plan(manifest, features)
    call = manifest.call
    pins = Pins(
        {key: Pin(str(etag), version) for key, (etag, version) in manifest.objects.items()},
        dt.date.fromisoformat(call["today"]),
        complete=manifest.unpinned == 0,
    )
    pinned = Access(access.settings, pins)
    try:
        _demand(pinned, manifest)
        frame = build(
            pinned,
            call["symbols"],
            plan,
            None if call["start"] is None else pd.Timestamp(call["start"]),
            None if call["end"] is None else pd.Timestamp(call["end"]),
            interval=call["interval"],
            adjust=call["adjust"],
            rate=call["rate"],
            validate=call["validate"],
            max_workers=max_workers,
        )
        access.provenance.add(pinned.provenance.of(frame))
    finally:
        pinned.close()
    if frame_digest(frame) != manifest.digest:
        raise DataError(
            f"The same objects gave other numbers. {_what_changed(manifest)}",
            remedy="Use the versions that the manifest names under 'libraries'.",
        )
    return frame


def _plan(manifest: Manifest, features: Any) -> Plan:
    named = manifest.call["features"] if features is None else features
    if named is None:
        raise ConfigurationError(
            "The manifest was made with features of your own, which it cannot hold.",
            remedy="Give the same features= again, with as_of=.",
        )
    plan = make_plan(named, manifest.call["labels"])
    if plan.spec != manifest.spec:
        raise ConfigurationError(
            "These are not the features of the manifest: the hash of their specification is "
            f"{plan.spec}, that of the manifest {manifest.spec}.",
            remedy="Give the same features, functions with the same source, or use the release "
            f"that made it ({manifest.libraries.get('stockdb')}; this is {__version__}).",
        )
    return plan


def _demand(access: Access, manifest: Manifest) -> None:
    """Ask for every object: those that have changed are named together."""
    store = access.store
    assert isinstance(store, PinnedStore)
    keys = list(manifest.objects)
    answers = each(access, keys, store.changed)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    changed = [key for key, answer in zip(keys, answers, strict=True) if answer]
    if changed:
        more = f" and {len(changed) - 10} more" if len(changed) > 10 else ""
        raise ObjectChangedError(
            f"{len(changed)} of {len(keys)} objects have changed since the manifest was made, and "
            f"their old versions are not kept: {', '.join(changed[:10])}{more}.",
            remedy="Restore them, switch bucket versioning on for the next time, or build anew "
            "without as_of.",
            keys=changed,
            retryable=False,
        )


def _what_changed(manifest: Manifest) -> str:
    now = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    now["stockdb"] = __version__
    found = [
        f"{name} was {then}, is {now.get(name)}"
        for name, then in manifest.libraries.items()
        if now.get(name) != then
    ]
    if manifest.unpinned:
        found.append(f"{manifest.unpinned} sources have no ETag of their own")
    return f"{'; '.join(found)}." if found else "No library has changed: was the frame changed?"
