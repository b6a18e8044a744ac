"""The origin of each test, stores with small budgets, and what holds for every failure."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stockdb.core.store import ObjectStore
from stockdb.errors import StockDBError
from stockdb.settings import load_settings
from tests.faults.origin import Origin

CANARY = "canary-5ec2e7-dummy"
#: Small enough for a quick test, large enough for two slow, busy cores.
BUDGETS: dict[str, Any] = {
    "object_deadline": 4.0,
    "connect_timeout": 1.0,
    "read_timeout": 0.5,
    "stall_window": 0.5,
    "backoff_base": 0.01,
    "backoff_max": 0.05,
    "part_size": 64 * 1024,
}


@pytest.fixture(autouse=True)
def _no_secret_in_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Over all faults, whatever is logged at any level is free of secrets."""
    caplog.set_level(logging.DEBUG)
    yield
    show = logging.Formatter("%(name)s %(message)s").format  # with tracebacks
    told = "\n".join(map(show, caplog.get_records("setup") + caplog.get_records("call")))
    assert CANARY not in told
    assert "Signature=" not in told


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as server:
        yield server


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., ObjectStore]]:
    """Make stores; any setting can be given."""
    stores = []

    def make(endpoint: str, **explicit: Any) -> ObjectStore:
        settings = load_settings(
            directory=tmp_path,
            **{
                "endpoint": endpoint,
                "access_key": "dummy-access",
                "secret_key": CANARY,
                "session_token": f"{CANARY}-token",
                **BUDGETS,
                **explicit,
            },
        )
        stores.append(ObjectStore(settings))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def store(origin: Origin, connect: Callable[..., ObjectStore]) -> ObjectStore:
    return connect(origin.url)


@pytest.fixture
def closed_port() -> Iterator[str]:
    """An endpoint that refuses connections: bound, so that nobody else gets it, not listening."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


class Failing:
    """Expects a failure and holds it against what must be true of every one."""

    def __call__(
        self,
        kind: type[StockDBError],
        call: Callable[..., object],
        *args: Any,
        within: float = BUDGETS["object_deadline"] + 1,
        **kwargs: Any,
    ) -> Any:
        began = time.monotonic()
        with pytest.raises(StockDBError) as caught:
            call(*args, **kwargs)
        error = caught.value
        assert time.monotonic() - began < within
        assert type(error) is kind, error
        assert error.remedy and str(error).endswith(error.remedy)
        told = "".join(traceback.TracebackException.from_exception(error).format())
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.values) == (kind, str(error), error.values)
        for text in (str(error), repr(error), repr(error.values), repr(error.__dict__), told):
            assert CANARY not in text
            assert "list-type" not in text and "Signature=" not in text  # no query string
        return error


@pytest.fixture
def failing() -> Failing:
    return Failing()


@pytest.fixture
def interrupt() -> Iterator[Callable[[float], None]]:
    """Press Ctrl-C in so many seconds."""
    # A shell starts what runs in the background with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timers = []

    def later(seconds: float) -> None:
        press = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
        timers.append(press)
        press.start()

    yield later
    for timer in timers:
        timer.cancel()
        timer.join()
    signal.signal(signal.SIGINT, before)
