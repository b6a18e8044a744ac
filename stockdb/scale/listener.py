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
#: Of a server that has never told anything: it may be one that does not, as AWS S3.
_DEAF_PAUSE: Final = 300.0


class Listener:
    """Hints where to look; a hint that is lost costs time, never an update.

    Parameters
    ----------
    store : ObjectStore
    prefix : str
        Of the keys to hear of.

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
        self._connected = False
        self.heard = False

    @property
    def reliable(self) -> bool:
        """Whether it listens now, to a server that is known to tell."""
        return self.heard and self._connected

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen."""
        self._loop = loop
        self._thread = threading.Thread(target=self._run, name="stockdb-listen", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End the connection; the thread ends at once, but is not waited for."""
        self._stopped.set()
        self._scope.cancel()

    def join(self) -> None:
        """Wait for the end of the thread."""
        if self._thread is not None:
            self._thread.join()

    async def hints(self, seconds: float) -> set[str] | None:
        """Wait for keys to look at; None where the time is over, or any may have changed."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
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
                        self._tell(key)
                        if key is not None:
                            pause = _FIRST_PAUSE
                except StockDBError as error:
                    log.debug("not listening: %s", error.message)
                if self.reliable:  # what ended it may be the end of the server
                    self._tell(None)
                self._connected = False
                self._stopped.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE if self.heard else _DEAF_PAUSE)

    def _tell(self, key: str | None) -> None:
        self._connected = True
        if self._loop is not None and not self._stopped.is_set():
            try:
                self._loop.call_soon_threadsafe(self._hint, key)
            except RuntimeError:  # the loop has been closed, and nobody closed us before
                self.end()

    def _hint(self, key: str | None) -> None:
        if key is None:  # connected, or no longer: what happened between, nobody said
            self._blind = True
        else:
            self.heard = True
            self._keys.add(key)
        self._wake.set()
