"""Log files: rotating, private to our logger, and never a reason to fail."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minio_data_integration import MinIODataIntegration
from stockdb.logs import LOGGER, log_to_files
from stockdb.settings import Logs


@pytest.fixture(autouse=True)
def _as_imported() -> Iterator[None]:
    """Every test begins with the logger as an import leaves it."""
    handlers, level = list(LOGGER.handlers), LOGGER.level
    LOGGER.handlers[:] = [h for h in handlers if isinstance(h, logging.NullHandler)]
    LOGGER.setLevel(logging.NOTSET)
    yield
    for handler in LOGGER.handlers:
        handler.close()
    LOGGER.handlers[:] = handlers
    LOGGER.setLevel(level)


def files() -> list[logging.Handler]:
    return [h for h in LOGGER.handlers if not isinstance(h, logging.NullHandler)]


def test_an_import_attaches_nothing() -> None:
    code = (
        "import logging, minio_data_integration, stockdb.logs, stockdb.access\n"
        "root, ours = logging.getLogger(), logging.getLogger('stockdb')\n"
        "print(root.handlers, root.level == logging.WARNING, ours.level == logging.NOTSET,\n"
        "      [type(h).__name__ for h in ours.handlers])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[] True True ['NullHandler']"
    assert done.stderr == ""


def test_records_go_to_the_file(tmp_path: Path) -> None:
    path = log_to_files(Logs(log_dir=tmp_path / "new" / "logs"))
    assert path == tmp_path / "new" / "logs" / "stockdb.log"
    logging.getLogger("stockdb.cache").warning("something %s", "happened")
    logging.getLogger("stockdb").debug("too fine")
    (line,) = path.read_text().splitlines()
    assert "WARNING stockdb.cache" in line and line.endswith("something happened")
    assert f"[{os.getpid()}]" in line
    assert logging.getLogger().handlers == [] or all(
        handler not in logging.getLogger().handlers for handler in files()
    )


def test_debug_when_asked_for(tmp_path: Path) -> None:
    path = log_to_files(Logs(log_dir=tmp_path, log_level="DEBUG"))
    assert path is not None
    logging.getLogger("stockdb").debug("fine")
    assert "fine" in path.read_text()


def test_one_handler_a_file(tmp_path: Path) -> None:
    for _ in range(3):
        assert log_to_files(Logs(log_dir=tmp_path / "a")) is not None
    log_to_files(Logs(log_dir=tmp_path / "b"))
    assert len(files()) == 2
    LOGGER.warning("once")
    for name in ("a", "b"):
        assert (tmp_path / name / "stockdb.log").read_text().count("once") == 1


def test_rotation(tmp_path: Path) -> None:
    log_to_files(Logs(log_dir=tmp_path, log_max_bytes=2_000, log_backups=2))
    for number in range(200):
        LOGGER.warning("record %d %s", number, "x" * 50)
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["stockdb.log", "stockdb.log.1", "stockdb.log.2"]
    assert all(path.stat().st_size <= 2_000 for path in tmp_path.iterdir())
    assert "record 199 " in (tmp_path / "stockdb.log").read_text()


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert log_to_files(Logs()) == tmp_path / "alpaca-mcp" / "logs" / "stockdb.log"


class TestFoldersThatCannotBeWritten:
    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "logs").write_text("not a folder")
        assert log_to_files(Logs(log_dir=tmp_path / "logs")) is None
        assert log_to_files(Logs(log_dir=tmp_path / "logs" / "deeper")) is None
        assert files() == []

    def test_a_folder_where_the_file_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "stockdb.log").mkdir()
        assert log_to_files(Logs(log_dir=tmp_path)) is None

    def test_a_file_system_that_takes_nothing(self) -> None:
        assert log_to_files(Logs(log_dir=Path("/proc/stockdb-logs"))) is None

    def test_nobody_at_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import pwd

        def nobody(uid: int) -> None:
            raise KeyError(uid)

        monkeypatch.delenv("HOME")
        monkeypatch.delenv("USERPROFILE", raising=False)
        monkeypatch.setattr(pwd, "getpwuid", nobody)  # a container with a random user id
        monkeypatch.chdir(tmp_path)
        assert log_to_files(Logs()) is None
        assert list(tmp_path.iterdir()) == []  # no folder called "~"

    def test_a_client_works_all_the_same(self, tmp_path: Path) -> None:
        (tmp_path / "logs").write_text("not a folder")
        client = MinIODataIntegration(
            endpoint="http://127.0.0.1:9", log_dir=tmp_path / "logs", cache_dir=tmp_path / "cache"
        )
        assert client.log_file is None
        LOGGER.warning("into the void")

    def test_a_folder_that_vanishes_or_fills_up(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = log_to_files(Logs(log_dir=tmp_path / "logs", log_max_bytes=100))
        assert path is not None
        LOGGER.warning("first")
        path.unlink()
        path.parent.rmdir()
        path.parent.write_text("in the way")
        for number in range(5):  # the rotation finds no folder
            LOGGER.warning("record %d %s", number, "x" * 100)
        assert capfd.readouterr().err == ""
