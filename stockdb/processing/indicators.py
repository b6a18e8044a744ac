"""The catalogue of indicators, by name.

Every one is a :class:`~stockdb.processing.spec.Column`: definition, unit, window, warm-up and
source are in ``catalogue()``, and what it computes is the same wherever it is asked for.

On intraday bars a window runs on over the night: the bar before a session's first is the last
one of the session before, so that ``returns`` there holds the overnight change. Only ``vwap``
begins anew with each session, by the local date of the exchange.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import pandas as pd

from stockdb.errors import ConfigurationError
from stockdb.processing.spec import Column, Floats, Series, ratio
from stockdb.processing.statistics import MEAN_REVERSION
from stockdb.processing.ta_momentum import MOMENTUM_TA, typical
from stockdb.processing.ta_trend import TREND
from stockdb.processing.ta_volatility import VOLATILITY_TA
from stockdb.processing.ta_volume import VOLUME_TA
from stockdb.processing.volatility import VOLATILITY
from stockdb.processing.windows import lag

__all__ = ["BASIC", "CATALOGUE", "STANDARD", "catalogue", "indicator", "indicators"]


def _vwap(series: Series) -> Floats:
    """Session's typical price for daily bars; cumulative within the session for intraday ones."""
    price = typical(series)
    if series.session is None:
        return np.where(series.volume > 0.0, price, np.nan)
    money, shares = np.zeros(len(series)), np.zeros(len(series))
    edges = np.flatnonzero(np.append(True, series.session[1:] != series.session[:-1]))
    traded = np.isfinite(price) & (series.volume > 0.0)
    flow = np.where(traded, price * series.volume, 0.0)
    volume = np.where(traded, series.volume, 0.0)
    for begin, end in zip(edges, np.append(edges[1:], len(series)), strict=True):
        money[begin:end] = np.cumsum(flow[begin:end])
        shares[begin:end] = np.cumsum(volume[begin:end])
    return ratio(money, shares)


#: What ``preprocess_data`` adds when nothing is named.
BASIC: Final = (
    Column(
        name="returns",
        definition="C[t]/C[t-1] - 1",
        unit="ratio",
        window=2,
        source="simple return",
        inputs=("close",),
        compute=lambda s: ratio(s.close, lag(s.close, 1)) - 1.0,
    ),
    Column(
        name="log_returns",
        definition="ln C[t]/C[t-1]",
        unit="ratio",
        window=2,
        source="logarithmic return",
        inputs=("close",),
        compute=lambda s: np.log(ratio(s.close, lag(s.close, 1))),
    ),
    Column(
        name="typical_price",
        definition="(H + L + C)/3",
        unit="dollars",
        window=1,
        source="typical price",
        scale_free=False,
        inputs=("high", "low", "close"),
        compute=typical,
    ),
    Column(
        name="vwap",
        definition="daily bars: the session's typical price, NaN where nothing was traded; "
        "intraday bars: sum of typical price x V / sum of V since the session began",
        unit="dollars",
        window=1,
        source="volume-weighted average price",
        scale_free=False,
        inputs=("high", "low", "close", "volume"),
        compute=_vwap,
    ),
)

CATALOGUE: Final[dict[str, Column]] = {
    column.name: column
    for column in (
        *BASIC,
        *TREND,
        *MOMENTUM_TA,
        *VOLATILITY_TA,
        *VOLATILITY,
        *VOLUME_TA,
        *MEAN_REVERSION,
    )
}

#: What ``indicators='standard'`` means: the basic columns and one or two of each kind.
STANDARD: Final = (
    *(column.name for column in BASIC),
    *("c_over_sma_20", "c_over_sma_50", "c_over_sma_200", "macd_hist_over_c", "adx_14"),
    *("rsi_14", "stoch_k_14", "roc_20", "natr_14", "pct_b", "bb_width", "sd_ret_20"),
    *("obv_diff", "cmf_20", "mfi_14", "rvol_20"),
)


def indicator(name: str) -> Column:
    """Look an indicator up.

    Raises
    ------
    ConfigurationError
        There is none of that name; says which ones are spelt alike.
    """
    try:
        return CATALOGUE[name]
    except KeyError:
        near = difflib.get_close_matches(name, CATALOGUE, 3)
        raise ConfigurationError(
            f"There is no indicator {name!r}.",
            remedy=f"Did you mean {', '.join(near)}?" if near else "list_indicators() lists them.",
            indicator=name,
        ) from None


def indicators(wanted: str | Iterable[str | Column] | None) -> tuple[Column, ...]:
    """Turn what a caller names into columns.

    Parameters
    ----------
    wanted : None, str, or iterable of str and Column
        None is the basic columns (returns, log_returns, typical_price, vwap); ``standard``
        the standard set; ``all`` the whole catalogue; else a name, or names and columns of
        your own.

    Raises
    ------
    ConfigurationError
        An unknown name, or what is neither a name nor a column.
    """
    if wanted is None:
        return BASIC
    if isinstance(wanted, str):
        sets: dict[str, Sequence[str]] = {"standard": STANDARD, "all": tuple(CATALOGUE)}
        return tuple(indicator(name) for name in sets.get(wanted, (wanted,)))
    items = tuple(wanted) if isinstance(wanted, Iterable) else (wanted,)
    for item in items:
        if not isinstance(item, str | Column):
            raise ConfigurationError(
                f"{item!r} ({type(item).__name__}) is no indicator.",
                remedy="Give names of list_indicators(), or columns of your own.",
            )
    chosen = (item if isinstance(item, Column) else indicator(item) for item in items)
    return tuple({column.name: column for column in chosen}.values())


def catalogue() -> pd.DataFrame:
    """List all indicators.

    Returns
    -------
    pandas.DataFrame
        Index ``name``; columns definition, unit, window, warmup (bars), source, role,
        scale_free (bool), cross_sectional (bool), reach, inputs.
    """
    return pd.DataFrame([column.describe() for column in CATALOGUE.values()]).set_index("name")
