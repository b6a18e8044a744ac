"""Real embedded servers and simulated buckets for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import exchange_calendars
import pytest

from stockdb.demo.server import EmbeddedServer
from tests.unit.demo.bucket_tools import SEED, Bucket, make
from tests.unit.demo.server_tools import KINDS, MINIO, Script, processes_of


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    """Each kind of server that this machine has, running."""
    executable = MINIO if request.param == "minio" else None
    with EmbeddedServer(executable=executable) as running:
        assert running.kind == request.param
        yield running


@pytest.fixture
def script() -> Iterator[Callable[[str], Script]]:
    made: list[Script] = []

    def start(ending: str) -> Script:
        made.append(Script(ending))
        assert {made[-1].pid} < processes_of(made[-1].access_key)
        assert made[-1].directory.is_dir()
        return made[-1]

    yield start
    for each in made:
        with each.process:
            each.process.kill()


@pytest.fixture
def bucket() -> Bucket:
    return make(SEED)


@pytest.fixture(params=[SEED, 0, 7], ids="seed {}".format)
def any_bucket(request: pytest.FixtureRequest) -> Bucket:
    """What must hold by construction holds for other seeds too."""
    return make(request.param)


@pytest.fixture(scope="module")
def sessions() -> list[str]:
    calendar_ = exchange_calendars.get_calendar("XNYS", start="2010-01-01", end="2028-12-31")
    return [str(day.date()) for day in calendar_.sessions]
