"""What was fitted on training rows, and inputs of other rows made by it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from stockdb.errors import ConfigurationError
from stockdb.models.arguments import frame_of
from stockdb.models.kinds import ModelKind
from stockdb.models.layouts import Gather, Imputer, defined
from stockdb.models.rows import Array, sort_rows, take_apart
from stockdb.models.scalers import Scaler
from stockdb.models.segments import Base, Segment
from stockdb.models.windows import run_lengths

__all__ = ["Fitted"]


@dataclass(frozen=True, eq=False)
class Fitted:
    """Scaler, medians and vocabulary of a ``Prepared``, without its data: pickle it.

    Attributes
    ----------
    model_type : str
    kind : ModelKind
    scaler : Scaler
    imputer : Imputer or None
    feature_names : tuple of str
    symbols : tuple of str
        Training vocabulary.
    parameters : dict
    seed : int
    """

    model_type: str
    kind: ModelKind
    scaler: Scaler
    imputer: Imputer | None
    feature_names: tuple[str, ...]
    symbols: tuple[str, ...]
    parameters: dict[str, Any]
    seed: int

    def inverse_transform(self, X: Any) -> Array:  # noqa: N803 - scikit-learn's name
        """Bring scaled inputs back to the features' own units.

        Parameters
        ----------
        X : array-like
            As a segment's X or a batch of it: features on the last axis, for ``cnn`` on the
            last but one.

        Returns
        -------
        numpy.ndarray
            Same shape. What was imputed for ``linear`` stays the training median.
        """
        values = np.asarray(X)
        if self.kind.channels_first:
            return self.scaler.inverse_transform(values.swapaxes(-1, -2)).swapaxes(-1, -2)
        return self.scaler.inverse_transform(values)

    def transform(self, features: pd.DataFrame) -> Segment:
        """Make inputs of other rows, as training saw them: for a forecast, today's.

        Parameters
        ----------
        features : pandas.DataFrame
            MultiIndex (symbol, date), with the feature columns that were trained on. Labels are
            not needed. A window needs ``seq_len`` rows: give so many before the first one that
            counts.

        Returns
        -------
        Segment
            One sample for each row whose inputs are complete, ascending by symbol and date; X,
            index, symbol_id (0 for a symbol that training did not know), mask, ``batches()``. y
            is NaN.

        Raises
        ------
        ConfigurationError
            A feature column is missing, or the model type has no samples (arima_garch, rl).
        DataError
            As for ``prepare_for_model``.
        """
        kind, parameters = self.kind, self.parameters
        if kind.layout not in {"window", "table"}:
            raise ConfigurationError(
                f"{self.model_type} has no samples to transform.",
                remedy="Scale its arrays by prepared.scaler.transform().",
            )
        features = frame_of(features)
        names = parameters["features"]
        missing = [name for name in names if name not in features]
        if missing:
            raise ConfigurationError(
                f"There is no column {missing[0]!r}, which the model was trained on.",
                remedy=f"It needs: {', '.join(names)}.",
            )
        _, rows = take_apart(sort_rows(features), names, parameters["calendar"])
        values = rows.values
        usable = np.ones(len(rows), bool)
        if kind.layout == "window":
            usable = run_lengths(rows.code, rows.day, defined(values)) >= parameters["seq_len"]
        if self.imputer is not None:
            values = self.imputer.fill(values)
        self.scaler.transform_in_place(values)
        values.flags.writeable = False
        known = {symbol: number for number, symbol in enumerate(self.symbols, 1)}
        nothing = np.broadcast_to(np.float32(np.nan), len(rows))
        base = Base(
            replace(rows, values=values, names=self.feature_names),
            y=nothing,
            weight=np.broadcast_to(np.float32(1.0), len(rows)),
            reach=rows.day,
            symbol_id=np.array([known.get(symbol, 0) for symbol in rows.symbols], np.int32),
        )
        layout = Gather(values, parameters["seq_len"], kind.channels_first)
        places = np.flatnonzero(usable).astype(np.int32)
        return Segment(base, places, layout, kind.masked, self.seed)
