"""The command line in a real terminal: Ctrl-C, progress, pipes, and letters it cannot show."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.origin import Fault, Origin
from tests.unit.app.test_cli import REPOSITORY, SESSION, bucket

pty = pytest.importorskip("pty", reason="needs POSIX terminals")
termios = pytest.importorskip("termios", reason="needs POSIX terminals")
__all__ = ["bucket"]  # a fixture


class Terminal:
    """A program with a terminal of its own for all its streams, as a user has it."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.told = ""
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            termios.tcsetwinsize(0, (24, 100))
            os.chdir(folder)
            values = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TERM": "xterm", **environment}
            os.execve(sys.executable, [sys.executable, "-m", "stockdb", *arguments], values)

    def until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Read until it is so."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.told
            self._read(0.05)

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def status(self, seconds: float = 30) -> int:
        """Wait for its end."""
        end = time.monotonic() + seconds
        while True:
            self._read(0.05)
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                while self._read(0.1):
                    pass
                os.close(self._fd)
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                os.kill(self._pid, signal.SIGKILL)
                raise AssertionError(self.told)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # it has ended
            return False
        self.told += data.decode(errors="replace")
        return bool(data)


@pytest.fixture
def stalled(origin: Origin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Origin:
    """A server that takes every request and never answers."""
    origin.break_listing(Fault("stall-before-headers"))
    for name, value in {
        "ENDPOINT": origin.url, "ACCESS_KEY": "dummy", "SECRET_KEY": "dummy-secret",
        "CACHE_DIR": str(tmp_path / "cache"), "LOG_DIR": str(tmp_path / "logs"),
    }.items():  # fmt: skip
        monkeypatch.setenv(f"MINIO_{name}", value)
    return origin


@pytest.fixture
def origin() -> object:
    with Origin() as running:
        yield running


class TestCtrlC:
    @pytest.mark.parametrize(
        "arguments", [["ls", "stocks"], ["ls"], ["watch", "AAPL"], ["ingest", "mine"]]
    )
    def test_one_line_and_130(self, stalled: Origin, tmp_path: Path, arguments: list[str]) -> None:
        stalled.put("stocks-2010-2025/AAPL.csv", SESSION, fault=Fault("stall-before-headers"))
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "AAPL.csv").write_bytes(SESSION)
        terminal = Terminal(tmp_path, *arguments)
        terminal.until(lambda: bool(stalled.requests))
        began = time.monotonic()
        terminal.press("\x03")
        assert terminal.status() == 130
        assert time.monotonic() - began < 3.0
        told = terminal.told.replace("^C", "").replace("Watching AAPL; Ctrl-C ends.", "")
        lines = [line for line in told.splitlines() if line.strip()]
        assert len(lines) == 1 and lines[0].startswith("Interrupted"), terminal.told

    def test_while_it_still_loads(self, stalled: Origin, tmp_path: Path) -> None:
        for wait in (0.25, 0.5, 0.8):
            terminal = Terminal(tmp_path, "ls")
            time.sleep(wait)
            terminal.press("\x03")
            assert terminal.status() in {130, -signal.SIGINT}, terminal.told
            assert "Traceback" not in terminal.told or wait < 0.4, terminal.told


READ = """
from minio_data_integration import MinIODataIntegration
frame = MinIODataIntegration().get_historical_data("AAPL", "2024-01-01", "2024-01-31")
print(len(frame), frame.attrs["stockdb"]["simulated"])
"""


def test_a_demo_server_that_stays(tmp_path: Path) -> None:
    """The lines it prints are what another program needs; Ctrl-C leaves nothing behind."""
    terminal = Terminal(tmp_path, "demo", "--serve")
    terminal.until(lambda: "Ctrl-C" in terminal.told)
    lines = [line for line in terminal.told.splitlines() if line.startswith("export ")]
    settings = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    done = subprocess.run(
        [sys.executable, "-c", READ],
        capture_output=True, text=True, cwd=tmp_path, timeout=60,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **settings,
             "MINIO_LOG_DIR": str(tmp_path / "logs")},
    )  # fmt: skip
    assert done.stdout.split() == ["21", "True"], done.stderr
    terminal.press("\x03")
    assert terminal.status() == 130
    assert not Path(settings["MINIO_CACHE_DIR"]).exists()
    host, port = settings["MINIO_ENDPOINT"].removeprefix("http://").split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=2)


class TestProgress:
    def test_a_bar_in_a_terminal_none_in_a_pipe(self, bucket: str, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        for number in range(5):
            (tmp_path / "mine" / f"T{number}.csv").write_bytes(SESSION)
        terminal = Terminal(tmp_path, "ingest", "mine", "--json", "--dry-run")
        assert terminal.status() == 0
        assert "5/5" in terminal.told  # tqdm's count, on stderr
        done = subprocess.run(
            [sys.executable, "-m", "stockdb", "ingest", "mine", "--json", "--dry-run"],
            capture_output=True, text=True, cwd=tmp_path, timeout=60,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("[") and "T4.csv" in done.stdout

    def test_in_a_terminal_each_file_is_a_line(self, bucket: str, tmp_path: Path) -> None:
        (tmp_path / "KO.csv").write_bytes(SESSION)
        terminal = Terminal(tmp_path, "ingest", "KO.csv")
        assert terminal.status() == 0
        assert terminal.told.splitlines()[0].startswith("current") and "%" not in terminal.told


def test_a_terminal_that_cannot_show_a_letter(bucket: str, tmp_path: Path) -> None:
    """It shows its number instead; nothing breaks off."""
    path = tmp_path / "naïve データ.csv"
    path.write_bytes(SESSION)
    terminal = Terminal(tmp_path, "ingest", str(path), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert terminal.status() == 1
    assert "na\\xefve" in terminal.told and "Traceback" not in terminal.told


def test_a_warning_is_one_line(bucket: str, tmp_path: Path) -> None:
    """Certificates unchecked, plain HTTP: said once, without the line of our code."""
    terminal = Terminal(tmp_path, "ls", MINIO_ENDPOINT="http://192.0.2.1:1", MINIO_MAX_ATTEMPTS="1")
    terminal.until(lambda: "plain HTTP" in terminal.told)
    terminal.press("\x03")
    terminal.status()
    line = next(line for line in terminal.told.splitlines() if "plain HTTP" in line)
    assert line.startswith("warning: ") and "UserWarning" not in terminal.told
