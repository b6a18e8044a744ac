"""The front door to long-dated options."""

from __future__ import annotations

from minio_data_integration import MinIODataIntegration
from stockdb.settings import Leaps

__all__ = ["LEAPSDataIntegration"]


class LEAPSDataIntegration:
    """LEAPS out of the same bucket and cache; chains and scans come in a later release.

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
