"""What ``prepare_for_model`` returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from stockdb.models.fingerprint import Fingerprint
from stockdb.models.kinds import ModelKind
from stockdb.models.layouts import Imputer
from stockdb.models.rows import Array
from stockdb.models.scalers import Scaler
from stockdb.models.segments import Segment
from stockdb.models.serving import Fitted

__all__ = ["Prepared"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Train, valid and test of one model.

    Attributes
    ----------
    model_type : str
    kind : ModelKind
    train, valid, test : Segment, Series or Panel
        X, y, weight, index, symbol_id, t0, t1, mask.
    scaler : Scaler
    feature_names : tuple of str
        Columns of X; for ``linear`` the indicators of missing values come last.
    symbols : tuple of str
        Training vocabulary, ascending: number 1 is the first.
    dropped : dict of str to int
        Rows that became no sample, by the first reason that applies. Together with the
        samples they are all rows of the frame; arima_garch and rl count rows likewise.
    parameters : dict
    seed : int
    imputer : Imputer or None
        Training medians, for ``linear``.
    """

    model_type: str
    kind: ModelKind
    train: Any
    valid: Any
    test: Any
    scaler: Scaler
    feature_names: tuple[str, ...]
    symbols: tuple[str, ...]
    dropped: dict[str, int]
    parameters: dict[str, Any]
    seed: int
    imputer: Imputer | None
    _measure: Callable[[], Fingerprint] = field(repr=False)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(part)}" for name, part in self.segments.items())
        return (
            f"<Prepared for {self.model_type}: {sizes}; {len(self.feature_names)} features, "
            f"{len(self.symbols)} symbols; dropped {self.dropped}>"
        )

    @property
    def segments(self) -> Mapping[str, Any]:
        """Train, valid and test by name."""
        return {"train": self.train, "valid": self.valid, "test": self.test}

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Digest of the inputs, with the objects, specification and parameters behind them.

        Computed on first use: it reads every number once.
        """
        return self._measure()

    @property
    def fitted(self) -> Fitted:
        """What was fitted, without the data: small enough to be kept beside a model."""
        return Fitted(
            self.model_type,
            self.kind,
            self.scaler,
            self.imputer,
            self.feature_names,
            self.symbols,
            self.parameters,
            self.seed,
        )

    def inverse_transform(self, X: Any) -> Array:  # noqa: N803 - scikit-learn's name
        """Bring scaled inputs back to the features' own units; see :class:`Fitted`."""
        return self.fitted.inverse_transform(X)

    def transform(self, features: pd.DataFrame) -> Segment:
        """Make inputs of other rows, as training saw them; see :class:`Fitted`."""
        return self.fitted.transform(features)

    def to_torch(self) -> dict[str, Any]:
        """Give data sets for a ``torch.utils.data.DataLoader`` by segment.

        An item is (X, y, weight), for a transformer (X, mask, y, weight); a DataLoader
        fetches a whole batch at once.

        Raises
        ------
        ConfigurationError
            PyTorch is not installed, or the model type has no samples (arima_garch, rl).
        """
        from stockdb.models.frameworks import to_torch

        return to_torch(self)

    def to_tf(self, batch_size: int = 1024, *, shuffle: bool = True) -> dict[str, Any]:
        """Give batched ``tf.data.Dataset`` objects by segment; only train is shuffled.

        An element is (X, y, weight) as ``keras.Model.fit`` takes it; for a transformer X is
        the pair (X, mask).

        Raises
        ------
        ConfigurationError
            TensorFlow is not installed, or the model type has no samples (arima_garch, rl).
        """
        from stockdb.models.frameworks import to_tf

        return to_tf(self, batch_size, shuffle=shuffle)
