"""Bulk reads over a stand-in for the bucket, and over processes against a real one."""

from __future__ import annotations

import pickle
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from stockdb.access.history import HistoryRequest
from stockdb.access.provenance import Provenance, ProvenanceLog
from stockdb.errors import (
    ConfigurationError,
    DataError,
    StockDBError,
    SymbolNotFoundError,
    UnavailableError,
)
from stockdb.scale.bulk import BulkResult, bulk_download, iterate, names_of

REQUEST = HistoryRequest()
SUMMARY = {
    "dataset": "stocks", "interval": "daily", "adjustment": "none", "validated_at": "2024",
    "simulated": False, "empty_reason": None, "validation": None,
}  # fmt: skip


class Frame(pd.DataFrame):
    """A frame that can be watched with a weak reference."""

    @property
    def _constructor(self) -> Any:
        return Frame


class FakeAccess:
    """Frames without a bucket; ``rule(symbol)`` may raise or wait."""

    def __init__(self, rule: Callable[[str], None] = lambda symbol: None, workers: int = 4) -> None:
        self.settings = SimpleNamespace(performance=SimpleNamespace(max_workers=workers))
        self.provenance = ProvenanceLog()
        self.rule = rule
        self.finished: list[str] = []
        self.running = self.most = 0
        self._lock = threading.Lock()

    def history(self, symbol: str, request: HistoryRequest) -> pd.DataFrame:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            self.rule(symbol)
        finally:
            with self._lock:
                self.running -= 1
                self.finished.append(symbol)
        index = pd.DatetimeIndex(["2024-01-02"], name="date")
        frame = Frame({"close": [float(len(symbol))]}, index=index)
        frame.attrs = {"stockdb": self.provenance.note({"symbol": symbol, **SUMMARY}, ())}
        return frame


def access(*args: Any, **named: Any) -> Any:
    return FakeAccess(*args, **named)


def failing(*symbols: str) -> Callable[[str], None]:
    def rule(symbol: str) -> None:
        if symbol in symbols:
            raise SymbolNotFoundError(f"There is no symbol {symbol!r}.", symbol=symbol)

    return rule


class TestResults:
    def test_in_the_order_asked_whatever_the_order_done(self) -> None:
        gate = threading.Event()

        def rule(symbol: str) -> None:
            if symbol == "A":  # the first one is the last to finish
                gate.wait(10)
            if symbol == "D":
                gate.set()

        source = access(rule)
        result = bulk_download(source, ["A", "C", "B", "D"], REQUEST)
        assert source.finished[-1] == "A"
        assert list(result) == ["A", "C", "B", "D"]
        assert not result.errors

    def test_a_failing_symbol_stops_nobody(self) -> None:
        symbols = [f"S{number}" for number in range(500)]
        source = access(failing("S7", "S499"))
        result = bulk_download(source, symbols, REQUEST)
        assert len(result) == 498 and list(result.errors) == ["S7", "S499"]
        assert isinstance(result.errors["S7"], SymbolNotFoundError)
        assert sorted(source.finished) == sorted(symbols)

    @pytest.mark.parametrize("error", [ValueError("x"), ZeroDivisionError(), MemoryError()])
    def test_not_even_by_a_defect_of_ours(self, error: Exception) -> None:
        def rule(symbol: str) -> None:
            if symbol == "B":
                raise error

        result = bulk_download(access(rule), ["A", "B", "C"], REQUEST)
        assert list(result) == ["A", "C"]
        assert type(error).__name__ in str(result.errors["B"])
        assert isinstance(result.errors["B"], StockDBError) and result.errors["B"].symbol == "B"

    def test_mapping(self) -> None:
        result = bulk_download(access(failing("B")), ["A", "B"], REQUEST)
        assert "A" in result and "B" not in result and len(result) == 1
        assert repr(result) == "<BulkResult: 1 frames, 1 errors>"
        with pytest.raises(SymbolNotFoundError):
            result["B"]  # why it is not there
        with pytest.raises(KeyError):
            result["C"]  # was not asked for
        assert result.get("C") is None

    def test_long_form(self) -> None:
        source = access(failing("B"))
        result = bulk_download(source, ["C", "B", "A"], REQUEST)
        frame = result.to_frame()
        assert frame.index.get_level_values("symbol").tolist() == ["C", "A"]
        assert frame.attrs["stockdb"]["symbols"] == 2
        assert set(source.provenance.of(frame).symbols) == {"C", "A"}

    def test_long_form_of_nothing(self) -> None:
        for result in (BulkResult(), bulk_download(access(failing("B")), ["B"], REQUEST)):
            frame = result.to_frame()
            assert frame.empty and frame.index.names == ["symbol", "date"]
            assert str(frame.index.levels[1].dtype) == "datetime64[ns]"


