"""The local disk cache, looked after through ``MinIODataIntegration``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stockdb.types import parse_age, parse_symbol

if TYPE_CHECKING:  # loaded with the first client
    from stockdb.access import Access
    from stockdb.core.cache import ClearResult, Problem

__all__ = ["CacheMethods"]


class CacheMethods:
    """What a client can say and do about its cache; mixed into the front door."""

    _access: Access

    def get_cache_stats(self) -> dict[str, Any]:
        """Describe the cache, over all processes that use it.

        Returns
        -------
        dict
            entries, bytes, max_bytes, hits, misses, revalidations, replaced, stale_serves,
            evictions, healed (damaged entries), write_errors, bytes_saved, requests_saved,
            bytes_fetched, requests, hit_ratio, directory, problem (why nothing can be kept there;
            else empty).
        """
        return self._access.cache.statistics()

    def clear_cache(
        self, older_than_days: float | None = None, symbol: str | None = None
    ) -> ClearResult:
        """Remove cache entries and say what went.

        Parameters
        ----------
        older_than_days : float, optional
            Only entries that the server has not confirmed for longer than this.
        symbol : str, optional
            Only this symbol's.

        Returns
        -------
        ClearResult
            entries and bytes removed, remaining_entries, remaining_bytes.

        Raises
        ------
        ConfigurationError
            ``older_than_days`` is no number, or one below 0: nothing is removed.
        """
        return self._access.cache.clear(
            older_than=parse_age(older_than_days, "older_than_days", seconds=86400.0),
            symbol=None if symbol is None else parse_symbol(symbol),
        )

    def check_cache(self) -> list[Problem]:
        """Audit the cache: every byte of every entry, and what dead processes left.

        Returns
        -------
        list of Problem
            ``path`` and ``reason``; empty where all is well. A damaged entry harms nothing:
            the next read of it fetches it again.
        """
        return self._access.cache.check()
