"""``python -m stockdb``, as a shell sees it: what is printed where, and the exit status."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from minio import Minio

from minio_data_integration import MinIODataIntegration
from stockdb.app.cli import main
from stockdb.demo.server import EmbeddedServer

REPOSITORY = Path(__file__).resolve().parents[3]
SESSION = b"trade_date,Open,High,Low,Close,Volume\n2024-01-02,10,12,9,11,100\n"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process: (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["stockdb", *arguments])
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(bool(end.code))
        out, err = capsys.readouterr()
        return status, out, err

    return command


@pytest.fixture
def bucket(
    embedded_server: EmbeddedServer,
    make_bucket: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """A bucket that the environment points to."""
    name = make_bucket(
        {
            "stocks-2010-2025/AAPL.csv": SESSION,
            "stocks-2010-2025/KO.csv": SESSION,
            "financials/A/a.xlsx": b"12345",
        }
    )
    for variable, value in {
        "ENDPOINT": embedded_server.endpoint,
        "ACCESS_KEY": embedded_server.access_key,
        "SECRET_KEY": embedded_server.secret_key,
        "BUCKET_NAME": name,
        "CACHE_DIR": str(tmp_path / "cache"),
        "LOG_DIR": str(tmp_path / "logs"),
    }.items():
        monkeypatch.setenv(f"MINIO_{variable}", value)
    return name


@pytest.mark.parametrize(
    "command",
    [("ls", "stocks"), ("ls", "nothing"), ("ingest", "nowhere"), ("watch", "AAPL"), ("compact",)],
)
def test_an_error_is_json_where_json_was_asked_for(
    run: Run, bucket: str, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    if command[-1] not in {"nothing", "nowhere"}:
        monkeypatch.setenv("MINIO_SECRET_KEY", "wrong-dummy-secret")
    status, out, err = run(*command, "--json")
    assert status == 1
    (line,) = out.splitlines()  # also where each update is one
    found = json.loads(line)
    assert list(found) == ["error", "message", "remedy"] and found["remedy"]
    assert f"{found['error']}: {found['message']}" in err
    status, out, again = run(*command)
    assert (status, again) == (1, err) and "{" not in out


class TestDoctor:
    def test_without_configuration(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "minio_config.py").write_text("MINIO_CONFIG = {'bucket_name': 'mine'}\n")
        status, out, err = run("doctor")
        assert status == 1
        assert "No MinIO endpoint is configured" in err
        assert "MINIO_ENDPOINT" in err and "python -m stockdb demo" in err
        assert str(tmp_path / "minio_config.py") in out  # which file lacks it
        assert "Traceback" not in out + err

    def test_without_configuration_as_json(self, run: Run) -> None:
        status, out, err = run("doctor", "--json")
        found = json.loads(out)
        assert status == 1 and found["error"] == "ConfigurationError"
        assert found["message"] == "No MinIO endpoint is configured."
        assert "MINIO_ENDPOINT" in found["remedy"] and "Traceback" not in err

    def test_all_is_well(self, run: Run, bucket: str, tmp_path: Path) -> None:
        (tmp_path / "minio_config.py").write_text("")
        (tmp_path / ".env").write_text("MINIO_REGION=us-east-1\n")
        status, out, err = run("doctor")
        assert (status, err) == (0, "")
        for name in ("dns", "connect", "tls", "clock", "credentials", "bucket"):
            assert f"  ok       {name}" in out, name
        assert str(tmp_path / "minio_config.py") in out
        assert str(tmp_path / ".env") in out
        assert str(tmp_path / "logs" / "stockdb.log") in out
        assert str(tmp_path / "cache") in out
        assert repr(bucket) in out

    def test_as_json(self, run: Run, bucket: str, tmp_path: Path) -> None:
        status, out, _ = run("doctor", "--json")
        found = json.loads(out)
        assert status == 0 and found["ok"] is True and found["bucket"] == bucket
        assert [check["status"] for check in found["checks"]] == ["ok"] * 6
        assert found["cache_dir"] == str(tmp_path / "cache")

    def test_a_wrong_secret(self, run: Run, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MINIO_SECRET_KEY", "wrong-dummy-secret")
        status, out, err = run("doctor")
        assert status == 1
        assert "FAILED   credentials" in out and "MINIO_SECRET_KEY" in out
        assert "wrong-dummy-secret" not in out + err
        assert json.loads(run("doctor", "--json")[1])["ok"] is False

    def test_a_log_folder_that_cannot_be_written(
        self, run: Run, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "wall").write_text("")
        monkeypatch.setenv("MINIO_LOG_DIR", str(tmp_path / "wall" / "logs"))
        status, out, _ = run("doctor")
        assert status == 0 and "nowhere" in out

    def test_no_credentials(self, run: Run, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"):
            monkeypatch.delenv(name)
        status, out, _ = run("doctor")
        assert status == 1 and "FAILED   credentials" in out
        assert "No credentials are set" in out and "Check MINIO_ACCESS_KEY" not in out

    def test_a_cache_folder_that_cannot_be_used(
        self, run: Run, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert json.loads(run("doctor", "--json")[1])["cache_problem"] is None
        (tmp_path / "wall").write_text("")
        monkeypatch.setenv("MINIO_CACHE_DIR", str(tmp_path / "wall" / "cache"))
        status, out, _ = run("doctor")
        assert status == 0 and "cannot be used (Not a directory)" in out
        assert json.loads(run("doctor", "--json")[1])["cache_problem"] == "Not a directory"

    def test_a_broken_configuration_file(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "minio_config.py").write_text("MINIO_CONFIG = {\n")
        status, _, err = run("doctor")
        assert status == 1 and "minio_config.py" in err and "ConfigurationError" in err
        assert "Traceback" not in err


class TestListing:
    def test_datasets(self, run: Run, bucket: str) -> None:
        status, out, err = run("ls")
        assert (status, err) == (0, "")
        line = next(line for line in out.splitlines() if line.split()[0] == "stocks")
        assert "stocks-2010-2025/{SYMBOL}.csv" in line and line.endswith("True")
        rows = {row["dataset"]: row for row in json.loads(run("ls", "--json")[1])}
        held = {name for name, row in rows.items() if row["available"]}
        assert held == {"stocks", "financials"}

    def test_objects(self, run: Run, bucket: str) -> None:
        status, out, _ = run("ls", "financials")
        assert (status, out.split()) == (0, ["5", "financials/A/a.xlsx"])
        rows = json.loads(run("ls", "stocks", "--json")[1])
        assert [row["key"] for row in rows] == [
            "stocks-2010-2025/AAPL.csv", "stocks-2010-2025/KO.csv",
        ]  # fmt: skip
        assert {row["size"] for row in rows} == {len(SESSION)}

    def test_nothing_there(self, run: Run, bucket: str) -> None:
        assert run("ls", "samples")[:2] == (0, "nothing there\n")

    def test_no_such_dataset(self, run: Run, bucket: str) -> None:
        status, out, err = run("ls", "stonks")
        assert (status, out) == (1, "")
        assert "NotFoundError" in err and "'stonks'" in err and "-> Configured are:" in err


class TestCache:
    def test_stats_and_clear(self, run: Run, bucket: str) -> None:
        with MinIODataIntegration() as minio:
            minio.bulk_download(["AAPL", "KO"])
            minio.get_historical_data("KO")
        stats = json.loads(run("cache", "stats", "--json")[1])
        assert (stats["entries"], stats["misses"], stats["hits"]) == (2, 2, 1)
        status, out, _ = run("cache", "stats")
        assert status == 0 and "33.3%" in out  # one hit of three reads
        status, out, _ = run("cache", "clear", "--symbol", "ko", "--json")
        cleared = json.loads(out)
        assert (cleared["removed_entries"], cleared["remaining_entries"]) == (1, 1)
        assert run("cache", "clear", "--older-than-days", "7")[0] == 0
        assert json.loads(run("cache", "stats", "--json")[1])["entries"] == 1
        run("cache", "clear")
        assert json.loads(run("cache", "stats", "--json")[1])["entries"] == 0

    def test_needs_no_server(
        self, run: Run, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is on this machine: for whoever has it, and no endpoint set, too."""
        with MinIODataIntegration() as minio:
            minio.bulk_download(["AAPL", "KO"])
        for name in ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY"):
            monkeypatch.delenv(f"MINIO_{name}")
        assert json.loads(run("cache", "stats", "--json")[1])["entries"] == 2
        assert run("verify") == (0, "0 problems found\n", "")
        entry = next((tmp_path / "cache").rglob("*.entry"))
        entry.write_bytes(entry.read_bytes()[:-1])
        status, out, _ = run("verify")
        assert status == 1 and str(entry) in out
        assert json.loads(run("cache", "clear", "--json")[1])["remaining_entries"] == 0

    @pytest.mark.parametrize("value", ["-1", "soon", "nan"])
    def test_a_wrong_age(self, run: Run, bucket: str, value: str) -> None:
        status, _, err = run("cache", "clear", "--older-than-days", value)
        assert status == 2 and "older-than-days" in err

    def test_a_wrong_symbol(self, run: Run, bucket: str) -> None:
        status, _, err = run("cache", "clear", "--symbol", "../x")
        assert status == 1 and "DataError" in err


