"""Log files: rotating, on our own logger only, and never a reason to fail."""

from __future__ import annotations

import logging
import logging.handlers
import threading
from pathlib import Path
from typing import Final

from stockdb.settings import Logs

__all__ = ["LOGGER", "log_to_files"]

LOGGER: Final = logging.getLogger("stockdb")
LOGGER.addHandler(logging.NullHandler())
_lock = threading.Lock()


def log_to_files(settings: Logs) -> Path | None:
    """Send the library's log to a rotating file, once per file.

    Returns
    -------
    pathlib.Path or None
        The file; None where the folder cannot be written.
    """
    path = settings.log_dir.expanduser() / "stockdb.log"
    with _lock:
        for handler in LOGGER.handlers:
            if getattr(handler, "baseFilename", None) == str(path.absolute()):
                return path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8"):
                pass  # tells now, not at the first record, whether it can be written
            handler = logging.handlers.RotatingFileHandler(
                path,
                maxBytes=settings.log_max_bytes,
                backupCount=settings.log_backups,
                encoding="utf-8",
                delay=True,
            )
        except OSError:
            return None
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(name)s [%(process)d] %(message)s")
        )
        LOGGER.addHandler(handler)
        if LOGGER.level == logging.NOTSET:
            LOGGER.setLevel(settings.log_level)
    return path
