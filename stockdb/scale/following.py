"""The task behind a watch: look, compare, tell; again when something may have changed.

Notifications only say where to look. What is told is the difference between an object as it
was last read and as it is read now, so that a lost or doubled notification changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from stockdb.errors import StockDBError
from stockdb.scale.background import Background
from stockdb.scale.listener import Listener
from stockdb.scale.updates import DOWN, HOPELESS, Subject, Update, now

__all__ = ["Following"]

#: Where notifications arrive, asking is only for those that were lost.
_RELAXED: Final = 4
#: Updates that wait for their reader; then nothing is looked at until there is room.
_WAITING: Final = 64


class Following:
    """Follows subjects in an event loop, and holds what has not been taken yet.

    Parameters
    ----------
    background : Background
    listener : Listener
    subjects : sequence of Subject
    poll_seconds : float
    initial : bool
        Tell what is there to begin with.
    """

    def __init__(
        self,
        background: Background,
        listener: Listener,
        subjects: Sequence[Subject],
        poll_seconds: float,
        initial: bool,
    ) -> None:
        self._background, self._listener = background, listener
        self._subjects = list(subjects)
        #: Those that could be told something of, if only that they cannot be read.
        self._begun: set[Subject] = set()
        self._poll, self._initial = poll_seconds, initial
        self._ready: deque[Update] = deque()
        self._arrived, self._taken = asyncio.Event(), asyncio.Event()
        self._stale = False
        self._ended = False
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        background.attach(self)

    async def next(self) -> Update | None:
        """Wait for an update; None once it has ended.

        Raises
        ------
        StockDBError
            What makes a subject hopeless from its beginning.
        """
        if self._task is None and not self._ended:
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.create_task(self._follow(), name="stockdb-watch")
            self._task.add_done_callback(lambda _: self._arrived.set())
        while not self._ready:
            if self._ended or self._task is None:
                return None
            if self._task.done():
                self._ended = True
                if not self._task.cancelled():
                    self._task.result()
                return None
            self._arrived.clear()
            await self._arrived.wait()
        self._taken.set()
        return self._ready.popleft()

    def end(self) -> None:
        """Stop looking and listening; in the loop's thread."""
        self._ended = True
        self._ready.clear()
        self._listener.end()
        if self._task is not None:
            self._task.cancel()
        self._arrived.set()

    def abandon(self) -> None:
        """Stop looking and listening, whatever thread this is and whether the loop still runs."""
        self._ended = True
        self._listener.end()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.end)

    async def close(self) -> None:
        """End, and wait until no task, thread or connection is left."""
        self.end()
        if self._task is not None:
            await asyncio.wait([self._task])
        await asyncio.to_thread(self._listener.join)

    async def _follow(self) -> None:
        try:
            # Listening begins before the first look, and its own begin is a reason to look
            # again: nothing falls between the two.
            self._listener.start(asyncio.get_running_loop())
            await self._look(self._subjects)
            while True:
                relaxed = self._listener.reliable and not self._stale
                hints = await self._listener.hints(self._poll * (_RELAXED if relaxed else 1))
                if hints is None or self._stale:
                    await self._look(self._subjects)
                elif chosen := [s for s in self._subjects if any(map(s.concerns, hints))]:
                    await self._look(chosen)
        finally:
            self._listener.end()  # also when the loop ends before anybody has closed us

    async def _look(self, subjects: Sequence[Subject]) -> None:
        looks = (self._background.run(s.look, s not in self._begun) for s in subjects)
        outcomes = await asyncio.gather(*looks, return_exceptions=True)
        updates: list[Update] = []
        down: StockDBError | None = None
        for subject, outcome in zip(subjects, outcomes, strict=True):
            begins = subject not in self._begun
            if isinstance(outcome, DOWN) and not (begins and isinstance(outcome, HOPELESS)):
                down = outcome
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                self._begun.add(subject)
                silent = begins and not self._initial  # but not of what cannot be watched
                updates += [u for u in outcome if not silent or u.kind == "error"]
        if down is None and self._stale:
            await self._tell(Update("recovered", None, now()))
        for update in updates:
            await self._tell(update)
        if down is not None and not self._stale:
            await self._tell(Update("stale", None, now(), reason=down.message))
        self._stale = down is not None

    async def _tell(self, update: Update) -> None:
        while len(self._ready) >= _WAITING:
            self._taken.clear()
            await self._taken.wait()
        self._ready.append(update)
        self._arrived.set()
