"""One thread that listens to a bucket's notifications and passes them to an event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Final

from stockdb.core.notify import listen
from stockdb.core.scope import Scope, entered
from stockdb.core.store import ObjectStore
from stockdb.core.transport import Deadline
from stockdb.errors import StockDBError

__all__ = ["Listener"]

log = logging.getLogger("stockdb.watch")
_SECONDS: Final = 3600.0  # of one connection
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0


class Listener:
    """Hints where to look; a hint that is lost costs time, never an update.

    Parameters
    ----------
    store : ObjectStore
    prefix : str

    Attributes
    ----------
    heard : bool
        Whether this server has ever sent a notification.
    """

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store, self._prefix = store, prefix
        self._scope, self._stopped = Scope(), threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._keys: set[str] = set()
        self._blind = False
        self.heard = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen."""
        self._loop = loop
        self._thread = threading.Thread(target=self._run, name="stockdb-listen", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the connection and wait for the thread."""
        self._stopped.set()
        self._scope.cancel()
        if self._thread is not None:
            self._thread.join()

    async def hints(self, seconds: float) -> set[str] | None:
        """Wait for keys to look at; None where the time is over, or any may have changed."""
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return None
        self._wake.clear()
        keys, self._keys = self._keys, set()
        blind, self._blind = self._blind, False
        return None if blind else keys

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        with entered(self._scope):
            while not self._stopped.is_set():
                try:
                    for key in listen(self._store, self._prefix, Deadline(_SECONDS)):
                        pause = _FIRST_PAUSE
                        self._tell(key)
                except StockDBError as error:
                    log.debug("not listening: %s", error.message)
                self._stopped.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _tell(self, key: str | None) -> None:
        loop = self._loop
        if loop is not None and not self._stopped.is_set() and not loop.is_closed():
            loop.call_soon_threadsafe(self._hint, key)

    def _hint(self, key: str | None) -> None:
        if key is None:  # just connected: what happened before, nobody said
            self._blind = True
        else:
            self.heard = True
            self._keys.add(key)
        self._wake.set()
