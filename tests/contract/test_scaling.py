"""The same work by one thread, by many, by processes and on a cluster: the same frames.

Also where a worker is killed in the middle of it.
"""

from __future__ import annotations

import copyreg
import functools
import gzip
import importlib
import importlib.util
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from leaps_data_integration import LEAPSDataIntegration
from minio_data_integration import MinIODataIntegration
from stockdb.errors import (
    AccessDeniedError,
    ConfigurationError,
    DataError,
    NotFoundError,
    StockDBError,
    SymbolNotFoundError,
    UnavailableError,
)
from stockdb.sessions import sessions
from stockdb.settings import load_settings
from tests.conftest import ClientFactory
from tests.faults.conftest import CANARY

pytestmark = pytest.mark.slow  # processes that import all of it
psutil = pytest.importorskip("psutil", reason="needs the extra 'dask'")
if importlib.util.find_spec("distributed") is None:
    pytest.skip("needs the extra 'dask'", allow_module_level=True)

DAY = "2026-08-21"
SYMBOLS = [f"S{number:02d}" for number in range(24)]
ROWS = 300


def bars(number: int) -> bytes:
    """A random walk on real sessions."""
    random = np.random.default_rng(number)
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.02, ROWS)))
    days = sessions("XNYS", pd.Timestamp("2022-01-03"), pd.Timestamp("2023-12-29"))[:ROWS]
    frame = pd.DataFrame(
        {
            "trade_date": days.strftime("%Y-%m-%d"),
            "Open": close * 0.99, "High": close * 1.02, "Low": close * 0.97, "Close": close,
            "Volume": random.integers(1000, 9000, ROWS),
        }
    )  # fmt: skip
    return frame.to_csv(index=False).encode()


@pytest.fixture(scope="module")
def bucket(make_bucket: Callable[..., str]) -> str:
    return make_bucket({f"stocks-2010-2025/{s}.csv": bars(n) for n, s in enumerate(SYMBOLS)})


@pytest.fixture(scope="module")
def distributed() -> Iterator[Any]:
    """Dask's cluster. To import it changes how every error of this process is pickled."""
    before = dict(copyreg.dispatch_table)
    yield importlib.import_module("distributed")
    copyreg.dispatch_table.clear()
    copyreg.dispatch_table.update(before)


@pytest.fixture(scope="module")
def cluster(distributed: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two worker processes, as two machines are: with caches of their own."""
    home = tmp_path_factory.mktemp("cluster")
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None,
            local_directory=str(home), env={"XDG_CACHE_HOME": str(home / "cache")},
        ) as running,
        distributed.Client(running) as client,
    ):  # fmt: skip
        client.home = home
        client.run(_as_in_a_script)
        yield client


def _as_in_a_script() -> None:
    """Import the library before Dask, as the workers of a script do that imports both.

    Dask then sends an error with all that led to it, also where that cannot travel.
    """
    for name in ("minio_data_integration", "stockdb.access", "stockdb.scale.bulk"):
        importlib.import_module(name)
    importlib.import_module("tblib.pickling_support").install()


@pytest.fixture(scope="module")
def chains(shared_data: Path, make_bucket: Callable[..., str]) -> str:
    """A day of real chains."""
    packed = shared_data / f"options-complete/{DAY}options.csv.gz"
    objects = {f"options-complete/{DAY}options.csv": gzip.decompress(packed.read_bytes())}
    return make_bucket(objects)


@pytest.fixture(scope="module", autouse=True)
def _no_processes_left() -> Iterator[None]:
    """They serve all tests here, except those that kill one."""
    yield
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True, kill_workers=True)


def loky() -> AbstractContextManager[Any]:
    config: AbstractContextManager[Any] = joblib.parallel_config(backend="loky", n_jobs=2)
    return config


def threads() -> AbstractContextManager[Any]:
    return nullcontext()


def dask() -> AbstractContextManager[Any]:
    config: AbstractContextManager[Any] = joblib.parallel_config(backend="dask")
    return config


WAYS = [threads, loky, dask]


def in_time(
    way: Callable[[], AbstractContextManager[Any]], call: Callable[[], Any], seconds: float = 15.0
) -> Any:
    """Give the result of a call, or fail where there is none: a lost answer hangs for ever."""
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            with way():  # a setting of its thread
                outcome.set_result(call())
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(timeout=seconds)


class Foreign(Exception):
    """What cannot be built anew from its text."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} of {two}")


