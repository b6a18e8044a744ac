"""The tour: prices, their defects, and the cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from minio_data_integration import MinIODataIntegration
from stockdb.app.planted import Comparison, defects
from stockdb.app.show import Show
from stockdb.errors import StockDBError

__all__ = ["cache", "connection", "history", "many", "mistakes", "validation"]


def connection(show: Show, minio: MinIODataIntegration) -> None:
    """Check the connection."""
    with show.step("minio.check_connection()"):
        report = minio.check_connection()
    show.text(f"{report}\n")


def history(show: Show, minio: MinIODataIntegration) -> None:
    """Read bars twice, weekly ones, and preprocess them."""

    def read() -> pd.DataFrame:
        return minio.get_historical_data(  # type: ignore[no-any-return]
            symbol="AAPL", start_date="2024-01-01", end_date="2024-01-31", interval="daily"
        )

    with show.step("minio.get_historical_data('AAPL', January 2024), from the server"):
        frame = read()
    show.frame(frame)
    with show.step("the same again"):
        frame = read()
    known = minio.provenance(frame)
    show.line(
        f"{known.summary['freshness']}: {known.requests} requests, {known.received} bytes moved; "
        f"{known.origins[0].key} ETag {known.origins[0].etag}",
        end=True,
    )
    with show.step("interval='weekly'"):
        weekly = minio.get_historical_data("AAPL", "2024-01-01", "2024-01-31", "weekly")
    show.frame(weekly)
    with show.step("minio.preprocess_data(df)"):
        prepared = minio.preprocess_data(frame)
    show.frame(prepared[["close", "returns", "log_returns", "typical_price", "vwap"]].tail(3))


def many(show: Show, minio: MinIODataIntegration) -> None:
    """Read every symbol at once."""
    symbols = minio.list_symbols()
    with show.step(f"minio.bulk_download({len(symbols)} symbols, all history)"):
        result = minio.bulk_download(symbols, progress=False)
    rows = sum(len(frame) for frame in result.values())
    show.line(f"{len(result)} frames, {rows:,} rows, {len(result.errors)} errors", end=True)


def mistakes(show: Show, minio: MinIODataIntegration) -> None:
    """Make mistakes, and print what they lead to."""
    show.text("What a mistake looks like:")
    for arguments in (("APPL",), ("AAPL", "2024-02-01", "2024-01-01"), ("AAPL", None, None, "5m")):
        try:
            minio.get_historical_data(*arguments)
        except StockDBError as error:
            show.line(f"{type(error).__name__}: {error}")
    empty = minio.get_historical_data("AAPL", "2024-01-06", "2024-01-07")
    show.line(f"an empty frame says why: {empty.attrs['stockdb']['empty_reason']}", end=True)


def validation(show: Show, minio: MinIODataIntegration, truth: Mapping[str, Any]) -> Comparison:
    """Validate every symbol."""
    with show.step("minio.validate_data(minio.get_historical_data('PEP', validate=False))"):
        report = minio.validate_data(minio.get_historical_data("PEP", validate=False))
    show.text(f"{report}\n")
    symbols = minio.list_symbols()
    with show.step(f"the same of {len(symbols)} symbols"):
        findings = {symbol: _findings(minio, symbol) for symbol in symbols}
    for symbol, rules in findings.items():
        if rules:
            found = ", ".join(f"{count} {rule}" for rule, count in rules.items())
            show.line(f"{symbol:<6} {found}")
    compared = defects(truth, findings)
    show.line(str(compared), end=True)
    return compared


def _findings(minio: MinIODataIntegration, symbol: str) -> dict[str, int]:
    """Count what reading found, which removes repeated rows, and what the calendar adds."""
    frame = minio.get_historical_data(symbol)
    report = minio.validate_data(frame)
    read: dict[str, int] = frame.attrs["stockdb"]["validation"]["rules"]
    return read | {finding.rule: finding.count for finding in report.findings}


def cache(show: Show, minio: MinIODataIntegration) -> None:
    """Print what the cache saved, and clear what is old."""
    with show.step("minio.get_cache_stats()"):
        stats = minio.get_cache_stats()
    for name in ("entries", "bytes", "hits", "misses", "bytes_saved", "hit_ratio"):
        value = stats[name]
        text = f"{value:,}" if isinstance(value, int) else f"{value:.1%}"
        show.line(f"{name:<12} {text}")
    with show.step("minio.clear_cache(older_than_days=7)"):
        result = minio.clear_cache(older_than_days=7)
    show.line(f"removed {result.entries} entries, {result.remaining_entries} remain", end=True)
