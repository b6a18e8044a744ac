"""What a model trains on: one object for each of train, valid and test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stockdb.models.arguments import whole
from stockdb.models.rows import Array, Rows
from stockdb.models.windows import Windows

__all__ = ["Batch", "Base", "Segment"]


@dataclass(frozen=True, slots=True)
class Base:
    """What the three segments share; each holds only the places of its own rows.

    Attributes
    ----------
    rows : Rows
        ``values`` scaled.
    y, weight : numpy.ndarray of float32, shape (n,)
    reach : numpy.ndarray of int32, shape (n,)
    symbol_id : numpy.ndarray of int32, shape (symbols,)
        Number of each symbol in the training vocabulary; 0 = unknown.
    """

    rows: Rows
    y: Array
    weight: Array
    reach: Array
    symbol_id: Array


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples of a segment, gathered.

    Attributes
    ----------
    X, y, weight, symbol_id : numpy.ndarray
    mask : numpy.ndarray or None
    """

    X: Array
    y: Array
    weight: Array
    symbol_id: Array
    mask: Array | None = None


@dataclass(frozen=True, eq=False)
class Segment:
    """Samples of one segment, ascending by symbol and date.

    Attributes
    ----------
    base : Base
    rows : numpy.ndarray of int32, shape (samples,)
        Place of each sample's row: for a window its last.
    layout : callable
        Gives X for an array of rows.
    masked : bool
    seed : int
        What :meth:`batches` shuffles by unless it is told another.
    """

    base: Base
    rows: Array
    layout: Callable[[Array], Any]
    masked: bool = False
    seed: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<Segment: {len(self)} samples>"

    @property
    def X(self) -> Any:  # noqa: N802 - scikit-learn's name
        """Inputs: :class:`~stockdb.models.windows.Windows` or a float32 array."""
        return self.layout(self.rows)

    @property
    def y(self) -> Array:
        """Labels, float32, shape (samples,)."""
        return np.asarray(self.base.y[self.rows])

    @property
    def weight(self) -> Array:
        """Sample weights, float32, shape (samples,)."""
        return np.asarray(self.base.weight[self.rows])

    @property
    def index(self) -> pd.MultiIndex:
        """(symbol, date) of each sample: the date on which its inputs are complete."""
        return self.base.rows.index(self.rows)

    @property
    def symbol_id(self) -> Array:
        """Number of each sample's symbol in the training vocabulary, int32; 0 = unknown."""
        return np.asarray(self.base.symbol_id[self.base.rows.code[self.rows]])

    @property
    def t0(self) -> pd.DatetimeIndex:
        """First date of each sample's label interval: the sample's own date."""
        return pd.DatetimeIndex(self.base.rows.sessions[self.base.rows.day[self.rows]], name="t0")

    @property
    def t1(self) -> pd.DatetimeIndex:
        """Last date that each sample's label reads."""
        return pd.DatetimeIndex(self.base.rows.sessions[self.base.reach[self.rows]], name="t1")

    @property
    def mask(self) -> Array | None:
        """True where a window holds a real row, (samples, seq_len); None without a mask.

        All true: a window that is not full is dropped, not padded. It takes no memory.
        """
        found = self.X
        if not self.masked or not isinstance(found, Windows):
            return None
        return np.broadcast_to(np.True_, (len(self), found.seq_len))

    def arrays(self) -> list[Array]:
        """Give what the fingerprint is taken of, besides the values that all segments share."""
        return [self.rows, self.y, self.weight, self.base.reach[self.rows]]

    def batches(
        self, size: int = 1024, *, shuffle: bool = False, seed: int | None = None
    ) -> Iterator[Batch]:
        """Yield the samples in batches.

        Parameters
        ----------
        size : int
        shuffle : bool
            In an order that the seed alone decides.
        seed : int, optional
            Another one for each epoch; by default that of ``prepare_for_model``.
        """
        size = whole(size, "size", 1, "samples of a batch")
        order = np.arange(len(self))
        if shuffle:
            np.random.default_rng(self.seed if seed is None else seed).shuffle(order)
        for first in range(0, len(order), size):
            yield self.take(order[first : first + size])

    def take(self, samples: Array) -> Batch:
        """Gather some samples by their place in the segment."""
        rows = self.rows[samples]
        base = self.base
        found = self.layout(rows)
        mask = None
        if isinstance(found, Windows):
            if self.masked:
                mask = np.ones((len(rows), found.seq_len), bool)
            found = found[:]
        ids = base.symbol_id[base.rows.code[rows]]
        return Batch(found, base.y[rows], base.weight[rows], ids, mask)
