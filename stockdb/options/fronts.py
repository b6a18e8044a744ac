"""Exercise boundaries of many options: each solved apart, or one table for all that share r, q, T.

Where enough options share rates and expiration, as in a chain, the boundary is solved at
Chebyshev nodes in ln sigma, in panels, and interpolated between them: the cost then grows with
the number of expirations and hardly with the number of strikes. ln B / sigma is what is
interpolated: it varies least.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.options.american import FAST, HARD, Scheme, boundary, hard
from stockdb.options.premium import Front

__all__ = ["SHARED", "SIGMA_RANGE", "Fronts", "markets"]

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

SIGMA_RANGE: Final = (0.008, 6.0)  # of the tables; each panel spans a factor of about five
_PANELS: Final = 4
_NODES: Final = 12
SHARED: Final = 8  # options of a market from which on tables may pay
_FEWEST: Final = 4  # options of a table from which on it pays
_BUMP: Final = 1e-6  # of ln sigma, r and q


def markets(r: Floats, q: Floats, T: Floats) -> tuple[Indices, Indices]:
    """Tell the markets (r, q, T) apart: each option's number, and the first option of each."""
    code = np.zeros(len(r), dtype=np.int64)
    for column in (r, q, T):
        part, values = pd.factorize(column)
        code, _ = pd.factorize(code * len(values) + part)
    count = int(code.max(initial=-1)) + 1
    first = np.empty(count, dtype=np.int64)
    first[code[::-1]] = np.arange(len(code))[::-1]
    return code, first


def _chebyshev() -> tuple[Floats, Floats]:
    """Nodes on [0, 1] and barycentric weights."""
    place = np.arange(_NODES)
    nodes = (1.0 - np.cos(np.pi * place / (_NODES - 1))) / 2.0
    weights = np.where(place % 2, -1.0, 1.0)
    weights[[0, -1]] /= 2.0
    return nodes, weights


_AT, _WEIGHTS = _chebyshev()
_LOW: Final = float(np.log(SIGMA_RANGE[0]))
_SPAN: Final = float(np.log(SIGMA_RANGE[1] / SIGMA_RANGE[0])) / _PANELS


