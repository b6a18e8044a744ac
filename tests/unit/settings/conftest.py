"""Every test of the settings starts in an empty folder, with no MINIO_* variable set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _hermetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("MINIO_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
