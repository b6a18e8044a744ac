"""American puts on a unit strike: the exercise boundary.

Andersen, Lake and Offengenden (2015), "High-performance American option pricing", Journal of
Computational Finance 20(1): the boundary B(tau) is the fixed point of their system FP-B at
Chebyshev nodes in sqrt(tau). Plain iterations are used: Newton's are as costly and were seen to
run away where r and q are nearly the same.

Everything here is in units of the strike, and in units of sigma * sqrt(T) where logarithms are
concerned: then the nodes, the quadrature and the interpolation between them are the same for
every option and are computed once. A call is a put with S and K, r and q exchanged (McDonald and
Schroder, 1998).

Rows are independent of each other: arrays go along the first axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

__all__ = ["ACCURATE", "FAST", "HARD", "Scheme", "boundary", "hard", "quadrature"]

Floats = npt.NDArray[np.float64]

_TINY: Final = 1e-300
_CHUNK: Final = 30_000  # numbers at a time: a few arrays of them stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Scheme:
    """How finely to compute.

    Attributes
    ----------
    intervals : int
        Chebyshev intervals of the boundary in sqrt(tau).
    inner : int
        Gauss-Legendre points of the boundary's integrals.
    steps : int
        Steps of the fixed point.
    outer : int
        Gauss-Legendre points of the premium.
    """

    intervals: int
    inner: int
    steps: int
    outer: int


FAST: Final = Scheme(8, 14, 6, 28)
HARD: Final = Scheme(12, 20, 16, FAST.outer)  # in its place where the boundary is hard
ACCURATE: Final = Scheme(24, 40, 16, 128)
_WIDE: Final = 0.7  # of sigma sqrt(T)
_STEEP: Final = 0.5  # of the forward's drift over sigma sqrt(T)


class _Nodes(NamedTuple):
    """What depends on the scheme alone; nodes i, inner points k, outer points m."""

    xi: Floats  # (i,) sqrt(tau / T) of the nodes, ascending, without the first, 0
    omega: Floats  # (i, k) sqrt(v / T), v the time from the node back to the point
    elapsed: Floats  # (i, k) u / T, u the time to expiration at the point
    weight: Floats  # (i, k) of the integral over u / T
    between: Floats  # (j, i * k) nodes to inner points
    outer_omega: Floats  # (m,)
    outer_weight: Floats  # (m,)
    outer_between: Floats  # (i, m)


@lru_cache(maxsize=8)
def _nodes(scheme: Scheme) -> _Nodes:
    count = scheme.intervals
    angles = np.pi * np.arange(count + 1) / count
    xi = (1.0 - np.cos(angles)) / 2.0  # 0 .. 1
    bary = np.where(np.arange(count + 1) % 2, -1.0, 1.0)
    bary[[0, -1]] /= 2.0

    def interpolation(at: Floats) -> Floats:
        """Barycentric; the node at 0 is dropped as the interpolated function is 0 there."""
        gap = at[:, None] - xi[None, :]
        hit = np.abs(gap) < 1e-14
        terms = bary / np.where(hit, 1.0, gap)
        matrix = terms / terms.sum(axis=1, keepdims=True)
        rows = hit.any(axis=1)
        matrix[rows] = hit[rows]
        result: Floats = np.ascontiguousarray(matrix[:, 1:].T)
        return result

    def unit_gauss(points: int) -> tuple[Floats, Floats]:
        y, w = np.polynomial.legendre.leggauss(points)
        return (1.0 + y) / 2.0, w / 2.0

    s, w = unit_gauss(scheme.inner)  # v = tau s^2, dv = 2 tau s ds: smooth at v = 0
    own = xi[1:, None]
    at = own * np.sqrt(1.0 - s * s)
    outer_s, outer_w = unit_gauss(scheme.outer)
    return _Nodes(
        xi[1:],
        own * s,
        at**2,
        2.0 * w * s * own**2,
        interpolation(at.ravel()),
        outer_s,
        2.0 * outer_w * outer_s,
        interpolation(np.sqrt(1.0 - outer_s**2)),
    )


class Quadrature(NamedTuple):
    """Gauss-Legendre points of the premium, in the time from now: v = T omega^2."""

    omega: Floats  # (m,)
    weight: Floats  # (m,) of the integral over v / T


def quadrature(scheme: Scheme) -> Quadrature:
    """Points at which the premium needs the boundary."""
    nodes = _nodes(scheme)
    return Quadrature(nodes.outer_omega, nodes.outer_weight)


def hard(r: Floats, q: Floats, sigma: Floats, T: Floats) -> npt.NDArray[np.bool_]:
    """Tell the boundaries with which FAST would miss a volatility by more than 1e-4.

    Where the spread of the stock is wide, or its drift large beside it, each step of the fixed
    point comes nearer by less.
    """
    width = sigma * np.sqrt(T)
    result: npt.NDArray[np.bool_] = (width > _WIDE) | (np.abs(r - q) * T > _STEEP * width)
    return result


def boundary(r: Floats, q: Floats, sigma: Floats, T: Floats, scheme: Scheme) -> Floats:
    """Solve the exercise boundaries.

    Parameters
    ----------
    r, q, sigma, T : numpy.ndarray
        Shape (n,). sigma, T > 0; r > 0, or r = 0 with q < 0: one boundary, below the strike.
    scheme : Scheme

    Returns
    -------
    numpy.ndarray
        Shape (n, m + 1): ln B at the time of each point of :func:`quadrature`, and ln B now, at
        or below which ln(S / K) is exercised at once.
    """
    nodes = _nodes(scheme)
    size = max(1, _CHUNK // (scheme.intervals * scheme.inner))
    log_top = np.zeros_like(r)
    capped = q > r
    log_top[capped] = np.log(np.maximum(r[capped] / q[capped], _TINY))
    result = np.empty((len(r), scheme.outer + 1))
    for i in range(0, len(r), size):
        rows = slice(i, i + size)
        shape = _solve(r[rows], q[rows], sigma[rows], T[rows], log_top[rows], scheme)
        result[rows, :-1] = np.maximum(shape @ nodes.outer_between, 0.0)
        result[rows, -1] = shape[:, -1]
    np.sqrt(result, out=result)
    return np.subtract(log_top[:, None], result, out=result)


def _guess(r: Floats, q: Floats, sigma: Floats, T: Floats, log_top: Floats, xi: Floats) -> Floats:
    """Approximate ln B at the nodes: Bjerksund and Stensland (1993), by put-call symmetry."""
    drift = (r - q) / sigma**2 - 0.5
    beyond = drift + np.sqrt(drift**2 + 2.0 * r / sigma**2)  # beta - 1
    beyond = np.maximum(beyond, 1e-8)
    far = (1.0 + beyond) / beyond  # the perpetual call's boundary
    near = np.exp(-log_top)
    gap = np.maximum(far - near, 1e-12)
    root = np.sqrt(T)[:, None] * xi
    h = -((q - r)[:, None] * root**2 + 2.0 * sigma[:, None] * root) * (near / gap)[:, None]
    level = near[:, None] - gap[:, None] * np.expm1(np.minimum(h, 0.0))
    result: Floats = -np.log(level)
    return result


def _solve(
    r: Floats,
    q: Floats,
    sigma: Floats,
    T: Floats,
    log_top: Floats,
    scheme: Scheme,
) -> Floats:
    """(ln B / B(0+))^2 at the nodes, ascending in time, (n, intervals)."""
    nodes = _nodes(scheme)
    n, count, inner = len(r), scheme.intervals, scheme.inner
    width = (sigma * np.sqrt(T))[:, None]
    log_b = np.minimum(_guess(r, q, sigma, T, log_top, nodes.xi), log_top[:, None] - 1e-10)
    carry = ((r - q) * np.sqrt(T) / sigma)[:, None]
    low = carry - width / 2.0
    low3, width3 = low[:, :, None], width[:, :, None]
    rT, qT = (r * T)[:, None, None], (q * T)[:, None, None]
    weight_n = rT * np.exp(rT * nodes.elapsed) * nodes.weight
    weight_d = qT * np.exp(qT * nodes.elapsed) * nodes.weight
    log_forward = -((r - q) * T)[:, None] * nodes.xi**2
    drift_low, spread = low3 * nodes.omega, width3 * nodes.omega
    scale = 1.0 / spread
    own_scale = 1.0 / (width * nodes.xi)
    for _ in range(scheme.steps):
        below = log_top[:, None] - log_b
        between = np.maximum(np.square(below) @ nodes.between, 0.0).reshape(n, count, inner)
        # d- and d+ of (v, B(tau) / B(u))
        d_low = (np.sqrt(between) - below[:, :, None]) * scale
        d_low += drift_low
        own_low = log_b * own_scale + low * nodes.xi
        top = ndtr(own_low) + np.einsum("nik,nik->ni", weight_n, ndtr(d_low))
        d_low += spread
        bottom = ndtr(own_low + width * nodes.xi)
        bottom += np.einsum("nik,nik->ni", weight_d, ndtr(d_low))
        ratio = np.maximum(top, _TINY) / np.maximum(bottom, _TINY)
        log_b = np.minimum(log_forward + np.log(ratio), log_top[:, None] - 1e-10)
    result: Floats = np.square(log_b - log_top[:, None])
    return result
