"""The log of provenances: small notes out, whole ones kept, the oldest forgotten."""

from __future__ import annotations

import json
import pickle
import threading
from typing import Any

import pandas as pd
import pytest

from stockdb.access.provenance import Provenance, ProvenanceLog, worst_freshness
from stockdb.core.reader import Origin
from stockdb.errors import NotFoundError, StockDBError


def origin(key: str, state: str = "fetched", **changed: Any) -> Origin:
    values = {
        "dataset": "stocks", "key": key, "etag": "e", "version_id": None, "adjustment": "none",
        "state": state, "fetched_at": "2024-01-01T00:00:00+00:00",
        "validated_at": "2024-01-01T00:00:00+00:00", "requests": 2, "received": 10, "rows": 1,
        "bad_rows": [], "simulated": False,
    }  # fmt: skip
    return Origin(**{**values, **changed})


def summary(**changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "symbol": "X", "dataset": "stocks", "interval": "daily", "adjustment": "none",
        "freshness": "fetched", "validated_at": "2024-01-01T00:00:00+00:00", "simulated": False,
        "empty_reason": None,
        "validation": {"errors": 0, "warnings": 1, "infos": 0, "rules": {"zero_volume": 3}},
    }  # fmt: skip
    return {**values, **changed}


def marked(note: dict[str, Any]) -> pd.DataFrame:
    frame = pd.DataFrame({"close": [1.0]})
    frame.attrs = {"stockdb": note}
    return frame


def test_there_and_back() -> None:
    log = ProvenanceLog()
    note = log.note(summary(), (origin("a"), origin("b")))
    found = log.of(marked(note))
    assert found.id == note["provenance"] and found.summary == note
    assert [each.key for each in found.origins] == ["a", "b"]
    assert (found.requests, found.received) == (4, 20)
    assert found.to_frame()["key"].tolist() == ["a", "b"]
    assert log.of(marked(note)[["close"]]).id == found.id  # a selection keeps its note


@pytest.mark.parametrize(
    "frame",
    [None, 5, pd.DataFrame(), marked({}), marked({"provenance": "none of ours"})],
    ids=["None", "int", "bare", "empty", "foreign"],
)
def test_what_it_does_not_know(frame: Any) -> None:
    with pytest.raises(NotFoundError) as caught:
        ProvenanceLog().of(frame)
    assert "client that made it" in caught.value.remedy


def test_a_note_that_is_no_note() -> None:
    frame = pd.DataFrame()
    frame.attrs = {"stockdb": "text"}
    with pytest.raises(NotFoundError):
        ProvenanceLog().of(frame)


@pytest.mark.parametrize("way", ["note", "add"])
def test_the_oldest_are_forgotten(way: str) -> None:
    log = ProvenanceLog()
    ids = []
    for number in range(5_000):
        if way == "note":
            ids.append(log.note({}, ())["provenance"])
        else:
            ids.append(str(number))
            log.add(Provenance(str(number), {}, ()))
    assert log.of(marked({"provenance": ids[-1]})).id == ids[-1]
    assert log.of(marked({"provenance": ids[1_000]})).id == ids[1_000]
    with pytest.raises(NotFoundError):
        log.of(marked({"provenance": ids[0]}))


def test_threads() -> None:
    log = ProvenanceLog()
    wrong = []

    def work(number: int) -> None:
        for turn in range(100):
            key = f"{number}-{turn}"
            if log.of(marked(log.note({}, (origin(key),)))).origins[0].key != key:
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        (["fetched"], "fetched"),
        (["fresh", "fetched"], "fresh"),
        (["revalidated", "stale", "fresh"], "stale"),
        (["offline", "fresh"], "offline"),
        (["replaced", "fetched"], "replaced"),
        ([], "none"),
    ],
)
def test_one_stale_object_makes_it_stale(states: list[str], worst: str) -> None:
    assert worst_freshness(tuple(origin("k", state) for state in states)) == worst


class TestManySymbols:
    def parts(self) -> dict[str, Provenance]:
        return {
            "A": Provenance("1", summary(symbol="A"), (origin("a", "fresh"),)),
            "B": Provenance(
                "2",
                summary(symbol="B", dataset="new", simulated=True, empty_reason="in the future",
                        validated_at="2023-01-01T00:00:00+00:00", validation=None),
                (origin("b"),),
            ),
            "C": Provenance("3", summary(symbol="C"), (origin("c"), origin("d"))),
        }  # fmt: skip

    def test_the_sum(self) -> None:
        log = ProvenanceLog()
        note = log.note_all(self.parts())
        assert json.loads(json.dumps(note)) == note
        assert note["symbols"] == 3
        assert note["dataset"] == "stocks,new"
        assert note["freshness"] == "fresh"
        assert note["validated_at"] == "2023-01-01T00:00:00+00:00"
        assert note["simulated"] is True
        assert note["empty_reason"] is None
        assert note["without_rows"] == 1
        assert note["without_rows_because"] == {"B": "in the future"}
        assert note["validation"] == {
            "errors": 0, "warnings": 2, "infos": 0, "rules": {"zero_volume": 6},
        }  # fmt: skip
        found = log.of(marked(note))
        assert [each.key for each in found.origins] == ["a", "b", "c", "d"]
        assert found.symbols["B"]["empty_reason"] == "in the future"
        assert found.requests == 8

    def test_nothing_at_all_has_rows(self) -> None:
        parts = {"B": self.parts()["B"]}
        assert ProvenanceLog().note_all(parts)["empty_reason"] == "in the future"

    def test_no_symbol(self) -> None:
        note = ProvenanceLog().note_all({})
        assert note["symbols"] == 0 and note["freshness"] == "none" and note["simulated"] is False

    def test_it_does_not_grow_with_their_number(self) -> None:
        parts = {f"S{n}": Provenance(str(n), summary(empty_reason="why"), ()) for n in range(500)}
        note = ProvenanceLog().note_all(parts)
        assert len(json.dumps(note)) < 1_500
        assert note["without_rows"] == 500

    def test_what_failed_is_counted_and_a_few_are_named(self) -> None:
        errors = {f"S{n}": StockDBError(f"no {n}") for n in range(500)}
        log = ProvenanceLog()
        note = log.note_all(self.parts(), errors)
        assert note["failed"] == 500 and len(json.dumps(note)) < 1_500
        assert note["errors"]["S0"] == "no 0" and "S499" not in note["errors"]
        assert log.of(marked(note)).errors["S499"] == "no 499"
        assert "failed" not in log.note_all(self.parts())

    def test_it_travels(self) -> None:
        part = self.parts()["C"]
        assert pickle.loads(pickle.dumps(part)) == part
