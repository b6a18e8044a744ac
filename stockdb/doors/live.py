"""Awaitable twins of the public reads, and updates as they arrive."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

if TYPE_CHECKING:  # loaded with the first client
    from stockdb.access import Access
    from stockdb.scale.background import Background
    from stockdb.scale.bulk import BulkResult
    from stockdb.scale.watch import Watch

__all__ = ["LiveMethods"]

#: Reads with a twin, and whether one has workers of its own (None: for a list of symbols).
_TWINS: Final = {
    "get_historical_data": None,
    "bulk_download": True,
    "get_option_chain": False,
    "get_options_data": True,
    "get_contract_history": True,
    "list_symbols": False,
    "list_option_dates": False,
    "coverage": None,
    "find_gaps": None,
}


class LiveMethods:
    """What a client can do in an event loop; mixed into the front door.

    Each twin is the method of the same name without ``_async``, in a thread: the same
    parameters, result and errors. At most ``max_workers`` run at a time, so that a thousand
    awaited at once open no more sockets than that; the others wait their turn. A cancelled one
    ends: its connections are shut, it sends nothing more, and nothing half-written is left.
    """

    _access: Access
    _background: Background

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in _TWINS:
            twin: Any = getattr(cls, f"{name}_async")
            twin.__signature__ = inspect.signature(getattr(cls, name))

    async def get_historical_data_async(self, *args: Any, **kwargs: Any) -> Any:
        """Await :meth:`MinIODataIntegration.get_historical_data`."""
        return await self._awaited("get_historical_data", args, kwargs)

    async def bulk_download_async(self, *args: Any, **kwargs: Any) -> BulkResult:
        """Await :meth:`MinIODataIntegration.bulk_download`; its workers are threads."""
        result: BulkResult = await self._awaited("bulk_download", args, kwargs)
        return result

    async def get_option_chain_async(self, *args: Any, **kwargs: Any) -> Any:
        """Await :meth:`MinIODataIntegration.get_option_chain`."""
        return await self._awaited("get_option_chain", args, kwargs)

    async def get_options_data_async(self, *args: Any, **kwargs: Any) -> Any:
        """Await :meth:`MinIODataIntegration.get_options_data`."""
        return await self._awaited("get_options_data", args, kwargs)

    async def get_contract_history_async(self, *args: Any, **kwargs: Any) -> pd.DataFrame:
        """Await :meth:`MinIODataIntegration.get_contract_history`."""
        frame: pd.DataFrame = await self._awaited("get_contract_history", args, kwargs)
        return frame

    async def list_symbols_async(self, *args: Any, **kwargs: Any) -> list[str]:
        """Await :meth:`MinIODataIntegration.list_symbols`."""
        names: list[str] = await self._awaited("list_symbols", args, kwargs)
        return names

    async def list_option_dates_async(self, *args: Any, **kwargs: Any) -> pd.DatetimeIndex:
        """Await :meth:`MinIODataIntegration.list_option_dates`."""
        dates: pd.DatetimeIndex = await self._awaited("list_option_dates", args, kwargs)
        return dates

    async def coverage_async(self, *args: Any, **kwargs: Any) -> pd.DataFrame:
        """Await :meth:`MinIODataIntegration.coverage`."""
        frame: pd.DataFrame = await self._awaited("coverage", args, kwargs)
        return frame

    async def find_gaps_async(self, *args: Any, **kwargs: Any) -> pd.DataFrame:
        """Await :meth:`MinIODataIntegration.find_gaps`."""
        frame: pd.DataFrame = await self._awaited("find_gaps", args, kwargs)
        return frame

    def watch(
        self,
        symbols: str | Sequence[str] | None = None,
        interval: str = "daily",
        *,
        poll_seconds: float = 15.0,
        initial: bool = False,
    ) -> Watch:
        """Yield updates of symbols, or of the options files, as they arrive.

        Parameters
        ----------
        symbols : str or list of str
            None with ``interval='options'``, which watches the daily options files.
        interval : str
            As for ``get_historical_data``, or ``options``.
        poll_seconds : float
            The server is asked this often, by conditional requests; where it sends
            notifications, they bring an update sooner, and it is asked a quarter as often.
        initial : bool
            Begin with an update that holds all rows there are.

        Returns
        -------
        Watch
            An asynchronous iterator of :class:`stockdb.scale.updates.Update`, and an
            asynchronous context manager. Each state of an object that is seen is told once,
            in order; states that follow faster than they can be read are told as one. While
            the server cannot be reached one update of the kind ``stale`` says so, and one of
            the kind ``recovered`` when it can. A file that cannot be read is one update of the
            kind ``error``, also from the start and without ``initial``. The cache holds what
            was told.

        Raises
        ------
        SymbolNotFoundError, ConfigurationError, AccessDeniedError, NotFoundError ...
            When iteration begins, what no waiting mends: the bucket is not there or does not
            hold a symbol or interval, or the credentials are refused.

        Examples
        --------
        >>> async def follow(minio):                                     # doctest: +SKIP
        ...     async with minio.watch(['AAPL', 'MSFT']) as updates:
        ...         async for update in updates:
        ...             print(update.symbol, update.kind, len(update.new))
        """
        from stockdb.scale.watch import watch

        return watch(self._access, self._background, symbols, interval, poll_seconds, initial)

    async def _awaited(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        wide = _TWINS[name]
        if wide is None:
            wide = not isinstance(args[0] if args else kwargs.get("symbol"), str)
        run = self._background.run_wide if wide else self._background.run
        return await run(getattr(self, name), *args, **kwargs)