def foreign(bars: pd.DataFrame) -> pd.DataFrame:
    """A feature that fails with an error of its own."""
    raise Foreign(1, 2)


def with_cause(bars: pd.DataFrame) -> pd.DataFrame:
    """A feature that fails for bars that begin low, for a reason that cannot travel."""
    if bars["close"].iloc[0] > 10:
        return pd.DataFrame({"own": bars["close"]}, index=bars.index)
    try:
        raise TypeError(threading.Lock())
    except TypeError as error:
        raise LookupError("of my own") from error


@pytest.fixture(scope="module")
def bad(make_bucket: Callable[..., str]) -> str:
    head = b"trade_date,Open,High,Low,Close,Volume"
    day = b"a,b\n1,2\n"
    return make_bucket(
        {
            "stocks-2010-2025/GOOD.csv": bars(1),
            "stocks-2010-2025/LOW.csv": b"Date,Close\n2024-01-02,1\n2024-01-03,1\n",
            "stocks-2010-2025/HEADER.csv": b"a,b\n1\n",
            "stocks-2010-2025/TWICE.csv": head + b",Close\n2020-01-02,1,1,1,1,1,1\n",
            "stocks-2010-2025/EMPTY.csv": b"",
            "stocks-2010-2025/TEXT.csv": head + b"\n2020-01-02,x,1,1,1,1\n",
            "stocks-2010-2025/PACKED.csv": b"\x1f\x8bxxxx",
            "options-complete/2023-01-03options.csv": day,
            "options-complete/2023-01-04options.csv": day,
        }
    )


