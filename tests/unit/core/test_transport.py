"""Deadlines, the watchdog, the pool: over real sockets, on loopback only."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3

from stockdb.core import transport
from stockdb.core.store import ObjectStore
from stockdb.core.transport import Deadline, Pool, Retry, make_pool
from stockdb.errors import (
    AccessDeniedError,
    DeadlineError,
    NotFoundError,
    StockDBError,
    UnavailableError,
)
from stockdb.settings import load_settings
from stockdb.settings.sections import Performance
from tests.faults.origin import Fault, Origin

KEY = "AAPL.csv"
BODY = bytes(range(256)) * 100


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as server:
        yield server


@pytest.fixture
def store(origin: Origin, tmp_path: Path) -> Iterator[ObjectStore]:
    settings = load_settings(
        directory=tmp_path, endpoint=origin.url, object_deadline=10, backoff_base=0.01
    )
    found = ObjectStore(settings)
    yield found
    found.close()


@pytest.fixture
def pool() -> Pool:
    return make_pool(Performance(read_timeout=20, connect_timeout=20))


@contextmanager
def took(least: float, most: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert least <= time.monotonic() - began < most


@contextmanager
def silent_listener() -> Iterator[int]:
    """Accepts (the kernel does) and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def settled(condition: Callable[[], bool]) -> bool:
    """Give the server's thread a moment to count."""
    until = time.monotonic() + 2
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


# ------------------------------------------------------------- deadlines


def test_deadline() -> None:
    deadline = Deadline(0.05)
    assert 0 < deadline.remaining() <= 0.05 and not deadline.passed()
    time.sleep(0.06)
    assert deadline.passed() and deadline.remaining() <= 0


def test_twin_ends_with_the_other_and_can_be_cut_before() -> None:
    deadline = Deadline(60)
    twin = deadline.twin()
    assert twin.expires == deadline.expires
    twin.cut()
    assert twin.passed() and not deadline.passed()


# ------------------------------------------------------------- attempts


class Waits(list[float]):
    def __call__(self, seconds: float) -> bool:
        self.append(seconds)
        return False


def fails(error: StockDBError, times: int) -> Callable[[], str]:
    left = [error] * times

    def attempt() -> str:
        if left:
            raise left.pop()
        return "done"

    return attempt


def test_retry_waits_with_full_jitter_up_to_the_maximum() -> None:
    performance = Performance(max_attempts=20, backoff_base=0.2, backoff_max=5)
    waits = Waits()
    retry = Retry(performance, Deadline(1000), waits)
    assert retry.run(fails(UnavailableError("x"), 19)) == "done"
    ceilings = [0.4, 0.8, 1.6, 3.2] + [5.0] * 15
    assert len(waits) == 19
    assert all(0 <= wait <= ceiling for wait, ceiling in zip(waits, ceilings, strict=True))
    assert len(set(waits)) == 19  # clients that failed together do not come back together


def test_retry_gives_up_after_all_attempts() -> None:
    waits = Waits()
    retry = Retry(Performance(max_attempts=5, backoff_base=0), Deadline(60), waits)
    with pytest.raises(UnavailableError):
        retry.run(fails(UnavailableError("x"), 5))
    assert len(waits) == 4


def test_retry_does_not_repeat_what_cannot_work() -> None:
    waits = Waits()
    with pytest.raises(AccessDeniedError):
        Retry(Performance(), Deadline(60), waits).run(fails(AccessDeniedError("x"), 1))
    assert waits == []


def test_retry_does_not_wait_beyond_the_deadline() -> None:
    waits = Waits()
    retry = Retry(Performance(backoff_base=1e9, backoff_max=1e9), Deadline(5), waits)
    with pytest.raises(UnavailableError):
        retry.run(fails(UnavailableError("x"), 1))
    assert waits == []


def test_retry_ends_when_it_is_woken() -> None:
    retry = Retry(Performance(), Deadline(60), lambda seconds: True)
    with pytest.raises(UnavailableError):
        retry.run(fails(UnavailableError("x"), 1))


def test_progress_forgets_earlier_failures() -> None:
    retry = Retry(Performance(max_attempts=2, backoff_base=0), Deadline(60))
    for _ in range(9):
        retry.failed(UnavailableError("x"))
        retry.progress()
    assert retry.failures == 0


# ------------------------------------------------------------- the watchdog


