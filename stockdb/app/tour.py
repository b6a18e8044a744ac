"""The README's examples, one after the other, on an embedded server with simulated data."""

from __future__ import annotations

import json
import tempfile

import typer

from minio_data_integration import MinIODataIntegration
from stockdb.app import tour_models, tour_options, tour_prices
from stockdb.app.planted import Comparison
from stockdb.app.show import Show
from stockdb.core.store import ObjectStore
from stockdb.demo.bucket import demo_settings, fill_bucket
from stockdb.demo.server import EmbeddedServer

__all__ = ["tour"]


def tour(seed: int) -> None:
    """Start a server, fill its bucket, run every example, and leave nothing behind.

    Raises
    ------
    typer.Exit
        With status 1, where something else was found than was planted.
    """
    show = Show()
    show.title("A tour of the MinIO data integration")
    show.text("Everything here is SIMULATED, on a server of its own that ends with it.\n")
    with tempfile.TemporaryDirectory(prefix="stockdb-demo-") as folder:
        with show.step("Start an embedded S3 server"):
            server = EmbeddedServer().start()
        try:
            settings = demo_settings(server, cache_dir=f"{folder}/cache", log_dir=f"{folder}/logs")
            store = ObjectStore(settings)
            with show.step(f"Simulate a bucket from seed {seed} and upload it"):
                count = fill_bucket(store, seed)
            show.line(f"{count} objects in bucket {settings.connection.bucket_name!r}", end=True)
            truth = json.loads(bytes(store.get("_simulated/truth.json").data))
            with MinIODataIntegration(settings) as minio:
                compared = _examples(show, minio, truth)
        finally:
            server.stop()
    show.title("What was planted in the bucket, and what was found")
    for what, comparison in compared.items():
        show.line(f"{what}: {comparison}")
    show.text("\nDone. The server has ended and its files are gone.")
    show.text("Next: set MINIO_ENDPOINT, MINIO_ACCESS_KEY and MINIO_SECRET_KEY, then")
    show.text("      python -m stockdb doctor")
    if not all(comparison.agrees for comparison in compared.values()):
        raise typer.Exit(1)


def _examples(
    show: Show, minio: MinIODataIntegration, truth: dict[str, object]
) -> dict[str, Comparison]:
    """Run the sections of the README in its order."""
    tour_prices.connection(show, minio)
    show.title("Basic Data Retrieval")
    tour_prices.history(show, minio)
    tour_options.chain(show, minio)
    tour_prices.many(show, minio)
    tour_prices.mistakes(show, minio)
    show.title("Algorithm Integration")
    tour_models.algorithms(show, minio)
    show.title("LEAPS Analysis")
    arbitrage = tour_options.arbitrage(show, minio, truth)
    tour_options.leaps(show, minio, truth)
    tour_options.portfolio(show, minio)
    show.title("Unified Data Access")
    tour_models.unified(show, minio)
    show.title("Cache Management")
    tour_prices.cache(show, minio)
    show.title("Data Validation")
    defects = tour_prices.validation(show, minio, truth)
    return {"arbitrage": arbitrage, "dirty rows, gaps and splits": defects}
