"""Early-exercise premium of American puts on a unit strike, and its derivatives.

Kim (1990), "The analytic valuation of American options", Review of Financial Studies 3(4): the
integral over time of what exercise earns, r K - q S, where the stock lies below the boundary B.
As B e^(-r v) n(d-) = S e^(-q v) n(d+), one density serves every derivative; the boundary's own
derivatives come in by the chain rule.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from stockdb.options.american import Scheme, quadrature

__all__ = ["Front", "Premium", "premium"]

Floats = npt.NDArray[np.float64]

_SQRT_2PI: Final = float(np.sqrt(2.0 * np.pi))
_CHUNK: Final = 30_000  # numbers at a time: a few arrays of them stay in the processor's cache


class Front(NamedTuple):
    """Boundaries of n options at the m points of the quadrature, and now: (n, m + 1) each."""

    log: Floats
    by_sigma: Floats | None = None
    by_r: Floats | None = None
    by_q: Floats | None = None


class Premium(NamedTuple):
    """Value in units of the strike and derivatives, (n,); x is ln(S / K).

    Valid where x lies above the boundary now. A derivative is None where the front brought no
    derivative of the boundary; ``x`` and ``xx`` come with ``sigma``.
    """

    value: Floats
    x: Floats | None = None
    xx: Floats | None = None
    sigma: Floats | None = None
    r: Floats | None = None
    q: Floats | None = None


def premium(
    x: Floats, r: Floats, q: Floats, sigma: Floats, T: Floats, front: Front, scheme: Scheme
) -> Premium:
    """Integrate the premium of n options.

    Parameters
    ----------
    x, r, q, sigma, T : numpy.ndarray
        Shape (n,).
    front : Front
        What it brings of derivatives decides what is computed.
    scheme : Scheme
        The one that the front was computed with.
    """
    size = max(1, _CHUNK // scheme.outer)
    parts = [
        _integrate(
            x[rows],
            r[rows],
            q[rows],
            sigma[rows],
            T[rows],
            Front(*(None if part is None else part[rows] for part in front)),  # type: ignore[arg-type]
            scheme,
        )
        for rows in (slice(i, i + size) for i in range(0, max(1, len(x)), size))
    ]
    if len(parts) == 1:
        return parts[0]
    return Premium(
        *(None if column[0] is None else np.concatenate(column) for column in zip(*parts))  # type: ignore[arg-type]  # noqa: B905
    )


def _integrate(
    x: Floats, r: Floats, q: Floats, sigma: Floats, T: Floats, front: Front, scheme: Scheme
) -> Premium:
    s, weight = quadrature(scheme)
    width = sigma * np.sqrt(T)
    log_b = front.log[:, :-1]
    scale = np.divide.outer(1.0 / width, s)  # -d(d-) / d ln B
    d_low = (x[:, None] - log_b) * scale
    d_low += np.multiply.outer((r - q) * T / width - width / 2.0, s)
    d_high = d_low + np.multiply.outer(width, s)
    time = np.multiply.outer(T, s * s)
    paid, grown = np.exp(-r[:, None] * time) * weight, np.exp(-q[:, None] * time) * weight
    low, high = paid * ndtr(-d_low), grown * ndtr(-d_high)
    spot, rT, qT = np.exp(x), r * T, q * T
    gain, loss = rT * low.sum(axis=1), spot * qT * high.sum(axis=1)
    if front.by_sigma is None:
        return Premium(gain - loss)
    density = paid * np.exp(-0.5 * d_low * d_low) / _SQRT_2PI
    earned, owed = rT[:, None] * density, qT[:, None] * density * np.exp(log_b)
    net = earned - owed
    moved = net * scale  # by ln B; by x the same with the other sign
    by_x = -moved.sum(axis=1) - loss
    by_xx = _dot(earned * d_low - owed * d_high, scale * scale) + 2.0 * _dot(owed, scale) - loss
    by_sigma = (earned * d_high - owed * d_low).sum(axis=1) / sigma
    by_sigma += _dot(moved, front.by_sigma[:, :-1])
    if front.by_r is None or front.by_q is None:
        return Premium(gain - loss, by_x, by_xx, by_sigma)
    drift = (net @ s) * np.sqrt(T) / sigma
    by_r = T * low.sum(axis=1) - rT * _dot(low, time) - drift + _dot(moved, front.by_r[:, :-1])
    by_q = spot * (qT * _dot(high, time) - T * high.sum(axis=1)) + drift
    by_q += _dot(moved, front.by_q[:, :-1])
    return Premium(gain - loss, by_x, by_xx, by_sigma, by_r, by_q)


def _dot(a: Floats, b: Floats) -> Floats:
    result: Floats = np.einsum("nk,nk->n", a, b)
    return result
