"""Options on a stock that pays cash dividends, by finite differences (spot model).

Between ex-dates the stock is a geometric Brownian motion with a continuous yield; on an ex-date
it drops by the cash, to no less than nothing. The grid is even in ln S but for being finer near the
strike; differences are taken in the square root of S, so that they are exact for a bond, for the
stock and for what lies half-way: differences in ln S would let the stock itself drift away where
sigma sqrt(T) is large. Crank-Nicolson in time, begun with four implicit half-steps after each date
on which the value has a kink (Rannacher, 1984), in steps that grow with the distance from it;
early exercise by operator splitting (Ikonen and Toivanen, 2004), which needs to know nothing of
the shape of the exercise region, twice a step, as what one pass pushes at is where exercise paid
a step ago. All options of a call are stacked into one tridiagonal system,
which LAPACK solves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dgttrf, dgttrs

from stockdb.errors import DataError

__all__ = ["GridValues", "finite_differences"]

Floats = npt.NDArray[np.float64]

_POINTS: Final = 351
_LENGTHS: Final = (1.0, 2.0, 3.0, 4.0)  # of the steps after a date, in stages: the kink fades
_STEPS: Final = (4, 20)  # of a stage: these, and as many more for a span of all the time
_LONG: Final = 2.0  # years; of more time, a span of that
_PASSES: Final = 2  # of operator splitting
_WIDTHS: Final = 5.0  # standard deviations on each side
_TOGETHER: Final = 40  # options in one system: its arrays stay in the processor's cache


class GridValues(NamedTuple):
    """Value and its derivatives by S, and by time (a year), (n,)."""

    value: Floats
    delta: Floats
    gamma: Floats
    theta: Floats


@dataclass(frozen=True, slots=True)
class _Terms:
    """Options with the same expiration, 1-D arrays."""

    S: Floats
    K: Floats
    r: Floats
    q: Floats
    sigma: Floats
    sign: Floats
    american: bool

    def cut(self, rows: slice) -> _Terms:
        """Take some of them."""
        return _Terms(
            self.S[rows],
            self.K[rows],
            self.r[rows],
            self.q[rows],
            self.sigma[rows],
            self.sign[rows],
            self.american,
        )


def finite_differences(
    S: Floats,
    K: Floats,
    T: float,
    r: Floats,
    q: Floats,
    sigma: Floats,
    sign: Floats,
    dividends: Sequence[tuple[float, float]] = (),
    *,
    american: bool = True,
    points: int = _POINTS,
) -> GridValues:
    """Value options of one expiration.

    Parameters
    ----------
    S, K, r, q, sigma, sign : numpy.ndarray
        Shape (n,); sign is 1 for calls, -1 for puts; sigma at least .01.
    T : float
        Years, above 0.
    dividends : sequence of (float, float)
        Years and cash, ascending; only those in (0, T] count.
    american : bool
    points : int
        Size of the grid.
    """
    terms = _Terms(S, K, r, q, sigma, sign, american)
    paid = [(time, cash) for time, cash in dividends if 0.0 < time <= T and cash > 0.0]
    parts = [
        _solve(terms.cut(slice(i, i + _TOGETHER)), T, paid, points)
        for i in range(0, len(S), _TOGETHER)
    ]
    return GridValues(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _grid(terms: _Terms, T: float, total: float, points: int) -> Floats:
    """Lay out ln S, (n, points): far below to far above stock and strike, denser at the strike."""
    reach = _WIDTHS * terms.sigma * np.sqrt(T) + np.abs(terms.r - terms.q) * T + 0.05
    centre = np.log(terms.K)
    after = np.maximum(terms.S - total, 0.2 * terms.S)
    low = np.minimum(np.log(after), centre) - reach
    high = np.maximum(np.log(terms.S), centre) + reach
    fine = 0.4 * reach
    first, last = np.arcsinh((low - centre) / fine), np.arcsinh((high - centre) / fine)
    share = np.linspace(0.0, 1.0, points)
    xi = first[:, None] + (last - first)[:, None] * share
    # the strike half-way between two nodes: the payoff's kink then costs least
    step = (last - first) / (points - 1)
    nearest = np.round(-first / step - 0.5)
    xi += (-first - (nearest + 0.5) * step)[:, None]
    result: Floats = centre[:, None] + fine[:, None] * np.sinh(xi)
    return result


class _Operator:
    """dV/d(time to expiration) = L V on the grid, rows of a tridiagonal matrix."""

    def __init__(self, terms: _Terms, x: Floats) -> None:
        down, up = np.diff(x, axis=1)[:, :-1], np.diff(x, axis=1)[:, 1:]
        # y = sqrt(S): dV/d(time) = a y^2 V_yy + b y V_y - r V; distances in units of y
        down, up = -np.expm1(-down / 2.0), np.expm1(up / 2.0)
        carry, r = terms.r - terms.q, terms.r[:, None]
        twice_a = terms.sigma[:, None] ** 2 / 4.0
        b = (carry[:, None] - twice_a) / 2.0
        self.lower, self.upper, self.main = (np.zeros_like(x) for _ in range(3))
        self.lower[:, 1:-1] = (twice_a - b * up) / (down * (down + up))
        self.upper[:, 1:-1] = (twice_a + b * down) / (up * (down + up))
        self.main[:, 1:-1] = -self.lower[:, 1:-1] - self.upper[:, 1:-1] - r
        # Far out the value is linear in S: its slope is that to the neighbour.
        first, last = x[:, 1] - x[:, 0], x[:, -1] - x[:, -2]
        forward, back = np.expm1(first), -np.expm1(-last)
        self.upper[:, 0] = carry / forward
        self.main[:, 0] = -carry / forward - terms.r
        self.lower[:, -1] = -carry / back
        self.main[:, -1] = carry / back - terms.r

    def apply(self, v: Floats) -> Floats:
        """L V."""
        result = self.main * v
        result[:, 1:] += self.lower[:, 1:] * v[:, :-1]
        result[:, :-1] += self.upper[:, :-1] * v[:, 1:]
        return result

    def factor(self, dt: float) -> tuple[Floats, ...]:
        """LU factors of 1 - dt L, all options in one matrix."""
        found = dgttrf(
            (-dt * self.lower).ravel()[1:],
            (1.0 - dt * self.main).ravel(),
            (-dt * self.upper).ravel()[:-1],
        )
        if found[-1] != 0:
            raise DataError("The finite-difference matrix is singular.", dt=dt)
        factors: tuple[Floats, ...] = found[:-1]
        return factors


def _solve(terms: _Terms, T: float, paid: list[tuple[float, float]], points: int) -> GridValues:
    x = _grid(terms, T, sum(cash for _, cash in paid), points)
    spot = np.exp(x)
    payoff = np.maximum(terms.sign[:, None] * (spot - terms.K[:, None]), 0.0)
    operator = _Operator(terms, x)
    v = payoff.copy()
    ends = [T] + [time for time, _ in reversed(paid)]
    begins = [time for time, _ in reversed(paid)] + [0.0]
    drops = [0.0] + [cash for _, cash in reversed(paid)]
    for begin, end, cash in zip(begins, ends, drops, strict=True):
        if cash:
            v = _before(x, spot, v, cash)
            if terms.american:
                v = np.maximum(v, payoff)
        share = (end - begin) / min(T, _LONG)
        steps = _STEPS[0] + int(np.ceil(_STEPS[1] * np.sqrt(share)))
        v = _march(operator, v, payoff, end - begin, terms.american, steps)
    return _read(terms, x, v, payoff)


def _march(
    operator: _Operator, v: Floats, payoff: Floats, span: float, american: bool, steps: int
) -> Floats:
    """Go back in time by ``span``, in stages of so many steps of one length."""
    if span <= 1e-9:
        return v
    push = np.zeros_like(v)  # what keeps the value above the payoff, a year
    for stage, length in enumerate(_LENGTHS):
        dt = span * length / (steps * sum(_LENGTHS))
        half = operator.factor(dt / 2.0)  # serves both: 1 - dt/2 L

        implicit = 2 if stage == 0 else 0
        for number in range(steps + implicit):
            first = number < 2 * implicit
            right, taken = (v, dt / 2.0) if first else (v + dt / 2.0 * operator.apply(v), dt)
            if american:
                v, push = _held(half, right, push, payoff, taken)
            else:
                v = _implicit(half, right)
    return v


def _implicit(factors: tuple[Floats, ...], right: Floats) -> Floats:
    solved, _ = dgttrs(*factors, right.ravel())
    result: Floats = solved.reshape(right.shape)
    return result


def _held(
    factors: tuple[Floats, ...], right: Floats, push: Floats, payoff: Floats, dt: float
) -> tuple[Floats, Floats]:
    """Take a step of an American option: its value, and the push that holds it."""
    for _ in range(_PASSES):
        pushed = dt * push
        free = _implicit(factors, right + pushed)
        pushed -= free
        held = np.maximum(-pushed, payoff)
        pushed += held  # what is still lacking, at most what was pushed in excess
        push = np.maximum(pushed, 0.0) / dt
    return held, push


def _before(x: Floats, spot: Floats, v: Floats, cash: float) -> Floats:
    """Value just before the stock drops: V(S - cash), cubic in ln S; linear in S below the grid."""
    after = spot - cash
    inside = after > spot[:, :1]
    target = np.log(np.where(inside, after, spot[:, :1]))
    slope = (v[:, 1:2] - v[:, :1]) / (spot[:, 1:2] - spot[:, :1])
    below = v[:, :1] + slope * (np.maximum(after, 0.0) - spot[:, :1])
    return np.where(inside, _cubic(x, v, target), below)


def _cubic(x: Floats, v: Floats, at: Floats) -> Floats:
    """Lagrange's polynomial through the four nodes around each point; rows apart."""
    n, points = x.shape
    rows = np.arange(n)[:, None]
    place = np.empty(at.shape, dtype=np.int64)
    for row in range(n):
        place[row] = np.searchsorted(x[row], at[row])
    base = np.clip(place - 2, 0, points - 4)
    nodes = [x[rows, base + k] for k in range(4)]
    total = np.zeros_like(at)
    for k in range(4):
        weight = np.ones_like(at)
        for other in range(4):
            if other != k:
                weight *= (at - nodes[other]) / (nodes[k] - nodes[other])
        total += weight * v[rows, base + k]
    return total


