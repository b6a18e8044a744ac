"""What one read of the bucket gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stockdb.core.transfer import ObjectInfo

__all__ = ["Blob"]


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes of an object, with what they cost.

    Attributes
    ----------
    data : bytes-like
    info : ObjectInfo
        Of the whole object.
    requests, received : int
        Requests sent and body bytes received, repeats included.
    headers : mapping
        Of the answer, names in lower case.
    """

    data: bytes | bytearray
    info: ObjectInfo
    requests: int
    received: int
    headers: Mapping[str, str]
