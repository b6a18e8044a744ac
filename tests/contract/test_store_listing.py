"""Listings: complete and in order, or an error; the contract of ``test_store.py`` goes on here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.servers import AnySite, Store, md5

#: Names around "/" (0x2F) in the order of bytes, where folder-minded servers go wrong.
KEYS = sorted(
    f"m/{number:04d}{ending}"
    for number in range(833)
    for ending in ("-x.csv", ".csv", "/y.csv")
) + ["z"]  # fmt: skip


def content(key: str) -> bytes:
    return b"x" if key == "z" else b""


@pytest.fixture(scope="module")
def full(site: AnySite) -> Store:
    """A bucket of 2,500 objects, all but one of them empty, which is the quickest to make."""
    made = site.new_store()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: made.put(key, content(key)), KEYS))
    return made


class TestListing:
    def test_2500_keys_complete_and_sorted(self, site: AnySite, full: Store) -> None:
        with site.counted() as requests:
            found = list(full.listing())
        assert [info.key for info in found] == KEYS
        assert all(info.size == len(content(info.key)) for info in found)
        assert all(info.etag == md5(content(info.key)) for info in found)
        assert all(info.last_modified and info.last_modified.tzinfo for info in found)
        assert requests() == 3

    def test_prefix(self, full: Store) -> None:
        for prefix in ("m/00", "m/0123", "m/0123/", "z"):
            expected = [key for key in KEYS if key.startswith(prefix)]
            assert expected and [info.key for info in full.listing(prefix)] == expected

    def test_folders_over_several_pages(self, full: Store) -> None:
        assert [(info.key, info.size) for info in full.listing(recursive=False)] in (
            [("m/", 0), ("z", 1)],
            [("z", 1), ("m/", 0)],  # objects of a page come before its folders
        )
        files = [key for key in KEYS if key.startswith("m/") and not key.endswith("/y.csv")]
        folders = [f"m/{number:04d}/" for number in range(833)]
        found = [info.key for info in full.listing("m/", recursive=False)]
        assert sorted(found) == sorted(files + folders)  # each of them once

    @pytest.mark.parametrize("limit", [1, 7, 1000, 1001, 5000])
    def test_limit(self, site: AnySite, full: Store, limit: int) -> None:
        with site.counted() as requests:
            found = [info.key for info in full.listing(limit=limit)]
        assert found == KEYS[:limit]
        assert requests() == {1: 1, 7: 1, 1000: 1, 1001: 2, 5000: 3}[limit]

    def test_nothing_there_is_an_empty_listing(self, site: AnySite, full: Store) -> None:
        assert list(full.listing("no/such/prefix")) == []
        assert list(full.listing("no/such/prefix/", recursive=False)) == []
        assert list(site.new_store().listing()) == []
