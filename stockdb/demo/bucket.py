"""The simulated bucket on a server: every object says that it is simulated."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from stockdb.core.store import ObjectStore
from stockdb.demo.server import EmbeddedServer
from stockdb.demo.simulate import DEFAULT_SEED, demo_objects
from stockdb.settings import Settings, load_settings

__all__ = ["demo_settings", "fill_bucket"]

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
