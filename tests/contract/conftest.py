"""The servers of the store's contract, each started once, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract import servers
from tests.contract.servers import AnySite, MemorySite, Store


@pytest.fixture(scope="session", params=["memory", "embedded", "moto", "minio"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnySite]:
    """One server after the other."""
    folder = tmp_path_factory.mktemp("site")
    if request.param == "memory":
        yield MemorySite()
    elif request.param == "embedded":
        with servers.embedded(request.getfixturevalue("embedded_server"), folder) as running:
            yield running
    elif request.param == "moto":
        with servers.moto(folder) as running:
            yield running
    else:
        binary = servers.find_minio()
        if binary is None:
            pytest.skip(servers.NO_MINIO)
        with servers.genuine(binary, folder) as running:
            yield running


@pytest.fixture(scope="session")
def store(site: AnySite) -> Store:
    """A bucket that the tests of one server share; each has keys of its own."""
    return site.new_store()