class TestStrict:
    def test_it_raises_after_all_have_finished(self) -> None:
        source = access(failing("S3", "S5"))
        symbols = [f"S{number}" for number in range(40)]
        with pytest.raises(SymbolNotFoundError, match="S3: There is no symbol") as caught:
            bulk_download(source, symbols, REQUEST, strict=True)
        error = caught.value
        assert sorted(source.finished) == sorted(symbols)
        assert list(error.errors) == ["S3", "S5"]
        assert len(error.result) == 38 and error.symbol == "S3"
        assert "1 more failed: S5" in str(error)

    def test_all_well(self) -> None:
        assert len(bulk_download(access(), ["A", "B"], REQUEST, strict=True)) == 2

    def test_the_error_survives_pickling(self) -> None:
        with pytest.raises(SymbolNotFoundError) as caught:
            bulk_download(access(failing("B")), ["A", "B"], REQUEST, strict=True)
        again = pickle.loads(pickle.dumps(caught.value))
        assert list(again.errors) == ["B"] and list(again.result) == ["A"]

    @pytest.mark.parametrize(
        "kind", [UnavailableError, DataError, ConfigurationError, SymbolNotFoundError]
    )
    def test_it_is_of_the_kind_of_the_first(self, kind: type[StockDBError]) -> None:
        def rule(symbol: str) -> None:
            raise kind("no", symbol=symbol, key="k")

        with pytest.raises(kind):
            bulk_download(access(rule), ["A", "B"], REQUEST, strict=True)


class TestWorkers:
    @pytest.mark.parametrize(("workers", "most"), [(1, 1), (3, 3)])
    def test_as_many_as_asked_for(self, workers: int, most: int) -> None:
        source = access(lambda symbol: time.sleep(0.01), workers=16)
        bulk_download(source, [f"S{n}" for n in range(24)], REQUEST, max_workers=workers)
        assert source.most == most

    def test_as_many_as_the_settings_say(self) -> None:
        source = access(lambda symbol: time.sleep(0.01), workers=5)
        bulk_download(source, [f"S{n}" for n in range(30)], REQUEST)
        assert source.most == 5

    def test_none_is_refused(self) -> None:
        for call in (bulk_download, lambda *a, **k: list(iterate(*a, **k))):
            with pytest.raises(ConfigurationError, match="max_workers"):
                call(access(), ["A"], REQUEST, max_workers=0)

    def test_the_callers_joblib_backend(self) -> None:
        source = access(lambda symbol: time.sleep(0.01), workers=16)
        with joblib.parallel_config(backend="threading", n_jobs=2):
            result = bulk_download(source, [f"S{n}" for n in range(12)], REQUEST)
        assert source.most == 2 and len(result) == 12


class TestProgress:
    @pytest.mark.parametrize("progress", [None, False])
    def test_silent_where_nobody_looks(
        self, progress: bool | None, capfd: pytest.CaptureFixture[str]
    ) -> None:
        bulk_download(access(), ["A", "B", "C"], REQUEST, progress=progress)
        assert capfd.readouterr() == ("", "")

    def test_shown_when_asked_for(self, capfd: pytest.CaptureFixture[str]) -> None:
        bulk_download(access(failing("B")), ["A", "B", "C"], REQUEST, progress=True)
        out, err = capfd.readouterr()
        assert out == "" and "3/3" in err


