"""Ctrl-C comes back at once, and no failure leaks a connection."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stockdb.core.transport import Deadline
from stockdb.errors import DeadlineError, StockDBError
from tests.faults.bodies import KEY, LARGE, SMALL, Connect, html, md5
from tests.faults.origin import Fault, Origin

# ----------------------------------------------- connections, Ctrl-C


def open_sockets() -> int:
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:  # the one that listed them
            continue
    return sum(link.startswith("socket:") for link in links)


def settled(condition: Callable[[], bool]) -> bool:
    """Give the other end a moment to notice."""
    until = time.monotonic() + 2
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def test_two_hundred_failures_leak_no_connection(origin: Origin, connect: Connect) -> None:
    store = connect(origin.url, max_attempts=1, max_workers=2)
    origin.put("good", SMALL)
    store.get("good")
    faults = [
        Fault("reset-before-headers"),
        Fault("reset-mid-body", at=100),
        Fault("fin-mid-body", at=100),
        Fault("error", status=503, code="SlowDown"),
        Fault("error", status=403, code="AccessDenied"),
        Fault("wrong-range"),
        Fault("wrong-byte", at=5),
        Fault("chunked"),
        html(404),
        html(),
    ]
    before = open_sockets()
    for number in range(200):
        origin.put(KEY, SMALL, fault=faults[number % len(faults)])
        with pytest.raises(StockDBError):
            if number % 20 < 10:
                store.get_range(KEY, 0, 30_000, if_match=md5(b"another version"))
            else:
                store.get(KEY)
    # one idle connection each way at most, whatever was done to the others
    assert settled(lambda: origin.open <= 1)
    assert open_sockets() <= before + 1
    assert store.get("good").data == SMALL


def test_a_body_that_is_given_up_is_hung_up(
    origin: Origin, connect: Connect, tmp_path: Path
) -> None:
    """Also where nothing of the connection failed: too slow, or no room for the bytes here."""
    store = connect(origin.url, max_attempts=1, stall_window=0.2)
    kept = []  # an error's traceback keeps alive whatever was not closed
    origin.put(KEY, SMALL, fault=Fault("drip-body", at=100, pause=0.05))
    with pytest.raises(DeadlineError) as slow:
        store.get(KEY)
    kept.append(slow)
    assert settled(lambda: origin.open == 0)
    origin.put(KEY, SMALL, fault=Fault("drip-body", at=100, pause=0.05))
    (tmp_path / "full").touch()
    descriptor = os.open(tmp_path / "full", os.O_RDONLY)
    try:
        with pytest.raises(OSError) as refused:
            store.download(KEY, descriptor, deadline=Deadline(5))
    finally:
        os.close(descriptor)
    kept.append(refused)
    assert settled(lambda: origin.open == 0)


@pytest.mark.parametrize("kind", ["stall-before-headers", "stall-mid-body", "drip-body"])
@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_ctrl_c_in_a_transfer(
    origin: Origin, connect: Connect, interrupt: Any, kind: Any, body: bytes
) -> None:
    store = connect(origin.url, object_deadline=30, read_timeout=20, stall_window=20)
    origin.put(KEY, body, fault=Fault(kind, pause=0.05, at=10))
    threads = threading.active_count()
    interrupt(0.4)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        store.get(KEY)
    assert time.monotonic() - began < 1.4
    assert threading.active_count() <= threads + 2  # the watchdog, the timer
    assert settled(lambda: origin.open == 0)
    origin.put(KEY, SMALL)
    assert store.get(KEY).data == SMALL


def test_ctrl_c_in_the_backoff(origin: Origin, connect: Connect, interrupt: Any) -> None:
    store = connect(origin.url, object_deadline=60, backoff_base=50, backoff_max=50)
    origin.put(KEY, SMALL, fault=Fault("error", status=503, code="SlowDown"))
    interrupt(0.3)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        for _ in range(9):  # full jitter may wait for less than the interrupt takes
            store.get(KEY)
    assert time.monotonic() - began < 1.3


def test_ctrl_c_while_the_name_is_looked_up(
    connect: Connect, interrupt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """getaddrinfo itself cannot be interrupted, so it must not run where Ctrl-C is handled."""
    released = threading.Event()
    askers: list[threading.Thread] = []

    def silent(*_: Any, **__: Any) -> None:
        askers.append(threading.current_thread())
        released.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    store = connect("https://minio.invalid", object_deadline=30)
    interrupt(0.3)
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            store.get(KEY)
    finally:
        released.set()
    assert time.monotonic() - began < 1.3
    assert askers and threading.main_thread() not in askers


def _pools(manager: Any) -> list[Any]:
    return [manager.pools.get(key) for key in manager.pools.keys()]


def test_a_closed_store_has_closed_its_connections(origin: Origin, connect: Connect) -> None:
    """At once, not when the collector comes by."""
    origin.put("good", SMALL)
    gc.collect()
    gc.disable()
    try:
        before = open_sockets()
        store = connect(origin.url)
        store.get("good")
        pools = [pool for _, manager in store._clients.values() for pool in _pools(manager)]
        assert pools and open_sockets() > before  # held here, as by a cycle of some exception
        store.close()
        assert settled(lambda: origin.open == 0 and open_sockets() == before)
        assert store.get("good").data == SMALL  # it can be used again
    finally:
        gc.enable()
