"""What each type of model wants: one line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from stockdb.errors import ConfigurationError
from stockdb.models.arguments import text

__all__ = ["MODEL_TYPES", "ModelKind", "model_kind"]


@dataclass(frozen=True, slots=True)
class ModelKind:
    """How the inputs of a model are laid out.

    Attributes
    ----------
    layout : {'window', 'table', 'series', 'panel'}
        Lazy windows; one row a sample; one series a symbol; sessions x assets.
    scaling : {'robust', 'zscore', 'none'}
        Fitted on the training segment alone.
    missing : {'drop', 'keep', 'impute', 'run', 'mask'}
        What happens to NaN: the window is dropped; it is kept; the training median and an
        indicator column; the longest run without; a mask.
    channels_first : bool
        Windows as (batch, features, seq_len).
    masked : bool
        Windows come with a mask (batch, seq_len).
    """

    layout: Literal["window", "table", "series", "panel"]
    scaling: Literal["robust", "zscore", "none"] = "none"
    missing: Literal["drop", "keep", "impute", "run", "mask"] = "keep"
    channels_first: bool = False
    masked: bool = False


MODEL_TYPES: Final[dict[str, ModelKind]] = {
    "lstm": ModelKind("window", "robust", "drop"),
    "gru": ModelKind("window", "robust", "drop"),
    "transformer": ModelKind("window", "robust", "drop", masked=True),
    "cnn": ModelKind("window", "robust", "drop", channels_first=True),
    "xgboost": ModelKind("table"),
    "lightgbm": ModelKind("table"),
    "random_forest": ModelKind("table"),
    "linear": ModelKind("table", "zscore", "impute"),
    "arima_garch": ModelKind("series", missing="run"),
    "rl": ModelKind("panel", "robust", "mask"),
}


def model_kind(name: str) -> ModelKind:
    """Look a model type up.

    Raises
    ------
    ConfigurationError
        There is none of that name, or it is no name.
    """
    remedy = f"Use one of: {', '.join(MODEL_TYPES)}."
    found = MODEL_TYPES.get(text(name, "model_type", remedy))
    if found is None:
        raise ConfigurationError(f"Unknown model_type {name!r}.", remedy=remedy)
    return found
