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
LATER = "*(not in this release)*"


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


def test_every_block_runs_or_is_marked_as_coming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
            if LATER in heading:
                continue
            exec(compile(code, heading, "exec"), names)
            ran += 1
        assert ran == 2
        assert len(names["df"]) == 21
        assert names["df"].attrs["stockdb"]["simulated"] is True
        assert names["stats"]["entries"] == 1
        names["minio"].close()


def test_the_readme_keeps_every_section_and_example_of_the_one_asked_for() -> None:
    if not WANTED.exists():
        pytest.skip(f"{WANTED.name} is not beside this checkout")
    asked, written = WANTED.read_text(), README.read_text()
    headings = [line for line in asked.splitlines() if line.startswith("#") and line[1] in "# "]
    plain = written.replace(f" {LATER}", "")
    missing = [line for line in headings if f"\n{line}\n" not in f"\n{plain}\n"]
    assert missing == []
    assert [code for _, code in blocks(asked)] == [code for _, code in blocks(written)]


def test_the_two_commands_stand_at_the_top() -> None:
    top = README.read_text().split("## Features")[0]
    assert "pip install -r requirements_minio.txt && python -m stockdb demo" in top
    assert "pip install -r requirements_minio.txt && python test_minio_integration.py" in top
