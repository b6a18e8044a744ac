"""A store that gives the objects of a moment gone by: what has changed since is never given."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stockdb.core.blob import Blob
from stockdb.core.store import NotModified, ObjectInfo, ObjectStore
from stockdb.core.transport import Deadline
from stockdb.errors import NotFoundError, ObjectChangedError, UnavailableError
from stockdb.settings import Settings

__all__ = ["Pin", "PinnedStore", "Pins"]


@dataclass(frozen=True, slots=True)
class Pin:
    """One object as it was.

    Attributes
    ----------
    etag : str
    version_id : str or None
        Where the bucket keeps versions.
    """

    etag: str
    version_id: str | None = None


@dataclass(frozen=True)
class Pins:
    """All objects that were read at a moment.

    Attributes
    ----------
    objects : mapping of str to Pin
        By key.
    today : datetime.date
        What day it was: splits that were announced for later had not happened.
    complete : bool
        Whether these are all; then any other object counts as absent, as it was not read.
    """

    objects: Mapping[str, Pin]
    today: dt.date
    complete: bool = True

    @property
    def digest(self) -> str:
        """What tells these objects from any others."""
        named = {key: [pin.etag, pin.version_id] for key, pin in self.objects.items()}
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16]


class PinnedStore(ObjectStore):
    """An object store that reads pinned objects in their pinned version, or raises.

    Parameters
    ----------
    settings : Settings
    pins : Pins
    """

    def __init__(self, settings: Settings, pins: Pins) -> None:
        super().__init__(settings)
        self._pins = pins

    @property
    def identity(self) -> tuple[str, str]:
        """Another one than the bucket's own: what is cached of this must not pass for current."""
        endpoint, bucket = super().identity
        return f"{endpoint}#as-of-{self._pins.digest}", bucket

    def changed(self, key: str, deadline: Deadline | None = None) -> bool:
        """Whether a pinned object can no longer be read as it was."""
        try:
            self.stat(key, deadline=deadline)
        except ObjectChangedError:
            return True
        return False

    def get(
        self,
        key: str,
        *,
        if_none_match: str | None = None,
        version_id: str | None = None,
        deadline: Deadline | None = None,
    ) -> Blob:
        """Fetch an object as it was pinned; see :class:`ObjectStore`.

        Raises
        ------
        NotModified
            ``if_none_match`` is the pinned ETag: nothing is asked.
        NotFoundError
            The object was not there, or was not read.
        ObjectChangedError
            It is another one now, and the old version is not kept.
        """
        pin = self._pin(key)
        if pin is None:
            return super().get(key, if_none_match=if_none_match, deadline=deadline)
        if if_none_match == pin.etag:
            raise NotModified
        try:
            blob = super().get(key, version_id=pin.version_id, deadline=deadline)
        except NotFoundError as error:
            raise self._lost(key, pin) from error
        if blob.info.etag != pin.etag:
            raise self._lost(key, pin)
        return blob

    def get_range(
        self,
        key: str,
        start: int,
        stop: int,
        *,
        if_match: str | None = None,
        version_id: str | None = None,
        deadline: Deadline | None = None,
    ) -> Blob:
        """Fetch a part of an object as it was pinned; see :meth:`get`."""
        pin = self._pin(key)
        if pin is None:
            return super().get_range(key, start, stop, if_match=if_match, deadline=deadline)
        try:
            return super().get_range(
                key, start, stop, if_match=pin.etag, version_id=pin.version_id, deadline=deadline
            )
        except (NotFoundError, ObjectChangedError) as error:
            raise self._lost(key, pin) from error

    def stat(self, key: str, *, deadline: Deadline | None = None) -> ObjectInfo:
        """Ask for an object as it was pinned, without its bytes; see :meth:`get`."""
        pin = self._pin(key)
        if pin is None:
            return super().stat(key, deadline=deadline)
        info: ObjectInfo | None = None
        try:
            info = super().stat(key, deadline=deadline)
        except NotFoundError as error:
            if error.values.get("code") == "NoSuchBucket":
                raise
        if info is None or info.etag != pin.etag:
            info = self._old(key, pin, deadline)
        return info

    def listing(
        self,
        prefix: str = "",
        *,
        recursive: bool = True,
        limit: int | None = None,
        deadline: Deadline | None = None,
    ) -> Iterator[ObjectInfo]:
        """List what was read (sizes are not known), also what was removed since.

        Where the pins are not all, what the bucket holds now comes as well.
        """
        found = {
            key: ObjectInfo(key, 0, pin.etag, pin.version_id)
            for key, pin in self._pins.objects.items()
            if key.startswith(prefix) and (recursive or "/" not in key[len(prefix) :])
        }
        if not self._pins.complete:
            now = super().listing(prefix, recursive=recursive, deadline=deadline)
            found = {info.key: info for info in now} | found
        yield from sorted(found.values(), key=lambda info: info.key)[:limit]

    def select(
        self, key: str, column: str, value: str, *, deadline: Deadline | None = None
    ) -> bytes:
        """Refuse: S3 Select reads the current version only."""
        raise UnavailableError(
            f"S3 Select cannot read {key} as it was.", remedy="It is read in another way.", key=key
        )

    def _old(self, key: str, pin: Pin, deadline: Deadline | None) -> ObjectInfo:
        """Ask for the pinned version of an object that was replaced or removed."""
        if pin.version_id is None:
            raise self._lost(key, pin)
        try:  # the client's HEAD knows no version
            stream = self.open(key, deadline or self._deadline(), version_id=pin.version_id)
        except NotFoundError as error:
            raise self._lost(key, pin) from error
        stream.close(False)
        if stream.info.etag != pin.etag:
            raise self._lost(key, pin)
        return stream.info

    def _pin(self, key: str) -> Pin | None:
        pin = self._pins.objects.get(key)
        if pin is None and self._pins.complete:
            raise NotFoundError(
                f"{key} was not read when the manifest was made.",
                remedy="Read it without as_of.",
                key=key,
                code="NoSuchKey",
            )
        return pin

    def _lost(self, key: str, pin: Pin) -> ObjectChangedError:
        kept = "no longer kept" if pin.version_id else "not kept by this bucket"
        lost: dict[str, Any] = {"key": key, "etag": pin.etag, "retryable": False}
        return ObjectChangedError(
            f"{key} has changed: the version with the ETag {pin.etag} is {kept}.",
            remedy="Restore the object, switch bucket versioning on for the next time, or build "
            "anew without as_of.",
            **lost,
        )
