"""Momentum oscillators by TA-Lib; of a price that does not move they are undefined, not 0."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from stockdb.processing import ta
from stockdb.processing.runs import run_length
from stockdb.processing.spec import Column, Floats, Series
from stockdb.processing.ta_trend import wilder_warmup

__all__ = ["MOMENTUM_TA", "typical", "where_typical_moved"]

_SMA: Final[Any] = 0  # TA-Lib's number of the simple average
_HLC: Final = ("high", "low", "close")


def typical(series: Series) -> Floats:
    """(H + L + C)/3, computed once."""
    return series.once("typical", lambda: (series.high + series.low + series.close) / 3.0)


def where_typical_moved(values: Floats, series: Series, changes: int) -> Floats:
    """Make NaN of rows at which the last changes of the typical price were all zero."""

    def count() -> npt.NDArray[np.int64]:
        price = typical(series)
        return run_length(np.append(False, price[1:] == price[:-1])[: len(price)])

    stood = series.once("typical stood", count)
    longest = series.once("longest typical", lambda: int(stood.max(initial=0)))
    return values if longest < changes else np.where(stood >= changes, np.nan, values)


def _rsi(bars: int) -> Column:
    def compute(series: Series) -> Floats:
        values = series.apply(lambda c: ta.RSI(c, bars), "close")
        return series.unless(values, "unchanged", bars)

    return Column(
        name=f"rsi_{bars}",
        definition=f"100 x average gain / (average gain + average loss) of C, Wilder's averages "
        f"of {bars} bars; NaN where C stood for {bars} changes",
        unit="0..100",
        window=bars + 1,
        warmup=wilder_warmup(bars),
        source="Wilder (1978); TA-Lib",
        inputs=("close",),
        compute=compute,
    )


def _cmo(series: Series) -> Floats:
    values = series.apply(lambda c: ta.CMO(c, 14), "close")
    return series.unless(values, "unchanged", 14)


def _stochastic(series: Series) -> tuple[Floats, Floats]:
    def make() -> tuple[Floats, Floats]:
        k, d = series.apply(
            lambda h, lo, c: ta.STOCH(h, lo, c, 14, 3, _SMA, 3, _SMA), *_HLC, outputs=2
        )
        if series.longest("still") < 14:
            return k, d
        # One flat window of 14 is in the averages of 3, and of 3 again.
        flat = series.still >= 14
        return _without(k, flat, 3), _without(d, flat, 5)

    return series.once("stoch", make)


def _without(values: Floats, flat: Any, bars: int) -> Floats:
    """Make NaN of rows that average over an undefined one."""
    spoilt = flat.copy()
    for back in range(1, bars):
        spoilt[back:] |= flat[:-back]
    return np.where(spoilt, np.nan, values)


def _where_moved(values: Floats, series: Series, bars: int) -> Floats:
    return series.unless(values, "still", bars)


def _column(
    name: str, definition: str, unit: str, window: int, source: str, compute: Any, **more: Any
) -> Column:
    return Column(
        name=name,
        definition=definition,
        unit=unit,
        window=window,
        source=f"{source}; TA-Lib",
        compute=compute,
        **{"inputs": _HLC, **more},
    )


MOMENTUM_TA: Final = (
    _rsi(14),
    _rsi(2),
    _column(
        "cmo_14",
        "100 x (gains - losses) / (gains + losses) of C, Wilder's averages of 14 bars; NaN where "
        "C stood for 14 changes",
        "-100..100", 15, "Chande (1994)", _cmo,
        inputs=("close",), warmup=wilder_warmup(14),
    ),
    *(
        _column(
            f"roc_{bars}", f"100 x (C / C[t-{bars}] - 1)", "percent", bars + 1, "rate of change",
            (lambda n: lambda s: s.apply(lambda c: ta.ROC(c, n), "close"))(bars),
            inputs=("close",),
        )
        for bars in (10, 20)
    ),
    _column(
        "stoch_k_14",
        "mean over 3 bars of 100 x (C - lowest L) / (highest H - lowest L) of 14 bars; NaN where "
        "one price stood for 14 bars in any of them",
        "0..100", 18, "Lane (1984)", lambda s: _stochastic(s)[0],
    ),
    _column(
        "stoch_d_14", "mean over 3 bars of stoch_k_14", "0..100", 18, "Lane (1984)",
        lambda s: _stochastic(s)[1],
    ),
    _column(
        "willr_14",
        "-100 x (highest H - C) / (highest H - lowest L) of 14 bars; NaN where one price stood",
        "-100..0", 14, "Williams (1973)",
        lambda s: _where_moved(
            s.apply(lambda h, lo, c: ta.WILLR(h, lo, c, 14), *_HLC), s, 14
        ),
    ),
    _column(
        "cci_20",
        "(TP - mean of TP) / (.015 x mean absolute deviation of TP) over 20 bars, TP = (H+L+C)/3; "
        "NaN where TP stood",
        "index", 20, "Lambert (1980)",
        lambda s: where_typical_moved(
            s.apply(lambda h, lo, c: ta.CCI(h, lo, c, 20), *_HLC), s, 19
        ),
    ),
    _column(
        "ultosc",
        "ultimate oscillator of 7, 14 and 28 bars; NaN where one price stood for 8 bars",
        "0..100", 29, "Williams (1985)",
        lambda s: _where_moved(
            s.apply(lambda h, lo, c: ta.ULTOSC(h, lo, c, 7, 14, 28), *_HLC), s, 8
        ),
    ),
    _column(
        "bop", "(C - O) / (H - L); NaN where H = L", "-1..1", 1, "Livshin (2001)",
        lambda s: np.where(
            s.high == s.low,
            np.nan,
            s.apply(lambda o, h, lo, c: ta.BOP(o, h, lo, c), "open", *_HLC),
        ),
        inputs=("open", *_HLC),
    ),
)  # fmt: skip
