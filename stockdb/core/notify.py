"""Notifications of a bucket (servers of MinIO's family): which object was written or removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import unquote_plus

from stockdb.core.store import ObjectStore
from stockdb.core.transport import Deadline
from stockdb.errors import UnavailableError

__all__ = ["listen"]

_EVENTS = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")


def listen(store: ObjectStore, prefix: str, deadline: Deadline) -> Iterator[str | None]:
    """Yield None once the server listens, then the key of each object that is written or removed.

    Ends with an error when the connection does or the deadline passes; what happened after is
    not known. Some servers refuse (AWS S3), some never tell (moto).

    Parameters
    ----------
    store : ObjectStore
    prefix : str
        Of the keys.
    deadline : Deadline

    Raises
    ------
    UnavailableError, DeadlineError, AccessDeniedError ...
        As their names say.
    """
    read, close = store.notifications(prefix, _EVENTS, deadline)
    try:
        yield None
        rest = b""
        while data := read(1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            for line in filter(None, map(bytes.strip, lines)):
                yield from _keys_of(line)
    finally:
        close(False)
    raise UnavailableError(f"{store.endpoint.url} ended its notifications of {store.bucket}.")


def _keys_of(line: bytes) -> Iterator[str]:
    """Keys of the objects that one line is about; a sign of life is about none."""
    try:
        records = json.loads(line)["Records"] or []
        keys = [unquote_plus(record["s3"]["object"]["key"]) for record in records]
    except (ValueError, KeyError, TypeError):
        return
    yield from keys
