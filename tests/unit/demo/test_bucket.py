"""The simulated bucket for notebooks and scripts: begins, ends, leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from minio_data_integration import MinIODataIntegration
from stockdb.demo.bucket import DemoBucket
from stockdb.errors import ConfigurationError


def test_it_serves_simulated_data_and_leaves_nothing() -> None:
    with DemoBucket() as demo:
        folder = Path(str(demo.settings.cache.cache_dir)).parent
        with MinIODataIntegration(demo.settings) as minio:
            frame = minio.get_historical_data("AAPL", "2024-01-01", "2024-01-31")
        assert frame.attrs["stockdb"]["simulated"] is True and folder.is_dir()
    assert not folder.exists()
    with pytest.raises(ConfigurationError, match="start"):
        demo.settings.connection  # noqa: B018 - the property raises
    demo.stop()
