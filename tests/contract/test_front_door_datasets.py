"""One symbol in several datasets: what joins, what is refused, what is chosen, what is made."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from minio_data_integration import MinIODataIntegration
from stockdb.errors import (
    ConfigurationError,
    DataError,
    NotFoundError,
    RangeError,
    SymbolNotFoundError,
    UnavailableError,
)
from stockdb.settings import Dataset
from tests.conftest import ClientFactory
from tests.contract.front_door_tools import (
    HEADER,
    JANUARY,
    Fill,
    bars,
    days_of,
    key,
    note,
    values,
)

#: Monday, 15 January 2024 was Martin Luther King's day in New York only.
FRANKFURT = sorted([*JANUARY, dt.date(2024, 1, 15)])


def second(name: str = "new", **changed: Any) -> dict[str, Dataset]:
    return {name: Dataset(**{"key": f"{name}/{{SYMBOL}}.csv", "interval": "daily", **changed})}


@pytest.fixture(scope="module")
def two(make_bucket: Fill, module_clients: ClientFactory) -> MinIODataIntegration:
    objects = {
        key("AAPL"): bars(),
        "xetra/AAPL.csv": bars(FRANKFURT, level=50.0),
        key("KO"): bars(),
        "xetra/SAP.csv": bars(FRANKFURT, level=150.0),
    }
    return module_clients(make_bucket(objects), datasets=second("xetra", calendar="XETR"))


class TestTwoExchanges:
    @pytest.mark.parametrize("end", [None, "2024-01-02", "2023-06-01"])
    def test_one_ticker_is_no_one_series(self, two: MinIODataIntegration, end: Any) -> None:
        """Whatever the range: which dates happen to be held decides nothing."""
        with pytest.raises(DataError, match="different exchanges") as caught:
            two.get_historical_data("AAPL", end_date=end)
        told = str(caught.value)
        assert "'stocks' (XNYS, America/New_York)" in told and "'xetra' (XETR," in told
        assert "dataset='stocks'" in told and "dataset='xetra'" in told
        assert caught.value.datasets == ["stocks", "xetra"] and caught.value.symbol == "AAPL"

    @pytest.mark.parametrize(
        ("dataset", "days", "level"), [("stocks", JANUARY, 100.0), ("xetra", FRANKFURT, 50.0)]
    )
    def test_the_remedy_works(
        self, two: MinIODataIntegration, dataset: str, days: list[dt.date], level: float
    ) -> None:
        frame = two.get_historical_data("AAPL", dataset=dataset)
        assert days_of(frame) == days and note(frame)["dataset"] == dataset
        assert frame.iloc[1].tolist() == values(1, level)
        table = two.coverage("AAPL", "2024-01-02", "2024-01-31", dataset=dataset)
        assert table.loc["AAPL", ["expected", "held"]].tolist() == [len(days)] * 2
        assert len(two.find_gaps("AAPL", "2024-01-02", "2024-01-31", dataset=dataset)) == 0
        assert days_of(two.bulk_download(["AAPL"], dataset=dataset)["AAPL"]) == days
        ((_, one),) = two.iter_historical_data(["AAPL"], dataset=dataset)
        assert days_of(one) == days
        read = two.get_historical_data_async("AAPL", dataset=dataset)
        assert days_of(asyncio.run(read)) == days

    def test_others_are_read_without_a_choice(self, two: MinIODataIntegration) -> None:
        result = two.bulk_download(["SAP", "AAPL", "KO"])
        assert [days_of(result[name]) for name in ("SAP", "KO")] == [FRANKFURT, JANUARY]
        assert "different exchanges" in str(result.errors["AAPL"])

    def test_the_symbol_must_be_in_the_one_chosen(self, two: MinIODataIntegration) -> None:
        with pytest.raises(SymbolNotFoundError, match="in dataset 'xetra'"):
            two.get_historical_data("KO", dataset="xetra")

    def test_in_none_of_them(self, two: MinIODataIntegration) -> None:
        with pytest.raises(SymbolNotFoundError, match="datasets 'stocks', 'xetra'") as caught:
            two.get_historical_data("SPA")
        assert caught.value.suggestions[0] == "SAP"

    def test_what_cannot_be_chosen(self, two: MinIODataIntegration) -> None:
        with pytest.raises(NotFoundError, match="no dataset 'tokyo'") as missing:
            two.get_historical_data("AAPL", dataset="tokyo")
        assert "xetra" in missing.value.remedy
        with pytest.raises(ConfigurationError, match="'options' holds no bars") as wrong:
            two.coverage("AAPL", dataset="options")
        assert "stocks, stocks_2002_2009, xetra" in wrong.value.remedy
        with pytest.raises(ConfigurationError, match="Dataset 'xetra' holds no 5m bars"):
            two.bulk_download(["AAPL"], interval="5m", dataset="xetra", strict=True)
        assert len(two.get_historical_data("AAPL", interval="monthly", dataset="xetra")) == 1


class TestOneExchange:
    def client(
        self, make: Fill, clients: ClientFactory, new: bytes, **changed: Any
    ) -> MinIODataIntegration:
        bucket = make({key("X"): bars(), "new/X.csv": new})
        return clients(bucket, datasets=second(**changed))

    def test_other_prices_on_the_same_dates(
        self, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        minio = self.client(make_bucket, client_factory, bars(level=103.0))
        with pytest.raises(DataError, match="contradict each other") as caught:
            minio.get_historical_data("X", "2024-01-02", "2024-01-02")
        # The 31st is the 21st session: 100 + 20 + 0.25.
        assert "'stocks' (close 120.25 on 2024-01-31)" in str(caught.value)
        assert "'new' (close 123.25 on 2024-01-31)" in str(caught.value)
        assert minio.get_historical_data("X", dataset="new")["close"].iloc[-1] == 123.25

    def test_a_wrong_price_or_two_is_no_contradiction(
        self, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        lines = bars(level=100.5).decode().splitlines()
        lines[3] = f"{JANUARY[2]},5,5,5,5,1000"
        lines[5] = f"{JANUARY[4]},5,5,5,5,1000"
        lines[7] = f"{JANUARY[6]},0,0,0,0,0"
        minio = self.client(make_bucket, client_factory, "\n".join(lines).encode())
        frame = minio.get_historical_data("X")
        assert frame.to_numpy().tolist() == [values(n) for n in range(21)]

    def test_one_date_in_common(self, make_bucket: Fill, client_factory: ClientFactory) -> None:
        last = JANUARY[-1:] + [dt.date(2024, 2, 1)]
        good = self.client(make_bucket, client_factory, bars(last, level=120.0))
        assert days_of(good.get_historical_data("X")) == [*JANUARY, last[1]]
        bad = self.client(make_bucket, client_factory, bars(last, level=60.0))
        with pytest.raises(DataError, match="contradict"):
            bad.get_historical_data("X")

    def test_another_name_of_the_same_exchange(
        self, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        minio = self.client(make_bucket, client_factory, bars(level=100.1), calendar="NYSE")
        assert note(minio.get_historical_data("X"))["dataset"] == "stocks,new"

    def test_another_adjustment(self, make_bucket: Fill, client_factory: ClientFactory) -> None:
        minio = self.client(make_bucket, client_factory, bars(level=20.0), adjustment="splits")
        with pytest.raises(DataError, match="different adjustment") as caught:
            minio.get_historical_data("X")
        assert "dataset='new'" in caught.value.remedy
        frame = minio.get_historical_data("X", adjust="splits", dataset="new")
        assert note(frame)["adjustment"] == "splits" and frame["close"].iloc[0] == 20.25

    def test_a_copy_is_read_where_it_is_named(
        self, make_bucket: Fill, client_factory: ClientFactory
    ) -> None:
        minio = self.client(make_bucket, client_factory, bars(level=1.0), duplicate_of="stocks")
        assert minio.get_historical_data("X")["close"].iloc[0] == 100.25
        assert minio.get_historical_data("X", dataset="new")["close"].iloc[0] == 1.25

    def test_files_by_day(self, make_bucket: Fill, client_factory: ClientFactory) -> None:
        head = "symbol,open,high,low,close,volume,adjust_close\n"
        days = {
            f"options/2009/2009-12-{day}stocks.csv": f"{head}X,{day},{day},{day},{day},9,1\n"
            for day in (29, 31)
        }
        objects = {name: text.encode() for name, text in days.items()}
        early = [dt.date(2009, 12, 31), dt.date(2010, 1, 4)]
        bucket = make_bucket({**objects, key("X"): bars(early, level=30.5)})
        minio = client_factory(
            bucket, datasets={"stocks": Dataset(key="stocks-2010-2025/{SYMBOL}.csv")}
        )
        frame = minio.get_historical_data("X", "2009-12-01", "2010-01-31")
        assert frame["close"].tolist() == [29.0, 30.75, 31.75]
        old = minio.get_historical_data("X", "2009-12-01", "2010-01-31", dataset="stocks_2002_2009")
        assert old["close"].tolist() == [29.0, 31.0]
        assert note(old)["dataset"] == "stocks_2002_2009"
        new = minio.get_historical_data("X", "2009-12-01", dataset="stocks")
        assert new["close"].tolist() == [30.75, 31.75]
        gaps = minio.find_gaps("X", "2009-12-29", "2010-01-05")
        assert gaps["kind"].tolist() == ["object_missing", "not_published"]
        gaps = minio.find_gaps("X", "2009-12-29", "2010-01-05", dataset="stocks")
        assert gaps["kind"].tolist() == ["before_first", "not_published"]
        with pytest.raises(SymbolNotFoundError, match="dataset 'stocks_2002_2009'"):
            minio.get_historical_data("Y", "2009-12-01", dataset="stocks_2002_2009")
        with pytest.raises(RangeError, match="start_date"):
            minio.get_historical_data("X", dataset="stocks_2002_2009")
        with pytest.raises(RangeError, match="to 2009-12-31"):
            minio.get_historical_data("X", "2010-01-04", dataset="stocks_2002_2009")


HOURS = range(7, 18)  # the London exchange is open from 8:00 to 16:30


def hourly(days: list[str]) -> bytes:
    """Opens at the hour, closes at half past; volume is the hour; high and low at noon."""
    lines = [HEADER]
    for number, day in enumerate(days):
        for hour in HOURS:
            base = 100.0 * (number + 1) + hour
            high, low = (base + 60, base - 60) if hour == 12 else (base + 1, base - 1)
            lines.append(f"{day} {hour:02d}:00,{base},{high},{low},{base + 0.5},{hour}")
    return ("\n".join(lines) + "\n").encode()


DAYS = ["2024-06-03", "2024-06-04", "2024-06-05", "2024-06-06", "2024-06-07", "2024-06-08",
        "2024-06-10", "2024-06-11"]  # fmt: skip
LONDON = {"interval": "1h", "calendar": "XLON", "timezone": "Europe/London"}


@pytest.fixture(scope="module")
def minio(make_bucket: Fill, module_clients: ClientFactory) -> MinIODataIntegration:
    objects = {
        key("KO"): bars(),
        "london/VOD.csv": hourly(DAYS),
        "london/KO.csv": hourly(DAYS),
        "reference/splits.csv": b"symbol,ex_date,ratio\nVOD,2024-06-05,4\n",
    }
    return module_clients(make_bucket(objects), datasets=second("london", **LONDON))


class TestMadeOfShorterBars:
    """Monday, 3 June 2024 to Tuesday, 11 June; bars of Saturday, the 8th, belong to no session."""

    @staticmethod
    def day(number: int) -> list[float]:
        level = 100.0 * (number + 1)
        return [level + 8, level + 72, level - 48, level + 16.5, float(sum(range(8, 17)))]

    def test_of_the_session_s_hours(self, minio: MinIODataIntegration) -> None:
        frame = minio.get_historical_data("VOD")
        assert [str(day) for day in days_of(frame)] == [d for d in DAYS if d != "2024-06-08"]
        assert frame.index.dtype == "datetime64[ns]" and frame.index.name == "date"
        assert frame.to_numpy().tolist() == [self.day(n) for n in (0, 1, 2, 3, 4, 6, 7)]
        said = note(frame)
        assert (said["interval"], said["made_of"], said["dataset"]) == ("daily", "1h", "london")
        assert said["outside_sessions"] == 7 * 2 + 11  # at 7:00 and 17:00, and all of Saturday
        (origin,) = minio.provenance(frame).origins
        assert origin.key == "london/VOD.csv"

    @pytest.mark.parametrize("start", ["2024-06-04", "2024-06-04 13:00"])
    def test_a_range_cuts_no_session(self, minio: MinIODataIntegration, start: str) -> None:
        frame = minio.get_historical_data("VOD", start, "2024-06-05 09:00")
        assert frame.to_numpy().tolist() == [self.day(1), self.day(2)]

    def test_weeks(self, minio: MinIODataIntegration) -> None:
        frame = minio.get_historical_data("VOD", interval="weekly")
        assert [str(day) for day in days_of(frame)] == ["2024-06-07", "2024-06-11"]
        assert frame["open"].tolist() == [108.0, 708.0] and frame["close"].tolist() == [
            516.5,
            816.5,
        ]
        assert frame["partial"].tolist() == [False, True]

    def test_the_symbol_s_own_daily_bars_come_first(self, minio: MinIODataIntegration) -> None:
        frame = minio.get_historical_data("KO")
        assert days_of(frame) == JANUARY and "made_of" not in note(frame)
        made = minio.get_historical_data("KO", dataset="london")
        assert len(made) == 7 and note(made)["made_of"] == "1h"

    def test_splits(self, minio: MinIODataIntegration) -> None:
        frame = minio.get_historical_data("VOD", end_date="2024-06-05", adjust="splits")
        assert frame["close"].tolist() == [116.5 / 4, 216.5 / 4, 316.5]

    def test_an_empty_range_has_its_reason(self, minio: MinIODataIntegration) -> None:
        frame = minio.get_historical_data("VOD", "2024-06-08", "2024-06-09")
        assert frame.empty and frame.index.dtype == "datetime64[ns]"
        assert "no session of XLON" in note(frame)["empty_reason"]

    def test_coverage(self, minio: MinIODataIntegration) -> None:
        table = minio.coverage(["VOD", "KO"], "2024-06-03", "2024-06-11", dataset="london")
        assert table[["expected", "held", "missing"]].to_numpy().tolist() == [[7, 7, 0]] * 2

    def test_explained(self, minio: MinIODataIntegration) -> None:
        table = minio.explain("bulk_download", ["VOD", "KO"])
        assert table["key"].tolist() == ["london/VOD.csv", key("KO")]
        table = minio.explain("get_historical_data", "KO", dataset="london")
        assert table["key"].tolist() == ["london/KO.csv"]

    def test_held_by_none_names_all(self, minio: MinIODataIntegration) -> None:
        with pytest.raises(SymbolNotFoundError, match="datasets 'stocks', 'london'") as caught:
            minio.get_historical_data("VOC")
        assert caught.value.suggestions == ("VOD",)

    def test_offline(self, make_bucket: Fill, client_factory: ClientFactory) -> None:
        bucket = make_bucket({"london/VOD.csv": hourly(DAYS)})
        minio = client_factory(bucket, datasets=second("london", **LONDON))
        minio.get_historical_data("VOD")
        assert len(minio.get_historical_data("VOD", offline=True)) == 7
        with pytest.raises(UnavailableError):
            minio.get_historical_data("VOC", offline=True)
