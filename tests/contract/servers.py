"""The servers that ``test_store.py`` holds against one contract, and ``measure.py`` measures."""

from __future__ import annotations

import hashlib
import http.client
import io
import itertools
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import urllib3
from minio import Minio
from minio.commonconfig import ENABLED
from minio.error import S3Error
from minio.versioningconfig import VersioningConfig

from stockdb.core.store import ObjectStore
from stockdb.demo.server import EmbeddedServer
from stockdb.settings import load_settings
from tests.contract.memory import MemoryServer, MemoryStore

Store = ObjectStore | MemoryStore
ROOT = Path(__file__).parents[2]
NO_MINIO = "no genuine MinIO: run `make minio`"
NUMBERS = itertools.count()  # of buckets: the moto servers of one process share theirs


class Site:
    """A real server, what it is known to do, and what the store itself cannot ask of it.

    Parameters
    ----------
    name, endpoint, access_key, secret_key : str
    folder : Path
        Without ``.env`` and ``minio_config.py``, so that only what is said here counts.
    lacks : str, optional
        Words for what it does not do: signatures, versions, select, encoding. The suite fails
        where it does, so that ``docs/servers.md`` stays true.
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        access_key: str,
        secret_key: str,
        folder: Path,
        lacks: str = "",
    ) -> None:
        self.name, self.endpoint, self.lacks = name, endpoint, frozenset(lacks.split())
        self._access_key, self._secret_key, self._folder = access_key, secret_key, folder
        self._stores: list[ObjectStore] = []
        self._pool = urllib3.PoolManager(maxsize=8)
        self.admin = Minio(
            endpoint.removeprefix("http://"),
            access_key=access_key,
            secret_key=secret_key,
            region="us-east-1",
            secure=False,
            http_client=self._pool,
        )

    def store(self, bucket: str, **settings: Any) -> Store:
        """A store on a bucket, there or not."""
        values = {
            "endpoint": self.endpoint,
            "access_key": self._access_key,
            "secret_key": self._secret_key,
            "backoff_base": 0.01,  # what is refused for good is not to be retried anyway
            **settings,
        }
        made = ObjectStore(load_settings(directory=self._folder, bucket_name=bucket, **values))
        self._stores.append(made)
        return made

    def new_store(self, **settings: Any) -> Store:
        """A store on a bucket of its own."""
        made = self.store(f"contract-{os.getpid()}-{next(NUMBERS)}", **settings)
        made.make_bucket()
        return made

    def close(self) -> None:
        """Let go of all connections: MinIO waits for them before it ends."""
        for store in self._stores:
            store.close()
        self._pool.clear()

    @contextmanager
    def counted(self) -> Iterator[Callable[[], int]]:
        """Count the requests that are really sent, whoever sends them."""
        sent: list[str] = []
        real = http.client.HTTPConnection.putrequest

        def noted(connection: Any, method: str, *args: Any, **kwargs: Any) -> None:
            sent.append(method)
            real(connection, method, *args, **kwargs)

        with mock.patch.object(http.client.HTTPConnection, "putrequest", noted):
            yield lambda: len(sent)

    def keep_versions(self, store: Store) -> bool:
        """Ask the server to keep old versions; whether it will."""
        try:
            self.admin.set_bucket_versioning(store.bucket, VersioningConfig(ENABLED))
        except S3Error as error:
            assert error.code == "NotImplemented", error
            return False
        return True

    def remove(self, store: Store, key: str) -> None:
        self.admin.remove_object(store.bucket, key)

    def put_in_parts(self, store: Store, key: str, data: bytes) -> None:
        """Store an object as a multipart upload of 5 MiB each."""
        self.admin.put_object(store.bucket, key, io.BytesIO(data), len(data), part_size=5 * 2**20)


class MemorySite:
    """The fake, as a site."""

    name, lacks = "memory", frozenset[str]()

    def __init__(self) -> None:
        self.server = MemoryServer()

    def store(self, bucket: str, *, secret_key: str | None = None, **settings: Any) -> Store:
        return MemoryStore(self.server, bucket, secret_key)

    def new_store(self, **settings: Any) -> Store:
        made = self.store(f"contract-{next(NUMBERS)}", **settings)
        made.make_bucket()
        return made

    @contextmanager
    def counted(self) -> Iterator[Callable[[], int]]:
        before = self.server.requests
        yield lambda: self.server.requests - before

    def keep_versions(self, store: Store) -> bool:
        self.server.versioned.add(store.bucket)
        return True

    def remove(self, store: Store, key: str) -> None:
        self.server.put(store.bucket, key, None)

    def put_in_parts(self, store: Store, key: str, data: bytes) -> None:
        self.server.put(store.bucket, key, data, etag="0123456789abcdef0123456789abcdef-2")


AnySite = Site | MemorySite


@contextmanager
def embedded(server: EmbeddedServer, folder: Path) -> Iterator[Site]:
    """The gateway of the demo (the genuine server where there is no wheel of it)."""
    site = Site(
        "embedded",
        server.endpoint,
        server.access_key,
        server.secret_key,
        folder,
        lacks="" if server.kind == "minio" else "versions encoding conditions",
    )
    yield site
    site.close()


@contextmanager
def genuine(binary: Path, folder: Path) -> Iterator[Site]:
    """A MinIO server as MinIO builds it."""
    with EmbeddedServer(executable=binary) as server:
        site = Site("minio", server.endpoint, server.access_key, server.secret_key, folder)
        yield site
        site.close()


@contextmanager
def moto(folder: Path) -> Iterator[Site]:
    """The AWS mock, in a thread: it ends with this process, however that ends."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for every request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        lacks = "signatures select"  # of S3 Select it knows only simpler queries than ours
        site = Site("moto", endpoint, "dummy-access", "dummy-secret", folder, lacks)
        yield site
        site.close()
    finally:
        server.stop()


def find_minio() -> Path | None:
    """The genuine server: the one that STOCKDB_MINIO names, ``make minio`` built, PATH has."""
    named = os.environ.get("STOCKDB_MINIO")
    if named:
        return Path(named)
    built = ROOT / ".minio" / "bin" / "minio"
    on_path = shutil.which("minio")
    return built if built.is_file() else Path(on_path) if on_path else None


def md5(data: bytes) -> str:
    """What the ETag of a one-piece object is."""
    return hashlib.md5(data).hexdigest()
