"""Frozen feature matrices: the same bytes again, or the objects that have changed by name."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from stockdb.errors import (
    ConfigurationError,
    DataError,
    NotFoundError,
    ObjectChangedError,
)
from stockdb.models import Manifest, Own
from tests.conftest import ClientFactory
from tests.contract.servers import Site, moto
from tests.contract.test_options_flow import DAYS as DATES
from tests.contract.test_options_flow import STOCK, day_file
from tests.contract.test_unified import HELD, csv

NAMES = ("AAPL", "GOOGL", "MSFT")
SPLITS = b"symbol,ex_date,ratio\nAAPL,2017-06-01,7.0\n"


def as_paid() -> pd.DataFrame:
    """AAPL before anybody has divided it by its split."""
    frame = HELD["AAPL"].copy()
    before = frame.index < pd.Timestamp("2017-06-01")
    prices = ["open", "high", "low", "close"]
    frame.loc[before, prices] *= 7.0
    frame.loc[before, "volume"] /= 7.0
    return frame


def objects() -> dict[str, bytes]:
    held = {f"stocks-2010-2025/{name}.csv": csv(HELD[name]) for name in ("GOOGL", "MSFT")}
    held["stocks-2010-2025/AAPL.csv"] = csv(as_paid())
    return {**held, "reference/splits.csv": SPLITS}


def other(name: str) -> bytes:
    return csv(HELD[name].assign(close=lambda f: f["close"].round(1)))


def of(client: Any, **options: Any) -> pd.DataFrame:
    return client.create_unified_interface().get_feature_matrix(**options)


@pytest.fixture
def bucket(make_bucket: Callable[..., str]) -> str:
    return make_bucket(objects())


@pytest.fixture
def client(bucket: str, client_factory: Any) -> Any:
    return client_factory(bucket)


def put(s3: Any, bucket: str, key: str, data: bytes) -> None:
    s3.put_object(bucket, key, io.BytesIO(data), len(data))


class TestWithoutVersions:
    def test_the_same_bytes_again(self, client: Any, client_factory: Any, tmp_path: Path) -> None:
        unified = client.create_unified_interface()
        frame = unified.get_feature_matrix(NAMES, start="2015-03-02", end="2017-09-29")
        manifest = unified.freeze(frame, tmp_path / "frozen.json")
        assert Manifest.load(tmp_path / "frozen.json") == manifest
        assert len(manifest.objects) == 4
        fresh = client_factory(client.settings.connection.bucket_name)
        for source in (manifest, tmp_path / "frozen.json", json.loads(manifest.to_json())):
            again = of(fresh, as_of=source)
            pd.testing.assert_frame_equal(again, frame, check_exact=True)
        assert fresh.provenance(again).origins
        prepared = [fresh.create_unified_interface().prepare_for_model(f, "lstm", seq_len=10)
                    for f in (frame, again)]  # fmt: skip
        assert str(prepared[0].fingerprint) == str(prepared[1].fingerprint)
        with joblib.parallel_config("loky", n_jobs=2):
            pd.testing.assert_frame_equal(of(fresh, as_of=manifest), frame, check_exact=True)

    def test_what_has_changed_is_named(self, client: Any, bucket: str, s3: Any) -> None:
        unified = client.create_unified_interface()
        frame = unified.get_feature_matrix(NAMES)
        manifest = unified.freeze(frame)
        put(s3, bucket, "stocks-2010-2025/MSFT.csv", other("MSFT"))
        s3.remove_object(bucket, "stocks-2010-2025/GOOGL.csv")
        with pytest.raises(ObjectChangedError, match="2 of 4 objects") as caught:
            unified.get_feature_matrix(as_of=manifest)
        gone = ["stocks-2010-2025/GOOGL.csv", "stocks-2010-2025/MSFT.csv"]
        assert sorted(caught.value.values["keys"]) == gone
        assert not caught.value.retryable
        for key in gone:
            assert key in str(caught.value)
        for name in ("GOOGL", "MSFT"):  # restored: the same content has the same ETag
            put(s3, bucket, f"stocks-2010-2025/{name}.csv", csv(HELD[name]))
        pd.testing.assert_frame_equal(of(client, as_of=manifest), frame, check_exact=True)

    def test_what_came_later_is_not_read(
        self, client: Any, bucket: str, s3: Any, client_factory: Any
    ) -> None:
        unified = client.create_unified_interface()
        frame = unified.get_feature_matrix(NAMES, ["default", "tsmom_pos"])
        manifest = unified.freeze(frame)
        assert frame.attrs["stockdb"]["adjustment"] == "splits"
        assert frame["tsmom_pos"].notna().sum() > 1000
        put(s3, bucket, "reference/dividends.csv", b"symbol,ex_date,amount\nMSFT,2016-06-01,2.0\n")
        put(s3, bucket, "stocks-2010-2025/NEW.csv", csv(HELD["AAPL"]))
        rates = "".join(f"{day:%Y-%m-%d},30.0\n" for day in HELD["AAPL"].index)
        put(s3, bucket, "reference/treasury.csv", b"date,3_mo\n" + rates.encode())
        fresh = client_factory(bucket)
        again = of(fresh, as_of=manifest)
        pd.testing.assert_frame_equal(again, frame, check_exact=True)
        now = of(fresh, symbols=NAMES, features="tsmom_pos")
        assert not now["tsmom_pos"].equals(frame["tsmom_pos"])

    def test_it_is_the_same_day(self, client: Any) -> None:
        """The split of June 2017 had not happened on the first of May."""
        unified = client.create_unified_interface()
        frame = unified.get_feature_matrix(NAMES, ["a_kmid", "returns"])
        manifest = unified.freeze(frame)
        early = replace(manifest, call={**manifest.call, "today": "2017-05-01"})
        with pytest.raises(DataError, match="other numbers"):
            of(client, as_of=early)

    def test_what_is_current_is_never_mixed_up(self, client: Any, bucket: str, s3: Any) -> None:
        """What as_of keeps in the cache is not served as current, nor the other way round."""
        unified = client.create_unified_interface()
        manifest = unified.freeze(unified.get_feature_matrix(NAMES))
        of(client, as_of=manifest)
        put(s3, bucket, "stocks-2010-2025/MSFT.csv", other("MSFT"))
        now = of(client, symbols="MSFT", features="returns", labels=(), max_age=0)
        wanted = HELD["MSFT"]["close"].round(1).pct_change().to_numpy(np.float32)
        np.testing.assert_allclose(now["returns"], wanted, rtol=1e-5)
        with pytest.raises(ObjectChangedError, match=r"MSFT\.csv"):
            of(client, as_of=manifest)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with moto(tmp_path_factory.mktemp("moto")) as site:
        yield site


class TestVersions:
    def test_old_versions_are_read(self, site: Site, tmp_path: Path) -> None:
        store = site.new_store()
        assert site.keep_versions(store)
        for key, data in objects().items():
            store.put(key, data)
        server = SimpleNamespace(
            endpoint=site.endpoint, access_key="dummy-access", secret_key="dummy-secret"
        )
        clients = ClientFactory(server, tmp_path)  # type: ignore[arg-type]
        try:
            client = clients(store.bucket)
            unified = client.create_unified_interface()
            frame = unified.get_feature_matrix(NAMES)
            manifest = unified.freeze(frame)
            assert all(version for _, version in manifest.objects.values())
            store.put("stocks-2010-2025/MSFT.csv", other("MSFT"))
            store.put("reference/splits.csv", SPLITS.replace(b"7.0", b"2.0"))
            site.remove(store, "stocks-2010-2025/GOOGL.csv")
            fresh = clients(store.bucket)  # with an empty cache
            for some in (client, fresh):
                again = of(some, as_of=manifest)
                pd.testing.assert_frame_equal(again, frame, check_exact=True)
            with joblib.parallel_config("loky", n_jobs=2):  # workers know the versions, too
                again = of(clients(store.bucket), as_of=manifest)
            pd.testing.assert_frame_equal(again, frame, check_exact=True)
            now = of(fresh, symbols=["AAPL", "MSFT"])
            assert not now.equals(frame.loc[["AAPL", "MSFT"]])
            key = "stocks-2010-2025/MSFT.csv"
            site.admin.remove_object(store.bucket, key, version_id=manifest.objects[key][1])
            with pytest.raises(ObjectChangedError, match=r"1 of 4 objects.*MSFT\.csv"):
                of(clients(store.bucket), as_of=manifest)
        finally:
            clients.close()

    def test_old_versions_of_chains_are_read_by_range(self, site: Site, tmp_path: Path) -> None:
        store = site.new_store()
        assert site.keep_versions(store)
        store.put("stocks-2010-2025/AAA.csv", csv(STOCK))
        keys = {n: f"options-complete/{DATES[n]:%Y-%m-%d}options.csv" for n in range(40, 45)}
        for number, key in keys.items():
            store.put(key, day_file(number))
        server = SimpleNamespace(
            endpoint=site.endpoint, access_key="dummy-access", secret_key="dummy-secret"
        )
        clients = ClientFactory(server, tmp_path)  # type: ignore[arg-type]
        try:
            unified = clients(store.bucket).create_unified_interface()
            frame = unified.get_feature_matrix("AAA", "options", start=DATES[40])
            manifest = unified.freeze(frame)
            assert set(keys.values()) < set(manifest.objects)
            swapped = day_file(44).replace(b",call,", b",c,").replace(b",put,", b",call,")
            store.put(keys[44], swapped.replace(b",c,", b",put,"))
            site.remove(store, keys[43])
            again = of(clients(store.bucket), as_of=manifest)
            pd.testing.assert_frame_equal(again, frame, check_exact=True)
            now = of(clients(store.bucket), symbols="AAA", features="options", start=DATES[40])
            assert not now["pcr_vol"].equals(frame["pcr_vol"])
        finally:
            clients.close()


class TestErrors:
    def test_features_of_ones_own(self, client: Any) -> None:
        unified = client.create_unified_interface()

        def mine(frame: pd.DataFrame) -> pd.Series:
            return frame["close"].pct_change(3)

        frame = unified.get_feature_matrix(NAMES, ["rsi_14", Own.of(mine, 3)])
        manifest = unified.freeze(frame)
        assert manifest.call["features"] is None
        with pytest.raises(ConfigurationError, match="features of your own"):
            unified.get_feature_matrix(as_of=manifest)
        again = unified.get_feature_matrix(as_of=manifest, features=["rsi_14", Own.of(mine, 3)])
        pd.testing.assert_frame_equal(again, frame, check_exact=True)

        def changed(frame: pd.DataFrame) -> pd.Series:
            return frame["close"].pct_change(4)

        changed.__name__ = "mine"
        with pytest.raises(ConfigurationError, match="not the features of the manifest"):
            unified.get_feature_matrix(as_of=manifest, features=["rsi_14", Own.of(changed, 3)])

    def test_other_numbers_of_the_same_objects(self, client: Any) -> None:
        unified = client.create_unified_interface()
        manifest = unified.freeze(unified.get_feature_matrix(NAMES, "returns"))
        older = {**manifest.libraries, "numpy": "1.0"}
        with pytest.raises(DataError, match=r"other numbers\. numpy was 1\.0, is"):
            of(client, as_of=replace(manifest, digest="0" * 64, libraries=older))

    def test_what_cannot_be_frozen(self, client: Any, tmp_path: Path) -> None:
        unified = client.create_unified_interface()
        frame = unified.get_feature_matrix(NAMES, "returns")
        with pytest.raises(DataError, match="changed since it was made"):
            unified.freeze(frame.assign(more=1.0))
        with pytest.raises(DataError, match="changed since it was made"):
            unified.freeze(frame.iloc[1:])
        with pytest.raises(DataError, match="does not say what it was made of"):
            unified.freeze(pd.DataFrame({"a": [1.0]}))
        with pytest.raises(NotFoundError, match="no manifest"):
            unified.get_feature_matrix(as_of=tmp_path / "none.json")
        (tmp_path / "bad.json").write_text("{}")
        with pytest.raises(DataError, match="no manifest of ours"):
            unified.get_feature_matrix(as_of=tmp_path / "bad.json")
        manifest = unified.freeze(frame)
        with pytest.raises(DataError, match="format 9"):
            unified.get_feature_matrix(as_of=json.loads(replace(manifest, format=9).to_json()))
        with pytest.raises(ConfigurationError, match="as_of alone"):
            unified.get_feature_matrix("AAPL", as_of=manifest)
        with pytest.raises(ConfigurationError, match="No symbol"):
            unified.get_feature_matrix()
