"""Scalers, fitted on the training rows and on nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from stockdb.errors import DataError
from stockdb.models.rows import Array

__all__ = ["Scaler", "fit_scaler"]


@dataclass(frozen=True, slots=True, eq=False)
class Scaler:
    """``(x - center) / scale``, a column at a time.

    Attributes
    ----------
    kind : {'robust', 'zscore', 'none'}
    center, scale : numpy.ndarray of float32, shape (features,)
        Median and interquartile range; mean and standard deviation (ddof 0); 0 and 1. The
        scale of a column that does not vary is 1.
    """

    kind: Literal["robust", "zscore", "none"]
    center: Array
    scale: Array

    def transform(self, values: Array) -> Array:
        """Scale an array whose last axis is the features; NaN stays."""
        return np.asarray((values - self.center) / self.scale)

    def transform_in_place(self, values: Array) -> None:
        """Scale the rows of an array that nobody else holds."""
        if self.kind == "none":
            return
        step = 65_536  # without it two temporaries would be as large as the array
        for first in range(0, len(values), step):
            part = values[first : first + step]
            np.subtract(part, self.center, out=part)
            np.divide(part, self.scale, out=part)

    def inverse_transform(self, values: Array) -> Array:
        """Undo :meth:`transform`."""
        return np.asarray(values * self.scale + self.center)


def fit_scaler(
    kind: Literal["robust", "zscore", "none"],
    values: Array,
    rows: Array,
    names: tuple[str, ...],
) -> Scaler:
    """Fit a scaler.

    Parameters
    ----------
    kind : {'robust', 'zscore', 'none'}
    values : numpy.ndarray of float32, shape (n, features)
    rows : numpy.ndarray of int
        The training rows: no other is looked at. NaN is left out.
    names : tuple of str
        For the message.

    Raises
    ------
    DataError
        A feature has no value in any training row.
    """
    width = values.shape[1]
    center, scale = np.zeros(width, np.float32), np.ones(width, np.float32)
    if kind != "none":
        for column in range(width):
            sample = values[rows, column]
            sample = sample[~np.isnan(sample)].astype(np.float64)
            if not len(sample):
                raise DataError(
                    f"The feature {names[column]!r} has no value in the training segment.",
                    remedy="Leave it out, or choose split_dates that give it some history.",
                )
            middle, spread = _robust(sample) if kind == "robust" else _zscore(sample)
            # Compared with the centre: rounding alone makes a constant column vary a little.
            varies = spread > 1e-7 * max(abs(middle), 1e-30)
            center[column], scale[column] = middle, spread if varies else 1.0
    return Scaler(kind, center, scale)


def _robust(sample: Array) -> tuple[float, float]:
    low, middle, high = np.percentile(sample, [25.0, 50.0, 75.0], overwrite_input=True)
    return float(middle), float(high - low)


def _zscore(sample: Array) -> tuple[float, float]:
    return float(sample.mean()), float(sample.std())
