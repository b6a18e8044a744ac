"""Work on many symbols at once: joblib runs it, so any joblib backend can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stockdb.access.access import Access

if TYPE_CHECKING:
    from joblib import Parallel

__all__ = ["parallel"]


def parallel(access: Access, max_workers: int | None) -> Parallel:
    """Threads by default; whatever the caller's ``joblib.parallel_config`` chose instead."""
    from joblib import Parallel, cpu_count
    from joblib.parallel import get_active_backend

    backend, configured = get_active_backend(prefer="threads")
    workers = max_workers or access.settings.performance.max_workers
    if max_workers is None and configured not in {None, 1}:
        workers = configured
    elif not getattr(backend, "supports_sharedmem", False) and max_workers is None:
        workers = min(workers, cpu_count())  # processes, unlike waiting threads, cost a core
    streams = getattr(backend, "supports_return_generator", False)  # multiprocessing cannot
    return Parallel(
        n_jobs=workers,
        prefer="threads",
        return_as="generator" if streams else "list",
        batch_size=1,
        pre_dispatch="all",
    )
