"""Who called the library: warnings are about that line."""

from __future__ import annotations

import inspect
from typing import Final

__all__ = ["callers_level"]

_OURS: Final = (
    "stockdb.",
    "minio_data_integration",
    "trading_data_adapter",
    "leaps_data_integration",
)


def callers_level() -> int:
    """Count the levels from our caller, who warns, up to the code that called the library."""
    level, frame = 1, inspect.currentframe()
    frame = frame.f_back if frame is not None else None
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame, level = frame.f_back, level + 1
    return level