class TestErrors:
    """One bad file is one error, wherever it was read; it says what it says in this process."""

    @pytest.mark.parametrize("way", [loky, dask])
    def test_of_a_bulk_download(
        self, bad: str, client_factory: ClientFactory, cluster: Any, way: Any
    ) -> None:
        names = ["GOOD", "HEADER", "TWICE", "EMPTY", "TEXT", "PACKED", "ABSENT"]
        expected = client_factory(bad).bulk_download(names).errors
        minio = client_factory(bad)
        found = in_time(way, lambda: minio.bulk_download(names))
        assert list(found) == ["GOOD"] and list(found.errors) == names[1:]
        for name, error in found.errors.items():
            assert type(error) is type(expected[name]) and str(error) == str(expected[name])
            assert error.symbol == name
            assert vars(error) == vars(expected[name])

    @pytest.mark.parametrize("way", WAYS)
    def test_of_refused_access(
        self, bad: str, client_factory: ClientFactory, cluster: Any, way: Any
    ) -> None:
        for bucket, secret, kind in (
            (bad, {"secret_key": "wrong-dummy-secret"}, AccessDeniedError),
            ("no-such-bucket", {}, NotFoundError),
        ):
            minio = client_factory(bucket, **secret)
            found = in_time(way, functools.partial(minio.bulk_download, ["GOOD", "HEADER"]))
            assert [type(error) for error in found.errors.values()] == [kind] * 2

    @pytest.mark.parametrize("way", [loky, dask])
    @pytest.mark.parametrize(
        "read",
        [
            lambda minio: minio.bulk_download(["GOOD", "HEADER"], strict=True),
            lambda minio: minio.create_unified_interface().get_feature_matrix(["GOOD", "HEADER"]),
            lambda minio: minio.get_options_data("KO", "2023-01-01", "2023-01-31"),
            lambda minio: LEAPSDataIntegration(minio).scan(["A", "KO"], "2023-01-03", rate=0.04),
        ],
        ids=["strict", "matrix", "chains", "scan"],
    )
    def test_that_are_raised(
        self, bad: str, client_factory: ClientFactory, cluster: Any, way: Any, read: Any
    ) -> None:
        with pytest.raises(DataError) as expected:
            read(client_factory(bad))
        minio = client_factory(bad)
        with pytest.raises(DataError) as found:
            in_time(way, lambda: read(minio))
        assert str(found.value) == str(expected.value)
        assert found.value.symbol == expected.value.symbol
        assert found.value.key == expected.value.key

    def test_of_a_lazy_matrix(self, bad: str, client_factory: ClientFactory, cluster: Any) -> None:
        unified = client_factory(bad).create_unified_interface()
        lazy = unified.get_feature_matrix(["GOOD", "HEADER"], engine="dask")
        with pytest.raises(DataError, match="HEADER"):
            in_time(threads, lazy.compute)
        lazy = unified.get_feature_matrix(
            ["GOOD", "LOW"], with_cause, engine="dask", partition_symbols=1
        )
        with pytest.raises(LookupError, match="of my own"):
            in_time(threads, lazy.compute)

    @pytest.mark.parametrize("way", [loky, dask])
    def test_of_a_feature_function(
        self, bad: str, client_factory: ClientFactory, cluster: Any, way: Any
    ) -> None:
        unified = client_factory(bad).create_unified_interface()
        # Dask knows how to send even this one; pickle does not.
        with pytest.raises((Foreign, StockDBError), match="1 of 2"):
            in_time(way, lambda: unified.get_feature_matrix(["GOOD"], foreign))
        with pytest.raises(LookupError, match="of my own"):
            in_time(way, lambda: unified.get_feature_matrix(["LOW"], with_cause))

    def test_keep_what_led_to_them_in_this_process(
        self, bad: str, client_factory: ClientFactory
    ) -> None:
        found = client_factory(bad).bulk_download(["HEADER"])
        assert found.errors["HEADER"].__context__ is not None


def slowly(bars: pd.DataFrame) -> pd.DataFrame:
    """A feature that takes long enough to kill its worker at it."""
    time.sleep(0.1)
    return pd.DataFrame({"own": bars["close"] / bars["open"]}, index=bars.index)


