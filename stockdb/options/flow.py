"""One day's chain in single numbers: maximum pain, gamma exposure, skews of the smile.

Pure functions of arrays with one entry a contract; what is missing is NaN and left out. Implied
volatilities, deltas and gammas come from the caller.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["gamma_exposure", "max_pain", "parity_spread", "skew_at", "smirk"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_SHARES: Final = 100.0  # of one contract


def max_pain(strike: Floats, is_call: Flags, open_interest: Floats) -> float:
    """Find the strike at which the options of one expiration pay their holders least.

    Parameters
    ----------
    strike, open_interest : ndarray of float64, shape (contracts,)
    is_call : ndarray of bool, shape (contracts,)

    Returns
    -------
    float
        One of the strikes, the lowest of several; NaN without open interest.

    Examples
    --------
    >>> strikes = np.array([90.0, 100.0, 110.0] * 2)
    >>> calls = np.array([True] * 3 + [False] * 3)
    >>> max_pain(strikes, calls, np.array([1.0, 5.0, 9.0, 9.0, 5.0, 1.0]))
    100.0
    """
    held = np.isfinite(open_interest) & (open_interest > 0.0)
    if not held.any():
        return float("nan")
    candidates = np.unique(strike)
    over = candidates[:, None] - strike[held]
    intrinsic = np.maximum(np.where(is_call[held], over, -over), 0.0)
    paid = (intrinsic * open_interest[held]).sum(axis=1)
    return float(candidates[np.argmin(paid)])


def gamma_exposure(gamma: Floats, open_interest: Floats, is_call: Flags, spot: float) -> float:
    """Dollars that dealers have to trade for a move of 1 %, were they long calls, short puts.

    Returns
    -------
    float
        Sum of gamma x open interest x 100 x S^2 x .01, calls +, puts -; NaN where no contract
        has both.
    """
    known = np.isfinite(gamma) & np.isfinite(open_interest)
    if not known.any():
        return float("nan")
    sign = np.where(is_call[known], 1.0, -1.0)
    shares = sign * gamma[known] * open_interest[known] * _SHARES
    return float(shares.sum() * spot * spot * 0.01)


def skew_at(
    years: Floats, delta: Floats, iv: Floats, is_call: Flags, *, target: float = 30.0 / 365.0
) -> float:
    """Volatility of the put of delta -.25 less that of the call of delta .25, at one maturity.

    Parameters
    ----------
    years : ndarray of float64, shape (contracts,)
        To expiration.
    delta, iv : ndarray of float64, shape (contracts,)
    is_call : ndarray of bool, shape (contracts,)
    target : float
        Maturity in years.

    Returns
    -------
    float
        Linear in delta within an expiration; between the two expirations around the target the
        total variance is linear in time. NaN where one side is not quoted around its delta, or
        no expirations are around the target: nothing is extrapolated.
    """
    known = np.isfinite(delta) & np.isfinite(iv) & (years > 0.0)
    points = []
    for expiry in np.unique(years[known]):
        here = known & (years == expiry)
        put = _at_delta(delta[here & ~is_call], iv[here & ~is_call], -0.25)
        call = _at_delta(delta[here & is_call], iv[here & is_call], 0.25)
        if np.isfinite(put) and np.isfinite(call):
            points.append((float(expiry), put, call))
    before = [point for point in points if point[0] <= target]
    after = [point for point in points if point[0] >= target]
    if not before or not after:
        return float("nan")
    near, far = before[-1], after[0]
    put, call = (_at_time(near, far, side, target) for side in (1, 2))
    return put - call


def _at_delta(delta: Floats, iv: Floats, wanted: float) -> float:
    order = np.argsort(delta)
    held = delta[order]
    if not len(held) or wanted < held[0] or wanted > held[-1]:
        return float("nan")
    return float(np.interp(wanted, held, iv[order]))


def _at_time(near: Any, far: Any, side: int, target: float) -> float:
    if near[0] == far[0]:
        return float(near[side])
    share = (target - near[0]) / (far[0] - near[0])
    variance = (1.0 - share) * near[side] ** 2 * near[0] + share * far[side] ** 2 * far[0]
    return float(np.sqrt(variance / target))


def smirk(years: Floats, strike: Floats, iv: Floats, is_call: Flags, spot: float) -> float:
    """Volatility of the put out of the money less that of the call at the money.

    Returns
    -------
    float
        Mean over the expirations of 10 to 60 days of iv of the put with K/S nearest .95, from
        .80 to .95, less that of the call with K/S nearest 1, from .95 to 1.05; NaN where no
        expiration has both.

    Notes
    -----
    Xing, Zhang and Zhao (2010), "What does the individual option volatility smirk tell us about
    future equity returns?", Journal of Financial and Quantitative Analysis 45.
    """
    days = np.rint(years * 365.0)
    ratio = strike / spot
    known = np.isfinite(iv) & (days >= 10.0) & (days <= 60.0)
    found = []
    for expiry in np.unique(days[known]):
        here = known & (days == expiry)
        put = _nearest(ratio, iv, here & ~is_call & (ratio >= 0.80) & (ratio <= 0.95), 0.95)
        call = _nearest(ratio, iv, here & is_call & (ratio >= 0.95) & (ratio <= 1.05), 1.0)
        if np.isfinite(put) and np.isfinite(call):
            found.append(put - call)
    return float(np.mean(found)) if found else float("nan")


def _nearest(ratio: Floats, iv: Floats, among: Flags, wanted: float) -> float:
    places = np.flatnonzero(among)
    if not len(places):
        return float("nan")
    return float(iv[places[np.argmin(np.abs(ratio[places] - wanted))]])


def parity_spread(
    years: Floats, strike: Floats, iv: Floats, is_call: Flags, open_interest: Floats
) -> float:
    """Volatility of calls less that of the puts of the same strike and expiration.

    Returns
    -------
    float
        Mean weighted by the open interest of both; NaN where no pair has any.

    Notes
    -----
    Cremers and Weinbaum (2010), "Deviations from put-call parity and stock return
    predictability", Journal of Financial and Quantitative Analysis 45.
    """
    known = np.isfinite(iv) & np.isfinite(open_interest)
    calls = {(years[i], strike[i]): i for i in np.flatnonzero(known & is_call)}  # one contract each
    total = weight = 0.0
    for put in np.flatnonzero(known & ~is_call):
        call = calls.get((years[put], strike[put]))
        if call is not None:
            share = float(open_interest[put] + open_interest[call])
            total += share * float(iv[call] - iv[put])
            weight += share
    return total / weight if weight > 0.0 else float("nan")
