"""Smiles and the term structure of implied volatility, out of a chain with numbers.

The volatilities of :func:`stockdb.options.chain.enrich` are those of the American options
themselves, and so those of the European options at the same strikes: what follows treats them as
European (Black, 1976, on the forward).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtr

from stockdb.arguments import parse_array
from stockdb.errors import ConfigurationError, DataError
from stockdb.types import parse_date

__all__ = ["Smile", "Surface", "vol_surface"]

Floats = npt.NDArray[np.float64]

_NEEDED: Final = ("expiration", "type", "strike", "years", "forward", "iv", "iv_error")
_FEWEST: Final = 3  # strikes of a smile
_OPEN: Final = 0.05  # vol that a quote may leave open
_GRID: Final = 801


@dataclass(frozen=True, slots=True, repr=False)
class Smile:
    """Implied volatility of one expiration over the strikes.

    Attributes
    ----------
    expiration : pandas.Timestamp
    years, forward : float
    k, iv : numpy.ndarray
        ln(strike / forward), ascending, and volatility of the out-of-the-money quotes (both
        kinds, weighted by what each leaves open, where both are); float64.
    """

    expiration: pd.Timestamp
    years: float
    forward: float
    k: Floats
    iv: Floats

    def __repr__(self) -> str:
        return (
            f"<Smile of {self.expiration:%Y-%m-%d}: {len(self.k)} strikes, forward "
            f"{self.forward:,.2f}, volatility {self.at_moneyness(1.0):.1%} there>"
        )

    def at_moneyness(self, moneyness: Any) -> Any:
        """Volatility at strike / forward: monotone cubic between strikes, NaN beyond them.

        Examples
        --------
        >>> smile = Smile(pd.Timestamp("2024-01-19"), 1.0, 100.0,
        ...               np.array([-0.2, 0.0, 0.2]), np.array([0.3, 0.25, 0.22]))
        >>> round(smile.at_moneyness(1.0), 4)
        0.25
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            k = np.log(parse_array("moneyness", moneyness))
        found = PchipInterpolator(self.k, self.iv, extrapolate=False)(k)
        return float(found) if np.ndim(found) == 0 else found

    def at_delta(self, delta: Any) -> Any:
        """Volatility of the option with this forward delta.

        Parameters
        ----------
        delta : float or array-like
            N(d1) of a call, 0 to 1; a negative one is a put's, -.25 the same as .75.

        Returns
        -------
        float or numpy.ndarray
            NaN where no quoted strike reaches so far.
        """
        k = np.linspace(self.k[0], self.k[-1], _GRID)
        vol = PchipInterpolator(self.k, self.iv)(k)
        width = vol * np.sqrt(self.years)
        falls = ndtr(-k / width + width / 2.0)[::-1]  # ascending
        wanted = parse_array("delta", delta)
        wanted = np.where(wanted < 0.0, 1.0 + wanted, wanted)
        found = np.interp(wanted, falls, vol[::-1], left=np.nan, right=np.nan)
        return float(found) if np.ndim(found) == 0 else found


