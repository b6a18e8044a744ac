"""Portfolio figures against bumps of another library's prices and arithmetic by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stockdb.errors import DataError
from stockdb.options import greeks, price
from stockdb.options.market import DividendSchedule
from stockdb.options.portfolio import analyze, revalue

ql = pytest.importorskip("QuantLib")
DAY = pd.Timestamp("2026-01-05")
SPOT = {"ABC": 100.0, "XYZ": 40.0}
RATE, YIELD = 0.04, 0.01


def option(
    symbol: str, kind: str, strike: float, days: int, quantity: float, iv: float, **more: Any
) -> dict[str, Any]:
    spot = SPOT[symbol]
    found = greeks(spot, strike, days / 365, RATE, YIELD, iv, kind)
    return {
        "symbol": symbol,
        "contract": f"{symbol}{days}{kind}{strike:g}",
        "type": kind,
        "quantity": quantity,
        "multiplier": 100,
        "strike": strike,
        "expiration": DAY + pd.Timedelta(days=days),
        "dte": days,
        "american": True,
        "bid": found.price - 0.1,
        "ask": found.price + 0.1,
        "mid": found.price,
        "iv": iv,
        "rate": RATE,
        "q": YIELD,
        "spot": spot,
        "delta": found.delta,
        "gamma": found.gamma,
        "theta": found.theta / 365,
        "vega": found.vega / 100,
        "rho": found.rho,
        "dividend_rho": found.dividend_rho,
        "open_interest": 500.0,
        "volume": 40.0,
        **more,
    }


def shares(symbol: str, quantity: float) -> dict[str, Any]:
    nan = float("nan")
    spot = SPOT[symbol]
    zero = dict.fromkeys(("gamma", "theta", "vega", "rho", "dividend_rho"), 0.0)
    return {
        "symbol": symbol, "contract": symbol, "type": "stock", "quantity": quantity,
        "multiplier": 1, "strike": nan, "expiration": pd.NaT, "dte": 0, "american": False,
        "bid": spot, "ask": spot, "mid": spot, "iv": nan, "rate": nan, "q": nan, "spot": spot,
        "delta": 1.0, **zero, "open_interest": nan, "volume": 1e6,
    }  # fmt: skip


HELD = pd.DataFrame(
    [
        option("ABC", "call", 90, 400, 3, 0.30),
        option("ABC", "call", 110, 40, -3, 0.28),
        option("ABC", "put", 95, 600, -2, 0.33),
        option("XYZ", "put", 45, 800, 5, 0.45),
        shares("ABC", -50),
    ]
)


def quantlib(
    row: dict[str, Any], spot: float, iv: float, rate: float, q: float, days: float
) -> float:
    if row["type"] == "stock":
        return spot
    today = ql.Date(5, 1, 2026)
    ql.Settings.instance().evaluationDate = today
    counter = ql.Actual365Fixed()
    process = ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(spot)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, q, counter)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, rate, counter)),
        ql.BlackVolTermStructureHandle(ql.BlackConstantVol(today, ql.NullCalendar(), iv, counter)),
    )
    code = ql.Option.Call if row["type"] == "call" else ql.Option.Put
    american = ql.VanillaOption(
        ql.PlainVanillaPayoff(code, row["strike"]),
        ql.AmericanExercise(today, today + int(row["dte"] - days)),
    )
    american.setPricingEngine(
        ql.QdFpAmericanEngine(process, ql.QdFpAmericanEngine.accurateScheme())
    )
    return float(american.NPV())


def total(
    symbol: str | None = None, *, dollars: float = 0, share: float = 0, vol: float = 0,
    rate: float = 0, q: float = 0, days: int = 0,
) -> float:  # fmt: skip
    """Value in dollars, every position on its own, by QuantLib."""
    value = 0.0
    for row in HELD.to_dict("records"):
        if symbol in (None, row["symbol"]):
            spot = row["spot"] * (1 + share) + dollars
            size = row["quantity"] * row["multiplier"]
            if row["type"] != "stock" and row["dte"] <= days:
                sign = 1 if row["type"] == "call" else -1
                value += size * max(sign * (spot - row["strike"]), 0.0)
            else:
                value += size * quantlib(row, spot, row["iv"] + vol, RATE + rate, YIELD + q, days)
    return value


def test_greeks_are_the_sum_of_single_positions_by_bumping() -> None:
    table = analyze(HELD, quote_date=DAY).greeks
    for symbol in ("ABC", "XYZ"):
        row, h = table.loc[symbol], 0.2
        up, here, down = (total(symbol, dollars=d) for d in (h, 0.0, -h))
        assert row["delta_shares"] == pytest.approx((up - down) / (2 * h), abs=0.3)
        assert row["delta_dollars"] == pytest.approx((up - down) / (2 * h) * SPOT[symbol], rel=5e-3)
        gamma = (up - 2 * here + down) / h**2
        assert row["gamma_shares"] == pytest.approx(gamma, rel=0.02, abs=0.1)
        assert row["gamma_dollars"] == pytest.approx(
            gamma * SPOT[symbol] ** 2 / 100, rel=0.02, abs=10
        )
        vega = (total(symbol, vol=0.01) - total(symbol, vol=-0.01)) / 2
        assert row["vega_dollars"] == pytest.approx(vega, rel=5e-3, abs=0.1)
        assert row["theta_dollars"] == pytest.approx(
            total(symbol, days=1) - here, rel=0.03, abs=0.1
        )
        rho = (total(symbol, rate=0.001) - total(symbol, rate=-0.001)) / 0.2
        assert row["rho_dollars"] == pytest.approx(rho, rel=0.01, abs=0.5)
        paid = (total(symbol, q=0.001) - total(symbol, q=-0.001)) / 0.2
        assert row["dividend_rho_dollars"] == pytest.approx(paid, rel=0.01, abs=0.5)
    for name in ("delta_dollars", "vega_dollars", "theta_dollars", "rho_dollars", "market_value"):
        assert table.loc["total", name] == pytest.approx(table.loc[["ABC", "XYZ"], name].sum())
    assert math.isnan(table.loc["total", "delta_shares"])  # shares of two stocks


def test_every_corner_of_the_scenarios_is_a_full_repricing() -> None:
    table = analyze(HELD, quote_date=DAY).scenarios
    assert table.index.names == ["days", "vol_move"]
    now = total()
    for days, vol, share in (
        (0, -0.1, -0.2), (0, 0.1, 0.2), (30, 0.0, 0.0), (90, -0.1, 0.2), (90, 0.1, -0.2),
    ):  # fmt: skip
        wanted = total(share=share, vol=vol, days=days) - now
        assert table.loc[(days, vol), share] == pytest.approx(wanted, abs=3.0)
    assert table.loc[(0, 0.0), 0.0] == pytest.approx(0.0, abs=1e-9)
    assert set(table.index.get_level_values("days")) == {0, 30, 90}
    assert (table.columns.min(), table.columns.max()) == (-0.2, 0.2)


def test_an_expired_option_counts_at_its_intrinsic_value() -> None:
    one = pd.DataFrame([option("ABC", "call", 90, 20, 1, 0.3)])
    assert revalue(one, days=30, spot_move=0.1)[0] == pytest.approx((110 - 90) * 100)


def test_vega_by_bucket() -> None:
    table = analyze(HELD, quote_date=DAY).vega_buckets
    assert list(table.index) == ["< 90 d", "90-365 d", "1-1.5 y", "1.5-2 y", "> 2 y"]
    vega = (HELD["vega"] * HELD["quantity"] * 100).tolist()
    assert table["vega_dollars"].tolist() == pytest.approx(
        [vega[1], 0.0, vega[0], vega[2], vega[3]]
    )
    assert table.loc["> 2 y", "vega_weighted"] == pytest.approx(vega[3] / math.sqrt(800 / 365))
    edges = pd.DataFrame(
        [option("ABC", "call", 100, d, 1, 0.3) for d in (89, 90, 365, 548, 730, 731)]
    )
    held = analyze(edges, quote_date=DAY).vega_buckets["vega_dollars"]
    counts = (edges["vega"] * 100).tolist()
    assert held.tolist() == pytest.approx(
        [counts[0], counts[1], counts[2], counts[3] + counts[4], counts[5]]
    )


def test_beta_weighted_delta() -> None:
    found = analyze(HELD, quote_date=DAY, betas={"ABC": 1.2, "XYZ": 0.5}, benchmark_price=500.0)
    delta = found.greeks["delta_dollars"]
    wanted = 1.2 * delta["ABC"] + 0.5 * delta["XYZ"]
    assert found.greeks.loc["total", "beta_delta_dollars"] == pytest.approx(wanted)
    assert found.greeks.loc["total", "beta_delta_shares"] == pytest.approx(wanted / 500)
    unknown = analyze(HELD, quote_date=DAY, betas={"ABC": 1.2})
    assert math.isnan(unknown.greeks.loc["total", "beta_delta_dollars"])
    assert unknown.notes["beta_unknown"] == ["XYZ"]


def test_concentration() -> None:
    held = pd.DataFrame([shares("ABC", 300), shares("XYZ", -250)])  # 30,000 and -10,000
    found = analyze(held, quote_date=DAY).concentration
    assert found["hhi_symbol"] == pytest.approx(0.75**2 + 0.25**2)
    assert (found["top_symbol"], found["top_symbol_share"]) == ("ABC", pytest.approx(0.75))
    assert found["hhi_expiration"] == pytest.approx(1.0)


def test_the_calendar_of_assignments_and_dividends() -> None:
    held = pd.DataFrame(
        [
            option("ABC", "call", 60, 200, -2, 0.2),  # deep: hardly any time value
            option("ABC", "call", 150, 200, -1, 0.2),
            option("ABC", "put", 150, 200, -1, 0.2),
            shares("ABC", 100),
        ]
    )
    paid = DividendSchedule.of({"2026-03-02": 6.0, "2027-06-01": 9.0})
    found = analyze(held, quote_date=DAY, dividends={"ABC": paid}).calendar
    ex = found[found["event"] == "ex_dividend"]
    assert set(ex["date"]) == {pd.Timestamp("2026-03-02")}  # the later one after all ends
    deep = ex[ex["quantity"] == -2].iloc[0]
    assert deep["likely"] and deep["cash"] == pytest.approx(-1200.0)
    far = ex[(ex["quantity"] == -1)].iloc[0]
    assert not far["likely"]
    stock = ex[ex["quantity"] == 100].iloc[0]
    assert stock["cash"] == pytest.approx(600.0)
    early = found[found["event"] == "early_assignment"]
    assert list(early["contract"]) == [held["contract"][2]]  # the put is all intrinsic value
    assert found["date"].is_monotonic_increasing


def test_days_to_liquidate() -> None:
    held = HELD.assign(volume=[30.0, 0.0, np.nan, 50.0, 1e6])
    table = analyze(held, quote_date=DAY).liquidation
    assert table["days"].iloc[0] == pytest.approx(3 / (0.1 * 30))
    assert math.isnan(table["days"].iloc[1]) and table["reason"].iloc[1] == "no volume today"
    assert table["reason"].iloc[2] == "volume unknown"
    assert table["share_of_open_interest"].iloc[0] == pytest.approx(3 / 500)
    assert table["cost_of_spread"].iloc[0] == pytest.approx(300 * 0.1)


def test_what_has_no_volatility_is_named() -> None:
    held = pd.concat([HELD, pd.DataFrame([option("XYZ", "call", 40, 100, 1, 0.3)])])
    held.iloc[-1, held.columns.get_loc("iv")] = np.nan
    found = analyze(held, quote_date=DAY)
    assert found.notes["unpriced"] == ["XYZ100call40"]
    assert np.isfinite(found.scenarios.to_numpy()).all()


def test_it_prints() -> None:
    found = analyze(HELD, quote_date=DAY)
    assert "worst of the scenarios" in repr(found)
    assert "<table" in found._repr_html_()
    assert found["greeks"] is found.greeks
    assert float(price(100, 90, 400 / 365, RATE, YIELD, 0.3, "call")) == pytest.approx(
        found.positions["mid"].iloc[0]
    )


def test_no_position_is_an_error() -> None:
    with pytest.raises(DataError, match="no positions"):
        analyze(HELD.iloc[:0], quote_date=DAY)


def test_a_book_without_a_price_is_concentrated_nowhere() -> None:
    found = analyze(HELD.assign(mid=np.nan), quote_date=pd.Timestamp("2026-01-05"))
    assert np.isnan(found.concentration["hhi_symbol"])
    assert found.concentration["top_symbol"] == ""
    assert "nan" in found.summary()
