"""Work on many symbols at once: joblib runs it, so any joblib backend can."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stockdb.access.access import Access
from stockdb.errors import UnavailableError

if TYPE_CHECKING:
    from joblib import Parallel

__all__ = ["each"]

T = TypeVar("T")
S = TypeVar("S")
log = logging.getLogger("stockdb.bulk")
#: Times that processes may die without one result in between.
_LOSSES: Final = 3
#: Most tasks that go to another process together.
_BATCH: Final = 16


def each(
    access: Access,
    function: Callable[[S], T],
    items: Sequence[S],
    max_workers: int | None,
    *,
    window: int | None = None,
) -> Iterator[T]:
    """Call a function with each item, in parallel, and yield the results in order.

    Parameters
    ----------
    access : Access
    function : callable
        Takes an item; must be importable where another process calls it.
    items : sequence
    max_workers : int or None
    window : int, optional
        Items that are under way or wait to be taken; all by default.

    Raises
    ------
    UnavailableError
        Worker processes die again and again. One that dies costs time only: what it had not
        given back is done again.
    """
    from concurrent.futures.process import BrokenProcessPool

    rest, losses = list(items), 0
    while rest:
        done = 0
        try:
            for outcome in _once(access, function, rest, max_workers, window or len(rest)):
                done += 1
                yield outcome
            return
        except BrokenProcessPool:
            losses = 0 if done else losses + 1
            log.warning("A worker process died; %d tasks begin again.", len(rest) - done)
        if losses >= _LOSSES:
            raise UnavailableError(
                f"Worker processes died {losses} times without giving one result.",
                remedy="Look for what ends them (memory, a time limit), or use fewer workers.",
            )
        rest = rest[done:]


def _once(
    access: Access, function: Callable[[S], T], items: list[S], workers: int | None, window: int
) -> Iterator[T]:
    from joblib import delayed

    with _parallel(access, workers, min(window, len(items))) as run:
        for first in range(0, len(items), window):
            # Dask's backend hashes what it calls, and would hang on a task that holds a dict.
            yield from run(delayed(_call)(function, item) for item in items[first : first + window])


def _call(function: Callable[[S], T], item: S) -> T:
    return function(item)


def _parallel(access: Access, max_workers: int | None, tasks: int) -> Parallel:
    """Threads by default; whatever the caller's ``joblib.parallel_config`` chose instead."""
    from joblib import Parallel, cpu_count
    from joblib.parallel import get_active_backend

    backend, configured = get_active_backend(prefer="threads")
    shares = getattr(backend, "supports_sharedmem", False)
    workers = max_workers or access.settings.performance.max_workers
    if max_workers is None and configured not in {None, 1}:
        workers = configured
    elif not shares and max_workers is None:
        workers = min(workers, cpu_count())  # processes, unlike waiting threads, cost a core
    streams: Any = getattr(backend, "supports_return_generator", False)  # multiprocessing cannot
    # What is sent to another process costs milliseconds a time, so several tasks go together;
    # few enough that all workers end at about the same time, and that a lost one loses little.
    batch = 1 if shares else max(1, min(_BATCH, tasks // (8 * backend.effective_n_jobs(workers))))
    return Parallel(
        n_jobs=workers,
        prefer="threads",
        return_as="generator" if streams else "list",
        batch_size=batch,
        pre_dispatch="all",
    )
