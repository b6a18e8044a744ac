"""What the tests of faults share: one key, bodies, and small helpers."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stockdb.core.store import ObjectStore
from tests.faults.origin import Fault, Origin

KEY = "stocks/AAPL.csv"
PART = 64 * 1024
SMALL = random.Random(1).randbytes(40_000)
#: Eight parts, so that it is fetched in parallel.
LARGE = random.Random(2).randbytes(8 * PART - 100)

Failing = Callable[..., Any]
Connect = Callable[..., ObjectStore]


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


#: The ETag of an object that was put in parts: no MD5 of its bytes.
MULTIPART = f"{md5(b'parts')}-3"

#: Encrypted with a key of KMS: nothing but the comparison of ETags tells versions apart.
UNHASHED = {"x-amz-server-side-encryption": "aws:kms"}


def ranges(origin: Origin) -> list[tuple[int, int | None] | None]:
    """Ranges that were asked for, in order."""
    return [request.range for request in origin.of(KEY)]


@contextmanager
def a_file(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def html(status: int = 200) -> Fault:
    """A login page of some proxy, or the console of the server."""
    page = b"<!doctype html><html><body>Please sign in<br></body></html>"
    return Fault("answer", status=status, text=page, headers={"Content-Type": "text/html"})
