"""An installed ``minio_config.py`` never shadows the user's, from wherever a script runs.

The checkout on PYTHONPATH stands for the installed library.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MINE = """
from stockdb.settings import Connection

MINIO_CONFIG = Connection(endpoint="http://127.0.0.1:9", bucket_name="{bucket}")
"""
SCRIPT = """
import json
import minio_config  # whichever Python finds: it must not matter
from minio_data_integration import MinIODataIntegration
settings = MinIODataIntegration().settings
print(json.dumps([minio_config.__file__, str(settings.config_file),
                  settings.connection.bucket_name, sorted(settings.datasets)]))
"""


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with a configuration of its own, and a folder below it."""
    folder = tmp_path / "trading"
    (folder / "research" / "2024").mkdir(parents=True)
    (folder / "minio_config.py").write_text(MINE.format(bucket="mine"))
    return folder


@pytest.mark.parametrize("below", [".", "research/2024"])
def test_doctor_reads_and_names_the_users_file(mine: Path, below: str) -> None:
    done = python(mine / below, "-m", "stockdb", "doctor")
    assert done.returncode == 1  # nobody listens on port 9
    assert f"settings from  {mine / 'minio_config.py'}" in done.stdout
    assert "bucket 'mine'" in done.stdout and "FAILED   connect" in done.stdout
    assert str(REPOSITORY) not in done.stdout and done.stderr == ""


def test_a_script_from_elsewhere(mine: Path, tmp_path: Path) -> None:
    """Its own folder is first on the path of Python, the working directory is not on it."""
    script = tmp_path / "bin" / "script.py"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    imported, config, bucket, datasets = json.loads(python(mine, str(script)).stdout)
    assert Path(imported) == REPOSITORY / "minio_config.py"
    assert (Path(config), bucket) == (mine / "minio_config.py", "mine")
    assert "stocks" in datasets  # what the file does not say stays as it is


def test_the_nearest_wins(mine: Path) -> None:
    (mine / "research" / "minio_config.py").write_text(MINE.format(bucket="nearer"))
    done = python(mine / "research" / "2024", "-c", SCRIPT)
    _, config, bucket, _ = json.loads(done.stdout)
    assert (Path(config), bucket) == (mine / "research" / "minio_config.py", "nearer")


def test_without_one_the_installed_one_is_named(tmp_path: Path) -> None:
    done = python(tmp_path, "-m", "stockdb", "doctor")
    assert done.returncode == 1
    assert f"settings from  {REPOSITORY / 'minio_config.py'}" in done.stdout
    assert "No MinIO endpoint is configured" in done.stderr
