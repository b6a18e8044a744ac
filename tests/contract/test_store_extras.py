"""What not every server has: old versions, S3 Select; and the fake by itself."""

from __future__ import annotations

import csv
import datetime as dt
import inspect

import pytest

from stockdb.core.store import ObjectStore
from stockdb.errors import NotFoundError, ObjectChangedError, StockDBError, UnavailableError
from tests.contract.memory import MemoryServer, MemoryStore
from tests.contract.servers import AnySite, Store, md5

#: A day of chains: SPY, its neighbours, a quoted field, and a name that would end a literal.
ROWS = [
    ["SPY", "2024-01-19", "470", "call"],
    ["SPYG", "2024-01-19", "60", "put"],
    ["SPY", "2024-01-19", "470", "put, weekly"],
    ["O'K", "2024-01-19", "10", "call"],
]


@pytest.fixture(scope="module")
def key(store: Store) -> str:
    lines = ["underlying,expiration,strike,type"]
    lines += [",".join(f'"{cell}"' if "," in cell else cell for cell in r) for r in ROWS]
    store.put("chain.csv", ("\n".join(lines) + "\n").encode())
    return "chain.csv"


class TestVersions:
    @pytest.fixture
    def versioned(self, site: AnySite) -> Store:
        made = site.new_store()
        assert site.keep_versions(made) is ("versions" not in site.lacks)
        if "versions" in site.lacks:
            pytest.skip(f"{site.name}: bucket versioning is not implemented there")
        return made

    def test_old_versions_can_be_read(self, versioned: Store) -> None:
        old, new = versioned.put("key", b"old bytes"), versioned.put("key", b"new")
        assert old.version_id and new.version_id and old.version_id != new.version_id
        assert bytes(versioned.get("key").data) == b"new"
        assert versioned.stat("key").version_id == new.version_id
        for info, data in ((old, b"old bytes"), (new, b"new")):
            blob = versioned.get("key", version_id=info.version_id)
            part = versioned.get_range("key", 0, 2, version_id=info.version_id)
            assert (bytes(blob.data), bytes(part.data)) == (data, data[:2])
            assert (blob.info.version_id, blob.info.etag) == (info.version_id, md5(data))
        assert [info.etag for info in versioned.listing()] == [new.etag]

    def test_a_removed_object_is_gone_and_its_versions_are_not(
        self, site: AnySite, versioned: Store
    ) -> None:
        old = versioned.put("key", b"bytes")
        site.remove(versioned, "key")
        with pytest.raises(NotFoundError):
            versioned.get("key")
        assert list(versioned.listing()) == []
        assert bytes(versioned.get("key", version_id=old.version_id).data) == b"bytes"

    def test_a_version_that_never_was(self, versioned: Store) -> None:
        versioned.put("key", b"bytes")
        with pytest.raises(NotFoundError):
            versioned.get("key", version_id="3f2504e0-4f89-11d3-9a0c-0305e82c3301")

    def test_the_current_bytes_are_not_handed_out_as_another_version(
        self, request: pytest.FixtureRequest, site: AnySite
    ) -> None:
        """Of a bucket without versions, be it that the server knows of none (JuiceFS)."""
        store = site.new_store()
        store.put("key", b"bytes")
        for call in (store.get, lambda key, **pin: store.get_range(key, 0, 2, **pin)):
            with pytest.raises(StockDBError):
                call("key", version_id="3f2504e0-4f89-11d3-9a0c-0305e82c3301")


class TestSelect:
    @pytest.fixture
    def able(self, site: AnySite) -> None:
        if "select" in site.lacks:
            pytest.skip(f"{site.name}: no S3 Select for this query")

    @pytest.mark.usefixtures("able")
    @pytest.mark.parametrize("symbol, rows", [("SPY", [0, 2]), ("O'K", [3]), ("QQQ", [])])
    def test_rows_of_one_underlying(
        self, store: Store, key: str, symbol: str, rows: list[int]
    ) -> None:
        text = store.select(key, "underlying", symbol).decode()
        assert list(csv.reader(text.splitlines())) == [ROWS[row] for row in rows]

    def test_a_server_without_it_says_so(self, site: AnySite, store: Store, key: str) -> None:
        if "select" not in site.lacks:
            pytest.skip(f"{site.name} has it")
        with pytest.raises(UnavailableError):
            store.select(key, "underlying", "SPY")

    def test_a_column_that_is_not_there_is_an_error_and_not_no_rows(
        self, store: Store, key: str
    ) -> None:
        with pytest.raises(StockDBError):
            store.select(key, "no_such_column", "SPY")

    @pytest.mark.usefixtures("able")
    def test_a_missing_object(self, store: Store) -> None:
        with pytest.raises(NotFoundError):
            store.select("missing.csv", "underlying", "SPY")


class TestTheFake:
    """What the fake promises beyond the contract."""

    def test_it_has_the_methods_of_the_real_store(self) -> None:
        # These lend an unread body, to Transfer and to a watch, which the fake has no need of.
        names = {n for n in vars(ObjectStore) if not n.startswith("_")} - {"open", "notifications"}
        for name in names:
            real, fake = vars(ObjectStore)[name], vars(MemoryStore).get(name)
            assert fake is not None, f"MemoryStore has no {name}()"
            if callable(real):
                assert inspect.signature(real) == inspect.signature(fake), name

    def test_a_server_without_select(self) -> None:
        bare = MemoryStore(MemoryServer(selects=False))
        bare.make_bucket()
        bare.put("chain.csv", b"a,b\n")
        with pytest.raises(UnavailableError):
            bare.select("chain.csv", "a", "x")

    def test_time_is_an_argument(self) -> None:
        noon = dt.datetime(2024, 1, 2, 12, tzinfo=dt.UTC)
        timed = MemoryStore(MemoryServer(clock=lambda: noon))
        timed.make_bucket()
        timed.put("key", b"x")
        assert timed.stat("key").last_modified == noon


class TestConditionalPuts:
    """Conditions where the server heeds them; the embedded one is known not to."""

    def test_only_where_nothing_is(self, site: AnySite, store: Store) -> None:
        assert store.put("only/new", b"one", only_if={"If-None-Match": "*"}).etag == md5(b"one")
        if "conditions" in site.lacks:
            store.put("only/new", b"two", only_if={"If-None-Match": "*"})
            assert bytes(store.get("only/new").data) == b"two"  # else docs/servers.md is wrong
            pytest.skip(f"{site.name} ignores conditions of a PUT")
        with site.counted() as requests, pytest.raises(ObjectChangedError):
            store.put("only/new", b"two", only_if={"If-None-Match": "*"})
        assert requests() == 1  # what is there will not go away: not tried again
        assert bytes(store.get("only/new").data) == b"one"

    def test_only_over_the_version_seen(self, site: AnySite, store: Store) -> None:
        if "conditions" in site.lacks:
            pytest.skip(f"{site.name} ignores conditions of a PUT")
        first = store.put("only/seen", b"one")
        store.put("only/seen", b"two")
        with pytest.raises(ObjectChangedError):
            store.put("only/seen", b"three", only_if={"If-Match": f'"{first.etag}"'})
        store.put("only/seen", b"four", only_if={"If-Match": f'"{md5(b"two")}"'})
        assert bytes(store.get("only/seen").data) == b"four"