def _read(terms: _Terms, x: Floats, v: Floats, payoff: Floats) -> GridValues:
    """Value and derivatives at the stock: the same polynomial of degree four, differentiated."""
    n, points = x.shape
    at = np.log(terms.S)
    place = np.array([np.searchsorted(x[row], at[row]) for row in range(n)])
    base = np.clip(place - 2, 0, points - 5)
    index = base[:, None] + np.arange(5)
    rows = np.arange(n)[:, None]
    gap = x[rows, index] - at[:, None]
    scale = np.abs(gap).max(axis=1, keepdims=True)
    powers = (gap / scale)[:, :, None] ** np.arange(5)
    coefficients = np.linalg.solve(powers, v[rows, index][:, :, None])[:, :, 0]
    value = np.maximum(coefficients[:, 0], 0.0)
    slope = coefficients[:, 1] / scale[:, 0]
    curvature = 2.0 * coefficients[:, 2] / scale[:, 0] ** 2
    delta = slope / terms.S
    gamma = (curvature - slope) / terms.S**2
    theta = (
        terms.r * value
        - (terms.r - terms.q) * terms.S * delta
        - 0.5 * terms.sigma**2 * terms.S**2 * gamma
    )
    if terms.american:
        now = np.maximum(terms.sign * (terms.S - terms.K), 0.0)
        exercised = value <= now * (1.0 + 1e-9)
        value = np.maximum(value, now)
        exercised &= now > 0.0
        delta = np.where(exercised, terms.sign, delta)
        gamma = np.where(exercised, 0.0, gamma)
        theta = np.where(exercised, 0.0, theta)
    return GridValues(value, delta, gamma, theta)
