"""Checksums that a server keeps for an object, and how to hold bytes against them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Final

__all__ = ["checksum", "stored_checksum"]

_MD5: Final = re.compile(r"[0-9a-f]{32}")


def stored_checksum(etag: str | None, headers: Mapping[str, str]) -> tuple[str, bytes] | None:
    """Find a checksum of the whole object in the answer to a GET.

    Returns
    -------
    (str, bytes) or None
        Name of the algorithm and the digest. An ETag is an MD5 only where the object was
        put in one piece and is not encrypted with a key that the server does not own.
    """
    composite = headers.get("x-amz-checksum-type", "").upper() == "COMPOSITE"
    for name in ("sha256", "sha1", "crc32"):
        text = headers.get(f"x-amz-checksum-{name}", "")
        if text and "-" not in text and not composite:
            return name, _unbase64(text)
    encrypted = headers.get("x-amz-server-side-encryption", "").startswith("aws:kms") or any(
        header.lower().startswith("x-amz-server-side-encryption-customer") for header in headers
    )
    if etag and _MD5.fullmatch(etag) and not encrypted:
        return "md5", bytes.fromhex(etag)
    written_by_rclone = headers.get("x-amz-meta-md5chksum", "")
    if written_by_rclone:
        return "md5", _unbase64(written_by_rclone)
    return None


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""  # matches nothing, so the object is refused


def checksum(name: str, blocks: Iterator[memoryview]) -> bytes:
    """Compute ``md5``, ``sha1``, ``sha256`` or ``crc32`` over blocks of bytes."""
    if name == "crc32":
        value = 0
        for block in blocks:
            value = zlib.crc32(block, value)
        return value.to_bytes(4, "big")
    digest = hashlib.new(name, usedforsecurity=False)
    for block in blocks:
        digest.update(block)
    return digest.digest()
