"""Large objects in parallel ranges: the same bytes, bounded in every way."""

from __future__ import annotations

import os
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from stockdb.core.store import ObjectStore
from stockdb.errors import AccessDeniedError, DeadlineError, ObjectChangedError
from tests.faults.bodies import (
    KEY,
    LARGE,
    PART,
    SMALL,
    UNHASHED,
    Connect,
    Failing,
    a_file,
    md5,
    ranges,
)
from tests.faults.origin import Fault, Origin, Request

# ----------------------------------------------- parallel ranges of a large object


def is_part(number: int) -> Callable[[Request], bool]:
    """Pick the requests for one part; part 0 begins with the request for the whole object."""

    def picks(request: Request) -> bool:
        if request.range is None:
            return number == 0
        return number > 0 and request.range[0] // PART == number

    return picks


def test_large_object_comes_in_parallel_ranges(origin: Origin, store: ObjectStore) -> None:
    held = origin.put(KEY, LARGE)
    blob = store.get(KEY)
    assert blob.data == LARGE
    first, *rest = origin.of(KEY)
    assert first.range is None and rest
    assert all(request.if_match == md5(LARGE) for request in rest)
    assert all(request.range and request.range[0] % PART == 0 for request in rest)
    assert held.peak <= 4
    assert blob.requests == len(origin.of(KEY))


def test_parallelism_is_used_and_bounded(origin: Origin, store: ObjectStore) -> None:
    body = random.Random(4).randbytes(40 * PART)
    # all are slow to begin, so that all of them must be under way at once
    slow = Fault("stall-before-headers", times=3, when=lambda request: request.range is not None)
    front = Fault("stall-mid-body", at=100, times=1, when=lambda request: request.range is None)
    held = origin.put(KEY, body, fault=(slow, front))
    assert store.get(KEY).data == body
    assert held.peak == 4


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize(
    "fault",
    [
        Fault("reset-mid-body", at=1_000),
        Fault("fin-mid-body", at=1_000),
        Fault("stall-mid-body", at=1_000),
        Fault("reset-before-headers"),
        Fault("error", status=503, code="SlowDown"),
        Fault("wrong-byte", at=1_000),
    ],
    ids=lambda fault: fault.kind,
)
def test_a_fault_in_any_one_part(
    origin: Origin, store: ObjectStore, number: int, fault: Fault
) -> None:
    once = Fault(
        fault.kind, at=fault.at, status=fault.status, code=fault.code, times=1, when=is_part(number)
    )
    # part 0 to 3 may never be asked for by themselves: slow the front down, which has them
    front = Fault("reset-mid-body", at=100, times=1, when=lambda request: request.range is None)
    origin.put(KEY, LARGE, fault=once if number == 0 else (once, front))
    assert store.get(KEY).data == LARGE


@pytest.mark.parametrize("ignores", [False, True])
def test_large_object_replaced_in_the_middle(
    origin: Origin, store: ObjectStore, ignores: bool
) -> None:
    old, new = b"A" * (8 * PART), b"B" * (8 * PART)
    for change in (1, 2, 3):
        stuck = Fault("reset-mid-body", at=100, times=1, when=lambda request: request.range is None)
        origin.put(
            KEY,
            old,
            new,
            changes=(change,),
            fault=stuck,
            ignores_if_match=ignores,
            headers=UNHASHED,
        )
        blob = store.get(KEY)
        assert blob.data == new and blob.info.etag == md5(new)


def test_large_object_replaced_over_and_over(
    origin: Origin, store: ObjectStore, failing: Failing
) -> None:
    versions = [bytes([65 + n]) * (8 * PART) for n in range(20)]
    stuck = Fault("reset-mid-body", at=100, when=lambda request: request.range is None)
    origin.put(KEY, *versions, changes=tuple(range(1, 20)), fault=stuck, headers=UNHASHED)
    failing(ObjectChangedError, store.get, KEY)


def test_part_that_fails_for_ever_ends_the_rest(
    origin: Origin, store: ObjectStore, failing: Failing
) -> None:
    """The others stop at their next part, instead of fetching what nobody will use."""
    body = random.Random(5).randbytes(64 * PART)
    refused = Fault("error", status=403, code="AccessDenied", when=is_part(63))
    slow = Fault("drip-body", at=PART // 2, pause=0.002, when=lambda request: request.range is None)
    origin.put(KEY, body, fault=(refused, slow))
    failing(AccessDeniedError, store.get, KEY)
    assert len(origin.of(KEY)) < 16


def test_front_that_fails_for_ever_does_not_wait_for_the_helpers(
    origin: Origin, connect: Connect, failing: Failing
) -> None:
    """Helpers that are stuck at that moment are cut off."""
    store = connect(origin.url, object_deadline=20, read_timeout=10, stall_window=10)
    rest = (100, PART - 1)
    stuck = Fault("stall-mid-body", at=10, when=lambda r: r.range not in {None, rest})
    broken = Fault("reset-mid-body", at=100, when=lambda r: r.range is None)
    refused = Fault("error", status=403, code="AccessDenied", when=lambda r: r.range == rest)
    origin.put(KEY, LARGE, fault=(refused, broken, stuck))
    failing(AccessDeniedError, store.get, KEY, within=2)


def test_large_object_without_etag_comes_in_one_piece(origin: Origin, store: ObjectStore) -> None:
    origin.put(KEY, LARGE, etag=None)
    assert store.get(KEY).data == LARGE
    assert ranges(origin) == [None]


def test_huge_object_does_not_double_memory(
    origin: Origin, connect: Connect, tmp_path: Path
) -> None:
    size = 32 * 1024**2
    origin.put(KEY, os.urandom(size))
    store = connect(origin.url, object_deadline=60, read_timeout=20, part_size=2 * 1024**2)
    store.stat(KEY)  # what is made once is not counted
    tracemalloc.start()
    try:
        blob = store.get(KEY)
        in_memory = tracemalloc.get_traced_memory()[1]
        assert blob.data == origin.objects[KEY].versions[0]
        del blob
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        with a_file(tmp_path / "file") as descriptor:
            store.download(KEY, descriptor)
        on_disk = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert (tmp_path / "file").read_bytes() == origin.objects[KEY].versions[0]
    # two blocks of 1 MiB for each of four readers, and a part of 2 MiB each in the server
    assert in_memory < size + 18 * 1024**2
    assert on_disk < 18 * 1024**2


def test_download_has_one_deadline(
    origin: Origin, connect: Connect, failing: Failing, tmp_path: Path
) -> None:
    """HEAD and GET together, not one deadline each."""
    head = Fault("stall-before-headers", times=1, when=lambda request: request.method == "HEAD")
    body = Fault("drip-body", pause=0.1, when=lambda request: request.method == "GET")
    origin.put(KEY, SMALL, fault=(head, body))
    store = connect(origin.url, object_deadline=1.5, read_timeout=1, stall_window=60)
    with a_file(tmp_path / "file") as descriptor:
        failing(DeadlineError, store.download, KEY, descriptor, within=2.2)
