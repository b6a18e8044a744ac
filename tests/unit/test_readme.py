"""The README's Python blocks run, in order, in one session, against a real server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from stockdb.core.store import ObjectStore
from stockdb.demo.bucket import demo_settings, fill_bucket
from stockdb.demo.server import EmbeddedServer

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
WANTED = ROOT.parent / "shared" / "spec" / "000_051fcf7b378a2ddf.txt"


def blocks(text: str) -> list[tuple[str, str]]:
    """Pair every Python block with the heading that it stands under."""
    found = []
    heading = ""
    for match in re.finditer(
        r"^(#+ [^\n]*)$|^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    ):
        if match[1]:
            heading = match[1]
        else:
            found.append((heading, match[2]))
    return found


def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = 0
    with EmbeddedServer() as server:
        settings = demo_settings(server, cache_dir=tmp_path / "cache", log_dir=tmp_path / "logs")
        fill_bucket(ObjectStore(settings))
        for name, value in {
            "ENDPOINT": server.endpoint,
            "ACCESS_KEY": server.access_key,
            "SECRET_KEY": server.secret_key,
            "CACHE_DIR": str(tmp_path / "cache"),
            "LOG_DIR": str(tmp_path / "logs"),
        }.items():
            monkeypatch.setenv(f"MINIO_{name}", value)
        monkeypatch.chdir(tmp_path)
        names: dict[str, Any] = {}
        for heading, code in blocks(README.read_text()):
            exec(compile(code, heading, "exec"), names)
            ran += 1
        assert ran == 5
        assert len(names["df"]) == 21
        assert names["df"].attrs["stockdb"]["simulated"] is True
        assert names["stats"]["entries"] >= 4
        assert len(names["momentum_data"]) == 60 and "rsi_14" in names["momentum_data"]
        assert "kind" in names["opportunities"] and "class" in names["opportunities"]
        features, lstm = names["features"], names["lstm_data"]
        assert set(features.index.unique("symbol")) == {"AAPL", "MSFT", "GOOGL"}
        batch = next(iter(lstm.train.batches(64)))
        assert batch.X.shape == (64, 60, len(lstm.feature_names))
        names["minio"].close()


def test_the_readme_keeps_every_section_and_example_of_the_one_asked_for() -> None:
    if not WANTED.exists():
        pytest.skip(f"{WANTED.name} is not beside this checkout")
    asked, written = WANTED.read_text(), README.read_text()
    headings = [line for line in asked.splitlines() if line.startswith("#") and line[1] in "# "]
    missing = [line for line in headings if f"\n{line}\n" not in f"\n{written}\n"]
    assert missing == []
    assert [code for _, code in blocks(asked)] == [code for _, code in blocks(written)]


def test_the_two_commands_stand_at_the_top() -> None:
    top = README.read_text().split("## Features")[0]
    assert "pip install -r requirements_minio.txt && python -m stockdb demo" in top
    assert "pip install -r requirements_minio.txt && python test_minio_integration.py" in top
