"""The datasets of a ``stockdb`` bucket, where ``minio_config.py`` does not say otherwise."""

from __future__ import annotations

from typing import Final

from stockdb.settings.sections import Dataset

STANDARD_DATASETS: Final[dict[str, Dataset]] = {
    "stocks": Dataset(
        key="stocks-2010-2025/{SYMBOL}.csv",
        kind="bars",
        interval="daily",
        adjustment="none",  # say "splits" or "all" where the prices are adjusted already
        start="2010-01-01",
    ),
    "options": Dataset(
        key="options-complete/{YYYY-MM-DD}options.csv",
        kind="options",
        order="underlying",  # rows grouped by underlying, underlyings ascending
        oi_asof="open",
        start="2010-01-01",
    ),
    "options_2002_2009": Dataset(
        key="options/{YYYY}/{YYYY-MM-DD}options.csv", kind="options", end="2009-12-31"
    ),
    "stocks_2002_2009": Dataset(
        key="options/{YYYY}/{YYYY-MM-DD}stocks.csv",
        kind="day_bars",
        interval="daily",
        end="2009-12-31",
    ),
    "archive_2002_2009": Dataset(key="{YYYY}.zip", kind="archive", end="2009-12-31"),
    "samples": Dataset(key="samples/", kind="files"),
    "options_2010_copy": Dataset(key="options-2010/", kind="files", duplicate_of="options"),
    "aws_backup": Dataset(
        key="aws_backup/extracted_options/", kind="files", duplicate_of="options_2002_2009"
    ),
    "financials": Dataset(key="financials/", kind="files"),
    "us_financials": Dataset(key="us_financials/", kind="files"),
    "splits": Dataset(key="reference/splits.csv", kind="reference"),
    "dividends": Dataset(key="reference/dividends.csv", kind="reference"),
    "treasury": Dataset(key="reference/treasury.csv", kind="reference"),
}
