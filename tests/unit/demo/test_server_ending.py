"""The embedded server's ends and new starts: nothing lost, and nothing left behind."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from minio import Minio
from minio.error import S3Error

from stockdb.demo.server import EmbeddedServer
from stockdb.errors import UnavailableError
from tests.unit.demo.server_tools import (
    SUPERVISOR,
    Script,
    client_of,
    eventually,
    get,
    processes_of,
    put,
    supervisor_of,
)

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into Linux's /proc"),
]


def listeners() -> list[threading.Thread]:
    """Threads that listen to a server's supervisor."""
    return [item for item in threading.enumerate() if item.name == "stockdb-server-news"]


class TestEnding:
    def test_stop_leaves_nothing(self, server: EmbeddedServer) -> None:
        put(client_of(server), "a", b"abc")
        assert len(processes_of(server.access_key)) == 2
        before = listeners()  # other tests may have servers of their own
        server.stop()
        assert processes_of(server.access_key) == set()
        assert not server.directory.exists()
        assert not server.running and server.pid is None
        server.stop()
        assert eventually(lambda: len(listeners()) == len(before) - 1, 2)

    def test_stop_before_start(self) -> None:
        server = EmbeddedServer()
        server.stop()
        server.kill()
        with pytest.raises(UnavailableError, match=r"start\(\)"):
            _ = server.endpoint

    def test_start_twice_is_one_server(self, server: EmbeddedServer) -> None:
        pid = server.pid
        assert server.start() is server
        assert server.pid == pid and len(processes_of(server.access_key)) == 2

    def test_collected_without_stop(self) -> None:
        server = EmbeddedServer().start()
        key, directory = server.access_key, server.directory
        assert processes_of(key)
        del server
        gc.collect()
        assert eventually(lambda: not processes_of(key) and not directory.exists(), 5)

    def test_interpreter_ends_without_stop(self, script: Callable[[str], Script]) -> None:
        child = script("sys.stdin.read()")
        assert child.process.stdin is not None
        child.process.stdin.close()
        assert child.process.wait(10) == 0
        assert child.nothing_left()  # at once: it waited

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
    def test_parent_killed(self, script: Callable[[str], Script], number: int) -> None:
        child = script("time.sleep(60)")
        child.process.send_signal(number)
        assert eventually(child.nothing_left, 5)

    def test_parent_killed_while_its_fork_lives(self, script: Callable[[str], Script]) -> None:
        # The fork has a copy of the pipe, so the supervisor sees no end of file.
        child = script("if os.fork() == 0: time.sleep(20); os._exit(0)\ntime.sleep(60)")
        time.sleep(0.2)
        child.process.kill()
        child.process.wait()
        try:
            assert eventually(child.nothing_left, 5)
        finally:
            os.killpg(child.process.pid, signal.SIGKILL)

    def test_control_c(self, script: Callable[[str], Script]) -> None:
        child = script("with server:\n  time.sleep(60)")
        os.killpg(child.process.pid, signal.SIGINT)
        _, errors = child.process.communicate(timeout=10)
        assert "KeyboardInterrupt" in errors and errors.count("Traceback") == 1
        assert child.nothing_left()
        assert child.process.returncode == -signal.SIGINT

    def test_parent_and_supervisor_killed(self, script: Callable[[str], Script]) -> None:
        child = script("time.sleep(60)")
        (supervisor,) = processes_of(child.access_key) - {child.pid}
        child.process.send_signal(signal.SIGSTOP)  # so that it cannot clear up itself
        os.kill(supervisor, signal.SIGKILL)
        assert eventually(lambda: not processes_of(child.access_key), 5)
        child.process.kill()
        child.process.wait()
        assert child.directory.exists()  # nobody was left to remove it
        os.utime(child.directory, (0, 0))  # a long time ago
        with EmbeddedServer() as other:
            os.utime(other.directory, (0, 0))
            with EmbeddedServer():
                pass
            assert other.directory.exists()  # as old, but in use
        assert not child.directory.exists()

    def test_end_of_a_fork_ends_nothing(self, script: Callable[[str], Script]) -> None:
        child = script(
            "if os.fork() == 0: sys.exit()\nos.wait(); print(1, flush=True); time.sleep(60)"
        )
        assert child.process.stdout is not None
        assert child.process.stdout.readline() == "1\n"  # the fork has run its exit handlers
        time.sleep(0.2)
        assert child.pid in processes_of(child.access_key) and child.directory.exists()

    def test_signals_of_the_terminal_miss_it(self, server: EmbeddedServer) -> None:
        supervisor = supervisor_of(server)
        for pid in (supervisor, server.pid):
            assert pid is not None and os.getsid(pid) != os.getsid(0)
        os.kill(supervisor, signal.SIGINT)
        time.sleep(0.2)
        assert supervisor_of(server) == supervisor and server.running
        put(client_of(server), "a", b"abc")

    def test_a_fork_cannot_end_it(self, server: EmbeddedServer) -> None:
        child = os.fork()
        if child == 0:
            server.stop()
            with contextlib.suppress(UnavailableError):
                server.kill()
                os._exit(1)
            time.sleep(20)
            os._exit(0)
        try:
            time.sleep(0.3)
            assert os.waitpid(child, os.WNOHANG) == (0, 0)
            put(client_of(server), "a", b"abc")
            began = time.monotonic()
            server.stop()  # although the fork holds a copy of the pipe
            assert time.monotonic() - began < 3
            assert not processes_of(server.access_key) - {child}
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


