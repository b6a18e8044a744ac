"""The demo bucket, kept running so that the README's examples can be tried by hand."""

from __future__ import annotations

import sys
import threading

from stockdb.demo.bucket import DemoBucket

__all__ = ["serve"]


def serve(seed: int) -> None:
    """Serve the simulated bucket until Ctrl-C, and say how another program reaches it.

    The credentials are made for this server and end with it.
    """
    with DemoBucket(seed) as demo:
        connection = demo.settings.connection
        secret = connection.secret_key
        assert secret is not None  # the embedded server always has one
        for name, value in (
            ("MINIO_ENDPOINT", demo.settings.endpoint().url),
            ("MINIO_ACCESS_KEY", connection.access_key),
            ("MINIO_SECRET_KEY", secret.get_secret_value()),
            ("MINIO_CACHE_DIR", demo.settings.cache.cache_dir),
        ):
            print(f"export {name}={value}")
        print(
            "Everything there is SIMULATED. Put these lines into another terminal; "
            "Ctrl-C ends the server.",
            file=sys.stderr,
        )
        sys.stdout.flush()
        threading.Event().wait()
