"""The row "wrong bytes, short body": one refetch, then an IntegrityError."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from stockdb.core.store import ObjectStore
from stockdb.errors import IntegrityError
from tests.faults.bodies import KEY, MULTIPART, SMALL, Connect, Failing, a_file, md5, ranges
from tests.faults.origin import Fault, Origin

SHA256 = {"x-amz-checksum-sha256": b64encode(hashlib.sha256(SMALL).digest()).decode()}
ZEROS = {"x-amz-checksum-sha256": b64encode(bytes(32)).decode()}
RCLONE = {"x-amz-meta-md5chksum": b64encode(hashlib.md5(SMALL).digest()).decode()}
STORED: dict[str, dict[str, Any]] = {
    "md5-etag": {},
    "sha256": {"etag": MULTIPART, "headers": SHA256},
    "sha256-without-etag": {"etag": None, "headers": SHA256},
    "rclone-md5": {"etag": MULTIPART, "headers": RCLONE},
}
DAMAGES = {"wrong-byte": Fault("wrong-byte", at=20_000), "short": Fault("short", at=20_000)}


def damage(name: str, times: int | None) -> Fault:
    fault = DAMAGES[name]
    return Fault(fault.kind, at=fault.at, times=times)


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_once_is_refetched_once(
    origin: Origin, store: ObjectStore, name: str, stored: str
) -> None:
    origin.put(KEY, SMALL, fault=damage(name, 1), **STORED[stored])
    blob = store.get(KEY)
    assert (blob.data, blob.requests) == (SMALL, 2)
    assert ranges(origin) == [None, None]


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_for_ever_is_an_integrity_error_after_one_refetch(
    origin: Origin, store: ObjectStore, failing: Failing, name: str, stored: str
) -> None:
    origin.put(KEY, SMALL, fault=damage(name, None), **STORED[stored])
    error = failing(IntegrityError, store.get, KEY)
    assert (error.key, error.retryable) == (KEY, True)
    assert "verify_checksums" in error.remedy
    assert origin.url in str(error) and error.endpoint == origin.url
    assert len(origin.of(KEY)) == 2


def test_damaged_download_leaves_an_error(
    origin: Origin, store: ObjectStore, failing: Failing, tmp_path: Path
) -> None:
    origin.put(KEY, SMALL, fault=Fault("wrong-byte", at=9))
    with a_file(tmp_path / "file") as descriptor:
        failing(IntegrityError, store.download, KEY, descriptor)
    assert [request.method for request in origin.of(KEY)] == ["HEAD", "GET", "GET"]


def test_short_download_is_held_against_the_size_that_was_promised(
    origin: Origin, store: ObjectStore, failing: Failing, tmp_path: Path
) -> None:
    """No checksum at all, but HEAD has said how long it is."""
    short = Fault("short", at=20_000, when=lambda request: request.method == "GET")
    origin.put(KEY, SMALL, etag=MULTIPART, fault=short)
    with a_file(tmp_path / "file") as descriptor:
        error = failing(IntegrityError, store.download, KEY, descriptor)
    assert "20000" in str(error) and "40000" in str(error)
    assert [request.method for request in origin.of(KEY)] == ["HEAD", "GET", "GET"]


def test_wrong_sha256_is_not_excused_by_a_right_md5(
    origin: Origin, store: ObjectStore, failing: Failing
) -> None:
    origin.put(KEY, SMALL, headers=ZEROS)
    failing(IntegrityError, store.get, KEY)


@pytest.mark.parametrize(
    ("etag", "headers"),
    [
        (MULTIPART, {}),
        (None, {}),
        # of a checksum over the parts' checksums nothing can be told
        (MULTIPART, {"x-amz-checksum-sha256": "AAAA-3"}),
        (MULTIPART, {**ZEROS, "x-amz-checksum-type": "COMPOSITE"}),
        # encrypted with a key of KMS or of the customer: the ETag is 32 digits, yet no MD5
        (md5(b"else"), {"x-amz-server-side-encryption": "aws:kms"}),
        (md5(b"else"), {"x-amz-server-side-encryption-customer-algorithm": "AES256"}),
    ],
)
def test_an_etag_that_is_no_md5_is_not_taken_for_one(
    origin: Origin, store: ObjectStore, etag: str | None, headers: dict[str, str]
) -> None:
    origin.put(KEY, SMALL, etag=etag, headers=headers)
    blob = store.get(KEY)
    assert (blob.data, blob.requests) == (SMALL, 1)


def test_checksums_can_be_switched_off(origin: Origin, connect: Connect) -> None:
    origin.put(KEY, SMALL, etag=md5(b"a server with other ETags"))
    assert connect(origin.url, verify_checksums=False).get(KEY).data == SMALL
