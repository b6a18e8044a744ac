"""Pictures of positions: payoff of a candidate, scenarios of a portfolio; figures are returned.

Needs matplotlib, of the extra ``plot``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from stockdb.arguments import parse_array, parse_number, parse_numbers
from stockdb.errors import ConfigurationError, DataError
from stockdb.options._plot_volatility import new_figure
from stockdb.options.market import parse_price
from stockdb.options.portfolio import Portfolio
from stockdb.options.pricing import price
from stockdb.options.quotes import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["payoff_curve", "plot_payoff", "plot_scenarios"]

_SHARES: Final = 100.0
_NODES: Final = 241
_TITLE: Final = 92  # letters a line
_BLUE, _GREY, _GREEN, _RED = "#1f5f9e", "0.45", "#2e8b57", "#b5413c"


def payoff_curve(
    candidate: Mapping[str, Any] | pd.Series,
    spots: Sequence[float] | Floats,
    days: float,
    *,
    floor: bool = False,
) -> Floats:
    """Profit of one package after some days, dollars.

    Parameters
    ----------
    candidate : mapping or pandas.Series
        A row of a strategy or of ``find_arbitrage_opportunities``: legs and net_debit.
    spots : array-like
        Stock prices.
    days : float
        Calendar days from the quote date. Options that have expired count at intrinsic value,
        the others are priced at their own implied volatility.
    floor : bool
        Count those at intrinsic value, too: the least that bought American ones are worth.

    Returns
    -------
    numpy.ndarray
        float64, before fees; NaN where a leg that lives on has no implied volatility.

    Raises
    ------
    DataError
        Not a row of a search.
    """
    _check(candidate)
    stock = parse_array("spots", spots)
    total = np.full(stock.shape, -float(candidate["net_debit"]))
    for leg in candidate["legs"]:
        sign = leg["ratio"] * (1.0 if leg["side"] == "buy" else -1.0)
        if leg["type"] == "stock":
            total += sign * stock
            continue
        if leg["type"] == "future":  # nothing is paid for it
            total += sign * (stock - leg["fill"])
            continue
        direction = 1.0 if leg["type"] == "call" else -1.0
        left = (leg["dte"] - days) / 365.0
        if left <= 0.0 or floor:
            total += sign * np.maximum(direction * (stock - leg["strike"]), 0.0)
            continue
        total += sign * price(
            stock, leg["strike"], left, leg.get("rate", np.nan), leg.get("q", np.nan),
            leg.get("iv", np.nan), leg["type"], leg.get("style", "american"),
        )  # fmt: skip
    return total * _SHARES


def plot_payoff(
    candidate: Mapping[str, Any] | pd.Series, *, spot: float | None = None, width: float = 0.35
) -> Figure:
    """Draw profit and loss of one package now and when its first option expires.

    Parameters
    ----------
    candidate : mapping or pandas.Series
        A row of a strategy, or of ``find_arbitrage_opportunities`` (which has no volatilities,
        so that only the payoff of its expiration is drawn).
    spot : float, optional
        The stock now; by default the row's own, where it has one.
    width : float
        How far the picture reaches to either side, relative.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        Not a row of a search, or one without an option leg.
    ConfigurationError
        A spot or a width that cannot be one.
    """
    _check(candidate)
    spot = parse_price("spot", spot)
    width = parse_number("width", width, above=0.0, most=0.99)
    options = [leg for leg in candidate["legs"] if leg["type"] in ("call", "put")]
    if not options:
        raise DataError("The candidate has no option leg.", remedy="Give a row of a search.")
    strikes = sorted({float(leg["strike"]) for leg in options})
    own = candidate.get("spot")
    here = spot if spot is not None else own
    here = None if here is None or not np.isfinite(here) else float(here)
    centre = here if here is not None else float(np.mean(strikes))
    roots = [x for x in candidate.get("breakevens") or () if 0.4 < x / centre < 2.5]
    low = min([centre * (1.0 - width), strikes[0] * 0.9, *(x * 0.95 for x in roots)])
    high = max([centre * (1.0 + width), strikes[-1] * 1.1, *(x * 1.05 for x in roots)])
    stock = np.unique(np.concatenate([np.linspace(low, high, _NODES), strikes]))
    horizon = min(leg["dte"] for leg in options)
    then = payoff_curve(candidate, stock, horizon)
    now = payoff_curve(candidate, stock, 0)
    label = "at expiration"
    if not np.isfinite(then).all():  # without volatilities: exercised at once
        then, label = payoff_curve(candidate, stock, horizon, floor=True), "at least, at expiration"
    figure = new_figure()
    axes = figure.add_subplot()
    _shade(axes, stock, then)
    first = min(pd.Timestamp(leg["expiration"]) for leg in options)
    if np.isfinite(now).all():
        axes.plot(stock, now, color=_BLUE, lw=1.5, ls="--", label="now")
    axes.plot(stock, then, color=_BLUE, lw=2.0, label=f"{label}, {first:%d %b %Y}")
    axes.axhline(0.0, color="0.25", lw=0.8)
    _mark(axes, candidate, here, stock)
    for strike in strikes:
        axes.axvline(strike, color="0.8", lw=0.8, zorder=0)
    axes.set_xlim(low, high)
    axes.set_xlabel("stock price (dollars)")
    axes.set_ylabel("profit of one package (dollars)")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_title(_title(candidate), fontsize=10.5, loc="left")
    axes.grid(axis="y", alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    return figure


def _check(candidate: Any) -> None:
    """Tell a row of a search from anything else, a frame of them above all."""
    row = isinstance(candidate, (Mapping, pd.Series))
    if not row or not isinstance(candidate.get("legs"), (list, tuple, np.ndarray)):
        raise DataError(
            f"{type(candidate).__name__} is no candidate with legs.",
            remedy="Give one row of a search: frame.iloc[0].",
        )


def _shade(axes: Axes, stock: Floats, gain: Floats) -> None:
    axes.fill_between(stock, gain, 0.0, where=gain > 0.0, color=_GREEN, alpha=0.13, lw=0)
    axes.fill_between(stock, gain, 0.0, where=gain < 0.0, color=_RED, alpha=0.10, lw=0)


def _mark(
    axes: Axes, candidate: Mapping[str, Any] | pd.Series, spot: float | None, stock: Floats
) -> None:
    """Mark the stock now and the break-evens."""
    if spot is not None:
        axes.axvline(spot, color=_GREY, lw=1.0, ls=":", label=f"stock now, {spot:,.2f}")
    roots = candidate.get("breakevens")
    inside = [] if roots is None else [x for x in roots if stock[0] <= x <= stock[-1]]
    if inside:
        axes.plot(inside, np.zeros(len(inside)), "o", color="0.15", ms=5, label="break-even")
        for root in inside:
            axes.annotate(
                f"{root:,.2f}", (root, 0.0), xytext=(0, 7), textcoords="offset points",
                ha="center", fontsize=8.5, color="0.15",
                bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
            )  # fmt: skip


def _title(candidate: Mapping[str, Any] | pd.Series) -> str:
    name = str(candidate.get("strategy", candidate.get("kind", ""))).replace("_", " ")
    lines = [f"{candidate['symbol']} {name}, {pd.Timestamp(candidate['quote_date']):%d %b %Y}"]
    for leg in candidate["legs"]:
        count = "" if leg["ratio"] == 1 else f"{leg['ratio']} x "
        if leg["type"] == "stock":
            what = "100 shares"
        elif leg["type"] == "future":
            what = "future"
        else:
            what = f"{pd.Timestamp(leg['expiration']):%d %b %Y} {leg['strike']:g} {leg['type']}"
        lines.append(f"{leg['side']} {count}{what} at {leg['fill']:,.2f}")
    return "\n".join(_packed(lines))


def _packed(parts: list[str]) -> list[str]:
    """Put legs side by side while they fit below the first line; none is broken."""
    lines = [*parts[:1], ""]
    for part in parts[1:]:
        longer = f"{lines[-1]}; {part}" if lines[-1] else part
        if len(longer) <= _TITLE:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


def _signed(value: float) -> str:
    return "0" if abs(value) < 0.5 else f"{value:+.0f}"


def plot_scenarios(portfolio: Portfolio, days: float | Sequence[float] | None = None) -> Figure:
    """Draw the scenarios of a portfolio as heat maps, one for each number of days.

    Parameters
    ----------
    portfolio : Portfolio
    days : float or sequence of float, optional
        Of those that were computed; all by default.

    Returns
    -------
    matplotlib.figure.Figure
        Stock moves across, moves of implied volatility upwards; profit against now in dollars,
        green above 0 and red below, one scale for all maps.

    Raises
    ------
    DataError
        A number of days that was not computed.
    ConfigurationError
        Not a portfolio; no day.
    """
    if not isinstance(portfolio, Portfolio):
        raise ConfigurationError(
            f"{type(portfolio).__name__} is no portfolio.",
            remedy="Give what analyze_portfolio returns.",
        )
    table = portfolio.scenarios
    held = list(dict.fromkeys(table.index.get_level_values("days")))
    chosen = held if days is None else list(parse_numbers("days", days))
    if missing := [day for day in chosen if day not in held]:
        raise DataError(
            f"The scenarios have no day {missing[0]:g}.", remedy=f"Computed are {held}."
        )
    largest = float(np.nanmax(np.abs(table.to_numpy())))
    unit, suffix = (1000.0, "k") if largest >= 20_000.0 else (1.0, "")
    figure = new_figure(1.0 + 0.72 * len(table.columns), 0.9 + 2.3 * len(chosen))
    panels = figure.subplots(len(chosen), 1, squeeze=False)[:, 0]
    image = None
    for axes, day in zip(panels, chosen, strict=True):
        part = table.loc[day].sort_index()
        values = part.to_numpy(np.float64)
        image = axes.imshow(
            values, cmap="RdYlGn", vmin=-largest, vmax=largest, aspect="auto", origin="lower"
        )
        for (row, column), value in np.ndenumerate(values):
            strong = abs(value) > 0.7 * largest
            axes.text(
                column, row, f"{value / unit:,.1f}{suffix}" if unit > 1 else f"{value:,.0f}",
                ha="center", va="center", fontsize=8, color="white" if strong else "0.1",
            )  # fmt: skip
        axes.set_xticks(
            range(values.shape[1]), [_signed(100 * move) + "%" for move in part.columns]
        )
        axes.set_yticks(range(values.shape[0]), [_signed(100 * move) for move in part.index])
        axes.set_ylabel("vol points")
        axes.set_title("now" if day == 0 else f"after {day:g} days", fontsize=10, loc="left")
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
    panels[-1].set_xlabel("move of the stocks")
    if image is not None:
        figure.colorbar(image, ax=list(panels), label="profit against now (dollars)", shrink=0.9)
    names = sorted(set(portfolio.positions["symbol"]))
    shown = ", ".join(names[:6]) + (" ..." if len(names) > 6 else "")
    figure.suptitle(f"{len(portfolio.positions)} positions in {shown}", fontsize=11)
    return figure
