"""What every test folder shares."""

from __future__ import annotations

import io
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3
from minio import Minio

from minio_data_integration import MinIODataIntegration
from stockdb.demo.server import EmbeddedServer
from stockdb.settings import load_settings

LOGGER = logging.getLogger("stockdb")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real prices beside the project (or where STOCKDB_SHARED_DATA says)."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STOCKDB_SHARED_DATA") or beside)
    if not (folder / "MANIFEST.md").is_file():
        pytest.skip(f"no real market data at {folder}; set STOCKDB_SHARED_DATA")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _hermetic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No setting of the developer's own, no write to his cache and logs, no log file kept open.

    One module at a time, so that ``test_minio_integration.py`` still sees the user's endpoint.
    """
    home = tmp_path_factory.mktemp("home")
    before = (list(LOGGER.handlers), LOGGER.level)
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith("MINIO_"):
                patch.delenv(name)
        for name in ("HOME", "USERPROFILE"):
            patch.setenv(name, str(home))
        for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
            patch.setenv(name, str(home / "cache"))
        yield
    _close_handlers(before[0])
    LOGGER.setLevel(before[1])


@pytest.fixture(scope="session")
def embedded_server() -> Iterator[EmbeddedServer]:
    """One S3 server for the whole run; tests keep apart by bucket."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture(scope="session")
def s3(embedded_server: EmbeddedServer) -> Minio:
    """The vendor's own client, to put things into buckets behind our back."""
    return admin_of(embedded_server)


@pytest.fixture(scope="session")
def make_bucket(s3: Minio) -> Callable[..., str]:
    """Make a bucket of its own and fill it: ``make_bucket({key: bytes}) -> name``."""
    numbers = itertools.count()

    def make(objects: Mapping[str, bytes] | None = None, **metadata: str) -> str:
        name = f"test-{os.getpid()}-{next(numbers)}"
        s3.make_bucket(name)
        fill(s3, name, objects or {}, **metadata)
        return name

    return make


def admin_of(server: EmbeddedServer) -> Minio:
    """A plain MinIO client with the server's root credentials."""
    return Minio(
        server.endpoint.removeprefix("http://"),
        access_key=server.access_key,
        secret_key=server.secret_key,
        region="us-east-1",
        secure=False,
        http_client=urllib3.PoolManager(maxsize=8),
    )


def fill(s3: Minio, bucket: str, objects: Mapping[str, bytes], **metadata: str) -> None:
    """Put objects, four at a time."""

    def put(item: tuple[str, bytes]) -> None:
        key, data = item
        s3.put_object(bucket, key, io.BytesIO(data), len(data), metadata=dict(metadata))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, objects.items()))


class ClientFactory:
    """Makes clients of a server, each with a cache and logs of its own, and closes them all."""

    def __init__(self, server: EmbeddedServer, folder: Path) -> None:
        self._server, self._folder = server, folder
        self._numbers = itertools.count()
        self._made: list[MinIODataIntegration] = []

    def __call__(self, bucket_name: str = "stockdb", **settings: Any) -> MinIODataIntegration:
        private = self._folder / f"client-{next(self._numbers)}"
        private.mkdir()
        values = {
            "endpoint": self._server.endpoint,
            "access_key": self._server.access_key,
            "secret_key": self._server.secret_key,
            "bucket_name": bucket_name,
            "cache_dir": private / "cache",
            "log_dir": private / "logs",
            "backoff_base": 0.01,  # an outage takes no test seconds
            "backoff_max": 0.05,
            **settings,
        }
        # From a folder without .env and minio_config.py: only what the test says counts.
        client = MinIODataIntegration(load_settings(directory=private, **values))
        self._made.append(client)
        return client

    def close(self) -> None:
        for client in self._made:
            client.close()


@pytest.fixture
def client_factory(embedded_server: EmbeddedServer, tmp_path: Path) -> Iterator[ClientFactory]:
    """Clients of the embedded server: ``client_factory(bucket_name, **settings)``."""
    yield from _clients(embedded_server, tmp_path)


@pytest.fixture(scope="module")
def module_clients(
    embedded_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClientFactory]:
    """The same for clients that all tests of a module share (and must not change)."""
    yield from _clients(embedded_server, tmp_path_factory.mktemp("clients"))


def _clients(server: EmbeddedServer, folder: Path) -> Iterator[ClientFactory]:
    before = list(LOGGER.handlers)
    factory = ClientFactory(server, folder)
    yield factory
    factory.close()
    _close_handlers(before)


def _close_handlers(kept: list[logging.Handler]) -> None:
    """Close log files opened since; each of them would receive every later record."""
    for handler in [handler for handler in LOGGER.handlers if handler not in kept]:
        LOGGER.removeHandler(handler)
        handler.close()
