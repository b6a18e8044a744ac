"""One object: the rows of the acceptance matrix from a refused connection to a busy server."""

from __future__ import annotations

import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stockdb.core.store import ObjectStore
from stockdb.errors import DeadlineError, UnavailableError
from tests.faults.bodies import KEY, LARGE, SMALL, Connect, Failing, a_file, html, md5, ranges
from tests.faults.origin import Fault, Origin

# ----------------------------------------------- connection refused, DNS failure, early reset


def test_connection_refused(connect: Connect, closed_port: str, failing: Failing) -> None:
    store = connect(closed_port)
    for call in (store.get, store.stat):
        error = failing(UnavailableError, call, KEY)
        assert closed_port in str(error) and "Connection refused" in str(error)
        assert "Check that the server runs" in error.remedy
        assert (error.key, error.endpoint, error.retryable) == (KEY, closed_port, True)


def test_connection_refused_is_tried_five_times_at_most(
    connect: Connect, closed_port: str, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Any] = []
    real = socket.socket.connect

    def counted(sock: socket.socket, address: Any) -> None:
        tries.append(address)
        real(sock, address)

    monkeypatch.setattr(socket.socket, "connect", counted)
    store = connect(closed_port)
    for call in (
        lambda: store.get(KEY),
        lambda: store.get_range(KEY, 0, 9),
        lambda: store.stat(KEY),
        lambda: store.download(KEY, -1),
    ):
        tries.clear()
        failing(UnavailableError, call)
        assert len(tries) == 5


