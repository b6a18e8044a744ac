"""Arguments of the wrong type are refused by the library's own errors, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minio_data_integration import MinIODataIntegration
from stockdb.errors import ConfigurationError, DataError
from tests.conftest import ClientFactory
from tests.contract.front_door_tools import Fill, three_symbols


@pytest.fixture(scope="module")
def minio(make_bucket: Fill, module_clients: ClientFactory) -> MinIODataIntegration:
    return three_symbols(make_bucket, module_clients)


READS: list[Callable[..., Any]] = [
    lambda minio, **options: minio.get_historical_data("KO", **options),
    lambda minio, **options: minio.bulk_download(["KO"], **options),
    lambda minio, **options: minio.iter_historical_data(["KO"], **options),
]


@pytest.mark.parametrize("read", READS, ids=["one", "many", "iterated"])
@pytest.mark.parametrize("wrong", [5, float("nan"), [abs], [None], None, ["rsi_14", 7]])
def test_preprocess(minio: MinIODataIntegration, read: Any, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="is no indicator") as caught:
        read(minio, preprocess=wrong)
    assert "list_indicators()" in caught.value.remedy


def test_an_iterator_of_indicators_is_a_list(minio: MinIODataIntegration) -> None:
    names = iter(["returns", "typical_price"])
    frame = minio.get_historical_data("KO", preprocess=names)  # type: ignore[arg-type]
    assert {"returns", "typical_price"} <= set(frame.columns)


def test_a_misspelt_indicator_says_who_lists_them(minio: MinIODataIntegration) -> None:
    with pytest.raises(ConfigurationError, match="no indicator 'zzzz'") as caught:
        minio.get_historical_data("KO", preprocess="zzzz")
    assert caught.value.remedy == "list_indicators() lists them."
    assert "rsi_14" in minio.list_indicators().index


@pytest.mark.parametrize("read", READS, ids=["one", "many", "iterated"])
@pytest.mark.parametrize("wrong", ["x", "60", -1, float("nan"), True, [1]])
def test_max_age(minio: MinIODataIntegration, read: Any, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_age"):
        read(minio, max_age=wrong)
    with pytest.raises(ConfigurationError, match="max_age"):
        minio.get_option_chain("KO", max_age=wrong)


@pytest.mark.parametrize("right", [0, 1.5, np.int64(60), np.float32(60), float("inf"), None])
def test_ages(minio: MinIODataIntegration, right: Any) -> None:
    assert len(minio.get_historical_data("KO", max_age=right)) == 21


@pytest.mark.parametrize("wrong", ["x", 0, -1, 1.5, True, [2]])
def test_max_workers(minio: MinIODataIntegration, tmp_path: Path, wrong: Any) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: minio.bulk_download(["KO"], max_workers=wrong),
        lambda: list(minio.iter_historical_data(["KO"], max_workers=wrong)),
        lambda: minio.ingest(tmp_path, max_workers=wrong),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match="max_workers"):
            call()
    assert list(minio.bulk_download(["KO", "AAPL"], max_workers=np.int64(1))) == ["KO", "AAPL"]


@pytest.mark.parametrize("wrong", [None, {}, np.zeros((3, 5)), "KO", 5])
def test_preprocess_data(minio: MinIODataIntegration, wrong: Any) -> None:
    with pytest.raises(DataError, match="DataFrame"):
        minio.preprocess_data(wrong)


@pytest.mark.parametrize("wrong", [None, 5, b"stocks", ["a"]])
def test_keys_and_paths(minio: MinIODataIntegration, tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(DataError, match="object key"):
        minio.download_file(wrong, tmp_path)
    if not isinstance(wrong, bytes):
        with pytest.raises(DataError, match="path"):
            minio.download_file("stocks-2010-2025/KO.csv", wrong)
        with pytest.raises(DataError, match="path"):
            minio.ingest(wrong)


def test_on_file(minio: MinIODataIntegration, tmp_path: Path) -> None:
    (tmp_path / "KO.csv").write_text("")
    with pytest.raises(ConfigurationError, match="on_file"):
        minio.ingest(tmp_path, on_file=5)  # type: ignore[arg-type]