def test_dripping_headers_are_cut_at_the_deadline(origin: Origin, pool: Pool) -> None:
    origin.put(KEY, BODY, fault=Fault("drip-headers", pause=0.05))
    with took(0.4, 2), pytest.raises(urllib3.exceptions.HTTPError), pool.call(Deadline(0.5)):
        pool.urlopen("GET", f"{origin.url}/stockdb/{KEY}")


def test_a_held_body_is_cut_at_the_deadline(origin: Origin, pool: Pool) -> None:
    origin.put(KEY, BODY, fault=Fault("stall-mid-body", at=10))
    with pool.call(Deadline(0.5)):
        response = pool.urlopen("GET", f"{origin.url}/stockdb/{KEY}", preload_content=False)
        let_go = pool.hold()
    with took(0.2, 2), pytest.raises(urllib3.exceptions.HTTPError):
        while response.read1(100):
            pass
    let_go()
    response.close()


def test_a_body_that_is_let_go_is_not_cut(origin: Origin, pool: Pool) -> None:
    origin.put(KEY, BODY, fault=Fault("drip-body", at=len(BODY) - 4, pause=0.2))
    with pool.call(Deadline(0.4)):
        response = pool.urlopen("GET", f"{origin.url}/stockdb/{KEY}", preload_content=False)
        pool.hold()()
    assert response.read() == BODY


def test_the_watchdog_lets_the_next_call_of_a_connection_alone(origin: Origin, pool: Pool) -> None:
    origin.put("first", BODY)
    origin.put("second", BODY, fault=Fault("drip-body", at=len(BODY) - 4, pause=0.2))
    with pool.call(Deadline(0.4)):
        pool.urlopen("GET", f"{origin.url}/stockdb/first")
    with pool.call(Deadline(20)):
        assert pool.urlopen("GET", f"{origin.url}/stockdb/second").data == BODY
    assert origin.accepts == 1


def test_an_earlier_deadline_wakes_the_watchdog(origin: Origin, pool: Pool) -> None:
    origin.put(KEY, BODY, fault=Fault("drip-headers", pause=0.05))
    url = f"{origin.url}/stockdb/{KEY}"

    def fetch(seconds: float) -> None:
        with pytest.raises(urllib3.exceptions.HTTPError), pool.call(Deadline(seconds)):
            pool.urlopen("GET", url)

    with ThreadPoolExecutor(2) as threads:
        long = threads.submit(fetch, 4)
        time.sleep(0.1)
        with took(0.25, 2):
            threads.submit(fetch, 0.3).result(5)
        long.result(5)


def test_a_cut_ends_a_call_at_once(origin: Origin, pool: Pool) -> None:
    origin.put(KEY, BODY, fault=Fault("stall-before-headers"))
    deadline = Deadline(60)
    other = deadline.twin()
    threading.Timer(0.3, deadline.cut).start()
    with took(0.25, 2), pytest.raises(urllib3.exceptions.HTTPError), pool.call(deadline):
        pool.urlopen("GET", f"{origin.url}/stockdb/{KEY}")
    assert not other.passed()


def test_tls_handshake_that_stalls_is_cut(pool: Pool) -> None:
    """The TLS layer has taken the socket over by then, and waits on its own account."""
    deadline = Deadline(20)
    threading.Timer(0.4, deadline.cut).start()
    with silent_listener() as port, took(0.25, 2):
        with pytest.raises(urllib3.exceptions.HTTPError), pool.call(deadline):
            pool.urlopen("GET", f"https://127.0.0.1:{port}/")


def test_tls_handshake_that_stalls_through_the_store(tmp_path: Path) -> None:
    with silent_listener() as port:
        settings = load_settings(
            directory=tmp_path,
            endpoint=f"https://127.0.0.1:{port}",
            object_deadline=0.6,
            connect_timeout=5,
        )
        store = ObjectStore(settings)
        with took(0.5, 3), pytest.raises(DeadlineError):
            store.get(KEY)
        store.close()


