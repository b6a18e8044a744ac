"""Clients, and what is made of them, in other processes; and what a cache is cleared of."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from leaps_data_integration import LEAPSDataIntegration
from minio_data_integration import MinIODataIntegration
from stockdb.errors import ConfigurationError
from tests.conftest import ClientFactory
from tests.contract.front_door_tools import Fill, bars, key, three_symbols
from trading_data_adapter import TradingDataAdapter


@pytest.fixture(scope="module")
def minio(make_bucket: Fill, module_clients: ClientFactory) -> MinIODataIntegration:
    return three_symbols(make_bucket, module_clients)


COPIES = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES.keys())
def test_a_copy_reads_the_same(minio: MinIODataIntegration, copied: Any) -> None:
    other = copied(minio)
    frame = other.get_historical_data("KO")
    pd.testing.assert_frame_equal(frame, minio.get_historical_data("KO"))
    assert other.provenance(frame).symbols == {} and other.settings == minio.settings
    assert other.get_cache_stats()["directory"] == minio.get_cache_stats()["directory"]
    other.close()
    assert len(minio.get_historical_data("KO", max_age=0)) == 21


def test_a_copy_can_be_awaited(minio: MinIODataIntegration) -> None:
    with COPIES["pickle"](minio) as other:
        assert len(asyncio.run(other.get_historical_data_async("KO"))) == 21


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES.keys())
def test_what_holds_a_client_goes_with_it(minio: MinIODataIntegration, copied: Any) -> None:
    adapter = copied(TradingDataAdapter(minio))
    assert len(adapter.minio.get_historical_data("KO")) == 21
    assert copied(LEAPSDataIntegration(minio)).config == minio.settings.leaps
    unified = copied(minio.create_unified_interface())
    rows = unified.get_feature_matrix(["KO"], ["ret_1"], labels=())
    assert rows.index.get_level_values("symbol").unique().tolist() == ["KO"]


def test_other_processes_call_its_methods(minio: MinIODataIntegration) -> None:
    names = ["AAPL", "MSFT", "KO"]
    read = joblib.delayed(minio.get_historical_data)
    frames = joblib.Parallel(n_jobs=2, backend="loky")(read(name) for name in names)
    for name, frame in zip(names, frames, strict=True):
        pd.testing.assert_frame_equal(frame, minio.get_historical_data(name))


class TestClearing:
    @pytest.mark.parametrize("wrong", [-1, -0.5, float("nan"), "7", True, [7]])
    def test_what_is_no_age_removes_nothing(
        self, make_bucket: Fill, client_factory: ClientFactory, wrong: Any
    ) -> None:
        minio = client_factory(make_bucket({key("KO"): bars()}))
        minio.get_historical_data("KO")
        with pytest.raises(ConfigurationError, match="older_than_days"):
            minio.clear_cache(older_than_days=wrong)
        assert minio.get_cache_stats()["entries"] == 1

    @pytest.mark.parametrize(("age", "left"), [(7, 1), (np.float64(7), 1), (0, 0), (None, 0)])
    def test_what_is_one(
        self, make_bucket: Fill, client_factory: ClientFactory, age: Any, left: int
    ) -> None:
        minio = client_factory(make_bucket({key("KO"): bars()}))
        minio.get_historical_data("KO")
        assert minio.clear_cache(older_than_days=age).remaining_entries == left
