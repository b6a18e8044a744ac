"""Inputs of models, asked for through ``MinIODataIntegration``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # loaded with the first client
    from stockdb.access import Access
    from stockdb.models.unified import UnifiedDataInterface

__all__ = ["ModelMethods"]


class ModelMethods:
    """What a client offers to models; mixed into the front door."""

    _access: Access

    def create_unified_interface(self) -> UnifiedDataInterface:
        """Make the interface to features and model inputs.

        Returns
        -------
        UnifiedDataInterface
            ``get_feature_matrix``, ``prepare_for_model``, ``list_features``, ``audit``,
            ``freeze``. It shares this client's connections and cache.
        """
        from stockdb.models.unified import UnifiedDataInterface

        return UnifiedDataInterface(self._access)
