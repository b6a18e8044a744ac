"""A portfolio of options and stock: sensitivities, scenarios, concentration, calendar, exit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.arguments import parse_number, parse_numbers
from stockdb.errors import DataError
from stockdb.options.market import DividendSchedule
from stockdb.options.pricing import price
from stockdb.options.quotes import Floats

__all__ = ["BUCKETS", "Portfolio", "analyze", "revalue"]

#: Time to expiration in days -> bucket of vega.
BUCKETS: Final = ((90, "< 90 d"), (365, "90-365 d"), (548, "1-1.5 y"), (730, "1.5-2 y"))
_LAST: Final = "> 2 y"
_SPOT_MOVES: Final[dict[str, Any]] = {
    "least": -1.0, "most": 10.0, "remedy": "Moves of the stock are relative: 20 % lower is -0.2.",
}  # fmt: skip
_VOL_MOVES: Final[dict[str, Any]] = {
    "least": -1.0, "most": 1.0, "remedy": "Moves of volatility are absolute: ten points are 0.1.",
}  # fmt: skip
SPOT_MOVES: Final = (-0.20, -0.15, -0.10, -0.05, 0.0, 0.05, 0.10, 0.15, 0.20)
VOL_MOVES: Final = (-0.10, -0.05, 0.0, 0.05, 0.10)
DAYS: Final = (0, 30, 90)
NEEDED: Final = (
    "symbol", "contract", "type", "quantity", "multiplier", "strike", "expiration", "dte",
    "american", "mid", "iv", "rate", "q", "spot", "delta", "gamma", "theta", "vega", "rho",
    "dividend_rho", "open_interest", "volume",
)  # fmt: skip
_NEAR: Final = 0.05  # extrinsic value, dollars: below it an option is likely to be exercised


@dataclass(frozen=True)
class Portfolio:
    """What :func:`analyze` found.

    Attributes
    ----------
    positions : pandas.DataFrame
        One row a position: what was given, market value and Greeks in dollars, ``iv_source``
        (``own``, or ``expiry`` where the quote implies none), ``priced``.
    greeks : pandas.DataFrame
        Index symbol and ``total``. delta_shares; delta_dollars (of the stock held instead);
        gamma_shares (change of delta_shares for 1 dollar); gamma_dollars (change of
        delta_dollars for 1 %); theta_dollars (a calendar day); vega_dollars (a vol point);
        rho_dollars (1 % of rate); dividend_rho_dollars (1 % of yield); market_value; beta;
        beta_delta_dollars and beta_delta_shares (of the benchmark). Shares and gamma_shares
        are not added up over different stocks: their total is NaN then.
    vega_buckets : pandas.DataFrame
        Index bucket: vega_dollars, and weighted by 1 / sqrt(years to expiration): for a move of
        one point at one year, others in proportion.
    scenarios : pandas.DataFrame
        Full repricing; index (days, vol_move), columns spot_move; profit in dollars against
        now. Options that expire within the days count at intrinsic value.
    concentration : dict
        hhi_symbol, hhi_expiration (0 to 1, of absolute market values), top_symbol,
        top_symbol_share, top_expiration, top_expiration_share.
    calendar : pandas.DataFrame
        By date: expirations and ex-dividend days with what they may bring; columns date,
        event, symbol, contract, quantity, in_the_money, extrinsic, dividend, cash (dollars that
        sold calls may owe, or that stock earns), likely (assignment or exercise before the
        ex-date pays).
    liquidation : pandas.DataFrame
        One row a position: days to sell at the participation given, share of open interest,
        reason where unknown, cost of crossing the spread.
    notes : dict
        What is unknown: betas, dividends, positions without a price.
    """

    positions: pd.DataFrame
    greeks: pd.DataFrame
    vega_buckets: pd.DataFrame
    scenarios: pd.DataFrame
    concentration: dict[str, Any]
    calendar: pd.DataFrame
    liquidation: pd.DataFrame
    notes: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        if name not in [item.name for item in fields(self)]:
            raise KeyError(name)
        return getattr(self, name)

    def keys(self) -> list[str]:
        """Names of the parts."""
        return [item.name for item in fields(self)]

    def summary(self) -> str:
        """Sum it up in a few lines."""
        total = self.greeks.loc["total"]
        grid = self.scenarios.to_numpy(np.float64)
        row, column = divmod(int(np.nanargmin(grid)), grid.shape[1])
        day = self.scenarios.index.get_level_values("days")[row]
        vol = self.scenarios.index.get_level_values("vol_move")[row]
        move = self.scenarios.columns[column]
        lines = [
            f"{len(self.positions)} positions, market value {total['market_value']:,.0f} dollars",
            f"delta {total['delta_dollars']:,.0f} dollars, gamma {total['gamma_dollars']:,.0f} a "
            f"per cent, theta {total['theta_dollars']:,.0f} a day, vega "
            f"{total['vega_dollars']:,.0f} a point, rho {total['rho_dollars']:,.0f} a per cent",
            f"worst of the scenarios {grid[row, column]:,.0f} dollars: stock {move:+.0%}, "
            f"volatility {vol * 100:+.0f} points, after {day} days",
            f"largest name {self.concentration['top_symbol']} "
            f"({self.concentration['top_symbol_share']:.0%} of value)",
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Portfolio>\n{self.summary()}"

    def _repr_html_(self) -> str:
        text = self.summary().replace("\n", "<br>")
        parts = (self.greeks, self.scenarios, self.vega_buckets, self.liquidation)
        return f"<p>{text}</p>" + "".join(
            part.to_html(float_format="{:,.2f}".format) for part in parts
        )


def revalue(
    positions: pd.DataFrame,
    *,
    spot_move: float = 0.0,
    vol_move: float = 0.0,
    days: float = 0.0,
    rate_move: float = 0.0,
    yield_move: float = 0.0,
) -> Floats:
    """Value each position anew.

    Parameters
    ----------
    positions : pandas.DataFrame
        As :func:`analyze` takes, with ``iv`` known.
    spot_move : float
        Relative: -.2 takes every stock 20 % lower.
    vol_move, rate_move, yield_move : float
        Absolute: .01 is a point.
    days : float
        Calendar days from the quote date.

    Returns
    -------
    numpy.ndarray
        Dollars; NaN where the implied volatility is.
    """
    moves = np.array([spot_move]), np.array([vol_move])
    return np.asarray(_values(positions, *moves, days, rate_move, yield_move)[0])


def _values(
    positions: pd.DataFrame,
    spot_moves: Floats,
    vol_moves: Floats,
    days: float,
    rate_move: float = 0.0,
    yield_move: float = 0.0,
) -> Floats:
    """Value positions under many moves at once, shape (moves, positions): pricing likes company."""
    spot = positions["spot"].to_numpy(np.float64) * (1.0 + spot_moves[:, None])
    size = (positions["quantity"] * positions["multiplier"]).to_numpy(np.float64)
    value = spot.copy()  # of stock
    option = (positions["type"] != "stock").to_numpy(bool)
    if option.any():
        part = positions[option]
        stock = spot[:, option]
        strike = part["strike"].to_numpy(np.float64)
        sign = np.where((part["type"] == "call").to_numpy(bool), 1.0, -1.0)
        left = (part["dte"].to_numpy(np.float64) - days) / 365.0
        worth = np.maximum(sign * (stock - strike), 0.0)
        alive = left > 0.0
        if alive.any():
            live = part[alive]
            worth[:, alive] = price(
                np.maximum(stock[:, alive], 1e-8),
                strike[alive],
                left[alive],
                live["rate"].to_numpy(np.float64) + rate_move,
                live["q"].to_numpy(np.float64) + yield_move,
                np.maximum(live["iv"].to_numpy(np.float64) + vol_moves[:, None], 0.01),
                live["type"].to_numpy(object),
                np.where(live["american"].to_numpy(bool), "american", "european"),
            )
        value[:, option] = worth
    return np.asarray(value * size)


def analyze(
    positions: pd.DataFrame,
    *,
    quote_date: pd.Timestamp,
    dividends: Mapping[str, DividendSchedule | None] | None = None,
    betas: Mapping[str, float] | None = None,
    benchmark_price: float = float("nan"),
    spot_moves: float | Sequence[float] = SPOT_MOVES,
    vol_moves: float | Sequence[float] = VOL_MOVES,
    days: float | Sequence[float] = DAYS,
    participation: float = 0.1,
) -> Portfolio:
    """Measure a portfolio.

    Parameters
    ----------
    positions : pandas.DataFrame
        Columns `NEEDED`: quantity (contracts or shares, negative where sold), multiplier (100
        or 1), Greeks per share as an enriched chain has them (theta a day, vega a point).
    quote_date : pandas.Timestamp
    dividends : mapping of symbol to DividendSchedule or None, optional
    betas : mapping of symbol to float, optional
    benchmark_price : float
    spot_moves, vol_moves, days : float or sequence of float
        Axes of the scenarios: relative moves from -1 to 10, absolute moves of iv from -1 to 1,
        calendar days from 0.
    participation : float
        Share of a day's volume that can be sold, above 0 and up to 1.

    Raises
    ------
    DataError
        A column is missing, or there is no position.
    ConfigurationError
        A move, a number of days or a participation that cannot be.

    Notes
    -----
    Herfindahl-Hirschman index for concentration. Scenarios move every implied volatility by the
    same number of points and every stock by the same share.
    """
    missing = [name for name in NEEDED if name not in positions.columns]
    if missing or not len(positions):
        raise DataError(
            f"The positions lack {', '.join(missing)}." if missing else "There are no positions.",
            remedy="Give contracts and quantities to analyze_portfolio().",
        )
    spot_moves = parse_numbers("spot_moves", spot_moves, **_SPOT_MOVES)
    vol_moves = parse_numbers("vol_moves", vol_moves, **_VOL_MOVES)
    days = [int(day) if day.is_integer() else day for day in parse_numbers("days", days, least=0.0)]
    participation = parse_number("participation", participation, above=0.0, most=1.0)
    held = _with_dollars(positions.reset_index(drop=True))
    notes: dict[str, Any] = {
        "unpriced": held.loc[~held["priced"], "contract"].tolist(),
        "beta_unknown": sorted(set(held["symbol"]) - set(betas or {})),
        "dividends_unknown": sorted(
            symbol for symbol in set(held["symbol"]) if (dividends or {}).get(symbol) is None
        ),
        "participation": participation,
    }
    return Portfolio(
        held,
        _greeks(held, betas or {}, benchmark_price),
        _buckets(held),
        _scenarios(held, spot_moves, vol_moves, days),
        _concentration(held),
        _calendar(held, quote_date, dividends or {}),
        _liquidation(held, participation),
        notes,
    )


def _with_dollars(positions: pd.DataFrame) -> pd.DataFrame:
    held = positions.copy()
    size = held["quantity"] * held["multiplier"]
    held["market_value"] = held["mid"] * size
    held["delta_shares"] = held["delta"] * size
    held["delta_dollars"] = held["delta_shares"] * held["spot"]
    held["gamma_shares"] = held["gamma"] * size
    held["gamma_dollars"] = held["gamma_shares"] * held["spot"] ** 2 / 100.0
    held["theta_dollars"] = held["theta"] * size
    held["vega_dollars"] = held["vega"] * size
    held["rho_dollars"] = held["rho"] * size / 100.0
    held["dividend_rho_dollars"] = held["dividend_rho"] * size / 100.0
    stock = held["type"] == "stock"
    held["priced"] = stock | held[["iv", "rate", "q", "spot"]].notna().all(axis=1)
    return held


def _greeks(held: pd.DataFrame, betas: Mapping[str, float], benchmark: float) -> pd.DataFrame:
    names = [
        "delta_shares", "delta_dollars", "gamma_shares", "gamma_dollars", "theta_dollars",
        "vega_dollars", "rho_dollars", "dividend_rho_dollars", "market_value",
    ]  # fmt: skip
    table = held.groupby("symbol", sort=False)[names].sum()
    table["beta"] = [betas.get(symbol, np.nan) for symbol in table.index]
    table["beta_delta_dollars"] = table["delta_dollars"] * table["beta"]
    table["beta_delta_shares"] = table["beta_delta_dollars"] / benchmark
    total = table.sum(skipna=False)
    total["beta"] = np.nan
    if len(table) > 1:
        total[["delta_shares", "gamma_shares"]] = np.nan
    table.loc["total"] = total
    return table


def _buckets(held: pd.DataFrame) -> pd.DataFrame:
    names = [name for _, name in BUCKETS] + [_LAST]
    options = held[held["type"] != "stock"]
    place = np.searchsorted([days for days, _ in BUCKETS], options["dte"], side="right")
    place = np.where(options["dte"] > 730, len(BUCKETS), np.minimum(place, len(BUCKETS) - 1))
    frame = pd.DataFrame(
        {
            "bucket": np.array(names, dtype=object)[place],
            "vega_dollars": options["vega_dollars"].to_numpy(),
            "vega_weighted": (options["vega_dollars"] / np.sqrt(options["dte"] / 365.0)).to_numpy(),
        }
    )
    return frame.groupby("bucket").sum().reindex(names, fill_value=0.0).rename_axis("bucket")


def _scenarios(
    held: pd.DataFrame, spots: Sequence[float], vols: Sequence[float], days: Sequence[float]
) -> pd.DataFrame:
    priced = held[held["priced"]]
    now = float(revalue(priced).sum())
    every_vol, every_spot = (grid.ravel() for grid in np.meshgrid(vols, spots, indexing="ij"))
    blocks = []
    for day in days:
        values = _values(priced, every_spot, every_vol, day).sum(axis=1) - now
        blocks.append(values.reshape(len(vols), len(spots)))
    index = pd.MultiIndex.from_product([days, vols], names=["days", "vol_move"])
    columns = pd.Index(spots, name="spot_move")
    return pd.DataFrame(np.concatenate(blocks), index=index, columns=columns)


def _concentration(held: pd.DataFrame) -> dict[str, Any]:
    weight = held["market_value"].abs()
    result: dict[str, Any] = {}
    expiration = held["expiration"].map(
        lambda day: "stock" if pd.isna(day) else day.date().isoformat()
    )
    for name, key in (("symbol", held["symbol"]), ("expiration", expiration)):
        share = weight.groupby(key).sum() / (weight.sum() or np.nan)
        if share.isna().all():  # no position has a price
            result |= {f"hhi_{name}": np.nan, f"top_{name}": "", f"top_{name}_share": np.nan}
            continue
        result[f"hhi_{name}"] = float((share**2).sum())
        result[f"top_{name}"] = str(share.idxmax())
        result[f"top_{name}_share"] = float(share.max())
    return result


def _calendar(
    held: pd.DataFrame, quote_date: pd.Timestamp, dividends: Mapping[str, DividendSchedule | None]
) -> pd.DataFrame:
    events: list[dict[str, Any]] = []
    for row in held.to_dict("records"):
        schedule = dividends.get(row["symbol"])
        option = row["type"] != "stock"
        sign = 1.0 if row["type"] != "put" else -1.0
        intrinsic = max(sign * (row["spot"] - row["strike"]), 0.0) if option else float("nan")
        extrinsic = row["mid"] - intrinsic
        base = {
            "symbol": row["symbol"],
            "contract": row["contract"],
            "quantity": row["quantity"],
            "in_the_money": intrinsic,
            "extrinsic": extrinsic,
        }
        if option:
            early = row["american"] and row["quantity"] < 0 and intrinsic > 0.0
            events.append(
                {
                    **base,
                    "date": row["expiration"],
                    "event": "expiration",
                    "likely": bool(intrinsic > 0.0),
                    "dividend": np.nan,
                    "cash": np.nan,
                }
            )
            if early and extrinsic < _NEAR:
                events.append(
                    {
                        **base,
                        "date": quote_date,
                        "event": "early_assignment",
                        "likely": True,
                        "dividend": np.nan,
                        "cash": np.nan,
                    }
                )
        if row["type"] == "put" or schedule is None:
            continue
        end = row["expiration"] if option else quote_date + pd.Timedelta(days=366)
        for ex_date, amount in zip(schedule.ex_dates, schedule.amounts, strict=True):
            if not quote_date < pd.Timestamp(ex_date) <= end:
                continue
            # A call is exercised before the ex-date where the dividend beats its time value;
            # sold ones owe it then, bought ones miss it unless they are exercised.
            shares = row["quantity"] * row["multiplier"]
            pays = bool(option and intrinsic > 0.0 and extrinsic < amount and row["american"])
            events.append(
                {
                    **base,
                    "date": pd.Timestamp(ex_date),
                    "event": "ex_dividend",
                    "likely": pays if option else True,
                    "dividend": amount,
                    "cash": shares * amount if not option or row["quantity"] < 0 else np.nan,
                }
            )
    columns = [
        "date", "event", "symbol", "contract", "quantity", "in_the_money", "extrinsic", "dividend",
        "cash", "likely",
    ]  # fmt: skip
    frame = pd.DataFrame(events, columns=columns)
    frame["date"] = pd.to_datetime(frame["date"]).astype("datetime64[ns]")
    return frame.sort_values(["date", "symbol", "contract"], ignore_index=True)


def _liquidation(held: pd.DataFrame, participation: float) -> pd.DataFrame:
    count = held["quantity"].abs().to_numpy(np.float64)
    volume = held["volume"].to_numpy(np.float64)
    interest = held["open_interest"].to_numpy(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        days = np.where(volume > 0.0, count / (participation * volume), np.nan)
        share = np.where(interest > 0.0, count / interest, np.nan)
    reason = np.where(
        np.isnan(volume), "volume unknown", np.where(volume == 0.0, "no volume today", "")
    )
    frame = pd.DataFrame(
        {
            "symbol": held["symbol"],
            "contract": held["contract"],
            "quantity": held["quantity"],
            "volume": volume,
            "open_interest": interest,
            "days": days,
            "share_of_open_interest": share,
            "reason": reason,
        }
    )
    if {"bid", "ask"} <= set(held.columns):
        size = (held["quantity"] * held["multiplier"]).abs()
        frame["cost_of_spread"] = size * (held["ask"] - held["bid"]) / 2.0
    return frame
