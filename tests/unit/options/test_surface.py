"""Smiles and term structures, against volatilities that were put in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from stockdb.errors import ConfigurationError, DataError
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
