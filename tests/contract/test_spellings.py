"""Symbols in another spelling, and symbols that are not there: what is asked and counted."""

from __future__ import annotations

from typing import Any

import pytest

from minio_data_integration import MinIODataIntegration
from stockdb import errors
from stockdb.core import discovery, reader
from tests.conftest import ClientFactory
from tests.contract.front_door_tools import Fill, bars, key

Listings = list[str]


@pytest.fixture
def bucket(make_bucket: Fill) -> str:
    return make_bucket({key("BRK-B"): bars(), key("AAPL"): bars()})


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> Listings:
    """Prefixes that were listed at the server."""
    seen: Listings = []
    real = discovery.ObjectStore.listing

    def listing(self: Any, prefix: str = "", **options: Any) -> Any:
        seen.append(prefix)
        return real(self, prefix, **options)

    monkeypatch.setattr(discovery.ObjectStore, "listing", listing)
    return seen


def sent(client: MinIODataIntegration) -> int:
    return int(client.get_cache_stats()["requests"])


def test_the_404_of_another_spelling_is_counted(bucket: str, client_factory: ClientFactory) -> None:
    client = client_factory(bucket)
    client.get_historical_data("BRK.B")
    assert sent(client) == 3  # the key that is not there, the listing, the object
    other = client_factory(bucket)
    other.get_historical_data("AAPL")
    assert sent(other) == 1


@pytest.mark.parametrize("spelt", ["BRK.B", "BRK-B", "BRK_B"])
def test_a_symbol_is_cleared_however_it_was_spelt(
    bucket: str, client_factory: ClientFactory, spelt: str
) -> None:
    client = client_factory(bucket)
    client.get_historical_data("AAPL")
    client.get_historical_data("BRK-B")
    assert client.clear_cache(symbol=spelt).entries == 1
    before = sent(client)
    client.get_historical_data("AAPL")
    assert sent(client) == before
    client.get_historical_data("BRK-B")
    assert sent(client) == before + 1


def test_misspelt_symbols_share_a_listing_made_just_now(
    bucket: str, client_factory: ClientFactory, listings: Listings
) -> None:
    client = client_factory(bucket)
    for symbol in ("AAPPL", "MSFTT", "XYZZY"):
        with pytest.raises(errors.SymbolNotFoundError):
            client.get_historical_data(symbol)
    assert len(listings) == 1


def test_an_older_listing_is_not_believed(
    bucket: str, client_factory: ClientFactory, listings: Listings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "CONFIRMED", 0.0)
    client = client_factory(bucket)
    client.list_symbols()
    with pytest.raises(errors.SymbolNotFoundError):
        client.get_historical_data("AAPPL")
    assert len(listings) == 2


def test_an_absent_underlying_counts_what_the_full_read_cost(
    make_bucket: Fill, client_factory: ClientFactory
) -> None:
    header = (
        "contract,underlying,expiration,type,strike,style,bid,bid_size,ask,ask_size,volume,"
        "open_interest,quote_date,delta,gamma,theta,vega,implied_volatility\n"
    )
    row = "O:A230120C00010000,A,2023-01-20,call,10,A,1,1,2,1,,0,2023-01-03,,,,,\n"
    data = (header + row).encode()
    client = client_factory(make_bucket({"options-complete/2023-01-03options.csv": data}))
    with pytest.raises(errors.SymbolNotFoundError):
        client.get_option_chain("B", "2023-01-03")
    stats = client.get_cache_stats()
    assert stats["requests"] == 2  # the head, and the rest of it
    assert stats["bytes_fetched"] == len(data) + len(row)
