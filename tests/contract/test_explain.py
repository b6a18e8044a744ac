"""What a read would cost, held against what it then cost."""

from __future__ import annotations

import pytest
from minio import Minio

from minio_data_integration import MinIODataIntegration
from stockdb import errors
from tests.conftest import ClientFactory, fill
from tests.contract.front_door_tools import Fill, bars, key, three_symbols

RANGE = ("2024-01-02", "2024-01-10")


@pytest.fixture
def client(make_bucket: Fill, client_factory: ClientFactory) -> MinIODataIntegration:
    return three_symbols(make_bucket, client_factory)


def cost(client: MinIODataIntegration, **options: object) -> tuple[str, int, int]:
    (row,) = client.explain("get_historical_data", "AAPL", *RANGE, **options).itertuples()
    assert row.dataset == "stocks" and row.key == key("AAPL") and row.size == len(bars())
    return row.strategy, row.bytes, row.requests


def test_a_read_costs_what_was_said(client: MinIODataIntegration) -> None:
    for options, expected in (
        ({}, ("object", len(bars()), 1)),
        ({}, ("cache", 0, 0)),
        ({"max_age": 0}, ("revalidate", 0, 1)),
    ):
        assert cost(client, **options) == expected
        known = client.provenance(client.get_historical_data("AAPL", *RANGE, **options))
        assert (known.received, known.requests) == expected[1:]


def test_explaining_reads_no_bars(client: MinIODataIntegration) -> None:
    cost(client)
    assert client.get_cache_stats()["bytes_fetched"] == 0


def test_a_replaced_object_is_read_anew(
    make_bucket: Fill, client_factory: ClientFactory, s3: Minio
) -> None:
    bucket = make_bucket({key("AAPL"): bars()})
    client = client_factory(bucket, listing_ttl_seconds=0)
    client.get_historical_data("AAPL")
    fill(s3, bucket, {key("AAPL"): bars(level=7.0)})
    (row,) = client.explain("get_historical_data", "AAPL", *RANGE, max_age=0).itertuples()
    assert (row.strategy, row.bytes, row.requests) == ("object", len(bars(level=7.0)), 1)


def test_bulk(client: MinIODataIntegration) -> None:
    client.get_historical_data("KO")
    table = client.explain("bulk_download", ["MSFT", "KO"], *RANGE)
    assert table[["symbol", "strategy"]].values.tolist() == [["MSFT", "object"], ["KO", "cache"]]
    with pytest.raises(errors.SymbolNotFoundError, match="APPL") as caught:
        client.explain("bulk_download", ["KO", "APPL"])
    assert "AAPL" in str(caught.value)


def test_years_that_are_held_by_day_are_not_passed_over_in_silence(
    client: MinIODataIntegration,
) -> None:
    early = client.explain("get_historical_data", "AAPL", "2005-01-03", "2024-01-05")
    assert "by day" in early.attrs["stockdb"]["left_out"]
    assert not client.explain("get_historical_data", "AAPL", *RANGE).attrs


def test_what_cannot_be_explained(client: MinIODataIntegration) -> None:
    with pytest.raises(errors.ConfigurationError, match="get_cache_stats") as caught:
        client.explain("get_cache_stats", "AAPL")
    assert "get_historical_data" in caught.value.remedy
    with pytest.raises(errors.RangeError):
        client.explain("get_historical_data", "AAPL", "2024-02-01", "2024-01-01")
    with pytest.raises(errors.DataError):
        client.explain("get_option_chain", ["AAPL"])
