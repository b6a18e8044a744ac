"""The front door to data prepared for one trading algorithm."""

from __future__ import annotations

from typing import NoReturn

from minio_data_integration import MinIODataIntegration
from stockdb.errors import ConfigurationError

__all__ = ["TradingDataAdapter"]


class TradingDataAdapter:
    """Data per algorithm, out of the same bucket and cache.

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

    def list_algorithms(self) -> list[str]:
        """Return the names of the algorithms of this release: none yet."""
        return []

    def get_data_for_algorithm(self, algorithm: str, *args: object, **kwargs: object) -> NoReturn:
        """Refuse: this release has no algorithm.

        Raises
        ------
        ConfigurationError
            Always; the algorithms of the README come in a later release.
        """
        raise ConfigurationError(
            f"This release has no algorithm {algorithm!r}.",
            remedy="Use MinIODataIntegration.get_historical_data(..., preprocess=True) meanwhile.",
            algorithm=algorithm,
        )
