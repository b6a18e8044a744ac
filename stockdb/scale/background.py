"""Blocking calls awaited: each in one of a few threads, ended when nobody waits for it."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from stockdb.core.scope import Scope, entered
from stockdb.errors import ConfigurationError

__all__ = ["Background"]

P = ParamSpec("P")
T = TypeVar("T")
#: Calls at a time that have threads of their own besides.
_WIDE: Final = 2


class Lasting(Protocol):
    """Something that goes on until it is ended."""

    def abandon(self) -> None:
        """End, whatever thread this is."""


class Background:
    """A few threads for one client; made with the first call.

    Parameters
    ----------
    workers : int
        Calls that run at a time; the others wait their turn, and cost no socket.
    """

    def __init__(self, workers: int) -> None:
        self._workers = {False: workers, True: _WIDE}
        self._lock = threading.Lock()
        #: By process, too: a forked child has none of the threads.
        self._pools: dict[tuple[int, bool], ThreadPoolExecutor] = {}
        self._lasting: weakref.WeakSet[Any] = weakref.WeakSet()

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in a thread and await its result.

        A cancelled call that has not begun never does; one that runs is ended: its sockets
        are shut, and whatever it waits for stops.

        Raises
        ------
        ConfigurationError
            The client was closed meanwhile.
        """
        return await self._run(False, lambda: function(*args, **kwargs))

    async def run_wide(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same with a call that has workers of its own: few of those run at a time."""
        return await self._run(True, lambda: function(*args, **kwargs))

    def attach(self, thing: Lasting) -> None:
        """End this, too, when the client is closed."""
        self._lasting.add(thing)

    def close(self) -> None:
        """End the threads once what runs has ended; what has not begun never does."""
        for thing in list(self._lasting):
            thing.abandon()
        with self._lock:
            pools, self._pools = self._pools, {}
        for (process, _), pool in pools.items():
            if process == os.getpid():
                pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, wide: bool, call: Callable[[], T]) -> T:
        scope = Scope()

        def work() -> T:
            with entered(scope):
                return call()

        with self._lock:
            here = os.getpid(), wide
            pool = self._pools.get(here)
            if pool is None:
                pool = self._pools[here] = ThreadPoolExecutor(
                    self._workers[wide], thread_name_prefix="stockdb-async"
                )
            future = pool.submit(work)
        waiting = asyncio.wrap_future(future)
        try:
            # Not awaited itself: whether it or its awaiter was cancelled must be told apart.
            await asyncio.wait([waiting])
        except asyncio.CancelledError:
            waiting.cancel()
            scope.cancel()
            raise
        if waiting.cancelled():
            raise ConfigurationError(
                "The client was closed before this call began.",
                remedy="Await all calls inside the `with` block of the client.",
            )
        return waiting.result()
