"""Pictures say what the numbers say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockdb.errors import ConfigurationError, DataError
from stockdb.options.arbitrage import find_arbitrage, terms_of
from stockdb.options.book import book_of
from stockdb.options.calendars import CalendarRules, calendar_spreads
from stockdb.options.chain import enrich
from stockdb.options.plots import payoff_curve, plot_payoff, plot_scenarios
from stockdb.options.portfolio import analyze
from stockdb.options.volatility import VolatilityRules, volatility_trades
from tests.answers.test_portfolio import HELD
from tests.unit.options.quoted import LATER, YEAR, chain, quote
from tests.unit.options.test_statistical import STRIKES, worth

pytest.importorskip("matplotlib")
DAY = pd.Timestamp("2026-01-05")


@pytest.fixture(scope="module")
def book():
    quotes = [
        quote(kind, strike, price - 0.05, price + 0.05, expiration)
        for expiration, days in ((YEAR, 365), (LATER, 546))
        for kind in ("call", "put")
        for strike in STRIKES
        for price in [worth(kind, strike, days)]
    ]
    return book_of(enrich(chain(quotes), 100.0, 0.04))


def test_a_straddle(book) -> None:
    rules = VolatilityRules(beats_spread=False)
    row = volatility_trades(book, np.geomspace(90, 100, 600), rules).iloc[0]
    strike = row["legs"][0]["strike"]
    then = payoff_curve(row, [0.01, strike, 2 * strike], row["dte"])
    sign = -1.0 if row["action"] == "sell" else 1.0
    paid = row["net_debit"] * 100
    assert then == pytest.approx(
        [sign * strike * 100 - sign - paid, -paid, sign * strike * 100 - paid]
    )
    assert payoff_curve(row, [row["spot"]], 0)[0] == pytest.approx(
        (row["net_debit_mid"] - row["net_debit"]) * 100, abs=0.5
    )


def test_lines_marks_and_words(book) -> None:
    rules = CalendarRules(front_days=(300, 400), back_days=(500, None))
    row = calendar_spreads(book, rules).iloc[0]
    axes = plot_payoff(row).axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    at_end = next(line for label, line in lines.items() if str(label).startswith("at expiration"))
    x, y = at_end.get_data()
    assert y[list(x).index(row["strike"])] == pytest.approx(row["max_profit"] * 100, abs=1.0)
    assert "now" in lines
    assert list(lines["break-even"].get_xdata()) == pytest.approx(row["breakevens"])
    assert "stock now, 100.00" in lines
    assert f"buy 05 Jul 2027 {row['strike']:g} {row['option_type']}" in axes.get_title(loc="left")


def test_a_row_without_volatilities_shows_what_is_certain() -> None:
    frame = find_arbitrage(
        chain([quote("call", 100, 8.40, 8.50), quote("call", 100, 7.80, 8.00, LATER)])
    )
    axes = plot_payoff(frame.iloc[0]).axes[0]
    (line,) = [item for item in axes.get_lines() if "at least" in str(item.get_label())]
    assert np.asarray(line.get_ydata()) == pytest.approx(40.0)  # the credit, whatever happens
    assert "now" not in [item.get_label() for item in axes.get_lines()]


def test_a_future_is_settled_not_paid_for() -> None:
    quotes = [
        quote("call", 20, 3.0, 3.1, root="VIX", style="E"),
        quote("put", 20, 1.0, 1.1, root="VIX", style="E"),
    ]
    row = find_arbitrage(chain(quotes), terms_of(rate=0.05, futures={YEAR: (20.9, 21.0)})).iloc[0]
    # 1.90 now and 20 - 21 at expiration, wherever the index is
    assert payoff_curve(row, [5.0, 20.0, 60.0], row["dte"]) == pytest.approx([90.0] * 3)
    assert "buy future at 21.00" in plot_payoff(row).axes[0].get_title(loc="left")


def test_no_legs_is_an_error() -> None:
    with pytest.raises(DataError, match="no option leg"):
        plot_payoff({"legs": [], "net_debit": 0.0, "symbol": "ABC", "quote_date": DAY})


@pytest.mark.parametrize("wrong", [None, 5, {}, pd.Series({"legs": 5}), "row"])
def test_what_is_no_candidate(wrong: object) -> None:
    with pytest.raises(DataError, match="iloc"):
        plot_payoff(wrong)
    with pytest.raises(DataError, match="iloc"):
        payoff_curve(wrong, [100.0], 0)


def test_a_frame_is_no_candidate(book) -> None:
    frame = volatility_trades(book, np.geomspace(90, 100, 600), VolatilityRules(beats_spread=False))
    with pytest.raises(DataError, match=r"iloc\[0\]"):
        plot_payoff(frame)
    for spot in (-5, 0, np.nan, "x"):
        with pytest.raises(ConfigurationError, match="spot"):
            plot_payoff(frame.iloc[0], spot=spot)
    for width in (-1, 0, 2, "x"):
        with pytest.raises(ConfigurationError, match="width"):
            plot_payoff(frame.iloc[0], width=width)


@pytest.mark.parametrize(("ratio", "fill", "lines"), [(1, 12.35, 3), (28, 112.35, 3), (1, 7.5, 3)])
def test_a_long_title_stays_inside(ratio: int, fill: float, lines: int) -> None:
    legs = [
        {
            "contract": "", "side": side, "ratio": ratio, "type": "call", "strike": strike,
            "expiration": DAY + pd.Timedelta(365, "D"), "dte": 365, "fill": fill,
        }
        for side, strike in (("sell", 100), ("sell", 512), ("sell", 537))
    ]  # fmt: skip
    row = {"legs": legs, "net_debit": -1.0, "symbol": "MSFT", "quote_date": DAY}
    figure = plot_payoff({**row, "kind": "butterfly"})
    figure.canvas.draw()
    title = figure.axes[0]._left_title.get_window_extent()
    margin = 0.01 * figure.bbox.width
    assert title.x1 < figure.bbox.width - margin
    assert title.y1 < figure.bbox.height - 2.0
    told = figure.axes[0].get_title(loc="left").split("\n")
    assert len(told) == lines
    assert all(line.startswith("sell ") for line in told[1:])  # no leg is broken
    assert figure.axes[0].get_window_extent().x1 < figure.bbox.width - margin


def test_every_scenario_is_written_down() -> None:
    portfolio = analyze(HELD, quote_date=DAY)
    figure = plot_scenarios(portfolio)
    maps = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in maps] == [
        "now",
        "after 30 days",
        "after 90 days",
    ]
    for axes, days in zip(maps, (0, 30, 90), strict=True):
        table = portfolio.scenarios.loc[days].sort_index()
        assert [text.get_text() for text in axes.texts] == [
            f"{value:,.0f}" for value in table.to_numpy().ravel()
        ]
        assert [text.get_text() for text in axes.get_yticklabels()] == [
            "-10",
            "-5",
            "0",
            "+5",
            "+10",
        ]
        low, high = axes.images[0].get_clim()
        assert low == -high  # nothing made, nothing lost is the middle of the colours
    with pytest.raises(DataError, match="no day 7"):
        plot_scenarios(portfolio, [7])
    assert len([axes for axes in plot_scenarios(portfolio, 30).axes if axes.images]) == 1
    for days in ([], "x", [None]):
        with pytest.raises(ConfigurationError, match="days"):
            plot_scenarios(portfolio, days)
    with pytest.raises(ConfigurationError, match="analyze_portfolio"):
        plot_scenarios(None)