class TestRestart:
    def test_killed_and_restarted(self, server: EmbeddedServer) -> None:
        endpoint, pid, client = server.endpoint, server.pid, client_of(server)
        put(client, "a/b", b"abc")
        server.kill()
        assert pid not in processes_of(server.access_key) and not server.running
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(endpoint.rpartition(":")[2])), 1).close()
        assert server.endpoint == endpoint
        server.restart()
        assert server.endpoint == endpoint and server.pid != pid
        assert get(client, "a/b") == b"abc"

    def test_restarted_while_running(self, server: EmbeddedServer) -> None:
        endpoint, pid, client = server.endpoint, server.pid, client_of(server)
        put(client, "a/b", b"abc")
        server.restart()
        assert server.endpoint == endpoint and server.pid != pid
        assert get(client, "a/b") == b"abc"

    def test_killed_from_outside(self, server: EmbeddedServer) -> None:
        client = client_of(server)
        put(client, "a/b", b"abc")
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        assert eventually(lambda: not server.running, 2)
        assert get(client_of(server.start()), "a/b") == b"abc"

    def test_supervisor_killed(self, server: EmbeddedServer) -> None:
        client, endpoint = client_of(server), server.endpoint
        put(client, "a/b", b"abc")
        os.kill(supervisor_of(server), signal.SIGKILL)
        assert eventually(lambda: not processes_of(server.access_key), 2)
        assert eventually(lambda: not server.running, 2)
        server.restart()
        assert server.endpoint == endpoint
        assert get(client, "a/b") == b"abc"
        os.kill(supervisor_of(server), signal.SIGKILL)
        server.stop()
        assert not processes_of(server.access_key) and not server.directory.exists()

    def test_supervisor_that_hangs(self, server: EmbeddedServer) -> None:
        os.kill(supervisor_of(server), signal.SIGSTOP)
        server.stop()
        assert eventually(lambda: not processes_of(server.access_key), 2)
        assert not server.directory.exists()

    @pytest.mark.parametrize("reply", [b"", b"HTTP/1.0 200 OK\r\n\r\nhello"])
    def test_port_taken_meanwhile(self, server: EmbeddedServer, reply: bytes) -> None:
        endpoint = server.endpoint
        put(client_of(server), "a/b", b"abc")
        server.kill()
        with socket.create_server(("127.0.0.1", int(endpoint.rpartition(":")[2]))) as stranger:
            threading.Thread(target=_reply_to_all, args=(stranger, reply), daemon=True).start()
            server.restart()
            assert server.endpoint != endpoint
            assert get(client_of(server), "a/b") == b"abc"
            stranger.shutdown(socket.SHUT_RDWR)

    def test_kept_directory(self, tmp_path: Path) -> None:
        with EmbeddedServer(tmp_path / "new" / "it's 100% kept: #1") as first:
            put(client_of(first), "a/b", b"abc")
        assert first.directory.is_dir()
        moved = first.directory.rename(tmp_path / "moved")
        with EmbeddedServer(moved) as second:
            assert second.access_key != first.access_key
            assert get(client_of(second), "a/b") == b"abc"
            with pytest.raises(S3Error, match="InvalidAccessKeyId"):
                Minio(
                    second.endpoint.removeprefix("http://"),
                    access_key=first.access_key,
                    secret_key=first.secret_key,
                    secure=False,
                ).list_buckets()
        second.start()
        assert get(client_of(second), "a/b") == b"abc"
        second.stop()

    def test_directory_in_use(self, tmp_path: Path) -> None:
        with EmbeddedServer(tmp_path) as first:
            put(client_of(first), "a/b", b"abc")
            second = EmbeddedServer(tmp_path, startup_timeout=1.0)
            with pytest.raises(UnavailableError, match="another server uses it"):
                second.start()
            assert processes_of(second.access_key) == set()
            assert get(client_of(first), "a/b") == b"abc"
            second.startup_timeout = 20.0
            threading.Timer(0.5, first.stop).start()
            with second:  # it waits for the first to end
                assert get(client_of(second), "a/b") == b"abc"