class TestMistakes:
    @pytest.mark.parametrize("arguments", [["dance"], ["cache", "dance"], ["ls", "--dance"]])
    def test_unknown(self, run: Run, arguments: list[str]) -> None:
        status, out, err = run(*arguments)
        assert status == 2 and "dance" in err and "Traceback" not in out + err

    @pytest.mark.parametrize("arguments", [[], ["cache"], ["--help"], ["doctor", "--help"]])
    def test_help(self, run: Run, arguments: list[str]) -> None:
        _, out, err = run(*arguments)
        assert "Usage" in out + err

    def test_all_commands_are_listed(self, run: Run) -> None:
        out = run("--help")[1]
        assert all(name in out for name in ("demo", "doctor", "ls", "cache"))

    def ls_into(self, out: Any, folder: Path, unbuffered: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stockdb", "ls"],
            stdout=out, stderr=subprocess.PIPE, cwd=folder, text=True, timeout=60, check=False,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip

    @pytest.mark.parametrize("unbuffered", ["", "1"])  # fails when it ends; when it prints
    def test_a_reader_that_has_seen_enough(
        self, bucket: str, tmp_path: Path, unbuffered: str
    ) -> None:
        """``python -m stockdb ls | head -0`` ends quietly."""
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "wb") as pipe:
            done = self.ls_into(pipe, tmp_path, unbuffered)
        assert (done.returncode, done.stderr) == (141, "")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
    @pytest.mark.parametrize("unbuffered", ["", "1"])
    def test_a_full_disk(self, bucket: str, tmp_path: Path, unbuffered: str) -> None:
        with open("/dev/full", "wb") as full:
            done = self.ls_into(full, tmp_path, unbuffered)
        assert done.returncode == 1
        assert done.stderr == "The output cannot be written: No space left on device.\n"

    def test_a_negative_seed(self, run: Run) -> None:
        status, _, err = run("demo", "--seed", "-1")
        assert status == 2 and "--seed" in err and "Traceback" not in err


