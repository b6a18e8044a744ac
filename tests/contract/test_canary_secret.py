"""A secret that must never be seen: planted in a server, a client, and every mistake."""

from __future__ import annotations

import io
import json
import logging
import pickle
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pytest

from minio_data_integration import MinIODataIntegration
from stockdb import errors
from stockdb.app.cli import main
from stockdb.demo.server import EmbeddedServer
from tests.conftest import ClientFactory, admin_of, fill

# Joined, so that no traceback shows it as a line of source.
PLANTED = "-".join(["CANARY", "a1b2c3", "never", "to", "be", "seen"])
MISTYPED = "-".join(["CANARY", "mistyped", "secret"])
HEAD = b"trade_date,Open,High,Low,Close,Volume\n"


def seen(text: str | bytes) -> bool:
    return b"CANARY" in (text.encode("utf-8", "replace") if isinstance(text, str) else text)


def assert_unseen_below(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if seen(path.read_bytes()) or seen(str(path))] == []


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """A server whose own secret is the canary."""
    made = EmbeddedServer()
    made.secret_key = PLANTED
    with made:
        s3 = admin_of(made)
        s3.make_bucket("stockdb")
        rows = HEAD + b"2024-01-02,10,12,9,11,100\n2024-01-03,10,8,9,11,0\n"
        text = HEAD + b"2024-01-02,ten,1,1,1,1\n"
        folder = "stocks-2010-2025"
        fill(s3, "stockdb", {f"{folder}/AAPL.csv": rows, f"{folder}/TEXT.csv": text})
        yield made


@pytest.fixture
def clients(server: EmbeddedServer, tmp_path: Path) -> Iterator[ClientFactory]:
    factory = ClientFactory(server, tmp_path)
    yield factory
    factory.close()


def raised(call: Callable[[], Any]) -> BaseException:
    with pytest.raises(errors.StockDBError) as caught:
        call()
    return caught.value


def test_the_secret_is_the_right_one(clients: ClientFactory) -> None:
    assert len(clients(policy="flag").get_historical_data("AAPL")) == 2


def test_no_representation_shows_it(clients: ClientFactory) -> None:
    minio = clients()
    frame = minio.get_historical_data("AAPL")
    access = minio._access
    shown = [
        minio, minio.settings, minio.settings.connection, access, access.store, access.cache,
        access.reader, minio.check_connection(), minio.provenance(frame), minio.get_cache_stats(),
        minio.settings.connection["secret_key"], vars(minio), frame.attrs,
        minio.bulk_download(["AAPL", "TEXT"]),
    ]  # fmt: skip
    for item in shown:
        for text in (repr(item), str(item), f"{item}"):
            assert not seen(text), type(item)
    assert not seen(minio.check_connection()._repr_html_())
    assert not seen(json.dumps(minio.check_connection().to_dict()))


def test_no_frame_carries_it(clients: ClientFactory, tmp_path: Path) -> None:
    minio = clients()
    result = minio.bulk_download(["AAPL", "NOSUCH", "TEXT"])
    frame = result["AAPL"]
    for item in (frame, frame.attrs, result, result.to_frame(), minio.provenance(frame)):
        assert not seen(pickle.dumps(item)), type(item)
    for error in result.errors.values():
        assert not seen(pickle.dumps(error))
    frame.to_parquet(tmp_path / "frame.parquet")
    assert not seen((tmp_path / "frame.parquet").read_bytes())
    assert not seen(str(minio.get_historical_data("AAPL", output_format="arrow").schema.metadata))


def test_no_error_shows_it(clients: ClientFactory, server: EmbeddedServer) -> None:
    minio = clients()
    plain = server.endpoint
    calls: dict[str, Callable[[], Any]] = {
        "unknown symbol": lambda: minio.get_historical_data("NOSUCH"),
        "malformed": lambda: minio.get_historical_data("TEXT"),
        "validation": lambda: clients(policy="raise").get_historical_data("AAPL"),
        "wrong bucket": lambda: clients("no-such-bucket").get_historical_data("AAPL"),
        "bucket that cannot be": lambda: clients("No Bucket!").get_historical_data("AAPL"),
        "wrong secret": lambda: clients(secret_key=MISTYPED).get_historical_data("AAPL"),
        "wrong key": lambda: clients(access_key="nobody").get_historical_data("AAPL"),
        "half of it": lambda: MinIODataIntegration(
            clients().settings, access_key=""
        ).get_historical_data("AAPL"),
        "refused": lambda: clients(endpoint="http://127.0.0.1:9").get_historical_data("AAPL"),
        "tls": lambda: clients(endpoint=plain.replace("http:", "https:")).list_symbols(),
        "in the endpoint": lambda: clients(endpoint=f"http://me:{PLANTED}@127.0.0.1:9"),
        "in the path": lambda: clients(endpoint=f"http://127.0.0.1:9/{PLANTED}"),
        "in a number": lambda: clients(cache_ttl_seconds=PLANTED),
        "of a wrong type": lambda: clients(secret_key=[PLANTED]),
        "as a name": lambda: clients(secret=PLANTED),
        "download": lambda: minio.download_file("no/such/key", Path.cwd()),
        "strict": lambda: minio.bulk_download(["AAPL", "TEXT"], strict=True),
    }
    for name, call in calls.items():
        error = raised(call)
        text = "".join(traceback.format_exception(error))
        for shown in (str(error), repr(error), text, repr(error.__dict__), repr(error.args)):
            assert not seen(shown), name
        assert not seen(pickle.dumps(error)), name


