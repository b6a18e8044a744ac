"""Smiles and term structures, against volatilities that were put in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from stockdb.errors import ConfigurationError, DataError, RangeError
from stockdb.options import plots
from stockdb.options.surface import Surface, vol_surface

YEARS = {"2023-04-01": 0.25, "2024-01-01": 1.0, "2025-01-01": 2.0}


def skewed(k: np.ndarray, years: float) -> np.ndarray:
    return 0.3 - 0.05 * np.log(years) / 2 - 0.2 * k + 0.3 * k**2


@pytest.fixture
def chain() -> pd.DataFrame:
    rows = []
    for day, years in YEARS.items():
        forward = 100.0 * np.exp(0.03 * years)
        for K in np.arange(50.0, 170.0, 2.5):
            k = np.log(K / forward)
            for kind in ("call", "put"):
                iv = float(skewed(k, years))
                rows.append(("XYZ", pd.Timestamp(day), kind, K, years, forward, iv, 0.002))
    names = "symbol expiration type strike years forward iv iv_error".split()
    return pd.DataFrame(rows, columns=names).assign(quote_date=pd.Timestamp("2023-01-01"))


@pytest.fixture
def surface(chain: pd.DataFrame) -> Surface:
    return vol_surface(chain)


def test_by_moneyness(surface: Surface) -> None:
    smile = surface.smile("2024-01-01")
    wanted = np.array([0.7, 0.93, 1.0, 1.21])
    assert smile.at_moneyness(wanted) == pytest.approx(skewed(np.log(wanted), 1.0), abs=1e-4)
    assert np.isnan(smile.at_moneyness(0.3)) and np.isnan(smile.at_moneyness(-1.0))


def test_by_delta(surface: Surface) -> None:
    """The strike at which N(d1) is the delta, found by bisection of the definition."""
    smile = surface.smile("2024-01-01")
    for delta in (0.1, 0.25, 0.5, 0.75, 0.9):
        low, high = -0.65, 0.5
        for _ in range(80):
            k = (low + high) / 2
            vol = skewed(np.array(k), 1.0)
            low, high = (k, high) if norm.cdf(-k / vol + vol / 2) > delta else (low, k)
        assert smile.at_delta(delta) == pytest.approx(float(skewed(np.array(k), 1.0)), abs=2e-4)
    assert smile.at_delta(-0.25) == pytest.approx(smile.at_delta(0.75))
    assert np.isnan(smile.at_delta(1e-9))


def test_term_structure(surface: Surface) -> None:
    table = surface.term_structure()
    atm = [float(skewed(np.array(0.0), years)) for years in YEARS.values()]
    assert table["atm_iv"].tolist() == pytest.approx(atm, abs=1e-4)
    assert (table["skew_25"] > 0.02).all()
    assert table["butterfly_25"].iloc[1] == pytest.approx(
        (table["put_25"].iloc[1] + table["call_25"].iloc[1]) / 2 - table["atm_iv"].iloc[1]
    )
    between = np.sqrt((atm[2] ** 2 * 2.0 - atm[1] ** 2 * 1.0) / 1.0)
    assert table["forward_vol"].iloc[2] == pytest.approx(between, abs=1e-4)


def test_constant_maturity_is_linear_in_variance(surface: Surface) -> None:
    found = surface.constant_maturity([60, 365, 548, 900])
    atm = [float(skewed(np.array(0.0), years)) for years in (1.0, 2.0)]
    share = 548 / 365 - 1.0
    variance = atm[0] ** 2 * (1 - share) + 2 * atm[1] ** 2 * share
    assert found[548] == pytest.approx(np.sqrt(variance / (548 / 365)), abs=1e-4)
    assert found[365] == pytest.approx(atm[0], abs=1e-4)
    assert np.isnan(found[60]) and np.isnan(found[900])  # no quote reaches there


def test_poor_quotes_and_the_money_side_do_not_count(chain: pd.DataFrame) -> None:
    deep = (chain["type"] == "call") & (chain["strike"] < 0.9 * chain["forward"])
    chain.loc[deep, "iv"] = 9.0
    chain.loc[chain["strike"] == 120.0, ["iv", "iv_error"]] = [7.0, 0.2]
    chain.loc[chain["strike"] == 80.0, "iv"] = np.nan
    table = vol_surface(chain).term_structure()
    atm = [float(skewed(np.array(0.0), years)) for years in YEARS.values()]
    assert table["atm_iv"].tolist() == pytest.approx(atm, abs=1e-4)
    assert table["put_25"].max() < 0.5 and table["call_25"].max() < 0.5


def test_what_is_refused(chain: pd.DataFrame, surface: Surface) -> None:
    with pytest.raises(ConfigurationError, match="There are: 2023-04-01"):
        surface.smile("2030-01-01")
    with pytest.raises(DataError, match="enrich_chain"):
        vol_surface(chain.drop(columns="iv"))
    with pytest.raises(DataError, match="more than one quote_date"):
        vol_surface(pd.concat([chain, chain.assign(quote_date=pd.Timestamp("2023-01-02"))]))


def test_what_is_no_number_of_days(surface: Surface) -> None:
    assert surface.constant_maturity(365)[365] == pytest.approx(surface.iv(1.0, 365))
    for wrong in ("2027-01-15", pd.Timestamp("2027-01-15"), None, [None], {}):
        with pytest.raises(ConfigurationError, match="days"):
            surface.iv(1.0, wrong)
        with pytest.raises(ConfigurationError, match="days"):
            surface.constant_maturity(wrong)
    for wrong in ("x", None, [[1.0], [1.0, 2.0]]):
        with pytest.raises(ConfigurationError, match="moneyness"):
            surface.iv(wrong, 30)
        with pytest.raises(ConfigurationError, match="moneyness"):
            surface.smiles[0].at_moneyness(wrong)
    with pytest.raises(ConfigurationError, match="delta"):
        surface.smiles[0].at_delta("x")
    with pytest.raises(ConfigurationError, match="shapes"):
        surface.iv([1.0, 1.1], [30, 60, 90])
    with pytest.raises(RangeError, match="expiration"):
        surface.smile("soon")


def test_a_surface_without_smiles_knows_nothing() -> None:
    nothing = Surface("XYZ", None, ())
    assert np.isnan(nothing.iv(1.0, 30))
    assert nothing.constant_maturity([30, 60]).isna().all()
    assert nothing.term_structure().empty
    assert "0 expirations" in repr(nothing)
    for draw in (plots.plot_smile, plots.plot_term_structure, plots.plot_surface):
        with pytest.raises(ConfigurationError, match="no smile"):
            draw(nothing)


def test_it_prints_in_a_line(surface: Surface) -> None:
    text = repr(surface)
    assert len(text) < 200
    assert "XYZ" in text and "3 expirations" in text and "2025-01-01" in text
    assert len(repr(surface.smiles[0])) < 200
    assert "2023-04-01" in repr(surface.smiles[0])


def test_levels_are_round_and_told_apart(surface: Surface) -> None:
    figure = plots.plot_surface(surface)
    figure.canvas.draw()
    axes, scale = figure.axes
    ticks = scale.get_yticks()
    words = [text.get_text() for text in scale.get_yticklabels()]
    assert len(set(words)) == len(words) >= 3
    assert [float(word) for word in words] == pytest.approx(list(ticks))
    labels = {text.get_text() for text in axes.texts}
    assert labels <= set(words)
    lines = [item for item in axes.collections if getattr(item, "filled", None) is False]
    assert len(lines) == 1
    assert set(np.round(lines[0].levels, 9)) <= set(np.round(ticks, 9))


@pytest.mark.parametrize("wrong", [None, 5, pd.DataFrame()])
def test_what_is_no_surface(wrong: object) -> None:
    for draw in (plots.plot_smile, plots.plot_term_structure, plots.plot_surface):
        with pytest.raises(ConfigurationError, match="get_vol_surface"):
            draw(wrong)


def test_one_expiration_is_enough(surface: Surface) -> None:
    one = plots.plot_smile(surface, "2024-01-01").axes[0].get_legend()
    assert [text.get_text() for text in one.get_texts()] == ["01 Jan 2024 (365 d)"]


def test_pictures_are_returned_and_not_shown(surface: Surface) -> None:
    smile = plots.plot_smile(surface)
    axes = smile.axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()][0] == "01 Apr 2023 (91 d)"
    assert "XYZ 2023-01-01" in axes.get_title()
    term = plots.plot_term_structure(surface).axes[0]
    drawn = next(line for line in term.lines if line.get_label() == "at the forward")
    assert drawn.get_ydata() == pytest.approx(100 * surface.term_structure()["atm_iv"])
    assert len(plots.plot_surface(surface).axes) == 2  # the map and its scale
    import sys

    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()
