"""offline=True sends nothing, allow_stale=True survives a dead server: chains and their like."""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from leaps_data_integration import LEAPSDataIntegration
from minio_data_integration import MinIODataIntegration
from stockdb import errors
from stockdb.demo.bucket import DemoBucket

DAYS = ("2025-12-29", "2025-12-31")
Ask = Callable[..., pd.DataFrame]


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoBucket]:
    with DemoBucket() as running:
        yield running


@pytest.fixture(scope="module")
def minio(demo: DemoBucket) -> Iterator[MinIODataIntegration]:
    with MinIODataIntegration(demo.settings, max_attempts=1) as client:
        yield client


@pytest.fixture(scope="module")
def asks(minio: MinIODataIntegration) -> dict[str, Ask]:
    leaps = LEAPSDataIntegration(minio)
    contract = minio.get_option_chain("MSFT")["contract"].iloc[40]
    return {
        "newest chain": lambda **how: minio.get_option_chain("MSFT", **how),
        "chain of a day": lambda **how: minio.get_option_chain("MSFT", DAYS[0], **how),
        "chains": lambda **how: minio.get_options_data("MSFT", *DAYS, **how),
        "contract": lambda **how: minio.get_contract_history(contract, **how),
        "leaps": lambda **how: leaps.get_leaps_chain("MSFT", **how),
        "arbitrage": lambda **how: leaps.find_arbitrage_opportunities("MSFT", **how),
        "calendars": lambda **how: leaps.find_calendar_spreads("MSFT", **how),
        "portfolio": lambda **how: leaps.analyze_portfolio({"MSFT": 100}, **how).positions,
        "bars": lambda **how: minio.get_historical_data("MSFT", "2024-01-02", "2024-01-31", **how),
    }


@pytest.fixture(scope="module")
def known(asks: dict[str, Ask]) -> dict[str, pd.DataFrame]:
    return {name: ask() for name, ask in asks.items()}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every request of this process, at the lowest place where all of them pass."""
    found: list[tuple[str, str]] = []
    real = http.client.HTTPConnection.putrequest

    def noted(self: Any, method: str, url: str, *more: Any, **named: Any) -> None:
        found.append((method, url))
        real(self, method, url, *more, **named)

    monkeypatch.setattr(http.client.HTTPConnection, "putrequest", noted)
    return found


def ten_days_pass(folder: Path) -> None:
    for path in folder.rglob("*.entry"):
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - 10 * 86_400 * 10**9))


NAMES = [
    "newest chain", "chain of a day", "chains", "contract", "leaps", "arbitrage", "calendars",
    "bars", "portfolio",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_offline_asks_nobody(
    name: str,
    asks: dict[str, Ask],
    known: dict[str, pd.DataFrame],
    demo: DemoBucket,
    sent: list[tuple[str, str]],
) -> None:
    ten_days_pass(Path(str(demo.settings.cache.cache_dir)))
    frame = asks[name](offline=True)
    assert sent == []
    pd.testing.assert_frame_equal(frame, known[name])


def test_what_was_never_read_is_an_error_offline(
    minio: MinIODataIntegration, known: dict[str, pd.DataFrame], sent: list[tuple[str, str]]
) -> None:
    with pytest.raises(errors.UnavailableError, match="offline"):
        minio.get_option_chain("F", offline=True)
    assert sent == []


@pytest.fixture(scope="module")
def gone(demo: DemoBucket, known: dict[str, pd.DataFrame]) -> None:
    """For the last tests of this module: nobody answers from here on."""
    demo._server.kill()


@pytest.mark.usefixtures("gone")
class TestWithoutAServer:
    @pytest.mark.parametrize("name", NAMES)
    def test_the_last_good_version_is_served(
        self, name: str, asks: dict[str, Ask], known: dict[str, pd.DataFrame], demo: DemoBucket
    ) -> None:
        ten_days_pass(Path(str(demo.settings.cache.cache_dir)))
        frame = asks[name](allow_stale=True)
        pd.testing.assert_frame_equal(frame, known[name])
        assert name == "portfolio" or frame.attrs["stockdb"]["freshness"] == "stale"

    def test_an_error_unless_it_is_asked_for(self, asks: dict[str, Ask], demo: DemoBucket) -> None:
        ten_days_pass(Path(str(demo.settings.cache.cache_dir)))
        for name in ("newest chain", "chains"):
            with pytest.raises(errors.UnavailableError):
                asks[name]()
