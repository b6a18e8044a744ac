"""The simulated bucket on a server: every object says that it is simulated."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Self

from stockdb.core.store import ObjectStore
from stockdb.demo.server import EmbeddedServer
from stockdb.demo.simulate import DEFAULT_SEED, demo_objects
from stockdb.errors import ConfigurationError
from stockdb.settings import Settings, load_settings

__all__ = ["DemoBucket", "demo_settings", "fill_bucket"]

_UPLOADS: Final = 8


def fill_bucket(store: ObjectStore, seed: int = DEFAULT_SEED) -> int:
    """Create the bucket and put the simulated objects into it.

    Returns
    -------
    int
        Objects stored, each with the metadata ``simulated: true`` that marks every frame
        read from it.
    """
    store.make_bucket()
    with ThreadPoolExecutor(_UPLOADS) as pool:
        puts = [
            pool.submit(store.put, key, data, metadata={"simulated": "true"})
            for key, data in demo_objects(seed)
        ]
        return len([put.result() for put in puts])


def demo_settings(server: EmbeddedServer, **explicit: Any) -> Settings:
    """Make settings for an embedded server, whatever the environment and files say."""
    return load_settings(
        endpoint=server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        secure=False,
        bucket_name="stockdb",
        **explicit,
    )


class DemoBucket:
    """The simulated bucket on a server of its own: for notebooks, scripts and tests.

    Everything read from it is marked as simulated. Server, files and cache are gone after
    :meth:`stop`, and at the latest with this process.

    Parameters
    ----------
    seed : int

    Examples
    --------
    >>> with DemoBucket() as demo:
    ...     demo.settings.connection.bucket_name
    'stockdb'
    """

    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        self._seed = seed
        self._server = EmbeddedServer()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """What ``MinIODataIntegration(demo.settings)`` takes.

        Raises
        ------
        ConfigurationError
            It has not been started.
        """
        if self._settings is None:
            raise ConfigurationError(
                "The demo bucket has not been started.", remedy="Call start(), or use `with`."
            )
        return self._settings

    def start(self) -> Self:
        """Start the server and fill the bucket, in a few seconds."""
        self._folder = tempfile.TemporaryDirectory(prefix="stockdb-demo-")
        self._server.start()
        try:
            self._settings = demo_settings(
                self._server,
                cache_dir=f"{self._folder.name}/cache",
                log_dir=f"{self._folder.name}/logs",
            )
            fill_bucket(ObjectStore(self._settings), self._seed)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server and remove all files; may be called again."""
        self._settings = None
        self._server.stop()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
