"""European options: closed form, Greeks and implied volatility.

Black and Scholes (1973), Merton (1973). Implied volatility is solved after Jaeckel (2015), "Let's
be rational": the out-of-the-money option, normalised by the discounted geometric mean of forward
and strike, and an objective that is nearly linear in each of two regions; here with Halley steps
inside a bracket instead of his four rational guesses.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import erf, erfcx, ndtr

__all__ = ["Sensitivities", "black", "normalised_vol", "sensitivities", "total_vol"]

Floats = npt.NDArray[np.float64]

_SQRT2: Final = float(np.sqrt(2.0))
_SQRT_2PI: Final = float(np.sqrt(2.0 * np.pi))
_STEPS: Final = 60  # three or four are usual; bisection alone needs about fifty


class Sensitivities(NamedTuple):
    """Value of options and its derivatives: per 1.00 of volatility and rate, theta per year."""

    value: Floats
    delta: Floats
    gamma: Floats
    theta: Floats
    vega: Floats
    rho: Floats
    dividend_rho: Floats


def black(
    S: Floats, K: Floats, T: Floats, r: Floats, q: Floats, sigma: Floats, sign: Floats
) -> Floats:
    """Price; ``sign`` is 1 for calls and -1 for puts; a vanishing sigma gives its limit."""
    spot, strike = S * np.exp(-q * T), K * np.exp(-r * T)
    width = sigma * np.sqrt(T)
    live = width > 0.0
    safe = np.where(live, width, 1.0)
    d1 = (np.log(S / K) + (r - q) * T) / safe + safe / 2.0
    value = sign * (spot * ndtr(sign * d1) - strike * ndtr(sign * (d1 - safe)))
    result: Floats = np.where(live, np.maximum(value, 0.0), np.maximum(sign * (spot - strike), 0.0))
    return result


def sensitivities(
    S: Floats, K: Floats, T: Floats, r: Floats, q: Floats, sigma: Floats, sign: Floats
) -> Sensitivities:
    """Price and Greeks; sigma and T above 0."""
    root = np.sqrt(T)
    width = sigma * root
    grown, paid = np.exp(-q * T), np.exp(-r * T)
    d1 = (np.log(S / K) + (r - q) * T) / width + width / 2.0
    d2 = d1 - width
    first, second = ndtr(sign * d1), ndtr(sign * d2)
    density = np.exp(-0.5 * d1 * d1) / _SQRT_2PI
    spot, strike = S * grown, K * paid
    vega = spot * density * root
    return Sensitivities(
        np.maximum(sign * (spot * first - strike * second), 0.0),
        sign * grown * first,
        grown * density / (S * width),
        -vega * sigma / (2.0 * T) + sign * (q * spot * first - r * strike * second),
        vega,
        sign * T * strike * second,
        -sign * T * spot * first,
    )


def _normalised(x: Floats, s: Floats) -> Floats:
    """Out-of-the-money Black price over sqrt(F K), x = -abs(ln(F / K)), without cancellation."""
    h, t = x / s, s / 2.0
    close = np.exp(-0.5 * (h * h + t * t)) * 0.5
    # d+ > 0 would overflow erfcx; there the plain difference is accurate.
    plus = h + t
    plain = plus > 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = close * (erfcx(-plus / _SQRT2) - erfcx((t - h) / _SQRT2))
    direct = np.exp(x / 2.0) * ndtr(plus) - np.exp(-x / 2.0) * ndtr(h - t)
    result: Floats = np.where(x == 0.0, erf(t / _SQRT2), np.where(plain, direct, scaled))
    return result


def total_vol(x: Floats, beta: Floats) -> Floats:
    """Invert the normalised Black price.

    Parameters
    ----------
    x : numpy.ndarray
        -abs(ln(F / K)), 1-D.
    beta : numpy.ndarray
        Out-of-the-money price over discounted sqrt(F K); strictly between 0 and exp(x / 2).

    Returns
    -------
    numpy.ndarray
        sigma * sqrt(T), to a few units of the last digit that the price determines.
    """
    top = np.exp(x / 2.0)
    middle = np.sqrt(-2.0 * x)  # the price turns from convex to concave there
    turn = np.where(middle > 0.0, _normalised(x, np.maximum(middle, 1e-300)), 0.0)
    lower = beta < turn
    log_beta = np.log(beta)
    with np.errstate(divide="ignore", invalid="ignore"):
        from_below = -x / np.sqrt(np.maximum(-2.0 * (log_beta - x / 2.0), 1e-12))
        rest = np.log(np.maximum(top - beta, 1e-300))
    s = np.where(lower, np.minimum(from_below, 0.99 * middle), middle + _SQRT_2PI * (beta - turn))
    low = np.where(lower, 0.0, middle)
    high = np.where(lower, middle, np.maximum(60.0, 2.0 * middle))
    s = np.where((s > low) & (s < high), s, 0.5 * (low + high))
    todo = np.arange(len(x))
    for _ in range(_STEPS):
        if not len(todo):
            break
        xi, si, lows = x[todo], s[todo], lower[todo]
        value = _normalised(xi, si)
        h, t = xi / si, si / 2.0
        slope = np.exp(-0.5 * (h * h + t * t)) / _SQRT_2PI
        bend = h * h / si - si / 4.0  # second over first derivative
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            log_value = np.log(value)
            # below: 1 / ln b, in the limit proportional to s^2; above: ln(b_max - b)
            miss = np.where(
                lows,
                1.0 / log_beta[todo] - 1.0 / log_value,
                np.log(np.maximum(top[todo] - value, 1e-300)) - rest[todo],
            )
            rate = np.where(lows, slope / value, -slope / (top[todo] - value))
            first = np.where(lows, rate / log_value**2, rate)
            turning = np.where(
                lows,
                bend - slope / value * (1.0 + 2.0 / log_value),
                bend + slope / (top[todo] - value),
            )
            newton = -miss / first
            step = newton / np.maximum(1.0 + 0.5 * newton * turning, 0.5)
        above = value > beta[todo]
        high[todo] = np.where(above, si, high[todo])
        low[todo] = np.where(above, low[todo], si)
        fresh = si + step
        inside = np.isfinite(fresh) & (fresh > low[todo]) & (fresh < high[todo])
        small = np.abs(step) <= 2e-16 * si
        fresh = np.where(inside | small, fresh, 0.5 * (low[todo] + high[todo]))
        done = small | (np.abs(fresh - si) <= 2e-16 * si) | (high[todo] - low[todo] <= 2e-16 * si)
        s[todo] = np.where(np.isfinite(fresh), fresh, si)
        todo = todo[~done]
    return s


def normalised_vol(
    S: Floats, K: Floats, T: Floats, r: Floats, q: Floats, value: Floats, sign: Floats
) -> Floats:
    """Implied volatility of European prices; NaN where none exists. 1-D arrays."""
    spot, strike = S * np.exp(-q * T), K * np.exp(-r * T)
    inner = np.maximum(sign * (spot - strike), 0.0)
    mean = np.sqrt(spot) * np.sqrt(strike)
    x = -np.abs(np.log(S / K) + (r - q) * T)
    beta = (value - inner) / mean
    noise = np.where(inner > 0.0, 4e-16 * np.maximum(inner, value) / mean, 0.0)
    good = (beta > noise) & (beta < np.exp(x / 2.0) * (1.0 - 1e-15)) & (T > 0.0)
    result = np.full(S.shape, np.nan)
    result[good] = total_vol(x[good], beta[good]) / np.sqrt(T[good])
    return result
