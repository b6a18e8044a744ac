"""The notebooks and scripts of ``examples/`` run from the first cell to the last."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
PICTURES = {
    "1_first_steps": 1,
    "2_chain_and_surface": 3,
    "3_arbitrage_and_portfolio": 2,
    "4_features_to_lstm": 1,
}

pytestmark = pytest.mark.slow  # each starts a kernel and a server of its own


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MINIO_")}
    return {**kept, "PYTHONPATH": str(ROOT), "IPYTHONDIR": kept["HOME"]}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(path, 4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=120, resources=resources).execute()  # raises what a cell does
    outputs: list[Any] = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) >= PICTURES[path.stem]
    said = [o["text"] for o in outputs if o.get("name") == "stderr"]
    assert not [text for text in said if "Warning" in text]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(path), "--demo"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout and "Traceback" not in done.stderr


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_whose_output_nobody_reads(path: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, str(path), "--demo"], stdout=pipe, stderr=subprocess.PIPE,
            cwd=tmp_path, env=environment(), text=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 141 and "Error" not in done.stderr