def test_no_file_holds_it(
    clients: ClientFactory, server: EmbeddedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)  # urllib3's own records too
    for secret in (PLANTED, MISTYPED):
        minio = clients(secret_key=secret, log_level="DEBUG")
        for call, argument in (
            (minio.get_historical_data, "AAPL"),
            (minio.get_historical_data, "NOSUCH"),
            (minio.get_historical_data, "TEXT"),
            (minio.list_files, "stocks"),
            (minio.bulk_download, ["AAPL", "NOSUCH"]),
            (minio.list_option_dates, None),
        ):
            try:
                call(argument)  # type: ignore[operator]
            except errors.StockDBError as error:
                logging.getLogger("stockdb").exception("%r", error)
    refused = clients(endpoint="http://127.0.0.1:9", log_level="DEBUG")
    raised(lambda: refused.get_historical_data("AAPL", allow_stale=True))
    assert (tmp_path / "client-0" / "logs" / "stockdb.log").stat().st_size > 0
    assert_unseen_below(tmp_path)
    assert not seen(caplog.text)


def test_no_warning_shows_it(clients: ClientFactory) -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        clients(endpoint="http://192.0.2.1:9")
        clients(endpoint="https://127.0.0.1:9", verify_certificates=False)
        clients().get_historical_data(["AAPL", "NOSUCH"])
    assert len(found) >= 3
    assert not any(seen(str(item.message)) for item in found)


def test_processes_keep_it(
    clients: ClientFactory, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It travels to workers in memory: not on a command line, in a file or in their output."""
    minio = clients()
    with joblib.parallel_config(backend="multiprocessing", n_jobs=2):
        result = minio.bulk_download(["AAPL", "NOSUCH"])
    assert list(result) == ["AAPL"] and list(result.errors) == ["NOSUCH"]
    assert_unseen_below(tmp_path)
    assert not seen("".join(capfd.readouterr()))


@pytest.mark.parametrize("secret", [PLANTED, MISTYPED])
def test_no_command_prints_it(
    server: EmbeddedServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    secret: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("MINIO_CACHE_DIR", str(tmp_path / "elsewhere" / "cache"))
    monkeypatch.setenv("MINIO_LOG_DIR", str(tmp_path / "elsewhere" / "logs"))
    monkeypatch.setenv("MINIO_ENDPOINT", server.endpoint)
    monkeypatch.setenv("MINIO_ACCESS_KEY", server.access_key)
    for source in ("environment", ".env", "minio_config.py"):
        monkeypatch.delenv("MINIO_SECRET_KEY", raising=False)
        for name in (".env", "minio_config.py"):
            (tmp_path / name).unlink(missing_ok=True)
        if source == "environment":
            monkeypatch.setenv("MINIO_SECRET_KEY", secret)
        elif source == ".env":
            (tmp_path / ".env").write_text(f"MINIO_SECRET_KEY={secret}\n")
        else:
            text = f"MINIO_CONFIG = {{'secret_key': {secret!r}}}\n"
            (tmp_path / "minio_config.py").write_text(text)
        for arguments in (["doctor"], ["doctor", "--json"], ["ls"], ["ls", "stocks", "--json"],
                          ["cache", "stats"], ["cache", "clear"], ["ls", "stonks"]):  # fmt: skip
            monkeypatch.setattr(sys, "argv", ["stockdb", *arguments])
            with pytest.raises(SystemExit):
                main()
            out, err = capfd.readouterr()
            assert out + err and not seen(out + err), (source, arguments)
    (tmp_path / "minio_config.py").write_text(f"MINIO_CONFIG = dict(secret_key={secret!r}\n")
    monkeypatch.setattr(sys, "argv", ["stockdb", "doctor"])
    with pytest.raises(SystemExit):
        main()
    out, err = capfd.readouterr()
    assert "minio_config.py" in err and not seen(out + err)
    assert_unseen_below(tmp_path / "elsewhere")


def test_the_test_can_see() -> None:
    """The detector finds the canary where it is."""
    assert seen(PLANTED) and seen(MISTYPED) and seen(pickle.dumps({"key": PLANTED}))
    sink = io.BytesIO()
    pd.DataFrame({"x": [PLANTED]}).to_csv(sink)
    assert seen(sink.getvalue())