def test_connecting_ends_with_the_deadline(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where each of many addresses has its own timeout, or a name server is silent."""
    released = threading.Event()
    made: list[socket.socket] = []

    def slow(*_: Any, **__: Any) -> socket.socket:
        released.wait(10)
        made.append(socket.socket())
        return made[0]

    monkeypatch.setattr("urllib3.util.connection.create_connection", slow)
    with took(0.25, 2), pytest.raises(urllib3.exceptions.ConnectTimeoutError):
        with pool.call(Deadline(0.3)):
            pool.urlopen("GET", "http://127.0.0.1:9/")
    released.set()
    # whoever connects after all closes what nobody waits for
    assert settled(lambda: bool(made) and made[0].fileno() == -1)


def test_calls_can_be_nested(pool: Pool, origin: Origin) -> None:
    origin.put(KEY, BODY, fault=Fault("stall-before-headers"))
    with took(0.25, 2), pytest.raises(urllib3.exceptions.HTTPError), pool.call(Deadline(0.3)):
        with pool.call(Deadline(20)):
            pass
        pool.urlopen("GET", f"{origin.url}/stockdb/{KEY}")


# ------------------------------------------------------------- the pool


def test_the_pool_makes_one_attempt_and_follows_nothing(origin: Origin, pool: Pool) -> None:
    target: dict[str, str | None] = {"Location": f"{origin.url}/stockdb/other"}
    origin.put("moved", b"", fault=Fault("answer", status=302, headers=target))
    origin.put("busy", b"", fault=Fault("error", status=503))
    origin.put("broken", b"", fault=Fault("reset-before-headers"))
    for redirect in (True, False):
        answer = pool.urlopen("GET", f"{origin.url}/stockdb/moved", redirect=redirect)
        assert answer.status == 302
    assert pool.urlopen("GET", f"{origin.url}/stockdb/busy").status == 503
    with pytest.raises(urllib3.exceptions.ProtocolError):
        pool.urlopen("GET", f"{origin.url}/stockdb/broken")
    assert [request.key for request in origin.requests] == ["moved", "moved", "busy", "broken"]


def test_connections_are_reused(origin: Origin, store: ObjectStore) -> None:
    origin.put(KEY, BODY)
    for _ in range(50):
        assert store.get(KEY).data == BODY
    assert origin.accepts == 1
    for _ in range(10):
        assert store.get_range(KEY, 100, 200).data == BODY[100:200]
        assert store.stat(KEY).size == len(BODY)
        assert len(list(store.listing())) == 1
        with pytest.raises(NotFoundError):
            store.get("none")
        with pytest.raises(NotFoundError):
            store.stat("none")
    assert origin.accepts == 1


def test_threads_share_a_store(origin: Origin, store: ObjectStore) -> None:
    bodies = {f"k{number}": os.urandom(5_000 + number) for number in range(16)}
    for key, body in bodies.items():
        origin.put(key, body)

    def fetch(key: str) -> bool:
        return all(store.get(key).data == bodies[key] for _ in range(10))

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(fetch, bodies))
    assert origin.accepts <= 16
    assert len(origin.requests) == 160


def in_child(task: Callable[[], None]) -> int:
    """Run a task in a forked child and return its exit status; never longer than 10 s."""
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        status = 1
        try:
            task()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_connections_and_a_watchdog_of_its_own(
    origin: Origin, store: ObjectStore
) -> None:
    origin.put(KEY, BODY)
    origin.put("drip", BODY, fault=Fault("drip-headers", pause=0.05))
    assert store.get(KEY).data == BODY  # parent's connection and watchdog exist

    def task() -> None:
        assert store.get(KEY).data == BODY
        with took(0.4, 3), pytest.raises(DeadlineError):
            store.get("drip", deadline=Deadline(0.5))

    assert in_child(task) == 0
    assert origin.of(KEY)[0].connection != origin.of(KEY)[1].connection
    assert store.get(KEY).data == BODY
    assert origin.of(KEY)[2].connection == origin.of(KEY)[0].connection  # not closed by the child


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_in_the_middle_of_other_threads_requests(origin: Origin, store: ObjectStore) -> None:
    origin.put(KEY, BODY)
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            store.get(KEY)

    def task() -> None:
        assert store.get(KEY).data == BODY

    with ThreadPoolExecutor(3) as threads:
        running = [threads.submit(busy) for _ in range(3)]
        try:
            assert [in_child(task) for _ in range(5)] == [0] * 5
        finally:
            stop.set()
        for each in running:
            each.result(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_while_another_thread_holds_the_watchdog(origin: Origin, store: ObjectStore) -> None:
    """What is locked at that moment stays locked in the child for ever."""
    origin.put(KEY, BODY)
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with transport._watchdog._wake:
            held.set()
            let_go.wait(20)

    def task() -> None:
        assert store.get(KEY).data == BODY

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(5)
    try:
        assert in_child(task) == 0
    finally:
        let_go.set()
        holder.join(5)
    assert store.get(KEY).data == BODY
