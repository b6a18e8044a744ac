"""Bulk downloads under faults: the rest goes on, and Ctrl-C comes back with a good cache left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minio_data_integration import MinIODataIntegration
from stockdb.errors import DataError, SymbolNotFoundError, UnavailableError
from stockdb.settings import load_settings
from tests.faults.conftest import BUDGETS
from tests.faults.origin import Fault, Origin

NAMES = [f"S{number:03d}" for number in range(500)]
HEADER = "trade_date,Open,High,Low,Close,Volume\n"


def bars(number: int) -> bytes:
    """Three sessions whose prices tell which symbol they are of."""
    price = 10 + number
    rows = (f"2024-01-0{day},{price},{price + 1},{price - 1},{price},100\n" for day in (2, 3, 4))
    return (HEADER + "".join(rows)).encode()


def key(name: str) -> str:
    return f"stocks-2010-2025/{name}.csv"


@pytest.fixture
def client(origin: Origin, tmp_path: Path) -> Iterator[Callable[..., MinIODataIntegration]]:
    made = []

    def make(**settings: Any) -> MinIODataIntegration:
        values = {**BUDGETS, "cache_dir": tmp_path / "cache", "log_dir": tmp_path / "logs"}
        given = {"endpoint": origin.url, "access_key": "dummy", "secret_key": "dummy-secret"}
        loaded = load_settings(directory=tmp_path, **{**given, **values, **settings})
        made.append(MinIODataIntegration(loaded))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_one_bad_symbol_in_500(origin: Origin, client: Callable[..., MinIODataIntegration]) -> None:
    """One that is no symbol, one that is missing, one that is malformed: 497 frames."""
    for number, name in enumerate(NAMES):
        origin.put(key(name), bars(number))
    origin.put(key("S250"), (HEADER + "2024-01-02,1,2,1,1,5\n2024-01-03,1,2\n").encode())
    asked = ["../x" if name == "S100" else name for name in NAMES]
    asked[400] = "ABSENT"
    result = client(max_workers=8).bulk_download(asked)
    assert list(result.errors) == ["../x", "S250", "ABSENT"]
    assert type(result.errors["../x"]) is DataError
    assert type(result.errors["S250"]) is DataError and result.errors["S250"].line == 3
    assert type(result.errors["ABSENT"]) is SymbolNotFoundError
    assert list(result) == [name for name in asked if name not in result.errors]
    assert len(result) == 497
    for name, frame in result.items():
        assert frame["close"].tolist() == [10.0 + int(name[1:])] * 3


def test_strict_mode_raises_after_all_have_finished(
    origin: Origin, client: Callable[..., MinIODataIntegration]
) -> None:
    for number, name in enumerate(NAMES[:50]):
        origin.put(key(name), bars(number))
    with pytest.raises(SymbolNotFoundError) as caught:
        client(max_workers=4).bulk_download(["ABSENT", *NAMES[:50]], strict=True)
    assert list(caught.value.values["result"]) == NAMES[:50]


def test_an_outage_is_an_error_of_each_symbol(
    client: Callable[..., MinIODataIntegration], closed_port: str
) -> None:
    result = client(endpoint=closed_port, max_workers=8, max_attempts=2).bulk_download(NAMES[:20])
    assert not result.frames
    assert {type(error) for error in result.errors.values()} == {UnavailableError}


@pytest.mark.parametrize("form", ["bulk", "iterator"])
@pytest.mark.parametrize("kind", ["stall-before-headers", "stall-mid-body", "drip-body"])
def test_ctrl_c_in_a_bulk_download(
    origin: Origin,
    client: Callable[..., MinIODataIntegration],
    interrupt: Callable[[float], None],
    tmp_path: Path,
    kind: Any,
    form: str,
) -> None:
    """Within a second, with threads that wait for a server that does not come."""
    for number, name in enumerate(NAMES[:60]):
        fault = Fault(kind, pause=0.05, at=10) if number >= 20 else ()
        origin.put(key(name), bars(number), fault=fault)
    slow = client(max_workers=8, object_deadline=30, read_timeout=20, stall_window=20)
    interrupt(1.0)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        if form == "bulk":
            slow.bulk_download(NAMES[:60])
        else:
            for _ in slow.iter_historical_data(NAMES[:60]):
                pass
    assert time.monotonic() - began < 2.0
    assert not slow.check_cache()
    assert not list((tmp_path / "cache" / "tmp").iterdir())
    slow.close()
    for number, name in enumerate(NAMES[:60]):
        origin.put(key(name), bars(number))
    before = len(origin.of(key("S000")))
    result = client(max_workers=8).bulk_download(NAMES[:60])
    assert len(result) == 60 and not result.errors
    assert len(origin.of(key("S000"))) == before  # what had come is kept
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]
