"""Long form and other formats."""

from __future__ import annotations

import builtins
import json
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from stockdb.access.shape import check_output, long_form, output
from stockdb.errors import ConfigurationError


def frame(*days: str, zone: str | None = None) -> pd.DataFrame:
    index = pd.DatetimeIndex(list(days), name="date").as_unit("ns").tz_localize(zone)
    made = pd.DataFrame({"close": range(len(days)), "volume": 1.0}, index=index).astype(float)
    made.attrs = {"stockdb": {"symbol": "its own note"}}
    return made


class TestLongForm:
    def test_stacked_in_the_order_given(self) -> None:
        found = long_form({"Z": frame("2024-01-02"), "A": frame("2024-01-02", "2024-01-03")}, {})
        assert found.index.tolist() == [
            ("Z", pd.Timestamp("2024-01-02")),
            ("A", pd.Timestamp("2024-01-02")),
            ("A", pd.Timestamp("2024-01-03")),
        ]
        assert found.index.names == ["symbol", "date"]
        assert found["close"].tolist() == [0, 0, 1]

    @pytest.mark.parametrize("empty", [{}, {"A": frame()}, {"A": frame(), "B": frame()}])
    def test_no_rows_have_the_same_form(self, empty: dict[str, pd.DataFrame]) -> None:
        found = long_form(empty, {"n": 1})
        assert found.empty and found.index.names == ["symbol", "date"]
        assert str(found.index.levels[1].dtype) == "datetime64[ns]"
        assert set(map(str, found.dtypes)) == {"float64"}
        assert found.attrs == {"stockdb": {"n": 1}}

    def test_an_empty_one_takes_nothing_from_the_others(self) -> None:
        found = long_form({"A": frame(), "B": frame("2024-01-02")}, {})
        assert str(found.index.levels[1].dtype) == "datetime64[ns]"
        assert found.index.get_level_values(0).tolist() == ["B"]

    def test_the_note_is_the_one_given(self) -> None:
        frames = {"A": frame("2024-01-02"), "B": frame("2024-01-03")}
        assert long_form(frames, {"symbols": 2}).attrs == {"stockdb": {"symbols": 2}}
        assert frames["A"].attrs["stockdb"] == {"symbol": "its own note"}

    def test_zones_stay(self) -> None:
        found = long_form({"A": frame("2024-01-02 09:30", zone="America/New_York")}, {})
        assert str(found.index.levels[1].dtype) == "datetime64[ns, America/New_York]"


class TestOutput:
    @pytest.mark.parametrize("name", ["pandas", "arrow", "polars"])
    def test_known(self, name: str) -> None:
        check_output(name)

    @pytest.mark.parametrize("name", ["", "Pandas", "numpy", None])
    def test_unknown(self, name: Any) -> None:
        with pytest.raises(ConfigurationError, match="output_format"):
            check_output(name)

    def test_pandas_is_the_frame_itself(self) -> None:
        given = frame("2024-01-02")
        assert output(given, "pandas") is given

    def test_arrow_keeps_zones_and_note(self) -> None:
        table = output(frame("2024-07-02 09:30", zone="America/New_York"), "arrow")
        assert table.schema.field("date").type == pa.timestamp("ns", "America/New_York")
        assert json.loads(table.schema.metadata[b"stockdb"]) == {"symbol": "its own note"}
        assert b"pandas" not in table.schema.metadata

    def test_polars_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = builtins.__import__

        def without(name: str, *rest: Any) -> Any:
            if name == "polars":
                raise ImportError(name)
            return real(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(ConfigurationError, match="needs polars") as caught:
            output(frame("2024-01-02"), "polars")
        assert "pip install polars" in caught.value.remedy
