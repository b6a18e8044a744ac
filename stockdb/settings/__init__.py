"""Settings: sections that a trader edits, and the order in which sources win."""

from typing import Any

from stockdb.settings.endpoint import Endpoint, parse_endpoint
from stockdb.settings.load import CONFIG_FILE, SOURCES, Settings, load_settings
from stockdb.settings.sections import (
    Cache,
    Connection,
    Dataset,
    Leaps,
    Logs,
    Performance,
    Section,
    Validation,
)

__all__ = [
    "CONFIG_FILE",
    "SOURCES",
    "STANDARD_DATASETS",
    "Cache",
    "Connection",
    "Dataset",
    "Endpoint",
    "Leaps",
    "Logs",
    "Performance",
    "Section",
    "Settings",
    "Validation",
    "load_settings",
    "parse_endpoint",
]


def __getattr__(name: str) -> Any:
    if name == "STANDARD_DATASETS":  # built when first asked for: importing must stay cheap
        from stockdb.settings.datasets import STANDARD_DATASETS

        return STANDARD_DATASETS
    raise AttributeError(name)
