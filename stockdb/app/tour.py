"""The README's examples, one after the other, on an embedded server with simulated data."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from minio_data_integration import MinIODataIntegration
from stockdb.core.store import ObjectStore
from stockdb.demo.bucket import demo_settings, fill_bucket
from stockdb.demo.server import EmbeddedServer
from stockdb.errors import StockDBError

__all__ = ["tour"]


def tour(seed: int) -> None:
    """Start a server, fill its bucket, run every example, and leave nothing behind."""
    console = Console()
    console.print("[bold]A tour of the MinIO data integration[/bold]")
    console.print("Everything here is SIMULATED, on a server of its own that ends with it.\n")
    with tempfile.TemporaryDirectory(prefix="stockdb-demo-") as folder:
        with _step(console, "Start an embedded S3 server"):
            server = EmbeddedServer().start()
        try:
            settings = demo_settings(server, cache_dir=f"{folder}/cache", log_dir=f"{folder}/logs")
            with _step(console, f"Simulate a bucket from seed {seed} and upload it"):
                count = fill_bucket(ObjectStore(settings), seed)
            console.print(f"  {count} objects in bucket {settings.connection.bucket_name!r}\n")
            with MinIODataIntegration(settings) as minio:
                _connection(console, minio)
                _basic(console, minio)
                _chain(console, minio)
                _many(console, minio)
                _models(console, minio)
                _mistakes(console, minio)
                _dirty(console, minio)
                _cache(console, minio)
        finally:
            server.stop()
    console.print("[bold]Done.[/bold] The server has ended and its files are gone.")
    console.print("Next: set MINIO_ENDPOINT, MINIO_ACCESS_KEY and MINIO_SECRET_KEY, then")
    console.print("      python -m stockdb doctor")


def _connection(console: Console, minio: MinIODataIntegration) -> None:
    with _step(console, "minio.check_connection()"):
        report = minio.check_connection()
    console.print(str(report) + "\n", highlight=False)


def _basic(console: Console, minio: MinIODataIntegration) -> None:
    def read() -> pd.DataFrame:
        return minio.get_historical_data(  # type: ignore[no-any-return]
            symbol="AAPL", start_date="2024-01-01", end_date="2024-01-31", interval="daily"
        )

    with _step(console, "minio.get_historical_data('AAPL', January 2024), from the server"):
        frame = read()
    _show(console, frame)
    with _step(console, "the same again"):
        frame = read()
    _origin(console, minio, frame)
    with _step(console, "interval='weekly'"):
        weekly = minio.get_historical_data("AAPL", "2024-01-01", "2024-01-31", "weekly")
    _show(console, weekly)
    with _step(console, "minio.preprocess_data(df)"):
        prepared = minio.preprocess_data(frame)
    _show(console, prepared[["close", "returns", "log_returns", "typical_price", "vwap"]].tail())


def _chain(console: Console, minio: MinIODataIntegration) -> None:
    with _step(console, "minio.get_option_chain('MSFT'), the newest day, calls near the money"):
        chain = minio.get_option_chain(
            "MSFT", option_type="call", dte=(30, 60), moneyness=(0.98, 1.02)
        )
    columns = ["contract", "expiration", "dte", "strike", "bid", "ask", "mid", "spread"]
    _table(console, chain[columns].head(5))
    known = minio.provenance(chain)
    origin = known.origins[0]
    console.print(
        f"  {len(chain)} rows of {origin.key} by {origin.strategy}: {known.received:,} bytes and "
        f"{known.requests} requests for a file of {origin.rows:,} rows of MSFT\n",
        highlight=False,
    )


def _many(console: Console, minio: MinIODataIntegration) -> None:
    symbols = minio.list_symbols()
    with _step(console, f"minio.bulk_download({len(symbols)} symbols, all history)"):
        result = minio.bulk_download(symbols, progress=False)
    rows = sum(len(frame) for frame in result.values())
    console.print(f"  {len(result)} frames, {rows:,} rows, {len(result.errors)} errors\n")


def _models(console: Console, minio: MinIODataIntegration) -> None:
    unified = minio.create_unified_interface()
    with _step(console, "unified.get_feature_matrix(['AAPL', 'MSFT', 'GOOGL'])"):
        features = unified.get_feature_matrix(["AAPL", "MSFT", "GOOGL"])
    names = ["ret_1", "rsi_14", "c_over_sma_20", "natr_14", "y_fwd_5"]
    _table(console, features[names].dropna().tail(3).reset_index())
    console.print(f"  {features.shape[0]:,} rows x {features.shape[1]} columns\n", highlight=False)
    with _step(console, "unified.prepare_for_model(features, model_type='lstm')"):
        lstm = unified.prepare_for_model(features, model_type="lstm")
    sizes = ", ".join(f"{name} {part.X.shape}" for name, part in lstm.segments.items())
    console.print(f"  {sizes}, all lazy; {lstm.dropped['purged']} rows purged\n", highlight=False)
    with _step(console, "unified.audit(a centred average, 'AAPL')"):
        report = unified.audit(lambda f: f["close"].rolling(53, center=True).mean(), "AAPL")
    console.print(f"  {report.leaks[0]}\n", highlight=False, markup=False)


def _mistakes(console: Console, minio: MinIODataIntegration) -> None:
    console.print("[cyan]>>>[/cyan] what a mistake looks like")
    for arguments in (("APPL",), ("AAPL", "2024-02-01", "2024-01-01"), ("AAPL", None, None, "5m")):
        try:
            minio.get_historical_data(*arguments)
        except StockDBError as error:
            console.print(f"  {type(error).__name__}: {error}", highlight=False, soft_wrap=True)
    empty = minio.get_historical_data("AAPL", "2024-01-06", "2024-01-07")
    console.print(f"  an empty frame says why: {empty.attrs['stockdb']['empty_reason']}\n")


def _dirty(console: Console, minio: MinIODataIntegration) -> None:
    with _step(console, "minio.validate_data(...) on every symbol"):
        reports = {
            symbol: minio.validate_data(minio.get_historical_data(symbol, validate=False))
            for symbol in minio.list_symbols()
        }
    for symbol, report in reports.items():
        if not report.ok:
            console.print(f"  {symbol}", highlight=False)
            console.print(_indent(str(report)), highlight=False, soft_wrap=True)
    console.print()


def _cache(console: Console, minio: MinIODataIntegration) -> None:
    with _step(console, "minio.get_cache_stats()"):
        stats = minio.get_cache_stats()
    for name in ("entries", "bytes", "hits", "misses", "bytes_saved", "hit_ratio"):
        value = stats[name]
        text = f"{value:,}" if isinstance(value, int) else f"{value:.1%}"
        console.print(f"  {name:<12} {text}", highlight=False)
    result = minio.clear_cache(older_than_days=7)
    console.print(f"  clear_cache(older_than_days=7) removed {result.entries} entries\n")


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    spent = time.perf_counter() - begin
    console.print(f"[cyan]>>>[/cyan] {what}  [dim]{spent * 1000:,.1f} ms[/dim]", highlight=False)


def _show(console: Console, frame: pd.DataFrame, rows: int = 5) -> None:
    _table(console, frame.head(rows).reset_index())
    note = frame.attrs["stockdb"]
    console.print(
        f"  {len(frame)} rows; adjustment {note['adjustment']}, {note['freshness']}, "
        f"simulated {note['simulated']}\n",
        highlight=False,
    )


def _table(console: Console, frame: pd.DataFrame) -> None:
    table = Table(show_header=True, box=None, padding=(0, 1))
    for name in frame.columns:
        table.add_column(str(name), justify="right", no_wrap=True)
    for values in frame.itertuples(index=False):
        table.add_row(*(_cell(value) for value in values))
    console.print(table)


def _origin(console: Console, minio: MinIODataIntegration, frame: pd.DataFrame) -> None:
    known = minio.provenance(frame)
    console.print(
        f"  {known.summary['freshness']}: {known.requests} requests, {known.received} bytes "
        f"moved; {known.origins[0].key} ETag {known.origins[0].etag}\n",
        highlight=False,
    )


def _cell(value: Any) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    if isinstance(value, (bool, str)):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100_000 else f"{value:,.5g}"


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