def test_dns_failure(connect: Connect, failing: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unknown(host: str, *_: Any, **__: Any) -> None:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = failing(UnavailableError, connect("https://minio.invalid:9000").get, KEY)
    assert "https://minio.invalid:9000 cannot be resolved" in str(error)
    assert "MINIO_ENDPOINT" in error.remedy
    assert len(asked) == 5


def test_a_name_server_that_never_answers_costs_no_more_than_the_deadline(
    connect: Connect, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def silent(*_: Any, **__: Any) -> None:
        released.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    store = connect("https://minio.invalid", object_deadline=1)
    try:
        error = failing(DeadlineError, store.get, KEY, within=2)
    finally:
        released.set()
    assert "https://minio.invalid" in str(error)


def test_a_server_that_does_not_accept(connect: Connect, failing: Failing) -> None:
    """A full backlog drops what would open a connection: nothing answers."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        crowd = [socket.socket() for _ in range(3)]
        for sock in crowd:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        store = connect(url, connect_timeout=0.2)
        error = failing(UnavailableError, store.get, KEY, within=3)
        for sock in crowd:
            sock.close()
    assert url in str(error) and "no answer" in str(error)


@pytest.mark.parametrize("kind", ["reset-before-headers", "close-before-headers"])
def test_reset_before_headers(
    origin: Origin, store: ObjectStore, failing: Failing, kind: Any
) -> None:
    origin.put(KEY, SMALL, fault=Fault(kind))
    for call, method in ((store.get, "GET"), (store.stat, "HEAD")):
        origin.requests.clear()
        error = failing(UnavailableError, call, KEY)
        assert origin.url in str(error) and "doctor" in error.remedy
        assert (error.key, error.endpoint, error.bucket) == (KEY, origin.url, "stockdb")
        assert [request.method for request in origin.of(KEY)] == [method] * 5


def test_reset_before_headers_twice_then_success(origin: Origin, store: ObjectStore) -> None:
    origin.put(KEY, SMALL, fault=Fault("reset-before-headers", times=2))
    blob = store.get(KEY)
    assert (blob.data, blob.requests) == (SMALL, 3)


@pytest.mark.parametrize("at", range(5, 180, 10))
def test_headers_that_are_cut_off(origin: Origin, store: ObjectStore, at: int) -> None:
    """Python takes the end of the stream for the end of the headers, half a length for all."""
    origin.put(KEY, SMALL, fault=Fault("fin-mid-headers", at=at, times=1))
    assert store.stat(KEY).size == len(SMALL)
    origin.put(KEY, SMALL, fault=Fault("fin-mid-headers", at=at, times=1))
    assert store.get(KEY).data == SMALL
    assert [request.method for request in origin.of(KEY)] == ["HEAD", "HEAD", "GET", "GET"]


# ----------------------------------------------- reset or truncated body

BREAKS = ["reset-mid-body", "fin-mid-body"]


@pytest.mark.parametrize("kind", BREAKS)
def test_broken_body_is_resumed_by_range_with_if_match(
    origin: Origin, store: ObjectStore, kind: Any
) -> None:
    origin.put(KEY, SMALL, fault=Fault(kind, times=1, at=25_000))
    blob = store.get(KEY)
    first, second = origin.of(KEY)
    assert blob.data == SMALL
    assert (first.range, first.if_match) == (None, None)
    assert second.range == (25_000, len(SMALL) - 1)
    assert second.if_match == md5(SMALL)
    assert (blob.requests, blob.received) == (2, len(SMALL))


@pytest.mark.parametrize("kind", BREAKS)
def test_broken_range_is_resumed_by_range_with_if_match(
    origin: Origin, store: ObjectStore, kind: Any
) -> None:
    origin.put(KEY, SMALL, fault=Fault(kind, times=1, at=7_000))
    blob = store.get_range(KEY, 1_000, 31_000)
    first, second = origin.of(KEY)
    assert blob.data == SMALL[1_000:31_000]
    assert (first.range, first.if_match) == ((1_000, 30_999), None)
    assert (second.range, second.if_match) == ((8_000, 30_999), md5(SMALL))


@pytest.mark.parametrize("kind", BREAKS)
def test_broken_body_without_etag_restarts(origin: Origin, store: ObjectStore, kind: Any) -> None:
    origin.put(KEY, SMALL, etag=None, fault=Fault(kind, times=1, at=25_000))
    blob = store.get(KEY)
    assert blob.data == SMALL
    assert ranges(origin) == [None, None]
    assert blob.received == 25_000 + len(SMALL)


def test_broken_range_without_etag_restarts(origin: Origin, store: ObjectStore) -> None:
    """Nothing says that the rest belongs to the same version: here it does not."""
    old, new = b"A" * 40_000, b"B" * 40_000
    broken = Fault("reset-mid-body", times=1, at=7_000)
    origin.put(KEY, old, new, etag=None, changes=(1,), fault=broken)
    assert store.get_range(KEY, 1_000, 31_000).data == new[1_000:31_000]
    assert ranges(origin) == [(1_000, 30_999)] * 2


@pytest.mark.parametrize("etag", ["md5", None])
def test_body_that_always_breaks_is_given_up(
    origin: Origin, store: ObjectStore, failing: Failing, etag: str | None
) -> None:
    origin.put(KEY, SMALL, etag=etag, fault=Fault("reset-mid-body", at=0))
    error = failing(UnavailableError, store.get, KEY)
    assert origin.url in str(error)
    assert len(origin.of(KEY)) == 5


def test_restarting_over_and_over_is_no_progress(
    origin: Origin, store: ObjectStore, failing: Failing
) -> None:
    """Without an ETag the bytes of a broken try are lost, however many they were."""
    origin.put(KEY, LARGE, etag=None, fault=Fault("reset-mid-body", at=300_000))
    failing(UnavailableError, store.get, KEY)
    assert len(origin.of(KEY)) == 5
    failing(UnavailableError, store.get_range, KEY, 0, 400_000)
    assert len(origin.of(KEY)) == 10


def test_body_that_breaks_after_progress_goes_on_longer_than_five_tries(
    origin: Origin, connect: Connect
) -> None:
    store = connect(origin.url, part_size=16 * 1024**2)
    body = random.Random(3).randbytes(700_000)
    origin.put(KEY, body, fault=Fault("reset-mid-body", at=70_000, times=9))
    blob = store.get(KEY)
    assert (blob.data, blob.requests, blob.received) == (body, 10, len(body))


@pytest.mark.parametrize("kind", BREAKS)
def test_broken_download_is_resumed(
    origin: Origin, store: ObjectStore, tmp_path: Path, kind: Any
) -> None:
    fault = Fault(kind, times=1, at=25_000, when=lambda request: request.method == "GET")
    origin.put(KEY, SMALL, fault=fault)
    with a_file(tmp_path / "file") as descriptor:
        store.download(KEY, descriptor)
    assert (tmp_path / "file").read_bytes() == SMALL
    assert origin.of(KEY)[-1].range == (25_000, len(SMALL) - 1)
    assert origin.of(KEY)[-1].if_match == md5(SMALL)


# ----------------------------------------------- stall, drip


def test_stall_before_headers(origin: Origin, store: ObjectStore, failing: Failing) -> None:
    origin.put(KEY, SMALL, fault=Fault("stall-before-headers"))
    for call in (store.get, store.stat):
        origin.requests.clear()
        error = failing(DeadlineError, call, KEY)
        assert origin.url in str(error) and "object_deadline" in error.remedy
        assert (error.key, error.endpoint, error.retryable) == (KEY, origin.url, True)
        assert len(origin.of(KEY)) == 5


def test_header_drip(origin: Origin, connect: Connect, failing: Failing) -> None:
    """Each byte comes in time, so that no timeout of a socket ever strikes."""
    store = connect(origin.url, object_deadline=1)
    for pause, call in ((0.1, store.get), (0.02, store.stat)):  # cut in the first line, and later
        origin.put(KEY, SMALL, fault=Fault("drip-headers", pause=pause))
        error = failing(DeadlineError, call, KEY, within=2)
        assert origin.url in str(error) and error.endpoint == origin.url


def test_stall_mid_body(origin: Origin, store: ObjectStore, failing: Failing) -> None:
    origin.put(KEY, SMALL, fault=Fault("stall-mid-body", at=0))
    error = failing(DeadlineError, store.get, KEY)
    assert origin.url in str(error) and error.key == KEY
    assert len(origin.of(KEY)) == 5


def test_stall_mid_body_once_is_resumed(origin: Origin, store: ObjectStore) -> None:
    origin.put(KEY, SMALL, fault=Fault("stall-mid-body", at=25_000, times=1))
    assert store.get(KEY).data == SMALL
    assert ranges(origin) == [None, (25_000, len(SMALL) - 1)]


def test_stall_mid_body_just_before_the_deadline(
    origin: Origin, connect: Connect, failing: Failing
) -> None:
    """The socket would wait for the whole of ``read_timeout`` more."""
    # the second byte comes in time, the third would not
    origin.put(KEY, SMALL, fault=Fault("drip-body", pause=1.4))
    store = connect(origin.url, object_deadline=1.5, read_timeout=1.5, stall_window=60)
    failing(DeadlineError, store.get, KEY, within=2.3)
    failing(DeadlineError, store.get_range, KEY, 0, 9_000, within=2.3)


def test_body_drip(origin: Origin, store: ObjectStore, failing: Failing) -> None:
    origin.put(KEY, SMALL, fault=Fault("drip-body", at=100, pause=0.05))
    error = failing(DeadlineError, store.get, KEY)
    assert error.endpoint == origin.url and origin.url in str(error)
    assert (error.key, error.bucket) == (KEY, "stockdb")
    assert len(origin.of(KEY)) == 5


def test_body_drip_is_cut_at_the_deadline(
    origin: Origin, connect: Connect, failing: Failing
) -> None:
    origin.put(KEY, SMALL, fault=Fault("drip-body", pause=0.05))
    store = connect(origin.url, object_deadline=1, stall_window=60)
    failing(DeadlineError, store.get, KEY, within=2)


def test_drip_between_chunks(origin: Origin, connect: Connect, failing: Failing) -> None:
    """The length line of a chunk is read byte by byte, below what we can count."""
    lengthy = Fault("chunked", text=b";" + b"x" * 1_000)
    origin.put(KEY, SMALL, fault=(lengthy, Fault("drip-body", pause=0.1)))
    store = connect(origin.url, object_deadline=1)
    failing(DeadlineError, store.get_range, KEY, 0, 9_000, within=2)


@pytest.mark.slow
@pytest.mark.timeout(100)
def test_default_budgets_end_stall_and_drip_within_sixty_seconds(
    origin: Origin, connect: Connect, failing: Failing
) -> None:
    defaults = {
        "object_deadline": 60.0,
        "connect_timeout": 3.0,
        "read_timeout": 10.0,
        "stall_window": 10.0,
        "backoff_base": 0.2,
        "backoff_max": 5.0,
        "part_size": 16 * 1024**2,
    }
    store = connect(origin.url, **defaults)
    kinds: list[Any] = ["stall-before-headers", "drip-headers", "stall-mid-body", "drip-body"]
    for kind in kinds:
        origin.put(kind, SMALL, fault=Fault(kind, pause=9 if kind == "drip-headers" else 1))
    with ThreadPoolExecutor(len(kinds)) as pool:
        calls = [pool.submit(failing, DeadlineError, store.get, kind, within=61) for kind in kinds]
        for call in calls:
            assert origin.url in str(call.result())
    assert store._performance.object_deadline == 60  # nothing else was configured


# ----------------------------------------------- 500/503 three times; for ever

BUSY = [(500, "InternalError"), (503, "SlowDown"), (503, "ServiceUnavailable"), (429, "")]
BARE = [(500, ""), (503, ""), (502, "")]


@pytest.mark.parametrize(("status", "code"), BUSY + BARE)
def test_busy_three_times_then_success(
    origin: Origin, store: ObjectStore, status: int, code: str
) -> None:
    origin.put(KEY, SMALL, fault=Fault("error", status=status, code=code, times=3))
    blob = store.get(KEY)
    assert (blob.data, blob.requests) == (SMALL, 4)


@pytest.mark.parametrize(("status", "code"), BUSY + BARE)
def test_busy_for_ever_is_unavailable_and_carries_the_code(
    origin: Origin, store: ObjectStore, failing: Failing, status: int, code: str
) -> None:
    origin.put(KEY, SMALL, fault=Fault("error", status=status, code=code))
    for call in (store.get, store.stat, lambda key: store.get_range(key, 5, 9)):
        origin.requests.clear()
        error = failing(UnavailableError, call, KEY)
        assert error.code == (f"HTTP {status}" if call == store.stat else code or f"HTTP {status}")
        assert error.code in str(error) and origin.url in str(error)
        assert (error.key, error.retryable) == (KEY, True)
        assert len(origin.of(KEY)) == 5


def test_busy_with_a_page_of_html(origin: Origin, store: ObjectStore, failing: Failing) -> None:
    origin.put(KEY, SMALL, fault=html(503))
    error = failing(UnavailableError, store.get, KEY)
    assert error.code == "HTTP 503"
    assert len(origin.of(KEY)) == 5


def test_busy_in_the_middle_of_a_resume(origin: Origin, store: ObjectStore) -> None:
    broken = Fault("reset-mid-body", at=25_000, times=1)
    busy = Fault("error", status=503, code="SlowDown", skip=1, times=2)
    origin.put(KEY, SMALL, fault=(broken, busy))
    assert store.get(KEY).data == SMALL
    assert ranges(origin) == [None] + [(25_000, len(SMALL) - 1)] * 3


def test_deadline_that_falls_into_the_backoff(
    origin: Origin, connect: Connect, failing: Failing
) -> None:
    """Waiting is not begun where it would outlast the deadline; the real error is told."""
    origin.put(KEY, SMALL, fault=Fault("error", status=503, code="SlowDown"))
    store = connect(origin.url, object_deadline=0.5, backoff_base=1000, backoff_max=1000)
    error = failing(UnavailableError, store.get, KEY, within=0.8)
    assert error.code == "SlowDown"


def test_closing_the_store_ends_the_waiting(
    origin: Origin, connect: Connect, failing: Failing
) -> None:
    origin.put(KEY, SMALL, fault=Fault("error", status=503, code="SlowDown"))
    store = connect(origin.url, object_deadline=60, backoff_base=20, backoff_max=20)
    threading.Timer(0.3, store.close).start()
    failing(UnavailableError, store.get, KEY, within=5)
    assert len(origin.of(KEY)) <= 2  # it may have waited for less than that before
