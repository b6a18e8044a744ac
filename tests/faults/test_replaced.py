"""The row "object replaced between ranges": bytes of two versions are never mixed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stockdb.core.store import NotModified, ObjectStore
from stockdb.errors import ObjectChangedError
from tests.faults.bodies import KEY, SMALL, UNHASHED, Failing, a_file, md5, ranges
from tests.faults.origin import Fault, Origin

A, B, C = b"A" * 40_000, b"B" * 40_000, b"C" * 40_000


def breaking(*requests: int, at: int = 25_000) -> list[Fault]:
    """Break the bodies of these requests for the key, counted from 0."""
    return [Fault("reset-mid-body", at=at, skip=number, times=1) for number in requests]


@pytest.mark.parametrize("ignores", [False, True])
def test_replaced_while_resuming_restarts_once(
    origin: Origin, store: ObjectStore, ignores: bool
) -> None:
    held = origin.put(
        KEY, A, B, changes=(1,), fault=breaking(0), ignores_if_match=ignores, headers=UNHASHED
    )
    blob = store.get(KEY)
    assert blob.data == B and blob.info.etag == md5(B)
    assert held.requests == 3
    assert ranges(origin) == [None, (25_000, 39_999), None]
    assert origin.of(KEY)[1].if_match == md5(A)


@pytest.mark.parametrize("ignores", [False, True])
def test_replaced_twice_is_object_changed(
    origin: Origin, store: ObjectStore, failing: Failing, ignores: bool
) -> None:
    origin.put(
        KEY,
        A,
        B,
        C,
        changes=(1, 3),
        fault=breaking(0, 2),
        ignores_if_match=ignores,
        headers=UNHASHED,
    )
    error = failing(ObjectChangedError, store.get, KEY)
    assert (error.key, error.retryable) == (KEY, True)
    assert KEY in str(error) and "writer" in error.remedy
    assert error.endpoint == origin.url
    assert ranges(origin) == [None, (25_000, 39_999)] * 2


def test_replaced_by_one_of_another_length(origin: Origin, store: ObjectStore) -> None:
    shorter = b"B" * 10_000
    origin.put(KEY, A, shorter, changes=(1,), fault=breaking(0), headers=UNHASHED)
    assert store.get(KEY).data == shorter


def test_replaced_by_one_that_claims_the_same_etag(origin: Origin, store: ObjectStore) -> None:
    """A server without content ETags: the length tells it."""
    longer = b"B" * 60_000
    origin.put(KEY, A, longer, changes=(1,), fault=breaking(0), etag="v1", headers=UNHASHED)
    assert store.get(KEY).data == longer


@pytest.mark.parametrize("ignores", [False, True])
def test_range_of_a_replaced_object(
    origin: Origin, store: ObjectStore, failing: Failing, ignores: bool
) -> None:
    """Only the caller knows what else it has read of the old version."""
    origin.put(KEY, B, ignores_if_match=ignores)
    error = failing(ObjectChangedError, store.get_range, KEY, 0, 9, if_match=md5(A))
    assert error.key == KEY
    assert len(origin.of(KEY)) == 1


@pytest.mark.parametrize("ignores", [False, True])
def test_replaced_while_resuming_a_range(
    origin: Origin, store: ObjectStore, failing: Failing, ignores: bool
) -> None:
    fault = breaking(0, at=5_000)
    origin.put(KEY, A, B, changes=(1,), fault=fault, ignores_if_match=ignores, headers=UNHASHED)
    failing(ObjectChangedError, store.get_range, KEY, 0, 30_000)
    assert ranges(origin) == [(0, 29_999), (5_000, 29_999)]


def test_replaced_while_downloading(origin: Origin, store: ObjectStore, tmp_path: Path) -> None:
    fault = breaking(1)  # request 0 is HEAD
    shorter = b"B" * 30_000
    origin.put(KEY, A, shorter, changes=(2,), fault=fault, headers=UNHASHED)
    with a_file(tmp_path / "file") as descriptor:
        store.download(KEY, descriptor)
    assert (tmp_path / "file").read_bytes() == shorter


def test_unchanged_object_is_not_sent_again(origin: Origin, store: ObjectStore) -> None:
    origin.put(KEY, SMALL)
    with pytest.raises(NotModified):
        store.get(KEY, if_none_match=md5(SMALL))
    assert store.get(KEY, if_none_match=md5(A)).data == SMALL
    assert len(origin.of(KEY)) == 2
