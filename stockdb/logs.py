"""Log files: rotating, on our own logger only, and never a reason to fail."""

from __future__ import annotations

import logging
import logging.handlers
import sys
import threading
from pathlib import Path
from typing import Final

from stockdb.settings import Logs

__all__ = ["LOGGER", "log_to_files"]

LOGGER: Final = logging.getLogger("stockdb")
LOGGER.addHandler(logging.NullHandler())
_lock = threading.Lock()


class _LogFile(logging.handlers.RotatingFileHandler):
    """A full disk or a folder that vanished costs records; it prints nothing into notebooks."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def log_to_files(settings: Logs) -> Path | None:
    """Send the library's log to a rotating file, once per file.

    Returns
    -------
    pathlib.Path or None
        The file; None where the folder cannot be written.
    """
    try:
        path = settings.log_dir.expanduser() / "stockdb.log"
    except RuntimeError:  # a user id without a home, as containers have
        return None
    with _lock:
        for handler in LOGGER.handlers:
            if getattr(handler, "baseFilename", None) == str(path.absolute()):
                return path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8"):
                pass  # tells now, not at the first record, whether it can be written
            handler = _LogFile(
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
