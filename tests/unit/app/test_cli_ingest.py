"""``ingest`` and ``watch`` as a shell sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from minio import Minio

from tests.contract.mirror import Writer
from tests.unit.app.test_cli import REPOSITORY, SESSION, Run, bucket, run

__all__ = ["bucket", "run"]  # fixtures


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "PEP.csv").write_bytes(SESSION)
    (folder / "KO.csv").write_bytes(SESSION)  # is there already
    return folder


class TestIngest:
    def test_a_folder(self, run: Run, bucket: str, mine: Path, s3: Minio) -> None:
        status, out, err = run("ingest", str(mine), "--dry-run")
        assert status == 0 and "to write" in out and "Traceback" not in err
        assert "stocks-2010-2025/PEP.csv" not in {
            o.object_name for o in s3.list_objects(bucket, recursive=True)
        }
        status, out, err = run("ingest", str(mine))
        assert status == 0
        lines = out.splitlines()
        assert lines[0].startswith("current") and "stocks-2010-2025/KO.csv" in lines[0]
        assert lines[1].startswith("written") and "1 rows" in lines[1]
        assert sorted(lines[2].removeprefix("2 files: ").split(", ")) == ["1 current", "1 written"]
        assert "two writers" in err or not err  # what the server at hand does
        assert run("ls", "stocks")[1].count("PEP.csv") == 1

    def test_what_is_not_written_is_said_and_counts(
        self, run: Run, bucket: str, mine: Path
    ) -> None:
        (mine / "PEP.csv").write_text("junk")
        (mine / "KO.csv").write_bytes(SESSION.replace(b"11", b"10"))
        status, out, _ = run("ingest", str(mine))
        assert status == 1
        assert "conflict" in out and "--replace" in out
        assert "invalid" in out and "PEP.csv" in out
        status, out, _ = run("ingest", str(mine / "KO.csv"), "--replace", "--json")
        assert status == 0 and json.loads(out)[0]["state"] == "replaced"

    def test_findings_are_named(self, run: Run, bucket: str, tmp_path: Path) -> None:
        path = tmp_path / "ZERO.csv"
        head, row = SESSION.decode().splitlines()
        path.write_text(f"{head}\n{row.rpartition(',')[0]},0\n")
        day = row.partition(",")[0]
        status, out, _ = run("ingest", str(path))
        assert status == 0 and f"\n  zero_volume: 1 row ({day})\n" in out
        status, out, _ = run("ingest", str(path), "--replace", "--json")
        assert json.loads(out)[0]["findings"] == f"zero_volume: 1 row ({day})"

    def test_by_name_of_the_dataset(self, run: Run, bucket: str, tmp_path: Path) -> None:
        path = tmp_path / "my export.csv"
        path.write_bytes(SESSION)
        status, out, _ = run("ingest", str(path))
        assert status == 1 and "--dataset" in out
        status, out, _ = run("ingest", str(path), "--dataset", "stocks", "--symbol", "brk.b")
        assert status == 0 and "stocks-2010-2025/BRK.B.csv" in out

    def test_nothing_there(self, run: Run, bucket: str, tmp_path: Path) -> None:
        status, out, err = run("ingest", "")  # a variable that is not set, not this folder
        assert (status, out) == (1, "") and "path is empty" in err
        (tmp_path / "empty").mkdir()
        status, out, _ = run("ingest", str(tmp_path / "empty"))
        assert (status, out) == (0, "0 files: no .csv or .parquet files there\n")
        assert run("ingest", str(tmp_path / "nowhere"))[0] == 1
        assert run("ingest")[0] == 2
        status, _, err = run("ingest", str(tmp_path / "empty"), "--dataset", "stonks")
        assert status in (0, 1) and "Traceback" not in err


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_killed_in_the_middle_nothing_is_torn_and_the_next_run_goes_on(
    bucket: str, s3: Minio, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    days = pd.bdate_range("1990-01-01", periods=5000)
    for number in range(40):
        lines = (f"{day:%Y-%m-%d},{10 + number},{12 + number},9,11,100" for day in days)
        text = "trade_date,Open,High,Low,Close,Volume\n" + "\n".join(lines) + "\n"
        (folder / f"K{number:02d}.csv").write_text(text)
    command = [sys.executable, "-m", "stockdb", "ingest", str(folder), "--accept-findings"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}

    def held() -> dict[str, bytes]:
        found = {}
        for one in s3.list_objects(bucket, "stocks-2010-2025/K", recursive=True):
            if len(name := (one.object_name or "").rpartition("/")[2]) == len("K00.csv"):
                answer = s3.get_object(bucket, one.object_name or "")
                found[name] = answer.data
                answer.close()
        return found

    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    )
    assert process.stdout is not None
    written = 0
    for line in process.stdout:  # what the rules say of a file stands in lines below it
        written += line.startswith("written")
        if written == 10:
            break
    process.kill()
    process.communicate(timeout=30)
    time.sleep(0.2)  # the server notices, and drops what has not come whole
    first = held()
    assert 10 <= len(first) < 40
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=100
    )
    assert done.returncode == 0
    assert f"{len(first)} current" in done.stdout and f"{40 - len(first)} written" in done.stdout
    for name, data in {**first, **held()}.items():
        assert data == (folder / name).read_bytes(), name
    assert len(held()) == 40


def test_watch_prints_a_line_for_each_update(bucket: str, s3: Minio, tmp_path: Path) -> None:
    writer = Writer(s3, bucket)
    process = subprocess.Popen(
        [sys.executable, "-m", "stockdb", "watch", "AAPL", "--json", "--poll-seconds", "0.2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    stop = threading.Event()

    def write() -> None:  # until it has been seen: nobody says when it has begun
        close = 20.0
        while not stop.wait(0.3):
            close += 1
            writer.write("AAPL", {"2024-01-02": 11.0, "2024-01-03": close})

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert process.stdout is not None
        update = json.loads(process.stdout.readline())
    finally:
        stop.set()
        thread.join()
        process.terminate()
        process.communicate(timeout=30)
    assert (update["kind"], update["symbol"]) == ("rows", "AAPL")
    rows = update["new"] + update["changed"]
    assert rows[-1]["date"].startswith("2024-01-03") and rows[-1]["close"] > 20
    assert update["key"] == "stocks-2010-2025/AAPL.csv" and len(update["etag"]) == 32


def test_an_unknown_symbol_is_one_error(run: Run, bucket: str) -> None:
    status, out, err = run("watch", "AAPPL")
    assert (status, out) == (1, "")
    assert "SymbolNotFoundError" in err and "-> Did you mean 'AAPL'" in err
    assert "Traceback" not in err
