"""Updates as they arrive: notifications where the server sends them, and conditional requests."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence

from stockdb.access import Access
from stockdb.errors import ConfigurationError
from stockdb.scale.background import Background
from stockdb.scale.bulk import names_of
from stockdb.scale.following import Following
from stockdb.scale.listener import Listener
from stockdb.scale.subjects import OptionFiles, SymbolBars
from stockdb.scale.updates import Subject, Update
from stockdb.types import parse_symbol

__all__ = ["Update", "Watch", "watch"]


class Watch:
    """An asynchronous iterator of updates; ``async with``, ``aclose`` or dropping it ends it.

    Parameters
    ----------
    following : Following
    """

    def __init__(self, following: Following) -> None:
        self._following = following
        # Its task knows the loop, not us: who leaves `async for` half-way leaves nothing behind.
        weakref.finalize(self, following.abandon)

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Update:
        update = await self._following.next()
        if update is None:
            raise StopAsyncIteration
        return update

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End: no task, thread or connection is left."""
        await self._following.close()


def watch(
    access: Access,
    background: Background,
    symbols: str | Sequence[str] | None,
    interval: str,
    poll_seconds: float,
    initial: bool,
) -> Watch:
    """Make a watch; see ``MinIODataIntegration.watch``.

    Raises
    ------
    ConfigurationError
        No symbols for bars, symbols for options files, or a time that is none.
    """
    if not poll_seconds > 0:
        raise ConfigurationError("poll_seconds must be above 0.")
    subjects: list[Subject] = []
    if interval == "options":
        if symbols is not None:
            raise ConfigurationError(
                "The options files of a day hold every symbol.",
                remedy="Use watch(interval='options') and get_option_chain(symbol, update.date).",
            )
        subjects.append(OptionFiles(access, initial))
    elif symbols is None:
        raise ConfigurationError("watch() needs symbols.", remedy="watch(['AAPL', 'MSFT']).")
    else:
        names = [
            parse_symbol(n) for n in names_of([symbols] if isinstance(symbols, str) else symbols)
        ]
        request = access.request(None, None, interval, max_age=0)
        subjects += [SymbolBars(access, name, request) for name in names]
    listener = Listener(access.store, os.path.commonprefix([s.prefix for s in subjects]))
    return Watch(Following(background, listener, subjects, poll_seconds, initial))