def _reply_to_all(stranger: socket.socket, reply: bytes) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = stranger.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(reply)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor without a `Lifeline`, ready, with us for a parent."""
    directory = tmp_path / "server"
    plan = {"directory": str(directory), "log": str(directory / "log"), "temporary": True}
    plan |= {"prefix": "stockdb-server-", "grace": 0.5, "parent": os.getpid()}
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(SUPERVISOR), json.dumps(plan)],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and json.loads(process.stdout.readline()) == ["ready"]
        yield process
        process.kill()


def ask(supervisor: subprocess.Popen[bytes], *words: Any) -> Any:
    assert supervisor.stdin is not None and supervisor.stdout is not None
    supervisor.stdin.write(json.dumps(words).encode() + b"\n")
    return json.loads(supervisor.stdout.readline())


class TestSupervisor:
    @pytest.mark.parametrize("ending", ["end of input", "SIGTERM"])
    def test_takes_everything_along(
        self, supervisor: subprocess.Popen[bytes], tmp_path: Path, ending: str
    ) -> None:
        # The parent (we) lives on, so nothing but the pipe or the signal can tell it.
        word, pid = ask(supervisor, "start", ["sleep", "50"])
        assert word == "pid" and (tmp_path / "server").is_dir()
        assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x0050\0"
        if ending == "SIGTERM":
            supervisor.terminate()
        elif supervisor.stdin is not None:
            supervisor.stdin.close()
        assert supervisor.wait(5) == 0
        assert not Path(f"/proc/{pid}").exists() and not (tmp_path / "server").exists()

    def test_kills_what_ignores_sigterm(self, supervisor: subprocess.Popen[bytes]) -> None:
        ask(supervisor, "start", ["sh", "-c", "trap '' TERM; exec sleep 50"])
        time.sleep(0.2)  # until the trap is set
        assert ask(supervisor, "term") == ["exit", -signal.SIGKILL]

    def test_ends_gracefully_first(self, supervisor: subprocess.Popen[bytes]) -> None:
        ask(supervisor, "start", ["sleep", "50"])
        assert ask(supervisor, "term") == ["exit", -signal.SIGTERM]