class Fronts:
    """Boundaries of a fixed set of unit-strike puts, at whatever volatility.

    Parameters
    ----------
    r, q, T : numpy.ndarray
        Shape (n,).
    scheme : Scheme
    rates : bool
        Whether derivatives by r and q are wanted.
    """

    def __init__(
        self, r: Floats, q: Floats, T: Floats, scheme: Scheme, *, rates: bool = False
    ) -> None:
        self.r, self.q, self.T, self.scheme, self.rates = r, q, T, scheme, rates
        self._group, self._first = markets(r, q, T)
        self._shared = np.bincount(self._group)[self._group] >= SHARED if len(r) else r > 0.0
        self._tables: dict[tuple[int, int], Front] = {}

    def at(self, rows: Indices, sigma: Floats, *, vega: bool = False, rates: bool = False) -> Front:
        """Boundaries of some of the options at these volatilities, and derivatives on request."""
        cell = self._cells(rows, sigma)
        tabled = cell >= 0
        if not tabled.any():
            return self._solve(self.r[rows], self.q[rows], sigma, self.T[rows], vega, rates)
        shape = (len(rows), self.scheme.outer + 1)
        result = Front(
            np.empty(shape),
            np.empty(shape) if vega else None,
            np.empty(shape) if rates else None,
            np.empty(shape) if rates else None,
        )
        self._interpolate(cell, sigma, np.flatnonzero(tabled), result)
        rest = np.flatnonzero(~tabled)
        if len(rest):
            apart = rows[rest]
            solved = self._solve(
                self.r[apart], self.q[apart], sigma[rest], self.T[apart], vega, rates
            )
            for part, found in zip(result, solved, strict=True):
                if part is not None and found is not None:
                    part[rest] = found
        return result

    def _solve(
        self, r: Floats, q: Floats, sigma: Floats, T: Floats, by_sigma: bool, by_rates: bool
    ) -> Front:
        """Solve at these volatilities; derivatives by differences of whole solutions.

        One-sided differences do: each solution is a smooth function of its inputs, computed in
        the same number of steps, so that a small bump costs no digits that matter.
        """
        scheme = self.scheme
        log = boundary(r, q, sigma, T, scheme)
        slope = by_r = by_q = None
        if by_sigma:
            up = sigma * (1.0 + _BUMP)
            slope = (boundary(r, q, up, T, scheme) - log) / (up - sigma)[:, None]
        if by_rates:
            by_r = (boundary(r + _BUMP, q, sigma, T, scheme) - log) / _BUMP
            by_q = (boundary(r, q + _BUMP, sigma, T, scheme) - log) / _BUMP
        if scheme == FAST:  # the slopes stay: they need fewer digits
            rows = np.flatnonzero(hard(r, q, sigma, T))
            log[rows] = boundary(r[rows], q[rows], sigma[rows], T[rows], HARD)
        return Front(log, slope, by_r, by_q)

    def _cells(self, rows: Indices, sigma: Floats) -> Indices:
        """Table of each option; -1 where none pays: few options need it that has not been made."""
        panel = np.floor((np.log(sigma) - _LOW) / _SPAN)
        inside = self._shared[rows] & (panel >= 0) & (panel < _PANELS)
        cell = np.where(inside, self._group[rows] * _PANELS + panel.astype(np.int64), -1)
        known, place, counts = np.unique(cell, return_inverse=True, return_counts=True)
        pays = (counts >= _FEWEST) | [divmod(int(key), _PANELS) in self._tables for key in known]
        result: Indices = np.where(pays[place], cell, -1)
        return result

    def _interpolate(self, cell: Indices, sigma: Floats, which: Indices, result: Front) -> None:
        cell = cell[which]
        order = np.argsort(cell, kind="stable")
        edges = np.flatnonzero(np.diff(cell[order], prepend=-1, append=-1))
        cells = [divmod(int(cell[order[begin]]), _PANELS) for begin in edges[:-1]]
        self._fill([key for key in cells if key not in self._tables])
        place = (np.log(sigma[which]) - _LOW) / _SPAN
        panel = cell % _PANELS
        weights, slopes = _weights(place[order] - panel[order])
        scale = sigma[which][order][:, None]
        target = which[order]
        for key, begin, end in zip(cells, edges[:-1], edges[1:], strict=True):
            part, table, size = slice(begin, end), self._tables[key], scale[begin:end]
            value = weights[part] @ table.log
            result.log[target[part]] = value * size
            if result.by_sigma is not None:
                result.by_sigma[target[part]] = value + slopes[part] @ table.log / _SPAN
            if result.by_r is not None and table.by_r is not None:
                result.by_r[target[part]] = (weights[part] @ table.by_r) * size
            if result.by_q is not None and table.by_q is not None:
                result.by_q[target[part]] = (weights[part] @ table.by_q) * size

    def _fill(self, keys: list[tuple[int, int]]) -> None:
        """Solve the tables that are not there yet, all at once."""
        if not keys:
            return
        first = self._first[[group for group, _ in keys]]
        panel = np.array([number for _, number in keys], dtype=np.float64)
        sigma = np.exp(_LOW + _SPAN * (panel[:, None] + _AT)).ravel()
        r, q, T = (np.repeat(column[first], _NODES) for column in (self.r, self.q, self.T))
        found = self._solve(r, q, sigma, T, False, self.rates)
        for number, key in enumerate(keys):
            part = slice(number * _NODES, (number + 1) * _NODES)
            size = sigma[part][:, None]
            self._tables[key] = Front(
                found.log[part] / size,
                None,
                None if found.by_r is None else found.by_r[part] / size,
                None if found.by_q is None else found.by_q[part] / size,
            )


def _weights(place: Floats) -> tuple[Floats, Floats]:
    """Barycentric interpolation and its derivative, (n, nodes); Berrut and Trefethen (2004)."""
    gap = place[:, None] - _AT
    gap = np.where(np.abs(gap) < 1e-8, 1e-8, gap)  # nearer, the slope would cancel away
    terms = _WEIGHTS / gap
    total = terms.sum(axis=1, keepdims=True)
    weights = terms / total
    inner = (weights / gap).sum(axis=1, keepdims=True)
    slopes = weights * (inner - 1.0 / gap)
    return weights, slopes
