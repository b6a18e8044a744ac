"""The front door to long-dated options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minio_data_integration import MinIODataIntegration
from stockdb.doors.arbitrage import ArbitrageMethods
from stockdb.doors.numbers import NumberMethods
from stockdb.doors.portfolio import PortfolioMethods
from stockdb.doors.strategies import StrategyMethods
from stockdb.settings import Leaps

if TYPE_CHECKING:  # loaded with the first client
    from stockdb.access import Access

__all__ = ["LEAPSDataIntegration"]


class LEAPSDataIntegration(NumberMethods, ArbitrageMethods, StrategyMethods, PortfolioMethods):
    """LEAPS out of the same bucket and cache: numbers, and searches at prices that can be traded.

    Parameters
    ----------
    minio : MinIODataIntegration, optional
        A client to share; one from the settings otherwise.

    Raises
    ------
    ConfigurationError
        No endpoint is configured.
    """

    def __init__(self, minio: MinIODataIntegration | None = None) -> None:
        self.minio = minio if minio is not None else MinIODataIntegration()

    @property
    def config(self) -> Leaps:
        """LEAPS_CONFIG as it is in force: symbols, least days to expiration, fees."""
        return self.minio.settings.leaps

    @property
    def _access(self) -> Access:
        return self.minio._access
