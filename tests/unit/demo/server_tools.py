"""Looking at an embedded server from outside: its processes, ports and objects.

Processes are found by the random access key in their environment (/proc), not by what
the class under test says about them.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from minio import Minio

from stockdb.demo import server as module
from stockdb.demo.server import EmbeddedServer

REPOSITORY = Path(module.__file__).parents[2]
SUPERVISOR = Path(module.__file__).with_name("_supervisor.py")
MINIO = shutil.which("minio")
KINDS = ["juicefs"] if MINIO is None else ["juicefs", "minio"]


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def processes_of(access_key: str) -> set[int]:
    """All processes that carry this access key in their environment."""
    wanted, found = f"MINIO_ROOT_USER={access_key}".encode(), set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in path.read_bytes().split(b"\0"):
                found.add(int(path.parent.name))
    return found


def supervisor_of(server: EmbeddedServer) -> int:
    (supervisor,) = processes_of(server.access_key) - {server.pid}
    return supervisor


def listeners_of(pids: set[int]) -> list[tuple[str, int]]:
    """Address (as in /proc, hexadecimal) and port of every listening or UDP socket."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.add(os.readlink(link))
    found = []
    for table, states in (("tcp", {"0A"}), ("tcp6", {"0A"}), ("udp", {"07"}), ("udp6", {"07"})):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] in states and f"socket:[{fields[9]}]" in inodes:
                address, port = fields[1].split(":")
                found.append((address, int(port, 16)))
    return found


def client_of(server: EmbeddedServer, secret_key: str | None = None) -> Minio:
    return Minio(
        server.endpoint.removeprefix("http://"),
        access_key=server.access_key,
        secret_key=secret_key or server.secret_key,
        region="us-east-1",
        secure=False,
    )


def put(client: Minio, key: str, body: bytes) -> str:
    if not client.bucket_exists("prices"):
        client.make_bucket("prices")
    return str(client.put_object("prices", key, io.BytesIO(body), len(body)).etag)


def get(client: Minio, key: str) -> bytes:
    answer = client.get_object("prices", key)
    try:
        return bytes(answer.read())
    finally:
        answer.close()
        answer.release_conn()


def names(client: Minio) -> list[str]:
    return [str(item.object_name) for item in client.list_objects("prices", recursive=True)]


class Script:
    """A Python process with a server of its own, which tells us about it."""

    def __init__(self, ending: str) -> None:
        text = (
            "import os, signal, sys, time\n"
            "from stockdb.demo.server import EmbeddedServer\n"
            "server = EmbeddedServer().start()\n"
            "print(server.access_key, server.pid, server.directory, flush=True)\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", text + ending],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        assert self.process.stdout is not None
        self.access_key, pid, directory = self.process.stdout.readline().split()
        self.pid, self.directory = int(pid), Path(directory)

    def nothing_left(self) -> bool:
        return not processes_of(self.access_key) and not self.directory.exists()
