"""The reference tables, read through a real server."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from minio import Minio

from stockdb.access import Access
from stockdb.access.reference import tenor_years
from stockdb.core.reader import ReadPolicy
from stockdb.errors import DataError, NotFoundError
from stockdb.settings import Dataset
from tests.conftest import ClientFactory, fill
from tests.contract.front_door_tools import Fill, note

SPLITS = b"Symbol,Ex_Date,RATIO\nAAPL,2014-06-09,7\nBRK-B,2010-01-21,50\naapl,2020-08-31,4\n"
DIVIDENDS = (
    b"symbol,ex_date,amount\nKO,2020-03-13,0.41\nAAPL,2020-08-07,0.82\nKO,2019-11-29,0.40\n"
    b"KO,2020-03-13,1.00\nKO,2020-03-13,1.00\n"
)
TREASURY = (
    b"Date,1 Mo,6 Mo,1 Yr,10 Yr,SOFR\n2024-01-03,5.5,5.2,4.8,4.0,5.3\n2024-01-02,5.4,,4.7,3.9,5.3\n"
)
KEYS = {name: f"reference/{name}.csv" for name in ("splits", "dividends", "treasury")}


@pytest.fixture
def access(make_bucket: Fill, client_factory: ClientFactory) -> Access:
    data = (SPLITS, DIVIDENDS, TREASURY)
    bucket = make_bucket(dict(zip(KEYS.values(), data, strict=True)))
    return client_factory(bucket)._access


def test_splits_of_a_symbol(access: Access) -> None:
    frame = access.splits("AAPL")
    assert frame is not None and frame.index.dtype == "datetime64[ns]"
    assert frame.index.astype(str).tolist() == ["2014-06-09", "2020-08-31"]
    assert frame["ratio"].tolist() == [7.0, 4.0] and list(frame.columns) == ["ratio"]
    assert note(frame)["adjustment"] == "none" and note(frame)["freshness"] == "fetched"
    assert access.provenance.of(frame).origins[0].key == "reference/splits.csv"


def test_share_classes_in_any_spelling(access: Access) -> None:
    frame = access.splits("BRK.B")
    assert frame is not None and frame["ratio"].tolist() == [50.0]


def test_dividends_ascend_and_a_repeated_line_counts_once(access: Access) -> None:
    frame = access.dividends("KO")
    assert frame is not None
    assert frame["amount"].tolist() == [0.40, 0.41, 1.00]
    assert frame.index.astype(str).tolist() == ["2019-11-29", "2020-03-13", "2020-03-13"]


def test_a_symbol_without_events_is_empty_with_the_reason(access: Access) -> None:
    frame = access.splits("KO")
    assert frame is not None and frame.empty and list(frame.columns) == ["ratio"]
    assert note(frame)["empty_reason"] == "the table of splits has nothing for KO"


def test_all_symbols(access: Access) -> None:
    frame = access.splits()
    assert frame is not None and frame["symbol"].tolist() == ["AAPL", "BRK-B", "AAPL"]


def test_treasury_in_continuous_fractions(access: Access) -> None:
    frame = access.treasury()
    assert frame is not None
    assert frame.index.astype(str).tolist() == ["2024-01-02", "2024-01-03"]
    assert frame.columns.tolist() == pytest.approx([1 / 12, 0.5, 1.0, 10.0])
    row = frame.loc["2024-01-03"]
    # a deposit of 1 grows to 1 + 0.052/2 in half a year, and a bond's to (1 + 0.04/2)^2 in one
    assert math.exp(row[0.5] * 0.5) == pytest.approx(1.026, abs=1e-12)
    assert math.exp(row[10.0]) == pytest.approx(1.02**2, abs=1e-12)
    assert math.isnan(frame.iloc[0][0.5])


def test_treasury_as_published(access: Access) -> None:
    frame = access.treasury(percent=True)
    assert frame is not None and frame.loc["2024-01-02", 10.0] == 3.9


def test_the_second_read_asks_nobody(access: Access) -> None:
    access.splits("AAPL")
    frame = access.splits("AAPL")
    assert frame is not None and note(frame)["freshness"] == "fresh"
    assert access.provenance.of(frame).requests == 0


def test_a_replaced_table_is_read_anew(access: Access, s3: Minio) -> None:
    access.splits("AAPL")
    fill(s3, access.settings.connection.bucket_name, {KEYS["splits"]: b"symbol,ex_date,ratio\n"
         b"AAPL,2030-01-02,3\n"})  # fmt: skip
    frame = access.reference.events("splits", "AAPL", policy=ReadPolicy(max_age=0))
    assert frame is not None and frame["ratio"].tolist() == [3.0]


def test_an_absent_table_is_named(make_bucket: Fill, client_factory: ClientFactory) -> None:
    access = client_factory(make_bucket())._access
    for read in (access.splits, access.dividends):
        with pytest.raises(NotFoundError, match=r"no table of (splits|dividends) \(reference/"):
            read("AAPL")
        assert read("AAPL", required=False) is None
    with pytest.raises(NotFoundError, match=r"no table of treasury \(reference/treasury.csv\)"):
        access.treasury()
    assert access.treasury(required=False) is None


def test_absence_is_remembered_for_a_while_only(
    make_bucket: Fill, client_factory: ClientFactory, s3: Minio
) -> None:
    access = client_factory(make_bucket())._access
    assert access.splits("AAPL", required=False) is None
    fill(s3, access.settings.connection.bucket_name, {KEYS["splits"]: SPLITS})
    assert access.splits("AAPL", required=False) is None
    frame = access.reference.events("splits", "AAPL", policy=ReadPolicy(max_age=0))
    assert frame is not None and len(frame) == 2
    assert access.splits("AAPL") is not None


def test_a_missing_bucket_is_never_a_missing_table(client_factory: ClientFactory) -> None:
    access = client_factory("no-such-bucket-here")._access
    with pytest.raises(NotFoundError, match="no-such-bucket-here"):
        access.splits("AAPL", required=False)


def test_no_dataset_configured(make_bucket: Fill, client_factory: ClientFactory) -> None:
    other = {"treasury": Dataset(key="rates/", kind="files")}
    access = client_factory(make_bucket(), datasets=other)._access
    with pytest.raises(NotFoundError, match="No reference dataset 'treasury'"):
        access.treasury()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"symbol,ex_date,ratio\nA,2020-01-02,-2\n", "A 2020-01-02 has the ratio -2"),
        (b"symbol,ex_date,ratio\nA,2020-01-02,2\nA,2020-01-02,3\n", "ratio 3, and another one"),
    ],
)
def test_ratios_that_cannot_be(
    data: bytes, message: str, make_bucket: Fill, client_factory: ClientFactory
) -> None:
    access = client_factory(make_bucket({KEYS["splits"]: data}))._access
    with pytest.raises(DataError, match=message):
        access.splits("A")


def test_declared_basis_of_dividends(make_bucket: Fill, client_factory: ClientFactory) -> None:
    datasets = {
        "dividends": Dataset(key="d.csv", kind="reference", adjustment="splits"),
    }
    access = client_factory(make_bucket({"d.csv": DIVIDENDS}), datasets=datasets)._access
    frame = access.dividends("KO")
    assert frame is not None and note(frame)["adjustment"] == "splits"


@pytest.mark.parametrize(
    ("name", "years"),
    [("dgs1mo", 1 / 12), ("DGS30", 30.0), ("3m", 0.25), ("1y", 1.0), ("bc_2year", 2.0),
     ("bc_1month", 1 / 12), ("dff", None), ("sofr", None), ("10", None), ("m", None)],
)  # fmt: skip
def test_names_of_tenors(name: str, years: float | None) -> None:
    assert tenor_years(name) == years


@pytest.mark.shared_data
def test_the_real_files(
    shared_data: Path, make_bucket: Fill, client_factory: ClientFactory
) -> None:
    actions = shared_data / "corporate-actions"
    rates = (shared_data / "rates" / "us_treasury_cmt_2010_2026.csv").read_bytes()
    objects = {
        KEYS["splits"]: (actions / "splits.csv").read_bytes(),
        KEYS["dividends"]: (actions / "dividends.csv").read_bytes(),
        KEYS["treasury"]: rates,
    }
    access = client_factory(make_bucket(objects))._access
    splits, dividends, treasury = access.splits("NVDA"), access.dividends("KO"), access.treasury()
    assert splits is not None and splits["ratio"].tolist() == [2.0, 2.0, 2.0, 1.5, 4.0, 10.0]
    assert dividends is not None and dividends.index.is_monotonic_increasing
    assert treasury is not None
    assert treasury.columns.tolist()[:3] == pytest.approx([1 / 12, 0.25, 0.5])
    assert treasury.columns.tolist()[-1] == 30.0
    raw = pd.read_csv(shared_data / "rates" / "us_treasury_cmt_2010_2026.csv", index_col="date")
    np.testing.assert_allclose(treasury[10.0], 2 * np.log(1 + raw["DGS10"] / 200), atol=1e-15)
