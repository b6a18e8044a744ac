"""Pictures of volatility: figures are returned, nothing is shown.

Needs matplotlib, of the extra ``plot``.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stockdb.errors import ConfigurationError
from stockdb.options.quotes import Floats
from stockdb.options.surface import Surface

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["new_figure", "plot_smile", "plot_surface", "plot_term_structure"]

_MONEYNESS = (0.6, 1.5)
_MARGIN = 0.12  # inches
_SHADES = 4  # between two labelled levels


def new_figure(width: float = 9.0, height: float = 5.0) -> Figure:
    """Make a figure that no window manager knows of.

    Raises
    ------
    ConfigurationError
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise ConfigurationError(
            "Pictures need matplotlib, which is not installed.",
            remedy="Install it: pip install matplotlib.",
        ) from None
    layout = ConstrainedLayoutEngine(w_pad=_MARGIN, h_pad=_MARGIN)
    return Figure(figsize=(width, height), layout=layout)


def plot_smile(surface: Surface, expirations: Any = None) -> Figure:
    """Draw volatility over strike / forward.

    Parameters
    ----------
    surface : Surface
    expirations : date-like or list of them, optional
        By default up to six, spread over those there are.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ConfigurationError
        There is no smile of an expiration, or matplotlib is not installed.
    """
    smiles = list(_drawable(surface).smiles)
    figure = new_figure()
    axes = figure.add_subplot()
    if isinstance(expirations, (str, dt.date)):
        expirations = [expirations]
    if expirations is not None:
        smiles = [surface.smile(day) for day in expirations]
    elif len(smiles) > 6:
        smiles = [smiles[round(i)] for i in np.linspace(0, len(smiles) - 1, 6)]
    colours = _colours(len(smiles))
    for smile, colour in zip(smiles, colours, strict=True):
        moneyness = np.exp(smile.k)
        shown = (moneyness >= _MONEYNESS[0]) & (moneyness <= _MONEYNESS[1])
        fine = np.linspace(max(moneyness[0], _MONEYNESS[0]), min(moneyness[-1], _MONEYNESS[1]), 200)
        label = f"{smile.expiration:%d %b %Y} ({round(smile.years * 365)} d)"
        axes.plot(fine, 100 * smile.at_moneyness(fine), color=colour, lw=1.4, label=label)
        axes.plot(moneyness[shown], 100 * smile.iv[shown], ".", color=colour, ms=4)
    axes.axvline(1.0, color="0.6", lw=0.8, ls=":")
    axes.set_xlabel("strike / forward")
    axes.set_ylabel("implied volatility (%)")
    axes.set_title(_title(surface, "smile"))
    axes.grid(alpha=0.25)
    if smiles:
        axes.legend(frameon=False, fontsize=9)
    return figure


def plot_term_structure(surface: Surface) -> Figure:
    """Draw at-the-money volatility, the 25-delta wings and forward volatility over time.

    Parameters
    ----------
    surface : Surface

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ConfigurationError
        matplotlib is not installed.
    """
    table: pd.DataFrame = _drawable(surface).term_structure()
    figure = new_figure()
    axes = figure.add_subplot()
    days = table["years"] * 365
    axes.fill_between(
        days, 100 * table["call_25"], 100 * table["put_25"], color="tab:blue", alpha=0.12,
        label="25-delta call to 25-delta put",
    )  # fmt: skip
    axes.plot(days, 100 * table["atm_iv"], "o-", color="tab:blue", ms=4, label="at the forward")
    axes.step(
        days, 100 * table["forward_vol"], where="pre", color="tab:orange", lw=1.1,
        label="forward volatility since the expiration before",
    )  # fmt: skip
    axes.set_xscale("log")
    ticks = [t for t in (7, 14, 30, 60, 90, 180, 365, 730) if days.min() <= t <= days.max() * 1.05]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("days to expiration (logarithmic)")
    axes.set_ylabel("implied volatility (%)")
    axes.set_title(_title(surface, "term structure"))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    return figure


def plot_surface(surface: Surface) -> Figure:
    """Draw volatility over strike / forward and time as a map with lines of equal volatility.

    Parameters
    ----------
    surface : Surface

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ConfigurationError
        There is one expiration only, or matplotlib is not installed.
    """
    days = np.array([smile.years * 365 for smile in _drawable(surface).smiles])
    if len(days) < 2:
        raise ConfigurationError(
            "A surface needs two expirations.", remedy="Draw the smile with plot_smile."
        )
    figure = new_figure()
    axes = figure.add_subplot()
    moneyness = np.linspace(*_MONEYNESS, 121)
    at = np.geomspace(days[0], days[-1], 121)
    vol = 100 * surface.iv(moneyness[None, :], at[:, None])
    low, high = np.nanpercentile(vol, [1, 97])
    round_, words = _round_levels(low, high)
    levels = np.linspace(round_[0], round_[-1], _SHADES * (len(round_) - 1) + 1)
    map_ = axes.contourf(moneyness, at, vol, levels=levels, cmap="viridis", extend="both")
    lines = axes.contour(moneyness, at, vol, levels=round_, colors="white", linewidths=0.6)
    axes.clabel(lines, fmt=words, fontsize=8)
    axes.set_yscale("log")
    ticks = [tick for tick in (7, 14, 30, 60, 90, 180, 365, 730) if days[0] <= tick <= days[-1]]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("strike / forward")
    axes.set_ylabel("days to expiration (logarithmic)")
    axes.set_title(_title(surface, "surface (blank: no quote reaches there)"))
    scale = figure.colorbar(map_, ax=axes, label="implied volatility (%)")
    scale.set_ticks(list(round_), labels=list(words.values()))
    return figure


def _drawable(surface: Any) -> Surface:
    if not isinstance(surface, Surface):
        raise ConfigurationError(
            f"{type(surface).__name__} is no volatility surface.",
            remedy="Give what get_vol_surface or vol_surface returns.",
        )
    if not surface.smiles:
        raise ConfigurationError(
            "The surface has no smile: no expiration has three strikes with a volatility.",
            remedy="Look at the column reason of get_leaps_chain; without a rate, give rate=.",
        )
    return surface


def _round_levels(low: float, high: float) -> tuple[Floats, dict[float, str]]:
    """Levels a round step apart (1, 2 or 5 of a decimal place), and how they are written."""
    from matplotlib.ticker import MaxNLocator

    levels = np.asarray(MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(low, high))
    digits = max(0, -int(np.floor(np.log10(levels[1] - levels[0]) + 1e-9)))
    return levels, {float(level): f"{level:.{digits}f}" for level in levels}


def _title(surface: Surface, what: str) -> str:
    day = "" if surface.quote_date is None else f" {surface.quote_date:%Y-%m-%d}"
    return f"{surface.symbol}{day}: volatility {what}"


def _colours(count: int) -> Any:
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0.0, 0.85, max(count, 1)))[:count]