def kill_one(find: Callable[[], list[int]], seconds: float) -> threading.Thread:
    """Kill a worker in the middle of it."""

    def kill() -> None:
        time.sleep(seconds)
        os.kill(find()[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def loky_workers() -> list[int]:
    children = psutil.Process().children()
    return [child.pid for child in children if "popen_loky" in " ".join(child.cmdline())]


class TestEqual:
    @pytest.mark.parametrize("way", WAYS)
    def test_bulk_downloads(
        self, bucket: str, client_factory: ClientFactory, cluster: Any, way: Any
    ) -> None:
        one_by_one = client_factory(bucket)
        expected = {name: one_by_one.get_historical_data(name) for name in SYMBOLS}
        with way():
            found = client_factory(bucket).bulk_download([*SYMBOLS, "ABSENT"])
        assert list(found) == SYMBOLS and list(found.errors) == ["ABSENT"]
        assert isinstance(found.errors["ABSENT"], SymbolNotFoundError)
        for name, frame in found.items():
            pd.testing.assert_frame_equal(frame, expected[name], check_exact=True)

    @pytest.mark.parametrize("way", WAYS)
    def test_feature_matrices(
        self, bucket: str, client_factory: ClientFactory, cluster: Any, way: Any
    ) -> None:
        def matrix(max_workers: int | None = None) -> pd.DataFrame:
            unified = client_factory(bucket).create_unified_interface()
            found: pd.DataFrame = unified.get_feature_matrix(
                SYMBOLS,
                ["default", "alpha", "xs_rank"],
                start="2022-06-01",
                max_workers=max_workers,
            )
            return found

        expected = matrix(1)
        assert any(name.startswith("xs_") for name in expected.columns)
        with way():
            found = matrix()
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        one, other = found.attrs["stockdb"], expected.attrs["stockdb"]
        assert one["spec"] == other["spec"] and one["nan"] == other["nan"]

    @pytest.mark.shared_data
    @pytest.mark.parametrize("way", [loky, dask])
    def test_scans_of_leaps(
        self, chains: str, client_factory: ClientFactory, cluster: Any, way: Any
    ) -> None:
        searches = {"what": ["arbitrage", "calendar"], "rate": 0.04, "strict": False}
        symbols = ["KO", "NOPE", "F"]
        expected = LEAPSDataIntegration(client_factory(chains)).scan(symbols, DAY, **searches)
        with way():
            found = LEAPSDataIntegration(client_factory(chains)).scan(symbols, DAY, **searches)
        assert found.searched == expected.searched and list(found.errors) == ["NOPE"]
        assert len(expected["arbitrage"]) or len(expected["calendar"])
        for name, frame in expected.items():
            # NaN in the dict of a leg is not equal to itself; as text it is
            one, other = (f.assign(legs=f["legs"].map(repr)) for f in (found[name], frame))
            pd.testing.assert_frame_equal(one, other, check_exact=True)

    @pytest.mark.parametrize("features", [None, ["default", "alpha", "xs_rank"], slowly])
    def test_a_lazy_matrix(
        self, bucket: str, client_factory: ClientFactory, cluster: Any, features: Any
    ) -> None:
        """A part for each group of symbols; columns that compare symbols compare all of them."""
        unified = client_factory(bucket).create_unified_interface()
        some = SYMBOLS if features is not slowly else SYMBOLS[:6]
        expected = unified.get_feature_matrix(some, features, start="2022-06-01")
        lazy = unified.get_feature_matrix(
            some, features, start="2022-06-01", engine="dask", partition_symbols=5
        )
        assert lazy.npartitions == -(-len(some) // 5)
        assert lazy.divisions[0] == "S00" and lazy.divisions[-1] == some[-1]
        assert list(lazy.columns) == ["date", *expected.columns]
        found = lazy.compute().set_index("date", append=True)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        only = lazy.loc["S03"].compute()  # one part is enough for one symbol
        assert set(only.index) == {"S03"} and len(only) == len(expected.loc["S03"])

    def test_without_a_cluster_dask_computes_here(
        self, bucket: str, client_factory: ClientFactory
    ) -> None:
        unified = client_factory(bucket).create_unified_interface()
        lazy = unified.get_feature_matrix(SYMBOLS[:4], engine="dask", partition_symbols=2)
        with ThreadPoolExecutor(2) as pool:  # of its own, Dask leaves one behind
            found = lazy.compute(scheduler="threads", pool=pool).set_index("date", append=True)
        pd.testing.assert_frame_equal(found, unified.get_feature_matrix(SYMBOLS[:4]))

    def test_what_cannot_be_lazy(self, bucket: str, client_factory: ClientFactory) -> None:
        unified = client_factory(bucket).create_unified_interface()
        for options in (
            {"engine": "spark"}, {"engine": "dask", "partition_symbols": 0},
            {"engine": "dask", "as_of": {}},
        ):  # fmt: skip
            with pytest.raises(ConfigurationError):
                unified.get_feature_matrix(None if "as_of" in options else SYMBOLS, **options)
        with pytest.raises(SymbolNotFoundError):  # now, not on the cluster
            unified.get_feature_matrix(["ABSENT"], engine="dask")


class TestAKilledWorker:
    """Changes nothing but the time."""

    @pytest.mark.parametrize("way", ["loky", "dask", "lazy"])
    def test_of_a_feature_matrix(
        self, bucket: str, client_factory: ClientFactory, cluster: Any, way: str
    ) -> None:
        unified = client_factory(bucket).create_unified_interface()
        expected = unified.get_feature_matrix(SYMBOLS, slowly)

        def dask_workers() -> list[int]:
            return list(cluster.run(os.getpid).values())

        before = dask_workers()
        if way == "lazy":
            lazy = unified.get_feature_matrix(SYMBOLS, slowly, engine="dask", partition_symbols=2)
            killing = kill_one(lambda: before, 0.5)
            found = lazy.compute().set_index("date", append=True)
        else:
            with loky() if way == "loky" else dask():
                if way == "loky":
                    unified.get_feature_matrix(SYMBOLS[:2])  # the workers stand
                killing = kill_one(loky_workers if way == "loky" else lambda: before, 0.5)
                found = unified.get_feature_matrix(SYMBOLS, slowly)
        killing.join()
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        if way != "loky":
            cluster.wait_for_workers(2)
            assert set(dask_workers()) != set(before)

    def test_of_a_bulk_download(self, bucket: str, client_factory: ClientFactory) -> None:
        expected = client_factory(bucket).bulk_download(SYMBOLS)
        minio = client_factory(bucket)
        with loky():
            minio.bulk_download(SYMBOLS[:2])
            found = {}
            for name, frame in minio.iter_historical_data(SYMBOLS):
                if name == SYMBOLS[3]:
                    os.kill(loky_workers()[0], signal.SIGKILL)
                found[name] = frame
        assert list(found) == SYMBOLS
        for name, frame in found.items():
            pd.testing.assert_frame_equal(frame, expected[name], check_exact=True)

    def test_workers_that_always_die_are_an_error(
        self, bucket: str, client_factory: ClientFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("stockdb.access.parallel._LOSSES", 1)
        unified = client_factory(bucket).create_unified_interface()
        with loky(), pytest.raises(UnavailableError, match="died 1 times"):
            unified.get_feature_matrix(SYMBOLS, suicidal)


def suicidal(bars: pd.DataFrame) -> pd.DataFrame:
    if threading.current_thread() is threading.main_thread():
        os.kill(os.getpid(), signal.SIGKILL)
    return bars[["close"]]


class TestWorkers:
    def test_have_caches_of_their_own(
        self, bucket: str, client_factory: ClientFactory, cluster: Any
    ) -> None:
        """Where no folder is configured, each takes that of its own system."""
        minio = client_factory(bucket, cache_dir=None)
        mine = Path(minio.get_cache_stats()["directory"])
        with dask():
            minio.bulk_download(SYMBOLS[:8])
        theirs = cluster.home / "cache"
        assert not mine.is_relative_to(theirs)
        assert len([p for p in theirs.rglob("*") if p.is_file() and p.stat().st_size > 5000]) >= 8

    def test_tell_nobody_the_secret(
        self, embedded_server: Any, bucket: str, cluster: Any, tmp_path: Path, caplog: Any
    ) -> None:
        """Not in a name, a repr or a log of the cluster, also where all tasks fail."""
        caplog.set_level(logging.DEBUG)
        settings = load_settings(
            directory=tmp_path, endpoint=embedded_server.endpoint, bucket_name=bucket,
            access_key="dummy-access", secret_key=CANARY, log_dir=tmp_path / "logs",
        )  # fmt: skip
        with MinIODataIntegration(settings) as minio, dask():
            found = minio.bulk_download(SYMBOLS[:4], max_age=0)
            assert len(found.errors) == 4  # a wrong secret
            told = [repr(found.errors), str(found.errors["S00"]), repr(minio), caplog.text]
            told += [str(cluster.get_worker_logs()), str(cluster.get_scheduler_logs())]
            told += [str(cluster.get_events()), repr(cluster.story())]
        assert CANARY not in "".join(told)
