"""Inputs of rows that were not trained on, made as training's were."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stockdb.errors import ConfigurationError
from stockdb.models.layouts import Gather, defined
from stockdb.models.rows import sort_rows, take_apart
from stockdb.models.segments import Base, Segment
from stockdb.models.windows import run_lengths

if TYPE_CHECKING:
    from stockdb.models.prepared import Prepared

__all__ = ["inputs_of"]


def inputs_of(prepared: Prepared, features: pd.DataFrame) -> Segment:
    """See ``Prepared.transform``."""
    kind, parameters = prepared.kind, prepared.parameters
    if kind.layout not in {"window", "table"}:
        raise ConfigurationError(
            f"{prepared.model_type} has no samples to transform.",
            remedy="Scale its arrays by prepared.scaler.transform().",
        )
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
    if prepared.imputer is not None:
        values = prepared.imputer.fill(values)
    prepared.scaler.transform_in_place(values)
    values.flags.writeable = False
    known = {symbol: number for number, symbol in enumerate(prepared.symbols, 1)}
    nothing = np.broadcast_to(np.float32(np.nan), len(rows))
    base = Base(
        replace(rows, values=values, names=prepared.feature_names),
        y=nothing,
        weight=np.broadcast_to(np.float32(1.0), len(rows)),
        reach=rows.day,
        symbol_id=np.array([known.get(symbol, 0) for symbol in rows.symbols], np.int32),
    )
    layout = Gather(values, parameters["seq_len"], kind.channels_first)
    places = np.flatnonzero(usable).astype(np.int32)
    return Segment(base, places, layout, kind.masked, prepared.seed)
