"""What one call has started, so that it can be ended together when nobody waits for it.

A thread cannot be stopped from outside. But all that a read waits for has a deadline: to cancel
a read is to let its deadlines pass now.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any, Protocol

__all__ = ["Scope", "current", "entered"]


class Ending(Protocol):
    """Something that can be made to end."""

    def cut(self) -> None:
        """End now."""


class Scope:
    """Ends whatever was added to it, also what is added later, once it is cancelled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._things: weakref.WeakSet[Any] = weakref.WeakSet()
        self.cancelled = False

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # another process is not reached: there it is None

    def add(self, thing: Ending) -> None:
        """End this, too, when the scope is cancelled; at once where it has been."""
        with self._lock:
            self._things.add(thing)
            late = self.cancelled
        if late:
            thing.cut()

    def check(self) -> None:
        """Begin nothing more for nobody.

        Raises
        ------
        concurrent.futures.CancelledError
            The scope has been cancelled.
        """
        if self.cancelled:
            raise CancelledError

    def cancel(self) -> None:
        """End everything."""
        with self._lock:
            self.cancelled = True
            things = list(self._things)
        for thing in things:
            thing.cut()


_here = threading.local()


def current() -> Scope | None:
    """Return the scope that this thread works in, if any."""
    return getattr(_here, "scope", None)


@contextmanager
def entered(scope: Scope | None) -> Iterator[None]:
    """Work in a scope for one block."""
    outer = current()
    _here.scope = scope
    try:
        yield
    finally:
        _here.scope = outer