@pytest.mark.slow
class TestDemo:
    def start(self, folder: Path) -> subprocess.Popen[str]:
        for name in ("home", "tmp", "work"):
            (folder / name).mkdir()
        return subprocess.Popen(
            [sys.executable, "-m", "stockdb", "demo"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder / "work",
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HOME": str(folder / "home"),
                 "TMPDIR": str(folder / "tmp"), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip

    def assert_nothing_left(self, folder: Path) -> None:
        mark = f"TMPDIR={folder / 'tmp'}".encode()

        def left() -> list[str]:
            found = []
            for path in Path("/proc").glob("[0-9]*/environ"):
                try:
                    if mark in path.read_bytes().split(b"\0"):
                        found.append((path.parent / "cmdline").read_text())
                except OSError:
                    continue
            return found

        until = time.monotonic() + 5
        while left() and time.monotonic() < until:
            time.sleep(0.05)
        assert left() == []
        for name in ("home", "tmp", "work"):
            assert list((folder / name).iterdir()) == []

    def test_it_runs_clean_in_under_a_minute(self, tmp_path: Path) -> None:
        begin = time.monotonic()
        process = self.start(tmp_path)
        out, err = process.communicate(timeout=100)
        assert (process.returncode, err) == (0, "")
        assert time.monotonic() - begin < 60
        for text in ("SIMULATED", "simulated True", "0 requests, 0 bytes", "Done."):
            assert text in out, text
        assert "arbitrage: planted 5, found 5, nothing else" in out
        assert re.search(r"gaps and splits: planted (\d+), found \1, nothing else", out)
        headings = ["Basic Data", "Algorithm Int", "LEAPS An", "Unified Data", "Cache Man"]
        assert sorted(headings, key=out.index) == headings  # the README's order
        for mistake in ("SymbolNotFoundError", "RangeError", "ConfigurationError"):
            assert mistake in out
        assert "nan" not in out.lower().split("validate_data")[0]
        self.assert_nothing_left(tmp_path)

    def test_an_interrupt_leaves_nothing(self, tmp_path: Path) -> None:
        process = self.start(tmp_path)
        assert process.stdout is not None
        for line in process.stdout:
            if "Start an embedded S3 server" in line:
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode != 0
        self.assert_nothing_left(tmp_path)


class TestCompact:
    ROW = "O:A230120C00010000,A,2023-01-20,call,10,A,1,1,2,1,,0,{},,,,,\n"
    HEAD = (
        "contract,underlying,expiration,type,strike,style,bid,bid_size,ask,ask_size,volume,"
        "open_interest,quote_date,delta,gamma,theta,vega,implied_volatility\n"
    )

    @pytest.fixture
    def days(self, bucket: str, s3: Minio, tmp_path: Path) -> str:
        """Two days of options, and a configuration with a place for twins."""
        for day in ("2023-01-03", "2023-01-04"):
            data = (self.HEAD + self.ROW.format(day)).encode()
            key = f"options-complete/{day}options.csv"
            s3.put_object(bucket, key, io.BytesIO(data), len(data))
        (tmp_path / "minio_config.py").write_text(
            "from stockdb.settings import Cache\nCACHE_CONFIG = Cache(twin_prefix='twins/')\n"
        )
        return bucket

    def test_dry_run_then_written_then_current(self, run: Run, days: str, s3: Minio) -> None:
        def twins() -> list[str | None]:
            return [o.object_name for o in s3.list_objects(days, "twins/", recursive=True)]

        status, out, _ = run("compact", "--dry-run")
        assert status == 0 and out.count("to write") == 3 and not twins()
        status, out, err = run("compact", "--since", "2023-01-04")
        assert (status, err) == (0, "") and len(twins()) == 1
        (line, summary, sizes) = out.splitlines()
        assert line.startswith("2023-01-04  written") and "1 rows" in line
        assert summary == "1 days: 1 written" and "bytes of twins written" in sizes
        status, out, _ = run("compact", "--json")
        assert [row["state"] for row in json.loads(out)] == ["written", "current"]
        assert len(twins()) == 2

    def test_a_day_that_fails_is_told_and_counts(self, run: Run, days: str, s3: Minio) -> None:
        key = "options-complete/2023-01-03options.csv"
        s3.put_object(days, key, io.BytesIO(b"<html>"), 6)
        status, out, _ = run("compact")
        assert status == 1 and "2 days: " in out and "1 failed" in out and "1 written" in out

    def test_without_a_place_it_says_what_to_set(self, run: Run, bucket: str) -> None:
        status, out, err = run("compact")
        assert (status, out) == (1, "") and "twin_prefix" in err
