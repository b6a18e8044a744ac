"""In a notebook's running loop: plain calls, awaited ones, and updates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minio_data_integration import MinIODataIntegration
from tests.conftest import ClientFactory

nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel")
nbformat = pytest.importorskip("nbformat")
pytestmark = pytest.mark.slow  # a kernel starts

SESSION = b"trade_date,Open,High,Low,Close,Volume\n2024-01-02,10,12,9,11,100\n"
CELLS = (
    "import sys, json; sys.path.insert(0, {root!r})\n"
    "from minio_data_integration import MinIODataIntegration\n"
    "minio = MinIODataIntegration({settings!r})\n"
    "print('plain', len(minio.get_historical_data('KO')))",
    "frame = await minio.get_historical_data_async('KO')\nprint('awaited', len(frame))",
    "import asyncio\n"
    "found = await asyncio.gather(minio.bulk_download_async(['KO', 'PEP']),\n"
    "                             minio.get_historical_data_async('PEP'))\n"
    "print('together', list(found[0]), len(found[1]))",
    "async for update in minio.watch('KO', initial=True):\n"
    "    break\n"
    "print('update', update.kind, len(update.new))",
    "import threading\n"
    "await asyncio.sleep(0.5)\n"
    "print('left', [t.name for t in threading.enumerate() if t.name == 'stockdb-listen'])",
)


def test_every_form_of_a_call(make_bucket: Any, client_factory: ClientFactory) -> None:
    bucket = make_bucket({f"stocks-2010-2025/{name}.csv": SESSION for name in ("KO", "PEP")})
    client: MinIODataIntegration = client_factory(bucket)
    known = client.settings
    assert known.connection.secret_key is not None
    settings = {
        "endpoint": known.connection.endpoint,
        "access_key": known.connection.access_key,
        "secret_key": known.connection.secret_key.get_secret_value(),
        "bucket_name": bucket,
        "cache_dir": str(known.cache.cache_dir),
        "log_dir": str(known.logs.log_dir),
    }
    root = str(Path(__file__).resolve().parents[2])
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_code_cell(cell.format(root=root, settings=settings) if not n else cell)
        for n, cell in enumerate(CELLS)
    ]
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    told = [
        "".join(out.get("text", "") for out in cell.outputs if out.get("name") == "stdout").strip()
        for cell in notebook.cells
    ]
    assert told == [
        "plain 1", "awaited 1", "together ['KO', 'PEP'] 1", "update rows 1", "left []",
    ]  # fmt: skip
