"""A fingerprint: the same one for the same objects, specification, parameters and numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stockdb.models.rows import Array

__all__ = ["Fingerprint", "digest", "fingerprint"]

_CHUNK = 1 << 24


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a model's inputs were made of.

    Two are equal where their digests are; ``str()`` gives the digest.

    Attributes
    ----------
    digest : str
        SHA-256 over everything below and over the arrays themselves.
    objects : dict of str to str
        Key of each object that was read -> its ETag, and its version where there is one.
    spec : str
        Hash of the feature specification; empty for a frame that carries none.
    parameters : dict
        What was asked for, but for the seed: it orders batches and changes no number.
    """

    digest: str
    objects: Mapping[str, str] = field(default_factory=dict, compare=False)
    spec: str = field(default="", compare=False)
    parameters: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return self.digest


def fingerprint(
    parameters: Mapping[str, Any],
    arrays: Iterable[Array],
    objects: Mapping[str, str] | None = None,
    spec: str = "",
) -> Fingerprint:
    """Make a fingerprint; see :class:`Fingerprint`."""
    held = dict(sorted((objects or {}).items()))
    named = {"objects": held, "spec": spec, "parameters": dict(parameters)}
    return Fingerprint(digest(named, arrays), held, spec, dict(parameters))


def digest(named: Mapping[str, Any], arrays: Iterable[Array]) -> str:
    """SHA-256 of JSON and arrays, in hex."""
    text = json.dumps(named, sort_keys=True, separators=(",", ":"), default=str)
    total = hashlib.sha256(text.encode())
    for array in arrays:
        block = np.ascontiguousarray(array)
        total.update(f"{block.dtype.str}{block.shape}".encode())
        data = block.reshape(-1).view(np.uint8)
        for first in range(0, len(data), _CHUNK):
            total.update(data[first : first + _CHUNK].data)
    return total.hexdigest()