class TestIterator:
    def test_in_order_with_errors_in_their_place(self) -> None:
        found = list(iterate(access(failing("B")), ["C", "B", "A"], REQUEST))
        assert [symbol for symbol, _ in found] == ["C", "B", "A"]
        assert [isinstance(outcome, StockDBError) for _, outcome in found] == [False, True, False]

    def test_only_a_few_frames_live_at_a_time(self) -> None:
        made: list[weakref.ref[Any]] = []
        source = access()
        plain = source.history

        def history(symbol: str, request: HistoryRequest) -> pd.DataFrame:
            frame = plain(symbol, request)
            made.append(weakref.ref(frame))
            return frame

        source.history = history
        most = count = 0
        for _, frame in iterate(source, [f"S{n}" for n in range(200)], REQUEST, max_workers=2):
            assert len(frame) == 1
            del frame
            count += 1
            most = max(most, sum(held() is not None for held in made))
        assert count == 200
        assert most <= 20  # two workers; 200 would be all

    def test_who_stops_early_does_not_wait_for_all(self) -> None:
        source = access(workers=2)
        found = iterate(source, [f"S{n}" for n in range(200)], REQUEST)
        assert next(found)[0] == "S0"
        found.close()  # type: ignore[attr-defined]
        assert len(source.finished) <= 20


class TestNames:
    @pytest.mark.parametrize(
        ("given", "names"),
        [
            (["aapl", "MSFT", "AAPL"], ["AAPL", "MSFT"]),
            (("ko",), ["KO"]),
            ("ko", ["KO"]),
            ({"KO", "AAPL"}, ["AAPL", "KO"]),
            (pd.Index(["KO"]), ["KO"]),
            (np.array(["KO", "PEP"]), ["KO", "PEP"]),
            (iter(["ko", "pep"]), ["KO", "PEP"]),
            (["KO", "A/B", "ko", "A/B"], ["KO", "A/B"]),
            (["KO", float("nan")], ["KO", "nan (float)"]),
            ([None], ["None (NoneType)"]),
        ],
    )
    def test_each_once_and_nothing_lost(self, given: Any, names: list[str]) -> None:
        assert names_of(given) == names

    @pytest.mark.parametrize("given", [[], None, 5, {"KO": 1}, "", "A/B", iter([])])
    def test_what_is_no_list(self, given: Any) -> None:
        with pytest.raises(DataError):
            names_of(given)

    def test_what_is_no_symbol_fails_alone(self) -> None:
        source = access()
        result = bulk_download(source, names_of(["KO", "A/B", float("nan")]), REQUEST)
        assert list(result) == ["KO"] and source.finished == ["KO"]
        assert list(result.errors) == ["A/B", "nan (float)"]
        assert {type(error) for error in result.errors.values()} == {DataError}


class TestProcesses:
    @pytest.fixture
    def pool(self) -> Iterator[None]:
        with joblib.parallel_config(backend="loky", n_jobs=2):
            yield
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True, kill_workers=True)

    def test_equal_frames_with_their_provenance(
        self, make_bucket: Callable[..., str], client_factory: Any, pool: None
    ) -> None:
        head = "trade_date,Open,High,Low,Close,Volume\n"
        objects = {
            f"stocks-2010-2025/S{n}.csv": f"{head}2024-01-02,{n}1,{n}3,{n}0,{n}2,100\n".encode()
            for n in range(1, 7)
        }
        bucket = make_bucket(objects)
        symbols = [*(f"S{n}" for n in range(1, 7)), "NOSUCH", "A/B"]
        by_processes = client_factory(bucket)
        result = by_processes.bulk_download(symbols)
        with joblib.parallel_config(backend="threading", n_jobs=2):
            by_threads = client_factory(bucket).bulk_download(symbols)
        assert list(result) == list(by_threads) == symbols[:6]
        for symbol in symbols[:6]:
            pd.testing.assert_frame_equal(result[symbol], by_threads[symbol])
            known: Provenance = by_processes.provenance(result[symbol])
            assert known.origins[0].key == f"stocks-2010-2025/{symbol}.csv"
            assert known.requests == 1 and known.summary == result[symbol].attrs["stockdb"]
        assert isinstance(result.errors["NOSUCH"], SymbolNotFoundError)
        assert result.errors["NOSUCH"].suggestions == by_threads.errors["NOSUCH"].suggestions
        assert isinstance(result.errors["A/B"], DataError)
        assert len(by_processes.provenance(result.to_frame()).origins) == 6
        # The workers wrote into the parent's cache.
        again = by_processes.get_historical_data("S1", offline=True)
        pd.testing.assert_frame_equal(again, result["S1"])
