"""Work on many symbols at once: joblib runs it, so any joblib backend can."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stockdb.access.access import Access
from stockdb.errors import StockDBError, UnavailableError
from stockdb.types import parse_workers

if TYPE_CHECKING:
    from joblib import Parallel

__all__ = ["each", "sent"]

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
    ConfigurationError
        ``max_workers`` is no number of workers.
    UnavailableError
        Worker processes die again and again. One that dies costs time only: what it had not
        given back is done again.
    """
    from concurrent.futures.process import BrokenProcessPool

    max_workers = parse_workers(max_workers)
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

    parallel, shares = _parallel(access, workers, min(window, len(items)))
    # Dask's backend hashes what it calls, and would hang on a task that holds a dict.
    call = delayed(_call if shares else sent)
    with parallel as run:
        for first in range(0, len(items), window):
            yield from run(call(function, item) for item in items[first : first + window])


def _call(function: Callable[[S], T], item: S) -> T:
    return function(item)


def sent(function: Callable[[S], T], item: S) -> T:
    """Call a function in another process: its result, or its error, can be sent back.

    What led to an error may hold a socket or a lock, and Dask sends it, too: one that cannot
    be built anew where it arrives is lost, and who waits for it waits for ever. So errors
    travel with all their values, but without their causes.

    Raises
    ------
    StockDBError
        In the place of an error of another kind that cannot be sent.
    """
    try:
        return _alone(function(item))
    except Exception as error:
        raised = error
    raise _alone(raised if isinstance(raised, StockDBError) else _sendable(raised))


def _alone(outcome: T) -> T:
    """Cut errors, also those inside, off from what led to them."""
    inside: Any = outcome
    if isinstance(outcome, BaseException):
        outcome.__cause__ = outcome.__context__ = None
        inside = getattr(outcome, "values", None)
    if isinstance(inside, (dict, tuple, list)):
        for part in inside.values() if isinstance(inside, dict) else inside:
            _alone(part)
    return outcome


def _sendable(error: Exception) -> Exception:
    from joblib.externals.loky.backend.reduction import dumps  # takes more than pickle's

    try:
        pickle.loads(dumps(_alone(error)))
    except Exception:  # whatever its class does when it is built anew
        return StockDBError(
            f"{type(error).__name__}: {error}",
            remedy="Do the same without processes or a cluster to see where.",
        )
    return error


def _parallel(access: Access, max_workers: int | None, tasks: int) -> tuple[Parallel, bool]:
    """Threads by default; whatever the caller's ``joblib.parallel_config`` chose instead.

    Also says whether its workers share our memory.
    """
    from joblib import Parallel, cpu_count
    from joblib.parallel import get_active_backend

    backend, configured = get_active_backend(prefer="threads")
    shares: bool = getattr(backend, "supports_sharedmem", False)
    workers = max_workers or access.settings.performance.max_workers
    if max_workers is None and configured not in {None, 1}:
        workers = configured
    elif not shares and max_workers is None:
        workers = min(workers, cpu_count())  # processes, unlike waiting threads, cost a core
    streams: Any = getattr(backend, "supports_return_generator", False)  # multiprocessing cannot
    # What is sent to another process costs milliseconds a time, so several tasks go together;
    # few enough that all workers end at about the same time, and that a lost one loses little.
    batch = 1 if shares else max(1, min(_BATCH, tasks // (8 * backend.effective_n_jobs(workers))))
    chosen = Parallel(
        n_jobs=workers,
        prefer="threads",
        return_as="generator" if streams else "list",
        batch_size=batch,
        pre_dispatch="all",
    )
    return chosen, shares
