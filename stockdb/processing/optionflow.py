"""Option flow: columns of an underlying's days, each day summed up out of its chain.

The inputs beside the bars are numbers of one day's chain; what they mean stands in `INPUTS`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from stockdb.processing.spec import Column, Floats, Series, ratio
from stockdb.processing.windows import lag, rolling_mean, rolling_sd

__all__ = ["INPUTS", "OPTION_FLOW"]

#: What a day's chain is summed up to. Volumes and open interest in contracts; NaN where the
#: dataset has none, which 0 is not.
INPUTS: Final = {
    "call_volume": "volume of calls",
    "put_volume": "volume of puts",
    "call_oi": "open interest of calls, known at the open",
    "put_oi": "open interest of puts, known at the open",
    "call_dollars": "volume x mid x 100 of calls",
    "put_dollars": "volume x mid x 100 of puts",
    "signed_premium": "premium bought less premium sold; no dataset says which side traded",
    "day_skew_25d": "see skew_25d",
    "day_smirk": "see smirk",
    "day_cw_spread": "see cw_spread",
    "day_gex": "see gex",
    "day_max_pain": "see max_pain",
}


def _volume(series: Series) -> Floats:
    return series.input("call_volume") + series.input("put_volume")


def _vol_oi(series: Series) -> Floats:
    return ratio(_volume(series), series.input("call_oi") + series.input("put_oi"))


def _unusual(series: Series) -> Floats:
    volume, over = _volume(series), _vol_oi(series)
    limit = lag(rolling_mean(volume, 20) + 3.0 * rolling_sd(volume, 20), 1)
    flags = ((over > 1.0) & (volume > limit)).astype(np.float64)
    return np.where(np.isnan(over) | np.isnan(limit), np.nan, flags)


def _put_call(name: str, what: str, put: str, call: str) -> Column:
    return Column(
        name=name,
        definition=f"{what} of puts / {what} of calls; NaN without calls",
        unit="ratio",
        window=1,
        source="put-call ratio; Pan and Poteshman (2006)",
        inputs=(put, call),
        compute=lambda s: ratio(s.input(put), s.input(call)),
    )


def _of_day(name: str, definition: str, unit: str, source: str, **more: Any) -> Column:
    held = f"day_{name}"
    return Column(
        name=name,
        definition=definition,
        unit=unit,
        window=1,
        source=source,
        inputs=(held,),
        compute=lambda s: s.input(held).copy(),
        **more,
    )


OPTION_FLOW: Final = (
    _put_call("pcr_vol", "volume", "put_volume", "call_volume"),
    _put_call("pcr_oi", "open interest known at the open", "put_oi", "call_oi"),
    _put_call("pcr_dollar", "volume x mid", "put_dollars", "call_dollars"),
    Column(
        name="vol_oi",
        definition="volume of all options / open interest known at the open of t",
        unit="ratio",
        window=1,
        source="volume to open interest",
        inputs=("call_volume", "put_volume", "call_oi", "put_oi"),
        compute=_vol_oi,
    ),
    Column(
        name="unusual",
        definition="1 where vol_oi > 1 and the volume > mean + 3 sd (ddof 0) of the 20 days "
        "before t, else 0",
        unit="flag",
        window=21,
        source="unusual option activity",
        inputs=("call_volume", "put_volume", "call_oi", "put_oi"),
        compute=_unusual,
    ),
    Column(
        name="os_ratio",
        definition="100 x contracts traded / shares traded, both as on that day",
        unit="ratio",
        window=1,
        source="Roll, Schwartz and Subrahmanyam (2010)",
        scale_free=False,
        inputs=("call_volume", "put_volume", "volume"),
        compute=lambda s: 100.0 * ratio(_volume(s), s.volume),
    ),
    Column(
        name="net_premium",
        definition="premium paid by buyers less premium taken by sellers; NaN where the side of "
        "trades is unknown",
        unit="dollars",
        window=1,
        source="signed option volume; Pan and Poteshman (2006)",
        scale_free=False,
        inputs=("signed_premium",),
        compute=lambda s: s.input("signed_premium").copy(),
    ),
    _of_day(
        "skew_25d",
        "implied volatility of the put with delta -.25 less that of the call with delta .25, "
        "linear in delta, both at 30 days, variance linear in time",
        "a year", "risk reversal",
    ),
    _of_day(
        "smirk",
        "mean over expirations of 10 to 60 days of the implied volatility of the put with K/S "
        "nearest .95 (.80 to .95) less that of the call with K/S nearest 1 (.95 to 1.05)",
        "a year", "Xing, Zhang and Zhao (2010)",
    ),
    _of_day(
        "cw_spread",
        "implied volatility of the call less that of the put of the same K and expiration, mean "
        "weighted by open interest",
        "a year", "Cremers and Weinbaum (2010)",
    ),
    _of_day(
        "gex",
        "sum of gamma x open interest x 100 x S^2 x .01, calls +, puts -; assumes that dealers "
        "are long the calls and short the puts",
        "dollars for 1 % of the stock", "dealer gamma exposure",
        scale_free=False,
    ),
    _of_day(
        "max_pain",
        "strike at which the options of the nearest expiration pay their holders least; the "
        "lowest of several",
        "dollars", "maximum pain",
        scale_free=False,
    ),
)  # fmt: skip