@dataclass(frozen=True, slots=True, repr=False)
class Surface:
    """Smiles of one underlying on one day, by ascending expiration."""

    symbol: str
    quote_date: pd.Timestamp | None
    smiles: tuple[Smile, ...]

    def __repr__(self) -> str:
        day = "" if self.quote_date is None else f" on {self.quote_date:%Y-%m-%d}"
        reach = ""
        if self.smiles:
            first, last = self.smiles[0].expiration, self.smiles[-1].expiration
            reach = f", {first:%Y-%m-%d} to {last:%Y-%m-%d}"
        return f"<Surface of {self.symbol}{day}: {len(self.smiles)} expirations{reach}>"

    def smile(self, expiration: Any) -> Smile:
        """Give the smile of one expiration.

        Raises
        ------
        ConfigurationError
            There is none; names those there are.
        RangeError
            Not a date.
        """
        wanted = pd.Timestamp(parse_date(expiration, "expiration"))
        for smile in self.smiles:
            if smile.expiration == wanted:
                return smile
        known = ", ".join(f"{smile.expiration:%Y-%m-%d}" for smile in self.smiles)
        raise ConfigurationError(
            f"There is no smile for {wanted:%Y-%m-%d}.", remedy=f"There are: {known}."
        )

    def term_structure(self) -> pd.DataFrame:
        """Sum up each expiration.

        Returns
        -------
        pandas.DataFrame
            Index ``expiration``; float64 columns: ``years``, ``forward``, ``atm_iv`` (at the
            forward), ``call_25``, ``put_25`` (volatility at a forward delta of .25 and -.25),
            ``skew_25`` (put_25 - call_25), ``butterfly_25`` (their mean - atm_iv) and
            ``forward_vol`` (from the expiration before to this one, sqrt of the variance in
            between a year; NaN where total variance falls). NaN where strikes do not reach.
        """
        atm = np.array([smile.at_moneyness(1.0) for smile in self.smiles])
        call = np.array([smile.at_delta(0.25) for smile in self.smiles])
        put = np.array([smile.at_delta(-0.25) for smile in self.smiles])
        years = np.array([smile.years for smile in self.smiles])
        rise, span = np.diff(atm**2 * years, prepend=0.0), np.diff(years, prepend=0.0)
        with np.errstate(invalid="ignore"):
            between = np.sqrt(rise / span)
        return pd.DataFrame(
            {
                "years": years,
                "forward": [smile.forward for smile in self.smiles],
                "atm_iv": atm,
                "call_25": call,
                "put_25": put,
                "skew_25": put - call,
                "butterfly_25": (put + call) / 2.0 - atm,
                "forward_vol": between,
            },
            index=pd.DatetimeIndex(
                [smile.expiration for smile in self.smiles],
                name="expiration",
                dtype="datetime64[ns]",
            ),
        )

    def iv(self, moneyness: Any, days: Any) -> Any:
        """Volatility at strike / forward and calendar days to expiration.

        Between two expirations the total variance is linear in time at the same moneyness;
        before the first and after the last, and beyond the strikes, NaN.

        Raises
        ------
        ConfigurationError
            Not numbers (days are counted: give no date), or shapes that do not broadcast.
        """
        money, day = parse_array("moneyness", moneyness), parse_array("days", days)
        try:
            m, d = np.broadcast_arrays(money, day)
        except ValueError:
            raise ConfigurationError(
                f"moneyness and days have the shapes {money.shape} and {day.shape}.",
                remedy="Give one of each, or arrays that broadcast: moneyness[None, :], "
                "days[:, None].",
            ) from None
        years = np.array([smile.years for smile in self.smiles])
        flat = np.array([np.atleast_1d(smile.at_moneyness(m.ravel())) for smile in self.smiles])
        flat = flat.reshape(len(self.smiles), m.size)
        variance = flat**2 * years[:, None]
        at = d.ravel() / 365.0
        result = np.full(at.shape, np.nan)
        for number, time in enumerate(at):
            known = np.isfinite(variance[:, number])
            if known.any() and time > 0.0:
                total = np.interp(
                    time, years[known], variance[known, number], left=np.nan, right=np.nan
                )
                result[number] = np.sqrt(total / time)
        found = result.reshape(m.shape)
        return float(found) if found.ndim == 0 else found

    def constant_maturity(
        self, days: float | Sequence[float] = (30, 60, 90, 180, 365, 730)
    ) -> pd.Series:
        """At-the-money volatility at fixed times to expiration.

        Parameters
        ----------
        days : float or sequence of float
            Calendar days to expiration.

        Returns
        -------
        pandas.Series
            float64, index ``days``; linear in total variance between expirations, NaN outside.
        """
        wanted = np.atleast_1d(parse_array("days", days))
        index = pd.Index(np.atleast_1d(np.asarray(days)), name="days")
        return pd.Series(self.iv(1.0, wanted), index, name="atm_iv")


def vol_surface(chain: pd.DataFrame, *, open_vol: float = _OPEN) -> Surface:
    """Build the smiles of a chain with numbers.

    Parameters
    ----------
    chain : pandas.DataFrame
        As :func:`stockdb.options.chain.enrich` gives it: one underlying, one day.
    open_vol : float
        Quotes whose spread leaves more volatility open than this are left out.

    Returns
    -------
    Surface
        Expirations with fewer than three usable strikes are left out.

    Raises
    ------
    DataError
        A column is missing, or the chain is of several days or underlyings.
    """
    missing = [name for name in _NEEDED if name not in chain.columns]
    if missing:
        raise DataError(
            f"The chain has no column {', '.join(missing)}.",
            remedy="Give a chain with numbers: get_leaps_chain or enrich_chain.",
        )
    for name in ("symbol", "quote_date"):
        if name in chain.columns and chain[name].nunique() > 1:
            raise DataError(
                f"The chain holds more than one {name}.", remedy="Give one day of one underlying."
            )
    out = (chain["strike"] >= chain["forward"]) == (chain["type"] == "call")
    near = (chain["strike"] / chain["forward"]).between(0.97, 1.03)  # there both kinds count
    usable = chain["iv"].notna() & (chain["iv_error"] <= open_vol) & (out | near)
    smiles = []
    for expiration, part in chain[usable].groupby("expiration", sort=True):
        weight = 1.0 / np.maximum(part["iv_error"].to_numpy(np.float64), 1e-4) ** 2
        frame = pd.DataFrame({
            "K": part["strike"].to_numpy(np.float64), "w": weight,
            "wv": weight * part["iv"].to_numpy(np.float64),
        }).groupby("K").sum()  # fmt: skip
        if len(frame) < _FEWEST:
            continue
        forward = float(part["forward"].iloc[0])
        smiles.append(
            Smile(
                pd.Timestamp(str(expiration)),
                float(part["years"].iloc[0]),
                forward,
                np.log(frame.index.to_numpy(np.float64) / forward),
                (frame["wv"] / frame["w"]).to_numpy(np.float64),
            )
        )
    symbol = str(chain["symbol"].iloc[0]) if "symbol" in chain.columns and len(chain) else ""
    day = chain["quote_date"].iloc[0] if "quote_date" in chain.columns and len(chain) else None
    return Surface(symbol, day, tuple(smiles))
