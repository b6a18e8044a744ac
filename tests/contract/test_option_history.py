"""Chains of many days and contracts followed over them, through the front door."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from minio_data_integration import MinIODataIntegration
from stockdb.errors import DataError, DateNotFoundError, SymbolNotFoundError
from stockdb.settings import Dataset
from tests.contract.test_option_chains import HEADER, lines_of

DAYS = ("2023-01-03", "2023-01-04", "2023-01-05", "2023-01-06", "2023-01-09")
Client = Callable[..., MinIODataIntegration]


def key(day: str) -> str:
    return f"options-complete/{day}options.csv"


def file_of(day: str, **counts: int) -> bytes:
    chance = random.Random(day)
    return (HEADER + "".join(lines_of(n, c, chance, day) for n, c in counts.items())).encode()


@pytest.fixture(scope="module")
def bucket(make_bucket: Callable[..., str]) -> str:
    """AAPL on four of five days, one of them with a torn file; NEW on the last only."""
    objects = {key(day): file_of(day, A=4, AAPL=20) for day in DAYS}
    objects[key(DAYS[1])] = file_of(DAYS[1], A=4)
    objects[key(DAYS[4])] = file_of(DAYS[4], A=4, AAPL=20, NEW=2)
    return make_bucket(objects)


@pytest.fixture(scope="module")
def torn(make_bucket: Callable[..., str]) -> str:
    objects = {key(day): file_of(day, A=4, AAPL=20) for day in DAYS}
    objects[key(DAYS[2])] = b"<html>502 Bad Gateway</html>\n"
    return make_bucket(objects)


class TestOneDay:
    def test_a_history_is_explained_by_day(self, client_factory: Client, bucket: str) -> None:
        client = client_factory(bucket)
        told = client.explain("get_options_data", "AAPL", DAYS[1], DAYS[3])
        assert told["date"].tolist() == [pd.Timestamp(day) for day in DAYS[1:4]]
        assert told["key"].tolist() == [key(day) for day in DAYS[1:4]]
        assert told["strategy"].tolist() == ["scan"] * 3
        assert client.explain("get_options_data", "AAPL", "2022-01-01", "2022-01-31").empty

    def test_no_date_is_the_newest(self, client_factory: Client, bucket: str) -> None:
        frame = client_factory(bucket).get_option_chain("NEW")
        assert set(frame["quote_date"]) == {pd.Timestamp(DAYS[4])}

    @pytest.mark.parametrize("asked", ["2023-01-21", ["2023-01-21"], ("2023-01-21", "2023-02-01")])
    def test_an_expiration_that_is_none_names_those_near(
        self, client_factory: Client, bucket: str, asked: Any
    ) -> None:
        client = client_factory(bucket)
        frame = client.get_option_chain("AAPL", DAYS[0], expiration=asked)
        assert frame.attrs["stockdb"]["empty_reason"] == (
            "the filters leave none of 20 rows: none expires then; near 2023-01-21 do 2023-01-20"
        )
        assert len(client.get_option_chain("AAPL", DAYS[0], expiration=("2023-01-01", None))) == 20
        other = client.get_option_chain("AAPL", DAYS[0], expiration="2023-01-20", strikes=1e6)
        assert other.attrs["stockdb"]["empty_reason"] == "the filters leave none of 20 rows"

    @pytest.mark.parametrize(
        "day, before, after",
        [
            ("2023-01-07", DAYS[3], DAYS[4]),
            ("2020-01-01", None, DAYS[0]),
            ("2024-01-01", DAYS[4], None),
        ],
    )
    def test_a_date_without_a_file_names_its_neighbours(
        self, client_factory: Client, bucket: str, day: str, before: Any, after: Any
    ) -> None:
        with pytest.raises(DateNotFoundError) as caught:
            client_factory(bucket).get_option_chain("AAPL", day)
        assert (caught.value.values["before"], caught.value.values["after"]) == (before, after)
        assert all(near in str(caught.value) for near in (before, after) if near)

    def test_the_first_dataset_that_has_a_date_wins(
        self, make_bucket: Callable[..., str], client_factory: Client
    ) -> None:
        day = "2009-06-01"
        old = f"options/2009/{day}options.csv"
        bucket = make_bucket({key(day): file_of(day, A=3), old: file_of(day, A=5)})
        client = client_factory(bucket)
        assert len(client.get_option_chain("A", day)) == 3
        copies = Dataset(
            key="copies/{YYYY-MM-DD}options.csv", kind="options", duplicate_of="options"
        )
        other = "2009-06-02"
        bucket = make_bucket({key(day): file_of(day, A=3), f"copies/{other}options.csv": b"x"})
        with pytest.raises(DateNotFoundError):  # duplicates are never read
            client_factory(bucket, datasets={"copies": copies}).get_option_chain("A", other)

    def test_columns(self, client_factory: Client, bucket: str) -> None:
        frame = client_factory(bucket).get_option_chain("AAPL", DAYS[0])
        assert frame["expiration"].dtype == frame["quote_date"].dtype == "datetime64[ns]"
        assert frame["dte"].dtype == np.int64
        assert set(frame["dte"]) == {17}  # 2023-01-03 to 2023-01-20
        np.testing.assert_allclose(frame["mid"], frame["bid"] + 0.05, atol=1e-9)
        np.testing.assert_allclose(frame["spread"], 0.1, atol=1e-9)
        # Blank, zero and a number in turn.
        assert frame["volume"].isna().tolist()[:3] == [True, False, False]
        assert frame["volume"].tolist()[1:3] == [0.0, 2.0]
        assert frame["vendor_delta"].isna().all() and "delta" not in frame


class TestManyDays:
    def test_long_form_in_order_and_absent_days_counted(
        self, client_factory: Client, bucket: str
    ) -> None:
        client = client_factory(bucket)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            frame = client.get_options_data("AAPL", DAYS[0], DAYS[4])
        held = [day for day in DAYS if day != DAYS[1]]
        assert frame["quote_date"].is_monotonic_increasing
        assert [str(day)[:10] for day in frame["quote_date"].unique()] == held
        assert list(frame.index) == list(range(80))
        note = frame.attrs["stockdb"]
        assert (note["days"], note["absent_days"], note["failed_days"]) == (4, 1, 0)
        assert note["errors"] == {}
        assert len(client.provenance(frame).origins) == 4
        one_by_one = [client.get_option_chain("AAPL", day) for day in held]
        pd.testing.assert_frame_equal(frame, pd.concat(one_by_one, ignore_index=True))

    def test_progress(
        self, client_factory: Client, bucket: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        client_factory(bucket).get_options_data("AAPL", DAYS[0], DAYS[4], progress=True)
        assert "5/5" in capsys.readouterr().err
        client_factory(bucket).get_options_data("AAPL", DAYS[0], DAYS[4], progress=False)
        assert capsys.readouterr().err == ""

    def test_ranges(self, client_factory: Client, bucket: str) -> None:
        client = client_factory(bucket)
        assert len(client.get_options_data("A")) == 20
        assert len(client.get_options_data("A", DAYS[1], DAYS[2])) == 8
        assert len(client.get_options_data("A", end_date=DAYS[0])) == 4
        with pytest.raises(DateNotFoundError, match="range"):
            client.get_options_data("A", "2023-01-07", "2023-01-08")
        with pytest.raises(SymbolNotFoundError, match="None of the 5 files"):
            client.get_options_data("NOPE")

    def test_filters_apply_to_each_day(self, client_factory: Client, bucket: str) -> None:
        client = client_factory(bucket)
        frame = client.get_options_data("AAPL", option_type="put", strikes=(12, 14))
        assert len(frame) == 4 * 3
        assert set(frame["strike"]) == {12.0, 13.0, 14.0} and set(frame["type"]) == {"put"}
        # 17, 15, 14 and 11 days are left: both ends count.
        assert set(client.get_options_data("AAPL", dte=(11, 15))["dte"]) == {11, 14, 15}
        nothing = client.get_options_data("AAPL", strikes=9999.0)
        assert nothing.empty and nothing.attrs["stockdb"]["empty_reason"]
        full = client.get_options_data("AAPL")
        pd.testing.assert_series_equal(nothing.dtypes, full.dtypes)

    def test_one_bad_day_does_not_end_it(self, client_factory: Client, torn: str) -> None:
        client = client_factory(torn)
        with pytest.warns(UserWarning, match=f"1 of 5 days of AAPL failed: {DAYS[2]}") as caught:
            frame = client.get_options_data("AAPL")
        assert {w.filename for w in caught} == {__file__}  # it points at who asked
        assert len(frame) == 80
        note = frame.attrs["stockdb"]
        assert list(note["errors"]) == [DAYS[2]]
        assert (note["days"], note["failed_days"], note["absent_days"]) == (4, 1, 0)

    def test_strict_raises_after_all_days(self, client_factory: Client, torn: str) -> None:
        client = client_factory(torn)
        with pytest.raises(DataError, match="1 of 5 days failed") as caught:
            client.get_options_data("AAPL", strict=True)
        assert list(caught.value.values["errors"]) == [DAYS[2]]
        for day in DAYS[3:]:  # all the others were read
            frame = client.get_option_chain("AAPL", day)
            assert client.provenance(frame).requests == 0

    def test_every_day_bad_is_an_error(self, client_factory: Client, torn: str) -> None:
        with pytest.raises(DataError):
            client_factory(torn).get_options_data("AAPL", DAYS[2], DAYS[2])

    def test_even_a_defect_of_ours_does_not_end_it(
        self, client_factory: Client, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = client_factory(bucket)
        real = client._access.chains.chain

        def broken(symbol: str, place: Any, *args: Any, **kwargs: Any) -> Any:
            if str(place.date) == DAYS[3]:
                raise ZeroDivisionError
            return real(symbol, place, *args, **kwargs)

        monkeypatch.setattr(client._access.chains, "chain", broken)
        with pytest.warns(UserWarning, match="ZeroDivisionError"):
            assert len(client.get_options_data("A")) == 16

    def test_the_bucket_is_listed_once_not_once_a_day(
        self, client_factory: Client, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = client_factory(bucket)
        real, calls = client._access.chains.places, []
        monkeypatch.setattr(
            client._access.chains, "places", lambda *a, **k: calls.append(1) or real(*a, **k)
        )
        client.get_options_data("A")
        assert len(calls) == 1


class TestContract:
    NAME = "AAPL230120C00010000"

    @pytest.mark.parametrize("prefix", ["", "O:", "o:"])
    def test_over_the_days_that_quote_it(
        self, client_factory: Client, bucket: str, prefix: str
    ) -> None:
        client = client_factory(bucket)
        frame = client.get_contract_history(prefix + self.NAME)
        held = [day for day in DAYS if day != DAYS[1]]
        assert list(frame.index) == [pd.Timestamp(day) for day in held]
        assert frame.index.name == "quote_date"
        assert set(frame["contract"]) == {"O:" + self.NAME}
        chain = client.get_option_chain("AAPL", DAYS[3])
        bid = chain.set_index("contract").loc["O:" + self.NAME, "bid"]
        assert frame.loc[pd.Timestamp(DAYS[3]), "bid"] == bid

    def test_one_that_no_day_quotes(self, client_factory: Client, bucket: str) -> None:
        frame = client_factory(bucket).get_contract_history("AAPL230120C09990000")
        assert frame.empty and "no day" in frame.attrs["stockdb"]["empty_reason"]

    def test_a_bad_day_is_warned_of_where_it_was_asked(
        self, client_factory: Client, torn: str
    ) -> None:
        with pytest.warns(UserWarning, match="failed") as caught:
            assert len(client_factory(torn).get_contract_history(self.NAME)) == 4
        assert {w.filename for w in caught} == {__file__}

    def test_no_contract(self, client_factory: Client, bucket: str) -> None:
        with pytest.raises(DataError):
            client_factory(bucket).get_contract_history("AAPL")
